package fsnode

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Dir is an open directory. All but Names may be used by several goroutines at once.
type Dir struct {
	fd   int
	path string // for messages
}

// File is an open file of any type. It is no os.File because of what that asks the system about each.
type File struct {
	fd  int
	dir *Dir
	// Name is the file's in its directory.
	Name string
}

const openFlags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK

// pathLimit is the longest path that is handed to the system at once.
const pathLimit = 1024

// OpenDir opens the directory at path, following symbolic links: it is one that the caller names. The path may be longer
// than the system's limit.
func OpenDir(path string) (*Dir, error) {
	fd, rest := unix.AT_FDCWD, path
	for len(rest) >= pathLimit {
		at := strings.LastIndexByte(rest[:pathLimit], '/')
		if at <= 0 {
			break
		}
		next, err := openAt(fd, rest[:at], openFlags|unix.O_DIRECTORY)
		closeFD(fd)
		if err != nil {
			return nil, mapped(err, "open the directory", path)
		}
		fd, rest = next, strings.TrimLeft(rest[at:], "/")
	}
	if rest == "" {
		rest = "."
	}
	last, err := openAt(fd, rest, openFlags|unix.O_DIRECTORY)
	closeFD(fd)
	if err != nil {
		return nil, mapped(err, "open the directory", path)
	}
	return &Dir{last, path}, nil
}

// Path is where the directory was opened.
func (d *Dir) Path() string { return d.path }

// Close gives the directory up.
func (d *Dir) Close() { closeFD(d.fd) }

// Dir opens a directory in d; a symbolic link is refused.
func (d *Dir) Dir(name string) (*Dir, error) {
	path := d.join(name)
	fd, err := openAt(d.fd, name, openFlags|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return nil, mapped(err, "open the directory", path)
	}
	return &Dir{fd, path}, nil
}

// Open opens a file in d for reading, without waiting for the other end of a fifo and, where that is allowed, without
// changing its access time; a symbolic link is refused. The caller asks with File.Stat what was opened.
func (d *Dir) Open(name string) (*File, error) {
	fd, err := openAt(d.fd, name, openFlags|noAccessTime|unix.O_NOFOLLOW)
	if errors.Is(err, unix.EPERM) {
		fd, err = openAt(d.fd, name, openFlags|unix.O_NOFOLLOW)
	}
	if err != nil {
		return nil, mapped(err, "open", d.join(name))
	}
	return &File{fd, d, name}, nil
}

// OpenFollowing opens a file in d for reading, following symbolic links.
func (d *Dir) OpenFollowing(name string) (*File, error) {
	fd, err := openAt(d.fd, name, openFlags)
	if err != nil {
		return nil, mapped(err, "open", d.join(name))
	}
	return &File{fd, d, name}, nil
}

func (d *Dir) join(name string) string { return strings.TrimSuffix(d.path, "/") + "/" + name }

// Stat tells what name in d is; a symbolic link is not followed.
func (d *Dir) Stat(name string, s *Stat) error {
	for {
		err := unix.Fstatat(d.fd, name, &s.sys, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return mapped(err, "look at", d.join(name))
		}
	}
}

// Self tells what d itself is.
func (d *Dir) Self(s *Stat) error { return mapped(fstat(d.fd, s), "look at", d.path) }

// Names lists what is in d, sorted, without "." and "..". It may be called once.
func (d *Dir) Names() ([]string, error) {
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(d.fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, mapped(err, "list the directory", d.path)
		}
		if n <= 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	slices.Sort(names)
	return slices.Compact(names), nil // some file systems give a name twice while the directory changes
}

// readlink gives the target of a symbolic link, whatever its bytes are.
func (d *Dir) readlink(name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(d.fd, name, buf)
		switch {
		case err == unix.EINTR:
			size /= 2
		case err != nil:
			return "", mapped(err, "read the symbolic link", d.join(name))
		case n < size:
			return string(buf[:n]), nil
		}
	}
}

// Path is where the file was opened.
func (f *File) Path() string { return f.dir.join(f.Name) }

// Stat tells what the open file is.
func (f *File) Stat(s *Stat) error { return mapped(fstat(f.fd, s), "look at", f.Path()) }

// Close gives the file up.
func (f *File) Close() { closeFD(f.fd) }

// ReadAt reads like io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.fd, p[done:], off+int64(done))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return done, mapped(err, "read", f.Path())
		case n == 0:
			return done, io.EOF
		default:
			done += n
		}
	}
	return done, nil
}

// ReadOnce reads from the start with one call, which gives as much as there is up to the length of p, or less.
func (f *File) ReadOnce(p []byte) (int, error) {
	for {
		n, err := unix.Pread(f.fd, p, 0)
		if err == nil {
			return n, nil
		}
		if err != unix.EINTR {
			return 0, mapped(err, "read", f.Path())
		}
	}
}

// NextData gives where the first byte at or after off lies that is not in a hole, and where the next hole begins after
// it. At the end of the file, or when there are only holes up to it, the error is io.EOF. A system that knows no holes
// says that there are none.
func (f *File) NextData(off int64) (start, end int64, err error) {
	if start, err = unix.Seek(f.fd, off, seekData); err == nil {
		end, err = unix.Seek(f.fd, start, seekHole)
	}
	switch err {
	case nil:
		return start, end, nil
	case unix.ENXIO:
		return 0, 0, io.EOF
	case unix.EINVAL, unix.ENOTSUP:
		return 0, 0, failure.WrapAs(failure.Unsupported, err, "look for holes", f.Path())
	}
	return 0, 0, mapped(err, "look for holes", f.Path())
}

func fstat(fd int, s *Stat) error {
	for {
		if err := unix.Fstat(fd, &s.sys); err != unix.EINTR {
			return err
		}
	}
}

func openAt(fd int, name string, flags int) (int, error) {
	for {
		got, err := unix.Openat(fd, name, flags, 0)
		if err != unix.EINTR {
			return got, err
		}
	}
}

func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd) // it was only read
	}
}

// mapped gives an error of the system its kind.
func mapped(err error, op, subject string) error {
	kind := failure.Unavailable
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ESTALE):
		kind = failure.NotFound
	case errors.Is(err, os.ErrPermission):
		kind = failure.Denied
	case errors.Is(err, unix.ELOOP):
		kind = failure.Conflict
	case errors.Is(err, unix.ENOTSUP):
		kind = failure.Unsupported
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return failure.WrapAs(failure.Unavailable, err, op, subject).WithHint("raise the number of open files: ulimit -n")
	}
	return failure.WrapAs(kind, err, op, subject)
}

package archivertest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Entry is all that counts of one file.
type Entry struct {
	Mode     uint32 // st_mode, with the type
	UID, GID uint32
	Size     int64 // of files and symbolic links
	MTime    unix.Timespec
	Rdev     uint64 // of devices
	Links    uint64 // of what is no directory
	Group    string // the first path of the same file, where it has several
	Target   string // of symbolic links
	Content  string // SHA-256 of files
	Xattrs   map[string]string
	Holes    bool // whether the file takes less on the disk than it is long
}

// Read looks at everything in dir, and at dir itself, which is "". Sockets are passed over.
func Read(t testing.TB, dir string) map[string]Entry {
	t.Helper()
	l := &looker{found: map[string]Entry{}, first: map[[2]uint64]string{}}
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = l.dir(fd, "")
	}
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	return l.found
}

// Compare holds that two directories hold the same: everything but access and change times and the numbers of inodes.
// The directories themselves are compared, too. Ignore may leave out paths; it may be nil.
func Compare(t testing.TB, want, got string, ignore func(path string) bool) {
	t.Helper()
	if err := Diff(Read(t, want), Read(t, got), ignore); err != nil {
		t.Error(err)
	}
}

// Diff says what differs, the first hundred at least.
func Diff(want, got map[string]Entry, ignore func(path string) bool) error {
	var errs []error
	paths := map[string]bool{}
	for path := range want {
		paths[path] = true
	}
	for path := range got {
		paths[path] = true
	}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if ignore != nil && ignore(path) {
			continue
		}
		w, inWant := want[path]
		g, inGot := got[path]
		switch {
		case !inGot:
			errs = append(errs, fmt.Errorf("%q is missing", path))
		case !inWant:
			errs = append(errs, fmt.Errorf("%q should not be there", path))
		default:
			if a, b := w.String(), g.String(); a != b {
				errs = append(errs, fmt.Errorf("%q:\nwant %s\ngot  %s", path, a, b))
			}
		}
		if len(errs) > 100 {
			break
		}
	}
	return errors.Join(errs...)
}

// String says everything in one line.
func (e Entry) String() string {
	var x strings.Builder
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		fmt.Fprintf(&x, " %q=%q", name, e.Xattrs[name])
	}
	return fmt.Sprintf("mode %o owner %d:%d size %d mtime %d.%09d rdev %x links %d with %q target %q content %s holes %v xattrs%s",
		e.Mode, e.UID, e.GID, e.Size, e.MTime.Sec, e.MTime.Nsec, e.Rdev, e.Links, e.Group, e.Target, e.Content, e.Holes, x.String())
}

// looker walks a directory by descriptors: paths may be longer than the system takes.
type looker struct {
	found map[string]Entry
	first map[[2]uint64]string
}

// dir looks at an open directory, which it closes.
func (l *looker) dir(fd int, path string) error {
	d := os.NewFile(uintptr(fd), path)
	defer func() { _ = d.Close() }()
	if path == "" {
		if err := l.entry(fd, ".", path); err != nil {
			return err
		}
	}
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names) // which name of a file comes first must not depend on the file system
	for _, name := range names {
		at := strings.TrimPrefix(path+"/"+name, "/")
		if err := l.entry(fd, name, at); err != nil {
			return fmt.Errorf("%q: %w", at, err)
		}
		if l.found[at].Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		below, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%q: %w", at, err)
		}
		if err := l.dir(below, at); err != nil {
			return err
		}
	}
	return nil
}

// entry looks at one file.
func (l *looker) entry(dir int, name, path string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	e := Entry{Mode: st.Mode, UID: st.Uid, GID: st.Gid, MTime: st.Mtim}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return nil
	case unix.S_IFREG:
		e.Size, e.Holes = st.Size, st.Blocks*512 < st.Size
		if e.Content, err = sum(dir, name); err != nil {
			return err
		}
	case unix.S_IFLNK:
		buf := make([]byte, 8192)
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil {
			return err
		}
		e.Size, e.Target = st.Size, string(buf[:n])
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Rdev = st.Rdev
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		e.Links = uint64(st.Nlink)
		if st.Nlink > 1 {
			key := [2]uint64{st.Dev, st.Ino}
			if l.first[key] == "" {
				l.first[key] = path
			}
			e.Group = l.first[key]
		}
	}
	if e.Xattrs, err = xattrs(fmt.Sprintf("/proc/self/fd/%d/%s", dir, name)); err != nil {
		return err
	}
	l.found[path] = e
	return nil
}

func sum(dir int, name string) (string, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8]), nil
}

func xattrs(path string) (map[string]string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err != nil || n == 0 {
		return nil, err
	}
	all := map[string]string{}
	for _, name := range strings.Split(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, err
		}
		all[name] = string(value[:n])
	}
	return all, nil
}

package fsnode

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// subject marks what is called name in d, whatever it is.
func (d *Dir) subject(name string) (subject, error) {
	fd, err := openAt(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		return subject{}, written(err, "open", d.join(name))
	}
	return subject{fd, d, name, true}, nil
}

// proc names an open file by a path that leads to exactly it, a symbolic link too.
func (s subject) proc() string { return "/proc/self/fd/" + strconv.Itoa(s.fd) }

func (s subject) chown(uid, gid int) error {
	if s.mark {
		return again(func() error { return unix.Fchownat(s.fd, "", uid, gid, unix.AT_EMPTY_PATH) })
	}
	return again(func() error { return unix.Fchown(s.fd, uid, gid) })
}

func (s subject) chmod(mode uint32) error {
	if s.mark {
		return again(func() error { return unix.Chmod(s.proc(), mode) })
	}
	return again(func() error { return unix.Fchmod(s.fd, mode) })
}

func (s subject) setTimes(atime, mtime unix.Timespec) error {
	times := [2]unix.Timespec{atime, mtime}
	if s.mark {
		return again(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, s.proc(), times[:], 0) })
	}
	return again(func() error { // futimens(3): no path means the open file itself
		_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(s.fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
}

func (s subject) listXattr(buf []byte) (int, error) {
	if s.mark {
		return unix.Listxattr(s.proc(), buf)
	}
	return unix.Flistxattr(s.fd, buf)
}

func (s subject) getXattr(name string, buf []byte) (int, error) {
	if s.mark {
		return unix.Getxattr(s.proc(), name, buf)
	}
	return unix.Fgetxattr(s.fd, name, buf)
}

func (s subject) setXattr(name string, value []byte) error {
	if s.mark {
		return unix.Setxattr(s.proc(), name, value, 0)
	}
	return unix.Fsetxattr(s.fd, name, value, 0)
}

func (s subject) removeXattr(name string) error {
	if s.mark {
		return unix.Removexattr(s.proc(), name)
	}
	return unix.Fremovexattr(s.fd, name)
}

// special makes a device or a fifo.
func (d *Dir) special(name string, t tree.Type, device uint64) error {
	mode := uint32(unix.S_IFIFO)
	switch t {
	case tree.Device:
		mode = unix.S_IFBLK
	case tree.CharDevice:
		mode = unix.S_IFCHR
	}
	return again(func() error { return unix.Mknodat(d.fd, name, mode|0o600, int(device)) })
}

// Allocate reserves room for the first size bytes, so that they come to lie together and a full disk is known early. The
// file becomes that long. A file system that cannot do it is no error.
func (f *File) Allocate(size int64) error {
	err := again(func() error { return unix.Fallocate(f.fd, 0, 0, size) })
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.EINVAL {
		return nil
	}
	return written(err, "reserve room for", f.Path())
}

// Punch makes a hole; false: this file system has none, and nothing was done.
func (f *File) Punch(off, n int64) (bool, error) {
	err := again(func() error { return unix.Fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n) })
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return false, nil
	}
	return err == nil, written(err, "make a hole in", f.Path())
}

// Forget lets go of what the system holds of the file in memory, so that what is read next comes from the disk.
func (f *File) Forget() {
	_ = unix.Fdatasync(f.fd) // pages that are not on the disk yet are not let go
	_ = unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED)
}

// Sync puts the whole file system that d is on on stable storage.
func (d *Dir) Sync() error {
	return written(again(func() error { return unix.Syncfs(d.fd) }), "sync", d.path)
}

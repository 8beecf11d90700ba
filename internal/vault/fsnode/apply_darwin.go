package fsnode

import (
	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// subject opens what is called name in d, symbolic links themselves. A fifo that nobody writes to does not hold it up.
func (d *Dir) subject(name string) (subject, error) {
	fd, err := openAt(d.fd, name, unix.O_SYMLINK|unix.O_NONBLOCK|unix.O_CLOEXEC)
	if err != nil {
		return subject{}, written(err, "open", d.join(name))
	}
	return subject{fd, d, name, true}, nil
}

func (s subject) chown(uid, gid int) error {
	return again(func() error { return unix.Fchown(s.fd, uid, gid) })
}

func (s subject) chmod(mode uint32) error {
	return again(func() error { return unix.Fchmod(s.fd, mode) })
}

func (s subject) setTimes(atime, mtime unix.Timespec) error {
	return again(func() error {
		return unix.UtimesNanoAt(s.dir.fd, s.name, []unix.Timespec{atime, mtime}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

func (s subject) listXattr(buf []byte) (int, error) { return unix.Flistxattr(s.fd, buf) }

func (s subject) getXattr(name string, buf []byte) (int, error) {
	return unix.Fgetxattr(s.fd, name, buf)
}

func (s subject) setXattr(name string, value []byte) error {
	return unix.Fsetxattr(s.fd, name, value, 0)
}

func (s subject) removeXattr(name string) error { return unix.Fremovexattr(s.fd, name) }

// special makes nothing: this system has no call for it that names the directory by an open one.
func (d *Dir) special(string, tree.Type, uint64) error { return unix.ENOTSUP }

// Allocate does nothing here.
func (f *File) Allocate(int64) error { return nil }

// Punch does nothing here.
func (f *File) Punch(int64, int64) (bool, error) { return false, nil }

// Forget does nothing here.
func (f *File) Forget() {}

// Sync puts the file system that d is on on stable storage.
func (d *Dir) Sync() error {
	return written(again(func() error { return unix.Sync() }), "sync", d.path)
}

package fsnode

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Mkdir makes a directory in d that only its owner may enter, and opens it. Exists: the name is taken.
func (d *Dir) Mkdir(name string) (*Dir, error) {
	if err := d.named(name); err != nil {
		return nil, err
	}
	if err := again(func() error { return unix.Mkdirat(d.fd, name, 0o700) }); err != nil {
		return nil, written(err, "make the directory", d.join(name))
	}
	return d.Dir(name)
}

// named is Invalid for a name that could lead out of d. Whoever passes names from a vault has judged them before
// (tree.Node.Valid): this is the second look.
func (d *Dir) named(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return failure.New(failure.Invalid, "write in", d.path, "%.80q cannot be a name", name)
	}
	return nil
}

// Enter opens a directory in d like Dir, and gives its owner the right to list it and to change what is in it where that
// is missing: then unlocked is true.
func (d *Dir) Enter(name string) (dir *Dir, unlocked bool, err error) {
	if err := d.named(name); err != nil {
		return nil, false, err
	}
	if unprivileged() {
		if unlocked, err = d.unlock(name); err != nil {
			return nil, false, err
		}
	}
	dir, err = d.Dir(name)
	return dir, unlocked, err
}

// unlock gives the owner of the directory name in d all rights to it, and reports whether any was missing.
func (d *Dir) unlock(name string) (bool, error) {
	s, err := d.subject(name)
	if err != nil {
		return false, err
	}
	defer closeFD(s.fd)
	var st Stat
	if err := fstat(s.fd, &st); err != nil {
		return false, written(err, "look at", s.path())
	}
	if mode := uint32(st.sys.Mode) & 0o7777; st.Type() == tree.Dir && mode&0o700 != 0o700 {
		return true, written(s.chmod(mode|0o700), "enter", s.path())
	}
	return false, nil
}

// Create makes a file in d that only its owner may read and write, and opens it for both. Exists: the name is taken.
func (d *Dir) Create(name string) (*File, error) {
	return d.open(name, unix.O_CREAT|unix.O_EXCL, "create")
}

// Change opens a file that there is for reading and writing, and gives its owner the right to where that is missing.
// What it is, the caller asks with File.Stat: a symbolic link is refused, a fifo is not.
func (d *Dir) Change(name string) (*File, error) {
	f, err := d.open(name, 0, "open for writing")
	if err == nil || !errors.Is(err, unix.EACCES) || !unprivileged() {
		return f, err
	}
	s, serr := d.subject(name)
	if serr != nil {
		return nil, serr
	}
	defer closeFD(s.fd)
	var st Stat
	if fstat(s.fd, &st) != nil || st.Type() != tree.File || s.chmod(uint32(st.sys.Mode)&0o7777|0o600) != nil {
		return nil, err
	}
	return d.open(name, 0, "open for writing")
}

func (d *Dir) open(name string, flags int, op string) (*File, error) {
	if err := d.named(name); err != nil {
		return nil, err
	}
	for {
		fd, err := unix.Openat(d.fd, name, flags|unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return &File{fd, d, name}, nil
		}
		if err != unix.EINTR {
			return nil, written(err, op, d.join(name))
		}
	}
}

// Link gives what is called old in from another name in d. A symbolic link is linked itself.
func (d *Dir) Link(from *Dir, old, name string) error {
	if err := d.named(name); err != nil {
		return err
	}
	return written(again(func() error { return unix.Linkat(from.fd, old, d.fd, name, 0) }), "link", d.join(name))
}

// Rename moves what is called old in d to name, in the place of what is there.
func (d *Dir) Rename(old, name string) error {
	if err := d.named(name); err != nil {
		return err
	}
	return written(again(func() error { return unix.Renameat(d.fd, old, d.fd, name) }), "rename", d.join(old))
}

// Make makes a symbolic link, a device or a fifo in d, as n says, without metadata. Exists: the name is taken.
// Unsupported: this system cannot make one.
func (d *Dir) Make(name string, t tree.Type, target string, device uint64) error {
	if err := d.named(name); err != nil {
		return err
	}
	switch t {
	case tree.Symlink:
		return written(again(func() error { return unix.Symlinkat(target, d.fd, name) }), "make the symbolic link", d.join(name))
	case tree.Fifo, tree.Device, tree.CharDevice:
		return written(d.special(name, t, device), "make the "+string(t), d.join(name))
	}
	return failure.New(failure.Unsupported, "make", d.join(name), "a %q cannot be made", t)
}

// Target gives what a symbolic link in d says.
func (d *Dir) Target(name string) (string, error) { return d.readlink(name) }

// Remove removes a file of any type, or an empty directory. What is not there is no error.
func (d *Dir) Remove(name string, t tree.Type) error {
	if err := d.named(name); err != nil {
		return err
	}
	flags := 0
	if t == tree.Dir {
		flags = unix.AT_REMOVEDIR
	}
	err := again(func() error { return unix.Unlinkat(d.fd, name, flags) })
	if err == unix.ENOENT {
		return nil
	}
	return written(err, "remove", d.join(name))
}

// SameDir reports whether two open directories are one.
func (d *Dir) SameDir(s *Stat) bool {
	var st Stat
	return fstat(d.fd, &st) == nil && st.Device() == s.Device() && st.Inode() == s.Inode()
}

// Free is how many bytes this user may still write to the file system that d is on.
func (d *Dir) Free() (int64, error) {
	var st unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(d.fd, &st) }); err != nil {
		return 0, written(err, "ask for the room on", d.path)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// OpenTarget opens the directory at path like OpenDir, and makes it and those above it when they are not there.
func OpenTarget(path string) (d *Dir, created bool, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, false, written(err, "make the directory", path)
		}
		created = true
	}
	d, err = OpenDir(path)
	return d, created, err
}

// IdentityOf tells which file lies at path, symbolic links followed; false: it cannot be told.
func IdentityOf(path string) (Identity, bool) {
	var s Stat
	if unix.Stat(path, &s.sys) != nil {
		return Identity{}, false
	}
	return s.Identity(), true
}

// Number is the device number of a device.
func (s *Stat) Number() uint64 { return uint64(s.sys.Rdev) }

// Again opens the same directory once more, so that it can be listed from its beginning.
func (d *Dir) Again() (*Dir, error) {
	fd, err := openAt(d.fd, ".", openFlags|unix.O_DIRECTORY)
	if err != nil {
		return nil, mapped(err, "open the directory", d.path)
	}
	return &Dir{fd, d.path}, nil
}

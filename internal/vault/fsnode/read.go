package fsnode

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Stat is what the system says of a file without opening it.
type Stat struct{ sys unix.Stat_t }

// Type is what a node of the file is.
func (s *Stat) Type() tree.Type {
	switch s.sys.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return tree.File
	case unix.S_IFDIR:
		return tree.Dir
	case unix.S_IFLNK:
		return tree.Symlink
	case unix.S_IFBLK:
		return tree.Device
	case unix.S_IFCHR:
		return tree.CharDevice
	case unix.S_IFIFO:
		return tree.Fifo
	case unix.S_IFSOCK:
		return tree.Socket
	}
	return tree.Irregular
}

// Mode gives Go's bits: those of the type, the permissions, setuid, setgid, sticky.
func (s *Stat) Mode() fs.FileMode {
	mode := fs.FileMode(s.sys.Mode & 0o777)
	switch s.Type() {
	case tree.Dir:
		mode |= fs.ModeDir
	case tree.Symlink:
		mode |= fs.ModeSymlink
	case tree.Device:
		mode |= fs.ModeDevice
	case tree.CharDevice:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case tree.Fifo:
		mode |= fs.ModeNamedPipe
	case tree.Socket:
		mode |= fs.ModeSocket
	case tree.Irregular:
		mode |= fs.ModeIrregular
	}
	if s.sys.Mode&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if s.sys.Mode&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if s.sys.Mode&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// Size is in bytes.
func (s *Stat) Size() int64 { return s.sys.Size }

// Device is the number of the file system that the file is on.
func (s *Stat) Device() uint64 { return uint64(s.sys.Dev) }

// Inode is the file's number in its file system.
func (s *Stat) Inode() uint64 { return s.sys.Ino }

// Links is how many names the file has.
func (s *Stat) Links() uint64 { return uint64(s.sys.Nlink) }

// Allocated is how many bytes the file takes on the disk: less than its size when it has holes.
func (s *Stat) Allocated() int64 { return s.sys.Blocks * 512 }

// ModTime is when the content changed last.
func (s *Stat) ModTime() time.Time { return stamp(s.sys.Mtim) }

// ChangeTime is when the content or the metadata changed last.
func (s *Stat) ChangeTime() time.Time { return stamp(s.sys.Ctim) }

func stamp(t unix.Timespec) time.Time { return time.Unix(t.Unix()) }

// Reader reads nodes. It remembers the names of users and groups. It may be used by several goroutines at once.
type Reader struct {
	// WithAccessTime stores access times; without it they are the modification times, so that reading a file changes no
	// tree.
	WithAccessTime bool

	users, groups names
}

// NewReader gives a Reader that asks the system for names.
func NewReader() *Reader {
	return &Reader{users: names{look: lookupUser}, groups: names{look: lookupGroup}}
}

// Node gives the node of the file name in d, as s says it is, complete but for Content and Subtree. When some of the
// metadata cannot be read the node comes with an error that says what. A file that is gone gives none.
func (r *Reader) Node(d *Dir, name string, s *Stat) (*tree.Node, error) {
	n := r.basic(name, s)
	var errs []error
	if n.Type == tree.Symlink {
		target, err := d.readlink(name)
		if err != nil {
			if failure.KindOf(err) == failure.NotFound {
				return nil, err
			}
			errs = append(errs, err)
		}
		n.LinkTarget = target
	}
	var err error
	if n.Xattrs, err = d.xattrs(name); err != nil {
		errs = append(errs, err)
	}
	if n.Type == tree.Irregular {
		errs = append(errs, failure.New(failure.Unsupported, "read", name, "it is of no type that can be stored"))
	}
	return n, errors.Join(errs...)
}

// basic gives the node with what s says.
func (r *Reader) basic(name string, s *Stat) *tree.Node {
	n := &tree.Node{
		Name: name, Type: s.Type(), Mode: s.Mode(),
		ModTime: s.ModTime(), ChangeTime: s.ChangeTime(),
		UID: s.sys.Uid, GID: s.sys.Gid, User: r.users.of(s.sys.Uid), Group: r.groups.of(s.sys.Gid),
		Inode: s.Inode(), DeviceID: s.Device(),
	}
	n.AccessTime = n.ModTime
	if r.WithAccessTime {
		n.AccessTime = stamp(s.sys.Atim)
	}
	switch n.Type {
	case tree.File:
		n.Size, n.Links = uint64(s.Size()), s.Links()
	case tree.Symlink:
		n.Links = s.Links()
	case tree.Device, tree.CharDevice:
		n.Device, n.Links = uint64(s.sys.Rdev), s.Links()
	}
	return n
}

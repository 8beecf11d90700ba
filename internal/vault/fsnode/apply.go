package fsnode

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Meta is what Apply sets: a node without its name, its content and what no system lets be set. It takes little memory,
// for a restore holds one for each file.
type Meta struct {
	kind         uint8  // one of kinds
	mode         uint32 // as chmod takes it
	uid, gid     uint32
	msec, asec   int64 // times: seconds since 1970
	mnsec, ansec int32 // and nanoseconds
	xattrs       *[]tree.Xattr
}

// kinds are the types that there are.
var kinds = []tree.Type{tree.Irregular, tree.File, tree.Dir, tree.Symlink, tree.Device, tree.CharDevice, tree.Fifo, tree.Socket}

// Type is what it is the metadata of.
func (m *Meta) Type() tree.Type { return kinds[m.kind] }

func (m *Meta) attrs() []tree.Xattr {
	if m.xattrs == nil {
		return nil
	}
	return *m.xattrs
}

// stampOf is an instant: seconds since 1970 and nanoseconds.
type stampOf struct {
	sec  int64
	nsec int32
}

func instant(t time.Time) stampOf { return stampOf{t.Unix(), int32(t.Nanosecond())} }

func (m *Meta) mtime() stampOf { return stampOf{m.msec, m.mnsec} }
func (m *Meta) atime() stampOf { return stampOf{m.asec, m.ansec} }

// ModTime is when the content changed last.
func (m *Meta) ModTime() time.Time { return time.Unix(m.msec, int64(m.mnsec)) }

// OwnedAlike reports whether what s tells of belongs to whom it is to belong in the end: whoever owned it, and may have
// it open still, may read what is written to it.
func (m *Meta) OwnedAlike(s *Stat) bool {
	return s.sys.Uid == m.uid || unprivileged() && s.sys.Uid == uint32(os.Geteuid())
}

// Private reports whether a file with what s says may hold content meant for m before it has its metadata: it belongs to
// the same user and group, and nobody may read or run it who may not afterwards.
func (m *Meta) Private(s *Stat) bool {
	return s.sys.Uid == m.uid && s.sys.Gid == m.gid && uint32(s.sys.Mode)&0o7077&^m.mode == 0
}

// Shortfall is a property that this user may not set, or that this file system cannot hold.
type Shortfall struct {
	What string // "owner", "extended attribute user.x"
	Err  error
}

// Change is a set of properties.
type Change uint8

// The properties.
const (
	Owner Change = 1 << iota
	Mode
	Xattrs
	Times
)

// String names the properties, for people.
func (c Change) String() string {
	text := ""
	for i, name := range []string{"owner", "mode", "extended attributes", "modification time"} {
		if c&(1<<i) != 0 {
			if text != "" {
				text += ", "
			}
			text += name
		}
	}
	return text
}

// UserAndGroup owns a file.
type UserAndGroup struct{ UID, GID uint32 }

// Applier gives files the metadata of nodes. Its methods may be called from several goroutines at once; the fields are
// set before.
type Applier struct {
	OwnerByName bool                   // owners by the nodes' names where these are known here
	Owner       *UserAndGroup          // everybody's owner, whatever the nodes say; nil: theirs
	Xattr       func(name string) bool // which extended attributes count; nil: all
	DryRun      bool                   // tells what differs and changes nothing

	users, groups numbers
}

// unprivileged reports whether this user may not do everything: then what is refused is a Shortfall.
var unprivileged = sync.OnceValue(func() bool { return os.Geteuid() != 0 })

// Meta takes the metadata out of a node.
func (a *Applier) Meta(n *tree.Node) Meta {
	mtime, atime := instant(n.ModTime), instant(n.AccessTime)
	m := Meta{kind: uint8(max(0, slices.Index(kinds, n.Type))), mode: sysMode(n.Mode), uid: n.UID, gid: n.GID,
		msec: mtime.sec, mnsec: mtime.nsec, asec: atime.sec, ansec: atime.nsec}
	if a.OwnerByName {
		m.uid = a.users.of(n.User, n.UID, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		m.gid = a.groups.of(n.Group, n.GID, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
	}
	if a.Owner != nil {
		m.uid, m.gid = a.Owner.UID, a.Owner.GID
	}
	var attrs []tree.Xattr
	for _, x := range n.Xattrs {
		if a.wants(x.Name) {
			attrs = append(attrs, x)
		}
	}
	if attrs != nil {
		m.xattrs = &attrs
	}
	return m
}

func (a *Applier) wants(xattr string) bool { return a.Xattr == nil || a.Xattr(xattr) }

// sysMode turns Go's bits into those of chmod.
func sysMode(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		bits |= unix.S_ISUID
	}
	if mode&fs.ModeSetgid != 0 {
		bits |= unix.S_ISGID
	}
	if mode&fs.ModeSticky != 0 {
		bits |= unix.S_ISVTX
	}
	return bits
}

// Apply sets the metadata m of the open file f: owner first, which takes setuid bits away, then extended attributes, the
// mode and the times. It tells what had to be changed, and what could not be because this user may not or the file system
// cannot. A file of another type than m's is Conflict: somebody has changed it.
func (a *Applier) Apply(f *File, m *Meta) (Change, []Shortfall, error) {
	return a.apply(subject{f.fd, f.dir, f.Name, false}, m)
}

// ApplyDir is Apply to a directory itself.
func (a *Applier) ApplyDir(d *Dir, m *Meta) (Change, []Shortfall, error) {
	return a.apply(subject{d.fd, d, ".", false}, m)
}

// ApplyEntry is Apply to what is called name in d without opening it, as symbolic links, devices and fifos cannot be. It
// must be the one that was, as Stat gave it, was; with nil, one that has this name only. Otherwise it is Conflict.
func (a *Applier) ApplyEntry(d *Dir, name string, m *Meta, was *Identity) (Change, []Shortfall, error) {
	s, err := d.subject(name)
	if err != nil {
		return 0, nil, err
	}
	defer closeFD(s.fd)
	var st Stat
	if err := fstat(s.fd, &st); err != nil {
		return 0, nil, written(err, "look at", s.path())
	}
	if was == nil && st.Links() > 1 || was != nil && *was != st.Identity() {
		return 0, nil, failure.New(failure.Conflict, "set the metadata of", s.path(), "it is another one now").
			WithHint("somebody else changes the target: restore again when that has ended")
	}
	return a.apply(s, m)
}

// Identity tells a file from all others that there are at the same time.
type Identity struct{ Device, Inode uint64 }

// Identity is which file it is.
func (s *Stat) Identity() Identity { return Identity{s.Device(), s.Inode()} }

// subject is what metadata is set on: an open file, or one that stands for what cannot be opened.
type subject struct {
	fd   int
	dir  *Dir
	name string
	mark bool // fd only marks the place: most calls refuse it
}

func (s subject) path() string { return s.dir.join(s.name) }

func (a *Applier) apply(s subject, m *Meta) (Change, []Shortfall, error) {
	var st Stat
	if err := fstat(s.fd, &st); err != nil {
		return 0, nil, written(err, "look at", s.path())
	}
	if st.Type() != m.Type() {
		return 0, nil, failure.New(failure.Conflict, "set the metadata of", s.path(), "it is a %s now, not a %s", st.Type(), m.Type()).
			WithHint("somebody else changes the target: restore again when that has ended")
	}
	var changed Change
	var short []Shortfall
	var errs []error // of one step; the others are taken all the same
	if st.sys.Uid != m.uid || st.sys.Gid != m.gid {
		changed |= Owner
		fell, err := a.setOwner(s, &st, m)
		short, errs = append(short, fell...), append(errs, err)
	}
	attrs, fell, err := a.setXattrs(s, m)
	short, errs = append(short, fell...), append(errs, err)
	if attrs {
		changed |= Xattrs
	}
	if m.Type() != tree.Symlink {
		fell, err := a.setMode(s, &st, m, changed)
		short, errs = append(short, fell...), append(errs, err)
		if uint32(st.sys.Mode)&0o7777 != m.mode {
			changed |= Mode
		}
	}
	if instant(st.ModTime()) != m.mtime() {
		changed |= Times
	}
	if !a.DryRun && (changed != 0 || instant(stamp(st.sys.Atim)) != m.atime()) {
		if err := s.setTimes(timespec(m.atime()), timespec(m.mtime())); err != nil {
			errs = append(errs, written(err, "set the times of", s.path()))
		} else if s.clamped(m) {
			short = append(short, Shortfall{"modification time", failure.New(failure.Unsupported, "set the times of", s.path(),
				"the file system cannot hold %s", m.ModTime().UTC().Format(time.RFC3339))})
		}
	}
	return changed, short, errors.Join(errs...)
}

func timespec(t stampOf) unix.Timespec {
	ts := unix.NsecToTimespec(int64(t.nsec))
	ts.Sec = t.sec
	return ts
}

// far reports whether some file system cannot hold t.
func (t stampOf) far() bool { return t.sec < math.MinInt32 || t.sec > math.MaxUint32 }

// clamped reports whether the file system has made another time of m's, as is its way with those that it cannot hold.
func (s subject) clamped(m *Meta) bool {
	var st Stat
	return m.mtime().far() && fstat(s.fd, &st) == nil && instant(st.ModTime()) != m.mtime()
}

// setOwner changes user and group, or, where that is refused, the group alone.
func (a *Applier) setOwner(s subject, st *Stat, m *Meta) ([]Shortfall, error) {
	if a.DryRun {
		return nil, nil
	}
	err := s.chown(int(m.uid), int(m.gid))
	if err == nil {
		return nil, nil
	}
	if err != unix.EINVAL && (!unprivileged() || err != unix.EPERM) { // EINVAL: this user namespace has no such number
		return nil, written(err, "set the owner of", s.path())
	}
	var short []Shortfall
	if st.sys.Uid != m.uid {
		short = append(short, Shortfall{"owner", written(err, "set the owner of", s.path())})
	}
	if st.sys.Gid != m.gid {
		if err := s.chown(-1, int(m.gid)); err != nil {
			short = append(short, Shortfall{"group", written(err, "set the group of", s.path())})
		}
	}
	return short, nil
}

// setMode changes the mode, without setuid and setgid where the file is not whose they are meant to be.
func (a *Applier) setMode(s subject, st *Stat, m *Meta, changed Change) ([]Shortfall, error) {
	if a.DryRun {
		return nil, nil
	}
	mode, have := m.mode, uint32(st.sys.Mode)&0o7777
	var short []Shortfall
	if changed&Owner != 0 || changed&Xattrs != 0 {
		var now Stat
		if err := fstat(s.fd, &now); err != nil {
			return nil, written(err, "look at", s.path())
		}
		have = uint32(now.sys.Mode) & 0o7777
		if drop := (unix.S_ISUID | unix.S_ISGID) & mode; drop != 0 && m.Type() != tree.Dir {
			if now.sys.Uid != m.uid || now.sys.Gid != m.gid {
				mode &^= drop
				short = append(short, Shortfall{"setuid and setgid bits", failure.New(failure.Denied, "set the mode of", s.path(),
					"its owner could not be restored")})
			}
		}
	}
	if mode == have {
		return short, nil
	}
	return short, written(s.chmod(mode), "set the mode of", s.path())
}

// numbers remembers which numbers names of users or groups have.
type numbers struct {
	mu    sync.Mutex
	known map[string]int64 // -1: there is no such name
}

// of gives the number that name has here, or fallback.
func (n *numbers) of(name string, fallback uint32, look func(string) (string, error)) uint32 {
	if name == "" {
		return fallback
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	id, ok := n.known[name]
	if !ok {
		id = -1
		if text, err := look(name); err == nil {
			if parsed, err := strconv.ParseUint(text, 10, 32); err == nil {
				id = int64(parsed)
			}
		}
		if n.known == nil {
			n.known = map[string]int64{}
		}
		n.known[name] = id
	}
	if id < 0 {
		return fallback
	}
	return uint32(id)
}

//go:build linux || darwin || freebsd

package mount

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// fileSystem is what all nodes of a mount share.
type fileSystem struct {
	v    *vault.Vault
	o    Options
	log  *slog.Logger
	ctx  context.Context // of the mount: ends when it does; loads that several wait for run under it
	work sync.WaitGroup  // loads under way

	blobs blobs
	trees *cache[[]tree.Node] // sorted by name

	mu      sync.Mutex
	layout  layout
	known   []object.ID // the snapshots that are laid out
	looked  time.Time
	indexed time.Time // when the index was last loaded because something was missing
}

// shelves gives the layout, looked up anew when it is old.
func (f *fileSystem) shelves(ctx context.Context) (layout, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.o.Now()
	if f.layout != nil && now.Sub(f.looked) < f.o.Refresh {
		return f.layout, nil
	}
	all, err := f.v.Snapshots(ctx, f.o.Filter)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		f.log.WarnContext(ctx, "not every snapshot can be read", "error", err)
		if len(all) == 0 && f.layout != nil {
			f.looked = now
			return f.layout, nil
		}
	}
	ids := make([]object.ID, 0, len(all))
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	f.looked = now
	if f.layout != nil && slices.Equal(ids, f.known) {
		return f.layout, nil
	}
	if f.layout != nil {
		if err := f.v.LoadIndex(ctx); err != nil {
			f.log.WarnContext(ctx, "the index cannot be loaded anew", "error", err)
		}
	}
	f.known, f.layout = ids, arrange(all, f.o.Paths, f.o.TimeFormat)
	return f.layout, nil
}

// load gives a blob. When it is missing the index may be old, after a prune: it is loaded anew, but not all the time.
func (f *fileSystem) load(ctx context.Context, h object.Handle) ([]byte, error) {
	data, err := f.v.LoadBlob(ctx, h)
	if err == nil || ctx.Err() != nil {
		return data, err
	}
	switch failure.KindOf(err) {
	case failure.NotFound, failure.Corrupt:
	default:
		return nil, err
	}
	f.mu.Lock()
	now := f.o.Now()
	again := now.Sub(f.indexed) > 10*time.Second
	if again {
		f.indexed = now
	}
	f.mu.Unlock()
	if !again || f.v.LoadIndex(ctx) != nil {
		return nil, err
	}
	return f.v.LoadBlob(ctx, h)
}

// nodes gives a directory's nodes, sorted by name, without those that cannot be names. They are not to be changed.
func (f *fileSystem) nodes(ctx context.Context, id object.ID) ([]tree.Node, error) {
	s, mine := f.trees.claim(id)
	if mine {
		f.work.Go(func() {
			text, err := f.load(f.ctx, object.Handle{Type: object.Tree, ID: id})
			if err != nil {
				f.trees.fill(s, nil, 0, err)
				return
			}
			t, err := tree.Decode(text)
			if err != nil {
				f.trees.fill(s, nil, 0, err)
				return
			}
			all := slices.DeleteFunc(t.Nodes, func(n tree.Node) bool {
				err := n.Valid()
				if err != nil {
					f.log.Warn("a node is left out", "tree", id, "error", err)
				}
				return err != nil
			})
			slices.SortStableFunc(all, func(a, b tree.Node) int { return strings.Compare(a.Name, b.Name) })
			all = slices.CompactFunc(all, func(a, b tree.Node) bool { return a.Name == b.Name })
			f.trees.fill(s, all, int64(2*len(text)), nil)
		})
	}
	return s.wait(ctx)
}

// errno is what the kernel is told of err; the log is told all.
func (f *fileSystem) errno(ctx context.Context, what, name string, err error) syscall.Errno {
	if ctx.Err() != nil {
		return syscall.EINTR
	}
	f.log.ErrorContext(ctx, what, "name", name, "error", err)
	switch failure.KindOf(err) {
	case failure.Denied:
		return syscall.EACCES
	case failure.Unavailable, failure.Throttled, failure.Canceled:
		return syscall.EAGAIN
	}
	return syscall.EIO
}

// stable makes the numbers of an inode out of what it is: so that a file has the same one each time, and two files never
// the same pair.
func stable(mode uint32, parts ...any) fs.StableAttr {
	h := sha256.New()
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			binary.Write(h, binary.LittleEndian, uint64(len(p)))
			h.Write([]byte(p))
		case uint64:
			binary.Write(h, binary.LittleEndian, p)
		}
	}
	sum := h.Sum(nil)
	return fs.StableAttr{Mode: mode, Ino: binary.LittleEndian.Uint64(sum)>>1 | 1<<32, Gen: binary.LittleEndian.Uint64(sum[8:])}
}

const (
	// Directories of snapshots come and go; what is in a snapshot never changes.
	shelfValid = time.Second
	nodeValid  = time.Hour
)

// shelfNode is a directory above the snapshots.
type shelfNode struct {
	fs.Inode
	f    *fileSystem
	path string
}

var (
	_ fs.NodeLookuper  = (*shelfNode)(nil)
	_ fs.NodeReaddirer = (*shelfNode)(nil)
	_ fs.NodeGetattrer = (*shelfNode)(nil)
)

func (n *shelfNode) look(ctx context.Context) (shelf, syscall.Errno) {
	l, err := n.f.shelves(ctx)
	if err != nil {
		return nil, n.f.errno(ctx, "list snapshots", n.path, err)
	}
	s, there := l[n.path]
	if !there {
		return nil, syscall.ENOENT
	}
	return s, 0
}

func (n *shelfNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.f.shelfAttr(&out.Attr, syscall.S_IFDIR|0o555, n.f.o.Now())
	out.SetTimeout(shelfValid)
	return 0
}

// shelfAttr is what is said of things that are in no snapshot.
func (f *fileSystem) shelfAttr(a *fuse.Attr, mode uint32, when time.Time) {
	a.Mode, a.Nlink = mode, 1
	if !f.o.OwnerRoot {
		a.Uid, a.Gid = uint32(syscall.Getuid()), uint32(syscall.Getgid())
	}
	a.SetTimes(&when, &when, &when)
}

func (n *shelfNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	s, errno := n.look(ctx)
	if errno != 0 {
		return nil, errno
	}
	var list []fuse.DirEntry
	for name, p := range s {
		list = append(list, fuse.DirEntry{Name: name, Mode: p.mode(), Ino: n.stable(name, p).Ino})
	}
	slices.SortFunc(list, func(a, b fuse.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return fs.NewListDirStream(list), 0
}

func (p place) mode() uint32 {
	if p.link != "" {
		return syscall.S_IFLNK
	}
	return syscall.S_IFDIR
}

// stable includes the snapshot, since "latest" leads elsewhere later and names can be taken over.
func (n *shelfNode) stable(name string, p place) fs.StableAttr {
	if p.shelf {
		return stable(p.mode(), "shelf", n.path, name)
	}
	return stable(p.mode(), "snapshot", n.path, name, p.snapshot.ID.String(), p.link)
}

func (n *shelfNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	s, errno := n.look(ctx)
	if errno != 0 {
		return nil, errno
	}
	p, there := s[name]
	if !there {
		return nil, syscall.ENOENT
	}
	attr := n.stable(name, p)
	out.SetEntryTimeout(shelfValid)
	out.SetAttrTimeout(shelfValid)
	switch {
	case p.shelf:
		n.f.shelfAttr(&out.Attr, syscall.S_IFDIR|0o555, n.f.o.Now())
		return n.NewInode(ctx, &shelfNode{f: n.f, path: n.path + "/" + name}, attr), 0
	case p.link != "":
		n.f.shelfAttr(&out.Attr, syscall.S_IFLNK|0o777, p.snapshot.Time)
		out.Attr.Size = uint64(len(p.link))
		return n.NewInode(ctx, &linkNode{f: n.f, place: p}, attr), 0
	}
	root := &dirNode{f: n.f, root: attr.Ino, id: *p.snapshot.Tree, snapshot: p.snapshot}
	root.attr(&out.Attr)
	return n.NewInode(ctx, root, attr), 0
}

// linkNode is "latest".
type linkNode struct {
	fs.Inode
	f     *fileSystem
	place place
}

var (
	_ fs.NodeReadlinker = (*linkNode)(nil)
	_ fs.NodeGetattrer  = (*linkNode)(nil)
)

func (n *linkNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	return []byte(n.place.link), 0
}

func (n *linkNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.f.shelfAttr(&out.Attr, syscall.S_IFLNK|0o777, n.place.snapshot.Time)
	out.Attr.Size = uint64(len(n.place.link))
	return 0
}

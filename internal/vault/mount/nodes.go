//go:build linux || darwin || freebsd

package mount

import (
	"context"
	iofs "io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// dirNode is a directory of a snapshot, or its root, which has a snapshot and no node.
type dirNode struct {
	fs.Inode
	f        *fileSystem
	root     uint64 // the inode number of the snapshot's root in this place: what tells views of it apart
	id       object.ID
	node     *tree.Node
	snapshot *snapshot.Snapshot
}

var (
	_ fs.NodeLookuper    = (*dirNode)(nil)
	_ fs.NodeReaddirer   = (*dirNode)(nil)
	_ fs.NodeGetattrer   = (*dirNode)(nil)
	_ fs.NodeListxattrer = (*dirNode)(nil)
	_ fs.NodeGetxattrer  = (*dirNode)(nil)
)

func (n *dirNode) attr(a *fuse.Attr) {
	if n.node == nil {
		n.f.shelfAttr(a, syscall.S_IFDIR|0o555, n.snapshot.Time)
		return
	}
	n.f.attr(n.node, a)
}

func (n *dirNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.attr(&out.Attr)
	out.SetTimeout(nodeValid)
	return 0
}

func (n *dirNode) Readdir(ctx context.Context) (fs.DirStream, syscall.Errno) {
	all, err := n.f.nodes(ctx, n.id)
	if err != nil {
		return nil, n.f.errno(ctx, "read a directory", n.id.Short(), err)
	}
	list := make([]fuse.DirEntry, 0, len(all))
	for i := range all {
		if mode, ok := typeBits(all[i].Type); ok {
			list = append(list, fuse.DirEntry{Name: all[i].Name, Mode: mode, Ino: n.stable(&all[i], mode).Ino})
		}
	}
	return fs.NewListDirStream(list), 0
}

// stable tells nodes apart: by their place, but the names of one file are one.
func (n *dirNode) stable(node *tree.Node, mode uint32) fs.StableAttr {
	if node.Links > 1 && node.Type != tree.Dir && node.Inode != 0 {
		return stable(mode, "link", n.root, node.DeviceID, node.Inode)
	}
	own := n.StableAttr()
	return stable(mode, "node", own.Ino, own.Gen, node.Name)
}

func (n *dirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	node, err := n.f.find(ctx, n.id, name)
	if err != nil {
		return nil, n.f.errno(ctx, "read a directory", n.id.Short(), err)
	}
	out.SetEntryTimeout(nodeValid)
	if node == nil {
		return nil, syscall.ENOENT
	}
	mode, ok := typeBits(node.Type)
	if !ok {
		return nil, syscall.ENOENT
	}
	out.SetAttrTimeout(nodeValid)
	n.f.attr(node, &out.Attr)
	c := *node
	c.Content = nil // the kernel may know many files for long, and lists of blobs are long too
	var child fs.InodeEmbedder = &fileNode{f: n.f, dir: n.id, node: &c}
	if node.Type == tree.Dir {
		child = &dirNode{f: n.f, root: n.root, id: *node.Subtree, node: &c}
	}
	return n.NewInode(ctx, child, n.stable(node, mode)), 0
}

// find gives the node of a name in a directory, or nil. It is not to be changed.
func (f *fileSystem) find(ctx context.Context, dir object.ID, name string) (*tree.Node, error) {
	all, err := f.nodes(ctx, dir)
	if err != nil {
		return nil, err
	}
	i, there := slices.BinarySearchFunc(all, name, func(n tree.Node, name string) int { return strings.Compare(n.Name, name) })
	if !there {
		return nil, nil
	}
	return &all[i], nil
}

func (n *dirNode) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return listXattrs(n.node, dest)
}

func (n *dirNode) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	return getXattr(n.node, name, dest)
}

// fileNode is anything in a snapshot that is no directory.
type fileNode struct {
	fs.Inode
	f    *fileSystem
	dir  object.ID  // the tree that has the node
	node *tree.Node // without its content
}

var (
	_ fs.NodeGetattrer   = (*fileNode)(nil)
	_ fs.NodeOpener      = (*fileNode)(nil)
	_ fs.NodeReader      = (*fileNode)(nil)
	_ fs.NodeLseeker     = (*fileNode)(nil)
	_ fs.NodeReadlinker  = (*fileNode)(nil)
	_ fs.NodeListxattrer = (*fileNode)(nil)
	_ fs.NodeGetxattrer  = (*fileNode)(nil)
)

func (n *fileNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.f.attr(n.node, &out.Attr)
	out.SetTimeout(nodeValid)
	return 0
}

func (n *fileNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if n.node.Type != tree.File {
		return nil, 0, syscall.ENXIO
	}
	if flags&(syscall.O_WRONLY|syscall.O_RDWR) != 0 {
		return nil, 0, syscall.EROFS
	}
	var c *content
	node, err := n.f.find(ctx, n.dir, n.node.Name)
	switch {
	case err == nil && node == nil:
		err = failure.New(failure.Internal, "open", n.node.Name, "it is not in its directory any more")
	case err == nil:
		c, err = newContent(ctx, &n.f.blobs, node)
	}
	if err != nil {
		return nil, 0, n.f.errno(ctx, "open a file", n.node.Name, err)
	}
	return c, fuse.FOPEN_KEEP_CACHE, 0 // what is in a snapshot never changes
}

func (n *fileNode) Read(ctx context.Context, h fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	c, ok := h.(*content)
	if !ok {
		return nil, syscall.EBADF
	}
	read, err := c.read(ctx, dest, off)
	if err != nil {
		return nil, n.f.errno(ctx, "read a file", n.node.Name, err)
	}
	return fuse.ReadResultData(dest[:read]), 0
}

// The arguments of lseek, which package syscall does not name.
const (
	seekData = 3
	seekHole = 4
)

func (n *fileNode) Lseek(_ context.Context, h fs.FileHandle, off uint64, whence uint32) (uint64, syscall.Errno) {
	c, ok := h.(*content)
	if !ok || whence != seekData && whence != seekHole {
		return 0, syscall.EINVAL
	}
	at, found := c.seek(int64(off), whence == seekHole)
	if !found {
		return 0, syscall.ENXIO
	}
	return uint64(at), 0
}

func (n *fileNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	return []byte(n.node.LinkTarget), 0
}

func (n *fileNode) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return listXattrs(n.node, dest)
}

func (n *fileNode) Getxattr(_ context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	return getXattr(n.node, name, dest)
}

func listXattrs(n *tree.Node, dest []byte) (uint32, syscall.Errno) {
	var names []byte
	if n != nil {
		for _, x := range n.Xattrs {
			names = append(append(names, x.Name...), 0)
		}
	}
	return give(names, dest)
}

func getXattr(n *tree.Node, name string, dest []byte) (uint32, syscall.Errno) {
	if n != nil {
		for _, x := range n.Xattrs {
			if x.Name == name {
				return give(x.Value, dest)
			}
		}
	}
	return 0, fs.ENOATTR
}

func give(value, dest []byte) (uint32, syscall.Errno) {
	if len(dest) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

// typeBits are the bits of st_mode for a type; false: it cannot be shown.
func typeBits(t tree.Type) (uint32, bool) {
	switch t {
	case tree.File:
		return syscall.S_IFREG, true
	case tree.Dir:
		return syscall.S_IFDIR, true
	case tree.Symlink:
		return syscall.S_IFLNK, true
	case tree.Device:
		return syscall.S_IFBLK, true
	case tree.CharDevice:
		return syscall.S_IFCHR, true
	case tree.Fifo:
		return syscall.S_IFIFO, true
	case tree.Socket:
		return syscall.S_IFSOCK, true
	}
	return 0, false
}

// attr says of a node what stat said of the file.
func (f *fileSystem) attr(n *tree.Node, a *fuse.Attr) {
	a.Mode, _ = typeBits(n.Type)
	a.Mode |= uint32(n.Mode.Perm())
	if n.Mode&iofs.ModeSetuid != 0 {
		a.Mode |= syscall.S_ISUID
	}
	if n.Mode&iofs.ModeSetgid != 0 {
		a.Mode |= syscall.S_ISGID
	}
	if n.Mode&iofs.ModeSticky != 0 {
		a.Mode |= syscall.S_ISVTX
	}
	if !f.o.OwnerRoot {
		a.Uid, a.Gid = n.UID, n.GID
	}
	a.Nlink = 1
	switch n.Type {
	case tree.File:
		a.Size = n.Size
	case tree.Symlink:
		a.Size = uint64(len(n.LinkTarget))
	case tree.Device, tree.CharDevice:
		a.Rdev = uint32(n.Device)
	}
	if n.Type != tree.Dir && n.Links > 1 {
		a.Nlink = uint32(n.Links)
	}
	a.Blksize = 4096
	a.Blocks = (a.Size + 511) / 512
	a.SetTimes(&n.AccessTime, &n.ModTime, &n.ChangeTime)
}

package pgbase

import (
	"cmp"
	"context"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// folder is a directory of the point while it comes together.
type folder struct {
	node    tree.Node
	folders map[string]*folder
	files   map[string]*file
}

func newFolder(n tree.Node) *folder {
	return &folder{node: n, folders: map[string]*folder{}, files: map[string]*file{}}
}

// at gives the folder of a path below f, and makes those that nobody has told of yet: with like's owner.
func (f *folder) at(name string, like tree.Node) *folder {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." {
			continue
		}
		next := f.folders[part]
		if next == nil {
			n := like
			n.Name, n.Type, n.Mode = part, tree.Dir, fs.ModeDir|0o700
			next = newFolder(n)
			f.folders[part] = next
		}
		f = next
	}
	return f
}

// add puts a file where its path says. One that is there already is Corrupt: no base backup has a name twice.
func (f *folder) add(name string, x *file) error {
	in := f.at(path.Dir(name), owner(x.node))
	base := path.Base(name)
	if in.files[base] != nil || in.folders[base] != nil {
		return failure.New(failure.Corrupt, "capture", name, "it comes twice")
	}
	x.node.Name = base
	in.files[base] = x
	return nil
}

// describe sets the metadata of a folder.
func (f *folder) describe(name string, n tree.Node) {
	d := f.at(name, owner(n))
	n.Name, n.Type = d.node.Name, tree.Dir
	d.node = n
}

// owner keeps of a node whose it is, and when it was made.
func owner(n tree.Node) tree.Node {
	return tree.Node{UID: n.UID, GID: n.GID, User: n.User, Group: n.Group, ModTime: n.ModTime, AccessTime: n.ModTime, ChangeTime: n.ModTime}
}

// save stores the folder's tree, those below it first.
func (f *folder) save(ctx context.Context, s *vault.Session) (object.ID, error) {
	nodes := make([]*tree.Node, 0, len(f.files)+len(f.folders))
	for name, sub := range f.folders {
		id, err := sub.save(ctx, s)
		if err != nil {
			return id, err
		}
		sub.node.Name, sub.node.Subtree = name, &id
		nodes = append(nodes, &sub.node)
	}
	for _, x := range f.files {
		if x.node.Type == tree.File {
			x.node.Content = x.ids
			if x.ids == nil {
				x.node.Content = []object.ID{} // null would be no file
			}
		}
		nodes = append(nodes, &x.node)
	}
	slices.SortFunc(nodes, func(a, b *tree.Node) int { return cmp.Compare(a.Name, b.Name) })
	text, err := tree.Encode(nodes)
	if err != nil {
		return object.ID{}, err
	}
	return s.SaveBlob(ctx, object.Tree, text)
}

// virtual stores a small file that the server does not have.
func (c *capture) virtual(ctx context.Context, name string, at time.Time, content io.Reader) error {
	stored, err := c.session.SaveStream(ctx, content)
	if err != nil {
		return err
	}
	n := owner(c.like)
	n.Type, n.Mode, n.Size, n.Links = tree.File, c.mode(0o600), stored.Size, 1
	n.ModTime, n.AccessTime, n.ChangeTime = at, at, at
	return c.root.add(name, &file{node: n, ids: stored.Blobs})
}

// mode gives the cluster's group its share of a mode for the owner, where it has one in the whole cluster.
func (c *capture) mode(m fs.FileMode) fs.FileMode {
	if c.groups {
		m |= m.Perm() >> 3 & 0o050
	}
	return m
}

// top is a folder of the point that the server has no description of.
func (c *capture) top() tree.Node {
	n := owner(c.like)
	n.Mode = fs.ModeDir | c.mode(0o700)
	return n
}

// spaces describes the folder that those of the tablespaces are in.
func (c *capture) spaces() {
	if len(c.base.Spaces) > 0 {
		c.root.describe(pgpoint.SpacesPath, c.top())
	}
}

package importer

import (
	"context"
	"io/fs"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// folder is a directory while a snapshot comes together.
type folder struct {
	node    tree.Node
	folders map[string]*folder
	files   map[string]tree.Node
}

// newRoot makes the top; what nobody describes is like it.
func newRoot(like tree.Node) *folder {
	like.Type, like.Mode = tree.Dir, fs.ModeDir|0o700
	return &folder{node: like, folders: map[string]*folder{}, files: map[string]tree.Node{}}
}

// at gives the folder of an absolute path and makes it where it is not.
func (f *folder) at(name string) *folder {
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			continue
		}
		next := f.folders[part]
		if next == nil {
			next = newRoot(f.node)
			next.node.Name = part
			f.folders[part] = next
		}
		f = next
	}
	return f
}

// add puts a file in its place. Corrupt: there is something.
func (f *folder) add(name string, n tree.Node) error {
	in, base := f.at(path.Dir(name)), path.Base(name)
	if _, there := in.files[base]; there || in.folders[base] != nil {
		return failure.New(failure.Corrupt, "import", name, "it comes twice")
	}
	n.Name, n.Type, n.Links = base, tree.File, 1
	in.files[base] = n
	return nil
}

// save stores the folder, what is below it first.
func (f *folder) save(ctx context.Context, s *vault.Session) (object.ID, error) {
	t := tree.Tree{}
	for _, sub := range f.folders {
		id, err := sub.save(ctx, s)
		if err != nil {
			return id, err
		}
		n := sub.node
		n.Subtree = &id
		t.Nodes = append(t.Nodes, n)
	}
	for _, n := range f.files {
		t.Nodes = append(t.Nodes, n)
	}
	return s.SaveTree(ctx, &t)
}

// plainFile is a node with the metadata of a file that this program makes.
func plainFile(like tree.Node, at time.Time, c vault.Content) tree.Node {
	like.Mode, like.Content, like.Size = 0o600, c.Blobs, c.Size
	like.ModTime, like.AccessTime, like.ChangeTime = at, at, at
	return like
}

// owners finds the numbers of names on this host. A name that is not known here gets those of who runs this; the name
// itself is kept.
type owners map[pgbackrest.Owner][2]uint32

// node is the metadata of something that belonged to o.
func (w owners) node(o pgbackrest.Owner, at time.Time) tree.Node {
	mode := o.Mode
	o.Mode = 0
	ids, known := w[o]
	if !known {
		ids = [2]uint32{uint32(os.Getuid()), uint32(os.Getgid())}
		if u, err := user.Lookup(o.User); err == nil {
			ids[0] = number(u.Uid, ids[0])
		}
		if g, err := user.LookupGroup(o.Group); err == nil {
			ids[1] = number(g.Gid, ids[1])
		}
		w[o] = ids
	}
	return tree.Node{Mode: mode, UID: ids[0], GID: ids[1], User: o.User, Group: o.Group, ModTime: at, AccessTime: at, ChangeTime: at}
}

func number(text string, otherwise uint32) uint32 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return otherwise
	}
	return uint32(n)
}

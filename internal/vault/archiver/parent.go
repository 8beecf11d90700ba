package archiver

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// former is a directory as the parent snapshot has it. The nil former has nothing.
type former struct {
	id    object.ID
	nodes []tree.Node
	whole bool // sorted and with nothing beside the nodes: made of the same nodes it is the same
}

// parent loads the directory prev of the parent snapshot; nil when there is none. One that cannot be read is reported:
// all below it is read again.
func (r *run) parent(ctx context.Context, dir string, prev *tree.Node) (*former, error) {
	if prev == nil || prev.Type != tree.Dir || prev.Subtree == nil {
		return nil, nil
	}
	t, err := r.s.Vault().Tree(ctx, *prev.Subtree)
	if err != nil {
		if ctx.Err() != nil {
			return nil, failure.Wrap(ctx.Err(), "back up", dir)
		}
		return nil, r.report(dir, failure.Wrap(err, "compare with the parent snapshot", dir))
	}
	f := &former{id: *prev.Subtree, nodes: t.Nodes, whole: len(t.Extra) == 0 && t.Sorted() == nil}
	if !f.whole {
		slices.SortFunc(f.nodes, func(a, b tree.Node) int { return strings.Compare(a.Name, b.Name) })
	}
	return f, nil
}

// find gives the node of a name, or nil.
func (f *former) find(name string) *tree.Node {
	if f == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(f.nodes, name, func(n tree.Node, name string) int { return strings.Compare(n.Name, name) })
	if !ok {
		return nil
	}
	return &f.nodes[i]
}

// saveTree stores a directory of those nodes that are not nil. A node that is the former one itself has not changed.
func (r *run) saveTree(ctx context.Context, nodes []*tree.Node, old *former) (listing, error) {
	nodes = slices.DeleteFunc(nodes, func(n *tree.Node) bool { return n == nil })
	if old != nil && old.whole && len(nodes) == len(old.nodes) && r.s.Has(object.Tree, old.id) {
		same := true
		for i := range nodes {
			same = same && nodes[i] == &old.nodes[i]
		}
		if same {
			return listing{old.id, len(nodes)}, nil
		}
	}
	text, err := tree.Encode(nodes)
	if err != nil {
		return listing{}, err
	}
	id, err := r.s.SaveBlob(ctx, object.Tree, text)
	return listing{id, len(nodes)}, err
}

// changed reports whether the content may have changed since the parent snapshot.
func (r *run) changed(s *fsnode.Stat, prev *tree.Node) bool {
	return prev.Type != tree.File || uint64(s.Size()) != prev.Size || !s.ModTime().Equal(prev.ModTime) ||
		!r.o.IgnoreCtime && !r.o.IgnoreInode && (!s.ChangeTime().Equal(prev.ChangeTime) || r.unsettled.holds(s.ChangeTime())) ||
		!r.o.IgnoreInode && s.Inode() != prev.Inode
}

// unsettled is the time in which the parent snapshot was made. A change then may have gone unseen: a file system's clock
// has steps, and a file that changed again in the step in which it was read looks the same.
type unsettled struct{ from, to time.Time }

const (
	step       = 20 * time.Millisecond // of a kernel's clock, at most
	coarseStep = 2 * time.Second       // of file systems that do not count parts of a second; those of FAT are the longest
)

// unsettledBy gives when the parent snapshot was made, if it says so.
func unsettledBy(parent *snapshot.Snapshot) unsettled {
	var sum snapshot.Summary
	if parent == nil || len(parent.Summary) == 0 || json.Unmarshal(parent.Summary, &sum) != nil {
		return unsettled{}
	}
	return unsettled{sum.BackupStart, sum.BackupEnd}
}

// holds reports whether what changed at t may have changed again unseen.
func (u unsettled) holds(t time.Time) bool {
	before := step
	if t.Nanosecond() == 0 {
		before = coarseStep
	}
	return t.After(u.from.Add(-before)) && t.Before(u.to)
}

// equal reports whether a node that was made now says the same as a former one.
func equal(n, old *tree.Node) bool {
	return old != nil && n.Name == old.Name && n.Type == old.Type && n.Mode == old.Mode &&
		n.ModTime.Equal(old.ModTime) && n.AccessTime.Equal(old.AccessTime) && n.ChangeTime.Equal(old.ChangeTime) &&
		n.UID == old.UID && n.GID == old.GID && n.User == old.User && n.Group == old.Group &&
		n.Inode == old.Inode && n.DeviceID == old.DeviceID && n.Size == old.Size && n.Links == old.Links &&
		n.LinkTarget == old.LinkTarget && n.Device == old.Device && slices.Equal(n.Content, old.Content) &&
		slices.EqualFunc(n.Xattrs, old.Xattrs, func(a, b tree.Xattr) bool { return a.Name == b.Name && string(a.Value) == string(b.Value) }) &&
		(n.Subtree == nil) == (old.Subtree == nil) && (n.Subtree == nil || *n.Subtree == *old.Subtree) &&
		len(old.Generic) == 0 && len(old.Extra) == 0 && old.Error == ""
}

// count adds one to the counter of what became of something.
func count(c *[3]atomic.Uint64, what Action) {
	switch what {
	case New:
		c[0].Add(1)
	case Changed:
		c[1].Add(1)
	case Unchanged:
		c[2].Add(1)
	}
}

package vault

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// treeFindings are what is wrong with one directory itself, found once however many snapshots hold it, and where it leads.
type treeFindings struct {
	wrong    []treeFinding
	subtrees []subtree
	// bad is whether anything is wrong here or below: whether a snapshot need be searched for paths.
	bad bool
}

type subtree struct {
	name string
	id   object.ID
}

type treeFinding struct {
	name    string // of the node; "" is the directory itself
	subject string
	err     error
}

// walkSnapshots verifies each directory once, then names the paths of what is wrong in each snapshot.
func (c *checker) walkSnapshots(ctx context.Context) error {
	snapshots := make([]*snapshot.Snapshot, 0, len(c.snapshots))
	var mu sync.Mutex
	err := c.v.each(ctx, c.snapshots, func(ctx context.Context, id object.ID, _ int64) error {
		s, err := c.v.ownSnapshot(ctx, id)
		if err != nil {
			return c.finding(blob.Snapshot, id, err)
		}
		mu.Lock()
		defer mu.Unlock()
		snapshots = append(snapshots, s)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(snapshots, func(a, b *snapshot.Snapshot) int { return a.ID.Compare(b.ID) })
	c.report.Snapshots = len(snapshots)
	var roots []object.ID
	for _, s := range snapshots {
		roots = append(roots, *s.Tree)
	}
	if err := c.readTrees(ctx, roots); err != nil {
		return err
	}
	marked := map[object.ID]bool{}
	for _, s := range snapshots {
		if c.mark(*s.Tree, marked) {
			c.budget = maxNamed
			c.name(s.ID, *s.Tree, "")
			if c.budget <= 0 {
				c.hint("snapshot %s has damage in more than %d directories: not every path is named", s.ID.Short(), maxNamed)
			}
		}
	}
	return nil
}

// maxNamed bounds how many damaged directories are entered for the sake of their paths in one snapshot: directories that
// share subtrees can spell more paths than there is time for.
const maxNamed = 100_000

// readTrees reads all directories that can be reached from roots, breadth first, several at once. It ends for any data:
// each id is read once.
func (c *checker) readTrees(ctx context.Context, roots []object.ID) error {
	c.trees = map[object.ID]*treeFindings{}
	for level := roots; len(level) > 0; {
		var next []object.ID
		var mu sync.Mutex
		group, within := errgroup.WithContext(ctx)
		group.SetLimit(c.v.parallel())
		for _, id := range level {
			mu.Lock()
			_, seen := c.trees[id]
			if !seen {
				c.trees[id] = nil
			}
			mu.Unlock()
			if seen {
				continue
			}
			group.Go(func() error {
				found, err := c.readTree(within, id)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				c.trees[id] = found
				for _, s := range found.subtrees {
					next = append(next, s.id)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		level = next
	}
	return nil
}

// readTree verifies one directory: that it can be read, its order, its names, and its files' blobs.
func (c *checker) readTree(ctx context.Context, id object.ID) (*treeFindings, error) {
	found := &treeFindings{}
	h := object.Handle{Type: object.Tree, ID: id}
	t, err := c.loadTree(ctx, h)
	if err != nil {
		if !damage(err) {
			return nil, err
		}
		found.wrong = append(found.wrong, treeFinding{"", "blob " + h.Type.String() + " " + id.String(), err})
		return found, nil
	}
	if err := t.Sorted(); err != nil {
		found.wrong = append(found.wrong, treeFinding{"", "blob tree " + id.String(), err})
	}
	files := 0
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if err := n.Valid(); err != nil {
			found.wrong = append(found.wrong, treeFinding{n.Name, "blob tree " + id.String(), err})
			continue
		}
		switch n.Type {
		case tree.Dir:
			found.subtrees = append(found.subtrees, subtree{n.Name, *n.Subtree})
		case tree.File:
			files++
			found.wrong = append(found.wrong, c.checkContent(n)...)
		}
	}
	c.mu.Lock()
	c.report.Trees++
	c.report.Files += files
	c.mu.Unlock()
	return found, nil
}

// loadTree loads a directory by the index of this check.
func (c *checker) loadTree(ctx context.Context, h object.Handle) (*tree.Tree, error) {
	var last error
	for l := range c.index.Lookup(h) {
		sealed := make([]byte, l.Length)
		err := blob.ReadFull(ctx, c.v.store, packHandle(l.Pack), sealed, int64(l.Offset))
		if err == nil {
			var text []byte
			if text, err = c.v.openBlob(sealed, l.Entry, nil); err == nil {
				return tree.Decode(text)
			}
		}
		if !damage(err) {
			return nil, err
		}
		last = failure.Wrap(err, "load from pack", l.Pack.Short())
	}
	if last == nil {
		last = missing(h)
	}
	return nil, last
}

// checkContent verifies that a file's blobs are there and add up to its size, which restic's check does not.
func (c *checker) checkContent(n *tree.Node) []treeFinding {
	var wrong []treeFinding
	sum, whole := uint64(0), true
	for _, id := range n.Content {
		h := object.Handle{Type: object.Data, ID: id}
		size, listed := c.index.Size(h)
		if !listed {
			whole = false
			wrong = append(wrong, treeFinding{n.Name, "blob data " + id.String(), missing(h)})
			continue
		}
		sum += uint64(size)
		c.mu.Lock()
		err := c.broken[h]
		c.mu.Unlock()
		if err != nil {
			wrong = append(wrong, treeFinding{n.Name, "blob data " + id.String(), err})
		}
	}
	if whole && sum != n.Size {
		wrong = append(wrong, treeFinding{n.Name, "file", failure.New(failure.Corrupt, "compare sizes", "", "the file is said to have %d bytes, its content has %d", n.Size, sum)})
	}
	return wrong
}

// mark reports whether anything is wrong in or below a directory. Trees cannot hold themselves, being named by their
// hash; were a hash to be broken, marked ends the search.
func (c *checker) mark(id object.ID, marked map[object.ID]bool) bool {
	if bad, seen := marked[id]; seen {
		return bad
	}
	marked[id] = false
	t := c.trees[id]
	t.bad = len(t.wrong) > 0
	for _, s := range t.subtrees {
		if c.mark(s.id, marked) {
			t.bad = true
		}
	}
	marked[id] = t.bad
	return t.bad
}

// name notes what is wrong below a directory with its paths in one snapshot. Directories that are whole are not entered.
func (c *checker) name(sn, id object.ID, path string) {
	if c.budget--; c.budget < 0 {
		return
	}
	t := c.trees[id]
	for _, w := range t.wrong {
		at := path
		if w.name != "" {
			at += "/" + w.name
		} else if at == "" {
			at = "/"
		}
		c.problem(w.subject, w.err, Place{sn, at})
	}
	for _, s := range t.subtrees {
		if c.trees[s.id].bad {
			c.name(sn, s.id, path+"/"+s.name)
		}
	}
}

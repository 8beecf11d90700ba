package vault

import (
	"context"
	"slices"
	"sync"

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
	if whole, err := c.readTrees(ctx, roots); whole || err != nil {
		return err
	}
	// Something is wrong: everything is read again, this time keeping what is found and the names that lead there.
	if err := c.findWrong(ctx, roots); err != nil {
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

// readTrees verifies all directories that can be reached from roots, and reports whether all is well. It keeps nothing of
// them but a bit each.
func (c *checker) readTrees(ctx context.Context, roots []object.ID) (bool, error) {
	whole := true
	visited := make([]uint64, c.index.Len(object.Tree)/64+1)
	first := func(id object.ID) bool {
		n, listed := c.index.Number(object.Handle{Type: object.Tree, ID: id})
		if !listed {
			whole = false
			return false
		}
		bit := uint64(1) << (n % 64)
		seen := visited[n/64]&bit != 0
		visited[n/64] |= bit
		return !seen
	}
	err := c.eachTree(ctx, roots, first, func(_ object.ID, f *treeFindings) { whole = whole && len(f.wrong) == 0 })
	return whole, err
}

// findWrong is readTrees that keeps what is wrong and where directories lead.
func (c *checker) findWrong(ctx context.Context, roots []object.ID) error {
	c.trees = map[object.ID]*treeFindings{}
	c.report.Trees, c.report.Files, c.progress.Trees = 0, 0, 0
	first := func(id object.ID) bool {
		if _, seen := c.trees[id]; seen {
			return false
		}
		c.trees[id] = nil
		return true
	}
	return c.eachTree(ctx, roots, first, func(id object.ID, f *treeFindings) { c.trees[id] = f })
}

// treeBatch is how many directories are loaded at once, in the order in which they lie in packs.
const treeBatch = 4096

// eachTree verifies the directories that can be reached from roots, breadth first, as often as first says that one comes
// for the first time. First and found are never called twice at once.
func (c *checker) eachTree(ctx context.Context, roots []object.ID, first func(object.ID) bool, found func(object.ID, *treeFindings)) error {
	var mu sync.Mutex
	var next []object.Handle
	discover := func(id object.ID) {
		if first(id) {
			next = append(next, object.Handle{Type: object.Tree, ID: id})
		}
	}
	for _, id := range roots {
		discover(id)
	}
	for len(next) > 0 {
		level := next
		next = nil
		for batch := range slices.Chunk(level, treeBatch) {
			err := c.v.loadLocated(ctx, locate(c.index, batch), c.loadTree, func(h object.Handle, text []byte, err error) error {
				var f *treeFindings
				if err == nil {
					f, err = c.judgeTree(h.ID, text)
				}
				if err != nil {
					if !damage(err) {
						return err
					}
					f = &treeFindings{wrong: []treeFinding{{"", "blob tree " + h.ID.String(), err}}}
				}
				mu.Lock()
				defer mu.Unlock()
				found(h.ID, f)
				for _, s := range f.subtrees {
					discover(s.id)
				}
				return nil
			})
			if err != nil {
				return err
			}
			c.mu.Lock()
			c.progress.Trees += len(batch)
			c.advanced()
			c.mu.Unlock()
		}
	}
	return nil
}

// judgeTree verifies the text of one directory: its order, its names, and its files' blobs.
func (c *checker) judgeTree(id object.ID, text []byte) (*treeFindings, error) {
	t, err := tree.Decode(text)
	if err != nil {
		return nil, err
	}
	found := &treeFindings{}
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

// loadTree loads a directory by the index of this check, from any copy.
func (c *checker) loadTree(ctx context.Context, h object.Handle) ([]byte, error) {
	var last error
	for l := range c.index.Lookup(h) {
		sealed := make([]byte, l.Length)
		err := blob.ReadFull(ctx, c.v.store, packHandle(l.Pack), sealed, int64(l.Offset))
		if err == nil {
			var text []byte
			if text, err = c.v.openBlob(sealed, l.Entry, nil); err == nil {
				return text, nil
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
		if err := c.broken[h]; err != nil {
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

package vault

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// treesAtOnce is how many directories are loaded together, and kept in memory.
const treesAtOnce = 512

// branch is a directory to be walked through, and the one in its place in a snapshot that the destination has.
type branch struct {
	id   object.ID
	base *object.ID
}

// walk saves the directories below root and queues the data that the destination lacks. Where base has the same
// directory, all of it is there.
func (c *copier) walk(ctx context.Context, root object.ID, base *object.ID) error {
	open := []branch{{root, base}}
	for len(open) > 0 {
		at := max(0, len(open)-treesAtOnce)
		var group []branch
		for _, b := range open[at:] {
			if _, seen := c.walked[b.id]; seen || b.base != nil && *b.base == b.id && c.dst.has(object.Handle{Type: object.Tree, ID: b.id}) {
				continue
			}
			c.walked[b.id] = struct{}{}
			group = append(group, b)
		}
		open = open[:at]
		trees, err := c.trees(ctx, group)
		if err != nil {
			return err
		}
		bases := c.bases(ctx, group)
		for _, b := range group {
			var old *tree.Tree
			if b.base != nil {
				old = bases[*b.base]
			}
			below, err := c.enqueue(trees[b.id], old)
			if err != nil {
				return failure.Wrap(err, "copy the tree", b.id.Short())
			}
			open = append(open, below...)
		}
		c.tell(func(p *CopyProgress) { p.Trees += len(group) })
		c.report.Trees += len(group)
		if len(c.queued) >= copyBatch {
			if err := c.fetch(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// trees loads directories of the source, saves those that the destination lacks, byte by byte, and gives them.
func (c *copier) trees(ctx context.Context, group []branch) (map[object.ID]*tree.Tree, error) {
	handles := make([]object.Handle, 0, len(group))
	for _, b := range group {
		handles = append(handles, object.Handle{Type: object.Tree, ID: b.id})
	}
	trees := make(map[object.ID]*tree.Tree, len(group))
	err := c.src.packedFallBack(ctx, handles, func(h object.Handle, data []byte, packed packedBlob, err error) error {
		if err != nil {
			return err
		}
		t, err := tree.Decode(data)
		if err != nil {
			return failure.Wrap(err, "read the tree", h.ID.Short())
		}
		c.mu.Lock()
		trees[h.ID] = t
		c.mu.Unlock()
		if c.dst.has(h) {
			return nil
		}
		c.need(h, int64(len(data)))
		return c.save(ctx, h, data, packed)
	})
	return trees, err
}

// bases loads directories that the destination has. One that cannot be loaded only means more work.
func (c *copier) bases(ctx context.Context, group []branch) map[object.ID]*tree.Tree {
	var handles []object.Handle
	for _, b := range group {
		if b.base == nil {
			continue
		}
		// One that the source has forgotten is not worth asking replicas for.
		if h := (object.Handle{Type: object.Tree, ID: *b.base}); c.src.has(h) {
			handles = append(handles, h)
		}
	}
	if len(handles) == 0 {
		return nil
	}
	bases, err := c.src.loadTrees(ctx, handles)
	if err != nil {
		return nil
	}
	return bases
}

// loadTrees loads directories, all of them or none.
func (v *Vault) loadTrees(ctx context.Context, handles []object.Handle) (map[object.ID]*tree.Tree, error) {
	var mu sync.Mutex
	trees := make(map[object.ID]*tree.Tree, len(handles))
	err := v.LoadBlobs(ctx, handles, func(h object.Handle, data []byte, err error) error {
		if err != nil {
			return err
		}
		t, err := tree.Decode(data)
		if err != nil {
			return failure.Wrap(err, "load the tree", h.ID.Short())
		}
		mu.Lock()
		defer mu.Unlock()
		trees[h.ID] = t
		return nil
	})
	return trees, err
}

// enqueue notes the data that a directory needs and the destination lacks, and gives the directories below it.
func (c *copier) enqueue(t, old *tree.Tree) ([]branch, error) {
	var below []branch
	was := map[string]*object.ID{}
	if old != nil {
		for i := range old.Nodes {
			if n := &old.Nodes[i]; n.Type == tree.Dir {
				was[n.Name] = n.Subtree
			}
		}
	}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		switch n.Type {
		case tree.Dir:
			if n.Subtree == nil {
				return nil, failure.New(failure.Corrupt, "read a tree", "", "the directory %.80q has no subtree", n.Name)
			}
			below = append(below, branch{*n.Subtree, was[n.Name]})
		case tree.File:
			for _, id := range n.Content {
				h := object.Handle{Type: object.Data, ID: id}
				if _, there := c.queued[h]; there || c.dst.has(h) || c.session != nil && c.session.underWay(h) {
					continue
				}
				c.queued[h] = struct{}{}
				c.need(h, int64(c.src.listedSize(h)))
			}
		}
	}
	return below, nil
}

// need counts a blob that is to be copied.
func (c *copier) need(h object.Handle, n int64) {
	c.tell(func(p *CopyProgress) {
		p.BlobsTotal++
		p.BytesTotal += n
		if c.session == nil {
			c.report.Blobs[h.Type]++
			c.report.Bytes += n
		}
	})
}

// save stores one blob in the destination.
func (c *copier) save(ctx context.Context, h object.Handle, data []byte, packed packedBlob) error {
	if c.session == nil {
		return nil
	}
	if isNew, err := c.session.savePacked(ctx, h, data, packed); err != nil || !isNew {
		return err
	}
	c.tell(func(p *CopyProgress) {
		p.Blobs++
		p.Bytes += int64(len(data))
		c.report.Blobs[h.Type]++
		c.report.Bytes += int64(len(data))
		if c.options.Verify {
			c.written = append(c.written, h)
		}
	})
	return nil
}

// fetch copies the data that is queued.
func (c *copier) fetch(ctx context.Context) error {
	handles := slices.Collect(maps.Keys(c.queued))
	clear(c.queued)
	if c.session == nil {
		for _, h := range handles {
			if _, err := c.src.BlobSize(ctx, h); err != nil {
				return err
			}
		}
		return nil
	}
	err := c.src.packedFallBack(ctx, handles, func(h object.Handle, data []byte, packed packedBlob, err error) error {
		if err != nil {
			return err
		}
		return c.save(ctx, h, data, packed)
	})
	if err != nil {
		return err
	}
	return c.sync(ctx, false)
}

// verify reads back what was written, from the destination alone.
func (c *copier) verify(ctx context.Context) error {
	if !c.options.Verify || c.session == nil {
		return nil
	}
	for part := range slices.Chunk(c.written, copyBatch) {
		err := c.dst.loadBlobs(ctx, part, func(h object.Handle, _ []byte, err error) error {
			if err == nil {
				c.mu.Lock()
				c.report.Verified++
				c.mu.Unlock()
			}
			return failure.Wrap(err, "read back", h.String())
		})
		if err != nil {
			return err
		}
	}
	for _, s := range c.report.Copied {
		if _, err := c.dst.ownSnapshot(ctx, s.To); err != nil {
			return failure.Wrap(err, "read back the snapshot", s.To.Short())
		}
	}
	return nil
}

// listedSize is the length of a blob's content by the index, or 0.
func (v *Vault) listedSize(h object.Handle) uint32 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n, _ := v.index.Size(h)
	return n
}

// underWay reports whether a blob was saved in this session and is not listed yet.
func (s *Session) underWay(h object.Handle) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.pending[h]
	return there
}

package vault

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// pruneTrees is how many directories are loaded together.
const pruneTrees = 2048

// look finds out what there is, and what of it is needed. The order matters, for others write meanwhile: packs are stored
// before they are listed, and listed before a snapshot needs them.
func (p *pruner) look(ctx context.Context) error {
	if err := p.refresh(ctx); err != nil {
		return err
	}
	var err error
	if p.stored, err = p.v.list(ctx, blob.Pack); err != nil {
		return err
	}
	p.v.mu.RLock()
	p.unlisted = map[object.ID]int64{}
	for id, size := range p.stored {
		if !p.x.Lists(id) {
			p.unlisted[id] = size
		}
	}
	p.v.mu.RUnlock()
	if len(p.missing) > 0 {
		return p.findMissing(ctx)
	}
	return nil
}

// refresh takes in the snapshots and index files that are new since it was last called.
func (p *pruner) refresh(ctx context.Context) error {
	ids, err := p.v.list(ctx, blob.Snapshot)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var roots []object.ID
	err = p.v.each(ctx, ids, func(ctx context.Context, id object.ID, _ int64) error {
		mu.Lock()
		known := p.snapshots[id]
		mu.Unlock()
		if known {
			return nil
		}
		s, err := p.v.ownSnapshot(ctx, id)
		if errors.Is(err, failure.NotFound) {
			return nil // forgotten meanwhile
		}
		if err != nil {
			return failure.WrapAs(failure.KindOf(err), err, "read the snapshot", id.Short()).
				WithHint("what it needs is not known, so nothing is removed: repair it, or forget it")
		}
		mu.Lock()
		defer mu.Unlock()
		p.snapshots[id] = true
		roots = append(roots, *s.Tree)
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.v.LoadIndex(ctx); err != nil {
		return err
	}
	if err := p.sync(); err != nil {
		return err
	}
	return p.walk(ctx, roots)
}

// need notes that a snapshot needs h, and reports whether that is new and h is listed.
func (p *pruner) need(h object.Handle) bool {
	p.v.mu.RLock()
	n, listed := p.x.Number(h)
	p.v.mu.RUnlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !listed {
		p.missing[h] = true
		return false
	}
	return p.used[h.Type].set(n)
}

// walk notes everything that is needed below roots. What is noted already is not entered again.
func (p *pruner) walk(ctx context.Context, roots []object.ID) error {
	var open []object.Handle
	for _, id := range roots {
		if h := (object.Handle{Type: object.Tree, ID: id}); p.need(h) {
			open = append(open, h)
		}
	}
	for len(open) > 0 {
		at := max(0, len(open)-pruneTrees)
		group := slices.Clone(open[at:])
		open = open[:at]
		err := p.v.LoadBlobs(ctx, group, func(h object.Handle, data []byte, err error) error {
			var below []object.Handle
			if err == nil {
				below, err = p.enter(data)
			}
			if err != nil {
				return failure.WrapAs(failure.KindOf(err), err, "read the directory", h.ID.Short()).
					WithHint("what is below it is not known, so nothing is removed: run lifeboat vault check")
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			open = append(open, below...)
			p.trees++
			p.tell(StageTrees, p.trees, 0)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// enter notes what a directory needs, and gives those below it that are new.
func (p *pruner) enter(data []byte) ([]object.Handle, error) {
	t, err := tree.Decode(data)
	if err != nil {
		return nil, err
	}
	var below []object.Handle
	for i := range t.Nodes {
		n := &t.Nodes[i]
		for _, id := range n.Content {
			p.need(object.Handle{Type: object.Data, ID: id})
		}
		if n.Subtree == nil {
			continue
		}
		if h := (object.Handle{Type: object.Tree, ID: *n.Subtree}); p.need(h) {
			below = append(below, h)
		}
	}
	return below, nil
}

// findMissing looks for what no index lists in the packs that no index lists, and lists these again. That is where it is
// when somebody broke the promise of the locks: a lock was removed by force, or its owner went on after it had become
// stale, while a prune took what he leaned on out of the index.
func (p *pruner) findMissing(ctx context.Context) error {
	for len(p.missing) > 0 {
		var mu sync.Mutex
		var found []index.Pack
		err := p.v.each(ctx, p.unlisted, func(ctx context.Context, id object.ID, _ int64) error {
			entries, err := p.v.PackContent(ctx, id)
			if err != nil && (ctx.Err() != nil || !damage(err)) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if slices.ContainsFunc(entries, func(e pack.Entry) bool { return p.missing[e.Handle] }) {
				found = append(found, index.Pack{ID: id, Entries: entries})
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return p.lost()
		}
		if p.dry {
			return failure.New(failure.Conflict, "plan a prune", p.v.Location(), "%d packs that no index lists hold what snapshots need", len(found)).
				WithHint("a prune lists them again: run it, or lifeboat vault repair index")
		}
		if err := p.list(ctx, found); err != nil {
			return err
		}
	}
	return nil
}

// list puts packs into the index that are in none, and goes on where something was missing.
func (p *pruner) list(ctx context.Context, found []index.Pack) error {
	p.s.mu.Lock()
	p.s.stored = append(p.s.stored, found...)
	for _, f := range found {
		p.s.listed += len(f.Entries)
		delete(p.unlisted, f.ID)
	}
	p.s.mu.Unlock()
	if err := p.s.writeIndex(ctx); err != nil {
		return err
	}
	if err := p.sync(); err != nil {
		return err
	}
	p.report.Relisted += len(found)
	p.v.opts.Log.WarnContext(ctx, "packs are listed again, since snapshots need what is in them", "vault", p.v.Location(), "packs", len(found))
	again := p.missing
	p.missing = map[object.Handle]bool{}
	var roots []object.ID
	for h := range again {
		if h.Type == object.Tree {
			roots = append(roots, h.ID)
		} else {
			p.need(h)
		}
	}
	return p.walk(ctx, roots)
}

// lost is the refusal to go on when something needed is nowhere.
func (p *pruner) lost() error {
	names := make([]string, 0, len(p.missing))
	for h := range p.missing {
		names = append(names, h.String())
	}
	slices.Sort(names)
	return failure.New(failure.NotFound, "prune", p.v.Location(), "%d blobs that snapshots need are in no index and in no pack, %s among them", len(names), names[0]).
		WithHint("nothing is removed while something is missing: lifeboat vault check says which snapshots are affected, lifeboat vault repair all mends what can be mended")
}

package vault

import (
	"context"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// removeDue removes packs that no index lists and that have been marked for as long as the grace. Nobody who honours
// locks can need them: when they were marked, nobody was at work, and whoever came later did not find them. That no
// snapshot does was seen just now.
func (p *pruner) removeDue(ctx context.Context) error {
	due := map[object.ID]int64{}
	for _, f := range p.plan.Packs {
		if _, unlisted := p.unlisted[f.ID]; unlisted && f.What == FateDue {
			due[f.ID] = f.Bytes
		}
	}
	if len(due) == 0 {
		return nil
	}
	if err := p.refresh(ctx); err != nil {
		return err
	}
	if len(p.missing) > 0 {
		if err := p.findMissing(ctx); err != nil {
			return err
		}
	}
	p.v.mu.RLock()
	for id := range due {
		if p.x.Lists(id) {
			delete(due, id)
		}
	}
	p.v.mu.RUnlock()
	return p.removePacks(ctx, due)
}

// removeNow removes what was just hidden, under a shared lock.
func (p *pruner) removeNow(ctx context.Context) error {
	held, lock, err := p.v.Lock(ctx, false)
	if err != nil {
		return err
	}
	defer p.v.release(ctx, lock, "prune")
	p.lock = lock
	free := map[object.ID]int64{}
	for id := range p.marks {
		free[id] = p.unlisted[id]
	}
	// Between the locks somebody may have listed packs again: a repair.
	files, err := p.v.list(held, blob.Index)
	if err != nil {
		return err
	}
	for id := range p.files {
		delete(files, id)
	}
	for id := range files {
		packs, err := p.v.loadIndexFile(held, id)
		if err != nil {
			return err
		}
		for _, pk := range packs {
			delete(free, pk.ID)
		}
	}
	if err := p.removePacks(held, free); err != nil {
		return cause(held, err)
	}
	p.report.Waiting, p.report.Next = Amount{}, time.Time{} // nothing waits: it is gone, or retained
	return nil
}

// removePacks removes packs that nothing lists. What the store retains is counted, and stays.
func (p *pruner) removePacks(ctx context.Context, packs map[object.ID]int64) error {
	var mu sync.Mutex
	done := int64(0)
	return p.v.each(ctx, packs, func(ctx context.Context, id object.ID, size int64) error {
		if err := p.lock.Stands(); err != nil {
			return err
		}
		until, err := p.v.removeFree(ctx, packHandle(id))
		if err != nil && until.IsZero() {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			delete(p.unlisted, id)
			p.report.Removed.add(1, 0, size)
		} else {
			p.report.Retained.add(1, 0, size)
			if p.report.Free.IsZero() || until.Before(p.report.Free) {
				p.report.Free = until
			}
		}
		done++
		p.tell(StageRemove, done, int64(len(packs)))
		return nil
	})
}

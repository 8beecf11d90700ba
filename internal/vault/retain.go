package vault

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// RetainOptions say for how long what is needed is kept from deletion.
type RetainOptions struct {
	// For is for how long from now; it must be positive.
	For time.Duration
	// Threshold is how little may be left before an object is renewed; 0: half of For. With the time between two runs it
	// bounds what an attacker has to wait for.
	Threshold time.Duration
	// Except are snapshots that are left to end, with what only they need: those that a policy would forget, if it could.
	Except []object.ID
	// DryRun renews nothing; what is said is what would be.
	DryRun bool
	// Progress is called after each object, from one goroutine at a time; nil: nobody asks.
	Progress func(done, of int)
}

// RetainReport is what a renewal did.
type RetainReport struct {
	Needed   int // objects that are needed
	Bytes    int64
	Renewed  int // of these, those that had too little left
	Replaced int // index files that are left to end, and whose needed part was written anew
	// Unneeded are packs that are left to end: a prune removes them then.
	Unneeded Amount
	// Next is when the first object falls below the threshold. What becomes needed later than this run can be due before.
	Next time.Time
}

// Retain keeps from deletion what is needed, on a store that can: the config, the keys, the snapshots, the packs with
// what these need, and the index files that list them, each for as long as o says. What has enough left is only asked
// for; an interrupted run goes on where it was. What is not needed any more is left to end; an index file that lists
// such packs is not renewed but replaced, since it could never be removed otherwise, nor they.
//
// It works under a shared lock. Unsupported: the store retains nothing. Objects that cannot be renewed do not keep the
// others from it; the error names them.
func (v *Vault) Retain(ctx context.Context, o RetainOptions) (*RetainReport, error) {
	keeper, ok := blob.As[blob.Retainer](v.store)
	if !ok || !v.store.Facts().Retention {
		return nil, failure.New(failure.Unsupported, "retain", v.Location(), "this place keeps nothing from deletion").
			WithHint("it takes a bucket with Object Lock switched on, which must be done when the bucket is made")
	}
	if o.Threshold == 0 {
		o.Threshold = o.For / 2
	}
	if o.For <= 0 || o.Threshold <= 0 || o.Threshold > o.For {
		return nil, failure.New(failure.Invalid, "retain", v.Location(), "for %s, renewed below %s: that cannot be", o.For, o.Threshold)
	}
	p, err := v.pruner(ctx, PruneOptions{Forget: o.Except})
	if err != nil {
		return nil, err
	}
	p.dry = o.DryRun
	r := &retaining{pruner: p, o: o, keeper: keeper, now: v.opts.Now()}
	return &r.report, p.end(ctx, r.run(p.s.held))
}

// retaining is one renewal.
type retaining struct {
	*pruner
	o      RetainOptions
	keeper blob.Retainer
	now    time.Time
	report RetainReport
	done   int
	of     int
	failed []error
}

func (r *retaining) run(ctx context.Context) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	if err := r.choose(ctx); err != nil {
		return err
	}
	packs, whole, part := r.sort()
	keys, err := r.v.list(ctx, blob.Key)
	if err != nil {
		return err
	}
	snapshots, err := r.v.list(ctx, blob.Snapshot)
	if err != nil {
		return err
	}
	for _, id := range r.o.Except {
		delete(snapshots, id)
	}
	config, err := r.v.store.Stat(ctx, blob.Handle{Type: blob.Config})
	if err != nil {
		return err
	}
	r.of = len(packs) + len(whole) + len(part) + len(keys) + len(snapshots) + 1
	// What leads to everything comes first; were the run to end early, that is kept.
	if err := r.one(ctx, config.Handle, config.Size); err != nil {
		return err
	}
	if err := r.partial(ctx, part); err != nil {
		return err
	}
	for _, g := range []struct {
		t   blob.Type
		ids map[object.ID]int64
	}{{blob.Key, keys}, {blob.Index, whole}, {blob.Snapshot, snapshots}, {blob.Pack, packs}} {
		err := r.v.each(ctx, g.ids, func(ctx context.Context, id object.ID, size int64) error {
			return r.one(ctx, blob.Handle{Type: g.t, Name: id.String()}, size)
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(r.failed...)
}

// sort gives the packs that are needed, the index files that list nothing else, and those that also list others.
func (r *retaining) sort() (packs, whole, part map[object.ID]int64) {
	packs, whole, part = map[object.ID]int64{}, map[object.ID]int64{}, map[object.ID]int64{}
	r.v.mu.RLock()
	defer r.v.mu.RUnlock()
	for n, id := range r.x.Packs()[:len(r.packs)] {
		if s := &r.packs[n]; s.used > 0 {
			packs[id] = r.stored[id]
		} else if !s.missing {
			r.report.Unneeded.add(1, int(s.unused), r.stored[id])
		}
	}
	for id, l := range r.files {
		needed, other := 0, 0
		for _, n := range l.packs {
			if int(n) >= len(r.packs) || r.packs[n].used > 0 { // listed meanwhile: by somebody who needs it
				needed++
			} else {
				other++
			}
		}
		switch {
		case needed > 0 && other == 0:
			whole[id] = 0
		case needed > 0:
			part[id] = 0
		}
	}
	return packs, whole, part
}

// left gives how long h is still retained, and whether it is there.
func (r *retaining) left(ctx context.Context, h blob.Handle) (time.Time, bool, error) {
	until, err := r.keeper.RetainedUntil(ctx, h)
	if errors.Is(err, failure.NotFound) && h.Type != blob.Config {
		return until, false, nil // forgotten meanwhile
	}
	return until, true, err
}

// one renews h if it has too little left. A failure is noted; the error is for what ends the run.
func (r *retaining) one(ctx context.Context, h blob.Handle, size int64) error {
	until, there, err := r.left(ctx, h)
	due := there && err == nil && until.Sub(r.now) < r.o.Threshold
	if due {
		if until = r.now.Add(r.o.For); !r.o.DryRun {
			err = r.keeper.Retain(ctx, h, until)
		}
	}
	if ctx.Err() != nil {
		return cause(ctx, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	if r.o.Progress != nil {
		r.o.Progress(r.done, r.of)
	}
	if err != nil {
		if r.failed = append(r.failed, err); len(r.failed) >= maxPlaces {
			return errors.Join(r.failed...)
		}
		return nil
	}
	if !there {
		return nil
	}
	r.report.Needed++
	r.report.Bytes += size
	if due {
		r.report.Renewed++
	}
	if next := until.Add(-r.o.Threshold); r.report.Next.IsZero() || next.Before(r.report.Next) {
		r.report.Next = next
	}
	return nil
}

// partial sees to the index files that list something that is not needed: while they have enough left they are as good as
// others; then what they list of what is needed, and no other file does, is written anew.
func (r *retaining) partial(ctx context.Context, part map[object.ID]int64) error {
	var mu sync.Mutex
	ending := map[object.ID]bool{}
	err := r.v.each(ctx, part, func(ctx context.Context, id object.ID, _ int64) error {
		until, there, err := r.left(ctx, blob.Handle{Type: blob.Index, Name: id.String()})
		if err != nil || !there {
			return err
		}
		if until.Sub(r.now) >= r.o.Threshold {
			return r.one(ctx, blob.Handle{Type: blob.Index, Name: id.String()}, 0)
		}
		mu.Lock()
		defer mu.Unlock()
		ending[id] = true
		return nil
	})
	if err != nil || len(ending) == 0 {
		return err
	}
	r.report.Replaced = len(ending)
	if r.o.DryRun {
		return nil
	}
	for n := range r.packs {
		r.packs[n].hide = r.packs[n].used == 0
	}
	r.replaced = ending
	if err := r.writeRelisted(ctx); err != nil {
		return err
	}
	return r.retainWritten(ctx)
}

// retainWritten retains the index files that were just written, should the store not have done so by itself.
func (r *retaining) retainWritten(ctx context.Context) error {
	for _, id := range r.written {
		if err := r.one(ctx, blob.Handle{Type: blob.Index, Name: id.String()}, 0); err != nil {
			return err
		}
	}
	return nil
}

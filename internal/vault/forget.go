package vault

import (
	"context"
	"errors"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
)

// ForgetOptions say how snapshots are removed. The zero ForgetOptions remove them, and try once for the lock.
type ForgetOptions struct {
	// DryRun removes nothing and takes no lock; what is said is what would be.
	DryRun bool
	Wait   Waiting
	// Progress is called after each snapshot, from one goroutine at a time; nil: nobody asks.
	Progress func(done, of int)
}

// Forgotten is what became of one snapshot.
type Forgotten struct {
	ID object.ID
	// Err says why it is still there; nil: it is gone, or would be. Denied: a legal hold, or a retention of the store.
	Err error
	// NotBefore is when a retention of the store ends; zero: there is none.
	NotBefore time.Time
}

// Forget removes snapshots, under the exclusive lock. It takes away the recovery points; their bytes go with a later
// Prune. One that is on legal hold stays, and so does one that the store retains; the others go all the same. A snapshot
// that is not there counts as gone. The list says what became of each, in the order of ids. The error is for what kept
// all of them: Conflict: somebody works on the vault.
func (v *Vault) Forget(ctx context.Context, ids []object.ID, o ForgetOptions) ([]Forgotten, error) {
	work := ctx
	if !o.DryRun {
		held, lock, err := v.moment(ctx, o.Wait)
		if err != nil {
			return nil, failure.Wrap(err, "forget", v.Location())
		}
		defer v.release(ctx, lock, "forget")
		work = held
	}
	list := make([]Forgotten, 0, len(ids))
	for _, id := range ids {
		f := Forgotten{ID: id}
		f.NotBefore, f.Err = v.forget(work, id, o.DryRun)
		if work.Err() != nil {
			return list, cause(work, f.Err)
		}
		list = append(list, f)
		if o.Progress != nil {
			o.Progress(len(list), len(ids))
		}
	}
	return list, nil
}

// release gives up a lock; that it cannot is no failure of the work that was done under it.
func (v *Vault) release(ctx context.Context, l *Lock, what string) {
	if err := l.Release(ctx); err != nil {
		v.opts.Log.WarnContext(ctx, "a lock is left behind", "work", what, "vault", v.Location(), "error", err)
	}
}

func (v *Vault) forget(ctx context.Context, id object.ID, dry bool) (time.Time, error) {
	h := blob.Handle{Type: blob.Snapshot, Name: id.String()}
	s, err := v.ownSnapshot(ctx, id)
	switch {
	case errors.Is(err, failure.NotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, failure.WrapAs(failure.KindOf(err), err, "forget", id.Short()).
			WithHint("whether it is on hold cannot be told: lifeboat vault repair snapshots --forget removes those that cannot be read")
	}
	if hold, held := retention.HoldOf(s, v.opts.Now()); held {
		return time.Time{}, failure.New(failure.Denied, "forget", id.Short(), "it is on %s", hold).
			WithHint("end the hold first, if that is meant")
	}
	if dry {
		until, err := v.retained(ctx, h)
		if err == nil && !until.IsZero() {
			err = notYet(h, until)
		}
		return until, err
	}
	return v.removeFree(ctx, h)
}

package vault

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Waiting is how patiently a moment is sought in which nobody else works on the vault. What deletes needs such a moment,
// as with restic, whose lock it then holds exclusively. The zero Waiting tries once.
type Waiting struct {
	// For is how long to look for a moment that comes by itself. Others are not disturbed by this.
	For time.Duration
	// Drain is what to do on a vault where somebody is always at work: for at most so long newcomers are kept out, while
	// those who are at work finish. A restic that starts then ends with "repository is already locked", unless it was
	// told to --retry-lock; a Lifeboat waits (Options.RetryLock). 0: newcomers are never kept out.
	Drain time.Duration
}

// How often a moment is looked for.
const (
	momentFirst = 250 * time.Millisecond
	momentMost  = 5 * time.Second
)

// moment takes the exclusive lock, as patiently as w says. Conflict: there was no moment.
func (v *Vault) moment(ctx context.Context, w Waiting) (context.Context, *Lock, error) {
	start, wait := v.opts.Now(), momentFirst
	for {
		held, l, err := v.lockOnce(ctx, true)
		if err == nil || failure.KindOf(err) != failure.Conflict {
			return held, l, err
		}
		left := w.For - v.opts.Now().Sub(start)
		if left <= 0 {
			if w.Drain > 0 {
				return v.drain(ctx, w.Drain)
			}
			return nil, nil, err
		}
		// Two who look for a moment at the same times would never find one.
		if err := pause(ctx, min(wait/2+rand.N(wait/2), left)); err != nil {
			return nil, nil, err
		}
		wait = min(2*wait, momentMost)
	}
}

// drain takes the exclusive lock although others hold shared ones: nobody who comes later is let in. It has it once all
// of these are gone. Conflict: they were not in time, or somebody else wants the vault for himself too.
func (v *Vault) drain(ctx context.Context, limit time.Duration) (context.Context, *Lock, error) {
	me := v.opts.Identity
	l := &Lock{v: v, done: make(chan struct{})}
	l.info = LockInfo{Exclusive: true, Hostname: me.Hostname, Username: me.Username, PID: me.PID, UID: me.UID, GID: me.GID}
	if err := v.othersExclude(ctx, l); err != nil {
		return nil, nil, err
	}
	if err := l.write(ctx); err != nil {
		return nil, nil, failure.Wrap(err, "lock", v.Location())
	}
	held := l.hold(ctx)
	give := func(err error) (context.Context, *Lock, error) {
		return nil, nil, errors.Join(err, l.Release(ctx))
	}
	start, wait := v.opts.Now(), lockSettles
	for {
		if err := pause(held, wait); err != nil {
			return give(cause(held, err))
		}
		if err := v.othersExclude(held, l); err != nil {
			return give(err)
		}
		// A listing that took place while the lock was replaced would show it twice.
		l.files.Lock()
		err := v.othersLock(held, l.info)
		l.files.Unlock()
		if err == nil {
			return held, l, nil
		}
		if failure.KindOf(err) != failure.Conflict || v.opts.Now().Sub(start) > limit {
			return give(err)
		}
		v.opts.Log.InfoContext(ctx, "newcomers are kept out until those who work on the vault have finished", "vault", v.Location(), "error", err)
		wait = min(2*wait, momentMost)
	}
}

// othersExclude is Conflict when somebody else holds, or waits for, the exclusive lock.
func (v *Vault) othersExclude(ctx context.Context, l *Lock) error {
	l.files.Lock()
	defer l.files.Unlock()
	return v.othersLock(ctx, LockInfo{ID: l.info.ID})
}

// retained gives until when the store keeps h from deletion; the zero time when it does not, or not any more.
func (v *Vault) retained(ctx context.Context, h blob.Handle) (time.Time, error) {
	r, ok := blob.As[blob.Retainer](v.store)
	if !ok || !v.store.Facts().Retention {
		return time.Time{}, nil
	}
	until, err := r.RetainedUntil(ctx, h)
	if err != nil || !until.After(v.opts.Now()) {
		return time.Time{}, err
	}
	return until, nil
}

// notYet is the refusal to remove h before an instant.
func notYet(h blob.Handle, until time.Time) error {
	return failure.New(failure.Denied, "remove", h.String(), "it is retained until %s, and not before that can it go", until.UTC().Format(time.RFC3339)).
		WithHint("forget and prune again after that; nothing can shorten a retention")
}

// removeFree removes h unless the store retains it: then the instant until when is given, with a Denied error.
func (v *Vault) removeFree(ctx context.Context, h blob.Handle) (time.Time, error) {
	until, err := v.retained(ctx, h)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound {
			return time.Time{}, nil // gone already
		}
		return time.Time{}, err
	}
	if !until.IsZero() {
		return until, notYet(h, until)
	}
	return time.Time{}, v.store.Remove(ctx, h)
}

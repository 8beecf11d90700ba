package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// errFenced says that another owner has taken the run over; errLost that this one was silent for too long to act.
var (
	errFenced  = errors.New("engine: another process has taken the run over")
	errLost    = errors.New("engine: the lease on the run ran out")
	errCrashed = errors.New("engine: ended at a failpoint")
)

// Drive carries a run on until it is over and archived, or ctx ends. While somebody else drives it, Drive waits in
// line, and takes over when that one falls silent. Ending ctx leaves the run as it is, to be driven again by anybody.
// The error is nil when the run is over (whatever its outcome), ctx's when that ended, and otherwise says why nobody
// can drive it.
func (e *Engine) Drive(ctx context.Context, run model.RunID) error {
	for {
		err := e.driveOnce(ctx, run)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errCrashed):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errFenced), errors.Is(err, errLost):
			e.opts.Log.Warn("stand back from run", "run", run, "why", err)
		case failure.KindOf(err).Retryable():
			e.opts.Log.Warn("the journal does not answer; trying again", "run", run, "err", err)
		default:
			return err
		}
		if err := sleep(ctx, e.opts.TTL/6); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// driveOnce owns the run once: takes it over, and drives it until it is over or no longer owned.
func (e *Engine) driveOnce(ctx context.Context, run model.RunID) error {
	r, err := e.acquire(ctx, run)
	if err != nil || r == nil { // nil: it was archived meanwhile
		return err
	}
	leaseCtx, lost := context.WithCancelCause(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		r.keepAlive(leaseCtx, lost)
	}()
	err = r.drive(leaseCtx)
	if cause := context.Cause(leaseCtx); cause != nil && ctx.Err() == nil && err != nil {
		err = cause
	}
	lost(nil)
	<-kept
	if !errors.Is(err, errCrashed) {
		// Give the run up at once, also when ctx is over: the next in line need not wait for the lease.
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opts.TTL)
		defer cancel()
		if rerr := e.opts.Store.Revoke(bye, r.session); rerr != nil {
			e.opts.Log.Debug("lease not given up; it will run out", "run", run, "err", rerr)
		}
	}
	return err
}

// acquire waits until nobody is alive who drives the run, and takes it over: the new epoch is in the header before
// anything else is read, so that no commit of the predecessor can follow. It returns nil for a run that is gone.
func (e *Engine) acquire(ctx context.Context, run model.RunID) (*runner, error) {
	me := e.opts.Owner + "/" + ulid.Make().String()
	for {
		if err := e.awaitSilence(ctx, run); err != nil {
			return nil, err
		}
		h, kv, err := readHeader(ctx, e.opts.Store, run)
		if err != nil {
			if errors.Is(err, failure.NotFound) && e.opts.Archive != nil {
				return nil, nil
			}
			return nil, err
		}
		session, err := e.opts.Store.Grant(ctx, e.opts.TTL)
		if err != nil {
			return nil, failure.Wrap(err, "take over run", string(run))
		}
		granted := time.Now()
		next := *h
		next.Epoch, next.Owner = h.Epoch+1, me
		txn := journal.Txn{
			If: []journal.Cond{{Key: ownKey(run)}, {Key: headerKey(run), Mod: kv.Mod}},
			Then: []journal.Op{
				{Key: ownKey(run), Value: encode(owner{Owner: me, Since: granted.UTC()}), Session: session},
				{Key: headerKey(run), Value: encode(next)},
			},
		}
		if err := e.fail(ctx, "takeover:before"); err != nil {
			return nil, err
		}
		rev, ok, err := e.opts.Store.Commit(ctx, txn)
		if err != nil { // what stands there now tells
			now, nowKV, herr := readHeader(ctx, e.opts.Store, run)
			if herr != nil {
				return nil, herr
			}
			rev, ok = nowKV.Mod, now.sameWrite(&next)
		}
		if ferr := e.fail(ctx, "takeover:after"); ferr != nil {
			return nil, ferr
		}
		if ok {
			return e.readOwned(ctx, run, &next, rev, session, granted)
		}
		if err := e.opts.Store.Revoke(ctx, session); err != nil {
			return nil, failure.Wrap(err, "take over run", string(run))
		}
		if err := sleep(ctx, time.Duration(rand.Int64N(int64(e.opts.TTL/20)+1))); err != nil {
			return nil, err
		}
	}
}

// awaitSilence returns once nobody's session stands under the run.
func (e *Engine) awaitSilence(ctx context.Context, run model.RunID) error {
	for {
		_, alive, rev, err := e.opts.Store.Get(ctx, ownKey(run))
		if err != nil || !alive {
			return err
		}
		// The watch is an accelerator: it may end early, and a round of its own asks again.
		round, cancel := context.WithTimeout(ctx, e.opts.TTL)
		changes := e.opts.Store.Watch(round, ownKey(run), rev)
		select {
		case <-changes:
		case <-round.Done():
		}
		cancel()
		for range changes { // drain until the store has let go of it
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// readOwned reads the run that was just taken over.
func (e *Engine) readOwned(ctx context.Context, run model.RunID, h *header, mod int64, session journal.Session, granted time.Time) (*runner, error) {
	plan, err := readPlan(ctx, e.opts.Store, run, h)
	if err != nil {
		return nil, err
	}
	events, last, err := readEvents(ctx, e.opts.Store, run, 1, h.Chunk)
	if err != nil {
		return nil, err
	}
	if last != h.Chunk {
		return nil, failure.New(failure.Corrupt, "take over run", string(run), "there is a chunk %d after the last one, %d", last, h.Chunk)
	}
	state, err := replay(run, plan, h.PlanHash, e.opts.Store.Incarnation(), events)
	if err != nil {
		return nil, err
	}
	r := newRunner(e, state, h, mod, session)
	r.extend(granted)
	for i := range events {
		if events[i].Kind == ProbeChanged {
			r.probed = &events[i]
		}
	}
	return r, nil
}

// keepAlive keeps the session while the store answers to this owner, and ends the lease when it no longer does. It
// asks through the same path as commits, so that an owner whose writes hang does not stay owner by keep-alives alone.
func (r *runner) keepAlive(ctx context.Context, lost context.CancelCauseFunc) {
	store, ttl := r.e.opts.Store, r.e.opts.TTL
	for sleep(ctx, ttl/3) == nil {
		asked := time.Now()
		callCtx, cancel := context.WithTimeout(ctx, ttl/3)
		h, _, err := readHeader(callCtx, store, r.state.Run)
		if err == nil && (h.Epoch != r.epoch || h.Owner != r.owner) {
			cancel()
			lost(errFenced)
			return
		}
		if err == nil {
			err = store.KeepAlive(callCtx, r.session)
		}
		cancel()
		switch {
		case err == nil:
			r.extend(asked)
		case errors.Is(err, failure.NotFound), !r.alive():
			lost(errLost)
			return
		}
	}
}

// extend moves the lease's end to what is certain after a keep-alive that was asked for at t.
func (r *runner) extend(t time.Time) {
	margin := r.e.opts.TTL / 10
	r.leaseMu.Lock()
	r.leaseEnd = t.Add(r.e.opts.TTL - margin)
	r.leaseMu.Unlock()
}

// alive says whether the lease certainly stands now. It is asked before each call that leaves: a process that was
// frozen and wakes finds its lease over before it acts.
func (r *runner) alive() bool {
	r.leaseMu.Lock()
	defer r.leaseMu.Unlock()
	return time.Now().Before(r.leaseEnd)
}

func (e *Engine) fail(ctx context.Context, point string) error {
	if e.opts.Failpoint == nil {
		return nil
	}
	if err := e.opts.Failpoint(ctx, point); err != nil {
		return errors.Join(errCrashed, err)
	}
	return nil
}

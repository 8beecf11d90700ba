package engine

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Followed is a run as of one moment. The state belongs to the follower: read it before asking for the next.
type Followed struct {
	State    *State
	Attended bool
	Unread   int // signals that the state does not show yet
}

// followRound is how often a follower looks although nothing told it to: who drives a run can change in silence.
const followRound = time.Second

// Follow yields a run each time it changes, and at least every second while nobody drives it, until it is final or
// ctx ends. A run that leaves the journal meanwhile ends the sequence with failure.NotFound: look in the archive.
func (e *Engine) Follow(ctx context.Context, run model.RunID) iter.Seq2[Followed, error] {
	return func(yield func(Followed, error) bool) {
		f, err := e.follower(ctx, run)
		if err != nil {
			yield(Followed{}, e.left(ctx, run, err))
			return
		}
		first := true
		for {
			changed, rev, err := f.read(ctx)
			if err != nil {
				yield(Followed{}, e.left(ctx, run, err))
				return
			}
			if changed || first {
				first = false
				if !yield(Followed{State: f.state, Attended: f.attended, Unread: f.unread}, nil) || f.state.Final() {
					return
				}
			}
			if err := f.wait(ctx, rev); err != nil {
				yield(Followed{}, err)
				return
			}
		}
	}
}

// follower keeps a state up to date by reading only the chunks that are new.
type follower struct {
	e        *Engine
	run      model.RunID
	state    *State
	chunk    int64
	attended bool
	unread   int
}

func (e *Engine) follower(ctx context.Context, run model.RunID) (*follower, error) {
	h, _, err := readHeader(ctx, e.opts.Store, run)
	if err != nil {
		return nil, err
	}
	plan, err := readPlan(ctx, e.opts.Store, run, h)
	if err != nil {
		return nil, err
	}
	state, err := newState(run, plan, h.PlanHash, e.opts.Store.Incarnation())
	return &follower{e: e, run: run, state: state}, err
}

func (f *follower) read(ctx context.Context) (changed bool, rev int64, err error) {
	_, attended, rev, err := f.e.opts.Store.Get(ctx, ownKey(f.run))
	if err != nil {
		return false, 0, err
	}
	unread, err := f.e.Unread(ctx, f.run) // before the events: what leaves the inbox meanwhile is in them
	if err != nil {
		return false, 0, err
	}
	events, last, err := readEvents(ctx, f.e.opts.Store, f.run, f.chunk+1, 0)
	if err != nil {
		return false, 0, err
	}
	if len(events) == 0 {
		if _, _, err := readHeader(ctx, f.e.opts.Store, f.run); err != nil {
			return false, 0, err // it has left the journal
		}
	}
	for _, ev := range events {
		if _, err := f.state.Apply(ev); err != nil {
			return false, 0, err
		}
	}
	changed = len(events) > 0 || attended != f.attended || unread != f.unread
	f.chunk, f.attended, f.unread = last, attended, unread
	return changed, rev, nil
}

// wait returns when the run may have changed since rev.
func (f *follower) wait(ctx context.Context, rev int64) error {
	round, cancel := context.WithTimeout(ctx, followRound)
	defer cancel()
	changes := f.e.opts.Store.Watch(round, runPrefix(f.run), rev)
	for changed := range changes {
		for _, c := range changed {
			if strings.HasPrefix(c.Key, chunkPrefix(f.run)) || c.Key == ownKey(f.run) || c.Key == headerKey(f.run) && c.Deleted {
				cancel()
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return nil
}

// Known says whether the journal has the run.
func (e *Engine) Known(ctx context.Context, run model.RunID) (bool, error) {
	_, _, err := readHeader(ctx, e.opts.Store, run)
	if errors.Is(err, failure.NotFound) {
		return false, nil
	}
	return err == nil, err
}

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// runner drives one run while it owns it. One goroutine, that of drive, owns the state; calls to drivers and watches
// run beside it and report facts.
type runner struct {
	e       *Engine
	state   *State
	h       *header
	mod     int64 // the header's revision as last written by us
	epoch   int64
	owner   string
	session journal.Session
	since   time.Time // when this owner took over
	probed  *Event

	leaseMu  sync.Mutex
	leaseEnd time.Time

	facts chan Event
	inbox chan []journal.KV
	wake  chan struct{}
	calls map[int]context.CancelFunc // observations under way, by step
	group sync.WaitGroup
}

func newRunner(e *Engine, state *State, h *header, mod int64, session journal.Session) *runner {
	return &runner{
		e: e, state: state, h: h, mod: mod, epoch: h.Epoch, owner: h.Owner, session: session, since: time.Now(),
		facts: make(chan Event, chunkEvents), inbox: make(chan []journal.KV), wake: make(chan struct{}, 1),
		calls: map[int]context.CancelFunc{},
	}
}

// batch is what becomes durable together: events, the signals they consume, and the effects that follow.
type batch struct {
	events  []Event
	effects []Effect
	consume []string // inbox keys
}

// drive runs the loop: collect facts, decide, commit, let effects leave.
func (r *runner) drive(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.group.Wait()
	defer cancel()
	if !r.state.Final() {
		b := &batch{effects: r.state.Resume()}
		if err := r.add(b, Event{Kind: OwnerChanged, By: r.owner, Epoch: r.epoch}); err != nil {
			return err
		}
		r.group.Go(func() { r.watchInbox(ctx) })
		if c := r.e.opts.Companion; c != nil {
			view := View{Run: r.state.Run, Plan: r.state.Plan, Started: r.state.Started, Probed: r.probed}
			r.group.Go(func() { c(ctx, view, func(e Event) { r.report(ctx, e) }) })
		}
		for {
			if err := r.turn(ctx, b); err != nil {
				return err
			}
			if r.state.Final() {
				break
			}
			var err error
			if b, err = r.collect(ctx); err != nil {
				return err
			}
		}
	}
	cancel()
	r.group.Wait()
	return r.retire(context.WithoutCancel(ctx))
}

// turn decides what follows from a batch, makes all of it durable, and lets the effects leave.
func (r *runner) turn(ctx context.Context, b *batch) error {
	for {
		decided := r.state.Decide(now(r.state))
		if len(decided) == 0 {
			break
		}
		for _, ev := range decided {
			effects, err := r.state.Apply(ev)
			if err != nil {
				return err
			}
			b.events, b.effects = append(b.events, ev), append(b.effects, effects...)
		}
	}
	if err := r.commit(ctx, b); err != nil {
		return err
	}
	for _, eff := range b.effects {
		r.leave(ctx, eff)
	}
	return nil
}

// collect waits for at least one thing to happen, and takes what else has happened by then.
func (r *runner) collect(ctx context.Context) (*batch, error) {
	b := &batch{}
	var err error
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case ev := <-r.facts:
		err = r.fact(b, ev)
	case kvs := <-r.inbox:
		err = r.signals(b, kvs)
	case <-r.wake:
	}
	for err == nil && len(b.events) < chunkEvents {
		select {
		case ev := <-r.facts:
			err = r.fact(b, ev)
		default:
			return b, nil
		}
	}
	return b, err
}

// now is the instant of the next event: the clock's, but never before the last event.
func now(s *State) time.Time {
	t := time.Now().UTC()
	if t.Before(s.Last) {
		return s.Last
	}
	return t
}

// add numbers an event, folds it in and puts it into the batch.
func (r *runner) add(b *batch, ev Event) error {
	ev.Seq, ev.At = r.state.Seq+1, now(r.state)
	effects, err := r.state.Apply(ev)
	if err != nil {
		return err
	}
	b.events, b.effects = append(b.events, ev), append(b.effects, effects...)
	return nil
}

// fact adds what a call reported, unless the step has moved on meanwhile.
func (r *runner) fact(b *batch, ev Event) error {
	var fatal *fatalError
	if errors.As(asError(ev.Err), &fatal) {
		return fatal.err
	}
	if ev.Step != "" {
		st, ok := r.state.StepOf(ev.Step)
		if !ok || st.final() || st.Token != ev.Token || !st.holdsPlace() {
			return nil
		}
		ev.Token = ""
	}
	if ev.Kind == StepProgress || ev.Kind == ProbeChanged {
		ev.Token = ""
	}
	return r.add(b, ev)
}

func asError(e *failure.Error) error {
	if e == nil {
		return nil
	}
	return e
}

// fatalError carries the end of the runner through the facts.
type fatalError struct{ err error }

func (f *fatalError) Error() string { return f.err.Error() }

// report hands a fact to the loop.
func (r *runner) report(ctx context.Context, ev Event) {
	select {
	case r.facts <- ev:
	case <-ctx.Done():
	}
}

// maxSignals bounds the signals of one batch: each is one more operation in its transaction.
const maxSignals = 50

// signals moves people's words from the inbox into the batch. The records go in the same transaction.
func (r *runner) signals(b *batch, kvs []journal.KV) error {
	for _, kv := range kvs {
		if len(b.consume) >= maxSignals {
			break // the watch brings the rest again
		}
		key := kv.Key[len(inboxPrefix(r.state.Run)):]
		b.consume = append(b.consume, kv.Key)
		if r.state.handled[key] {
			continue
		}
		var sig api.SignalRequest
		ev := Event{Kind: Signalled, Key: key}
		if err := json.Unmarshal(kv.Value, &sig); err != nil {
			ev.Refused = "it cannot be read: " + err.Error()
		} else {
			ev.Refused = r.state.Admit(&sig)
			ev.Signal, ev.Step, ev.By, ev.Reason, ev.Set = sig.Signal, sig.Step, sig.By, sig.Reason, sig.Set
		}
		if err := r.add(b, ev); err != nil {
			return err
		}
	}
	return nil
}

// watchInbox brings the records of the inbox to the loop until ctx ends.
func (r *runner) watchInbox(ctx context.Context) {
	prefix := inboxPrefix(r.state.Run)
	for ctx.Err() == nil {
		kvs, rev, err := r.e.opts.Store.List(ctx, prefix, journal.ListOptions{})
		if err == nil && len(kvs) > 0 {
			select {
			case r.inbox <- kvs:
			case <-ctx.Done():
			}
			continue // list again: more may wait than one batch takes
		}
		if err != nil {
			r.e.opts.Log.Debug("inbox does not answer", "run", r.state.Run, "err", err)
			if sleep(ctx, r.e.opts.TTL/6) != nil {
				return
			}
			continue
		}
		watch, cancel := context.WithCancel(ctx)
		changes := r.e.opts.Store.Watch(watch, prefix, rev)
		for changed := range changes {
			if anyPut(changed) {
				break
			}
		}
		cancel()
		for range changes { // drain until the store has let go of it
		}
	}
}

func anyPut(changes []journal.Change) bool {
	for _, c := range changes {
		if !c.Deleted {
			return true
		}
	}
	return false
}

// retire hands a finished run to the archive and takes it out of the journal.
func (r *runner) retire(ctx context.Context) error {
	if r.e.opts.Archive == nil {
		return nil
	}
	events, _, err := readEvents(ctx, r.e.opts.Store, r.state.Run, 1, r.h.Chunk)
	if err != nil {
		return err
	}
	if err := r.e.fail(ctx, "archive:before"); err != nil {
		return err
	}
	if err := r.e.opts.Archive(ctx, Record{Run: r.state.Run, Plan: r.state.Plan, Events: events}); err != nil {
		return failure.Wrap(err, "archive run", string(r.state.Run))
	}
	if err := r.e.fail(ctx, "archive:after"); err != nil {
		return err
	}
	txn := journal.Txn{
		If: []journal.Cond{{Key: headerKey(r.state.Run), Mod: r.mod}},
		Then: []journal.Op{
			{Key: runPrefix(r.state.Run), Delete: true, Prefix: true},
			{Key: activeKey(r.state.Run), Delete: true},
		},
	}
	_, ok, err := r.e.opts.Store.Commit(ctx, txn)
	if err != nil {
		return failure.Wrap(err, "take out of the journal", string(r.state.Run))
	}
	if !ok {
		return errFenced
	}
	return r.e.fail(ctx, "retire:after")
}

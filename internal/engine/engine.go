// Package engine carries out plans, durably.
//
// Its core is pure: a [State] is the fold of a run's events ([State.Apply]), decides which events follow
// ([State.Decide]), and names the effects that may leave once they are written. Around it, [Engine.Drive] owns a run:
// it takes the run over in the journal, commits events in groups, calls drivers, and stops at once when somebody else
// has taken over. Every commit is one transaction that compares the run's header; the header's epoch is raised by a
// takeover before the heir reads anything, so that from then on the predecessor cannot write. Calls to drivers happen
// at least once; their effects land once, because the intent with its idempotency token is durable before the call,
// and the handle before the first look at it.
//
// The engine knows no kind of resource and no operation: those are the plan's.
//
// Start with [New], [Engine.Create] and [Engine.Drive]; read the core in apply.go and decide.go.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Record is a finished run, whole.
type Record struct {
	Run    model.RunID `json:"run"`
	Plan   *model.Plan `json:"plan"`
	Events []Event     `json:"events"`
}

// Options configure an Engine. Store and Drivers must be set; the rest has defaults.
type Options struct {
	Store   journal.Store
	Drivers *driver.Registry
	Log     *slog.Logger
	// Owner names this process to people; default user-readable host:pid.
	Owner string
	// TTL is how long a silent owner is believed alive: 3 s by default. An heir acts within about TTL + 1 s.
	TTL time.Duration
	// Archive takes a finished run before it leaves the journal; it is called again for the same run until it
	// succeeds once, by whoever drives the run. Without one, finished runs stay in the journal.
	Archive func(ctx context.Context, rec Record) error
	// Companion runs beside each run that this process owns, until its context ends. It may report ProbeChanged
	// events with emit.
	Companion func(ctx context.Context, state View, emit func(Event))
	// Failpoint is called before and after each durable write and each effect; an error there ends the driver of the
	// run on the spot, as a crash would: nothing is given up in good order. For tests.
	Failpoint func(ctx context.Context, point string) error
}

// View is what a companion may know of a run.
type View struct {
	Run     model.RunID
	Plan    *model.Plan
	Started time.Time
	Probed  *Event // the last ProbeChanged, if any
}

// Engine drives runs. It is safe for concurrent use.
type Engine struct{ opts Options }

// New makes an Engine.
func New(opts Options) *Engine {
	if opts.TTL <= 0 {
		opts.TTL = 3 * time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Owner == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		opts.Owner = fmt.Sprintf("%s:%d", host, os.Getpid())
	}
	return &Engine{opts: opts}
}

// CreateRequest is a new run.
type CreateRequest struct {
	Plan  *model.Plan
	Start Start // PlanHash is filled in
	By    string
	// Key is the caller's idempotency key: a second Create with it gives the first one's run.
	Key string
	// Locks are names that one run at a time may hold. A held one is failure.Conflict.
	Locks []string
}

// NewRunID makes an id that sorts by time.
func NewRunID() model.RunID { return model.RunID(ulid.Make().String()) }

// Create makes a run durable, or finds the one that the same key made. It is not driven yet.
func (e *Engine) Create(ctx context.Context, req CreateRequest) (model.RunID, error) {
	run := NewRunID()
	state, err := NewState(run, req.Plan, e.opts.Store.Incarnation())
	if err != nil {
		return "", err
	}
	req.Start.PlanHash = state.planHash
	first := Event{Seq: 1, At: time.Now().UTC(), Kind: RunStarted, By: req.By, Start: &req.Start}
	if _, err := state.Apply(first); err != nil {
		return "", err
	}
	pages, err := encodePlan(req.Plan)
	if err != nil {
		return "", err
	}
	for i, page := range pages { // nobody sees them before the header is there
		op := journal.Op{Key: fmt.Sprintf("%s%05d", planPrefix(run), i), Value: page}
		if _, _, err := e.opts.Store.Commit(ctx, journal.Txn{Then: []journal.Op{op}}); err != nil {
			return "", failure.Wrap(err, "record plan of", string(run))
		}
	}
	h := header{Chunk: 1, Seq: 1, PlanHash: state.planHash, Pages: len(pages), Locks: req.Locks, Summary: state.Summary()}
	txn := journal.Txn{
		If: []journal.Cond{{Key: headerKey(run)}},
		Then: []journal.Op{
			{Key: headerKey(run), Value: encode(h)},
			{Key: chunkKey(run, 1), Value: encode([]Event{first})},
			{Key: activeKey(run), Value: []byte("{}")},
		},
	}
	for _, name := range req.Locks {
		txn.If = append(txn.If, journal.Cond{Key: lockKey(name)})
		txn.Then = append(txn.Then, journal.Op{Key: lockKey(name), Value: []byte(run)})
	}
	if req.Key != "" {
		txn.If = append(txn.If, journal.Cond{Key: requestKey(req.Key)})
		txn.Then = append(txn.Then, journal.Op{Key: requestKey(req.Key), Value: []byte(run)})
	}
	_, ok, err := e.opts.Store.Commit(ctx, txn)
	if err == nil && ok {
		return run, nil
	}
	// Not applied, or not known: what stands there now tells.
	if _, _, herr := readHeader(ctx, e.opts.Store, run); herr == nil {
		return run, nil
	} else if !errors.Is(herr, failure.NotFound) {
		return "", herr
	}
	if err != nil {
		return "", failure.Wrap(err, "start run", string(run))
	}
	return e.existing(ctx, req)
}

// existing finds out why a run could not be created: its key or one of its locks is taken.
func (e *Engine) existing(ctx context.Context, req CreateRequest) (model.RunID, error) {
	if req.Key != "" {
		kv, ok, _, err := e.opts.Store.Get(ctx, requestKey(req.Key))
		if err != nil {
			return "", err
		}
		if ok {
			return model.RunID(kv.Value), nil
		}
	}
	for _, name := range req.Locks {
		kv, ok, _, err := e.opts.Store.Get(ctx, lockKey(name))
		if err != nil {
			return "", err
		}
		if ok {
			return "", failure.New(failure.Conflict, "start run on", name, "run %s is not over yet", kv.Value).
				WithHint("lifeboat run show %s; carry it on with lifeboat run resume %s, or end it with lifeboat run abort %s --reason …", kv.Value, kv.Value, kv.Value)
		}
	}
	return "", failure.New(failure.Conflict, "start run", req.Plan.Name, "another run started at the same moment").WithHint("try again")
}

// Signal records a person's word in the run's inbox; whoever drives the run takes it from there. attended says whether
// somebody does. A signal that the run would refuse as it stands is refused here (failure.Conflict), nothing recorded.
func (e *Engine) Signal(ctx context.Context, sig api.SignalRequest) (step model.StepID, attended bool, err error) {
	state, _, err := e.Load(ctx, sig.Run)
	if err != nil {
		return "", false, err
	}
	if refused := state.Admit(&sig); refused != "" {
		return sig.Step, false, failure.New(failure.Conflict, string(sig.Signal), string(sig.Run), "%s", refused).
			WithHint("lifeboat run show %s", sig.Run)
	}
	if sig.Key == "" {
		sig.Key = ulid.Make().String()
	}
	key := inboxPrefix(sig.Run) + sig.Key
	txn := journal.Txn{If: []journal.Cond{{Key: key}}, Then: []journal.Op{{Key: key, Value: encode(sig)}}}
	if _, _, err := e.opts.Store.Commit(ctx, txn); err != nil { // the same key again is the same signal, landed or not
		return sig.Step, false, failure.Wrap(err, string(sig.Signal), string(sig.Run))
	}
	_, attended, _, err = e.opts.Store.Get(ctx, ownKey(sig.Run))
	return sig.Step, attended, err
}

// Unread counts the signals in a run's inbox: people's words that whoever drives it has not taken from there yet.
func (e *Engine) Unread(ctx context.Context, run model.RunID) (int, error) {
	kvs, _, err := e.opts.Store.List(ctx, inboxPrefix(run), journal.ListOptions{})
	return len(kvs), err
}

// Load reads a run that is in the journal, as its events have left it. attended says whether somebody drives it.
func (e *Engine) Load(ctx context.Context, run model.RunID) (state *State, attended bool, err error) {
	state, _, err = e.load(ctx, run)
	if err != nil {
		return nil, false, err
	}
	_, attended, _, err = e.opts.Store.Get(ctx, ownKey(run))
	return state, attended, err
}

// load reads the run. One that leaves for the archive while it is read is failure.NotFound, as if it had left before.
func (e *Engine) load(ctx context.Context, run model.RunID) (*State, []Event, error) {
	state, events, err := e.loadOnce(ctx, run)
	return state, events, e.left(ctx, run, err)
}

// left turns what looks corrupt into failure.NotFound if the run has left the journal meanwhile.
func (e *Engine) left(ctx context.Context, run model.RunID, err error) error {
	if !errors.Is(err, failure.Corrupt) {
		return err
	}
	if _, _, herr := readHeader(ctx, e.opts.Store, run); errors.Is(herr, failure.NotFound) {
		return herr
	}
	return err
}

func (e *Engine) loadOnce(ctx context.Context, run model.RunID) (*State, []Event, error) {
	h, _, err := readHeader(ctx, e.opts.Store, run)
	if err != nil {
		return nil, nil, err
	}
	plan, err := readPlan(ctx, e.opts.Store, run, h)
	if err != nil {
		return nil, nil, err
	}
	events, _, err := readEvents(ctx, e.opts.Store, run, 1, h.Chunk)
	if err != nil {
		return nil, nil, err
	}
	state, err := replay(run, plan, h.PlanHash, e.opts.Store.Incarnation(), events)
	return state, events, err
}

// Record reads a run with all its events.
func (e *Engine) Record(ctx context.Context, run model.RunID) (Record, *State, error) {
	state, events, err := e.load(ctx, run)
	if err != nil {
		return Record{}, nil, err
	}
	return Record{Run: run, Plan: state.Plan, Events: events}, state, nil
}

// Replay folds events into the state of a run.
func Replay(run model.RunID, plan *model.Plan, incarnation string, events []Event) (*State, error) {
	return replay(run, plan, plan.Hash(), incarnation, events)
}

func replay(run model.RunID, plan *model.Plan, hash, incarnation string, events []Event) (*State, error) {
	state, err := newState(run, plan, hash, incarnation)
	if err != nil {
		return nil, err
	}
	for _, ev := range events {
		if _, err := state.Apply(ev); err != nil {
			return nil, err
		}
	}
	return state, nil
}

// Active is a run that has not left the journal.
type Active struct {
	api.RunSummary
	Owner    string
	Attended bool
}

// Active lists the runs that are in the journal, oldest first.
func (e *Engine) Active(ctx context.Context) ([]Active, error) {
	kvs, _, err := e.opts.Store.List(ctx, root+"idx/active/", journal.ListOptions{})
	if err != nil {
		return nil, failure.Wrap(err, "list runs", "")
	}
	var out []Active
	for _, kv := range kvs {
		run := model.RunID(kv.Key[len(root+"idx/active/"):])
		h, _, err := readHeader(ctx, e.opts.Store, run)
		if errors.Is(err, failure.NotFound) {
			continue // it was archived since
		}
		if err != nil {
			return nil, err
		}
		_, attended, _, err := e.opts.Store.Get(ctx, ownKey(run))
		if err != nil {
			return nil, err
		}
		a := Active{RunSummary: h.Summary, Owner: h.Owner, Attended: attended}
		if !attended && !h.Final {
			a.Status = "unattended"
		}
		out = append(out, a)
	}
	return out, nil
}

// jitter spreads a pause over half to all of it, so that many do not come back at once.
func jitter(d time.Duration) time.Duration { return d/2 + time.Duration(rand.Int64N(int64(d/2)+1)) }

// Package faulty is laid around a blob store, in tests: it fails, delays, reorders and breaks, by a script or at random.
//
// What happens to the n-th call of an operation on a type is decided by the seed, the operation, the type and n alone, so
// that a seed means the same faults again, however goroutines run. Faults that every store may have (an error before or
// after the effect, a delay, a reader or a listing that breaks, short reads, any order) are apart from those of a store
// that is broken (an end that comes early without an error, a wrong size, a wrong bit): what works with the former must
// succeed or say that it did not; with the latter it must at least never be wrong in silence. Start with Wrap.
package faulty

import (
	"context"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Op is a call of a store.
type Op string

// The calls.
const (
	Create Op = "create"
	Save   Op = "save"
	Load   Op = "load"
	Stat   Op = "stat"
	List   Op = "list"
	Remove Op = "remove"
)

// Action is what goes wrong.
type Action string

// The actions.
const (
	Before   Action = "before"   // the call fails and has no effect
	After    Action = "after"    // the call has its effect, and fails: Indeterminate for Save and Remove
	Delay    Action = "delay"    // the call waits first
	Break    Action = "break"    // what is read, or the listing, ends in the middle with an error
	Truncate Action = "truncate" // what is read ends in the middle, without an error: no store may
	Lie      Action = "lie"      // Stat or List says another size: no store may
	Flip     Action = "flip"     // one bit of what is read is another one: no store should
)

// Fault is one line of a script: the calls of an operation on a type that come after the first Spare ones fail, Times
// times.
type Fault struct {
	Op    Op
	Type  blob.Type // 0: any
	Spare int
	Times int // 0: once
	Do    Action
	Kind  failure.Kind  // of Before, After and Break; 0: Unavailable, of After Indeterminate
	For   time.Duration // of Delay
}

// Rates are how likely each action is at each call that it can happen to, from 0 to 1.
type Rates struct {
	Before, After, Delay, Break, Truncate, Lie, Flip float64
	MaxDelay                                         time.Duration
}

// Options say what goes wrong.
type Options struct {
	Seed   uint64
	Script []Fault
	Rates  Rates
	// Reorder: listings come in a random order. Short: reads give fewer bytes than were asked for. No store promises
	// otherwise.
	Reorder, Short bool
	// Sleep waits; nil: for that long.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Store is a store that fails. Make one with Wrap.
type Store struct {
	inner blob.Store
	opts  Options

	mu    sync.Mutex
	calls map[call]uint64
	seen  []int // calls that fit each line of the script
	done  map[Action]int
}

type call struct {
	op Op
	t  blob.Type
}

// Wrap lays faults around inner. Closing it closes inner.
func Wrap(inner blob.Store, o Options) *Store {
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return &Store{inner: inner, opts: o, calls: map[call]uint64{}, seen: make([]int, len(o.Script)), done: map[Action]int{}}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done tells how often each action happened.
func (s *Store) Done() map[Action]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[Action]int{}
	for a, n := range s.done {
		out[a] = n
	}
	return out
}

// Unfired lists the lines of the script that did not happen as often as they say. A test whose faults never happened
// shows nothing.
func (s *Store) Unfired() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []Fault
	for i, f := range s.opts.Script {
		if s.seen[i] < f.Spare+max(1, f.Times) {
			left = append(left, f)
		}
	}
	return left
}

// Unwrap gives the store within.
func (s *Store) Unwrap() blob.Store { return s.inner }

// Facts are those of the store within.
func (s *Store) Facts() blob.Facts { return s.inner.Facts() }

// Close closes the store within.
func (s *Store) Close() error { return s.inner.Close() }

// fate is what happens to one call.
type fate struct {
	s       *Store
	op      Op
	subject string
	random  *rand.Rand
	faults  map[Action]Fault
}

// possible are the actions that can happen to each operation, in the order in which the dice are thrown.
var possible = map[Op][]Action{
	Create: {Delay, Before, After},
	Save:   {Delay, Before, After},
	Load:   {Delay, Before, Break, Truncate, Flip},
	Stat:   {Delay, Before, Lie},
	List:   {Delay, Before, Break, Lie},
	Remove: {Delay, Before, After},
}

// next decides about a call, and lets it wait.
func (s *Store) next(ctx context.Context, op Op, t blob.Type, subject string) (*fate, error) {
	s.mu.Lock()
	c := call{op, t}
	n := s.calls[c]
	s.calls[c]++
	f := &fate{s: s, op: op, subject: subject, random: s.dice(c, n), faults: map[Action]Fault{}}
	for _, a := range possible[op] {
		if f.random.Float64() < s.rate(a) {
			f.faults[a] = Fault{Do: a, For: time.Duration(f.random.Int64N(int64(s.opts.Rates.MaxDelay) + 1))}
		}
	}
	for i, line := range s.opts.Script {
		if line.Op != op || line.Type != 0 && line.Type != t {
			continue
		}
		if s.seen[i]++; s.seen[i] > line.Spare && s.seen[i] <= line.Spare+max(1, line.Times) {
			f.faults[line.Do] = line
		}
	}
	s.mu.Unlock()
	if d, ok := f.happens(Delay); ok {
		if err := s.opts.Sleep(ctx, d.For); err != nil {
			return nil, failure.Wrap(err, string(op), subject)
		}
	}
	if b, ok := f.happens(Before); ok {
		return nil, f.err(b, failure.Unavailable)
	}
	return f, nil
}

// dice are thrown for one call.
func (s *Store) dice(c call, n uint64) *rand.Rand {
	h := fnv.New64a()
	io.WriteString(h, string(c.op)+"/"+c.t.String())
	return rand.New(rand.NewPCG(s.opts.Seed^h.Sum64(), n))
}

func (s *Store) rate(a Action) float64 {
	r := s.opts.Rates
	return map[Action]float64{Before: r.Before, After: r.After, Delay: r.Delay, Break: r.Break, Truncate: r.Truncate, Lie: r.Lie, Flip: r.Flip}[a]
}

// happens reports whether an action is to happen, and counts it.
func (f *fate) happens(a Action) (Fault, bool) {
	fault, ok := f.faults[a]
	if ok {
		f.s.mu.Lock()
		defer f.s.mu.Unlock()
		f.s.done[a]++
	}
	return fault, ok
}

// err is the error of a fault, of the script's kind or of another one.
func (f *fate) err(fault Fault, otherwise failure.Kind) error {
	kind := fault.Kind
	if kind == failure.Internal {
		kind = otherwise
	}
	return failure.New(kind, string(f.op), f.subject, "a fault of the test (%s)", fault.Do)
}

// after makes a call that changes something.
func (f *fate) after(do func() error) error {
	if err := do(); err != nil {
		return err
	}
	if fault, ok := f.happens(After); ok {
		return f.err(fault, failure.Indeterminate)
	}
	return nil
}

// Create fails before or after.
func (s *Store) Create(ctx context.Context) error {
	f, err := s.next(ctx, Create, 0, s.Facts().Location)
	if err != nil {
		return err
	}
	return f.after(func() error { return s.inner.Create(ctx) })
}

// Save fails before or after.
func (s *Store) Save(ctx context.Context, h blob.Handle, content blob.Content) error {
	f, err := s.next(ctx, Save, h.Type, h.String())
	if err != nil {
		return err
	}
	return f.after(func() error { return s.inner.Save(ctx, h, content) })
}

// Remove fails before or after.
func (s *Store) Remove(ctx context.Context, h blob.Handle) error {
	f, err := s.next(ctx, Remove, h.Type, h.String())
	if err != nil {
		return err
	}
	return f.after(func() error { return s.inner.Remove(ctx, h) })
}

// Stat fails, or lies.
func (s *Store) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	f, err := s.next(ctx, Stat, h.Type, h.String())
	if err != nil {
		return blob.Info{}, err
	}
	info, err := s.inner.Stat(ctx, h)
	if err != nil {
		return info, err
	}
	if _, ok := f.happens(Lie); ok {
		info.Size = f.otherSize(info.Size)
	}
	return info, nil
}

func (f *fate) otherSize(size int64) int64 {
	if other := f.random.Int64N(2*size + 2); other != size {
		return other
	}
	return size + 1
}

// List fails, breaks, lies, and reorders.
func (s *Store) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	f, err := s.next(ctx, List, t, t.String())
	if err != nil {
		return err
	}
	var all []blob.Info
	if err := s.inner.List(ctx, t, func(i blob.Info) error { all = append(all, i); return nil }); err != nil {
		return err
	}
	if s.opts.Reorder {
		f.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	breaks, end := f.happens(Break)
	at := f.random.IntN(len(all) + 1)
	_, lies := f.happens(Lie)
	for i, info := range all {
		if end && i == at {
			break
		}
		if lies && f.random.IntN(4) == 0 {
			info.Size = f.otherSize(info.Size)
		}
		if err := each(info); err != nil {
			return err
		}
	}
	if end {
		return f.err(breaks, failure.Unavailable)
	}
	return nil
}

var _ blob.Wrapper = (*Store)(nil)

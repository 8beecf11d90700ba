package awstest

import (
	"container/heap"
	"context"
	"path"
	"slices"
	"sync"
	"time"
)

// Clock is a time that the test moves, or that runs faster than the real one. Its Now is for Options.Now.
type Clock struct {
	mu    sync.Mutex
	start time.Time
	real  time.Time
	rate  float64
	moved time.Duration
}

// NewClock makes a clock that shows start, and from then on runs rate times as fast as real time; 0: it only moves by Advance.
func NewClock(start time.Time, rate float64) *Clock {
	return &Clock{start: start, real: time.Now(), rate: rate}
}

// Now is the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.start.Add(c.moved + time.Duration(float64(time.Since(c.real))*c.rate))
}

// Advance moves it forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved += d
}

// event is something that is due.
type event struct {
	at    time.Time
	order int
	do    func(at time.Time)
}

// agenda are the events to come, the next one first; of those at one instant, the one that was planned first.
type agenda []event

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].order < a[j].order
	}
	return a[i].at.Before(a[j].at)
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push and Pop are for container/heap.
func (a *agenda) Push(x any) { *a = append(*a, x.(event)) }
func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	*a = old[:len(old)-1]
	return last
}

// later plans something.
func (w *World) later(at time.Time, do func(at time.Time)) {
	heap.Push(&w.events, event{at, w.next(), do})
}

// settle lets everything happen that is due.
func (w *World) settle() time.Time {
	now := w.opts.Now()
	for len(w.events) > 0 && !w.events[0].at.After(now) {
		e := heap.Pop(&w.events).(event)
		e.do(e.at)
	}
	return now
}

// Phase is a state and how long it lasts.
type Phase struct {
	Status string
	For    time.Duration
}

// End is how a transition ends.
type End int

// The ends.
const (
	Done  End = iota // as it should
	Fail             // in the state that failure of this kind of thing has
	Stick            // never: it stays in its last phase
)

// Script changes how transitions go that calls begin. Empty fields match everything; Account, Region, Action and Name are patterns
// as in path.Match. Name is that of what changes.
type Script struct {
	Account, Region, Action, Name string
	// Phases replace the usual ones; nil: the usual ones.
	Phases []Phase
	// Scale makes the phases so many times as long; 0: as long as they are.
	Scale float64
	End   End
	// Times is how many transitions it is for; 0: all.
	Times int
}

// Played is a script at work.
type Played struct {
	w      *World
	script Script
	times  int
	over   bool
}

// Play lets a script change the transitions that begin from now on. Of several that match, the latest one counts.
func (w *World) Play(s Script) *Played {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &Played{w: w, script: s}
	w.played = append(w.played, p)
	return p
}

// Times is how many transitions it changed.
func (p *Played) Times() int {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.times
}

// Stop ends it; what it changed stays changed.
func (p *Played) Stop() {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.over = true
}

func fits(pattern, text string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}

// paceKey is how a context carries a pace.
type paceKey struct{}

// Paced is a context for calls whose transitions take that many times as long as they usually do.
func Paced(ctx context.Context, pace float64) context.Context {
	return context.WithValue(ctx, paceKey{}, pace)
}

// scripted is the script for a transition.
func (w *World) scripted(acct, in, action, name string) (Script, bool) {
	for i := len(w.played) - 1; i >= 0; i-- {
		p := w.played[i]
		s := p.script
		if p.over || !fits(s.Account, acct) || !fits(s.Region, in) || !fits(s.Action, action) || !fits(s.Name, name) {
			continue
		}
		p.times++
		if s.Times > 0 && p.times >= s.Times {
			p.over = true
		}
		return s, true
	}
	return Script{}, false
}

// transition is something that changes over time.
type transition struct {
	r      *region
	action string
	name   string
	phases []Phase
	set    func(status string, at time.Time) // a phase begins
	done   func(at time.Time)
	failed func(at time.Time)
	alive  func() bool // false: it was overtaken, by a deletion say; nil: always
	passed *Transition // what the world remembers of it
}

// paced is phases at the pace of the call at hand.
func (w *World) paced(phases []Phase) []Phase {
	if w.pace <= 0 {
		return phases
	}
	phases = slices.Clone(phases)
	for i := range phases {
		phases[i].For = time.Duration(float64(phases[i].For) * w.pace)
	}
	return phases
}

// begin lets the transition begin now. Its first phase begins before begin returns.
func (t transition) begin(now time.Time) {
	s, _ := t.r.w.scripted(t.r.acct.id, t.r.name, t.action, t.name)
	t.phases = t.r.w.paced(s.phased(t.phases))
	t.passed = &Transition{Region: t.r.name, Action: t.action, Name: t.name, Began: now}
	t.r.w.passed = append(t.r.w.passed, t.passed)
	t.step(now, 0, s.End)
}

// phased are the phases of a transition that the script is for.
func (s Script) phased(usual []Phase) []Phase {
	if s.Phases != nil {
		usual = s.Phases
	}
	if s.Scale == 0 {
		return usual
	}
	out := slices.Clone(usual)
	for i := range out {
		out[i].For = time.Duration(float64(out[i].For) * s.Scale)
	}
	return out
}

// Transition is one that began. What it is of is Name, in Region; Action is the call that it followed.
type Transition struct {
	Region, Action, Name string
	Began, Ended         time.Time // Ended is zero while it is under way
}

// Transitions are those that have begun so far, in that order.
func (w *World) Transitions() []Transition {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	out := make([]Transition, 0, len(w.passed))
	for _, t := range w.passed {
		out = append(out, *t)
	}
	return out
}

func (t transition) step(at time.Time, n int, end End) {
	if t.alive != nil && !t.alive() {
		t.passed.Ended = at
		return
	}
	if n < len(t.phases) {
		t.set(t.phases[n].Status, at)
		if n == len(t.phases)-1 && end == Stick {
			return
		}
		t.r.w.later(at.Add(t.phases[n].For), func(at time.Time) { t.step(at, n+1, end) })
		return
	}
	t.passed.Ended = at
	if end == Fail {
		t.failed(at)
		return
	}
	t.done(at)
}

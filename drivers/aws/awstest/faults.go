package awstest

import "time"

// How is the way in which calls fail.
type How int

// The ways.
const (
	Refuse     How = iota + 1 // nobody listens: the connection is refused (over a socket: reset)
	Hang                      // no answer, ever
	Error500                  // InternalFailure
	Slow                      // the answer comes after Delay
	Throttle                  // the service's throttling error
	Error                     // Code and Message
	LoseAnswer                // the call takes effect, and the connection breaks before the answer
)

// Fault says which calls fail, and how. Empty fields match everything; Account, Region, Service and Action are patterns as in path.Match.
type Fault struct {
	Account, Region, Service, Action string
	// Changes: only calls that change something fail.
	Changes bool
	How     How
	Delay   time.Duration
	Code    string
	Message string
	Status  int // 0: 400
	// After is how many calls that match are let through first; Times how many then fail, 0: all.
	After, Times int
}

// Injected is a fault at work.
type Injected struct {
	w       *World
	fault   Fault
	seen    int
	times   int
	over    bool
	removed chan struct{}
}

// Inject makes calls fail from now on. Of several faults that match a call, the latest one counts.
func (w *World) Inject(f Fault) *Injected {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := &Injected{w: w, fault: f, removed: make(chan struct{})}
	w.injected = append(w.injected, i)
	return i
}

// Times is how many calls it made fail.
func (i *Injected) Times() int {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	return i.times
}

// Remove ends it. Calls that hang go on.
func (i *Injected) Remove() {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	if !i.over {
		i.over = true
		close(i.removed)
	}
}

// fault is what makes this call fail, if anything does.
func (w *World) fault(c *call) *Injected {
	for n := len(w.injected) - 1; n >= 0; n-- {
		i := w.injected[n]
		f := i.fault
		if i.over || f.Changes && !changes(c.action) || !fits(f.Account, c.account) || !fits(f.Region, c.region) || !fits(f.Service, c.service) || !fits(f.Action, c.action) {
			continue
		}
		if i.seen++; i.seen <= f.After {
			continue
		}
		if f.Times > 0 && i.times >= f.Times {
			continue
		}
		i.times++
		return i
	}
	return nil
}

// down reports whether a region as a whole does not answer: what lies there cannot be reached by other regions either.
func (w *World) down(acct, region string) bool {
	for _, i := range w.injected {
		f := i.fault
		if i.over || f.Changes || f.Service != "" && f.Service != "*" || f.Action != "" || f.After > 0 || f.Times > 0 {
			continue
		}
		if (f.How == Refuse || f.How == Hang || f.How == Error500) && fits(f.Account, acct) && fits(f.Region, region) {
			return true
		}
	}
	return false
}

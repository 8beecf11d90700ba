package awsbase

import (
	"sync"
	"time"
)

// silent is after how many unanswered calls in a row a service counts as silent.
const silent = 2

// quiet remembers that a service left calls unanswered, so that not every call waits for its own deadline. While a service is
// silent, one call at a time is let through after each pause; its answer, whatever it is, ends the silence.
type quiet struct {
	pause time.Duration

	mu    sync.Mutex
	fails int
	since time.Time // when the first of the unanswered calls ended
	until time.Time // nobody asks before
	asked bool      // somebody is asking
}

// enter says whether a call may be made. If not: since when there is silence, and in how long it will be asked again.
func (q *quiet) enter() (ok bool, since time.Time, again time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	switch {
	case q.fails < silent:
		return true, time.Time{}, 0
	case now.Before(q.until):
		return false, q.since, q.until.Sub(now)
	case q.asked:
		return false, q.since, time.Second
	}
	q.asked = true
	return true, time.Time{}, 0
}

// outcome is what became of a call that was let through.
type outcome int

const (
	answered   outcome = iota // by anything that came from the service
	unanswered                // refused, hanging, broken, or a 5xx
	unknown                   // the caller gave up, or nothing was sent
)

// leave tells what became of it, and reports whether the service just fell silent.
func (q *quiet) leave(o outcome) (fell bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked = false
	switch o {
	case answered:
		q.fails = 0
	case unanswered:
		now := time.Now()
		if q.fails == 0 {
			q.since = now
		}
		q.fails++
		q.until = now.Add(q.pause)
		return q.fails == silent
	}
	return false
}

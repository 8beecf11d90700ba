package driver

import (
	"context"
	"sync"

	"github.com/lifeboat-dr/lifeboat/model"
)

// Shared is what examinations share that are made for one answer: of an app's operations, at all sites, of all kinds. Each question is
// asked once, whoever has it. It is of one moment, and is not kept. Its zero value is good; a nil Shared shares nothing.
type Shared struct {
	// Permissions are those that any of the examinations asks about, so that all of a site's can be asked about together.
	Permissions []Permission
	// Policy is the command that prints what is to be allowed; empty: that of the app.
	Policy string
	// Asking is told when a question is put, and when it is answered or given up. It is called by one goroutine at a time and must
	// be quick. Nil: nobody watches.
	Asking func(q Question, over bool)

	mu    sync.Mutex
	asked map[Question]*reply
}

// Question is one that is put to a site.
type Question struct {
	Site model.SiteID
	Of   string // whom it is put to, where a site has several
	What string // what it is about, for people
}

// reply is what came of a question, once done is closed. Not known: whoever put it gave up.
type reply struct {
	done  chan struct{}
	known bool
	value any
	err   error
}

// Once gives what ask answers to a question: its own answer, or that of whoever put the question before. Errors are answers too, unless
// the asker's ctx ended; then the next one asks. Those who share a question have an ask of the same T.
func Once[T any](ctx context.Context, s *Shared, q Question, ask func(context.Context) (T, error)) (value T, err error) {
	if s == nil {
		return ask(ctx)
	}
	for {
		r, mine := s.put(q)
		if mine {
			value, err = ask(ctx)
			s.answer(q, r, value, err, err == nil || ctx.Err() == nil)
			return value, err
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return value, ctx.Err()
		}
		if r.known {
			value, _ = r.value.(T)
			return value, r.err
		}
	}
}

// put puts a question, unless somebody has.
func (s *Shared) put(q Question) (r *reply, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.asked[q]; r != nil {
		return r, false
	}
	if s.asked == nil {
		s.asked = map[Question]*reply{}
	}
	r = &reply{done: make(chan struct{})}
	s.asked[q] = r
	s.tell(q, false)
	return r, true
}

func (s *Shared) answer(q Question, r *reply, value any, err error, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.value, r.err, r.known = value, err, known
	if !known {
		delete(s.asked, q)
	}
	close(r.done)
	s.tell(q, true)
}

func (s *Shared) tell(q Question, over bool) {
	if s.Asking != nil {
		s.Asking(q, over)
	}
}

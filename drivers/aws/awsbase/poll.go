package awsbase

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Lister lists resources of one kind in a session's region: those with the ids (sorted, each once), and perhaps others. What is
// not in the answer does not exist, as far as the listing knows: listings of AWS lag behind what was just made.
type Lister[T any] func(ctx context.Context, s *Session, ids []string) (map[string]T, error)

// Poller answers all who look at resources of one kind with one listing, so that a hundred waiting steps cost what one costs.
// Get one with PollerOf.
type Poller[T any] struct {
	session *Session
	list    Lister[T]
	every   time.Duration

	mu   sync.Mutex
	next *round[T] // gathers; its listing has not begun
	due  time.Time // of the next listing, were they all every apart
}

// atFirst is how many listings may follow each other at once, before one waits until it is due: whoever decides something looks a few
// times in a row, and people wait for that.
const atFirst = 4

// gather is how long the first one waits for others who come at the same time.
const gather = 50 * time.Millisecond

// round is one listing and who waits for it.
type round[T any] struct {
	ids     map[string]bool
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	found   map[string]T
	err     error
}

// PollerOf is the session's poller for a kind of resource; whoever names the same kind shares it, and gives the same T and an
// equal list.
func PollerOf[T any](s *Session, kind string, list Lister[T]) *Poller[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pollers[kind].(*Poller[T]); ok {
		return p
	}
	p := &Poller[T]{session: s, list: list, every: s.base.opts.Every}
	s.pollers[kind] = p
	return p
}

// Get looks at one resource. The answer is from a listing that began after Get was called, so it shows what the caller did
// before; it may come after a while, as there is one listing in Options.Every, but for a few at first. found is false for what the listing does
// not hold. The error is the listing's, or ctx's.
func (p *Poller[T]) Get(ctx context.Context, id string) (value T, found bool, err error) {
	r := p.join(ctx, id)
	select {
	case <-r.done:
		p.mu.Lock()
		r.waiting--
		p.mu.Unlock()
	case <-ctx.Done():
		p.leave(r)
		return value, false, ctx.Err()
	}
	if r.err != nil {
		return value, false, r.err
	}
	value, found = r.found[id]
	return value, found, nil
}

// join waits with the round that gathers, or opens one.
func (p *Poller[T]) join(ctx context.Context, id string) *round[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		// The listing outlives the caller that opened the round, as others wait for it, and ends with the last of them.
		shared, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &round[T]{ids: map[string]bool{}, cancel: cancel, done: make(chan struct{})}
		p.next = r
		p.session.base.polling.Go(func() { p.run(shared, r, max(gather, time.Until(p.due.Add(-(atFirst-1)*p.every)))) })
	}
	p.next.ids[id] = true
	p.next.waiting++
	return p.next
}

// leave gives up waiting; the last one ends the listing.
func (p *Poller[T]) leave(r *round[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.waiting--; r.waiting == 0 {
		r.cancel()
		if p.next == r {
			p.next = nil
		}
	}
}

// run gathers, lists and answers.
func (p *Poller[T]) run(ctx context.Context, r *round[T], gathering time.Duration) {
	defer r.cancel()
	defer close(r.done)
	if r.err = sleep(ctx, gathering); r.err != nil {
		return
	}
	p.mu.Lock()
	if p.next == r {
		p.next = nil
	}
	if now := time.Now(); p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(p.every)
	ids := slices.Sorted(maps.Keys(r.ids))
	p.mu.Unlock()
	r.found, r.err = p.list(ctx, p.session, ids)
}

// Package limit is laid around a blob store: it bounds how many calls are made at once and how many bytes move in a second.
//
// Calls wait in the order in which they came. Packs never take the last of the places, so that a lock, an index or a
// snapshot does not wait behind them; locks wait for nobody, since a lock that is not refreshed in time ends the work.
// Bytes are counted as a store takes them from the content that it sends and as they are read from what it loads; what
// requests and listings take besides is not seen from here. Start with Wrap.
package limit

import (
	"context"
	"io"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Options are the bounds.
type Options struct {
	// Connections is how many calls are made at once; 0: as many as the store's facts say it is good for. A Load counts
	// while it is opened and whenever its reader reads, but not while whoever reads does something else: they may make
	// calls themselves, and must not wait for their own place. Listings do not count, for the same reason.
	Connections int
	// Upload and Download are bytes per second, of all calls together; 0: no bound.
	Upload, Download int64
}

// Store is a bounded store. Make one with Wrap.
type Store struct {
	inner    blob.Store
	facts    blob.Facts
	all      *semaphore.Weighted // every call but those for locks
	packs    *semaphore.Weighted // those for packs, before they ask for all
	upload   *rate.Limiter       // nil: no bound
	download *rate.Limiter
}

// Wrap lays bounds around inner. Closing it closes inner.
func Wrap(inner blob.Store, o Options) *Store {
	facts := inner.Facts()
	if o.Connections > 0 {
		facts.MaxParallel = o.Connections
	}
	n := int64(max(1, facts.MaxParallel))
	return &Store{
		inner: inner, facts: facts,
		all: semaphore.NewWeighted(n), packs: semaphore.NewWeighted(max(1, n-max(1, n/8))),
		upload: limiter(o.Upload), download: limiter(o.Download),
	}
}

// step is the most that is moved between two looks at the clock.
const step = 64 << 10

// limiter lets so many bytes through in a second, and at once what comes together in a sixteenth of one.
func limiter(perSecond int64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(min(max(perSecond/16, 1), step)))
}

// pass waits until n bytes may move.
func pass(ctx context.Context, l *rate.Limiter, op string, h blob.Handle, n int) error {
	for n > 0 {
		part := min(n, l.Burst())
		// Not WaitN, which fails at once where it foresees the deadline: what can be moved until then is moved.
		r := l.ReserveN(time.Now(), part)
		if err := sleep(ctx, r.Delay()); err != nil {
			r.Cancel()
			return failure.Wrap(err, op, h.String())
		}
		n -= part
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter waits for a place, and gives what gives it back.
func (s *Store) enter(ctx context.Context, op string, h blob.Handle) (leave func(), err error) {
	if h.Type == blob.Lock {
		return func() {}, nil
	}
	held := []*semaphore.Weighted{s.all}
	if h.Type == blob.Pack {
		held = []*semaphore.Weighted{s.packs, s.all}
	}
	for i, sem := range held {
		if err := sem.Acquire(ctx, 1); err != nil {
			for _, got := range held[:i] {
				got.Release(1)
			}
			return nil, failure.Wrap(err, op, h.String())
		}
	}
	return func() {
		for _, sem := range held {
			sem.Release(1)
		}
	}, nil
}

// Unwrap gives the store within.
func (s *Store) Unwrap() blob.Store { return s.inner }

// Facts are those of the store within, with the connections that it may have.
func (s *Store) Facts() blob.Facts { return s.facts }

// Close closes the store within.
func (s *Store) Close() error { return s.inner.Close() }

// Create is passed on.
func (s *Store) Create(ctx context.Context) error { return s.inner.Create(ctx) }

// Save waits for a place, and for the bytes as they are sent.
func (s *Store) Save(ctx context.Context, h blob.Handle, content blob.Content) error {
	leave, err := s.enter(ctx, "save", h)
	if err != nil {
		return err
	}
	defer leave()
	if s.upload != nil && h.Type != blob.Lock {
		content = &metered{content, ctx, s, h}
	}
	return s.inner.Save(ctx, h, content)
}

// metered waits for each byte that is read of it.
type metered struct {
	blob.Content
	ctx context.Context // of the Save that it is for
	s   *Store
	h   blob.Handle
}

// Source is the content itself.
func (m *metered) Source() blob.Content { return m.Content }

// ReadAt reads in steps, as fast as bytes may go.
func (m *metered) ReadAt(p []byte, off int64) (done int, err error) {
	for done < len(p) && err == nil {
		n := 0
		n, err = m.Content.ReadAt(p[done:min(len(p), done+step)], off+int64(done))
		done += n
		if perr := pass(m.ctx, m.s.upload, "save", m.h, n); perr != nil {
			return done, perr
		}
	}
	if done == len(p) {
		err = nil
	}
	return done, err
}

// Load waits for a place, and so does its reader whenever it reads, and for the bytes.
func (s *Store) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	leave, err := s.enter(ctx, "load", h)
	if err != nil {
		return nil, err
	}
	defer leave()
	f, err := s.inner.Load(ctx, h, offset, length)
	if err != nil {
		return nil, err
	}
	return &reader{f, ctx, s, h}, nil
}

// reader reads in steps.
type reader struct {
	io.ReadCloser
	ctx context.Context // of the Load that it is a part of
	s   *Store
	h   blob.Handle
}

// Read reads a step, as fast as bytes may come.
func (r *reader) Read(p []byte) (int, error) {
	leave, err := r.s.enter(r.ctx, "load", r.h)
	if err != nil {
		return 0, err
	}
	defer leave()
	n, err := r.ReadCloser.Read(p[:min(len(p), step)])
	if r.s.download != nil && r.h.Type != blob.Lock {
		if perr := pass(r.ctx, r.s.download, "load", r.h, n); perr != nil {
			return n, perr
		}
	}
	return n, err
}

// Stat waits for a place.
func (s *Store) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	leave, err := s.enter(ctx, "stat", h)
	if err != nil {
		return blob.Info{}, err
	}
	defer leave()
	return s.inner.Stat(ctx, h)
}

// List is passed on at once.
func (s *Store) List(ctx context.Context, t blob.Type, each func(blob.Info) error) error {
	return s.inner.List(ctx, t, each)
}

// Remove waits for a place.
func (s *Store) Remove(ctx context.Context, h blob.Handle) error {
	leave, err := s.enter(ctx, "remove", h)
	if err != nil {
		return err
	}
	defer leave()
	return s.inner.Remove(ctx, h)
}

var _ blob.Wrapper = (*Store)(nil)

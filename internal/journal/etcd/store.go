package etcd

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// Durations of calls.
const (
	// DefaultCallTimeout bounds every call whose context does not end sooner.
	DefaultCallTimeout = 5 * time.Second
	retryEvery         = 25 * time.Millisecond
)

// link is one way to the journal: in process, or over one connection. A folder's store goes through several in its
// life.
type link struct {
	*client
	down chan struct{} // closed when the link is of no use any more
	once sync.Once
	why  error // set before down is closed; nil when closed by us
}

func newLink(c *client) *link { return &link{client: c, down: make(chan struct{})} }

// fail declares the link useless.
func (l *link) fail(why error) {
	l.once.Do(func() {
		l.why = why
		close(l.down)
	})
}

// source gives a store its current link.
type source interface {
	// link waits for a link that may be used. It fails only once ctx ends or the source is closed, and then says what
	// there was to wait for.
	link(ctx context.Context) (*link, error)
	// silent is told that the other end of l did not answer within the call timeout.
	silent(l *link)
	// close gives up the link, and closes what it leads to if that is ours.
	close() error
}

// store is the journal.Store over the links of a source.
type store struct {
	src         source
	callTimeout time.Duration
	incarnation string

	life    context.Context // ends with Close
	end     context.CancelFunc
	mu      sync.Mutex // orders the last watch before Close
	watches sync.WaitGroup
	closing sync.Once
	closed  error
}

func newStore(src source, callTimeout time.Duration, incarnation string) *store {
	s := &store{src: src, callTimeout: callTimeout, incarnation: incarnation}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// call makes a context that also ends with the store and after the call timeout.
func (s *store) call(ctx context.Context, op string) (context.Context, context.CancelFunc, error) {
	if err := failure.Wrap(ctx.Err(), op, "journal"); err != nil {
		return nil, nil, err
	}
	if s.life.Err() != nil {
		return nil, nil, closedError(op)
	}
	cctx, cancel := context.WithTimeout(ctx, s.callTimeout)
	stop := context.AfterFunc(s.life, cancel)
	return cctx, func() { stop(); cancel() }, nil
}

// repeat makes a call that may be made again until it succeeds, is refused, or its time is over.
func (s *store) repeat(ctx context.Context, op, subject string, fn func(context.Context, *link) error) error {
	cctx, cancel, err := s.call(ctx, op)
	if err != nil {
		return err
	}
	defer cancel()
	for {
		l, err := s.src.link(cctx)
		if err != nil {
			return s.noLink(ctx, err, op, subject)
		}
		if err = fn(cctx, l); err == nil {
			return nil
		}
		_, _, final := refusal(err)
		if final && !staleLogin(err) || failure.Classified(err) {
			return readError(ctx, err, op, subject, l.who)
		}
		if cctx.Err() == nil && s.pause(cctx, l) {
			continue
		}
		s.noteSilence(ctx, cctx, l)
		return readError(ctx, err, op, subject, l.who)
	}
}

// pause waits before a call is repeated; false: there is no time left for it.
func (s *store) pause(ctx context.Context, l *link) bool {
	select {
	case <-ctx.Done():
		return false
	case <-l.down: // the next link comes with a wait of its own
		return true
	case <-time.After(retryEvery):
		return true
	}
}

// noteSilence tells the source when it was our own patience that ended, not the caller's.
func (s *store) noteSilence(ctx, cctx context.Context, l *link) {
	if ctx.Err() == nil && errors.Is(cctx.Err(), context.DeadlineExceeded) {
		s.src.silent(l)
	}
}

// noLink says why there is no link: the store was closed, the caller gave up, or the source's reason.
func (s *store) noLink(ctx context.Context, err error, op, subject string) error {
	if s.life.Err() != nil {
		return closedError(op)
	}
	if ctx.Err() != nil {
		err = failure.WrapAs(failure.KindOf(ctx.Err()), ctx.Err(), op, subject).WithHint("%s", failure.HintOf(err))
		return err
	}
	return failure.Wrap(err, op, subject)
}

// Get implements journal.Store.
func (s *store) Get(ctx context.Context, key string) (kv journal.KV, ok bool, rev int64, err error) {
	err = s.repeat(ctx, "get", "journal key "+key, func(ctx context.Context, l *link) (err error) {
		kv, ok, rev, err = l.get(ctx, key)
		return err
	})
	return kv, ok, rev, err
}

// List implements journal.Store.
func (s *store) List(ctx context.Context, prefix string, opt journal.ListOptions) (kvs []journal.KV, rev int64, err error) {
	err = s.repeat(ctx, "list", "journal keys "+prefix, func(ctx context.Context, l *link) (err error) {
		kvs, rev, err = l.list(ctx, prefix, opt)
		return err
	})
	return kvs, rev, err
}

// Commit implements journal.Store. It is sent once: again only when it is certain that nothing of it was handed over.
func (s *store) Commit(ctx context.Context, txn journal.Txn) (rev int64, ok bool, err error) {
	if err := txn.Validate(); err != nil {
		return 0, false, err
	}
	cctx, cancel, err := s.call(ctx, "commit")
	if err != nil {
		return 0, false, err
	}
	defer cancel()
	for login := true; ; {
		l, err := s.src.link(cctx)
		if err != nil {
			return 0, false, s.noLink(ctx, err, "commit", "journal")
		}
		tctx, sent := withSentMark(cctx)
		rev, ok, err := l.commit(tctx, txn)
		if err == nil {
			return rev, ok, nil
		}
		if failure.Classified(err) { // ours, before anything was called
			return 0, false, failure.Wrap(err, "commit", "journal")
		}
		if login && staleLogin(err) {
			login = false
			continue
		}
		if !l.remote || sent.Load() {
			s.noteSilence(ctx, cctx, l)
			return 0, false, commitError(err, l.who)
		}
		if cctx.Err() != nil || !s.pause(cctx, l) {
			return 0, false, readError(ctx, err, "commit", "journal", l.who)
		}
	}
}

// Grant implements journal.Store. The session lasts at least ttl: etcd counts in whole seconds.
func (s *store) Grant(ctx context.Context, ttl time.Duration) (id journal.Session, err error) {
	if ttl <= 0 {
		return "", failure.New(failure.Invalid, "grant", "session", "a ttl of %s", ttl)
	}
	err = s.repeat(ctx, "grant", "session", func(ctx context.Context, l *link) (err error) {
		id, err = l.grant(ctx, ttl)
		return err
	})
	return id, err
}

// KeepAlive implements journal.Store.
func (s *store) KeepAlive(ctx context.Context, id journal.Session) error {
	return s.repeat(ctx, "keep alive", "session "+string(id), func(ctx context.Context, l *link) error {
		return l.keepAlive(ctx, id)
	})
}

// Revoke implements journal.Store.
func (s *store) Revoke(ctx context.Context, id journal.Session) error {
	err := s.repeat(ctx, "revoke", "session "+string(id), func(ctx context.Context, l *link) error {
		err := l.revoke(ctx, id)
		if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) || errors.Is(err, failure.NotFound) {
			return nil
		}
		return err
	})
	return err
}

// Incarnation implements journal.Store.
func (s *store) Incarnation() string { return s.incarnation }

// Close implements journal.Store.
func (s *store) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.end()
		s.mu.Unlock()
		s.watches.Wait()
		s.closed = s.src.close()
	})
	return s.closed
}

var _ journal.Store = (*store)(nil)

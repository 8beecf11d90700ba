// Package memory is a journal in memory, for tests and rehearsals: nothing of it survives the process.
//
// A [DB] is what would be the disk; [DB.Open] gives connections to it, so that several runners of one test share a
// journal and each can be closed, and outlives them all. Time is only package time's and no goroutine outlives its
// watch, so a DB works inside a testing/synctest bubble. Faults are injected with [WithHook] and [WithCallHook].
//
// Start with New for one connection, with NewDB for several.
package memory

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// The points at which a hook is called.
const (
	Before = "before" // nothing of the transaction is applied yet; an error from the hook keeps it so
	After  = "after"  // the transaction is applied, or its compares refused it
)

// Hook is called at each point of each Commit of a connection, with no lock held: it may sleep, and use the DB through
// another connection. An error that it returns is what Commit returns: at Before nothing is applied, at After it is,
// which is how a write whose answer is lost looks to its writer.
type Hook func(point string, txn journal.Txn) error

// CallHook is called before each call but Commit, Watch and Close: call is "get", "list", "grant", "keepalive" or
// "revoke", and subject its key, prefix or session. An error that it returns is the call's, and nothing is done.
type CallHook func(call, subject string) error

// Option changes a connection.
type Option func(*store)

// WithHook sets the connection's commit hook.
func WithHook(hook Hook) Option { return func(s *store) { s.hook = hook } }

// WithCallHook sets the hook of the connection's other calls.
func WithCallHook(hook CallHook) Option { return func(s *store) { s.callHook = hook } }

// New opens a connection to a DB of its own.
func New(opts ...Option) journal.Store { return NewDB().Open(opts...) }

// NewDB makes an empty DB with an incarnation of its own.
func NewDB() *DB {
	return &DB{
		incarnation: rand.Text(),
		rev:         1,
		forgotten:   1,
		records:     map[string]*record{},
		sessions:    map[journal.Session]*session{},
		changed:     make(chan struct{}),
	}
}

// Open makes a connection to the DB.
func (db *DB) Open(opts ...Option) journal.Store {
	s := &store{db: db, closed: make(chan struct{})}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

// store is one connection.
type store struct {
	db       *DB
	hook     Hook
	callHook CallHook
	close    sync.Once
	closed   chan struct{}
}

// usable says why a call can't be made, or nil.
func (s *store) usable(ctx context.Context, op string) error {
	select {
	case <-s.closed:
		return failure.New(failure.Unavailable, op, "journal", "the journal is closed")
	default:
	}
	return failure.Wrap(ctx.Err(), op, "journal")
}

// call is usable and the call hook.
func (s *store) call(ctx context.Context, op, subject string) error {
	if err := s.usable(ctx, op); err != nil {
		return err
	}
	if s.callHook == nil {
		return nil
	}
	if err := s.callHook(op, subject); err != nil {
		return err
	}
	return s.usable(ctx, op)
}

// Get implements journal.Store.
func (s *store) Get(ctx context.Context, key string) (journal.KV, bool, int64, error) {
	if err := s.call(ctx, "get", key); err != nil {
		return journal.KV{}, false, 0, err
	}
	kv, ok, rev := s.db.get(key)
	return kv, ok, rev, nil
}

// List implements journal.Store.
func (s *store) List(ctx context.Context, prefix string, opt journal.ListOptions) ([]journal.KV, int64, error) {
	if err := s.call(ctx, "list", prefix); err != nil {
		return nil, 0, err
	}
	kvs, rev := s.db.list(prefix, opt)
	return kvs, rev, nil
}

// Commit implements journal.Store.
func (s *store) Commit(ctx context.Context, txn journal.Txn) (int64, bool, error) {
	if err := txn.Validate(); err != nil {
		return 0, false, err
	}
	if err := s.usable(ctx, "commit"); err != nil {
		return 0, false, err
	}
	if s.hook != nil {
		if err := s.hook(Before, txn); err != nil {
			return 0, false, err
		}
		if err := s.usable(ctx, "commit"); err != nil { // the hook may have taken its time
			return 0, false, err
		}
	}
	rev, ok, err := s.db.commit(txn)
	if err != nil {
		return 0, false, err
	}
	if s.hook != nil {
		if err := s.hook(After, txn); err != nil {
			return 0, false, err
		}
	}
	return rev, ok, nil
}

// Watch implements journal.Store.
func (s *store) Watch(ctx context.Context, prefix string, after int64) <-chan []journal.Change {
	out := make(chan []journal.Change)
	go func() {
		defer close(out)
		for {
			group, rev, changed, ok := s.db.next(prefix, after)
			if !ok {
				return
			}
			after = rev
			if group == nil {
				select {
				case <-changed:
				case <-ctx.Done():
					return
				case <-s.closed:
					return
				}
				continue
			}
			select {
			case out <- group:
			case <-ctx.Done():
				return
			case <-s.closed:
				return
			}
		}
	}()
	return out
}

// Grant implements journal.Store.
func (s *store) Grant(ctx context.Context, ttl time.Duration) (journal.Session, error) {
	if err := s.call(ctx, "grant", ttl.String()); err != nil {
		return "", err
	}
	if ttl <= 0 {
		return "", failure.New(failure.Invalid, "grant", "session", "a ttl of %s", ttl)
	}
	return s.db.grant(ttl), nil
}

// KeepAlive implements journal.Store.
func (s *store) KeepAlive(ctx context.Context, id journal.Session) error {
	if err := s.call(ctx, "keepalive", string(id)); err != nil {
		return err
	}
	if !s.db.keepAlive(id) {
		return noSession("keepalive", id)
	}
	return nil
}

// Revoke implements journal.Store.
func (s *store) Revoke(ctx context.Context, id journal.Session) error {
	if err := s.call(ctx, "revoke", string(id)); err != nil {
		return err
	}
	s.db.revoke(id)
	return nil
}

// Incarnation implements journal.Store.
func (s *store) Incarnation() string {
	s.db.mu.Lock()
	defer s.db.mu.Unlock()
	return s.db.incarnation
}

// Close implements journal.Store. The DB and its sessions live on.
func (s *store) Close() error {
	s.close.Do(func() { close(s.closed) })
	return nil
}

func noSession(op string, id journal.Session) error {
	return failure.New(failure.NotFound, op, "session "+string(id), "the session is over")
}

// clone copies a record's value, so that no caller shares memory with the DB.
func clone(kv journal.KV) journal.KV {
	kv.Value = slices.Clone(kv.Value)
	return kv
}

var _ journal.Store = (*store)(nil)

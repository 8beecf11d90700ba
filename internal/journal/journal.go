// Package journal is where runs are durable: a small ordered key-value store with transactions, watches and leases.
//
// The engine needs four things of it, and [Store] has just these: one atomic transaction that compares before it
// writes, linearizable reads, a watch that misses nothing, and a lease that outlives no owner for long. etcd has them
// at one, three and five members (journal/etcd), memory has them for tests (journal/memory), and one suite runs over
// both (journal/journaltest). Records are small: bytes go to vaults, finished runs to [Archive].
//
// Leases say that somebody is alive, never that somebody may write: all authority comes from the compares in the
// transaction that writes.
package journal

import (
	"context"
	"time"
)

// Limits of one transaction. Beyond them Commit fails with failure.Invalid before anything is written.
const (
	MaxOps   = 128
	MaxBytes = 1 << 20
)

// KV is one record as of Mod, the revision that wrote it last. Create is the revision that wrote it first since it
// was last absent.
type KV struct {
	Key    string
	Value  []byte
	Mod    int64
	Create int64
}

// Cond is what must hold for a transaction to write: key's Mod equals Mod; Mod zero means that key is absent.
type Cond struct {
	Key string
	Mod int64
}

// Op is one write: Put of Value, or with Delete set the removal of Key, or of every key that begins with Key when
// Prefix is set too. Session, when not empty, ties a put key to that session: it goes away when the session ends.
type Op struct {
	Key     string
	Value   []byte
	Delete  bool
	Prefix  bool
	Session Session
}

// Txn is an atomic transaction: when all of If hold, all of Then is written at one revision; otherwise nothing is.
// No key may be written twice in one transaction.
type Txn struct {
	If   []Cond
	Then []Op
}

// Change is one write that a watch saw. A deleted key has Deleted set and no value.
type Change struct {
	KV
	Deleted bool
}

// Session is a lease on the store's side. Keys put under it vanish once it has not been kept alive for its TTL.
type Session string

// Store is a journal's storage. Methods are safe for concurrent use.
//
// Errors have kinds of package failure: Unavailable (nothing was done, or for reads: nothing was learnt),
// Indeterminate (Commit only: it may have been applied; read before doing anything else), NotFound (the session is
// gone), Invalid (over the limits). A compare that does not hold is no error: it is ok == false.
type Store interface {
	// Get reads one record, linearizably. ok is false when it is absent. rev is the store's revision at the read.
	Get(ctx context.Context, key string) (kv KV, ok bool, rev int64, err error)
	// List reads the records whose keys begin with prefix, in key order, all at one revision; at most limit of them
	// from key `from` (inclusive) on, when these are set.
	List(ctx context.Context, prefix string, opt ListOptions) (kvs []KV, rev int64, err error)
	// Commit applies txn atomically and durably. rev is the revision it wrote; when it wrote nothing (ok is false, or
	// every op deletes what is absent), the store's revision then.
	Commit(ctx context.Context, txn Txn) (rev int64, ok bool, err error)
	// Watch sends every change to keys under prefix with revision > after, in revision order, changes of one revision
	// together, until ctx ends. The channel is closed when ctx ends or when the position is lost (compacted away, or
	// the store closed): the caller then lists again and watches from there.
	Watch(ctx context.Context, prefix string, after int64) <-chan []Change
	// Grant opens a session that lasts ttl beyond its last KeepAlive.
	Grant(ctx context.Context, ttl time.Duration) (Session, error)
	// KeepAlive extends the session by its ttl from now. NotFound: it is over, and its keys are gone or going.
	KeepAlive(ctx context.Context, s Session) error
	// Revoke ends the session and removes its keys now. Revoking one that is over is no error.
	Revoke(ctx context.Context, s Session) error
	// Incarnation identifies this store's history. It changes when the history may have lost or repeated something
	// (a restore, a forced new cluster); every idempotency token is made from it.
	Incarnation() string
	// Close gives up the store. Watches end. Calls after Close fail with Unavailable.
	Close() error
}

// ListOptions narrow a List.
type ListOptions struct {
	From  string // first key, inclusive; empty: the first under the prefix
	Limit int    // zero: all
}

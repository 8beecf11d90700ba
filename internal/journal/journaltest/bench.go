package journaltest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// patience bounds what must happen soon. It is generous: no check measures speed. The suite's own test has less of it.
var patience = 30 * time.Second

// bench is one connection under test with calls that must succeed.
type bench struct {
	testing.TB
	journal.Store
	ctx context.Context
}

func newBench(tb testing.TB, open Opener) *bench {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	s := open(tb)
	tb.Cleanup(func() { _ = s.Close() })
	return &bench{TB: tb, Store: s, ctx: ctx}
}

func put(key, value string) journal.Op { return journal.Op{Key: key, Value: []byte(value)} }

func del(key string) journal.Op { return journal.Op{Key: key, Delete: true} }

// write commits without conditions.
func (b *bench) write(ops ...journal.Op) (rev int64) {
	b.Helper()
	rev, ok, err := b.Commit(b.ctx, journal.Txn{Then: ops})
	if err != nil || !ok {
		b.Fatalf("Commit(%v): ok %v, error %v", ops, ok, err)
	}
	return rev
}

// try commits with conditions and gives what the store says.
func (b *bench) try(conds []journal.Cond, ops ...journal.Op) (rev int64, ok bool) {
	b.Helper()
	rev, ok, err := b.Commit(b.ctx, journal.Txn{If: conds, Then: ops})
	if err != nil {
		b.Fatalf("Commit(if %v, %v): %v", conds, ops, err)
	}
	return rev, ok
}

// read gets one record, nil when it is absent.
func (b *bench) read(key string) *journal.KV {
	b.Helper()
	kv, ok, _, err := b.Get(b.ctx, key)
	if err != nil {
		b.Fatalf("Get(%q): %v", key, err)
	}
	if !ok {
		return nil
	}
	return &kv
}

// all lists a prefix.
func (b *bench) all(prefix string, opt journal.ListOptions) (kvs []journal.KV, rev int64) {
	b.Helper()
	kvs, rev, err := b.List(b.ctx, prefix, opt)
	if err != nil {
		b.Fatalf("List(%q, %+v): %v", prefix, opt, err)
	}
	return kvs, rev
}

// keys are those of the records under prefix.
func (b *bench) keys(prefix string, opt journal.ListOptions) []string {
	b.Helper()
	kvs, _ := b.all(prefix, opt)
	var keys []string
	for _, kv := range kvs {
		keys = append(keys, kv.Key)
	}
	return keys
}

// wantKeys fails unless exactly these keys are under prefix.
func (b *bench) wantKeys(prefix string, want ...string) {
	b.Helper()
	if diff := cmp.Diff(want, b.keys(prefix, journal.ListOptions{})); diff != "" {
		b.Errorf("keys under %q (-want +got):\n%s", prefix, diff)
	}
}

// session grants one.
func (b *bench) session(ttl time.Duration) journal.Session {
	b.Helper()
	s, err := b.Grant(b.ctx, ttl)
	if err != nil {
		b.Fatalf("Grant(%s): %v", ttl, err)
	}
	return s
}

// wantKind fails unless err is of one of the kinds.
func wantKind(tb testing.TB, what string, err error, kinds ...failure.Kind) {
	tb.Helper()
	if err == nil {
		tb.Errorf("%s: got no error, want %v", what, kinds)
		return
	}
	if got := failure.KindOf(err); !slices.Contains(kinds, got) {
		tb.Errorf("%s: got kind %v (%v), want %v", what, got, err, kinds)
	}
}

// next receives one group of changes. A closed channel and a silent one fail the test.
func next(tb testing.TB, changes <-chan []journal.Change) []journal.Change {
	tb.Helper()
	select {
	case group, ok := <-changes:
		if !ok {
			tb.Fatal("the watch was closed")
		}
		if len(group) == 0 {
			tb.Fatal("the watch sent an empty group")
		}
		return group
	case <-time.After(patience):
		tb.Fatal("the watch is silent")
	}
	return nil
}

// ends waits until a watch is closed, and fails the test if it is not.
func ends(tb testing.TB, changes <-chan []journal.Change) {
	tb.Helper()
	timeout := time.After(patience)
	for {
		select {
		case _, ok := <-changes:
			if !ok {
				return
			}
		case <-timeout:
			tb.Fatal("the watch is still open")
		}
	}
}

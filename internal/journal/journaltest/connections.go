package journaltest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

func checkConnections(tb testing.TB, open Opener) {
	b, other := newBench(tb, open), newBench(tb, open)
	if b.Incarnation() != other.Incarnation() {
		b.Errorf("incarnations %q and %q of one store", b.Incarnation(), other.Incarnation())
	}
	rev := b.write(put("k", "1"))
	if kv := other.read("k"); kv == nil || kv.Mod != rev {
		b.Errorf("the other connection reads %+v, want revision %d", kv, rev)
	}
	var won [2]int
	for round := range 20 {
		key := fmt.Sprintf("race/%d", round)
		var both sync.WaitGroup
		var oks [2]bool
		for i, c := range []*bench{b, other} {
			both.Go(func() {
				_, ok, err := c.Commit(c.ctx, journal.Txn{If: []journal.Cond{{Key: key}}, Then: []journal.Op{put(key, fmt.Sprint(i))}})
				if err != nil {
					tb.Errorf("Commit: %v", err)
				}
				oks[i] = ok
			})
		}
		both.Wait()
		if oks[0] == oks[1] {
			b.Fatalf("round %d: of two that create one key, %v went through", round, oks)
		}
		for i, ok := range oks {
			if ok {
				won[i]++
				if kv := b.read(key); string(kv.Value) != fmt.Sprint(i) {
					b.Errorf("round %d: %d won and %s is written", round, i, kv.Value)
				}
			}
		}
	}
	b.Logf("rounds won by each connection: %v", won)
}

func checkContext(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	s := b.session(time.Minute)
	b.write(put("k", "1"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, err := range everyCall(ctx, b, s) {
		wantKind(b, name+" with a canceled context", err, failure.Canceled)
	}
	ctx, cancel = context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	for name, err := range everyCall(ctx, b, s) {
		wantKind(b, name+" after its deadline", err, failure.Unavailable)
	}
	b.wantKeys("", "k")
	if err := b.KeepAlive(b.ctx, s); err != nil {
		b.Errorf("the session is over: %v", err)
	}
}

func checkClosed(tb testing.TB, open Opener) {
	other := newBench(tb, open)
	b := newBench(tb, open)
	s := b.session(time.Minute)
	b.write(put("k", "1"))
	changes := b.Watch(b.ctx, "", 0)
	next(tb, changes)
	for range 2 {
		if err := b.Close(); err != nil {
			b.Errorf("Close: %v", err)
		}
	}
	ends(tb, changes)
	ends(tb, b.Watch(b.ctx, "", 0))
	for name, err := range everyCall(b.ctx, b, s) {
		wantKind(b, name+" after Close", err, failure.Unavailable)
	}
	other.wantKeys("", "k")
	if err := other.KeepAlive(other.ctx, s); err != nil {
		b.Errorf("the session ended with its connection: %v", err)
	}
}

// everyCall makes each call once and gives its error.
func everyCall(ctx context.Context, b *bench, s journal.Session) map[string]error {
	errs := map[string]error{}
	_, _, _, errs["Get"] = b.Get(ctx, "k")
	_, _, errs["List"] = b.List(ctx, "", journal.ListOptions{})
	_, _, errs["Commit"] = b.Commit(ctx, journal.Txn{Then: []journal.Op{put("never", "")}})
	_, errs["Grant"] = b.Grant(ctx, time.Minute)
	errs["KeepAlive"] = b.KeepAlive(ctx, s)
	errs["Revoke"] = b.Revoke(ctx, s)
	return errs
}

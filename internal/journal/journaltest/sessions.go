package journaltest

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

func checkSessionExpires(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	const ttl = time.Second
	granted := time.Now()
	s := b.session(ttl)
	rev := b.write(journal.Op{Key: "own/b", Session: s}, journal.Op{Key: "own/a", Session: s}, put("stays", ""))
	changes := b.Watch(b.ctx, "", rev)
	group := next(tb, changes)
	if lived := time.Since(granted); lived < ttl {
		b.Errorf("the session lasted %s, less than its %s", lived, ttl)
	}
	var keys []string
	for len(keys) < 2 {
		for _, c := range group {
			if !c.Deleted {
				b.Errorf("got %+v, want deletions alone", c)
			}
			keys = append(keys, c.Key)
		}
		if len(keys) < 2 {
			group = next(tb, changes)
		}
	}
	b.wantKeys("", "stays")
	wantKind(b, "KeepAlive of an expired session", b.KeepAlive(b.ctx, s), failure.NotFound)
	_, ok, err := b.Commit(b.ctx, journal.Txn{Then: []journal.Op{{Key: "own/c", Session: s}, put("also", "")}})
	wantKind(b, "Commit under an expired session", err, failure.NotFound)
	if ok {
		b.Error("Commit under an expired session: ok")
	}
	b.wantKeys("", "stays")
	if err := b.Revoke(b.ctx, s); err != nil {
		b.Errorf("Revoke of an expired session: %v", err)
	}
	for _, odd := range []journal.Session{"7fffffff", "no session"} {
		wantKind(b, "KeepAlive of a session that never was", b.KeepAlive(b.ctx, odd), failure.NotFound)
	}
}

// checkSessionKeptAlive keeps a session alive for longer than its ttl. Where the machine is too slow to do so in time,
// that attempt proves nothing and is made again.
func checkSessionKeptAlive(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	const ttl = 2 * time.Second
	for attempt := 0; ; attempt++ {
		if attempt == 5 {
			b.Fatal("this machine is too slow to keep a session alive")
		}
		s := b.session(ttl)
		b.write(journal.Op{Key: "own", Session: s})
		last, late := time.Now(), false
		for begin := last; time.Since(begin) < ttl+ttl/2 && !late; {
			<-time.After(ttl / 8)
			err := b.KeepAlive(b.ctx, s)
			if late = time.Since(last) > ttl/2; late {
				break
			}
			if err != nil {
				b.Fatalf("KeepAlive: %v", err)
			}
			last = time.Now()
		}
		if late {
			continue
		}
		kv := b.read("own")
		if time.Since(last) > ttl/2 {
			continue
		}
		if kv == nil {
			b.Fatal("a session that is kept alive lost its key")
		}
		changes := b.Watch(b.ctx, "own", kv.Mod)
		if group := next(tb, changes); !group[0].Deleted {
			b.Errorf("got %+v, want the key's end once the session is not kept alive", group)
		}
		return
	}
}

func checkSessionRevoked(tb testing.TB, open Opener) {
	b, other := newBench(tb, open), newBench(tb, open)
	s := b.session(time.Minute)
	b.write(journal.Op{Key: "own/1", Session: s}, journal.Op{Key: "own/2", Session: s}, put("stays", ""))
	if err := other.KeepAlive(other.ctx, s); err != nil {
		b.Errorf("KeepAlive from another connection: %v", err)
	}
	if err := other.Revoke(other.ctx, s); err != nil {
		b.Errorf("Revoke: %v", err)
	}
	b.wantKeys("", "stays")
	wantKind(b, "KeepAlive of a revoked session", b.KeepAlive(b.ctx, s), failure.NotFound)
	for _, gone := range []journal.Session{s, "7fffffff", "no session"} {
		if err := b.Revoke(b.ctx, gone); err != nil {
			b.Errorf("Revoke of session %q, which is over: %v", gone, err)
		}
	}
}

// checkSessionKeys is about which session a key belongs to: that of its last write.
func checkSessionKeys(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	one, two := b.session(time.Minute), b.session(time.Minute)
	if one == two {
		b.Errorf("two sessions are both %q", one)
	}
	for _, key := range []string{"kept", "freed", "moved", "again"} {
		b.write(journal.Op{Key: key, Session: one})
	}
	b.write(put("freed", ""), journal.Op{Key: "moved", Session: two}, del("again"))
	b.write(put("again", ""))
	if _, ok := b.try([]journal.Cond{{Key: "kept", Mod: 1}}, put("kept", "")); ok {
		b.Error("a refused write went through")
	}
	if err := b.Revoke(b.ctx, one); err != nil {
		b.Errorf("Revoke: %v", err)
	}
	b.wantKeys("", "again", "freed", "moved")
	if err := b.Revoke(b.ctx, two); err != nil {
		b.Errorf("Revoke: %v", err)
	}
	b.wantKeys("", "again", "freed")
	_, err := b.Grant(b.ctx, 0)
	wantKind(b, "Grant of no time", err, failure.Invalid)
}

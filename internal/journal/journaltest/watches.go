package journaltest

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// change is the part of a Change that the checks compare.
func change(key, value string, mod int64) journal.Change {
	return journal.Change{KV: journal.KV{Key: key, Value: []byte(value), Mod: mod}}
}

func deleted(key string, mod int64) journal.Change {
	return journal.Change{KV: journal.KV{Key: key, Mod: mod}, Deleted: true}
}

// wantGroup receives one group and compares it.
func wantGroup(tb testing.TB, changes <-chan []journal.Change, want ...journal.Change) {
	tb.Helper()
	got := next(tb, changes)
	for i := range got {
		got[i].Create = 0
		if len(got[i].Value) == 0 {
			got[i].Value = nil
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Fatalf("changes (-want +got):\n%s", diff)
	}
}

func checkWatchOrder(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	start := b.write(put("before", ""))
	live := b.Watch(b.ctx, "run/", start)
	var revs []int64
	for i := range 200 {
		revs = append(revs, b.write(put(fmt.Sprintf("run/%d", i%7), fmt.Sprint(i))))
		b.write(put("other", fmt.Sprint(i)))
	}
	late := b.Watch(b.ctx, "run/", start)
	for i, rev := range revs {
		want := change(fmt.Sprintf("run/%d", i%7), fmt.Sprint(i), rev)
		wantGroup(tb, live, want)
		wantGroup(tb, late, want)
	}
}

func checkWatchGroups(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	changes := b.Watch(b.ctx, "run/", 0)
	first := b.write(put("run/c", "1"), put("run/a", "1"), put("other", ""), put("run/b", "1"))
	wantGroup(tb, changes, change("run/c", "1", first), change("run/a", "1", first), change("run/b", "1", first))
	second := b.write(del("run/c"), put("run/d", "2"), del("run/absent"))
	wantGroup(tb, changes, deleted("run/c", second), change("run/d", "2", second))
	third := b.write(journal.Op{Key: "run/", Delete: true, Prefix: true})
	wantGroup(tb, changes, deleted("run/a", third), deleted("run/b", third), deleted("run/d", third))
	fourth := b.write(put("run/a", "4"))
	group := next(tb, changes)
	if len(group) != 1 || group[0].Create != fourth || group[0].Mod != fourth {
		b.Errorf("got %+v, want a record created at %d", group, fourth)
	}
}

func checkWatchResume(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	first := b.write(put("k", "1"))
	second := b.write(put("k", "2"))
	third := b.write(del("k"))
	ctx, cancel := context.WithCancel(b.ctx)
	changes := b.Watch(ctx, "k", first)
	wantGroup(tb, changes, change("k", "2", second))
	cancel()
	ends(tb, changes)
	changes = b.Watch(b.ctx, "k", second)
	wantGroup(tb, changes, deleted("k", third))
	fourth := b.write(put("k", "4"))
	wantGroup(tb, changes, change("k", "4", fourth))
	ahead := b.Watch(b.ctx, "k", fourth+1)
	b.write(put("k", "5"))
	sixth := b.write(put("k", "6"))
	wantGroup(tb, ahead, change("k", "6", sixth))
}

func checkWatchOther(tb testing.TB, open Opener) {
	b, other := newBench(tb, open), newBench(tb, open)
	start := b.write(put("k", "1"))
	here, there := b.Watch(b.ctx, "", start), other.Watch(other.ctx, "", start)
	for i := range 20 {
		from := b
		if i%2 == 0 {
			from = other
		}
		rev := from.write(put("k", fmt.Sprint(i)))
		wantGroup(tb, here, change("k", fmt.Sprint(i), rev))
		wantGroup(tb, there, change("k", fmt.Sprint(i), rev))
	}
}

func checkWatchEnds(tb testing.TB, open Opener) {
	b := newBench(tb, open)
	ctx, cancel := context.WithCancel(b.ctx)
	idle, unread, other := b.Watch(ctx, "", 0), b.Watch(ctx, "", 0), b.Watch(b.ctx, "", 0)
	rev := b.write(put("k", "1"))
	wantGroup(tb, idle, change("k", "1", rev))
	cancel()
	ends(tb, idle)
	ends(tb, unread)
	wantGroup(tb, other, change("k", "1", rev))
	ends(tb, b.Watch(ctx, "", 0))
}

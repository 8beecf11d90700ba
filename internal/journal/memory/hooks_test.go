package memory_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
)

func put(key string) journal.Txn { return journal.Txn{Then: []journal.Op{{Key: key}}} }

// TestHook injects an error at each point: before, nothing is applied; after, it is.
func TestHook(t *testing.T) {
	for point, applied := range map[string]bool{memory.Before: false, memory.After: true} {
		lost := failure.New(failure.Indeterminate, "commit", "journal", "injected")
		var points []string
		s := memory.New(memory.WithHook(func(p string, txn journal.Txn) error {
			points = append(points, p+" "+txn.Then[0].Key)
			if p == point {
				return lost
			}
			return nil
		}))
		_, ok, err := s.Commit(t.Context(), put("k"))
		if ok || !errors.Is(err, lost) {
			t.Errorf("%s: ok %v, error %v, want the injected one", point, ok, err)
		}
		if _, got, _, err := s.Get(t.Context(), "k"); got != applied || err != nil {
			t.Errorf("%s: applied %v (error %v), want %v", point, got, err, applied)
		}
		want := []string{"before k", "after k"}
		if !applied {
			want = want[:1]
		}
		if !slices.Equal(points, want) {
			t.Errorf("%s: points %q, want %q", point, points, want)
		}
	}
}

// TestStalledWriter stalls one connection between deciding and writing: its compares no longer hold when it wakes.
func TestStalledWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := memory.NewDB()
		stalled := db.Open(memory.WithHook(func(point string, _ journal.Txn) error {
			if point == memory.Before {
				time.Sleep(5 * time.Hour)
			}
			return nil
		}))
		heir := db.Open()
		done := make(chan string)
		go func() {
			_, ok, err := stalled.Commit(t.Context(), journal.Txn{If: []journal.Cond{{Key: "h"}}, Then: put("h").Then})
			done <- fmt.Sprint(ok, err)
		}()
		time.Sleep(time.Hour)
		if _, ok, err := heir.Commit(t.Context(), put("h")); !ok || err != nil {
			t.Fatalf("the heir's Commit: ok %v, error %v", ok, err)
		}
		if got := <-done; got != "false <nil>" {
			t.Errorf("the stalled Commit: %s, want a refusal", got)
		}
	})
}

// TestSessionsInABubble holds that sessions end to the nanosecond, and that a watch sees it without anybody's calls.
func TestSessionsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		start := time.Now()
		session, err := s.Grant(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		rev, _, err := s.Commit(t.Context(), journal.Txn{Then: []journal.Op{{Key: "own", Session: session}}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Second)
		if err := s.KeepAlive(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		group := <-s.Watch(t.Context(), "", rev)
		if len(group) != 1 || !group[0].Deleted || group[0].Key != "own" {
			t.Errorf("got %+v, want the key's end", group)
		}
		if got, want := time.Since(start), 110*time.Second; got != want {
			t.Errorf("the session lasted %s, want %s", got, want)
		}
	})
}

// TestCallHook fails the calls that it is told to.
func TestCallHook(t *testing.T) {
	down := failure.New(failure.Unavailable, "", "", "injected")
	var calls []string
	s := memory.New(memory.WithCallHook(func(call, subject string) error {
		calls = append(calls, call+" "+subject)
		return down
	}))
	_, _, _, err := s.Get(t.Context(), "k")
	_, _, err2 := s.List(t.Context(), "p/", journal.ListOptions{})
	_, err3 := s.Grant(t.Context(), time.Second)
	for _, err := range []error{err, err2, err3, s.KeepAlive(t.Context(), "s"), s.Revoke(t.Context(), "s")} {
		if !errors.Is(err, down) {
			t.Errorf("got %v, want the injected error", err)
		}
	}
	if want := []string{"get k", "list p/", "grant 1s", "keepalive s", "revoke s"}; !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
}

// TestCompact loses the positions before it.
func TestCompact(t *testing.T) {
	db := memory.NewDB()
	s := db.Open()
	for range 10 {
		if _, _, err := s.Commit(t.Context(), put("k")); err != nil {
			t.Fatal(err)
		}
	}
	db.Compact(5)
	if _, ok := <-s.Watch(t.Context(), "", 4); ok {
		t.Error("a watch from a compacted revision sends changes")
	}
	if group := <-s.Watch(t.Context(), "", 5); len(group) != 1 || group[0].Mod != 6 {
		t.Errorf("got %+v, want the change of revision 6", group)
	}
}

package journaltest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// RunArchive runs the suite of journal.Archive; open gives one more user of one archive, which is empty at first.
func RunArchive(t *testing.T, fresh func(tb testing.TB) (open func() journal.Archive)) {
	t.Helper()
	t.Run("put, get, list", func(t *testing.T) { archiveKeeps(t, fresh(t)) })
	t.Run("put again", func(t *testing.T) { archivePutsAgain(t, fresh(t)()) })
	t.Run("refusals", func(t *testing.T) { archiveRefuses(t, fresh(t)()) })
	t.Run("at once", func(t *testing.T) { archiveShares(t, fresh(t)) })
}

// at is when the first archived run finished.
var at = time.Date(2026, 3, 1, 3, 0, 0, 123456789, time.UTC)

func archiveKeeps(t *testing.T, open func() journal.Archive) {
	a := open()
	if got, err := a.List(t.Context(), 0); err != nil || len(got) != 0 {
		t.Fatalf("List of an empty archive: %v, error %v", got, err)
	}
	content := bytes.Repeat([]byte(`{"event":"step"}`), 1000)
	want := []journal.Summary{}
	for i := range 5 {
		s := journal.Summary{ID: fmt.Sprintf("run-%d", i), At: at.Add(time.Duration(i%3) * time.Hour)}
		if i > 0 {
			s.Meta = json.RawMessage(fmt.Sprintf(`{"app":"shop","n":%d}`, i))
		}
		if err := a.Put(t.Context(), s, content[:i*1000]); err != nil {
			t.Fatalf("Put: %v", err)
		}
		if s.Size = int64(i * 1000); s.Meta == nil {
			s.Meta = json.RawMessage("null")
		}
		want = append(want, s)
	}
	want = []journal.Summary{want[2], want[4], want[1], want[3], want[0]}
	for _, a := range []journal.Archive{a, open()} {
		for range 2 { // an index may exist the second time
			wantList(t, a, 0, want)
			wantList(t, a, 2, want[:2])
		}
		got, text, err := a.Get(t.Context(), "run-4")
		if err != nil || !bytes.Equal(text, content[:4000]) {
			t.Errorf("Get: %d bytes, error %v; want 4000 bytes", len(text), err)
		}
		if diff := cmp.Diff(want[1:2], normal([]journal.Summary{got})); diff != "" {
			t.Errorf("Get (-want +got):\n%s", diff)
		}
	}
}

func archivePutsAgain(t *testing.T, a journal.Archive) {
	s := journal.Summary{ID: "run", At: at}
	for range 2 {
		if err := a.Put(t.Context(), s, []byte("one")); err != nil {
			t.Fatalf("Put: %v", err)
		}
	}
	wantKind(t, "Put of another content", a.Put(t.Context(), s, []byte("two")), failure.Exists)
	if _, text, err := a.Get(t.Context(), "run"); string(text) != "one" || err != nil {
		t.Errorf("Get: %q, error %v; want what was put first", text, err)
	}
}

func archiveRefuses(t *testing.T, a journal.Archive) {
	for _, id := range []string{"", ".", "..", ".hidden", "a/b", "a b", "ü", strings.Repeat("x", journal.MaxID+1)} {
		wantKind(t, fmt.Sprintf("Put of id %q", id), a.Put(t.Context(), journal.Summary{ID: id, At: at}, nil), failure.Invalid)
		_, _, err := a.Get(t.Context(), id)
		wantKind(t, fmt.Sprintf("Get of id %q", id), err, failure.NotFound)
	}
	wantKind(t, "Put without a time", a.Put(t.Context(), journal.Summary{ID: "a"}, nil), failure.Invalid)
	wantKind(t, "Put of odd metadata",
		a.Put(t.Context(), journal.Summary{ID: "a", At: at, Meta: json.RawMessage("{")}, nil), failure.Invalid)
	_, _, err := a.Get(t.Context(), "absent")
	wantKind(t, "Get of an absent run", err, failure.NotFound)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantKind(t, "Put with a canceled context", a.Put(ctx, journal.Summary{ID: "a", At: at}, nil), failure.Canceled)
	wantList(t, a, 0, nil)
}

func archiveShares(t *testing.T, open func() journal.Archive) {
	var all sync.WaitGroup
	for user := range 4 {
		a := open()
		all.Go(func() {
			for i := range 20 {
				s := journal.Summary{ID: fmt.Sprintf("run-%02d", i), At: at.Add(time.Duration(i))}
				if err := a.Put(t.Context(), s, []byte(s.ID)); err != nil {
					t.Errorf("user %d: Put: %v", user, err)
				}
				if _, err := a.List(t.Context(), 0); err != nil {
					t.Errorf("user %d: List: %v", user, err)
				}
			}
		})
	}
	all.Wait()
	got, err := open().List(t.Context(), 0)
	if err != nil || len(got) != 20 {
		t.Errorf("%d runs are listed, error %v; want 20", len(got), err)
	}
}

func wantList(tb testing.TB, a journal.Archive, limit int, want []journal.Summary) {
	tb.Helper()
	got, err := a.List(context.Background(), limit)
	if err != nil {
		tb.Fatalf("List: %v", err)
	}
	if diff := cmp.Diff(append([]journal.Summary{}, want...), append([]journal.Summary{}, normal(got)...)); diff != "" {
		tb.Errorf("List(%d) (-want +got):\n%s", limit, diff)
	}
}

// normal evens out what means the same.
func normal(all []journal.Summary) []journal.Summary {
	for i := range all {
		if all[i].Meta == nil {
			all[i].Meta = json.RawMessage("null")
		}
	}
	return all
}

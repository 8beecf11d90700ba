package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/journaltest"
)

var at = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

func TestConformance(t *testing.T) {
	journaltest.RunArchive(t, func(tb testing.TB) func() journal.Archive {
		dir := filepath.Join(tb.TempDir(), "archive")
		return func() journal.Archive { return New(dir) }
	})
}

// TestDamage flips each byte and cuts at each length: nothing but what was put may come back.
func TestDamage(t *testing.T) {
	d := New(t.TempDir())
	s := journal.Summary{ID: "run", At: at, Meta: json.RawMessage(`{"app":"shop"}`)}
	if err := d.Put(t.Context(), s, []byte("content of the run, content of the run")); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(d.file("run"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, text []byte) {
		t.Helper()
		if err := os.WriteFile(d.file("run"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, got, err := d.Get(t.Context(), "run"); err == nil || !errors.Is(err, failure.Corrupt) {
			t.Errorf("%s: got %q, error %v; want kind corrupt", what, got, err)
		}
	}
	for i := range whole {
		text := append([]byte(nil), whole...)
		text[i] ^= 0x10
		check(fmt.Sprintf("byte %d of %d flipped", i, len(whole)), text)
		check(fmt.Sprintf("cut at %d of %d", i, len(whole)), whole[:i])
	}
	check("grown", append(append([]byte(nil), whole...), "more"...))
	if err := d.Put(t.Context(), s, []byte("content of the run, content of the run")); err != nil {
		t.Errorf("Put over a damaged file: %v", err)
	}
	if _, _, err := d.Get(t.Context(), "run"); err != nil {
		t.Errorf("Get after it was mended: %v", err)
	}
}

func TestOtherRunsFile(t *testing.T) {
	d := New(t.TempDir())
	if err := d.Put(t.Context(), journal.Summary{ID: "one", At: at}, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(d.file("one"), d.file("two")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Get(t.Context(), "two"); !errors.Is(err, failure.Corrupt) {
		t.Errorf("got %v, want kind corrupt for a file under another run's name", err)
	}
}

// TestPlainZstd reads a file as somebody without Lifeboat would.
func TestPlainZstd(t *testing.T) {
	d := New(t.TempDir())
	if err := d.Put(t.Context(), journal.Summary{ID: "run", At: at}, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(d.file("run"))
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	if got, err := dec.DecodeAll(text, nil); string(got) != "hello" || err != nil {
		t.Errorf("got %q, error %v", got, err)
	}
}

// TestIndex holds that the index is a help only.
func TestIndex(t *testing.T) {
	d := New(t.TempDir())
	index := filepath.Join(d.path, indexName)
	list := func() []string {
		t.Helper()
		all, err := d.List(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range all {
			got = append(got, fmt.Sprintf("%s %s", s.ID, s.At.Format(time.Kitchen)))
		}
		return got
	}
	want := func(what string, want ...string) {
		t.Helper()
		if got := list(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	for i, id := range []string{"a", "b"} {
		if err := d.Put(t.Context(), journal.Summary{ID: id, At: at.Add(time.Duration(i) * time.Hour)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	want("without an index", "b 4:00AM", "a 3:00AM")
	text, err := os.ReadFile(index)
	if err != nil {
		t.Fatalf("no index after a list: %v", err)
	}
	if err := os.WriteFile(index, text[:len(text)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	want("with a torn index", "b 4:00AM", "a 3:00AM")
	if err := os.WriteFile(index, []byte("\x00garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("with garbage for an index", "b 4:00AM", "a 3:00AM")
	want("with a mended index", "b 4:00AM", "a 3:00AM")
	if err := os.Remove(d.file("a")); err != nil {
		t.Fatal(err)
	}
	want("with a file gone", "b 4:00AM")
	if err := os.WriteFile(d.file("c"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.path, ".x.1.tmp"), []byte("left over"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("with a damaged file and a left-over", "b 4:00AM", "c 12:00AM")
}

func FuzzDecode(f *testing.F) {
	text, err := encode(journal.Summary{ID: "run", At: at}, []byte("content"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, content, err := decode(text); err == nil && (s.Size != int64(len(content))) {
			t.Errorf("size %d of %d bytes", s.Size, len(content))
		}
	})
}

// BenchmarkList lists 10,000 runs.
func BenchmarkList(b *testing.B) {
	d := New(b.TempDir())
	for i := range 10_000 {
		s := journal.Summary{ID: fmt.Sprintf("run-%05d", i), At: at.Add(time.Duration(i)), Meta: json.RawMessage(`{"app":"shop","operation":"failover","outcome":"succeeded"}`)}
		text, err := encode(s, []byte("{}"))
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(d.file(s.ID), text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if all, err := d.List(b.Context(), 20); err != nil || len(all) != 20 {
			b.Fatalf("%d runs, error %v", len(all), err)
		}
	}
}

package file

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "vault"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLayout holds where restic looks for objects, and that nobody else may.
func TestLayout(t *testing.T) {
	s := open(t)
	for _, typ := range blob.Types() {
		o := blobtest.Make(typ, 1, 100)
		if err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			t.Fatal(err)
		}
		want := map[blob.Type]string{blob.Config: "config", blob.Key: "keys/" + o.Handle.Name, blob.Snapshot: "snapshots/" + o.Handle.Name,
			blob.Index: "index/" + o.Handle.Name, blob.Lock: "locks/" + o.Handle.Name}[typ]
		if typ == blob.Pack {
			want = "data/" + o.Handle.Name[:2] + "/" + o.Handle.Name
		}
		got, err := os.ReadFile(filepath.Join(s.root, want))
		if err != nil || !bytes.Equal(got, o.Bytes) {
			t.Errorf("%s: %d bytes, error %v", want, len(got), err)
		}
	}
	err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSteps holds that nothing is named before it is flushed, and that a failure before the name leaves nothing.
func TestSteps(t *testing.T) {
	broken := errors.New("the disk is on fire")
	for at, name := range []string{"flush", "name", "flush of the folder", "none"} {
		s := open(t)
		var done []string
		real := s.steps
		step := func(i int, what string, do func() error) error {
			if done = append(done, what); i == at {
				return broken
			}
			return do()
		}
		s.steps.sync = func(f *os.File) error { return step(0, "flush", func() error { return real.sync(f) }) }
		s.steps.publish = func(a, b string) error { return step(1, "name", func() error { return real.publish(a, b) }) }
		s.steps.syncDir = func(d string) error { return step(2, "folder", func() error { return real.syncDir(d) }) }
		o := blobtest.Make(blob.Index, 1, 1000)
		err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes))
		want := []string{"flush", "name", "folder"}[:min(at+1, 3)]
		if strings.Join(done, " ") != strings.Join(want, " ") {
			t.Errorf("%s: steps %v, want %v", name, done, want)
		}
		if (err == nil) != (at == 3) {
			t.Errorf("%s breaks: save gives %v", name, err)
		}
		if at == 2 && !errors.Is(err, failure.Indeterminate) {
			t.Errorf("%s breaks: %v, want indeterminate", name, err)
		}
		left, err := os.ReadDir(filepath.Join(s.root, "index"))
		if wantLeft := at / 2; err != nil || len(left) != min(wantLeft, 1) {
			t.Errorf("%s breaks: %d files are left, error %v", name, len(left), err)
		}
	}
}

// TestCrashLeftovers holds that an unfinished file is never listed, and is cleared only when it is surely nobody's.
func TestCrashLeftovers(t *testing.T) {
	s := open(t)
	dir := filepath.Join(s.root, "snapshots")
	old, fresh := filepath.Join(dir, temporary+"1"), filepath.Join(dir, temporary+"2")
	for _, path := range []string{old, fresh} {
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	if got, err := blobtest.Listed(t.Context(), s, blob.Snapshot); err != nil || len(got) != 0 {
		t.Errorf("listed: %v, error %v", got, err)
	}
	if err := s.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old one is left: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the fresh one is gone: %v", err)
	}
}

// TestNothingThere holds that a mistyped path does not become a vault.
func TestNothingThere(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "mistyped"))
	if err != nil {
		t.Fatal(err)
	}
	o := blobtest.Make(blob.Key, 1, 10)
	if err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); !errors.Is(err, failure.NotFound) {
		t.Errorf("save: %v, want not found", err)
	}
	if _, err := os.Stat(s.root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
}

// TestRemoveFromWhatIsAway: a folder that is not there, such as one that is not mounted, has not lost what was in it.
func TestRemoveFromWhatIsAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vault")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := blob.Handle{Type: blob.Lock, Name: strings.Repeat("0", 64)}
	if err := s.Remove(t.Context(), h); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), h); !errors.Is(err, failure.Unavailable) {
		t.Errorf("from a folder that is away: %v", err)
	}
}

//go:build linux

package restorer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// small is a directory with a few files, in a vault.
func small(t testing.TB) (src string, run func(o restorer.Options) (*restorer.Result, error)) {
	t.Helper()
	src = t.TempDir()
	for _, name := range []string{"a", "b/c", "b/d", "e"} {
		write(t, filepath.Join(src, name), noise(uint64(name[0]), 10_000))
	}
	must(t, os.Symlink("a", filepath.Join(src, "link")))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	return src, func(o restorer.Options) (*restorer.Result, error) { return restorer.Run(t.Context(), v, root, o) }
}

// TestVerifyFindsDifferences changes what was restored behind the restore's back.
func TestVerifyFindsDifferences(t *testing.T) {
	for what, change := range map[string]func(path string) error{
		"content": func(path string) error {
			s, err := os.Stat(path)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text[5000] ^= 1
			return errors.Join(os.WriteFile(path, text, 0), os.Chtimes(path, s.ModTime(), s.ModTime()))
		},
		"size": func(path string) error { return os.Truncate(path, 10_001) },
		"mode": func(path string) error { return os.Chmod(path, 0o777) },
		"time": func(path string) error {
			return os.Chtimes(path, os.FileInfo.ModTime(stat(t, path)).Add(1), os.FileInfo.ModTime(stat(t, path)).Add(1))
		},
		"removal": os.Remove,
		"type":    func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(what, func(t *testing.T) {
			_, run := small(t)
			target := t.TempDir()
			// When the link is made all files are finished, their directory's time is still to come.
			r, err := run(restorer.Options{Target: target, Verify: true, Item: func(i restorer.Item) {
				if i.Type == tree.Symlink {
					must(t, change(filepath.Join(target, "b", "c")))
				}
			}})
			if failure.KindOf(err) != failure.Corrupt || len(r.Differences) != 1 || r.Differences[0].Path != "/b/c" {
				t.Errorf("got %v, %+v", err, r.Differences)
			}
		})
	}
}

func stat(t testing.TB, path string) os.FileInfo {
	t.Helper()
	s, err := os.Lstat(path)
	must(t, err)
	return s
}

// TestProgress holds that totals are known after the scan, and are reached.
func TestProgress(t *testing.T) {
	_, run := small(t)
	var all []restorer.Progress
	items := 0
	r, err := run(restorer.Options{Target: t.TempDir(), Progress: func(p restorer.Progress) { all = append(all, p) }, Item: func(restorer.Item) { items++ }})
	must(t, err)
	last := all[len(all)-1]
	if last.Phase != restorer.Finished || last.Entries != 6 || last.EntriesTotal != 6 || last.Bytes != 40_000 || last.BytesTotal != 40_000 || items != 6 {
		t.Errorf("in the end: %+v, %d items", last, items)
	}
	if r.Files != 4 || r.Bytes != 40_000 || r.Written != 40_000 || r.Entries[restorer.Created] != 6 || r.Free <= 0 {
		t.Errorf("the result: %+v", r)
	}
}

// TestEnded ends restores from outside: by OnError, and by the context.
func TestEnded(t *testing.T) {
	_, run := small(t)
	target := t.TempDir()
	write(t, filepath.Join(target, "a", "in the way"), nil)
	enough := errors.New("enough")
	if _, err := run(restorer.Options{Target: target, OnError: func(string, error) error { return enough }}); !errors.Is(err, enough) {
		t.Errorf("OnError wants an end: %v", err)
	}
	src := t.TempDir()
	write(t, filepath.Join(src, "a"), noise(1, 1000))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := restorer.Run(ctx, v, root, restorer.Options{Target: t.TempDir()}); failure.KindOf(err) != failure.Canceled {
		t.Errorf("a context that ended: %v", err)
	}
}

// TestRefused asks for what cannot be.
func TestRefused(t *testing.T) {
	_, run := small(t)
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	for what, o := range map[string]restorer.Options{
		"no target":                {},
		"a policy that is none":    {Target: t.TempDir(), Overwrite: "sometimes"},
		"to verify a dry run":      {Target: t.TempDir(), DryRun: true, Verify: true},
		"a target that is a file":  {Target: file},
		"a target below of a file": {Target: filepath.Join(file, "below")},
	} {
		r, err := run(o)
		if err == nil || r == nil {
			t.Errorf("%s: %v, %v", what, r, err)
		}
	}
	_, v := newRepo(t)
	if _, err := restorer.Run(t.Context(), v, object.Hash(nil), restorer.Options{Target: filepath.Join(t.TempDir(), "t")}); failure.KindOf(err) != failure.NotFound {
		t.Errorf("a tree that is not there: %v", err)
	}
	for text, want := range map[string]restorer.Overwrite{"": restorer.Always, "if-newer": restorer.IfNewer} {
		if got, err := restorer.ParseOverwrite(text); got != want || err != nil {
			t.Errorf("ParseOverwrite(%q): %q, %v", text, got, err)
		}
	}
	if _, err := restorer.ParseOverwrite("x"); failure.KindOf(err) != failure.Invalid || !strings.Contains(failure.HintOf(err), "if-changed") {
		t.Errorf("ParseOverwrite: %v", err)
	}
}

//go:build linux

package archiver_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// lose removes the pack that a blob lies in, and has restic forget that it was there.
func lose(t *testing.T, repo string, v *vault.Vault, h object.Handle) {
	t.Helper()
	packs, err := filepath.Glob(repo + "/data/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, pack := range packs {
		text, err := os.ReadFile(pack)
		if err == nil {
			err = os.Remove(pack)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, repo).LoadBlob(t.Context(), h); err != nil {
			restic(t, repo, "", "rebuild-index")
			return
		}
		if err := os.WriteFile(pack, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("%v lies in no pack", h)
}

// TestLostContent holds that a file which looks unchanged is stored again when its content is gone from the vault.
func TestLostContent(t *testing.T) {
	repo, v := newRepo(t)
	src := t.TempDir()
	if err := os.WriteFile(src+"/file", archivertest.Noise(1, 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	first := backup(t, v, archiver.Options{Paths: []string{src}}).Snapshot
	n, err := v.Find(t.Context(), *first.Tree, src+"/file")
	if err != nil {
		t.Fatal(err)
	}
	first.Summary = nil // or else what was made just now is read again in any case
	lose(t, repo, v, object.Handle{Type: object.Data, ID: n.Content[0]})
	told := errorsOf{base: src}
	v = open(t, repo)
	r := backup(t, v, archiver.Options{Paths: []string{src}, Parent: first, OnError: told.add})
	if diff := cmp.Diff(map[string]failure.Kind{"file": failure.Corrupt}, told.kinds); diff != "" || r.Summary.DataBlobs == 0 {
		t.Errorf("%+v\n%s", r.Summary, diff)
	}
	restic(t, repo, "", "check", "--read-data") // the first snapshot is whole again, too
}

// TestLostTree holds that a parent whose directory is gone makes no difference but that it is said.
func TestLostTree(t *testing.T) {
	repo, v := newRepo(t)
	t.Chdir(t.TempDir()) // the folders above change at any time
	const src = "src"
	plant(t, src, "a", "sub/b")
	first := backup(t, v, archiver.Options{Paths: []string{src}}).Snapshot
	n, err := v.Find(t.Context(), *first.Tree, "/src/sub")
	if err != nil {
		t.Fatal(err)
	}
	lose(t, repo, v, object.Handle{Type: object.Tree, ID: *n.Subtree})
	told := errorsOf{base: src}
	v = open(t, repo)
	r := backup(t, v, archiver.Options{Paths: []string{src}, Parent: first, OnError: told.add})
	if r.Errors == 0 || r.Summary.FilesNew != 2 {
		t.Errorf("%+v, %v", r.Summary, told.kinds)
	}
	restic(t, repo, "", "check", "--read-data")
}

// TestWithAtime holds that access times are stored on demand, and that reading does not change them.
func TestWithAtime(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	plant(t, src, "file")
	a, m := time.Unix(1.1e9, 5), time.Unix(1e9, 0)
	if err := os.Chtimes(src+"/file", a, m); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, with := range []bool{false, true} {
			r := backup(t, v, archiver.Options{Paths: []string{src}, WithAtime: with})
			n, err := v.Find(t.Context(), *r.Snapshot.Tree, src+"/file")
			if err != nil || n.AccessTime.Equal(a) != with || n.AccessTime.Equal(m) == with {
				t.Errorf("%v: %+v, %v", with, n, err)
			}
		}
	}
}

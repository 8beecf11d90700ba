//go:build linux

package archiver_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
)

// TestResticGoesOn holds that restic takes a snapshot of ours for its parent, and finds everything unchanged in it.
func TestResticGoesOn(t *testing.T) {
	repo, v := newRepo(t)
	t.Chdir(t.TempDir())
	if err := os.Mkdir("corpus", 0o755); err != nil {
		t.Fatal(err)
	}
	archivertest.Corpus(t, "corpus", archivertest.Options{Seed: 2})
	ours := backup(t, v, archiver.Options{Paths: []string{"corpus"}})
	out := restic(t, repo, "", "backup", "--json", "corpus")
	var sum struct {
		FilesNew        uint64 `json:"files_new"`
		FilesChanged    uint64 `json:"files_changed"`
		FilesUnmodified uint64 `json:"files_unmodified"`
		DirsNew         uint64 `json:"dirs_new"`
		DirsChanged     uint64 `json:"dirs_changed"`
		DirsUnmodified  uint64 `json:"dirs_unmodified"`
		DataBlobs       uint64 `json:"data_blobs"`
		TreeBlobs       uint64 `json:"tree_blobs"`
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, `"message_type":"summary"`) {
			if err := json.Unmarshal([]byte(line), &sum); err != nil {
				t.Fatal(err)
			}
		}
	}
	if sum.FilesUnmodified != ours.Summary.FilesNew || sum.DirsUnmodified != ours.Summary.DirsNew || sum.FilesNew+sum.FilesChanged+sum.DirsNew+sum.DirsChanged+sum.DataBlobs+sum.TreeBlobs != 0 {
		t.Errorf("restic: %+v\nours: %+v", sum, ours.Summary)
	}
}

// TestManyFiles backs many small files up, again, and again after some have changed; restic gives them back.
func TestManyFiles(t *testing.T) {
	n := 2_000
	if os.Getenv("LIFEBOAT_LONG") != "" {
		n = 100_000
	}
	repo, v := newRepo(t)
	t.Chdir(t.TempDir())
	archivertest.Small(t, "many", n, 3)
	first := backup(t, v, archiver.Options{Paths: []string{"many"}})
	if first.Summary.FilesNew != uint64(n) {
		t.Errorf("%+v", first.Summary)
	}
	again := backup(t, v, archiver.Options{Paths: []string{"many"}, Parent: first.Snapshot})
	if s := again.Summary; s.FilesUnmodified != uint64(n) || s.DataBlobs+s.TreeBlobs != 0 || *again.Snapshot.Tree != *first.Snapshot.Tree {
		t.Errorf("%+v", s)
	}
	for _, name := range []string{"d0/000/file-00005.txt", "d0/001/file-00100.txt"} {
		if err := os.WriteFile("many/"+name, []byte("another text"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	third := backup(t, v, archiver.Options{Paths: []string{"many"}, Parent: again.Snapshot})
	if s := third.Summary; s.FilesChanged != 2 || s.DataBlobs != 1 || s.TreeBlobs != 5 { // the root, many, d0, 000, 001
		t.Errorf("%+v", s)
	}
	restic(t, repo, "", "check", "--read-data")
	out := t.TempDir()
	restic(t, repo, "", "restore", third.Snapshot.ID.String(), "--target", out)
	archivertest.Compare(t, "many", filepath.Join(out, "many"), nil)
}

// TestDeep backs up what lies deeper than the system's paths reach.
func TestDeep(t *testing.T) {
	_, v := newRepo(t)
	src := t.TempDir()
	archivertest.Corpus(t, src, archivertest.Options{Deep: true, Sockets: true, Modern: true})
	r := backup(t, v, archiver.Options{Paths: []string{src}})
	stored, bottom := map[string]bool{}, ""
	for _, path := range paths(t, v, *r.Snapshot.Tree) {
		if rel, ok := strings.CutPrefix(path, src+"/"); ok {
			stored[rel] = true
		}
		if strings.HasSuffix(path, "/the bottom") {
			bottom = path
		}
	}
	want := archivertest.Read(t, src)
	delete(want, "")
	for path := range want {
		if !stored[path] {
			t.Errorf("%.100q is missing", path)
		}
	}
	if len(stored) != len(want) {
		t.Errorf("%d paths, want %d", len(stored), len(want))
	}
	n, err := v.Find(t.Context(), *r.Snapshot.Tree, bottom)
	if err != nil || len(bottom) < 5000 || n.Size != 12 || len(n.Xattrs) != 1 || n.Links != 2 {
		t.Errorf("%+v, %v", n, err)
	}
	again := backup(t, v, archiver.Options{Paths: []string{src}, Parent: r.Snapshot})
	if again.Summary.FilesUnmodified != r.Summary.FilesNew {
		t.Errorf("%+v", again.Summary)
	}
}

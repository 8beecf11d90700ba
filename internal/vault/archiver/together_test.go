//go:build linux

package archiver_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

// TestStdinAsRestic holds that standard input makes the tree that it makes with restic.
func TestStdinAsRestic(t *testing.T) {
	repo, v := newRepo(t)
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, []byte("a dump"), 0o600); err != nil {
		t.Fatal(err)
	}
	const name = "dump.sql" // restic 0.14 makes no directories of a name with slashes
	at := time.Date(2021, 2, 3, 4, 5, 6, 0, time.Local)
	file, err := os.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	cmd := exec.CommandContext(t.Context(), "restic", "-r", repo, "--no-cache", "backup", "--stdin", "--stdin-filename", name, "--time", at.Format(time.DateTime))
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password)
	cmd.Stdin = file
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := v.LoadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	theirs := snapshots(t, v)[0]
	ours := backup(t, v, archiver.Options{Virtual: []archiver.Virtual{{Path: "/" + name, Content: strings.NewReader("a dump")}}, Time: at}).Snapshot
	sameTrees(t, v, "", *theirs.Tree, *ours.Tree)
	if diff := cmp.Diff(theirs.Paths, ours.Paths); diff != "" {
		t.Error(diff)
	}
}

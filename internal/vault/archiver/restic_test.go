//go:build linux

package archiver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const password = "correct horse"

// cheap keeps scrypt out of the tests' time.
var cheap = vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}}

// newRepo makes a repository in a folder.
func newRepo(t testing.TB) (string, *vault.Vault) {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "repo")
	store, err := file.Open(repo)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Init(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	return repo, v
}

// open opens a repository anew.
func open(t testing.TB, repo string) *vault.Vault {
	t.Helper()
	store, err := file.Open(repo)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// backup runs a backup that must succeed, without any file missing.
func backup(t testing.TB, v *vault.Vault, o archiver.Options) *archiver.Result {
	t.Helper()
	if o.OnError == nil {
		o.OnError = func(path string, err error) error {
			t.Errorf("%q: %v", path, err)
			return nil
		}
	}
	r, err := tryBackup(t.Context(), v, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryBackup(ctx context.Context, v *vault.Vault, o archiver.Options) (*archiver.Result, error) {
	s, err := v.NewSession(ctx)
	if err != nil {
		return nil, err
	}
	r, err := archiver.Run(ctx, s, o)
	if cerr := s.Close(ctx); err == nil {
		err = cerr
	}
	return r, err
}

// restic runs the real restic in a folder, and fails the test when it fails.
func restic(t testing.TB, repo, dir string, args ...string) string {
	t.Helper()
	out, err := tryRestic(t, repo, dir, args...)
	if err != nil {
		t.Fatalf("restic %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func tryRestic(t testing.TB, repo, dir string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("restic"); err != nil {
		t.Fatal("restic judges the vault and is missing: test/servers/install.sh restic")
	}
	cmd := exec.CommandContext(t.Context(), "restic", append([]string{"-r", repo, "--no-cache"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD="+password, "RESTIC_PROGRESS_FPS=0")
	var out, both bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = &both
	err := cmd.Run()
	return out.String() + both.String(), err
}

// resticBackup has restic back up, and gives its snapshot.
func resticBackup(t testing.TB, repo, dir string, v *vault.Vault, args ...string) *snapshot.Snapshot {
	t.Helper()
	out := restic(t, repo, dir, append([]string{"backup", "--json"}, args...)...)
	var sum struct {
		ID string `json:"snapshot_id"`
	}
	for line := range strings.Lines(out) { // among them are restic's warnings
		if strings.Contains(line, `"message_type":"summary"`) {
			if err := json.Unmarshal([]byte(line), &sum); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	if err := v.LoadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	sn, err := v.FindSnapshot(t.Context(), sum.ID, snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return sn
}

// sameTrees compares two trees, node by node.
func sameTrees(t testing.TB, v *vault.Vault, path string, want, got object.ID) {
	t.Helper()
	if want == got {
		return
	}
	load := func(id object.ID) *tree.Tree {
		tr, err := v.Tree(t.Context(), id)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return tr
	}
	a, b := load(want), load(got)
	for i := range a.Nodes {
		w := &a.Nodes[i]
		g := b.Find(w.Name)
		if g == nil {
			t.Errorf("%s: %q is missing", path, w.Name)
			continue
		}
		if w.Subtree != nil && g.Subtree != nil {
			sameTrees(t, v, path+"/"+w.Name, *w.Subtree, *g.Subtree)
			g.Subtree = w.Subtree
		}
		if diff := cmp.Diff(w, g); diff != "" {
			t.Errorf("%s/%s (-restic +ours):\n%s", path, w.Name, diff)
		}
	}
	for _, g := range b.Nodes {
		if a.Find(g.Name) == nil {
			t.Errorf("%s: %q is there, and not with restic", path, g.Name)
		}
	}
	if !t.Failed() {
		t.Errorf("%s: the nodes are the same and the trees are not", path)
	}
}

// TestSameTreesAsRestic holds that a backup of everything that there is makes restic's own trees.
func TestSameTreesAsRestic(t *testing.T) {
	repo, v := newRepo(t)
	t.Chdir(t.TempDir()) // the times of the folders above change at any time
	const src = "corpus"
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	archivertest.Corpus(t, src, archivertest.Options{Sockets: true})
	theirs := resticBackup(t, repo, "", v, src)
	r := backup(t, v, archiver.Options{Paths: []string{src}})
	sameTrees(t, v, "", *theirs.Tree, *r.Snapshot.Tree)
	if r.Summary.DataBlobs != 0 || r.Summary.TreeBlobs != 0 {
		t.Errorf("after restic had stored everything, this was added: %+v", r.Summary)
	}
	again := backup(t, v, archiver.Options{Paths: []string{src}, Parent: theirs})
	sameTrees(t, v, "", *theirs.Tree, *again.Snapshot.Tree)
	if again.Summary.FilesUnmodified != again.Summary.TotalFilesProcessed || again.Summary.DirsChanged+again.Summary.DirsNew != 0 {
		t.Errorf("nothing has changed: %+v", again.Summary)
	}
	restic(t, repo, "", "check", "--read-data")
}

// TestResticRestores holds that restic gives back everything that we stored: bytes and metadata.
func TestResticRestores(t *testing.T) {
	repo, v := newRepo(t)
	t.Chdir(t.TempDir())
	if err := os.Mkdir("corpus", 0o755); err != nil {
		t.Fatal(err)
	}
	archivertest.Corpus(t, "corpus", archivertest.Options{Seed: 1})
	want := archivertest.Read(t, "corpus")
	backup(t, v, archiver.Options{Paths: []string{"corpus"}})
	restic(t, repo, "", "check", "--read-data")
	out := t.TempDir()
	restic(t, repo, "", "restore", "latest", "--target", out)
	got := archivertest.Read(t, filepath.Join(out, "corpus"))
	for _, all := range []map[string]archivertest.Entry{want, got} {
		for path, e := range all {
			e.Holes = false // restic makes holes only where it is told to, and not the same
			if e.Mode&unix.S_IFMT != unix.S_IFREG {
				e.Links, e.Group = 1, "" // of other files it makes no hard links
			}
			all[path] = e
		}
	}
	// restic counts nanoseconds in 64 bits when it restores, which end in 2262.
	far := func(path string) bool {
		return strings.HasPrefix(path, "times/") && time.Unix(want[path].MTime.Sec, 0).Year() > 2262
	}
	if err := archivertest.Diff(want, got, far); err != nil {
		t.Error(err)
	}
}

//go:build linux

package restorer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver/archivertest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// filled makes a directory with the archiver's corpus, and a mode and time of its own.
func filled(t testing.TB, o archivertest.Options) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "corpus")
	must(t, os.Mkdir(dir, 0o751))
	archivertest.Corpus(t, dir, o)
	return dir
}

// itself gives the node of dir in the latest snapshot.
func itself(t testing.TB, v *vault.Vault, dir string) *tree.Node {
	t.Helper()
	n, err := v.Find(t.Context(), latestRoot(t, v), dir)
	must(t, err)
	return n
}

// becomesHole leaves out a file of zeros, which takes room on the disk until it is restored with Sparse.
func becomesHole(path string) bool { return path == "sizes/zeros" }

// TestBothWays restores the archiver's corpus, as restic stored it and as we did, elsewhere and over a target that holds
// another corpus, and compares with a reader that shares no code with the restorer.
func TestBothWays(t *testing.T) {
	for name, byRestic := range map[string]bool{"restic": true, "lifeboat": false} {
		t.Run(name, func(t *testing.T) {
			o := archivertest.Options{Deep: !byRestic, Modern: !byRestic, Sockets: true, Seed: 1}
			dir := filled(t, o)
			repo, v := newRepo(t)
			if byRestic {
				restic(t, repo, "backup", dir)
			} else {
				backup(t, v, dir, archiver.Options{})
			}
			n := itself(t, v, dir)
			target := filepath.Join(t.TempDir(), "target")
			restore(t, v, *n.Subtree, restorer.Options{Target: target, Root: n, Sparse: true, Verify: true})
			archivertest.Compare(t, dir, target, becomesHole)
			again := restore(t, v, *n.Subtree, restorer.Options{Target: target, Root: n, Sparse: true})
			if again.Written != 0 || again.Fetched != 0 || again.Entries[restorer.Created]+again.Entries[restorer.Updated]+again.Entries[restorer.Metadata] > 0 {
				t.Errorf("the second time something is done: %+v", again)
			}

			o.Seed = 7
			over := filled(t, o)
			restore(t, v, *n.Subtree, restorer.Options{Target: over, Root: n, Sparse: true, Delete: true, Verify: true})
			archivertest.Compare(t, dir, over, becomesHole)
		})
	}
}

// TestReplica restores everything from a vault that has lost all its packs, by way of a copy.
func TestReplica(t *testing.T) {
	dir := filled(t, archivertest.Options{Seed: 3})
	repo, v := newRepo(t)
	backup(t, v, dir, archiver.Options{})
	n := itself(t, v, dir)
	copied := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(copied, os.DirFS(repo)), os.RemoveAll(filepath.Join(repo, "data")), os.MkdirAll(filepath.Join(repo, "data"), 0o700))
	v = open(t, repo, nil)
	v.Attach(vault.ReplicaOf(open(t, copied, nil)))
	target := t.TempDir()
	restore(t, v, *n.Subtree, restorer.Options{Target: target, Root: n, Sparse: true})
	archivertest.Compare(t, dir, target, becomesHole)
	if given := v.Fallbacks()[0]; given.Blobs == 0 {
		t.Errorf("the replica gave %+v", given)
	}
}

// TestManySmall restores many small files. LIFEBOAT_LONG makes them 100,000.
func TestManySmall(t *testing.T) {
	files := 3000
	if long() {
		files = 100_000
	}
	dir := filepath.Join(t.TempDir(), "small")
	must(t, os.Mkdir(dir, 0o755))
	archivertest.Small(t, dir, files, 5)
	_, v := newRepo(t)
	root := backup(t, v, dir, archiver.Options{})
	target := filepath.Join(t.TempDir(), "t")
	r := restore(t, v, root, restorer.Options{Target: target})
	archivertest.Compare(t, dir, target, func(path string) bool { return path == "" })
	if r.Files != files || r.Entries[restorer.Created] < files {
		t.Errorf("restored %d files of %d: %v", r.Files, files, r.Entries)
	}
}

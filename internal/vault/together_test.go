package vault_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// TestInTurnWithRestic has both write to one folder in turn, restic prune it, and a Vault that was opened before that go
// on to read and write: it must not lean on packs that are gone.
func TestInTurnWithRestic(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "repo")
	store, err := file.Open(repo)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Init(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"keep": noise(90, 2<<20), "drop": noise(91, 2<<20)}
	s := begin(t, v)
	first := write(t, s, files)
	second := write(t, s, map[string][]byte{"keep": files["keep"]})
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "theirs"), prose(92, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	restic(t, repo, "backup", src)
	restic(t, repo, "forget", first.String(), "--prune", "--max-unused", "0")

	s = begin(t, v) // the index is read anew
	third := write(t, s, files)
	if got := s.Stats(); got.Blobs[object.Data] == 0 || got.Known == 0 {
		t.Errorf("%+v: what was pruned must be stored again, and only that", got)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	accepted(t, repo, "--read-data")
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil || len(all) != 3 {
		t.Errorf("%d snapshots, %v", len(all), err)
	}
	for _, id := range []object.ID{second, third} {
		sn, err := v.Snapshot(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		err = v.Walk(t.Context(), *sn.Tree, func(path string, n *tree.Node, err error) error {
			if err == nil {
				err = same(t.Context(), v, n, files[path[1:]])
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", id.Short(), err)
		}
	}
	dump := restic(t, repo, "dump", third.String(), "/drop")
	if !bytes.Equal([]byte(dump), files["drop"]) {
		t.Error("restic dumps other bytes")
	}
}

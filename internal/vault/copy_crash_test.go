package vault_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// pair opens the two vaults in a folder, the second as the first one's replica.
func pair(ctx context.Context, dir string) (first, second *vault.Vault, err error) {
	var both [2]*vault.Vault
	for i, name := range []string{"first", "second"} {
		store, err := file.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, err
		}
		if both[i], err = vault.Open(ctx, store, password, tiny); err != nil {
			return nil, nil, err
		}
	}
	both[0].Attach(vault.ReplicaOf(both[1]))
	return both[0], both[1], nil
}

// copyingChild is what the killed process does: it adds to the first vault, copies to the second, damages the first and
// repairs it, for ever.
func copyingChild(ctx context.Context, dir string) error {
	first, second, err := pair(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		if _, err := keep(ctx, first, seeds(rand.Uint64N(200), 1+rand.Uint64N(20)), "added"); err != nil {
			return err
		}
		if _, err := first.CopyTo(ctx, second, nil, vault.CopyOptions{Verify: true}); err != nil {
			return err
		}
		for range 3 {
			if err := harm(filepath.Join(dir, "first")); err != nil {
				return err
			}
		}
		if _, err := first.Repair(ctx, vault.RepairOptions{ReadData: true}); err != nil {
			return err
		}
	}
}

// harm flips a bit of, cuts or removes a pack or an index in a folder. That is done at once, as by a disk: a kill does not
// leave half of it.
func harm(repo string) error {
	pattern := []string{"data/*/*", "index/*"}[rand.IntN(2)]
	all, err := filepath.Glob(filepath.Join(repo, pattern))
	if err != nil || len(all) == 0 {
		return err
	}
	path := all[rand.IntN(len(all))]
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return err
	}
	switch rand.IntN(3) {
	case 0:
		return os.Remove(path)
	case 1:
		text = text[:rand.IntN(len(text))]
	default:
		text[rand.IntN(len(text))] ^= 1 << rand.IntN(8)
	}
	other := filepath.Join(filepath.Dir(repo), "harm")
	if err := os.WriteFile(other, text, 0o600); err != nil {
		return err
	}
	return os.Rename(other, path)
}

// TestCopiesSIGKILL kills a process that adds, copies, and repairs a vault which goes on being damaged, at random moments.
// The copy is whole each time, and with it the damaged vault becomes whole again.
func TestCopiesSIGKILL(t *testing.T) {
	kills := 5
	if os.Getenv("LIFEBOAT_LONG") != "" {
		kills = 120
	}
	dir := t.TempDir()
	for _, name := range []string{"first", "second"} {
		store, err := file.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vault.Init(t.Context(), store, password, tiny); err != nil {
			t.Fatal(err)
		}
	}
	first, second, err := pair(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[object.ID]files{}
	for i := range uint64(3) {
		f := seeds(i*10, 15)
		id, err := keep(t.Context(), first, f, "stays")
		if err != nil {
			t.Fatal(err)
		}
		want[id] = f
	}
	copyAll(t, first, second, vault.CopyOptions{})
	for n := range kills {
		killOnce(t, "LIFEBOAT_TEST_COPIES="+dir, time.Duration(rand.IntN(1200))*time.Millisecond)
		first, second, err := pair(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []*vault.Vault{first, second} {
			if _, err := v.RemoveAllLocks(t.Context()); err != nil { // the process is dead for certain
				t.Fatal(err)
			}
		}
		if err := originals(t.Context(), first, want); err != nil {
			t.Fatalf("kill %d: with its replica the damaged vault gives not everything: %v", n, err)
		}
		if err := originals(t.Context(), second, want); err != nil {
			t.Fatalf("kill %d: the copy: %v", n, err)
		}
		sound2(t, second)
		done, err := first.Repair(t.Context(), vault.RepairOptions{ReadData: true})
		if err != nil {
			t.Fatalf("kill %d: %v", n, err)
		}
		// A pack that no index lists may be damaged, and gone: no snapshot needs what is only there.
		if lost := len(done.Refill.Lost); lost > 0 {
			t.Errorf("kill %d: %d blobs are lost, though everything was copied before it was damaged", n, lost)
		}
		first.Attach()
		if err := originals(t.Context(), first, want); err != nil {
			t.Fatalf("kill %d: the repaired vault alone: %v", n, err)
		}
		sound2(t, first)
		if n%5 == 4 {
			accepted(t, filepath.Join(dir, "first"), "--read-data")
			accepted(t, filepath.Join(dir, "second"), "--read-data")
		}
	}
}

package vault_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// maintain forgets, tags and prunes twice, with the grace between: everything that removes.
func maintain(t *testing.T, store blob.Store, forget, tag []object.ID) error {
	t.Helper()
	v, err := vault.Open(t.Context(), store, password, tiny)
	if err != nil {
		return err
	}
	if _, err := v.Forget(t.Context(), forget, vault.ForgetOptions{}); err != nil {
		return err
	}
	if _, err := v.Tag(t.Context(), tag, vault.TagChange{Add: []string{"tagged"}}, vault.Waiting{}); err != nil {
		return err
	}
	o := vault.PruneOptions{MaxUnused: "0", RepackSmall: true}
	if _, err := v.Prune(t.Context(), o); err != nil {
		return err
	}
	time.Sleep(2 * vault.DefaultGrace)
	_, err = v.Prune(t.Context(), o)
	return err
}

// originals finds each snapshot by the id that it had at first, and compares its files.
func originals(ctx context.Context, v *vault.Vault, want map[object.ID]files) error {
	all, err := v.Snapshots(ctx, snapshot.Filter{})
	if err != nil {
		return err
	}
	found := map[object.ID]object.ID{}
	for _, s := range all {
		found[s.ID] = s.ID
		if s.Original != nil {
			found[*s.Original] = s.ID
		}
	}
	var bad []error
	for id, f := range want {
		if now, there := found[id]; !there {
			bad = append(bad, fmt.Errorf("snapshot %s is gone", id.Short()))
		} else if err := holdsAll(ctx, v, now, f); err != nil {
			bad = append(bad, err)
		}
	}
	return errors.Join(bad...)
}

// TestMaintenanceKilledAnywhere kills forget, tag and prune at each change they make to the store, with and without the
// effect of the last one. Every snapshot that was to stay is whole in what is left, and the same work goes through
// afterwards and leaves what it would have left at once.
func TestMaintenanceKilledAnywhere(t *testing.T) {
	space := memory.New()
	want := map[object.ID]files{}
	var forget, tag []object.ID
	synctest.Test(t, func(t *testing.T) {
		if _, err := vault.Init(t.Context(), space, password, tiny); err != nil {
			t.Fatal(err)
		}
		v := opened(t, space)
		for i := range uint64(12) {
			f := seeds(i*3, 5)
			id, err := keep(t.Context(), v, f, "h")
			if err != nil {
				t.Fatal(err)
			}
			if i%3 == 1 {
				forget = append(forget, id)
				continue
			}
			want[id] = f
			if i%4 == 0 {
				tag = append(tag, id)
			}
		}
	})
	var whole *dying
	var packs int
	var bytes int64
	synctest.Test(t, func(t *testing.T) {
		whole = &dying{Store: space.Clone(), left: -1}
		if err := maintain(t, whole, forget, tag); err != nil {
			t.Fatal(err)
		}
		packs, bytes = count(t, whole, blob.Pack)
	})
	for _, op := range []string{"remove snapshots", "save snapshots", "save index", "remove index", "save data", "remove data", "save locks"} {
		if !slices.Contains(whole.ops, op) {
			t.Fatalf("%v: there is no %q to be killed at", whole.ops, op)
		}
	}
	stride := len(whole.ops)/10 + 1
	if os.Getenv("LIFEBOAT_LONG") != "" {
		stride = 1
	}
	for n := 1 + rand.IntN(stride); n <= len(whole.ops); n += stride {
		for _, after := range []bool{false, true} {
			left := space.Clone()
			synctest.Test(t, func(t *testing.T) {
				d := &dying{Store: left, left: n, after: after}
				if err := maintain(t, d, forget, tag); (err == nil) != (d.deaths == 0) {
					t.Errorf("killed %d times at change %d: %v", d.deaths, n, err)
				}
				sound(t, left)
				if err := originals(t.Context(), opened(t, left), want); err != nil {
					t.Errorf("killed at change %d (%s): %v", n, whole.ops[n-1], err)
				}
			})
			if after && n%5 == 0 {
				repo := export(t, left)
				restic(t, repo, "unlock", "--remove-all")
				accepted(t, repo, "--read-data")
			}
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(24 * time.Hour * 365) // the lock of the dead is stale, and so is every mark
				for range 2 {
					if err := maintain(t, left, forget, nil); err != nil {
						t.Errorf("killed at change %d (%s), and then: %v", n, whole.ops[n-1], err)
					}
				}
				if err := originals(t.Context(), opened(t, left), want); err != nil {
					t.Errorf("killed at change %d (%s), and then: %v", n, whole.ops[n-1], err)
				}
				sound(t, left)
				if p, b := count(t, left, blob.Pack); p > packs+8 || b > bytes+bytes/10 {
					t.Errorf("killed at change %d (%s): %d packs of %d bytes are left, want %d of %d", n, whole.ops[n-1], p, b, packs, bytes)
				}
			})
		}
	}
}

// killedChild is what the killed process does: it writes, forgets and prunes for ever.
func killedChild(ctx context.Context, dir string) error {
	store, err := file.Open(dir)
	if err != nil {
		return err
	}
	v, err := vault.Open(ctx, store, password, tiny)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		all, err := v.Snapshots(ctx, snapshot.Filter{Hosts: []string{"drop"}})
		if err != nil {
			return err
		}
		var drop []object.ID
		for _, s := range all {
			drop = append(drop, s.ID)
		}
		if _, err := v.Forget(ctx, drop, vault.ForgetOptions{}); err != nil {
			return err
		}
		if _, err := v.Prune(ctx, atOnce); err != nil {
			return err
		}
		for range 2 {
			if _, err := keep(ctx, v, seeds(rand.Uint64N(40), 1+rand.Uint64N(20)), "drop"); err != nil {
				return err
			}
		}
	}
}

// TestMain lets the test's own binary be the process that is killed.
func TestMain(m *testing.M) {
	for name, child := range map[string]func(context.Context, string) error{"LIFEBOAT_TEST_PRUNES": killedChild, "LIFEBOAT_TEST_COPIES": copyingChild} {
		if dir := os.Getenv(name); dir != "" {
			if err := child(context.Background(), dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// TestSIGKILL kills a process that writes, forgets and prunes at random moments. Every snapshot that existed before is
// whole, by us and by restic.
func TestSIGKILL(t *testing.T) {
	t.Parallel()
	kills := 6
	if os.Getenv("LIFEBOAT_LONG") != "" {
		kills = 150
	}
	dir := filepath.Join(t.TempDir(), "repo")
	store, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Init(t.Context(), store, password, tiny)
	if err != nil {
		t.Fatal(err)
	}
	want := map[object.ID]files{}
	for i := range uint64(3) {
		f := seeds(i*10, 15)
		id, err := keep(t.Context(), v, f, "stays")
		if err != nil {
			t.Fatal(err)
		}
		want[id] = f
	}
	for n := range kills {
		killOnce(t, "LIFEBOAT_TEST_PRUNES="+dir, time.Duration(rand.IntN(1500))*time.Millisecond)
		v, err := vault.Open(t.Context(), store, password, tiny)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.RemoveAllLocks(t.Context()); err != nil { // the process is dead for certain
			t.Fatal(err)
		}
		if err := originals(t.Context(), v, want); err != nil {
			t.Fatalf("kill %d: %v", n, err)
		}
		report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true, NoLock: true})
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("kill %d: %+v, %v", n, report, err)
		}
		if n%5 == 4 {
			accepted(t, dir, "--read-data")
		}
	}
	if report, err := v.Prune(t.Context(), atOnce); err != nil {
		t.Errorf("%+v, %v", report, err)
	}
	accepted(t, dir, "--read-data")
}

// killOnce starts the child, and kills it a while after it has begun.
func killOnce(t *testing.T, child string, after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), child)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, 6)
	if _, err := out.Read(ready); err != nil {
		t.Error(err)
	}
	timer := time.NewTimer(after)
	<-timer.C
	if err := cmd.Process.Kill(); err != nil {
		t.Error("the child ended by itself: ", err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child was not killed")
	}
}

package vault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// dying is a store of which the writer sees nothing more after a number of changes: as if the process were killed there.
// The last change either has its effect or has none; the writer learns of neither.
type dying struct {
	blob.Store
	mu     sync.Mutex
	left   int // changes until death; negative: immortal
	after  bool
	deaths int
	ops    []string
}

var errKilled = failure.New(failure.Unavailable, "reach the store", "", "killed")

func (d *dying) change(what string, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		d.deaths++
		return errKilled
	}
	d.ops = append(d.ops, what)
	if d.left--; d.left == 0 {
		d.deaths++
		if d.after {
			if err := do(); err != nil {
				return err
			}
		}
		return errKilled
	}
	return do()
}

func (d *dying) Save(ctx context.Context, h blob.Handle, c blob.Content) error {
	return d.change("save "+h.Type.String(), func() error { return d.Store.Save(ctx, h, c) })
}

func (d *dying) Remove(ctx context.Context, h blob.Handle) error {
	return d.change("remove "+h.Type.String(), func() error { return d.Store.Remove(ctx, h) })
}

func (d *dying) Load(ctx context.Context, h blob.Handle, off, n int64) (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left == 0 {
		return nil, errKilled
	}
	return d.Store.Load(ctx, h, off, n)
}

var small = vault.Options{KDF: cheap.KDF, PackSize: 256 << 10}

// backup writes something that takes several packs, an interim index and two snapshots.
func backup(t *testing.T, store blob.Store) error {
	v, err := vault.Open(t.Context(), store, password, small)
	if err != nil {
		return err
	}
	s, err := v.NewSession(t.Context())
	if err != nil {
		return err
	}
	work := func() error {
		for i := range 2 {
			c, err := s.SaveStream(t.Context(), bytes.NewReader(noise(uint64(40+i), 1500<<10)))
			if err != nil {
				return err
			}
			if i == 0 {
				if err := s.Flush(t.Context()); err != nil {
					return err
				}
			}
			id, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{node("f", c)}})
			if err != nil {
				return err
			}
			if _, err := s.Commit(t.Context(), &snapshot.Snapshot{Tree: &id, Time: mtime, Paths: []string{"/"}}); err != nil {
				return err
			}
		}
		return nil
	}
	err = work()
	return errors.Join(err, s.Close(t.Context()))
}

// TestKilledAnywhere kills a backup at each change it makes to the store, with and without the effect of the last one.
// What is left is a vault in which nothing is wrong: our check says so of every state, restic's of some, and the same
// backup goes through afterwards.
func TestKilledAnywhere(t *testing.T) {
	_, base := create(t)
	whole := &dying{Store: base.Clone(), left: -1}
	if err := backup(t, whole); err != nil {
		t.Fatal(err)
	}
	if n := len(whole.ops); n < 10 {
		t.Fatalf("the backup takes %d changes: too few to sweep", n)
	}
	// Snapshots come after their index, and that after its packs.
	last := -1
	for i, op := range whole.ops {
		if op == "save index" {
			last = i
		}
		if op == "save snapshots" && (last < 0 || strings.Join(whole.ops[last+1:i], "") != "") {
			t.Errorf("changes %v: a snapshot does not follow its index", whole.ops)
		}
	}
	for n := 1; n <= len(whole.ops); n++ {
		for _, after := range []bool{false, true} {
			left := base.Clone()
			killed := base
			synctest.Test(t, func(t *testing.T) { // locks wait by the clock
				d := &dying{Store: left, left: n, after: after}
				// How many packs there are varies; a backup that ended before its death came is fine.
				if err := backup(t, d); (err == nil) != (d.deaths == 0) {
					t.Errorf("killed %d times at change %d: %v", d.deaths, n, err)
				}
				sound(t, left)
				killed = left.Clone()
				if err := backup(t, left); err != nil {
					t.Errorf("killed at change %d: the next backup fails: %v", n, err)
				}
				sound(t, left)
			})
			if after && n%5 == 0 {
				repo := export(t, killed)
				restic(t, repo, "unlock", "--remove-all")
				accepted(t, repo, "--read-data")
			}
		}
	}
}

// sound holds that every snapshot is whole.
func sound(t *testing.T, store *memory.Store) {
	t.Helper()
	v, err := vault.Open(t.Context(), store, password, small)
	if err != nil {
		t.Fatal(err)
	}
	report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true, NoLock: true})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestInterruptedIsResumed holds that what an interrupted session stored is not stored again.
func TestInterruptedIsResumed(t *testing.T) {
	v, store := create(t)
	s := begin(t, v)
	data := noise(50, 40<<20)
	if _, err := s.SaveStream(t.Context(), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SaveBlob(t.Context(), 0, []byte("late")); err == nil {
		t.Error("a closed session stores")
	}
	again, err := vault.Open(t.Context(), store, password, cheap)
	if err != nil {
		t.Fatal(err)
	}
	s = begin(t, again)
	write(t, s, map[string][]byte{"f": data})
	if got := s.Stats(); got.KnownBytes < 15<<20 {
		t.Errorf("%+v: what was stored before counts for nothing", got)
	}
	sound(t, store)
}

// TestTwoSessions holds that two sessions of one vault do not lean on each other's unfinished work.
func TestTwoSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store := create(t)
		v, err := vault.Open(t.Context(), store, password, small)
		if err != nil {
			t.Fatal(err)
		}
		a, b := begin(t, v), begin(t, v)
		data := noise(60, 3<<20)
		if _, err := a.SaveStream(t.Context(), bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if a.Stats().Packs == 0 {
			t.Fatal("no pack is stored yet: there is nothing to lean on")
		}
		write(t, b, map[string][]byte{"f": data})
		left := store.Clone() // a dies here
		sound(t, left)
		write(t, a, map[string][]byte{"f": data, "g": data[:1<<20]})
		sound(t, store)
	})
}

// TestInitIsRepeatable kills Init at each change.
func TestInitIsRepeatable(t *testing.T) {
	for n := 1; n <= 2; n++ {
		for _, after := range []bool{false, true} {
			space := memory.New()
			if _, err := vault.Init(t.Context(), &dying{Store: space, left: n, after: after}, password, cheap); err == nil {
				t.Errorf("killed at %d, and nobody noticed", n)
			}
			if _, err := vault.Init(t.Context(), space, password, cheap); err != nil && !(n == 2 && after && errors.Is(err, failure.Exists)) {
				t.Errorf("killed at %d: %v", n, err)
			}
			v, err := vault.Open(t.Context(), space, password, cheap)
			if err != nil {
				t.Fatal(err)
			}
			if keys, err := v.Keys(t.Context()); err != nil || len(keys) != 1 {
				t.Errorf("killed at %d: %d keys, %v", n, len(keys), err)
			}
		}
	}
	space := memory.New()
	if _, err := vault.Init(t.Context(), &dying{Store: space, left: 2}, password, cheap); err == nil {
		t.Error("killed, and nobody noticed")
	}
	if _, err := vault.Init(t.Context(), space, "another", cheap); !errors.Is(err, failure.Conflict) {
		t.Errorf("another password over a half-made vault: %v", err)
	}
}

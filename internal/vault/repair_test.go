package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// twin is a sample with a copy of it.
type twin struct {
	store   *memory.Store
	files   map[string][]byte
	replica *vault.Vault
	objects []blob.Info
}

func newTwin(t *testing.T) *twin {
	t.Helper()
	store, files := sample(t)
	replica, _ := replicaOf(t, open(t, store), true)
	copyAll(t, open(t, store), replica, vault.CopyOptions{})
	return &twin{store, files, replica, everything(t, store)}
}

// hurts are ways of damaging an object.
var hurts = []struct {
	name   string
	change func(r *rand.Rand, b []byte) []byte
}{
	{"flip", func(r *rand.Rand, b []byte) []byte { b[r.IntN(len(b))] ^= 1 << r.IntN(8); return b }},
	{"flips", func(r *rand.Rand, b []byte) []byte {
		for range 20 {
			b[r.IntN(len(b))] ^= byte(1 + r.IntN(255))
		}
		return b
	}},
	{"cut", func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] }},
	{"grow", func(r *rand.Rand, b []byte) []byte { return append(b, byte(r.Uint32())) }},
	{"empty", func(*rand.Rand, []byte) []byte { return nil }},
	{"gone", nil},
}

func hurt(t *testing.T, store *memory.Store, h blob.Handle, r *rand.Rand, way int) string {
	t.Helper()
	if hurts[way].change == nil {
		if err := store.Remove(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	} else {
		store.Corrupt(h, func(b []byte) []byte {
			if len(b) == 0 {
				return nil
			}
			return hurts[way].change(r, b)
		})
	}
	return hurts[way].name + " " + h.String()
}

// TestRepairFromReplica damages the vault's files of every type many times: the vault alone never gives a wrong byte and
// says what is wrong; with its replica the repair brings all of it back, and what is then there is sound without it.
func TestRepairFromReplica(t *testing.T) {
	w := newTwin(t)
	seed, rounds := uint64(1), 60
	if os.Getenv("LIFEBOAT_LONG") == "1" {
		rounds = 1500
	}
	r := rand.New(rand.NewPCG(seed, 11))
	repaired := 0
	for i := range rounds {
		info := w.objects[i%len(w.objects)]
		if info.Type == blob.Config || info.Type == blob.Key {
			continue // see TestConfigIsRepaired; without a key only the replica is left: TestReplicaAlone
		}
		way := r.IntN(len(hurts))
		if info.Type == blob.Snapshot && hurts[way].change == nil {
			continue // forgotten
		}
		broken := w.store.Clone()
		what := hurt(t, broken, info.Handle, r, way)
		if r.IntN(3) == 0 { // and another one
			other := w.objects[r.IntN(len(w.objects))]
			if (other.Type == blob.Pack || other.Type == blob.Index) && other != info {
				what += ", " + hurt(t, broken, other.Handle, r, r.IntN(len(hurts)))
			}
		}
		synctest.Test(t, func(t *testing.T) {
			if got := judge(t, broken.Clone(), w.files, what); !got.reported {
				t.Errorf("%s goes unnoticed", what)
			}
			v := open(t, broken)
			v.Attach(vault.ReplicaOf(w.replica))
			before := everything(t, broken)
			plan, err := v.Repair(t.Context(), vault.RepairOptions{DryRun: true, ReadData: true})
			if err != nil || !slices.Equal(before, everything(t, broken)) {
				t.Errorf("%s: a dry run changes something, or fails: %+v, %v", what, plan, err)
			}
			done, err := v.Repair(t.Context(), vault.RepairOptions{ReadData: true})
			if err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			if plan.Index.Written != done.Index.Written || plan.Index.Rewritten != done.Index.Rewritten || !slices.EqualFunc(plan.Packs.Packs, done.Packs.Packs, samePack) ||
				plan.Refill.Blobs != done.Refill.Blobs || len(plan.Refill.Snapshots) != len(done.Refill.Snapshots) {
				t.Errorf("%s: done is %+v %+v %+v, planned was %+v %+v %+v", what, done.Index, done.Packs, done.Refill, plan.Index, plan.Packs, plan.Refill)
			}
			if n := len(done.Check.Problems); n > 0 || done.Packs.Lost() > 0 || len(done.Refill.Lost) > 0 {
				t.Errorf("%s: %d problems are left: %+v", what, n, done.Check.Problems)
			}
			alone := open(t, broken)
			holds(t, alone, 2, w.files)
			if n := locksIn(t, broken); n > 0 {
				t.Errorf("%s: %d locks are left", what, n)
			}
			again, err := alone.Repair(t.Context(), vault.RepairOptions{ReadData: true})
			if err != nil || again.Index.Needed() || len(again.Packs.Packs) > 0 || again.Refill.Blobs != [2]int{} || len(again.Refill.Snapshots) > 0 {
				t.Errorf("%s: the second repair finds something: %+v, %v", what, again, err)
			}
			repaired++
		})
		if i%15 == 0 {
			accepted(t, export(t, broken), "--read-data")
		}
	}
	t.Logf("%d repairs", repaired)
	if repaired < rounds/2 {
		t.Errorf("only %d of %d rounds repaired anything", repaired, rounds)
	}
}

func samePack(a, b vault.PackRepair) bool {
	return a.Pack == b.Pack && a.Gone == b.Gone && a.Elsewhere == b.Elsewhere && a.Salvaged == b.Salvaged && a.Fetched == b.Fetched && len(a.Lost) == len(b.Lost)
}

// TestRepairWithoutReplica damages packs and indexes of a vault that has no copy: what can still be read is kept, what is
// lost is named, snapshots are made that do without, and restic agrees with the result.
func TestRepairWithoutReplica(t *testing.T) {
	store, files := sample(t)
	r := rand.New(rand.NewPCG(3, 4))
	rounds := 24
	if os.Getenv("LIFEBOAT_LONG") == "1" {
		rounds = 300
	}
	var targets []blob.Info
	for _, info := range everything(t, store) {
		if info.Type == blob.Pack || info.Type == blob.Index {
			targets = append(targets, info)
		}
	}
	salvaged, lost := 0, 0
	for i := range rounds {
		info := targets[i%len(targets)]
		broken := store.Clone()
		what := hurt(t, broken, info.Handle, r, r.IntN(len(hurts)))
		synctest.Test(t, func(t *testing.T) {
			v := open(t, broken)
			before := judge(t, broken, files, what)
			done, err := v.Repair(t.Context(), vault.RepairOptions{ReadData: true})
			if err != nil {
				t.Errorf("%s: %v", what, err)
				return
			}
			for _, p := range done.Packs.Packs {
				salvaged += p.Salvaged
			}
			lost += done.Packs.Lost()
			after := judge(t, broken, files, what)
			// A repair loses nothing that could be read before it.
			for _, p := range after.affected {
				if !slices.Contains(before.affected, p) {
					t.Errorf("%s: the repair lost %s", what, p.Path)
				}
			}
			if info.Type == blob.Index && len(after.affected) > 0 {
				t.Errorf("%s: an index is made again from packs, and something is lost: %v", what, after.affected)
			}
			plan, err := v.RepairSnapshots(t.Context(), nil, vault.SnapshotsRepairOptions{DryRun: true, Forget: true})
			if err != nil {
				t.Fatal(err)
			}
			made, err := v.RepairSnapshots(t.Context(), nil, vault.SnapshotsRepairOptions{Forget: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(plan) != len(made) || (len(made) > 0) != (len(after.affected) > 0) {
				t.Errorf("%s: planned %+v, done %+v, affected %v", what, plan, made, after.affected)
			}
			for i, m := range made {
				if !slices.Equal(m.Losses, plan[i].Losses) || len(m.Losses) == 0 || !m.Forgot || m.New.IsZero() != m.Nothing {
					t.Errorf("%s: %+v, planned was %+v", what, m, plan[i])
				}
			}
			sound2(t, open(t, broken))
		})
		if i%6 == 0 {
			accepted(t, export(t, broken), "--read-data")
		}
	}
	if salvaged == 0 || lost == 0 {
		t.Errorf("%d blobs salvaged, %d lost: the sweep shows neither", salvaged, lost)
	}
}

// TestRepairedSnapshots compares what is left of a snapshot with what restic's repair leaves.
func TestRepairedSnapshots(t *testing.T) {
	store, files := sample(t)
	v := open(t, store)
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range packsOfFile(t, v, all[0], "/a")[:1] {
		if err := store.Remove(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	v = open(t, store)
	if _, err := v.Repair(t.Context(), vault.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	made, err := v.RepairSnapshots(t.Context(), nil, vault.SnapshotsRepairOptions{})
	if err != nil || len(made) == 0 {
		t.Fatal(made, err)
	}
	m := made[0]
	got, err := v.Snapshot(t.Context(), m.New)
	if err != nil || !slices.Contains(got.Tags, "repaired") || got.Original == nil || *got.Original != m.Snapshot || m.Forgot {
		t.Fatalf("%+v, %v", got, err)
	}
	n, err := v.Find(t.Context(), *got.Tree, "/a")
	if err != nil {
		t.Fatal(err)
	}
	var left bytes.Buffer
	f, err := v.OpenFile(t.Context(), n.Content)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.CopyTo(t.Context(), &left); err != nil || uint64(left.Len()) != n.Size || left.Len() >= len(files["/a"]) || left.Len() == 0 {
		t.Errorf("%d bytes are left of %d, the node says %d, %v", left.Len(), len(files["/a"]), n.Size, err)
	}
	if old, err := v.Snapshot(t.Context(), m.Snapshot); err != nil || *old.Tree == *got.Tree {
		t.Errorf("the old snapshot: %+v, %v", old, err)
	}
	if again, err := v.RepairSnapshots(t.Context(), []*snapshot.Snapshot{got}, vault.SnapshotsRepairOptions{}); err != nil || len(again) > 0 {
		t.Errorf("what was repaired is repaired again: %+v, %v", again, err)
	}
}

// TestRepairSnapshotsKeepsWhatReplicasHave holds that nothing is given up that a replica has, or may have.
func TestRepairSnapshotsKeepsWhatReplicasHave(t *testing.T) {
	w := newTwin(t)
	all, err := open(t, w.store).Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range packsOfFile(t, open(t, w.store), all[0], "/a") {
		if err := w.store.Remove(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	v := open(t, w.store)
	// The index goes first, so that what is lost is lost.
	if _, err := v.RepairIndex(t.Context(), vault.RepairOptions{}); err != nil {
		t.Fatal(err)
	}
	v.Attach(vault.ReplicaOf(w.replica))
	if made, err := v.RepairSnapshots(t.Context(), nil, vault.SnapshotsRepairOptions{}); !errors.Is(err, failure.Conflict) || failure.HintOf(err) == "" {
		t.Errorf("%+v, %v", made, err)
	}
	v.Attach(vault.Replica{Name: "far", Open: func(context.Context) (*vault.Vault, error) {
		return nil, failure.New(failure.Unavailable, "open", "far", "not now")
	}})
	if made, err := v.RepairSnapshots(t.Context(), nil, vault.SnapshotsRepairOptions{}); !errors.Is(err, failure.Unavailable) {
		t.Errorf("%+v, %v", made, err)
	}
	if got, err := v.Refill(t.Context(), vault.RepairOptions{}); !errors.Is(err, failure.Unavailable) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestUnreadableSnapshot holds that the file of a snapshot which nobody can read is removed only when it is named, and only
// when nobody can read it.
func TestUnreadableSnapshot(t *testing.T) {
	w := newTwin(t)
	all, err := open(t, w.store).Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	bad, good := all[0].ID, all[1].ID
	h := blob.Handle{Type: blob.Snapshot, Name: bad.String()}
	w.store.Corrupt(h, func(b []byte) []byte { b[20] ^= 1; return b })
	v := open(t, w.store)
	remove := func(id object.ID, dry bool) ([]vault.SnapshotRepair, error) {
		return v.RepairSnapshots(t.Context(), nil, vault.SnapshotsRepairOptions{Forget: true, DryRun: dry, Unreadable: []object.ID{id}})
	}
	if made, err := v.RepairSnapshots(t.Context(), nil, vault.SnapshotsRepairOptions{Forget: true}); err != nil || len(made) > 0 {
		t.Errorf("%+v, %v", made, err)
	}
	if _, err := remove(good, false); !errors.Is(err, failure.Conflict) {
		t.Errorf("one that can be read: %v", err)
	}
	v.Attach(vault.ReplicaOf(w.replica))
	if _, err := remove(bad, false); !errors.Is(err, failure.Conflict) || failure.HintOf(err) == "" {
		t.Errorf("one that a replica has: %v", err)
	}
	v.Attach()
	if made, err := remove(bad, true); err != nil || len(made) != 1 || !made[0].Nothing {
		t.Errorf("%+v, %v", made, err)
	}
	if _, err := w.store.Stat(t.Context(), h); err != nil {
		t.Errorf("before it is to go: %v", err)
	}
	if made, err := remove(bad, false); err != nil || len(made) != 1 || !made[0].Forgot {
		t.Errorf("%+v, %v", made, err)
	}
	sound(t, w.store)
	holdsSome := open(t, w.store)
	if left, err := holdsSome.Snapshots(t.Context(), snapshot.Filter{}); err != nil || len(left) != 1 || left[0].ID != good {
		t.Errorf("%v, %v", left, err)
	}
}

// TestLostIsStoredAgain holds that a backup stores again what a repair could not bring back.
func TestLostIsStoredAgain(t *testing.T) {
	v, store := create(t)
	data := noise(120, 3<<20)
	s := begin(t, v)
	first := write(t, s, map[string][]byte{"f": data})
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, info := range everything(t, store) {
		if info.Type == blob.Pack && info.Size > 1<<20 {
			store.Corrupt(info.Handle, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}
	}
	var mu sync.Mutex
	aside := 0
	v = open(t, store)
	done, err := v.Repair(t.Context(), vault.RepairOptions{ReadData: true, Aside: func(id object.ID, file []byte) error {
		mu.Lock()
		defer mu.Unlock()
		aside += len(file)
		return nil
	}})
	if err != nil || done.Packs.Lost() == 0 || len(done.Refill.Lost) == 0 || aside == 0 || len(done.Check.Problems) == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, p := range done.Check.Problems {
		if !slices.Contains(p.Affects, vault.Place{Snapshot: first, Path: "/f"}) {
			t.Errorf("%s: what is lost is not named: %+v", p.Subject, p)
		}
	}
	s = begin(t, v)
	write(t, s, map[string][]byte{"f": data})
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sound(t, store)
	refused := errors.New("the disk is full")
	store.Corrupt(packsOfFile(t, v, mustFind(t, v, first.String()), "/f")[0], func(b []byte) []byte { b[5] ^= 1; return b })
	before := everything(t, store)
	if _, err := v.RepairPacks(t.Context(), nil, vault.RepairOptions{ReadData: true, Aside: func(object.ID, []byte) error { return refused }}); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	for _, info := range before {
		if _, err := store.Stat(t.Context(), info.Handle); info.Type == blob.Pack && err != nil {
			t.Errorf("%s is removed, though it could not be put aside", info)
		}
	}
}

func mustFind(t *testing.T, v *vault.Vault, name string) *snapshot.Snapshot {
	t.Helper()
	s, err := v.FindSnapshot(t.Context(), name, snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRepairKilledAnywhere kills a repair at each change: what is left is never worse than before, and the next repair
// goes through.
func TestRepairKilledAnywhere(t *testing.T) {
	w := newTwin(t)
	r := rand.New(rand.NewPCG(5, 6))
	broken := w.store.Clone()
	var kinds []string
	for _, typ := range []blob.Type{blob.Pack, blob.Index, blob.Snapshot} {
		for _, info := range w.objects {
			if info.Type == typ && (typ != blob.Pack || info.Size > 50<<10) {
				kinds = append(kinds, hurt(t, broken, info.Handle, r, 0))
				break
			}
		}
	}
	run := func(t *testing.T, store blob.Store) error {
		v, err := vault.Open(t.Context(), store, password, small)
		if err != nil {
			return err
		}
		v.Attach(vault.ReplicaOf(w.replica))
		_, err = v.Repair(t.Context(), vault.RepairOptions{ReadData: true})
		return err
	}
	counting := &dying{Store: broken.Clone(), left: -1}
	synctest.Test(t, func(t *testing.T) {
		if err := run(t, counting); err != nil {
			t.Fatal(err)
		}
	})
	if n := len(counting.ops); n < 15 {
		t.Fatalf("the repair of %v takes %d changes: too few to sweep: %v", kinds, n, counting.ops)
	}
	for n := 1; n <= len(counting.ops); n++ {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				left := broken.Clone()
				d := &dying{Store: left, left: n, after: after}
				// A lock that is left is no reason to call all that was done a failure.
				if err := run(t, d); err == nil && d.deaths > 0 && d.ops[n-1] != "remove locks" || err != nil && d.deaths == 0 {
					t.Errorf("killed %d times at change %d: %v", d.deaths, n, err)
				}
				what := fmt.Sprintf("killed at change %d of %v", n, counting.ops)
				judge(t, left, w.files, what)
				wait(31 * 60) // the dead one's exclusive lock goes stale
				if err := run(t, left); err != nil {
					t.Errorf("%s: the next repair fails: %v", what, err)
				}
				holds(t, open(t, left), 2, w.files)
				sound2(t, open(t, left))
			})
		}
	}
}

// TestConfigIsRepaired damages the config: the vault does not open and says why; with a new config everything is there.
func TestConfigIsRepaired(t *testing.T) {
	w := newTwin(t)
	r := rand.New(rand.NewPCG(7, 8))
	config := blob.Handle{Type: blob.Config}
	for way := range hurts {
		broken := w.store.Clone()
		what := hurt(t, broken, config, r, way)
		if _, err := vault.Open(t.Context(), broken, password, small); err == nil {
			t.Errorf("%s: it opens", what)
		}
		c, err := vault.RepairConfig(t.Context(), broken, password, w.replica.Config().Polynomial)
		if err != nil || c.Polynomial != w.replica.Config().Polynomial {
			t.Fatalf("%s: %+v, %v", what, c, err)
		}
		holds(t, open(t, broken), 2, w.files)
		sound2(t, open(t, broken))
		accepted(t, export(t, broken))
	}
	if _, err := vault.RepairConfig(t.Context(), w.store.Clone(), password, 0); !errors.Is(err, failure.Exists) {
		t.Errorf("a sound config: %v", err)
	}
	if _, err := vault.RepairConfig(t.Context(), w.store.Clone(), "wrong", 0); !errors.Is(err, failure.Denied) {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestRepairNeedsNothing holds that nothing is written to a sound vault, and that somebody's lock stands in the way.
func TestRepairNeedsNothing(t *testing.T) {
	store, _ := sample(t)
	v := open(t, store)
	before := everything(t, store)
	done, err := v.Repair(t.Context(), vault.RepairOptions{ReadData: true})
	if err != nil || done.Index.Needed() || len(done.Packs.Packs) > 0 || done.Refill.Blobs != [2]int{} || !slices.Equal(before, everything(t, store)) {
		t.Errorf("%+v, %v", done, err)
	}
	if made, err := v.RepairSnapshots(t.Context(), nil, vault.SnapshotsRepairOptions{Forget: true}); err != nil || len(made) > 0 {
		t.Errorf("%+v, %v", made, err)
	}
	if !slices.Equal(before, everything(t, store)) {
		t.Error("a repair of nothing changes something")
	}
	_, lock, err := v.Lock(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Repair(t.Context(), vault.RepairOptions{}); !errors.Is(err, failure.Conflict) {
		t.Errorf("beside somebody's lock: %v", err)
	}
	if err := lock.Release(t.Context()); err != nil {
		t.Error(err)
	}
	// With ReadData every header is read; the index is right as it is.
	if report, err := v.RepairIndex(t.Context(), vault.RepairOptions{ReadData: true}); err != nil || report.Needed() || len(report.Changed) == 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if strings.Contains(fmt.Sprint(before), "locks/") {
		t.Error("the sample has locks")
	}
}

// TestRepairWhereNothingMayGo repairs on a store that retains everything: what is damaged stays and is told of, reading
// does not need it any more, a second repair does not pile up more, and when the time is over the damaged files go.
func TestRepairWhereNothingMayGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwin(t)
		store := lockingStore(w.store, 30*24*time.Hour)
		var damaged []blob.Handle
		for _, typ := range []blob.Type{blob.Pack, blob.Index} {
			for _, info := range w.objects {
				if info.Type == typ {
					if err := store.Retain(t.Context(), info.Handle, time.Now().Add(30*24*time.Hour)); err != nil {
						t.Fatal(err)
					}
					w.store.Corrupt(info.Handle, func(b []byte) []byte { b[40] ^= 1; return b })
					damaged = append(damaged, info.Handle)
					break
				}
			}
		}
		v, err := vault.Open(t.Context(), store, password, small)
		if err != nil {
			t.Fatal(err)
		}
		v.Attach(vault.ReplicaOf(w.replica))
		index, err := v.RepairIndex(t.Context(), vault.RepairOptions{})
		if err != nil || !slices.Contains(index.Kept, damaged[1]) {
			t.Fatalf("%+v, %v", index, err)
		}
		n := len(everything(t, w.store))
		again, err := v.RepairIndex(t.Context(), vault.RepairOptions{})
		if err != nil || again.Written > 0 || len(everything(t, w.store)) != n {
			t.Errorf("the second time: %+v, %v", again, err)
		}
		// The damaged index does not stand in anybody's way: everything that it listed is listed elsewhere.
		full, err := v.Repair(t.Context(), vault.RepairOptions{ReadData: true})
		if err != nil || !slices.Contains(full.Packs.Kept, damaged[0]) || full.Packs.Lost() > 0 {
			t.Fatalf("%+v, %v", full, err)
		}
		alone, err := vault.Open(t.Context(), store, password, small)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, alone, 2, w.files)
		session, err := alone.NewSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(31 * 24 * time.Hour)
		done, err := v.Repair(t.Context(), vault.RepairOptions{ReadData: true})
		if err != nil || len(done.Index.Kept)+len(done.Packs.Kept) > 0 || len(done.Check.Problems) > 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		if _, err := v.Prune(t.Context(), vault.PruneOptions{}); err != nil {
			t.Fatal(err)
		}
		for _, h := range damaged {
			if _, err := w.store.Stat(t.Context(), h); !errors.Is(err, failure.NotFound) {
				t.Errorf("%s is still there: %v", h, err)
			}
		}
		holds(t, open(t, w.store), 2, w.files)
	})
}

package vault_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// sample makes a vault with two snapshots, folders and several packs.
func sample(t *testing.T) (*memory.Store, map[string][]byte) {
	t.Helper()
	store := memory.New()
	v, err := vault.Init(t.Context(), store, password, vault.Options{KDF: small.KDF, PackSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, v)
	files := map[string][]byte{"/a": noise(70, 100<<10), "/sub/b": prose(71, 200<<10), "/sub/c": noise(72, 30<<10), "/empty": {}}
	for i := range 2 {
		contents := map[string]vault.Content{}
		for name, data := range files {
			if contents[name], err = s.SaveFixed(t.Context(), bytes.NewReader(data), int64(len(data)), vault.FixedOptions{Block: 16 << 10}); err != nil {
				t.Fatal(err)
			}
		}
		sub, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{node("b", contents["/sub/b"]), node("c", contents["/sub/c"])}})
		if err != nil {
			t.Fatal(err)
		}
		root := tree.Tree{Nodes: []tree.Node{node("a", contents["/a"]), node("empty", contents["/empty"]), dir("sub", sub)}}
		if i == 1 {
			root.Nodes = root.Nodes[1:]
		}
		commit(t, s, &root)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return store, files
}

// verdict is what a damaged vault says of itself.
type verdict struct {
	reported bool // an error of opening, or a problem found
	affected []vault.Place
}

// judge checks and reads everything of a vault. Whatever it gives back must be what was stored.
func judge(t *testing.T, store blob.Store, files map[string][]byte, what string) verdict {
	t.Helper()
	v, err := vault.Open(t.Context(), store, password, small)
	if err != nil {
		return verdict{reported: true}
	}
	report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true, NoLock: true})
	if err != nil {
		t.Errorf("%s: the check gives up: %v", what, err)
		return verdict{}
	}
	out := verdict{reported: len(report.Problems) > 0}
	for _, p := range report.Problems {
		if p.Err == nil || p.Subject == "" {
			t.Errorf("%s: a problem without a name or a reason: %+v", what, p)
		}
		out.affected = append(out.affected, p.Affects...)
	}
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	lost := err != nil || len(all) < 2
	for _, sn := range all {
		err := v.Walk(t.Context(), *sn.Tree, func(path string, n *tree.Node, err error) error {
			if err == nil && n.Type == tree.File {
				err = same(t.Context(), v, n, files[path])
				if err != nil && !slices.Contains(out.affected, vault.Place{Snapshot: sn.ID, Path: path}) && len(all) == 2 {
					t.Errorf("%s: %s cannot be read (%v), and the check does not name it: %+v", what, path, err, report.Problems)
				}
			}
			if errors.Is(err, errWrongBytes) {
				t.Errorf("%s: %s: %v", what, path, err)
			}
			lost = lost || err != nil
			return nil
		})
		lost = lost || err != nil
	}
	if lost && !out.reported {
		t.Errorf("%s: something cannot be read, and the check finds no problem", what)
	}
	return out
}

var errWrongBytes = errors.New("wrong bytes are given as the right ones")

func same(ctx context.Context, v *vault.Vault, n *tree.Node, want []byte) error {
	f, err := v.OpenFile(ctx, n.Content)
	if err != nil {
		return err
	}
	var got bytes.Buffer
	if _, err := f.CopyTo(ctx, &got); err != nil {
		return err
	}
	if !bytes.Equal(got.Bytes(), want) {
		return errWrongBytes
	}
	return nil
}

func everything(t *testing.T, store blob.Store) []blob.Info {
	t.Helper()
	var all []blob.Info
	for _, typ := range blob.Types() {
		if err := store.List(t.Context(), typ, func(info blob.Info) error { all = append(all, info); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(all, func(a, b blob.Info) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
	return all
}

// TestDamage flips bits in, cuts and removes every file of a vault: each is reported and none gives a wrong byte.
func TestDamage(t *testing.T) {
	store, files := sample(t)
	if got := judge(t, store, files, "nothing"); got.reported {
		t.Fatal("a whole vault is said to be damaged")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, info := range everything(t, store) {
		for i := range 24 {
			what, change := "flip", func(b []byte) []byte { b[r.IntN(len(b))] ^= 1 << r.IntN(8); return b }
			switch {
			case i%4 == 1:
				what, change = "cut", func(b []byte) []byte { return b[:r.IntN(len(b))] }
			case i%4 == 2:
				what, change = "grow", func(b []byte) []byte { return append(b, byte(r.Uint32())) }
			case i == 3:
				what, change = "empty", func([]byte) []byte { return nil }
			}
			broken := store.Clone()
			broken.Corrupt(info.Handle, change)
			if got := judge(t, broken, files, what+" "+info.String()); !got.reported {
				t.Errorf("%s %s goes unnoticed", what, info)
			}
		}
	}
}

// TestMissing removes each pack and each index, and wants the paths that are lost to be named in both snapshots.
func TestMissing(t *testing.T) {
	store, files := sample(t)
	named := map[string]bool{}
	for _, info := range everything(t, store) {
		if info.Type != blob.Pack && info.Type != blob.Index {
			continue
		}
		broken := store.Clone()
		if err := broken.Remove(t.Context(), info.Handle); err != nil {
			t.Fatal(err)
		}
		got := judge(t, broken, files, "without "+info.String())
		if !got.reported || len(got.affected) == 0 {
			t.Errorf("without %s: %+v", info, got)
		}
		for _, p := range got.affected {
			named[p.Path] = true
		}
		// A check that reads no data sees it too.
		v, err := vault.Open(t.Context(), broken, password, small)
		if err != nil {
			t.Fatal(err)
		}
		report, err := v.Check(t.Context(), vault.CheckOptions{NoLock: true})
		if err != nil || len(report.Problems) == 0 || report.BytesRead != 0 {
			t.Errorf("without %s, no data read: %+v, %v", info, report, err)
		}
	}
	for _, path := range []string{"/a", "/sub/b", "/sub/c", "/"} {
		if !named[path] {
			t.Errorf("%s is never named among what is lost: %v", path, named)
		}
	}
}

// TestCheckFindsLies writes trees that are well-formed and wrong.
func TestCheckFindsLies(t *testing.T) {
	v, _ := create(t)
	s := begin(t, v)
	c, err := s.SaveStream(t.Context(), bytes.NewReader([]byte("ten bytes.")))
	if err != nil {
		t.Fatal(err)
	}
	wrongSize := node("wrong-size", c)
	wrongSize.Size = 11
	gone := node("gone", vault.Content{Blobs: []object.ID{object.Hash([]byte("never stored"))}, Size: 12})
	noTree := dir("no-tree", object.Hash([]byte("no tree")))
	sn := commit(t, s, &tree.Tree{Nodes: []tree.Node{node("fine", c), gone, noTree, wrongSize}})
	unsorted := []byte(`{"nodes":[{"name":"b","type":"file","content":[]},{"name":"a","type":"file","content":null},{"name":"..","type":"file"}]}`)
	id, err := s.SaveBlob(t.Context(), object.Tree, unsorted)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Commit(t.Context(), &snapshot.Snapshot{Tree: &id, Time: mtime})
	if err != nil {
		t.Fatal(err)
	}
	report, err := v.Check(t.Context(), vault.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[vault.Place]int{}
	for _, p := range report.Problems {
		for _, a := range p.Affects {
			got[a]++
		}
	}
	want := map[vault.Place]int{{Snapshot: sn, Path: "/gone"}: 1, {Snapshot: sn, Path: "/no-tree"}: 1, {Snapshot: sn, Path: "/wrong-size"}: 1,
		{Snapshot: other, Path: "/"}: 1, {Snapshot: other, Path: "/.."}: 1}
	for place, n := range want {
		if got[place] != n {
			t.Errorf("%s is named %d times, want %d", place.Path, got[place], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("places %v, want %v", got, want)
	}
}

// TestSecondCopyIsRead damages one of two copies of a blob: reading goes on with the other, and the check says which pack
// is bad without calling a file lost.
func TestSecondCopyIsRead(t *testing.T) {
	_, store := create(t)
	data := noise(80, 300<<10)
	var packs [2]object.ID
	var sessions [2]*vault.Session
	for i := range sessions { // neither knows what the other stores
		v, err := vault.Open(t.Context(), store, password, cheap)
		if err != nil {
			t.Fatal(err)
		}
		sessions[i] = begin(t, v)
	}
	for i, s := range sessions {
		before := everything(t, store)
		write(t, s, map[string][]byte{"f": data})
		for _, info := range everything(t, store) {
			if info.Type == blob.Pack && info.Size > 200<<10 && !slices.Contains(before, info) {
				if err := packs[i].UnmarshalText([]byte(info.Name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if packs[0].IsZero() || packs[1].IsZero() {
		t.Fatal("the two sessions did not store the same data twice")
	}
	for _, id := range packs {
		broken := store.Clone()
		h := blob.Handle{Type: blob.Pack, Name: id.String()}
		broken.Corrupt(h, func(b []byte) []byte { b[1000] ^= 1; return b })
		got := judge(t, broken, map[string][]byte{"/f": data}, "one copy")
		if !got.reported || len(got.affected) > 0 {
			t.Errorf("%+v", got)
		}
	}
}

// wait lets the fake clock run, and what it wakes.
func wait(seconds int) {
	time.Sleep(time.Duration(seconds) * time.Second)
	synctest.Wait()
}

// TestLocks holds who gets a lock beside whom, by the clock.
func TestLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, store := create(t)
		ctx := t.Context()
		_, shared, err := v.Lock(ctx, false)
		if err != nil {
			t.Fatal(err)
		}
		_, second, err := v.Lock(ctx, false)
		if err != nil {
			t.Errorf("a second shared lock: %v", err)
		}
		if _, _, err := v.Lock(ctx, true); !errors.Is(err, failure.Conflict) || failure.HintOf(err) == "" {
			t.Errorf("an exclusive lock beside shared ones: %v", err)
		}
		if locks, err := v.Locks(ctx); err != nil || len(locks) != 2 {
			t.Errorf("%d locks are left by an attempt that failed, %v", len(locks), err)
		}
		for _, l := range []*vault.Lock{shared, second, second} {
			if err := l.Release(ctx); err != nil {
				t.Error(err)
			}
		}
		held, excl, err := v.Lock(ctx, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.NewSession(ctx); !errors.Is(err, failure.Conflict) {
			t.Errorf("a session beside an exclusive lock: %v", err)
		}
		// For hours it is refreshed, and stays one.
		first, _ := v.Locks(ctx)
		wait(10 * 3600)
		later, err := v.Locks(ctx)
		if err != nil || len(later) != 1 || len(first) != 1 || later[0].ID == first[0].ID || held.Err() != nil || later[0].Stale(later[0].Time.Add(1)) {
			t.Errorf("%v, %v, %v", later, err, held.Err())
		}
		if err := excl.Release(ctx); err != nil || held.Err() == nil {
			t.Errorf("%v, %v", err, held.Err())
		}
		if all := locksIn(t, store); all != 0 {
			t.Errorf("%d locks are left", all)
		}
	})
}

// TestLockIsLost holds that work stops before others may ignore its lock, when the store cannot be written to.
func TestLockIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, store := create(t)
		d := &dying{Store: store, left: 1 << 30}
		v, err := vault.Open(t.Context(), d, password, cheap)
		if err != nil {
			t.Fatal(err)
		}
		s, err := v.NewSession(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held, lock, err := v.Lock(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		d.left = 0
		d.mu.Unlock()
		wait(22 * 60)
		if held.Err() != nil {
			t.Errorf("the lock is given up too early: %v", context.Cause(held))
		}
		wait(60)
		if !errors.Is(context.Cause(held), failure.Conflict) {
			t.Errorf("after 23 minutes without a refresh: %v", context.Cause(held))
		}
		if _, err := s.SaveBlob(t.Context(), object.Data, []byte("x")); !errors.Is(err, failure.Conflict) {
			t.Errorf("the session goes on without a lock: %v", err)
		}
		if err := lock.Release(t.Context()); err == nil {
			t.Error("the lock was not removed, and Release does not say so")
		}
		if err := s.Close(t.Context()); err == nil {
			t.Error("the lock was not removed, and Close does not say so")
		}
		// Another one may go on when half an hour is over, and not before.
		other, err := vault.Open(t.Context(), store, password, cheap)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := other.Lock(t.Context(), true); !errors.Is(err, failure.Conflict) {
			t.Errorf("after 23 minutes: %v", err)
		}
		wait(8 * 60)
		_, l, err := other.Lock(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		if gone, err := other.RemoveStaleLocks(t.Context()); err != nil || len(gone) != 2 {
			t.Errorf("%v, %v", gone, err)
		}
		if err := l.Release(t.Context()); err != nil || locksIn(t, store) != 0 {
			t.Errorf("%v, %d locks", err, locksIn(t, store))
		}
	})
}

func locksIn(t *testing.T, store blob.Store) int {
	n := 0
	if err := store.List(t.Context(), blob.Lock, func(blob.Info) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKeys adds, lists, changes and removes passwords.
func TestKeys(t *testing.T) {
	v, store := create(t)
	ctx := t.Context()
	second, err := v.AddKey(ctx, "second")
	if err != nil {
		t.Fatal(err)
	}
	opens := func(pass string) error {
		_, err := vault.Open(ctx, store, pass, cheap)
		return err
	}
	if err := errors.Join(opens(password), opens("second")); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "Second", "second "} {
		if err := opens(wrong); !errors.Is(err, failure.Denied) || failure.HintOf(err) == "" {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if _, err := v.AddKey(ctx, ""); !errors.Is(err, failure.Invalid) {
		t.Errorf("an empty password: %v", err)
	}
	changed, err := v.ChangePassword(ctx, "third")
	if err != nil {
		t.Fatal(err)
	}
	if err := opens(password); !errors.Is(err, failure.Denied) {
		t.Errorf("the changed password still opens: %v", err)
	}
	if err := v.RemoveKey(ctx, changed); !errors.Is(err, failure.Conflict) {
		t.Errorf("the current key: %v", err)
	}
	if err := v.RemoveKey(ctx, second); err != nil {
		t.Error(err)
	}
	if err := v.RemoveKey(ctx, second); !errors.Is(err, failure.NotFound) {
		t.Errorf("a key that is gone: %v", err)
	}
	if err := opens("second"); !errors.Is(err, failure.Denied) {
		t.Errorf("a removed password opens: %v", err)
	}
	keys, err := v.Keys(ctx)
	if err != nil || len(keys) != 1 || keys[0].ID != changed || !keys[0].Current {
		t.Errorf("%+v, %v", keys, err)
	}
	if _, err := vault.Init(ctx, store, password, cheap); !errors.Is(err, failure.Exists) {
		t.Errorf("a vault over another: %v", err)
	}
	if _, err := vault.Open(ctx, memory.New(), password, cheap); !errors.Is(err, failure.NotFound) || failure.HintOf(err) == "" {
		t.Errorf("no vault: %v", err)
	}
	repo := export(t, store)
	if out, err := tryRestic(t, repo, "third", "snapshots"); err != nil {
		t.Errorf("restic does not take the changed password: %v\n%s", err, out)
	}
	if out, err := tryRestic(t, repo, password, "snapshots"); err == nil {
		t.Errorf("restic takes the old password:\n%s", out)
	}
}

// TestLocksMeanTheSameToRestic holds that restic stops at our exclusive lock, passes our shared one, and that we do the
// same with its.
func TestLocksMeanTheSameToRestic(t *testing.T) {
	v, store := create(t)
	for exclusive, stops := range map[bool]bool{false: false, true: true} {
		_, lock, err := v.Lock(t.Context(), exclusive)
		if err != nil {
			t.Fatal(err)
		}
		repo := export(t, store)
		if err := lock.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		out, err := tryRestic(t, repo, password, "snapshots")
		if (err != nil) != stops {
			t.Errorf("exclusive %v: restic says %v\n%s", exclusive, err, out)
		}
		// The repository as restic left it: our own lock in it counts for another Vault too.
		other, err := vault.Open(t.Context(), load(t, repo), password, cheap)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := other.Lock(t.Context(), true); !errors.Is(err, failure.Conflict) {
			t.Errorf("exclusive %v: %v", exclusive, err)
		}
		// restic counts its and our locks alike.
		if out := restic(t, repo, "list", "locks", "--no-lock"); len(out) < 64 {
			t.Errorf("restic lists no lock: %q", out)
		}
		restic(t, repo, "unlock", "--remove-all")
	}
}

// TestSharedDamage holds that a check ends where shared directories spell more paths than anybody can list.
func TestSharedDamage(t *testing.T) {
	v, _ := create(t)
	s := begin(t, v)
	gone := node("gone", vault.Content{Blobs: []object.ID{object.Hash([]byte("never stored"))}, Size: 12})
	id, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{gone}})
	for range 60 { // 2⁶⁰ paths lead to the file
		if err != nil {
			t.Fatal(err)
		}
		id, err = s.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{dir("l", id), dir("r", id)}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), &snapshot.Snapshot{Tree: &id}); err != nil {
		t.Fatal(err)
	}
	report, err := v.Check(t.Context(), vault.CheckOptions{})
	if err != nil || len(report.Problems) != 1 || len(report.Problems[0].Affects) != 100 || report.Problems[0].More == 0 || len(report.Hints) != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

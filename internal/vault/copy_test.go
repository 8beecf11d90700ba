package vault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// replicaOf makes a vault to copy to: another password, another key, and another polynomial unless p is given.
func replicaOf(t *testing.T, v *vault.Vault, same bool) (*vault.Vault, *memory.Store) {
	t.Helper()
	o := small
	if same {
		o.Polynomial = v.Config().Polynomial
	}
	store := memory.New()
	dst, err := vault.Init(t.Context(), store, "the replica's", o)
	if err != nil {
		t.Fatal(err)
	}
	return dst, store
}

func open(t *testing.T, store blob.Store) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), store, password, small)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func copyAll(t *testing.T, v, dst *vault.Vault, o vault.CopyOptions) *vault.CopyReport {
	t.Helper()
	report, err := v.CopyTo(t.Context(), dst, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// holds wants every snapshot of v to be whole and to have the files.
func holds(t *testing.T, v *vault.Vault, snapshots int, files map[string][]byte) {
	t.Helper()
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil || len(all) != snapshots {
		t.Fatalf("%d snapshots, want %d, %v", len(all), snapshots, err)
	}
	seen := map[string]bool{}
	for _, sn := range all {
		err := v.Walk(t.Context(), *sn.Tree, func(path string, n *tree.Node, err error) error {
			if err != nil || n.Type != tree.File {
				return err
			}
			seen[path] = true
			return same(t.Context(), v, n, files[path])
		})
		if err != nil {
			t.Errorf("snapshot %s: %v", sn.ID.Short(), err)
		}
	}
	if len(seen) != len(files) {
		t.Errorf("%d files, want %d", len(seen), len(files))
	}
}

// TestCopy copies twice, adds a snapshot, copies again; restic judges the copy and skips what we copied.
func TestCopy(t *testing.T) {
	store, files := sample(t)
	v := open(t, store)
	dst, there := replicaOf(t, v, false)
	plan := copyAll(t, v, dst, vault.CopyOptions{DryRun: true})
	if n := len(everything(t, there)); n != 2 {
		t.Fatalf("a dry run leaves %d objects, want config and key", n)
	}
	var last vault.CopyProgress
	report := copyAll(t, v, dst, vault.CopyOptions{Verify: true, Progress: func(p vault.CopyProgress) { last = p }})
	holds(t, dst, 2, files)
	sound2(t, dst)
	if report.Blobs != plan.Blobs || report.Bytes != plan.Bytes || report.Trees != plan.Trees || len(plan.Copied) != 2 || len(report.Copied) != 2 {
		t.Errorf("%+v, planned were %+v", report, plan)
	}
	if n := report.Blobs[0] + report.Blobs[1]; report.Verified != n || n == 0 || report.Stored == 0 || report.Polynomials {
		t.Errorf("%+v", report)
	}
	want := vault.CopyProgress{Snapshots: 2, SnapshotsTotal: 2, Trees: report.Trees, Blobs: report.Verified, BlobsTotal: report.Verified,
		Bytes: report.Bytes, BytesTotal: report.Bytes}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Error(diff)
	}
	before := everything(t, there)
	again := copyAll(t, v, dst, vault.CopyOptions{})
	if len(again.Skipped) != 2 || len(again.Copied) != 0 || !slices.Equal(before, everything(t, there)) {
		t.Errorf("the second time: %+v", again)
	}
	// What both have is neither read nor walked through.
	s := begin(t, v)
	all, err := v.Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	root, err := v.Tree(t.Context(), *all[1].Tree)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.SaveStream(t.Context(), bytes.NewReader(noise(73, 50<<10)))
	if err != nil {
		t.Fatal(err)
	}
	root.Nodes = append(root.Nodes, node("new", c))
	third := commit(t, s, root, "third")
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	more := copyAll(t, v, dst, vault.CopyOptions{})
	if len(more.Copied) != 1 || more.Copied[0].From != third || more.Trees != 1 || more.Blobs != [2]int{len(c.Blobs), 1} {
		t.Errorf("the third snapshot: %+v", more)
	}
	files["/new"] = noise(73, 50<<10)
	holds(t, dst, 3, files)
	if whole := copyAll(t, v, dst, vault.CopyOptions{Whole: true}); whole.Blobs != [2]int{} || len(whole.Skipped) != 3 {
		t.Errorf("%+v", whole)
	}

	repo, from := export(t, there), export(t, store)
	accepted2(t, repo, "the replica's")
	out, err := tryRestic(t, repo, "the replica's", "copy", "-v", "--from-repo", from, "--from-password-command", "echo "+password)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := bytes.Count([]byte(out), []byte("skipping source snapshot")); n != 3 {
		t.Errorf("restic would copy again what we copied: it skips %d\n%s", n, out)
	}
}

// TestCopyRecognisesRestics holds that what restic copied is not copied again.
func TestCopyRecognisesRestics(t *testing.T) {
	store, files := sample(t)
	v := open(t, store)
	_, there := replicaOf(t, v, true)
	repo := export(t, there)
	if out, err := tryRestic(t, repo, "the replica's", "copy", "--from-repo", export(t, store), "--from-password-command", "echo "+password); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dst, err := vault.Open(t.Context(), load(t, repo), "the replica's", small)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, dst, 2, files)
	if report := copyAll(t, v, dst, vault.CopyOptions{}); len(report.Skipped) != 2 || len(report.Copied) != 0 || !report.Polynomials {
		t.Errorf("%+v", report)
	}
}

func accepted2(t *testing.T, repo, pass string) {
	t.Helper()
	if out, err := tryRestic(t, repo, pass, "check", "--read-data"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// sound2 holds that nothing is wrong with an opened vault.
func sound2(t *testing.T, v *vault.Vault) {
	t.Helper()
	report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true, NoLock: true})
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestCopyKeepsSnapshots holds that a copy says of itself what the first one says, also what we do not know.
func TestCopyKeepsSnapshots(t *testing.T) {
	v, _ := create(t)
	s := begin(t, v)
	c, err := s.SaveStream(t.Context(), bytes.NewReader([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{node("f", c)}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Commit(t.Context(), &snapshot.Snapshot{Tree: &id, Time: mtime, Paths: []string{"/a", "/b"}, Hostname: "h", Username: "u", UID: 7, GID: 8,
		Tags: []string{"x", "y"}, Excludes: []string{"*.o"}, Parent: &id, ProgramVersion: "restic 0.0", Summary: json.RawMessage(`{"files_new":1}`),
		Extra: map[string]json.RawMessage{"later": json.RawMessage(`{"a":1}`)}})
	if err != nil {
		t.Fatal(err)
	}
	want, err := v.Snapshot(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	dst, _ := replicaOf(t, v, false)
	report := copyAll(t, v, dst, vault.CopyOptions{})
	got, err := dst.Snapshot(t.Context(), report.Copied[0].To)
	if err != nil {
		t.Fatal(err)
	}
	want.ID, want.Parent, want.Original = got.ID, nil, &first
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// A copy of the copy has the first id too, and comes back to where it was first without a second one.
	far, _ := replicaOf(t, v, false)
	report = copyAll(t, dst, far, vault.CopyOptions{})
	if got, err := far.Snapshot(t.Context(), report.Copied[0].To); err != nil || *got.Original != first {
		t.Errorf("%+v, %v", got, err)
	}
	if back := copyAll(t, far, v, vault.CopyOptions{}); len(back.Skipped) != 1 || back.Skipped[0].To != first {
		t.Errorf("%+v", back)
	}
	if _, err := v.CopyTo(t.Context(), v, nil, vault.CopyOptions{}); !errors.Is(err, failure.Invalid) {
		t.Errorf("to itself: %v", err)
	}
}

// TestCopyPassesOverDamage holds that one snapshot that cannot be read keeps no other from being copied, and is not
// written itself; with a replica it is copied too.
func TestCopyPassesOverDamage(t *testing.T) {
	store, files := sample(t)
	whole, _ := replicaOf(t, open(t, store), true)
	copyAll(t, open(t, store), whole, vault.CopyOptions{})
	all, err := open(t, store).Snapshots(t.Context(), snapshot.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	// Only the first snapshot has the file a: a pack with nothing else is lost.
	lost := packsOfFile(t, open(t, store), all[0], "/a")
	broken := store.Clone()
	for _, h := range lost {
		if err := broken.Remove(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	dst, _ := replicaOf(t, open(t, store), false)
	report, err := open(t, broken).CopyTo(t.Context(), dst, nil, vault.CopyOptions{})
	if !damaged(err) || len(report.Failed) == 0 || len(report.Failed)+len(report.Copied) != 2 {
		t.Errorf("%+v, %v", report, err)
	}
	sound2(t, dst)
	v := open(t, broken)
	v.Attach(vault.ReplicaOf(whole))
	report, err = v.CopyTo(t.Context(), dst, nil, vault.CopyOptions{Verify: true})
	if err != nil || len(report.Failed) > 0 || len(report.Fallbacks) != 1 || report.Fallbacks[0].Blobs == 0 {
		t.Errorf("%+v, %v", report, err)
	}
	holds(t, dst, 2, files)
	sound2(t, dst)
}

func damaged(err error) bool {
	return errors.Is(err, failure.NotFound) || errors.Is(err, failure.Corrupt)
}

// packsOfFile finds the packs that hold a file's content.
func packsOfFile(t *testing.T, v *vault.Vault, sn *snapshot.Snapshot, path string) []blob.Handle {
	t.Helper()
	n, err := v.Find(t.Context(), *sn.Tree, path)
	if err != nil {
		t.Fatal(err)
	}
	var packs []blob.Handle
	for _, id := range n.Content {
		found, err := v.PackedIn(t.Context(), object.Handle{Type: object.Data, ID: id})
		if err != nil {
			t.Fatal(err)
		}
		for _, pack := range found {
			h := blob.Handle{Type: blob.Pack, Name: pack.String()}
			if !slices.Contains(packs, h) {
				packs = append(packs, h)
			}
		}
	}
	return packs
}

// TestCopyKilledAnywhere kills a copy at each change that it makes in the destination: what is left is sound, and the
// same copy goes through afterwards.
func TestCopyKilledAnywhere(t *testing.T) {
	store, files := sample(t)
	_, empty := replicaOf(t, open(t, store), true)
	run := func(t *testing.T, to blob.Store) (*vault.CopyReport, error) {
		dst, err := vault.Open(t.Context(), to, "the replica's", small)
		if err != nil {
			return nil, err
		}
		return open(t, store.Clone()).CopyTo(t.Context(), dst, nil, vault.CopyOptions{Verify: true})
	}
	counting := &dying{Store: empty.Clone(), left: -1}
	synctest.Test(t, func(t *testing.T) {
		if _, err := run(t, counting); err != nil {
			t.Fatal(err)
		}
	})
	if n := len(counting.ops); n < 7 {
		t.Fatalf("the copy takes %d changes: too few to sweep", n)
	}
	resumed := 0
	for n := 1; n <= len(counting.ops); n++ {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				left := empty.Clone()
				d := &dying{Store: left, left: n, after: after}
				if _, err := run(t, d); (err == nil) != (d.deaths == 0) {
					t.Errorf("killed %d times at change %d: %v", d.deaths, n, err)
				}
				dst, err := vault.Open(t.Context(), left, "the replica's", small)
				if err != nil {
					t.Fatal(err)
				}
				sound2(t, dst)
				report, err := run(t, left)
				if err != nil {
					t.Errorf("killed at change %d: the next copy fails: %v", n, err)
					return
				}
				if report.Blobs[0]+report.Blobs[1] == 0 {
					resumed++
				}
				again, err := vault.Open(t.Context(), left, "the replica's", small)
				if err != nil {
					t.Fatal(err)
				}
				holds(t, again, 2, files)
				sound2(t, again)
			})
		}
	}
	if resumed == 0 {
		t.Error("no copy found what an interrupted one left")
	}
}

// TestLag compares in both directions, as the destination falls behind and has what the source forgot.
func TestLag(t *testing.T) {
	v, store := create(t)
	s := begin(t, v)
	id, err := s.SaveTree(t.Context(), &tree.Tree{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(host string, hours int) object.ID {
		sn, err := s.Commit(t.Context(), &snapshot.Snapshot{Tree: &id, Time: mtime.Add(time.Duration(hours) * time.Hour), Hostname: host, Paths: []string{"/p"}})
		if err != nil {
			t.Fatal(err)
		}
		return sn
	}
	at("a", 0)
	gone := at("b", 1)
	at("a", 2)
	dst, _ := replicaOf(t, v, false)
	copyAll(t, v, dst, vault.CopyOptions{})
	lag := func(f snapshot.Filter) *vault.Lag {
		l, err := v.Lag(t.Context(), dst, f)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if got := lag(snapshot.Filter{}); len(got.Missing)+len(got.Extra) > 0 || got.Behind != 0 || got.Newer != 0 || !got.Newest.Equal(mtime.Add(2*time.Hour)) {
		t.Errorf("in step: %+v", got)
	}
	a3, b4, a5 := at("a", 3), at("b", 4), at("a", 5)
	ids := func(all []*snapshot.Snapshot) (ids []object.ID) {
		for _, s := range all {
			ids = append(ids, s.ID)
		}
		return ids
	}
	got := lag(snapshot.Filter{})
	if !slices.Equal(ids(got.Missing), []object.ID{a3, b4, a5}) || got.Behind != 3*time.Hour || got.Newer != 3 {
		t.Errorf("behind: %+v", got)
	}
	if got := lag(snapshot.Filter{Hosts: []string{"b"}}); !slices.Equal(ids(got.Missing), []object.ID{b4}) || got.Newer != 1 || got.Behind != 3*time.Hour {
		t.Errorf("b is behind: %+v", got)
	}
	if err := store.Remove(t.Context(), blob.Handle{Type: blob.Snapshot, Name: gone.String()}); err != nil {
		t.Fatal(err)
	}
	if got := lag(snapshot.Filter{}); len(got.Extra) != 1 || *got.Extra[0].Original != gone {
		t.Errorf("what only the copy has: %+v", got)
	}
}

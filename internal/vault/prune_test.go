package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// tiny makes many packs of little data, and does not wait before what is hidden goes.
var tiny = vault.Options{KDF: cheap.KDF, PackSize: 100 << 10}

var atOnce = vault.PruneOptions{Grace: -1, MaxUnused: "0"}

func opened(t *testing.T, store blob.Store) *vault.Vault {
	t.Helper()
	v, err := vault.Open(t.Context(), store, password, tiny)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// files are the contents of one snapshot, by the seeds of their noise.
type files map[string]uint64

const fileSize = 30 << 10

func content(seed uint64) []byte {
	if seed%3 == 0 {
		return prose(seed, fileSize)
	}
	return noise(seed, fileSize)
}

// keep stores a snapshot of files, each also in a folder of its own, with one session.
func keep(ctx context.Context, v *vault.Vault, f files, host string) (object.ID, error) {
	s, err := v.NewSession(ctx)
	if err != nil {
		return object.ID{}, err
	}
	id, err := keepWith(ctx, s, f, host)
	return id, errors.Join(err, s.Close(ctx))
}

// holdsAll compares a snapshot's files with what was stored.
func holdsAll(ctx context.Context, v *vault.Vault, id object.ID, f files) error {
	sn, err := v.Snapshot(ctx, id)
	if err != nil {
		return err
	}
	seen := 0
	err = v.Walk(ctx, *sn.Tree, func(path string, n *tree.Node, err error) error {
		if err != nil || n.Type != tree.File {
			return err
		}
		seed, known := f[filepath.Base(path)]
		if !known {
			return fmt.Errorf("%s was never stored", path)
		}
		seen++
		return same(ctx, v, n, content(seed))
	})
	if err == nil && seen != 2*len(f) {
		err = fmt.Errorf("%d files, want %d", seen, 2*len(f))
	}
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", id.Short(), err)
	}
	return nil
}

// range of seeds as files.
func seeds(from, n uint64) files {
	f := files{}
	for i := from; i < from+n; i++ {
		f[fmt.Sprintf("f%d", i)] = i
	}
	return f
}

func count(t *testing.T, store blob.Store, typ blob.Type) (n int, bytes int64) {
	t.Helper()
	if err := store.List(t.Context(), typ, func(i blob.Info) error { n++; bytes += i.Size; return nil }); err != nil {
		t.Fatal(err)
	}
	return n, bytes
}

// TestPrune removes half of the snapshots and prunes: first what is hidden waits, then it goes; what the plan says is what
// happens; restic finds nothing to complain about in between, and nothing to prune afterwards.
func TestPrune(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		space := memory.New()
		if _, err := vault.Init(t.Context(), space, password, tiny); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		o := tiny
		o.Now = func() time.Time { return now }
		v, err := vault.Open(t.Context(), space, password, o)
		if err != nil {
			t.Fatal(err)
		}
		want := map[object.ID]files{}
		var gone []object.ID
		for i := range uint64(6) {
			f := seeds(i*10, 20) // half of it is the next one's too
			id, err := keep(t.Context(), v, f, "h")
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				want[id] = f
			} else {
				gone = append(gone, id)
			}
		}
		for id := range want {
			if _, err := v.PlanPrune(t.Context(), vault.PruneOptions{Forget: []object.ID{id}}); err != nil {
				t.Error(err)
			}
		}
		ahead, err := v.PlanPrune(t.Context(), vault.PruneOptions{Forget: gone, MaxUnused: "0"})
		if err != nil || ahead.Remove.Packs+ahead.Repack.Packs == 0 {
			t.Fatalf("%+v, %v", ahead, err)
		}
		if _, err := v.Forget(t.Context(), gone, vault.ForgetOptions{}); err != nil {
			t.Fatal(err)
		}
		beforePacks, beforeBytes := count(t, space, blob.Pack)
		plan, err := v.PlanPrune(t.Context(), vault.PruneOptions{MaxUnused: "0"})
		if err != nil {
			t.Fatal(err)
		}
		if plan.Used != ahead.Used || plan.Unused != ahead.Unused || plan.Remove != ahead.Remove || plan.Repack != ahead.Repack {
			t.Errorf("the plan for after a forget is %+v, then it is %+v", ahead, plan)
		}
		if n, bytes := count(t, space, blob.Pack); n != beforePacks || bytes != beforeBytes {
			t.Error("planning changed something")
		}
		if plan.Total.Packs != beforePacks || plan.Total.Bytes != beforeBytes || plan.Keep.Packs+plan.Remove.Packs+plan.Repack.Packs != beforePacks {
			t.Errorf("%d packs of %d bytes, and the plan %+v", beforePacks, beforeBytes, plan)
		}
		refuse := errors.New("no")
		if _, err := v.Prune(t.Context(), vault.PruneOptions{Planned: func(*vault.PrunePlan) error { return refuse }}); !errors.Is(err, refuse) {
			t.Errorf("refused, and yet: %v", err)
		}
		report, err := v.Prune(t.Context(), vault.PruneOptions{MaxUnused: "0"})
		if err != nil || report.Hidden.Packs != plan.Remove.Packs+plan.Repack.Packs || report.Removed.Packs != 0 || report.Written.Packs == 0 {
			t.Errorf("%+v, %v; the plan was %+v", report, err, plan)
		}
		if report.Waiting.Packs != report.Hidden.Packs || report.Next.Sub(now.Add(vault.DefaultGrace)).Abs() > time.Second {
			t.Errorf("%+v", report)
		}
		repo := export(t, space)
		if out := accepted(t, repo, "--read-data"); strings.Contains(out, "contained in several") {
			t.Errorf("restic has hints:\n%s", out)
		}
		if again, err := v.Prune(t.Context(), vault.PruneOptions{MaxUnused: "0"}); err != nil || again.Hidden.Packs+again.Removed.Packs+again.Written.Packs != 0 || again.Waiting != report.Waiting {
			t.Errorf("before the grace: %+v, %v", again, err)
		}
		now = now.Add(vault.DefaultGrace + time.Minute)
		last, err := v.Prune(t.Context(), vault.PruneOptions{MaxUnused: "0"})
		if err != nil || last.Removed.Packs != report.Hidden.Packs || last.Waiting.Packs != 0 {
			t.Errorf("after the grace: %+v, %v", last, err)
		}
		afterPacks, afterBytes := count(t, space, blob.Pack)
		if afterPacks != beforePacks-report.Hidden.Packs+report.Written.Packs || afterBytes != beforeBytes-report.Hidden.Bytes+report.Written.Bytes {
			t.Errorf("%d packs of %d bytes are left of %d of %d: %+v", afterPacks, afterBytes, beforePacks, beforeBytes, report)
		}
		repo = export(t, space)
		if out := accepted(t, repo, "--read-data"); strings.Contains(out, "not referenced") {
			t.Errorf("restic has hints:\n%s", out)
		}
		if out := restic(t, repo, "prune", "--dry-run", "--max-unused", "0"); !strings.Contains(out, "total prune:           0 blobs / 0 B") {
			t.Errorf("restic would still prune:\n%s", out)
		}
		for _, v := range []*vault.Vault{v, opened(t, space)} {
			for id, f := range want {
				if err := holdsAll(t.Context(), v, id, f); err != nil {
					t.Error(err)
				}
			}
		}
		sound(t, space)
	})
}

// TestPruneOptions holds each option to what it says.
func TestPruneOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		v := opened(t, space)
		ids := []object.ID{}
		for i := range uint64(3) {
			id, err := keep(t.Context(), v, seeds(i*7, 20), "h")
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		plan := func(o vault.PruneOptions) *vault.PrunePlan {
			t.Helper()
			o.Forget = []object.ID{ids[0], ids[2]}
			p, err := v.PlanPrune(t.Context(), o)
			if err != nil {
				t.Fatalf("%+v: %v", o, err)
			}
			return p
		}
		zero := plan(vault.PruneOptions{MaxUnused: "0"})
		if zero.Repack.Packs < 2 || zero.Remove.Packs == 0 || zero.Unused.Bytes == 0 {
			t.Fatalf("%+v: not enough to choose from", zero)
		}
		trees := func(p *vault.PrunePlan) bool {
			return !slices.ContainsFunc(p.Packs, func(f vault.PackFate) bool { return f.What == vault.FateRepack && f.Bytes > 50<<10 })
		}
		if p := plan(vault.PruneOptions{MaxUnused: "unlimited"}); !trees(p) || p.Remove != zero.Remove {
			t.Errorf("unlimited: %+v", p)
		}
		if p := plan(vault.PruneOptions{MaxUnused: "0", RepackCacheableOnly: true}); !trees(p) {
			t.Errorf("cacheable only: %+v", p)
		}
		if p := plan(vault.PruneOptions{MaxUnused: "0", MaxRepack: 150 << 10}); p.Repack.Bytes > 150<<10 || p.Repack.Packs == 0 {
			t.Errorf("max repack: %+v", p)
		}
		if p := plan(vault.PruneOptions{MaxUnused: "0", RepackUncompressed: true}); p.Repack.Packs <= zero.Repack.Packs {
			t.Errorf("uncompressed: %+v", p)
		}
		if p := plan(vault.PruneOptions{MaxUnused: "30k"}); p.Unused.Bytes+p.Duplicate.Bytes-p.Dropped.Bytes-p.Remove.Bytes > 30<<10 {
			t.Errorf("30k: %+v", p)
		}
		for _, bad := range []string{"x", "-1", "101%", "100%", "5 %", "1e9", "9999999999T", "NaN%"} {
			if _, err := v.PlanPrune(t.Context(), vault.PruneOptions{MaxUnused: bad}); !errors.Is(err, failure.Invalid) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		if _, err := v.Prune(t.Context(), vault.PruneOptions{Forget: ids}); !errors.Is(err, failure.Invalid) {
			t.Error(err)
		}
		// What was asked to be compressed is, whether it shrinks or not: it is not done twice.
		if _, err := v.Prune(t.Context(), vault.PruneOptions{RepackUncompressed: true, Grace: -1}); err != nil {
			t.Fatal(err)
		}
		if p, err := v.PlanPrune(t.Context(), vault.PruneOptions{RepackUncompressed: true}); err != nil || p.Repack.Packs > 0 {
			t.Errorf("%+v, %v", p, err)
		}
		repo := export(t, space)
		accepted(t, repo, "--read-data")
	})
}

// TestPruneSmall merges small packs, and index files, once there are many.
func TestPruneSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		v := opened(t, space)
		want := map[object.ID]files{}
		for i := range uint64(12) {
			f := files{"f": i}
			id, err := keep(t.Context(), v, f, "h")
			if err != nil {
				t.Fatal(err)
			}
			want[id] = f
		}
		before, _ := count(t, space, blob.Pack)
		o := atOnce
		o.RepackSmall = true
		report, err := v.Prune(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		after, _ := count(t, space, blob.Pack)
		indexes, _ := count(t, space, blob.Index)
		if after > before/2 || indexes > 3 {
			t.Errorf("%d packs of %d, %d indexes: %+v", after, before, indexes, report)
		}
		for id, f := range want {
			if err := holdsAll(t.Context(), v, id, f); err != nil {
				t.Error(err)
			}
		}
		accepted(t, export(t, space), "--read-data")
	})
}

// on out of the index, and then he writes his snapshot. As long as the grace lasts nothing is lost.
// TestPruneWithRestic has both prune one repository in turn, each what the other has left behind.
func TestPruneWithRestic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, space := create(t)
		v := opened(t, space)
		var list []object.ID
		for i := range uint64(4) {
			id, err := keep(t.Context(), v, seeds(i*10, 20), "ours")
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, id)
		}
		repo := export(t, space)
		src := t.TempDir()
		if err := os.WriteFile(filepath.Join(src, "theirs"), prose(92, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		restic(t, repo, "backup", src, "--host", "theirs")
		if err := os.WriteFile(filepath.Join(src, "theirs"), prose(93, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		restic(t, repo, "backup", src, "--host", "theirs")
		restic(t, repo, "forget", list[0].String())

		space = load(t, repo)
		v = opened(t, space)
		theirs := snapshotsOf(t, repo)
		first, err := object.ParseID(theirs[len(theirs)-2].ID)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Forget(t.Context(), []object.ID{first}, vault.ForgetOptions{}); err != nil || got[0].Err != nil {
			t.Fatalf("%+v, %v", got, err)
		}
		report, err := v.Prune(t.Context(), vault.PruneOptions{MaxUnused: "0"}) // what it hides waits: restic finds it so
		if err != nil || report.Hidden.Packs == 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		repo = export(t, space)
		accepted(t, repo, "--read-data")
		restic(t, repo, "backup", src, "--host", "theirs")
		restic(t, repo, "forget", list[1].String(), "--prune", "--max-unused", "0")
		if out := accepted(t, repo, "--read-data"); strings.Contains(out, "not referenced") {
			t.Errorf("restic left something:\n%s", out)
		}
		space = load(t, repo)
		v = opened(t, space)
		if report, err := v.Prune(t.Context(), atOnce); err != nil || report.Removed.Packs > 0 {
			t.Errorf("restic left something: %+v, %v", report, err)
		}
		for i, id := range list[2:] {
			if err := holdsAll(t.Context(), v, id, seeds(uint64(i+2)*10, 20)); err != nil {
				t.Error(err)
			}
		}
		out := t.TempDir()
		restic(t, export(t, space), "restore", "latest", "--host", "theirs", "--target", out)
		if got, err := os.ReadFile(filepath.Join(out, src, "theirs")); err != nil || !bytes.Equal(got, prose(93, 1<<20)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		sound(t, space)
	})
}

// keepWith is keep with a session that goes on.
func keepWith(ctx context.Context, s *vault.Session, f files, host string) (object.ID, error) {
	var root tree.Tree
	for name, seed := range f {
		c, err := s.SaveStream(ctx, bytes.NewReader(content(seed)))
		if err != nil {
			return object.ID{}, err
		}
		sub, err := s.SaveTree(ctx, &tree.Tree{Nodes: []tree.Node{node(name, c)}})
		if err != nil {
			return object.ID{}, err
		}
		root.Nodes = append(root.Nodes, node(name, c), dir("dir-"+name, sub))
	}
	id, err := s.SaveTree(ctx, &root)
	if err != nil {
		return object.ID{}, err
	}
	return s.Commit(ctx, &snapshot.Snapshot{Tree: &id, Paths: []string{"/"}, Hostname: host})
}

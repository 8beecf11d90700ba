package vault_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// TestCheckNamesSharedPlaces damages a file in a directory that lies at two depths: both paths are named.
func TestCheckNamesSharedPlaces(t *testing.T) {
	v, store := create(t)
	s := begin(t, v)
	blobID, err := s.SaveBlob(t.Context(), object.Data, noise(1, 100<<10))
	if err != nil {
		t.Fatal(err)
	}
	save := func(nodes ...tree.Node) object.ID {
		id, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: nodes})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	shared := save(node("f", vault.Content{Blobs: []object.ID{blobID}, Size: 100 << 10}))
	deep := save(dir("c", shared))
	sn := commit(t, s, &tree.Tree{Nodes: []tree.Node{dir("a", shared), dir("b", deep)}})
	for _, info := range everything(t, store) {
		if info.Type == blob.Pack && info.Size > 100<<10 {
			store.Corrupt(info.Handle, func(b []byte) []byte { b[500] ^= 1; return b })
		}
	}
	report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, p := range report.Problems {
		for _, a := range p.Affects {
			if a.Snapshot != sn {
				t.Errorf("%+v", a)
			}
			got[a.Path]++
		}
	}
	if diff := cmp.Diff(map[string]int{"/a/f": 1, "/b/c/f": 1}, got); diff != "" {
		t.Error(diff)
	}
	if report.Trees != 3 || report.Files != 1 {
		t.Errorf("%d trees, %d files", report.Trees, report.Files)
	}
}

// TestCheckReadsASubset holds that only the packs of the subset are read, and that progress adds up to what was
// announced.
func TestCheckReadsASubset(t *testing.T) {
	_, store := create(t)
	v, err := vault.Open(t.Context(), store, password, small)
	if err != nil {
		t.Fatal(err)
	}
	write(t, begin(t, v), map[string][]byte{"f": noise(1, 40<<20)})
	var packs []blob.Info
	for _, info := range everything(t, store) {
		if info.Type == blob.Pack {
			packs = append(packs, info)
		}
	}
	all := 0
	for _, part := range []string{"1/2", "2/2"} {
		subset, err := vault.ParseSubset(part)
		if err != nil {
			t.Fatal(err)
		}
		var steps []vault.CheckProgress
		report, err := v.Check(t.Context(), vault.CheckOptions{ReadData: true, Subset: subset, Progress: func(p vault.CheckProgress) { steps = append(steps, p) }})
		if err != nil || len(report.Problems) > 0 {
			t.Fatal(report, err)
		}
		all += report.PacksRead
		last := steps[len(steps)-1]
		want := vault.CheckProgress{Packs: len(packs), TotalPacks: len(packs), Bytes: report.BytesRead, TotalBytes: report.BytesRead, Trees: 1, TotalTrees: 1}
		if last != want || report.PacksRead == 0 || report.PacksRead == len(packs) {
			t.Errorf("%s: %+v, want %+v; %d packs are read", part, last, want, report.PacksRead)
		}
		if !slices.IsSortedFunc(steps, func(a, b vault.CheckProgress) int { return a.Packs - b.Packs + a.Trees - b.Trees }) || steps[0].TotalBytes != last.TotalBytes {
			t.Errorf("%s: %+v", part, steps)
		}
	}
	if all != len(packs) {
		t.Errorf("both halves read %d of %d packs", all, len(packs))
	}
}

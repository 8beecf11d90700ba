//go:build linux

package restorer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// damaged is a store of which one object is not as it was.
type damaged struct {
	blob.Store
	name   blob.Handle
	change func([]byte) []byte
}

func (d *damaged) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	if h != d.name {
		return d.Store.Load(ctx, h, offset, length)
	}
	text, err := blob.ReadAll(ctx, d.Store, h)
	if err != nil {
		return nil, err
	}
	text = d.change(text)
	if length == blob.ToEnd && offset <= int64(len(text)) {
		length = int64(len(text)) - offset
	}
	if offset+length > int64(len(text)) {
		return nil, blob.Short("load", h)
	}
	return io.NopCloser(bytes.NewReader(text[offset : offset+length])), nil
}

// TestDamage flips bits and cuts ends off everywhere in a repository. Each time everything is restored, or what is not is
// named, and lies under no file's own name.
func TestDamage(t *testing.T) {
	src := t.TempDir()
	for i := range 12 {
		write(t, filepath.Join(src, fmt.Sprintf("d%d", i%3), fmt.Sprintf("f%d", i)), noise(uint64(i%9), 2000*i))
	}
	write(t, filepath.Join(src, "large"), noise(77, 2<<20))
	must(t, os.Link(filepath.Join(src, "large"), filepath.Join(src, "d1", "linked")), os.Symlink("large", filepath.Join(src, "link")))
	repo, v := newRepo(t)
	other := t.TempDir()
	write(t, filepath.Join(other, "of another snapshot"), noise(99, 1<<20))
	backup(t, v, other, archiver.Options{})
	root := backup(t, v, src, archiver.Options{})
	want := look(t, src)
	store, err := file.Open(repo)
	must(t, err)
	var objects []blob.Info
	for _, typ := range blob.Types() {
		must(t, store.List(t.Context(), typ, func(i blob.Info) error { objects = append(objects, i); return nil }))
	}
	slices.SortFunc(objects, func(a, b blob.Info) int { return strings.Compare(a.Path(), b.Path()) })
	rounds := 300
	if long() {
		rounds = 2000
	}
	r := rand.New(rand.NewPCG(3, 4))
	outcomes := map[string]int{}
	for i := range rounds {
		o := objects[i%len(objects)]
		at := r.Int64N(o.Size)
		change := func(b []byte) []byte { b[at] ^= 1 << (i % 8); return b }
		if i%5 == 4 {
			change = func(b []byte) []byte { return b[:at] }
		}
		what := restoreDamaged(t, &damaged{store, o.Handle, change}, src, root, want)
		outcomes[what]++
		if t.Failed() {
			t.Fatalf("round %d: %s at %d", i, o.Path(), at)
		}
	}
	t.Log(outcomes)
	if outcomes["whole"] == 0 || outcomes["in part"] == 0 || outcomes["not at all"] == 0 {
		t.Errorf("the damage has too few kinds of effects: %v", outcomes)
	}
}

func restoreDamaged(t *testing.T, s blob.Store, src string, root object.ID, want map[string]entry) string {
	t.Helper()
	v, err := vault.Open(t.Context(), s, password, cheap)
	if err != nil {
		return "not at all"
	}
	target := filepath.Join(t.TempDir(), "t")
	defer os.RemoveAll(target)
	if _, err := v.FindSnapshot(t.Context(), "latest", snapshot.Filter{}); err != nil {
		return "not at all"
	}
	res, err := restorer.Run(t.Context(), v, root, restorer.Options{Target: target})
	if err == nil {
		sameLook(t, want, look(t, target))
		return "whole"
	}
	if res.Failed == 0 {
		return "not at all"
	}
	bad := map[string]bool{}
	for _, p := range res.Problems {
		bad[p.Path] = true
	}
	got := look(t, target)
	for path, e := range want {
		g, there := got[path]
		lost := bad[path] || bad[filepath.Dir(path)]
		switch {
		case lost && there && e.Type == tree.File:
			t.Errorf("%s was reported and is there", path)
		case !lost && e.Type != tree.Dir && (g.Content != e.Content || g.Mode != e.Mode || g.Target != e.Target || g.ModTime != e.ModTime):
			t.Errorf("%s was not reported and is not right", path)
		}
	}
	return "in part"
}

// TestDamagedInPlace leaves what was there when nothing of the new content can be had, and moves aside what is mixed.
func TestDamagedInPlace(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "small"), noise(1, 5000))
	write(t, filepath.Join(src, "pages"), noise(2, 4<<20))
	must(t, os.Chmod(filepath.Join(src, "pages"), 0o600))
	repo, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{FixedBlocks: []string{"pages"}})
	n, err := v.Find(t.Context(), root, "/pages")
	must(t, err)
	small, err := v.Find(t.Context(), root, "/small")
	must(t, err)
	lose := []object.ID{small.Content[0], n.Content[7]}
	v = open(t, repo, func(s blob.Store) blob.Store { return withoutBlobs(t, s, repo, lose) })
	target := t.TempDir()
	write(t, filepath.Join(target, "small"), []byte("what was there"))
	write(t, filepath.Join(target, "pages"), noise(3, 4<<20))
	write(t, filepath.Join(target, "extra"), nil)
	res, err := restorer.Run(t.Context(), v, root, restorer.Options{Target: target, Delete: true})
	if failure.KindOf(err) != failure.Corrupt || res.Failed != 2 || !res.DeleteHeld {
		t.Errorf("error %v, %d failed, deletion held: %v", err, res.Failed, res.DeleteHeld)
	}
	if text, err := os.ReadFile(filepath.Join(target, "small")); string(text) != "what was there" {
		t.Errorf("the small file: %q %v", text, err)
	}
	if _, err := os.Lstat(filepath.Join(target, "pages")); err == nil {
		t.Error("a mixed file lies under its own name")
	}
	part, err := os.ReadFile(filepath.Join(target, "pages.lifeboat-incomplete"))
	must(t, err)
	if mode := stat(t, filepath.Join(target, "pages.lifeboat-incomplete")).Mode().Perm(); mode != 0o600 {
		t.Errorf("content that only its owner may read lies in a file of mode %o", mode)
	}
	whole := noise(2, 4<<20)
	for i := range 16 {
		is := object.Hash(part[i<<18:(i+1)<<18]) == object.Hash(whole[i<<18:(i+1)<<18])
		if is != (i != 7) {
			t.Errorf("block %d of the incomplete file is right: %v", i, is)
		}
	}
	if _, err := os.Lstat(filepath.Join(target, "extra")); err != nil {
		t.Error("something was deleted though something could not be restored")
	}
}

// withoutBlobs is the store of a repository in which some blobs are damaged.
func withoutBlobs(t testing.TB, s blob.Store, repo string, ids []object.ID) blob.Store {
	t.Helper()
	for _, id := range ids {
		pack, at := placeOf(t, repo, id)
		s = &damaged{s, pack, func(b []byte) []byte { b[at] ^= 1; return b }}
	}
	return s
}

// placeOf asks restic where a blob lies.
func placeOf(t testing.TB, repo string, id object.ID) (blob.Handle, int) {
	t.Helper()
	for line := range strings.Lines(restic(t, repo, "find", "--blob", id.String(), "--show-pack-id")) {
		if pack, ok := strings.CutPrefix(strings.TrimSpace(line), "Object belongs to pack "); ok {
			text := restic(t, repo, "cat", "index", strings.TrimSpace(strings.Split(restic(t, repo, "list", "index"), "\n")[0]))
			return blob.Handle{Type: blob.Pack, Name: strings.TrimSpace(pack)}, offsetIn(t, text, id)
		}
	}
	t.Fatalf("restic does not know %s", id)
	return blob.Handle{}, 0
}

// offsetIn finds the offset of a blob in the JSON of an index.
func offsetIn(t testing.TB, index string, id object.ID) int {
	t.Helper()
	_, after, ok := strings.Cut(index, id.String())
	_, after, ok2 := strings.Cut(after, `"offset":`)
	var at int
	if _, err := fmt.Sscan(strings.TrimSpace(after[:strings.IndexAny(after, ",}")]), &at); err != nil || !ok || !ok2 {
		t.Fatalf("%v in %s", err, index)
	}
	return at
}

//go:build linux

package restorer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/archiver"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

// counting counts the bytes that are read from a store, by type of object.
type counting struct {
	blob.Store
	bytes [8]atomic.Int64
}

func (c *counting) Unwrap() blob.Store { return c.Store }

func (c *counting) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	r, err := c.Store.Load(ctx, h, offset, length)
	if err != nil {
		return nil, err
	}
	return &countedReader{r, &c.bytes[h.Type]}, nil
}

type countedReader struct {
	io.ReadCloser
	n *atomic.Int64
}

func (r *countedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.n.Add(int64(n))
	return n, err
}

// mutate changes share of the 8 KiB pages of a file, and gives how many blocks of 256 KiB that touches.
func mutate(t testing.TB, path string, share float64) int {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	r := rand.New(rand.NewPCG(5, 6))
	blocks := map[int]bool{}
	for range int(float64(len(text)/8192) * share) {
		at := r.IntN(len(text)/8192) * 8192
		copy(text[at:], noise(uint64(at), 8192))
		blocks[at/(256<<10)] = true
	}
	must(t, os.WriteFile(path, text, 0o644))
	return len(blocks)
}

// TestDelta restores a page file in place of which 2 % of the pages have changed since.
func TestDelta(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pages")
	write(t, path, noise(1, 64<<20))
	repo, v := newRepo(t)
	root := backup(t, v, dir, archiver.Options{FixedBlocks: []string{"pages"}})
	want := look(t, dir)
	blocks := mutate(t, path, 0.002)
	must(t, os.Truncate(path, 70<<20))
	store := &counting{}
	v = open(t, repo, func(s blob.Store) blob.Store { store.Store = s; return store })
	changed := int64(blocks) * 256 << 10

	dry := restore(t, v, root, restorer.Options{Target: dir, DryRun: true})
	if dry.Written != changed {
		t.Errorf("a dry run says that %d bytes would be written, want %d", dry.Written, changed)
	}
	before := store.bytes[blob.Pack].Load()
	r := restore(t, v, root, restorer.Options{Target: dir})
	sameLook(t, want, look(t, dir))
	if r.Fetched != changed || r.Written != changed || r.Reused != 64<<20-changed {
		t.Errorf("fetched %d, written %d, reused %d bytes; %d have changed", r.Fetched, r.Written, r.Reused, changed)
	}
	if read := store.bytes[blob.Pack].Load() - before; read > changed+changed/10+64<<10 {
		t.Errorf("read %d bytes of packs to get %d", read, changed)
	}
}

// TestMovedContent finds content in the target that belongs elsewhere now, and fetches nothing.
func TestMovedContent(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), noise(1, 3<<20))
	write(t, filepath.Join(dir, "b", "same as a"), noise(1, 3<<20))
	write(t, filepath.Join(dir, "zeros"), make([]byte, 6<<20))
	_, v := newRepo(t)
	root := backup(t, v, dir, archiver.Options{})
	want := look(t, dir)
	must(t, os.RemoveAll(filepath.Join(dir, "b")), os.Remove(filepath.Join(dir, "zeros")))
	r := restore(t, v, root, restorer.Options{Target: dir})
	sameLook(t, want, look(t, dir))
	if r.Fetched >= 1<<20 {
		t.Errorf("fetched %d bytes of what is there or zero", r.Fetched)
	}
}

// TestObstacles restores over everything that can be in the way of each type of entry.
func TestObstacles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, filepath.Join(outside, "file"), []byte("outside"))
	src := t.TempDir()
	kinds := []string{"file", "dir", "link", "fifo", "hard", "unwritable", "longer", "program"}
	fill := func(dir, kind, content string) {
		path := filepath.Join(dir, kind)
		switch kind {
		case "file", "hard":
			write(t, path, []byte(content))
		case "dir":
			write(t, filepath.Join(path, "below"), []byte(content))
		case "link":
			must(t, os.Symlink("file", path))
		case "fifo":
			must(t, unix.Mkfifo(path, 0o600))
		case "unwritable", "program":
			write(t, path, []byte(content))
			must(t, os.Chmod(path, 0o444))
		case "longer":
			write(t, path, bytes.Repeat([]byte(content), 1000))
		}
	}
	obstacles := map[string]func(path string) error{
		"nothing":         func(string) error { return nil },
		"file":            func(path string) error { return os.WriteFile(path, []byte("obstacle"), 0o600) },
		"longer file":     func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("obst"), 1<<20), 0o600) },
		"read-only file":  func(path string) error { return os.WriteFile(path, []byte("obstacle"), 0) },
		"empty dir":       func(path string) error { return os.Mkdir(path, 0) },
		"link outside":    func(path string) error { return os.Symlink(outside, path) },
		"link to file":    func(path string) error { return os.Symlink(filepath.Join(outside, "file"), path) },
		"dangling link":   func(path string) error { return os.Symlink("/nowhere", path) },
		"fifo":            func(path string) error { return unix.Mkfifo(path, 0o600) },
		"hard link":       func(path string) error { return os.Link(filepath.Join(outside, "file"), path) },
		"full dir (del)":  func(path string) error { return os.MkdirAll(filepath.Join(path, "x", "y"), 0o500) },
		"setuid file":     func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o700), os.Chmod(path, 0o6777)) },
		"dir with a link": func(path string) error { return errors.Join(os.Mkdir(path, 0o700), os.Symlink(outside, path+"/below")) },
	}
	for _, kind := range kinds {
		fill(src, kind, "from the vault")
	}
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	want, wantOutside := look(t, src), look(t, outside)
	for name, obstacle := range obstacles {
		t.Run(name, func(t *testing.T) {
			for _, overwrite := range []restorer.Overwrite{restorer.Always, restorer.IfChanged} {
				target := t.TempDir()
				for _, kind := range kinds {
					must(t, obstacle(filepath.Join(target, kind)))
				}
				full := strings.Contains(name, "full") || strings.Contains(name, "with")
				o := restorer.Options{Target: target, Overwrite: overwrite}
				if full {
					r, err := restorer.Run(t.Context(), v, root, o)
					if failure.KindOf(err) != failure.Exists || r.Failed != len(kinds)-1 {
						t.Errorf("full directories in the way, without Delete: %d failed, %v", r.Failed, err)
					}
					o.Delete = true
				}
				restore(t, v, root, o)
				sameLook(t, want, look(t, target))
				sameLook(t, wantOutside, look(t, outside))
			}
		})
	}
}

// TestHardLinks restores files with several names over all that may have become of them.
func TestHardLinks(t *testing.T) {
	src := t.TempDir()
	in := func(dir, name string) string { return filepath.Join(dir, name) }
	write(t, in(src, "a"), []byte("content"))
	must(t, os.Link(in(src, "a"), in(src, "b")), os.Link(in(src, "a"), in(src, "c")))
	write(t, in(src, "d"), []byte("content"))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	want := look(t, src)
	for name, change := range map[string]func(dir string) error{
		"nothing":    func(string) error { return nil },
		"one gone":   func(dir string) error { return os.Remove(in(dir, "b")) },
		"first gone": func(dir string) error { return os.Remove(in(dir, "a")) },
		"content":    func(dir string) error { return os.WriteFile(in(dir, "a"), []byte("other"), 0o600) },
		"apart": func(dir string) error {
			return errors.Join(os.Remove(in(dir, "b")), os.WriteFile(in(dir, "b"), []byte("content"), 0o600))
		},
		"all apart": func(dir string) error {
			return errors.Join(os.Remove(in(dir, "a")), os.Remove(in(dir, "b")), os.WriteFile(in(dir, "a"), nil, 0), os.WriteFile(in(dir, "b"), nil, 0))
		},
		"another too": func(dir string) error {
			return errors.Join(os.Remove(in(dir, "d")), os.Link(in(dir, "a"), in(dir, "d")))
		},
		"a directory": func(dir string) error { return errors.Join(os.Remove(in(dir, "c")), os.Mkdir(in(dir, "c"), 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			restore(t, v, root, restorer.Options{Target: target})
			sameLook(t, want, look(t, target))
			must(t, change(target))
			restore(t, v, root, restorer.Options{Target: target})
			sameLook(t, want, look(t, target))
		})
	}
	t.Run("outside", func(t *testing.T) {
		outside, target := filepath.Join(t.TempDir(), "o"), t.TempDir()
		must(t, os.WriteFile(outside, []byte("content"), 0o640), os.Link(outside, in(target, "d")))
		must(t, os.WriteFile(outside+"2", []byte("other content"), 0o640))
		for _, name := range []string{"a", "b", "c"} {
			must(t, os.Link(outside+"2", in(target, name)))
		}
		was := look(t, filepath.Dir(outside))
		restore(t, v, root, restorer.Options{Target: target})
		sameLook(t, want, look(t, target))
		sameLook(t, was, look(t, filepath.Dir(outside)))
	})
}

// TestOverwrite holds each policy to what it says.
func TestOverwrite(t *testing.T) {
	src := t.TempDir()
	noon := time.Date(2024, 5, 5, 12, 0, 0, 0, time.UTC)
	for _, name := range []string{"older", "newer", "equal", "missing", "link"} {
		write(t, filepath.Join(src, name), []byte("vault"))
		must(t, os.Chtimes(filepath.Join(src, name), noon, noon))
	}
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	for policy, want := range map[restorer.Overwrite]map[string]string{
		restorer.Always:    {"older": "vault", "newer": "vault", "equal": "vault", "missing": "vault", "link": "vault"},
		restorer.IfChanged: {"older": "vault", "newer": "vault", "equal": "local", "missing": "vault", "link": "vault"},
		restorer.IfNewer:   {"older": "vault", "newer": "local", "equal": "local", "missing": "vault", "link": "local"},
		restorer.Never:     {"older": "local", "newer": "local", "equal": "local", "missing": "vault", "link": "local"},
	} {
		t.Run(string(policy), func(t *testing.T) {
			target := t.TempDir()
			for name, at := range map[string]time.Time{"older": noon.Add(-1), "newer": noon.Add(1), "equal": noon} {
				write(t, filepath.Join(target, name), []byte("local"))
				must(t, os.Chtimes(filepath.Join(target, name), at, at))
			}
			must(t, os.Symlink("equal", filepath.Join(target, "link")))
			r := restore(t, v, root, restorer.Options{Target: target, Overwrite: policy})
			got := map[string]string{}
			entries, err := os.ReadDir(target)
			must(t, err)
			skipped := 0
			for _, e := range entries {
				text, err := os.ReadFile(filepath.Join(target, e.Name()))
				must(t, err)
				got[e.Name()] = string(text)
				if string(text) == "local" && policy != restorer.IfChanged {
					skipped++
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if r.Entries[restorer.Skipped] != skipped {
				t.Errorf("%d were skipped, want %d", r.Entries[restorer.Skipped], skipped)
			}
		})
	}
}

// TestDeleteIsShownFirst holds a dry run to what then happens, and the deletion to what was selected.
func TestDeleteIsShownFirst(t *testing.T) {
	src := t.TempDir()
	for _, name := range []string{"keep", "sub/keep", "sub/deep/keep", "changed", "meta", "gone"} {
		write(t, filepath.Join(src, name), []byte(name))
	}
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	want := look(t, src)
	target := t.TempDir()
	restore(t, v, root, restorer.Options{Target: target})
	for _, name := range []string{"extra", "sub/extra", "sub/more/below/extra", "sub/deep/extra"} {
		write(t, filepath.Join(target, name), []byte("extra"))
	}
	must(t, os.WriteFile(filepath.Join(target, "changed"), []byte("other!!"), 0o644), os.Chmod(filepath.Join(target, "meta"), 0o777),
		os.Remove(filepath.Join(target, "gone")), os.Symlink(src, filepath.Join(target, "link to src")))
	was := look(t, target)
	run := func(o restorer.Options) map[string]restorer.Action {
		did := map[string]restorer.Action{}
		o.Target = target
		o.Item = func(i restorer.Item) { did[i.Path] = i.Action }
		restore(t, v, root, o)
		return did
	}
	dry := run(restorer.Options{Delete: true, DryRun: true})
	sameLook(t, was, look(t, target))
	wet := run(restorer.Options{Delete: true})
	sameLook(t, want, look(t, target))
	sameLook(t, want, look(t, src))
	// Directories in which something changes get another modification time, which is put right again.
	for _, path := range []string{"/sub", "/sub/deep"} {
		delete(dry, path)
		delete(wet, path)
	}
	if diff := cmp.Diff(dry, wet); diff != "" {
		t.Errorf("a dry run says other than what happens (-dry +wet):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]restorer.Action{"/extra": "deleted", "/sub/extra": "deleted", "/sub/more": "deleted", "/sub/more/below": "deleted",
		"/sub/more/below/extra": "deleted", "/sub/deep/extra": "deleted", "/link to src": "deleted", "/keep": "unchanged", "/sub/keep": "unchanged",
		"/sub/deep/keep": "unchanged", "/changed": "updated", "/meta": "metadata", "/gone": "created"}, wet); diff != "" {
		t.Error(diff)
	}
	write(t, filepath.Join(target, "extra"), nil)
	write(t, filepath.Join(target, "sub", "extra"), nil)
	selected := run(restorer.Options{Delete: true, Select: func(path string, dir bool) (bool, bool) {
		in := path == "/sub" || strings.HasPrefix(path, "/sub/")
		return in, in
	}})
	if diff := cmp.Diff([]string{"/sub", "/sub/deep", "/sub/deep/keep", "/sub/extra", "/sub/keep"}, sorted(selected)); diff != "" {
		t.Errorf("with a selection (-want +got):\n%s", diff)
	}
	if _, err := os.Lstat(filepath.Join(target, "extra")); err != nil {
		t.Errorf("what was not selected: %v", err)
	}
}

func sorted(all map[string]restorer.Action) []string {
	var paths []string
	for path := range all {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

// TestDeleteRefuses holds Delete to what it must leave.
func TestDeleteRefuses(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "a"), []byte("a"))
	base := t.TempDir()
	repo, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	if r, err := restorer.Run(t.Context(), v, root, restorer.Options{Target: "/../", Delete: true, DryRun: true}); failure.KindOf(err) != failure.Denied || r.Failed != 0 {
		t.Errorf("to clear the whole system: %v", err)
	}
	link := filepath.Join(base, "root")
	must(t, os.Symlink("/", link))
	if _, err := restorer.Run(t.Context(), v, root, restorer.Options{Target: link, Delete: true, DryRun: true}); failure.KindOf(err) != failure.Denied {
		t.Errorf("to clear the whole system by another name: %v", err)
	}
	// The vault lies in the target.
	r, err := restorer.Run(t.Context(), v, root, restorer.Options{Target: filepath.Dir(repo), Delete: true})
	if failure.KindOf(err) != failure.Denied || r.Failed != 1 {
		t.Errorf("to delete the vault: %v", err)
	}
	if _, err := v.Tree(t.Context(), root); err != nil {
		t.Errorf("the vault is gone: %v", err)
	}
	guarded := filepath.Join(base, "t", "x", "y", "guarded")
	write(t, guarded, nil)
	write(t, filepath.Join(base, "t", "z"), nil)
	r, err = restorer.Run(t.Context(), v, root, restorer.Options{Target: filepath.Join(base, "t"), Delete: true, Protect: []string{guarded}})
	if failure.KindOf(err) != failure.Denied || r.Failed != 1 {
		t.Errorf("to delete what is protected: %v", err)
	}
	if _, err := os.Stat(guarded); err != nil {
		t.Error(err)
	}
}

// TestSparse leaves holes in new files, makes them in old ones, and reads the same.
func TestSparse(t *testing.T) {
	src := t.TempDir()
	sparse(t, filepath.Join(src, "f"))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	allocated := func(path string) int64 {
		var s unix.Stat_t
		must(t, unix.Stat(path, &s))
		return s.Blocks * 512
	}
	for name, old := range map[string][]byte{"new": nil, "full": noise(3, 16<<20), "shorter": noise(4, 1<<20), "longer": noise(5, 20<<20)} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			if old != nil {
				write(t, filepath.Join(target, "f"), old)
			}
			r := restore(t, v, root, restorer.Options{Target: target, Sparse: true})
			same(t, src, target)
			if got := allocated(filepath.Join(target, "f")); got > 1<<20 {
				t.Errorf("it takes %d bytes of the disk", got)
			}
			if r.Written > 1<<20 {
				t.Errorf("%d bytes were written", r.Written)
			}
		})
	}
	target := t.TempDir()
	restore(t, v, root, restorer.Options{Target: target})
	if got := allocated(filepath.Join(target, "f")); got < 16<<20 {
		t.Errorf("without Sparse it takes %d bytes of the disk", got)
	}
}

// TestLitter removes what a restore that was killed had not finished, and no file of the tree that is called alike.
func TestLitter(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "d", "f"), []byte("f"))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	target := t.TempDir()
	litter := ".lifeboat-restoring-0123456789abcdef"
	for _, path := range []string{litter, "d/" + litter} {
		write(t, filepath.Join(target, path), []byte("half of"))
	}
	before := look(t, target)
	restore(t, v, root, restorer.Options{Target: target, DryRun: true})
	sameLook(t, before, look(t, target))
	restore(t, v, root, restorer.Options{Target: target})
	same(t, src, target)
	write(t, filepath.Join(src, "d", litter), []byte("somebody backed it up"))
	root = backup(t, v, src, archiver.Options{})
	for range 2 {
		restore(t, v, root, restorer.Options{Target: target})
		same(t, src, target)
	}
}

// TestSubset restores one folder, single files, and the folder's own metadata.
func TestSubset(t *testing.T) {
	src := t.TempDir()
	for i := range 5 {
		write(t, filepath.Join(src, fmt.Sprintf("d%d", i), "e", "f"), []byte{byte(i)})
		write(t, filepath.Join(src, fmt.Sprintf("d%d", i), "g"), []byte{byte(i)})
	}
	must(t, os.Chmod(filepath.Join(src, "d1"), 0o711), os.Chmod(filepath.Join(src, "d1", "e"), 0o701))
	_, v := newRepo(t)
	root := backup(t, v, src, archiver.Options{})
	target := t.TempDir()
	restore(t, v, root, restorer.Options{Target: target, Select: func(path string, dir bool) (bool, bool) {
		return path == "/d1/e/f" || path == "/d3", dir && (path == "/d1" || path == "/d1/e")
	}})
	want := look(t, src)
	got := look(t, target)
	for path := range want {
		if path != "/d1" && path != "/d1/e" && path != "/d1/e/f" && path != "/d3" {
			delete(want, path)
		}
	}
	sameLook(t, want, got)
	n, err := v.Find(t.Context(), root, "/d1")
	must(t, err)
	target = filepath.Join(t.TempDir(), "itself")
	restore(t, v, *n.Subtree, restorer.Options{Target: target, Root: n})
	same(t, filepath.Join(src, "d1"), target)
	if s, err := os.Stat(target); err != nil || s.Mode().Perm() != 0o711 {
		t.Errorf("the target itself: %v %v", s, err)
	}
}

package cache_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/cache"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
)

// hinted says of every call that it is about metadata.
type hinted struct{ blob.Store }

func (h hinted) Save(ctx context.Context, x blob.Handle, c blob.Content) error {
	return h.Store.Save(blob.Metadata(ctx), x, c)
}

func (h hinted) Load(ctx context.Context, x blob.Handle, offset, length int64) (io.ReadCloser, error) {
	return h.Store.Load(blob.Metadata(ctx), x, offset, length)
}

func TestSuite(t *testing.T) {
	for _, tt := range []struct {
		name string
		wrap func(s blob.Store, folder string) blob.Store
	}{
		{"with a folder", func(s blob.Store, folder string) blob.Store {
			return cache.Wrap(s, cache.Options{Folder: folder, ID: "x"})
		}},
		{"by the config", func(s blob.Store, folder string) blob.Store { return cache.Wrap(s, cache.Options{Folder: folder}) }},
		{"packs too", func(s blob.Store, folder string) blob.Store {
			return hinted{cache.Wrap(s, cache.Options{Folder: folder, ID: "x"})}
		}},
		{"without room", func(s blob.Store, folder string) blob.Store {
			return hinted{cache.Wrap(s, cache.Options{Folder: folder, ID: "x", MaxBytes: 1000})}
		}},
		{"without a folder", func(s blob.Store, _ string) blob.Store {
			return hinted{cache.Wrap(s, cache.Options{Folder: os.DevNull, ID: "x"})}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			blobtest.Run(t, func(tb testing.TB) blobtest.Place {
				var space memory.Space
				folder := tb.TempDir()
				return func() (blob.Store, error) { return tt.wrap(space.Open(), folder), nil }
			})
		})
	}
}

// counted counts the calls that reach a store.
type counted struct {
	blob.Store
	mu    sync.Mutex
	calls map[string]int
	bytes int64
}

func (c *counted) count(what string, t blob.Type, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = map[string]int{}
	}
	c.calls[what+" "+t.String()]++
	c.bytes += n
}

// since gives the count of a call and forgets all counts.
func (c *counted) since(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.calls[what]
	c.calls, c.bytes = nil, 0
	return n
}

func (c *counted) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	c.count("load", h.Type, length)
	return c.Store.Load(ctx, h, offset, length)
}

func (c *counted) Stat(ctx context.Context, h blob.Handle) (blob.Info, error) {
	c.count("stat", h.Type, 0)
	return c.Store.Stat(ctx, h)
}

// world is a store with a config and some objects, a folder, and a cache.
type world struct {
	t      *testing.T
	inner  *memory.Store
	calls  *counted
	folder string
	log    bytes.Buffer
	s      *cache.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, inner: memory.New(), folder: t.TempDir()}
	w.calls = &counted{Store: w.inner}
	w.save(blobtest.Make(blob.Config, 1, 150))
	w.s = w.open(0)
	return w
}

func (w *world) open(most int64) *cache.Store {
	return cache.Wrap(w.calls, cache.Options{Folder: w.folder, MaxBytes: most, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
}

func (w *world) save(o blobtest.Object) blobtest.Object {
	w.t.Helper()
	if err := w.inner.Save(w.t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		w.t.Fatal(err)
	}
	return o
}

// reads holds that a range of o comes back, through s.
func (w *world) reads(ctx context.Context, s blob.Store, o blobtest.Object, offset, length int) {
	w.t.Helper()
	got := make([]byte, length)
	if err := blob.ReadFull(ctx, s, o.Handle, got, int64(offset)); err != nil {
		w.t.Errorf("%s: %v", o.Handle, err)
	} else if !bytes.Equal(got, o.Bytes[offset:offset+length]) {
		w.t.Errorf("%s: other bytes", o.Handle)
	}
}

// copies are the files of the cache, by the names of their objects.
func (w *world) copies() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(w.folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "CACHEDIR.TAG" {
			all[d.Name()] = path
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// TestKept holds what is kept: indexes and snapshots whole at once, and never keys, locks or the config.
func TestKept(t *testing.T) {
	w := newWorld(t)
	for _, typ := range blob.Types() {
		o := blobtest.Make(typ, 1, 200_000)
		if typ != blob.Config {
			w.save(o)
			w.reads(t.Context(), w.s, o, 100_000, 50_000)
			w.calls.since("")
			w.reads(t.Context(), w.s, o, 0, 200_000)
		}
		kept := typ == blob.Index || typ == blob.Snapshot
		if n := w.calls.since("load " + typ.String()); typ != blob.Config && (n == 0) != kept {
			t.Errorf("%s: %d loads reach the store, and it is kept: %v", typ, n, kept)
		}
		if _, there := w.copies()[o.Handle.Name]; typ != blob.Config && there != kept {
			t.Errorf("%s: there is a copy: %v, want %v", typ, there, kept)
		}
	}
}

// TestPacks holds that a pack is fetched when it is worth it, and only for metadata.
func TestPacks(t *testing.T) {
	w := newWorld(t)
	o := w.save(blobtest.Make(blob.Pack, 1, 1<<20))
	meta := blob.Metadata(t.Context())
	for range 10 {
		w.reads(t.Context(), w.s, o, 5000, 100)
	}
	if n := w.calls.since("load data"); n != 10 {
		t.Errorf("of 10 reads of data %d reach the store", n)
	}
	for i := range 2 {
		w.reads(meta, w.s, o, 5000*i, 100)
	}
	if len(w.copies()) != 0 {
		t.Error("a pack is fetched for two small reads")
	}
	w.reads(meta, w.s, o, 77, 100)
	w.calls.since("")
	for i := range 10 {
		w.reads(meta, w.s, o, i*100_000, 90_000)
	}
	if n := w.calls.since("load data"); n != 0 || len(w.copies()) != 1 {
		t.Errorf("%d reads of a pack that is kept reach the store; copies: %v", n, w.copies())
	}
	large := w.save(blobtest.Make(blob.Pack, 2, 5<<20))
	w.reads(meta, w.s, large, 0, 4<<20)
	if w.copies()[large.Handle.Name] == "" {
		t.Error("a pack of which most was wanted at once is not kept")
	}
}

// TestSaved holds that what is saved is kept without being fetched.
func TestSaved(t *testing.T) {
	w := newWorld(t)
	o := blobtest.Make(blob.Index, 1, 1000)
	if err := w.s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
		t.Fatal(err)
	}
	w.reads(t.Context(), w.s, o, 0, 1000)
	pack := blobtest.Make(blob.Pack, 1, 1000)
	if err := w.s.Save(blob.Metadata(t.Context()), pack.Handle, bytes.NewReader(pack.Bytes)); err != nil {
		t.Fatal(err)
	}
	w.reads(blob.Metadata(t.Context()), w.s, pack, 0, 1000)
	if n := w.calls.since("load index") + w.calls.since("load data"); n != 0 {
		t.Errorf("%d loads reach the store", n)
	}
}

// TestDamage flips every byte of a copy, and cuts it at every length: never is a wrong byte given.
func TestDamage(t *testing.T) {
	w := newWorld(t)
	o := w.save(blobtest.Make(blob.Index, 1, 70_000))
	w.reads(t.Context(), w.s, o, 0, 10)
	path := w.copies()[o.Handle.Name]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < len(whole); i += 97 {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x10
		put(flipped)
		w.reads(t.Context(), w.s, o, 0, 70_000)
		put(whole[:i])
		w.reads(t.Context(), w.s, o, 30_000, 40_000)
	}
	put(whole[:len(whole)-1])
	w.reads(t.Context(), w.s, o, 0, 70_000)
	if _, err := os.Stat(path); err == nil { // dropped, or fetched anew
		w.calls.since("")
		w.reads(t.Context(), w.s, o, 0, 70_000)
		if n := w.calls.since("load index"); n != 0 {
			t.Error("a damaged copy stays")
		}
	}
	if !strings.Contains(w.log.String(), "damaged") {
		t.Error("nothing is said of a damaged copy")
	}
}

// TestDamagedStore holds that bytes without their name are passed on, as the store's, and not kept.
func TestDamagedStore(t *testing.T) {
	w := newWorld(t)
	o := w.save(blobtest.Make(blob.Snapshot, 1, 500))
	w.inner.Corrupt(o.Handle, func(b []byte) []byte { b[7] ^= 1; return b })
	got := make([]byte, 500)
	if err := blob.ReadFull(t.Context(), w.s, o.Handle, got, 0); err != nil || bytes.Equal(got, o.Bytes) {
		t.Errorf("the damaged bytes do not come: %v", err)
	}
	if len(w.copies()) != 0 {
		t.Error("they are kept")
	}
}

// TestStale holds that copies go with their objects: by Remove, and by a listing when somebody else removed them.
func TestStale(t *testing.T) {
	w := newWorld(t)
	var all []blobtest.Object
	for i := range 4 {
		o := w.save(blobtest.Make(blob.Snapshot, uint64(i), 100))
		w.reads(t.Context(), w.s, o, 0, 100)
		all = append(all, o)
	}
	if err := w.s.Remove(t.Context(), all[0].Handle); err != nil {
		t.Fatal(err)
	}
	if err := w.inner.Remove(t.Context(), all[1].Handle); err != nil {
		t.Fatal(err)
	}
	if got, err := blobtest.Listed(t.Context(), w.s, blob.Snapshot); err != nil || len(got) != 2 {
		t.Fatalf("listed: %v, %v", got, err)
	}
	left := w.copies()
	for i, o := range all {
		if _, there := left[o.Handle.Name]; there != (i > 1) {
			t.Errorf("number %d has a copy: %v", i, there)
		}
	}
	if err := w.inner.Remove(t.Context(), all[2].Handle); err != nil {
		t.Fatal(err)
	}
	stop := failure.New(failure.Canceled, "", "", "enough")
	if err := w.s.List(t.Context(), blob.Snapshot, func(blob.Info) error { return stop }); err != error(stop) {
		t.Fatal(err)
	}
	if len(w.copies()) != 2 {
		t.Error("a listing that did not end says what is gone")
	}
}

// TestStat holds that reading what a listing showed asks nothing of the store any more.
func TestStat(t *testing.T) {
	w := newWorld(t)
	o := w.save(blobtest.Make(blob.Index, 1, 5000))
	read := func() {
		t.Helper()
		if _, err := blobtest.Listed(t.Context(), w.s, blob.Index); err != nil {
			t.Fatal(err)
		}
		if got, err := blob.ReadAll(t.Context(), w.s, o.Handle); err != nil || !bytes.Equal(got, o.Bytes) {
			t.Errorf("other bytes, %v", err)
		}
	}
	read()
	w.calls.since("")
	w.s = w.open(0) // another process
	read()
	w.calls.mu.Lock()
	for what, n := range w.calls.calls {
		if what != "load config" && what != "stat config" {
			t.Errorf("%s: %d calls reach the store", what, n)
		}
	}
	w.calls.mu.Unlock()
	w.calls.since("")
	if got, err := blob.ReadAll(blob.Direct(t.Context()), w.s, o.Handle); err != nil || !bytes.Equal(got, o.Bytes) {
		t.Errorf("other bytes, %v", err)
	}
	if n := w.calls.since("load index"); n != 1 {
		t.Errorf("%d direct loads reach the store, want 1", n)
	}
}

// TestRoom holds that the copies stay within their bound, and that what was not used for long goes first.
func TestRoom(t *testing.T) {
	w := newWorld(t)
	w.s = w.open(200_000)
	var all []blobtest.Object
	for i := range 30 {
		o := w.save(blobtest.Make(blob.Index, uint64(i), 20_000))
		w.reads(t.Context(), w.s, o, 0, 100)
		all = append(all, o)
		sum := int64(0)
		for name, path := range w.copies() {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			sum += info.Size()
			if name == o.Handle.Name {
				then := time.Now().Add(time.Duration(i-100) * time.Minute)
				if err := os.Chtimes(path, then, then); err != nil {
					t.Fatal(err)
				}
			}
		}
		if sum > 200_000+21_000 {
			t.Fatalf("after %d objects there are %d bytes", i, sum)
		}
	}
	left := w.copies()
	if len(left) < 7 {
		t.Errorf("only %d copies are left", len(left))
	}
	for i, o := range all {
		if _, there := left[o.Handle.Name]; there && i < 20 {
			t.Errorf("number %d of 30 is still there", i)
		}
	}
}

// TestTogether holds that several caches on one folder serve many readers, with one fetch each at most.
func TestTogether(t *testing.T) {
	w := newWorld(t)
	var all []blobtest.Object
	for i := range 20 {
		all = append(all, w.save(blobtest.Make(blob.Index, uint64(i), 100_000)))
	}
	other := w.open(0)
	var readers sync.WaitGroup
	for i := range 16 {
		readers.Go(func() {
			s := w.s
			if i%2 == 1 {
				s = other
			}
			for j := range all {
				o := all[(i+j)%len(all)]
				got, err := blob.ReadAll(t.Context(), s, o.Handle)
				if err != nil || !bytes.Equal(got, o.Bytes) {
					t.Errorf("%s: other bytes, %v", o.Handle, err)
				}
			}
		})
	}
	readers.Wait()
	if n := w.calls.since("load index"); n > 2*len(all) {
		t.Errorf("%d loads reach the store for %d objects", n, len(all))
	}
}

// TestNoConfig holds that there is no cache before there is a repository, and that there is one afterwards; and that two
// repositories do not mix.
func TestNoConfig(t *testing.T) {
	folder := t.TempDir()
	for i := range 2 {
		inner := memory.New()
		s := cache.Wrap(inner, cache.Options{Folder: folder})
		o := blobtest.Make(blob.Index, 1, 100)
		if err := s.Save(t.Context(), o.Handle, bytes.NewReader(o.Bytes)); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(folder)
		if err != nil || len(entries) != max(0, 2*i) { // CACHEDIR.TAG and a repository
			t.Errorf("before there is a config: %v, %v", entries, err)
		}
		config := blobtest.Make(blob.Config, uint64(i), 150)
		if err := s.Save(t.Context(), config.Handle, bytes.NewReader(config.Bytes)); err != nil {
			t.Fatal(err)
		}
		if err := blob.ReadFull(t.Context(), s, o.Handle, make([]byte, 100), 0); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 3 {
		t.Errorf("two repositories leave %v, %v", entries, err)
	}
}

// TestUnused holds that the folders of repositories that nobody opens go after a while, and nothing else does.
func TestUnused(t *testing.T) {
	w := newWorld(t)
	long := time.Now().Add(-100 * 24 * time.Hour)
	for _, name := range []string{strings.Repeat("a", 64), strings.Repeat("b", 64), "photographs"} {
		path := filepath.Join(w.folder, name)
		if err := os.MkdirAll(filepath.Join(path, "index"), 0o700); err != nil {
			t.Fatal(err)
		}
		if name[0] != 'b' {
			if err := os.Chtimes(path, long, long); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.reads(t.Context(), w.s, w.save(blobtest.Make(blob.Index, 1, 100)), 0, 100)
	for name, want := range map[string]bool{strings.Repeat("a", 64): false, strings.Repeat("b", 64): true, "photographs": true} {
		if _, err := os.Stat(filepath.Join(w.folder, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}

// TestFolderFails holds that no call fails by a folder that does.
func TestFolderFails(t *testing.T) {
	w := newWorld(t)
	a, b := w.save(blobtest.Make(blob.Index, 1, 100)), w.save(blobtest.Make(blob.Index, 2, 100))
	w.reads(t.Context(), w.s, a, 0, 100)
	if err := os.RemoveAll(w.folder); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.reads(t.Context(), w.s, a, 0, 100)
		w.reads(t.Context(), w.s, b, 0, 100)
	}
	if n := strings.Count(w.log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, &w.log)
	}
}

// TestDefaultFolder holds where copies lie.
func TestDefaultFolder(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/somewhere")
	got, err := cache.DefaultFolder()
	if err != nil || !strings.HasSuffix(got, filepath.Join("lifeboat", "vault")) {
		t.Errorf("%s, %v", got, err)
	}
}

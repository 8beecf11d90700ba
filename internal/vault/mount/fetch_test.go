//go:build linux

package mount_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/mount"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// counting counts the bytes of packs that are read.
type counting struct {
	blob.Store
	bytes, calls atomic.Int64
}

func (c *counting) Load(ctx context.Context, h blob.Handle, off, n int64) (io.ReadCloser, error) {
	r, err := c.Store.Load(ctx, h, off, n)
	if err == nil {
		c.calls.Add(1)
		r = &countedReader{r, &c.bytes}
	}
	return r, err
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

// made is what huge makes, once for all tests.
var made struct {
	sync.Mutex
	store   *memory.Store
	one     []byte
	islands map[int64][]byte
}

// huge gives a vault with a sparse image of 100 GiB, of which 200 MiB are data, and a file of 64 MiB beside it.
func huge(t *testing.T) (store *memory.Store, one []byte, islands map[int64][]byte) {
	t.Helper()
	made.Lock()
	defer made.Unlock()
	if made.store == nil {
		made.store, made.one, made.islands = makeHuge(t)
	}
	return made.store, made.one, made.islands
}

func makeHuge(t *testing.T) (store *memory.Store, one []byte, islands map[int64][]byte) {
	t.Helper()
	store = memory.New()
	v, err := vault.Init(t.Context(), store, password, cheap)
	must(t, err)
	s, err := v.NewSession(t.Context())
	must(t, err)
	const block, segment, segments = 256 << 10, 1 << 30, 100
	zero, err := s.SaveBlob(t.Context(), object.Data, make([]byte, block))
	must(t, err)
	islands = map[int64][]byte{}
	var list []tree.Node
	for i := range int64(segments) {
		content := slices.Repeat([]object.ID{zero}, segment/block)
		if i%10 == 3 {
			for j := range int64(80) {
				at := (j*37 + i) % (segment / block)
				data := noise(uint64(1000+i*100+j), block)
				content[at], err = s.SaveBlob(t.Context(), object.Data, data)
				must(t, err)
				islands[i*segment+at*block] = data
			}
		}
		sub, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{{Name: "data", Type: tree.File, Mode: 0o600, Links: 1, Size: segment, Content: content}}})
		must(t, err)
		list = append(list, tree.Node{Name: fmt.Sprintf("%016x", i*segment), Type: tree.Dir, Mode: iofs.ModeDir | 0o700, Subtree: &sub})
	}
	image, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: list})
	must(t, err)
	one = noise(2, 64<<20)
	c, err := s.SaveStream(t.Context(), bytes.NewReader(one))
	must(t, err)
	root, err := s.SaveTree(t.Context(), &tree.Tree{Nodes: []tree.Node{
		{Name: "image", Type: tree.Dir, Mode: iofs.ModeDir | 0o755, Subtree: &image},
		{Name: "one", Type: tree.File, Mode: 0o600, Links: 1, Size: c.Size, Content: c.Blobs},
	}})
	must(t, err)
	_, err = s.Commit(t.Context(), &snapshot.Snapshot{Tree: &root, Hostname: "h"})
	must(t, err)
	must(t, s.Close(t.Context()))
	return store, one, islands
}

// TestFetchesWhatIsNeeded reads one file, then parts, then holes out of a repository of 100 GiB, and counts bytes.
func TestFetchesWhatIsNeeded(t *testing.T) {
	store, one, islands := huge(t)
	counted := &counting{Store: store}
	v, err := vault.Open(t.Context(), counted, password, cheap)
	must(t, err)
	dir, _ := begin(t, v, mount.Options{})
	top := filepath.Join(dir, "hosts/h/latest")
	spent := func(what string, limit int64, do func()) {
		t.Helper()
		before, calls := counted.bytes.Load(), counted.calls.Load()
		do()
		n, m := counted.bytes.Load()-before, counted.calls.Load()-calls
		t.Logf("%s: %d bytes in %d requests", what, n, m)
		if n > limit {
			t.Errorf("%s: %d bytes are fetched, want at most %d", what, n, limit)
		}
	}
	spent("list everything", 2<<20, func() {
		out, err := exec.CommandContext(t.Context(), "du", "-sb", "--apparent-size", "-L", top).Output()
		if err != nil || !strings.HasPrefix(string(out), "1074") {
			t.Errorf("%s, %v", out, err)
		}
	})
	calls := counted.calls.Load()
	spent("one file of 64 MiB", int64(len(one))*11/10, func() {
		got, err := os.ReadFile(filepath.Join(top, "one"))
		if err != nil || !bytes.Equal(got, one) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	if n := counted.calls.Load() - calls; n > 40 {
		t.Errorf("%d requests for a file of 64 MiB in order: nothing is read ahead", n)
	}
	r, read := rand.New(rand.NewPCG(1, 2)), 0
	spent("100 blocks at random", 100*(256<<10)*11/10, func() {
		for off, data := range islands {
			if read++; read > 100 {
				break
			}
			f, err := os.Open(filepath.Join(top, "image", fmt.Sprintf("%016x", off&^(1<<30-1)), "data"))
			must(t, err)
			p := make([]byte, 4096)
			at := r.Int64N(int64(len(data) - len(p)))
			if _, err := f.ReadAt(p, off%(1<<30)+at); err != nil || !bytes.Equal(p, data[at:at+4096]) {
				t.Errorf("at %d: %v", off, err)
			}
			must(t, f.Close())
		}
	})
	spent("a gigabyte of hole", 0, func() {
		f, err := os.Open(filepath.Join(top, "image/0000000000000000/data"))
		must(t, err)
		defer f.Close()
		p := make([]byte, 1<<20)
		for i := range 64 {
			if _, err := f.ReadAt(p, int64(i)<<24); err != nil || len(bytes.Trim(p, "\x00")) > 0 {
				t.Fatalf("%v", err)
			}
		}
		if at, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA); !errors.Is(err, syscall.ENXIO) {
			t.Errorf("data in a hole at %d, %v", at, err)
		}
	})
	spent("holes are found", 1<<20, func() {
		f, err := os.Open(filepath.Join(top, "image/00000000c0000000/data"))
		must(t, err)
		defer f.Close()
		found := 0
		for off := int64(0); ; {
			data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
			if errors.Is(err, syscall.ENXIO) {
				break
			}
			must(t, err)
			off, err = unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
			must(t, err)
			found += int(off-data) / (256 << 10)
		}
		if found != 80 {
			t.Errorf("%d blocks of data, want 80", found)
		}
	})
}

// TestManyReaders has many read the same and different parts at once, with little memory.
func TestManyReaders(t *testing.T) {
	store, one, _ := huge(t)
	v, err := vault.Open(t.Context(), store, password, cheap)
	must(t, err)
	dir, _ := begin(t, v, mount.Options{Memory: 8 << 20})
	path := filepath.Join(dir, "hosts/h/latest/one")
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			f, err := os.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if i%4 == 0 {
				h := sha256.New()
				if _, err := io.Copy(h, f); err != nil || [32]byte(h.Sum(nil)) != sha256.Sum256(one) {
					t.Errorf("reader %d in order: %v", i, err)
				}
				return
			}
			r := rand.New(rand.NewPCG(uint64(i), 9))
			p := make([]byte, 300<<10)
			for range 40 {
				off := r.IntN(len(one))
				n, err := f.ReadAt(p, int64(off))
				if want := one[off:min(len(one), off+len(p))]; !bytes.Equal(p[:n], want) || err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("reader %d at %d: %d bytes, %v", i, off, n, err)
				}
			}
		})
	}
	group.Wait()
}

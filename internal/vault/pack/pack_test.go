package pack_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

func build(t testing.TB, key *crypto.Key, blobs int) ([]byte, []pack.Entry) {
	t.Helper()
	b := pack.NewBuilder(pack.NewSpace(1<<20, ""))
	for i := range blobs {
		h := object.Handle{Type: object.Type(i % 2), ID: object.Hash([]byte{byte(i), byte(i >> 8)})}
		b.Add(h, key.Seal(nil, make([]byte, i%50)), uint32(i%3*100))
	}
	f, err := b.Finish(key)
	if err != nil {
		t.Fatal(err)
	}
	file := make([]byte, f.Size())
	if _, err := f.ReadAt(file, 0); err != nil {
		t.Fatal(err)
	}
	if f.ID != object.Hash(file) || f.Entries == nil {
		t.Errorf("a pack's id is not the hash of its bytes")
	}
	entries := f.Entries
	f.Release()
	return file, entries
}

// TestSpaces builds packs larger than a piece in what was used before, and reads them at every edge: in memory, in files,
// and where no file can be made.
func TestSpaces(t *testing.T) {
	dir := t.TempDir()
	t.Run("memory", func(t *testing.T) { testSpace(t, "") })
	t.Run("files", func(t *testing.T) { testSpace(t, dir) })
	t.Run("nowhere", func(t *testing.T) { testSpace(t, filepath.Join(dir, "missing")) })
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

func testSpace(t *testing.T, dir string) {
	key, space := newKey(t), pack.NewSpace(3<<20, dir)
	defer space.Close()
	for round := range 3 {
		b := pack.NewBuilder(space)
		var want []byte
		for i, n := range []int{100, 1<<20 - 100, 33, 2<<20 + 1, 700 << 10, 40} {
			sealed := bytes.Repeat([]byte{byte(10*round + i)}, n)
			b.Add(object.Handle{ID: object.Hash([]byte{byte(i)})}, sealed, 0)
			want = append(want, sealed...)
		}
		if b.Size() != len(want) || b.Count() != 6 {
			t.Errorf("%d bytes, %d blobs", b.Size(), b.Count())
		}
		f, err := b.Finish(key)
		if err != nil {
			t.Fatal(err)
		}
		whole := make([]byte, f.Size())
		if _, err := f.ReadAt(whole, 0); err != nil || f.ID != object.Hash(whole) {
			t.Errorf("the id is not the hash of the bytes: %v", err)
		}
		for _, off := range []int{0, 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3 << 20, len(want) - 1} {
			for _, n := range []int{1, 99, 1 << 20, 3 << 20} {
				n = min(n, len(want)-off)
				got := make([]byte, n)
				if k, err := f.ReadAt(got, int64(off)); k != n || err != nil || !bytes.Equal(got, want[off:off+n]) {
					t.Errorf("%d bytes at %d: %d, %v", n, off, k, err)
				}
			}
		}
		if n, err := f.ReadAt(make([]byte, 9), f.Size()-5); n != 5 || err != io.EOF {
			t.Errorf("beyond the end: %d, %v", n, err)
		}
		if entries, err := pack.ReadHeader(f, f.Size(), key); err != nil || len(entries) != 6 {
			t.Errorf("%v, %v", entries, err)
		}
		f.Release()
	}
}

func newKey(t testing.TB) *crypto.Key {
	t.Helper()
	key, err := crypto.NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestRoundTrip reads back headers that fit into the first read and headers that do not.
func TestRoundTrip(t *testing.T) {
	key := newKey(t)
	for _, n := range []int{1, 2, 7, 300, 2000} {
		file, want := build(t, key, n)
		got, err := pack.ReadHeader(bytes.NewReader(file), int64(len(file)), key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d blobs: %s", n, diff)
		}
		last := want[len(want)-1]
		if size := int(last.Offset+last.Length) + pack.HeaderSize(want); size != len(file) {
			t.Errorf("HeaderSize: the file has %d bytes, want %d", len(file), size)
		}
	}
}

// TestDamage changes every byte of the header and cuts the file everywhere: always Corrupt.
func TestDamage(t *testing.T) {
	key := newKey(t)
	file, entries := build(t, key, 7)
	read := func(b []byte) error {
		_, err := pack.ReadHeader(bytes.NewReader(b), int64(len(b)), key)
		return err
	}
	for i := len(file) - pack.HeaderSize(entries); i < len(file); i++ {
		broken := bytes.Clone(file)
		broken[i] ^= 0x10
		if err := read(broken); !errors.Is(err, failure.Corrupt) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	for n := range file {
		if err := read(bytes.Clone(file[:n])); !errors.Is(err, failure.Corrupt) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	if err := read(append([]byte{1}, file...)); !errors.Is(err, failure.Corrupt) {
		t.Errorf("a byte too many: %v", err)
	}
	huge := binary.LittleEndian.AppendUint32(make([]byte, 1000), 1<<31)
	if err := read(huge); !errors.Is(err, failure.Corrupt) {
		t.Errorf("a header that is said to be huge: %v", err)
	}
}

// FuzzHeader holds that a header that is accepted is exactly what its entries are written as.
func FuzzHeader(f *testing.F) {
	key := newKey(f)
	for _, n := range []int{1, 3, 8} {
		file, entries := build(f, key, n)
		header := file[len(file)-pack.HeaderSize(entries) : len(file)-4]
		plain, err := key.Open(header)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain)
	}
	f.Add([]byte{})
	f.Add([]byte{4})
	f.Fuzz(func(t *testing.T, plain []byte) {
		entries, err := pack.ParseHeader(plain)
		if err != nil {
			return
		}
		sum := 0
		end := uint64(0)
		for _, e := range entries {
			if uint64(e.Offset) != end || e.Length < crypto.Overhead {
				t.Fatalf("entries %v", entries)
			}
			end += uint64(e.Length)
			sum += 37
			if e.PlainLength != 0 {
				sum += 4
			}
		}
		if sum != len(plain) || pack.HeaderSize(entries) != sum+crypto.Overhead+4 {
			t.Errorf("%d bytes were read as %d entries of %d", len(plain), len(entries), sum)
		}
	})
}

// FuzzFile holds that no file makes the reader fail otherwise than with Corrupt.
func FuzzFile(f *testing.F) {
	key := newKey(f)
	file, _ := build(f, key, 3)
	f.Add(file)
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := pack.ReadHeader(bytes.NewReader(data), int64(len(data)), key); err != nil && !errors.Is(err, failure.Corrupt) {
			t.Error(err)
		}
	})
}

package index_test

import (
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

func id(n int) object.ID {
	return object.Hash(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func entry(n int) pack.Entry {
	return pack.Entry{Handle: object.Handle{Type: object.Type(n % 7 / 6), ID: id(n)}, Offset: uint32(n % 1000 * 100), Length: 100, PlainLength: uint32(n % 3 * 50)}
}

// TestLookup finds each of many blobs, none that was not added, and every copy.
func TestLookup(t *testing.T) {
	var x index.Index
	if x.Has(object.Handle{ID: id(1)}) {
		t.Error("an empty index has a blob")
	}
	const n = 20_000
	for i := 0; i < n; i += 100 {
		var entries []pack.Entry
		for j := range 100 {
			entries = append(entries, entry(i+j))
		}
		x.Add(id(-i-1), entries)
		x.Add(id(-i-1), entries) // twice is once
	}
	x.Add(id(-5_000_000), []pack.Entry{entry(7)})
	if got := x.Len(object.Data) + x.Len(object.Tree); got != n+1 {
		t.Errorf("%d entries, want %d", got, n+1)
	}
	for i := range n {
		e := entry(i)
		var copies []index.Location
		for l := range x.Lookup(e.Handle) {
			copies = append(copies, l)
		}
		want := []index.Location{{Entry: e, Pack: id(-(i - i%100) - 1)}}
		if i == 7 {
			want = append(want, index.Location{Entry: e, Pack: id(-5_000_000)})
		}
		if !slices.Equal(copies, want) {
			t.Fatalf("blob %d: %v, want %v", i, copies, want)
		}
		other := object.Handle{Type: 1 - e.Type, ID: e.ID}
		if x.Has(other) || x.Has(object.Handle{ID: id(n + i)}) || x.Has(object.Handle{Type: 9, ID: e.ID}) {
			t.Fatalf("blob %d is found as another", i)
		}
	}
	all := 0
	for range x.All() {
		all++
	}
	if all != n+1 || len(x.Packs()) != n/100+1 {
		t.Errorf("%d of all, %d packs", all, len(x.Packs()))
	}
}

// TestMemory holds a blob to 64 bytes, at the worst moment: just after the table has grown.
func TestMemory(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 3<<18 + 1000 // the table has just become 2²¹ numbers
	before := heap()
	var x index.Index
	entries := make([]pack.Entry, 1000)
	for i := 0; i < n; i += len(entries) {
		for j := range entries {
			entries[j] = pack.Entry{Handle: object.Handle{ID: id(i + j)}, Offset: uint32(j), Length: 40}
		}
		x.Add(id(-i-1), entries)
	}
	per := float64(heap()-before) / float64(x.Len(object.Data))
	t.Logf("%.1f bytes a blob", per)
	if per > 64 {
		t.Errorf("%.1f bytes a blob, want 64 at most", per)
	}
	runtime.KeepAlive(&x)
}

func TestFileRoundTrip(t *testing.T) {
	want := []index.Pack{{ID: id(1), Entries: []pack.Entry{entry(1), entry(6)}}, {ID: id(2), Entries: []pack.Entry{entry(3)}}, {ID: id(3), Entries: []pack.Entry{}}}
	text, err := index.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := index.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	text, err := index.Encode([]index.Pack{{ID: id(1), Entries: []pack.Entry{entry(1), entry(6)}}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(text), "{}", "[]", "null", `{"packs":null}`, `{"supersedes":["x"],"packs":[{"id":null}]}`,
		`{"packs":[{"id":"` + id(1).String() + `","blobs":[{"id":"` + id(2).String() + `","type":"data","offset":4294967295,"length":4294967295}]}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		packs, err := index.Parse(data)
		if err != nil {
			if !errors.Is(err, failure.Corrupt) {
				t.Error(err)
			}
			return
		}
		text, err := index.Encode(packs)
		if err != nil {
			t.Fatal(err)
		}
		again, err := index.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(packs, again); diff != "" {
			t.Error(diff)
		}
		var x index.Index
		for _, p := range packs {
			x.Add(p.ID, p.Entries)
		}
	})
}

// TestCopies holds that the numbers of copies lead to them and back, and that a pack without blobs is none.
func TestCopies(t *testing.T) {
	var x index.Index
	x.Add(id(-1), []pack.Entry{entry(1), entry(6)})
	x.Add(id(-2), nil)
	x.Add(id(-3), []pack.Entry{entry(1), entry(2)})
	if n, listed := x.PackNumber(id(-3)); !listed || n != 1 || x.Lists(id(-2)) || len(x.Packs()) != 2 {
		t.Errorf("pack %d, %v, of %d", n, listed, len(x.Packs()))
	}
	seen := 0
	for _, typ := range []object.Type{object.Data, object.Tree} {
		for n := range x.Len(typ) {
			blob, at := x.Copy(typ, n)
			found := false
			for m, place := range x.Copies(object.Handle{Type: typ, ID: blob}) {
				found = found || m == n && place == at
			}
			if !found {
				t.Errorf("%s copy %d is not among the copies of its blob", typ, n)
			}
			seen++
		}
	}
	if seen != 4 {
		t.Errorf("%d copies, want 4", seen)
	}
	for range x.Copies(object.Handle{Type: 9, ID: id(1)}) {
		t.Error("a blob of no type has copies")
	}
}

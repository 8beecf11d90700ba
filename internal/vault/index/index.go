// Package index says where each blob lies: in memory, in at most 64 bytes a blob, and as the JSON of index files.
//
// It loads nothing by itself and encrypts nothing. A blob may be listed several times, also with copies in several
// packs: that is normal after two writers met. Start with [Index.Add] and [Index.Lookup]; [Parse] and [Encode] are the
// file format.
package index

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// Location is one copy of a blob.
type Location struct {
	pack.Entry
	Pack object.ID
}

// Index is what is known of all packs. The zero Index is empty and ready. Reading it from several goroutines is safe
// while nobody adds.
type Index struct {
	packs  []object.ID
	number map[object.ID]uint32
	tables [2]table
}

// Add lists the blobs of one pack. An entry that is listed already is not listed twice. A pack without blobs is not
// listed: nothing can be found there.
func (x *Index) Add(id object.ID, entries []pack.Entry) {
	if len(entries) == 0 {
		return
	}
	if x.number == nil {
		x.number = map[object.ID]uint32{}
	}
	n, there := x.number[id]
	if !there {
		n = uint32(len(x.packs))
		x.packs = append(x.packs, id)
		x.number[id] = n
	}
	for _, e := range entries {
		if e.Type > object.Tree {
			continue // nothing that this format knows: Parse refuses it
		}
		x.tables[e.Type].add(slot{id: e.ID, pack: n, offset: e.Offset, length: e.Length, plain: e.PlainLength})
	}
}

// Place is one copy of a blob in few bytes: Pack is its place in Packs.
type Place struct{ Pack, Offset, Length, PlainLength uint32 }

// First gives the copy of h that was added first.
func (x *Index) First(h object.Handle) (Place, bool) {
	if h.Type > object.Tree {
		return Place{}, false
	}
	for s := range x.tables[h.Type].lookup(h.ID) {
		return Place{s.pack, s.offset, s.length, s.plain}, true
	}
	return Place{}, false
}

// Has reports whether there is a copy of h.
func (x *Index) Has(h object.Handle) bool {
	_, there := x.First(h)
	return there
}

// Lookup gives every copy of h.
func (x *Index) Lookup(h object.Handle) iter.Seq[Location] {
	return func(yield func(Location) bool) {
		if h.Type > object.Tree {
			return
		}
		for s := range x.tables[h.Type].lookup(h.ID) {
			if !yield(x.location(h.Type, s)) {
				return
			}
		}
	}
}

// Size gives the length of the blob's content, in bytes.
func (x *Index) Size(h object.Handle) (uint32, bool) {
	p, there := x.First(h)
	return pack.Entry{Length: p.Length, PlainLength: p.PlainLength}.Size(), there
}

// All gives every copy of every blob, in the order in which they were added, data first.
func (x *Index) All() iter.Seq[Location] {
	return func(yield func(Location) bool) {
		for t := range x.tables {
			for s := range x.tables[t].all() {
				if !yield(x.location(object.Type(t), s)) {
					return
				}
			}
		}
	}
}

// Packs gives the ids of all packs that are listed. The slice is the index's own; what is in it does not change when more
// packs are added.
func (x *Index) Packs() []object.ID { return x.packs }

// Len is how many copies of blobs of type t are listed.
func (x *Index) Len(t object.Type) int { return x.tables[t].n }

// Contents is an index by pack. Make it with ByPack.
type Contents struct {
	x *Index
	// order has the numbers of all slots, data before trees, those of one pack together: pack n's begin at starts[n].
	order, starts []uint32
}

// ByPack sorts the copies by pack, in 4 bytes each. The index must not be added to while the Contents are used.
func (x *Index) ByPack() *Contents {
	c := &Contents{x: x, order: make([]uint32, x.tables[0].n+x.tables[1].n), starts: make([]uint32, len(x.packs)+1)}
	for t := range x.tables {
		for s := range x.tables[t].all() {
			c.starts[s.pack+1]++
		}
	}
	for i := range x.packs {
		c.starts[i+1] += c.starts[i]
	}
	next, number := slices.Clone(c.starts), uint32(0)
	for t := range x.tables {
		for s := range x.tables[t].all() {
			c.order[next[s.pack]] = number
			next[s.pack]++
			number++
		}
	}
	return c
}

// Of appends the blobs of a pack to entries, in the order of their offsets. A pack that is not listed has none.
func (c *Contents) Of(id object.ID, entries []pack.Entry) []pack.Entry {
	n, listed := c.x.number[id]
	if !listed {
		return entries
	}
	first, data := len(entries), uint32(c.x.tables[object.Data].n)
	for _, number := range c.order[c.starts[n]:c.starts[n+1]] {
		t := object.Data
		if number >= data {
			t, number = object.Tree, number-data
		}
		entries = append(entries, c.x.location(t, c.x.tables[t].slot(number)).Entry)
	}
	slices.SortFunc(entries[first:], func(a, b pack.Entry) int { return cmp.Compare(a.Offset, b.Offset) })
	return entries
}

// Lists reports whether the pack is listed.
func (x *Index) Lists(id object.ID) bool {
	_, listed := x.number[id]
	return listed
}

// Number gives h's first copy its number among those of its type: from 0 to Len, without gaps.
func (x *Index) Number(h object.Handle) (int, bool) {
	if h.Type > object.Tree {
		return 0, false
	}
	for i := range x.tables[h.Type].numbered(h.ID) {
		return int(i), true
	}
	return 0, false
}

func (x *Index) location(t object.Type, s *slot) Location {
	return Location{pack.Entry{Handle: object.Handle{Type: t, ID: s.id}, Offset: s.offset, Length: s.length, PlainLength: s.plain}, x.packs[s.pack]}
}

// slot is one copy: 48 bytes.
type slot struct {
	id                          object.ID
	pack, offset, length, plain uint32
}

// pageSize is how many slots lie together. Pages never move, so that growing costs no second copy of them.
const pageSize = 4096

// table finds slots by id: pages of slots, and a hash table of their numbers with open addressing. Ids are hashes, so
// their first bytes are all the hashing there is. Memory is 48 bytes a slot and 4 for each of the numbers, of which at
// most three quarters and, just after growing, three eighths are in use: below 59 bytes a blob.
type table struct {
	pages   [][]slot
	n       int
	numbers []uint32 // 1 + number of a slot; 0 is free
}

func (t *table) slot(i uint32) *slot { return &t.pages[i/pageSize][i%pageSize] }

func (t *table) start(id *object.ID) uint64 {
	return binary.LittleEndian.Uint64(id[:]) & uint64(len(t.numbers)-1)
}

func (t *table) add(s slot) {
	for had := range t.lookup(s.id) {
		if *had == s {
			return
		}
	}
	if len(t.numbers) == 0 || (t.n+1)*4 > len(t.numbers)*3 {
		t.grow()
	}
	if t.n%pageSize == 0 {
		size := pageSize
		if t.n == 0 {
			size = 64 // most vaults of tests, and the tables of trees, are small
		}
		t.pages = append(t.pages, make([]slot, 0, size))
	}
	last := len(t.pages) - 1
	t.pages[last] = append(t.pages[last], s)
	t.n++
	t.insert(uint32(t.n - 1))
}

func (t *table) insert(i uint32) {
	mask := uint64(len(t.numbers) - 1)
	at := t.start(&t.slot(i).id)
	for t.numbers[at] != 0 {
		at = (at + 1) & mask
	}
	t.numbers[at] = i + 1
}

func (t *table) grow() {
	t.numbers = make([]uint32, max(64, len(t.numbers)*2))
	for i := range t.n {
		t.insert(uint32(i))
	}
}

func (t *table) lookup(id object.ID) iter.Seq[*slot] {
	return func(yield func(*slot) bool) {
		for _, s := range t.numbered(id) {
			if !yield(s) {
				return
			}
		}
	}
}

// numbered gives the slots of id with their numbers.
func (t *table) numbered(id object.ID) iter.Seq2[uint32, *slot] {
	return func(yield func(uint32, *slot) bool) {
		if len(t.numbers) == 0 {
			return
		}
		mask := uint64(len(t.numbers) - 1)
		for at := t.start(&id); t.numbers[at] != 0; at = (at + 1) & mask {
			i := t.numbers[at] - 1
			if s := t.slot(i); s.id == id && !yield(i, s) {
				return
			}
		}
	}
}

func (t *table) all() iter.Seq[*slot] {
	return func(yield func(*slot) bool) {
		for i := range t.n {
			if !yield(t.slot(uint32(i))) {
				return
			}
		}
	}
}

package index

import (
	"iter"

	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Copies have numbers, from 0 to Len of their type, in the order in which they were added: what is to be noted of all
// blobs or of all copies takes bits by these numbers. Packs are numbered likewise, by their places in Packs.

// Copy gives the n-th copy of type t: of which blob, and where it lies.
func (x *Index) Copy(t object.Type, n int) (object.ID, Place) {
	s := x.tables[t].slot(uint32(n))
	return s.id, Place{s.pack, s.offset, s.length, s.plain}
}

// Copies gives the numbers and the places of all copies of h, in no particular order.
func (x *Index) Copies(h object.Handle) iter.Seq2[int, Place] {
	return func(yield func(int, Place) bool) {
		if h.Type > object.Tree {
			return
		}
		for i, s := range x.tables[h.Type].numbered(h.ID) {
			if !yield(int(i), Place{s.pack, s.offset, s.length, s.plain}) {
				return
			}
		}
	}
}

// PackNumber gives the place of a pack in Packs.
func (x *Index) PackNumber(id object.ID) (uint32, bool) {
	n, listed := x.number[id]
	return n, listed
}

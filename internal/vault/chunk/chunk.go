// Package chunk finds where restic cuts a stream into chunks, so that both deduplicate against each other.
//
// A chunk ends after the first 64 bytes whose Rabin fingerprint has 20 low bits of zero, but not before MinSize and at
// MaxSize at the latest. A fingerprint is the window's bits as a polynomial over GF(2), modulo the vault's irreducible
// one of degree 53 (M. O. Rabin, "Fingerprinting by Random Polynomials", 1981; restic's doc/design.rst, "Deduplication").
// That it depends on the window alone is what makes this fast: places apart from each other are looked at side by side.
// It reads nothing by itself. Start with [NewTable].
package chunk

import "github.com/restic/chunker"

// The sizes that restic's writer keeps, in bytes.
const (
	MinSize = 512 << 10
	MaxSize = 8 << 20
)

const (
	window   = 64
	degree   = 53
	topShift = degree - 8 // what is above is reduced when a byte comes in
	cutMask  = 1<<20 - 1
	// lanes are looked at side by side, each laneSize long. Together they are less than the first-level cache.
	lanes    = 4
	laneSize = 2 << 10
)

// Table is what a polynomial needs for fingerprints of a window. It may be used by several goroutines at once.
type Table struct {
	// in reduces the eight bits that leave the top; out takes away a byte that leaves the window, after the shift.
	in, out [256]uint64
}

// NewTable prepares for a polynomial of degree 53.
func NewTable(p chunker.Pol) *Table {
	t := &Table{}
	for b := range 256 {
		top := chunker.Pol(b) << degree
		t.in[b] = uint64(top.Mod(p) | top)
		leaving := chunker.Pol(b)
		for range window {
			leaving = (leaving << 8).Mod(p)
		}
		t.out[b] = uint64(leaving)
	}
	return t
}

// slide moves the window's fingerprint by one byte.
func (t *Table) slide(digest uint64, out, in byte) uint64 {
	return digest<<8 ^ t.in[byte(digest>>topShift)] ^ t.out[out] ^ uint64(in)
}

// fingerprint is that of the 64 bytes of w.
func (t *Table) fingerprint(w []byte) uint64 {
	digest := uint64(0)
	for _, b := range w[:window] {
		digest = t.slide(digest, 0, b)
	}
	return digest
}

// Find gives the length of the chunk at the beginning of data, or 0 when it does not end within data. From is a length
// that was searched already, in vain; 0 for the first search.
func (t *Table) Find(data []byte, from int) int {
	data = data[:min(len(data), MaxSize)]
	if len(data) < MinSize {
		return 0
	}
	at := max(from+1, MinSize) // the next length to be looked at
	for ; at+lanes*laneSize <= len(data); at += lanes * laneSize {
		if n := t.beside(data[at-window-1 : at+lanes*laneSize]); n >= 0 {
			return at + n
		}
	}
	if at <= len(data) {
		digest := t.fingerprint(data[at-window : at])
		for {
			if digest&cutMask == 0 {
				return at
			}
			if at == len(data) {
				break
			}
			digest = t.slide(digest, data[at-window], data[at])
			at++
		}
	}
	if len(data) == MaxSize {
		return MaxSize
	}
	return 0
}

// beside looks at lanes × laneSize places: the first is the window that begins at data[1]. It gives the number of the
// first place that ends a chunk, or -1.
func (t *Table) beside(data []byte) int {
	const size = laneSize + window // of what a lane leaves and takes in, with the window before its first place
	var a, b, c, d = data[0*laneSize:][:size], data[1*laneSize:][:size], data[2*laneSize:][:size], data[3*laneSize:][:size]
	fa, fb, fc, fd := t.fingerprint(a), t.fingerprint(b), t.fingerprint(c), t.fingerprint(d)
	found := [lanes]int{-1, -1, -1, -1}
	for i := range laneSize {
		fa = fa<<8 ^ t.in[byte(fa>>topShift)] ^ t.out[a[i]] ^ uint64(a[i+window])
		fb = fb<<8 ^ t.in[byte(fb>>topShift)] ^ t.out[b[i]] ^ uint64(b[i+window])
		fc = fc<<8 ^ t.in[byte(fc>>topShift)] ^ t.out[c[i]] ^ uint64(c[i+window])
		fd = fd<<8 ^ t.in[byte(fd>>topShift)] ^ t.out[d[i]] ^ uint64(d[i+window])
		if fa&cutMask == 0 {
			return i // nothing comes before the first lane
		}
		if fb&cutMask == 0 && found[1] < 0 {
			found[1] = i
		}
		if fc&cutMask == 0 && found[2] < 0 {
			found[2] = i
		}
		if fd&cutMask == 0 && found[3] < 0 {
			found[3] = i
		}
	}
	for lane, i := range found {
		if i >= 0 {
			return lane*laneSize + i
		}
	}
	return -1
}

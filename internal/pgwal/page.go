package pgwal

import (
	"encoding/binary"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// PageSize is how long a page of the log is, and one of a relation, in every build that is distributed.
const PageSize = 8192

// Header is what the first page of a segment says of the log that it belongs to (XLogLongPageHeaderData).
type Header struct {
	Magic    uint16 // of the major version
	Timeline Timeline
	Address  LSN // of the page
	SystemID uint64
	Segment  SegmentSize
	Page     uint32
}

// longHeader says that a page header is followed by the facts of the log.
const longHeader = 0x0002

// ParseHeader reads the beginning of a segment. The byte order is that of the machine which wrote it; little-endian is
// expected. Corrupt: it is none.
func ParseHeader(segment []byte) (Header, error) {
	if len(segment) < 40 {
		return Header{}, failure.New(failure.Corrupt, "read a segment", "", "%d bytes hold no header", len(segment))
	}
	o := binary.LittleEndian
	h := Header{Magic: o.Uint16(segment), Timeline: Timeline(o.Uint32(segment[4:])), Address: LSN(o.Uint64(segment[8:])),
		SystemID: o.Uint64(segment[24:]), Segment: SegmentSize(o.Uint32(segment[32:])), Page: o.Uint32(segment[36:])}
	if o.Uint16(segment[2:])&longHeader == 0 || h.Magic>>8 != 0xD1 || !h.Segment.Valid() || h.Page != PageSize {
		return Header{}, failure.New(failure.Corrupt, "read a segment", "", "it does not begin as one of PostgreSQL's with pages of %d bytes", PageSize)
	}
	return h, nil
}

// CheckPages verifies that data, which begins at the segment's position at, holds the pages of that place and no others:
// each says its own address. It gives how many bytes from the beginning are so; what follows was never written, belongs to
// an earlier use of the file, or is damaged. At is the start of a page.
func CheckPages(data []byte, at LSN, magic uint16) int {
	good := 0
	for good+16 <= len(data) {
		o := binary.LittleEndian
		if o.Uint16(data[good:]) != magic || LSN(o.Uint64(data[good+8:])) != at+LSN(good) {
			break
		}
		good += PageSize
	}
	return min(good, len(data))
}

// checksumBase are the starting values of the 32 sums (storage/checksum_impl.h).
var checksumBase = [32]uint32{
	0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
	0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
	0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
	0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
}

// fnvPrime is that of FNV-1a.
const fnvPrime = 16777619

// PageChecksum computes the checksum of a relation's page that is block number block of its relation (all segments of the
// file counted). The page's own checksum field counts as zero.
func PageChecksum(page *[PageSize]byte, block uint32) uint16 {
	sums := checksumBase
	for i := 0; i < PageSize; i += 4 * len(sums) {
		row := page[i : i+4*len(sums)]
		for j := range sums {
			v := binary.LittleEndian.Uint32(row[4*j:])
			if i == 0 && j == 2 { // pd_checksum is the first half of the third word
				v &= 0xFFFF0000
			}
			t := sums[j] ^ v
			sums[j] = t*fnvPrime ^ t>>17
		}
	}
	sum := uint32(0)
	for _, s := range sums {
		for range 2 {
			s = s*fnvPrime ^ s>>17
		}
		sum ^= s
	}
	return uint16((sum^block)%65535 + 1)
}

// PageSound reports whether a relation's page has the checksum that it claims. A page that was never used (pd_upper is
// zero) has none, and is sound when it is all zeros; its LSN is zero then.
func PageSound(page *[PageSize]byte, block uint32) bool {
	if binary.LittleEndian.Uint16(page[14:]) == 0 {
		return *page == [PageSize]byte{}
	}
	return binary.LittleEndian.Uint16(page[8:]) == PageChecksum(page, block)
}

// PageLSN is the position up to which the log was written before the page was.
func PageLSN(page *[PageSize]byte) LSN {
	return LSN(binary.LittleEndian.Uint32(page[0:]))<<32 | LSN(binary.LittleEndian.Uint32(page[4:]))
}

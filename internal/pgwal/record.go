package pgwal

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Sizes and flags of the log's structure (access/xlog_internal.h, access/xlogrecord.h).
const (
	shortHeader      = 24 // of a page
	longHeaderSize   = 40 // of a segment's first page
	recordHeader     = 24
	firstIsContinued = 0x0001 // the page begins with the rest of a record
	firstOverwrites  = 0x0008 // the record that should go on here never will
	maxRecord        = 1 << 30
	xlogManager      = 0    // the resource manager of the log's own records
	infoSwitch       = 0x40 // the rest of the segment is empty
)

// Verifier reads log as it lies in segments, and verifies what can be without interpreting it: that each page says its own
// timeline and address, and that each record has its checksum. It begins with a record that begins in the first segment;
// the rest of one that began before is passed over. Copying a Verifier keeps the state it is in.
type Verifier struct {
	system   uint64
	segment  SegmentSize
	timeline Timeline
	magic    uint16

	start  LSN
	at     LSN // of the next byte
	header [longHeaderSize]byte
	have   int // bytes of header

	rest    uint32 // bytes of the record that are still to come; with none, a record or padding follows
	verify  bool   // the record's beginning was seen
	begun   LSN    // where it began
	head    [recordHeader]byte
	got     int // bytes of head
	crc     uint32
	skip    LSN // the segment is empty up to here
	whole   LSN // up to where records are whole
	failure error
}

// castagnoli is the polynomial of records' checksums.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NewVerifier begins at a segment's start. SystemID 0 stands for any.
func NewVerifier(at Position, systemID uint64, size SegmentSize) *Verifier {
	start := size.Start(at.At)
	return &Verifier{system: systemID, segment: size, timeline: at.Timeline, start: start, at: start, whole: start}
}

// At is up to where log was given.
func (v *Verifier) At() LSN { return v.at }

// Whole is up to where its records are whole: behind it is, at most, the beginning of one that is not complete yet.
func (v *Verifier) Whole() LSN { return v.whole }

// Write takes what comes next. Corrupt: it is not what was written, and the error says from which position on; nothing
// more is taken then.
func (v *Verifier) Write(data []byte) (int, error) {
	given := len(data)
	for len(data) > 0 && v.failure == nil {
		n := 0
		switch page := int(v.at % PageSize); {
		case v.at < v.skip:
			n, v.failure = v.empty(data)
		case page == 0 || v.have > 0:
			n, v.failure = v.pageHeader(data)
		default:
			n, v.failure = v.content(data[:min(len(data), PageSize-page)])
		}
		v.at += LSN(n)
		data = data[n:]
	}
	return given - len(data), v.failure
}

func (v *Verifier) wrong(at LSN, format string, args ...any) error {
	return failure.New(failure.Corrupt, "verify the log at", at.String(), format, args...)
}

// empty takes what is behind the end of a segment that was switched away from: zeros, and pages that hold nothing.
func (v *Verifier) empty(data []byte) (int, error) {
	return min(len(data), int(v.skip-v.at)), nil
}

// pageHeader takes the header of a page.
func (v *Verifier) pageHeader(data []byte) (int, error) {
	page := v.at - LSN(v.have)
	size := shortHeader
	if v.segment.Offset(page) == 0 {
		size = longHeaderSize
	}
	n := copy(v.header[v.have:size], data)
	v.have += n
	if v.have < size {
		return n, nil
	}
	v.have = 0
	o, h := binary.LittleEndian, v.header[:size]
	magic, info := o.Uint16(h), o.Uint16(h[2:])
	if v.magic == 0 {
		v.magic = magic
	}
	switch {
	case magic>>8 != 0xD1 || magic != v.magic:
		return n, v.wrong(page, "no page of the log begins there")
	case LSN(o.Uint64(h[8:])) != page:
		return n, v.wrong(page, "the page there says that it is the one at %s", LSN(o.Uint64(h[8:])))
	// A page that was written before the timeline changed keeps its number.
	case Timeline(o.Uint32(h[4:])) > v.timeline:
		return n, v.wrong(page, "the page there is of timeline %d, not %d", o.Uint32(h[4:]), v.timeline)
	case size == longHeaderSize && v.system != 0 && o.Uint64(h[24:]) != v.system:
		return n, v.wrong(page, "the segment is of the cluster %d, not %d", o.Uint64(h[24:]), v.system)
	}
	continued := o.Uint32(h[16:])
	switch {
	case info&firstOverwrites != 0:
		v.rest, v.verify, v.got = 0, false, 0
		v.whole = page
	case info&firstIsContinued == 0 && (v.rest > 0 || v.got > 0):
		return n, v.wrong(page, "the record from %s does not go on there", v.begun)
	case info&firstIsContinued != 0 && v.rest == 0 && v.got == 0:
		if page != v.start {
			return n, v.wrong(page, "a record goes on there that did not begin")
		}
		v.rest = continued // it began before us
	case info&firstIsContinued != 0 && v.got == recordHeader && v.verify && continued != v.rest,
		info&firstIsContinued != 0 && !v.verify && v.got == 0 && continued != v.rest:
		return n, v.wrong(page, "%d bytes of the record from %s go on there, and %d are missing", continued, v.begun, v.rest)
	}
	return n, nil
}

// content takes what is between headers, within one page.
func (v *Verifier) content(data []byte) (int, error) {
	if v.rest == 0 && v.got == 0 {
		if pad := int(-v.at & 7); pad > 0 {
			return min(pad, len(data)), nil
		}
		v.begun, v.verify, v.whole = v.at, true, v.at
	}
	if v.verify && v.got < recordHeader {
		return v.recordHead(data)
	}
	n := min(len(data), int(v.rest))
	if v.verify {
		v.crc = crc32.Update(v.crc, castagnoli, data[:n])
	}
	v.rest -= uint32(n)
	if v.rest == 0 {
		return n, v.finish(v.at + LSN(n))
	}
	return n, nil
}

// recordHead takes the header of a record, which may go over a page's end.
func (v *Verifier) recordHead(data []byte) (int, error) {
	n := copy(v.head[v.got:], data)
	v.got += n
	o := binary.LittleEndian
	if v.got >= 4 {
		if total := o.Uint32(v.head[:]); total < recordHeader || total > maxRecord {
			return n, v.wrong(v.begun, "no record begins there")
		}
	}
	if v.got < recordHeader {
		return n, nil
	}
	v.crc, v.rest = 0, o.Uint32(v.head[:])-recordHeader
	if v.rest == 0 {
		return n, v.finish(v.at + LSN(n))
	}
	return n, nil
}

// finish judges a record that ends at end.
func (v *Verifier) finish(end LSN) error {
	v.rest, v.whole = 0, end
	if !v.verify {
		return nil
	}
	o := binary.LittleEndian
	crc := crc32.Update(v.crc, castagnoli, v.head[:20])
	v.got, v.verify = 0, false
	if crc != o.Uint32(v.head[20:]) {
		v.whole = v.begun
		return v.wrong(v.begun, "the record there does not have its checksum")
	}
	if v.head[17] == xlogManager && v.head[16]&0xF0 == infoSwitch {
		v.skip = v.segment.Start(end-1) + LSN(v.segment)
		v.whole = v.skip
	}
	return nil
}

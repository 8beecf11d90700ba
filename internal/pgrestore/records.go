package pgrestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Of records and pages, as access/xlogrecord.h and access/xlog_internal.h have them, from PostgreSQL 13 to 18.
const (
	recordHeader    = 24
	crcAt           = 20 // within it
	shortPageHeader = 24 // 20 bytes, aligned
	longPageHeader  = 40
	align           = 8
	maxRecord       = 1020 << 20 // XLogRecordMaxSize

	pageContinues  = 0x0001 // its first bytes belong to a record of the page before
	pageOverwrites = 0x0008 // the record that would go on here was given up

	managerXLOG = 0
	managerXact = 1

	xlogSwitch       = 0x40
	xlogRestorePoint = 0x70
	infoMask         = 0xF0 // what is the manager's own
	xactMask         = 0x70
	xactCommit       = 0x00
	xactCommitPrep   = 0x30
	xactAbort        = 0x20
	xactAbortPrep    = 0x40
	xactHasInfo      = 0x80
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is one record of the log, whose checksum is right.
type record struct {
	at, end pgwal.LSN // its first byte, and where the next one begins at the earliest
	xid     uint32
	manager byte
	info    byte
	body    []byte // all behind the header; valid until the next record is read
}

// ending says why no record could be read any more.
type ending string

// The endings.
const (
	endsNot     ending = ""
	endsWritten ending = "written" // nothing was written from here on
	endsCut     ending = "cut"     // a record begins here that is not there to its end
	endsDamaged ending = "damaged" // a record is here and its checksum is wrong, or it is none
	endsRead    ending = "unreadable"
)

// reader goes through the records of a route. It belongs to one goroutine.
type reader struct {
	wal   *wal
	route *route
	next  int // the step that is loaded next
	data  []byte
	start pgwal.LSN // of data
	limit pgwal.LSN // up to where data was written
	pos   pgwal.LSN
	buf   []byte
	why   ending
	err   error // with endsRead
}

// readFrom begins at the first record that begins in step i of a route.
func (l *wal) readFrom(ctx context.Context, r *route, i int) (*reader, error) {
	d := &reader{wal: l, route: r, next: i}
	if !d.load(ctx) {
		return d, d.err
	}
	d.pos = d.start
	if d.limit-d.start < pgwal.PageSize {
		d.why = endsWritten
		return d, nil
	}
	// What is left of a record that began before is passed over.
	if left := d.continues(); left > 0 {
		if _, ok := d.take(ctx, int(left), false); !ok {
			return d, d.err
		}
		d.pos = aligned(d.pos)
	}
	return d, nil
}

// load takes the next step of the route.
func (d *reader) load(ctx context.Context) bool {
	if d.next >= len(d.route.steps) {
		d.why = endsCut
		return false
	}
	s := d.route.steps[d.next]
	data, n, err := d.wal.read(ctx, s)
	if err != nil {
		d.why, d.err = endsRead, err
		return false
	}
	d.next++
	d.data, d.start, d.limit = data, s.start, s.start+pgwal.LSN(n)
	return true
}

// continues gives how many bytes of an earlier record begin the page at the reader's position; 0: none.
func (d *reader) continues() uint32 {
	page := d.data[d.pos-d.start:]
	if binary.LittleEndian.Uint16(page[2:])&pageContinues == 0 {
		return 0
	}
	return binary.LittleEndian.Uint32(page[16:])
}

// take reads n bytes over the headers of pages, into the reader's buffer when keep is set. It stops where a record was given up
// by the server, which it tells by giving fewer.
func (d *reader) take(ctx context.Context, n int, keep bool) (given int, ok bool) {
	for given < n {
		if d.pos == d.start+pgwal.LSN(len(d.data)) && !d.load(ctx) {
			return given, false
		}
		if d.pos%pgwal.PageSize == 0 {
			if d.pos+shortPageHeader > d.limit {
				d.why = endsCut
				return given, false
			}
			flags := binary.LittleEndian.Uint16(d.data[d.pos-d.start+2:])
			if given > 0 && flags&pageOverwrites != 0 {
				return given, true
			}
			d.pos += headerOf(d.pos, d.start)
		}
		chunk := min(n-given, int(pgwal.PageSize-d.pos%pgwal.PageSize))
		if d.pos+pgwal.LSN(chunk) > d.limit {
			d.why = endsCut
			return given, false
		}
		if keep {
			d.buf = append(d.buf, d.data[d.pos-d.start:d.pos-d.start+pgwal.LSN(chunk)]...)
		}
		d.pos += pgwal.LSN(chunk)
		given += chunk
	}
	return given, true
}

// headerOf is how long the header of the page at position at is, in a segment that begins at start.
func headerOf(at, start pgwal.LSN) pgwal.LSN {
	if at == start {
		return longPageHeader
	}
	return shortPageHeader
}

func aligned(l pgwal.LSN) pgwal.LSN { return (l + align - 1) &^ (align - 1) }

// record reads the next record. When there is none, the reader says why, and its position is where the last one ended.
func (d *reader) record(ctx context.Context) (record, bool) {
	for {
		if d.why != endsNot {
			return record{}, false
		}
		begin := d.pos
		r, again, ok := d.one(ctx)
		if ok {
			return r, true
		}
		if !again {
			d.pos = begin
			return record{}, false
		}
	}
}

// one reads a record, or tells to try again because the server gave it up.
func (d *reader) one(ctx context.Context) (r record, again, ok bool) {
	d.buf = d.buf[:0]
	// A record's first bytes, with its length, are never apart: records are aligned as pages are.
	if _, ok := d.take(ctx, 4, true); !ok {
		if d.why == endsCut {
			d.why = endsWritten
		}
		return r, false, false
	}
	at := d.pos - 4
	length := binary.LittleEndian.Uint32(d.buf)
	switch {
	case length == 0:
		d.why = endsWritten
		return r, false, false
	case length < recordHeader || length > maxRecord:
		d.why = endsDamaged
		return r, false, false
	}
	given, ok := d.take(ctx, int(length)-4, true)
	if !ok {
		return r, false, false
	}
	if given < int(length)-4 {
		return r, true, false
	}
	crc := crc32.Update(crc32.Checksum(d.buf[recordHeader:], castagnoli), castagnoli, d.buf[:crcAt])
	if crc != binary.LittleEndian.Uint32(d.buf[crcAt:]) {
		d.why = endsDamaged
		// How much of a partial segment was written is known by whole pages only: a record that is cut goes on with zeros.
		if d.next == len(d.route.steps) && !d.route.steps[d.next-1].whole && allZero(d.data[d.pos-d.start:]) {
			d.why = endsCut
		}
		return r, false, false
	}
	r = record{at: at, xid: binary.LittleEndian.Uint32(d.buf[4:]), info: d.buf[16], manager: d.buf[17], body: d.buf[recordHeader:]}
	d.pos = aligned(d.pos)
	if r.manager == managerXLOG && r.info&infoMask == xlogSwitch {
		if rest := d.wal.size.Offset(d.pos); rest != 0 {
			d.pos += pgwal.LSN(uint32(d.wal.size) - rest)
		}
	}
	r.end = d.pos
	return r, false, true
}

// main is the part of a record that its manager reads, of records that are about no pages; nil: it is about some.
func (r record) main() []byte {
	b := r.body
	for len(b) > 1 {
		switch b[0] {
		case 255: // short
			if n := int(b[1]); len(b)-2 == n {
				return b[2:]
			}
			return nil
		case 254: // long
			if len(b) < 5 {
				return nil
			}
			if n := int(binary.LittleEndian.Uint32(b[1:])); len(b)-5 == n {
				return b[5:]
			}
			return nil
		case 253: // where it was replicated from
			b = b[min(3, len(b)):]
		case 252: // the transaction that a subtransaction is of
			b = b[min(5, len(b)):]
		default:
			return nil
		}
	}
	return nil
}

// happening is what a target can refer to.
type happening struct {
	at, end pgwal.LSN
	time    time.Time
	xid     uint32 // of a commit or an abort
	aborted bool
	name    string // of a restore point
}

// epoch2000 is PostgreSQL's, for times.
var epoch2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func pgTime(b []byte) time.Time {
	return epoch2000.Add(time.Duration(int64(binary.LittleEndian.Uint64(b))) * time.Microsecond)
}

// happening tells what a record is to a target.
func (r record) happening() (happening, bool) {
	h := happening{at: r.at, end: r.end, xid: r.xid}
	switch {
	case r.manager == managerXLOG && r.info&infoMask == xlogRestorePoint:
		m := r.main()
		if len(m) < 9 {
			return h, false
		}
		name, _, _ := bytes.Cut(m[8:], []byte{0})
		h.time, h.name, h.xid = pgTime(m), string(name), 0
		return h, h.name != ""
	case r.manager == managerXact:
		op := r.info & xactMask
		m := r.main()
		if len(m) < 8 {
			return h, false
		}
		switch op {
		case xactCommit, xactCommitPrep, xactAbort, xactAbortPrep:
		default:
			return h, false
		}
		h.time, h.aborted = pgTime(m), op == xactAbort || op == xactAbortPrep
		if op == xactCommitPrep || op == xactAbortPrep {
			h.xid = preparedXID(m, r.info)
		}
		return h, true
	}
	return h, false
}

// preparedXID finds which prepared transaction a record commits or aborts (ParseCommitRecord in xactdesc.c).
func preparedXID(m []byte, info byte) uint32 {
	if info&xactHasInfo == 0 || len(m) < 12 {
		return 0
	}
	o := binary.LittleEndian
	has := o.Uint32(m[8:])
	at := 12
	if has&1 != 0 { // the database
		at += 8
	}
	list := func(bit uint32, size int) {
		if has&bit != 0 && at+4 <= len(m) {
			at += 4 + int(o.Uint32(m[at:]))*size
		}
	}
	list(1<<1, 4)  // subtransactions
	list(1<<2, 12) // files
	list(1<<8, 12) // statistics; since 15
	list(1<<3, 16) // invalidations
	if has&(1<<4) == 0 || at < 0 || at+4 > len(m) {
		return 0
	}
	return o.Uint32(m[at:])
}

package importer

import (
	"encoding/binary"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Of the log's pages and records (access/xlog_internal.h, access/xlogrecord.h, access/xact.h in PostgreSQL's source, the
// same from version 13 to 18).
const (
	pageHeader    = 24
	segmentHeader = 40 // of a segment's first page
	continued     = 0x0001
	recordHeader  = 24
	recordMost    = 1 << 30

	xactManager  = 1
	xactMask     = 0x70
	xactCommit   = 0x00
	xactPrepared = 0x30 // commit of what was prepared

	dataShort, dataLong, origin, topXID = 255, 254, 253, 252
)

// looked is how much of a record is looked at: its header, and a commit's time behind the headers of its parts.
const looked = recordHeader + 7 + 5 + 5 + 8

// commits finds the newest commit in a segment, which it is given piece by piece. A record that began in the segment
// before is passed over. It verifies nothing: that was the checksum's.
type commits struct {
	at     pgwal.LSN // of the next byte
	size   pgwal.SegmentSize
	page   [segmentHeader]byte
	have   int          // bytes of page
	skip   uint32       // bytes of the record from before
	record [looked]byte // of the one that is read
	got    uint32       // bytes of it, in record as far as that goes
	total  uint32       // its length, once it is known
	ended  bool         // nothing was written from here on
	last   pgwal.LSN    // where the newest commit's record ends
	when   time.Time
}

// epoch is where PostgreSQL's times begin.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// take goes through what comes next.
func (c *commits) take(data []byte) {
	for len(data) > 0 && !c.ended {
		n := 0
		within := int(c.at % pgwal.PageSize)
		if within == 0 || c.have > 0 {
			n = c.header(data)
		} else {
			n = c.content(data[:min(len(data), pgwal.PageSize-within)])
		}
		c.at += pgwal.LSN(n)
		data = data[n:]
	}
}

func (c *commits) header(data []byte) int {
	begin := c.at - pgwal.LSN(c.have)
	size := pageHeader
	if c.size.Offset(begin) == 0 {
		size = segmentHeader
	}
	n := copy(c.page[c.have:size], data)
	if c.have += n; c.have < size {
		return n
	}
	c.have = 0
	o := binary.LittleEndian
	switch goesOn := o.Uint16(c.page[2:])&continued != 0; {
	case pgwal.LSN(o.Uint64(c.page[8:])) != begin:
		c.ended = true
	case goesOn && c.got == 0 && c.size.Offset(begin) == 0:
		c.skip = o.Uint32(c.page[16:])
	case !goesOn: // what was begun was given up
		c.got, c.total, c.skip = 0, 0, 0
	}
	return n
}

// content takes what is between headers.
func (c *commits) content(data []byte) int {
	if c.skip > 0 {
		n := min(c.skip, uint32(len(data)))
		c.skip -= n
		return int(n)
	}
	if c.got == 0 {
		if pad := int(-c.at & 7); pad > 0 {
			return min(pad, len(data))
		}
	}
	if c.got < looked && (c.total == 0 || c.got < c.total) {
		most := len(c.record)
		if c.total > 0 {
			most = min(most, int(c.total))
		} else {
			most = 4 // the length, which no page's end parts
		}
		n := copy(c.record[c.got:most], data)
		c.got += uint32(n)
		if c.got == 4 && c.total == 0 {
			if c.total = binary.LittleEndian.Uint32(c.record[:]); c.total < recordHeader || c.total > recordMost {
				c.ended = true
			}
		}
		c.finish(n)
		return n
	}
	n := min(int(c.total-c.got), len(data))
	c.got += uint32(n)
	c.finish(n)
	return n
}

// finish looks at a record that is complete with the n bytes that were just taken.
func (c *commits) finish(n int) {
	if c.total == 0 || c.got < c.total {
		return
	}
	body := c.record[:min(c.total, looked)]
	c.got, c.total = 0, 0
	if info := body[16] & xactMask; body[17] != xactManager || info != xactCommit && info != xactPrepared {
		return
	}
	at := recordHeader
	for at < len(body) {
		switch body[at] {
		case origin:
			at += 3
		case topXID:
			at += 5
		case dataShort, dataLong:
			if at += 2; body[at-2] == dataLong {
				at += 3
			}
			if at+8 <= len(body) {
				us := int64(binary.LittleEndian.Uint64(body[at:]))
				c.last, c.when = c.at+pgwal.LSN(n), epoch.Add(time.Duration(us/1e6)*time.Second+time.Duration(us%1e6)*time.Microsecond)
			}
			return
		default:
			return
		}
	}
}

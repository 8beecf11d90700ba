package importer

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// maxControl is how much of a control file is looked at: it is no longer (PG_CONTROL_FILE_SIZE).
const maxControl = 8192

// control is what a cluster's control file says (catalog/pg_control.h in PostgreSQL's source).
type control struct {
	systemID  uint64
	page      int
	segment   pgwal.SegmentSize
	checksums bool
}

// parseControl reads a control file. What comes before the sizes changed between versions; they stand behind a number
// that is there to be recognised (FLOATFORMAT_VALUE), in the same order from version 13 to 18.
func parseControl(data []byte) (control, error) {
	o := binary.LittleEndian
	at := bytes.Index(data, o.AppendUint64(nil, math.Float64bits(1234567.0)))
	if at < 16 || at+48 > len(data) {
		return control{}, failure.New(failure.Corrupt, "read", controlName, "it is no control file of a little-endian machine")
	}
	c := control{systemID: o.Uint64(data), page: int(o.Uint32(data[at+8:])), segment: pgwal.SegmentSize(o.Uint32(data[at+20:])), checksums: o.Uint32(data[at+44:]) != 0}
	if !c.segment.Valid() || c.page < 1024 || c.page > 32768 || c.page&(c.page-1) != 0 {
		return control{}, failure.New(failure.Corrupt, "read", controlName, "its sizes cannot be: pages of %d bytes, segments of %d", c.page, c.segment)
	}
	return c, nil
}

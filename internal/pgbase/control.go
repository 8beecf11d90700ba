package pgbase

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// controlPath is the cluster's control file, from the data folder.
const controlPath = "global/pg_control"

// control is what the control file says (catalog/pg_control.h in PostgreSQL's source; the same for all versions from 11 on
// as far as it is read here).
type control struct {
	systemID uint64
	redo     pgwal.LSN // where the last checkpoint's replay begins
	timeline pgwal.Timeline
}

// readControl reads the content of a control file. Corrupt: its own checksum is wrong, as when it is read while the server
// writes it. The checksum stands where the version's fields end, and only zeros follow.
func readControl(data []byte) (control, error) {
	end := len(bytes.TrimRight(data, "\x00"))
	for at := 128; at+4 <= min(len(data), 512); at += 4 {
		if end <= at+4 && crc32.Checksum(data[:at], castagnoli) == binary.LittleEndian.Uint32(data[at:]) {
			o := binary.LittleEndian
			return control{o.Uint64(data), pgwal.LSN(o.Uint64(data[40:])), pgwal.Timeline(o.Uint32(data[48:]))}, nil
		}
	}
	return control{}, failure.New(failure.Corrupt, "read", controlPath, "its checksum is wrong").
		WithHint("look at it with pg_controldata; when it is sound, capture again")
}

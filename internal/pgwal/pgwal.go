// Package pgwal knows PostgreSQL's write-ahead log from outside: positions, segments and their names, timelines, and what
// tells a sound page from another one.
//
// It is pure: it opens no file and no connection, and interprets no records. The formats are those of PostgreSQL 13 to 18
// (access/xlog_internal.h, access/xlogdefs.h, storage/checksum_impl.h in its source). Start with [ParseLSN] and
// [SegmentName].
package pgwal

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// LSN is a position in the write-ahead log, in bytes since the cluster was made. It is written as "16/B374D848".
type LSN uint64

// String writes it as PostgreSQL does.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }

// ParseLSN reads what PostgreSQL writes. Invalid: anything else.
func ParseLSN(text string) (LSN, error) {
	high, low, found := strings.Cut(text, "/")
	if found && len(high) <= 8 && len(low) <= 8 {
		h, err1 := strconv.ParseUint(high, 16, 32)
		l, err2 := strconv.ParseUint(low, 16, 32)
		if err1 == nil && err2 == nil {
			return LSN(h<<32 | l), nil
		}
	}
	return 0, failure.New(failure.Invalid, "read a position", "", "%q is no position in the write-ahead log", text).
		WithHint("positions look like 16/B374D848")
}

// MarshalText writes String.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what ParseLSN reads.
func (l *LSN) UnmarshalText(text []byte) error {
	v, err := ParseLSN(string(text))
	if err == nil {
		*l = v
	}
	return err
}

// Timeline is a branch of a cluster's history. The first is 1.
type Timeline uint32

// Position is a place in a cluster's history.
type Position struct {
	Timeline Timeline `json:"timeline"`
	At       LSN      `json:"at"`
}

// SegmentSize is how many bytes of log one file holds: a power of two from 1 MiB to 1 GiB, 16 MiB unless initdb was told
// otherwise. It is the same for the life of a cluster.
type SegmentSize uint32

// DefaultSegmentSize is initdb's.
const DefaultSegmentSize SegmentSize = 16 << 20

// Valid reports whether s is a size that a cluster can have.
func (s SegmentSize) Valid() bool { return s >= 1<<20 && s <= 1<<30 && s&(s-1) == 0 }

// Start is the first position of the segment that l lies in.
func (s SegmentSize) Start(l LSN) LSN { return l &^ (LSN(s) - 1) }

// Offset is how far into its segment l lies, in bytes.
func (s SegmentSize) Offset(l LSN) uint32 { return uint32(l & (LSN(s) - 1)) }

// perID is how many segments share the middle eight digits of a name.
func (s SegmentSize) perID() uint64 { return 1 << 32 / uint64(s) }

// SegmentName is the file that holds position l on timeline t: 24 hexadecimal digits.
func SegmentName(t Timeline, l LSN, s SegmentSize) string {
	n := uint64(l) / uint64(s)
	return fmt.Sprintf("%08X%08X%08X", uint32(t), n/s.perID(), n%s.perID())
}

// ParseSegmentName reads the name of a segment, without a suffix such as .partial. Invalid: it is none.
func ParseSegmentName(name string, s SegmentSize) (Timeline, LSN, error) {
	invalid := func() (Timeline, LSN, error) {
		return 0, 0, failure.New(failure.Invalid, "read the name of a segment", name, "it is not that of a segment of %d MiB", s>>20)
	}
	if len(name) != 24 || !s.Valid() || strings.ToUpper(name) != name {
		return invalid()
	}
	var part [3]uint64
	for i := range part {
		v, err := strconv.ParseUint(name[8*i:8*i+8], 16, 32)
		if err != nil {
			return invalid()
		}
		part[i] = v
	}
	if part[0] == 0 || part[2] >= s.perID() {
		return invalid()
	}
	return Timeline(part[0]), LSN((part[1]*s.perID() + part[2]) * uint64(s)), nil
}

// HistoryName is the file that says where timeline t comes from. Timeline 1 has none.
func HistoryName(t Timeline) string { return fmt.Sprintf("%08X.history", uint32(t)) }

// Switch is where a timeline was left for the next one.
type Switch struct {
	Timeline Timeline // the one that ended
	At       LSN      // the first position that is not its own any more
	Reason   string
}

// ParseHistory reads a timeline history file: the ancestors of timeline t, oldest first. Corrupt: it is none, or they do
// not rise.
func ParseHistory(t Timeline, content []byte) ([]Switch, error) {
	corrupt := func(line string) error {
		return failure.New(failure.Corrupt, "read", HistoryName(t), "no line of a history: %q", line)
	}
	var out []Switch
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return nil, corrupt(line)
		}
		id, err := strconv.ParseUint(fields[0], 10, 32)
		if err != nil {
			return nil, corrupt(line)
		}
		at, err := ParseLSN(fields[1])
		if err != nil {
			return nil, corrupt(line)
		}
		if n := len(out); n > 0 && (Timeline(id) <= out[n-1].Timeline || at < out[n-1].At) || Timeline(id) >= t || id == 0 {
			return nil, corrupt(line)
		}
		out = append(out, Switch{Timeline(id), at, strings.Join(fields[2:], " ")})
	}
	return out, nil
}

// On gives the timeline that position l is on, by the history of timeline t.
func On(t Timeline, history []Switch, l LSN) Timeline {
	for _, s := range history {
		if l < s.At {
			return s.Timeline
		}
	}
	return t
}

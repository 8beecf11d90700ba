package postgres

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// lsn is a position in the write-ahead log, in bytes. It is written as "16/B374D848".
type lsn uint64

// String writes it as PostgreSQL does.
func (l lsn) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }

// parseLSN reads what PostgreSQL writes.
func parseLSN(text string) (lsn, error) {
	high, low, found := strings.Cut(text, "/")
	if found {
		h, err1 := strconv.ParseUint(high, 16, 32)
		l, err2 := strconv.ParseUint(low, 16, 32)
		if err1 == nil && err2 == nil {
			return lsn(h<<32 | l), nil
		}
	}
	return 0, failure.New(failure.Corrupt, "read", "", "%q is no position in the write-ahead log", text)
}

// behind is how far b is behind a, and never negative: the two are not read at the same instant.
func behind(a, b lsn) int64 {
	if b >= a {
		return 0
	}
	return int64(a - b)
}

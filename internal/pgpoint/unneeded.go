package pgpoint

import (
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// ImportedFrom is what the site of log begins with that was imported: no receiver looks after it.
const ImportedFrom = "pgbackrest-"

// Unneeded gives the log that was imported and of which no base point needs anything any more: all of it lies before they
// begin, or is of another cluster. What only some of its beginning is not needed of stays whole.
func Unneeded(logs []LogPoint, kept []BasePoint) []*snapshot.Snapshot {
	var out []*snapshot.Snapshot
	for _, l := range logs {
		needed := slices.ContainsFunc(kept, func(b BasePoint) bool {
			return b.SystemID == l.SystemID && slices.ContainsFunc(l.Spans, func(s Span) bool { return s.To.At > l.Segment.Start(b.Start) })
		})
		if !needed && strings.HasPrefix(string(SiteOf(l.Snapshot)), ImportedFrom) {
			out = append(out, l.Snapshot)
		}
	}
	return out
}

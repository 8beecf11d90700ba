package pgpoint_test

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestImportedLogGoesWithTheLastPointThatNeedsIt(t *testing.T) {
	log := func(site model.SiteID, to pgwal.LSN) pgpoint.LogPoint {
		return pgpoint.LogPoint{Log: pgpoint.Log{SystemID: 7, Segment: pgwal.DefaultSegmentSize, Spans: []pgpoint.Span{{From: at(1, 0x1000000), To: at(1, to)}}},
			Snapshot: &snapshot.Snapshot{Tags: pgpoint.Tags(whose, pgpoint.IsLog, site)}}
	}
	base := func(system uint64, start pgwal.LSN) pgpoint.BasePoint {
		return pgpoint.BasePoint{Base: pgpoint.Base{SystemID: system, Timeline: 1, Start: start}}
	}
	const imported = pgpoint.ImportedFrom + "main"
	for _, c := range []struct {
		name string
		log  pgpoint.LogPoint
		kept []pgpoint.BasePoint
		want int
	}{
		{"a point needs it", log(imported, 0x8000000), []pgpoint.BasePoint{base(7, 0x2000028), base(7, 0x9000028)}, 0},
		{"a point begins in its last segment", log(imported, 0x8000000), []pgpoint.BasePoint{base(7, 0x7000028)}, 0},
		{"all points are behind it", log(imported, 0x8000000), []pgpoint.BasePoint{base(7, 0x8000028), base(7, 0x9000028)}, 1},
		{"all points are of another cluster", log(imported, 0x8000000), []pgpoint.BasePoint{base(8, 0x2000028)}, 1},
		{"it is a receiver's", log("west", 0x8000000), []pgpoint.BasePoint{base(7, 0x9000028)}, 0},
	} {
		if got := pgpoint.Unneeded([]pgpoint.LogPoint{c.log}, c.kept); len(got) != c.want {
			t.Errorf("%s: got %d, want %d", c.name, len(got), c.want)
		}
	}
}

package pgpoint_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
	"github.com/lifeboat-dr/lifeboat/model"
)

var (
	whose = pgpoint.Whose{App: "shop", Resource: "db"}
	noon  = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
)

func at(t pgwal.Timeline, l pgwal.LSN) pgwal.Position { return pgwal.Position{Timeline: t, At: l} }

func TestPathsAreApartByTimelineAndUpperHalf(t *testing.T) {
	got := pgpoint.SegmentPath(3, 0x16B374D848, pgwal.DefaultSegmentSize)
	if want := "/wal/00000003/00000016/B/0000000300000016000000B3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := pgpoint.HistoryPath(3), "/wal/00000003.history"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// store commits a snapshot that holds nothing but a document.
func store(t *testing.T, v *vault.Vault, what pgpoint.What, site model.SiteID, when time.Time, text []byte) {
	t.Helper()
	ctx := context.Background()
	s, err := v.NewSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	id, err := s.SaveBlob(ctx, object.Data, text)
	if err != nil {
		t.Fatal(err)
	}
	root, err := s.SaveTree(ctx, &tree.Tree{Nodes: []tree.Node{{Name: pgpoint.AboutPath[1:], Type: tree.File, Size: uint64(len(text)), Content: []object.ID{id}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, &snapshot.Snapshot{Time: when, Tree: &root, Paths: []string{"/"}, Tags: pgpoint.Tags(whose, what, site)}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsStoredIsListed(t *testing.T) {
	ctx := context.Background()
	v, err := vault.Init(ctx, memory.New(), "secret", vault.Options{})
	if err != nil {
		t.Fatal(err)
	}
	base := pgpoint.Base{SystemID: 7, Major: 15, Segment: pgwal.DefaultSegmentSize, Page: 8192, Timeline: 1, Start: 0x2000028, Stop: 0x2000100,
		Begun: noon, Ended: noon.Add(time.Minute), Rows: map[string]int64{"shop.public.orders": 3}}
	text, err := base.Encode()
	if err != nil {
		t.Fatal(err)
	}
	store(t, v, pgpoint.IsBase, "east", base.Ended, text)
	for i, site := range []model.SiteID{"west", "north", "west"} {
		text, err := pgpoint.Log{SystemID: 7, Segment: pgwal.DefaultSegmentSize,
			Spans: []pgpoint.Span{{From: at(1, 0x2000000), To: at(1, pgwal.LSN(0x3000000+i))}}}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		store(t, v, pgpoint.IsLog, site, noon.Add(time.Duration(i)*time.Hour), text)
	}
	bases, err := pgpoint.Bases(ctx, v, whose)
	if err != nil || len(bases) != 1 {
		t.Fatalf("got %d base points, %v", len(bases), err)
	}
	base.Version = 1
	if diff := cmp.Diff(base, bases[0].Base); diff != "" {
		t.Errorf("the base point differs (-want +got):\n%s", diff)
	}
	logs, err := pgpoint.Logs(ctx, v, whose)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range logs {
		got = append(got, string(pgpoint.SiteOf(l.Snapshot))+" "+l.Spans[0].To.At.String())
	}
	if diff := cmp.Diff([]string{"north 0/3000001", "west 0/3000002"}, got); diff != "" {
		t.Errorf("the newest log of each site (-want +got):\n%s", diff)
	}
	store(t, v, pgpoint.IsBase, "east", noon, []byte(`{"version": 99}`))
	if bases, err := pgpoint.Bases(ctx, v, whose); failure.KindOf(err) != failure.Unsupported || len(bases) != 1 {
		t.Errorf("of a newer version: got %d base points, %v", len(bases), err)
	}
}

func TestReach(t *testing.T) {
	const seg = pgwal.DefaultSegmentSize
	base := func(tl pgwal.Timeline, start pgwal.LSN) pgpoint.BasePoint {
		return pgpoint.BasePoint{Base: pgpoint.Base{SystemID: 7, Timeline: tl, Start: start, Stop: start + 0x100, Ended: noon}}
	}
	log := func(site model.SiteID, system uint64, histories map[pgwal.Timeline][]pgwal.Switch, marks []pgpoint.Mark, spans ...pgpoint.Span) pgpoint.LogPoint {
		return pgpoint.LogPoint{Log: pgpoint.Log{SystemID: system, Segment: seg, Spans: spans, Marks: marks}, Histories: histories,
			Snapshot: &snapshot.Snapshot{Tags: pgpoint.Tags(whose, pgpoint.IsLog, site)}}
	}
	mark := func(tl pgwal.Timeline, l pgwal.LSN, after time.Duration) pgpoint.Mark {
		return pgpoint.Mark{Position: at(tl, l), Time: noon.Add(after)}
	}
	two := map[pgwal.Timeline][]pgwal.Switch{2: {{Timeline: 1, At: 0xA000500}}}
	// Timeline 2 left 1 at 0/A000500, and 3 left 2 at 0/C000700; 1 went on to 0/A800000 by itself.
	three := map[pgwal.Timeline][]pgwal.Switch{3: {{Timeline: 1, At: 0xA000500}, {Timeline: 2, At: 0xC000700}}}
	west := log("west", 7, two, []pgpoint.Mark{mark(1, 0x4000000, time.Minute), mark(1, 0x9000500, time.Hour), mark(2, 0xB000000, 2*time.Hour)},
		pgpoint.Span{From: at(1, 0x2000000), To: at(1, 0x5000000)},
		pgpoint.Span{From: at(1, 0x9000000), To: at(2, 0xB000000), Why: "the slot was lost"})
	abandoned := log("north", 7, nil, []pgpoint.Mark{mark(1, 0xA700000, 90*time.Minute)}, pgpoint.Span{From: at(1, 0x9000000), To: at(1, 0xA800000)})
	east := log("east", 7, three, []pgpoint.Mark{mark(3, 0xD000000, 3*time.Hour)},
		pgpoint.Span{From: at(2, 0xB000000), To: at(3, 0xD000000)})
	other := log("east", 8, nil, nil, pgpoint.Span{From: at(1, 0x2000000), To: at(1, 0xF000000)})
	for _, c := range []struct {
		name string
		base pgpoint.BasePoint
		logs []pgpoint.LogPoint
		want pgpoint.Range
	}{
		{"up to a gap", base(1, 0x2000028), []pgpoint.LogPoint{west, other},
			pgpoint.Range{Consistent: true, To: at(1, 0x5000000), ToTime: noon.Add(time.Minute), Gap: "the slot was lost", Site: "west"}},
		{"over a switch of the timeline", base(1, 0x9000028), []pgpoint.LogPoint{west, other},
			pgpoint.Range{Consistent: true, To: at(2, 0xB000000), ToTime: noon.Add(2 * time.Hour), Site: "west"}},
		{"on in the log of another site", base(1, 0x9000028), []pgpoint.LogPoint{west, abandoned, east},
			pgpoint.Range{Consistent: true, To: at(3, 0xD000000), ToTime: noon.Add(3 * time.Hour), Site: "east"}},
		{"on a branch that was left", base(1, 0xA600028), []pgpoint.LogPoint{west, abandoned, east},
			pgpoint.Range{Consistent: true, To: at(1, 0xA800000), ToTime: noon.Add(90 * time.Minute), Site: "north"}},
		{"in a gap", base(1, 0x6000028), []pgpoint.LogPoint{west, other}, pgpoint.Range{To: at(1, 0x6000128), ToTime: noon}},
		{"beyond the log", base(2, 0xB000028), []pgpoint.LogPoint{west}, pgpoint.Range{To: at(2, 0xB000128), ToTime: noon}},
		{"of a timeline that the log is not on", base(3, 0x9000028), []pgpoint.LogPoint{west}, pgpoint.Range{To: at(3, 0x9000128), ToTime: noon}},
		{"without any log", base(1, 0x2000028), nil, pgpoint.Range{To: at(1, 0x2000128), ToTime: noon}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.want.Base, c.want.From, c.want.FromTime = c.base, at(c.base.Timeline, c.base.Stop), noon
			if diff := cmp.Diff(c.want, pgpoint.Reach([]pgpoint.BasePoint{c.base}, c.logs)[0]); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

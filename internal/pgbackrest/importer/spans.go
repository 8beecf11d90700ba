package importer

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// held is what there is of a cluster's log.
type held struct {
	size      pgwal.SegmentSize
	segments  map[pgwal.Timeline][]pgwal.LSN // where whole segments begin, rising
	histories map[pgwal.Timeline][]pgwal.Switch
	// why tells what is wrong with a segment that is left out; "": it is simply not there.
	why map[pgwal.Position]string
}

// piece is log of one timeline without a gap.
type piece struct {
	timeline pgwal.Timeline
	from, to pgwal.LSN
}

// pieces are those of all timelines.
func (h held) pieces() []piece {
	var out []piece
	for _, t := range slices.Sorted(maps.Keys(h.segments)) {
		for _, at := range h.segments[t] {
			if n := len(out) - 1; n >= 0 && out[n].timeline == t && out[n].to == at {
				out[n].to += pgwal.LSN(h.size)
			} else {
				out = append(out, piece{t, at, at + pgwal.LSN(h.size)})
			}
		}
	}
	return out
}

// spans joins pieces over the switches of timelines. The segment in which a timeline was left is there on the new one too,
// with all that the old one had up to then: so a piece goes on from the one that reaches that segment. A timeline that
// went on after another one had left it gives a span of its own as well.
func (h held) spans() []pgpoint.Span {
	all := h.pieces()
	var out []pgpoint.Span
	for _, p := range all {
		if !h.goesOn(p, all) {
			out = append(out, pgpoint.Span{From: h.origin(p, all), To: pgwal.Position{Timeline: p.timeline, At: p.to}})
		}
	}
	slices.SortFunc(out, func(a, b pgpoint.Span) int {
		return cmp.Or(cmp.Compare(a.From.At, b.From.At), cmp.Compare(a.To.Timeline, b.To.Timeline), cmp.Compare(a.To.At, b.To.At))
	})
	for i := 1; i < len(out); i++ {
		out[i].Why = h.gap(out[i-1], out[i])
	}
	return out
}

// before gives the piece that p goes on from, and whether there is one.
func (h held) before(p piece, all []piece) (piece, bool) {
	history := h.histories[p.timeline]
	if len(history) == 0 {
		return piece{}, false
	}
	left := history[len(history)-1]
	if h.size.Start(left.At) != p.from {
		return piece{}, false
	}
	i := slices.IndexFunc(all, func(o piece) bool { return o.timeline == left.Timeline && o.from < p.from && o.to >= p.from })
	if i < 0 {
		return piece{}, false
	}
	return all[i], true
}

// origin is where the span that ends with p begins.
func (h held) origin(p piece, all []piece) pgwal.Position {
	for {
		o, ok := h.before(p, all)
		if !ok {
			return pgwal.Position{Timeline: p.timeline, At: p.from}
		}
		p = o
	}
}

// goesOn reports whether all of p is in the span of a later timeline.
func (h held) goesOn(p piece, all []piece) bool {
	for _, o := range all {
		from, ok := h.before(o, all)
		if !ok || from != p {
			continue
		}
		history := h.histories[o.timeline]
		if p.to <= history[len(history)-1].At {
			return true
		}
	}
	return false
}

// gap tells why b does not go on from a.
func (h held) gap(a, b pgpoint.Span) string {
	if b.From == a.From {
		return fmt.Sprintf("timeline %d goes another way than timeline %d", b.To.Timeline, a.To.Timeline)
	}
	if b.From.At <= a.To.At || b.From.Timeline > a.To.Timeline {
		if why := h.why[pgwal.Position{Timeline: b.From.Timeline, At: b.From.At - pgwal.LSN(h.size)}]; why != "" {
			return why
		}
		if b.From.Timeline > 1 && len(h.histories[b.From.Timeline]) == 0 {
			return fmt.Sprintf("the repository has no history of timeline %d", b.From.Timeline)
		}
		return fmt.Sprintf("the repository does not have what timeline %d goes on from", b.To.Timeline)
	}
	for at := a.To.At; at < b.From.At; at += pgwal.LSN(h.size) {
		if why := h.why[pgwal.Position{Timeline: a.To.Timeline, At: at}]; why != "" {
			return why
		}
	}
	n := uint64(b.From.At-a.To.At) / uint64(h.size)
	return fmt.Sprintf("the repository lacks %d segments from %s on", n, pgwal.SegmentName(a.To.Timeline, a.To.At, h.size))
}

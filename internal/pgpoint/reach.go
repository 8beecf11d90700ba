package pgpoint

import (
	"cmp"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Range is what can be reached from one base point without a gap: any state from From to To, both by position and by
// time. Without any log for it, Consistent is false: the point cannot be made consistent and is of no use by itself.
type Range struct {
	Base       BasePoint
	Consistent bool
	From, To   pgwal.Position
	FromTime   time.Time
	// ToTime is when To was reached, as far as marks tell; the time of From when none does.
	ToTime time.Time
	// Gap tells why it ends where it does, in the words of the span that follows; empty when it goes up to the newest log.
	Gap  string
	Site model.SiteID // whose log leads to To
}

// Reach works out what every base point reaches, in their order, by the logs of all sites together: one goes on where
// another one ends. Where the history forks it is the newest timeline that the point lies on.
func Reach(bases []BasePoint, logs []LogPoint) []Range {
	var out []Range
	for _, b := range bases {
		out = append(out, reach(b, logs))
	}
	return out
}

func reach(b BasePoint, logs []LogPoint) Range {
	r := Range{Base: b, From: pgwal.Position{Timeline: b.Timeline, At: b.Stop}, FromTime: b.Ended, ToTime: b.Ended}
	r.To = r.From
	logs = slices.Clone(logs)
	logs = slices.DeleteFunc(logs, func(l LogPoint) bool { return l.SystemID != b.SystemID })
	seen := map[pgwal.Timeline]bool{}
	for _, l := range logs {
		for _, s := range l.Spans {
			if t := s.To.Timeline; !seen[t] {
				seen[t] = true
				if along := follow(b, t, logs); along.Consistent && (!r.Consistent || further(along.To, r.To)) {
					along.Base, along.From, along.FromTime = b, r.From, r.FromTime
					r = along
				}
			}
		}
	}
	if r.Consistent {
		r.date(logs)
	}
	return r
}

// stretch is the part of a span that lies on the way to some timeline.
type stretch struct {
	from, to pgwal.LSN
	site     model.SiteID
	why      string // it begins there
}

// follow goes from a base point towards timeline t as far as there is log.
func follow(b BasePoint, t pgwal.Timeline, logs []LogPoint) Range {
	way := lineage(t, logs)
	if !way.has(pgwal.Position{Timeline: b.Timeline, At: b.Stop}) {
		return Range{}
	}
	var all []stretch
	for _, l := range logs {
		for i, s := range l.Spans {
			x := stretch{from: l.Segment.Start(s.From.At), to: min(s.To.At, way.common(lineage(s.To.Timeline, logs)))}
			if l.Snapshot != nil {
				x.site = SiteOf(l.Snapshot)
			}
			if i > 0 {
				x.why = s.Why
			}
			if x.from < x.to {
				all = append(all, x)
			}
		}
	}
	slices.SortFunc(all, func(x, y stretch) int { return cmp.Or(cmp.Compare(x.from, y.from), cmp.Compare(y.to, x.to)) })
	var r Range
	at := b.Start
	for _, x := range all {
		if x.from > at {
			if r.Gap == "" {
				r.Gap = x.why
			}
			continue
		}
		if x.to > at {
			at, r.Site = x.to, x.site
		}
	}
	if at < b.Stop || r.Site == "" && at == b.Start {
		return Range{}
	}
	r.Consistent, r.To = true, pgwal.Position{Timeline: pgwal.On(t, way.switches, at-1), At: at}
	return r
}

// date finds when the end was reached.
func (r *Range) date(logs []LogPoint) {
	way := lineage(r.To.Timeline, logs)
	for _, l := range logs {
		for _, m := range l.Marks {
			if m.At <= r.To.At && m.Time.After(r.ToTime) && way.has(m.Position) {
				r.ToTime = m.Time
			}
		}
	}
}

// line is the way from the first timeline to one.
type line struct {
	timeline pgwal.Timeline
	switches []pgwal.Switch
}

func lineage(t pgwal.Timeline, logs []LogPoint) line {
	for _, l := range logs {
		if h, ok := l.Histories[t]; ok {
			return line{t, h}
		}
	}
	return line{timeline: t}
}

// has reports whether a position is on the way; the end of a timeline is on both.
func (l line) has(p pgwal.Position) bool {
	return pgwal.On(l.timeline, l.switches, p.At) == p.Timeline ||
		slices.ContainsFunc(l.switches, func(s pgwal.Switch) bool { return s.Timeline == p.Timeline && s.At == p.At })
}

// common is up to where two ways are the same.
func (l line) common(o line) pgwal.LSN {
	const ever = ^pgwal.LSN(0)
	end := pgwal.LSN(0)
	for i := 0; ; i++ {
		a, aEnd := l.part(i)
		b, bEnd := o.part(i)
		if a != b {
			return end
		}
		end = min(aEnd, bEnd)
		if aEnd != bEnd || end == ever {
			return end
		}
	}
}

// part is the i-th timeline of the way, and where it ends.
func (l line) part(i int) (pgwal.Timeline, pgwal.LSN) {
	if i < len(l.switches) {
		return l.switches[i].Timeline, l.switches[i].At
	}
	return l.timeline, ^pgwal.LSN(0)
}

// further orders positions: a later timeline is further.
func further(a, b pgwal.Position) bool {
	return a.Timeline > b.Timeline || a.Timeline == b.Timeline && a.At > b.At
}

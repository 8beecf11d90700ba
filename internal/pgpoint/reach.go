package pgpoint

import (
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Range is what can be reached from one base point without a gap: any state from From to To, both by position and by
// time. Without any log for it, Consistent is false: the point cannot be made consistent and is of no use by itself.
type Range struct {
	Base       BasePoint
	Consistent bool
	From, To   pgwal.Position
	FromTime   time.Time
	// ToTime is when To was reached; the time of From when no mark tells more.
	ToTime time.Time
	// Gap tells why it ends where it does, in the words of the span that follows; empty when it goes up to the newest log.
	Gap string
}

// Reach works out what every base point reaches, oldest first, with what is in the log of any site.
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
	for _, l := range logs {
		if l.SystemID != b.SystemID {
			continue
		}
		for i, s := range l.Spans {
			// The base's log begins in the segment of its start. A span that a later timeline ends is on the base's as long
			// as it began no later than that one.
			if l.Segment.Start(b.Start) < l.Segment.Start(s.From.At) || s.To.At < b.Stop || s.From.Timeline > b.Timeline || s.To.Timeline < b.Timeline {
				continue
			}
			if r.Consistent && !further(s.To, r.To) {
				continue
			}
			r.Consistent, r.To, r.Gap = true, s.To, ""
			if i+1 < len(l.Spans) {
				r.Gap = l.Spans[i+1].Why
			}
			for _, m := range l.Marks {
				if !further(m.Position, s.To) && m.Time.After(r.ToTime) {
					r.ToTime = m.Time
				}
			}
		}
	}
	return r
}

// further orders positions of one span: a later timeline is further.
func further(a, b pgwal.Position) bool {
	return a.Timeline > b.Timeline || a.Timeline == b.Timeline && a.At > b.At
}

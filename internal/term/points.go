package term

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Points lists recovery points, newest first as given, then the ranges between which every state can be reached.
func Points(w io.Writer, r *api.PointsReply, s Style) error {
	p := newPage(s)
	if len(r.Points) == 0 {
		p.line(span{"no recovery points", warn})
	} else {
		p.points(r.Points)
	}
	if len(r.Ranges) > 0 {
		p.blank()
		p.ranges(r.Ranges)
	}
	if len(r.Missed) > 0 {
		p.blank()
		p.line(span{"this is not all: ", bad}, span{"some places could not be asked", warn})
		for _, e := range r.Missed {
			p.failure(2, e)
		}
	}
	return p.flush(w)
}

func (p *page) points(points []model.Point) {
	rows := [][]span{{{"POINT", dim}, {"RESOURCE", dim}, {"SITE", dim}, {"STATE OF", dim}, {"SIZE", dim}, {"PROVED", dim}, {"WHAT", dim}}}
	for _, pt := range points {
		at := units.Instant(pt.At, p.Zone)
		if !p.Now.IsZero() {
			at += " (" + units.Ago(pt.At, p.Now) + ")"
		}
		if pt.Live {
			at += ", live"
		}
		size := ""
		if pt.Bytes > 0 {
			size = units.Bytes(pt.Bytes)
		}
		what := pt.Summary
		if pt.Position != "" {
			what += ", " + pt.Position
		}
		rows = append(rows, []span{
			{shortID(pt.ID), plain}, {string(pt.Resource), plain}, {string(pt.Site), plain}, {at, plain}, {size, plain}, p.proved(pt),
			{strings.TrimPrefix(what, ", "), plain},
		})
	}
	p.table(0, rows)
}

// proved says what the last real restore of a point said.
func (p *page) proved(pt model.Point) span {
	if pt.Proof != nil && !pt.Proof.OK {
		return span{fmt.Sprintf("BAD since %s: %s", units.Instant(pt.Proof.At, p.Zone), pt.Proof.What), bad}
	}
	if pt.ProvedAt == nil {
		return span{"never", warn}
	}
	text := units.Instant(*pt.ProvedAt, p.Zone)
	if pt.Proof != nil && pt.Proof.Took > 0 {
		text += " in " + units.Duration(pt.Proof.Took.Std())
	}
	if pt.ProvedBy != "" {
		text += " by run " + string(pt.ProvedBy)
	}
	return span{text, good}
}

// shortID is a point's id as people type it: enough of a hash.
func shortID(id string) string {
	if len(id) == 64 {
		return id[:8]
	}
	return id
}

func (p *page) ranges(ranges []model.Range) {
	p.line(span{"every state can be reached", bold})
	var last *model.Range
	for i := range ranges {
		r := &ranges[i]
		if last == nil || last.Resource != r.Resource {
			p.text(2, 4, span{"of " + string(r.Resource), accent})
		} else if r.FromTime.After(last.ToTime) {
			p.gap(last, r)
		}
		head := []span{{"from ", dim}, {p.instant(r.FromTime), plain}, {" (" + r.From + ")", dim}, {" to ", dim}, {p.instant(r.ToTime), bold}, {" (" + r.To + ")", dim}}
		p.text(4, 9, head...)
		var notes []string
		if len(r.Points) > 0 {
			notes = append(notes, "from "+count(len(r.Points), "recovery point"))
		}
		if r.LogBytes > 0 {
			notes = append(notes, units.Bytes(r.LogBytes)+" of log kept")
		}
		if r.VaultTo != "" {
			text := "what is after " + r.VaultTo
			if r.VaultToTime != nil {
				text += ", " + p.instant(*r.VaultToTime) + ","
			}
			notes = append(notes, text+" lies only in the spool at "+string(r.Site))
		} else if r.Site != "" {
			notes = append(notes, "received at "+string(r.Site)+", all in the vault")
		}
		if len(notes) > 0 {
			p.text(9, 9, span{strings.Join(notes, " · "), dim})
		}
		if r.Gap != "" && (i+1 == len(ranges) || ranges[i+1].Resource != r.Resource) {
			p.text(4, 9, span{"GAP  ", bad}, span{"what follows cannot be reached: " + r.Gap, warn})
		}
		if last == nil || last.Resource != r.Resource || r.ToTime.After(last.ToTime) {
			last = r
		}
	}
}

// gap says what lies between two ranges of a resource and cannot be reached.
func (p *page) gap(a, b *model.Range) {
	why := a.Gap
	if why == "" {
		why = "no log connects them"
	}
	p.text(4, 9, span{"GAP  ", bad}, span{fmt.Sprintf("%s from %s to %s: %s", units.Duration(b.FromTime.Sub(a.ToTime).Round(time.Second)), a.To, b.From, why), warn})
}

func (p *page) instant(t time.Time) string { return units.Instant(t, p.Zone) }

package term

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Status shows an app: where it serves, each resource at each site, what is wrong, what runs.
func Status(w io.Writer, r *api.StatusReply, s Style) error {
	p := newPage(s)
	head := []span{{string(r.App), bold}}
	switch {
	case r.Serving == "":
		head = append(head, span{"  serves nowhere that could be seen", bad})
	case !slices.ContainsFunc(r.Resources, func(d model.Description) bool { return d.Role == model.RolePrimary && d.Site == r.Serving }):
		head = append(head, span{"  nothing could be seen to serve; the last move left it at " + string(r.Serving), bad})
	case r.Serving == r.Home:
		head = append(head, span{"  serves at " + string(r.Serving) + ", its home", plain})
	default:
		head = append(head, span{"  serves at " + string(r.Serving), plain}, span{", not at its home " + string(r.Home), warn})
	}
	p.text(0, 2, head...)
	p.text(0, 2, span{"objective: " + objective(r.Objective), dim})
	p.blank()
	p.resources(r.Resources)
	p.blank()
	p.streams(r.Streams)
	p.findings(r.Findings)
	if len(r.Active) > 0 {
		p.blank()
		p.line(span{"running now", bold})
		var rows [][]span
		for _, a := range r.Active {
			rows = append(rows, []span{{string(a.ID), plain}, statusSpan(a.Status), {fmt.Sprintf("%d/%d", a.Done, a.Total), plain}, {runTitle(&a), plain}})
		}
		p.table(2, rows)
	}
	p.blank()
	p.lastDrill(r.LastDrill)
	return p.flush(w)
}

// streams tells of the sites that receive; those that serve need not.
func (p *page) streams(all []model.Stream) {
	var rows [][]span
	for _, st := range all {
		if st.State == model.StreamStopped && len(st.Findings) == 0 {
			continue
		}
		rows = append(rows, []span{{string(st.Resource), bold}, {string(st.Site), plain}, streamSpan(st), {st.Summary, plain}})
	}
	if len(rows) > 0 {
		p.line(span{"received", bold})
		p.table(2, rows)
		p.blank()
	}
}

// streamSpan is a stream's state in its colour.
func streamSpan(st model.Stream) span {
	switch st.State {
	case model.StreamFlowing:
		return span{string(st.State), good}
	case model.StreamCatching, model.StreamHeld:
		return span{string(st.State), warn}
	}
	return span{string(st.State), bad}
}

func (p *page) lastDrill(d *api.RunSummary) {
	if d == nil {
		p.text(0, 2, span{"never drilled", warn}, span{": that it can be recovered is a belief, not a measurement", dim})
		return
	}
	when := d.Started
	if d.Ended != nil {
		when = *d.Ended
	}
	spans := []span{{"last drill ", plain}, statusSpan(d.Status), {" " + units.Instant(when, p.Zone), plain}}
	if !p.Now.IsZero() {
		spans = append(spans, span{" (" + units.Ago(when, p.Now) + ")", dim})
	}
	p.text(0, 2, append(spans, span{", run " + string(d.ID), dim})...)
}

// objective is "RTO 10 s, RPO 0 s".
func objective(o model.Objective) string {
	one := func(name string, d *model.Duration) string {
		if d == nil {
			return "no " + name
		}
		return name + " " + units.Duration(d.Std())
	}
	return one("RTO", o.RTO) + ", " + one("RPO", o.RPO)
}

// resources is the table of what is where.
func (p *page) resources(all []model.Description) {
	if len(all) == 0 {
		p.line(span{"no resources were described", warn})
		return
	}
	rows := [][]span{{{"RESOURCE", dim}, {"SITE", dim}, {"ROLE", dim}, {"HEALTH", dim}, {"LAG", dim}, {"AS SEEN", dim}}}
	for _, d := range all {
		health := span{"ok", good}
		if !d.Healthy {
			health = span{"unhealthy", bad}
		}
		rows = append(rows, []span{
			{string(d.Resource), plain}, {string(d.Site), plain}, roleSpan(d.Role), health, {lag(d), plain}, {d.Summary, plain},
		})
	}
	p.table(0, rows)
}

func roleSpan(r model.Role) span {
	switch r {
	case model.RolePrimary:
		return span{string(r), bold}
	case model.RoleUnreachable, model.RoleUnknown, "":
		if r == "" {
			r = model.RoleUnknown
		}
		return span{string(r), bad}
	case model.RoleAbsent, model.RoleStopped, model.RoleFenced:
		return span{string(r), warn}
	}
	return span{string(r), plain}
}

// lag is how far a standby is behind, in what is known of bytes and time; a dash for what holds no data.
func lag(d model.Description) string {
	var text string
	switch {
	case d.Stateless && d.Role == model.RoleStandby:
		return "-"
	case d.LagBytes != nil && d.LagTime != nil:
		text = units.Bytes(*d.LagBytes) + ", " + units.Duration(d.LagTime.Std())
	case d.LagBytes != nil:
		text = units.Bytes(*d.LagBytes)
	case d.LagTime != nil:
		text = units.Duration(d.LagTime.Std())
	}
	if d.Sync {
		if text != "" {
			text += ", "
		}
		text += "sync"
	}
	if text == "" && d.Role == model.RoleStandby {
		return "unknown"
	}
	return text
}

// Round shows one round of protection on one line, and its errors below.
func Round(w io.Writer, r *api.ProtectRound, s Style) error {
	p := newPage(s)
	spans := []span{{units.Time(r.At, s.Zone) + "  ", dim}}
	ids := make([]model.ResourceID, 0, len(r.Markers))
	for id := range r.Markers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		m := r.Markers[id]
		spans = append(spans, span{fmt.Sprintf("marker %d in %s (%s)  ", m.Seq, id, m.At.In(zone(s)).Format("15:04:05.000")), plain})
	}
	if r.ProbeOK != nil {
		if *r.ProbeOK {
			spans = append(spans, span{"probe ok", good})
		} else {
			spans = append(spans, span{"probe failed", bad})
		}
	}
	spans = append(spans, rounds("recovery points", "made", r.Points)...)
	spans = append(spans, rounds("proofs of recovery points", "passed", r.Proofs)...)
	for _, st := range r.Streams {
		if st.State != model.StreamStopped || len(st.Findings) > 0 {
			spans = append(spans, span{fmt.Sprintf("  %s at %s ", st.Resource, st.Site), plain}, streamSpan(st), span{": " + st.Summary, plain})
		}
	}
	if len(ids) == 0 && r.ProbeOK == nil && len(r.Errors) == 0 && len(r.Points) == 0 && len(r.Proofs) == 0 && len(r.Streams) == 0 {
		spans = append(spans, span{"nothing to do", dim})
	}
	p.text(0, 10, spans...)
	for _, e := range r.Errors {
		p.failure(10, e)
	}
	return p.flush(w)
}

// rounds says of runs by schedule that they began, or how they ended.
func rounds(what, done string, all []api.PointRound) (spans []span) {
	for _, r := range all {
		state := span{what + " begun", plain}
		switch r.Outcome {
		case "":
		case api.Succeeded:
			state = span{what + " " + done, good}
		default:
			state = span{what + " " + string(r.Outcome), bad}
		}
		spans = append(spans, span{"  ", plain}, state, span{fmt.Sprintf(" of %v, run %s", r.Resources, r.Run), plain})
		if r.Why != "" {
			spans = append(spans, span{"  at once: " + r.Why, warn})
		}
	}
	return spans
}

func zone(s Style) *time.Location {
	if s.Zone == nil {
		return time.Local
	}
	return s.Zone
}

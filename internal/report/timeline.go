package report

import (
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// chart is a run laid out over time, before it is drawn.
type chart struct {
	from, to time.Time
	outage   *stretch   // when clients had no service, as measured
	deadline *time.Time // when the RTO objective was used up
	gaps     []stretch  // long times in which nothing but waiting for people happened; drawn short
	rows     []chartRow
}

// stretch is a time from one instant to another.
type stretch struct{ from, to time.Time }

func (s stretch) length() time.Duration { return s.to.Sub(s.from) }

// chartRow is one step.
type chartRow struct {
	title, label string // the label says in words what the bar shows
	status       api.StepStatus
	outage       bool
	wait         *stretch // for people
	attempts     []attempt
}

// attempt is one try of a step.
type attempt struct {
	stretch
	failed bool
}

// minGap is how long people must be waited for, with nothing else going on, for the picture to cut the time short;
// it must be the greater part of the run too.
const minGap = 10 * time.Second

// layOut computes the chart of a report: one row a step, in the order in which they started; those that never did
// come last, in the plan's order.
func layOut(r *api.Report) *chart {
	c := &chart{from: r.Run.Started, to: end(r)}
	if r.RTO.From != nil && r.RTO.To != nil {
		c.outage = &stretch{*r.RTO.From, *r.RTO.To}
		c.reach(c.outage.from)
		c.reach(c.outage.to)
		if r.RTO.Objective != nil {
			at := c.outage.from.Add(r.RTO.Objective.Std())
			c.deadline = &at
		}
	}
	steps := slices.Clone(r.Run.Steps)
	waits := map[model.StepID]*stretch{}
	for i := range steps {
		waits[steps[i].ID] = approvalWait(r, &steps[i])
	}
	began := func(st *api.StepView) time.Time {
		if w := waits[st.ID]; w != nil {
			return w.from
		}
		if st.Started != nil {
			return *st.Started
		}
		return c.to.Add(time.Hour) // never: last
	}
	slices.SortStableFunc(steps, func(a, b api.StepView) int { return began(&a).Compare(began(&b)) })
	for i := range steps {
		st := &steps[i]
		row := chartRow{title: st.Title, status: st.Status, outage: st.Outage, wait: waits[st.ID], attempts: attempts(r, st)}
		row.label = rowLabel(st, row.wait, len(row.attempts), end(r))
		for _, a := range row.attempts {
			c.reach(a.from)
			c.reach(a.to)
		}
		if row.wait != nil {
			c.reach(row.wait.from)
			c.reach(row.wait.to)
		}
		c.rows = append(c.rows, row)
	}
	if !c.to.After(c.from) {
		c.to = c.from.Add(time.Second)
	}
	c.gaps = c.findGaps()
	return c
}

// reach widens the chart so that it holds t.
func (c *chart) reach(t time.Time) {
	if t.Before(c.from) {
		c.from = t
	}
	if t.After(c.to) {
		c.to = t
	}
}

// rowLabel is what a bar shows, in words: "done, 1.24 s, 3 attempts".
func rowLabel(st *api.StepView, wait *stretch, attempts int, at time.Time) string {
	label := string(st.Status)
	to := at
	if st.Ended != nil {
		to = *st.Ended
	}
	engines := st.Action == model.ActionApprove
	if st.Started != nil && !engines {
		label += ", " + units.Duration(max(0, to.Sub(*st.Started)))
	}
	if wait != nil {
		label += ", waited " + units.Duration(wait.length())
	}
	if n := max(attempts, st.Attempt); n > 1 {
		label += ", " + count(n, "attempt")
	}
	return label
}

// attempts splits a step's time at the events of its attempts; without events it is one.
func attempts(r *api.Report, st *api.StepView) []attempt {
	if st.Started == nil || st.Action == model.ActionApprove {
		return nil
	}
	to := end(r)
	if st.Ended != nil {
		to = *st.Ended
	}
	var out []attempt
	open := false
	for _, e := range r.Events {
		if e.Step != st.ID {
			continue
		}
		switch e.Kind {
		case stepIntent:
			if open { // taken up again after a crash: still the same attempt
				continue
			}
			out, open = append(out, attempt{stretch: stretch{e.At, to}}), true
		case stepFailed:
			if open {
				out[len(out)-1].to, out[len(out)-1].failed = e.At, true
				open = false
			}
		}
	}
	if len(out) == 0 {
		out = []attempt{{stretch: stretch{*st.Started, to}}}
	}
	if st.Status == api.StepFailed && open {
		out[len(out)-1].failed = true
	}
	return out
}

// approvalWait is how long a step waited for people: from the event that asked them, or from the end of what it needs,
// to the approval that sufficed or to its end. It is nil for a step that needs none or was never asked about.
func approvalWait(r *api.Report, st *api.StepView) *stretch {
	if st.Needed == 0 && st.Action != model.ActionApprove && len(st.Approvals) == 0 {
		return nil
	}
	var w stretch
	for _, e := range r.Events {
		if e.Step == st.ID && e.Kind == approvalAsked {
			w.from = e.At
			break
		}
	}
	if w.from.IsZero() && (len(st.Approvals) > 0 || st.Status == api.StepApproval || st.Started != nil) {
		w.from = r.Run.Started
		for _, other := range r.Run.Steps {
			if other.Ended != nil && other.Ended.After(w.from) && slices.Contains(st.Needs, other.ID) {
				w.from = *other.Ended
			}
		}
	}
	if w.from.IsZero() {
		return nil
	}
	switch {
	case st.Status == api.StepApproval:
		w.to = end(r)
	case len(st.Approvals) > 0 && len(st.Approvals) >= st.Needed:
		w.to = st.Approvals[len(st.Approvals)-1].At
	case st.Ended != nil:
		w.to = *st.Ended
	default:
		w.to = end(r)
	}
	if w.to.Before(w.from) {
		w.to = w.from
	}
	return &w
}

// findGaps finds the times that the picture may cut short: people are waited for, no step works, clients are served.
func (c *chart) findGaps() []stretch {
	var busy, waits []stretch
	for _, r := range c.rows {
		for _, a := range r.attempts {
			busy = append(busy, a.stretch)
		}
		if r.wait != nil {
			waits = append(waits, *r.wait)
		}
	}
	if c.outage != nil {
		busy = append(busy, *c.outage)
	}
	slices.SortFunc(busy, func(a, b stretch) int { return a.from.Compare(b.from) })
	var idle []stretch
	at := c.from
	for _, b := range busy {
		if b.from.After(at) {
			idle = append(idle, stretch{at, b.from})
		}
		if b.to.After(at) {
			at = b.to
		}
	}
	if c.to.After(at) {
		idle = append(idle, stretch{at, c.to})
	}
	var gaps []stretch
	for _, i := range idle {
		waiting := slices.ContainsFunc(waits, func(w stretch) bool { return !w.from.After(i.to) && !w.to.Before(i.from) })
		if waiting && i.length() >= minGap && i.length() > c.to.Sub(c.from)/3 {
			gaps = append(gaps, i)
		}
	}
	return gaps
}

// gapShare is the part of the picture's width that a gap is drawn with.
const gapShare = 0.08

// place gives the position of t on the axis, from 0 to 1. Gaps take gapShare each, the rest shares what is left.
func (c *chart) place(t time.Time) float64 {
	var gone, cut time.Duration
	passed := 0.0
	for _, g := range c.gaps {
		cut += g.length()
		switch {
		case !t.Before(g.to):
			gone += g.length()
			passed += gapShare
		case t.After(g.from):
			gone += t.Sub(g.from)
			passed += gapShare * float64(t.Sub(g.from)) / float64(g.length())
		}
	}
	whole := c.to.Sub(c.from) - cut
	if whole <= 0 {
		whole = 1
	}
	share := 1 - gapShare*float64(len(c.gaps))
	return min(1, max(0, passed+share*float64(t.Sub(c.from)-gone)/float64(whole)))
}

// ticks are round distances from the start for the axis, at most about n of them; none inside a gap.
func (c *chart) ticks(n int) []time.Duration {
	whole := c.to.Sub(c.from)
	shown := whole
	for _, g := range c.gaps {
		shown -= g.length()
	}
	step := roundStep(shown / time.Duration(n))
	var out []time.Duration
	add := func(from, to time.Duration) {
		first := (from + step - 1) / step * step
		for d := first; d <= to; d += step {
			out = append(out, d)
		}
	}
	at := time.Duration(0)
	for _, g := range c.gaps {
		add(at, g.from.Sub(c.from))
		at = g.to.Sub(c.from)
	}
	add(at, whole)
	return out
}

// roundStep is the least round duration that is not below d.
func roundStep(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		for _, n := range []time.Duration{1, 2, 5} {
			if unit*n >= d {
				return unit * n
			}
		}
	}
	for _, s := range []time.Duration{10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400} {
		if s*time.Second >= d {
			return s * time.Second
		}
	}
	day := 24 * time.Hour
	return (d + day - 1) / day * day
}

package report

import (
	"bytes"
	_ "embed"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

//go:embed page.html.tmpl
var pageText string

// page is what the template shows; all text in it is escaped there.
type page struct {
	*api.Report
	Heading, Verdict, VerdictClass string
	Started, Took, TookWord        string
	Measures                       []measureView
	Timeline                       template.HTML // made by Timeline, which escapes
	Origin                         string
	Outage, Hatched, Gaps          bool
	Passed                         int
	Steps                          []stepView
	People                         []personView
	Owners                         []api.Event
}

type measureView struct{ Name, Long, Objective, Value, Word, Class, Basis, From, To string }

type stepView struct {
	api.StepView
	Class, Took, Effect string
	Values              []model.Fact
}

type personView struct {
	At       time.Time
	By, What string
}

func renderHTML(r *api.Report, zone *time.Location) ([]byte, error) {
	tmpl, err := template.New("report").Funcs(template.FuncMap{
		"duration": func(d model.Duration) string { return units.Duration(d.Std()) },
		"instant":  func(t time.Time) string { return units.Instant(t, zone) },
		"millis":   func(t time.Time) string { return units.InstantMillis(t, zone) },
		"short":    func(hash string) string { return hash[:min(12, len(hash))] },
	}).Parse(pageText)
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "render", "report")
	}
	var b bytes.Buffer
	if err := tmpl.Execute(&b, newPage(r, zone)); err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "render", "report")
	}
	return bytes.Map(func(c rune) rune { // an error of a remote side may hold escape codes
		if c != '\n' && printable(string(c)) == "" {
			return -1
		}
		return c
	}, b.Bytes()), nil
}

func newPage(r *api.Report, zone *time.Location) *page {
	c := layOut(r)
	p := &page{
		Report: r, Heading: heading(r), Verdict: verdict(r), VerdictClass: "bad",
		Started: units.Instant(r.Run.Started, zone), Took: units.Duration(end(r).Sub(r.Run.Started)), TookWord: "took",
		Timeline: template.HTML(Timeline(r)), Origin: units.InstantMillis(c.from, zone), Outage: c.outage != nil, Gaps: len(c.gaps) > 0,
		People: people(r),
	}
	switch {
	case r.OK:
		p.VerdictClass = "ok"
	case !r.Run.Final:
		p.VerdictClass, p.TookWord = "warn", "so far"
	}
	for _, row := range c.rows {
		p.Hatched = p.Hatched || row.wait != nil
	}
	p.Measures = []measureView{
		viewMeasure("RTO", "recovery time objective: time without service", r.RTO, zone),
		viewMeasure("RPO", "recovery point objective: time of lost writes", r.RPO, zone),
	}
	for _, check := range r.Checks {
		if check.Passed {
			p.Passed++
		}
	}
	for _, st := range r.Run.Steps {
		p.Steps = append(p.Steps, viewStep(r, st))
	}
	for _, e := range r.Events {
		if e.Kind == ownerChanged {
			p.Owners = append(p.Owners, e)
		}
	}
	return p
}

func viewMeasure(name, long string, m api.Measure, zone *time.Location) measureView {
	v := measureView{Name: name, Long: long, Objective: "none", Value: "–", Word: measureWord(m), Basis: m.Basis}
	v.Class = map[string]string{"met": "ok", "missed": "bad"}[v.Word]
	if v.Class == "" {
		v.Class = "warn"
	}
	if m.Objective != nil {
		v.Objective = units.Duration(m.Objective.Std())
	}
	if m.Value != nil {
		v.Value = units.Duration(m.Value.Std())
	}
	if m.From != nil && m.To != nil {
		v.From, v.To = units.InstantMillis(*m.From, zone), units.InstantMillis(*m.To, zone)
	}
	return v
}

func viewStep(r *api.Report, st api.StepView) stepView {
	v := stepView{StepView: st, Class: statusClass(st.Status), Took: stepTook(r, st)}
	if r.Plan != nil {
		if planned, ok := r.Plan.Step(st.ID); ok {
			v.Effect = planned.Effect
		}
	}
	names := make([]string, 0, len(st.Outputs))
	for name := range st.Outputs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		v.Values = append(v.Values, model.Fact{Name: name, Value: st.Outputs[name].Text})
	}
	return v
}

// stepTook is how long a step took, or has been at it; "" when it never began.
func stepTook(r *api.Report, st api.StepView) string {
	if st.Started == nil {
		return ""
	}
	to := end(r)
	if st.Ended != nil {
		to = *st.Ended
	}
	return units.Duration(max(0, to.Sub(*st.Started)))
}

func statusClass(s api.StepStatus) string {
	switch s {
	case api.StepDone:
		return "ok"
	case api.StepFailed, api.StepAsking:
		return "bad"
	case api.StepSkipped, api.StepWaiting:
		return "mute"
	}
	return "warn"
}

// people lists, in time order, what people decided: approvals and decisions about steps, and the words that they sent
// to the run as the record has them. What both tell is told once.
func people(r *api.Report) []personView {
	var out []personView
	for _, st := range r.Run.Steps {
		for _, a := range st.Approvals {
			out = append(out, personView{a.At, a.By, said("approved "+st.Title, a.Reason)})
		}
		if st.Reason != "" {
			at := end(r)
			if st.Ended != nil {
				at = *st.Ended
			}
			what := string(st.Status)
			if st.Status == api.StepDone {
				what = "forced"
			}
			out = append(out, personView{at, st.By, said(what+": "+st.Title, st.Reason)})
		}
	}
	for _, n := range r.Run.Notes {
		if n.By != "" && !slices.ContainsFunc(out, func(p personView) bool { return p.By == n.By && p.At.Equal(n.At) }) {
			out = append(out, personView{n.At, n.By, n.What})
		}
	}
	slices.SortStableFunc(out, func(a, b personView) int { return a.At.Compare(b.At) })
	return out
}

func said(what, reason string) string {
	if reason = strings.TrimSpace(reason); reason != "" {
		what += ": “" + reason + "”"
	}
	return what
}

package term

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Plan shows a plan before it runs: what it predicts, what stands in its way, and its steps by stages. Steps of one
// stage depend on none of each other.
func Plan(w io.Writer, r *api.PlanReply, s Style) error {
	p := newPage(s)
	if r == nil || r.Plan == nil {
		p.line(span{"no plan", dim})
		return p.flush(w)
	}
	p.text(0, 2, span{planTitle(r.Plan), bold}, span{"  plan " + r.Hash, dim})
	p.blank()
	p.prediction(r)
	p.blank()
	p.findings(r.Findings)
	p.blank()
	p.stages(r.Plan)
	return p.flush(w)
}

// planTitle says the operation in words.
func planTitle(p *model.Plan) string {
	return title(p.Name, p.App, p.Operation, p.Mode, p.From, p.To)
}

// title is "failover of shop, east → west, unplanned"; a user's own plan goes by its name.
func title(name string, app model.AppID, op model.Operation, mode model.Mode, from, to model.SiteID) string {
	text := string(op)
	switch {
	case op == model.OpCustom || op == "":
		text = name
		if app != "" {
			text += " of " + string(app)
		}
	case app != "":
		text += " of " + string(app)
	}
	switch {
	case from != "" && to != "" && op == model.OpDrill: // nothing moves in a drill
		text += fmt.Sprintf(", at %s beside %s", to, from)
	case from != "" && to != "":
		text += fmt.Sprintf(", %s → %s", from, to)
	case to != "":
		text += ", at " + string(to)
	}
	if mode != "" {
		text += ", " + string(mode)
	}
	return text
}

func (p *page) prediction(r *api.PlanReply) {
	pr, obj := r.Prediction, r.Plan.Objective
	rto := []span{{"no history", warn}}
	detail := "nothing to predict from"
	switch {
	case pr.RTO != nil:
		rto = []span{against(*pr.RTO, obj.RTO)}
		detail = fmt.Sprintf("critical path over %s", count(pr.Runs, "earlier run"))
	case len(pr.Unknown) > 0:
		detail = "never run before: " + join(pr.Unknown)
	}
	rpo := span{"unknown", warn}
	if pr.RPO != nil {
		rpo = against(*pr.RPO, obj.RPO)
	}
	if r.Plan.Operation == model.OpProve || r.Plan.Operation == model.OpRestore { // nothing is out of service
		p.table(0, [][]span{{{"predicted time", plain}, rto[0], {detail, dim}}})
		return
	}
	row := func(name string, value span, objective *model.Duration, basis string) []span {
		o := span{"no objective", dim}
		if objective != nil {
			o = span{"objective " + units.Duration(objective.Std()), plain}
		}
		return []span{{name, plain}, value, o, {basis, dim}}
	}
	p.table(0, [][]span{
		row("predicted RTO", rto[0], obj.RTO, detail),
		row("RPO if run now", rpo, obj.RPO, pr.Basis),
	})
}

// against paints a duration by whether it keeps to its objective.
func against(d model.Duration, objective *model.Duration) span {
	s := span{units.Duration(d.Std()), bold}
	if objective != nil {
		s.look = good
		if d > *objective {
			s.look = bad
			s.text += " (over)"
		}
	}
	return s
}

// Findings lists findings, blocking ones first, each with what mends it.
func Findings(w io.Writer, all []model.Finding, s Style) error {
	p := newPage(s)
	p.findings(all)
	return p.flush(w)
}

func (p *page) findings(all []model.Finding) {
	rank := map[model.Severity]int{model.Block: 0, model.Warn: 1, model.Note: 2}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b model.Finding) int { return rank[a.Severity] - rank[b.Severity] })
	words := map[model.Severity]span{model.Block: {"BLOCKED", bad}, model.Warn: {"warning", warn}, model.Note: {"note", dim}}
	for _, f := range all {
		word, ok := words[f.Severity]
		if !ok {
			word = span{string(f.Severity), warn}
		}
		var where string
		switch {
		case f.Resource != "" && f.Site != "":
			where = fmt.Sprintf("%s at %s: ", f.Resource, f.Site)
		case f.Resource != "":
			where = string(f.Resource) + ": "
		case f.Site != "":
			where = "at " + string(f.Site) + ": "
		}
		p.text(0, 9, word, span{pad(word.text, 9), plain}, span{where + f.What, plain}, span{" [" + f.Code + "]", dim})
		if f.Why != "" {
			p.text(9, 9, span{f.Why, dim})
		}
		if f.Fix != "" {
			p.text(9, 14, span{"fix: ", bold}, span{f.Fix, accent})
		}
	}
}

// stages prints the steps by depth: a step's stage is one more than the deepest of what it needs.
func (p *page) stages(plan *model.Plan) {
	stage := map[model.StepID]int{}
	var deepest int
	for _, s := range plan.Steps {
		n := 1
		for _, need := range s.Needs {
			n = max(n, stage[need]+1)
		}
		stage[s.ID] = n
		deepest = max(deepest, n)
	}
	p.line(span{fmt.Sprintf("%s in %s", count(len(plan.Steps), "step"), count(deepest, "stage")), bold})
	for n := 1; n <= deepest; n++ {
		var steps []model.Step
		for _, s := range plan.Steps {
			if stage[s.ID] == n {
				steps = append(steps, s)
			}
		}
		head := []span{{fmt.Sprintf("stage %d", n), accent}}
		if len(steps) > 1 {
			head = append(head, span{fmt.Sprintf("  %d steps at once", len(steps)), dim})
		}
		p.blank()
		p.line(head...)
		for _, s := range steps {
			p.planStep(s)
		}
	}
}

func (p *page) planStep(s model.Step) {
	head := []span{{s.Title, bold}, {"  " + string(s.ID), dim}}
	if s.Site != "" {
		head = append(head, span{"  at " + string(s.Site), plain})
	}
	p.text(2, 4, head...)
	if s.Destructive {
		p.text(6, 6, span{"DESTRUCTIVE ", bad}, span{s.Effect, plain})
	} else if s.Effect != "" {
		p.text(6, 6, span{s.Effect, plain})
	}
	if s.Approvals > 0 {
		p.text(6, 6, span{"waits for " + people(s.Approvals), warn})
	}
	if s.Waiver == model.Unfenced {
		p.text(6, 6, span{"if it cannot be proved, a person may accept that in writing: --accept-unfenced \"reason\"", dim})
	} else if s.Waiver != "" {
		p.text(6, 6, span{"a person may set this aside in writing (" + string(s.Waiver) + ")", dim})
	}
	var notes []string
	if s.Outage {
		notes = append(notes, "clients wait")
	}
	if s.When == model.Always {
		notes = append(notes, "runs also after a failure or abort")
	}
	if s.Releases != "" {
		notes = append(notes, "removes what "+string(s.Releases)+" made")
	}
	if len(s.Needs) > 0 {
		notes = append(notes, "after "+join(s.Needs))
	}
	if len(s.Inputs) > 0 {
		var refs []string
		for _, in := range s.Inputs {
			refs = append(refs, in.Ref)
		}
		notes = append(notes, "takes "+strings.Join(refs, ", "))
	}
	if s.Attempts > 1 {
		notes = append(notes, fmt.Sprintf("up to %d attempts of %s", s.Attempts, units.Duration(s.Timeout.Std())))
	} else if s.Timeout > 0 {
		notes = append(notes, "one attempt of "+units.Duration(s.Timeout.Std()))
	}
	if len(notes) > 0 {
		p.text(6, 6, span{strings.Join(notes, " · "), dim})
	}
}

// PlanDOT writes a plan as a Graphviz digraph: one cluster per site, destructive steps with a double border, steps
// that wait for people as hexagons, steps that clients wait for filled.
func PlanDOT(w io.Writer, plan *model.Plan) error {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph plan {\n  label=%s; labelloc=t; rankdir=LR; fontname=\"sans-serif\";\n", dot(planTitle(plan)))
	b.WriteString("  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n")
	var sites []model.SiteID
	for _, s := range plan.Steps {
		if !slices.Contains(sites, s.Site) {
			sites = append(sites, s.Site)
		}
	}
	for i, site := range sites {
		indent := "  "
		if site != "" {
			fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s; style=dashed;\n", i, dot(string(site)))
			indent = "    "
		}
		for _, s := range plan.Steps {
			if s.Site == site {
				fmt.Fprintf(&b, "%s%s [%s];\n", indent, dot(string(s.ID)), dotStep(s))
			}
		}
		if site != "" {
			b.WriteString("  }\n")
		}
	}
	for _, s := range plan.Steps {
		for _, need := range s.Needs {
			attr := ""
			if s.When == model.Always {
				attr = " [style=dashed]"
			}
			fmt.Fprintf(&b, "  %s -> %s%s;\n", dot(string(need)), dot(string(s.ID)), attr)
		}
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func dotStep(s model.Step) string {
	label := s.Title
	if s.Destructive {
		label += "\nDESTRUCTIVE"
	}
	if s.Approvals > 0 {
		label += "\nwaits for " + people(s.Approvals)
	}
	attrs := []string{"label=" + dot(label)}
	if s.Action == model.ActionApprove || s.Approvals > 0 {
		attrs = append(attrs, "shape=hexagon", "style=solid")
	} else if s.Outage {
		attrs = append(attrs, `style="rounded,filled"`, `fillcolor="#ffe8cc"`)
	}
	if s.Destructive {
		attrs = append(attrs, "peripheries=2", `color="#b00020"`)
	}
	return strings.Join(attrs, ", ")
}

// dot quotes text as a DOT string, where a line feed is written \n.
func dot(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(clean(l))
	}
	return `"` + strings.Join(lines, `\n`) + `"`
}

func people(n int) string {
	if n == 1 {
		return "1 person's approval"
	}
	return fmt.Sprintf("the approval of %d different people", n)
}

// count is "1 step", "2 steps".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, ok := strings.CutSuffix(noun, "ry"); ok { // entry, entries
		return fmt.Sprintf("%d %sries", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func join[S ~string](list []S) string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}

// pad gives the blanks that fill text up to n columns, at least one.
func pad(text string, n int) string { return strings.Repeat(" ", max(1, n-width(text))) }

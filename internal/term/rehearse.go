package term

import (
	"fmt"
	"io"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// RehearsedStep is one line about a step whose status has changed, with the time since the start of the rehearsed run. Steps that
// only wait are passed over.
func RehearsedStep(w io.Writer, s api.RehearsedStep, style Style) error {
	p := newPage(style)
	at := s.At.Std() + s.Took.Std()
	word, look, text := string(s.Status), plain, s.Title
	switch s.Status {
	case api.StepWaiting, api.StepBeginning:
		return nil
	case api.StepRunning:
		word, look, at = "begins", accent, s.At.Std()
	case api.StepDone:
		look, text = good, text+", "+units.Duration(s.Took.Std())
	case api.StepRetrying, api.StepAsking, api.StepFailed:
		look = bad
		if s.Err != nil {
			text = s.Err.Error()
		}
	case api.StepApproval, api.StepWaived, api.StepSkipped, api.StepCanceled:
		look = warn
	}
	when := "+" + units.Duration(at)
	p.text(0, 19, span{when + pad(when, 9), dim}, span{word, look}, span{pad(word, 10), plain}, span{string(s.ID) + "  ", bold}, span{text, plain})
	return p.flush(w)
}

// Rehearsal shows how a rehearsal went: the verdict, the times, the steps that the time is made of, and what it leaves open.
func Rehearsal(w io.Writer, r *api.Rehearsal, s Style) error {
	p := newPage(s)
	what := title(r.Plan, r.App, r.Operation, r.Mode, r.From, r.To)
	if r.Lost != "" {
		what += fmt.Sprintf(", with %s lost (%s)", r.Lost, r.How)
	}
	p.text(0, 2, span{"rehearsal of " + what, bold})
	verdict := span{r.Verdict, good}
	if !r.OK {
		verdict.look = bad
	}
	p.text(0, 2, verdict)
	p.blank()
	p.table(0, [][]span{p.foretold("predicted RTO", r.RTO), p.foretold("RPO if lost now", r.RPO)})
	if len(r.Steps) > 0 {
		p.blank()
		p.rehearsedSteps(r)
	}
	p.open(r)
	p.blank()
	basis := "No earlier run of this app measured anything"
	if r.Runs > 0 {
		basis = "Measured times are of " + count(r.Runs, "earlier run")
	}
	p.text(0, 2, span{fmt.Sprintf("What there is in AWS was listed by %s, at %s; nothing was changed there. %s.", count(r.Looks, "call"), units.Instant(r.At, p.Zone), basis), dim})
	return p.flush(w)
}

// foretold is a row about a predicted measure.
func (p *page) foretold(name string, m api.Measure) []span {
	value := span{"unknown", warn}
	if m.Value != nil {
		value = against(*m.Value, m.Objective)
	}
	objective := span{"no objective", dim}
	if m.Objective != nil {
		objective = span{"objective " + units.Duration(m.Objective.Std()), plain}
	}
	return []span{{name, plain}, value, objective, {m.Basis, dim}}
}

// rehearsedSteps are all steps; those that the RTO is made of are marked.
func (p *page) rehearsedSteps(r *api.Rehearsal) {
	rows := [][]span{{{"", dim}, {"STEP", dim}, {"STATUS", dim}, {"FROM", dim}, {"TOOK", dim}, {"TIME IS", dim}}}
	for _, s := range r.Steps {
		mark, name := span{" ", plain}, plain
		if s.Critical {
			mark, name = span{"*", accent}, bold
		}
		status := span{string(s.Status), plain}
		switch s.Status {
		case api.StepDone:
			status.look = good
		case api.StepFailed, api.StepAsking:
			status.look = bad
		case api.StepWaived, api.StepSkipped, api.StepCanceled:
			status.look = warn
		}
		basis := map[string]string{api.TimeMeasured: "measured", api.TimeUsual: "usual", api.TimeUnknown: "not known: counted as none", api.TimePeople: "people's: counted as none"}[s.Basis]
		if s.StoodIn {
			basis += "; stood in for"
		}
		rows = append(rows, []span{mark, {string(s.ID), name}, status, {"+" + units.Duration(s.At.Std()), plain}, {units.Duration(s.Took.Std()), name}, {basis, dim}})
	}
	p.table(0, rows)
	if len(r.Path) > 0 {
		p.text(0, 2, span{"* the RTO is made of these: what is done about them shortens it", dim})
	}
}

// open is what people have to know beside the times.
func (p *page) open(r *api.Rehearsal) {
	if len(r.Asked) > 0 {
		p.blank()
		p.line(span{"people would be asked", bold})
		for _, a := range r.Asked {
			p.text(2, 4, span{string(a.Step) + "  ", accent}, span{a.What, plain}, span{"  (" + a.Answer + ")", dim})
		}
	}
	if len(r.StoodIn) > 0 {
		var names []string
		for _, s := range r.StoodIn {
			names = append(names, fmt.Sprintf("%s (%s)", s.Name, s.Kind))
		}
		p.blank()
		p.text(0, 2, span{"not rehearsed, only stood in for: ", warn}, span{strings.Join(names, ", "), plain})
	}
	if len(r.Unseen) > 0 {
		p.blank()
		p.line(span{"could not be looked at, and is missing or made up here", warn})
		for _, u := range r.Unseen {
			p.text(2, 4, span{fmt.Sprintf("%s at %s: ", u.What, u.Site), plain})
			if u.Err != nil {
				p.failure(4, u.Err)
			}
		}
	}
	if len(r.Examined) > 0 {
		p.blank()
		p.line(span{"AWS itself was asked what the plan would miss there", bold})
		p.findings(r.Examined)
	}
	if list := without(r.Findings, model.Note); len(list) > 0 {
		p.blank()
		p.findings(list)
	}
}

// without leaves out findings of one severity.
func without(all []model.Finding, s model.Severity) (out []model.Finding) {
	for _, f := range all {
		if f.Severity != s {
			out = append(out, f)
		}
	}
	return out
}

package term

import (
	"fmt"
	"io"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Report sums a report up: the verdict, objective against measured, the checks, and what was set aside.
func Report(w io.Writer, r *api.Report, s Style) error {
	p := newPage(s)
	p.text(0, 2, span{runTitle(&r.Run.RunSummary), bold}, span{"  run " + string(r.Run.ID), dim})
	p.verdict(r)
	p.blank()
	if op := r.Run.Operation; op == model.OpProve || op == model.OpRestore {
		p.outcomes(r)
	} else {
		rows := [][]span{{{"", dim}, {"OBJECTIVE", dim}, {"MEASURED", dim}, {"", dim}, {"FROM", dim}}}
		rows = append(rows, measureRow("RTO", r.RTO), measureRow("RPO", r.RPO))
		p.table(0, rows)
	}
	if len(r.Checks) > 0 {
		p.blank()
		passed := 0
		var rows [][]span
		for _, c := range r.Checks {
			word := span{"✗ failed", bad}
			if c.Passed {
				word = span{"✓ passed", good}
				passed++
			}
			text := c.Name
			if c.Detail != "" {
				text += " · " + c.Detail
			}
			rows = append(rows, []span{word, {units.Duration(c.Took.Std()), plain}, {text, plain}})
		}
		p.line(span{fmt.Sprintf("checks: %d of %d passed", passed, len(r.Checks)), bold})
		p.table(2, rows)
	}
	for _, st := range r.Waived {
		p.blank()
		p.text(0, 2, span{"~ ", warn}, span{st.Title, bold}, span{" was set aside", warn}, span{by(st.By) + ": " + st.Reason, plain})
	}
	return p.flush(w)
}

// outcomes says what was seen of each point that was proved or restored.
func (p *page) outcomes(r *api.Report) {
	for _, st := range r.Run.Steps {
		if st.Action != model.ActionProve && st.Action != model.ActionRestore {
			continue
		}
		m := markOf(st.Status)
		p.text(0, 2, span{m.sign + " ", m.look}, span{st.Title, bold}, span{"  " + stepTook(&st, r.Run.At), dim})
		if st.Err != nil {
			p.failure(2, st.Err)
		}
		var rows [][]span
		for _, f := range st.Evidence {
			rows = append(rows, []span{{f.Name, dim}, {f.Value, plain}})
		}
		p.table(2, rows)
		if good, found := st.Outputs["good"]; found {
			p.text(2, 4, span{"to have it: ", plain}, span{p.command("restore", string(r.Run.App)+"/"+string(st.Resource), "--to", good.Text, "--into", "FOLDER"), accent})
		}
	}
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

func (p *page) verdict(r *api.Report) {
	word := span{"OK", good}
	if !r.OK {
		word = span{"NOT OK", bad}
	}
	text := fmt.Sprintf("  %s, %d of %s", r.Run.Status, r.Run.Done, count(r.Run.Total, "step"))
	if r.Run.Ended != nil {
		text += " in " + units.Duration(r.Run.Ended.Sub(r.Run.Started))
	}
	p.text(0, 2, word, span{text + ", started " + units.Instant(r.Run.Started, p.Zone), plain})
}

func measureRow(name string, m api.Measure) []span {
	objective, value, verdict := span{"none", dim}, span{"not measured", warn}, span{"", plain}
	if m.Objective != nil {
		objective = span{units.Duration(m.Objective.Std()), plain}
	}
	if m.Value != nil {
		value = span{units.Duration(m.Value.Std()), bold}
	}
	if m.Met != nil {
		verdict = span{"missed", bad}
		if *m.Met {
			verdict = span{"met", good}
		}
	}
	return []span{{name, bold}, objective, value, verdict, {m.Basis, dim}}
}

// Verify says what came of checking a report's hash chain and signature.
func Verify(w io.Writer, r *api.VerifyReply, s Style) error {
	p := newPage(s)
	if !r.Valid {
		p.text(0, 2, span{"INVALID ", bad}, span{r.Problem, plain})
		return p.flush(w)
	}
	p.text(0, 2, span{"valid ", good}, span{fmt.Sprintf("%s in an unbroken chain, signed with the key", count(r.Events, "event")), plain})
	p.text(2, 2, span{r.PublicKey, accent})
	p.text(2, 2, span{"compare it with the key of the installation that the report should come from", dim})
	return p.flush(w)
}

// Signaled says what became of a person's word to a run.
func Signaled(w io.Writer, req api.SignalRequest, r *api.SignalReply, s Style) error {
	p := newPage(s)
	what := string(req.Signal) + " recorded for run " + string(r.Run)
	if r.Step != "" {
		what += ", step " + string(r.Step)
	}
	p.text(0, 2, span{what, plain})
	if !r.Attended && req.Signal != api.Resume {
		p.text(0, 2, span{"nobody drives this run; it takes effect with: ", warn}, span{p.command("run", "resume", string(r.Run)), accent})
	}
	return p.flush(w)
}

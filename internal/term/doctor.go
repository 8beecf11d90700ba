package term

import (
	"fmt"
	"io"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Doctor shows what an app's operations would miss: each operation in a line, then the findings, worst first.
func Doctor(w io.Writer, r *api.DoctorReply, s Style) error {
	p := newPage(s)
	p.text(0, 2, span{string(r.App), bold}, span{"  serves at " + string(r.Serving), plain})
	rest := identities(p, r.Findings)
	p.blank()
	var rows [][]span
	for _, o := range r.Operations {
		from, mode := o.From, o.Mode
		if from == o.To { // it stays where it is
			from = ""
		}
		if o.Operation != model.OpFailover { // the others have one mode
			mode = ""
		}
		rows = append(rows, []span{{title("", "", o.Operation, mode, from, o.To), plain}, verdict(o), {tried(o), dim}})
	}
	p.table(2, rows)
	p.blank()
	if len(rest) == 0 {
		p.line(span{"nothing was found that it would miss", good})
		return p.flush(w)
	}
	var last model.Severity
	for _, f := range rest {
		if last != "" && f.Severity != last {
			p.blank()
		}
		last = f.Severity
		p.findings([]model.Finding{f.Finding})
		if len(f.Operations) > 0 && len(f.Operations) < len(r.Operations) {
			p.text(9, 14, span{"for: ", dim}, span{strings.Join(f.Operations, ", "), dim})
		}
	}
	return p.flush(w)
}

// identities shows who works where, which comes before all else, and gives the other findings.
func identities(p *page, all []api.Diagnosis) (rest []api.Diagnosis) {
	for _, f := range all {
		if f.Severity == model.Note && strings.HasSuffix(f.Code, "-identity") {
			p.text(2, 4, span{f.What, plain}, span{" " + f.Why, dim})
			continue
		}
		rest = append(rest, f)
	}
	return rest
}

// verdict is what came of an operation on paper.
func verdict(o api.DoctorOperation) span {
	switch {
	case o.Cannot != "":
		return span{"not possible", dim}
	case o.Blocks > 0:
		return span{"blocked by " + count(o.Blocks, "finding"), bad}
	case o.Warns > 0:
		return span{count(o.Warns, "warning"), warn}
	}
	return span{"ready", good}
}

// tried says what was looked at.
func tried(o api.DoctorOperation) string {
	switch {
	case o.Cannot != "":
		return o.Cannot
	case o.Later:
		return fmt.Sprintf("%s examined; not possible as things stand", count(o.Steps, "step"))
	}
	return count(o.Steps, "step") + " checked"
}

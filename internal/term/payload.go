package term

import (
	"fmt"
	"io"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Payload shows a StatePayload document: its layers, what becomes of each action, what is to be said of it, and the plan if there
// is one.
func Payload(w io.Writer, r *api.PayloadReply, s Style) error {
	p := newPage(s)
	doc := r.Payload
	actions := 0
	for _, l := range doc.Layers {
		actions += len(l.Actions)
	}
	p.text(0, 2, span{doc.File, bold}, span{fmt.Sprintf(": %s, %s", count(len(doc.Layers), "layer"), count(actions, "action")), plain})
	for i, l := range doc.Layers {
		p.blank()
		p.payloadLayer(i, l)
	}
	p.payloadTypes(doc)
	if len(doc.Remarks) > 0 {
		p.blank()
	}
	wrong := 0
	for _, m := range doc.Remarks {
		if m.Severity == model.Block {
			wrong++
		}
		p.remark(m)
	}
	p.blank()
	switch {
	case wrong > 0:
		p.text(0, 2, span{"it cannot be run: ", bad}, span{count(wrong, "mistake"), plain})
	case r.Plan == nil && r.Site == "":
		p.text(0, 2, span{"it can be run", good}, span{": " + p.command("run", "start", "--plan", doc.File, "--site", "SITE"), plain})
	case r.Plan != nil:
		p.text(0, 2, span{"the plan", bold}, span{", with the document's references resolved:", plain})
		p.blank()
	}
	if err := p.flush(w); err != nil || r.Plan == nil {
		return err
	}
	return Plan(w, r.Plan, s)
}

func (p *page) payloadLayer(i int, l model.PayloadLayer) {
	title := fmt.Sprintf("layer %d of the file", i+1)
	if l.Number != "" && l.Number != fmt.Sprint(i+1) {
		title += ", numbered " + l.Number
	}
	at := ", at once"
	if len(l.Actions) < 2 {
		at = ""
	}
	p.line(span{title, bold}, span{at, dim})
	for _, a := range l.Actions {
		typ := a.Type
		if a.Written != "" {
			typ = a.Written + " = " + a.Type
		}
		p.text(2, 4, span{fmt.Sprintf("line %d  ", a.Line), dim}, span{typ, accent}, span{"  " + a.Name, plain})
		var rows [][]span
		for _, v := range a.Parameters {
			from := map[model.ValueFrom]string{model.FromExport: "export ", model.FromParameter: "parameter "}[v.From]
			rows = append(rows, []span{{v.Name, plain}, {from + v.Text, dim}})
		}
		p.table(4, rows)
	}
}

// payloadTypes says once what becomes of each type that the document has.
func (p *page) payloadTypes(doc *model.Payload) {
	said := map[string]bool{}
	for _, l := range doc.Layers {
		for _, a := range l.Actions {
			if said[a.Type] {
				continue
			}
			said[a.Type] = true
			p.blank()
			p.line(span{a.Type, accent})
			p.text(2, 14, span{"framework   ", dim}, span{a.Original, plain})
			p.text(2, 14, span{"Lifeboat    ", bold}, span{a.Lifeboat, plain})
		}
	}
}

func (p *page) remark(m model.PayloadRemark) {
	words := map[model.Severity]span{model.Block: {"MISTAKE", bad}, model.Warn: {"warning", warn}, model.Note: {"note", dim}}
	where := m.Path
	if m.Line > 0 {
		where = fmt.Sprintf("%d:%d %s", m.Line, m.Column, m.Path)
	}
	word := words[m.Severity]
	p.text(0, 9, word, span{pad(word.text, 9), plain}, span{m.What, plain}, span{" [" + m.Code + "]", dim})
	p.text(9, 9, span{where, dim})
	if m.Why != "" {
		p.text(9, 9, span{m.Why, dim})
	}
	if m.Fix != "" {
		p.text(9, 14, span{"fix: ", bold}, span{m.Fix, accent})
	}
}

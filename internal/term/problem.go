package term

import (
	"fmt"
	"io"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// Error prints err as a person should read it: what failed, of which kind, and what to do next. Errors that were
// joined are printed one by one. A nil error prints nothing.
func Error(w io.Writer, err error, s Style) error {
	p := newPage(s)
	for _, e := range split(err) {
		p.text(0, 2, span{"error: ", bad}, span{e.Error(), plain})
		if hint := failure.HintOf(e); hint != "" {
			p.text(2, 8, span{"hint: ", bold}, span{hint, plain})
		}
	}
	return p.flush(w)
}

// split takes apart what errors.Join joined, at the top of the chain only.
func split(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || strings.Count(err.Error(), "\n") < len(joined.Unwrap())-1 { // fmt.Errorf with several %w is one sentence
		return []error{err}
	}
	var all []error
	for _, part := range joined.Unwrap() {
		all = append(all, split(part)...)
	}
	return all
}

// failure prints an error of a step: kind, text and hint.
func (p *page) failure(indent int, e *failure.Error) {
	if e == nil {
		return
	}
	p.text(indent, indent+2, span{e.Kind.Error() + ": ", bad}, span{e.Error(), plain})
	if e.Hint != "" {
		p.text(indent, indent+6, span{"hint: ", bold}, span{e.Hint, plain})
	}
}

// Validate says what a configuration holds, or what is wrong with it.
func Validate(w io.Writer, r *api.ValidateReply, s Style) error {
	if len(r.Problems) > 0 {
		return Problems(w, r.Problems, s)
	}
	p := newPage(s)
	p.text(0, 2, span{"ok ", good}, span{fmt.Sprintf("%s: %s, %s, %s of your own", r.Path,
		count(r.Sites, "site"), count(r.Apps, "app"), count(r.Plans, "plan")), plain})
	return p.flush(w)
}

// Problems prints mistakes in a configuration, each with its position, the line itself and a caret under the column.
func Problems(w io.Writer, all []api.Problem, s Style) error {
	p := newPage(s)
	for i, pr := range all {
		if i > 0 {
			p.blank()
		}
		at := pr.File
		if pr.Line > 0 {
			at += fmt.Sprintf(":%d", pr.Line)
			if pr.Column > 0 {
				at += fmt.Sprintf(":%d", pr.Column)
			}
		}
		if at != "" {
			at += ": "
		}
		p.text(0, 2, span{at, bold}, span{pr.Message, plain})
		if pr.Source != "" && pr.Line > 0 {
			gutter := fmt.Sprintf("%5d | ", pr.Line)
			source := strings.TrimRight(strings.ReplaceAll(pr.Source, "\t", " "), "\r\n")
			p.line(span{gutter, dim}, span{source, plain})
			if runes := []rune(source); pr.Column > 0 && pr.Column <= len(runes)+1 {
				p.line(span{"      | ", dim}, span{strings.Repeat(" ", width(string(runes[:pr.Column-1]))), plain}, span{"^", bad})
			}
		}
		if pr.Hint != "" {
			p.text(2, 8, span{"hint: ", bold}, span{pr.Hint, plain})
		}
	}
	if len(all) > 1 {
		p.blank()
		p.line(span{count(len(all), "problem"), bad})
	}
	return p.flush(w)
}

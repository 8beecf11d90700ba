package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// Error is everything that is wrong with one file, in the order of the file. Its kind is failure.Invalid. A value that
// may be a secret typed in plain text stands neither in a message nor in a source line.
type Error struct {
	Path     string // as it was given to Load
	Problems []api.Problem
}

// Error prints the problems as a compiler does, one after another.
func (e *Error) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = Format(p)
	}
	return strings.Join(texts, "\n")
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return failure.Invalid }

// Format prints one problem: position and message, then the source line with a caret below the column, then the hint.
func Format(p api.Problem) string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": " + p.Message)
	if p.Source != "" {
		fmt.Fprintf(&b, "\n  | %s\n  | %s^", p.Source, caretPadding(p))
	}
	if p.Hint != "" {
		b.WriteString("\n  hint: " + p.Hint)
	}
	return b.String()
}

// A source line that is longer than maxSource runes is shown as a window that begins with an ellipsis, in which the
// column always stands at the same place.
const (
	maxSource    = 160
	windowBefore = 40
)

func caretPadding(p api.Problem) string {
	before := p.Column - 1
	if strings.HasPrefix(p.Source, "…") {
		before = windowBefore
	}
	var pad strings.Builder
	for _, r := range p.Source {
		if before <= 0 {
			break
		}
		if r == '\t' {
			pad.WriteByte('\t')
		} else {
			pad.WriteByte(' ')
		}
		before--
	}
	return pad.String()
}

// pos is a place in the file; both count from 1, columns in code points. The zero pos is no place.
type pos struct{ line, col int }

// maxProblems bounds what one file can make us say.
const maxProblems = 1000

// problems collects what is wrong with one file.
type problems struct {
	file    string
	lines   []string
	list    []api.Problem
	seen    map[api.Problem]bool
	hidden  []pos // from here to the end of the line stands what may be a secret
	dropped int
}

func newProblems(file string, text []byte) *problems {
	return &problems{file: file, lines: splitLines(string(text)), seen: map[api.Problem]bool{}}
}

// splitLines splits where YAML does: after \n, \r\n and \r.
func splitLines(text string) []string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Split(strings.ReplaceAll(text, "\r", "\n"), "\n")
}

// add reports a problem at a place. The place is brought inside the file: the parser puts what is missing at the end
// of a line, or after the last one. A problem that stands already is not repeated: one anchor can be used often.
func (p *problems) add(at pos, hint, format string, args ...any) {
	problem := api.Problem{File: p.file, Message: oneLine(fmt.Sprintf(format, args...)), Hint: oneLine(hint)}
	if at.line > 0 && len(p.lines) > 0 {
		last := len(p.lines)
		for last > 1 && p.lines[last-1] == "" {
			last--
		}
		if at.line > last {
			at = pos{last, utf8.RuneCountInString(p.lines[last-1]) + 1}
		}
		width := utf8.RuneCountInString(p.lines[at.line-1])
		problem.Line, problem.Column = at.line, max(1, min(at.col, width+1))
	}
	if p.seen[problem] {
		return
	}
	if len(p.list) == maxProblems {
		p.dropped++
		return
	}
	p.seen[problem] = true
	p.list = append(p.list, problem)
}

// hide keeps the rest of a line, from at on, out of every source line that is shown.
func (p *problems) hide(at pos) { p.hidden = append(p.hidden, at) }

func (p *problems) any() bool { return len(p.list) > 0 }

// err gives what was collected, in the order of the file, or nil.
func (p *problems) err() error {
	if !p.any() {
		return nil
	}
	for i := range p.list {
		p.list[i].Source = p.source(p.list[i].Line, p.list[i].Column)
	}
	slices.SortStableFunc(p.list, func(a, b api.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if p.dropped > 0 {
		p.list = append(p.list, api.Problem{File: p.file, Message: fmt.Sprintf("and %d more problems", p.dropped)})
	}
	return &Error{Path: p.file, Problems: p.list}
}

// source is the line as it may be shown.
func (p *problems) source(line, col int) string {
	if line < 1 || line > len(p.lines) {
		return ""
	}
	text := []rune(redact(p.lines[line-1]))
	for _, h := range p.hidden {
		if h.line == line && h.col <= len(text) {
			text = append(text[:h.col-1:h.col-1], []rune(redacted)...)
		}
	}
	for i, r := range text {
		if r < ' ' && r != '\t' || r == utf8.RuneError {
			text[i] = '?'
		}
	}
	if len(text) <= maxSource {
		return string(text)
	}
	if start := col - windowBefore; start > 0 && start < len(text) {
		text = append([]rune("…"), text[start:]...)
	}
	if len(text) > maxSource {
		text = append(text[:maxSource:maxSource], '…')
	}
	return string(text)
}

const redacted = "[redacted]"

// secretField finds fields whose names say that a secret follows, whatever the file's structure is: a file that does
// not parse, or whose kinds are misspelt, must not show its passwords either.
var secretField = regexp.MustCompile(
	`(?i)[\w.-]*(?:passw|secret|token|credential|api[_-]?key|private[_-]?key)[\w.-]*["']?\s*:\s*["']?`)

// redact cuts a line where the value of a secret field begins, unless it is a reference, a structure or a comment.
func redact(line string) string {
	for _, at := range secretField.FindAllStringIndex(line, -1) {
		rest := line[at[1]:]
		harmless := strings.TrimSpace(rest) == ""
		for _, prefix := range []string{"env:", "file:", "exec:", "${", "#", "{", "[", "*", "|", ">"} {
			harmless = harmless || strings.HasPrefix(rest, prefix)
		}
		if !harmless {
			return line[:at[1]] + redacted
		}
	}
	return line
}

// oneLine makes text fit for a message: no line breaks, no control characters.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// quote shows a piece of the file in a message, cut to a readable length.
func quote(text string) string {
	if r := []rune(text); len(r) > 60 {
		text = string(r[:60]) + "…"
	}
	return fmt.Sprintf("%q", text)
}

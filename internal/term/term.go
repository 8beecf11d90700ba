// Package term draws the service's replies for people: plans, runs, status, errors and the live view of a run.
//
// It is for eyes. What programs read is `-o json`, which prints package api's types as they are. It calls no service,
// reads no configuration and decides nothing: it is given replies and a writer.
//
// Start with [Detect], which finds out what the writer can show, then call the function named after the reply:
// [Plan], [Run], [Status], [Report], ... Each returns the writer's error only. [Watch] follows a run to its end, as a
// view that is redrawn in place on a terminal and as one line a change elsewhere.
//
// Text that came from outside (an error of a database server, a person's reason) is stripped of control characters, so
// that nothing a remote side says can move the cursor or colour the screen. Colour never carries meaning alone: every
// status is also a word.
package term

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
	"golang.org/x/term"
)

// Style says what the reader's screen can show. The zero Style is plain text of any width in the local time zone.
type Style struct {
	Color   bool
	Width   int            // columns to wrap at; zero: never wrap
	Zone    *time.Location // of absolute times; nil: the local one
	Now     time.Time      // for "12 s ago"; zero: replies' own time
	Command string         // what commands that are shown begin with; empty: "lifeboat"
}

// Detect finds the Style for w: colour and width when w is a terminal that can show them. NO_COLOR (no-color.org) and
// TERM=dumb turn colour off, CLICOLOR_FORCE turns it on elsewhere too. getenv is os.Getenv outside of tests.
func Detect(w io.Writer, getenv func(string) string) Style {
	s := Style{Now: time.Now()}
	cols, _, live := size(w)
	if live {
		s.Width = cols
		s.Color = getenv("TERM") != "dumb"
	} else if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n > 0 {
		s.Width = n
	}
	if force := getenv("CLICOLOR_FORCE"); force != "" && force != "0" {
		s.Color = true
	}
	if getenv("NO_COLOR") != "" {
		s.Color = false
	}
	return s
}

// IsTerminal reports whether w is a terminal that a live view can be drawn on.
func IsTerminal(w io.Writer, getenv func(string) string) bool {
	_, _, ok := size(w)
	return ok && getenv("TERM") != "dumb"
}

// size asks the terminal behind w for its columns and rows; ok is false when there is none.
func size(w io.Writer) (cols, rows int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	cols, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || cols <= 0 || rows <= 0 {
		return 80, 24, true // a terminal that does not tell its size, such as some serial consoles
	}
	return cols, rows, true
}

// command starts a command line that the reader can type.
func (s Style) command(args ...string) string {
	name := s.Command
	if name == "" {
		name = "lifeboat"
	}
	for i, a := range args {
		args[i] = quote(a)
	}
	return name + " " + strings.Join(args, " ")
}

// quote makes one shell word of a. What is plainly safe, or a placeholder that was quoted already, stays as it is.
func quote(a string) string {
	safe := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_./:@=+,\"", r))
	}
	if a != "" && strings.IndexFunc(a, func(r rune) bool { return !safe(r) }) < 0 {
		return a
	}
	return "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
}

// look is how a piece of text is painted.
type look uint8

const (
	plain look = iota
	dim
	bold
	good
	bad
	warn
	accent
	looks
)

// span is a piece of text of one look. The text may come from outside; it is cleaned when it is drawn.
type span struct {
	text string
	look look
}

// page collects lines.
type page struct {
	Style
	paints [looks]lipgloss.Style
	lines  []string
}

func newPage(s Style) *page {
	r := lipgloss.NewRenderer(io.Discard)
	r.SetColorProfile(termenv.Ascii)
	if s.Color {
		r.SetColorProfile(termenv.ANSI) // the sixteen colours that follow the reader's own theme
	}
	p := &page{Style: s}
	base := r.NewStyle()
	p.paints = [looks]lipgloss.Style{
		plain:  base,
		dim:    base.Faint(true),
		bold:   base.Bold(true),
		good:   base.Foreground(lipgloss.Color("2")),
		bad:    base.Foreground(lipgloss.Color("1")).Bold(true),
		warn:   base.Foreground(lipgloss.Color("3")),
		accent: base.Foreground(lipgloss.Color("6")),
	}
	return p
}

// flush writes the page.
func (p *page) flush(w io.Writer) error {
	if len(p.lines) == 0 {
		return nil
	}
	_, err := io.WriteString(w, strings.Join(p.lines, "\n")+"\n")
	return err
}

func (p *page) paint(s span) string {
	text := clean(s.text)
	if s.look == plain || text == "" {
		return text
	}
	return p.paints[s.look].Render(text)
}

// line adds one line, whatever its width.
func (p *page) line(spans ...span) {
	var b strings.Builder
	for _, s := range spans {
		b.WriteString(p.paint(s))
	}
	p.lines = append(p.lines, strings.TrimRight(b.String(), " "))
}

// blank adds an empty line, never two in a row and none at the top.
func (p *page) blank() {
	if n := len(p.lines); n > 0 && p.lines[n-1] != "" {
		p.lines = append(p.lines, "")
	}
}

// text adds spans wrapped at the page's width, the first line behind `indent` blanks and the others behind `hang`.
// Line feeds in the text break lines too.
func (p *page) text(indent, hang int, spans ...span) {
	for _, l := range wrap(spans, p.Width, indent, hang) {
		p.line(l...)
	}
}

// table adds rows in columns as wide as their content, two blanks apart. The last column wraps.
func (p *page) table(indent int, rows [][]span) {
	var widths []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(c.text))
		}
	}
	for _, r := range rows {
		spans := []span{{strings.Repeat(" ", indent), plain}}
		at := indent
		for i, c := range r[:len(r)-1] {
			spans = append(spans, c, span{strings.Repeat(" ", widths[i]-width(c.text)+2), plain})
			at += widths[i] + 2
		}
		last := r[len(r)-1]
		if p.Width > 0 && p.Width-at < 16 { // too narrow for a column: the last cell goes below
			p.line(spans...)
			p.text(indent+2, indent+2, last)
			continue
		}
		for i, l := range wrap([]span{last}, p.Width, at, at) {
			if i == 0 {
				l = append(spans, l[1:]...)
			}
			p.line(l...)
		}
	}
}

// width is the number of columns that text takes.
func width(text string) int { return ansi.StringWidth(clean(text)) }

// clean makes text safe to print: blanks for tabs and line ends, nothing for other control characters and for the
// marks that reverse the direction of writing.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r), r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069', r == '\ufeff':
			return -1
		case r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// wrap breaks spans into lines of at most limit columns (zero: no limit) at blanks; each line begins with a span of
// blanks. A word that is wider than a line stands alone and is not cut: it may be a command to copy.
func wrap(spans []span, limit, indent, hang int) [][]span {
	if limit > 0 && limit-hang < 16 {
		hang = min(2, hang)
		indent = min(2, indent)
	}
	lines := [][]span{{{strings.Repeat(" ", indent), plain}}}
	at, empty := indent, true
	feed := func() {
		lines = append(lines, []span{{strings.Repeat(" ", hang), plain}})
		at, empty = hang, true
	}
	put := func(text string, l look) {
		cur := &lines[len(lines)-1]
		if n := len(*cur); n > 1 && (*cur)[n-1].look == l {
			(*cur)[n-1].text += text
		} else {
			*cur = append(*cur, span{text, l})
		}
		at += width(text)
	}
	for _, s := range spans {
		for i, para := range strings.Split(s.text, "\n") {
			if i > 0 {
				feed()
			}
			for j, word := range strings.Split(para, " ") {
				blank := j > 0 && !empty
				if limit > 0 && !empty && at+width(word)+1 > limit && (blank || at+width(word) > limit) {
					feed()
					blank = false
				}
				if blank {
					put(" ", s.look)
				}
				if word != "" {
					put(word, s.look)
					empty = false
				}
			}
		}
	}
	return lines
}

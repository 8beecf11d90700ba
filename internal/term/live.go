package term

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The escape codes of the live view, all of ECMA-48 and DEC's VT100 and VT220.
const (
	cursorHide = "\x1b[?25l"
	cursorShow = "\x1b[?25h"
	clearLine  = "\x1b[K" // from the cursor to the end of the line
	clearBelow = "\x1b[J" // from the cursor to the end of the screen
	cursorUp   = "\x1b[%dA"
)

// spinner turns with each frame, so that a frozen terminal can be told from a step that takes long.
var spinner = []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"}

// live shows a run as a view redrawn in place. Each frame is one write: up to the first line of the last frame, then
// line by line over it. No line is as wide as the screen and no frame as high, so nothing wraps or scrolls away.
type live struct {
	w      io.Writer
	opts   WatchOptions
	last   *api.RunView
	skew   time.Duration // of the run's clock against ours
	drawn  []int         // widths of the lines of the frame that is on the screen
	frames int
	hidden bool
}

func newLive(w io.Writer, opts WatchOptions) *live { return &live{w: w, opts: opts} }

func (l *live) every() time.Duration { return l.opts.Every }

func (l *live) view(v *api.RunView, now time.Time) error {
	l.last, l.skew = v, v.At.Sub(now)
	return l.draw(now)
}

func (l *live) tick(now time.Time) error {
	if l.last == nil {
		return nil
	}
	l.frames++
	return l.draw(now)
}

// close draws the last frame in full, below which the shell's prompt finds its place, and shows the cursor.
func (l *live) close(now time.Time) error {
	var err error
	if l.last != nil {
		cols, _ := l.opts.Size()
		p := newPage(l.opts.Style)
		p.Width = cols - 1
		l.frame(p, now, 0)
		if l.last.Final {
			p.blank()
			p.summary(l.last, func(spans ...span) { p.text(0, 2, spans...) })
		}
		err = l.put(p.lines, cols)
	}
	if l.hidden {
		if _, showErr := io.WriteString(l.w, cursorShow); err == nil {
			err = showErr
		}
		l.hidden = false
	}
	return err
}

// draw puts the current frame on the screen, cut to its size.
func (l *live) draw(now time.Time) error {
	cols, rows := l.opts.Size()
	p := newPage(l.opts.Style)
	p.Width = cols - 1
	l.frame(p, now, max(4, rows-1))
	return l.put(p.lines, cols)
}

// put replaces the frame on the screen by lines.
func (l *live) put(lines []string, cols int) error {
	var b strings.Builder
	if !l.hidden {
		b.WriteString(cursorHide)
		l.hidden = true
	}
	if up := l.height(cols); up > 0 {
		fmt.Fprintf(&b, cursorUp, up)
	}
	b.WriteString("\r")
	l.drawn = l.drawn[:0]
	for _, line := range lines {
		line = ansi.Truncate(line, max(1, cols-1), "…")
		l.drawn = append(l.drawn, ansi.StringWidth(line))
		b.WriteString(line + clearLine + "\r\n")
	}
	b.WriteString(clearBelow)
	_, err := io.WriteString(l.w, b.String())
	return err
}

// height is how many rows the frame on the screen takes now: more than its lines when the window has become narrower
// since, because terminals wrap what is there already.
func (l *live) height(cols int) int {
	rows := 0
	for _, w := range l.drawn {
		rows += max(1, (w+cols-1)/cols)
	}
	return rows
}

// frame draws the view as of now on p, in at most rows lines; zero: in as many as it takes.
func (l *live) frame(p *page, now time.Time, rows int) {
	v, at := l.last, now.Add(l.skew)
	if v.Final {
		at = v.At
	}
	p.text(0, 2, span{runTitle(&v.RunSummary), bold}, span{"  run " + string(v.ID), dim})
	l.progress(p, v, at)
	p.blank()
	top := p.lines
	below := newPage(p.Style)
	below.asks(v, at)
	if n := next(v); len(n) > 0 && !v.Final {
		below.blank()
		below.line(span{"next  ", dim}, span{titles(n, 3), plain})
	}
	room := 0
	if rows > 0 {
		room = max(1, rows-len(top)-len(below.lines)-1)
	}
	p.lines = nil
	l.steps(p, v, at, room)
	body := p.lines
	p.lines = append(slices.Clone(top), body...)
	if len(below.lines) > 0 {
		p.blank()
		p.lines = append(p.lines, below.lines...)
	}
	if rows > 0 && len(p.lines) > rows {
		p.lines = p.lines[len(p.lines)-rows:] // what a person must do is at the bottom
	}
}

// progress is the line of clocks: how far, how long, and how that compares with the objective.
func (l *live) progress(p *page, v *api.RunView, at time.Time) {
	elapsed := at.Sub(v.Started)
	if v.Ended != nil {
		elapsed = v.Ended.Sub(v.Started)
	}
	p.text(0, 2, statusSpan(v.Status), span{fmt.Sprintf("  %d of %s  ", v.Done, count(v.Total, "step")), plain},
		span{"elapsed ", dim}, span{units.Clock(max(0, elapsed)), bold})
	since, waiting, moves := waitingClients(v, at)
	label, spent := "recovery", elapsed
	if moves {
		label, spent = "clients wait", since
		if waiting == "" {
			label = "clients waited"
		}
	}
	if v.Objective.RTO == nil || spent <= 0 {
		return
	}
	rto := v.Objective.RTO.Std()
	look := good
	switch {
	case spent > rto:
		look = bad
	case spent > rto*7/10:
		look = warn
	}
	text := fmt.Sprintf(" %s of RTO %s", units.Clock(spent), units.Duration(rto))
	if spent > rto {
		text += fmt.Sprintf(", over by %s", units.Clock(spent-rto))
	}
	p.line(span{label + " ", dim}, span{bar(spent, rto, min(30, max(8, p.Width-len(label)-len(text)-4))), look}, span{text, plain})
}

// bar fills cells by the share of whole that part has.
func bar(part, whole time.Duration, cells int) string {
	full := cells
	if whole > 0 && part < whole {
		full = int(float64(cells) * float64(part) / float64(whole))
	}
	return strings.Repeat("█", full) + strings.Repeat("░", cells-full)
}

// waitingClients tells for how long clients have been waiting at least, as the steps tell it: from the run's start
// when the site was lost, else from the first step that they wait for, to the end of the last such step. waiting is ""
// once these are over; moves is false for a run that no client waits for. What they really saw is in the report.
func waitingClients(v *api.RunView, at time.Time) (spent time.Duration, waiting model.StepID, moves bool) {
	var from, to time.Time
	for _, st := range v.Steps {
		if !st.Outage {
			continue
		}
		moves = true
		if !final(st.Status) && waiting == "" {
			waiting = st.ID
		}
		if st.Started != nil && (from.IsZero() || st.Started.Before(from)) {
			from = *st.Started
		}
		if st.Ended != nil && st.Ended.After(to) {
			to = *st.Ended
		}
	}
	if v.Mode == model.Unplanned && moves {
		from = v.Started
	}
	if from.IsZero() {
		return 0, waiting, moves
	}
	if waiting != "" && !v.Final {
		to = at
	}
	return max(0, to.Sub(from)), waiting, moves
}

// steps lists the steps in at most room lines (zero: all of them). When they are too many, finished ones and waiting
// ones far ahead are counted instead of listed.
func (l *live) steps(p *page, v *api.RunView, at time.Time, room int) {
	show := make([]bool, len(v.Steps))
	for i := range show {
		show[i] = true
	}
	hiddenDone, hiddenWaiting := 0, 0
	over := func() int {
		n := len(v.Steps) - hiddenDone - hiddenWaiting
		if hiddenDone > 0 {
			n++
		}
		if hiddenWaiting > 0 {
			n++
		}
		return n - room
	}
	if room > 0 {
		for i := len(v.Steps) - 1; i >= 0 && over() > 0; i-- { // keep the next two waiting ones while others can go
			if v.Steps[i].Status == api.StepWaiting && waitingBefore(v, i) >= 2 {
				show[i], hiddenWaiting = false, hiddenWaiting+1
			}
		}
		for _, quiet := range []func(api.StepStatus) bool{
			func(s api.StepStatus) bool { return s == api.StepDone || s == api.StepSkipped },
			final,
		} {
			for i := 0; i < len(v.Steps) && over() > 0; i++ {
				if show[i] && quiet(v.Steps[i].Status) {
					show[i], hiddenDone = false, hiddenDone+1
				}
			}
		}
	}
	if hiddenDone > 0 {
		p.line(span{fmt.Sprintf("  ✓ %s before", count(hiddenDone, "step")), dim})
	}
	var rows [][]span
	for i := range v.Steps {
		if show[i] {
			rows = append(rows, l.row(&v.Steps[i], at))
		}
	}
	if room > 0 && len(rows) > max(1, room-min(1, hiddenDone)-min(1, hiddenWaiting)) {
		rows = rows[:max(1, room-min(1, hiddenDone)-min(1, hiddenWaiting))]
	}
	wide := p.Width
	p.Width = 0 // one line a step: cut, not wrapped
	p.table(2, rows)
	p.Width = wide
	if hiddenWaiting > 0 {
		p.line(span{fmt.Sprintf("  · %s more to come", count(hiddenWaiting, "step")), dim})
	}
}

func waitingBefore(v *api.RunView, i int) int {
	n := 0
	for _, st := range v.Steps[:i] {
		if st.Status == api.StepWaiting {
			n++
		}
	}
	return n
}

func (l *live) row(st *api.StepView, at time.Time) []span {
	m := markOf(st.Status)
	if st.Status == api.StepBeginning || st.Status == api.StepRunning {
		m.sign = spinner[l.frames%len(spinner)]
	}
	text := span{stepText(st, at), plain}
	if st.Status == api.StepWaiting {
		text.look = dim
	}
	return []span{{m.sign + " " + m.word, m.look}, {stepTook(st, at), plain}, text}
}

// titles names up to n steps and counts the rest.
func titles(steps []*api.StepView, n int) string {
	var names []string
	for _, st := range steps[:min(n, len(steps))] {
		names = append(names, st.Title)
	}
	text := strings.Join(names, "; ")
	if len(steps) > n {
		text += fmt.Sprintf("; and %d more", len(steps)-n)
	}
	return text
}

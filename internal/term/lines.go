package term

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// lines shows a run as plain lines, one a change: for logs, pipes and pagers. It writes no escape codes, whatever the
// Style says.
type lines struct {
	w      io.Writer
	opts   WatchOptions
	last   *api.RunView
	phases map[model.StepID]phase
	wrote  time.Time // when the last line was written, by the watcher's clock
	skew   time.Duration
}

// phase is what was last said about a step's phase.
type phase struct {
	text string
	at   time.Time
}

func newLines(w io.Writer, opts WatchOptions) *lines {
	opts.Style.Color, opts.Style.Width = false, 0
	return &lines{w: w, opts: opts, phases: map[model.StepID]phase{}}
}

func (l *lines) every() time.Duration { return time.Second }

func (l *lines) view(v *api.RunView, now time.Time) error {
	p := newPage(l.opts.Style)
	l.skew = v.At.Sub(now)
	at := v.At
	if l.last == nil {
		l.say(p, at, "run", fmt.Sprintf("%s: %s, %s, objective %s", v.ID, runTitle(&v.RunSummary), count(v.Total, "step"), objective(v.Objective)))
	}
	l.driver(p, v)
	before := map[model.StepID]*api.StepView{}
	if l.last != nil {
		for i := range l.last.Steps {
			before[l.last.Steps[i].ID] = &l.last.Steps[i]
		}
		for i := len(l.last.Notes); i < len(v.Notes); i++ {
			n := v.Notes[i]
			l.say(p, n.At, "note", strings.TrimPrefix(n.By+": "+n.What, ": "))
		}
	}
	for i := range v.Steps {
		st := &v.Steps[i]
		l.step(p, v, before[st.ID], st, now)
	}
	switch {
	case v.Final:
		l.summary(p, v)
	case l.last != nil && v.Status == "paused" && l.last.Status != "paused":
		l.say(p, at, "paused", "nothing new starts until: "+l.opts.Style.command("run", "resume", string(v.ID)))
	}
	l.last = v
	if len(p.lines) > 0 {
		l.wrote = now
	}
	return p.flush(l.w)
}

// say adds one line: time of day, a word, text.
func (l *lines) say(p *page, at time.Time, word, text string) {
	p.line(span{fmt.Sprintf("%s  %-9s %s", units.Time(at, l.opts.Style.Zone), word, text), plain})
}

// driver says who drives the run, when that has changed.
func (l *lines) driver(p *page, v *api.RunView) {
	switch {
	case v.Final || l.last != nil && l.last.Owner == v.Owner && l.last.Epoch == v.Epoch:
	case v.Owner == "":
		l.say(p, v.At, "driver", "nobody drives this run; it goes on with: "+l.opts.Style.command("run", "resume", string(v.ID)))
	default:
		l.say(p, v.At, "driver", fmt.Sprintf("driven by %s (epoch %d)", v.Owner, v.Epoch))
	}
}

// step says what changed in one step since it was last seen.
func (l *lines) step(p *page, v *api.RunView, old, st *api.StepView, now time.Time) {
	was, attempt, given := api.StepWaiting, 0, 0
	if old != nil {
		was, attempt, given = old.Status, old.Attempt, len(old.Approvals)
	}
	name := string(st.ID) + "  "
	if st.Status == was && st.Attempt == attempt && len(st.Approvals) == given {
		l.phase(p, st, v.At, now)
		return
	}
	at := v.At
	if st.Ended != nil && final(st.Status) {
		at = *st.Ended
	} else if st.Started != nil && st.Attempt == 1 && active(st.Status) {
		at = *st.Started
	}
	switch st.Status {
	case api.StepWaiting:
	case api.StepBeginning, api.StepRunning:
		started := was == api.StepBeginning || was == api.StepRunning
		if !started || st.Attempt != attempt {
			text := st.Title
			if st.Attempt > 1 {
				text += fmt.Sprintf(" (attempt %d)", st.Attempt)
			}
			l.say(p, at, "started", name+text)
		}
		l.phase(p, st, at, now)
	case api.StepApproval:
		l.say(p, at, "approval", name+st.Title+": "+approvals(st)+"; "+l.opts.Style.command("run", "approve", string(v.ID), string(st.ID)))
	case api.StepAsking:
		l.say(p, at, "asking", name+st.Title)
		single := *v
		single.Steps, single.Status, single.Owner = []api.StepView{*st}, "", "-"
		p.asks(&single, at)
	default:
		text := name + st.Title
		if took := stepTook(st, at); took != "" && final(st.Status) {
			text += " (" + took + ")"
		}
		if d := stepDetail(st, at); d != "" {
			text += " · " + d
		}
		for _, f := range st.Evidence {
			text += " · " + f.Name + ": " + f.Value
		}
		l.say(p, at, markOf(st.Status).word, text)
	}
}

// phase says what a running step waits for, when that has changed and was not said a moment ago.
func (l *lines) phase(p *page, st *api.StepView, at, now time.Time) {
	if st.Phase == "" || !active(st.Status) || st.Status == api.StepRetrying {
		return
	}
	said, ok := l.phases[st.ID]
	if ok && (said.text == st.Phase || now.Sub(said.at) < l.opts.Phase) {
		return
	}
	l.phases[st.ID] = phase{st.Phase, now}
	l.say(p, at, "waiting", string(st.ID)+"  "+st.Phase)
}

// tick says again what goes on when nothing was said for long, so that a log shows that somebody is still there. A
// phase that was held back is said once its time has come.
func (l *lines) tick(now time.Time) error {
	if l.last == nil {
		return nil
	}
	p, at := newPage(l.opts.Style), now.Add(l.skew)
	for i := range l.last.Steps {
		l.phase(p, &l.last.Steps[i], at, now)
	}
	if len(p.lines) == 0 && now.Sub(l.wrote) >= l.opts.Still {
		for i := range l.last.Steps {
			st := &l.last.Steps[i]
			if active(st.Status) || st.Status == api.StepAsking || st.Status == api.StepApproval {
				l.say(p, at, "still", fmt.Sprintf("%s  %s %s", st.ID, markOf(st.Status).word, strings.TrimRight(stepTook(st, at)+"  "+st.Phase, " ")))
			}
		}
		l.wrote = now
	}
	if len(p.lines) > 0 {
		l.wrote = now
	}
	return p.flush(l.w)
}

func (l *lines) close(time.Time) error { return nil }

func (l *lines) summary(p *page, v *api.RunView) {
	p.summary(v, func(spans ...span) {
		var text strings.Builder
		for _, s := range spans {
			text.WriteString(s.text)
		}
		word, rest, _ := strings.Cut(text.String(), " ")
		l.say(p, v.At, word, rest)
	})
}

// summary says in a few lines what became of a run that is over.
func (p *page) summary(v *api.RunView, line func(...span)) {
	n := map[api.StepStatus]int{}
	for _, st := range v.Steps {
		n[st.Status]++
	}
	took := ""
	if v.Ended != nil {
		took = " in " + units.Duration(v.Ended.Sub(v.Started))
	}
	text := fmt.Sprintf("%s: %d of %s done", took, n[api.StepDone], count(len(v.Steps), "step"))
	for _, s := range []api.StepStatus{api.StepWaived, api.StepSkipped, api.StepFailed, api.StepCanceled} {
		if n[s] > 0 {
			text += fmt.Sprintf(", %d %s", n[s], s)
		}
	}
	line(statusSpan(v.Status), span{text, plain})
	line(span{"report ", dim}, span{p.command("report", string(v.ID)), accent})
}

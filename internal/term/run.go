package term

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Runs lists runs, one a line.
func Runs(w io.Writer, runs []api.RunSummary, s Style) error {
	p := newPage(s)
	if len(runs) == 0 {
		p.line(span{"no runs yet", dim})
		return p.flush(w)
	}
	rows := [][]span{{{"RUN", dim}, {"STATUS", dim}, {"STEPS", dim}, {"STARTED", dim}, {"TOOK", dim}, {"WHAT", dim}}}
	for _, r := range runs {
		took := ""
		if r.Ended != nil {
			took = units.Duration(r.Ended.Sub(r.Started))
		} else if !p.Now.IsZero() {
			took = units.Duration(p.Now.Sub(r.Started)) + " so far"
		}
		rows = append(rows, []span{
			{string(r.ID), plain}, statusSpan(r.Status), {fmt.Sprintf("%d/%d", r.Done, r.Total), plain},
			{units.Instant(r.Started, s.Zone), plain}, {took, plain}, {runTitle(&r), plain},
		})
	}
	p.table(0, rows)
	return p.flush(w)
}

func runTitle(r *api.RunSummary) string {
	return title(r.Name, r.App, r.Operation, r.Mode, r.From, r.To)
}

// statusSpan paints a run's status.
func statusSpan(status string) span {
	switch status {
	case string(api.Succeeded):
		return span{status, good}
	case string(api.Failed), string(api.Aborted):
		return span{status, bad}
	case "running":
		return span{status, accent}
	}
	return span{status, warn} // paused, asking, waiting-approval, unattended: somebody should act
}

// mark is how a step's status is drawn: a sign, a word and a look. The word alone tells it.
type mark struct {
	sign, word string
	look       look
}

var marks = map[api.StepStatus]mark{
	api.StepWaiting:   {"·", "waiting", dim},
	api.StepApproval:  {"?", "approval", warn},
	api.StepBeginning: {"▸", "starting", accent},
	api.StepRunning:   {"▸", "running", accent},
	api.StepRetrying:  {"↻", "retrying", warn},
	api.StepAsking:    {"!", "asking", bad},
	api.StepDone:      {"✓", "done", good},
	api.StepWaived:    {"~", "waived", warn},
	api.StepSkipped:   {"-", "skipped", dim},
	api.StepFailed:    {"✗", "failed", bad},
	api.StepCanceled:  {"✗", "canceled", warn},
}

func markOf(s api.StepStatus) mark {
	if m, ok := marks[s]; ok {
		return m
	}
	return mark{"?", string(s), warn}
}

// final reports whether nothing more happens to a step.
func final(s api.StepStatus) bool {
	switch s {
	case api.StepDone, api.StepWaived, api.StepSkipped, api.StepFailed, api.StepCanceled:
		return true
	}
	return false
}

// active reports whether a step is being worked on.
func active(s api.StepStatus) bool {
	return s == api.StepBeginning || s == api.StepRunning || s == api.StepRetrying
}

// Run shows one run as of its view: its steps, what was seen, what people did, and what waits for a person.
func Run(w io.Writer, v *api.RunView, s Style) error {
	p := newPage(s)
	p.runHead(v)
	p.blank()
	rows := make([][]span, 0, len(v.Steps))
	for i := range v.Steps {
		st := &v.Steps[i]
		m := markOf(st.Status)
		rows = append(rows, []span{
			{m.sign + " " + m.word, m.look}, {stepTook(st, v.At), plain}, {string(st.ID), plain}, {stepText(st, v.At), plain},
		})
	}
	p.table(2, rows)
	p.evidence(v)
	if len(v.Notes) > 0 {
		p.blank()
		p.line(span{"what people and owners did", bold})
		var notes [][]span
		for _, n := range v.Notes {
			notes = append(notes, []span{{units.Time(n.At, s.Zone), dim}, {n.By, plain}, {n.What, plain}})
		}
		p.table(2, notes)
	}
	p.asks(v, v.At)
	return p.flush(w)
}

// runHead is what the run is, how far it is, and who drives it.
func (p *page) runHead(v *api.RunView) {
	p.text(0, 2, span{runTitle(&v.RunSummary), bold}, span{"  run " + string(v.ID), dim})
	state := []span{statusSpan(v.Status), {fmt.Sprintf(", %d of %s", v.Done, count(v.Total, "step")), plain}}
	state = append(state, span{", started " + units.Instant(v.Started, p.Zone), plain})
	if v.By != "" {
		state = append(state, span{" by " + v.By, plain})
	}
	if v.Ended != nil {
		state = append(state, span{", took " + units.Duration(v.Ended.Sub(v.Started)), plain})
	} else if v.Owner != "" {
		state = append(state, span{fmt.Sprintf(", driven by %s (epoch %d)", v.Owner, v.Epoch), plain})
	} else {
		state = append(state, span{", driven by nobody", warn})
	}
	p.text(0, 2, state...)
}

// stepTook is how long a step took or has been at it, "" before it began.
func stepTook(st *api.StepView, at time.Time) string {
	switch {
	case st.Started == nil:
		return ""
	case st.Ended != nil:
		return units.Duration(st.Ended.Sub(*st.Started))
	}
	return units.Clock(max(0, at.Sub(*st.Started)))
}

// stepText is a step's title and what is to be known about it in its state.
func stepText(st *api.StepView, at time.Time) string {
	text := st.Title
	if d := stepDetail(st, at); d != "" {
		text += " · " + d
	}
	return text
}

func stepDetail(st *api.StepView, at time.Time) string {
	var parts []string
	if st.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", st.Attempt))
	}
	switch st.Status {
	case api.StepBeginning, api.StepRunning:
		if st.Phase != "" {
			parts = append(parts, st.Phase)
		}
	case api.StepRetrying:
		if st.RetryAt != nil {
			parts = append(parts, "again "+soon(st.RetryAt.Sub(at)))
		}
		if st.Err != nil {
			parts = append(parts, st.Err.Error())
		}
	case api.StepApproval:
		parts = append(parts, approvals(st))
	case api.StepFailed, api.StepAsking, api.StepCanceled:
		if st.Err != nil {
			parts = append(parts, st.Err.Error())
		}
	}
	if st.Reason != "" {
		by := ""
		if st.By != "" {
			by = st.By + ": "
		}
		parts = append(parts, by+"“"+st.Reason+"”")
	}
	return strings.Join(parts, " · ")
}

func soon(d time.Duration) string {
	if d <= 0 {
		return "now"
	}
	return "in " + units.Clock(d)
}

// approvals says who has approved a step and how many are missing.
func approvals(st *api.StepView) string {
	var who []string
	for _, a := range st.Approvals {
		who = append(who, a.By)
	}
	text := fmt.Sprintf("%d of %s", len(who), count(st.Needed, "approval"))
	if len(who) > 0 {
		text += " (" + strings.Join(who, ", ") + ")"
	}
	return text
}

// evidence lists what proves each finished step.
func (p *page) evidence(v *api.RunView) {
	var rows [][]span
	for _, st := range v.Steps {
		for i, f := range st.Evidence {
			id := ""
			if i == 0 {
				id = string(st.ID)
			}
			rows = append(rows, []span{{id, plain}, {f.Name, dim}, {f.Value, plain}})
		}
	}
	if len(rows) > 0 {
		p.blank()
		p.line(span{"evidence", bold})
		p.table(2, rows)
	}
}

// asks says what waits for a person, with the exact commands.
func (p *page) asks(v *api.RunView, at time.Time) {
	if v.Final {
		return
	}
	run := string(v.ID)
	cmd := func(note string, args ...string) {
		spans := []span{{p.command(args...), accent}}
		if note != "" {
			spans = append(spans, span{"   # " + note, dim})
		}
		p.text(4, 8, spans...)
	}
	for i := range v.Steps {
		st := &v.Steps[i]
		switch st.Status {
		case api.StepAsking:
			p.blank()
			p.text(0, 2, span{"! ", bad}, span{st.Title, bold}, span{fmt.Sprintf(" failed %s and asks what to do", times(st.Attempt)), plain})
			p.failure(2, st.Err)
			id := string(st.ID)
			cmd("once more", "run", "retry", run, id)
			if st.Waiver == "" { // what a rule stands behind is set aside, never skipped
				cmd("it was done by hand, go on", "run", "skip", run, id, "--reason", `"why"`)
			}
			cmd(forceNote(st.Action), "run", "force", run, id, "--reason", `"why"`)
			cmd("give up; what a drill made is released", "run", "abort", run)
		case api.StepApproval:
			p.blank()
			p.text(0, 2, span{"? ", warn}, span{st.Title, bold}, span{" waits for approval: " + approvals(st) + waited(st, at), plain})
			note := ""
			if st.Needed > 1 {
				note = "each by a different person"
			}
			cmd(note, "run", "approve", run, string(st.ID))
		}
	}
	switch {
	case v.Status == "paused":
		p.blank()
		p.line(span{"paused: nothing new starts until", warn})
		cmd("", "run", "resume", run)
	case v.Owner == "" && v.Unread > 0:
		p.blank()
		p.line(span{count(v.Unread, "answer") + " recorded, and nobody drives this run; to hear what was said and go on", warn})
		cmd("", "run", "resume", run)
	case v.Owner == "":
		p.blank()
		p.line(span{"nobody drives this run; it goes on from here with", warn})
		cmd("", "run", "resume", run)
	}
}

func times(n int) string {
	if n <= 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func waited(st *api.StepView, at time.Time) string {
	if st.Started == nil {
		return ""
	}
	return ", since " + units.Clock(max(0, at.Sub(*st.Started)))
}

// forceNote says what forcing a step of this action means.
func forceNote(a model.Action) string {
	if a == model.ActionFence {
		return "go on unproved: the old copy may still take writes"
	}
	return "once more, past its own objections"
}

// next lists the waiting steps of which everything they need is over or under way, in the plan's order.
func next(v *api.RunView) []*api.StepView {
	status := map[model.StepID]api.StepStatus{}
	for _, st := range v.Steps {
		status[st.ID] = st.Status
	}
	var out []*api.StepView
	for i := range v.Steps {
		st := &v.Steps[i]
		near := func(id model.StepID) bool { return status[id] != api.StepWaiting }
		if st.Status == api.StepWaiting && !slices.ContainsFunc(st.Needs, func(id model.StepID) bool { return !near(id) }) {
			out = append(out, st)
		}
	}
	return out
}

package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

// How replies are drawn is package term's; here is what is drawn where.

// style is what w can show.
func (inv *invocation) style(w io.Writer) term.Style {
	s := term.Detect(w, inv.Getenv)
	s.Command = inv.program()
	s.Now = inv.Now()
	if inv.noColor {
		s.Color = false
	}
	return s
}

// show writes a reply on standard output: as the one JSON document with -o json, else drawn for people.
func show[T any](inv *invocation, reply T, draw func(io.Writer, T, term.Style) error) error {
	if inv.json() {
		return inv.writeJSON(reply)
	}
	return draw(inv.Out, reply, inv.style(inv.Out))
}

// showError draws err on standard error. An error of drawing it has nowhere to go.
func (inv *invocation) showError(err error) {
	_ = term.Error(inv.Err, err, inv.style(inv.Err))
}

func (inv *invocation) showPlan(w io.Writer, r *api.PlanReply) error {
	return term.Plan(w, r, inv.style(w))
}

func (inv *invocation) showOutcome(w io.Writer, r *api.Report) error {
	return term.Report(w, r, inv.style(w))
}

// showProgress draws a run's views as they come, until the last one: in place on a terminal, a line a change elsewhere.
// The error is that of views, of ctx or of the writer.
func (inv *invocation) showProgress(ctx context.Context, views iter.Seq2[*api.RunView, error]) (*api.RunView, error) {
	w := inv.human()
	opts := term.WatchStyle(w, inv.Getenv)
	opts.Style = inv.style(w)
	opts.Now = inv.Now
	return term.Watch(ctx, w, views, opts)
}

// showQuestion puts the question of a step that waits for a person, with the answers there are.
func (inv *invocation) showQuestion(s api.StepView, answers []choice) {
	w := inv.Err
	if s.Status == api.StepApproval {
		fmt.Fprintf(w, "\n%s waits for approval (%d of %d): %s\n", s.ID, len(s.Approvals), s.Needed, oneLine(s.Title))
	} else {
		fmt.Fprintf(w, "\n%s failed and asks what to do: %s\n", s.ID, oneLine(s.Title))
	}
	if s.Err != nil {
		inv.showError(s.Err)
	}
	for _, c := range answers {
		fmt.Fprintf(w, "  %s  %-7s %s\n", c.key, c.word, c.says)
	}
}

// oneLine strips what would move the cursor from text that came from outside.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

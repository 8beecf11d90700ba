package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// choice is one answer that a person can give to a step that waits.
type choice struct {
	key    string
	word   string
	signal api.Signal // empty: none
	leave  bool
	reason bool // needs one, in writing
	says   string
}

// choices lists the answers to a step that waits.
func choices(s api.StepView) []choice {
	abort := choice{"a", "abort", api.Abort, false, true, "give the run up; what it made for itself is released"}
	wait := choice{"w", "wait", "", false, false, "do not answer here; another terminal may"}
	leave := choice{"l", "leave", "", true, false, "stop driving here; the run stays as it is (exit code 3)"}
	if s.Status == api.StepApproval {
		return []choice{{"y", "yes", api.Approve, false, false, "approve, in your name"}, abort, wait, leave}
	}
	force := "go on past what the step itself objects to"
	if s.Action == model.ActionFence {
		force = "go on without proof that the old copy takes no writes"
	}
	return []choice{
		{"r", "retry", api.Retry, false, false, "try the step again"},
		{"s", "skip", api.Skip, false, true, "count the step as done by hand"},
		{"f", "force", api.Force, false, true, force},
		abort, wait, leave,
	}
}

// errAnswered ends a question that somebody else has answered meanwhile.
var errAnswered = errors.New("answered elsewhere")

// ask puts a step's question to the person at the terminal and sends the answer. The question ends by itself when the
// step waits no more. leave means: stop following the run.
func (f *follower) ask(ctx context.Context, step api.StepView) (leave bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if f.moved(ctx, step) {
			cancel(errAnswered)
		}
	}()
	defer func() { cancel(nil); <-gone }()

	f.inv.showQuestion(step, choices(step))
	for {
		picked, reason, err := f.answer(ctx, step)
		switch {
		case errors.Is(err, errAnswered):
			fmt.Fprintf(f.inv.Err, "\n%s waits no more: answered elsewhere\n", step.ID)
			return false, nil
		case errors.Is(err, io.EOF): // nobody there any more
			fmt.Fprintln(f.inv.Err, "\nno answer here; another terminal may answer")
			f.inv.gone = true
			return f.opt.noWait, nil
		case err != nil:
			return false, failure.Wrap(err, "ask", string(step.ID))
		case picked.leave:
			return true, nil
		case picked.signal == "":
			return false, nil
		}
		reply, err := f.svc.Signal(ctx, api.SignalRequest{
			Run: f.run, Signal: picked.signal, Step: stepFor(picked.signal, step), Reason: reason,
			By: f.inv.by(f.opt.by), Key: f.inv.NewKey(),
		})
		switch {
		case err == nil && !reply.Attended:
			fmt.Fprintf(f.inv.Err, "nobody drives the run: %s\n", f.inv.command("run", "resume", string(f.run)))
			return false, nil
		case err == nil:
			return false, nil
		case errors.Is(context.Cause(ctx), errAnswered):
			return false, nil
		case ctx.Err() != nil || f.inv.fatal(err):
			return false, failure.Wrap(err, picked.word, string(step.ID))
		}
		f.inv.showError(err) // such as a second approval by one person: choose again
	}
}

// stepFor names the step that a signal is for; an abort is for the run.
func stepFor(signal api.Signal, step api.StepView) model.StepID {
	if signal == api.Abort {
		return ""
	}
	return step.ID
}

// moved waits until the step's question is no longer open, or ctx ends.
func (f *follower) moved(ctx context.Context, step api.StepView) bool {
	asked := questionOf(step)
	for v, err := range f.svc.Watch(ctx, f.run) {
		if err != nil {
			return false
		}
		if v.Final {
			return true
		}
		for _, s := range v.Steps {
			if s.ID == step.ID && (!open(s) || questionOf(s) != asked) {
				return true
			}
		}
	}
	return false
}

// answer reads one choice, with its reason where it needs one.
func (f *follower) answer(ctx context.Context, step api.StepView) (choice, string, error) {
	all := choices(step)
	for {
		fmt.Fprint(f.inv.Err, "? ")
		typed, err := f.inv.lines.read(ctx)
		if err != nil {
			return choice{}, "", err
		}
		picked, ok := pick(all, typed)
		if !ok {
			var keys []string
			for _, c := range all {
				keys = append(keys, c.key+" "+c.word)
			}
			fmt.Fprintf(f.inv.Err, "%q is none of: %s\n", typed, strings.Join(keys, ", "))
			continue
		}
		if !picked.reason {
			return picked, "", nil
		}
		fmt.Fprintf(f.inv.Err, "reason for the report (empty: choose again): ")
		reason, err := f.inv.lines.read(ctx)
		if err != nil {
			return choice{}, "", err
		}
		if reason != "" {
			return picked, reason, nil
		}
	}
}

// pick finds the choice that was typed, as a letter or a word.
func pick(all []choice, typed string) (choice, bool) {
	typed = strings.ToLower(typed)
	for _, c := range all {
		if typed == c.key || typed == c.word {
			return c, true
		}
	}
	return choice{}, false
}

// fatal reports whether asking the person again is of no use after err.
func (inv *invocation) fatal(err error) bool {
	switch failure.KindOf(err) {
	case failure.Denied, failure.Invalid, failure.Conflict, failure.Unsupported:
		return false
	}
	return true
}

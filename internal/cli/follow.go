package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// followOptions say how to stay with a run until it is over.
type followOptions struct {
	noWait    bool
	by        string
	reportDir string
}

func (o *followOptions) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.noWait, "no-wait", false, "leave when the run waits for a person (exit code 3)")
	cmd.Flags().StringVar(&o.by, "by", "", "act as `NAME` (default: user@host)")
	cmd.Flags().StringVar(&o.reportDir, "report-dir", "", "write RUN.html and RUN.json into `FOLDER` at the end")
	_ = cmd.MarkFlagDirname("report-dir")
	complete(cmd, "by", cobra.NoFileCompletions)
}

func (o *followOptions) check(cmd *cobra.Command) error {
	for _, flag := range []string{"by", "report-dir"} {
		if cmd.Flags().Changed(flag) && strings.TrimSpace(cmd.Flag(flag).Value.String()) == "" {
			return usageError(cmd, "%s: --%s is empty", name(cmd), flag)
		}
	}
	return nil
}

// question is one wait of one step for a person. It is another question when the step has failed anew.
type question struct {
	step    model.StepID
	status  api.StepStatus
	attempt int
	given   int // approvals so far
	since   string
}

func questionOf(s api.StepView) question {
	q := question{step: s.ID, status: s.Status, attempt: s.Attempt, given: len(s.Approvals)}
	if s.Err != nil {
		q.since = s.Err.Error()
	}
	if s.Ended != nil {
		q.since += s.Ended.String()
	}
	return q
}

// open reports whether a step waits for a person.
func open(s api.StepView) bool { return s.Status == api.StepAsking || s.Status == api.StepApproval }

// follower stays with one run.
type follower struct {
	inv  *invocation
	svc  api.Service
	run  model.RunID
	opt  followOptions
	seen map[question]bool // questions that were put to the person, or told
}

// follow stays with a run that this process drives, or stands by for, until the run is over or the person leaves.
func (inv *invocation) follow(ctx context.Context, svc api.Service, run model.RunID, opt followOptions) error {
	f := &follower{inv: inv, svc: svc, run: run, opt: opt, seen: map[question]bool{}}
	for {
		view, step, err := f.watch(ctx)
		switch {
		case ctx.Err() != nil:
			return f.left(failure.New(failure.Canceled, "", "", "interrupted: run %s stays as it is", run))
		case err != nil:
			return f.left(err)
		case view.Final:
			return inv.finish(ctx, svc, view, opt)
		case opt.noWait:
			return f.unfinished(ctx)
		}
		leave, err := f.ask(ctx, *step)
		switch {
		case ctx.Err() != nil:
			return f.left(failure.New(failure.Canceled, "", "", "interrupted: run %s stays as it is", run))
		case err != nil:
			return f.left(err)
		case leave:
			return f.unfinished(ctx)
		}
	}
}

// errAsked ends a view at a step that waits for a person.
var errAsked = errors.New("a step waits for a person")

// watch shows the run's progress until it is over, or until a step waits for a person who has not been asked yet: then
// step is that one. With nobody to ask, and no wish to leave, it goes on: the view says how to answer from elsewhere.
func (f *follower) watch(ctx context.Context) (view *api.RunView, step *api.StepView, err error) {
	stop := f.inv.interactive() || f.opt.noWait
	var asked *api.StepView
	views := func(yield func(*api.RunView, error) bool) {
		for v, err := range f.svc.Watch(ctx, f.run) {
			if !yield(v, err) {
				return
			}
			if err != nil || v.Final || !stop {
				continue
			}
			if asked = f.newQuestion(v); asked != nil {
				yield(nil, errAsked)
				return
			}
		}
	}
	view, err = f.inv.showProgress(ctx, views)
	if errors.Is(err, errAsked) {
		return view, asked, nil
	}
	return view, nil, err
}

// newQuestion finds the first step that waits for a person and was not put to them yet. While nobody drives the run, or
// whoever does has not read all that was said, there is none: an answer may lie recorded already.
func (f *follower) newQuestion(v *api.RunView) *api.StepView {
	f.forget(v)
	if v.Owner == "" || v.Unread > 0 {
		return nil
	}
	for _, s := range v.Steps {
		if q := questionOf(s); open(s) && !f.seen[q] {
			f.seen[q] = true
			return &s
		}
	}
	return nil
}

// forget drops the questions of steps that wait no more, so that a later one of theirs is put again.
func (f *follower) forget(v *api.RunView) {
	for _, s := range v.Steps {
		if open(s) {
			continue
		}
		for q := range f.seen {
			if q.step == s.ID {
				delete(f.seen, q)
			}
		}
	}
}

// left ends the command while the run goes on being there.
func (f *follower) left(err error) error {
	return failure.From(err).WithHint("go on with: %s", f.inv.command("run", "resume", string(f.run)))
}

// unfinished leaves a run that waits for a person.
func (f *follower) unfinished(ctx context.Context) error {
	f.inv.say("run %s is left as it is; go on with: %s", f.run, f.inv.command("run", "resume", string(f.run)))
	if f.inv.json() {
		report, err := f.svc.Report(ctx, f.run)
		if err != nil {
			return failure.Wrap(err, "report", string(f.run))
		}
		if err := f.inv.writeJSON(report); err != nil {
			return err
		}
	}
	return quiet{ExitUnfinished}
}

// finish says how a run ended, writes its reports where they are wanted, and turns its outcome into the exit code.
func (inv *invocation) finish(ctx context.Context, svc api.Service, view *api.RunView, opt followOptions) error {
	report, err := svc.Report(ctx, view.ID)
	if err != nil {
		inv.say("run %s: %s", view.ID, view.Outcome)
		return failure.Wrap(err, "report", string(view.ID))
	}
	if err := inv.showOutcome(inv.human(), report); err != nil {
		return err
	}
	if inv.json() {
		if err := inv.writeJSON(report); err != nil {
			return err
		}
	}
	if opt.reportDir != "" {
		if err := inv.writeReports(ctx, report, opt.reportDir); err != nil {
			return err
		}
	}
	return outcomeError(view)
}

// outcomeError is nil for a run that succeeded.
func outcomeError(view *api.RunView) error {
	switch {
	case !view.Final:
		return quiet{ExitUnfinished}
	case view.Outcome != api.Succeeded:
		return quiet{ExitUnsuccessful}
	}
	return nil
}

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

func newRunResume(inv *invocation) *cobra.Command {
	var run string
	var opt followOptions
	cmd := withFormats(&cobra.Command{
		Use:   "resume RUN",
		Short: "Take a run up and drive it to its end",
		Long: `A paused run goes on. A run whose process died is taken up where it stood: what had begun is observed, not begun
again. While another process drives the run, this one stands by, and takes over when that one dies. A run that is over
stays so, and the exit code is that of its outcome.`,
		Example: `  lifeboat run resume last
  lifeboat run resume 01K5 --report-dir reports`,
		Args:              wants("RUN"),
		SuggestFor:        []string{"continue", "drive"},
		ValidArgsFunction: completeRuns(inv, true, nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := opt.check(cmd); err != nil {
				return err
			}
			run = args[0]
			return runRunResume(cmd.Context(), inv, run, opt)
		},
	}, "text", "json")
	opt.flags(cmd)
	return cmd
}

func runRunResume(ctx context.Context, inv *invocation, run string, opt followOptions) error {
	return inv.withService(ctx, func(svc api.Service) error {
		view, err := find(ctx, svc, run)
		if err != nil {
			return err
		}
		if view.Final && run == newest {
			if view, err = findActive(ctx, svc, view); err != nil {
				return err
			}
		}
		if view.Final {
			inv.say("run %s is over", view.ID)
			return inv.finish(ctx, svc, view, opt)
		}
		if view.Status == statusPaused {
			_, err := svc.Signal(ctx, api.SignalRequest{
				Run: view.ID, Signal: api.Resume, By: inv.by(opt.by), Key: inv.NewKey(),
			})
			if err != nil {
				return failure.Wrap(err, "resume", string(view.ID))
			}
		}
		if view.Owner != "" {
			inv.say("%s drives run %s; standing by to take over if it dies", view.Owner, view.ID)
		} else {
			inv.say("taking up run %s", view.ID)
		}
		if err := svc.Drive(ctx, view.ID); err != nil {
			return failure.Wrap(err, "resume", string(view.ID))
		}
		return inv.follow(ctx, svc, view.ID, opt)
	})
}

// newest is how a person names the newest run.
const newest = "last"

// findActive finds the newest run that is not over, for somebody who wants to carry on and does not know that the newest
// of all is over: what they want to carry on may never have been recorded.
func findActive(ctx context.Context, svc api.Service, last *api.RunView) (*api.RunView, error) {
	active, err := svc.Runs(ctx, api.RunsRequest{Active: true, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(active) == 0 {
		return nil, failure.New(failure.NotFound, "resume", newest, "no run is under way; the newest, %s (%s), is over: %s",
			last.ID, last.Name, last.Outcome).WithHint("if an operation was interrupted before its run was recorded, nothing has happened: start it again")
	}
	return find(ctx, svc, string(active[0].ID))
}

// statusPaused is the status of a run that a person has halted.
const statusPaused = "paused"

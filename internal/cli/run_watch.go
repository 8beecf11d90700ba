package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

type watchOptions struct {
	run    string
	noWait bool
}

func newRunWatch(inv *invocation) *cobra.Command {
	var opt watchOptions
	cmd := withFormats(&cobra.Command{
		Use:   "watch RUN",
		Short: "Follow a run to its end, without driving it",
		Long: `On a terminal the view is redrawn in place, elsewhere each change is a line. Watching changes nothing: Ctrl-C ends the
view only. The exit code is that of the run: 0 when it succeeded, 1 when it did not. With -o json the last view is
printed at the end.`,
		Example: `  lifeboat run watch last
  lifeboat run watch last --no-wait`,
		Args:              wants("RUN"),
		ValidArgsFunction: completeRuns(inv, true, nil),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.run = args[0]
			return runRunWatch(cmd.Context(), inv, opt)
		},
	}, "text", "json")
	cmd.Flags().BoolVar(&opt.noWait, "no-wait", false, "leave when the run waits for a person (exit code 3)")
	return cmd
}

func runRunWatch(ctx context.Context, inv *invocation, opt watchOptions) error {
	return inv.withService(ctx, func(svc api.Service) error {
		found, err := find(ctx, svc, opt.run)
		if err != nil {
			return err
		}
		views := func(yield func(*api.RunView, error) bool) {
			for v, err := range svc.Watch(ctx, found.ID) {
				if !yield(v, err) {
					return
				}
				if opt.noWait && err == nil && waitsForPerson(v) {
					yield(nil, errAsked)
					return
				}
			}
		}
		view, err := inv.showProgress(ctx, views)
		switch {
		case ctx.Err() != nil:
			return failure.New(failure.Canceled, "", "", "interrupted; run %s is not touched by that", found.ID)
		case err != nil && !errors.Is(err, errAsked):
			return err
		}
		if inv.json() {
			if err := inv.writeJSON(view); err != nil {
				return err
			}
		}
		return outcomeError(view)
	})
}

// waitsForPerson reports whether a step of the run waits for a person.
func waitsForPerson(v *api.RunView) bool {
	for _, s := range v.Steps {
		if open(s) && !v.Final {
			return true
		}
	}
	return false
}

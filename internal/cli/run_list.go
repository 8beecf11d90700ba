package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

func newRunList(inv *invocation) *cobra.Command {
	var app string
	var req api.RunsRequest
	cmd := withFormats(&cobra.Command{
		Use:   "list",
		Short: "List runs, newest first",
		Example: `  lifeboat run list
  lifeboat run list --app shop --active
  lifeboat run list -n 0 -o json | jq -r '.[].id'`,
		Args:       wants(),
		SuggestFor: []string{"ls"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if req.Limit < 0 {
				return usageError(cmd, "run list: -n %d is negative", req.Limit).WithHint("write -n 0 for all runs")
			}
			req.App = model.AppID(app)
			return runRunList(cmd.Context(), inv, req)
		},
	}, "text", "json")
	cmd.Flags().StringVar(&app, "app", "", "only runs of `APP`")
	cmd.Flags().BoolVar(&req.Active, "active", false, "only runs that are not over")
	cmd.Flags().IntVarP(&req.Limit, "limit", "n", 20, "at most `N` runs; 0 for all")
	complete(cmd, "app", completeApps(inv))
	return cmd
}

func runRunList(ctx context.Context, inv *invocation, req api.RunsRequest) error {
	return inv.withService(ctx, func(svc api.Service) error {
		runs, err := svc.Runs(ctx, req)
		if err != nil {
			return err
		}
		if runs == nil {
			runs = []api.RunSummary{} // a list with -o json, not null
		}
		return show(inv, runs, term.Runs)
	})
}

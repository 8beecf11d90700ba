package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newRunShow(inv *invocation) *cobra.Command {
	return withFormats(&cobra.Command{
		Use:   "show RUN",
		Short: "Show one run as it is now",
		Long:  `Its steps, what they saw, what people did, and what it waits for. The exit code is 0 however the run stands.`,
		Example: `  lifeboat run show last
  lifeboat run show 01K5 -o json | jq -r '.steps[] | select(.status=="asking").id'`,
		Args:              wants("RUN"),
		RunE:              func(cmd *cobra.Command, args []string) error { return runRunShow(cmd.Context(), inv, args[0]) },
		ValidArgsFunction: completeRuns(inv, false, nil),
	}, "text", "json")
}

func runRunShow(ctx context.Context, inv *invocation, run string) error {
	return inv.withService(ctx, func(svc api.Service) error {
		view, err := find(ctx, svc, run)
		if err != nil {
			return err
		}
		return show(inv, view, term.Run)
	})
}

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newVaultPoints(v *vaultCommand) *cobra.Command {
	var filter pointFlags
	var req api.VaultPointsRequest
	cmd := withFormats(&cobra.Command{
		Use:     "points [POINT...]",
		Aliases: []string{"snapshots"},
		Short:   "List recovery points, oldest first",
		Example: `  lifeboat vault points -r /srv/vault
  lifeboat vault points --host web1 --tag nightly --latest 1
  lifeboat vault points -o json | jq -r '.[].id'`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: v.completePoints(0),
		SuggestFor:        []string{"list", "backups", "recovery-points"},
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Points, req.VaultPointFilter = args, filter.filter(v.Getenv)
			return runVaultPoints(cmd.Context(), v, req)
		},
	}, "text", "json")
	filter.declare(cmd, "only points")
	cmd.Flags().IntVar(&req.Latest, "latest", 0, "only the newest `N` of each host and paths")
	return cmd
}

func runVaultPoints(ctx context.Context, v *vaultCommand, req api.VaultPointsRequest) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		points, err := svc.Points(ctx, req)
		if err != nil && len(points) == 0 {
			return err
		}
		if points == nil {
			points = []api.VaultPoint{} // a list with -o json, not null
		}
		if showErr := show(v.invocation, points, term.VaultPoints); showErr != nil {
			return showErr
		}
		return err // some could not be read: the others are shown
	})
}

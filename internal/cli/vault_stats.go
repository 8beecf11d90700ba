package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

var statsModes = []string{"restore-size", "files-by-contents", "blobs-per-file", "raw-data"}

func newVaultStats(v *vaultCommand) *cobra.Command {
	var req api.VaultStatsRequest
	var filter pointFlags
	cmd := withFormats(&cobra.Command{
		Use:   "stats [POINT...]",
		Short: "Count what points hold",
		Long: `Modes: restore-size is what restoring all of them would take; files-by-contents counts each content once;
blobs-per-file counts each blob once for each path that has it; raw-data counts each blob once, as it is stored.`,
		Example: `  lifeboat vault stats
  lifeboat vault stats latest
  lifeboat vault stats --mode raw-data -o json`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: v.completePoints(0),
		SuggestFor:        []string{"size", "du"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !contains(statsModes, req.Mode) {
				return usageError(cmd, "vault stats: there is no mode %q", req.Mode).WithHint("write one of: %s", strings.Join(statsModes, ", "))
			}
			req.Points, req.VaultPointFilter = args, filter.filter(v.Getenv)
			return runVaultStats(cmd.Context(), v, req)
		},
	}, "text", "json")
	cmd.Flags().StringVar(&req.Mode, "mode", statsModes[0], "what counts, `MODE`")
	complete(cmd, "mode", cobra.FixedCompletions(statsModes, cobra.ShellCompDirectiveNoFileComp))
	filter.declare(cmd, "only points")
	return cmd
}

func runVaultStats(ctx context.Context, v *vaultCommand, req api.VaultStatsRequest) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		reply, err := svc.Stats(ctx, req)
		if err != nil {
			return err
		}
		return show(v.invocation, reply, term.VaultStats)
	})
}

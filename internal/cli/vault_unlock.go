package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newVaultUnlock(v *vaultCommand) *cobra.Command {
	var req api.VaultUnlockRequest
	yes := false
	cmd := withFormats(&cobra.Command{
		Use:   "unlock",
		Short: "Remove locks that dead programs left",
		Long: `Programs refresh their lock every few minutes. One that was not refreshed for half an hour is stale: nobody works under
it, and it is removed. --remove-all removes the others as well: do that only when nobody is at work on the vault, on no
machine, for what they are writing could be lost.`,
		Example: `  lifeboat vault unlock
  lifeboat vault unlock --dry-run
  lifeboat vault unlock --remove-all`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if yes && !req.All {
				return usageError(cmd, "vault unlock: --yes does nothing without --remove-all")
			}
			return runVaultUnlock(cmd.Context(), v, req, yes)
		},
	}, "text", "json")
	cmd.Flags().BoolVar(&req.All, "remove-all", false, "remove locks of programs that may be at work, too")
	cmd.Flags().BoolVarP(&req.DryRun, "dry-run", "n", false, "only say which")
	yesFlag(cmd, &yes)
	return cmd
}

func runVaultUnlock(ctx context.Context, v *vaultCommand, req api.VaultUnlockRequest, yes bool) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		if req.All && !req.DryRun {
			look := req
			look.DryRun = true
			found, err := svc.Unlock(ctx, look)
			if err == nil && len(found.Removed) > 0 {
				if err = term.VaultUnlock(v.human(), found, true, v.style(v.human())); err == nil {
					err = v.confirmed(ctx, yes, "removing all locks", "unlock")
				}
			}
			if err != nil {
				return err
			}
		}
		reply, err := svc.Unlock(ctx, req)
		if err != nil {
			return err
		}
		if v.json() {
			return v.writeJSON(reply)
		}
		return term.VaultUnlock(v.Out, reply, req.DryRun, v.style(v.Out))
	})
}

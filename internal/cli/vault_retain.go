package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

func newVaultRetain(v *vaultCommand) *cobra.Command {
	var req api.VaultRetainRequest
	var hold, threshold time.Duration
	cmd := withFormats(&cobra.Command{
		Use:   "retain",
		Short: "In a bucket with Object Lock, renew the retention of what points need",
		Long: `What is written with a retention can be deleted by nobody before it ends. This keeps what points need from ever coming to
that end: run it more often than half of the duration. What no point needs is left to end, for a prune to remove.`,
		Example: `  lifeboat vault retain -r main
  lifeboat vault retain --for 720h --dry-run`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for flag, d := range map[string]time.Duration{"for": hold, "threshold": threshold} {
				if d < 0 || cmd.Flags().Changed(flag) && d == 0 {
					return inFlag(cmd, flag, fmt.Errorf("%s is no time to come", d))
				}
			}
			req.For, req.Threshold = model.Duration(hold), model.Duration(threshold)
			return runVaultRetain(cmd.Context(), v, req)
		},
	}, "text", "json")
	f := cmd.Flags()
	f.DurationVar(&hold, "for", 0, "keep it for `DURATION` from now (default: the vault's in lifeboat.yaml)")
	f.DurationVar(&threshold, "threshold", 0, "renew what is kept for less than `DURATION` (default: half of --for)")
	f.StringArrayVar(&req.Except, "except", nil, "let this `POINT` come to its end (may be repeated)")
	f.BoolVarP(&req.DryRun, "dry-run", "n", false, "renew nothing, only say what would be")
	return cmd
}

func runVaultRetain(ctx context.Context, v *vaultCommand, req api.VaultRetainRequest) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		watch, end := v.watch()
		reply, err := svc.Retain(ctx, req, watch)
		end()
		if err != nil {
			return err
		}
		return show(v.invocation, reply, term.VaultRetained)
	})
}

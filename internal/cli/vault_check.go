package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newVaultCheck(v *vaultCommand) *cobra.Command {
	var req api.VaultCheckRequest
	cmd := withFormats(&cobra.Command{
		Use:   "check",
		Short: "Verify a vault, and name what could not be restored",
		Long: `Every file of the vault is compared with its name, packs with the index, and the directories of each point are read.
With --read-data every byte that is stored is read and verified too: only then is it known that every file can be
restored. What is wrong is named with the points and paths that need it. The exit code is 11 when there is something.`,
		Example: `  lifeboat vault check
  lifeboat vault check --read-data
  lifeboat vault check --read-data-subset 1/7`,
		Args:       wants(),
		SuggestFor: []string{"verify", "fsck"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if req.ReadData && req.Subset != "" {
				return usageError(cmd, "vault check: --read-data and --read-data-subset exclude each other").WithHint("leave one of them out")
			}
			return runVaultCheck(cmd.Context(), v, req)
		},
	}, "text", "json")
	cmd.Flags().BoolVar(&req.ReadData, "read-data", false, "read and verify all data")
	cmd.Flags().StringVar(&req.Subset, "read-data-subset", "", "read and verify a `PART` of the packs: 1/7, 5% or 10G")
	return cmd
}

func runVaultCheck(ctx context.Context, v *vaultCommand, req api.VaultCheckRequest) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		watch, end := v.watch()
		reply, err := svc.Check(ctx, req, watch)
		end()
		if err != nil {
			return err
		}
		if err := show(v.invocation, reply, term.VaultCheck); err != nil {
			return err
		}
		if !reply.OK {
			return quiet{failure.Corrupt.ExitCode()}
		}
		return nil
	})
}

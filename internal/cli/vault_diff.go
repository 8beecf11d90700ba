package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newVaultDiff(v *vaultCommand) *cobra.Command {
	var req api.VaultDiffRequest
	var filter pointFlags
	cmd := withFormats(&cobra.Command{
		Use:   "diff POINT[:FOLDER] POINT[:FOLDER]",
		Short: "Show what differs between two points",
		Long: `The first column says how: + added, - removed, M content, T another type, U only metadata (with --metadata), M? content
without a change of time or size, which is what a decaying disk or ransomware looks like.`,
		Example: `  lifeboat vault diff 4bba301e latest
  lifeboat vault diff 4bba301e:/etc latest:/etc --metadata`,
		Args:              wants("POINT", "POINT"),
		ValidArgsFunction: v.completePoints(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Before, req.After, req.VaultPointFilter = args[0], args[1], filter.filter(v.Getenv)
			return runVaultDiff(cmd.Context(), v, req)
		},
	}, "text", "json")
	cmd.Flags().BoolVar(&req.Metadata, "metadata", false, "also what differs in nothing but times, modes and owners")
	filter.declare(cmd, "with \"latest\": the latest")
	return cmd
}

func runVaultDiff(ctx context.Context, v *vaultCommand, req api.VaultDiffRequest) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		diff, err := svc.Diff(ctx, req)
		if err != nil {
			return err
		}
		if !v.json() {
			return term.VaultDiff(v.Out, diff, v.style(v.Out))
		}
		head := struct {
			Before api.VaultPoint `json:"before"`
			After  api.VaultPoint `json:"after"`
		}{diff.Before, diff.After}
		return writeJSONList(v.invocation, head, "changes", diff.Changes, func() any { return diff.Report() })
	})
}

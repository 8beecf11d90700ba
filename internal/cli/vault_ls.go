package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newVaultLs(v *vaultCommand) *cobra.Command {
	var filter pointFlags
	var req api.VaultListRequest
	long := false
	cmd := withFormats(&cobra.Command{
		Use:   "ls POINT[:FOLDER] [PATH...]",
		Short: "List the files of a recovery point",
		Long: `Without PATH everything is listed. With PATH it is that file, or what is directly in that folder; with --recursive all
that is below it.`,
		Example: `  lifeboat vault ls latest
  lifeboat vault ls latest -l /etc
  lifeboat vault ls 4bba301e:/srv/www --recursive /`,
		Args:              wantsMore("POINT"),
		ValidArgsFunction: v.completePoints(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Point, req.Paths, req.VaultPointFilter = args[0], args[1:], filter.filter(v.Getenv)
			return runVaultLs(cmd.Context(), v, req, long)
		},
	}, "text", "json")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show mode, owner, size and time")
	cmd.Flags().BoolVar(&req.Recursive, "recursive", false, "list all that is below PATH")
	filter.declare(cmd, "with \"latest\": the latest")
	return cmd
}

func runVaultLs(ctx context.Context, v *vaultCommand, req api.VaultListRequest, long bool) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		list, err := svc.List(ctx, req)
		if err != nil {
			return err
		}
		if v.json() {
			head := struct {
				Point api.VaultPoint `json:"point"`
			}{list.Point}
			return writeJSONList(v.invocation, head, "entries", list.Entries, nil)
		}
		return term.VaultEntries(v.Out, list.Entries, long, v.style(v.Out))
	})
}

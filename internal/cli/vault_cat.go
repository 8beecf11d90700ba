package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
)

// catKinds are what `vault cat` shows, and whether it needs an id.
var catKinds = map[string]bool{
	"config": false, "snapshot": true, "index": true, "key": true, "lock": true, "tree": true, "blob": true, "pack": true,
}

func newVaultCat(v *vaultCommand) *cobra.Command {
	return &cobra.Command{
		Use:   "cat KIND [ID]",
		Short: "Print one object of a vault, decrypted",
		Long: `KIND is config, snapshot, index, key, lock, tree, blob or pack. ID may be shortened for what is a file of the vault.
A snapshot's ID may be "latest"; a tree's may be POINT:FOLDER. A pack is printed as it is stored. The output is the
object itself, JSON or bytes, so there is no -o. The master key is not printed: every password of the vault opens it.`,
		Example: `  lifeboat vault cat config
  lifeboat vault cat snapshot latest
  lifeboat vault cat tree latest:/etc`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				needs, ok := catKinds[args[0]]
				switch {
				case !ok:
					return usageError(cmd, "vault cat: %q is no kind of object", args[0]).
						WithHint("write one of: config, snapshot, index, key, lock, tree, blob, pack")
				case needs:
					return wants("KIND", "ID")(cmd, args)
				}
			}
			return wants("KIND")(cmd, args)
		},
		ValidArgs: []string{"config", "snapshot", "index", "key", "lock", "tree", "blob", "pack"},
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.VaultCatRequest{Kind: args[0]}
			if len(args) > 1 {
				req.ID = args[1]
			}
			return runVaultCat(cmd.Context(), v, req)
		},
	}
}

func runVaultCat(ctx context.Context, v *vaultCommand, req api.VaultCatRequest) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		out, err := svc.Cat(ctx, req)
		if err != nil {
			return err
		}
		return v.write(out)
	})
}

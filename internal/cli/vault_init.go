package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
)

type vaultInitOptions struct {
	from     whereFlags
	cutAlike bool
}

func newVaultInit(v *vaultCommand) *cobra.Command {
	var opt vaultInitOptions
	cmd := withFormats(&cobra.Command{
		Use:   "init",
		Short: "Make a vault",
		Long: `The password is asked for twice. Keep it somewhere else than in the vault: without it nothing can be read, by nobody.

With --copy-chunker-params files are cut where another vault cuts them, so that copies between the two deduplicate.`,
		Example: `  lifeboat vault init -r /srv/vault
  lifeboat vault init -r s3:https://s3.example.org/bucket/vault --password-file /etc/lifeboat/vault.key
  lifeboat vault init -r /srv/second --copy-chunker-params --from-repo /srv/vault`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !opt.cutAlike && opt.from != (whereFlags{}) {
				return usageError(cmd, "vault init: --from-... does nothing without --copy-chunker-params")
			}
			return runVaultInit(cmd.Context(), v, opt)
		},
	}, "text", "json")
	cmd.Flags().BoolVar(&opt.cutAlike, "copy-chunker-params", false, "cut files where the vault of --from-repo does")
	opt.from.declareFrom(cmd.Flags(), "to cut alike")
	return cmd
}

func runVaultInit(ctx context.Context, v *vaultCommand, opt vaultInitOptions) error {
	svc, err := v.vaults()
	if err != nil {
		return err
	}
	v.newVault = true
	req := api.VaultInitRequest{}
	if req.VaultAccess, err = v.place(ctx, svc, v.flags.where, ownSide); err != nil {
		return err
	}
	if opt.cutAlike {
		from, err := v.accessOf(ctx, svc, opt.from, fromSide)
		if err != nil {
			return err
		}
		req.CutLike = &from
	}
	if err := v.unlockWith(ctx, &req.VaultAccess, v.flags.where, ownSide); err != nil {
		return err
	}
	info, err := svc.Init(ctx, req)
	if err != nil {
		return err
	}
	if v.json() {
		return v.writeJSON(info)
	}
	_, err = fmt.Fprintf(v.Out, "made the vault %.10s at %s (format version %d)\nnothing in it can be read without the password: keep that elsewhere too\n",
		info.ID, oneLine(info.Location), info.Version)
	return err
}

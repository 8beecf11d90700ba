package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

type vaultCopyOptions struct {
	from, to whereFlags
	req      api.VaultCopyRequest
}

func newVaultCopy(v *vaultCommand) *cobra.Command {
	var opt vaultCopyOptions
	var filter pointFlags
	cmd := withFormats(&cobra.Command{
		Use:   "copy [POINT...]",
		Short: "Copy points to another vault",
		Long: `As with restic, -r is the vault that is copied to, and --from-repo the one that is copied from. With --to it is the other
way round: from -r to the vault that --to names. Without POINT all points are copied; those that are there already are
passed over. What is interrupted is taken up by doing it again. A point that cannot be read does not keep the others from
being copied: it is named, and the exit code says so.

Make the second vault with "vault init --copy-chunker-params", so that backups to either recognise the other's data.`,
		Example: `  lifeboat vault copy -r /srv/second --from-repo /srv/vault
  lifeboat vault copy -r main --to west --verify
  lifeboat vault copy latest -r main --to west --host web1`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: v.completePoints(0),
		SuggestFor:        []string{"replicate", "sync"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if opt.to.repo != "" && opt.from != (whereFlags{}) {
				return usageError(cmd, "vault copy: --to and --from-... exclude each other").
					WithHint("write -r SOURCE --to DESTINATION, or as with restic -r DESTINATION --from-repo SOURCE")
			}
			if opt.to.repo == "" && opt.to != (whereFlags{}) {
				return usageError(cmd, "vault copy: a password of the destination does nothing without --to")
			}
			opt.req.Points, opt.req.VaultPointFilter = args, filter.filter(v.Getenv)
			return runVaultCopy(cmd.Context(), v, opt)
		},
	}, "text", "json")
	f := cmd.Flags()
	opt.from.declareFrom(f, "to copy from")
	f.StringVar(&opt.to.repo, "to", "", "copy from -r to this `VAULT`")
	f.StringVar(&opt.to.passwordFile, "to-password-file", "", "read its password from `FILE`")
	f.StringVar(&opt.to.passwordCommand, "to-password-command", "", "`COMMAND` that prints it")
	f.BoolVar(&opt.req.Verify, "verify", false, "read everything back from there")
	f.BoolVar(&opt.req.Whole, "whole", false, "look at every folder, also where an earlier point is there")
	f.BoolVarP(&opt.req.DryRun, "dry-run", "n", false, "write nothing, only say what would be copied")
	filter.declare(cmd, "only points")
	return cmd
}

func runVaultCopy(ctx context.Context, v *vaultCommand, opt vaultCopyOptions) error {
	svc, err := v.vaults()
	if err != nil {
		return err
	}
	own, err := v.access(ctx, svc)
	if err != nil {
		return err
	}
	if opt.to.repo != "" {
		opt.req.VaultAccess = own
		opt.req.To, err = v.accessOf(ctx, svc, opt.to, toSide)
	} else {
		opt.req.To = own
		opt.req.VaultAccess, err = v.accessOf(ctx, svc, opt.from, fromSide)
	}
	if err != nil {
		return err
	}
	opt.req.To.NoLock = false // it is the source that may be read without a lock
	watch, end := v.watch()
	reply, err := svc.Copy(ctx, opt.req, watch)
	end()
	if reply != nil {
		if showErr := show(v.invocation, reply, term.VaultCopy); showErr != nil {
			return showErr
		}
	}
	return interrupted(ctx, err)
}

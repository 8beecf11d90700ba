package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

type vaultRepairOptions struct {
	req  api.VaultRepairRequest
	from whereFlags
	ask  bool // there is something to lose sight of: show it, and ask
	yes  bool
}

func newVaultRepair(v *vaultCommand) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "repair",
		Short: "Repair a damaged vault, with what is left and what copies have",
		Long: `"repair all" does everything that loses nothing, and checks afterwards; begin with that. What a copy of the vault has is
taken from there: from the replicas that lifeboat.yaml names, or from the vault of --from-repo. What nobody has is lost:
the check names it by point and path, and "repair snapshots" makes points that do without it.

Before a repair of a disk that is failing, copy what is left of the vault somewhere else.`,
		Example: `  lifeboat vault repair all --dry-run
  lifeboat vault repair all --read-data --from-repo /srv/second
  lifeboat vault repair snapshots --forget`,
		SuggestFor: []string{"fix", "recover"},
	})
	cmd.AddCommand(newVaultRepairAll(v), newVaultRepairIndex(v), newVaultRepairPacks(v), newVaultRepairSnapshots(v), newVaultRepairHidden(v))
	return cmd
}

// flags declares what all repairs have.
func (o *vaultRepairOptions) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&o.req.DryRun, "dry-run", "n", false, "change nothing, only say what would be done")
}

// copyFlags declares where damaged content may be found whole.
func (o *vaultRepairOptions) copyFlags(cmd *cobra.Command) {
	o.from.declareCopy(cmd.Flags())
	cmd.Flags().StringVar(&o.req.Aside, "aside", "", "keep damaged packs in `FOLDER`")
	_ = cmd.MarkFlagDirname("aside")
}

func newVaultRepairAll(v *vaultCommand) *cobra.Command {
	opt := vaultRepairOptions{req: api.VaultRepairRequest{What: api.RepairAll}}
	cmd := withFormats(&cobra.Command{
		Use:   "all",
		Short: "Do everything that loses nothing, and check",
		Long: `The index is made to agree with the packs, what is left of damaged packs is saved, what replicas have is brought back, and
the vault is checked. The exit code is 11 when something is still wrong.`,
		Example: `  lifeboat vault repair all --read-data
  lifeboat vault repair all --from-repo /srv/second`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runVaultRepair(cmd.Context(), v, opt) },
	}, "text", "json")
	opt.flags(cmd)
	opt.copyFlags(cmd)
	cmd.Flags().BoolVar(&opt.req.ReadData, "read-data", false, "read everything, for damage that only the bytes show")
	return cmd
}

func newVaultRepairIndex(v *vaultCommand) *cobra.Command {
	opt := vaultRepairOptions{req: api.VaultRepairRequest{What: api.RepairIndex}}
	cmd := withFormats(&cobra.Command{
		Use:   "index",
		Short: "Make the index agree with the packs that are stored",
		Example: `  lifeboat vault repair index
  lifeboat vault repair index --read-all-packs`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runVaultRepair(cmd.Context(), v, opt) },
	}, "text", "json")
	opt.flags(cmd)
	cmd.Flags().BoolVar(&opt.req.ReadData, "read-all-packs", false, "read the list of every pack, also of those that look right")
	return cmd
}

func newVaultRepairPacks(v *vaultCommand) *cobra.Command {
	opt := vaultRepairOptions{req: api.VaultRepairRequest{What: api.RepairPacks}, ask: true}
	cmd := withFormats(&cobra.Command{
		Use:   "packs [PACK...]",
		Short: "Save what can be read of damaged packs, and remove these",
		Long: `Without PACK it looks for damaged ones. What cannot be read in them and nobody else has is lost either way; but while the
index lists it, no backup stores it again.`,
		Example: `  lifeboat vault repair packs --read-data --dry-run
  lifeboat vault repair packs 5f1c2d3e --aside /tmp/damaged`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.req.Packs = args
			return runVaultRepair(cmd.Context(), v, opt)
		},
	}, "text", "json")
	opt.flags(cmd)
	opt.copyFlags(cmd)
	cmd.Flags().BoolVar(&opt.req.ReadData, "read-data", false, "read everything, for damage that only the bytes show")
	yesFlag(cmd, &opt.yes)
	return cmd
}

func newVaultRepairSnapshots(v *vaultCommand) *cobra.Command {
	opt := vaultRepairOptions{req: api.VaultRepairRequest{What: api.RepairSnapshots}}
	var filter pointFlags
	cmd := withFormats(&cobra.Command{
		Use:     "snapshots [POINT...]",
		Aliases: []string{"points"},
		Short:   "Make points that do without what is lost",
		Long: `Folders that cannot be read become empty, files keep what is left of their content. The new points have the tag
"repaired"; the old ones stay, unless --forget is given. Run "repair all" before.`,
		Example: `  lifeboat vault repair snapshots --dry-run
  lifeboat vault repair snapshots --forget`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if opt.yes && !opt.req.Forget {
				return usageError(cmd, "vault repair snapshots: --yes does nothing without --forget")
			}
			opt.req.Points, opt.req.VaultPointFilter, opt.ask = args, filter.filter(v.Getenv), opt.req.Forget
			return runVaultRepair(cmd.Context(), v, opt)
		},
	}, "text", "json")
	opt.flags(cmd)
	cmd.Flags().BoolVar(&opt.req.Forget, "forget", false, "remove the points that were replaced")
	yesFlag(cmd, &opt.yes)
	filter.declare(cmd, "only points")
	return cmd
}

func newVaultRepairHidden(v *vaultCommand) *cobra.Command {
	opt := vaultRepairOptions{req: api.VaultRepairRequest{What: api.RepairHidden}}
	cmd := withFormats(&cobra.Command{
		Use:   "hidden",
		Short: "Let restic see again what was hidden on a bucket with Object Lock",
		Long: `On a bucket with Object Lock nobody can delete what is retained; but deleting and overwriting still hide it from programs
that see newest versions only. Lifeboat is none of these and restores in any case. This lifts delete markers and newer versions,
so that restic restores too. Points that restic forgot on such a bucket were only hidden, and come back.`,
		Example: `  lifeboat vault repair hidden --dry-run
  lifeboat vault repair hidden`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runVaultRepair(cmd.Context(), v, opt) },
	}, "text", "json")
	opt.flags(cmd)
	return cmd
}

func runVaultRepair(ctx context.Context, v *vaultCommand, opt vaultRepairOptions) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		opt.req.VaultAccess = a
		if err := v.attach(ctx, svc, &opt.req.VaultAccess, opt.from); err != nil {
			return err
		}
		watch, end := v.watch()
		if opt.ask && !opt.req.DryRun {
			look := opt.req
			look.DryRun = true
			plan, err := svc.Repair(ctx, look, watch)
			end()
			if err != nil {
				return err
			}
			if plan.Packs != nil && len(plan.Packs.Packs) > 0 || len(plan.Points) > 0 {
				if err := term.VaultRepair(v.human(), plan, v.style(v.human())); err != nil {
					return err
				}
				if err := v.confirmed(ctx, opt.yes, "the repair", "repair"); err != nil {
					return err
				}
			}
			watch, end = v.watch()
		}
		reply, err := svc.Repair(ctx, opt.req, watch)
		end()
		if err != nil {
			return err
		}
		if err := show(v.invocation, reply, term.VaultRepair); err != nil {
			return err
		}
		if reply.Check != nil && !reply.Check.OK {
			return quiet{failure.Corrupt.ExitCode()}
		}
		return nil
	})
}

// attach adds the vault of --from-repo, when there is one, to where damaged content is looked for.
func (v *vaultCommand) attach(ctx context.Context, svc api.Vaults, a *api.VaultAccess, from whereFlags) error {
	switch {
	case from == (whereFlags{}):
		return nil
	case from.repo == "" && from.repoFile == "":
		return failure.New(failure.Invalid, "", "", "a password is given for a vault with copies, and none is named").WithHint("write --from-repo VAULT")
	}
	replica, err := v.accessOf(ctx, svc, from, fromSide)
	if err == nil {
		a.Replica = &replica
	}
	return err
}

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newVaultRestore(v *vaultCommand) *cobra.Command {
	var req api.VaultRestoreRequest
	var filter pointFlags
	var from whereFlags
	yes := false
	cmd := withFormats(&cobra.Command{
		Use:   "restore POINT[:FOLDER] --target TARGET",
		Short: "Bring files back, elsewhere or in place",
		Long: `Everything that the point holds comes to lie in TARGET, under its whole path; with POINT:FOLDER only what is in that
folder, directly. Only what differs is fetched and written, so a restore over what is there is quick, and one that was
broken off is completed by doing it again. --delete removes what the point does not have: it is shown first.

What is damaged in the vault is taken from its replicas in lifeboat.yaml, or from --from-repo.

The exit code is 1 when something could not be restored; it is named.`,
		Example: `  lifeboat vault restore latest --target /tmp/back
  lifeboat vault restore latest:/srv/www --target /srv/www --delete --dry-run
  lifeboat vault restore 4bba301e --target / --include /etc/fstab --verify`,
		Args:              wants("POINT"),
		ValidArgsFunction: v.completePoints(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.Target == "" {
				return usageError(cmd, "vault restore: --target is missing").WithHint("write --target FOLDER; / puts everything back where it was")
			}
			if yes && !req.Delete {
				return usageError(cmd, "vault restore: --yes does nothing without --delete")
			}
			req.Point, req.VaultPointFilter = args[0], filter.filter(v.Getenv)
			return runVaultRestore(cmd.Context(), v, req, from, yes)
		},
	}, "text", "json")
	f := cmd.Flags()
	f.StringVarP(&req.Target, "target", "t", "", "the `FOLDER` to restore into")
	f.StringArrayVarP(&req.Include, "include", "i", nil, "only what matches `PATTERN` (may be repeated)")
	f.StringArrayVar(&req.IncludeFold, "iinclude", nil, "as --include `PATTERN`, without telling capital from small letters")
	f.StringArrayVar(&req.IncludeFiles, "include-file", nil, "`FILE` of such patterns, one a line (may be repeated)")
	f.StringArrayVar(&req.IncludeFoldFiles, "iinclude-file", nil, "as --include-file `FILE`, without telling capital from small letters")
	f.StringArrayVarP(&req.Exclude, "exclude", "e", nil, "all but what matches `PATTERN` (may be repeated)")
	f.StringArrayVar(&req.ExcludeFold, "iexclude", nil, "as --exclude `PATTERN`, without telling capital from small letters")
	f.StringArrayVar(&req.ExcludeFiles, "exclude-file", nil, "`FILE` of such patterns, one a line (may be repeated)")
	f.StringArrayVar(&req.ExcludeFoldFiles, "iexclude-file", nil, "as --exclude-file `FILE`, without telling capital from small letters")
	f.StringVar(&req.Overwrite, "overwrite", "always", "`WHEN` to replace what is there: always, if-changed, if-newer, never")
	f.BoolVar(&req.Delete, "delete", false, "remove from the target what the point does not have")
	f.BoolVar(&req.Sparse, "sparse", false, "leave holes where there are long runs of zeros")
	f.BoolVar(&req.Verify, "verify", false, "read everything back and compare it")
	f.BoolVar(&req.OwnerByName, "ownership-by-name", false, "take owners by name, not by number")
	f.BoolVarP(&req.DryRun, "dry-run", "n", false, "change nothing, only say what would be done")
	yesFlag(cmd, &yes)
	from.declareCopy(f)
	filter.declare(cmd, "with \"latest\": the latest")
	_ = cmd.MarkFlagDirname("target")
	complete(cmd, "overwrite", cobra.FixedCompletions([]string{"always", "if-changed", "if-newer", "never"}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"include", "iinclude", "exclude", "iexclude"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
	return cmd
}

func runVaultRestore(ctx context.Context, v *vaultCommand, req api.VaultRestoreRequest, from whereFlags, yes bool) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		req.VaultAccess = a
		if err := v.attach(ctx, svc, &req.VaultAccess, from); err != nil {
			return err
		}
		if req.Delete && !req.DryRun {
			if err := v.confirmDelete(ctx, svc, req, yes); err != nil {
				return err
			}
		}
		watch, end := v.watch()
		reply, err := svc.Restore(ctx, req, watch)
		end()
		if err != nil && (reply == nil || reply.Failed == 0 || ctx.Err() != nil) {
			return err // it was broken off: there is no result to show
		}
		if showErr := show(v.invocation, reply, term.VaultRestore); showErr != nil {
			return showErr
		}
		if err != nil {
			v.showError(err)
		}
		if err != nil || len(reply.Differences) > 0 {
			return quiet{ExitUnsuccessful}
		}
		included := len(req.Include) + len(req.IncludeFold) + len(req.IncludeFiles) + len(req.IncludeFoldFiles)
		if included > 0 && len(reply.Entries) == 0 {
			return failure.New(failure.NotFound, "restore", req.Point, "nothing in point %.8s is what is to be included", reply.Point).
				WithHint("look for it: %s", v.command("vault", "find", "PATTERN"))
		}
		return nil
	})
}

// confirmDelete looks what would be deleted, and asks.
func (v *vaultCommand) confirmDelete(ctx context.Context, svc api.Vaults, req api.VaultRestoreRequest, yes bool) error {
	look := req
	look.DryRun, look.Verify = true, false
	watch, end := v.watch()
	found, err := svc.Restore(ctx, look, watch)
	end()
	if err != nil {
		return err
	}
	if found.Entries["deleted"] == 0 {
		return nil
	}
	if err := term.VaultDeletions(v.human(), found, v.style(v.human())); err != nil {
		return err
	}
	return v.confirmed(ctx, yes, "deleting from "+req.Target, "delete")
}

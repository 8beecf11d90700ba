package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
)

func newVaultTag(v *vaultCommand) *cobra.Command {
	var req api.VaultTagRequest
	var filter pointFlags
	var set, add, remove []string
	cmd := withFormats(&cobra.Command{
		Use:   "tag {POINT... | --host HOST | --tag TAG | --path PATH}",
		Short: "Change the tags of points",
		Long: `A point is named by its content, so one whose tags change gets another id; the first id is kept in it.
--set '' takes all tags away.`,
		Example: `  lifeboat vault tag latest --add before-migration
  lifeboat vault tag --host web1 --remove nightly
  lifeboat vault tag 4bba301e --set a,b`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: v.completePoints(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, list := range []struct{ from, into *[]string }{{&set, &req.Set}, {&add, &req.Add}, {&remove, &req.Remove}} {
				for _, text := range *list.from {
					*list.into = append(*list.into, splitTags(text)...)
				}
			}
			req.Clear = cmd.Flags().Changed("set") && len(req.Set) == 0
			req.Points, req.VaultPointFilter = args, filter.filter(v.Getenv)
			switch {
			case (req.Clear || len(req.Set) > 0) && len(req.Add)+len(req.Remove) > 0:
				return usageError(cmd, "vault tag: --set excludes --add and --remove").WithHint("leave one of them out")
			case !req.Clear && len(req.Set)+len(req.Add)+len(req.Remove) == 0:
				return usageError(cmd, "vault tag: nothing is to be changed").WithHint("write --add, --remove or --set and tags")
			}
			return runVaultTag(cmd.Context(), v, func(svc api.Vaults, a api.VaultAccess) (*api.VaultTagReply, error) {
				req.VaultAccess = a
				return svc.Tag(cmd.Context(), req)
			})
		},
	}, "text", "json")
	cmd.Flags().StringArrayVar(&set, "set", nil, "have `TAG[,TAG...]` and no others")
	cmd.Flags().StringArrayVar(&add, "add", nil, "add `TAG[,TAG...]` (may be repeated)")
	cmd.Flags().StringArrayVar(&remove, "remove", nil, "remove `TAG[,TAG...]` (may be repeated)")
	filter.declare(cmd, "points")
	return cmd
}

func newVaultHold(v *vaultCommand) *cobra.Command {
	return holdCommand(v, &cobra.Command{
		Use:   "hold {POINT... | --host HOST | --tag TAG | --path PATH}",
		Short: "Put points on legal hold: nothing removes them until it ends",
		Long: `The hold is written into the point's tags, so the point gets another id. Neither a policy nor its name makes
"vault forget" remove it. Plain restic knows nothing of holds: there, --keep-tag lifeboat-hold does the same for policies.`,
		Example: `  lifeboat vault hold latest --until 2027-12-31 --reason "case 4711"
  lifeboat vault hold --tag audit`,
	}, false)
}

func newVaultUnhold(v *vaultCommand) *cobra.Command {
	return holdCommand(v, &cobra.Command{
		Use:   "unhold {POINT... | --host HOST | --tag TAG | --path PATH}",
		Short: "End the legal hold of points",
		Example: `  lifeboat vault unhold 4bba301e
  lifeboat vault unhold --tag lifeboat-hold`,
	}, true)
}

func holdCommand(v *vaultCommand, cmd *cobra.Command, end bool) *cobra.Command {
	req := api.VaultHoldRequest{End: end}
	var filter pointFlags
	cmd.Args, cmd.ValidArgsFunction = cobra.ArbitraryArgs, v.completePoints(0)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Points, req.VaultPointFilter = args, filter.filter(v.Getenv)
		if cmd.Flags().Changed("until") && !laterThan(v.Now(), req.Until) {
			return usageError(cmd, "%s: --until %q is no day or instant to come", name(cmd), req.Until).WithHint("write --until 2027-12-31")
		}
		return runVaultTag(cmd.Context(), v, func(svc api.Vaults, a api.VaultAccess) (*api.VaultTagReply, error) {
			req.VaultAccess = a
			return svc.Hold(cmd.Context(), req)
		})
	}
	if !end {
		cmd.Flags().StringVar(&req.Until, "until", "", "it ends with this `DAY` in UTC, or at an instant of RFC 3339")
		cmd.Flags().StringVar(&req.Reason, "reason", "", "`WHY`, for those who come later")
		complete(cmd, "until", cobra.NoFileCompletions)
		complete(cmd, "reason", cobra.NoFileCompletions)
	}
	filter.declare(cmd, "points")
	return withFormats(cmd, "text", "json")
}

// laterThan reports whether text is an instant, or a day that ends, after now.
func laterThan(now time.Time, text string) bool {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.After(now)
	}
	t, err := time.Parse(time.DateOnly, text)
	return err == nil && t.AddDate(0, 0, 1).After(now)
}

func runVaultTag(ctx context.Context, v *vaultCommand, change func(api.Vaults, api.VaultAccess) (*api.VaultTagReply, error)) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		reply, err := change(svc, a)
		if reply == nil {
			return err
		}
		if showErr := show(v.invocation, reply, term.VaultTagged); showErr != nil {
			return showErr
		}
		if err == nil && len(reply.Failed) > 0 {
			return quiet{reply.Failed[0].Error.Kind.ExitCode()}
		}
		return err
	})
}

package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

func newPlan(inv *invocation) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "plan",
		Short: "Show what an operation would do now; change nothing",
		Long: `A plan is shown with its steps and their order, what each does at which site, what stands in the way, the RTO that
earlier runs predict and the RPO if it ran now. Blockers are shown, and the exit code is 0 all the same.`,
		Example: `  lifeboat plan failover shop
  lifeboat plan drill shop -o json
  lifeboat plan failback shop -o dot | dot -Tsvg > plan.svg`,
		SuggestFor: []string{"preview", "dry-run"},
	})
	cmd.AddCommand(newPlanFailover(inv), newPlanFailback(inv), newPlanDrill(inv), newPlanRun(inv), newPlanImport(inv))
	return cmd
}

func planCommand(inv *invocation, opt *planOptions, cmd *cobra.Command) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if opt.operation == model.OpCustom {
			opt.custom = args[0]
		} else {
			opt.app = args[0]
		}
		if err := opt.check(cmd); err != nil {
			return err
		}
		return runPlan(cmd.Context(), inv, *opt)
	}
	return withFormats(cmd, "text", "json", "dot")
}

func newPlanFailover(inv *invocation) *cobra.Command {
	opt := &planOptions{operation: model.OpFailover}
	cmd := planCommand(inv, opt, &cobra.Command{
		Use:   "failover APP",
		Short: "Show what moving an app to a recovery site would do",
		Example: `  lifeboat plan failover shop
  lifeboat plan failover shop --to west --unplanned`,
		Args:              wants("APP"),
		ValidArgsFunction: completeApps(inv),
	})
	opt.siteFlags(cmd)
	opt.modeFlags(cmd)
	return cmd
}

func newPlanFailback(inv *invocation) *cobra.Command {
	opt := &planOptions{operation: model.OpFailback}
	return planCommand(inv, opt, &cobra.Command{
		Use:               "failback APP",
		Short:             "Show what moving an app back home would do",
		Example:           `  lifeboat plan failback shop`,
		Args:              wants("APP"),
		ValidArgsFunction: completeApps(inv),
	})
}

func newPlanDrill(inv *invocation) *cobra.Command {
	opt := &planOptions{operation: model.OpDrill}
	cmd := planCommand(inv, opt, &cobra.Command{
		Use:               "drill APP",
		Short:             "Show what rehearsing a failover would do",
		Example:           `  lifeboat plan drill shop --to west`,
		Args:              wants("APP"),
		ValidArgsFunction: completeApps(inv),
	})
	opt.siteFlags(cmd)
	return cmd
}

func newPlanRun(inv *invocation) *cobra.Command {
	opt := &planOptions{operation: model.OpCustom}
	return planCommand(inv, opt, &cobra.Command{
		Use:               "run NAME",
		Short:             "Show what a plan of your own would do",
		Long:              "NAME is one of the plans of lifeboat.yaml. `lifeboat run start --plan NAME` carries it out.",
		Example:           `  lifeboat plan run move-everything`,
		Args:              wants("NAME"),
		ValidArgsFunction: completePlans(inv),
	})
}

func runPlan(ctx context.Context, inv *invocation, opt planOptions) error {
	return inv.withService(ctx, func(svc api.Service) error {
		reply, err := svc.Plan(ctx, opt.request())
		if err != nil {
			return err
		}
		if inv.format == "dot" {
			return term.PlanDOT(inv.Out, reply.Plan)
		}
		return show(inv, reply, func(w io.Writer, r *api.PlanReply, s term.Style) error { return inv.showPlan(w, r) })
	})
}

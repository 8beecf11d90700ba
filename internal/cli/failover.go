package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/model"
)

func newFailover(inv *invocation) *cobra.Command {
	opt := &operateOptions{planOptions: planOptions{operation: model.OpFailover}}
	cmd := operateCommand(inv, opt, &cobra.Command{
		Use:   "failover APP",
		Short: "Move an app to a recovery site",
		Long: `The plan is shown first. On a terminal you confirm it by typing the app's name; elsewhere --yes is required. What
starts is what was shown: when the plan has become another one meanwhile, nothing starts.

Planned moves lose nothing and need both sites; unplanned ones start from the loss of the home site. Without either
flag Lifeboat looks whether the home site answers.

This process drives the run to its end. It may die or be interrupted at any moment: the run stays, and
` + "`lifeboat run resume RUN`" + ` takes it up, here or elsewhere. A step that fails for good asks what to do: on a terminal
here, else by the commands that are printed.

Traffic moves only after the old copy is proved to take no more writes. Where that cannot be proved, the run stops and
asks, or goes on with --accept-unfenced REASON, and the reason is in the report.`,
		Example: `  lifeboat failover shop
  lifeboat failover shop --to west --unplanned --yes
  lifeboat failover shop --yes --accept-unfenced "the power of east is off, seen by Ann" --report-dir reports`,
		Args:              wants("APP"),
		SuggestFor:        []string{"switchover", "promote", "switch"},
		ValidArgsFunction: completeApps(inv),
	})
	opt.siteFlags(cmd)
	opt.modeFlags(cmd)
	opt.dangerFlags(cmd)
	opt.flags(cmd)
	return cmd
}

// operateCommand makes cmd carry out an operation on an app. Its output with -o json is the run's report.
func operateCommand(inv *invocation, opt *operateOptions, cmd *cobra.Command) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if opt.operation != model.OpCustom {
			opt.app = args[0]
		}
		if err := opt.check(cmd); err != nil {
			return err
		}
		return runOperation(cmd.Context(), inv, *opt)
	}
	return withFormats(cmd, "text", "json")
}

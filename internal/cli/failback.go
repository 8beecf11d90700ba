package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/model"
)

func newFailback(inv *invocation) *cobra.Command {
	opt := &operateOptions{planOptions: planOptions{operation: model.OpFailback}}
	cmd := operateCommand(inv, opt, &cobra.Command{
		Use:   "failback APP",
		Short: "Move an app back home",
		Long: `The home site is rebuilt as a copy of the site that serves now, caught up, and switched to; both sites must answer.
The plan is shown and confirmed as for a failover. When the site that serves now is lost as well, the way home is a
failover: ` + "`lifeboat failover APP --to HOME --unplanned`" + `.`,
		Example: `  lifeboat failback shop
  lifeboat failback shop --yes -o json`,
		Args:              wants("APP"),
		SuggestFor:        []string{"switchback", "fallback", "return"},
		ValidArgsFunction: completeApps(inv),
	})
	opt.dangerFlags(cmd)
	opt.flags(cmd)
	return cmd
}

package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/model"
)

func newDrill(inv *invocation) *cobra.Command {
	opt := &operateOptions{planOptions: planOptions{operation: model.OpDrill}}
	cmd := operateCommand(inv, opt, &cobra.Command{
		Use:   "drill APP",
		Short: "Rehearse a failover on an isolated copy",
		Long: `An isolated copy of the app is brought up at a recovery site, checked, timed and removed again. Replication goes on
and traffic is not touched, so a drill needs no confirmation. What it made is removed also when it fails or is
interrupted: ` + "`lifeboat run resume RUN`" + ` finishes that.`,
		Example: `  lifeboat drill shop
  lifeboat drill shop --to west --report-dir reports`,
		Args:              wants("APP"),
		SuggestFor:        []string{"test", "rehearse", "exercise"},
		ValidArgsFunction: completeApps(inv),
	})
	opt.siteFlags(cmd)
	opt.flags(cmd)
	return cmd
}

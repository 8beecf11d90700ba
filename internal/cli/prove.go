package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/model"
)

type proveOptions struct {
	points []string
	all    bool
	share  string
	checks []string
	bisect bool
	within time.Duration
}

func newProve(inv *invocation) *cobra.Command {
	var own proveOptions
	opt := &operateOptions{planOptions: planOptions{operation: model.OpProve}}
	cmd := &cobra.Command{
		Use:   "prove APP[/RESOURCE]",
		Short: "Restore recovery points apart from everything, and check them",
		Long: `Each point is restored into a place of its own at a recovery site, started, checked, timed and removed again. Protection
goes on and traffic is not touched. What came of it is written down where the point is kept, and ` + "`lifeboat points`" + `
shows it. A bad point makes the exit code 1, stands in lifeboat status, and is passed over by recoveries. Without
--point, --all and --share, what lifeboat.yaml says under prove is proved, else the newest point.

A --check is a question to the restored copy in the resource's own language, SQL for a database; it passes when it
answers true. With --bisect the newest state that passes is looked for, when bad data crept in: first among the points,
then within the log between them. That assumes that what is bad stays bad: the answer is a good state just before one
that fails, and if there are several such changes it is one of them.`,
		Example: `  lifeboat prove shop
  lifeboat prove shop/db --all --check "select count(*) > 0 from orders"
  lifeboat prove shop/db --bisect --check "select min(price) >= 0 from items"`,
		Args:              wants("APP"),
		SuggestFor:        []string{"verify", "test-restore"},
		ValidArgsFunction: completeApps(inv),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		app, resource, err := splitResource(cmd, args[0])
		if err != nil {
			return err
		}
		if opt.prove, err = own.ask(cmd, resource); err != nil {
			return err
		}
		if err := opt.check(cmd); err != nil {
			return err
		}
		opt.app = string(app)
		if resource != "" {
			opt.resources = []string{string(resource)}
		}
		return runOperation(cmd.Context(), inv, *opt)
	}
	withFormats(cmd, "text", "json")
	flags := cmd.Flags()
	flags.StringSliceVar(&own.points, "point", nil, "prove this point: its `ID` or the beginning of it; may be repeated")
	flags.BoolVar(&own.all, "all", false, "prove all points, those first that were proved longest ago")
	flags.StringVar(&own.share, "share", "", "prove this `PERCENTAGE` of the points, those that were proved longest ago")
	flags.StringArrayVar(&own.checks, "check", nil, "ask this `QUESTION` too; may be repeated")
	flags.BoolVar(&own.bisect, "bisect", false, "find the newest state that passes the checks")
	flags.DurationVar(&own.within, "within", 0, "with --bisect: end when good and bad are this `DURATION` apart (default: one transaction)")
	flags.StringVar(&opt.to, "site", "", "restore at `SITE` (default: the app's first recovery site)")
	for _, flag := range []string{"point", "share", "check", "within", "site"} {
		complete(cmd, flag, cobra.NoFileCompletions)
	}
	opt.flags(cmd)
	return cmd
}

// ask reads the flags, and finds what cannot go together.
func (o *proveOptions) ask(cmd *cobra.Command, resource model.ResourceID) (*api.ProveAsk, error) {
	ask := &api.ProveAsk{Points: o.points, Checks: o.checks, Bisect: o.bisect, Within: model.Duration(o.within)}
	ways := 0
	for _, flag := range []string{"point", "all", "share"} {
		if cmd.Flags().Changed(flag) {
			ways++
		}
	}
	for _, check := range o.checks {
		if strings.TrimSpace(check) == "" {
			return nil, usageError(cmd, "prove: --check is empty")
		}
	}
	switch {
	case ways > 1:
		return nil, usageError(cmd, "prove: --point, --all and --share exclude each other")
	case o.bisect && ways > 0:
		return nil, usageError(cmd, "prove: --bisect looks at all points").WithHint("leave --point, --all and --share out")
	case o.bisect && (resource == "" || len(o.checks) == 0):
		return nil, usageError(cmd, "prove: --bisect is of one resource, by a check").WithHint(`write prove APP/RESOURCE --bisect --check "select ..."`)
	case !o.bisect && cmd.Flags().Changed("within"):
		return nil, usageError(cmd, "prove: --within goes with --bisect")
	case o.within < 0:
		return nil, usageError(cmd, "prove: --within %s: must not be less than nothing", o.within)
	case o.all:
		ask.Every = model.ProveAll
	case cmd.Flags().Changed("share"):
		ask.Every = strings.TrimSuffix(o.share, "%") + "%"
		if _, err := model.ParseEvery(ask.Every, 1); err != nil {
			return nil, usageError(cmd, "prove: --share %q is no percentage", o.share).WithHint("write --share 20%%")
		}
	}
	return ask, nil
}

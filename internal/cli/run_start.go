package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/model"
)

func newRunStart(inv *invocation) *cobra.Command {
	opt := &operateOptions{planOptions: planOptions{operation: model.OpCustom}}
	cmd := operateCommand(inv, opt, &cobra.Command{
		Use:   "start --plan NAME",
		Short: "Carry out a plan of your own",
		Long: `The plan is one of lifeboat.yaml's, or with --site the file of a StatePayload document of AWS's DR Orchestrator
Framework, which is run as it is at that site. It is shown and confirmed as a failover is: on a terminal by typing its
name, elsewhere with --yes.`,
		Example: `  lifeboat run start --plan move-everything
  lifeboat run start --plan move-everything --yes -o json
  lifeboat run start --plan failover.json --site west`,
	})
	operate := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := opt.document(cmd); err != nil {
			return err
		}
		return operate(cmd, args)
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > 0 && opt.custom == "":
			return usageError(cmd, "run start takes no arguments, and got %q", args[0]).
				WithHint("write lifeboat run start --plan %s", shellWord(args[0]))
		case len(args) > 0:
			return wants()(cmd, args)
		case opt.custom == "":
			return usageError(cmd, "run start: --plan is missing")
		}
		return nil
	}
	cmd.Flags().StringVar(&opt.custom, "plan", "", "carry out the plan `NAME`")
	complete(cmd, "plan", completePlans(inv))
	opt.documentFlags(cmd)
	opt.dangerFlags(cmd)
	opt.flags(cmd)
	return cmd
}

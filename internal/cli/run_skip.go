package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
)

func newRunSkip(inv *invocation) *cobra.Command {
	opt := &signalOptions{signal: api.Skip}
	cmd := signalCommand(inv, opt, &cobra.Command{
		Use:     "skip RUN STEP --reason REASON",
		Short:   "Count a step as done, because a person did it",
		Long:    `What later steps need from it is given with --set. The reason is in the journal and in the report.`,
		Example: `  lifeboat run skip last promote-db --reason "promoted by hand" --set endpoint=10.0.0.3:5432`,
		Args:    wants("RUN", "STEP"),
	}, isAsking)
	cmd.Flags().StringArrayVar(&opt.set, "set", nil, "what the step would have left for later ones, as `OUTPUT=VALUE`; may be repeated")
	complete(cmd, "set", cobra.NoFileCompletions)
	return cmd
}

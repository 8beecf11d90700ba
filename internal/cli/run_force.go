package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
)

func newRunForce(inv *invocation) *cobra.Command {
	return signalCommand(inv, &signalOptions{signal: api.Force}, &cobra.Command{
		Use:   "force RUN STEP --reason REASON",
		Short: "Go on past what a step itself objects to",
		Long: `For a fence this means: go on without proof that the old copy takes no more writes. Two copies may then take writes at
once, and one side's are lost. The reason is in the journal and in the report.`,
		Example: `  lifeboat run force last fence-db --reason "the power of east is off, seen by Ann"`,
		Args:    wants("RUN", "STEP"),
	}, isAsking)
}

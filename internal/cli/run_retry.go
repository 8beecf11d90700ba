package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
)

func newRunRetry(inv *invocation) *cobra.Command {
	return signalCommand(inv, &signalOptions{signal: api.Retry}, &cobra.Command{
		Use:   "retry RUN [STEP]",
		Short: "Try a step again that asks what to do",
		Long:  `STEP may be left out when only one step asks.`,
		Example: `  lifeboat run retry last
  lifeboat run retry last promote-db`,
		Args: wants("RUN", "[STEP]"),
	}, isAsking)
}

package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
)

func newRunPause(inv *invocation) *cobra.Command {
	return signalCommand(inv, &signalOptions{signal: api.Pause}, &cobra.Command{
		Use:     "pause RUN",
		Short:   "Start no more steps of a run until it is resumed",
		Long:    "Steps that have begun are followed to their end. `lifeboat run resume RUN` goes on.",
		Example: `  lifeboat run pause last --reason "waiting for the network team"`,
		Args:    wants("RUN"),
	}, nil)
}

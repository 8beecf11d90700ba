package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
)

func newRunAbort(inv *invocation) *cobra.Command {
	return signalCommand(inv, &signalOptions{signal: api.Abort}, &cobra.Command{
		Use:   "abort RUN",
		Short: "Give a run up",
		Long: `Steps that have begun are canceled where they can be; what was made for a drill is released. What a failover has
moved already stays moved: look at ` + "`lifeboat status APP`" + ` afterwards.`,
		Example:    `  lifeboat run abort last --reason "east is back"`,
		Args:       wants("RUN"),
		SuggestFor: []string{"cancel", "stop", "kill"},
	}, nil)
}

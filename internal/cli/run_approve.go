package cli

import (
	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
)

func newRunApprove(inv *invocation) *cobra.Command {
	return signalCommand(inv, &signalOptions{signal: api.Approve}, &cobra.Command{
		Use:   "approve RUN [STEP]",
		Short: "Say yes to a step that waits for approval",
		Long: `STEP may be left out when only one step waits. Where several people must approve, each says so under a name of
their own.`,
		Example: `  lifeboat run approve last
  lifeboat run approve last sign-off --by ann --reason "change 4711"`,
		Args: wants("RUN", "[STEP]"),
	}, isApproving)
}

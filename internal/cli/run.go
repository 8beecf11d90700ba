package cli

import "github.com/spf13/cobra"

func newRun(inv *invocation) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "run",
		Short: "Look at runs, take them up, and answer them",
		Long: `A run is one durable execution of a plan: it survives the death of whatever drives it. RUN is a run's id, any
beginning of it that only one run has, or "last" for the last one that a person began
(those that the schedule began are skipped).`,
		Example: `  lifeboat run list --active
  lifeboat run watch last
  lifeboat run resume last
  lifeboat run retry last promote-db`,
		SuggestFor: []string{"runs"},
	})
	cmd.AddCommand(newRunStart(inv), newRunList(inv), newRunShow(inv), newRunWatch(inv), newRunResume(inv),
		newRunApprove(inv), newRunPause(inv), newRunRetry(inv), newRunSkip(inv), newRunForce(inv), newRunAbort(inv))
	return cmd
}

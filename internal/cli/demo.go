package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/failure"
)

func newDemo(inv *invocation) *cobra.Command {
	var opt DemoOptions
	cmd := withFormats(&cobra.Command{
		Use:   "demo",
		Short: "Destroy a site of its own making and bring the app back, for real",
		Long: `Two sites with a real PostgreSQL, a shop and a name server are made on this machine, under load. One of them is
destroyed, the shop fails over, and comes back: the database from a synchronous standby, or with --db vault from a vault and
from its log, which the other site receives. It takes under two minutes, needs PostgreSQL's server programs, and cleans up
after itself. The exit code is 0 only if no order was lost and every check passed.

With --db aws the databases are those of examples/aws-databases, in two regions of a stand-in for AWS, where hours take seconds.
One region hangs; RDS, Aurora, ElastiCache and the name go on in the other one, and come home. It needs neither an account nor
PostgreSQL, and touches nothing. With --keep the stand-in is then served on loopback until Ctrl-C.`,
		Example: `  lifeboat demo
  lifeboat demo --db vault
  lifeboat demo --db aws
  lifeboat demo --keep
  lifeboat demo --stop FOLDER
  lifeboat demo -o json`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDemo(cmd.Context(), inv, opt) },
	}, "text", "json")
	cmd.Flags().BoolVar(&opt.Keep, "keep", false, "leave its world running, to drive it with the ordinary commands")
	cmd.Flags().StringVar(&opt.DB, "db", "standby", "the databases come back from a `WAY`: standby, vault, or aws")
	cmd.Flags().StringVar(&opt.Dir, "dir", "", "make its world in `FOLDER` (default: a new temporary one)")
	cmd.Flags().StringVar(&opt.Stop, "stop", "", "end the world that --keep left in `FOLDER`, and remove it")
	complete(cmd, "db", cobra.FixedCompletions([]string{"standby", "vault", "aws"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.MarkFlagDirname("stop")
	cmd.MarkFlagsMutuallyExclusive("stop", "keep")
	cmd.MarkFlagsMutuallyExclusive("stop", "dir")
	cmd.MarkFlagsMutuallyExclusive("stop", "db")
	return cmd
}

func runDemo(ctx context.Context, inv *invocation, opt DemoOptions) error {
	if inv.Demo == nil {
		return failure.New(failure.Unsupported, "", "", "this build has no demo").
			WithHint("build Lifeboat on Linux or macOS with `make build`")
	}
	opt.JSON, opt.Out, opt.Err = inv.json(), &flagWriter{inv}, inv.Err
	return inv.Demo(ctx, opt)
}

// flagWriter is standard output that remembers that something was written to it.
type flagWriter struct{ inv *invocation }

func (w *flagWriter) Write(b []byte) (int, error) {
	w.inv.wroteJSON = true
	return w.inv.Out.Write(b)
}

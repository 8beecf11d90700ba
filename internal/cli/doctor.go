package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

func newDoctor(inv *invocation) *cobra.Command {
	var site, operation string
	cmd := withFormats(&cobra.Command{
		Use:   "doctor APP",
		Short: "Try an app's operations on paper, and say what they would miss",
		Long: `For each operation that the app can do, its plan is made and its steps are checked, and what they need is looked for at
each site: identities and their permissions, room under quotas, networks, keys, recovery points that are fresh. Nothing is
changed. Each finding says what is wrong, why it matters and what mends it. What is asked is shown on standard error
meanwhile. The same is looked for, in short, when a plan is shown. With something that blocks an operation the exit code
is 7, whatever the output format.`,
		Example: `  lifeboat doctor shop
  lifeboat doctor shop --site west
  lifeboat doctor shop --operation failover -o json | jq .blocked`,
		Args:       wants("APP"),
		SuggestFor: []string{"check", "preflight", "diagnose", "audit"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runDoctor(cmd.Context(), inv, api.DoctorRequest{App: model.AppID(args[0]), Site: model.SiteID(site), Operation: model.Operation(operation)})
		},
		ValidArgsFunction: completeApps(inv),
	}, "text", "json")
	cmd.Flags().StringVar(&site, "site", "", "look at `SITE` alone")
	cmd.Flags().StringVar(&operation, "operation", "", "try `OPERATION` alone: protect, drill, failover or failback")
	complete(cmd, "site", cobra.NoFileCompletions)
	complete(cmd, "operation", cobra.FixedCompletions([]string{"protect", "drill", "failover", "failback"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// doctorStill is how long a doctor is silent where no line is redrawn.
const doctorStill = 10 * time.Second

// examine asks the doctor, and shows on standard error meanwhile what it asks.
func (inv *invocation) examine(ctx context.Context, svc api.Service, req api.DoctorRequest) (*api.DoctorReply, error) {
	opts := term.WatchStyle(inv.Err, inv.Getenv)
	opts.Style, opts.Now, opts.Still = inv.style(inv.Err), inv.Now, doctorStill
	shown := term.NewDoctorProgress(inv.Err, opts)
	defer shown.Close()
	return svc.Doctor(ctx, req, shown.Event)
}

func runDoctor(ctx context.Context, inv *invocation, req api.DoctorRequest) error {
	return inv.withService(ctx, func(svc api.Service) error {
		reply, err := inv.examine(ctx, svc, req)
		if err != nil {
			return err
		}
		if err := show(inv, reply, term.Doctor); err != nil {
			return err
		}
		if reply.Blocked {
			return quiet{failure.Conflict.ExitCode()}
		}
		return nil
	})
}

package cli

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

type protectOptions struct {
	app   model.AppID
	once  bool
	every time.Duration
	now   bool
	force bool
	only  []string // resources
	stop  bool

	metrics string
}

func newProtect(inv *invocation) *cobra.Command {
	var opt protectOptions
	cmd := withFormats(&cobra.Command{
		Use:   "protect APP",
		Short: "Write markers, probe, and make recovery points by schedule",
		Long: `A marker is a timestamp in the app's data: read back from a recovered copy it measures the RPO. Probes measure the
RTO. Resources with a schedule get a recovery point whenever one is due, and what need not be kept goes. Rounds follow
each other at the app's own intervals; a line is printed when something changes, and with -v for every round. With
-o json every round is one line. Ctrl-C or SIGTERM ends it with exit code 0.

With --once there is one round, in which what is due is waited for, and the exit code is 1 when something in it went
wrong: for cron and timers. With --now recovery points are made at once, whatever the schedules say: the plan is shown,
and the run is followed.

The log of a database in a vault is received at its other sites by programs that protect keeps alive and that outlive it.
--stop ends them, with what the database keeps for them; nothing is received until protect runs again.`,
		Example: `  lifeboat protect shop
  lifeboat protect shop --once
  lifeboat protect shop --every 5s -o json
  lifeboat protect shop --now --resource uploads
  lifeboat protect shop --stop`,
		Args:              wants("APP"),
		ValidArgsFunction: completeApps(inv),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case opt.once && cmd.Flags().Changed("every"):
				return usageError(cmd, "protect: --once and --every exclude each other")
			case cmd.Flags().Changed("every") && opt.every <= 0:
				return usageError(cmd, "protect: --every %s: must be more than nothing", opt.every).WithHint("write --every 30s")
			}
			if !opt.now && (opt.force || len(opt.only) > 0) {
				return usageError(cmd, "protect: --force and --resource go with --now")
			}
			if opt.now && (opt.once || cmd.Flags().Changed("every")) {
				return usageError(cmd, "protect: --now goes without --once and --every")
			}
			if opt.stop && (opt.once || opt.now || cmd.Flags().Changed("every") || cmd.Flags().Changed("metrics")) {
				return usageError(cmd, "protect: --stop goes by itself")
			}
			if cmd.Flags().Changed("metrics") {
				switch _, port, err := net.SplitHostPort(opt.metrics); {
				case opt.once || opt.now:
					return usageError(cmd, "protect: --metrics goes without --once and --now").WithHint("they end before anybody could ask")
				case err != nil || port == "":
					return usageError(cmd, "protect: --metrics %q is no address", opt.metrics).WithHint("write HOST:PORT, as in 127.0.0.1:9777, or :9777 for this machine only")
				}
			}
			opt.app = model.AppID(args[0])
			if opt.now {
				return runOperation(cmd.Context(), inv, operateOptions{force: opt.force, planOptions: planOptions{
					app: args[0], operation: model.OpProtect, resources: opt.only}})
			}
			return runProtect(cmd.Context(), inv, opt)
		},
	}, "text", "json")
	cmd.Flags().BoolVar(&opt.once, "once", false, "one round only")
	cmd.Flags().DurationVar(&opt.every, "every", 0, "time between rounds, as `DURATION` (default: the app's)")
	cmd.Flags().StringVar(&opt.metrics, "metrics", "", "serve metrics for Prometheus at `HOST:PORT`, /metrics (without a host: for this machine only)")
	cmd.Flags().BoolVar(&opt.now, "now", false, "make recovery points now, and follow the run")
	cmd.Flags().StringSliceVar(&opt.only, "resource", nil, "with --now: of this `RESOURCE` only; may be repeated")
	cmd.Flags().BoolVar(&opt.force, "force", false, "with --now: start although something blocks it")
	cmd.Flags().BoolVar(&opt.stop, "stop", false, "end what receives the app's changes at its sites")
	complete(cmd, "every", cobra.NoFileCompletions)
	complete(cmd, "metrics", cobra.NoFileCompletions)
	complete(cmd, "resource", cobra.NoFileCompletions)
	return cmd
}

func runProtect(ctx context.Context, inv *invocation, opt protectOptions) error {
	req := api.ProtectRequest{App: opt.app, Once: opt.once, Metrics: opt.metrics, Stop: opt.stop}
	if opt.every > 0 {
		every := model.Duration(opt.every)
		req.Every = &every
	}
	return inv.withService(ctx, func(svc api.Service) error {
		var last *api.ProtectRound
		for round, err := range svc.Protect(ctx, req) {
			if err != nil {
				if ctx.Err() != nil && !opt.once {
					return nil // the way it ends
				}
				return err
			}
			if err := showRound(inv, opt, last, round); err != nil {
				return err
			}
			last = round
		}
		if (opt.once || opt.stop) && last != nil && !well(last) {
			return quiet{ExitUnsuccessful}
		}
		return nil
	})
}

// showRound writes a round where somebody wants to know of it.
func showRound(inv *invocation, opt protectOptions, last, round *api.ProtectRound) error {
	switch {
	case inv.json() && (opt.once || opt.stop):
		return inv.writeJSON(round)
	case inv.json():
		return inv.writeJSONLine(round)
	case last != nil && inv.verbose == 0 && len(round.Points) == 0 && len(round.Proofs) == 0 && sameRound(last, round):
		return nil
	}
	return term.Round(inv.Out, round, inv.style(inv.Out))
}

// well reports whether nothing went wrong in a round.
func well(r *api.ProtectRound) bool { return len(r.Errors) == 0 && (r.ProbeOK == nil || *r.ProbeOK) }

// sameRound reports whether two rounds tell the same. A marker's number and time change each time, and are not news.
func sameRound(a, b *api.ProtectRound) bool {
	return slices.Equal(news(a), news(b))
}

// news is what is worth a line when it changes: which resources have a marker, whether the probe passes, the errors.
func news(r *api.ProtectRound) []string {
	var list []string
	for id := range r.Markers {
		list = append(list, "marker "+string(id))
	}
	slices.Sort(list)
	if r.ProbeOK != nil {
		list = append(list, fmt.Sprintf("probe %t", *r.ProbeOK))
	}
	for _, p := range r.Points {
		list = append(list, fmt.Sprintf("run %s %s", p.Run, p.Outcome))
	}
	for _, st := range r.Streams {
		list = append(list, fmt.Sprintf("stream %s %s %s", st.Resource, st.Site, st.State))
	}
	for _, p := range r.Proofs {
		list = append(list, fmt.Sprintf("proof %s %s", p.Run, p.Outcome))
	}
	for _, e := range r.Errors {
		list = append(list, e.Error())
	}
	return list
}

package cli

import (
	"context"
	"fmt"
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
}

func newProtect(inv *invocation) *cobra.Command {
	var opt protectOptions
	cmd := withFormats(&cobra.Command{
		Use:   "protect APP",
		Short: "Write markers and probe an app, until interrupted",
		Long: `A marker is a timestamp in the app's data: read back from a recovered copy it measures the RPO. Probes measure the
RTO. Rounds follow each other at the app's own intervals; a line is printed when something changes, and with -v for
every round. With -o json every round is one line. Ctrl-C or SIGTERM ends it with exit code 0.

With --once there is one round, and the exit code is 1 when something in it went wrong.`,
		Example: `  lifeboat protect shop
  lifeboat protect shop --once
  lifeboat protect shop --every 5s -o json`,
		Args:              wants("APP"),
		ValidArgsFunction: completeApps(inv),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case opt.once && cmd.Flags().Changed("every"):
				return usageError(cmd, "protect: --once and --every exclude each other")
			case cmd.Flags().Changed("every") && opt.every <= 0:
				return usageError(cmd, "protect: --every %s: must be more than nothing", opt.every).WithHint("write --every 30s")
			}
			opt.app = model.AppID(args[0])
			return runProtect(cmd.Context(), inv, opt)
		},
	}, "text", "json")
	cmd.Flags().BoolVar(&opt.once, "once", false, "one round only")
	cmd.Flags().DurationVar(&opt.every, "every", 0, "time between rounds, as `DURATION` (default: the app's)")
	complete(cmd, "every", cobra.NoFileCompletions)
	return cmd
}

func runProtect(ctx context.Context, inv *invocation, opt protectOptions) error {
	req := api.ProtectRequest{App: opt.app, Once: opt.once}
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
		if opt.once && last != nil && !well(last) {
			return quiet{ExitUnsuccessful}
		}
		return nil
	})
}

// showRound writes a round where somebody wants to know of it.
func showRound(inv *invocation, opt protectOptions, last, round *api.ProtectRound) error {
	switch {
	case inv.json() && opt.once:
		return inv.writeJSON(round)
	case inv.json():
		return inv.writeJSONLine(round)
	case last != nil && inv.verbose == 0 && sameRound(last, round):
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
	for _, e := range r.Errors {
		list = append(list, e.Error())
	}
	return list
}

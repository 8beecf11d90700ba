package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

type vaultForgetOptions struct {
	req      api.VaultForgetRequest
	counts   map[string]*string // by flag
	keepTags []string
	prune    bool
	pruneFlags
	yes bool
}

func newVaultForget(v *vaultCommand) *cobra.Command {
	opt := vaultForgetOptions{req: api.VaultForgetRequest{Policy: &model.Retention{}}}
	var filter pointFlags
	cmd := withFormats(&cobra.Command{
		Use:   "forget {POINT... | --keep-...}",
		Short: "Remove points that a policy does not keep, or that are named",
		Long: `A point stays when any of the --keep flags keeps it; the decisions are restic's. They are made for each host and set of
paths apart, unless --group-by says otherwise. What goes and what stays is shown with the reasons before anything goes. A
point on legal hold always stays. The points' bytes go with a prune.

N is a number or "unlimited". DURATION counts back from the newest point: 2y5m7d3h.`,
		Example: `  lifeboat vault forget --keep-last 3 --keep-daily 14 --keep-monthly 12 --dry-run
  lifeboat vault forget --keep-within 30d --host web1
  lifeboat vault forget 4bba301e`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: v.completePoints(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.req.VaultPointFilter = filter.filter(v.Getenv)
			if err := opt.complete(cmd, args); err != nil {
				return err
			}
			return runVaultForget(cmd.Context(), v, opt)
		},
	}, "text", "json")
	opt.declare(cmd)
	filter.declareLong(cmd, "only points")
	return cmd
}

func (o *vaultForgetOptions) declare(cmd *cobra.Command) {
	f, p := cmd.Flags(), o.req.Policy
	o.counts = map[string]*string{}
	for _, c := range []struct{ name, short, what string }{
		{"last", "l", "points"}, {"hourly", "H", "hourly points"}, {"daily", "d", "daily points"}, {"weekly", "w", "weekly points"},
		{"monthly", "m", "monthly points"}, {"yearly", "y", "yearly points"},
	} {
		o.counts["keep-"+c.name] = f.StringP("keep-"+c.name, c.short, "", "keep the last `N` "+c.what)
	}
	for _, w := range []struct {
		name, what string
		into       *string
	}{
		{"keep-within", "all points", &p.Within}, {"keep-within-hourly", "hourly points", &p.WithinHourly},
		{"keep-within-daily", "daily points", &p.WithinDaily}, {"keep-within-weekly", "weekly points", &p.WithinWeekly},
		{"keep-within-monthly", "monthly points", &p.WithinMonthly}, {"keep-within-yearly", "yearly points", &p.WithinYearly},
	} {
		f.StringVar(w.into, w.name, "", "keep "+w.what+" of the last `DURATION`")
	}
	f.StringArrayVar(&o.keepTags, "keep-tag", nil, "keep points with all of `TAG[,TAG...]` (may be repeated)")
	f.StringVarP(&o.req.GroupBy, "group-by", "g", "host,paths", "decide apart for each of `host,paths,tags`; empty for all together")
	f.BoolVar(&o.req.AllowNone, "unsafe-allow-remove-all", false, "let a policy remove all points of a group")
	f.BoolVarP(&o.req.DryRun, "dry-run", "n", false, "remove nothing, only show what would go")
	f.BoolVar(&o.prune, "prune", false, "prune the vault afterwards, when points went")
	o.pruneFlags.declare(cmd)
	yesFlag(cmd, &o.yes)
	complete(cmd, "group-by", cobra.NoFileCompletions)
}

// complete turns flags and arguments into the request.
func (o *vaultForgetOptions) complete(cmd *cobra.Command, args []string) error {
	p := o.req.Policy
	for _, name := range pruneFlagNames {
		if cmd.Flags().Changed(name) && !o.prune {
			return usageError(cmd, "vault forget: --%s does nothing without --prune", name)
		}
	}
	if err := o.pruneFlags.complete(cmd); err != nil {
		return err
	}
	o.req.Wait = o.pruneFlags.req.Wait
	for name, into := range map[string]*int{
		"keep-last": &p.Last, "keep-hourly": &p.Hourly, "keep-daily": &p.Daily, "keep-weekly": &p.Weekly,
		"keep-monthly": &p.Monthly, "keep-yearly": &p.Yearly,
	} {
		text := *o.counts[name]
		if !cmd.Flags().Changed(name) {
			continue
		}
		n, err := strconv.Atoi(text)
		if text == "unlimited" {
			n, err = -1, nil
		}
		if err != nil || n < -1 {
			return inFlag(cmd, name, fmt.Errorf("%q is neither a number nor \"unlimited\"", text))
		}
		*into = n
	}
	for _, list := range o.keepTags {
		p.Tags = append(p.Tags, splitTags(list))
	}
	if len(args) > 0 {
		o.req.Points = args
		if o.hasPolicy() {
			return usageError(cmd, "vault forget: points are named, and --keep flags given").
				WithHint("leave one of them out: a policy decides on all points that --host, --tag and --path mean")
		}
		o.req.Policy = nil
		return nil
	}
	if !o.hasPolicy() {
		return usageError(cmd, "vault forget: nothing says what goes").WithHint("name points, or say what stays: --keep-last 7 --keep-daily 14")
	}
	return nil
}

func (o *vaultForgetOptions) hasPolicy() bool {
	p := *o.req.Policy
	tags := len(p.Tags) > 0
	p.Tags = nil
	for _, c := range []int{p.Last, p.Hourly, p.Daily, p.Weekly, p.Monthly, p.Yearly} {
		if c != 0 {
			return true
		}
	}
	return tags || p.Within+p.WithinHourly+p.WithinDaily+p.WithinWeekly+p.WithinMonthly+p.WithinYearly != ""
}

func runVaultForget(ctx context.Context, v *vaultCommand, opt vaultForgetOptions) error {
	return v.with(ctx, func(svc api.Vaults, a api.VaultAccess) error {
		opt.req.VaultAccess, opt.pruneFlags.req.VaultAccess = a, a
		plan, ids, err := opt.plan(ctx, v, svc)
		if err != nil {
			return err
		}
		if opt.req.DryRun {
			if v.json() {
				return v.writeJSON(plan)
			}
			return v.showForgetPlan(plan)
		}
		if err := v.showForgetPlan(plan); err != nil {
			return err
		}
		reply := &api.VaultForgetReply{Groups: plan.Groups}
		var pruneErr error
		if len(ids) > 0 {
			if err := v.confirmed(ctx, opt.yes, "forgetting points", "forget"); err != nil {
				return err
			}
			if reply, pruneErr, err = opt.apply(ctx, v, svc, ids); err != nil {
				return err
			}
		}
		shown := reply.Stayed
		reply.Stayed = append(plan.Stayed, reply.Stayed...)
		if err := opt.show(v, reply, shown, len(ids) == 0); err != nil {
			return err
		}
		if pruneErr == nil && len(reply.Stayed) > 0 {
			return quiet{failure.Denied.ExitCode()}
		}
		return pruneErr
	})
}

// plan finds out what would go, and what a prune would then do.
func (o *vaultForgetOptions) plan(ctx context.Context, v *vaultCommand, svc api.Vaults) (*api.VaultForgetReply, []string, error) {
	look := o.req
	look.DryRun = true
	plan, err := svc.Forget(ctx, look, nil)
	if err != nil {
		return nil, nil, err
	}
	stays := map[string]bool{}
	for _, s := range plan.Stayed {
		stays[s.Point] = true
	}
	var ids []string
	for _, g := range plan.Groups {
		for _, d := range g.Go {
			if !stays[d.Point.ID] {
				ids = append(ids, d.Point.ID)
			}
		}
	}
	if !o.prune || len(ids) == 0 {
		return plan, ids, nil
	}
	req := o.pruneFlags.req
	req.DryRun, req.Forget = true, ids
	watch, end := v.watch()
	plan.Prune, err = svc.Prune(ctx, req, nil, watch)
	end()
	return plan, ids, err
}

// apply does what was shown. An error of the prune is apart: the points are gone by then.
func (o *vaultForgetOptions) apply(ctx context.Context, v *vaultCommand, svc api.Vaults, ids []string) (*api.VaultForgetReply, error, error) {
	o.req.Only = ids
	watch, end := v.watch()
	defer end()
	reply, err := svc.Forget(ctx, o.req, watch)
	if err != nil || !o.prune || reply.Removed == 0 {
		return reply, nil, err
	}
	var pruneErr error
	reply.Prune, pruneErr = svc.Prune(ctx, o.pruneFlags.req, nil, watch)
	return reply, pruneErr, nil
}

func (v *vaultCommand) showForgetPlan(plan *api.VaultForgetReply) error {
	if err := term.VaultForget(v.human(), plan, v.style(v.human())); err != nil || plan.Prune == nil {
		return err
	}
	v.say("")
	return term.VaultPrunePlan(v.human(), plan.Prune.Plan, v.style(v.human()))
}

// show says what became of it: as words, without what the plan said already, and nothing when there was nothing to do.
func (o *vaultForgetOptions) show(v *vaultCommand, reply *api.VaultForgetReply, stayed []api.VaultStayed, idle bool) error {
	if v.json() {
		return v.writeJSON(reply)
	}
	if idle {
		return nil
	}
	if err := term.VaultForgot(v.Out, reply.Removed, stayed, v.style(v.Out)); err != nil {
		return err
	}
	if reply.Prune != nil {
		return term.VaultPruned(v.Out, reply.Prune, v.style(v.Out))
	}
	if reply.Removed > 0 && !o.prune {
		v.say("their bytes go with: %s", v.command("vault", "prune"))
	}
	return nil
}

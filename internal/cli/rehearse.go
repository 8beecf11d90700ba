package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term"
	"github.com/lifeboat-dr/lifeboat/model"
)

// rehearsed are the operations that can be rehearsed, the default one first.
var rehearsed = []string{string(model.OpFailover), string(model.OpFailback), string(model.OpDrill)}

type rehearseOptions struct {
	planOptions
	lost string
	with []string
}

func newRehearse(inv *invocation) *cobra.Command {
	var opt rehearseOptions
	cmd := withFormats(&cobra.Command{
		Use:   "rehearse APP | --plan NAME",
		Short: "Play an operation against a stand-in for AWS, with the home site lost, and predict its time",
		Long: `AWS is looked at: what the app has there at all its sites, by calls that only look. From the answers a stand-in for AWS is
made, in which the real plan is carried out by the real drivers, in a time of its own: hours take seconds, and nothing
real is touched. In an unplanned failover, which is the default, the site where the app serves is lost first.

Shown are how it goes, what people would be asked (they are taken to agree, at once), the predicted time, and which
steps it is made of. How long a step takes is what earlier runs of this app measured, else what is usual for small
databases. What is not in AWS is stood in for: it does nothing, and takes the time that was measured.

--plan rehearses a plan of your own in place of an app's operation: one of lifeboat.yaml's, or with --site the file of a
StatePayload document. With a document that moves all of its databases unplanned, the other site is lost first.

--with home=HOW says how the site is lost: ` + "`" + strings.Join(api.LostHow(), "`, `") + "`" + ` (the first one is the default).
--with stuck=STEP lets the work of a step never end.

The exit code is 0 only if the plan gets through within the app's objectives.`,
		Example: `  lifeboat rehearse shop
  lifeboat rehearse shop --with home=hanging
  lifeboat rehearse shop --with stuck=db/promote@west
  lifeboat rehearse shop --operation drill --lost east
  lifeboat rehearse shop --planned -o json
  lifeboat rehearse --plan failover.json --site west`,
		SuggestFor:        []string{"simulate", "dry-run", "predict"},
		ValidArgsFunction: completeApps(inv),
	}, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			opt.app = args[0]
		}
		if err := opt.document(cmd); err != nil {
			return err
		}
		req, err := opt.request(cmd)
		if err != nil {
			return err
		}
		return runRehearse(cmd.Context(), inv, req)
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case opt.custom == "" && opt.site != "":
			return usageError(cmd, "rehearse: --site belongs to --plan, with the file of a document")
		case opt.custom == "":
			return wants("APP")(cmd, args)
		}
		for _, other := range []string{"operation", "to", "planned"} {
			if cmd.Flags().Changed(other) {
				return usageError(cmd, "rehearse: --plan and --%s exclude each other", other)
			}
		}
		if len(args) > 0 {
			return usageError(cmd, "rehearse: --plan, and %q too", args[0]).WithHint("a plan says by itself what it is of: leave %s out", shellWord(args[0]))
		}
		opt.operation = model.OpCustom
		return nil
	}
	flags := cmd.Flags()
	flags.StringVar((*string)(&opt.operation), "operation", rehearsed[0], "rehearse this `OPERATION`")
	flags.StringVar(&opt.custom, "plan", "", "rehearse the plan `NAME`, or the document in the file NAME")
	opt.documentFlags(cmd)
	flags.StringVar(&opt.to, "to", "", "recover at `SITE` (default: the first recovery site; home in a failback)")
	flags.StringVar(&opt.lost, "lost", "", "lose this `SITE` first (default: where the app serves, if unplanned)")
	flags.BoolVar(&opt.planned, "planned", false, "a failover in which both sites cooperate: none is lost")
	flags.StringArrayVar(&opt.with, "with", nil, "how it goes `WRONG`: home=HOW, stuck=STEP; may be repeated")
	complete(cmd, "operation", cobra.FixedCompletions(rehearsed, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "plan", completePlans(inv))
	for _, flag := range []string{"to", "lost", "with"} {
		complete(cmd, flag, cobra.NoFileCompletions)
	}
	return cmd
}

// request reads the flags, and finds what cannot go together.
func (o *rehearseOptions) request(cmd *cobra.Command) (api.RehearseRequest, error) {
	plan := o.planOptions.request()
	req := api.RehearseRequest{App: plan.App, Operation: plan.Operation, Custom: plan.Custom, Payload: plan.Payload, Mode: plan.Mode, To: plan.To, Lost: model.SiteID(o.lost)}
	if req.Custom == "" && !slices.Contains(rehearsed, string(o.operation)) {
		return req, usageError(cmd, "rehearse: --operation %q cannot be rehearsed", o.operation).WithHint("one of: %s", strings.Join(rehearsed, ", "))
	}
	failover := req.Operation == model.OpFailover
	if o.planned && !failover {
		return req, usageError(cmd, "rehearse: --planned is for a failover")
	}
	for _, with := range o.with {
		what, how, ok := strings.Cut(with, "=")
		switch {
		case !ok || how == "" || what != "home" && what != "stuck":
			return req, usageError(cmd, "rehearse: --with %q is not understood", with).WithHint("write --with home=%s or --with stuck=STEP", strings.Join(api.LostHow(), "|"))
		case what == "stuck":
			req.Stuck = append(req.Stuck, model.StepID(how))
		case !slices.Contains(api.LostHow(), how):
			return req, usageError(cmd, "rehearse: --with home=%s: that is no way to fail", how).WithHint("one of: %s", strings.Join(api.LostHow(), ", "))
		case o.lost == "" && req.Custom == "" && (!failover || o.planned):
			return req, usageError(cmd, "rehearse: --with %s, but no site is lost", with).WithHint("say which with --lost SITE")
		default:
			req.How = how
		}
	}
	return req, nil
}

func runRehearse(ctx context.Context, inv *invocation, req api.RehearseRequest) error {
	if inv.Rehearsals == nil {
		return failure.New(failure.Unsupported, "", "", "this build cannot rehearse")
	}
	path, err := inv.configPath()
	if err != nil {
		return err
	}
	w := inv.human()
	style := inv.style(w)
	var wrote error
	out, err := inv.Rehearsals(OpenOptions{Config: path, State: inv.state, Log: inv.logger()}).Rehearse(ctx, req, func(s api.RehearsedStep) {
		if wrote == nil {
			wrote = term.RehearsedStep(w, s, style)
		}
	})
	if err != nil {
		return err
	}
	if wrote != nil {
		return failure.WrapAs(failure.Unavailable, wrote, "write", "progress")
	}
	if !inv.json() {
		inv.say("")
	}
	if err := show(inv, out, term.Rehearsal); err != nil {
		return err
	}
	if !out.OK {
		return quiet{ExitUnsuccessful}
	}
	return nil
}

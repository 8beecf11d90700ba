package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// planOptions say what to plan.
type planOptions struct {
	app                string
	operation          model.Operation
	to, from           string
	planned, unplanned bool
	custom             string
	resources          []string // of a protect, a prove or a restore
	prove              *api.ProveAsk
	restore            *model.RestoreSpec
	site               string          // where the document that custom names is to run
	payload            *api.PayloadAsk // that document
}

func (o *planOptions) request() api.PlanRequest {
	req := api.PlanRequest{
		App: model.AppID(o.app), Operation: o.operation, Custom: o.custom,
		To: model.SiteID(o.to), From: model.SiteID(o.from), Prove: o.prove, Restore: o.restore,
	}
	if o.payload != nil {
		req.Payload, req.From = o.payload, ""
	}
	for _, r := range o.resources {
		req.Resources = append(req.Resources, model.ResourceID(r))
	}
	switch {
	case o.planned:
		req.Mode = model.Planned
	case o.unplanned:
		req.Mode = model.Unplanned
	}
	return req
}

// subject is what the plan is of: the app, or a plan of the user's own.
func (o *planOptions) subject() string {
	if o.custom != "" {
		return o.custom
	}
	return o.app
}

// siteFlags and modeFlags declare flags of a plan.
func (o *planOptions) siteFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.to, "to", "", "recover at `SITE` (default: the app's first recovery site)")
	complete(cmd, "to", cobra.NoFileCompletions)
}

func (o *planOptions) modeFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.from, "from", "", "move away from `SITE` (default: where the app serves now)")
	cmd.Flags().BoolVar(&o.planned, "planned", false, "both sites cooperate: nothing may be lost")
	cmd.Flags().BoolVar(&o.unplanned, "unplanned", false, "the home site is lost: do not wait for it")
	complete(cmd, "from", cobra.NoFileCompletions)
}

// check finds contradictions.
func (o *planOptions) check(cmd *cobra.Command) error {
	switch {
	case o.planned && o.unplanned:
		return usageError(cmd, "%s: --planned and --unplanned exclude each other", name(cmd)).
			WithHint("leave both out to have Lifeboat look whether the home site answers")
	case o.to != "" && o.to == o.from:
		return usageError(cmd, "%s: --from and --to are both %q", name(cmd), o.to).
			WithHint("name two different sites")
	}
	return nil
}

// operateOptions say how to carry an operation out.
type operateOptions struct {
	planOptions
	followOptions
	acceptUnfenced string
	force          bool
	confirm        bool // ask, unless yes
	yes            bool
	detach         bool
}

func (o *operateOptions) flags(cmd *cobra.Command) {
	o.followOptions.flags(cmd)
	cmd.Flags().BoolVar(&o.force, "force", false, "start although something blocks it")
	cmd.Flags().BoolVar(&o.detach, "detach", false, "record the run and leave it to another process (exit code 3)")
}

func (o *operateOptions) dangerFlags(cmd *cobra.Command) {
	o.confirm = true
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask for confirmation")
	cmd.Flags().StringVar(&o.acceptUnfenced, "accept-unfenced", "",
		"go on without proof that the old copy takes no writes, for this `REASON` (it is in the report)")
}

// check finds what cannot go together.
func (o *operateOptions) check(cmd *cobra.Command) error {
	if err := o.planOptions.check(cmd); err != nil {
		return err
	}
	if err := o.followOptions.check(cmd); err != nil {
		return err
	}
	switch {
	case cmd.Flags().Changed("accept-unfenced") && strings.TrimSpace(o.acceptUnfenced) == "":
		return usageError(cmd, "%s: --accept-unfenced needs a reason", name(cmd)).
			WithHint(`write why that is safe: --accept-unfenced "the power of east is off, seen by Ann"`)
	case o.detach && o.reportDir != "":
		return usageError(cmd, "%s: --detach and --report-dir exclude each other", name(cmd)).
			WithHint("a detached run has no report yet: `lifeboat report RUN` when it is over")
	}
	return nil
}

// runOperation shows the plan, asks, starts the run and follows it to its end.
func runOperation(ctx context.Context, inv *invocation, opt operateOptions) error {
	if opt.confirm && !opt.yes && !inv.interactive() {
		return failure.New(failure.Invalid, "", "", "%s is not confirmed, and nobody is at a terminal to ask", opt.title()).
			WithHint("read the plan with `%s`, then add --yes", opt.planCommand(inv))
	}
	return inv.withService(ctx, func(svc api.Service) error {
		plan, err := svc.Plan(ctx, opt.request())
		if err != nil {
			return err
		}
		if err := inv.showPlan(inv.human(), plan); err != nil {
			return err
		}
		if err := opt.blocked(plan); err != nil {
			return err
		}
		if opt.confirm && !opt.yes {
			if err := inv.confirm(ctx, opt.subject()); err != nil {
				return err
			}
		}
		view, err := startRun(ctx, inv, svc, opt, plan)
		if err != nil {
			return err
		}
		if opt.detach {
			return detached(inv, view)
		}
		inv.say("run %s started", view.ID)
		return inv.follow(ctx, svc, view.ID, opt.followOptions)
	})
}

// title is the operation in words, as it is typed.
func (o *operateOptions) title() string {
	switch {
	case o.payload != nil:
		return "import " + shellWord(o.payload.File) + " --site " + o.site
	case o.custom != "":
		return "run " + o.custom
	case o.restore != nil:
		return string(o.operation) + " " + o.app + "/" + o.resources[0]
	}
	return string(o.operation) + " " + o.app
}

// planCommand is what shows the plan and changes nothing.
func (o *operateOptions) planCommand(inv *invocation) string {
	if o.restore != nil {
		return inv.command(o.title()) + " ... --preview"
	}
	return inv.command("plan", o.title())
}

// blocked refuses to go on while something blocks the plan that was shown and no person set that aside. The service
// would refuse as well, but only after the confirmation.
func (o *operateOptions) blocked(plan *api.PlanReply) error {
	var what []string
	fence := false
	for _, f := range plan.Findings {
		if f.Severity != model.Block {
			continue
		}
		step, _ := plan.Plan.Step(f.Step)
		if step.Waiver == model.Unfenced {
			if o.acceptUnfenced != "" {
				continue
			}
			fence = true
		}
		what = append(what, f.What)
	}
	if len(what) == 0 || o.force {
		return nil
	}
	message := "blocked: " + what[0]
	if n := len(what) - 1; n > 0 {
		message = fmt.Sprintf("%s, and %d more", message, n)
	}
	hint := "mend it as shown above, or start in spite of it with --force"
	if fence && o.confirm {
		hint = "mend it as shown above, or go on without the proof with --accept-unfenced REASON"
	}
	return failure.New(failure.Conflict, o.title(), "", "%s; nothing was started", message).WithHint("%s", hint)
}

// confirm has the person type the subject's name.
func (inv *invocation) confirm(ctx context.Context, subject string) error {
	fmt.Fprintf(inv.Err, "Type %s to go on: ", subject)
	typed, err := inv.lines.read(ctx)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(inv.Err)
		return failure.New(failure.Canceled, "", "", "interrupted; nothing was started")
	case err != nil:
		fmt.Fprintln(inv.Err)
		return failure.New(failure.Canceled, "", "", "not confirmed; nothing was started")
	case typed != subject:
		return failure.New(failure.Canceled, "", "", "not confirmed: %q is not %q; nothing was started", typed, subject)
	}
	return nil
}

// startRun starts what was shown.
func startRun(ctx context.Context, inv *invocation, svc api.Service, opt operateOptions, plan *api.PlanReply) (*api.RunView, error) {
	view, err := svc.Start(ctx, api.StartRequest{
		PlanRequest: opt.request(), Hash: plan.Hash, AcceptUnfenced: opt.acceptUnfenced, Force: opt.force,
		By: inv.by(opt.by), Key: inv.NewKey(),
	})
	if err == nil {
		return view, nil
	}
	switch kind := failure.KindOf(err); {
	case kind == failure.Canceled || kind == failure.Indeterminate:
		return nil, failure.WrapAs(kind, err, "start", opt.title()).
			WithHint("the run may have been recorded all the same: see `%s`", inv.command("run list --active"))
	case kind == failure.Conflict && failure.HintOf(err) == "":
		return nil, failure.WrapAs(kind, err, "start", opt.title()).
			WithHint("look at the plan again and start anew, or see `%s`", inv.command("run list --active"))
	}
	return nil, failure.Wrap(err, "start", opt.title())
}

// detached says what becomes of a run that this process does not drive.
func detached(inv *invocation, view *api.RunView) error {
	inv.say("run %s is recorded", view.ID)
	inv.say("nobody drives it once this command ends; go on with: %s", inv.command("run", "resume", string(view.ID)))
	if inv.json() {
		if err := inv.writeJSON(view); err != nil {
			return err
		}
	}
	return quiet{ExitUnfinished}
}

// writeReports puts a run's reports into dir as files and tells their paths.
func (inv *invocation) writeReports(ctx context.Context, report *api.Report, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", "report")
	}
	for _, format := range []string{"html", "json"} {
		b, err := inv.Documents.Render(ctx, report, format)
		if err != nil {
			return failure.Wrap(err, "render", format+" report")
		}
		path := filepath.Join(dir, string(report.Run.ID)+"."+format)
		if err := writeFile(path, b); err != nil {
			return err
		}
		inv.say("report: %s", path)
	}
	return nil
}

// writeFile writes path whole or not at all. What is there and no regular file, such as a pipe, is written through.
func writeFile(path string, b []byte) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return failure.WrapAs(failure.Denied, err, "write", path)
		}
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name()) // the error to tell is the first one
		return failure.WrapAs(failure.Unavailable, err, "write", path)
	}
	return nil
}

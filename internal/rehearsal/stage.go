package rehearsal

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
	"github.com/lifeboat-dr/lifeboat/internal/service"
	"github.com/lifeboat-dr/lifeboat/model"
)

// longest is how long, in its own time, a rehearsal goes on before it is given up.
const longest = 7 * 24 * time.Hour

// stage is where one job is played: a world, and a Lifeboat in it.
type stage struct {
	job     *Job
	world   *awstest.World
	svc     *service.Service
	serving map[model.AppID]model.SiteID // where each app serves; one that is missing: not known yet
	lost    model.SiteID
	plan    *model.Plan
	tell    func(api.RehearsedStep)
	out     *api.Rehearsal
}

// play plays a job from its beginning to its end, in whatever time it finds itself: within a bubble of testing/synctest it takes
// none. It waits for all that it started.
func play(ctx context.Context, job *Job, drivers Drivers, log *slog.Logger, tell func(api.RehearsedStep)) (*Played, error) {
	if wait := time.Until(job.Now); wait > 0 { // a bubble's time begins in the year 2000, before all that there is
		time.Sleep(wait)
	}
	st := &stage{job: job, tell: tell, world: awstest.New(awstest.Options{}), serving: map[model.AppID]model.SiteID{}}
	if err := job.admit(st.world); err != nil {
		return nil, err
	}
	if err := st.world.Learn(job.Seen.Answers); err != nil {
		return nil, failure.WrapAs(failure.Unsupported, err, "make the stand-in for", "AWS")
	}
	for _, a := range job.Seen.Assumed {
		st.world.Assume(a.Account, a.Region, a.Names...)
	}
	base := awsbase.New(awsbase.Options{Log: log, HTTP: st.world.Client()})
	defer base.Wait()
	registry, err := st.cast(drivers(log, base))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lifeboat-rehearsal-")
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "make a folder for", "the rehearsal")
	}
	defer os.RemoveAll(dir)
	cfg := *job.Config
	cfg.State = dir
	st.svc, err = service.Open(ctx, service.Options{Loaded: &cfg, Drivers: registry, Payloads: job.Documents, Log: log, Archive: memory.NewArchive(),
		Journal: func(context.Context) (journal.Store, error) { return memory.New(), nil }})
	if err != nil {
		return nil, err
	}
	err = st.perform(ctx)
	if closing := st.svc.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return nil, err
	}
	return &Played{st.out, st.plan}, nil
}

// perform plans, loses the site, plans again as one would then, and runs.
func (st *stage) perform(ctx context.Context) error {
	req := st.job.Request
	ask := asked(req)
	before, err := st.svc.Plan(ctx, ask)
	if err != nil {
		return err
	}
	if err := st.whereabouts(ctx, before.Plan); err != nil {
		return err
	}
	if req.Operation == model.OpFailover && req.Mode != model.Planned {
		ask.Mode = model.Unplanned
	}
	switch {
	case req.Lost != "":
		st.lost = req.Lost
	case ask.Mode == model.Unplanned, req.Custom != "" && unplanned(before.Plan):
		st.lost = before.Plan.From
	}
	if err := st.lose(); err != nil {
		return err
	}
	if req.Custom == "" && req.Operation != model.OpFailback {
		ask.From = before.Plan.From
	}
	reply, err := st.svc.Plan(ctx, ask)
	if err != nil {
		return err
	}
	st.plan = reply.Plan
	for _, id := range req.Stuck {
		if _, ok := reply.Plan.Step(id); !ok {
			return failure.New(failure.NotFound, "rehearse", string(id), "the plan has no such step").
				WithHint("without --with, the rehearsal lists them")
		}
	}
	st.out = st.opened(reply)
	start := api.StartRequest{PlanRequest: ask, Hash: reply.Hash, By: "the rehearsal"}
	for _, f := range reply.Findings {
		if f.Severity != model.Block {
			continue
		}
		if step, ok := reply.Plan.Step(f.Step); !ok || step.Waiver != model.Unfenced {
			st.out.Verdict = st.what() + " would not start: " + f.What
			return nil
		}
		start.AcceptUnfenced = accepted
		st.asked(f.Step, f.What, accepted)
	}
	st.world.Forget() // what was asked to plan it is no part of the plan
	view, err := st.svc.Start(ctx, start)
	if err != nil {
		return err
	}
	err = st.follow(ctx, view.ID)
	st.out.Calls = st.calls()
	return err
}

// whereabouts finds out where the apps serve.
func (st *stage) whereabouts(ctx context.Context, p *model.Plan) error {
	if p.App != "" {
		st.serving[p.App] = p.From
	}
	for _, app := range st.job.Config.Apps {
		if _, known := st.serving[app.ID]; known {
			continue
		}
		status, err := st.svc.Status(ctx, app.ID)
		if err != nil {
			return err
		}
		st.serving[app.ID] = status.Serving
	}
	return nil
}

// unplanned reports whether a plan moves things, and all of them without the site that they leave.
func unplanned(p *model.Plan) bool {
	moves := slices.DeleteFunc(slices.Clone(p.Steps), func(s model.Step) bool { return s.Mode == "" })
	return len(moves) > 0 && !slices.ContainsFunc(moves, func(s model.Step) bool { return s.Mode != model.Unplanned })
}

// what is what is rehearsed, in words.
func (st *stage) what() string {
	if req := st.job.Request; req.Custom == "" {
		return fmt.Sprintf("%s of %s", req.Operation, req.App)
	}
	return st.job.Request.Custom
}

// accepted is what a person is taken to write where a fence cannot be proved.
const accepted = "rehearsal: taken as accepted by a person"

// follow follows the run to its end and answers for people.
func (st *stage) follow(ctx context.Context, run model.RunID) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	answered := map[string]bool{}
	told := map[model.StepID]api.StepStatus{}
	for view, err := range st.svc.Watch(ctx, run) {
		if ctx.Err() == context.DeadlineExceeded {
			st.out.Verdict = fmt.Sprintf("it did not come to an end within %s", longest)
			return nil
		}
		if err != nil {
			return err
		}
		for i := range view.Steps {
			s := &view.Steps[i]
			if told[s.ID] != s.Status {
				told[s.ID] = s.Status
				st.tell(st.rehearsed(view, s))
			}
			if view.Final {
				continue
			}
			if err := st.answer(ctx, view.ID, s, answered); err != nil {
				return err
			}
		}
		if view.Final {
			st.closed(view)
		}
	}
	return nil
}

// answer gives the word that a step waits for, once: a yes to what is to be approved, an acceptance where a fence cannot be proved,
// and the end of the run where something else fails for good.
func (st *stage) answer(ctx context.Context, run model.RunID, s *api.StepView, answered map[string]bool) error {
	sig := api.SignalRequest{Run: run, Step: s.ID, By: "the rehearsal"}
	switch {
	case s.Status == api.StepApproval:
		sig.Signal, sig.By = api.Approve, fmt.Sprintf("the rehearsal, person %d", len(s.Approvals)+1)
		if len(s.Approvals) == 0 {
			st.asked(s.ID, s.Title, "approved")
		}
	case s.Status == api.StepAsking && s.Waiver == model.Unfenced:
		sig.Signal, sig.Reason = api.Force, accepted
		st.asked(s.ID, why(s), accepted)
	case s.Status == api.StepAsking:
		sig.Signal, sig.Step, sig.Reason = api.Abort, "", "rehearsal: "+string(s.ID)+" failed for good"
		st.asked(s.ID, why(s), givenUp)
	default:
		return nil
	}
	key := fmt.Sprint(s.ID, s.Attempt, len(s.Approvals), sig.Signal)
	if sig.Signal == api.Abort {
		key = "abort"
	}
	if answered[key] {
		return nil
	}
	answered[key] = true
	_, err := st.svc.Signal(ctx, sig)
	return err
}

// givenUp is the answer to a step that failed for good.
const givenUp = "given up"

func why(s *api.StepView) string {
	if s.Err == nil {
		return s.Title
	}
	return s.Err.Error()
}

// asked notes a question, once.
func (st *stage) asked(step model.StepID, what, answer string) {
	for _, a := range st.out.Asked {
		if a.Step == step {
			return
		}
	}
	st.out.Asked = append(st.out.Asked, api.RehearsalAsk{Step: step, What: what, Answer: answer})
}

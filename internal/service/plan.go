package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

// historyRuns is how many earlier runs a prediction rests on at most.
const historyRuns = 10

// Plan derives a plan and looks at the world. It changes nothing.
func (s *Service) Plan(ctx context.Context, req api.PlanRequest) (*api.PlanReply, error) {
	in := plan.Input{Config: s.cfg, Drivers: s.opts.Drivers, Operation: req.Operation, Mode: req.Mode, To: req.To,
		Custom: req.Custom, Resources: req.Resources, Serving: map[model.AppID]model.SiteID{}}
	reply := &api.PlanReply{Findings: []model.Finding{}, Sites: []model.Description{}}
	apps := s.cfg.Apps // a user's plan may name any
	if req.Custom != "" {
		found, err := s.payloads(ctx, req, &in)
		if err != nil {
			return nil, err
		}
		reply.Findings = append(reply.Findings, found...)
		if p, _ := in.Config.Plan(req.Custom); p.Payload != nil {
			apps = nil // it says itself where its databases are
		}
	} else {
		app, err := s.app(req.App)
		if err != nil {
			return nil, err
		}
		in.App, apps = app.ID, []model.App{app}
	}
	for _, app := range apps {
		seen := s.look(ctx, app, req.From)
		from, findings, err := s.serving(ctx, app, seen)
		if err != nil {
			return nil, err
		}
		if req.From != "" {
			if from != req.From {
				findings = append(findings, model.Finding{Severity: model.Warn, Code: "serves-elsewhere", Site: req.From,
					What: fmt.Sprintf("%s is seen to serve at %s, not at %s", app.ID, from, req.From)})
			}
			from = req.From
		}
		if req.Operation == model.OpFailback {
			s.oldPrimaries(app, from, cmp.Or(req.To, app.Home), seen, findings)
		}
		in.Serving[app.ID] = from
		reply.Findings = append(reply.Findings, findings...)
		reply.Sites = append(reply.Sites, seen...)
		if req.Custom == "" && in.Mode == "" && in.Operation == model.OpFailover {
			in.Mode = modeFor(app, from, seen)
		}
	}
	if err := s.pointsFor(ctx, req, &in); err != nil {
		return nil, err
	}
	p, findings, err := plan.Compile(in)
	if err != nil {
		return nil, s.underWay(ctx, in, err)
	}
	reply.Plan, reply.Hash = p, p.Hash()
	reply.Findings = append(reply.Findings, findings...)
	var asked, examined []model.Finding
	each(2, func(i int) {
		if i == 0 {
			asked = s.ask(ctx, p, lookTimeout, nil)
			return
		}
		examined = slices.DeleteFunc(s.examine(ctx, p, lookTimeout, &driver.Shared{Permissions: s.needed(p), Policy: policyOf(req)}), func(f model.Finding) bool { return f.Severity == model.Note })
		for i := range examined {
			if p.Operation == model.OpProtect { // a point that cannot be copied is better than none: the step that fails says so
				examined[i].Severity = model.Warn
			}
		}
	})
	reply.Findings = appendNew(append(reply.Findings, asked...), examined)
	if err := s.predict(ctx, reply); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.shown, s.shownAt = reply, time.Now()
	s.mu.Unlock()
	return reply, nil
}

// underWay is err, unless a move of the app is not over: then that is what stands in the way of another one, and what the app's sites
// look like meanwhile explains nothing.
func (s *Service) underWay(ctx context.Context, in plan.Input, err error) error {
	if in.Operation != model.OpFailover && in.Operation != model.OpFailback {
		return err
	}
	active, listErr := s.Runs(ctx, api.RunsRequest{App: in.App, Active: true})
	i := slices.IndexFunc(active, func(r api.RunSummary) bool { return r.Operation == model.OpFailover || r.Operation == model.OpFailback })
	if listErr != nil || i < 0 {
		return err
	}
	r := active[i]
	return failure.New(failure.Conflict, string(in.Operation), string(in.App), "its %s is not over: run %s, %d of %d steps", r.Operation, r.ID, r.Done, r.Total).
		WithHint("lifeboat run show %s; carry it on with lifeboat run resume %s, or end it with lifeboat run abort %s --reason …", r.ID, r.ID, r.ID)
}

// policyOf is the command that prints the policies of a plan of the user's own.
func policyOf(req api.PlanRequest) string {
	line := "lifeboat aws policy --plan " + req.Custom
	switch {
	case req.Custom == "":
		return ""
	case req.Payload == nil:
		return line
	}
	line = "lifeboat aws policy --plan " + req.Payload.File + " --site " + string(req.Payload.Site)
	if req.Payload.Peer != "" {
		line += " --from " + string(req.Payload.Peer)
	}
	return line
}

// oldPrimaries turns findings of two primaries into warnings where the failback itself puts an end to them: it moves the app away
// from where it serves, and the copy at to is kept, proved and deleted after an approval, before anything else.
func (s *Service) oldPrimaries(app model.App, from, to model.SiteID, seen []model.Description, findings []model.Finding) {
	for i := range findings {
		f := &findings[i]
		r, ok := app.Resource(f.Resource)
		if f.Code != twoPrimaries || !ok || from == to {
			continue
		}
		d, err := s.opts.Drivers.Get(r.Kind)
		if err != nil || !slices.Contains(d.Facts().Approved, model.ActionReverse) {
			continue
		}
		if slices.ContainsFunc(primariesOf(r.ID, seen), func(site model.SiteID) bool { return site != from && site != to }) {
			continue
		}
		f.Severity = model.Warn
		f.Why = fmt.Sprintf("the copy at %s may hold what %s never saw: once this is approved it is kept as a recovery point, that is proved, and the copy is deleted", to, from)
		f.Fix = "if " + string(to) + " is the right one, do not approve"
	}
}

// modeFor is planned while everything at the serving site answers.
func modeFor(app model.App, from model.SiteID, seen []model.Description) model.Mode {
	for _, d := range seen {
		if d.Site != from {
			continue
		}
		switch d.Role {
		case model.RoleUnreachable, model.RoleAbsent, model.RoleUnknown, model.RoleStopped, model.RoleFenced:
			return model.Unplanned
		}
	}
	return model.Planned
}

// ask asks the driver of each step what stands in its way. Nothing waits for one longer than within.
func (s *Service) ask(ctx context.Context, p *model.Plan, within time.Duration, shared *driver.Shared) []model.Finding {
	found := make([][]model.Finding, len(p.Steps))
	each(len(p.Steps), func(i int) {
		step := p.Steps[i]
		if step.Kind == "" {
			return
		}
		d, err := s.opts.Drivers.Get(step.Kind)
		if err != nil {
			return // the compiler has said so
		}
		call, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		question := driver.Question{Site: step.Site, Of: string(p.Operation) + " " + string(p.Mode), What: "step " + string(step.ID)}
		found[i], err = driver.Once(call, shared, question, func(ctx context.Context) ([]model.Finding, error) { return d.Check(ctx, driver.Preview(step)) })
		if err != nil {
			found[i] = append(found[i], model.Finding{Severity: model.Warn, Code: "not-checked", What: "could not be checked: " + err.Error(), Fix: failure.HintOf(err)})
		}
		for n := range found[i] {
			f := &found[i][n]
			f.Step, f.Site = step.ID, step.Site
			if step.Action != model.ActionVerify && step.Action != model.ActionRun {
				f.Resource = step.Resource.ID
			}
		}
	})
	var out []model.Finding
	for _, fs := range found {
		out = appendNew(out, fs)
	}
	return out
}

// Took is how long the steps of what is asked for, an operation on an app or a plan of the user's own, took in earlier runs that
// succeeded: the medians, and how many runs they are of.
func (s *Service) Took(ctx context.Context, req api.PlanRequest) (took map[model.StepID]time.Duration, runs int, err error) {
	return s.took(ctx, req.App, func(_ model.StepID, of *meta) bool {
		return of.Operation == req.Operation && (req.Custom == "" || of.Name == req.Custom)
	})
}

// took is Took for the steps that count, each with the run that it was in.
func (s *Service) took(ctx context.Context, app model.AppID, counts func(model.StepID, *meta) bool) (took map[model.StepID]time.Duration, runs int, err error) {
	past, err := s.past(ctx)
	if err != nil {
		return nil, 0, err
	}
	samples := map[model.StepID][]time.Duration{}
	for _, m := range past {
		if m.App != app || runs >= historyRuns || m.Outcome != api.Succeeded {
			continue
		}
		used := false
		for id, seconds := range m.Took {
			if counts(id, &m) {
				samples[id] = append(samples[id], time.Duration(seconds*float64(time.Second)))
				used = true
			}
		}
		if used {
			runs++
		}
	}
	took = map[model.StepID]time.Duration{}
	for id, all := range samples {
		slices.Sort(all)
		took[id] = all[len(all)/2]
	}
	return took, runs, nil
}

// predict says what the operation would cost if it ran now.
func (s *Service) predict(ctx context.Context, r *api.PlanReply) error {
	took, runs, err := s.took(ctx, r.Plan.App, func(id model.StepID, of *meta) bool {
		step, ok := r.Plan.Step(id)
		return ok && step.Operation == of.Operation
	})
	if err != nil {
		return err
	}
	r.Prediction.Runs = runs
	rto, unknown := plan.Predict(r.Plan, took)
	r.Prediction.Unknown = unknown
	if len(unknown) == 0 && len(took) > 0 {
		d := model.Duration(rto.Round(time.Millisecond))
		r.Prediction.RTO = &d
	}
	s.predictRPO(r)
	return nil
}

// predictRPO says what would be lost if the operation ran now.
func (s *Service) predictRPO(r *api.PlanReply) {
	const carried = "planned: work stops and is carried over before anything moves"
	planned := r.Plan.Mode == model.Planned && r.Plan.Operation != model.OpDrill
	app, ok := s.cfg.App(r.Plan.App)
	if !ok && !planned {
		r.Prediction.Basis = "a plan of your own: see those of its apps"
		return
	}
	worst := model.Duration(-1)
	basis := ""
	if planned {
		worst, r.Prediction.Basis = 0, carried
	}
	for _, res := range app.Resources {
		d, err := s.opts.Drivers.Get(res.Kind)
		if err != nil || !d.Facts().Stateful || planned && !d.Facts().Lossy {
			continue
		}
		i := slices.IndexFunc(r.Sites, func(d model.Description) bool { return d.Resource == res.ID && d.Site == r.Plan.To })
		if i < 0 {
			continue
		}
		seen := r.Sites[i]
		var lag model.Duration
		switch {
		case seen.Sync:
			basis = fmt.Sprintf("%s at %s holds all that was acknowledged (synchronous)", res.ID, seen.Site)
		case seen.LagTime != nil:
			lag = *seen.LagTime
			basis = fmt.Sprintf("%s at %s is %s behind", res.ID, seen.Site, lag)
		default:
			r.Prediction.RPO = nil
			r.Prediction.Basis = fmt.Sprintf("how far %s at %s is behind cannot be told: %s", res.ID, seen.Site, seen.Summary)
			return
		}
		if planned {
			basis = carried + "; but " + basis + ", and a planned move does not wait for it"
		}
		if lag > worst {
			worst = lag
			r.Prediction.Basis = basis
		}
	}
	if worst < 0 {
		r.Prediction.Basis = "nothing in this app holds data"
		worst = 0
	}
	r.Prediction.RPO = &worst
}

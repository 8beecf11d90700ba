package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/internal/schedule"
	"github.com/lifeboat-dr/lifeboat/model"
)

// prove says of each point when it was last recovered from: as it is written down where the point is kept, else as the
// archive of runs tells. There a live one is proved by a drill at its site, another by any run that brought it back and
// passed its checks.
func (s *Service) prove(ctx context.Context, app model.App, points []model.Point) error {
	past, err := s.past(ctx)
	if err != nil {
		return err
	}
	for i := range points {
		pt := &points[i]
		if pt.Proof != nil && pt.Proof.OK {
			at := pt.Proof.At
			pt.ProvedAt, pt.ProvedBy = &at, pt.Proof.By
		}
		for _, p := range past {
			live := pt.Live && p.Operation == model.OpDrill && p.To == pt.Site
			if p.App == app.ID && p.OK && (live || !pt.Live && p.Points[pt.Resource] == pt.ID) {
				if pt.ProvedAt == nil || p.Ended != nil && p.Ended.After(*pt.ProvedAt) {
					pt.ProvedAt, pt.ProvedBy = p.Ended, p.ID
				}
				break
			}
		}
	}
	return nil
}

// pointsFor adds to what a plan is derived from the recovery points that it is about.
func (s *Service) pointsFor(ctx context.Context, req api.PlanRequest, in *plan.Input) error {
	if req.Custom != "" {
		return nil
	}
	invalid := func(hint, format string, args ...any) error {
		return failure.New(failure.Invalid, string(req.Operation), string(in.App), format, args...).WithHint("%s", hint)
	}
	switch {
	case req.Prove != nil && req.Operation != model.OpProve, req.Restore != nil && req.Operation != model.OpRestore:
		return invalid("leave it out", "a %s neither proves nor restores", req.Operation)
	case req.Operation == model.OpProve:
		app, err := s.app(in.App)
		if err != nil {
			return err
		}
		in.Resources = nil
		in.Prove, err = s.proving(ctx, app, req)
		return err
	case req.Operation == model.OpRestore:
		if len(req.Resources) != 1 || req.Restore == nil {
			return invalid("lifeboat restore APP/RESOURCE --into FOLDER", "it needs one resource, and where it is restored to")
		}
		app, err := s.app(in.App)
		if err != nil {
			return err
		}
		if err := checkRestore(*req.Restore, s.named(app, req.Resources)); err != nil {
			return failure.Wrap(err, "restore", string(in.App)+"/"+string(req.Resources[0]))
		}
		in.Resources, in.Restore = nil, &plan.Restoring{Resource: req.Resources[0], Spec: *req.Restore}
	}
	return nil
}

// proving chooses the points to prove.
func (s *Service) proving(ctx context.Context, app model.App, req api.PlanRequest) ([]plan.Proving, error) {
	ask := api.ProveAsk{}
	if req.Prove != nil {
		ask = *req.Prove
	}
	ids := req.Resources
	if len(ids) == 0 {
		for _, r := range app.Resources {
			if s.provable(r) {
				ids = append(ids, r.ID)
			}
		}
	}
	subject := string(app.ID)
	if len(ids) == 0 {
		return nil, failure.New(failure.Unsupported, "prove", subject, "none of its resources keeps points that can be proved one by one").
			WithHint("a drill proves what follows by itself: lifeboat drill %s", app.ID)
	}
	if ask.Bisect {
		if len(ids) != 1 || len(ask.Checks) == 0 || len(ask.Points) > 0 || ask.Every != "" {
			return nil, failure.New(failure.Invalid, "prove", subject, "a search is for one resource, by checks, over all points").
				WithHint("lifeboat prove %s/%s --bisect --check SQL", app.ID, ids[0])
		}
		return []plan.Proving{{Resource: ids[0], Spec: model.ProveSpec{Bisect: true, Checks: ask.Checks, Within: ask.Within}}}, nil
	}
	var out []plan.Proving
	found := map[string]bool{}
	for _, id := range ids {
		r, ok := app.Resource(id)
		if !ok {
			return nil, failure.New(failure.NotFound, "prove", subject+"/"+string(id), "the app has no resource of this name")
		}
		points, err := s.pointsOf(ctx, app, r)
		if err != nil && len(points) == 0 {
			return nil, err
		}
		points = slices.DeleteFunc(points, func(p model.Point) bool { return p.Live })
		policy := provePolicy(r)
		chosen, err := choose(points, policy, ask, found)
		if err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "prove", subject+"/"+string(id))
		}
		for _, p := range chosen {
			out = append(out, plan.Proving{Resource: id, Spec: model.ProveSpec{Point: p.ID, Checks: append(slices.Clone(policy.Checks), ask.Checks...)}})
		}
	}
	for _, typed := range ask.Points {
		if !found[typed] {
			return nil, failure.New(failure.NotFound, "prove", subject, "there is no recovery point %q", typed).WithHint("lifeboat points %s", app.ID)
		}
	}
	if len(out) == 0 {
		return nil, failure.New(failure.NotFound, "prove", subject, "there is no recovery point to prove").WithHint("lifeboat protect %s --now", app.ID)
	}
	return out, nil
}

// choose picks the points that are proved: those that were named, else as many as the policy says, of which those come
// first that were proved longest ago. Found notes which names meant something.
func choose(points []model.Point, policy model.ProvePolicy, ask api.ProveAsk, found map[string]bool) ([]model.Point, error) {
	if len(ask.Points) > 0 {
		var out []model.Point
		for _, typed := range ask.Points {
			var same []model.Point
			for _, p := range points {
				if typed != "" && strings.HasPrefix(p.ID, typed) {
					same = append(same, p)
				}
			}
			if len(same) > 1 {
				return nil, fmt.Errorf("%d recovery points begin with %q: type more of it", len(same), typed)
			}
			if len(same) == 1 {
				found[typed] = true
				out = append(out, same[0])
			}
		}
		return out, nil
	}
	every := cmp.Or(ask.Every, policy.Every)
	n, err := model.ParseEvery(every, len(points))
	if err != nil {
		return nil, err
	}
	if every == "" || every == model.ProveNewest {
		return points[:n], nil
	}
	points = slices.Clone(points)
	slices.SortStableFunc(points, func(a, b model.Point) int { return provedAt(a).Compare(provedAt(b)) })
	return points[:n], nil
}

// provedAt is when a point was last restored to be proved, whatever that said; zero: never.
func provedAt(p model.Point) time.Time {
	if p.Proof == nil {
		return time.Time{}
	}
	return p.Proof.At
}

// provable reports whether a resource keeps points that can be proved one by one.
func (s *Service) provable(r model.Resource) bool {
	d, err := s.opts.Drivers.Get(r.Kind)
	return err == nil && driver.Can(d, model.ActionProve) && driver.KeepsPoints(d, r)
}

func provePolicy(r model.Resource) model.ProvePolicy {
	if r.Points == nil || r.Points.Prove == nil {
		return model.ProvePolicy{}
	}
	return *r.Points.Prove
}

// proveRetry is how long nothing is tried again after a proof that came to no verdict: it may be long and costly.
const proveRetry = 15 * time.Minute

// prover proves the recovery points of one app by their schedules, with one run at a time. It belongs to one goroutine.
// What is due it works out from what is written down where the points are kept.
type prover struct {
	looked  bool // for a run that an earlier process left behind
	s       *Service
	app     model.App
	due     []provable
	running *api.PointRound
	again   time.Time // nothing is tried before
}

// provable is a resource with a schedule of proofs.
type provable struct {
	resource model.Resource
	schedule schedule.Schedule
}

func (s *Service) prover(app model.App) (*prover, error) {
	p := &prover{s: s, app: app}
	for _, r := range app.Resources {
		policy := provePolicy(r)
		if policy.Schedule == "" {
			continue
		}
		when, err := schedule.Parse(policy.Schedule)
		if err != nil {
			return nil, failure.Wrap(err, "prove", string(r.ID))
		}
		p.due = append(p.due, provable{resource: r, schedule: when})
	}
	return p, nil
}

// round ends what is over and begins what is due, without waiting for it.
func (p *prover) round(ctx context.Context) ([]api.PointRound, error) {
	var out []api.PointRound
	if !p.looked {
		left, err := p.s.takeUp(ctx, p.app.ID, model.OpProve)
		if err != nil {
			return nil, err
		}
		p.looked, p.running = true, left
	}
	if p.running != nil {
		view, err := p.s.Run(ctx, p.running.Run)
		if err != nil || !view.Final {
			return nil, err
		}
		ended := *p.running
		ended.Outcome, p.running = view.Outcome, nil
		out = append(out, ended)
		if ended.Outcome != api.Succeeded {
			p.again = time.Now().Add(proveRetry)
			return out, failure.New(failure.Unavailable, "prove the recovery points of", string(p.app.ID), "run %s %s", ended.Run, ended.Outcome).
				WithHint("lifeboat report %s", ended.Run)
		}
		p.again = time.Now().Add(pointsRetry)
		return out, nil
	}
	now := time.Now()
	if now.Before(p.again) {
		return nil, nil
	}
	p.again = now.Add(pointsRetry)
	var due []model.ResourceID
	for _, r := range p.due {
		points, err := p.s.pointsOf(ctx, p.app, r.resource)
		if err != nil {
			return nil, failure.Wrap(err, "list the recovery points of", string(r.resource.ID))
		}
		if last, newest := lastProof(points); !newest.IsZero() && r.schedule.Due(last, now) {
			due = append(due, r.resource.ID)
		}
	}
	if len(due) == 0 {
		return nil, nil
	}
	view, err := p.s.Start(ctx, api.StartRequest{By: bySchedule,
		PlanRequest: api.PlanRequest{App: p.app.ID, Operation: model.OpProve, Resources: due}})
	if err != nil {
		p.again = now.Add(proveRetry)
		return nil, failure.Wrap(err, "prove the recovery points of", string(p.app.ID))
	}
	p.running = &api.PointRound{Resources: due, Run: view.ID}
	return []api.PointRound{*p.running}, nil
}

// wait waits for the run under way, if any, and gives how it ended.
func (p *prover) wait(ctx context.Context) ([]api.PointRound, error) {
	if p.running == nil {
		return nil, nil
	}
	if err := p.s.await(ctx, p.running.Run); err != nil {
		return nil, err
	}
	return p.round(ctx)
}

// lastProof is when any of the points was last proved, and when the newest one is from; zero: never, none.
func lastProof(points []model.Point) (last, newest time.Time) {
	for _, p := range points {
		if p.Live {
			continue
		}
		if p.At.After(newest) {
			newest = p.At
		}
		if at := provedAt(p); at.After(last) {
			last = at
		}
	}
	return last, newest
}

// unproved finds points that a real restore found bad, and resources whose proofs are overdue.
func (s *Service) unproved(ctx context.Context, app model.App) (found []model.Finding) {
	all, errs := make([][]model.Point, len(app.Resources)), make([]error, len(app.Resources))
	each(len(app.Resources), func(i int) {
		if r := app.Resources[i]; s.provable(r) {
			all[i], errs[i] = s.pointsOf(ctx, app, r)
		}
	})
	for i, r := range app.Resources {
		if !s.provable(r) {
			continue
		}
		points, err := all[i], errs[i]
		if err != nil && len(points) == 0 {
			continue // overdue says so, and status shows the site
		}
		for _, p := range points {
			if p.Proof == nil || p.Proof.OK {
				continue
			}
			found = append(found, model.Finding{Severity: model.Warn, Code: "proof-failed", Resource: r.ID,
				What: fmt.Sprintf("recovery point %s of %s is bad: %s (proved at %s)", short(p.ID), p.At.UTC().Format(time.RFC3339), p.Proof.What, p.Proof.At.UTC().Format(time.RFC3339)),
				Why:  "recoveries pass it over and use an earlier one",
				Fix:  fmt.Sprintf("lifeboat report %s; a new one: lifeboat protect %s --now --resource %s", p.Proof.By, app.ID, r.ID)})
		}
		policy := provePolicy(r)
		if policy.Schedule == "" {
			continue
		}
		when, err := schedule.Parse(policy.Schedule)
		last, newest := lastProof(points)
		if err != nil || newest.IsZero() {
			continue
		}
		if last.IsZero() {
			if when.Next(when.Next(newest)).After(time.Now()) {
				continue // the first one is not late
			}
			found = append(found, model.Finding{Severity: model.Warn, Code: "proof-overdue", Resource: r.ID,
				What: fmt.Sprintf("no recovery point of %s was ever proved, and the schedule is %s", r.ID, when),
				Why:  "that they can be restored is a belief", Fix: "see that this runs: lifeboat protect " + string(app.ID)})
		} else if when.Next(when.Next(last)).Before(time.Now()) {
			found = append(found, model.Finding{Severity: model.Warn, Code: "proof-overdue", Resource: r.ID,
				What: fmt.Sprintf("the last proof of %s is of %s, and the schedule is %s", r.ID, last.UTC().Format(time.RFC3339), when),
				Why:  "that newer points can be restored is a belief", Fix: "see that this runs: lifeboat protect " + string(app.ID)})
		}
	}
	return found
}

// short is an id as people read it.
func short(id string) string { return id[:min(len(id), 8)] }

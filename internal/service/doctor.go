package service

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

// How long the doctor, for whom no operation waits, gives the examination of one site, in which IAM may be asked many questions, and
// the check of one step.
const (
	examineTimeout = 3 * time.Minute
	checkTimeout   = 15 * time.Second
)

// examine has the kinds of a plan's resources look for what its steps will miss at each site, but for the site that an unplanned
// move leaves. Nothing waits for a site longer than within.
func (s *Service) examine(ctx context.Context, p *model.Plan, within time.Duration, shared *driver.Shared) []model.Finding {
	type place struct {
		kind model.Kind
		site model.SiteID
	}
	work := map[model.Kind][]driver.Request{}
	var places []place
	for _, step := range p.Steps {
		d, err := s.opts.Drivers.Get(step.Kind)
		if step.Kind == "" || err != nil {
			continue // the compiler has said so
		}
		if _, ok := driver.As[driver.Examiner](d); !ok {
			continue
		}
		work[step.Kind] = append(work[step.Kind], driver.Preview(step))
		for _, site := range slices.Sorted(maps.Keys(step.Resource.Sites)) {
			if p.Mode == model.Unplanned && site != p.To {
				continue // the move goes on without that site, and waits for it no more than it must
			}
			if at := (place{step.Kind, site}); !slices.Contains(places, at) {
				places = append(places, at)
			}
		}
	}
	found := make([]driver.Examined, len(places))
	each(len(places), func(i int) {
		at := places[i]
		d, err := s.opts.Drivers.Get(at.kind)
		if err != nil {
			return
		}
		examiner, _ := driver.As[driver.Examiner](d)
		call, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		found[i], err = examiner.Examine(call, driver.Examination{App: p.App, Site: at.site, Work: work[at.kind], Objective: p.Objective, Shared: shared})
		if err != nil {
			found[i].Findings = append(found[i].Findings, model.Finding{Severity: model.Warn, Code: "not-examined", Site: at.site, What: fmt.Sprintf("%s at %s could not be examined: %v", at.kind, at.site, err), Fix: failure.HintOf(err)})
		}
	})
	var out []model.Finding
	var draws []driver.Draw
	for _, one := range found {
		out = appendNew(out, one.Findings)
		draws = append(draws, one.Draws...)
	}
	return appendNew(out, driver.Short(draws))
}

// Examine has the kinds of a plan's resources look for what its steps will miss at the sites, with the time that the doctor has: see
// driver.Examiner. It changes nothing.
func (s *Service) Examine(ctx context.Context, p *model.Plan) []model.Finding {
	return s.examine(ctx, p, examineTimeout, &driver.Shared{Permissions: s.needed(p)})
}

// needed are the permissions that the examinations of a plan ask about.
func (s *Service) needed(p *model.Plan) (all []driver.Permission) {
	for _, step := range p.Steps {
		d, err := s.opts.Drivers.Get(step.Kind)
		if step.Kind == "" || err != nil {
			continue // the compiler has said so
		}
		asks, ok := driver.As[driver.Permitter](d)
		if !ok {
			continue
		}
		for site := range step.Resource.Sites {
			more, err := driver.Needed(asks, driver.Preview(step), site)
			if err == nil { // else its examination says so
				all = append(all, more...)
			}
		}
	}
	return all
}

// appendNew appends findings that are not there yet.
func appendNew(to, more []model.Finding) []model.Finding {
	for _, f := range more {
		same := func(o model.Finding) bool {
			return o.Code == f.Code && o.Resource == f.Resource && o.Site == f.Site && o.What == f.What
		}
		if !slices.ContainsFunc(to, same) {
			to = append(to, f)
		}
	}
	return to
}

// trial is an operation that the doctor tries on paper.
type trial struct {
	op    model.Operation
	mode  model.Mode
	from  model.SiteID
	later bool // it cannot begin as things stand
}

// trials are the operations of an app that serves somewhere.
func trials(app model.App, serving model.SiteID) []trial {
	all := []trial{{op: model.OpProtect, from: serving}}
	if len(app.Recovery) == 0 {
		return all
	}
	home, away := serving == app.Home, serving
	if home {
		away = app.Recovery[0]
	}
	return append(all,
		trial{op: model.OpDrill, from: serving},
		trial{op: model.OpFailover, mode: model.Planned, from: app.Home, later: !home},
		trial{op: model.OpFailover, mode: model.Unplanned, from: app.Home, later: !home},
		trial{op: model.OpFailback, mode: model.Planned, from: away, later: home},
	)
}

// Doctor tries an app's operations on paper: it checks their steps, examines what they need, and starts nothing.
func (s *Service) Doctor(ctx context.Context, req api.DoctorRequest, watch api.DoctorWatch) (*api.DoctorReply, error) {
	app, err := s.app(req.App)
	if err != nil {
		return nil, err
	}
	if err := atSite(app, "doctor", req.Site); err != nil {
		return nil, err
	}
	shared := &driver.Shared{}
	if watch != nil {
		shared.Asking = func(q driver.Question, over bool) {
			watch(api.DoctorAsking{Site: q.Site, What: q.What, Over: over})
		}
	}
	seen, err := driver.Once(ctx, shared, driver.Question{What: "where " + string(app.ID) + " serves"}, func(ctx context.Context) ([]model.Description, error) { return s.look(ctx, app, ""), nil })
	if err != nil {
		return nil, err
	}
	serving, findings, err := s.serving(ctx, app, seen)
	if err != nil {
		return nil, err
	}
	all := trials(app, serving)
	if req.Operation != "" {
		all = slices.DeleteFunc(all, func(t trial) bool { return t.op != req.Operation })
	}
	if len(all) == 0 {
		return nil, failure.New(failure.Invalid, "doctor", string(app.ID), "%q is no operation that is tried on paper", req.Operation).
			WithHint("operations: protect, drill, failover, failback; the last three need a recovery site")
	}
	reply := &api.DoctorReply{App: app.ID, At: time.Now().UTC(), Serving: serving, Operations: make([]api.DoctorOperation, len(all)), Findings: []api.Diagnosis{}}
	found := make([][]model.Finding, len(all))
	plans := make([]*model.Plan, len(all))
	for i, t := range all {
		reply.Operations[i], plans[i], found[i] = s.draft(app, t)
		if plans[i] != nil {
			shared.Permissions = append(shared.Permissions, s.needed(plans[i])...)
		}
	}
	var status *api.StatusReply
	each(len(all)+1, func(i int) {
		switch {
		case i == len(all):
			status, err = driver.Once(ctx, shared, driver.Question{What: "its recovery points"}, func(ctx context.Context) (*api.StatusReply, error) {
				return s.statusOf(ctx, app, seen, serving, findings)
			})
		case plans[i] != nil:
			found[i] = appendNew(found[i], s.try(ctx, plans[i], all[i].later, shared))
		}
	})
	if err != nil {
		return nil, err
	}
	d := diagnoses{site: req.Site}
	dark := unanswered(found)
	d.add("", explained(append(status.Findings, behind(app, status.Resources)...), dark))
	for i := range all {
		o := &reply.Operations[i]
		found[i] = explained(found[i], dark)
		d.add(strings.TrimSpace(string(o.Operation)+" "+modeOf(o)), found[i])
		for _, f := range found[i] {
			switch {
			case req.Site != "" && f.Site != "" && f.Site != req.Site:
			case f.Severity == model.Block:
				o.Blocks++
			case f.Severity == model.Warn:
				o.Warns++
			}
		}
	}
	reply.Findings = d.sorted()
	reply.Blocked = slices.ContainsFunc(reply.Findings, func(f api.Diagnosis) bool { return f.Severity == model.Block })
	return reply, nil
}

// modeOf is the mode where an operation has two.
func modeOf(o *api.DoctorOperation) string {
	if o.Operation != model.OpFailover {
		return ""
	}
	return string(o.Mode)
}

// draft makes the plan of an operation; nil when there can be none.
func (s *Service) draft(app model.App, t trial) (api.DoctorOperation, *model.Plan, []model.Finding) {
	out := api.DoctorOperation{Operation: t.op, Mode: t.mode, From: t.from, Later: t.later}
	p, found, err := plan.Compile(plan.Input{Config: s.cfg, Drivers: s.opts.Drivers, App: app.ID, Operation: t.op, Mode: t.mode,
		Serving: map[model.AppID]model.SiteID{app.ID: t.from}})
	if err != nil {
		out.Cannot = failure.From(err).Message
		return out, nil, nil
	}
	out.From, out.To, out.Mode, out.Steps = p.From, p.To, p.Mode, len(p.Steps)
	return out, p, found
}

// try asks what stands in a plan's way. The steps of what comes later are not checked.
func (s *Service) try(ctx context.Context, p *model.Plan, later bool, shared *driver.Shared) []model.Finding {
	var asked, examined []model.Finding
	each(2, func(i int) {
		switch {
		case i == 0 && !later:
			asked = s.ask(ctx, p, checkTimeout, shared)
		case i == 1:
			examined = s.examine(ctx, p, examineTimeout, shared)
		}
	})
	return appendNew(asked, examined)
}

// unanswered are the sites of which an examination says that they could not be asked, or not by anybody.
func unanswered(found [][]model.Finding) map[model.SiteID]bool {
	dark := map[model.SiteID]bool{}
	for _, f := range slices.Concat(found...) {
		if strings.HasSuffix(f.Code, "not-examined") || f.Severity == model.Block && strings.HasSuffix(f.Code, "-identity") {
			dark[f.Site] = true
		}
	}
	return dark
}

// explained leaves out what did not get an answer where an examination says why.
func explained(found []model.Finding, dark map[model.SiteID]bool) []model.Finding {
	return slices.DeleteFunc(found, func(f model.Finding) bool {
		return dark[f.Site] && (f.Code == "not-described" || f.Code == "not-checked")
	})
}

// behind says which copies are further behind than the objective allows.
func behind(app model.App, seen []model.Description) (found []model.Finding) {
	rpo := app.Objective.RPO
	for _, d := range seen {
		if rpo != nil && d.Role == model.RoleStandby && d.LagTime != nil && *d.LagTime > *rpo {
			found = append(found, model.Finding{Severity: model.Warn, Code: "behind-rpo", Resource: d.Resource, Site: d.Site, What: fmt.Sprintf("%s at %s is %s behind", d.Resource, d.Site, *d.LagTime),
				Why: fmt.Sprintf("an unplanned failover would lose more than the RPO of %s allows", *rpo), Fix: "lifeboat status " + string(app.ID)})
		}
	}
	return found
}

// diagnoses collects findings, each with the operations that it was found for.
type diagnoses struct {
	site model.SiteID // when not empty: only findings there
	list []api.Diagnosis
}

func (d *diagnoses) add(operation string, found []model.Finding) {
	for _, f := range found {
		if d.site != "" && f.Site != "" && f.Site != d.site {
			continue
		}
		f.Step = ""
		i := slices.IndexFunc(d.list, func(o api.Diagnosis) bool {
			return o.Code == f.Code && o.Resource == f.Resource && o.Site == f.Site && o.What == f.What
		})
		if i < 0 {
			d.list = append(d.list, api.Diagnosis{Finding: f})
			i = len(d.list) - 1
		}
		one := &d.list[i]
		if worse(f.Severity, one.Severity) {
			one.Severity, one.Why, one.Fix = f.Severity, f.Why, f.Fix
		}
		if operation != "" && !slices.Contains(one.Operations, operation) {
			one.Operations = append(one.Operations, operation)
		}
	}
}

var ranks = map[model.Severity]int{model.Block: 0, model.Warn: 1, model.Note: 2}

func worse(a, b model.Severity) bool { return ranks[a] < ranks[b] }

// sorted are all, worst first, and of one severity by site.
func (d *diagnoses) sorted() []api.Diagnosis {
	out := append([]api.Diagnosis{}, d.list...)
	slices.SortStableFunc(out, func(a, b api.Diagnosis) int {
		if a.Severity != b.Severity {
			return ranks[a.Severity] - ranks[b.Severity]
		}
		return strings.Compare(string(a.Site), string(b.Site))
	})
	return out
}

// atSite refuses a site that is none of the app's.
func atSite(app model.App, op string, site model.SiteID) error {
	if site == "" || site == app.Home || slices.Contains(app.Recovery, site) {
		return nil
	}
	return failure.New(failure.Invalid, op, string(app.ID), "%q is not one of its sites", site).WithHint("its sites: %s, %v", app.Home, app.Recovery)
}

package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

// laws lists which rules of the design a plan breaks.
func laws(p *model.Plan) (broken []string) {
	complain := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	if _, err := engine.NewState("RUN", p, "incarnation"); err != nil {
		complain("the engine refuses it: %v", err)
		return broken
	}
	behind := map[model.StepID]map[model.StepID]bool{} // all that a step waits for
	for _, s := range p.Steps {
		behind[s.ID] = map[model.StepID]bool{}
		for _, n := range s.Needs {
			behind[s.ID][n] = true
			for far := range behind[n] {
				behind[s.ID][far] = true
			}
		}
	}
	moved := map[model.AppID]bool{}
	for at, s := range p.Steps {
		switch s.Action {
		case model.ActionRedirect:
			for _, f := range p.Steps[:at] {
				if f.Action == model.ActionFence && f.App == s.App && f.Site == s.Peer && !behind[s.ID][f.ID] {
					complain("%s moves traffic and does not wait for %s", s.ID, f.ID)
				}
			}
		case model.ActionPromote:
			for _, f := range p.Steps[:at] {
				if f.Action == model.ActionFence && f.App == s.App && f.Resource.ID == s.Resource.ID && f.Site == s.Peer && !behind[s.ID][f.ID] {
					complain("%s does not wait for its fence", s.ID)
				}
			}
		case model.ActionReverse:
			reverseLaw(p, at, behind, complain)
		case model.ActionDrill:
			i := slices.IndexFunc(p.Steps, func(r model.Step) bool { return r.Releases == s.ID })
			if i < 0 {
				complain("nothing releases %s", s.ID)
				continue
			}
			r := p.Steps[i]
			if r.When != model.Always || r.Site != s.Site {
				complain("%s does not run always, at the same site", r.ID)
			}
			for _, user := range p.Steps[at+1 : i] {
				if behind[user.ID][s.ID] && !behind[r.ID][user.ID] {
					complain("%s does not wait for %s, which may use the copy", r.ID, user.ID)
				}
			}
		}
		if p.Operation == model.OpDrill && slices.Contains([]model.Action{model.ActionPromote, model.ActionRedirect, model.ActionFence,
			model.ActionQuiesce, model.ActionReverse}, s.Action) {
			complain("a drill holds %s", s.ID)
		}
		moved[s.App] = true
	}
	return broken
}

// reverseLaw holds that what is made to follow does not serve: at the site where the app serves when the step comes,
// nothing is reversed unless the resource's copy at the peer was brought up before.
func reverseLaw(p *model.Plan, at int, behind map[model.StepID]map[model.StepID]bool, complain func(string, ...any)) {
	s := p.Steps[at]
	for _, up := range p.Steps {
		if up.App != s.App || up.Resource.ID != s.Resource.ID || up.Action != model.ActionPromote && up.Action != model.ActionRedirect {
			continue
		}
		if up.Site == s.Site && behind[s.ID][up.ID] {
			last := true // brought up here, and not moved away since?
			for _, away := range p.Steps[:at] {
				last = last && !(away.Resource.ID == s.Resource.ID && away.App == s.App && away.Action == up.Action && away.Site != s.Site && behind[away.ID][up.ID])
			}
			if last {
				complain("%s comes after %s made this the serving copy", s.ID, up.ID)
			}
		}
	}
	movedHere := slices.ContainsFunc(p.Steps, func(up model.Step) bool {
		return up.App == s.App && up.Resource.ID == s.Resource.ID && (up.Action == model.ActionPromote || up.Action == model.ActionRedirect) &&
			(up.Site == s.Peer && behind[s.ID][up.ID] || up.Site == s.Site && behind[up.ID][s.ID])
	})
	// The failback of a StatePayload document is a plan of its own, in which nothing moves: a person has approved it.
	asked := s.Prepare && slices.ContainsFunc(p.Steps, func(a model.Step) bool {
		return a.Action == model.ActionApprove && a.App == s.App && behind[s.ID][a.ID]
	})
	if !movedHere && !asked {
		complain("%s: no step makes %s serve at %s, so this may be its only good copy", s.ID, s.Resource.ID, s.Peer)
	}
}

// randomInput makes a configuration that may be wrong in any way that the types allow.
func randomInput(seed uint64) plan.Input {
	rng := rand.New(rand.NewPCG(seed, 1))
	kinds := []model.Kind{kindData, kindData, kindNoFence, kindProgram, kindProgram, kindName, kindMirror}
	ops := []model.Operation{model.OpDrill, model.OpFailover, model.OpFailback}
	modes := []model.Mode{"", model.Planned, model.Unplanned}
	sites := []model.SiteID{"", "east", "west", "north"}
	ids := []model.ResourceID{"a", "b", "c", "d", "e"}
	apps := []model.AppID{"shop", "mail"}
	names := []string{"one", "two", "three"}
	actions := []model.Action{model.ActionFence, model.ActionQuiesce, model.ActionPromote, model.ActionRedirect, model.ActionReverse, model.ActionDrill}
	on := func() []model.Operation {
		if rng.IntN(2) == 0 {
			return nil
		}
		return []model.Operation{ops[rng.IntN(3)]}
	}
	step := func(i int) model.CustomStep {
		s := model.CustomStep{Name: fmt.Sprintf("s %d", i)}
		switch rng.IntN(6) {
		case 0:
			s.Approve = 1 + rng.IntN(2)
		case 1:
			s.Plan = names[rng.IntN(3)]
		case 2:
			s.App, s.Operation, s.Mode, s.To = apps[rng.IntN(2)], ops[rng.IntN(3)], modes[rng.IntN(3)], sites[rng.IntN(4)]
		default:
			s.Kind, s.Settings = kindRun, raw(`{}`)
		}
		return s
	}
	cfg := &model.Config{}
	for _, id := range apps {
		app := model.App{ID: id, Home: "east", Recovery: []model.SiteID{"west", "north"}[:1+rng.IntN(2)],
			Approvals: map[model.Operation]int{ops[rng.IntN(3)]: rng.IntN(3)}}
		for n := range 1 + rng.IntN(len(ids)) {
			r := resource(ids[n], kinds[rng.IntN(len(kinds))])
			for _, need := range ids[:n] {
				if rng.IntN(3) == 0 {
					r.Needs = append(r.Needs, need)
				}
			}
			if len(r.Needs) > 0 && rng.IntN(4) == 0 {
				r.Settings = raw(fmt.Sprintf(`{"x":"${%s.endpoint}"}`, r.Needs[0]))
			}
			if rng.IntN(3) == 0 {
				r.Checks = []model.Check{check("check", `{}`, on()...)}
			}
			for h := range rng.IntN(3) {
				a := actions[rng.IntN(len(actions))]
				if rng.IntN(2) == 0 {
					r.Hooks = append(r.Hooks, hook(a, "", step(h), on()...))
				} else {
					r.Hooks = append(r.Hooks, hook("", a, step(h), on()...))
				}
			}
			app.Resources = append(app.Resources, r)
		}
		cfg.Apps = append(cfg.Apps, app)
	}
	for _, n := range names {
		p := model.CustomPlan{Name: n}
		for i := range 1 + rng.IntN(4) {
			s := step(i)
			if i > 0 && rng.IntN(2) == 0 {
				s.Needs = []string{fmt.Sprintf("s %d", rng.IntN(i))}
			}
			p.Steps = append(p.Steps, s)
		}
		cfg.Plans = append(cfg.Plans, p)
	}
	in := plan.Input{Config: cfg, App: apps[rng.IntN(2)], Operation: ops[rng.IntN(3)], Mode: modes[rng.IntN(3)], To: sites[rng.IntN(4)],
		Serving: map[model.AppID]model.SiteID{"shop": sites[rng.IntN(3)]}}
	if rng.IntN(4) == 0 {
		in.Custom = names[rng.IntN(3)]
	}
	return in
}

// obey compiles what seed makes twice and holds the laws. It says whether there was a plan.
func obey(t *testing.T, seed uint64) bool {
	in := randomInput(seed)
	in.Drivers = registry()
	p, _, err := plan.Compile(in)
	if err != nil {
		return false
	}
	for _, broken := range laws(p) {
		t.Errorf("seed %d: %s", seed, broken)
	}
	again := randomInput(seed)
	again.Drivers = registry()
	q, _, err := plan.Compile(again)
	if err != nil || p.Hash() != q.Hash() {
		t.Errorf("seed %d: the same input gives another plan (%v)", seed, err)
	}
	return true
}

// TestLaws holds the laws for many configurations. It fails when hardly any of them gives a plan.
func TestLaws(t *testing.T) {
	plans, of := 0, uint64(4000)
	for seed := range of {
		if obey(t, seed) {
			plans++
		}
		if t.Failed() {
			t.Fatal("a law is broken; the rest is not tried")
		}
	}
	if plans < 1000 {
		t.Errorf("only %d of %d configurations gave a plan: the laws were hardly tried", plans, of)
	}
}

func FuzzCompile(f *testing.F) {
	for seed := range uint64(64) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { obey(t, seed) })
}

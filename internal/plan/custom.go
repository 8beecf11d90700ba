package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// maxSteps bounds a plan: plans that call plans grow quickly.
const maxSteps = 20000

// withHooks adds a step with the steps that its kind and the user put before and after it. The first id returned is the
// step's own; what follows it waits for all of them.
func (b *builder) withHooks(m *move, r model.Resource, step model.Step) ([]model.StepID, error) {
	d, err := b.in.Drivers.Get(r.Kind)
	if err != nil {
		return nil, failure.Wrap(err, "plan", string(r.ID))
	}
	hooks, err := driver.HooksOf(d, r)
	if err != nil {
		return nil, failure.Wrap(err, "plan", string(r.ID))
	}
	for _, h := range hooks {
		if h.Before != step.Action || !inOps(h.On, m.op) {
			continue
		}
		id, err := b.customStep(m, fmt.Sprintf("%s/before-%s/", r.ID, step.Action), h.Step, step.Needs)
		if err != nil {
			return nil, err
		}
		step.Needs = append(slices.Clone(step.Needs), id)
	}
	out := []model.StepID{b.add(step)}
	after := out[0]
	for _, h := range hooks {
		if h.After != step.Action || !inOps(h.On, m.op) {
			continue
		}
		serving := m.serving[r.ID]
		m.serving[r.ID] = out[0] // the hook may refer to what this very step left
		id, err := b.customStep(m, fmt.Sprintf("%s/after-%s/", r.ID, step.Action), h.Step, []model.StepID{after})
		if serving == "" {
			delete(m.serving, r.ID)
		} else {
			m.serving[r.ID] = serving
		}
		if err != nil {
			return nil, err
		}
		after = id
		out = append(out, id)
	}
	return out, nil
}

// custom adds the steps of a user's plan after needs, and returns the step that ends it ("" for the outermost).
func (b *builder) custom(prefix string, p model.CustomPlan, needs []model.StepID) (model.StepID, error) {
	if p.Payload != nil {
		return b.payload(prefix, p, needs)
	}
	m := &move{op: model.OpCustom, prefix: prefix, serving: map[model.ResourceID]model.StepID{}}
	ids := map[string]model.StepID{}
	var ends []model.StepID
	for _, s := range ordered(p.Steps) {
		after := slices.Clone(needs)
		for _, n := range s.Needs {
			id, ok := ids[n]
			if !ok {
				return "", failure.New(failure.Invalid, "plan", p.Name, "step %q needs %q, which is no step before it", s.Name, n).
					WithHint("steps may not need each other in a circle")
			}
			after = append(after, id)
		}
		id, err := b.customStep(m, "", s, after)
		if err != nil {
			return "", err
		}
		ids[s.Name] = id
		ends = append(ends, id)
	}
	if prefix == "" {
		return "", nil
	}
	return b.add(model.Step{ID: m.id("done"), Title: "plan " + p.Name + " is complete", Action: model.ActionJoin,
		Needs: append(ends, needs...), Operation: model.OpCustom}), nil
}

// ordered puts each step after what it needs, keeping the user's order otherwise. Steps in a circle stay last.
func ordered(steps []model.CustomStep) []model.CustomStep {
	var out []model.CustomStep
	placed := map[string]bool{}
	left := slices.Clone(steps)
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(s model.CustomStep) bool {
			return !slices.ContainsFunc(s.Needs, func(n string) bool { return !placed[n] })
		})
		if i < 0 {
			return append(out, left...)
		}
		placed[left[i].Name] = true
		out = append(out, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return out
}

// customStep adds one step of the user's own and returns what later steps are to need.
func (b *builder) customStep(m *move, prefix string, s model.CustomStep, needs []model.StepID) (model.StepID, error) {
	if len(b.steps) > maxSteps {
		return "", failure.New(failure.Invalid, "plan", s.Name, "the plan has more than %d steps", maxSteps)
	}
	base := model.Step{ID: m.id(prefix + slug(s.Name)), Title: s.Name, Needs: needs, App: m.app.ID, Operation: m.op, Mode: m.mode,
		Timeout: s.Timeout, Attempts: stepAttempts, Site: m.to, Peer: m.from}
	switch {
	case s.Plan != "":
		return b.callPlan(string(base.ID)+"/", s.Plan, needs)
	case s.App != "":
		return b.callOperation(string(base.ID)+"/", s, needs)
	case s.Approve > 0:
		base.Action, base.Approvals = model.ActionApprove, s.Approve
		return b.add(base), nil
	}
	d, err := b.in.Drivers.Get(s.Kind)
	if err != nil {
		return "", failure.Wrap(err, "plan step", s.Name)
	}
	if !driver.Can(d, model.ActionRun) {
		return "", failure.New(failure.Invalid, "plan step", s.Name, "kind %s cannot be run as a step", s.Kind)
	}
	base.Action, base.Kind = model.ActionRun, s.Kind
	base.Effect = d.Facts().Effects[model.ActionRun]
	base.Resource = model.Resource{ID: model.ResourceID(s.Name), App: m.app.ID, Kind: s.Kind, Settings: s.Settings}
	if base.Timeout == 0 {
		base.Timeout = model.Duration(driver.DefaultTimeout)
		if t := d.Facts().Timeouts[model.ActionRun]; t > 0 {
			base.Timeout = model.Duration(t)
		}
	}
	inputs, err := b.inputs(m, &base, true)
	if err != nil {
		return "", err
	}
	base.Needs = append(slices.Clone(needs), inputs...)
	return b.add(base), nil
}

// enter notes that what is compiled from here on was called by name, until leave is called. What calls itself is
// failure.Invalid.
func (b *builder) enter(name string) (leave func(), err error) {
	if slices.Contains(b.calls, name) {
		return nil, failure.New(failure.Invalid, "plan", name, "it calls itself: %s", strings.Join(append(slices.Clone(b.calls), name), " → "))
	}
	b.calls = append(b.calls, name)
	return func() { b.calls = b.calls[:len(b.calls)-1] }, nil
}

// callPlan adds the steps of another of the user's plans.
func (b *builder) callPlan(prefix, name string, needs []model.StepID) (model.StepID, error) {
	called, ok := b.in.Config.Plan(name)
	if !ok {
		return "", failure.New(failure.Invalid, "plan", name, "lifeboat.yaml has no plan of this name")
	}
	leave, err := b.enter("plan " + name)
	if err != nil {
		return "", err
	}
	defer leave()
	return b.custom(prefix, called, needs)
}

// callOperation adds the steps of an operation on an app. Operations of one plan on the same app follow each other in
// the order in which they are written, each from where the one before it leaves the app.
func (b *builder) callOperation(prefix string, s model.CustomStep, needs []model.StepID) (model.StepID, error) {
	app, ok := b.in.Config.App(s.App)
	if !ok {
		return "", failure.New(failure.Invalid, "plan", string(s.App), "lifeboat.yaml has no app of this name")
	}
	if b.drills > 0 && s.Operation != model.OpDrill {
		return "", failure.New(failure.Invalid, "plan step", s.Name, "a drill changes nothing that serves, and this is a %s of %s", s.Operation, s.App).
			WithHint("limit the hook with on: [failover, failback]")
	}
	leave, err := b.enter(operationName(s.App, s.Operation))
	if err != nil {
		return "", err
	}
	defer leave()
	inner, err := b.move(app, s.Operation, s.Mode, s.To)
	if err != nil {
		return "", err
	}
	end, err := b.operation(prefix, inner, append(slices.Clone(needs), b.moved[s.App]...))
	if err == nil {
		b.moved[s.App] = []model.StepID{end}
	}
	return end, err
}

// operationName is how an operation stands in a chain of calls: a move may not be part of another one of the same app.
func operationName(app model.AppID, op model.Operation) string {
	if op == model.OpDrill || op == model.OpProtect {
		return string(op) + " of " + string(app)
	}
	return "move of " + string(app)
}

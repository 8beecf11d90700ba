// Package plan derives the graph of steps that carries out an operation on an app.
//
// It is pure: from the configuration, the drivers' facts and where each app serves now, [Compile] makes a
// [model.Plan], the same one every time. It asks no site anything; what stands in the way of a plan is found by asking
// the drivers of its steps (driver.Driver.Check), which is the service's work. [Predict] says how long a plan would
// take, from the durations of earlier runs.
//
// The rules of the operations are in operation.go, those of users' own plans and hooks in custom.go.
package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Input is all that a plan is derived from.
type Input struct {
	Config  *model.Config
	Drivers *driver.Registry
	// Exactly one of App with Operation, and Custom, is set.
	App       model.AppID
	Operation model.Operation
	Mode      model.Mode
	To        model.SiteID // empty: the app's first recovery site, or home for a failback
	Custom    string
	// Payloads are what the StatePayload documents among the user's plans do, by the plan's name: all that Custom leads to.
	Payloads map[string][]model.PayloadWork
	// Resources are those to protect; empty: all. Of other operations it is empty.
	Resources []model.ResourceID
	// Prove is what a prove proves, in order; Restore what a restore restores. Of other operations they are empty.
	Prove   []Proving
	Restore *Restoring
	// Serving says where each app serves now. An app that is missing serves at home.
	Serving map[model.AppID]model.SiteID
}

// Proving is one proof.
type Proving struct {
	Resource model.ResourceID
	Spec     model.ProveSpec
}

// Restoring is one restore.
type Restoring struct {
	Resource model.ResourceID
	Spec     model.RestoreSpec
}

// Defaults of steps.
const (
	checkWithin     = 10 * time.Second
	releaseAttempts = 5
	stepAttempts    = 3
	fenceAttempts   = 2
)

// Compile derives the plan. Errors are failure.Invalid (or NotFound for an unknown app or plan) with a hint. The
// findings are what the user should know that is plain from the configuration alone.
func Compile(in Input) (*model.Plan, []model.Finding, error) {
	b := &builder{in: in, ids: map[model.StepID]bool{}, serving: map[model.AppID]model.SiteID{}, moved: map[model.AppID][]model.StepID{}}
	maps.Copy(b.serving, in.Serving)
	p := &model.Plan{Format: model.PlanFormat, Limits: in.Config.Limits, Operation: in.Operation, Mode: in.Mode}
	if in.Custom != "" {
		custom, ok := in.Config.Plan(in.Custom)
		if !ok {
			return nil, nil, failure.New(failure.NotFound, "plan", in.Custom, "lifeboat.yaml has no plan of this name").
				WithHint("plans: %s", strings.Join(planNames(in.Config), ", "))
		}
		p.Name, p.Operation = in.Custom, model.OpCustom
		if custom.Payload != nil {
			p.From, p.To = custom.Payload.Peer, custom.Payload.Site
		}
		b.calls = []string{"plan " + custom.Name}
		if _, err := b.custom("", custom, nil); err != nil {
			return nil, nil, err
		}
		p.Steps = b.steps
		if len(p.Steps) == 0 {
			return nil, nil, failure.New(failure.Invalid, "plan", in.Custom, "it has no steps")
		}
		return p, b.findings, nil
	}
	app, ok := in.Config.App(in.App)
	if !ok {
		return nil, nil, failure.New(failure.NotFound, "plan", string(in.App), "lifeboat.yaml has no app of this name").
			WithHint("apps: %s", strings.Join(appNames(in.Config), ", "))
	}
	for _, id := range in.Resources {
		if _, ok := app.Resource(id); !ok || in.Operation != model.OpProtect {
			return nil, nil, failure.New(failure.Invalid, string(in.Operation), string(app.ID), "resource %q cannot be picked out", id).
				WithHint("only protect takes single resources, and they must be the app's")
		}
	}
	b.calls = []string{operationName(app.ID, in.Operation)}
	move, err := b.move(app, in.Operation, in.Mode, in.To)
	if err != nil {
		return nil, nil, err
	}
	p.Name = string(in.Operation) + " " + string(app.ID)
	p.App, p.Mode, p.From, p.To = app.ID, move.mode, move.from, move.to
	p.Objective, p.Probe = app.Objective, app.Probe
	// Nobody need be asked about a drill, a recovery point or its proof: it is made again.
	switch in.Operation {
	case model.OpDrill, model.OpProtect, model.OpProve, model.OpRestore:
		p.GiveUp = true
	}
	if _, err := b.operation("", move, nil); err != nil {
		return nil, nil, err
	}
	p.Steps = b.steps
	if len(p.Steps) == 0 {
		return nil, nil, failure.New(failure.Invalid, string(in.Operation), string(app.ID), "none of its resources can take part").
			WithHint("each kind's documentation says which operations it knows")
	}
	return p, b.findings, nil
}

func planNames(c *model.Config) (names []string) {
	for _, p := range c.Plans {
		names = append(names, p.Name)
	}
	return names
}

func appNames(c *model.Config) (names []string) {
	for _, a := range c.Apps {
		names = append(names, string(a.ID))
	}
	return names
}

// builder collects steps; each is added after all it needs.
type builder struct {
	in       Input
	steps    []model.Step
	ids      map[model.StepID]bool
	findings []model.Finding

	calls   []string                       // the plans and operations that led here, outermost first
	drills  int                            // how many of these are drills
	serving map[model.AppID]model.SiteID   // where each app serves after the steps so far
	moved   map[model.AppID][]model.StepID // the end of the last operation on each app
}

// add puts a step into the plan. Its id is made unique; duplicates and empty entries in its needs are dropped.
func (b *builder) add(s model.Step) model.StepID {
	id := s.ID
	for n := 2; b.ids[s.ID]; n++ {
		s.ID = model.StepID(fmt.Sprintf("%s-%d", id, n))
	}
	b.ids[s.ID] = true
	s.Needs = clean(s.Needs)
	b.steps = append(b.steps, s)
	return s.ID
}

func clean(ids []model.StepID) []model.StepID {
	var out []model.StepID
	for _, id := range ids {
		if id != "" && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

func (b *builder) note(f model.Finding) {
	if !slices.Contains(b.findings, f) {
		b.findings = append(b.findings, f)
	}
}

// slug makes a name fit for an id.
func slug(name string) string {
	var out strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			out.WriteRune(r)
		case out.Len() > 0 && !strings.HasSuffix(out.String(), "-"):
			out.WriteByte('-')
		}
	}
	return strings.Trim(out.String(), "-")
}

// resourceStep fills in what follows from the resource's driver.
func (b *builder) resourceStep(m *move, r model.Resource, action model.Action, at, peer model.SiteID) (model.Step, driver.Driver, error) {
	d, err := b.in.Drivers.Get(r.Kind)
	if err != nil {
		return model.Step{}, nil, failure.Wrap(err, "plan", string(r.ID))
	}
	facts := driver.ActionOf(d, r, action)
	verb := facts.Verb
	if verb == "" {
		verb = strings.ReplaceAll(string(action), "-", " ")
	}
	outputs, err := driver.OutputsOf(d, r, action)
	if err != nil {
		return model.Step{}, nil, failure.Wrap(err, "plan", string(r.ID))
	}
	if len(outputs) == 0 {
		outputs = nil
	}
	timeout := r.Timeout.Std()
	if timeout == 0 {
		timeout = facts.Timeout
	}
	return model.Step{
		ID: m.id(string(r.ID) + "/" + string(action) + "@" + string(at)), Title: fmt.Sprintf("%s %s at %s", verb, r.ID, at),
		Effect: facts.Effect, Action: action, Kind: r.Kind, Resource: bare(r), Site: at, Peer: peer,
		Outputs: outputs, Destructive: facts.Destructive, Timeout: model.Duration(timeout),
		Attempts: stepAttempts, App: m.app.ID, Operation: m.op, Mode: m.mode,
	}, d, nil
}

// bare is the resource without what other steps are made of.
func bare(r model.Resource) model.Resource {
	r.Checks, r.Hooks, r.Needs = nil, nil, nil
	return r
}

// inputs resolves the references in the step's settings to the outputs of earlier steps. Steps that bring something
// up need all of them; others take those that are there.
func (b *builder) inputs(m *move, step *model.Step, all bool) ([]model.StepID, error) {
	refs := driver.Refs(step.Resource.Settings)
	for _, ref := range driver.Refs(step.Resource.Sites[step.Site]) {
		if !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	var needs []model.StepID
	for _, ref := range refs {
		in, err := b.input(m, ref)
		if err != nil && all {
			return nil, failure.Wrap(err, "plan", string(step.ID))
		}
		if err != nil {
			continue
		}
		step.Inputs = append(step.Inputs, in)
		needs = append(needs, in.Step)
	}
	return needs, nil
}

func (b *builder) input(m *move, ref string) (model.Input, error) {
	resource, output, ok := strings.Cut(ref, ".")
	if !ok {
		return model.Input{}, failure.New(failure.Invalid, "", "${"+ref+"}", "a reference is ${resource.output}")
	}
	provider, ok := m.serving[model.ResourceID(resource)]
	if !ok {
		return model.Input{}, failure.New(failure.Invalid, "", "${"+ref+"}", "no step of this %s brings %q up before it is used", m.op, resource).
			WithHint("name %s in needs, and check that its kind can take part in a %s", resource, m.op)
	}
	for _, s := range b.steps {
		if s.ID != provider {
			continue
		}
		if t, ok := s.Outputs[output]; ok {
			return model.Input{Ref: ref, Step: provider, Output: output, Type: t}, nil
		}
		return model.Input{}, failure.New(failure.Invalid, "", "${"+ref+"}", "%s leaves no output %q", provider, output).
			WithHint("its outputs: %s", strings.Join(slices.Sorted(maps.Keys(s.Outputs)), ", "))
	}
	return model.Input{}, failure.New(failure.Internal, "", string(provider), "the provider is no step")
}

// checkStep makes the step that asks a check's question.
func (b *builder) checkStep(m *move, prefix string, c model.Check, needs []model.StepID) (model.StepID, error) {
	d, err := b.in.Drivers.Get(c.Kind)
	if err != nil {
		return "", failure.Wrap(err, "plan check", c.Name)
	}
	if !driver.Can(d, model.ActionVerify) {
		return "", failure.New(failure.Invalid, "plan check", c.Name, "kind %s asks no questions", c.Kind)
	}
	within := c.Within.Std()
	if within == 0 {
		within = checkWithin
	}
	step := model.Step{
		ID: m.id(prefix + "check/" + slug(c.Name)), Title: "check: " + c.Name, Action: model.ActionVerify, Kind: c.Kind,
		Resource: model.Resource{ID: model.ResourceID(c.Name), App: m.app.ID, Kind: c.Kind, Settings: c.Settings},
		Site:     m.to, Peer: m.from, Timeout: model.Duration(within), Attempts: 1,
		App: m.app.ID, Operation: m.op, Mode: m.mode,
	}
	inputs, err := b.inputs(m, &step, true)
	if err != nil {
		return "", err
	}
	if m.op == model.OpDrill && len(step.Inputs) == 0 {
		b.note(model.Finding{Severity: model.Warn, Code: "check-outside-drill", Step: step.ID,
			What: fmt.Sprintf("check %q names no output of the drilled copy, so it asks whatever answers at its address", c.Name),
			Why:  "a drill that checks the serving copy proves nothing",
			Fix:  "refer to the copy, as in ${RESOURCE.endpoint}, or leave the check out with on: [failover, failback]"})
	}
	step.Needs = append(slices.Clone(needs), inputs...)
	return b.add(step), nil
}

// in says whether an operation is among those listed; an empty list is all.
func inOps(on []model.Operation, op model.Operation) bool {
	return len(on) == 0 || slices.Contains(on, op)
}

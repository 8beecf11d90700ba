package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// move is one operation on one app while its steps are made.
type move struct {
	app      model.App
	op       model.Operation
	mode     model.Mode
	from, to model.SiteID
	prefix   string

	gate    []model.StepID                      // what every step of the outage needs: approvals and preparations
	serving map[model.ResourceID]model.StepID   // the step that brings a resource up at to
	up      map[model.ResourceID][]model.StepID // what those that need the resource wait for
	checked map[model.ResourceID][]model.StepID // up, and its checks passed
	fences  []model.StepID                      // of all that holds data
	last    map[model.ResourceID][]model.StepID // what stops a resource at from: quiesce or fence, with their hooks
}

func (m *move) id(rest string) model.StepID { return model.StepID(m.prefix + rest) }

func newMove(app model.App, op model.Operation, mode model.Mode, from, to model.SiteID) *move {
	return &move{
		app: app, op: op, mode: mode, to: to, from: from,
		serving: map[model.ResourceID]model.StepID{}, up: map[model.ResourceID][]model.StepID{},
		checked: map[model.ResourceID][]model.StepID{}, last: map[model.ResourceID][]model.StepID{},
	}
}

// move works out where an operation leads.
func (b *builder) move(app model.App, op model.Operation, mode model.Mode, to model.SiteID) (*move, error) {
	m := newMove(app, op, mode, app.Home, to)
	if s := b.serving[app.ID]; s != "" {
		m.from = s
	}
	invalid := func(hint, format string, args ...any) error {
		return failure.New(failure.Invalid, string(op), string(app.ID), format, args...).WithHint("%s", hint)
	}
	if mode != "" && mode != model.Planned && mode != model.Unplanned {
		return nil, invalid("modes: planned, unplanned", "%q is no mode", mode)
	}
	switch op {
	case model.OpFailover, model.OpDrill:
		if m.to == "" {
			i := slices.IndexFunc(app.Recovery, func(s model.SiteID) bool { return s != m.from })
			if i < 0 {
				hint := "to move it home: lifeboat failback " + string(app.ID)
				if op == model.OpDrill {
					hint = fmt.Sprintf("to drill at home: lifeboat drill %s --to %s", app.ID, app.Home)
				}
				return nil, invalid(hint, "it serves at %s, and there is no other recovery site", m.from)
			}
			m.to = app.Recovery[i]
		}
		if op == model.OpDrill {
			m.mode = model.Planned
		}
	case model.OpFailback:
		if m.to == "" {
			m.to = app.Home
		}
		if m.mode == model.Unplanned {
			return nil, invalid("lifeboat failover "+string(app.ID)+" --to "+string(m.to)+" --unplanned", "a failback is planned: it needs both sites")
		}
		m.mode = model.Planned
	case model.OpProve, model.OpRestore:
		if m.mode != "" {
			return nil, invalid("leave the mode out", "nothing moves")
		}
		if i := slices.IndexFunc(app.Recovery, func(s model.SiteID) bool { return s != m.from }); m.to == "" && i >= 0 {
			m.to = app.Recovery[i]
		} else if m.to == "" {
			m.to = app.Home
		}
		if m.to != app.Home && !slices.Contains(app.Recovery, m.to) {
			return nil, invalid(fmt.Sprintf("its sites: %s, %v", app.Home, app.Recovery), "%q is not one of its sites", m.to)
		}
		return m, nil
	case model.OpProtect:
		if m.to != "" || m.mode != "" {
			return nil, invalid("leave the site and the mode out", "points are made where it serves")
		}
		m.to = m.from
		return m, nil
	default:
		return nil, invalid("operations: protect, prove, restore, failover, failback, drill", "%q is no operation on an app", op)
	}
	if m.mode == "" {
		m.mode = model.Planned
	}
	for _, site := range []model.SiteID{m.to, m.from} {
		if site != app.Home && !slices.Contains(app.Recovery, site) {
			return nil, invalid(fmt.Sprintf("its sites: %s, %v", app.Home, app.Recovery), "%q is not one of its sites", site)
		}
	}
	if m.to == m.from {
		return nil, invalid("lifeboat status "+string(app.ID), "it serves at %s already", m.to)
	}
	return m, nil
}

// operation adds the steps of a move after needs, and returns the step that ends it.
func (b *builder) operation(prefix string, m *move, needs []model.StepID) (model.StepID, error) {
	m.prefix = prefix
	m.gate = needs
	switch m.op {
	case model.OpDrill:
		return b.drill(m)
	case model.OpProtect:
		return b.protect(m)
	case model.OpProve:
		return b.prove(m)
	case model.OpRestore:
		return b.restore(m)
	}
	if err := b.prepareAndApprove(m); err != nil {
		return "", err
	}
	outage := len(b.steps)
	if m.mode == model.Planned {
		if err := b.quiesce(m); err != nil {
			return "", err
		}
	}
	if err := b.fence(m); err != nil {
		return "", err
	}
	early, late, err := b.trafficLast(m.app.Resources)
	if err != nil {
		return "", err
	}
	for _, r := range append(early, late...) {
		if err := b.bringUp(m, r); err != nil {
			return "", err
		}
	}
	end, err := b.checkApp(m)
	if err != nil {
		return "", err
	}
	b.markOutage(outage)
	if m.mode == model.Planned {
		protected, err := b.reverse(m, m.from, m.to, end)
		if err != nil {
			return "", err
		}
		end = append(end, protected...)
	}
	b.serving[m.app.ID] = m.to
	return b.join(m, end), nil
}

// join ends a sub-plan, so that its caller's later steps need one step only. The outermost operation has none.
func (b *builder) join(m *move, ends []model.StepID) model.StepID {
	if m.prefix == "" {
		return ""
	}
	return b.add(model.Step{ID: m.id("done"), Title: fmt.Sprintf("%s of %s is complete", m.op, m.app.ID), Action: model.ActionJoin,
		Needs: ends, App: m.app.ID, Operation: m.op, Mode: m.mode})
}

// prepareAndApprove puts the approval between the preparation and the outage, so that people decide when everything is
// ready; but before a preparation that destroys something: rule 2.
func (b *builder) prepareAndApprove(m *move) error {
	if m.op != model.OpFailback {
		b.approve(m)
		return nil
	}
	if err := b.mustApprove(m); err != nil {
		return err
	}
	destroys := false
	for _, r := range m.app.Resources {
		d, err := b.in.Drivers.Get(r.Kind)
		if err != nil {
			return failure.Wrap(err, "plan", string(r.ID))
		}
		destroys = destroys || slices.Contains(d.Facts().Destructive, model.ActionReverse)
	}
	if destroys {
		b.approve(m)
	}
	if err := b.prepare(m); err != nil {
		return err
	}
	if !destroys {
		b.approve(m)
	}
	return nil
}

// mustApprove asks for one person's approval, when the app asks for none, of a failback that re-protects by deleting what
// cannot be made again: rule 2.
func (b *builder) mustApprove(m *move) error {
	if m.app.Approvals[m.op] > 0 {
		return nil
	}
	for _, r := range m.app.Resources {
		d, err := b.in.Drivers.Get(r.Kind)
		if err != nil {
			return failure.Wrap(err, "plan", string(r.ID))
		}
		if bringsUp(d) != "" && slices.Contains(d.Facts().Approved, model.ActionReverse) {
			m.app.Approvals = map[model.Operation]int{m.op: 1}
			return nil
		}
	}
	return nil
}

// prepare makes the copies at the target follow, before anybody waits: what takes long happens while clients are
// served. A failover relies on a standby that is there; a failback builds it if it must.
func (b *builder) prepare(m *move) error {
	ready, err := b.reverse(m, m.to, m.from, m.gate)
	if err != nil {
		return err
	}
	if len(ready) > 0 {
		m.gate = ready
	}
	return nil
}

// trafficLast puts what moves traffic, and what needs that, after the rest: clients are sent to an app that is up.
func (b *builder) trafficLast(all []model.Resource) (early, late []model.Resource, err error) {
	isLate := map[model.ResourceID]bool{}
	for _, r := range all {
		d, err := b.in.Drivers.Get(r.Kind)
		if err != nil {
			return nil, nil, failure.Wrap(err, "plan", string(r.ID))
		}
		if bringsUp(d) == model.ActionRedirect || slices.ContainsFunc(r.Needs, func(n model.ResourceID) bool { return isLate[n] }) {
			isLate[r.ID] = true
			late = append(late, r)
			continue
		}
		early = append(early, r)
	}
	return early, late, nil
}

// bringsUp is the action that makes a resource of d's kind serve at another site, or "" when it has none.
func bringsUp(d driver.Driver) model.Action {
	switch {
	case driver.Can(d, model.ActionPromote):
		return model.ActionPromote
	case driver.Can(d, model.ActionRedirect):
		return model.ActionRedirect
	}
	return ""
}

// reverse makes what follows at site follow peer. A resource that no step moves away from site stays as it is: there
// its only copy serves.
func (b *builder) reverse(m *move, site, peer model.SiteID, needs []model.StepID) ([]model.StepID, error) {
	var out []model.StepID
	for _, r := range m.app.Resources {
		step, d, err := b.resourceStep(m, r, model.ActionReverse, site, peer)
		if err != nil {
			return nil, err
		}
		if !driver.Can(d, model.ActionReverse) || bringsUp(d) == "" {
			continue
		}
		step.Needs, step.Prepare = slices.Clone(needs), site == m.to
		id, err := b.withHooks(m, r, step)
		if err != nil {
			return nil, err
		}
		out = append(out, id...)
	}
	return out, nil
}

func (b *builder) approve(m *move) {
	n := m.app.Approvals[m.op]
	if n == 0 {
		return
	}
	people := "one person"
	if n > 1 {
		people = fmt.Sprintf("%d people", n)
	}
	id := b.add(model.Step{ID: m.id("approve"), Title: fmt.Sprintf("%s approve the %s of %s to %s", people, m.op, m.app.ID, m.to),
		Action: model.ActionApprove, Approvals: n, Needs: m.gate, App: m.app.ID, Operation: m.op, Mode: m.mode})
	m.gate = []model.StepID{id}
}

// quiesce stops work at the old site from the outside in: what depends on a resource stops before it does.
func (b *builder) quiesce(m *move) error {
	for _, r := range slices.Backward(m.app.Resources) {
		var dependents []model.StepID
		for _, o := range m.app.Resources {
			if slices.Contains(o.Needs, r.ID) {
				dependents = append(dependents, m.last[o.ID]...)
			}
		}
		step, d, err := b.resourceStep(m, r, model.ActionQuiesce, m.from, m.to)
		if err != nil {
			return err
		}
		if !driver.Can(d, model.ActionQuiesce) {
			m.last[r.ID] = clean(dependents) // what it needs waits for them all the same
			continue
		}
		step.Needs = append(slices.Clone(m.gate), dependents...)
		if m.last[r.ID], err = b.withHooks(m, r, step); err != nil {
			return err
		}
	}
	return nil
}

// fence proves that no old copy of data takes writes: rule 1. Traffic waits for all of these. A kind that holds data
// and has no fence gets the step all the same: it fails, and a person accepts the absence of the proof in writing.
func (b *builder) fence(m *move) error {
	for _, r := range m.app.Resources {
		step, d, err := b.resourceStep(m, r, model.ActionFence, m.from, m.to)
		if err != nil {
			return err
		}
		if !d.Facts().Stateful {
			continue
		}
		step.Needs = append(slices.Clone(m.gate), m.last[r.ID]...)
		step.Waiver, step.Attempts = model.Unfenced, fenceAttempts
		canFence := driver.Can(d, model.ActionFence)
		if !canFence {
			step.Effect = "nothing: kind " + string(r.Kind) + " has no fence, so a person has to accept that in writing"
		}
		ids, err := b.withHooks(m, r, step)
		if err != nil {
			return err
		}
		if !canFence {
			b.note(model.Finding{Severity: model.Block, Code: "no-fence", Resource: r.ID, Site: m.from, Step: ids[0],
				What: fmt.Sprintf("kind %s holds data and cannot be fenced", r.Kind),
				Why:  "if the old copy still takes writes, they are lost or the data splits"})
		}
		m.fences = append(m.fences, ids...)
		m.last[r.ID] = ids
	}
	return nil
}

// bringUp makes a resource serve at the new site and asks its checks.
func (b *builder) bringUp(m *move, r model.Resource) error {
	needs := append(slices.Clone(m.gate), m.last[r.ID]...)
	for _, n := range r.Needs {
		needs = append(needs, m.up[n]...)
	}
	d, err := b.in.Drivers.Get(r.Kind)
	if err != nil {
		return failure.Wrap(err, "plan", string(r.ID))
	}
	action := bringsUp(d)
	switch action {
	case model.ActionRedirect:
		needs = append(needs, m.fences...) // rule 1
		for _, o := range m.app.Resources {
			needs = append(needs, m.checked[o.ID]...)
		}
	case "":
		m.up[r.ID], m.checked[r.ID] = clean(needs), clean(needs)
		f := model.Finding{Severity: model.Warn, Code: "not-moved", Resource: r.ID, Site: m.to,
			What: fmt.Sprintf("kind %s cannot be brought up at another site", r.Kind), Why: "it stays where it is"}
		if d.Facts().Stateful {
			f.Severity, f.Why = model.Block, "it is fenced where it is, and nothing takes its place"
		}
		b.note(f)
		return nil
	}
	return b.up(m, r, action, needs)
}

// up adds the step that brings r up, its hooks, its marker and its checks.
func (b *builder) up(m *move, r model.Resource, action model.Action, needs []model.StepID) error {
	step, d, err := b.resourceStep(m, r, action, m.to, m.from)
	if err != nil {
		return err
	}
	inputs, err := b.inputs(m, &step, true)
	if err != nil {
		return err
	}
	step.Needs = append(needs, inputs...)
	ids, err := b.withHooks(m, r, step)
	if err != nil {
		return err
	}
	m.serving[r.ID], m.up[r.ID] = ids[0], ids
	m.checked[r.ID] = slices.Clone(ids)
	if driver.Can(d, model.ActionReadMarker) {
		if err := b.marker(m, r, ids); err != nil {
			return err
		}
	}
	for _, c := range r.Checks {
		if !inOps(c.On, m.op) {
			continue
		}
		id, err := b.checkStep(m, string(r.ID)+"/", c, ids)
		if err != nil {
			return err
		}
		m.checked[r.ID] = append(m.checked[r.ID], id)
	}
	return nil
}

// marker reads the marker in the copy that was brought up: the measured RPO. Nothing waits for it but the end.
func (b *builder) marker(m *move, r model.Resource, needs []model.StepID) error {
	step, _, err := b.resourceStep(m, r, model.ActionReadMarker, m.to, m.from)
	if err != nil {
		return err
	}
	step.Needs, step.Attempts, step.Advisory = needs, 1, true
	for name, t := range b.outputsOf(m.serving[r.ID]) {
		step.Inputs = append(step.Inputs, model.Input{Ref: string(r.ID) + "." + name, Step: m.serving[r.ID], Output: name, Type: t})
	}
	slices.SortFunc(step.Inputs, func(a, b model.Input) int { return strings.Compare(a.Ref, b.Ref) })
	b.add(step)
	return nil
}

func (b *builder) outputsOf(id model.StepID) map[string]model.ValueType {
	for _, s := range b.steps {
		if s.ID == id {
			return s.Outputs
		}
	}
	return nil
}

// checkApp asks the app's own checks once everything is up, then what a client asks.
func (b *builder) checkApp(m *move) ([]model.StepID, error) {
	var needs []model.StepID
	for _, r := range m.app.Resources {
		needs = append(needs, m.checked[r.ID]...)
	}
	ends := clean(needs)
	all := m.app.Checks
	if m.app.Probe != nil && m.op != model.OpDrill {
		probe := *m.app.Probe
		probe.Name, probe.On = "clients are served", nil
		all = append(slices.Clone(all), probe)
	}
	for _, c := range all {
		if !inOps(c.On, m.op) {
			continue
		}
		id, err := b.checkStep(m, "", c, clean(needs))
		if err != nil {
			return nil, err
		}
		ends = append(ends, id)
	}
	return ends, nil
}

// markOutage marks the steps from index first on that clients wait for: in a planned move from the first that stops
// something, in an unplanned one all, up to the checks of the app.
func (b *builder) markOutage(first int) {
	for i := range b.steps[first:] {
		s := &b.steps[first+i]
		switch s.Action {
		case model.ActionQuiesce, model.ActionFence, model.ActionPromote, model.ActionRedirect, model.ActionVerify, model.ActionRun:
			s.Outage = true
		}
	}
}

// drill brings up an isolated copy of everything that can be drilled, checks it, and removes it whatever happens.
func (b *builder) drill(m *move) (model.StepID, error) {
	b.drills++
	defer func() { b.drills-- }()
	b.approve(m)
	first := len(b.steps)
	var drilled []model.Resource
	for _, r := range m.app.Resources {
		d, err := b.in.Drivers.Get(r.Kind)
		if err != nil {
			return "", failure.Wrap(err, "plan", string(r.ID))
		}
		needs := slices.Clone(m.gate)
		for _, n := range r.Needs {
			needs = append(needs, m.up[n]...)
		}
		if !driver.Can(d, model.ActionDrill) {
			m.up[r.ID], m.checked[r.ID] = clean(needs), clean(needs)
			if driver.Can(d, model.ActionPromote) {
				b.note(model.Finding{Severity: model.Warn, Code: "not-drilled", Resource: r.ID, Site: m.to,
					What: fmt.Sprintf("kind %s cannot be drilled", r.Kind), Why: "the drill proves nothing about it"})
			}
			continue
		}
		if err := b.up(m, r, model.ActionDrill, needs); err != nil {
			return "", err
		}
		drilled = append(drilled, r)
	}
	if len(drilled) == 0 {
		return "", failure.New(failure.Invalid, "drill", string(m.app.ID), "none of its resources can be drilled").
			WithHint("kinds that hold data, such as postgres, can")
	}
	if _, err := b.checkApp(m); err != nil {
		return "", err
	}
	var all []model.StepID // of this drill so far: a release waits for whatever may still use the copy
	for _, s := range b.steps[first:] {
		all = append(all, s.ID)
	}
	var released []model.StepID
	for _, r := range slices.Backward(drilled) {
		step, _, err := b.resourceStep(m, r, model.ActionRelease, m.to, m.from)
		if err != nil {
			return "", err
		}
		step.Needs = append(slices.Clone(all), released...)
		step.When, step.Releases, step.Attempts = model.Always, m.serving[r.ID], releaseAttempts
		step.Title = fmt.Sprintf("release the drilled %s at %s", r.ID, m.to)
		released = append(released, b.add(step))
	}
	return b.join(m, append(all, released...)), nil
}

// protect makes a recovery point of each resource that has any, where the app serves; then brings second copies up to
// date, and last removes what need not be kept: never before what replaces it is there.
func (b *builder) protect(m *move) (model.StepID, error) {
	var ends []model.StepID
	for _, r := range m.app.Resources {
		if len(b.in.Resources) > 0 && !slices.Contains(b.in.Resources, r.ID) {
			continue
		}
		d, err := b.in.Drivers.Get(r.Kind)
		if err != nil {
			return "", failure.Wrap(err, "plan", string(r.ID))
		}
		needs := m.gate
		for _, a := range pointActions(d, r) {
			step, _, err := b.resourceStep(m, r, a, m.from, "")
			if err != nil {
				return "", err
			}
			step.Needs = needs
			if needs, err = b.withHooks(m, r, step); err != nil {
				return "", err
			}
		}
		ends = append(ends, needs...)
	}
	return b.join(m, ends), nil
}

// pointActions are what keeps a resource's recovery points, in order.
func pointActions(d driver.Driver, r model.Resource) []model.Action {
	if !driver.KeepsPoints(d, r) {
		return nil
	}
	actions := []model.Action{model.ActionCapture}
	if driver.Can(d, model.ActionCopy) && (r.Vault == nil || len(r.Vault.Replicas) > 0) {
		actions = append(actions, model.ActionCopy)
	}
	if driver.Can(d, model.ActionExpire) && r.Points != nil && r.Points.Keep != nil {
		actions = append(actions, model.ActionExpire)
	}
	return actions
}

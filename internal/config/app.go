package config

import (
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// defaultWithin is how long a check is asked again when it does not say.
const defaultWithin = model.Duration(10 * time.Second)

// appChecker checks one app.
type appChecker struct {
	*checker
	doc   appDoc
	where *where
	sites []string // home and recovery sites
	sure  bool     // whether home and recovery had no problem
	order []string // the names of the resources, in the order of the file
	built map[string]builtResource

	proves bool // some resource's points can be proved
}

// builtResource is a resource as far as it could be made.
type builtResource struct {
	resource model.Resource
	driver   driver.Driver // nil when the kind is wrong
	sound    bool          // its own settings have no problem
	outputs  map[model.Action]map[string]model.ValueType
}

func (c *checker) app(id string, d appDoc) model.App {
	a := &appChecker{checker: c, doc: d, where: &where{what: "app " + quote(id)}, built: map[string]builtResource{}}
	app := model.App{ID: model.AppID(id), Home: model.SiteID(d.Home), Objective: model.Objective{RTO: d.Objective.RTO, RPO: d.Objective.RPO}}
	before := len(c.p.list)
	a.home(&app)
	a.sure = len(c.p.list) == before && d.Home != "" && len(d.Recovery) > 0
	app.Protect = a.protection()
	app.Probe = a.probe()
	app.Approvals = a.approvals()
	for _, f := range fieldsOf(d.Node.get("resources")) {
		a.id(f.key, f.at, "resource")
		if r := d.Resources[f.key]; r.Node != nil {
			a.order = append(a.order, f.key)
		}
	}
	if n := d.Node.get("resources"); n != nil && n.kind == mapping && len(n.fields) == 0 {
		c.p.add(d.Node.place("resources"), "", "%s has no resources", a.where)
	}
	for _, name := range a.order {
		a.built[name] = a.resource(id, name, d.Resources[name])
	}
	a.needCycles()
	for _, name := range a.sorted() {
		r := a.built[name].resource
		a.resourceReferences(name)
		r.Checks = a.checks(d.Resources[name].Node, d.Resources[name].Checks, a.resourceWhere(name), a.reach(name, true))
		r.Hooks = a.hooks(name)
		app.Resources = append(app.Resources, r)
	}
	app.Checks = a.checks(d.Node, d.Checks, a.where, scope{names: a.order, in: a.where.String()})
	a.markers()
	a.provers()
	return app
}

func fieldsOf(n *node) []field {
	if n == nil {
		return nil
	}
	return n.fields
}

// home checks the sites of the app.
func (a *appChecker) home(app *model.App) {
	names := a.siteNames()
	if a.doc.Home != "" && a.known(a.doc.Home, a.doc.Node.place("home"), "site", names) {
		a.sites = append(a.sites, a.doc.Home)
	}
	a.each(a.doc.Node, "recovery", func(site string, at pos) {
		switch {
		case site == a.doc.Home:
			a.p.add(at, "name a site that does not fail together with it", "the home site %s cannot be a recovery site", quote(site))
		case a.known(site, at, "site", names):
			a.sites = append(a.sites, site)
		}
		app.Recovery = append(app.Recovery, model.SiteID(site))
	})
	if n := a.doc.Node.get("home"); n != nil && n.kind == text && n.text == "" {
		a.p.add(n.at, "", "the home of %s is empty", a.where)
	}
	if rto := a.doc.Objective.RTO; rto != nil && *rto == 0 {
		if n := a.doc.Node.get("objective").get("rto"); n != nil && n.kind == text && isZeroDuration(n.text) {
			a.p.add(n.at, "leave it out if there is no objective", "an RTO of zero cannot be met: every move takes time")
		}
	}
}

func (a *appChecker) protection() model.Protection {
	n := a.doc.Node.get("protect")
	a.positive(n, "marker", a.doc.Protect.Marker)
	a.positive(n, "probe", a.doc.Protect.Probe)
	if n.get("probe") != nil && a.doc.Node.get("probe") == nil {
		a.p.add(n.place("probe"), "add a probe to the app, or remove the interval", "%s has no probe to be asked at an interval", a.where)
	}
	a.policy(n, a.doc.Protect.pointsDoc)
	return model.Protection{Marker: a.doc.Protect.Marker, Probe: a.doc.Protect.Probe}
}

// markers reports an interval for markers that nothing can take.
func (a *appChecker) markers() {
	n := a.doc.Node.get("protect")
	if n.get("marker") == nil {
		return
	}
	for _, r := range a.built {
		if r.driver == nil {
			return
		}
		if _, ok := driver.As[driver.MarkerWriter](r.driver); ok {
			return
		}
	}
	a.p.add(n.place("marker"), "remove it: the RPO of this app cannot be measured by markers", "no resource of %s can hold a marker", a.where)
}

func (a *appChecker) probe() *model.Check {
	d := a.doc.Probe
	if d == nil || d.Node == nil {
		return nil
	}
	w := a.where.sub("the probe")
	a.title(d.Node, w)
	check := &model.Check{Name: d.Name, Kind: model.Kind(d.Kind)}
	if check.Name == "" {
		check.Name = "probe"
	}
	if dr := a.driver(d.Node, "be asked at any time", canAsk); dr != nil {
		check.Settings, _ = a.settings(d.Node, d.Settings, dr.Facts().Settings, w)
	}
	a.references(d.Settings, scope{in: w.String(), why: "a probe is asked at any time, as a client asks, and knows no outputs"})
	return check
}

func (a *appChecker) approvals() map[model.Operation]int {
	out := map[model.Operation]int{}
	for _, f := range fieldsOf(a.doc.Node.get("approvals")) {
		if a.known(f.key, f.at, "operation", operations) && f.value.kind == number && strings.HasPrefix(f.value.text, "-") {
			a.p.add(f.value.at, "", "approvals must be at least 0")
		}
		out[model.Operation(f.key)] = a.doc.Approvals[f.key]
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func (a *appChecker) resourceWhere(name string) *where { return a.where.sub("resource " + quote(name)) }

// resource checks what a resource is by itself; references, checks and hooks follow when all are known.
func (a *appChecker) resource(app, name string, d resourceDoc) builtResource {
	w := a.resourceWhere(name)
	r := model.Resource{ID: model.ResourceID(name), App: model.AppID(app), Kind: model.Kind(d.Kind), Timeout: d.Timeout}
	a.positive(d.Node, "timeout", d.Timeout)
	a.each(d.Node, "needs", func(need string, at pos) {
		if need == name {
			a.p.add(at, "", "%s needs itself", w)
		} else if a.known(need, at, "resource", keys(a.doc.Resources)) {
			r.Needs = append(r.Needs, model.ResourceID(need))
		}
	})
	built := builtResource{resource: r}
	if built.driver = a.driver(d.Node, "be a resource: no operation does anything to it", canRecover); built.driver == nil {
		return built
	}
	before := len(a.p.list)
	facts := built.driver.Facts()
	built.resource.Settings, _ = a.settings(d.Node, d.Settings, facts.Settings, w)
	built.resource.Sites = a.resourceSites(d, facts, w)
	a.points(d, &built.resource, built.driver, w)
	if v, ok := driver.As[driver.ResourceValidator](built.driver); ok && len(a.p.list) == before {
		if err := v.ValidateResource(built.resource); err != nil {
			a.validatorProblems(err, d.Node, w)
		}
	}
	built.sound = len(a.p.list) == before
	if built.sound {
		a.owned(built, d.Node, w)
		built.outputs = a.outputs(built, d)
	}
	return built
}

// owned reports what another resource is already.
func (a *appChecker) owned(built builtResource, n *node, w *where) {
	owner, ok := driver.As[driver.Owner](built.driver)
	if !ok {
		return
	}
	for _, thing := range owner.Owns(built.resource) {
		if first, taken := a.owners[thing]; taken {
			a.p.add(n.head, "remove one of the two, or name another thing: each would move what is the other's", "%s is what %s is already: %s", w, first, thing)
			return
		}
		a.owners[thing] = w
	}
}

func (a *appChecker) resourceSites(d resourceDoc, facts driver.Facts, w *where) map[model.SiteID]jsonText {
	n := d.Node.get("sites")
	out := map[model.SiteID]jsonText{}
	for _, f := range fieldsOf(n) {
		switch {
		case !slices.Contains(a.siteNames(), f.key):
			a.known(f.key, f.at, "site", a.siteNames())
		case a.sure && !slices.Contains(a.sites, f.key):
			a.p.add(f.at, "add it to the app's recovery sites, or remove it", "site %s is no site of %s", quote(f.key), a.where)
		}
		at := w.sub("site " + quote(f.key))
		if f.value.kind == null {
			a.p.add(f.at, "write {} if there is nothing to say", "%s has no value", at)
			continue
		}
		if facts.Site == nil {
			a.p.add(f.at, "put them under settings", "the kind %s takes no settings at a site", quote(string(facts.Kind)))
			continue
		}
		said, ok := a.withShared(f.value, f.key, facts.Shared)
		if !ok {
			continue
		}
		settings, _ := a.bindSettings(said, facts.Site, at)
		out[model.SiteID(f.key)] = settings
	}
	if facts.Site == nil {
		return nil
	}
	for _, site := range a.sites {
		if n.get(site) == nil && (n == nil || n.kind == mapping) {
			at := d.Node.head
			if n != nil {
				at = n.head
			}
			a.p.add(at, "add "+site+" under sites, with {} if there is nothing to say", "%s has no settings for site %s", w, quote(site))
		}
	}
	return out
}

// withShared adds to a resource's settings at a site what the site says for all resources of the kind's family, unless
// the resource says it itself. It is false when the site said it with mistakes, which have been reported.
func (a *appChecker) withShared(n *node, site string, shared map[string]any) (*node, bool) {
	if n.kind != mapping || len(shared) == 0 {
		return n, true
	}
	out := *n
	out.fields = slices.Clone(n.fields)
	for _, f := range fieldsOf(a.checker.doc.Node.get("sites").get(site)) {
		if shared[f.key] == nil || n.get(f.key) != nil {
			continue
		}
		if a.unsound[f.value] {
			return nil, false
		}
		out.fields = append(out.fields, f)
	}
	return &out, true
}

// outputs asks the driver which outputs the resource's steps leave.
func (a *appChecker) outputs(b builtResource, d resourceDoc) map[model.Action]map[string]model.ValueType {
	out := map[model.Action]map[string]model.ValueType{}
	for _, action := range actions {
		if !driver.Can(b.driver, action) {
			continue
		}
		o, err := driver.OutputsOf(b.driver, b.resource, action)
		if err != nil {
			at := d.Node.head
			if n := d.Node.get("sites"); n != nil {
				at = n.head
			}
			a.fieldProblem(err, d.Node, at, a.resourceWhere(string(b.resource.ID)))
			return nil
		}
		out[action] = o
	}
	return out
}

// needCycles reports each circle of needs once.
func (a *appChecker) needCycles() {
	edges := map[string][]string{}
	for _, name := range a.order {
		for _, n := range a.built[name].resource.Needs {
			edges[name] = append(edges[name], string(n))
		}
	}
	for _, circle := range circles(a.order, edges) {
		at := itemAt(a.doc.Resources[circle[0]].Node.get("needs"), circle[1])
		a.p.add(at, "remove one of these needs", "the needs of resources go round in a circle: %s", strings.Join(circle, " -> "))
	}
}

func itemAt(l *node, word string) pos {
	for _, item := range l.items {
		if item.text == word {
			return item.at
		}
	}
	return l.at
}

// sorted puts each resource after what it needs, keeping the order of the file otherwise. Those in a circle are last.
func (a *appChecker) sorted() []string {
	var out []string
	left := slices.Clone(a.order)
	for len(left) > 0 {
		i := slices.IndexFunc(left, func(name string) bool {
			return !slices.ContainsFunc(a.built[name].resource.Needs, func(n model.ResourceID) bool {
				return !slices.Contains(out, string(n))
			})
		})
		if i < 0 {
			return append(out, left...)
		}
		out = append(out, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return out
}

func (a *appChecker) checks(n *node, docs []checkDoc, w *where, s scope) []model.Check {
	var out []model.Check
	names := newNames(a.checker)
	for _, d := range docs {
		if d.Node == nil {
			continue
		}
		at := w.sub(called("check", d.Name))
		a.title(d.Node, at)
		names.add(d.Node, d.Name)
		a.positive(d.Node, "within", d.Within)
		check := model.Check{Name: d.Name, Kind: model.Kind(d.Kind), Within: d.Within, On: a.operations(d.Node, "on", operations)}
		if check.Within == 0 {
			check.Within = defaultWithin
		}
		if dr := a.driver(d.Node, "verify anything", canVerify); dr != nil {
			check.Settings, _ = a.settings(d.Node, d.Settings, dr.Facts().Settings, at)
		}
		s.in = at.String()
		a.references(d.Settings, s)
		out = append(out, check)
	}
	return out
}

func (a *appChecker) hooks(name string) []model.Hook {
	var out []model.Hook
	d := a.doc.Resources[name]
	names := newNames(a.checker)
	for _, h := range d.Hooks {
		if h.Node == nil {
			continue
		}
		w := a.resourceWhere(name).sub("a hook")
		hook := model.Hook{Before: model.Action(h.Before), After: model.Action(h.After), On: a.operations(h.Node, "on", runs)}
		before, after := h.Node.get("before"), h.Node.get("after")
		switch {
		case before == nil && after == nil:
			a.p.add(h.Node.at, "name an action of the resource, as in after: promote", "%s has neither before nor after", w)
		case before != nil && after != nil:
			a.p.add(after.at, "write two hooks", "%s has both before and after", w)
		case before != nil:
			a.hookAction(before, name)
		default:
			a.hookAction(after, name)
		}
		if h.Step.Node != nil {
			at := w.sub(called("step", h.Step.Name))
			a.title(h.Step.Node, at)
			names.add(h.Step.Node, h.Step.Name)
			s := a.reach(name, false)
			if after != nil && before == nil {
				s.own, s.ownAction = name, model.Action(h.After)
			}
			s.in = at.String()
			hook.Step = a.work(h.Step.Node, h.Step.Work, at, s)
			hook.Step.Name = h.Step.Name
		}
		out = append(out, hook)
	}
	return out
}

// hookable are the actions around which a plan puts hooks.
var hookable = []model.Action{model.ActionFence, model.ActionQuiesce, model.ActionPromote, model.ActionReverse,
	model.ActionRedirect, model.ActionDrill, model.ActionCapture, model.ActionRestore}

func (a *appChecker) hookAction(n *node, name string) {
	d := a.built[name].driver
	if d == nil || n.kind != text {
		return
	}
	var can []string
	for _, action := range hookable {
		if driver.Can(d, action) {
			can = append(can, string(action))
		}
	}
	if slices.Contains(can, n.text) {
		return
	}
	hint := didYouMean(n.text, can)
	if slices.Contains(actions, model.Action(n.text)) {
		a.p.add(n.at, "its actions: "+strings.Join(can, ", "), "no operation does %s to a resource of kind %s", quote(n.text), d.Facts().Kind)
		return
	}
	a.p.add(n.at, hint, "unknown action %s", quote(n.text))
}

package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/model"
)

// names finds names that plans could not tell apart: ids of steps are made of a name's letters and digits.
type names struct {
	c    *checker
	seen map[string]pos
}

func newNames(c *checker) *names { return &names{c, map[string]pos{}} }

var noWord = regexp.MustCompile(`[^a-z0-9]+`)

func (s *names) add(n *node, name string) {
	if n.get("name") == nil || name == "" {
		return
	}
	at := n.place("name")
	slug := strings.Trim(noWord.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if slug == "" {
		s.c.p.add(at, "step ids are made of them", "the name %s has no letter a-z and no digit", quote(name))
		return
	}
	if first, dup := s.seen[slug]; dup {
		s.c.p.add(at, "names must differ in their letters or digits", "the name %s stands here twice, first in line %d", quote(name), first.line)
		return
	}
	s.seen[slug] = at
}

// work checks what a step of the user's own does. The name and needs are the caller's.
func (a *appChecker) work(n *node, d Work, w *where, s scope) model.CustomStep {
	c := a.checker
	c.positive(n, "timeout", d.Timeout)
	step := model.CustomStep{Kind: model.Kind(d.Kind), Timeout: d.Timeout, Approve: d.Approve, Plan: d.Plan,
		App: model.AppID(d.App), Operation: model.Operation(d.Operation), To: model.SiteID(d.To), Mode: model.Mode(d.Mode)}
	var what []string
	for _, key := range []string{"kind", "approve", "plan", "app", "operation"} {
		if n.get(key) != nil && !(key == "operation" && slices.Contains(what, "app")) {
			what = append(what, key)
		}
	}
	const choice = "a step has either a kind, or approve, or plan, or app and operation"
	switch len(what) {
	case 0:
		c.p.add(n.head, choice, "%s does nothing", w)
		return step
	case 1:
	default:
		c.p.add(n.place(what[1]), choice, "%s has both %s and %s", w, what[0], what[1])
		return step
	}
	c.only(n, what[0], w)
	switch what[0] {
	case "kind":
		if dr := c.driver(n, "run a step", canRun); dr != nil {
			step.Settings, _ = c.settings(n, d.Settings, dr.Facts().Settings, w)
		}
		a.references(d.Settings, s)
	case "plan":
		c.known(d.Plan, n.place("plan"), "plan", keys(c.doc.Plans))
	case "app", "operation":
		c.appStep(n, d, w)
	}
	return step
}

// only reports fields that belong to another sort of step.
func (c *checker) only(n *node, what string, w *where) {
	belongs := map[string]string{"settings": "kind", "timeout": "kind", "to": "app", "mode": "app"}
	for _, f := range n.fields {
		if owner, ok := belongs[f.key]; ok && owner != what && !(owner == "app" && what == "operation") {
			c.p.add(f.at, "remove it", "%s has %s, which needs %s", w, quote(f.key), quote(owner))
		}
	}
}

func (c *checker) appStep(n *node, d Work, w *where) {
	switch {
	case n.get("app") == nil:
		c.p.add(n.place("operation"), "add the app", "%s has an operation without an app", w)
		return
	case n.get("operation") == nil:
		c.p.add(n.place("app"), "operations: "+strings.Join(runs, ", "), "%s has an app without an operation", w)
	}
	knownApp := c.known(d.App, n.place("app"), "app", keys(c.doc.Apps))
	c.known(d.Operation, n.place("operation"), "operation", runs)
	if app := c.doc.Apps[d.App]; knownApp && app.Node != nil && d.To != "" && slices.Contains(runs, d.Operation) {
		sites := append([]string{app.Home}, app.Recovery...)
		if d.Operation == string(model.OpDrill) {
			sites = app.Recovery
		} else if d.Operation == string(model.OpProtect) {
			sites = nil // points are made where the app serves
		}
		if !slices.Contains(sites, d.To) {
			c.p.add(n.place("to"), didYouMean(d.To, sites), "a %s of app %s cannot lead to %s", d.Operation, quote(d.App), quote(d.To))
		}
	}
	if d.Mode == "" || d.Operation == string(model.OpFailover) {
		return
	}
	if d.Operation == string(model.OpFailback) && d.Mode == string(model.Planned) {
		return
	}
	if slices.Contains(runs, d.Operation) {
		c.p.add(n.place("mode"), "remove it", "a %s cannot be %s", d.Operation, d.Mode)
	}
}

func (c *checker) plan(name string, d planDoc) model.CustomPlan {
	plan := model.CustomPlan{Name: name}
	w := &where{what: "plan " + quote(name)}
	switch {
	case d.Node.get("state_payload") != nil:
		plan.Payload = c.payload(d, w)
		return plan
	case d.Node.get("steps") == nil:
		c.p.add(d.Node.head, "add steps, or state_payload with the file of a document", "%s has neither steps nor a document", w)
		return plan
	}
	for _, key := range payloadFields {
		if d.Node.get(key) != nil {
			c.p.add(d.Node.place(key), "remove it", "%s has %s, which needs %s", w, quote(key), quote("state_payload"))
		}
	}
	var order []string
	edges := map[string][]string{}
	seen := map[string]pos{}
	for _, s := range d.Steps {
		if s.Node == nil || s.Name == "" {
			continue
		}
		c.id(s.Name, s.Node.place("name"), "step")
		if first, dup := seen[s.Name]; dup {
			c.p.add(s.Node.place("name"), "give one of them another name", "%s has the step %s twice, first in line %d", w, quote(s.Name), first.line)
			continue
		}
		seen[s.Name] = s.Node.place("name")
		order = append(order, s.Name)
	}
	byName := map[string]stepDoc{}
	for _, s := range d.Steps {
		if s.Node == nil {
			continue
		}
		at := w.sub(called("step", s.Name))
		step := (&appChecker{checker: c}).work(s.Node, s.Work, at, scope{in: at.String(), why: "a step of a plan of your own has no resources to refer to"})
		step.Name = s.Name
		c.each(s.Node, "needs", func(need string, p pos) {
			if need == s.Name {
				c.p.add(p, "", "%s needs itself", at)
			} else if c.known(need, p, "step", order) {
				step.Needs = append(step.Needs, need)
				edges[s.Name] = append(edges[s.Name], need)
			}
		})
		byName[s.Name] = s
		plan.Steps = append(plan.Steps, step)
	}
	for _, circle := range circles(order, edges) {
		at := itemAt(byName[circle[0]].Node.get("needs"), circle[1])
		c.p.add(at, "remove one of these needs", "the needs of steps go round in a circle: %s", strings.Join(circle, " -> "))
	}
	return plan
}

// planCycles reports plans that would never end: plans call plans and operations of apps, whose hooks call again.
func (c *checker) planCycles() {
	var order []string
	edges := map[string][]string{}
	at := map[[2]string]pos{}
	call := func(from string, n *node, w Work) {
		to, key := "plan "+w.Plan, "plan"
		if w.Plan == "" {
			to, key = "app "+w.App, "app"
		}
		if n != nil && n.get(key) != nil {
			edges[from] = append(edges[from], to)
			if _, have := at[[2]string{from, to}]; !have {
				at[[2]string{from, to}] = n.place(key)
			}
		}
	}
	for _, f := range fieldsOf(c.doc.Node.get("plans")) {
		order = append(order, "plan "+f.key)
		for _, s := range c.doc.Plans[f.key].Steps {
			call("plan "+f.key, s.Node, s.Work)
		}
	}
	for _, f := range fieldsOf(c.doc.Node.get("apps")) {
		order = append(order, "app "+f.key)
		for _, r := range fieldsOf(f.value.get("resources")) {
			for _, h := range c.doc.Apps[f.key].Resources[r.key].Hooks {
				call("app "+f.key, h.Step.Node, h.Step.Work)
			}
		}
	}
	for _, circle := range circles(order, edges) {
		c.p.add(at[[2]string{circle[0], circle[1]}], "a plan that calls itself never ends", "plans call each other in a circle: %s",
			strings.Join(circle, " -> "))
	}
}

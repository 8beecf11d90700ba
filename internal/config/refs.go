package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/model"
)

// reference finds what package driver fills in: ${name.output}, where $${ stands for a literal ${.
var (
	reference       = regexp.MustCompile(`\$?\$\{([^}]*)\}`)
	referenceSyntax = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*\.[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
)

// scope says which references may stand in some settings.
type scope struct {
	names     []string     // resources whose outputs are known by then
	own       string       // a resource whose outputs of ownAction are known too
	ownAction model.Action // "" with own: of everything that brings it up
	of        string       // the resource that the settings belong to, if any
	self      bool         // whether the settings are that resource's own, where "self" means it
	in        string       // for messages: what the settings belong to
	why       string       // when no reference can stand here at all
}

// brings are the actions whose outputs others can refer to: those that bring a resource up, and those that point to it.
var brings = []model.Action{model.ActionPromote, model.ActionDrill, model.ActionRestore, model.ActionRedirect}

// reach is the scope of what belongs to a resource: what it needs, directly or not, and with self itself.
func (a *appChecker) reach(name string, itself bool) scope {
	edges := map[string][]string{}
	for n, b := range a.built {
		for _, need := range b.resource.Needs {
			edges[n] = append(edges[n], string(need))
		}
	}
	s := scope{of: name, names: slices.Sorted(maps.Keys(reachable(name, edges)))}
	s.names = slices.DeleteFunc(s.names, func(n string) bool { return n == name })
	if itself {
		s.own = name
	}
	return s
}

func (a *appChecker) resourceReferences(name string) {
	d := a.doc.Resources[name]
	s := a.reach(name, false)
	s.self, s.in = true, a.resourceWhere(name).String()
	a.references(d.Settings, s)
	for _, f := range fieldsOf(d.Node.get("sites")) {
		a.references(f.value, s)
	}
}

// references checks every reference below n.
func (a *appChecker) references(n *node, s scope) {
	n.walkText(func(t *node) {
		for _, m := range reference.FindAllStringSubmatch(t.text, -1) {
			if !strings.HasPrefix(m[0], "$$") {
				a.reference(t.at, m[1], s)
			}
		}
		rest := reference.ReplaceAllString(t.text, "")
		if i := strings.Index(rest, "${"); i >= 0 && (i == 0 || rest[i-1] != '$') {
			a.p.add(t.at, "write ${name.output}, or $${ for a literal ${", "a reference is not closed: %s", quote(rest[i:]))
		}
	})
}

func (a *appChecker) reference(at pos, ref string, s scope) {
	shown := "${" + ref + "}"
	literal := "write ${name.output}; for a literal " + shown + " write $" + shown
	if !referenceSyntax.MatchString(ref) {
		a.p.add(at, literal, "%s is no reference to an output", quote(shown))
		return
	}
	if s.why != "" {
		a.p.add(at, s.why, "%s cannot be used in %s", shown, s.in)
		return
	}
	name, output, _ := strings.Cut(ref, ".")
	switch {
	case name == "self" && !s.self:
		hint := literal
		if s.of != "" {
			hint = "write ${" + s.of + "." + output + "}"
		}
		a.p.add(at, hint, "%s can be used only in a resource's own settings, not in %s", shown, s.in)
	case name == "self":
		a.output(at, shown, s.of, output, actions)
	case name == s.of && s.self:
		a.p.add(at, "write ${self."+output+"}", "%s refers to the resource whose settings it stands in", shown)
	case name == s.own && s.ownAction != "":
		a.output(at, shown, name, output, []model.Action{s.ownAction})
	case name == s.own && name != "", slices.Contains(s.names, name):
		a.output(at, shown, name, output, brings)
	case slices.Contains(a.order, name):
		hint := "add " + name + " to the needs of " + s.of
		if name == s.of {
			hint = "they are known after the action"
		} else if slices.Contains(a.reach(name, false).names, s.of) {
			hint = name + " comes later: it needs " + s.of
		}
		a.p.add(at, hint, "%s: the outputs of %s are not known yet in %s", shown, quote(name), s.in)
	default:
		known := slices.Clone(s.names)
		if s.own != "" {
			known = append(known, s.own)
		}
		a.p.add(at, didYouMean(name, known), "%s: there is no resource %s", shown, quote(name))
	}
}

// output checks that a resource leaves an output by one of the actions.
func (a *appChecker) output(at pos, shown, resource, output string, by []model.Action) {
	b := a.built[resource]
	if b.driver == nil || !b.sound || b.outputs == nil {
		return // it has problems of its own
	}
	known := map[string]bool{}
	for _, action := range by {
		for name := range b.outputs[action] {
			known[name] = true
		}
	}
	if known[output] {
		return
	}
	hint := didYouMean(output, slices.Sorted(maps.Keys(known)))
	if len(known) == 0 {
		hint = "it has no outputs there"
	}
	a.p.add(at, hint, "%s: %s has no output %s", shown, quote(resource), quote(output))
}

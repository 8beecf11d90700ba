package driver

import (
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/model"
)

// ActionFacts are what people and plans need to know of one action: see the fields of [Facts].
type ActionFacts struct {
	Verb, Effect string
	Timeout      time.Duration
	Destructive  bool
}

// ActionDescriber is implemented by drivers one of whose actions does something else for some resources than [Facts] says,
// because of their settings. It looks at nothing but r; what it leaves zero is as Facts says.
type ActionDescriber interface {
	ActionOf(r model.Resource, action model.Action) ActionFacts
}

// ActionOf says what a step that carries out action on r does. An empty verb means that the action's own name is good
// enough.
func ActionOf(d Driver, r model.Resource, action model.Action) ActionFacts {
	facts := d.Facts()
	out := ActionFacts{Verb: facts.Verbs[action], Effect: facts.Effects[action], Timeout: facts.Timeouts[action],
		Destructive: slices.Contains(facts.Destructive, action)}
	if describer, ok := As[ActionDescriber](d); ok {
		own := describer.ActionOf(r, action)
		if own.Verb != "" {
			out.Verb = own.Verb
		}
		if own.Effect != "" {
			out.Effect = own.Effect
		}
		if own.Timeout != 0 {
			out.Timeout = own.Timeout
		}
		out.Destructive = out.Destructive || own.Destructive
	}
	if out.Timeout == 0 {
		out.Timeout = DefaultTimeout
	}
	return out
}

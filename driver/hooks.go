package driver

import "github.com/lifeboat-dr/lifeboat/model"

// Hooker is implemented by drivers whose settings name steps that belong around an action of the resource, such as warming a
// cache that came up empty. A plan puts them nearest to the action, the user's own hooks around them; what waits for the
// resource waits for them. They may refer to the outputs of the very action that they follow. It looks at nothing but r.
type Hooker interface {
	HooksOf(r model.Resource) ([]model.Hook, error)
}

// HooksOf are the hooks of r around the actions of d: those that its kind gives, and those that the user wrote.
func HooksOf(d Driver, r model.Resource) ([]model.Hook, error) {
	hooker, ok := As[Hooker](d)
	if !ok {
		return r.Hooks, nil
	}
	own, err := hooker.HooksOf(r)
	return append(own, r.Hooks...), err
}

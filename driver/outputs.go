package driver

import (
	"maps"

	"github.com/lifeboat-dr/lifeboat/model"
)

// OutputDeclarer is implemented by drivers whose steps leave outputs that the user names in the resource's settings,
// such as the endpoint of a program, so that [Facts.Outputs] cannot list them. It looks at nothing but r, and answers
// the same for every site of r. Settings that declare an output at one site and forget it at another are
// failure.Invalid.
type OutputDeclarer interface {
	OutputsOf(r model.Resource, action model.Action) (map[string]model.ValueType, error)
}

// OutputsOf says which outputs a step that carries out action on r leaves for later steps: those of [Facts.Outputs],
// and those that the resource declares when d is an [OutputDeclarer]. The map is the caller's own and never nil.
func OutputsOf(d Driver, r model.Resource, action model.Action) (map[string]model.ValueType, error) {
	out := map[string]model.ValueType{}
	maps.Copy(out, d.Facts().Outputs[action])
	if declarer, ok := As[OutputDeclarer](d); ok {
		declared, err := declarer.OutputsOf(r, action)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, declared)
	}
	return out, nil
}

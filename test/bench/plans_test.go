package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The shape of the large plan: layers of steps, each layer after the one before.
const (
	layers = 100
	wide   = 100
	steps  = layers * wide
)

const instantKind model.Kind = "instant"

// instant is a driver whose work is done when it is begun, or never: what is measured beside it is the engine.
type instant struct{ never bool }

var (
	_ driver.Driver   = instant{}
	_ driver.Promoter = instant{}
)

func (instant) Facts() driver.Facts { return driver.Facts{Kind: instantKind} }

func (instant) Describe(context.Context, driver.Target) (model.Description, error) {
	return model.Description{Role: model.RoleStandby}, nil
}

func (instant) Check(context.Context, driver.Request) ([]model.Finding, error) { return nil, nil }

func (instant) Promote(context.Context, driver.Request) (driver.Handle, error) {
	return driver.Handle{Version: 1}, nil
}

func (d instant) Observe(context.Context, driver.Request, driver.Handle) (driver.Observation, error) {
	if d.never {
		return driver.Observation{State: driver.Pending, Phase: "waits"}, nil
	}
	return driver.Observation{State: driver.Done}, nil
}

// step is one step of a plan, with settings of the size that a small resource has.
func step(id string, kind model.Kind, settings json.RawMessage, needs ...model.StepID) model.Step {
	return model.Step{
		ID: model.StepID(id), Title: "promote " + id + " at west", Effect: "takes writes", Action: model.ActionPromote,
		Kind: kind, Site: "west", Peer: "east", App: "shop", Needs: needs, Timeout: model.Duration(time.Hour), Attempts: 3,
		Operation: model.OpFailover, Mode: model.Unplanned,
		Resource: model.Resource{ID: model.ResourceID(id), App: "shop", Kind: kind, Settings: settings,
			Sites: map[model.SiteID]json.RawMessage{"east": json.RawMessage(`{}`), "west": json.RawMessage(`{}`)}},
	}
}

// layout says how the layers of a plan hang together.
type layout int

const (
	joined   layout = iota // through one step between two layers
	allToAll               // each step needs every one of the layer before
)

// layered makes the large plan.
func layered(how layout, kind model.Kind, settings json.RawMessage) *model.Plan {
	p := planOf("layers")
	var before []model.StepID
	for layer := range layers {
		var here []model.StepID
		for n := range wide {
			s := step(fmt.Sprintf("layer-%03d-step-%03d", layer, n), kind, settings, before...)
			p.Steps, here = append(p.Steps, s), append(here, s.ID)
		}
		before = here
		if how == joined {
			join := model.Step{ID: model.StepID(fmt.Sprintf("layer-%03d", layer)), Title: "layer done", Action: model.ActionJoin, Needs: here}
			p.Steps, before = append(p.Steps, join), []model.StepID{join.ID}
		}
	}
	return p
}

func planOf(name string, steps ...model.Step) *model.Plan {
	return &model.Plan{Format: model.PlanFormat, Name: name, App: "shop", Operation: model.OpFailover,
		Mode: model.Unplanned, From: "east", To: "west", Steps: steps}
}

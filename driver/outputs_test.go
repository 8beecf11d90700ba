package driver

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// plain has outputs in its facts only.
type plain struct{}

// plainFacts is shared between calls, as a driver's package variable would be.
var plainFacts = Facts{Kind: "plain", Outputs: map[model.Action]map[string]model.ValueType{
	model.ActionPromote: {"endpoint": model.TypeEndpoint},
}}

func (plain) Facts() Facts { return plainFacts }
func (plain) Describe(context.Context, Target) (model.Description, error) {
	return model.Description{}, nil
}
func (plain) Check(context.Context, Request) ([]model.Finding, error) { return nil, nil }
func (plain) Observe(context.Context, Request, Handle) (Observation, error) {
	return Observation{}, nil
}

// declaring lets the resource name one more output.
type declaring struct{ plain }

func (declaring) OutputsOf(r model.Resource, _ model.Action) (map[string]model.ValueType, error) {
	if r.ID == "" {
		return nil, failure.New(failure.Invalid, "", "", "no id")
	}
	return map[string]model.ValueType{string(r.ID): model.TypeText}, nil
}

// wrapped hides its driver behind Unwrap.
type wrapped struct{ Driver }

func (w wrapped) Unwrap() Driver { return w.Driver }

func TestOutputsOf(t *testing.T) {
	web := model.Resource{ID: "web"}
	for _, c := range []struct {
		name   string
		d      Driver
		action model.Action
		want   map[string]model.ValueType
	}{
		{"facts", plain{}, model.ActionPromote, map[string]model.ValueType{"endpoint": model.TypeEndpoint}},
		{"none", plain{}, model.ActionFence, map[string]model.ValueType{}},
		{"declared", declaring{}, model.ActionPromote,
			map[string]model.ValueType{"endpoint": model.TypeEndpoint, "web": model.TypeText}},
		{"through a wrapper", wrapped{declaring{}}, model.ActionFence,
			map[string]model.ValueType{"web": model.TypeText}},
	} {
		got, err := OutputsOf(c.d, web, c.action)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: outputs (-want +got):\n%s", c.name, diff)
		}
	}
	if _, err := OutputsOf(declaring{}, model.Resource{}, model.ActionFence); err == nil {
		t.Error("an error of the declarer is lost")
	}
}

func TestOutputsOfGivesTheCallerItsOwnMap(t *testing.T) {
	got, err := OutputsOf(plain{}, model.Resource{}, model.ActionPromote)
	if err != nil {
		t.Fatal(err)
	}
	got["mine"] = model.TypeText
	again, _ := OutputsOf(plain{}, model.Resource{}, model.ActionPromote)
	if _, leaked := again["mine"]; leaked {
		t.Error("a change to the map changed what the driver declares")
	}
}

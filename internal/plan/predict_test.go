package plan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestPredict(t *testing.T) {
	step := func(id model.StepID, a model.Action, outage bool, needs ...model.StepID) model.Step {
		return model.Step{ID: id, Action: a, Outage: outage, Needs: needs}
	}
	diamond := []model.Step{
		step("reverse", model.ActionReverse, false), step("approve", model.ActionApprove, true, "reverse"), step("fence", model.ActionFence, true, "approve"),
		step("short", model.ActionPromote, true, "fence"), step("long", model.ActionPromote, true, "fence"), step("name", model.ActionRedirect, true, "short", "long"),
		step("protect", model.ActionReverse, false, "name"),
	}
	took := func(more map[model.StepID]time.Duration) map[model.StepID]time.Duration {
		all := map[model.StepID]time.Duration{"reverse": time.Hour, "approve": time.Hour, "fence": time.Second, "short": 2 * time.Second,
			"long": 5 * time.Second, "name": time.Second, "protect": time.Hour}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	for _, tt := range []struct {
		name    string
		plan    model.Plan
		took    map[model.StepID]time.Duration
		want    time.Duration
		unknown []model.StepID
	}{
		{"nothing", model.Plan{}, nil, 0, nil},
		{"the critical path, without people and what nobody waits for", model.Plan{Steps: diamond}, took(nil), 7 * time.Second, nil},
		{"the other branch", model.Plan{Steps: diamond}, took(map[model.StepID]time.Duration{"short": time.Minute}), 62 * time.Second, nil},
		{"no history", model.Plan{Steps: diamond}, nil, 0, []model.StepID{"fence", "short", "long", "name"}},
		{"a drill counts until the copy is checked", model.Plan{Operation: model.OpDrill, Steps: []model.Step{
			step("drill", model.ActionDrill, false), step("check", model.ActionVerify, false, "drill"), step("release", model.ActionRelease, false, "check"),
		}}, map[model.StepID]time.Duration{"drill": time.Minute, "check": time.Second, "release": time.Hour}, 61 * time.Second, nil},
	} {
		got, unknown := plan.Predict(&tt.plan, tt.took)
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if diff := cmp.Diff(tt.unknown, unknown); diff != "" {
			t.Errorf("%s: unknown (-want +got):\n%s", tt.name, diff)
		}
	}
}

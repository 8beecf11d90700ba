package engine

import (
	"encoding/json"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

func pack(t *testing.T, text string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

// TestPlanRecord holds that a recorded plan is read as encoding/json reads it.
func TestPlanRecord(t *testing.T) {
	plans := map[string]*model.Plan{
		"none":  {Format: 1, Name: "none"},
		"empty": {Format: 1, Name: "empty", Steps: []model.Step{}},
		"shared needs": {Format: 1, Name: "many", App: "shop", GiveUp: true, Steps: []model.Step{
			{ID: "a"}, {ID: "b"}, {ID: "c", Needs: []model.StepID{"a", "b"}}, {ID: "d", Needs: []model.StepID{"a", "b"}},
			{ID: "e", Needs: []model.StepID{"d"}, Resource: model.Resource{ID: "e", Settings: json.RawMessage(`{"k":"]}"}`)}},
		}},
	}
	for name, want := range plans {
		pages, err := encodePlan(want)
		if err != nil {
			t.Fatal(err)
		}
		for way, packed := range map[string][]byte{"in steps": pages[0], "whole": pack(t, string(encode(want)))} {
			got, err := decodePlan(packed, name)
			if err != nil {
				t.Errorf("%s, written %s: %v", name, way, err)
				continue
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, written %s (-want +got):\n%s", name, way, diff)
			}
			if got.Hash() != want.Hash() {
				t.Errorf("%s, written %s: the hash is %s, want %s", name, way, got.Hash(), want.Hash())
			}
		}
	}
}

func TestPlanRecordDamaged(t *testing.T) {
	whole := pack(t, `{"format":1,"steps":[{"id":"a"}]}`)
	for name, packed := range map[string][]byte{
		"cut":           whole[:len(whole)-3],
		"no zstd":       []byte("plan"),
		"empty":         pack(t, ``),
		"no object":     pack(t, `[]`),
		"no steps":      pack(t, `{"steps":{}}`),
		"half a step":   pack(t, `{"steps":[{"id":"a"`),
		"no end":        pack(t, `{"steps":[]`),
		"two":           pack(t, `{"steps":[]}{}`),
		"rubbish after": pack(t, `{"steps":[]}]`),
		"wrong type":    pack(t, `{"format":"one","steps":[]}`),
	} {
		if p, err := decodePlan(packed, "damaged"); failure.KindOf(err) != failure.Corrupt {
			t.Errorf("%s: read as %+v, error %v; want corrupt", name, p, err)
		}
	}
}

func TestInvert(t *testing.T) {
	shared := []int32{0, 1}
	got := invert([][]int32{nil, nil, shared, shared, {3, 0}})
	want := [][]int32{{2, 3, 4}, {2, 3}, {}, {4}, {}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

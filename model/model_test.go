package model_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/model"
)

var rewrite = flag.Bool("rewrite", false, "rewrite golden files")

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`"0s"`: 0, `"500ms"`: 500 * time.Millisecond, `"1h30m"`: 90 * time.Minute, `"1.5s"`: 1500 * time.Millisecond,
	} {
		var d model.Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil || d.Std() != want {
			t.Errorf("%s is read as %v, %v", text, d, err)
		}
		out, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var back model.Duration
		if err := json.Unmarshal(out, &back); err != nil || back != d {
			t.Errorf("%s is written as %s and read as %v, %v", text, out, back, err)
		}
	}
	for text, want := range map[string]string{
		"":     `"" is not a duration such as 500ms, 30s or 1h30m`,
		"10":   `"10" is not a duration such as 500ms, 30s or 1h30m`,
		"soon": `"soon" is not a duration such as 500ms, 30s or 1h30m`,
		"-1s":  `"-1s" is negative`,
	} {
		var d model.Duration
		if err := d.UnmarshalText([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	var d model.Duration
	if err := json.Unmarshal([]byte(`30`), &d); err == nil {
		t.Errorf("a bare number is read as %v", d)
	}
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"1s", "1h2m3.5s", "-3s", "1us", "9223372036s", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var d model.Duration
		if d.UnmarshalText([]byte(text)) != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q is read as %v", text, d)
		}
		out, err := d.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back model.Duration
		if err := back.UnmarshalText(out); err != nil || back != d {
			t.Fatalf("%q is %v, written as %q and read as %v, %v", text, d, out, back, err)
		}
	})
}

// full is a plan with every field set, so that a field which is lost on the way is noticed.
func full() *model.Plan {
	rto, rpo := model.Duration(10*time.Second), model.Duration(0)
	check := model.Check{Name: "answers", Kind: "http", Settings: json.RawMessage(`{"url":"http://${web.endpoint}/"}`),
		Within: model.Duration(5 * time.Second), On: []model.Operation{model.OpFailover}}
	step := model.CustomStep{Name: "warm", Needs: []string{"x"}, Kind: "exec", Settings: json.RawMessage(`{"command":["a"]}`),
		Approve: 2, Plan: "other", Operation: model.OpDrill, App: "shop", To: "west", Mode: model.Planned, Timeout: model.Duration(time.Minute)}
	db := model.Resource{ID: "db", App: "shop", Kind: "postgres", Settings: json.RawMessage(`{"database":"shop"}`),
		Sites: map[model.SiteID]json.RawMessage{"east": json.RawMessage(`{"port":1}`), "west": json.RawMessage(`{"port":2}`)},
		Needs: []model.ResourceID{"disk"}, Checks: []model.Check{check},
		Hooks:   []model.Hook{{Before: model.ActionPromote, After: model.ActionFence, On: []model.Operation{model.OpDrill}, Step: step}},
		Timeout: model.Duration(time.Hour)}
	return &model.Plan{
		Format: model.PlanFormat, Name: "failover shop", App: "shop", Operation: model.OpFailover, Mode: model.Unplanned,
		From: "east", To: "west", Objective: model.Objective{RTO: &rto, RPO: &rpo},
		Limits: model.Limits{Steps: 64, Sites: map[model.SiteID]int{"west": 16}, Kinds: map[model.Kind]int{"postgres": 4}},
		Probe:  &check, GiveUp: true,
		Steps: []model.Step{{
			ID: "promote-db", Title: "promote db at west", Effect: "makes it take writes", Action: model.ActionPromote,
			Kind: "postgres", Resource: db, Site: "west", Peer: "east", Needs: []model.StepID{"fence-db"},
			Inputs:  []model.Input{{Ref: "db.endpoint", Step: "fence-db", Output: "endpoint", Type: model.TypeEndpoint}},
			Outputs: map[string]model.ValueType{"endpoint": model.TypeEndpoint}, When: model.Always, Releases: "drill-db",
			Waiver: model.Unfenced, Approvals: 2, Destructive: true, Outage: true, Timeout: model.Duration(time.Minute),
			Attempts: 3, App: "shop", Operation: model.OpFailover, Mode: model.Unplanned,
		}},
	}
}

// TestPlanIsWrittenDownWithoutLoss also holds the form in which plans lie in journals: a later build must read it.
// Rewrite the golden file only together with PlanFormat.
func TestPlanIsWrittenDownWithoutLoss(t *testing.T) {
	want := full()
	text, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	golden := filepath.Join("testdata", "plan.json")
	if *rewrite {
		if err := os.WriteFile(golden, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(kept), string(text)); diff != "" {
		t.Errorf("a plan is written differently (-golden +got):\n%s", diff)
	}
	var back model.Plan
	dec := json.NewDecoder(bytes.NewReader(kept))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&back); err != nil {
		t.Fatal(err)
	}
	compact := cmp.Transformer("compact", func(raw json.RawMessage) string {
		var out bytes.Buffer
		if err := json.Compact(&out, raw); err != nil {
			t.Fatal(err)
		}
		return out.String()
	})
	if diff := cmp.Diff(want, &back, compact); diff != "" {
		t.Errorf("a plan is read differently (-want +got):\n%s", diff)
	}
}

// TestPlanHash holds the hash that approvals are given for: it is the same in every build that writes PlanFormat,
// survives writing and reading, and changes with whatever a step would do.
func TestPlanHash(t *testing.T) {
	p := full()
	const want = "5ad8cb9f367d501d1059ee29ad72822f"
	if got := p.Hash(); got != want {
		t.Errorf("the hash is %s, want %s", got, want)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back model.Plan
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if got := back.Hash(); got != want {
		t.Errorf("read back, the hash is %s, want %s", got, want)
	}
	seen := map[string]string{want: "nothing"}
	for name, change := range map[string]func(*model.Plan){
		"the target":     func(p *model.Plan) { p.To = "north" },
		"a title":        func(p *model.Plan) { p.Steps[0].Title += "!" },
		"a setting":      func(p *model.Plan) { p.Steps[0].Resource.Settings = json.RawMessage(`{"database":"shop2"}`) },
		"a need":         func(p *model.Plan) { p.Steps[0].Needs = nil },
		"a waiver":       func(p *model.Plan) { p.Steps[0].Waiver = "" },
		"the objective":  func(p *model.Plan) { p.Objective.RPO = nil },
		"one step fewer": func(p *model.Plan) { p.Steps = nil },
	} {
		q := full()
		change(q)
		if other, dup := seen[q.Hash()]; dup {
			t.Errorf("changing %s gives the same hash as changing %s", name, other)
		}
		seen[q.Hash()] = name
	}
}

// TestPlanEncode holds that writing a plan a step at a time is writing it.
func TestPlanEncode(t *testing.T) {
	one, many := full(), full()
	one.Steps = one.Steps[:1]
	many.Steps = append(many.Steps, many.Steps...)
	none, empty := full(), full()
	none.Steps, empty.Steps = nil, []model.Step{}
	for name, p := range map[string]*model.Plan{"full": full(), "one": one, "many": many, "none": none, "empty": empty} {
		want, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := p.Encode(&got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.String() != string(want) {
			t.Errorf("%s: written as\n%s\nwant\n%s", name, got.Bytes(), want)
		}
	}
}

// TestObjectiveZeroIsNotNone holds that an RPO of zero survives being written down, and is not "no objective".
func TestObjectiveZeroIsNotNone(t *testing.T) {
	zero := model.Duration(0)
	for want, o := range map[string]model.Objective{`{"rpo":"0s"}`: {RPO: &zero}, `{}`: {}} {
		got, err := json.Marshal(o)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestLookups(t *testing.T) {
	c := &model.Config{
		Apps:  []model.App{{ID: "shop", Resources: []model.Resource{{ID: "db"}, {ID: "web", Kind: "command"}}}},
		Plans: []model.CustomPlan{{Name: "move", Steps: []model.CustomStep{{Name: "a"}}}},
	}
	app, ok := c.App("shop")
	if !ok || len(app.Resources) != 2 {
		t.Fatalf("app: %+v, %v", app, ok)
	}
	if _, ok := c.App("shop2"); ok {
		t.Error("an app that is not there is found")
	}
	if r, ok := app.Resource("web"); !ok || r.Kind != "command" {
		t.Errorf("resource: %+v, %v", r, ok)
	}
	if _, ok := app.Resource("name"); ok {
		t.Error("a resource that is not there is found")
	}
	if p, ok := c.Plan("move"); !ok || len(p.Steps) != 1 {
		t.Errorf("plan: %+v, %v", p, ok)
	}
	if _, ok := c.Plan(""); ok {
		t.Error("a plan without a name is found")
	}
	if s, ok := full().Step("promote-db"); !ok || s.Action != model.ActionPromote {
		t.Errorf("step: %+v, %v", s, ok)
	}
	if _, ok := full().Step("promote"); ok {
		t.Error("a step that is not there is found")
	}
}

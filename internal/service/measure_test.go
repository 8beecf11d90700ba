package service

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/model"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func probe(seconds float64, up bool, seen ...float64) engine.Event {
	e := engine.Event{Kind: engine.ProbeChanged, At: at(seconds), Up: up}
	if len(seen) > 0 {
		t := at(seen[0])
		e.Seen = &t
	}
	return e
}

// TestMeasureRTO measures hand-made histories. The run starts at second 10, its last step ends at second 20.
func TestMeasureRTO(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []engine.Event
		want   float64 // seconds; negative: not measured
		basis  string
	}{
		{"an outage", []engine.Event{probe(10, false, 7), probe(15, true)}, 8, "clients' side"},
		{"up when the run starts", []engine.Event{probe(10, true), probe(12, false, 11.5), probe(13, true)}, 1.5, "clients' side"},
		{"flapping counts to the last recovery", []engine.Event{probe(10, false, 9), probe(12, true), probe(13, false, 12.5), probe(18, true)}, 9, "clients' side"},
		{"nobody looked before", []engine.Event{probe(10.2, false), probe(15, true)}, 5, "from the start of the run"},
		{"no bad answer", []engine.Event{probe(10, true)}, 0, "no bad answer"},
		{"no probe", nil, 10, "the app has no probe"},
		{"not back yet", []engine.Event{probe(10, false, 9)}, -1, "no good answer since"},
		{"back and down again", []engine.Event{probe(10, false, 9), probe(12, true), probe(13, false)}, -1, "no good answer since"},
	} {
		objective := model.Duration(8 * time.Second)
		started, ended := at(10), at(20)
		rec := engine.Record{Plan: &model.Plan{Operation: model.OpFailover, Objective: model.Objective{RTO: &objective}}, Events: tt.events}
		view := &api.RunView{RunSummary: api.RunSummary{Started: started}, Final: true,
			Steps: []api.StepView{{ID: "promote", Action: model.ActionPromote, Status: api.StepDone, Started: &started, Ended: &ended}}}
		view.Outcome = api.Succeeded
		got := measureRTO(rec, view)
		check(t, tt.name, got, tt.want, tt.basis, objective)
	}
}

func check(t *testing.T, name string, got api.Measure, want float64, basis string, objective model.Duration) {
	t.Helper()
	if !strings.Contains(got.Basis, basis) {
		t.Errorf("%s: basis %q, want one with %q", name, got.Basis, basis)
	}
	switch {
	case want < 0 && (got.Value != nil || got.Met != nil):
		t.Errorf("%s: measured %v, want nothing measured", name, *got.Value)
	case want < 0:
	case got.Value == nil || got.Seconds == nil || *got.Seconds != want || got.Value.Std().Seconds() != want:
		t.Errorf("%s: measured %v, want %gs", name, got.Value, want)
	case got.Met == nil || *got.Met != (*got.Value <= objective):
		t.Errorf("%s: met is wrong for %s", name, got.Value)
	}
}

// TestRPO compares the marker of a recovered copy with those that were acknowledged before it was brought up.
func TestRPO(t *testing.T) {
	acked := func(seconds ...float64) (m markers) {
		for i, s := range seconds {
			m.Acked = append(m.Acked, ackedMarker{Marker: model.Marker{Seq: int64(i + 1), At: at(s)}, Acked: at(s + 0.1)})
		}
		return m
	}
	for _, tt := range []struct {
		name   string
		found  float64
		known  markers
		want   float64
		basis  string
		served float64 // when clients were last served; 0: nobody saw
	}{
		{name: "the newest is there", found: 3, known: acked(1, 2, 3), basis: "the newest acknowledged before was 3, written 12:00:03; from about the one that came back until then at most 1s passed without a marker"},
		{name: "two are lost", found: 1, known: acked(1, 2, 3), want: 2, basis: "the newest acknowledged before was 3, written 12:00:03; from about"},
		{name: "those acknowledged later went elsewhere", found: 3, known: acked(1, 2, 3, 30, 31), want: 0, basis: "the newest acknowledged before was 3"},
		{name: "a marker that nobody acknowledged is there", found: 4, known: acked(1, 2, 3), want: 0, basis: "the newest acknowledged before was 3"},
		{name: "one that was written after it was brought up says nothing", found: 30, known: acked(1, 2, 3, 30), want: -1, basis: "after that was brought up"},
		{name: "its number was given again to one written after", found: 4, known: acked(1, 2, 3, 30), want: 0, basis: "the newest acknowledged before was 3"},
		{name: "one that was on its way when it was brought up came with it", found: 4, known: acked(1, 2, 3, 19.95), want: 0, basis: "the newest acknowledged before was 3"},
		{name: "clients were served long after the newest", found: 3, known: acked(1, 2, 3), served: 15, basis: "; from about the one that came back until clients were last served at most 12s passed without a marker"},
		{name: "clients were served for a moment after the newest", found: 1, known: acked(1, 2, 3), want: 2, served: 3.25, basis: "; from about the one that came back until clients were last served at most 1s passed without a marker"},
		{name: "the only one", found: 1, known: acked(1), basis: "; how often markers are written is not known"},
		{name: "none known", found: 3, known: markers{}, want: -1, basis: "no marker is known"},
		{name: "none before", found: 3, known: acked(30), want: -1, basis: "no marker is known"},
	} {
		objective := model.Duration(time.Second)
		st := api.StepView{Outputs: map[string]model.Value{
			"marker_at":  {Type: model.TypeTime, Text: at(tt.found).Format(time.RFC3339Nano)},
			"marker_seq": {Type: model.TypeNumber, Text: fmt.Sprint(int(tt.found))},
		}}
		got := rpoOf(model.Step{Resource: model.Resource{ID: "db"}}, st, tt.known, at(20), served{until: at(tt.served), seen: tt.served > 0}, &objective)
		check(t, tt.name, got, tt.want, tt.basis, objective)
	}
	for _, broken := range []map[string]model.Value{nil, {"marker_at": {Text: "yesterday"}}, {"marker_at": {Text: at(1).Format(time.RFC3339Nano)}, "marker_seq": {Text: "x"}}} {
		if got := rpoOf(model.Step{}, api.StepView{Outputs: broken}, acked(1), at(20), served{}, nil); got.Value != nil || !strings.Contains(got.Basis, "not measured") {
			t.Errorf("%v: measured %v: %s", broken, got.Value, got.Basis)
		}
	}
}

// TestCoarsest holds that a report says how finely its markers measure where they came late, as on a busy machine.
func TestCoarsest(t *testing.T) {
	line := func(seq int64, seconds ...float64) (all []ackedMarker) {
		for i, s := range seconds {
			all = append(all, ackedMarker{Marker: model.Marker{Seq: seq + int64(i), At: at(s)}, Acked: at(s)})
		}
		return all
	}
	for _, tt := range []struct {
		name  string
		acked []ackedMarker
		seq   int64
		found float64
		want  float64
	}{
		{"one was late after the one that came back", line(1, 1, 2, 3, 7, 8), 3, 3, 4},
		{"the one that came back was late", line(1, 1, 5, 6, 7), 2, 5, 4},
		{"one was late long before", line(1, 1, 5, 6, 7), 3, 6, 1},
		{"nobody knows that it was acknowledged", line(1, 1, 2, 3), 4, 5, 2},
		{"it is older than those that are kept", line(100, 50, 51, 53), 3, 1, 2},
		{"it is just older than those that are kept", line(100, 50, 51), 99, 47, 3},
	} {
		if got, _ := coarsest(tt.acked, model.Marker{Seq: tt.seq, At: at(tt.found)}, served{}); got.Seconds() != tt.want {
			t.Errorf("%s: %s, want %gs", tt.name, got, tt.want)
		}
	}
}

// TestSincePoint measures what was brought back from a recovery point.
func TestSincePoint(t *testing.T) {
	st := api.StepView{Outputs: map[string]model.Value{"marker_at": {Text: at(10).Format(time.RFC3339Nano)}, "marker_seq": {Text: "4"}}}
	for _, tt := range []struct {
		name    string
		markers float64 // what they say was lost
		clients served
		want    float64
		basis   string
	}{
		{"clients were seen", 5, served{at(70), true}, 60, "marker 4 of 12:00:10 is in the recovery point of db, and clients were served until 12:01:10"},
		{"nobody saw them", 5, served{at(70), false}, 60, "the run began 12:01:10; when clients were last served is not known, and the markers show that at least 5s are lost"},
		{"nobody saw them, and no later marker is known", 0, served{at(70), false}, 60, "the run began 12:01:10; when clients were last served is not known"},
		{"markers show more", 65, served{at(70), true}, 65, "marked"},
	} {
		objective := model.Duration(time.Minute)
		m := measured(time.Duration(tt.markers)*time.Second, &objective, "marked")
		check(t, tt.name, sincePoint(m, model.Step{Resource: model.Resource{ID: "db"}}, st, tt.clients), tt.want, tt.basis, objective)
	}
}

// TestAMarkerThatWasAcknowledgedLate: what was written before the copy was brought up came with it, however late its
// acknowledgement is; what was written after that has replaced the one that came.
func TestAMarkerThatWasAcknowledgedLate(t *testing.T) {
	up := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	acked := func(seq int64, at, acked time.Duration) ackedMarker {
		return ackedMarker{Marker: model.Marker{Seq: seq, At: up.Add(at)}, Acked: up.Add(acked)}
	}
	for _, c := range []struct {
		name     string
		last     ackedMarker
		measured bool
	}{
		{"written and acknowledged before", acked(2, -time.Second, -time.Second/2), true},
		{"acknowledged late", acked(2, -time.Second, time.Second), true},
		{"written after", acked(2, time.Second, 2*time.Second), false},
	} {
		known := markers{Acked: []ackedMarker{acked(1, -2*time.Second, -2*time.Second), c.last}}
		st := api.StepView{Outputs: map[string]model.Value{"marker_seq": {Text: "2"}, "marker_at": {Text: c.last.At.Format(time.RFC3339Nano)}}}
		got := rpoOf(model.Step{Operation: model.OpFailback}, st, known, up, served{}, nil)
		if (got.Seconds != nil) != c.measured || c.measured && *got.Seconds != 0 {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestUnmarked measures moves of what carries no markers by what brought the copies up, or fenced the old ones, said of them.
func TestUnmarked(t *testing.T) {
	world := fake.NewWorld()
	s := &Service{opts: Options{Drivers: driver.NewRegistry(fake.New(world), fake.New(world, fake.Stateful()))}}
	p := &model.Plan{Mode: model.Unplanned, Steps: []model.Step{
		{ID: "fence", Kind: fake.KindStateful, Action: model.ActionFence, Resource: model.Resource{ID: "a"}},
		{ID: "a", Kind: fake.KindStateful, Action: model.ActionPromote, Resource: model.Resource{ID: "a"}},
		{ID: "b", Kind: fake.KindStateful, Action: model.ActionPromote, Resource: model.Resource{ID: "b"}},
		{ID: "web", Kind: fake.Kind, Action: model.ActionPromote, Resource: model.Resource{ID: "web"}},
		{ID: "other", Kind: fake.KindStateful, Action: model.ActionPromote, Mode: model.Planned, Operation: model.OpFailover, Resource: model.Resource{ID: "other"}},
	}}
	for i := range p.Steps[:4] {
		p.Steps[i].Mode, p.Steps[i].Operation = model.Unplanned, model.OpFailover
	}
	objective := model.Duration(time.Minute)
	for _, tt := range []struct {
		name        string
		fence, a, b float64 // when the evidence says; negative: nothing
		want        float64
		met         string
		basis       string
	}{
		{"both say", -1, 90, 80, 20, "yes", "b at  holds all until"},
		{"the fence of one says", 95, -1, 90, 10, "yes", "the run began"},
		{"too much", -1, 90, 10, 90, "no", "b at "},
		{"one is silent", -1, 90, -1, 10, "unknown", "nothing says what was lost of b"},
		{"one is silent, and the other is too much", -1, 10, -1, 90, "no", "nothing says what was lost of b"},
		{"later than the outage", -1, 120, 120, 0, "yes", "holds all"},
		{"nothing of one, and the other is silent", -1, 120, -1, -1, "unknown", "not measured: nothing says what was lost of b; of the others nothing was lost: a at"},
		{"all silent, and of one in a planned move nothing was lost", -1, -1, -1, -1, "unknown", "not measured: nothing says what was lost of a, b; of the others nothing was lost: what held everything"},
	} {
		view := &api.RunView{RunSummary: api.RunSummary{Started: at(100)}}
		for i, seconds := range []float64{tt.fence, tt.a, tt.b, -1, 0} {
			st := api.StepView{ID: p.Steps[i].ID, Action: p.Steps[i].Action, Resource: p.Steps[i].Resource.ID, Status: api.StepDone}
			if p.Steps[i].Mode == model.Planned {
				st.Evidence = []model.Fact{driver.LastState("follower"), driver.Source("follower")}
			} else if seconds >= 0 {
				st.Evidence = []model.Fact{driver.Fact("x", "y"), driver.AsOf(at(seconds))}
			}
			view.Steps = append(view.Steps, st)
		}
		got := s.unmarked(api.Measure{Objective: &objective, Basis: "no resource"}, p, view, served{until: at(100)})
		met := "unknown"
		if got.Met != nil {
			met = map[bool]string{true: "yes", false: "no"}[*got.Met]
		}
		if (got.Value == nil) != (tt.want < 0) || got.Value != nil && got.Value.Std().Seconds() != tt.want || met != tt.met || !strings.Contains(got.Basis, tt.basis) {
			t.Errorf("%s: %v, met %s: %s", tt.name, got.Value, met, got.Basis)
		}
	}
}

// TestHandedOver measures planned moves of what carries no markers: nothing was lost only where the driver proves it.
func TestHandedOver(t *testing.T) {
	world := fake.NewWorld()
	s := &Service{opts: Options{Drivers: driver.NewRegistry(fake.New(world), fake.New(world, fake.Stateful()))}}
	step := func(app model.AppID, id model.ResourceID, kind model.Kind, action model.Action) model.Step {
		return model.Step{ID: model.StepID(fmt.Sprintf("%s/%s/%s", app, id, action)), App: app, Kind: kind, Action: action, Operation: model.OpFailback, Mode: model.Planned, Resource: model.Resource{ID: id}}
	}
	p := &model.Plan{Mode: model.Planned, Steps: []model.Step{
		step("shop", "a", fake.KindStateful, model.ActionQuiesce), step("shop", "a", fake.KindStateful, model.ActionFence), step("shop", "a", fake.KindStateful, model.ActionPromote),
		step("shop", "b", fake.KindStateful, model.ActionFence), step("shop", "b", fake.KindStateful, model.ActionPromote),
		step("shop", "web", fake.Kind, model.ActionPromote), step("other", "a", fake.KindStateful, model.ActionPromote),
	}}
	p.Steps[6].Operation = model.OpDrill // of another app's resource of the same name: nothing of it is measured
	x, y := []model.Fact{driver.LastState("snapshot x")}, []model.Fact{driver.Fact("moved", "by itself"), driver.LastState("follower y"), driver.Source("follower y")}
	fromX := []model.Fact{driver.Fact("instance", "is up"), driver.Source("snapshot x")}
	for _, tt := range []struct {
		name                     string
		quiesce, fence, a, b     []model.Fact
		quiesced, fenced, raised api.StepStatus
		marked                   float64 // seconds that markers measured of others; negative: there are none
		want                     float64
		met, basis               string
	}{
		{name: "both prove it", quiesce: x, a: fromX, b: y, marked: -1, met: "yes", basis: "serves: a from snapshot x; b from follower y"},
		{name: "the fence proves it", fence: x, a: fromX, b: y, marked: -1, met: "yes", basis: "a from snapshot x"},
		{name: "others lost what their markers say", quiesce: x, a: fromX, b: y, marked: 2, want: 2, met: "yes", basis: "marked; what held everything"},
		{name: "one is silent", quiesce: x, a: fromX, marked: -1, want: -1, met: "unknown", basis: "nothing proves that the copy which serves holds all that the old one had accepted: b: its driver says nothing about it; of the others nothing was lost: what held"},
		{name: "one is silent, of another something is lost", a: fromX, b: y, marked: 2, want: 2, met: "unknown", basis: "marked; what held everything once the old copies took no more writes serves: b from follower y; nothing proves"},
		{name: "it goes on from something else", quiesce: []model.Fact{driver.LastState("snapshot z")}, a: fromX, b: y, marked: -1, want: -1, met: "unknown", basis: "a: it was made of snapshot x, and snapshot z held all"},
		{name: "from nobody knows what", quiesce: x, b: y, marked: -1, want: -1, met: "unknown", basis: "a: snapshot x held all, and nothing says what it was made of"},
		{name: "the old copy is not fenced", quiesce: x, a: fromX, b: y, fenced: api.StepWaived, marked: -1, want: -1, met: "unknown", basis: "a: step shop/a/fence is waived"},
		{name: "work was not stopped", quiesce: x, a: fromX, b: y, quiesced: api.StepSkipped, marked: -1, want: -1, met: "unknown", basis: "a: step shop/a/quiesce is skipped"},
		{name: "it is not up", quiesce: x, a: fromX, b: y, raised: api.StepRunning, marked: -1, want: -1, met: "unknown", basis: "a: step shop/a/promote is running"},
	} {
		view := &api.RunView{}
		for i, evidence := range [][]model.Fact{tt.quiesce, tt.fence, tt.a, nil, tt.b, nil, nil} {
			status := api.StepDone
			if i < 3 {
				status = cmp.Or([]api.StepStatus{tt.quiesced, tt.fenced, tt.raised}[i], status)
			}
			view.Steps = append(view.Steps, api.StepView{ID: p.Steps[i].ID, Action: p.Steps[i].Action, Resource: p.Steps[i].Resource.ID, Status: status, Evidence: evidence})
		}
		objective := model.Duration(time.Minute)
		worst := api.Measure{Objective: &objective}
		if tt.marked >= 0 {
			worst = measured(time.Duration(tt.marked)*time.Second, &objective, "marked")
		}
		got := s.unmarked(worst, p, view, served{})
		met := "unknown"
		if got.Met != nil {
			met = map[bool]string{true: "yes", false: "no"}[*got.Met]
		}
		if (got.Value == nil) != (tt.want < 0) || got.Value != nil && got.Value.Std().Seconds() != tt.want || met != tt.met || !strings.Contains(got.Basis, tt.basis) {
			t.Errorf("%s: %v, met %s: %s", tt.name, got.Value, met, got.Basis)
		}
	}
}

// TestWhatWasBehind holds that what is known of a loss that nothing proves is said, and measures nothing.
func TestWhatWasBehind(t *testing.T) {
	world := fake.NewWorld()
	s := &Service{opts: Options{Drivers: driver.NewRegistry(fake.New(world, fake.Stateful()))}}
	plan := func(mode model.Mode) *model.Plan {
		step := model.Step{ID: "fence", Kind: fake.KindStateful, Action: model.ActionFence, Operation: model.OpFailover, Mode: mode, Resource: model.Resource{ID: "cache"}}
		up := step
		up.ID, up.Action = "promote", model.ActionPromote
		return &model.Plan{Steps: []model.Step{step, up}}
	}
	view := &api.RunView{Steps: []api.StepView{{ID: "fence", Action: model.ActionFence, Status: api.StepDone, Evidence: []model.Fact{driver.Behind(1200*time.Millisecond, noon)}},
		{ID: "promote", Action: model.ActionPromote, Status: api.StepDone}}}
	const said = "cache%s (the copy was behind by 1.2s at 2026-01-02T12:00:00Z, when that was last seen)"
	for want, got := range map[string]api.Measure{
		"not measured: nothing says what was lost of " + fmt.Sprintf(said, ""):                                                                                        s.unmarked(api.Measure{}, plan(model.Unplanned), view, served{until: at(100)}),
		"not measured: nothing proves that the copy which serves holds all that the old one had accepted: " + fmt.Sprintf(said, ": its driver says nothing about it"): s.unmarked(api.Measure{}, plan(model.Planned), view, served{}),
	} {
		if got.Value != nil || got.Basis != want {
			t.Errorf("%v: %q, want %q", got.Value, got.Basis, want)
		}
	}
}

func TestABasisNamesAFew(t *testing.T) {
	if got, want := some([]string{"a", "b", "c", "d", "e", "f", "g"}), "a; b; c; d; e; and 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

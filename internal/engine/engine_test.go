package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
	"github.com/lifeboat-dr/lifeboat/model"
)

// rig is a journal and a world that several engines of one test share.
type rig struct {
	t     *testing.T
	db    *memory.DB
	world *fake.World
	regs  *driver.Registry
}

func newRig(t *testing.T) *rig {
	w := fake.NewWorld()
	return &rig{t: t, db: memory.NewDB(), world: w, regs: driver.NewRegistry(fake.New(w), fake.New(w, fake.Stateful()))}
}

// open makes an engine with a connection of its own: another process.
func (r *rig) open(change func(*engine.Options)) *engine.Engine {
	store := r.db.Open()
	r.t.Cleanup(func() { _ = store.Close() })
	opts := engine.Options{Store: store, Drivers: r.regs, Owner: "test"}
	if change != nil {
		change(&opts)
	}
	return engine.New(opts)
}

func settings(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// step makes a step of the fake driver.
func step(id string, action model.Action, script fake.Script, needs ...model.StepID) model.Step {
	return model.Step{
		ID: model.StepID(id), Title: id, Action: action, Kind: fake.Kind, Site: "west", Peer: "east", App: "shop",
		Needs: needs, Timeout: model.Duration(time.Hour), Attempts: 3, Operation: model.OpFailover,
		Resource: model.Resource{ID: model.ResourceID(id), App: "shop", Kind: fake.Kind,
			Settings: settings(fake.Settings{Steps: map[model.Action]fake.Script{action: script}}),
			Sites:    map[model.SiteID]json.RawMessage{"east": settings(fake.Site{Role: model.RolePrimary}), "west": settings(fake.Site{Role: model.RoleStandby})}},
	}
}

func planOf(steps ...model.Step) *model.Plan {
	return &model.Plan{Format: model.PlanFormat, Name: "test", App: "shop", Operation: model.OpFailover, Mode: model.Unplanned, From: "east", To: "west", Steps: steps}
}

// run creates and drives a run to its end, in the caller's bubble.
func (r *rig) run(e *engine.Engine, plan *model.Plan, start engine.Start) *engine.State {
	r.t.Helper()
	ctx := r.t.Context()
	id, err := e.Create(ctx, engine.CreateRequest{Plan: plan, Start: start, By: "ann"})
	if err != nil {
		r.t.Fatalf("Create: %v", err)
	}
	if err := e.Drive(ctx, id); err != nil {
		r.t.Fatalf("Drive: %v", err)
	}
	state, _, err := e.Load(ctx, id)
	if err != nil {
		r.t.Fatalf("Load: %v", err)
	}
	return state
}

func TestRunsAGraphInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		plan := planOf(
			step("fence", model.ActionFence, fake.Script{Takes: model.Duration(2 * time.Second)}),
			step("promote-a", model.ActionPromote, fake.Script{Takes: model.Duration(20 * time.Minute)}, "fence"),
			step("promote-b", model.ActionPromote, fake.Script{Takes: model.Duration(10 * time.Minute)}, "fence"),
			step("redirect", model.ActionRedirect, fake.Script{}, "promote-a", "promote-b"),
		)
		began := time.Now()
		s := r.run(r.open(nil), plan, engine.Start{})
		if s.Outcome != api.Succeeded {
			t.Fatalf("outcome %q, want succeeded: %+v", s.Outcome, s.Steps)
		}
		if took := time.Since(began); took < 20*time.Minute || took > 21*time.Minute {
			t.Errorf("took %s: independent steps did not run at once", took)
		}
		for _, id := range []model.StepID{"fence", "promote-a", "promote-b", "redirect"} {
			if n := len(r.world.EffectsOf(id)); n != 1 {
				t.Errorf("%s landed %d times, want 1", id, n)
			}
		}
	})
}

func TestFailedStepRetriesThenAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		flaky := fake.Script{Fail: []fake.Fail{
			{Attempt: 1, Kind: failure.Unavailable, At: fake.AtObserve}, {Attempt: 2, Kind: failure.Unavailable, At: fake.AtObserve},
			{Attempt: 3, Kind: failure.Unavailable, At: fake.AtObserve},
		}}
		plan := planOf(step("promote", model.ActionPromote, flaky), step("after", model.ActionRedirect, fake.Script{}, "promote"))
		e := r.open(nil)
		ctx := t.Context()
		id, err := e.Create(ctx, engine.CreateRequest{Plan: plan, By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- e.Drive(ctx, id) }()
		time.Sleep(5 * time.Minute)
		s, attended, err := e.Load(ctx, id)
		if err != nil || !attended {
			t.Fatalf("Load: attended %v, err %v", attended, err)
		}
		if st, _ := s.StepOf("promote"); st.Status != api.StepAsking || st.Attempt != 3 {
			t.Fatalf("promote is %s after %d attempts, want asking after 3", st.Status, st.Attempt)
		}
		for _, bad := range []api.SignalRequest{
			{Run: id, Signal: api.Skip, Step: "promote", By: "ann"},
			{Run: id, Signal: api.Approve, By: "ann"},
			{Run: id, Signal: api.Retry, Step: "after", By: "ann"},
			{Run: id, Signal: api.Retry, Step: "nowhere", By: "ann"},
		} {
			if _, _, err := e.Signal(ctx, bad); !errors.Is(err, failure.Conflict) {
				t.Errorf("%s %s: got %v, want a conflict", bad.Signal, bad.Step, err)
			}
		}
		if _, attended, err := e.Signal(ctx, api.SignalRequest{Run: id, Signal: api.Retry, By: "bob"}); err != nil || !attended {
			t.Fatalf("Signal: attended %v, err %v", attended, err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		s, _, err = e.Load(ctx, id)
		if err != nil || s.Outcome != api.Succeeded {
			t.Fatalf("outcome %v, err %v", s.Outcome, err)
		}
	})
}

func TestHeirTakesOverWithinTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		plan := planOf(step("promote", model.ActionPromote, fake.Script{Takes: model.Duration(time.Minute)}))
		boom := errors.New("power cut")
		crash := make(chan struct{})
		first := r.open(func(o *engine.Options) {
			o.Failpoint = func(ctx context.Context, point string) error {
				select {
				case <-crash:
					return boom
				default:
					return nil
				}
			}
		})
		second := r.open(nil)
		ctx := t.Context()
		id, err := first.Create(ctx, engine.CreateRequest{Plan: plan, By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		one, two := make(chan error, 1), make(chan error, 1)
		go func() { one <- first.Drive(ctx, id) }()
		time.Sleep(time.Second)
		go func() { two <- second.Drive(ctx, id) }()
		time.Sleep(10 * time.Second)
		if s, _, _ := second.Load(ctx, id); s.Epoch != 1 {
			t.Fatalf("epoch %d while the first lives, want 1", s.Epoch)
		}
		close(crash)
		if err := <-one; !errors.Is(err, boom) {
			t.Fatalf("the first ended with %v", err)
		}
		died := time.Now()
		for {
			if s, _, _ := second.Load(ctx, id); s.Epoch == 2 {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(died); took > 5*time.Second {
			t.Errorf("takeover took %s, want at most 5 s", took)
		}
		if err := <-two; err != nil {
			t.Fatal(err)
		}
		if n := len(r.world.EffectsOf("promote")); n != 1 {
			t.Errorf("promote landed %d times", n)
		}
	})
}

// TestEveryAttemptIsReleased fails two attempts of a drill after they have made something: the release removes what all
// three left.
func TestEveryAttemptIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		flaky := fake.Script{Fail: []fake.Fail{
			{Attempt: 1, Kind: failure.Unavailable, At: fake.AtObserve}, {Attempt: 2, Kind: failure.Unavailable, At: fake.AtObserve},
		}}
		drill := step("db", model.ActionDrill, flaky)
		release := step("db-release", model.ActionRelease, fake.Script{}, "db")
		release.Resource = drill.Resource
		release.When, release.Releases = model.Always, "db"
		s := r.run(r.open(nil), planOf(drill, release, step("after", model.ActionRun, fake.Script{}, "db-release")), engine.Start{})
		if s.Outcome != api.Succeeded {
			t.Fatalf("outcome %q", s.Outcome)
		}
		if made := len(r.world.EffectsOf("db")); made != 3 {
			t.Fatalf("the drill landed %d times, want 3", made)
		}
		if left := r.world.Left(); len(left) > 0 {
			t.Errorf("%d attempts were not released: %+v", len(left), left)
		}
	})
}

// readAll reads a finished run's events and fails on a gap.
func (r *rig) readAll(e *engine.Engine, id model.RunID) []engine.Event {
	rec, _, err := e.Record(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, ev := range rec.Events {
		if ev.Seq != int64(i)+1 {
			r.t.Fatalf("event %d has seq %d", i, ev.Seq)
		}
	}
	return rec.Events
}

package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

// errPower is what a failpoint answers when the runner dies there.
var errPower = errors.New("power cut")

// scripted makes a fake resource whose action follows a script.
func scripted(id model.ResourceID, kind model.Kind, needs []model.ResourceID, scripts map[model.Action]fake.Script) model.Resource {
	return model.Resource{
		ID: id, App: "shop", Kind: kind, Needs: needs, Settings: settings(fake.Settings{Steps: scripts}),
		Sites: map[model.SiteID]json.RawMessage{"east": settings(fake.Site{Role: model.RolePrimary}), "west": settings(fake.Site{Role: model.RoleStandby})},
	}
}

func takes(d time.Duration) fake.Script { return fake.Script{Takes: model.Duration(d)} }

// sweepPlan is a user's plan with a branch, an approval by two, retries, unknown outcomes, a planned failover and a
// sub-plan in it.
func sweepPlan(t *testing.T, r *rig) *model.Plan {
	run := func(name string, script fake.Script, needs ...string) model.CustomStep {
		return model.CustomStep{Name: name, Kind: fake.Kind, Needs: needs,
			Settings: settings(fake.Settings{Steps: map[model.Action]fake.Script{model.ActionRun: script}})}
	}
	cfg := &model.Config{
		Sites: []model.Site{{ID: "east"}, {ID: "west"}},
		Apps: []model.App{{
			ID: "shop", Home: "east", Recovery: []model.SiteID{"west"},
			Resources: []model.Resource{
				scripted("db", fake.KindStateful, nil, map[model.Action]fake.Script{
					model.ActionQuiesce: takes(2 * time.Second),
					model.ActionFence:   {Fail: []fake.Fail{{Attempt: 1, Kind: failure.Throttled, At: fake.AtBegin}}},
					model.ActionPromote: takes(5 * time.Minute),
				}),
				scripted("web", fake.Kind, []model.ResourceID{"db"}, map[model.Action]fake.Script{
					model.ActionPromote: {UnknownBegin: true, Takes: model.Duration(30 * time.Second)},
				}),
			},
		}},
		Plans: []model.CustomPlan{
			{Name: "outer", Steps: []model.CustomStep{
				run("freeze", fake.Script{Fail: []fake.Fail{{Attempt: 1, Kind: failure.Unavailable, At: fake.AtBegin}}}),
				run("warn", takes(time.Second)),
				{Name: "sign-off", Approve: 2, Needs: []string{"freeze", "warn"}},
				{Name: "move", App: "shop", Operation: model.OpFailover, Mode: model.Planned, Needs: []string{"sign-off"}},
				{Name: "tell", Plan: "inner", Needs: []string{"move"}},
			}},
			{Name: "inner", Steps: []model.CustomStep{run("mail", fake.Script{}), run("page", takes(3*time.Second))}},
		},
	}
	p, _, err := plan.Compile(plan.Input{Config: cfg, Drivers: r.regs, Custom: "outer"})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Steps) < 12 {
		t.Fatalf("the plan has %d steps; a sweep wants at least 12", len(p.Steps))
	}
	return p
}

// sweep is one run that is killed again and again until nobody is left to kill.
type sweep struct {
	*rig
	plan *model.Plan
	run  model.RunID

	mu    sync.Mutex
	fired map[string]int
	bad   []string
}

func newSweep(t *testing.T) *sweep {
	s := &sweep{rig: newRig(t), fired: map[string]int{}}
	s.plan = sweepPlan(t, s.rig)
	audit := s.db.Open()
	t.Cleanup(func() { _ = audit.Close() })
	s.world.Hook = func(p fake.Point) error {
		if p.Phase == fake.BeforeBegin && !s.intended(audit, p.Token) {
			s.complain("%s was called before its intent was durable", p.Step)
		}
		return nil
	}
	return s
}

func (s *sweep) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = append(s.bad, fmt.Sprintf(format, args...))
}

// intended says whether the journal holds an intent with this token.
func (s *sweep) intended(store journal.Store, token string) bool {
	kvs, _, err := store.List(context.Background(), "/lb/v1/run/", journal.ListOptions{})
	if err != nil {
		s.complain("audit: %v", err)
		return false
	}
	return slices.ContainsFunc(kvs, func(kv journal.KV) bool {
		return strings.Contains(kv.Key, "/j/") && strings.Contains(string(kv.Value), `"step-intent"`) && strings.Contains(string(kv.Value), token)
	})
}

// operator approves, each person once: a word that is lost is not said again.
func (s *sweep) operator(ctx context.Context) {
	e := s.open(nil)
	for _, who := range []string{"ann", "bob"} {
		for ctx.Err() == nil {
			state, _, err := e.Load(ctx, s.run)
			if err == nil && state.Final() {
				return
			}
			if err == nil && slices.ContainsFunc(state.Steps, func(st engine.StepState) bool { return st.Status == api.StepApproval }) {
				_, _, err = e.Signal(ctx, api.SignalRequest{Run: s.run, Signal: api.Approve, By: who, Key: "yes-" + who})
				if err == nil {
					break
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Minute):
			}
		}
	}
}

// drive runs one owner until it dies at point (the first time it passes there), or the run is over.
func (s *sweep) drive(ctx context.Context, point string, opts ...memory.Option) error {
	died := false
	store := s.db.Open(opts...)
	defer func() { _ = store.Close() }()
	e := engine.New(engine.Options{Store: store, Drivers: s.regs, Owner: "sweep", Failpoint: func(_ context.Context, p string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fired[p]++
		if p == point {
			died = true
		}
		if died { // the dead do nothing more, whichever goroutine asks
			return errPower
		}
		return nil
	}})
	return e.Drive(ctx, s.run)
}

// finish drives the run through deaths at each of points, then to its end, and checks what must hold.
func (s *sweep) finish(points ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 48*time.Hour)
	defer cancel()
	s.create(ctx)
	over := make(chan struct{})
	go func() { defer close(over); s.operator(ctx) }()
	for _, point := range append(points, "") {
		if err := s.drive(ctx, point); err != nil && !errors.Is(err, errPower) {
			s.t.Fatalf("died at %v, then: %v\n%s", points, err, s.dump())
		}
	}
	s.check(points)
	cancel()
	<-over
}

func (s *sweep) create(ctx context.Context) {
	s.t.Helper()
	var err error
	if s.run, err = s.open(nil).Create(ctx, engine.CreateRequest{Plan: s.plan, By: "ann"}); err != nil {
		s.t.Fatal(err)
	}
}

// dump shows where every step stands.
func (s *sweep) dump() string {
	state, _, err := s.open(nil).Load(context.Background(), s.run)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for i, st := range state.Steps {
		fmt.Fprintf(&b, "%-28s %-10s attempt %d %s", s.plan.Steps[i].ID, st.Status, st.Attempt, st.Phase)
		if st.Err != nil {
			fmt.Fprintf(&b, " (%s: %v)", st.Err.Kind, st.Err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// check holds the run to its promises: over and succeeded, a gapless journal, an empty inbox, each effect landed once
// and after what it needs.
func (s *sweep) check(points []string) {
	s.t.Helper()
	e := s.open(nil)
	state, _, err := e.Load(s.t.Context(), s.run)
	if err != nil {
		s.t.Fatalf("died at %v: %v", points, err)
	}
	if state.Outcome != api.Succeeded {
		s.t.Fatalf("died at %v: outcome %q", points, state.Outcome)
	}
	events := s.readAll(e, s.run)
	for i, ev := range events {
		if (ev.Kind == engine.Finished) != (i == len(events)-1) {
			s.t.Errorf("died at %v: event %d of %d is %s", points, i+1, len(events), ev.Kind)
		}
	}
	kvs, _, err := s.db.Open().List(s.t.Context(), "/lb/v1/run/"+string(s.run)+"/in/", journal.ListOptions{})
	if err != nil || len(kvs) > 0 {
		s.t.Errorf("died at %v: %d words are left in the inbox (%v)", points, len(kvs), err)
	}
	ends := map[model.StepID]time.Time{}
	for i, step := range s.plan.Steps {
		after := time.Time{}
		for _, n := range step.Needs {
			if ends[n].After(after) {
				after = ends[n]
			}
		}
		ends[step.ID] = after
		if step.Kind == "" {
			continue
		}
		landed := s.world.EffectsOf(step.ID)
		if len(landed) != 1 {
			s.t.Errorf("died at %v: %s landed %d times", points, step.ID, len(landed))
			continue
		}
		if landed[0].At.Before(after) {
			s.t.Errorf("died at %v: %s began %s before what it needs was over", points, step.ID, after.Sub(landed[0].At))
		}
		ends[step.ID] = landed[0].EndsAt
		if state.Steps[i].Status != api.StepDone && !step.Advisory { // nobody wrote markers
			s.t.Errorf("died at %v: %s is %s", points, step.ID, state.Steps[i].Status)
		}
	}
	for _, b := range s.bad {
		s.t.Errorf("died at %v: %s", points, b)
	}
}

// sweepPoints runs once undisturbed and names every point that the runner passes.
func sweepPoints(t *testing.T) []string {
	var points []string
	synctest.Test(t, func(t *testing.T) {
		s := newSweep(t)
		s.finish()
		points = slices.Sorted(maps.Keys(s.fired))
	})
	if len(points) < 80 {
		t.Fatalf("only %d points fired: %v", len(points), points)
	}
	return points
}

// deaths runs one bubble in which the owners die at points, and fails if a point did not fire.
func deaths(t *testing.T, points ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSweep(t)
		s.finish(points...)
		for _, p := range points {
			if s.fired[p] == 0 {
				t.Errorf("%s never fired", p)
			}
		}
	})
}

func long() bool { return os.Getenv("LIFEBOAT_LONG") != "" }

func TestCrashAtEveryPoint(t *testing.T) {
	for _, p := range sweepPoints(t) {
		t.Run(p, func(t *testing.T) { deaths(t, p) })
	}
}

// TestCrashAtEveryPair kills two owners in turn. The second point need not fire after the first death: an heir passes
// other points. In the short suite each point meets a fixed share of the others.
func TestCrashAtEveryPair(t *testing.T) {
	points := sweepPoints(t)
	share := 80
	if long() {
		share = 1
	}
	seen := map[string]bool{}
	for i, first := range points {
		for j, second := range points {
			if (i+j)%share != 0 {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				s := newSweep(t)
				s.finish(first, second)
				if s.fired[second] > 0 {
					seen[second] = true
				}
			})
			if t.Failed() {
				t.Fatalf("after deaths at %s and %s", first, second)
			}
		}
	}
	for _, p := range points {
		if long() && !seen[p] {
			t.Errorf("%s never fired as the second death", p)
		}
	}
}

// TestUnknownOutcomes answers commits with an error, landed or not: the n-th, for every n; in the short suite for every third,
// another one when it landed.
func TestUnknownOutcomes(t *testing.T) {
	step := 3
	if long() {
		step = 1
	}
	for i, when := range []string{memory.Before, memory.After} {
		for n := 1 + i*(step-1)/2; ; n += step {
			fired := false
			synctest.Test(t, func(t *testing.T) {
				s := newSweep(t)
				ctx := t.Context()
				s.create(ctx)
				over := make(chan struct{})
				go func() { defer close(over); s.operator(ctx) }()
				commits := 0
				var mu sync.Mutex
				hook := func(point string, _ journal.Txn) error {
					mu.Lock()
					defer mu.Unlock()
					if point == when {
						if commits++; commits == n {
							fired = true
							return failure.New(failure.Indeterminate, "commit", "", "the answer was lost")
						}
					}
					return nil
				}
				if err := s.drive(ctx, "", memory.WithHook(hook)); err != nil {
					t.Fatalf("commit %d, error %s: %v", n, when, err)
				}
				s.check([]string{fmt.Sprintf("commit %d %s", n, when)})
				<-over
			})
			if !fired {
				if n < 20 {
					t.Fatalf("only %d commits", n)
				}
				break
			}
		}
	}
}

// stall is an owner that stops dead at a point, and goes on when it is told to.
type stall struct {
	at      string
	reached chan struct{}
	wake    chan struct{}
	once    sync.Once
}

func newStall(at string) *stall {
	return &stall{at: at, reached: make(chan struct{}), wake: make(chan struct{})}
}

func (z *stall) point(_ context.Context, p string) error {
	if p == z.at {
		z.once.Do(func() {
			close(z.reached)
			<-z.wake
		})
	}
	return nil
}

// frozen stops an engine's keep-alives dry: the whole process stands still, not only its writes.
func frozen(z *stall) memory.CallHook {
	return func(call, _ string) error {
		if call != "keepalive" {
			return nil
		}
		select {
		case <-z.reached:
			<-z.wake
		default:
		}
		return nil
	}
}

// TestZombieAtEveryWrite freezes an owner at each of its writes for five hours, lets an heir finish the run, and wakes
// it: it must not write, and no effect may land twice.
func TestZombieAtEveryWrite(t *testing.T) {
	for _, p := range sweepPoints(t) {
		if !strings.HasPrefix(p, "write:") || strings.Contains(p, string(engine.Finished)) && strings.HasSuffix(p, "after") {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			s := newSweep(t)
			ctx := t.Context()
			s.create(ctx)
			over := make(chan struct{})
			go func() { defer close(over); s.operator(ctx) }()
			z := newStall(p)
			zombie := engine.New(engine.Options{Store: s.db.Open(memory.WithCallHook(frozen(z))), Drivers: s.regs, Owner: "zombie", Failpoint: z.point})
			ended := make(chan error, 1)
			go func() { ended <- zombie.Drive(ctx, s.run) }()
			<-z.reached
			time.Sleep(5 * time.Hour)
			if err := s.drive(ctx, ""); err != nil {
				t.Fatalf("the heir: %v", err)
			}
			before := s.readAll(s.open(nil), s.run)
			close(z.wake)
			if err := <-ended; err != nil {
				t.Errorf("the zombie ended with %v; it should have found the run over", err)
			}
			if after := s.readAll(s.open(nil), s.run); len(after) != len(before) {
				t.Errorf("the zombie wrote %d events", len(after)-len(before))
			}
			<-over
			s.check([]string{"zombie at " + p})
		})
		if t.Failed() {
			t.Fatalf("zombie at %s", p)
		}
	}
}

// TestZombieWakesBeforeHeirsFirstWrite wakes the old owner when the heir has taken over and read, but not yet written.
func TestZombieWakesBeforeHeirsFirstWrite(t *testing.T) {
	for _, p := range []string{"write:freeze:step-handle:before", "write:sign-off:approval-asked:before", "write:move/db/promote@west:step-intent:before", "write:sign-off:signal:before"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSweep(t)
			ctx := t.Context()
			s.create(ctx)
			over := make(chan struct{})
			go func() { defer close(over); s.operator(ctx) }()
			z, h := newStall(p), newStall("write::owner-changed:before")
			zombie := engine.New(engine.Options{Store: s.db.Open(memory.WithCallHook(frozen(z))), Drivers: s.regs, Owner: "zombie", Failpoint: z.point})
			heir := engine.New(engine.Options{Store: s.db.Open(), Drivers: s.regs, Owner: "heir", Failpoint: h.point})
			first, second := make(chan error, 1), make(chan error, 1)
			go func() { first <- zombie.Drive(ctx, s.run) }()
			<-z.reached
			go func() { second <- heir.Drive(ctx, s.run) }()
			<-h.reached // it has taken over and read
			before := s.readAll(s.open(nil), s.run)
			close(z.wake)
			time.Sleep(2 * time.Second) // within the heir's lease: the zombie can only have been refused
			if after := s.readAll(s.open(nil), s.run); len(after) != len(before) {
				t.Errorf("zombie at %s: it wrote %d events after it was succeeded", p, len(after)-len(before))
			}
			close(h.wake)
			for _, c := range []chan error{first, second} {
				if err := <-c; err != nil {
					t.Errorf("zombie at %s: %v", p, err)
				}
			}
			<-over
			s.check([]string{"zombie at " + p})
		})
	}
}

// TestUnknownOutcomeKeepsOwner answers every commit with an error although it landed: the owner finds out each time and
// goes on owning. Were it to stand back, it would be a new owner after each write.
func TestUnknownOutcomeKeepsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSweep(t)
		ctx := t.Context()
		s.create(ctx)
		over := make(chan struct{})
		go func() { defer close(over); s.operator(ctx) }()
		hook := func(point string, _ journal.Txn) error {
			if point == memory.After {
				return failure.New(failure.Indeterminate, "commit", "", "the answer was lost")
			}
			return nil
		}
		if err := s.drive(ctx, "", memory.WithHook(hook)); err != nil {
			t.Fatal(err)
		}
		s.check([]string{"every answer lost"})
		if state, _, err := s.open(nil).Load(ctx, s.run); err != nil || state.Epoch != 1 {
			t.Errorf("the run had %d owners, want 1 (%v)", state.Epoch, err)
		}
		<-over
	})
}

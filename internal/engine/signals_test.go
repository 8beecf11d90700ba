package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// driven is a run that is being driven beside the test.
type driven struct {
	*rig
	e    *engine.Engine
	id   model.RunID
	done chan error
}

// begin creates a run and drives it beside the test, in the caller's bubble.
func (r *rig) begin(plan *model.Plan, start engine.Start) *driven {
	r.t.Helper()
	d := &driven{rig: r, e: r.open(nil), done: make(chan error, 1)}
	ctx := r.t.Context()
	id, err := d.e.Create(ctx, engine.CreateRequest{Plan: plan, Start: start, By: "ann"})
	if err != nil {
		r.t.Fatal(err)
	}
	d.id = id
	go func() { d.done <- d.e.Drive(ctx, id) }()
	return d
}

// after lets time pass and reads the run.
func (d *driven) after(wait time.Duration) *engine.State {
	d.t.Helper()
	time.Sleep(wait)
	s, _, err := d.e.Load(d.t.Context(), d.id)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// is fails unless a step has a status, after a while.
func (d *driven) is(step model.StepID, want api.StepStatus) {
	d.t.Helper()
	st, ok := d.after(time.Minute).StepOf(step)
	if !ok || st.Status != want {
		d.t.Fatalf("%s is %s (%v), want %s", step, st.Status, st.Err, want)
	}
}

func (d *driven) say(sig api.SignalRequest) error {
	sig.Run = d.id
	if sig.By == "" {
		sig.By = "ann"
	}
	_, _, err := d.e.Signal(d.t.Context(), sig)
	return err
}

// must says something that has to be taken.
func (d *driven) must(sig api.SignalRequest) {
	d.t.Helper()
	if err := d.say(sig); err != nil {
		d.t.Fatalf("%s %s: %v", sig.Signal, sig.Step, err)
	}
}

// ends fails unless the run ends so.
func (d *driven) ends(want api.Outcome) *engine.State {
	d.t.Helper()
	if err := <-d.done; err != nil {
		d.t.Fatal(err)
	}
	s := d.after(0)
	if s.Outcome != want {
		d.t.Fatalf("outcome %s, want %s", s.Outcome, want)
	}
	return s
}

func approval(id string, people int, needs ...model.StepID) model.Step {
	return model.Step{ID: model.StepID(id), Action: model.ActionApprove, Approvals: people, Needs: needs}
}

func failing(kind failure.Kind) fake.Script {
	return fake.Script{Fail: []fake.Fail{{Kind: kind, At: fake.AtObserve}}}
}

func TestApprovalByTwoDifferentPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d := r.begin(planOf(step("freeze", model.ActionRun, fake.Script{Takes: model.Duration(10 * time.Minute)}),
			approval("sign", 2, "freeze"), step("move", model.ActionPromote, fake.Script{}, "sign")), engine.Start{})
		d.is("sign", api.StepWaiting)
		d.must(api.SignalRequest{Signal: api.Approve, Step: "sign", By: "ann"}) // before it is reached: it counts
		time.Sleep(time.Second)
		if err := d.say(api.SignalRequest{Signal: api.Approve, Step: "sign", By: "ann"}); !errors.Is(err, failure.Conflict) {
			t.Errorf("the same person twice: %v, want a conflict", err)
		}
		time.Sleep(10 * time.Minute)
		d.is("sign", api.StepApproval)
		if err := d.say(api.SignalRequest{Signal: api.Skip, Step: "sign", Reason: "in a hurry"}); !errors.Is(err, failure.Conflict) {
			t.Errorf("an approval was skipped: %v", err)
		}
		if n := len(r.world.EffectsOf("move")); n != 0 {
			t.Fatalf("it moved with one approval")
		}
		d.must(api.SignalRequest{Signal: api.Approve, By: "bob"})
		s := d.ends(api.Succeeded)
		if st, _ := s.StepOf("sign"); len(st.Approved) != 2 {
			t.Errorf("approved by %v", st.Approved)
		}
		if err := d.say(api.SignalRequest{Signal: api.Approve, Step: "sign", By: "cid"}); !errors.Is(err, failure.Conflict) {
			t.Errorf("approved after the end: %v", err)
		}
	})
}

// TestUnreadAnswers: what was answered while nobody drove the run is told to be unread until the state shows it, so that whoever
// takes the run up does not take the step for one that still waits.
func TestUnreadAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		e := r.open(nil)
		id, err := e.Create(t.Context(), engine.CreateRequest{Plan: planOf(approval("sign", 1)), By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		first, leave := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Drive(first, id) }()
		time.Sleep(time.Minute)
		leave()
		<-done
		if _, _, err := e.Signal(t.Context(), api.SignalRequest{Run: id, Signal: api.Approve, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		if n, err := e.Unread(t.Context(), id); err != nil || n != 1 {
			t.Errorf("%d answers are unread, want 1 (%v)", n, err)
		}
		go func() { done <- e.Drive(t.Context(), id) }()
		unread := 0
		for f, err := range e.Follow(t.Context(), id) {
			if errors.Is(err, failure.NotFound) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			unread = max(unread, f.Unread)
			if st, _ := f.State.StepOf("sign"); st.Status == api.StepApproval && f.Unread == 0 {
				t.Error("the step waits for an approval, and no answer is told to be unread")
			}
		}
		if err := <-done; err != nil || unread != 1 {
			t.Errorf("driven: %v; %d answers were told to be unread, want 1", err, unread)
		}
	})
}

func TestPauseLetsNothingStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		d := r.begin(planOf(step("one", model.ActionRun, fake.Script{Takes: model.Duration(5 * time.Minute)}),
			step("two", model.ActionRun, fake.Script{}, "one")), engine.Start{})
		time.Sleep(time.Second)
		d.must(api.SignalRequest{Signal: api.Pause})
		time.Sleep(time.Hour)
		d.is("one", api.StepDone)
		d.is("two", api.StepWaiting)
		d.must(api.SignalRequest{Signal: api.Resume})
		d.ends(api.Succeeded)
	})
}

// TestSkippedStepsOutputsFlow holds that what a person sets in place of a step's output reaches those that refer to it.
func TestSkippedStepsOutputsFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		up := step("db", model.ActionPromote, failing(failure.Denied))
		up.Outputs = map[string]model.ValueType{"endpoint": model.TypeEndpoint}
		user := step("web", model.ActionPromote, fake.Script{Outputs: map[string]string{"endpoint": "${db.endpoint}"}}, "db")
		user.Inputs = []model.Input{{Ref: "db.endpoint", Step: "db", Output: "endpoint", Type: model.TypeEndpoint}}
		d := r.begin(planOf(up, user), engine.Start{})
		d.is("db", api.StepAsking)
		if err := d.say(api.SignalRequest{Signal: api.Skip, Step: "db", Reason: "by hand", Set: map[string]string{"prot": "1"}}); !errors.Is(err, failure.Conflict) {
			t.Errorf("an output that does not exist was set: %v", err)
		}
		d.must(api.SignalRequest{Signal: api.Skip, Step: "db", Reason: "by hand", Set: map[string]string{"endpoint": "10.0.0.9:5432"}})
		s := d.ends(api.Succeeded)
		web, _ := s.StepOf("web")
		if got := web.Outputs["endpoint"].Text; got != "10.0.0.9:5432" {
			t.Errorf("web was brought up against %q", got)
		}
		if got := web.Inputs["db.endpoint"].Type; got != model.TypeEndpoint {
			t.Errorf("the value that was set has type %q", got)
		}
	})
}

func TestSkippedWithoutAnOutputAsksWhereItIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		up := step("db", model.ActionPromote, failing(failure.Denied))
		user := step("web", model.ActionPromote, fake.Script{}, "db")
		user.Inputs = []model.Input{{Ref: "db.endpoint", Step: "db", Output: "endpoint", Type: model.TypeEndpoint}}
		d := r.begin(planOf(up, user), engine.Start{})
		d.is("db", api.StepAsking)
		d.must(api.SignalRequest{Signal: api.Skip, Step: "db", Reason: "by hand"})
		d.is("web", api.StepAsking)
		if n := len(r.world.EffectsOf("web")); n != 0 {
			t.Error("it was begun without its input")
		}
		d.must(api.SignalRequest{Signal: api.Abort})
		d.ends(api.Aborted)
	})
}

func TestForcePassesFindingsAndWaivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		fence := step("fence", model.ActionFence, failing(failure.Denied))
		fence.Waiver = model.Unfenced
		d := r.begin(planOf(fence, step("move", model.ActionPromote, fake.Script{Findings: []fake.Finding{{Severity: model.Block, What: "it lags"}}}, "fence")), engine.Start{})
		d.is("fence", api.StepAsking)
		if err := d.say(api.SignalRequest{Signal: api.Skip, Step: "fence", Reason: "x"}); !errors.Is(err, failure.Conflict) {
			t.Errorf("a fence was skipped: %v", err)
		}
		d.must(api.SignalRequest{Signal: api.Force, Step: "fence", Reason: "the building burnt down"})
		d.is("move", api.StepAsking)
		d.must(api.SignalRequest{Signal: api.Force, Reason: "better late than never"})
		s := d.ends(api.Succeeded)
		if st, _ := s.StepOf("fence"); st.Status != api.StepWaived || st.Reason != "the building burnt down" || st.By != "ann" {
			t.Errorf("the fence is %s by %q: %q", st.Status, st.By, st.Reason)
		}
	})
}

func TestWaiverGivenAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		fence := step("fence", model.ActionFence, failing(failure.Unavailable))
		fence.Waiver = model.Unfenced
		d := r.begin(planOf(fence, step("move", model.ActionPromote, fake.Script{}, "fence")),
			engine.Start{Waivers: map[model.Waiver]string{model.Unfenced: "it is gone"}})
		s := d.ends(api.Succeeded)
		if st, _ := s.StepOf("fence"); st.Status != api.StepWaived || st.Attempt != 3 || st.Reason != "it is gone" {
			t.Errorf("the fence is %s after %d attempts: %q; it is to be tried before it is set aside", st.Status, st.Attempt, st.Reason)
		}
	})
}

func TestAdvisoryStepHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		marker := step("marker", model.ActionReadMarker, fake.Script{}) // nobody wrote one
		marker.Advisory = true
		s := r.begin(planOf(marker, step("move", model.ActionPromote, fake.Script{})), engine.Start{}).ends(api.Succeeded)
		if st, _ := s.StepOf("marker"); st.Status != api.StepFailed || st.Err == nil {
			t.Errorf("the marker is %s, %v", st.Status, st.Err)
		}
	})
}

func TestAbort(t *testing.T) {
	hang := fake.Script{Hang: true}
	slow := fake.Script{Takes: model.Duration(20 * time.Minute), Fail: []fake.Fail{{Kind: failure.Denied, At: fake.AtCancel}}}
	for name, tt := range map[string]struct {
		script fake.Script
		want   api.StepStatus
	}{"what can be stopped is": {hang, api.StepCanceled}, "what cannot be stopped has failed": {slow, api.StepFailed}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				release := step("release", model.ActionRelease, fake.Script{}, "drill", "later")
				release.When, release.Releases = model.Always, "drill"
				d := r.begin(planOf(step("drill", model.ActionDrill, tt.script), step("later", model.ActionRun, fake.Script{}, "drill"), release), engine.Start{})
				d.is("drill", api.StepRunning)
				d.must(api.SignalRequest{Signal: api.Abort, Reason: "enough"})
				time.Sleep(time.Second)
				if err := d.say(api.SignalRequest{Signal: api.Abort}); !errors.Is(err, failure.Conflict) {
					t.Errorf("aborted twice: %v", err)
				}
				s := d.ends(api.Aborted)
				for id, want := range map[model.StepID]api.StepStatus{"drill": tt.want, "later": api.StepSkipped, "release": api.StepDone} {
					if st, _ := s.StepOf(id); st.Status != want {
						t.Errorf("%s is %s, want %s", id, st.Status, want)
					}
				}
				if left := r.world.Left(); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		})
	}
}

func TestDrillGivesUpAndReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		release := step("release", model.ActionRelease, fake.Script{}, "drill", "check")
		release.When, release.Releases = model.Always, "drill"
		check := step("check", model.ActionVerify, fake.Script{Polls: 1 << 20}, "drill")
		check.Attempts, check.Timeout = 1, model.Duration(10*time.Second)
		p := planOf(step("drill", model.ActionDrill, fake.Script{}), check, release)
		p.GiveUp = true
		s := r.begin(p, engine.Start{}).ends(api.Failed)
		st, _ := s.StepOf("check")
		if st.Status != api.StepFailed || !strings.Contains(st.Err.Error(), "not done after 10s") {
			t.Errorf("the check is %s: %v", st.Status, st.Err)
		}
		if left := r.world.Left(); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestMissingOutputFailsTheStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := step("db", model.ActionPromote, fake.Script{})
		s.Outputs = map[string]model.ValueType{"nonsense": model.TypeText}
		d := r.begin(planOf(s), engine.Start{})
		d.is("db", api.StepAsking)
		st, _ := d.after(0).StepOf("db")
		if !errors.Is(st.Err, failure.Internal) || !strings.Contains(st.Err.Error(), `no output "nonsense"`) {
			t.Errorf("it says %v", st.Err)
		}
		d.must(api.SignalRequest{Signal: api.Abort})
		d.ends(api.Aborted)
	})
}

// TestLimits holds that never more steps run at once than the plan allows, and that they are made use of.
func TestLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		limits model.Limits
		want   time.Duration // rounds of one minute each for twelve steps
	}{
		"none": {model.Limits{}, time.Minute}, "run": {model.Limits{Steps: 3}, 4 * time.Minute},
		"site": {model.Limits{Sites: map[model.SiteID]int{"west": 2}}, 6 * time.Minute},
		"kind": {model.Limits{Kinds: map[model.Kind]int{fake.Kind: 4}}, 3 * time.Minute},
		"both": {model.Limits{Steps: 3, Kinds: map[model.Kind]int{fake.Kind: 1}}, 12 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				var steps []model.Step
				for i := range 12 {
					steps = append(steps, step(fmt.Sprint("s", i), model.ActionRun, fake.Script{Takes: model.Duration(time.Minute)}))
				}
				p := planOf(steps...)
				p.Limits = tt.limits
				began := time.Now()
				r.begin(p, engine.Start{}).ends(api.Succeeded)
				if took := time.Since(began); took < tt.want || took > tt.want+tt.want/4+10*time.Second {
					t.Errorf("it took %s, want about %s", took, tt.want)
				}
			})
		})
	}
}

// TestDamagedJournal holds that a journal that lost or changed a record is refused with a hint, and never panics.
func TestDamagedJournal(t *testing.T) {
	for name, tt := range map[string]struct {
		key  string
		op   func(journal.KV) journal.Op
		kind failure.Kind
	}{
		"chunk missing":     {"/j/000000001", func(kv journal.KV) journal.Op { return journal.Op{Key: kv.Key, Delete: true} }, failure.Corrupt},
		"chunk overwritten": {"/j/000000001", func(kv journal.KV) journal.Op { return journal.Op{Key: kv.Key, Value: kv.Value} }, failure.Corrupt},
		"plan page missing": {"/plan/00000", func(kv journal.KV) journal.Op { return journal.Op{Key: kv.Key, Delete: true} }, failure.Corrupt},
		"plan page damaged": {"/plan/00000", func(kv journal.KV) journal.Op { return journal.Op{Key: kv.Key, Value: kv.Value[1:]} }, failure.Corrupt},
		"header damaged":    {"/h", func(kv journal.KV) journal.Op { return journal.Op{Key: kv.Key, Value: []byte("{")} }, failure.Corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				e := r.open(nil)
				r.run(e, planOf(step("one", model.ActionRun, fake.Script{})), engine.Start{})
				store := r.db.Open()
				defer func() { _ = store.Close() }()
				kvs, _, err := store.List(t.Context(), "/lb/v1/run/", journal.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, kv := range kvs {
					if !strings.HasSuffix(kv.Key, tt.key) {
						continue
					}
					if _, ok, err := store.Commit(t.Context(), journal.Txn{Then: []journal.Op{tt.op(kv)}}); err != nil || !ok {
						t.Fatalf("not damaged: %v, %v", ok, err)
					}
				}
				id := model.RunID(strings.Split(kvs[0].Key, "/")[4])
				_, _, err = e.Load(t.Context(), id)
				if !errors.Is(err, tt.kind) || failure.HintOf(err) == "" {
					t.Errorf("got %v (hint %q), want %s with a hint", err, failure.HintOf(err), tt.kind)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := e.Drive(ctx, id); !errors.Is(err, tt.kind) {
					t.Errorf("Drive says %v", err)
				}
			})
		})
	}
}

func TestUnknownEventIsRefused(t *testing.T) {
	p := planOf(step("one", model.ActionRun, fake.Script{}))
	s, err := engine.NewState("RUN", p, "inc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(engine.Event{Seq: 1, Kind: "from-the-future"}); !errors.Is(err, failure.Unsupported) || failure.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

// FuzzApply feeds a state events in an order that no engine writes: it may refuse them and never panics, and an event
// that is taken leaves a state that can still be shown and decided on.
func FuzzApply(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 7))
		fence := step("a", model.ActionFence, fake.Script{})
		fence.Waiver = model.Unfenced
		release := step("d", model.ActionRelease, fake.Script{}, "c")
		release.When, release.Releases = model.Always, "c"
		p := planOf(fence, approval("b", 2, "a"), step("c", model.ActionDrill, fake.Script{}, "b"), release)
		s, err := engine.NewState("RUN", p, "inc")
		if err != nil {
			t.Fatal(err)
		}
		kinds := []engine.EventKind{engine.OwnerChanged, engine.StepIntent, engine.StepHandle, engine.StepProgress, engine.StepDone, engine.StepFailed,
			engine.StepCanceled, engine.StepSkipped, engine.StepWaived, engine.ApprovalAsked, engine.Signalled, engine.ProbeChanged, engine.Finished, engine.RunStarted}
		signals := []api.Signal{api.Approve, api.Pause, api.Resume, api.Retry, api.Skip, api.Force, api.Abort, "nonsense"}
		now := time.Unix(1e9, 0)
		next := []engine.Event{{Kind: engine.RunStarted, Start: &engine.Start{PlanHash: p.Hash()}}}
		for seq := int64(1); seq < 60; seq++ {
			var e engine.Event
			if decided := s.Decide(now); len(next) == 0 && len(decided) > 0 && rng.IntN(2) == 0 {
				next = decided
			}
			if len(next) > 0 {
				e, next = next[0], next[1:]
			} else {
				e = engine.Event{Kind: kinds[rng.IntN(len(kinds))], Step: []model.StepID{"a", "b", "c", "d", "", "x"}[rng.IntN(6)],
					Signal: signals[rng.IntN(len(signals))], By: "ann", Terminal: rng.IntN(2) == 0}
				if err := json.Unmarshal([]byte([]string{`{}`, `{"handle":{"version":1}}`, `{"error":{"kind":"unavailable","message":"x"}}`, `{"error":{"kind":"denied","message":"x"}}`}[rng.IntN(4)]), &e); err != nil {
					t.Fatal(err)
				}
			}
			e.Seq, e.At = seq, now
			if _, err := s.Apply(e); err != nil {
				return
			}
			now = now.Add(time.Minute)
			s.View(now)
			s.Resume()
			for i := range s.Steps {
				if st := s.Steps[i].Status; st != api.StepBeginning && st != api.StepRunning {
					continue // nothing is asked of its driver
				}
				if _, err := s.Request(i); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

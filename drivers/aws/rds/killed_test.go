package rds

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// mortal is the way to AWS of a process that is killed at one of its calls.
type mortal struct {
	aws.HTTPClient
	at     int  // the call that kills, from 0
	looks  bool // calls that only look count too
	before bool // the call is not made
	kill   context.CancelFunc
	seen   int
	killed string // the call that did
}

func (m *mortal) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	action := "GetMetricData" // which is no form
	if form, err := url.ParseQuery(string(body)); err == nil && form.Has("Action") {
		action = form.Get("Action")
	}
	if m.killed != "" {
		return nil, context.Canceled
	}
	if looks := strings.HasPrefix(action, "Describe") || strings.HasPrefix(action, "Get"); looks && !m.looks {
		return m.HTTPClient.Do(req)
	}
	m.seen++
	if m.seen <= m.at {
		return m.HTTPClient.Do(req)
	}
	m.killed = action
	if !m.before {
		if _, err := m.HTTPClient.Do(req); err != nil {
			return nil, err
		}
	}
	m.kill()
	return nil, context.Canceled
}

// dies carries a request out by a process that m kills, and then by another one. False: it was over before m killed it.
func (w *world) dies(t *testing.T, req driver.Request, m *mortal) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m.HTTPClient, m.kill = w.w.Client(), cancel
	base := awsbase.New(awsbase.Options{HTTP: m})
	d := New(base)
	h, err := driver.Begin(ctx, d, req)
	begun := err == nil
	for err == nil {
		var seen driver.Observation
		if seen, err = d.Observe(ctx, req, h); err == nil && seen.State != driver.Pending {
			if seen.State != driver.Done {
				t.Fatalf("%s is %s: %v", req.Action, seen.State, seen.Err)
			}
			break
		}
		time.Sleep(lookAgain)
	}
	base.Wait()
	if m.killed == "" {
		if err != nil {
			t.Fatalf("%s: %v", req.Action, err)
		}
		return false
	}
	time.Sleep(time.Duration(m.at) * 7 * time.Second) // nobody looks for a while
	if req.Resumed = true; !begun || m.at%2 == 0 {
		if h, err = driver.Begin(t.Context(), w.driver(), req); err != nil {
			t.Fatalf("begin %s again, killed at %s: %v", req.Action, m.killed, err)
		}
	}
	if seen := w.await(t, req, h); seen.State != driver.Done {
		t.Fatalf("%s, killed at %s and taken up, is %s: %v", req.Action, m.killed, seen.State, seen.Err)
	}
	return true
}

// quick makes what takes minutes take seconds, so that few calls are made while waiting.
func (w *world) quick() {
	for action, status := range map[string]string{"CreateDBSnapshot": "creating", "CopyDBSnapshot": "pending", "RestoreDBInstanceFromDBSnapshot": "creating", "ModifyDBInstance": "modifying",
		"RebootDBInstance": "rebooting", "DeleteDBInstance": "deleting", "CreateDBInstanceReadReplica": "creating", "PromoteReadReplica": "modifying"} {
		w.w.Play(awstest.Script{Action: action, Phases: []awstest.Phase{{Status: status, For: 12 * time.Second}}})
	}
}

// moved is a resource that serves in the west after an unplanned move, its old instance in the east open to everybody.
func (w *world) moved(t *testing.T, recovery string) driver.Target {
	target := w.resource(t, nil)
	target.Resource.Settings = []byte(`{"recovery": "` + recovery + `"}`)
	w.create(t, target, "east")
	w.write(t, target, "east", "one")
	w.done(t, w.request(target, model.ActionCapture, "east", ""))
	w.done(t, w.request(target, model.ActionCopy, "east", ""))
	w.done(t, w.request(target, model.ActionPromote, "west", "east"))
	w.write(t, target, "east", "lost")
	w.write(t, target, "west", "two")
	return target
}

// failback are the requests of a failback to the east, in their order.
func (w *world) failback(target driver.Target) []driver.Request {
	back := []driver.Request{w.request(target, model.ActionReverse, "east", "west"), w.request(target, model.ActionQuiesce, "west", "east"),
		w.request(target, model.ActionPromote, "east", "west"), w.request(target, model.ActionReverse, "west", "east")}
	for i := range back {
		back[i].Operation, back[i].Mode, back[i].Prepare, back[i].Step = model.OpFailback, model.Planned, i == 0, model.StepID(fmt.Sprintf("step%d", i))
	}
	return back
}

// judge looks at the whole after a failback: what it holds, what is left, and in which order things went.
func (w *world) judge(t *testing.T, target driver.Target, recovery string) {
	t.Helper()
	w.holds(t, target, "east", "one", "two")
	name := string(target.App)
	want := map[model.SiteID][]string{"east": {name}, "west": nil}
	if recovery == byReplica {
		want["west"] = []string{name}
	}
	for site := range regions {
		var have []string
		for _, i := range w.instances(t, site) {
			have = append(have, aws.ToString(i.DBInstanceIdentifier))
		}
		if diff := cmp.Diff(want[site], have); diff != "" {
			t.Errorf("instances at %s (-want +got):\n%s", site, diff)
		}
		proved, deleted := 0, 0
		for _, c := range w.w.Calls() {
			if c.Region != regions[site] || c.Status != 200 {
				continue
			}
			switch {
			case c.Action == "AddTagsToResource" && strings.Contains(c.Params["ResourceName"], ":snapshot:final-"):
				proved++
			case c.Action == "DeleteDBInstance" && c.Params["DBInstanceIdentifier"] == name:
				if deleted++; deleted != 1 || proved == 0 {
					t.Errorf("deletion %d of the instance at %s came after %d proofs", deleted, site, proved)
				}
			}
		}
		if deleted != 1 {
			t.Errorf("%d deletions at %s, want 1", deleted, site)
		}
		var old []string
		for _, s := range w.snapshots(t, site) {
			if id := aws.ToString(s.DBSnapshotIdentifier); strings.HasPrefix(id, "final-") {
				old = append(old, id)
			}
		}
		if len(old) != 1 {
			t.Errorf("last snapshots at %s: %v, want one", site, old)
		}
	}
	if n := w.asked("PromoteReadReplica", driver.Request{Target: target}); recovery == byReplica && n != 2 {
		t.Errorf("%d promotions, want 2", n)
	}
}

// TestFailbackIsKilled kills the process at each call of a failback that deletes the old primary, in both ways of recovery, and
// takes it up by another one. Always: after each change of the step that deletes it. LIFEBOAT_LONG: at each call of each step.
func TestFailbackIsKilled(t *testing.T) {
	long := os.Getenv("LIFEBOAT_LONG") != ""
	for _, recovery := range []string{bySnapshot, byReplica} {
		for step := range 4 {
			if step > 0 && !long {
				continue
			}
			for _, before := range []bool{false, true} {
				if before && !long {
					continue
				}
				t.Run(fmt.Sprintf("%s/step %d/before %t", recovery, step, before), func(t *testing.T) {
					var at []string
					for n, more := 0, true; more; n++ {
						bubble(t, func(t *testing.T, w *world) {
							w.quick()
							target := w.moved(t, recovery)
							for i, req := range w.failback(target) {
								if i != step {
									w.done(t, req)
									continue
								}
								m := &mortal{at: n, looks: long, before: before}
								more = w.dies(t, req, m)
								at = append(at, m.killed)
							}
							w.judge(t, target, recovery)
						})
						if t.Failed() {
							t.Fatalf("killed at call %d: %v", n, at[n:])
						}
					}
					t.Logf("killed at %d calls", len(at)-1)
					if step == 0 && !slices.Contains(at, "DeleteDBInstance") {
						t.Errorf("it was killed at %v, and never at the deletion", at)
					}
				})
			}
		}
	}
}

// stubborn carries a request out as the engine does: what may have had an effect, and what did not answer, is asked again.
func (w *world) stubborn(t *testing.T, req driver.Request) {
	t.Helper()
	var h driver.Handle
	var err error
	for begun := false; !begun; time.Sleep(lookAgain) {
		if h, err = driver.Begin(t.Context(), w.driver(), req); err != nil && !again(err) {
			t.Fatalf("begin %s: %v", req.Action, err)
		}
		begun, req.Resumed = err == nil, true
	}
	for deadline := time.Now().Add(24 * time.Hour); ; time.Sleep(lookAgain) {
		seen, err := w.driver().Observe(t.Context(), req, h)
		switch {
		case err != nil && !again(err):
			t.Fatalf("observe %s: %v", req.Action, err)
		case err == nil && seen.State == driver.Done:
			return
		case err == nil && seen.State == driver.Failed:
			t.Fatalf("%s has failed: %v", req.Action, seen.Err)
		case time.Now().After(deadline):
			t.Fatalf("%s is not over: %s %v", req.Action, seen.Phase, err)
		}
	}
}

func again(err error) bool {
	k := failure.KindOf(err)
	return k == failure.Indeterminate || k.Retryable()
}

// TestLifeUnderFaults takes an instance there and back while each changing call is throttled, fails, or loses its answer at first.
func TestLifeUnderFaults(t *testing.T) {
	faults := map[string]awstest.Fault{"throttled": {How: awstest.Throttle, Times: 3}, "500": {How: awstest.Error500, Times: 1}, "lost": {How: awstest.LoseAnswer, Times: 1}}
	for _, recovery := range []string{bySnapshot, byReplica} {
		for how, fault := range faults {
			t.Run(recovery+" "+how, func(t *testing.T) {
				bubble(t, func(t *testing.T, w *world) {
					w.quick()
					target := w.moved(t, recovery)
					var injected []*awstest.Injected
					for _, action := range changing[recovery] {
						f := fault
						f.Action = action
						injected = append(injected, w.w.Inject(f))
					}
					for _, req := range w.failback(target) {
						w.stubborn(t, req)
					}
					for n, i := range injected {
						if i.Times() != fault.Times {
							t.Errorf("%s failed %d times, want %d", changing[recovery][n], i.Times(), fault.Times)
						}
						i.Remove()
					}
					w.judge(t, target, recovery)
				})
			})
		}
	}
}

// changing are the calls of a failback that change something.
var changing = map[string][]string{
	bySnapshot: {"CreateDBSnapshot", "CopyDBSnapshot", "RestoreDBInstanceFromDBSnapshot", "ModifyDBInstance", "RebootDBInstance", "DeleteDBInstance", "AddTagsToResource"},
	byReplica:  {"CreateDBSnapshot", "CreateDBInstanceReadReplica", "PromoteReadReplica", "RestoreDBInstanceFromDBSnapshot", "ModifyDBInstance", "RebootDBInstance", "DeleteDBInstance", "AddTagsToResource"},
}

// What ends in failure is said, and a further attempt of the same step makes it again.
func TestTransitionsThatFail(t *testing.T) {
	for action, recovery := range map[string]string{"RestoreDBInstanceFromDBSnapshot": bySnapshot, "CreateDBInstanceReadReplica": byReplica} {
		t.Run(action, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				target := w.resource(t, nil)
				target.Resource.Settings = []byte(`{"recovery": "` + recovery + `"}`)
				w.create(t, target, "east")
				w.write(t, target, "east", "one")
				req := w.request(target, model.ActionReverse, "west", "east")
				if recovery == bySnapshot {
					w.done(t, w.request(target, model.ActionCapture, "east", ""))
					w.done(t, w.request(target, model.ActionCopy, "east", ""))
					req = w.request(target, model.ActionPromote, "west", "east")
				}
				w.doneAgain(t, req, action)
				if recovery == bySnapshot {
					w.holds(t, target, "west", "one")
				}
			})
		})
	}
}

// A deletion that fails after the proof is asked for again, and nothing is proved or deleted twice.
func TestDeletionThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.moved(t, bySnapshot)
		played := w.w.Play(awstest.Script{Action: "DeleteDBInstance", Name: string(target.App), End: awstest.Fail, Times: 1})
		w.w.Forget()
		w.done(t, w.failback(target)[0])
		if played.Times() != 1 || w.asked("DeleteDBInstance", driver.Request{Target: target}) != 2 {
			t.Errorf("%d deletions failed, %d were asked for, want 1 and 2", played.Times(), w.asked("DeleteDBInstance", driver.Request{Target: target}))
		}
		if n := w.w.Count("RestoreDBInstanceFromDBSnapshot"); n != 1 {
			t.Errorf("%d proofs, want 1", n)
		}
	})
}

package regions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

var errPower = errors.New("power cut")

// mortal is one process, which dies at a point: of the engine, or at one of its calls to AWS. The dead do nothing more.
type mortal struct {
	next *awstest.Client
	at   death

	mu    sync.Mutex
	calls []string       // actions, in order
	seen  map[string]int // points of the engine
	dead  bool
}

// death says where a process dies. The zero death is none.
type death struct {
	point string // of the engine
	call  int    // the n-th to AWS, from 1
	after bool   // once AWS has done what the call asked, and before the answer is read
}

func (d death) String() string {
	switch {
	case d.point != "":
		return d.point
	case d.after:
		return fmt.Sprintf("after call %d", d.call)
	}
	return fmt.Sprintf("before call %d", d.call)
}

func (m *mortal) failpoint(_ context.Context, point string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen[point]++
	if m.at.point == point {
		m.dead = true
	}
	if m.dead {
		return errPower
	}
	return nil
}

// Do sends a request, unless the process is dead or dies of it.
func (m *mortal) Do(req *http.Request) (*http.Response, error) {
	action := actionOf(req)
	m.mu.Lock()
	m.calls = append(m.calls, action)
	mine := len(m.calls) == m.at.call
	if mine && !m.at.after {
		m.dead = true
	}
	dead := m.dead
	m.mu.Unlock()
	if dead {
		return nil, errPower
	}
	resp, err := m.next.Do(req)
	m.mu.Lock()
	defer m.mu.Unlock()
	if mine {
		m.dead = true
	}
	if m.dead {
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, errPower
	}
	return resp, err
}

func (m *mortal) died() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// actionOf is what a request in the query protocol asks for. It leaves the request as it was.
func actionOf(req *http.Request) string {
	if req.Body == nil {
		return ""
	}
	body, err := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	form, wrong := url.ParseQuery(string(body))
	if err != nil || wrong != nil {
		return ""
	}
	return form.Get("Action")
}

// scene is a failback that deletes an old primary: what leads to it, and what must hold after it.
type scene struct {
	parts   []part
	before  func(l *lab)            // leaves the app serving in Frankfurt, and an old primary in Dublin
	deleted func(awstest.Call) bool // the call that deletes the old primary
	proved  string                  // what the name of the snapshot that is proved before begins with
	data    func(site model.SiteID) string
}

var scenes = map[string]scene{
	instanceKind: {
		parts: []part{{id: "billing", kind: instanceKind}},
		before: func(l *lab) {
			l.furnish()
			l.makeInstance("shop-billing")
			time.Sleep(time.Hour)
			must(l.t, l.Write(instanceARN(dublin, "shop-billing"), "kept"))
			l.run(l.ask(model.OpProtect, ""))
			l.lose(awstest.Fault{Region: regions[dublin], How: awstest.Hang})
		},
		deleted: func(c awstest.Call) bool {
			return c.Action == "DeleteDBInstance" && c.Region == regions[dublin] && c.Params["DBInstanceIdentifier"] == "shop-billing"
		},
		proved: "final-shop-billing-",
		data:   func(site model.SiteID) string { return instanceARN(site, "shop-billing") },
	},
	globalKind: {
		parts: []part{{id: "orders", kind: globalKind}},
		before: func(l *lab) {
			l.furnish()
			l.makeGlobal("shop-orders", 1, 1)
			time.Sleep(time.Hour)
			must(l.t, l.Write(clusterARN(dublin, "shop-orders"), "kept"))
			time.Sleep(time.Minute)
			l.lose(awstest.Fault{Action: "FailoverGlobalCluster", How: awstest.Error, Code: "InvalidParameterCombination", Message: "not here"})
		},
		deleted: func(c awstest.Call) bool {
			return c.Action == "DeleteDBCluster" && c.Region == regions[dublin] && c.Params["DBClusterIdentifier"] == "shop-orders-dublin"
		},
		proved: "shop-orders-dublin-final-",
		data:   func(site model.SiteID) string { return clusterARN(site, "shop-orders") },
	},
}

// lose moves the app to Frankfurt, unplanned and unfenced, because of a fault that is mended afterwards.
func (l *lab) lose(f awstest.Fault) {
	l.t.Helper()
	fault := l.Inject(f)
	req := l.ask(model.OpFailover, model.Unplanned)
	req.AcceptUnfenced = "nobody can say"
	l.run(req)
	if fault.Times() == 0 {
		l.t.Fatal("the fault never fired")
	}
	fault.Remove()
}

// outcome is what a failback made of the world: what there is, and what was made and deleted on the way, without what differs
// from run to run.
type outcome struct {
	World []string
	Made  map[string]int
}

// failback carries the scene's failback out by a process that dies, and the heir of it, and holds both to the rules.
func (s scene) failback(t *testing.T, at death) (got outcome, first *mortal) {
	t.Helper()
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.Play(awstest.Script{Scale: 0.1}) // the same states, and fewer looks at them
		l.compose(s.parts)
		s.before(l)
		must(t, l.Write(s.data(dublin), "left behind"))
		must(t, l.Write(s.data(frankfurt), "since"))
		l.Forget()

		first = &mortal{next: l.Client(), at: at, seen: map[string]int{}}
		l.http = first
		one := l.open(first.failpoint)
		l.http = nil
		desk := l.open(nil) // of the person who approves
		req := l.ask(model.OpFailback, "")
		req.Key = "once"
		heir := one
		began, err := one.Start(within(t, time.Hour), req)
		if err != nil {
			if !first.died() {
				t.Fatalf("start: %v", err)
			}
			must(t, one.Close())
			heir = l.open(nil)
			began, err = heir.Start(within(t, time.Hour), req)
			must(t, err)
		}
		approved := time.Time{}
		deadline := time.Now().Add(48 * time.Hour)
		for {
			if first.died() && heir == one {
				must(t, one.Close())
				heir = l.open(nil)
				must(t, heir.Drive(within(t, time.Hour), began.ID))
			}
			v, err := desk.Run(within(t, time.Hour), began.ID)
			must(t, err)
			for _, st := range v.Steps {
				if st.Status == api.StepAsking {
					t.Fatalf("%s asks: %v\n%s", st.ID, st.Err, show(v))
				}
				if st.Status == api.StepApproval && len(st.Approvals) == 0 {
					time.Sleep(5 * time.Minute) // people take their time
					if approved.IsZero() {
						approved = time.Now()
					}
					_, err := desk.Signal(within(t, time.Hour), api.SignalRequest{Run: began.ID, Signal: api.Approve, By: "bob"})
					if err != nil && !errors.Is(err, failure.Conflict) { // an heir may have taken an earlier word meanwhile
						t.Fatal(err)
					}
				}
			}
			if v.Final {
				if v.Outcome != api.Succeeded {
					t.Fatalf("%s\n%s", v.Outcome, show(v))
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("not over after two days\n%s", show(v))
			}
			time.Sleep(20 * time.Second)
		}
		must(t, heir.Close())
		must(t, desk.Close())
		time.Sleep(time.Hour)
		got = s.judge(l, approved)
	})
	return got, first
}

// judge holds the world to the rules that do not bend.
func (s scene) judge(l *lab, approved time.Time) outcome {
	l.t.Helper()
	calls := slices.DeleteFunc(l.Calls(), func(c awstest.Call) bool { return c.Status != http.StatusOK })
	end := slices.IndexFunc(calls, s.deleted)
	if end < 0 {
		l.t.Fatal("the old primary was not deleted")
	}
	if approved.IsZero() || calls[end].At.Before(approved) {
		l.t.Errorf("the old primary was deleted at %s, and approved at %s", calls[end].At, approved)
	}
	proof := slices.IndexFunc(calls, func(c awstest.Call) bool {
		return c.Action == "AddTagsToResource" && strings.Contains(c.Params["ResourceName"], ":"+s.proved) && slices.Contains(slices.Collect(maps.Values(c.Params)), "lifeboat:proved-ok") &&
			slices.Contains(slices.Collect(maps.Values(c.Params)), "true")
	})
	if proof < 0 || proof > end {
		l.t.Errorf("the old primary was deleted without a snapshot %s… that was proved before", s.proved)
	}
	got := outcome{Made: map[string]int{}}
	for _, c := range calls {
		if name := made(c); name != "" {
			got.Made[c.Region+" "+c.Action+" "+generic(name)]++
		}
	}
	for _, line := range l.inventory() {
		got.World = append(got.World, generic(line))
	}
	slices.Sort(got.World)
	if takes := l.writers(s.data); !slices.Equal(takes, []model.SiteID{dublin}) {
		l.t.Errorf("writes are taken at %v", takes)
	}
	if diff := cmp.Diff([]string{"kept", "since"}, data(l.t, l, s.data(dublin))); diff != "" {
		l.t.Errorf("Dublin holds (-want +got):\n%s", diff)
	}
	return got
}

// made is the name of what a call makes or deletes.
func made(c awstest.Call) string {
	for action, param := range map[string]string{
		"CreateDBSnapshot": "DBSnapshotIdentifier", "CopyDBSnapshot": "TargetDBSnapshotIdentifier", "DeleteDBSnapshot": "DBSnapshotIdentifier",
		"RestoreDBInstanceFromDBSnapshot": "DBInstanceIdentifier", "CreateDBInstance": "DBInstanceIdentifier", "DeleteDBInstance": "DBInstanceIdentifier",
		"CreateDBClusterSnapshot": "DBClusterSnapshotIdentifier", "DeleteDBClusterSnapshot": "DBClusterSnapshotIdentifier", "RestoreDBClusterFromSnapshot": "DBClusterIdentifier",
		"CreateDBCluster": "DBClusterIdentifier", "DeleteDBCluster": "DBClusterIdentifier", "CreateGlobalCluster": "GlobalClusterIdentifier", "DeleteGlobalCluster": "GlobalClusterIdentifier",
	} {
		if c.Action == action {
			return c.Params[param]
		}
	}
	return ""
}

// What differs from run to run: ends of names that are made of tokens, tokens and runs in tags, instants.
var particular = regexp.MustCompile(`-lb-[a-z2-7]{16}|[a-z2-7]{52}|[0-9A-HJKMNP-TV-Z]{26}|proved-took:\S+|\d{4}-\d\d-\d\dT[0-9:.]+Z`)

func generic(text string) string { return particular.ReplaceAllString(text, "*") }

// TestDeathInFailback kills the process that carries out a failback at every point of the engine and at every call that it makes
// to AWS, before the call and after the deed. The heir goes on: nothing is deleted without its proof and the approval, nothing is
// made twice, and what is there in the end is what is there without a death.
func TestDeathInFailback(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{instanceKind, globalKind} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := scenes[kind]
			want, whole := s.failback(t, death{})
			if t.Failed() {
				return
			}
			all := deaths(whole)
			missed := 0
			for _, at := range all {
				t.Run(at.String(), func(t *testing.T) {
					got, first := s.failback(t, at)
					if !first.died() {
						missed++ // this run passed other points, or made fewer calls
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("it made something else than without the death (-want +got):\n%s", diff)
					}
				})
			}
			if missed > len(all)/20 {
				t.Errorf("%d of %d deaths never came: %v", missed, len(all), all)
			}
		})
	}
}

// deaths are those to try, from a run without one: at the calls that change something, and at a share of the others and of the
// engine's points. The short suite takes every other one of the former, before or after.
func deaths(whole *mortal) (all []death) {
	share := 120
	if program.Long() {
		share = 1
	}
	changing := 0
	for n, action := range whole.calls {
		switch {
		case changes(action):
			changing++
			fallthrough
		case n%share == 0:
			for _, after := range []bool{false, true} {
				if program.Long() || after == (changing%2 == 0) {
					all = append(all, death{call: n + 1, after: after})
				}
			}
		}
	}
	for n, point := range slices.Sorted(maps.Keys(whole.seen)) {
		if n%max(share/6, 1) == 0 {
			all = append(all, death{point: point})
		}
	}
	return all
}

// changes reports whether an action of AWS changes something.
func changes(action string) bool {
	return !strings.HasPrefix(action, "Describe") && !strings.HasPrefix(action, "Get") && !strings.HasPrefix(action, "List")
}

package elasticache

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

const account = "111111111111"

var regions = map[model.SiteID]string{"east": "us-east-1", "west": "us-west-2"}

// scene is a world with a global datastore for each request, in a bubble of synctest.
type scene struct {
	w    *awstest.World
	base *awsbase.Base
	own  *awsbase.Base // the test's, which is not told off by what the drivers could not reach
	d    *Global
	n    int
}

func newScene(t testing.TB) *scene { return sceneOf(t, awstest.New(awstest.Options{})) }

func sceneOf(t testing.TB, w *awstest.World) *scene {
	o := awsbase.Options{HTTP: awsmodel.Watch(t, w.Client())}
	base := awsbase.New(o)
	t.Cleanup(base.Wait)
	return &scene{w: w, base: base, own: awsbase.New(o), d: NewGlobal(base)}
}

func bubble(t *testing.T, test func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newScene(t)) })
}

func (s *scene) access(t testing.TB, site model.SiteID) awsbase.Access {
	a := workbench.Fake(t, s.w, account, regions[site])
	a.Attempt, a.Deadline = model.Duration(time.Second), model.Duration(2*time.Second)
	return a
}

func (s *scene) client(t testing.TB, site model.SiteID) *sdk.Client {
	t.Helper()
	session, err := s.own.Session(t.Context(), s.access(t, site))
	must(t, err)
	return clientOf(session)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// datastore makes one whose primary is in the east, and gives a request about it.
func (s *scene) datastore(t testing.TB, action model.Action, site model.SiteID) driver.Request {
	t.Helper()
	s.n++
	name := fmt.Sprintf("sessions%d", s.n)
	create := &sdk.CreateReplicationGroupInput{ReplicationGroupId: aws.String(name + "-east"), ReplicationGroupDescription: aws.String("x"), CacheNodeType: aws.String("cache.r6g.large"), Engine: aws.String("redis")}
	_, err := s.client(t, "east").CreateReplicationGroup(t.Context(), create)
	must(t, err)
	time.Sleep(10 * time.Minute)
	_, err = s.client(t, "east").CreateGlobalReplicationGroup(t.Context(), &sdk.CreateGlobalReplicationGroupInput{GlobalReplicationGroupIdSuffix: &name, PrimaryReplicationGroupId: create.ReplicationGroupId})
	must(t, err)
	time.Sleep(10 * time.Minute)
	_, err = s.client(t, "west").CreateReplicationGroup(t.Context(), &sdk.CreateReplicationGroupInput{ReplicationGroupId: aws.String(name + "-west"), ReplicationGroupDescription: aws.String("x"), GlobalReplicationGroupId: aws.String("ldgnf-" + name)})
	must(t, err)
	time.Sleep(20 * time.Minute)
	sites := map[model.SiteID]json.RawMessage{}
	for site := range regions {
		sites[site] = workbench.JSON(t, Site{AWS: s.access(t, site), Group: name + "-" + string(site)})
	}
	r := model.Resource{ID: "sessions", App: "shop", Kind: KindGlobal, Settings: workbench.JSON(t, Settings{Datastore: "ldgnf-" + name}), Sites: sites}
	return at(driver.Request{Target: driver.Target{App: "shop", Resource: r}, Operation: model.OpFailover, Mode: model.Planned, Run: "r1", Attempt: 1, Token: "abcdefghijklmnop"}, action, site)
}

// at is the same request for another action at another site.
func at(req driver.Request, action model.Action, site model.SiteID) driver.Request {
	req.Action, req.Site, req.Peer = action, site, map[model.SiteID]model.SiteID{"east": "west", "west": "east"}[site]
	req.Step = model.StepID(string(action) + "-sessions")
	return req
}

func (s *scene) engine() workbench.Engine {
	return workbench.Engine{Driver: func(driver.Request) driver.Driver { return s.d }, Pause: again}
}

// run begins and observes until the work is over.
func (s *scene) run(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	return s.engine().Run(t, req)
}

func (s *scene) done(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	return s.engine().Done(t, req)
}

func (s *scene) role(t testing.TB, req driver.Request, site model.SiteID) string {
	t.Helper()
	desc, err := s.d.Describe(t.Context(), at(req, "", site).Target)
	must(t, err)
	if desc.Role == model.RoleStandby && (desc.LagTime == nil || desc.LagTime.Std() != time.Second) {
		t.Errorf("the lag at %s is %v, want 1s: %v", site, desc.LagTime, desc.Facts)
	}
	return fmt.Sprintf("%s %v", desc.Role, desc.Healthy)
}

func (s *scene) roles(t testing.TB, req driver.Request, east, west string) {
	t.Helper()
	if got := []string{s.role(t, req, "east"), s.role(t, req, "west")}; got[0] != east || got[1] != west {
		t.Errorf("east and west are %q, want %q and %q", got, east, west)
	}
}

func fails(t testing.TB, err error, kind failure.Kind, says string) {
	t.Helper()
	if err == nil || failure.KindOf(err) != kind || !strings.Contains(err.Error(), says) || failure.HintOf(err) == "" {
		t.Errorf("%v (hint %q), want one of kind %s that says %q", err, failure.HintOf(err), kind, says)
	}
}

func TestThereAndBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionFence, "east")
		s.roles(t, req, "primary true", "standby true")
		for _, m := range []struct{ from, to model.SiteID }{{"east", "west"}, {"west", "east"}} {
			began := time.Now()
			s.done(t, at(req, model.ActionFence, m.from))
			if took := time.Since(began); took < time.Minute {
				t.Errorf("fenced after %s, before AWS had exchanged the roles", took)
			}
			seen := s.done(t, at(req, model.ActionPromote, m.to))
			if e := seen.Outputs["endpoint"].Text; !strings.Contains(e, "-"+string(m.to)) || !strings.HasSuffix(e, ":6379") {
				t.Errorf("the endpoint in the %s is %s", m.to, e)
			}
			s.done(t, at(req, model.ActionReverse, m.from))
			if m.to == "west" {
				s.roles(t, req, "standby true", "primary true")
			}
		}
		s.roles(t, req, "primary true", "standby true")
		if got := s.w.Count("FailoverGlobalReplicationGroup"); got != 2 {
			t.Errorf("%d failovers were asked for, want 2", got)
		}
	})
}

// TestHomeIsLost: nothing waits for the region that is gone, whichever way it is gone.
func TestHomeIsLost(t *testing.T) {
	for _, how := range []awstest.How{awstest.Refuse, awstest.Hang, awstest.Error500} {
		bubble(t, func(t *testing.T, s *scene) {
			req := s.datastore(t, model.ActionFence, "east")
			req.Mode = model.Unplanned
			fault := s.w.Inject(awstest.Fault{Region: regions["east"], How: how})
			if got := s.role(t, req, "east"); got != "unreachable false" {
				t.Errorf("the lost region is %q", got)
			}
			began := time.Now()
			seen := s.run(t, req)
			if seen.State != driver.Failed || seen.Err.Kind.Retryable() || !strings.Contains(seen.Err.Error(), "fence-unproven") {
				t.Errorf("nobody knows whether the old group takes writes, and the fence is %s: %v", seen.State, seen.Err)
			}
			if said, _ := driver.ReadBehind(seen.Evidence); !strings.HasPrefix(said, "1s at "+began.UTC().Format("2006-01-02T")) {
				t.Errorf("the fence says that the west was behind by %q", said)
			}
			s.done(t, at(req, model.ActionPromote, "west"))
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("the failover took %s", took)
			}
			if _, err := s.d.Reverse(t.Context(), at(req, model.ActionReverse, "east")); err == nil || !failure.KindOf(err).Retryable() {
				t.Errorf("reverse to a lost region: %v", err)
			}
			if fault.Times() == 0 {
				t.Error("the fault never fired")
			}
			fault.Remove()
			time.Sleep(time.Minute)
			s.done(t, at(req, model.ActionReverse, "east"))
		})
	}
}

// TestHomeGoesAway loses the old region once it has been asked, while the role moves: then nothing proves the fence.
func TestHomeGoesAway(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionFence, "east")
		req.Mode = model.Unplanned
		h, err := s.d.Fence(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		s.w.Inject(awstest.Fault{Region: regions["east"], How: awstest.Hang})
		if seen := s.engine().Await(t, req, h); seen.State != driver.Failed || !strings.Contains(seen.Err.Error(), "fence-unproven") {
			t.Errorf("%s: %v", seen.State, seen.Err)
		}
		s.done(t, at(req, model.ActionPromote, "west"))
	})
}

// TestNobodyKnowsTheLag: a failover neither waits for CloudWatch nor says what that does not know.
func TestNobodyKnowsTheLag(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionFence, "east")
		fault := s.w.Inject(awstest.Fault{Service: "cloudwatch", How: awstest.Hang})
		began := time.Now()
		seen := s.done(t, req)
		if said, known := driver.ReadBehind(seen.Evidence); known || fault.Times() == 0 {
			t.Errorf("it was behind by %q, and CloudWatch was asked %d times", said, fault.Times())
		}
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("the failover took %s", took)
		}
		fault.Remove()
	})
}

func TestTheOtherRegionCannotBeAsked(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionFence, "east")
		fault := s.w.Inject(awstest.Fault{Region: regions["west"], How: awstest.Refuse})
		_, err := s.d.Fence(t.Context(), req)
		fails(t, err, failure.Unavailable, "fence-unproven")
		if fault.Times() == 0 {
			t.Error("the fault never fired")
		}
	})
}

func TestALostAnswerIsObserved(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionPromote, "west")
		fault := s.w.Inject(awstest.Fault{Action: "FailoverGlobalReplicationGroup", How: awstest.LoseAnswer, Times: 1})
		_, err := s.d.Promote(t.Context(), req) // it does not show yet
		if !errors.Is(err, failure.Indeterminate) {
			t.Fatalf("%v, want indeterminate", err)
		}
		req.Resumed = true
		s.done(t, req)
		if fault.Times() != 1 {
			t.Error("the fault never fired")
		}
		s.roles(t, req, "standby true", "primary true")
	})
}

func TestAFailoverThatAWSDoesNotMake(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionPromote, "west")
		played := s.w.Play(awstest.Script{Action: "FailoverGlobalReplicationGroup", End: awstest.Fail, Times: 1})
		seen := s.run(t, req)
		if seen.State != driver.Failed {
			t.Fatalf("it ends as %s", seen.State)
		}
		fails(t, seen.Err, failure.Conflict, "has not made it the primary")
		if played.Times() != 1 {
			t.Error("the script never played")
		}
		req.Attempt = 2
		s.done(t, req)
	})
}

func TestThrottling(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionPromote, "west")
		fault := s.w.Inject(awstest.Fault{Service: "elasticache", How: awstest.Throttle, Times: 1})
		s.done(t, req)
		if fault.Times() != 1 {
			t.Errorf("throttled %d times", fault.Times())
		}
	})
}

// TestADetachedGroup: what is no member any more may take writes by itself, and is never reported as fenced.
func TestADetachedGroup(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionFence, "east")
		s.done(t, at(req, model.ActionFence, "east"))
		var set Settings
		must(t, json.Unmarshal(req.Resource.Settings, &set))
		_, err := s.client(t, "west").DisassociateGlobalReplicationGroup(t.Context(), &sdk.DisassociateGlobalReplicationGroupInput{
			GlobalReplicationGroupId: &set.Datastore, ReplicationGroupId: aws.String("sessions1-east"), ReplicationGroupRegion: aws.String(regions["east"])})
		must(t, err)
		time.Sleep(10 * time.Minute)
		_, err = s.d.Fence(t.Context(), req)
		fails(t, err, failure.Unavailable, "fence-unproven")
		if got := s.role(t, req, "east"); got != "absent false" {
			t.Errorf("it is %q", got)
		}
		_, err = s.d.Reverse(t.Context(), at(req, model.ActionReverse, "east"))
		fails(t, err, failure.NotFound, "there is no such global datastore")
		found, err := s.d.Check(t.Context(), req)
		must(t, err)
		if len(found) != 1 || found[0].Code != "cache-member" || found[0].Severity != model.Block || !strings.Contains(found[0].Fix, "create-replication-group") {
			t.Errorf("findings %+v", found)
		}
	})
}

func TestTheServingGroupIsNotReversed(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		_, err := s.d.Reverse(t.Context(), s.datastore(t, model.ActionReverse, "east"))
		fails(t, err, failure.Conflict, "it is the primary")
	})
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct{ id, says string }{{"ldgnf-x", ""}, {"", "is missing"}, {"a--b", "no identifier"}, {"${x.y}", ""}} {
		err := (&Settings{Datastore: tt.id}).Validate()
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%q: %v, want %q", tt.id, err, tt.says)
		}
	}
	if err := (&Site{Group: "x"}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "aws: ") {
		t.Errorf("without an access: %v", err)
	}
}

// TestGlobalConformance tries what moves apart from what only waits, and changes nothing whose effects could be counted.
func TestGlobalConformance(t *testing.T) {
	moves, waits := model.ActionFence, model.ActionReverse
	t.Run("moves", func(t *testing.T) {
		drivertest.RunTimed(t, func(t *testing.T) drivertest.Config {
			c, request := globalConformance(t)
			c.Actions = map[model.Action]drivertest.Action{moves: request(moves, "east"), model.ActionPromote: request(model.ActionPromote, "west")}
			c.Untested = map[model.Action]string{waits: "tried apart"}
			return c
		})
	})
	t.Run("waits", func(t *testing.T) {
		drivertest.RunTimed(t, func(t *testing.T) drivertest.Config {
			c, request := globalConformance(t)
			c.Actions = map[model.Action]drivertest.Action{waits: request(waits, "west")}
			c.Untested = map[model.Action]string{moves: "tried apart", model.ActionPromote: "tried apart"}
			c.Effects = nil
			return c
		})
	})
}

// globalConformance is how the driver is tried, in a world of its own, and what makes its requests.
func globalConformance(t *testing.T) (drivertest.Config, func(model.Action, model.SiteID) drivertest.Action) {
	s := newScene(t)
	before := 0
	landed := func() int {
		n := 0
		for _, c := range s.w.Calls() {
			if c.Action == "FailoverGlobalReplicationGroup" && c.Status == 200 {
				n++
			}
		}
		return n
	}
	request := func(action model.Action, site model.SiteID) drivertest.Action {
		return drivertest.Action{Request: func(t testing.TB) driver.Request {
			req := s.datastore(t, action, site)
			before = landed()
			return req
		}}
	}
	return drivertest.Config{
		New:     func() driver.Driver { return NewGlobal(s.base) },
		Must:    []model.Action{model.ActionFence, model.ActionPromote, model.ActionReverse},
		Targets: func(t testing.TB) []driver.Target { return []driver.Target{s.datastore(t, "", "west").Target} },
		Effects: func(testing.TB, driver.Request) int { return landed() - before },
		Break: func(_ testing.TB, site model.SiteID) func() {
			return s.w.Inject(awstest.Fault{Region: regions[site], How: awstest.Refuse}).Remove
		},
		FencesBlind: true,
		Secret:      s.w.Account(account).SecretKey,
		Limit:       3 * time.Hour,
	}, request
}

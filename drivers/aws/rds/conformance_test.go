package rds

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestConformance(t *testing.T) {
	drivertest.RunTimed(t, func(t *testing.T) drivertest.Config { return conformance(t).Config })
}

// trial is a configuration of the suite with its world.
type trial struct {
	drivertest.Config
	world *world
}

// conformance is how the driver is tried, in a world of its own.
func conformance(t *testing.T) trial {
	w := newWorld(t)
	at := func(t testing.TB, action model.Action, site, peer model.SiteID, points int) driver.Request {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		for range points {
			w.done(t, w.request(target, model.ActionCapture, "east", ""))
		}
		if site == "west" && points > 0 {
			w.done(t, w.request(target, model.ActionCopy, "east", ""))
		}
		w.settle(t, "east", string(target.App))
		return w.request(target, action, site, peer)
	}
	action := func(a model.Action, site, peer model.SiteID, points int, change func(*driver.Request)) drivertest.Action {
		return drivertest.Action{Request: func(t testing.TB) driver.Request {
			req := at(t, a, site, peer, points)
			if change != nil {
				change(&req)
			}
			return req
		}}
	}
	return trial{world: w, Config: drivertest.Config{
		New: func() driver.Driver { return w.driver() },
		Must: []model.Action{model.ActionCapture, model.ActionCopy, model.ActionExpire, model.ActionPromote, model.ActionFence, model.ActionQuiesce, model.ActionDrill, model.ActionRelease,
			model.ActionProve, model.ActionRestore, model.ActionReverse, drivertest.Points},
		Actions: map[model.Action]drivertest.Action{
			model.ActionCapture: action(model.ActionCapture, "east", "", 0, nil),
			model.ActionCopy:    action(model.ActionCopy, "east", "", 1, nil),
			model.ActionExpire: action(model.ActionExpire, "east", "", 2, func(req *driver.Request) {
				req.Resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 1}}
			}),
			model.ActionPromote: action(model.ActionPromote, "west", "east", 1, nil),
			model.ActionFence:   action(model.ActionFence, "east", "west", 0, nil),
			model.ActionQuiesce: action(model.ActionQuiesce, "east", "west", 0, nil),
			model.ActionDrill:   action(model.ActionDrill, "west", "east", 1, nil),
			model.ActionRestore: action(model.ActionRestore, "west", "east", 1, func(req *driver.Request) {
				req.Restore = &model.RestoreSpec{Name: string(req.App) + "-back"}
			}),
			model.ActionProve: {Request: func(t testing.TB) driver.Request {
				req := at(t, model.ActionProve, "west", "east", 1)
				points, err := w.driver().Points(t.Context(), req.Target)
				if err != nil || len(points) != 1 {
					t.Fatalf("points: %v %v", points, err)
				}
				req.Prove = &model.ProveSpec{Point: points[0].ID}
				return req
			}},
			model.ActionReverse: action(model.ActionReverse, "west", "east", 0, nil),
		},
		Targets: func(t testing.TB) []driver.Target {
			served := at(t, "", "east", "", 1).Target
			absent := at(t, "", "west", "east", 1).Target
			return []driver.Target{served, absent}
		},
		Effects: func(t testing.TB, req driver.Request) int { return w.effects(t, req) },
		State:   func(t testing.TB) string { return w.state(t) },
		Left: func(t testing.TB, token string) []string {
			i, _ := w.tagged(t, "west", "lifeboat:token", token)
			return i
		},
		Break: func(_ testing.TB, site model.SiteID) func() {
			f := w.w.Inject(awstest.Fault{Region: regions[site], How: awstest.Refuse})
			return f.Remove
		},
		Secret: w.cred.SecretKey,
		Limit:  24 * time.Hour,
	}}
}

// effects counts what a request has changed.
func (w *world) effects(t testing.TB, req driver.Request) int {
	t.Helper()
	eastInstances, eastSnapshots := w.tagged(t, "east", "lifeboat:token", req.Token)
	westInstances, _ := w.tagged(t, "west", "lifeboat:token", req.Token)
	switch req.Action {
	case model.ActionCopy:
		_, copies := w.tagged(t, "west", "lifeboat:app", string(req.App))
		return len(copies)
	case model.ActionExpire:
		_, left := w.tagged(t, "east", "lifeboat:app", string(req.App))
		return 2 - len(left)
	case model.ActionFence:
		i := w.instance(t, "east", string(req.App))
		fence, _ := w.groups("east")
		if i != nil && tagMap(i.TagList)[tagFenceRebooted] == "true" && aws.ToString(i.VpcSecurityGroups[0].VpcSecurityGroupId) == fence {
			return 1
		}
		return 0
	case model.ActionProve:
		_, proved := w.tagged(t, "west", snapshots.TagProvedToken, req.Token)
		return len(proved)
	}
	return len(eastInstances) + len(eastSnapshots) + len(westInstances)
}

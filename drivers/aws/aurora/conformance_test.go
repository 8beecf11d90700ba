package aurora_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/aurora"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// lands is the call that carries out an action; it is made once for a token, however often the action is begun.
var lands = map[model.Action]string{
	model.ActionFence: "SwitchoverGlobalCluster", model.ActionPromote: "SwitchoverGlobalCluster", model.ActionReverse: "CreateGlobalCluster",
	model.ActionDrill: "RestoreDBClusterFromSnapshot", model.ActionCapture: "CreateDBClusterSnapshot", model.ActionCopy: "CopyDBClusterSnapshot", model.ActionExpire: "DeleteDBClusterSnapshot",
	model.ActionProve: "RestoreDBClusterFromSnapshot", model.ActionRestore: "RestoreDBClusterToPointInTime",
}

func TestConformance(t *testing.T) { drivertest.RunTimed(t, conformance) }

// conformance is how the driver of global databases is tried, in a world of its own.
func conformance(t *testing.T) drivertest.Config {
	w := newWorld(t)
	before := map[string]int{} // by database
	try := func(action model.Action, site, peer model.SiteID, change func(t testing.TB, req *driver.Request)) drivertest.Action {
		return drivertest.Action{Request: func(t testing.TB) driver.Request {
			name := w.database(t)
			req := w.request(name, action, site, peer)
			req.Token = ""
			if change != nil {
				change(t, &req)
			}
			before[name] = w.named(lands[action], name)
			return req
		}}
	}
	c := w.common(lands, before)
	c.New = func() driver.Driver { return aurora.New(w.base) }
	c.Must = []model.Action{model.ActionFence, model.ActionPromote, model.ActionReverse, model.ActionDrill, model.ActionRelease, model.ActionCapture, model.ActionCopy, model.ActionExpire,
		model.ActionProve, model.ActionRestore, drivertest.Points}
	c.Actions = map[model.Action]drivertest.Action{
		model.ActionFence:   try(model.ActionFence, "east", "west", nil),
		model.ActionPromote: try(model.ActionPromote, "west", "east", nil),
		model.ActionReverse: try(model.ActionReverse, "east", "west", func(t testing.TB, req *driver.Request) {
			w.detach(t, string(req.Resource.ID))
			req.Operation = model.OpFailback
		}),
		model.ActionDrill:   try(model.ActionDrill, "west", "east", nil),
		model.ActionCapture: try(model.ActionCapture, "east", "", nil),
		model.ActionCopy:    try(model.ActionCopy, "east", "", func(t testing.TB, req *driver.Request) { w.points(t, *req, 1) }),
		model.ActionExpire: try(model.ActionExpire, "east", "", func(t testing.TB, req *driver.Request) {
			w.points(t, *req, 2)
			req.Resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 1}}
		}),
		model.ActionProve: try(model.ActionProve, "east", "", func(t testing.TB, req *driver.Request) {
			req.Prove = &model.ProveSpec{Point: w.points(t, *req, 1)[0]}
		}),
		model.ActionRestore: try(model.ActionRestore, "east", "", func(_ testing.TB, req *driver.Request) {
			req.Restore = &model.RestoreSpec{Name: string(req.Resource.ID) + "-back"}
		}),
	}
	c.Targets = func(t testing.TB) []driver.Target {
		name := w.database(t)
		return []driver.Target{w.request(name, "", "east", "").Target, w.request(name, "", "west", "").Target}
	}
	// AWS takes the role from a cluster that cannot be reached.
	c.FencesBlind = true
	return c
}

// common is what the suites of both kinds have in common. lands is the call that carries out an action; before is how often it was
// made for a database before the suite's own request.
func (w *world) common(lands map[model.Action]string, before map[string]int) drivertest.Config {
	return drivertest.Config{
		Effects: func(t testing.TB, req driver.Request) int {
			name := string(req.Resource.ID)
			return w.named(lands[req.Action], name) - before[name]
		},
		State: func(t testing.TB) string { return w.inventory(t) },
		Left: func(t testing.TB, token string) []string {
			var left []string
			for line := range strings.Lines(w.inventory(t)) {
				if strings.Contains(line, token[:16]) || strings.Contains(line, token[len(token)-16:]) {
					left = append(left, strings.TrimSpace(line))
				}
			}
			return left
		},
		Break: func(_ testing.TB, site model.SiteID) func() {
			fault := w.Inject(awstest.Fault{Region: regions[site], How: awstest.Refuse})
			return func() {
				fault.Remove()
				time.Sleep(time.Minute) // until the base asks there again
			}
		},
		Secret: w.key.SecretKey,
		Limit:  24 * time.Hour,
	}
}

// points makes so many snapshots of a request's database, by the driver, and gives their ids.
func (w *world) points(t testing.TB, req driver.Request, n int) []string {
	t.Helper()
	var out []string
	for range n {
		capture := req
		capture.Action, capture.Step, capture.Token = model.ActionCapture, "before", w.token()
		out = append(out, w.done(t, capture).Outputs["point"].Text)
		time.Sleep(time.Minute)
	}
	return out
}

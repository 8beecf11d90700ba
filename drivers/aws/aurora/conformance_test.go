package aurora_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/aurora"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// lands is the call that carries out an action; it is made once for a token, however often the action is begun.
var lands = map[model.Action]string{
	model.ActionFence: "SwitchoverGlobalCluster", model.ActionPromote: "SwitchoverGlobalCluster", model.ActionReverse: "CreateGlobalCluster",
	model.ActionDrill: "RestoreDBClusterFromSnapshot",
}

// TestConformance has a world of its own whose clock runs fast: the suite waits in real time.
func TestConformance(t *testing.T) {
	clock := awstest.NewClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), 3000)
	fake := awstest.New(awstest.Options{Now: clock.Now, Unlimited: true})
	w := &world{World: fake, key: fake.Account(account), kms: map[model.SiteID]string{}, pass: clock.Advance, deadline: "1s"}
	t.Setenv("AURORA_KEY", w.key.AccessKey)
	t.Setenv("AURORA_SECRET", w.key.SecretKey)
	w.base = awsbase.New(awsbase.Options{HTTP: fake.Client(), Every: time.Millisecond, Silence: time.Millisecond,
		Log: slog.New(slog.DiscardHandler), Rates: map[string]awsbase.Rate{"rds": {Max: 10000, Burst: 1000}}})
	w.d = aurora.New(w.base)
	w.network(t)
	before := map[string]int{} // by database
	try := func(action model.Action, site, peer model.SiteID) drivertest.Action {
		return drivertest.Action{Request: func(t testing.TB) driver.Request {
			name := w.database(t)
			req := w.request(name, action, site, peer)
			req.Token = ""
			if action == model.ActionReverse {
				w.detach(t, name)
				req.Operation = model.OpFailback
			}
			before[name] = w.named(lands[action], name)
			return req
		}}
	}
	drivertest.Run(t, drivertest.Config{
		New:  func() driver.Driver { return aurora.New(w.base).LookingEvery(10 * time.Millisecond) },
		Must: []model.Action{model.ActionFence, model.ActionPromote, model.ActionReverse, model.ActionDrill, model.ActionRelease},
		Actions: map[model.Action]drivertest.Action{
			model.ActionFence: try(model.ActionFence, "east", "west"), model.ActionPromote: try(model.ActionPromote, "west", "east"),
			model.ActionReverse: try(model.ActionReverse, "east", "west"), model.ActionDrill: try(model.ActionDrill, "west", "east"),
		},
		Targets: func(t testing.TB) []driver.Target {
			name := w.database(t)
			return []driver.Target{w.request(name, "", "east", "").Target, w.request(name, "", "west", "").Target}
		},
		Effects: func(_ testing.TB, req driver.Request) int {
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
				time.Sleep(5 * time.Millisecond) // until the base asks there again
			}
		},
		// AWS takes the role from a cluster that cannot be reached.
		FencesBlind: true,
		Secret:      w.key.SecretKey,
	})
	w.base.Wait()
}

package postgres

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestConformance holds the driver to the contract. Each piece of work gets a pair of servers of its own, but for the
// drills, which leave theirs as it was.
func TestConformance(t *testing.T) {
	const password = "hunter2-not-in-any-answer"
	t.Setenv("PGTEST_PASSWORD", password)
	opt := pgtest.Options{Settings: map[string]any{"password": "env:PGTEST_PASSWORD"}}
	p := pgtest.Start(t, opt)
	pair := func(t testing.TB) *pgtest.Pair { return pgtest.Start(t, opt) }
	lost := func(t testing.TB) *pgtest.Pair { // east is lost and fenced, west is the primary
		p := pair(t)
		p.Kill(pgtest.East)
		p.Exec(pgtest.West, "select pg_promote()")
		return p
	}
	drill := func(testing.TB) driver.Request {
		req := request(p, model.ActionDrill, pgtest.West, pgtest.East)
		req.Operation = model.OpDrill
		return req
	}
	drivertest.Run(t, drivertest.Config{
		New: func() driver.Driver { return New(nil) },
		Must: []model.Action{model.ActionFence, model.ActionQuiesce, model.ActionPromote, model.ActionReverse, model.ActionDrill,
			model.ActionRelease, model.ActionReadMarker, drivertest.Cancel, drivertest.WriteMarker, drivertest.Points},
		Targets: func(testing.TB) []driver.Target {
			return []driver.Target{{App: "shop", Resource: p.Resource, Site: pgtest.East, Peer: pgtest.West},
				{App: "shop", Resource: p.Resource, Site: pgtest.West, Peer: pgtest.East}}
		},
		Actions: map[model.Action]drivertest.Action{
			model.ActionFence: {Request: func(t testing.TB) driver.Request {
				return request(pair(t), model.ActionFence, pgtest.East, pgtest.West)
			}},
			model.ActionQuiesce: {Request: func(t testing.TB) driver.Request {
				return request(pair(t), model.ActionQuiesce, pgtest.East, pgtest.West)
			}},
			model.ActionPromote: {Request: func(t testing.TB) driver.Request {
				p := pair(t)
				p.Kill(pgtest.East)
				return request(p, model.ActionPromote, pgtest.West, pgtest.East)
			}},
			model.ActionReverse: {Request: func(t testing.TB) driver.Request {
				return request(lost(t), model.ActionReverse, pgtest.East, pgtest.West)
			}},
			model.ActionDrill: {Request: drill, Slow: drill},
			model.ActionReadMarker: {Request: func(t testing.TB) driver.Request {
				err := New(nil).WriteMarker(t.Context(), driver.Target{App: "shop", Resource: p.Resource}, model.Marker{Seq: 1, At: time.Now()})
				if err != nil {
					t.Fatal(err)
				}
				return request(p, model.ActionReadMarker, pgtest.East, "")
			}},
		},
		State: func(testing.TB) string {
			entries, _ := os.ReadDir(filepath.Join(p.Dir(pgtest.West), "drill"))
			var names string
			for _, e := range entries {
				names += e.Name() + " "
			}
			return names + p.Text(pgtest.East, "pg_is_in_recovery()") + p.Text(pgtest.West, "pg_is_in_recovery()")
		},
		Left: func(_ testing.TB, token string) []string {
			left, _ := filepath.Glob(filepath.Join(p.Dir(pgtest.West), "drill", token+"*"))
			return left
		},
		Secret: password,
	})
}

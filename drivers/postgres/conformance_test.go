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
	withVault(t, p, nil)
	stopped(t, p, pgtest.East, pgtest.West)
	points := pointActions(t, p)
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
			model.ActionRelease, model.ActionReadMarker, model.ActionCapture, model.ActionRestore, model.ActionProve, drivertest.Cancel, drivertest.WriteMarker, drivertest.Points},
		Targets: func(testing.TB) []driver.Target {
			return []driver.Target{{App: "shop", Resource: p.Resource, Site: pgtest.East, Peer: pgtest.West},
				{App: "shop", Resource: p.Resource, Site: pgtest.West, Peer: pgtest.East}}
		},
		Actions: map[model.Action]drivertest.Action{
			model.ActionCapture: points[model.ActionCapture],
			model.ActionRestore: points[model.ActionRestore],
			model.ActionProve:   points[model.ActionProve],
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

// pointActions are tried in a pair with a vault, whose receiver at west runs.
func pointActions(t *testing.T, p *pgtest.Pair) map[model.Action]drivertest.Action {
	stream(t, p, pgtest.West, flowing)
	point := do(t, request(p, model.ActionCapture, pgtest.East, "")).Outputs["point"].Text
	stream(t, p, pgtest.West, func(st model.Stream) bool { return flowing(st) && *st.LagBytes == 0 })
	capture := func(testing.TB) driver.Request { return request(p, model.ActionCapture, pgtest.East, "") }
	return map[model.Action]drivertest.Action{
		model.ActionCapture: {Request: capture, Slow: capture},
		model.ActionRestore: {Request: func(testing.TB) driver.Request {
			req := request(p, model.ActionRestore, pgtest.West, "")
			req.Operation, req.Restore = model.OpRestore, &model.RestoreSpec{Folder: filepath.Join(p.Dir(pgtest.West), "restored-"+req.Token)}
			return req
		}},
		model.ActionProve: {Request: func(testing.TB) driver.Request {
			req := request(p, model.ActionProve, pgtest.West, "")
			req.Operation, req.Prove = model.OpProve, &model.ProveSpec{Point: point}
			return req
		}},
	}
}

// TestConformanceFromTheVault holds the driver to the contract where recovery is from the vault: each piece of work gets a
// primary, a receiver and a point of its own.
func TestConformanceFromTheVault(t *testing.T) {
	long(t)
	const password = "hunter2-not-in-any-answer"
	east, west := pgtest.East, pgtest.West
	world := func(t testing.TB, settings map[string]any) *pgtest.Pair {
		p := lonely(t, settings)
		stream(t, p, west, flowing)
		do(t, request(p, model.ActionCapture, east, ""))
		stream(t, p, west, func(st model.Stream) bool { return flowing(st) && *st.LagBytes == 0 })
		return p
	}
	p := world(t, nil)
	moved := func(t testing.TB) *pgtest.Pair {
		p := world(t, nil)
		p.Kill(east)
		mustJSON(t, os.RemoveAll(p.Data(east)))
		do(t, request(p, model.ActionPromote, west, east))
		return p
	}
	drill := func(testing.TB) driver.Request {
		req := request(p, model.ActionDrill, west, east)
		req.Operation = model.OpDrill
		return req
	}
	points := pointActions(t, p)
	drivertest.Run(t, drivertest.Config{
		New: func() driver.Driver { return New(nil) },
		Targets: func(testing.TB) []driver.Target {
			return []driver.Target{{App: "shop", Resource: p.Resource, Site: east, Peer: west}, {App: "shop", Resource: p.Resource, Site: west, Peer: east}}
		},
		Actions: map[model.Action]drivertest.Action{
			model.ActionCapture: points[model.ActionCapture],
			model.ActionRestore: points[model.ActionRestore],
			model.ActionProve:   points[model.ActionProve],
			model.ActionFence:   {Request: func(t testing.TB) driver.Request { return request(world(t, nil), model.ActionFence, east, west) }},
			model.ActionQuiesce: {Request: func(t testing.TB) driver.Request { return request(world(t, nil), model.ActionQuiesce, east, west) }},
			model.ActionPromote: {Request: func(t testing.TB) driver.Request {
				p := world(t, nil)
				p.Kill(east)
				return request(p, model.ActionPromote, west, east)
			}},
			model.ActionReverse: {Request: func(t testing.TB) driver.Request { return request(moved(t), model.ActionReverse, east, west) }},
			model.ActionDrill:   {Request: drill, Slow: drill},
			model.ActionReadMarker: {Request: func(t testing.TB) driver.Request {
				if err := New(nil).WriteMarker(t.Context(), driver.Target{App: "shop", Resource: p.Resource}, model.Marker{Seq: 1, At: time.Now()}); err != nil {
					t.Fatal(err)
				}
				return request(p, model.ActionReadMarker, east, "")
			}},
		},
		Left: func(_ testing.TB, token string) []string {
			left, _ := filepath.Glob(filepath.Join(p.Dir(west), "drill", token+"*"))
			return left
		},
		Secret: password,
	})
}

package files

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestConformance holds the driver to the contract. Work that changes a site gets a world of its own.
func TestConformance(t *testing.T) {
	const password = "hunter2-not-in-any-answer"
	w := newWorld(t)
	captured := func(t testing.TB) *world {
		w := newWorld(t)
		w.write(w.folder(east)+"/one.txt", "one")
		w.done(model.ActionCapture, east, "")
		return w
	}
	w.write(w.folder(east)+"/one.txt", "one")
	w.must(w.d.WriteMarker(t.Context(), w.target(east, west), model.Marker{Seq: 1, At: time.Now()}))
	w.done(model.ActionCapture, east, "")
	request := func(w *world, action model.Action, at, peer model.SiteID) driver.Request {
		req := w.request(action, at, peer)
		req.Operation = model.OpFailover
		return req
	}
	drill := func(testing.TB) driver.Request {
		req := request(w, model.ActionDrill, west, east)
		req.Operation = model.OpDrill
		return req
	}
	drivertest.Run(t, drivertest.Config{
		New: func() driver.Driver { return w.d },
		Must: []model.Action{model.ActionCapture, model.ActionCopy, model.ActionExpire, model.ActionFence, model.ActionQuiesce,
			model.ActionPromote, model.ActionReverse, model.ActionDrill, model.ActionRelease, model.ActionReadMarker,
			drivertest.Cancel, drivertest.WriteMarker, drivertest.Points},
		Targets: func(testing.TB) []driver.Target { return []driver.Target{w.target(east, west), w.target(west, east)} },
		Actions: map[model.Action]drivertest.Action{
			model.ActionCapture: {Request: func(t testing.TB) driver.Request { return request(captured(t), model.ActionCapture, east, "") }},
			model.ActionCopy:    {Request: func(t testing.TB) driver.Request { return request(captured(t), model.ActionCopy, east, "") }},
			model.ActionExpire: {Request: func(t testing.TB) driver.Request {
				w := captured(t)
				w.resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 1}}
				return request(w, model.ActionExpire, east, "")
			}},
			model.ActionFence:   {Request: func(t testing.TB) driver.Request { return request(captured(t), model.ActionFence, east, west) }},
			model.ActionQuiesce: {Request: func(t testing.TB) driver.Request { return request(captured(t), model.ActionQuiesce, east, west) }},
			model.ActionPromote: {Request: func(t testing.TB) driver.Request {
				w := captured(t)
				w.must(os.RemoveAll(w.folder(east)))
				return request(w, model.ActionPromote, west, east)
			}},
			model.ActionReverse: {Request: func(t testing.TB) driver.Request {
				w := captured(t)
				w.done(model.ActionFence, east, west)
				return request(w, model.ActionReverse, east, west)
			}},
			model.ActionDrill: {Request: drill, Slow: drill},
			model.ActionReadMarker: {Request: func(testing.TB) driver.Request {
				return request(w, model.ActionReadMarker, east, "")
			}},
		},
		State: func(testing.TB) string {
			names, _ := filepath.Glob(filepath.Join(w.root, "*", "*", "*"))
			state := ""
			for _, n := range names {
				if filepath.Base(filepath.Dir(n)) != ".lifeboat" {
					state += n + " "
				}
			}
			return state
		},
		Left: func(_ testing.TB, token string) []string {
			left, _ := filepath.Glob(filepath.Join(w.root, "west", "drill", token+"*"))
			return left
		},
		Secret: password,
	})
}

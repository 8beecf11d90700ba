package aurora_test

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/aurora"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestPolicyIsEnoughAndNeeded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		_, _, groups := w.Network(account, regions["east"])
		change := func(req driver.Request) driver.Request {
			settings := string(req.Resource.Sites["east"])
			req.Resource.Sites["east"] = []byte(settings[:len(settings)-1] + `,"security_groups":["` + groups[0] + `"],"parameter_group":"default.aurora-postgresql16","cluster_parameter_group":"default.aurora-postgresql16","instances":{"number":2,"class":"db.r6g.large"}}`)
			return req
		}
		rig := preflighttest.Rig{World: w.World, User: "arn:aws:iam::" + account + ":user/admin", Driver: w.d, Resource: change(w.request(name, "", "east", "west")).Resource}
		rig.Life = func() {
			points := change(w.request(name, model.ActionExpire, "east", ""))
			points.Resource.Points.Keep = &model.Retention{Last: 1}
			for range 2 {
				w.done(t, w.request(name, model.ActionCapture, "east", ""))
				w.done(t, w.request(name, model.ActionCopy, "east", ""))
			}
			w.done(t, points)
			prove := w.request(name, model.ActionProve, "west", "")
			prove.Prove = &model.ProveSpec{Point: w.kept(t, "west", awsbase.TagResource, name)[0]}
			w.done(t, prove)
			for n, site := range []model.SiteID{"east", "west"} {
				restore := change(w.request(name, model.ActionRestore, site, ""))
				restore.Restore = &model.RestoreSpec{Name: "lookback" + string(rune('a'+n))}
				w.done(t, restore)
			}
			drill := w.request(name, model.ActionDrill, "west", "east")
			w.done(t, drill)
			release := w.request(name, model.ActionRelease, "west", "east")
			release.Released = &driver.Released{Step: drill.Step, Token: drill.Token}
			w.done(t, release)
			w.done(t, w.request(name, model.ActionFence, "east", "west"))
			w.done(t, w.request(name, model.ActionPromote, "west", "east"))
			home := w.request(name, model.ActionFence, "west", "east")
			home.Mode = model.Unplanned
			w.done(t, home)
			w.done(t, w.request(name, model.ActionPromote, "east", "west"))
			time.Sleep(time.Hour) // until the old one follows again
			detached(t, w, name)
			back := change(w.request(name, model.ActionReverse, "east", "west"))
			back.Operation, back.Prepare = model.OpFailback, true
			w.done(t, back)
		}
		rig.Run(t)
	})
}

func TestClusterPolicyIsEnoughAndNeeded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		target := w.ask(name, "", "east", "west").Target
		for id, text := range target.Resource.Sites {
			target.Resource.Sites[id] = []byte(string(text[:len(text)-1]) + `,"parameter_group":"default.aurora-mysql8.0","cluster_parameter_group":"default.aurora-mysql8.0"}`)
		}
		target.Resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 1}}
		ask := func(action model.Action, site, peer model.SiteID) driver.Request {
			req := w.ask(name, action, site, peer)
			req.Resource = target.Resource
			return req
		}
		rig := preflighttest.Rig{World: w.World, User: "arn:aws:iam::" + account + ":user/admin", Driver: aurora.NewCluster(w.base), Resource: target.Resource}
		rig.Life = func() {
			for range 2 {
				w.done(t, ask(model.ActionCapture, "east", ""))
				w.done(t, ask(model.ActionCopy, "east", ""))
			}
			w.done(t, ask(model.ActionExpire, "east", ""))
			prove := ask(model.ActionProve, "west", "")
			prove.Prove = &model.ProveSpec{Point: w.kept(t, "west", awsbase.TagApp, name)[0]}
			w.done(t, prove)
			drill := ask(model.ActionDrill, "west", "east")
			w.done(t, drill)
			release := ask(model.ActionRelease, "west", "east")
			release.Released = &driver.Released{Step: drill.Step, Token: drill.Token}
			w.done(t, release)
			restore := ask(model.ActionRestore, "east", "")
			restore.Restore = &model.RestoreSpec{Name: "lookback"}
			w.done(t, restore)
			w.done(t, ask(model.ActionQuiesce, "east", "west"))
			w.done(t, ask(model.ActionPromote, "east", "west"))
			w.done(t, ask(model.ActionQuiesce, "east", "west"))
			w.done(t, ask(model.ActionPromote, "west", "east"))
			back := ask(model.ActionReverse, "east", "west")
			back.Prepare, back.Operation = true, model.OpFailback
			w.done(t, back)
			w.done(t, ask(model.ActionQuiesce, "west", "east"))
			w.done(t, ask(model.ActionPromote, "east", "west"))
		}
		rig.Run(t)
	})
}

package aurora_test

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
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

package rds

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// user is who works in the tests' worlds.
const user = "arn:aws:iam::" + account + ":user/admin"

func TestPolicyIsEnoughAndNeeded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, func(_ model.SiteID, s *Site) {
			s.ParameterGroup, s.OptionGroup = "default.postgres17", "default:postgres-17"
		})
		w.create(t, target, "east")
		target.Resource.Points.Keep = &model.Retention{Last: 1}
		rig := preflighttest.Rig{World: w.w, User: user, Driver: w.driver(), Resource: target.Resource}
		rig.Life = func() {
			point := ""
			for range 2 {
				point = w.done(t, w.request(target, model.ActionCapture, "east", "")).Outputs["point"].Text
				w.done(t, w.request(target, model.ActionCopy, "east", ""))
			}
			w.done(t, w.request(target, model.ActionExpire, "east", ""))
			prove := w.request(target, model.ActionProve, "west", "")
			prove.Prove = &model.ProveSpec{Point: point}
			w.done(t, prove)
			drill := w.request(target, model.ActionDrill, "west", "east")
			w.done(t, drill)
			release := w.request(target, model.ActionRelease, "west", "east")
			release.Released = &driver.Released{Step: drill.Step, Token: drill.Token}
			w.done(t, release)
			restore := w.request(target, model.ActionRestore, "east", "")
			restore.Restore = &model.RestoreSpec{Name: "lookback"}
			w.done(t, restore)
			w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
			w.done(t, w.request(target, model.ActionPromote, "east", "west"))
			w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
			w.done(t, w.request(target, model.ActionPromote, "west", "east"))
			back := w.request(target, model.ActionReverse, "east", "west")
			back.Prepare, back.Operation = true, model.OpFailback
			w.done(t, back)
			w.done(t, w.request(target, model.ActionQuiesce, "west", "east"))
			w.done(t, w.request(target, model.ActionPromote, "east", "west"))
		}
		rig.Run(t)
	})
}

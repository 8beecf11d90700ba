package rds

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// user is who works in the tests' worlds.
const user = "arn:aws:iam::" + account + ":user/admin"

func TestPolicyIsEnoughAndNeeded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, func(_ model.SiteID, s *Site) {
			s.ParameterGroup, s.OptionGroup, s.ManagePassword = "default.postgres17", "default:postgres-17", true
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
			w.doneAgain(t, restore, "RestoreDBInstanceToPointInTime")
			w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
			w.done(t, w.request(target, model.ActionPromote, "east", "west"))
			w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
			w.doneAgain(t, w.request(target, model.ActionPromote, "west", "east"), "RestoreDBInstanceFromDBSnapshot")
			back := w.request(target, model.ActionReverse, "east", "west")
			back.Prepare, back.Operation = true, model.OpFailback
			w.done(t, back)
			w.done(t, w.request(target, model.ActionQuiesce, "west", "east"))
			w.done(t, w.request(target, model.ActionPromote, "east", "west"))
		}
		rig.Run(t)
	})
}

func TestPolicyByReplicaIsEnoughAndNeeded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, func(_ model.SiteID, s *Site) { s.ParameterGroup = "tuned" })
		target.Resource.Settings = []byte(`{"recovery": "replica"}`)
		w.tuned(t)
		w.create(t, target, "east")
		rig := preflighttest.Rig{World: w.w, User: user, Driver: w.driver(), Resource: target.Resource, Unused: map[string]string{"rds:RestoreDBInstanceToPointInTime": "as by snapshot"}}
		rig.Life = func() {
			w.done(t, w.request(target, model.ActionCapture, "east", ""))
			w.doneAgain(t, w.request(target, model.ActionCopy, "east", ""), "CreateDBInstanceReadReplica")
			drill := w.request(target, model.ActionDrill, "west", "east")
			w.done(t, drill)
			release := w.request(target, model.ActionRelease, "west", "east")
			release.Released = &driver.Released{Step: drill.Step, Token: drill.Token}
			w.done(t, release)
			w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
			w.done(t, w.request(target, model.ActionPromote, "west", "east"))
			for _, req := range w.failback(target) {
				w.done(t, req)
			}
		}
		rig.Run(t)
	})
}

// doneAgain runs a request whose first attempt ends as an instance that fails.
func (w *world) doneAgain(t *testing.T, req driver.Request, action string) {
	t.Helper()
	played := w.w.Play(awstest.Script{Action: action, Phases: []awstest.Phase{{Status: "creating", For: time.Minute}}, End: awstest.Fail, Times: 1})
	if seen := w.run(t, req); seen.State != driver.Failed || seen.Err.Kind != failure.Unavailable || seen.Err.Hint == "" || played.Times() != 1 {
		t.Fatalf("%s is %s after %d failures: %v %v", req.Action, seen.State, played.Times(), seen.Err, seen.Evidence)
	}
	req.Attempt, req.Token = 2, req.Token[:20]+"cccccc"
	w.done(t, req)
}

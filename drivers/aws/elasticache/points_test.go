package elasticache

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// kept is a request about a resource that keeps its last two snapshots, of which n were made an hour apart.
func (s *groupScene) kept(t testing.TB, n int) driver.Request {
	t.Helper()
	req := s.group(t, nil)
	req.Resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 2}}
	for range n {
		s.done(t, s.step(req, model.ActionCapture, "east"))
		time.Sleep(time.Hour)
	}
	return at(req, "", "east")
}

func (s *groupScene) points(t testing.TB, req driver.Request) []model.Point {
	t.Helper()
	found, err := s.driver().Points(t.Context(), req.Target)
	must(t, err)
	return found
}

// TestSnapshotsLive: made, listed, proved, restored under a name, and removed when they need not be kept.
func TestSnapshotsLive(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.kept(t, 3)
		before := s.points(t, req)
		if len(before) != 3 || !before[0].At.After(before[1].At) || before[0].Proof != nil {
			t.Fatalf("points %+v", before)
		}
		prove := s.step(req, model.ActionProve, "east")
		prove.Prove = &model.ProveSpec{Point: before[2].ID}
		_, err := s.driver().Prove(t.Context(), prove)
		must(t, err)
		time.Sleep(time.Minute)
		if n := len(s.points(t, req)); n != 3 {
			t.Errorf("%d points while one is restored", n)
		}
		s.done(t, prove) // begins again, by the same token
		if p := s.points(t, req)[2]; p.Proof == nil || !p.Proof.OK || p.Proof.Took.Std() < 8*time.Minute {
			t.Errorf("the proof is %+v", p.Proof)
		}
		if n := len(s.there(t, "east")); n != 1 {
			t.Errorf("%d groups are there after the proof", n)
		}
		s.done(t, s.step(req, model.ActionCapture, "east"))
		s.done(t, s.step(req, model.ActionExpire, "east"))
		if left := s.points(t, req); len(left) != 3 || left[2].ID != before[2].ID {
			t.Errorf("left %+v, want the last two and the one that was proved", left)
		}
		restore := s.step(req, model.ActionRestore, "east")
		restore.Restore = &model.RestoreSpec{Name: "beside", Point: before[0].ID}
		seen := s.done(t, restore)
		if seen.Outputs["endpoint"].Text == "" || len(s.there(t, "east")) != 2 {
			t.Errorf("restored %v", seen.Outputs)
		}
		var made string
		for _, c := range s.w.Calls() {
			if c.Action == "CreateReplicationGroup" && c.Params["ReplicationGroupId"] == "beside" {
				made = c.Params["SnapshotName"]
			}
		}
		if made != before[0].ID {
			t.Errorf("it was made of %q, want %q", made, before[0].ID)
		}
		again := s.step(req, model.ActionRestore, "east")
		again.Restore, again.Step = restore.Restore, "another"
		if _, err := s.driver().Restore(t.Context(), again); err == nil || failure.KindOf(err) != failure.Exists {
			t.Errorf("a second restore under the name: %v", err)
		}
		if got := s.codes(t, again); got != "cache-name-taken" {
			t.Errorf("findings %q", got)
		}
	})
}

// TestBadSnapshotIsWrittenDown: a snapshot whose restore fails is bad, and says so from then on.
func TestBadSnapshotIsWrittenDown(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.kept(t, 1)
		script := s.w.Play(awstest.Script{Action: "CreateReplicationGroup", End: awstest.Fail, Times: 1})
		prove := s.step(req, model.ActionProve, "east")
		prove.Prove = &model.ProveSpec{Point: s.points(t, req)[0].ID}
		h, err := driver.Begin(t.Context(), s.driver(), prove)
		must(t, err)
		if seen := s.finish(t, prove, h); seen.State != driver.Failed || seen.Err.Kind != failure.Corrupt {
			t.Errorf("it ends as %s: %v", seen.State, seen.Err)
		}
		if p := s.points(t, req)[0]; p.Proof == nil || p.Proof.OK || script.Times() != 1 || len(s.there(t, "east")) != 1 {
			t.Errorf("the proof is %+v; %d failed; %d groups are there", p.Proof, script.Times(), len(s.there(t, "east")))
		}
	})
}

// TestPointsAreAskedFor: snapshots are made of what has a policy; a plan says that they stay in their region.
func TestPointsAreAskedFor(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.kept(t, 0)
		if bare := s.group(t, nil); driver.KeepsPoints(s.driver(), bare.Resource) || !driver.KeepsPoints(s.driver(), req.Resource) {
			t.Error("points are kept without a policy, or not with one")
		}
		if got := s.codes(t, s.step(req, model.ActionPromote, "west")); got != "cache-left-behind" {
			t.Errorf("findings %q", got)
		}
		if got := s.codes(t, s.step(req, model.ActionCapture, "west")); got != "cache-no-group" {
			t.Errorf("findings %q", got)
		}
		for _, tt := range []struct {
			change func(*driver.Request)
			kind   failure.Kind
			says   string
		}{
			{func(req *driver.Request) { req.Restore = nil }, failure.Invalid, "nothing says what the copy is called"},
			{func(req *driver.Request) { req.Restore = &model.RestoreSpec{Name: "a--b"} }, failure.Invalid, "no identifier"},
			{func(req *driver.Request) { req.Restore = &model.RestoreSpec{Name: "x", To: "2026-05-01T10:00:00Z"} }, failure.Unsupported, "snapshots only"},
			{func(req *driver.Request) { req.Restore = &model.RestoreSpec{Name: "x"} }, failure.NotFound, "there is no snapshot"},
		} {
			restore := s.step(req, model.ActionRestore, "east")
			tt.change(&restore)
			_, err := s.driver().Restore(t.Context(), restore)
			fails(t, err, tt.kind, tt.says)
			if got := s.codes(t, restore); got != "cache-point" {
				t.Errorf("findings %q", got)
			}
		}
	})
}

// TestSnapshotAnswerIsLost: a snapshot that was begun without an answer is made once.
func TestSnapshotAnswerIsLost(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.kept(t, 0)
		fault := s.w.Inject(awstest.Fault{Action: "CreateSnapshot", How: awstest.LoseAnswer, Times: 1})
		capture := s.step(req, model.ActionCapture, "east")
		_, err := driver.Begin(t.Context(), s.driver(), capture)
		if fault.Times() != 1 || err == nil || failure.KindOf(err) != failure.Indeterminate {
			t.Fatalf("a lost answer: %v", err)
		}
		s.done(t, capture)
		if n := len(s.points(t, req)); n != 1 {
			t.Errorf("%d snapshots were made", n)
		}
	})
}

package rds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// bubble runs a test whose time is its own.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, newWorld(t))
	})
}

func (w *world) arn(target driver.Target, site model.SiteID) string {
	return awsbase.ARN("aws", "rds", regions[site], account, "db:"+string(target.App))
}

func (w *world) write(t *testing.T, target driver.Target, site model.SiteID, value string) {
	t.Helper()
	if err := w.w.Write(w.arn(target, site), value); err != nil {
		t.Fatal(err)
	}
}

func (w *world) holds(t *testing.T, target driver.Target, site model.SiteID, want ...string) {
	t.Helper()
	got, err := w.w.Data(w.arn(target, site))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("data at %s (-want +got):\n%s", site, diff)
	}
}

func TestUnplannedFailoverWhileHomeHangs(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		w.write(t, target, "east", "one")
		w.done(t, w.request(target, model.ActionCapture, "east", ""))
		w.done(t, w.request(target, model.ActionCopy, "east", ""))
		w.write(t, target, "east", "two")
		lost := w.w.Inject(awstest.Fault{Region: regions["east"], How: awstest.Hang})
		began := time.Now()
		got, err := w.driver().Describe(t.Context(), driver.Target{App: target.App, Resource: target.Resource, Site: "east"})
		if err != nil || got.Role != model.RoleUnreachable {
			t.Errorf("home is %s: %v, want unreachable", got.Role, err)
		}
		_, err = driver.Begin(t.Context(), w.driver(), w.request(target, model.ActionFence, "east", "west"))
		if failure.KindOf(err) != failure.Unavailable || !strings.Contains(err.Error(), "fence-unproven") {
			t.Errorf("the fence of a region that hangs says %v, want fence-unproven", err)
		}
		if n := strings.Count(err.Error(), "db at east"); n != 1 {
			t.Errorf("the error names its subject %d times: %v", n, err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("home held up the recovery for %s", took)
		}
		seen := w.done(t, w.request(target, model.ActionPromote, "west", "east"))
		if to := seen.Outputs["endpoint"]; !strings.HasPrefix(to.Text, string(target.App)+".") || !strings.HasSuffix(to.Text, ":5432") {
			t.Errorf("the endpoint is %q", to.Text)
		}
		w.holds(t, target, "west", "one")
		i := w.instance(t, "west", string(target.App))
		_, serve := w.groups("west")
		if diff := cmp.Diff([]string{serve}, (&instance{DBInstance: *i}).groups()); diff != "" || !aws.ToBool(i.DeletionProtection) {
			t.Errorf("settings of the restored: deletion protection %t, groups (-want +got):\n%s", aws.ToBool(i.DeletionProtection), diff)
		}
		if lost.Times() == 0 {
			t.Errorf("home was never asked")
		}
	})
}

// TestManyGroups fences an instance that is in more security groups than a tag can note: only where the settings say those that it is put
// back into.
func TestManyGroups(t *testing.T) {
	for _, said := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *world) {
			target := w.resource(t, func(_ model.SiteID, s *Site) {
				if !said {
					s.SecurityGroups = nil
				}
			})
			w.create(t, target, "east")
			many := make([]string, 13)
			for i := range many {
				many[i] = fmt.Sprintf("sg-%017x", i+1)
			}
			w.w.Assume(account, regions["east"], many...)
			_, err := w.api(t, "east").ModifyDBInstance(t.Context(), &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String(string(target.App)), VpcSecurityGroupIds: many, ApplyImmediately: aws.Bool(true)})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			if !said {
				_, err := driver.Begin(t.Context(), w.driver(), w.request(target, model.ActionFence, "east", "west"))
				if failure.KindOf(err) != failure.Invalid || !strings.Contains(err.Error(), "13 security groups") || !strings.Contains(failure.HintOf(err), "sites.east.security_groups") {
					t.Errorf("the fence says %v (%s)", err, failure.HintOf(err))
				}
				return
			}
			w.done(t, w.request(target, model.ActionFence, "east", "west"))
			w.done(t, w.request(target, model.ActionPromote, "east", "west"))
			_, serve := w.groups("east")
			if diff := cmp.Diff([]string{serve}, (&instance{DBInstance: *w.instance(t, "east", string(target.App))}).groups()); diff != "" {
				t.Errorf("groups after the fence (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlannedMoveAndFailbackLoseNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		w.write(t, target, "east", "one")
		quiesced := w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
		w.done(t, w.request(target, model.ActionFence, "east", "west"))
		drivertest.HandedOver(t, quiesced, w.done(t, w.request(target, model.ActionPromote, "west", "east")))
		w.holds(t, target, "west", "one")
		w.done(t, w.request(target, model.ActionReverse, "east", "west"))
		if w.instance(t, "east", string(target.App)) == nil {
			t.Fatalf("the old primary is gone after a failover that nobody approved its deletion in")
		}
		w.write(t, target, "west", "two")

		back := w.request(target, model.ActionReverse, "east", "west")
		back.Prepare, back.Operation = true, model.OpFailback
		w.w.Forget()
		prepared := w.done(t, back)
		if w.instance(t, "east", string(target.App)) != nil {
			t.Fatalf("the old primary is there after the failback was prepared")
		}
		proved := false
		for _, c := range w.w.Calls() {
			proved = proved || c.Action == "AddTagsToResource" && strings.Contains(c.Params["ResourceName"], ":snapshot:")
			if c.Action == "DeleteDBInstance" && c.Params["DBInstanceIdentifier"] == string(target.App) && !proved {
				t.Errorf("the old primary was deleted before its last state was proved")
			}
		}
		_, final := w.tagged(t, "east", snapshots.TagProvedOK, "true")
		if len(final) != 1 {
			t.Fatalf("proved snapshots of the old primary: %v, want one", final)
		}
		if got := evidence(prepared, "old state kept"); !strings.HasPrefix(got, "snapshot "+final[0]+" of ") || !strings.Contains(got, "; proved at ") || !strings.Contains(got, "came up after ") {
			t.Errorf("the evidence says of the old state: %q", got)
		}
		quiesced = w.done(t, w.request(target, model.ActionQuiesce, "west", "east"))
		drivertest.HandedOver(t, quiesced, w.done(t, w.request(target, model.ActionPromote, "east", "west")))
		w.holds(t, target, "east", "one", "two")
	})
}

// TestAProofThatWasNotCleanedUp holds that a later attempt removes what an earlier one restored for its proof and left, and says of both
// what they kept.
func TestAProofThatWasNotCleanedUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
		w.done(t, w.request(target, model.ActionPromote, "west", "east"))
		back := w.request(target, model.ActionReverse, "east", "west")
		back.Prepare, back.Operation = true, model.OpFailback
		denied := w.w.Inject(awstest.Fault{Action: "DeleteDBInstance", How: awstest.Error, Code: "AccessDenied", Status: 403})
		h, err := driver.Begin(t.Context(), w.driver(), back)
		for deadline := time.Now().Add(48 * time.Hour); err == nil && time.Now().Before(deadline); time.Sleep(lookAgain) {
			_, err = w.driver().Observe(t.Context(), back, h)
		}
		if failure.KindOf(err) != failure.Denied {
			t.Fatalf("the first attempt ended with %v", err)
		}
		denied.Remove()
		again := w.request(target, model.ActionReverse, "east", "west")
		again.Prepare, again.Operation, again.Attempt = true, model.OpFailback, 2
		seen := w.done(t, again)
		if left := w.instances(t, "east"); len(left) != 0 {
			t.Errorf("instances are left in the east: %+v", left)
		}
		kept := 0
		for _, f := range seen.Evidence {
			if f.Name == "old state kept" && strings.Contains(f.Value, "; proved at ") {
				kept++
			}
		}
		if kept != 2 {
			t.Errorf("%d proved states are named, want both attempts': %v", kept, seen.Evidence)
		}
	})
}

// What an old primary holds that never reached the other site must not come back as the newest state: a failback that is lost
// half way leaves it as the youngest snapshot at home.
func TestLastStateOfTheOldIsNoNewestPoint(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		w.write(t, target, "east", "one")
		w.done(t, w.request(target, model.ActionCapture, "east", ""))
		w.done(t, w.request(target, model.ActionCopy, "east", ""))
		w.write(t, target, "east", "lost")
		w.done(t, w.request(target, model.ActionPromote, "west", "east"))
		w.write(t, target, "west", "two")
		w.done(t, w.request(target, model.ActionCapture, "west", ""))
		w.done(t, w.request(target, model.ActionCopy, "west", ""))

		back := w.request(target, model.ActionReverse, "east", "west")
		back.Prepare, back.Operation = true, model.OpFailback
		h, err := driver.Begin(t.Context(), w.driver(), back)
		if err != nil {
			t.Fatal(err)
		}
		for w.instance(t, "east", string(target.App)) != nil { // until the old one has made way, and not until the new state is here
			if _, err := w.driver().Observe(t.Context(), back, h); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		w.w.Inject(awstest.Fault{Region: regions["west"], How: awstest.Refuse})
		w.done(t, w.request(target, model.ActionPromote, "east", "west"))
		w.holds(t, target, "east", "one", "two")

		points, err := w.driver().Points(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		old := ""
		for _, p := range points {
			if strings.HasPrefix(p.Summary, "last ") {
				old = p.ID
			}
		}
		restore := w.request(target, model.ActionRestore, "east", "")
		restore.Restore = &model.RestoreSpec{Name: "lookback", Point: old}
		w.done(t, restore)
		got, err := w.w.Data(awsbase.ARN("aws", "rds", regions["east"], account, "db:lookback"))
		if diff := cmp.Diff([]string{"one", "lost"}, got); err != nil || diff != "" {
			t.Errorf("the last state of the old one: %v (-want +got):\n%s", err, diff)
		}
		target.Resource.Points.Keep = &model.Retention{Last: 1}
		w.done(t, w.request(target, model.ActionCapture, "east", ""))
		if _, err := driver.Begin(t.Context(), w.driver(), w.request(target, model.ActionExpire, "east", "")); err == nil {
			t.Errorf("expire says nothing of a site that refuses")
		}
		if _, left := w.tagged(t, "east", snapshots.TagOld, "true"); len(left) != 1 {
			t.Errorf("last snapshots of the old instance: %v, want one", left)
		}
	})
}

func TestReverseNeedsWhatServesElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		back := w.request(target, model.ActionReverse, "east", "west")
		back.Prepare = true
		if _, err := driver.Begin(t.Context(), w.driver(), back); failure.KindOf(err) != failure.Conflict {
			t.Errorf("to remove the only instance says %v, want a conflict", err)
		}
		if n := w.w.Count("DeleteDBInstance"); n != 0 {
			t.Errorf("%d deletions were asked for", n)
		}
	})
}

func TestQuiesceIsUndone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
		w.done(t, w.request(target, model.ActionPromote, "east", "west"))
		i := w.instance(t, "east", string(target.App))
		_, serve := w.groups("east")
		if diff := cmp.Diff([]string{serve}, (&instance{DBInstance: *i}).groups()); diff != "" {
			t.Errorf("groups (-want +got):\n%s", diff)
		}
	})
}

func TestExpireKeepsWhatIsNeeded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		var points []string
		for n := range 3 {
			points = append(points, w.done(t, w.request(target, model.ActionCapture, "east", "")).Outputs["point"].Text)
			if n == 0 {
				w.done(t, w.request(target, model.ActionCopy, "east", ""))
				prove := w.request(target, model.ActionProve, "east", "")
				prove.Prove = &model.ProveSpec{Point: points[0]}
				w.done(t, prove)
			}
		}
		target.Resource.Points.Keep = &model.Retention{Last: 1}
		w.done(t, w.request(target, model.ActionExpire, "east", ""))
		_, home := w.tagged(t, "east", "lifeboat:app", string(target.App))
		slices.Sort(home)
		want := []string{points[0], points[2]} // proved; the newest
		slices.Sort(want)
		if diff := cmp.Diff(want, home); diff != "" {
			t.Errorf("at home (-want +got):\n%s", diff)
		}
		if _, copies := w.tagged(t, "west", "lifeboat:app", string(target.App)); len(copies) != 1 {
			t.Errorf("copies %v: the only one was deleted, or another one made", copies)
		}
	})
}

func TestLostAnswersMakeNothingTwice(t *testing.T) {
	for _, action := range []string{"CreateDBSnapshot", "CopyDBSnapshot", "RestoreDBInstanceFromDBSnapshot"} {
		t.Run(action, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				target := w.resource(t, nil)
				w.create(t, target, "east")
				lost := w.w.Inject(awstest.Fault{Action: action, How: awstest.LoseAnswer, Times: 1})
				for _, req := range []driver.Request{w.request(target, model.ActionCapture, "east", ""), w.request(target, model.ActionCopy, "east", ""), w.request(target, model.ActionPromote, "west", "east")} {
					h, err := driver.Begin(t.Context(), w.driver(), req)
					if err != nil && failure.KindOf(err) != failure.Indeterminate {
						t.Fatalf("begin %s: %v", req.Action, err)
					}
					if err != nil {
						req.Resumed = true
						if h, err = driver.Begin(t.Context(), w.driver(), req); err != nil {
							t.Fatalf("begin %s again: %v", req.Action, err)
						}
					}
					if seen := w.await(t, req, h); seen.State != driver.Done {
						t.Fatalf("%s is %s: %v", req.Action, seen.State, seen.Err)
					}
				}
				if lost.Times() != 1 {
					t.Errorf("%d answers were lost, want 1", lost.Times())
				}
				if n := w.w.Count(action); n != 1 {
					t.Errorf("%s was called %d times, want once", action, n)
				}
			})
		})
	}
}

func TestRestores(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		w.write(t, target, "east", "one")
		time.Sleep(20 * time.Minute)
		at := time.Now()
		time.Sleep(20 * time.Minute)
		w.write(t, target, "east", "two")
		time.Sleep(20 * time.Minute)
		for to, want := range map[string][]string{"": {"one", "two"}, at.UTC().Format(time.RFC3339): {"one"}} {
			req := w.request(target, model.ActionRestore, "east", "")
			req.Restore = &model.RestoreSpec{Name: "back" + string(rune('a'+len(want))), To: to}
			w.done(t, req)
			got, err := w.w.Data(awsbase.ARN("aws", "rds", regions["east"], account, "db:"+req.Restore.Name))
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("restored to %q: %v (-want +got):\n%s", to, err, diff)
			}
		}
		taken := w.request(target, model.ActionRestore, "east", "")
		taken.Restore = &model.RestoreSpec{Name: string(target.App)}
		taken.Run = "run2"
		if _, err := driver.Begin(t.Context(), w.driver(), taken); failure.KindOf(err) != failure.Exists {
			t.Errorf("to restore over the instance says %v, want exists", err)
		}
	})
}

func TestProofThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		point := w.done(t, w.request(target, model.ActionCapture, "east", "")).Outputs["point"].Text
		played := w.w.Play(awstest.Script{Action: "RestoreDBInstanceFromDBSnapshot", End: awstest.Fail})
		req := w.request(target, model.ActionProve, "east", "")
		req.Prove = &model.ProveSpec{Point: point}
		seen := w.run(t, req)
		if seen.State != driver.Failed || seen.Err.Kind != failure.Corrupt || played.Times() != 1 {
			t.Fatalf("the proof is %s: %v, after %d scripted restores", seen.State, seen.Err, played.Times())
		}
		points, err := w.driver().Points(t.Context(), target)
		if err != nil || len(points) != 1 || points[0].Proof == nil || points[0].Proof.OK || points[0].ProvedAt != nil {
			t.Errorf("points: %+v %v, want one that is proved bad", points, err)
		}
		if left, _ := w.tagged(t, "east", "lifeboat:token", req.Token); len(left) != 0 {
			t.Errorf("the proof has left %v", left)
		}
	})
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	for want, change := range map[string]func(model.SiteID, *Site){
		"aws: ":                  func(_ model.SiteID, s *Site) { s.AWS = awsbase.Access{} },
		"instance: ":             func(_ model.SiteID, s *Site) { s.Instance = "a--b" },
		"drill: ":                func(_ model.SiteID, s *Site) { s.Drill.SubnetGroup = "" },
		"fence.security_groups:": func(_ model.SiteID, s *Site) { s.Fence.SecurityGroups = s.SecurityGroups },
		"backup_retention: ":     func(_ model.SiteID, s *Site) { s.BackupRetention = aws.Int(36) },
		"is the region of site": func(_ model.SiteID, s *Site) {
			s.AWS.Region = regions["east"]
		},
	} {
		target := w.resource(t, change)
		err := w.driver().ValidateResource(target.Resource)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

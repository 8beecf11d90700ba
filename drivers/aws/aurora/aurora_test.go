package aurora_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/aurora"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestSwitchoverThereAndBack(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		must(t, w.Write(w.arn("east", name), "one"))
		for i, way := range [][2]model.SiteID{{"east", "west"}, {"west", "east"}} {
			from, to := way[0], way[1]
			fenced := w.done(t, w.request(name, model.ActionFence, from, to))
			if err := w.Write(w.arn(from, name), "lost"); err == nil {
				t.Errorf("the fenced cluster in the %s takes writes", from)
			}
			if got := fact(fenced, "moved by"); got != "switchover" {
				t.Errorf("fenced by %q, want a switchover", got)
			}
			if got := fact(fenced, "asked at home"); got != "says the same" {
				t.Errorf("asked at home: %q", got)
			}
			up := w.done(t, w.request(name, model.ActionPromote, to, from))
			drivertest.HandedOver(t, fenced, up)
			if !strings.HasPrefix(up.Outputs["endpoint"].Text, name+"-"+string(to)+".cluster-") || !strings.HasSuffix(up.Outputs["endpoint"].Text, ":5432") {
				t.Errorf("the endpoint is %q", up.Outputs["endpoint"].Text)
			}
			w.done(t, w.request(name, model.ActionReverse, from, to))
			for site, want := range map[model.SiteID]model.Role{to: model.RolePrimary, from: model.RoleStandby} {
				if desc := w.role(t, name, site); desc.Role != want || !desc.Healthy {
					t.Errorf("%s is %s (healthy %v): %s", site, desc.Role, desc.Healthy, desc.Summary)
				}
			}
			must(t, w.Write(w.arn(to, name), string(to)))
			if got := w.changes("SwitchoverGlobalCluster"); got != i+1 {
				t.Errorf("%d switchovers, want %d", got, i+1)
			}
		}
		got, err := w.Data(w.arn("east", name))
		must(t, err)
		if diff := cmp.Diff([]string{"one", "west", "east"}, got); diff != "" {
			t.Errorf("data (-want +got):\n%s", diff)
		}
	})
}

// TestHomeGoesAway loses the old region once it has been asked, while the role moves: then nothing proves the fence.
func TestHomeGoesAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		fence := w.request(name, model.ActionFence, "east", "west")
		fence.Mode = model.Unplanned
		h, err := w.d.Fence(t.Context(), fence)
		must(t, err)
		w.Inject(awstest.Fault{Region: regions["east"], How: awstest.Hang})
		seen := w.watch(t, fence, h)
		if seen.State != driver.Failed || !strings.Contains(seen.Err.Error(), "fence-unproven") {
			t.Errorf("%s: %v", seen.State, seen.Err)
		}
		promote := w.request(name, model.ActionPromote, "west", "east")
		promote.Mode = model.Unplanned
		w.done(t, promote)
	})
}

func TestFailoverWithHomeGone(t *testing.T) {
	for _, how := range []awstest.How{awstest.Hang, awstest.Refuse, awstest.Error500} {
		bubble(t, func(t *testing.T, w *world) {
			name := w.database(t)
			gone := w.Inject(awstest.Fault{Region: regions["east"], How: how})
			began := time.Now()
			fence := w.request(name, model.ActionFence, "east", "west")
			fence.Mode = model.Unplanned
			seen := w.run(t, fence)
			if seen.State != driver.Failed || seen.Err.Kind.Retryable() || !strings.Contains(seen.Err.Error(), "fence-unproven") {
				t.Errorf("nobody knows whether the old cluster takes writes, and the fence is %s: %v", seen.State, seen.Err)
			}
			if got := fact(seen, "moved by"); got != "failover" {
				t.Errorf("moved by %q, want a failover", got)
			}
			promote := w.request(name, model.ActionPromote, "west", "east")
			promote.Mode = model.Unplanned
			w.done(t, promote)
			// AWS takes 125 s here; looking costs at most a few seconds more.
			if took := time.Since(began); took > 160*time.Second {
				t.Errorf("fence and promotion took %s", took)
			}
			must(t, w.Write(w.arn("west", name), "served"))
			if desc := w.role(t, name, "east"); desc.Role != model.RoleUnreachable {
				t.Errorf("east is %s", desc.Role)
			}
			gone.Remove()
			time.Sleep(15 * time.Second) // the silence of what left calls unanswered
			back := w.request(name, model.ActionReverse, "east", "west")
			back.Operation = model.OpFailback
			w.done(t, back)
			if desc := w.role(t, name, "east"); desc.Role != model.RoleStandby || !desc.Healthy {
				t.Errorf("east is %s: %s", desc.Role, desc.Summary)
			}
			if n := w.changes("DeleteDBCluster"); n != 0 {
				t.Errorf("%d clusters were deleted where AWS mends by itself", n)
			}
		})
	}
}

// detached makes the west serve alone, as after a failover that AWS could not do.
func detached(t *testing.T, w *world, name string) {
	t.Helper()
	refused := w.Inject(awstest.Fault{Action: "FailoverGlobalCluster", How: awstest.Error, Code: "InvalidParameterCombination", Message: "not for this version"})
	fence := w.request(name, model.ActionFence, "east", "west")
	fence.Mode = model.Unplanned
	if _, err := w.d.Fence(t.Context(), fence); failure.KindOf(err) != failure.Unavailable || !strings.Contains(err.Error(), "fence-unproven") {
		t.Fatalf("the fence says %v", err)
	}
	promote := w.request(name, model.ActionPromote, "west", "east")
	promote.Mode = model.Unplanned
	seen := w.done(t, promote)
	if fact(seen, "moved by") != "detached" || !strings.Contains(fact(seen, "why not moved by AWS"), "not for this version") {
		t.Errorf("evidence: %v", seen.Evidence)
	}
	if refused.Times() == 0 {
		t.Error("nobody asked for a managed failover")
	}
	refused.Remove()
}

// TestRebuild has the failback's rebuild killed between every two steps: each look is by another process, which begins again with
// the same token first.
func TestRebuild(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		must(t, w.Write(w.arn("east", name), "before"))
		time.Sleep(time.Minute)
		detached(t, w, name)
		must(t, w.Write(w.arn("west", name), "west"))
		must(t, w.Write(w.arn("east", name), "stray")) // the old one was not fenced

		refused := w.request(name, model.ActionReverse, "east", "west")
		if _, err := w.d.Reverse(t.Context(), refused); failure.KindOf(err) != failure.Denied {
			t.Errorf("outside of a failback: %v", err)
		}
		req := w.request(name, model.ActionReverse, "east", "west")
		req.Operation, req.Prepare = model.OpFailback, true
		found, err := w.d.Check(t.Context(), req)
		must(t, err)
		if !slices.ContainsFunc(found, func(f model.Finding) bool { return f.Code == "aurora-rebuild" }) {
			t.Errorf("the check does not say that it rebuilds: %+v", found)
		}
		var seen driver.Observation
		for range 2000 {
			h, err := aurora.New(w.base).Reverse(t.Context(), req)
			must(t, err)
			req.Resumed = true
			if seen, err = aurora.New(w.base).Observe(t.Context(), req, h); err != nil && !failure.KindOf(err).Retryable() {
				t.Fatal(err)
			}
			if seen.State != driver.Pending && seen.State != "" {
				break
			}
			time.Sleep(5 * time.Second)
		}
		if seen.State != driver.Done {
			t.Fatalf("it is %s: %s %v", seen.State, seen.Phase, seen.Err)
		}
		if kept := fact(seen, "old state kept"); !strings.HasPrefix(kept, "snapshot "+name+"-east-final-") || !strings.Contains(kept, "; proved at ") {
			t.Errorf("the evidence says of the old state: %q", kept)
		}
		for action, want := range map[string]int{"CreateDBClusterSnapshot": 1, "RestoreDBClusterFromSnapshot": 1, "CreateGlobalCluster": 2, "DeleteGlobalCluster": 1, "DeleteDBCluster": 2} {
			if got := w.changes(action); got != want {
				t.Errorf("%s: %d times, want %d", action, got, want)
			}
		}
		proofBeforeDeletion(t, w, name)
		for site, want := range map[model.SiteID]model.Role{"west": model.RolePrimary, "east": model.RoleStandby} {
			if desc := w.role(t, name, site); desc.Role != want || !desc.Healthy {
				t.Errorf("%s is %s (healthy %v): %s", site, desc.Role, desc.Healthy, desc.Summary)
			}
		}
		after := w.inventory(t)
		if strings.Contains(after, "proof") || strings.Count(after, "east instance") != 2 || !strings.Contains(after, "east cluster "+name+"-east protected true") {
			t.Errorf("in the end there is:\n%s", after)
		}
		// The final snapshot holds what the old cluster had and nobody else.
		list, err := w.rds("east").DescribeDBClusterSnapshots(t.Context(), &rds.DescribeDBClusterSnapshotsInput{})
		must(t, err)
		if len(list.DBClusterSnapshots) != 2 {
			t.Errorf("%d snapshots, want the final one and the last one", len(list.DBClusterSnapshots))
		}
		got, err := w.Data(w.arn("east", name))
		must(t, err)
		if diff := cmp.Diff([]string{"before", "west"}, got); diff != "" {
			t.Errorf("data (-want +got):\n%s", diff)
		}
	})
}

// proofBeforeDeletion looks that the snapshot was called good before anything of the old cluster was deleted.
func proofBeforeDeletion(t *testing.T, w *world, name string) {
	t.Helper()
	proved := false
	for _, c := range w.Calls() {
		switch {
		case c.Status != 200:
		case c.Action == "AddTagsToResource":
			proved = true
		case c.Action == "DeleteDBCluster" && c.Params["DBClusterIdentifier"] == name+"-east", c.Action == "RemoveFromGlobalCluster" && c.Region == regions["east"],
			c.Action == "DeleteDBInstance" && strings.HasPrefix(c.Params["DBInstanceIdentifier"], name+"-east-") && len(c.Params["DBInstanceIdentifier"]) == len(name+"-east-a"):
			if !proved {
				t.Errorf("%s before the proof", c.Action)
			}
		}
	}
	if !proved {
		t.Error("nothing was proved")
	}
}

func TestBadProofStopsTheRebuild(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		detached(t, w, name)
		before := w.inventory(t)
		bad := w.Play(awstest.Script{Action: "RestoreDBClusterFromSnapshot", End: awstest.Fail})
		req := w.request(name, model.ActionReverse, "east", "west")
		req.Operation = model.OpFailback
		seen := w.run(t, req)
		if seen.State != driver.Failed || seen.Err.Kind != failure.Corrupt {
			t.Fatalf("it is %s: %v", seen.State, seen.Err)
		}
		if bad.Times() != 1 {
			t.Errorf("%d restores failed", bad.Times())
		}
		var left []string
		for line := range strings.Lines(w.inventory(t)) {
			if !strings.Contains(before, strings.TrimSpace(line)) {
				left = append(left, line)
			}
		}
		if len(left) != 1 || !strings.Contains(left[0], "snapshot") {
			t.Errorf("besides the snapshot there is %q", left)
		}
	})
}

func TestNothingIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		w.Inject(awstest.Fault{Region: regions["east"], How: awstest.Hang})
		req := with(w.request(name, model.ActionFence, "east", "west"), `{"global":"`+name+`","allow_data_loss":false}`)
		req.Mode = model.Unplanned
		if _, err := w.d.Fence(t.Context(), req); err == nil {
			t.Error("a failover that may lose nothing was begun without home")
		}
		if got := w.changes("FailoverGlobalCluster"); got != 0 {
			t.Errorf("%d failovers", got)
		}
		req.Force = true
		if seen := w.run(t, req); w.changes("FailoverGlobalCluster") != 1 || !strings.Contains(seen.Err.Error(), "the role has moved") {
			t.Errorf("forced, it is %s: %v", seen.State, seen.Err)
		}
	})
}

func TestAWSGivesTheSwitchoverUp(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		gave := w.Play(awstest.Script{Action: "SwitchoverGlobalCluster", End: awstest.Fail})
		seen := w.run(t, w.request(name, model.ActionFence, "east", "west"))
		if gave.Times() != 1 || seen.State != driver.Failed || seen.Err.Kind != failure.Unavailable {
			t.Errorf("it is %s: %v", seen.State, seen.Err)
		}
		must(t, w.Write(w.arn("east", name), "still"))
	})
}

func TestLostAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		for _, action := range []string{"SwitchoverGlobalCluster", "CreateDBClusterSnapshot", "RestoreDBClusterFromSnapshot", "CreateDBInstance"} {
			w.Inject(awstest.Fault{Action: action, How: awstest.LoseAnswer, Times: 1})
		}
		before := w.inventory(t)
		drill := w.request(name, model.ActionDrill, "west", "east")
		w.done(t, drill)
		release := w.request(name, model.ActionRelease, "west", "east")
		release.Released = &driver.Released{Step: drill.Step, Token: drill.Token}
		w.done(t, release)
		if diff := cmp.Diff(before, w.inventory(t)); diff != "" {
			t.Errorf("the drill left (-before +after):\n%s", diff)
		}
		fenced := w.done(t, w.request(name, model.ActionFence, "east", "west"))
		drivertest.HandedOver(t, fenced, w.done(t, w.request(name, model.ActionPromote, "west", "east")))
	})
}

// TestARoleThatMovedByItself holds that a role which is found moved proves nothing of how it was: it may have been by force.
func TestARoleThatMovedByItself(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		forced := w.request(name, model.ActionFence, "east", "west")
		forced.Mode = model.Unplanned
		for _, req := range []driver.Request{forced, w.request(name, model.ActionFence, "east", "west")} {
			fenced := w.done(t, req)
			if last, ok := driver.ReadLastState(fenced.Evidence); ok {
				t.Errorf("moved by %s, and %q is said to hold everything", fact(fenced, "moved by"), last)
			}
		}
	})
}

func TestServingClusterIsNotTouched(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		req := w.request(name, model.ActionReverse, "east", "west")
		req.Operation = model.OpFailback
		if _, err := w.d.Reverse(t.Context(), req); failure.KindOf(err) != failure.Conflict {
			t.Errorf("reverse of the writer: %v", err)
		}
	})
}

func TestSettingsAreChecked(t *testing.T) {
	good := `"aws":{"account":"111111111111","region":"us-east-1"},"cluster":"c"`
	for _, c := range []struct{ site, says string }{
		{`{` + good + `}`, ""},
		{`{"cluster":"c"}`, "aws: the account and the region are missing"},
		{`{"aws":{"account":"1","region":"us-east-1"},"cluster":"c"}`, "12 digits"},
		{`{"aws":{"account":"111111111111","region":"us-east-1"}}`, "cluster: is missing"},
		{`{` + good + `,"instances":{"class":"large"}}`, "instances.class"},
		{`{` + good + `,"instances":{"number":17}}`, "instances.number"},
		{`{` + good + `,"subnet_group":"app","drill":{"subnet_group":"app"}}`, "not apart"},
		{`{` + good + `,"clutser":"x"}`, "clutser"},
	} {
		_, err := driver.Decode[aurora.Site]([]byte(c.site))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.site, err, c.says)
		}
	}
}

package aurora_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/aurora"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// groups are the security groups of a site: the fence's, and the one that is served in.
func (w *world) groups(site model.SiteID) (fence, serve string) {
	_, _, groups := w.Network(account, regions[site])
	return groups[0], groups[1]
}

// cluster makes an encrypted cluster with two instances in the east, and gives its name.
func (w *world) cluster(t testing.TB) string {
	t.Helper()
	w.n++
	name := fmt.Sprintf("till%d", w.n)
	_, serve := w.groups("east")
	_, err := w.rds("east").CreateDBCluster(t.Context(), &rds.CreateDBClusterInput{DBClusterIdentifier: &name, Engine: aws.String("aurora-mysql"), MasterUsername: aws.String("me"),
		MasterUserPassword: aws.String("hunter2hunter2"), DBSubnetGroupName: aws.String("app"), VpcSecurityGroupIds: []string{serve}, StorageEncrypted: aws.Bool(true), KmsKeyId: aws.String(w.kms["east"]),
		DeletionProtection: aws.Bool(true)})
	must(t, err)
	for n := range 2 {
		id := fmt.Sprintf("%s-%d", name, n+1)
		_, err := w.rds("east").CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{DBInstanceIdentifier: &id, DBClusterIdentifier: &name, Engine: aws.String("aurora-mysql"), DBInstanceClass: aws.String("db.r6g.large")})
		must(t, err)
	}
	time.Sleep(10 * time.Minute)
	return name
}

// ask is a request for one action on a single cluster.
func (w *world) ask(name string, action model.Action, site, peer model.SiteID) driver.Request {
	req := w.request(name, action, site, peer)
	req.App, req.Resource.App, req.Resource.ID, req.Resource.Kind, req.Resource.Settings = model.AppID(name), model.AppID(name), "db", aurora.ClusterKind, nil
	req.Step = model.StepID("db." + string(action))
	for id, region := range regions {
		fence, serve := w.groups(id)
		number := 2
		if id == "west" {
			number = 1
		}
		text, err := json.Marshal(map[string]any{
			"aws":     map[string]any{"account": account, "region": region, "access_key": "env:AURORA_KEY", "secret_key": "env:AURORA_SECRET", "attempt": "2s", "deadline": "4s"},
			"cluster": name, "subnet_group": "app", "security_groups": []string{serve}, "kms_key": w.kms[id], "instances": map[string]any{"number": number, "class": "db.r6g.large"},
			"drill": map[string]any{"subnet_group": "isolated", "class": "db.t4g.medium"}, "fence": map[string]any{"security_groups": []string{fence}},
		})
		if err != nil {
			panic(err)
		}
		req.Resource.Sites[id] = text
	}
	return req
}

func (w *world) single(site model.SiteID, name string) string {
	return awsbase.ARN("aws", "rds", regions[site], account, "cluster:"+name)
}

// holds wants what a cluster holds.
func (w *world) holds(t *testing.T, site model.SiteID, name string, want ...string) {
	t.Helper()
	got, err := w.Data(w.single(site, name))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("data of %s at %s: %v (-want +got):\n%s", name, site, err, diff)
	}
}

// described is a cluster; nil: there is none.
func (w *world) described(t testing.TB, site model.SiteID, name string) *types.DBCluster {
	t.Helper()
	out, err := w.rds(site).DescribeDBClusters(t.Context(), &rds.DescribeDBClustersInput{})
	must(t, err)
	for _, c := range out.DBClusters {
		if *c.DBClusterIdentifier == name {
			return &c
		}
	}
	return nil
}

// kept lists the snapshots at a site with a tag.
func (w *world) kept(t testing.TB, site model.SiteID, tag, value string) []string {
	t.Helper()
	out, err := w.rds(site).DescribeDBClusterSnapshots(t.Context(), &rds.DescribeDBClusterSnapshotsInput{})
	must(t, err)
	var ids []string
	for _, s := range out.DBClusterSnapshots {
		if slices.ContainsFunc(s.TagList, func(one types.Tag) bool { return *one.Key == tag && *one.Value == value }) {
			ids = append(ids, *s.DBClusterSnapshotIdentifier)
		}
	}
	slices.Sort(ids)
	return ids
}

func TestClusterConformance(t *testing.T) { drivertest.RunTimed(t, clusterConformance) }

func clusterConformance(t *testing.T) drivertest.Config {
	w := newWorld(t)
	lands := map[model.Action]string{
		model.ActionCapture: "CreateDBClusterSnapshot", model.ActionCopy: "CopyDBClusterSnapshot", model.ActionExpire: "DeleteDBClusterSnapshot", model.ActionPromote: "RestoreDBClusterFromSnapshot",
		model.ActionFence: "ModifyDBCluster", model.ActionQuiesce: "CopyDBClusterSnapshot", model.ActionDrill: "RestoreDBClusterFromSnapshot", model.ActionProve: "RestoreDBClusterFromSnapshot",
		model.ActionRestore: "RestoreDBClusterFromSnapshot", model.ActionReverse: "CopyDBClusterSnapshot",
	}
	before := map[string]int{}
	try := func(action model.Action, site, peer model.SiteID, points int, change func(t testing.TB, req *driver.Request)) drivertest.Action {
		return drivertest.Action{Request: func(t testing.TB) driver.Request {
			name := w.cluster(t)
			ids := w.points(t, w.ask(name, action, "east", ""), points)
			if site == "west" && points > 0 {
				w.done(t, w.ask(name, model.ActionCopy, "east", ""))
			}
			req := w.ask(name, action, site, peer)
			if action == model.ActionProve {
				req.Prove = &model.ProveSpec{Point: ids[0]}
			}
			if change != nil {
				change(t, &req)
			}
			before[name] = w.named(lands[action], name)
			return req
		}}
	}
	c := w.common(lands, before)
	c.New = func() driver.Driver { return aurora.NewCluster(w.base) }
	c.Must = []model.Action{model.ActionCapture, model.ActionCopy, model.ActionExpire, model.ActionPromote, model.ActionFence, model.ActionQuiesce, model.ActionDrill, model.ActionRelease,
		model.ActionProve, model.ActionRestore, model.ActionReverse, drivertest.Points}
	c.Actions = map[model.Action]drivertest.Action{
		model.ActionCapture: try(model.ActionCapture, "east", "", 0, nil),
		model.ActionCopy:    try(model.ActionCopy, "east", "", 1, nil),
		model.ActionExpire: try(model.ActionExpire, "east", "", 2, func(_ testing.TB, req *driver.Request) {
			req.Resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 1}}
		}),
		model.ActionPromote: try(model.ActionPromote, "west", "east", 1, nil),
		model.ActionFence:   try(model.ActionFence, "east", "west", 0, nil),
		model.ActionQuiesce: try(model.ActionQuiesce, "east", "west", 0, nil),
		model.ActionDrill:   try(model.ActionDrill, "west", "east", 1, nil),
		model.ActionProve:   try(model.ActionProve, "west", "east", 1, nil),
		model.ActionRestore: try(model.ActionRestore, "west", "east", 1, func(_ testing.TB, req *driver.Request) {
			req.Restore = &model.RestoreSpec{Name: string(req.App) + "-back"}
		}),
		model.ActionReverse: try(model.ActionReverse, "west", "east", 0, nil),
	}
	c.Effects = func(_ testing.TB, req driver.Request) int {
		return w.named(lands[req.Action], string(req.App)) - before[string(req.App)]
	}
	c.Targets = func(t testing.TB) []driver.Target {
		serves, absent := w.cluster(t), w.cluster(t)
		w.points(t, w.ask(absent, "", "east", ""), 1)
		w.done(t, w.ask(absent, model.ActionCopy, "east", ""))
		return []driver.Target{w.ask(serves, "", "east", "").Target, w.ask(absent, "", "west", "").Target}
	}
	return c
}

func TestClusterFailoverWhileHomeIsGone(t *testing.T) {
	for _, how := range []awstest.How{awstest.Hang, awstest.Refuse, awstest.Error500} {
		bubble(t, func(t *testing.T, w *world) {
			name := w.cluster(t)
			must(t, w.Write(w.single("east", name), "one"))
			w.done(t, w.ask(name, model.ActionCapture, "east", ""))
			w.done(t, w.ask(name, model.ActionCopy, "east", ""))
			must(t, w.Write(w.single("east", name), "two"))
			points, err := aurora.NewCluster(w.base).Points(t.Context(), w.ask(name, "", "west", "").Target)
			must(t, err)
			gone := w.Inject(awstest.Fault{Region: regions["east"], How: how})
			began := time.Now()
			d := aurora.NewCluster(w.base)
			desc, err := d.Describe(t.Context(), w.ask(name, "", "east", "").Target)
			if err != nil || desc.Role != model.RoleUnreachable {
				t.Errorf("home is %s: %v, want unreachable", desc.Role, err)
			}
			if _, err := d.Fence(t.Context(), w.ask(name, model.ActionFence, "east", "west")); err == nil || failure.KindOf(err) != failure.Unavailable || !strings.Contains(err.Error(), "fence-unproven") {
				t.Errorf("the fence says %v, want fence-unproven", err)
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("home held the recovery up for %s", took)
			}
			seen := w.done(t, w.ask(name, model.ActionPromote, "west", "east"))
			if to := seen.Outputs["endpoint"].Text; !strings.HasPrefix(to, name+".cluster-") || !strings.HasSuffix(to, ":3306") {
				t.Errorf("the endpoint is %q", to)
			}
			w.holds(t, "west", name, "one")
			if of, ok := driver.ReadAsOf(seen.Evidence); !ok || !of.Equal(points[0].At.Truncate(time.Second)) {
				t.Errorf("it holds all until %s, want the instant of the point: %s", of, points[0].At)
			}
			must(t, w.Write(w.single("west", name), "three"))
			if c := w.described(t, "west", name); !aws.ToBool(c.DeletionProtection) || aws.ToString(c.KmsKeyId) != w.kms["west"] || len(c.DBClusterMembers) != 1 {
				t.Errorf("the restored cluster: protection %v, key %s, %d instances", c.DeletionProtection, aws.ToString(c.KmsKeyId), len(c.DBClusterMembers))
			}
			if gone.Times() == 0 {
				t.Error("home was never asked")
			}
		})
	}
}

func TestClusterThereAndBackLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		must(t, w.Write(w.single("east", name), "one"))
		quiesced := w.done(t, w.ask(name, model.ActionQuiesce, "east", "west"))
		w.done(t, w.ask(name, model.ActionFence, "east", "west"))
		drivertest.HandedOver(t, quiesced, w.done(t, w.ask(name, model.ActionPromote, "west", "east")))
		w.holds(t, "west", name, "one")
		w.done(t, w.ask(name, model.ActionReverse, "east", "west"))
		if w.described(t, "east", name) == nil {
			t.Fatal("the old cluster is gone after a failover in which nobody approved that")
		}
		must(t, w.Write(w.single("west", name), "two"))
		var cleared driver.Observation
		w.clears(t, name, func(req driver.Request) { cleared = w.done(t, req) })
		if final := w.kept(t, "east", snapshots.TagProvedOK, "true"); len(final) != 1 || !strings.Contains(fact(cleared, "old state kept"), final[0]) || !strings.Contains(fact(cleared, "old state kept"), "; proved at ") {
			t.Errorf("proved snapshots %v, and the evidence %v", final, cleared.Evidence)
		}
		quiesced = w.done(t, w.ask(name, model.ActionQuiesce, "west", "east"))
		drivertest.HandedOver(t, quiesced, w.done(t, w.ask(name, model.ActionPromote, "east", "west")))
		w.holds(t, "east", name, "one", "two")
		if c := w.described(t, "east", name); len(c.DBClusterMembers) != 2 {
			t.Errorf("%d instances at home, want 2", len(c.DBClusterMembers))
		}
	})
}

// clears carries out what a failback to the east begins with, and looks that the old cluster went after its proof, once, and
// whole.
func (w *world) clears(t *testing.T, name string, carryOut func(driver.Request)) {
	t.Helper()
	before := map[string]int{}
	actions := []string{"DeleteDBCluster", "DeleteDBInstance", "CreateDBClusterSnapshot", "CopyDBClusterSnapshot", "RestoreDBClusterFromSnapshot"}
	for _, action := range actions {
		before[action] = w.named(action, name)
	}
	req := w.ask(name, model.ActionReverse, "east", "west")
	req.Prepare, req.Operation, req.Run = true, model.OpFailback, "back"
	carryOut(req)
	if w.described(t, "east", name) != nil {
		t.Error("the old cluster is there after the failback was prepared")
	}
	// The proof's own cluster and instance are deleted too, and the snapshot that follows is made and copied.
	for n, want := range []int{2, 3, 2, 1, 1} {
		if got := w.named(actions[n], name) - before[actions[n]]; got != want {
			t.Errorf("%s: %d times, want %d", actions[n], got, want)
		}
	}
	proved := false
	for _, c := range w.Calls() {
		proved = proved || c.Action == "AddTagsToResource" && c.Status == 200 && strings.Contains(c.Params["ResourceName"], ":cluster-snapshot:")
		id := c.Params["DBClusterIdentifier"] + c.Params["DBInstanceIdentifier"]
		if (c.Action == "DeleteDBCluster" && id == name || c.Action == "DeleteDBInstance" && len(id) == len(name)+2) && !proved {
			t.Errorf("%s of %s before its last state was proved", c.Action, id)
		}
	}
	if final := w.kept(t, "east", snapshots.TagProvedOK, "true"); len(final) != 1 {
		t.Errorf("proved snapshots of the old cluster: %v, want one", final)
	}
	for line := range strings.Lines(w.inventory(t)) {
		if strings.HasPrefix(line, "east cluster "+name) || strings.HasPrefix(line, "east instance "+name) {
			t.Errorf("left over: %s", line)
		}
	}
}

// What an old cluster holds that never reached the other site must not come back as the newest state.
func TestClusterLastStateOfTheOldIsNoNewestPoint(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		must(t, w.Write(w.single("east", name), "one"))
		w.done(t, w.ask(name, model.ActionCapture, "east", ""))
		w.done(t, w.ask(name, model.ActionCopy, "east", ""))
		must(t, w.Write(w.single("east", name), "lost"))
		w.done(t, w.ask(name, model.ActionPromote, "west", "east"))
		must(t, w.Write(w.single("west", name), "two"))
		w.clears(t, name, func(req driver.Request) { w.done(t, req) })
		w.done(t, w.ask(name, model.ActionPromote, "east", "west"))
		w.holds(t, "east", name, "one", "two")
		look := w.ask(name, model.ActionRestore, "east", "")
		look.Restore = &model.RestoreSpec{Name: name + "-look", Point: w.kept(t, "east", snapshots.TagOld, "true")[0]}
		w.done(t, look)
		w.holds(t, "east", name+"-look", "one", "lost")
	})
}

// A cluster that this run did not make is not taken for the app's own: the plan says so, and so does the step.
func TestClusterOfSomebodyElseIsNotPromoted(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		w.points(t, w.ask(name, "", "east", ""), 1)
		fence, _ := w.groups("east")
		_, err := w.rds("east").ModifyDBCluster(t.Context(), &rds.ModifyDBClusterInput{DBClusterIdentifier: &name, VpcSecurityGroupIds: []string{fence}, ApplyImmediately: aws.Bool(true)})
		must(t, err)
		time.Sleep(time.Minute)
		preview := w.ask(name, model.ActionPromote, "east", "west")
		preview.Run, preview.Step, preview.Token, preview.Preview = "", "", "", true
		found, err := w.driver(preview).Check(t.Context(), preview)
		if err != nil || len(found) != 1 || found[0].Code != "aurora-name-taken" {
			t.Errorf("the preview finds %+v %v", found, err)
		}
		req := w.ask(name, model.ActionPromote, "east", "west")
		if _, err := driver.Begin(t.Context(), w.driver(req), req); err == nil || failure.KindOf(err) != failure.Exists {
			t.Errorf("the promotion says %v, want exists", err)
		}
	})
}

func TestClusterReverseNeedsWhatServesElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		req := w.ask(name, model.ActionReverse, "east", "west")
		req.Prepare, req.Operation = true, model.OpFailback
		if _, err := aurora.NewCluster(w.base).Reverse(t.Context(), req); err == nil || failure.KindOf(err) != failure.Conflict {
			t.Errorf("to remove the only cluster says %v, want a conflict", err)
		}
		if n := w.named("DeleteDBCluster", name) + w.named("DeleteDBInstance", name); n != 0 {
			t.Errorf("%d deletions", n)
		}
	})
}

func TestClusterQuiesceIsUndone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		w.done(t, w.ask(name, model.ActionQuiesce, "east", "west"))
		fence, serve := w.groups("east")
		if c := w.described(t, "east", name); *c.VpcSecurityGroups[0].VpcSecurityGroupId != fence {
			t.Errorf("fenced it is in %s", *c.VpcSecurityGroups[0].VpcSecurityGroupId)
		}
		if got := w.named("RebootDBInstance", name); got != 2 {
			t.Errorf("%d reboots, want one for each instance", got)
		}
		w.done(t, w.ask(name, model.ActionPromote, "east", "west"))
		if c := w.described(t, "east", name); *c.VpcSecurityGroups[0].VpcSecurityGroupId != serve {
			t.Errorf("let out it is in %s", *c.VpcSecurityGroups[0].VpcSecurityGroupId)
		}
		// A second fence reboots again: sessions were opened meanwhile.
		again := w.ask(name, model.ActionFence, "east", "west")
		w.done(t, again)
		if got := w.named("RebootDBInstance", name); got != 4 {
			t.Errorf("%d reboots after the second fence, want 4", got)
		}
	})
}

func TestClusterExpireKeepsWhatIsNeeded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		ids := w.points(t, w.ask(name, "", "east", ""), 1)
		w.done(t, w.ask(name, model.ActionCopy, "east", ""))
		prove := w.ask(name, model.ActionProve, "east", "")
		prove.Prove = &model.ProveSpec{Point: ids[0]}
		w.done(t, prove)
		ids = append(ids, w.points(t, w.ask(name, "", "east", ""), 2)...)
		expire := w.ask(name, model.ActionExpire, "east", "")
		expire.Resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 1}}
		w.done(t, expire)
		want := []string{ids[0], ids[2]} // proved; the newest
		slices.Sort(want)
		if diff := cmp.Diff(want, w.kept(t, "east", awsbase.TagApp, name)); diff != "" {
			t.Errorf("at home (-want +got):\n%s", diff)
		}
		if copies := w.kept(t, "west", awsbase.TagApp, name); len(copies) != 1 {
			t.Errorf("copies %v: the only one was deleted, or another one made", copies)
		}
		// A copy is of the instant of its original, whenever it was made.
		home, err := aurora.NewCluster(w.base).Points(t.Context(), expire.Target)
		must(t, err)
		away, err := aurora.NewCluster(w.base).Points(t.Context(), w.ask(name, "", "west", "").Target)
		must(t, err)
		if len(home) != 2 || len(away) != 1 || !away[0].At.Equal(home[1].At) || home[1].ProvedAt == nil {
			t.Errorf("points at home %+v, away %+v", home, away)
		}
	})
}

func TestClusterLostAnswersMakeNothingTwice(t *testing.T) {
	for _, action := range []string{"CreateDBClusterSnapshot", "CopyDBClusterSnapshot", "RestoreDBClusterFromSnapshot", "CreateDBInstance"} {
		t.Run(action, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				name := w.cluster(t)
				lost := w.Inject(awstest.Fault{Action: action, How: awstest.LoseAnswer, Times: 1})
				slow := w.Inject(awstest.Fault{Service: "rds", Region: regions["west"], How: awstest.Throttle, After: 3, Times: 2})
				for _, req := range []driver.Request{w.ask(name, model.ActionCapture, "east", ""), w.ask(name, model.ActionCopy, "east", ""), w.ask(name, model.ActionPromote, "west", "east")} {
					h, err := driver.Begin(t.Context(), w.driver(req), req)
					if err != nil {
						if failure.KindOf(err) != failure.Indeterminate {
							t.Fatalf("begin %s: %v", req.Action, err)
						}
						req.Resumed = true
						h, err = driver.Begin(t.Context(), w.driver(req), req)
						must(t, err)
					}
					if seen := w.watch(t, req, h); seen.State != driver.Done {
						t.Fatalf("%s is %s: %v", req.Action, seen.State, seen.Err)
					}
				}
				if lost.Times() != 1 || slow.Times() != 2 {
					t.Errorf("%d answers were lost and %d calls throttled", lost.Times(), slow.Times())
				}
				if got, want := w.named(action, name), map[bool]int{true: 3, false: 1}[action == "CreateDBInstance"]; got > want {
					t.Errorf("%s took effect %d times, want at most %d", action, got, want)
				}
			})
		})
	}
}

func TestRestoresUnderAName(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		must(t, w.Write(w.single("east", name), "one"))
		time.Sleep(20 * time.Minute)
		at := time.Now()
		time.Sleep(20 * time.Minute)
		must(t, w.Write(w.single("east", name), "two"))
		time.Sleep(20 * time.Minute)
		for to, want := range map[string][]string{"": {"one", "two"}, at.UTC().Format(time.RFC3339): {"one"}} {
			req := w.ask(name, model.ActionRestore, "east", "")
			req.Restore = &model.RestoreSpec{Name: fmt.Sprintf("%s-back-%d", name, len(want)), To: to}
			w.done(t, req)
			w.holds(t, "east", req.Restore.Name, want...)
			if c := w.described(t, "east", req.Restore.Name); len(c.DBClusterMembers) != 2 || !aws.ToBool(c.DeletionProtection) {
				t.Errorf("restored with %d instances, protected %v", len(c.DBClusterMembers), aws.ToBool(c.DeletionProtection))
			}
		}
		for _, c := range []struct {
			spec model.RestoreSpec
			want failure.Kind
		}{
			{model.RestoreSpec{Name: strings.ToUpper(name)}, failure.Exists},
			{model.RestoreSpec{Name: name + "-back-2"}, failure.Exists},
			{model.RestoreSpec{Name: "a--b"}, failure.Invalid},
			{model.RestoreSpec{Name: strings.Repeat("a", 62)}, failure.Invalid},
			{model.RestoreSpec{Name: "x", To: "lsn:1"}, failure.Unsupported},
			{model.RestoreSpec{Name: "x", To: time.Now().Add(time.Hour).Format(time.RFC3339)}, failure.Invalid},
			{model.RestoreSpec{Name: "x", To: time.Now().Add(-300 * time.Hour).Format(time.RFC3339)}, failure.Invalid},
			{model.RestoreSpec{Name: "x", Point: "none"}, failure.NotFound},
		} {
			req := w.ask(name, model.ActionRestore, "east", "")
			req.Run, req.Restore = "other", &c.spec
			if _, err := driver.Begin(t.Context(), w.driver(req), req); err == nil || failure.KindOf(err) != c.want {
				t.Errorf("%+v: %v, want %s", c.spec, err, c.want)
			}
			found, err := w.driver(req).Check(t.Context(), req)
			if err != nil || len(found) != 1 || found[0].Severity != model.Block {
				t.Errorf("the check of %+v finds %+v %v, want one that blocks", c.spec, found, err)
			}
		}
	})
}

func TestGlobalRestoresAndProves(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.database(t)
		must(t, w.Write(w.arn("east", name), "one"))
		w.done(t, w.request(name, model.ActionCapture, "east", ""))
		w.done(t, w.request(name, model.ActionCopy, "east", ""))
		points, err := w.d.Points(t.Context(), w.request(name, "", "west", "").Target)
		must(t, err)
		if len(points) != 1 || !strings.HasPrefix(points[0].Summary, "copy from us-east-1 of a snapshot of "+name+"-east") {
			t.Fatalf("points in the west: %+v", points)
		}
		before := w.inventory(t)
		prove := w.request(name, model.ActionProve, "west", "")
		prove.Prove = &model.ProveSpec{Point: points[0].ID}
		w.done(t, prove)
		if diff := cmp.Diff(before, w.inventory(t)); diff != "" {
			t.Errorf("the proof left (-before +after):\n%s", diff)
		}
		// The cluster in the west only follows: AWS's own backups are the writer's.
		back := w.request(name, model.ActionRestore, "west", "")
		back.Restore = &model.RestoreSpec{Name: "beside"}
		w.done(t, back)
		w.holds(t, "west", "beside", "one")
		if c := w.described(t, "west", "beside"); aws.ToString(c.GlobalClusterIdentifier) != "" {
			t.Error("the restored cluster is in a global database")
		}
		// A drill's own snapshot is no point.
		drill := w.request(name, model.ActionDrill, "west", "east")
		w.done(t, drill)
		if points, err = w.d.Points(t.Context(), drill.Target); err != nil || len(points) != 1 {
			t.Errorf("points during a drill: %+v %v", points, err)
		}
	})
}

func TestClusterProofThatFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		ids := w.points(t, w.ask(name, "", "east", ""), 1)
		before := w.inventory(t)
		played := w.Play(awstest.Script{Action: "RestoreDBClusterFromSnapshot", End: awstest.Fail})
		req := w.ask(name, model.ActionProve, "east", "")
		req.Prove = &model.ProveSpec{Point: ids[0]}
		seen := w.run(t, req)
		if seen.State != driver.Failed || seen.Err.Kind != failure.Corrupt || played.Times() != 1 {
			t.Fatalf("the proof is %s: %v, after %d restores", seen.State, seen.Err, played.Times())
		}
		points, err := aurora.NewCluster(w.base).Points(t.Context(), req.Target)
		if err != nil || len(points) != 1 || points[0].Proof == nil || points[0].Proof.OK || points[0].ProvedAt != nil {
			t.Errorf("points: %+v %v, want one that is proved bad", points, err)
		}
		if diff := cmp.Diff(before, w.inventory(t)); diff != "" {
			t.Errorf("the proof left (-before +after):\n%s", diff)
		}
	})
}

// An instance that never comes up does not hold up what the others serve; none at all is the end.
func TestClusterComesUpWithWhatItGets(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		name := w.cluster(t)
		w.points(t, w.ask(name, "", "east", ""), 1)
		reader := w.Play(awstest.Script{Action: "CreateDBInstance", Name: "half-2", End: awstest.Fail})
		req := w.ask(name, model.ActionRestore, "east", "")
		req.Restore = &model.RestoreSpec{Name: "half"}
		seen := w.done(t, req)
		if got := fact(seen, "instances that do not come up"); !strings.HasPrefix(got, "half-2 is ") || reader.Times() != 1 {
			t.Errorf("evidence: %v, %d scripted", seen.Evidence, reader.Times())
		}
		w.Play(awstest.Script{Action: "CreateDBInstance", Name: "none-*", End: awstest.Fail})
		req = w.ask(name, model.ActionRestore, "east", "")
		req.Restore = &model.RestoreSpec{Name: "none"}
		if seen := w.run(t, req); seen.State != driver.Failed {
			t.Errorf("without any instance it is %s", seen.State)
		}
	})
}

func TestClusterSettingsAreChecked(t *testing.T) {
	good := `"aws":{"account":"111111111111","region":"us-east-1"},"cluster":"c","instances":{"class":"db.r6g.large"}`
	for _, c := range []struct{ site, says string }{
		{`{` + good + `}`, ""},
		{`{"aws":{"account":"111111111111","region":"us-east-1"},"cluster":"c"}`, "instances.class"},
		{`{"cluster":"c"}`, "aws: the account and the region are missing"},
		{`{` + good + `,"port":70000}`, "port"},
		{`{` + good + `,"backup_retention":36}`, "backup_retention"},
		{`{` + good + `,"fence":{"security_groups":[]}}`, "fence.security_groups"},
		{`{` + good + `,"security_groups":["a"],"fence":{"security_groups":["a"]}}`, "serves in"},
		{`{` + good + `,"clutser":"x"}`, "clutser"},
	} {
		_, err := driver.Decode[aurora.ClusterSite]([]byte(c.site))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.site, err, c.says)
		}
	}
	r := model.Resource{Sites: map[model.SiteID]json.RawMessage{"a": json.RawMessage(`{` + good + `}`), "b": json.RawMessage(`{` + good + `}`)}}
	if err := aurora.NewCluster(nil).ValidateResource(r); err == nil || !strings.Contains(err.Error(), "another region") {
		t.Errorf("two sites in one region: %v", err)
	}
}

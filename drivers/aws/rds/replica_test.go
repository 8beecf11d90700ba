package rds

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// look describes a site.
func (w *world) look(t testing.TB, target driver.Target, site model.SiteID) model.Description {
	t.Helper()
	target.Site = site
	got, err := w.driver().Describe(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// asked counts the successful calls of an action for a request's instance.
func (w *world) asked(action string, req driver.Request) int {
	n := 0
	for _, c := range w.w.Calls() {
		if c.Action == action && c.Status == 200 && c.Params["DBInstanceIdentifier"] == string(req.App) {
			n++
		}
	}
	return n
}

func evidence(seen driver.Observation, name string) string {
	for _, f := range seen.Evidence {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func TestConformanceByReplica(t *testing.T) {
	drivertest.RunTimed(t, func(t *testing.T) drivertest.Config {
		c := conformance(t)
		w := c.world
		request := func(a model.Action, site, peer model.SiteID) drivertest.Action {
			return drivertest.Action{Request: func(t testing.TB) driver.Request {
				target := w.replicated(t, nil)
				w.settle(t, "east", string(target.App))
				return w.request(target, a, site, peer)
			}}
		}
		c.Actions[model.ActionQuiesce] = request(model.ActionQuiesce, "east", "west")
		c.Actions[model.ActionPromote] = request(model.ActionPromote, "west", "east")
		c.Actions[model.ActionDrill] = request(model.ActionDrill, "west", "east")
		alone := func(a model.Action, site, peer model.SiteID) drivertest.Action {
			return drivertest.Action{Request: func(t testing.TB) driver.Request {
				target := w.resource(t, nil)
				target.Resource.Settings = []byte(`{"recovery": "replica"}`)
				w.create(t, target, "east")
				return w.request(target, a, site, peer)
			}}
		}
		c.Actions[model.ActionCopy] = alone(model.ActionCopy, "east", "")
		c.Actions[model.ActionReverse] = alone(model.ActionReverse, "west", "east")
		for action := range c.Actions {
			switch action {
			case model.ActionQuiesce, model.ActionPromote, model.ActionDrill, model.ActionCopy, model.ActionReverse:
			default:
				delete(c.Actions, action)
				if c.Untested == nil {
					c.Untested = map[model.Action]string{}
				}
				c.Untested[action] = "as by snapshot"
			}
		}
		c.Targets = func(t testing.TB) []driver.Target {
			target := w.replicated(t, nil)
			target.Site = "west"
			return []driver.Target{target}
		}
		c.Effects = func(t testing.TB, req driver.Request) int {
			switch req.Action {
			case model.ActionPromote:
				return w.asked("PromoteReadReplica", req)
			case model.ActionQuiesce:
				if i := w.instance(t, "east", string(req.App)); i != nil && tagMap(i.TagList)[tagFencedAt] != "" {
					return 1
				}
				return 0
			case model.ActionCopy:
				return w.asked("CreateDBInstanceReadReplica", req)
			}
			i, s := w.tagged(t, "west", "lifeboat:token", req.Token)
			return len(i) + len(s)/2 // a drill has a snapshot too
		}
		return c.Config
	})
}

func TestReplicaThereAndBackLosesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.replicated(t, nil)
		got := w.look(t, target, "west")
		if got.Role != model.RoleStandby || !got.Healthy || got.LagTime == nil || got.LagTime.Std() != time.Second {
			t.Fatalf("the replica is %s, healthy %t, %v behind: %v", got.Role, got.Healthy, got.LagTime, got.Facts)
		}
		w.write(t, target, "east", "one")
		w.w.Lag(w.arn(target, "west"), 3*time.Minute)
		began := time.Now()
		quiesced := w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
		if took := time.Since(began); took < 5*time.Minute {
			t.Errorf("quiesced after %s, before the replica could hold everything: %v", took, quiesced.Evidence)
		}
		w.done(t, w.request(target, model.ActionFence, "east", "west"))
		drivertest.HandedOver(t, quiesced, w.done(t, w.request(target, model.ActionPromote, "west", "east")))
		w.holds(t, target, "west", "one")
		if n := w.w.Count("RestoreDBInstanceFromDBSnapshot"); n != 0 {
			t.Errorf("%d restores, where a replica was", n)
		}
		if got := w.look(t, target, "west"); got.Role != model.RolePrimary || !got.Healthy {
			t.Errorf("the promoted is %s, healthy %t", got.Role, got.Healthy)
		}
		w.done(t, w.request(target, model.ActionReverse, "east", "west"))
		if got := w.look(t, target, "east"); got.Role != model.RoleFenced {
			t.Fatalf("the old primary is %s after a failover that nobody approved its deletion in", got.Role)
		}
		w.write(t, target, "west", "two")

		back := w.request(target, model.ActionReverse, "east", "west")
		back.Prepare, back.Operation = true, model.OpFailback
		prepared := w.done(t, back)
		i := w.instance(t, "east", string(target.App))
		if got := w.look(t, target, "east"); got.Role != model.RoleStandby || !aws.ToBool(i.DeletionProtection) {
			t.Fatalf("the old primary is %s, protected from deletion %t, want a standby that is", got.Role, aws.ToBool(i.DeletionProtection))
		}
		if _, final := w.tagged(t, "east", "lifeboat:proved-ok", "true"); len(final) != 1 || !strings.Contains(evidence(prepared, "old state kept"), final[0]) {
			t.Errorf("proved snapshots of the old primary: %v, want one, named in %v", final, prepared.Evidence)
		}
		quiesced = w.done(t, w.request(target, model.ActionQuiesce, "west", "east"))
		drivertest.HandedOver(t, quiesced, w.done(t, w.request(target, model.ActionPromote, "east", "west")))
		w.holds(t, target, "east", "one", "two")
		last := w.request(target, model.ActionReverse, "west", "east")
		last.Operation = model.OpFailback
		w.done(t, last)
		if got := w.look(t, target, "west"); got.Role != model.RoleStandby || !got.Healthy {
			t.Errorf("in the end the west is %s, healthy %t: %s", got.Role, got.Healthy, got.Summary)
		}
		if n := w.w.Count("PromoteReadReplica"); n != 2 {
			t.Errorf("%d promotions were asked for, want 2", n)
		}
	})
}

// TestHandOverByAClockThatIsBehind holds that what was accepted before the fence is there, also when our own clock puts the fence ahead of
// that: a replica that stalls then had everything by our clock, and has not by AWS's.
func TestHandOverByAClockThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, awstest.New(awstest.Options{Unlimited: true, Now: func() time.Time { return time.Now().Add(270 * time.Second) }}))
		target := w.replicated(t, nil)
		time.Sleep(10 * time.Minute)
		const stall = 15 * time.Minute
		began := time.Now()
		var stalled sync.WaitGroup
		stalled.Go(func() {
			for time.Since(began) < stall {
				w.w.Lag(w.arn(target, "west"), time.Since(began))
				time.Sleep(10 * time.Second)
			}
			w.w.Lag(w.arn(target, "west"), time.Second)
		})
		time.Sleep(time.Second)
		w.write(t, target, "east", "one")
		quiesced := w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
		if took := time.Since(began); took < stall {
			t.Errorf("quiesced after %s, before the replica could hold everything: %v", took, quiesced.Evidence)
		}
		drivertest.HandedOver(t, quiesced, w.done(t, w.request(target, model.ActionPromote, "west", "east")))
		w.holds(t, target, "west", "one")
		stalled.Wait()
	})
}

func TestUnplannedPromotionWhileHomeIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.replicated(t, func(_ model.SiteID, s *Site) { s.ManagePassword, s.BackupRetention = true, aws.Int(7) })
		w.w.Lag(w.arn(target, "west"), 4*time.Minute)
		w.write(t, target, "east", "one")
		time.Sleep(5 * time.Minute)
		w.write(t, target, "east", "two")
		w.w.Inject(awstest.Fault{Region: regions["east"], How: awstest.Hang})
		began := time.Now()
		seen := w.done(t, w.request(target, model.ActionPromote, "west", "east"))
		if took := time.Since(began); took > 10*time.Minute {
			t.Errorf("promoted after %s", took)
		}
		w.holds(t, target, "west", "one")
		if lag := evidence(seen, "lag"); !strings.HasPrefix(lag, "4m0s at ") {
			t.Errorf("the evidence says of the lag: %q", lag)
		}
		i := w.instance(t, "west", string(target.App))
		if secret := seen.Outputs["secret"].Text; secret == "" || i.MasterUserSecret == nil || secret != aws.ToString(i.MasterUserSecret.SecretArn) {
			t.Errorf("the secret is %q, and the instance has %v", secret, i.MasterUserSecret)
		}
		if aws.ToInt32(i.BackupRetentionPeriod) != 7 || !aws.ToBool(i.DeletionProtection) {
			t.Errorf("backups of %d days, deletion protection %t", aws.ToInt32(i.BackupRetentionPeriod), aws.ToBool(i.DeletionProtection))
		}
	})
}

// A password in Secrets Manager is what AWS makes no replicas of: the way back goes by copies of snapshots.
func TestFailbackOfWhatCannotLead(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.replicated(t, func(_ model.SiteID, s *Site) { s.ManagePassword = true })
		w.done(t, w.request(target, model.ActionQuiesce, "east", "west"))
		w.done(t, w.request(target, model.ActionPromote, "west", "east"))
		w.write(t, target, "west", "one")
		back := w.request(target, model.ActionReverse, "east", "west")
		back.Prepare, back.Operation = true, model.OpFailback
		if seen := w.done(t, back); !strings.Contains(evidence(seen, "replica"), "Secrets Manager") {
			t.Errorf("the evidence says nothing of why there is no replica: %v", seen.Evidence)
		}
		w.done(t, w.request(target, model.ActionQuiesce, "west", "east"))
		promote := w.request(target, model.ActionPromote, "east", "west")
		promote.Mode = model.Planned
		w.done(t, promote)
		w.holds(t, target, "east", "one")
	})
}

func TestReplicaFindings(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		codes := func(req driver.Request) string {
			t.Helper()
			found, err := w.driver().Check(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, f := range found {
				out = append(out, string(f.Severity)+" "+f.Code)
			}
			return strings.Join(out, ", ")
		}
		target := w.replicated(t, nil)
		quiesce, promote := w.request(target, model.ActionQuiesce, "east", "west"), w.request(target, model.ActionPromote, "west", "east")
		if got := codes(quiesce) + codes(promote); got != "" {
			t.Errorf("of a replica that does well: %s", got)
		}
		w.w.Lag(w.arn(target, "west"), -1)
		time.Sleep(3 * time.Minute)
		if got, want := codes(quiesce)+", "+codes(promote), "block rds-replica-stalled, warn rds-replica-stalled"; got != want {
			t.Errorf("of a broken replica: %s, want %s", got, want)
		}
		if got := w.look(t, target, "west"); got.Healthy || got.LagTime != nil || !strings.Contains(got.Summary, "receives nothing") {
			t.Errorf("a broken replica is healthy %t, %v behind: %s", got.Healthy, got.LagTime, got.Summary)
		}

		alone := w.resource(t, nil)
		alone.Resource.Settings = []byte(`{"recovery": "replica"}`)
		w.create(t, alone, "east")
		missing := w.request(alone, model.ActionPromote, "west", "east")
		if got := codes(missing); got != "block rds-no-replica" {
			t.Errorf("of no replica: %s", got)
		}
		if _, err := driver.Begin(t.Context(), w.driver(), missing); failure.KindOf(err) != failure.NotFound {
			t.Errorf("to promote no replica says %v", err)
		}
		_, err := w.api(t, "east").ModifyDBInstance(t.Context(), &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String(string(alone.App)), BackupRetentionPeriod: aws.Int32(0)})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := codes(w.request(alone, model.ActionQuiesce, "east", "west")), "warn rds-no-replica-possible, warn rds-no-replica"; got != want {
			t.Errorf("without backups: %s, want %s", got, want)
		}
		_, err = driver.Begin(t.Context(), w.driver(), w.request(alone, model.ActionCopy, "east", ""))
		if failure.KindOf(err) != failure.Conflict || !strings.Contains(err.Error(), "backups are off") {
			t.Errorf("a replica of what has no backups: %v", err)
		}
	})
}

// A replica of something else is not ours to promote, and one that is there against the settings is not either.
func TestOtherReplicas(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		other, target := w.replicated(t, nil), w.resource(t, nil)
		target.Resource.Settings = []byte(`{"recovery": "replica"}`)
		w.create(t, target, "east")
		_, err := w.api(t, "west").CreateDBInstanceReadReplica(t.Context(), &sdk.CreateDBInstanceReadReplicaInput{DBInstanceIdentifier: aws.String(string(target.App)), KmsKeyId: aws.String(w.keys["west"]),
			SourceDBInstanceIdentifier: aws.String(w.arn(other, "east")), SourceRegion: aws.String(regions["east"]), DBSubnetGroupName: aws.String("default")})
		if err != nil {
			t.Fatal(err)
		}
		w.settle(t, "west", string(target.App))
		if _, err := driver.Begin(t.Context(), w.driver(), w.request(target, model.ActionPromote, "west", "east")); failure.KindOf(err) != failure.Exists {
			t.Errorf("to promote a replica of another instance says %v", err)
		}
		other.Resource.Settings = []byte(`{}`)
		if _, err := driver.Begin(t.Context(), w.driver(), w.request(other, model.ActionPromote, "west", "east")); failure.KindOf(err) != failure.Exists {
			t.Errorf("to promote a replica where snapshots are said: %v", err)
		}
		if n := w.w.Count("PromoteReadReplica"); n != 0 {
			t.Errorf("%d promotions were asked for", n)
		}
	})
}

// tuned makes a parameter group at both sites.
func (w *world) tuned(t testing.TB) {
	t.Helper()
	for _, site := range []model.SiteID{"east", "west"} {
		must(w.api(t, site).CreateDBParameterGroup(t.Context(), &sdk.CreateDBParameterGroupInput{DBParameterGroupName: aws.String("tuned"), DBParameterGroupFamily: aws.String("postgres17"), Description: aws.String("x")}))(t)
	}
}

// An engine whose replicas take no parameter group when they are made gets it later.
func TestReplicaGetsItsParameterGroup(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.tuned(t)
		target := w.replicated(t, func(_ model.SiteID, s *Site) { s.ParameterGroup = "tuned" })
		groups := w.instance(t, "west", string(target.App)).DBParameterGroups
		if len(groups) != 1 || aws.ToString(groups[0].DBParameterGroupName) != "tuned" || aws.ToString(groups[0].ParameterApplyStatus) != "in-sync" {
			t.Errorf("the replica's parameter groups are %+v", groups)
		}
	})
}

// must gives a value that was to be had without an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A drill by replica shows its state, and leaves no snapshot behind.
func TestDrillByReplicaLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.replicated(t, nil)
		w.write(t, target, "east", "one")
		time.Sleep(time.Minute)
		req := w.request(target, model.ActionDrill, "west", "east")
		w.done(t, req)
		name := awsbase.NameFor("drill-"+string(target.App), req.Token, nameLimit)
		got := must(w.w.Data(awsbase.ARN("aws", "rds", regions["west"], account, "db:"+name)))(t)
		if len(got) != 1 || got[0] != "one" {
			t.Errorf("the copy holds %v", got)
		}
		if got := w.look(t, target, "west"); got.Role != model.RoleStandby || !got.Healthy {
			t.Errorf("during the drill the replica is %s, healthy %t", got.Role, got.Healthy)
		}
		release := w.request(target, model.ActionRelease, "west", "")
		release.Released = &driver.Released{Step: req.Step, Token: req.Token}
		w.done(t, release)
		if i, s := w.tagged(t, "west", "lifeboat:token", req.Token); len(i)+len(s) != 0 {
			t.Errorf("left are %v %v", i, s)
		}
	})
}

func TestExaminationByReplica(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		target.Resource.Settings = []byte(`{"recovery": "replica"}`)
		w.create(t, target, "east")
		look := func(site model.SiteID) string {
			t.Helper()
			x := driver.Examination{App: target.App, Site: site, Work: []driver.Request{w.request(target, model.ActionCapture, "east", ""), w.request(target, model.ActionCopy, "east", "")}}
			found, err := w.driver().Examine(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, f := range append(found.Findings, driver.Short(found.Draws)...) {
				if f.Severity != model.Note {
					out = append(out, f.Code)
				}
			}
			return strings.Join(out, " ")
		}
		w.w.Quota(account, regions["west"], "DBInstances", 0)
		if got := look("east") + look("west"); got != "quota" {
			t.Errorf("with no room for a replica: %q", got)
		}
		w.w.Quota(account, regions["west"], "DBInstances", 1)
		w.done(t, w.request(target, model.ActionCopy, "east", ""))
		if got := look("east") + look("west"); got != "" {
			t.Errorf("with a replica that leaves no room: %q", got)
		}
	})
}

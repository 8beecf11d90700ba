package rds

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// examine gives the codes of what an examination finds at a site for some work, each once; notes left out.
func (w *world) examine(t *testing.T, target driver.Target, site model.SiteID, work ...driver.Request) string {
	t.Helper()
	rpo := model.Duration(2 * time.Hour)
	found, err := w.driver().Examine(t.Context(), driver.Examination{App: target.App, Site: site, Work: work, Objective: model.Objective{RPO: &rpo}})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range append(found.Findings, driver.Short(found.Draws)...) {
		if f.Severity == model.Note {
			continue
		}
		out = append(out, f.Code)
		if f.Site != site || f.What == "" || f.Why == "" || f.Fix == "" {
			t.Errorf("a finding without what, why, fix or site: %+v", f)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// TestExamination takes one thing away after the other that a failover to the west needs.
func TestExamination(t *testing.T) {
	for name, c := range map[string]struct {
		site   func(s *Site) // of the west
		world  func(t *testing.T, w *world, target driver.Target)
		want   string
		action model.Action
	}{
		"nothing":            {},
		"a drill":            {action: model.ActionDrill},
		"no subnet group":    {site: func(s *Site) { s.SubnetGroup = "gone" }, want: "aws-subnet-group"},
		"no drill's group":   {site: func(s *Site) { s.Drill.SubnetGroup = "gone" }, want: "aws-subnet-group", action: model.ActionDrill},
		"no security group":  {site: func(s *Site) { s.SecurityGroups = []string{"sg-0123"} }, want: "aws-security-group"},
		"no fence's group":   {site: func(s *Site) { s.Fence.SecurityGroups = []string{"sg-0123"} }, want: "aws-security-group", action: model.ActionFence},
		"no parameter group": {site: func(s *Site) { s.ParameterGroup = "gone" }, want: "aws-parameter-group"},
		"no option group":    {site: func(s *Site) { s.OptionGroup = "gone" }, want: "aws-parameter-group"},
		"no such class":      {site: func(s *Site) { s.Class = "db.x99.huge" }, want: "aws-not-offered"},
		"a class that is not there": {world: func(_ *testing.T, w *world, _ driver.Target) {
			w.w.Withhold(account, regions["west"], "postgres", "", "db.t3.medium")
		}, want: "aws-not-offered"},
		"no key":         {site: func(s *Site) { s.KMSKey = "11111111-2222-3333-4444-555555555555" }, want: "aws-key", action: model.ActionCopy},
		"a disabled key": {world: func(_ *testing.T, w *world, _ driver.Target) { w.w.DisableKey(w.keys["west"]) }, want: "aws-key", action: model.ActionCopy},
		"no room for instances": {world: func(_ *testing.T, w *world, _ driver.Target) {
			w.w.Quota(account, regions["west"], "DBInstances", 0)
		}, want: "quota"},
		"no room for snapshots": {world: func(_ *testing.T, w *world, _ driver.Target) {
			w.w.Quota(account, regions["west"], "ManualSnapshots", 1)
		}, want: "quota", action: model.ActionCopy},
		"an old snapshot": {world: func(_ *testing.T, _ *world, _ driver.Target) { time.Sleep(3 * time.Hour) }, want: "aws-stale"},
		"a certificate that ends": {world: func(t *testing.T, w *world, target driver.Target) {
			_, err := w.api(t, "west").CreateDBInstance(t.Context(), &sdk.CreateDBInstanceInput{DBInstanceIdentifier: aws.String(string(target.App)), DBInstanceClass: aws.String("db.t3.medium"),
				Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20), MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2")})
			if err == nil {
				err = w.w.Certificate(w.arn(target, "west"), time.Now().Add(10*24*time.Hour))
			}
			if err != nil {
				t.Fatal(err)
			}
		}, want: "rds-certificate"},
		"a key of another account": {site: func(s *Site) { s.AWS.Account = "222222222222" }, want: "aws-identity"},
		"a region that refuses": {world: func(_ *testing.T, w *world, _ driver.Target) {
			w.w.Inject(awstest.Fault{Region: regions["west"], How: awstest.Refuse})
		}, want: "aws-not-examined"},
		"a service that fails": {world: func(_ *testing.T, w *world, _ driver.Target) {
			w.w.Inject(awstest.Fault{Region: regions["west"], Service: "rds", How: awstest.Error500})
		}, want: "aws-not-examined"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				target := w.resource(t, func(site model.SiteID, s *Site) {
					if site == "west" && c.site != nil {
						c.site(s)
					}
				})
				plain := w.resource(t, nil)
				plain.App, plain.Resource.App = target.App, target.App // the same instance, with settings that are right
				for site, text := range plain.Resource.Sites {
					plain.Resource.Sites[site] = []byte(strings.ReplaceAll(string(text), "shop2", "shop1"))
				}
				w.create(t, target, "east")
				w.done(t, w.request(plain, model.ActionCapture, "east", ""))
				w.done(t, w.request(plain, model.ActionCopy, "east", ""))
				if c.world != nil {
					c.world(t, w, target)
				}
				action := c.action
				if action == "" {
					action = model.ActionPromote
				}
				site := model.SiteID("west")
				if action == model.ActionCopy {
					site = "east"
				}
				if got := w.examine(t, target, "west", w.request(target, action, site, "east")); got != c.want {
					t.Errorf("found %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestExaminationOfADeadRegionEnds: what hangs is told of within the time that the caller has.
func TestExaminationOfADeadRegionEnds(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		w.w.Inject(awstest.Fault{Region: regions["west"], How: awstest.Hang})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		all, err := w.driver().Examine(ctx, driver.Examination{App: target.App, Site: "west", Work: []driver.Request{w.request(target, model.ActionPromote, "west", "east")}})
		found := all.Findings
		if err != nil || len(found) != 1 || found[0].Code != "aws-not-examined" || found[0].Severity != model.Warn {
			t.Errorf("found %v: %v", found, err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestExaminationWithoutIAM: IAM is in the east, which is lost; calls in the west tell what is allowed there.
func TestExaminationWithoutIAM(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		target := w.resource(t, nil)
		w.create(t, target, "east")
		w.done(t, w.request(target, model.ActionCapture, "east", ""))
		w.done(t, w.request(target, model.ActionCopy, "east", ""))
		work := w.request(target, model.ActionPromote, "west", "east")
		lost := w.w.Inject(awstest.Fault{Region: regions["east"], How: awstest.Hang})
		if got := w.examine(t, target, "west", work); got != "" {
			t.Errorf("found %q", got)
		}
		if err := w.w.Policy(user, `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["rds:Describe*", "ec2:*", "kms:*"], "Resource": "*"}]}`); err != nil {
			t.Fatal(err)
		}
		if got := w.examine(t, target, "west", work); got != "aws-permission" {
			t.Errorf("without permissions: found %q", got)
		}
		if lost.Times() == 0 {
			t.Error("the fault never fired")
		}
	})
}

// TestExaminationAsARole: a role's own policies are asked for, and not those of whoever assumes it.
func TestExaminationAsARole(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		role := w.w.Role(awstest.Role{Account: account, Name: "lifeboat"})
		target := w.resource(t, func(_ model.SiteID, s *Site) { s.AWS.Roles = []awsbase.Role{{ARN: role}} })
		w.create(t, target, "east")
		work := []driver.Request{w.request(target, model.ActionCapture, "east", ""), w.request(target, model.ActionCopy, "east", "")}
		if got := w.examine(t, target, "west", work...); got != "" {
			t.Errorf("found %q", got)
		}
		rig := preflighttest.Rig{Driver: w.driver(), Resource: target.Resource}
		if err := w.w.Policy(role, preflighttest.Documents(t, rig.Needs(t), "rds:CopyDBSnapshot")...); err != nil {
			t.Fatal(err)
		}
		found, err := w.driver().Examine(t.Context(), driver.Examination{App: target.App, Site: "west", Work: work})
		if err != nil {
			t.Fatal(err)
		}
		missing := preflighttest.Missing(found.Findings, "rds:CopyDBSnapshot")
		if len(missing) != 1 || missing[0].Severity != model.Block || !strings.Contains(missing[0].Fix, role) || !strings.Contains(missing[0].Why, "simulator") {
			t.Errorf("found %+v", found.Findings)
		}
	})
}

package rds

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/model"
)

const (
	account = "111111111111"
)

var regions = map[model.SiteID]string{"east": "us-east-1", "west": "us-west-2"}

// world is a fake AWS with two regions for one resource after the other.
type world struct {
	w    *awstest.World
	base *awsbase.Base
	own  *awsbase.Base // the test's, which is not told off by what the drivers could not reach
	keys map[model.SiteID]string
	cred awstest.Credentials
	n    int
}

// newWorld makes one, whose time is the bubble's.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, awstest.New(awstest.Options{Unlimited: true}))
}

func newWorldOf(t *testing.T, w *awstest.World) *world {
	t.Helper()
	o := awsbase.Options{HTTP: awsmodel.Watch(t, w.Client())}
	out := &world{w: w, base: awsbase.New(o), own: awsbase.New(o), keys: map[model.SiteID]string{}, cred: w.Account(account)}
	t.Cleanup(out.base.Wait)
	t.Cleanup(out.own.Wait)
	t.Setenv("RDS_KEY", out.cred.AccessKey)
	t.Setenv("RDS_SECRET", out.cred.SecretKey)
	for site, region := range regions {
		out.keys[site] = w.Key(account, region, "copies")
		_, subnets, _ := w.Network(account, region)
		_, err := out.api(t, site).CreateDBSubnetGroup(t.Context(), &sdk.CreateDBSubnetGroupInput{DBSubnetGroupName: aws.String("apart"), DBSubnetGroupDescription: aws.String("for drills"), SubnetIds: subnets})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (w *world) access(site model.SiteID) awsbase.Access {
	return awsbase.Access{Account: account, Region: regions[site], AccessKey: "env:RDS_KEY", SecretKey: "env:RDS_SECRET",
		Attempt: model.Duration(2 * time.Second), Deadline: model.Duration(4 * time.Second)}
}

func (w *world) driver() *Driver {
	return New(w.base)
}

func (w *world) api(t testing.TB, site model.SiteID) *sdk.Client {
	t.Helper()
	s, err := w.own.Session(context.WithoutCancel(t.Context()), w.access(site))
	if err != nil {
		t.Fatal(err)
	}
	return sdk.NewFromConfig(s.Config("rds"))
}

// groups are the security groups of a site: the fence's, and the one that is served in.
func (w *world) groups(site model.SiteID) (fence, serve string) {
	_, _, groups := w.w.Network(account, regions[site])
	return groups[0], groups[1]
}

// resource is an instance that can be at both sites, of an app of its own.
func (w *world) resource(t testing.TB, change func(site model.SiteID, s *Site)) driver.Target {
	t.Helper()
	w.n++
	name := fmt.Sprintf("shop%d", w.n)
	r := model.Resource{ID: "db", App: model.AppID(name), Kind: Kind, Settings: json.RawMessage(`{}`), Sites: map[model.SiteID]json.RawMessage{},
		Points: &model.PointPolicy{Keep: &model.Retention{Last: 2}}}
	for site := range regions {
		fence, serve := w.groups(site)
		s := Site{AWS: w.access(site), Instance: name, Class: "db.t3.medium", SubnetGroup: "default", SecurityGroups: []string{serve}, KMSKey: w.keys[site], DeletionProtection: true,
			Drill: &DrillSite{SubnetGroup: "apart", SecurityGroups: []string{fence}, Class: "db.t3.micro"}, Fence: &FenceSite{SecurityGroups: []string{fence}}}
		if change != nil {
			change(site, &s)
		}
		r.Sites[site] = workbench.JSON(t, s)
	}
	return driver.Target{App: r.App, Resource: r, Site: "east"}
}

// replicated is a resource that comes back by replicas, with its instance in the east and a replica of it in the west.
func (w *world) replicated(t testing.TB, change func(site model.SiteID, s *Site)) driver.Target {
	t.Helper()
	target := w.resource(t, change)
	target.Resource.Settings = json.RawMessage(`{"recovery": "replica"}`)
	w.create(t, target, "east")
	w.done(t, w.request(target, model.ActionCopy, "east", ""))
	return target
}

// create makes the resource's encrypted instance at a site, and waits until it is available.
func (w *world) create(t testing.TB, target driver.Target, site model.SiteID) {
	t.Helper()
	_, serve := w.groups(site)
	_, err := w.api(t, site).CreateDBInstance(t.Context(), &sdk.CreateDBInstanceInput{
		DBInstanceIdentifier: aws.String(string(target.App)), DBInstanceClass: aws.String("db.t3.medium"), Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20),
		MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2"), StorageEncrypted: aws.Bool(true), DeletionProtection: aws.Bool(true),
		VpcSecurityGroupIds: []string{serve},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.settle(t, site, string(target.App))
}

// settle waits until an instance is available.
func (w *world) settle(t testing.TB, site model.SiteID, name string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Hour); ; {
		i := w.instance(t, site, name)
		if i != nil && aws.ToString(i.DBInstanceStatus) == "available" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("instance %s at %s does not become available", name, site)
		}
		time.Sleep(lookAgain)
	}
}

func (w *world) instances(t testing.TB, site model.SiteID) []types.DBInstance {
	t.Helper()
	out, err := w.api(t, site).DescribeDBInstances(context.WithoutCancel(t.Context()), &sdk.DescribeDBInstancesInput{})
	if err != nil {
		t.Fatal(err)
	}
	return out.DBInstances
}

func (w *world) instance(t testing.TB, site model.SiteID, name string) *types.DBInstance {
	t.Helper()
	for _, i := range w.instances(t, site) {
		if aws.ToString(i.DBInstanceIdentifier) == name {
			return &i
		}
	}
	return nil
}

// snapshots are the manual ones at a site.
func (w *world) snapshots(t testing.TB, site model.SiteID) []types.DBSnapshot {
	t.Helper()
	out, err := w.api(t, site).DescribeDBSnapshots(context.WithoutCancel(t.Context()), &sdk.DescribeDBSnapshotsInput{SnapshotType: aws.String("manual")})
	if err != nil {
		t.Fatal(err)
	}
	return out.DBSnapshots
}

// tagged counts instances and snapshots at a site with a tag.
func (w *world) tagged(t testing.TB, site model.SiteID, key, value string) (instances, snapshots []string) {
	t.Helper()
	for _, i := range w.instances(t, site) {
		if tagMap(i.TagList)[key] == value {
			instances = append(instances, aws.ToString(i.DBInstanceIdentifier))
		}
	}
	for _, s := range w.snapshots(t, site) {
		if tagMap(s.TagList)[key] == value {
			snapshots = append(snapshots, aws.ToString(s.DBSnapshotIdentifier))
		}
	}
	return instances, snapshots
}

// state is everything at both sites in words.
func (w *world) state(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for _, site := range []model.SiteID{"east", "west"} {
		for _, i := range w.instances(t, site) {
			fmt.Fprintln(&b, site, aws.ToString(i.DBInstanceIdentifier), aws.ToString(i.DBInstanceStatus), (&instance{DBInstance: i}).groups(), tagMap(i.TagList))
		}
		for _, s := range w.snapshots(t, site) {
			fmt.Fprintln(&b, site, aws.ToString(s.DBSnapshotIdentifier), aws.ToString(s.Status), tagMap(s.TagList))
		}
	}
	return b.String()
}

func (w *world) request(target driver.Target, action model.Action, site, peer model.SiteID) driver.Request {
	w.n++
	target.Site, target.Peer = site, peer
	return driver.Request{Target: target, Action: action, Operation: model.OpFailover, Run: "run1", Step: model.StepID(fmt.Sprintf("%s-%s", action, target.Resource.ID)), Attempt: 1,
		Token: fmt.Sprintf("%s%d%s", strings.Repeat("a", 10), w.n, strings.Repeat("b", 12))}
}

// engine carries requests out, by another driver value at each look.
func (w *world) engine() workbench.Engine {
	return workbench.Engine{Driver: func(driver.Request) driver.Driver { return w.driver() }, Pause: lookAgain}
}

// run carries an action out.
func (w *world) run(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	return w.engine().Run(t, req)
}

func (w *world) await(t testing.TB, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	return w.engine().Await(t, req, h)
}

// done runs an action that must succeed.
func (w *world) done(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	return w.engine().Done(t, req)
}

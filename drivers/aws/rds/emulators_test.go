package rds

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// lab is the fake or an emulator, and a driver that reaches it.
type lab struct {
	t      *testing.T
	d      *Driver
	access func(site model.SiteID) awsbase.Access
	groups map[model.SiteID][2]string // the fence's, and the one that is served in
	keys   map[model.SiteID]string
	engine workbench.Engine
	looks  int // after so many, work is never over
	n      int
}

// resource is an instance that can be at both sites.
func (l *lab) resource(name, recovery string) driver.Target {
	r := model.Resource{ID: "db", App: model.AppID(name), Kind: Kind, Settings: json.RawMessage(`{"recovery": "` + recovery + `"}`), Sites: map[model.SiteID]json.RawMessage{},
		Points: &model.PointPolicy{Keep: &model.Retention{Last: 1}}}
	for site := range regions {
		r.Sites[site] = workbench.JSON(l.t, Site{AWS: l.access(site), Instance: name, Class: "db.t3.medium", SubnetGroup: "apart", SecurityGroups: []string{l.groups[site][1]}, KMSKey: l.keys[site],
			Drill: &DrillSite{SubnetGroup: "apart", SecurityGroups: []string{l.groups[site][0]}}, Fence: &FenceSite{SecurityGroups: []string{l.groups[site][0]}}})
	}
	return driver.Target{App: r.App, Resource: r, Site: "east"}
}

func (l *lab) api(site model.SiteID) *sdk.Client {
	s, err := l.d.base.Session(l.t.Context(), l.access(site))
	if err != nil {
		l.t.Fatal(err)
	}
	return sdk.NewFromConfig(s.Config("rds"))
}

// create makes the instance at home, and says what becomes of it.
func (l *lab) create(target driver.Target) string {
	name := string(target.App)
	_, err := l.api("east").CreateDBInstance(l.t.Context(), &sdk.CreateDBInstanceInput{DBInstanceIdentifier: &name, DBInstanceClass: aws.String("db.t3.medium"), Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20),
		MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2"), VpcSecurityGroupIds: []string{l.groups["east"][1]}, DBSubnetGroupName: aws.String("apart"), BackupRetentionPeriod: aws.Int32(1)})
	if err != nil {
		return err.Error()
	}
	for range l.looks {
		out, err := l.api("east").DescribeDBInstances(l.t.Context(), &sdk.DescribeDBInstancesInput{DBInstanceIdentifier: &name})
		if err == nil && aws.ToString(out.DBInstances[0].DBInstanceStatus) == "available" {
			return "available"
		}
		time.Sleep(l.engine.Pause)
	}
	return "never"
}

// do carries an action out, and says how it ended and what is at both sites then.
func (l *lab) do(target driver.Target, action model.Action, site, peer model.SiteID, change func(*driver.Request)) string {
	l.n++
	target.Site, target.Peer = site, peer
	req := driver.Request{Target: target, Action: action, Operation: model.OpFailover, Mode: model.Planned, Run: "run1", Step: model.StepID(action), Attempt: 1, Token: fmt.Sprintf("%d%s", l.n, strings.Repeat("l", 20))}
	if change != nil {
		change(&req)
	}
	word := l.engine.Word(l.t.Context(), req, l.looks)
	if word, over := strings.CutPrefix(word, "never: "); over {
		return "never: " + strings.Fields(word + " nothing")[0] + l.there(target)
	}
	if word != string(driver.Done) && word != string(driver.Failed) {
		return word
	}
	return word + l.there(target)
}

// there counts what is of a resource at both sites: instances and snapshots.
func (l *lab) there(target driver.Target) string {
	out := ""
	for _, site := range []model.SiteID{"east", "west"} {
		instances, err := l.api(site).DescribeDBInstances(l.t.Context(), &sdk.DescribeDBInstancesInput{})
		if err != nil {
			return err.Error()
		}
		snapshots, err := l.api(site).DescribeDBSnapshots(l.t.Context(), &sdk.DescribeDBSnapshotsInput{SnapshotType: aws.String("manual")})
		if err != nil {
			return err.Error()
		}
		i, s := 0, 0
		for _, one := range instances.DBInstances {
			if strings.Contains(aws.ToString(one.DBInstanceIdentifier), string(target.App)) {
				i++
			}
		}
		for _, one := range snapshots.DBSnapshots {
			if strings.Contains(aws.ToString(one.DBSnapshotIdentifier), string(target.App)) {
				s++
			}
		}
		out += fmt.Sprintf(" %d+%d", i, s)
	}
	return out
}

func (l *lab) described(target driver.Target, site model.SiteID) string {
	target.Site = site
	desc, err := l.d.Describe(l.t.Context(), target)
	if err != nil {
		return failure.KindOf(err).String()
	}
	return fmt.Sprintf("%s %t", desc.Role, desc.Healthy)
}

// TestEmulators takes instances through their lives on the fake, on moto, and as far as it goes on ministack.
func TestEmulators(t *testing.T) {
	emulator.Compare(t, lifeSteps(), func(t *testing.T, run func(*lab)) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			l := &lab{t: t, d: w.driver(), access: w.access, groups: map[model.SiteID][2]string{}, keys: w.keys, engine: w.engine(), looks: 2000}
			for site := range regions {
				fence, serve := w.groups(site)
				l.groups[site] = [2]string{fence, serve}
			}
			run(l)
		})
	}, func(t *testing.T, at emulator.Endpoint) *lab {
		d := New(workbench.Base(t, at))
		l := &lab{t: t, d: d, looks: 20, groups: map[model.SiteID][2]string{}, keys: map[model.SiteID]string{}}
		l.engine = workbench.Engine{Driver: func(driver.Request) driver.Driver { return d }, Pause: 20 * time.Millisecond}
		l.access = func(site model.SiteID) awsbase.Access { return workbench.Emulated(at, regions[site]) }
		for site, region := range regions {
			l.groups[site] = [2]string{"sg-fence", "sg-serve"}
			_, err := l.api(site).CreateDBSubnetGroup(t.Context(), &sdk.CreateDBSubnetGroupInput{DBSubnetGroupName: aws.String("apart"), DBSubnetGroupDescription: aws.String("x"), SubnetIds: at.Subnets(t, region)})
			if err != nil {
				t.Fatal(err)
			}
		}
		return l
	})
}

// lifeSteps are an instance's life. What is there is told as instances+snapshots, in the east and in the west.
func lifeSteps() []emulator.Step[*lab] {
	none := func(l *lab) driver.Target { return l.resource("kept", bySnapshot) }
	back := func(req *driver.Request) { req.Prepare, req.Operation = true, model.OpFailback }
	return []emulator.Step[*lab]{
		{ID: "instance-absent", Do: func(l *lab) string { return l.described(none(l), "west") }, Want: "absent false"},
		{ID: "instance-made", Do: func(l *lab) string { return l.create(none(l)) }, Want: "available"},
		{ID: "instance-serves", Do: func(l *lab) string { return l.described(none(l), "east") }, Want: "primary true"},
		{ID: "instance-captured", Do: func(l *lab) string { return l.do(none(l), model.ActionCapture, "east", "", nil) }, Want: "done 1+1 0+0"},
		{ID: "instance-copied", Do: func(l *lab) string { return l.do(none(l), model.ActionCopy, "east", "", nil) }, Want: "done 1+1 0+1", Ministack: "unsupported", Why: "the fake and moto: ministack copies no snapshots"},
		{ID: "instance-points", Do: func(l *lab) string { return l.described(none(l), "west") }, Want: "absent true", Ministack: "-"},
		{ID: "instance-expired", Do: func(l *lab) string {
			time.Sleep(time.Second) // snapshots are told apart by seconds
			_ = l.do(none(l), model.ActionCapture, "east", "", nil)
			_ = l.do(none(l), model.ActionCopy, "east", "", nil)
			return l.do(none(l), model.ActionExpire, "east", "", nil)
		}, Want: "done 1+1 0+1", Ministack: "-"},
		{ID: "instance-proved", Do: func(l *lab) string {
			points, err := l.d.Points(l.t.Context(), driver.Target{App: "kept", Resource: none(l).Resource, Site: "west"})
			if err != nil || len(points) == 0 {
				return fmt.Sprint(points, err)
			}
			return l.do(none(l), model.ActionProve, "west", "", func(req *driver.Request) { req.Prove = &model.ProveSpec{Point: points[0].ID} })
		}, Want: "done 1+1 0+1", Ministack: "-"},
		{ID: "instance-drilled", Do: func(l *lab) string {
			return l.do(none(l), model.ActionDrill, "west", "", func(req *driver.Request) { req.Token = strings.Repeat("d", 26) })
		}, Want: "done 1+1 1+1", Ministack: "-"},
		{ID: "instance-released", Do: func(l *lab) string {
			return l.do(none(l), model.ActionRelease, "west", "", func(req *driver.Request) { req.Released = &driver.Released{Token: strings.Repeat("d", 26)} })
		}, Want: "done 1+1 0+1", Ministack: "-"},
		{ID: "instance-moved", Do: func(l *lab) string {
			if said := l.do(none(l), model.ActionQuiesce, "east", "west", nil); !strings.HasPrefix(said, "done") {
				return "quiesce is " + said
			}
			return l.do(none(l), model.ActionPromote, "west", "east", nil)
		}, Want: "done 1+2 1+2", Ministack: "-"},
		{ID: "instance-fenced", Do: func(l *lab) string { return l.described(none(l), "east") }, Want: "fenced false", Ministack: "-"},
		{ID: "instance-made-way", Do: func(l *lab) string { return l.do(none(l), model.ActionReverse, "east", "west", back) }, Want: "done 0+4 1+3", Ministack: "-"},
		{ID: "replica-made", Do: func(l *lab) string {
			target := l.resource("twin", byReplica)
			if said := l.create(target); said != "available" {
				return said
			}
			return l.do(target, model.ActionCopy, "east", "", nil)
		}, Want: "done 1+0 1+0", Moto: "not_found", Ministack: "-", Why: "the fake: CloudWatch says how far a replica is behind; moto makes the replica, and has no such metric"},
		{ID: "replica-stands-by", Do: func(l *lab) string { return l.described(l.resource("twin", byReplica), "west") }, Want: "standby true", Ministack: "-"},
		{ID: "replica-promoted", Do: func(l *lab) string {
			return l.do(l.resource("twin", byReplica), model.ActionPromote, "west", "east", nil)
		}, Want: "done 1+0 1+0", Moto: "never: replica 1+0 1+0", Ministack: "-", Why: "the fake: what was promoted is a replica no more"},
		{ID: "replica-serves", Do: func(l *lab) string { return l.described(l.resource("twin", byReplica), "west") }, Want: "primary true", Moto: "standby true", Ministack: "-", Why: "the fake: what was promoted is a replica no more"},
	}
}

package aurora_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/aurora"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// lab is the fake or an emulator, and the drivers that reach it.
type lab struct {
	t      *testing.T
	base   *awsbase.Base
	api    func(site model.SiteID) *rds.Client
	access func(site model.SiteID) awsbase.Access
	groups func(site model.SiteID) (fence, serve string)
	pause  time.Duration // between two looks
	looks  int           // after so many, work is never over
	n      int
}

// request is about a cluster of its own, or about the global database world.
func (l *lab) request(kind model.Kind, action model.Action, site, peer model.SiteID) driver.Request {
	l.n++
	set, sites := json.RawMessage(nil), map[model.SiteID]json.RawMessage{}
	for id := range regions {
		fence, serve := l.groups(id)
		at := map[string]any{"aws": l.access(id), "cluster": "alone", "subnet_group": "apart", "security_groups": []string{serve}, "instances": map[string]any{"class": "db.r6g.large"},
			"deletion_protection": false, "drill": map[string]any{"subnet_group": "isolated"}}
		if kind == aurora.ClusterKind {
			at["fence"] = map[string]any{"security_groups": []string{fence}}
		} else {
			set, at["cluster"] = json.RawMessage(`{"global": "world"}`), "world-"+string(id)
		}
		sites[id] = workbench.JSON(l.t, at)
	}
	r := model.Resource{ID: "db", App: "shop", Kind: kind, Settings: set, Sites: sites, Points: &model.PointPolicy{Keep: &model.Retention{Last: 1}}}
	return driver.Request{Target: driver.Target{App: "shop", Resource: r, Site: site, Peer: peer}, Action: action, Operation: model.OpFailover, Mode: model.Unplanned, Run: "run1",
		Step: model.StepID(action), Attempt: 1, Token: fmt.Sprintf("%d%s", l.n, strings.Repeat("l", 20))}
}

func (l *lab) driver(kind model.Kind) driver.Driver {
	if kind == aurora.ClusterKind {
		return aurora.NewCluster(l.base)
	}
	return aurora.New(l.base)
}

// do carries an action out, and says how it ended and what is there then: clusters+snapshots, in the east and in the west.
func (l *lab) do(kind model.Kind, action model.Action, site, peer model.SiteID, change func(*driver.Request)) string {
	req := l.request(kind, action, site, peer)
	if change != nil {
		change(&req)
	}
	d := l.driver(kind)
	e := workbench.Engine{Driver: func(driver.Request) driver.Driver { return d }, Pause: l.pause}
	word := e.Word(l.t.Context(), req, l.looks)
	if word == string(driver.Done) || word == string(driver.Failed) {
		word += l.there()
	}
	return word
}

func (l *lab) there() string {
	out := ""
	for _, site := range []model.SiteID{"east", "west"} {
		clusters, err := l.api(site).DescribeDBClusters(l.t.Context(), &rds.DescribeDBClustersInput{})
		if err != nil {
			return err.Error()
		}
		snapshots, err := l.api(site).DescribeDBClusterSnapshots(l.t.Context(), &rds.DescribeDBClusterSnapshotsInput{SnapshotType: aws.String("manual")})
		if err != nil {
			return err.Error()
		}
		out += fmt.Sprintf(" %d+%d", len(clusters.DBClusters), len(snapshots.DBClusterSnapshots))
	}
	return out
}

func (l *lab) described(kind model.Kind, site model.SiteID) string {
	desc, err := l.driver(kind).Describe(l.t.Context(), l.request(kind, "", site, "").Target)
	if err != nil {
		return failure.KindOf(err).String()
	}
	return fmt.Sprintf("%s %t", desc.Role, desc.Healthy)
}

// create makes a cluster with an instance and waits until both are available.
func (l *lab) create(site model.SiteID, name string, in rds.CreateDBClusterInput) string {
	in.DBClusterIdentifier, in.Engine, in.DBSubnetGroupName = &name, aws.String("aurora-mysql"), aws.String("apart")
	if _, err := l.api(site).CreateDBCluster(l.t.Context(), &in); err != nil {
		return err.Error()
	}
	one := name + "-1"
	_, err := l.api(site).CreateDBInstance(l.t.Context(), &rds.CreateDBInstanceInput{DBInstanceIdentifier: &one, DBClusterIdentifier: &name, Engine: in.Engine, DBInstanceClass: aws.String("db.r6g.large")})
	if err != nil {
		return err.Error()
	}
	for range l.looks {
		c, err := l.api(site).DescribeDBClusters(l.t.Context(), &rds.DescribeDBClustersInput{DBClusterIdentifier: &name})
		i, also := l.api(site).DescribeDBInstances(l.t.Context(), &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &one})
		if err == nil && also == nil && aws.ToString(c.DBClusters[0].Status) == "available" && aws.ToString(i.DBInstances[0].DBInstanceStatus) == "available" {
			return "available"
		}
		time.Sleep(l.pause)
	}
	return "never"
}

// world makes the global database.
func (l *lab) world() string {
	version := aws.String("8.0.mysql_aurora.3.04.3")
	_, err := l.api("east").CreateGlobalCluster(l.t.Context(), &rds.CreateGlobalClusterInput{GlobalClusterIdentifier: aws.String("world"), Engine: aws.String("aurora-mysql"), EngineVersion: version})
	if err != nil {
		return err.Error()
	}
	in := rds.CreateDBClusterInput{EngineVersion: version, GlobalClusterIdentifier: aws.String("world")}
	first := in
	first.MasterUsername, first.MasterUserPassword = aws.String("me"), aws.String("hunter2hunter2")
	if said := l.create("east", "world-east", first); said != "available" {
		return said
	}
	return l.create("west", "world-west", in)
}

// TestEmulators takes a cluster and a global database through their lives on the fake, and as far as it goes on moto and ministack.
func TestEmulators(t *testing.T) {
	emulator.Compare(t, lifeSteps(), func(t *testing.T, run func(*lab)) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			l := &lab{t: t, base: w.base, api: w.rds, groups: w.groups, pause: 30 * time.Second, looks: 2000}
			l.access = func(site model.SiteID) awsbase.Access { return workbench.Fake(t, w.World, account, regions[site]) }
			l.subnetGroup("apart", func(site model.SiteID) []string {
				_, subnets, _ := w.Network(account, regions[site])
				return subnets
			})
			run(l)
		})
	}, func(t *testing.T, at emulator.Endpoint) *lab {
		l := &lab{t: t, base: workbench.Base(t, at), pause: 20 * time.Millisecond, looks: 20}
		l.groups = func(model.SiteID) (string, string) { return "sg-fence", "sg-serve" }
		l.access = func(site model.SiteID) awsbase.Access { return workbench.Emulated(at, regions[site]) }
		l.api = func(site model.SiteID) *rds.Client {
			return rds.NewFromConfig(aws.Config{Region: regions[site], BaseEndpoint: &at.URL, HTTPClient: at.HTTP, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
		}
		for _, name := range []string{"apart", "isolated"} {
			l.subnetGroup(name, func(site model.SiteID) []string { return at.Subnets(t, regions[site]) })
		}
		return l
	})
}

func (l *lab) subnetGroup(name string, subnets func(model.SiteID) []string) {
	l.t.Helper()
	for site := range regions {
		_, err := l.api(site).CreateDBSubnetGroup(l.t.Context(), &rds.CreateDBSubnetGroupInput{DBSubnetGroupName: &name, DBSubnetGroupDescription: &name, SubnetIds: subnets(site)})
		must(l.t, err)
	}
}

// lifeSteps are a cluster's life, and that of a global database beside it.
func lifeSteps() []emulator.Step[*lab] {
	const one, all = aurora.ClusterKind, aurora.Kind
	do := func(kind model.Kind, action model.Action, site, peer model.SiteID, change func(*driver.Request)) func(l *lab) string {
		return func(l *lab) string { return l.do(kind, action, site, peer, change) }
	}
	described := func(kind model.Kind, site model.SiteID) func(l *lab) string {
		return func(l *lab) string { return l.described(kind, site) }
	}
	ends := func(action model.Action, site, peer model.SiteID) func(l *lab) string {
		return func(l *lab) string {
			said, _, _ := strings.Cut(l.do(all, action, site, peer, nil), " ")
			return said
		}
	}
	drill := strings.Repeat("d", 26)
	return []emulator.Step[*lab]{
		{ID: "cluster-absent", Do: described(one, "west"), Want: "absent false"},
		{ID: "cluster-made", Do: func(l *lab) string {
			_, serve := l.groups("east")
			return l.create("east", "alone", rds.CreateDBClusterInput{MasterUsername: aws.String("me"), MasterUserPassword: aws.String("hunter2hunter2"), VpcSecurityGroupIds: []string{serve}})
		}, Want: "available"},
		{ID: "cluster-serves", Do: described(one, "east"), Want: "primary true"},
		{ID: "cluster-captured", Do: do(one, model.ActionCapture, "east", "", nil), Want: "done 1+1 0+0"},
		{ID: "cluster-copied", Do: do(one, model.ActionCopy, "east", "", nil), Want: "done 1+1 0+1", Ministack: "unsupported", Why: "the fake and moto: ministack copies no snapshots"},
		{ID: "cluster-points", Do: described(one, "west"), Want: "absent true", Ministack: "-"},
		{ID: "cluster-proved", Do: func(l *lab) string {
			points, err := aurora.NewCluster(l.base).Points(l.t.Context(), l.request(one, "", "west", "").Target)
			if err != nil || len(points) == 0 {
				return fmt.Sprint(points, err)
			}
			return l.do(one, model.ActionProve, "west", "", func(req *driver.Request) { req.Prove = &model.ProveSpec{Point: points[0].ID} })
		}, Want: "done 1+1 0+1", Ministack: "-"},
		{ID: "cluster-drilled", Do: do(one, model.ActionDrill, "west", "", func(req *driver.Request) { req.Token = drill }), Want: "done 1+1 1+1", Ministack: "-"},
		{ID: "cluster-released", Do: do(one, model.ActionRelease, "west", "", func(req *driver.Request) { req.Released = &driver.Released{Token: drill} }), Want: "done 1+1 0+1", Ministack: "-"},
		{ID: "cluster-moved", Do: func(l *lab) string {
			if said := l.do(one, model.ActionQuiesce, "east", "west", nil); !strings.HasPrefix(said, "done") {
				return "quiesce is " + said
			}
			return l.do(one, model.ActionPromote, "west", "east", nil)
		}, Want: "done 1+2 1+2", Ministack: "-"},
		{ID: "cluster-made-way", Do: do(one, model.ActionReverse, "east", "west", func(req *driver.Request) { req.Prepare, req.Operation = true, model.OpFailback }), Want: "done 0+4 1+3", Ministack: "-"},
		{ID: "global-made", Do: func(l *lab) string { return l.world() }, Want: "available"},
		{ID: "global-follows", Do: described(all, "west"), Want: "standby true", Moto: "standby false", Why: "the fake and ministack: a follower that is synchronized says so; moto leaves that out"},
		{ID: "global-fenced", Do: ends(model.ActionFence, "east", "west"), Want: "done", Moto: "-"},
		{ID: "global-promoted", Do: ends(model.ActionPromote, "west", "east"), Want: "done", Moto: "-"},
		{ID: "global-serves", Do: described(all, "west"), Want: "primary true", Moto: "-"},
		{ID: "global-reversed", Do: ends(model.ActionReverse, "east", "west"), Want: "done", Moto: "-"},
	}
}

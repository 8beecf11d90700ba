package aurora_test

import (
	"encoding/json"
	"fmt"
	"slices"
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
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/model"
)

const account = "111111111111"

// regions by site.
var regions = map[model.SiteID]string{"east": "us-east-1", "west": "us-west-2"}

// world is a fake AWS with our global databases, and the driver that moves them.
type world struct {
	*awstest.World
	base   *awsbase.Base
	d      *aurora.Driver
	key    awstest.Credentials
	kms    map[model.SiteID]string
	n      int // databases so far
	tokens int
}

// bubble runs a test whose time is its own.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

// newWorld makes one, whose time is the bubble's.
func newWorld(t *testing.T) *world {
	t.Helper()
	fake := awstest.New(awstest.Options{Unlimited: true})
	w := &world{World: fake, key: fake.Account(account), kms: map[model.SiteID]string{}}
	t.Setenv("AURORA_KEY", w.key.AccessKey)
	t.Setenv("AURORA_SECRET", w.key.SecretKey)
	w.base = awsbase.New(awsbase.Options{HTTP: awsmodel.Watch(t, fake.Client())})
	t.Cleanup(w.base.Wait)
	w.d = aurora.New(w.base)
	w.network(t)
	return w
}

// network makes what databases need: keys, and a subnet group for them and one that is apart.
func (w *world) network(t testing.TB) {
	t.Helper()
	for site, region := range regions {
		w.kms[site] = w.Key(account, region, "aurora")
		_, subnets, _ := w.Network(account, region)
		for _, name := range []string{"app", "isolated"} {
			_, err := w.rds(site).CreateDBSubnetGroup(t.Context(), &rds.CreateDBSubnetGroupInput{DBSubnetGroupName: &name, DBSubnetGroupDescription: &name, SubnetIds: subnets})
			must(t, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rds is a plain client, as somebody else would have one.
func (w *world) rds(site model.SiteID) *rds.Client {
	return rds.NewFromConfig(aws.Config{Region: regions[site], HTTPClient: w.Client(), Credentials: credentials.NewStaticCredentialsProvider(w.key.AccessKey, w.key.SecretKey, "")})
}

// database makes a global database that is written to in the east, with two instances there and one in the west, and gives its name.
func (w *world) database(t testing.TB) string {
	t.Helper()
	w.n++
	name := fmt.Sprintf("shop%d", w.n)
	ctx := t.Context()
	east, west := name+"-east", name+"-west"
	_, err := w.rds("east").CreateDBCluster(ctx, &rds.CreateDBClusterInput{DBClusterIdentifier: &east, Engine: aws.String("aurora-postgresql"), MasterUsername: aws.String("me"), MasterUserPassword: aws.String("hunter2hunter2"),
		DBSubnetGroupName: aws.String("app"), StorageEncrypted: aws.Bool(true), KmsKeyId: aws.String(w.kms["east"]), DeletionProtection: aws.Bool(true)})
	must(t, err)
	for i := range 2 {
		w.instance(t, "east", east, fmt.Sprintf("%s-%c", east, 'a'+i))
	}
	time.Sleep(10 * time.Minute)
	arn := w.arn("east", name)
	_, err = w.rds("east").CreateGlobalCluster(ctx, &rds.CreateGlobalClusterInput{GlobalClusterIdentifier: &name, SourceDBClusterIdentifier: &arn, DeletionProtection: aws.Bool(true)})
	must(t, err)
	_, err = w.rds("west").CreateDBCluster(ctx, &rds.CreateDBClusterInput{DBClusterIdentifier: &west, Engine: aws.String("aurora-postgresql"), GlobalClusterIdentifier: &name,
		DBSubnetGroupName: aws.String("app"), KmsKeyId: aws.String(w.kms["west"]), DeletionProtection: aws.Bool(true)})
	must(t, err)
	w.instance(t, "west", west, west+"-a")
	time.Sleep(10 * time.Minute)
	return name
}

func (w *world) instance(t testing.TB, site model.SiteID, cluster, id string) {
	t.Helper()
	_, err := w.rds(site).CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{DBInstanceIdentifier: &id, DBClusterIdentifier: &cluster, Engine: aws.String("aurora-postgresql"), DBInstanceClass: aws.String("db.r6g.large")})
	must(t, err)
}

func (w *world) arn(site model.SiteID, name string) string {
	return awsbase.ARN("aws", "rds", regions[site], account, "cluster:"+name+"-"+string(site))
}

// request is for one action on the database name.
func (w *world) request(name string, action model.Action, site, peer model.SiteID) driver.Request {
	raw := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return b
	}
	r := model.Resource{ID: model.ResourceID(name), App: "shop", Kind: aurora.Kind, Settings: raw(map[string]any{"global": name}), Points: &model.PointPolicy{Keep: &model.Retention{Last: 2}}, Sites: map[model.SiteID]json.RawMessage{}}
	for id, region := range regions {
		n := 1
		if id == "east" {
			n = 2
		}
		r.Sites[id] = raw(map[string]any{
			"aws":     map[string]any{"account": account, "region": region, "access_key": "env:AURORA_KEY", "secret_key": "env:AURORA_SECRET", "attempt": "1s", "deadline": "6s"},
			"cluster": name + "-" + string(id), "subnet_group": "app", "kms_key": w.kms[id], "instances": map[string]any{"number": n},
			"drill": map[string]any{"subnet_group": "isolated"},
		})
	}
	return driver.Request{Target: driver.Target{App: "shop", Resource: r, Site: site, Peer: peer}, Action: action, Operation: model.OpFailover, Mode: model.Planned,
		Run: "r1", Step: model.StepID(name + "." + string(action)), Attempt: 1, Token: w.token()}
}

// token is one of its own each time.
func (w *world) token() string {
	w.tokens++
	var b strings.Builder
	for n := w.tokens; n > 0; n /= 10 {
		b.WriteByte(byte('a' + n%10))
	}
	return b.String() + strings.Repeat("z", 26-b.Len())
}

// with changes a request's settings of its own.
func with(req driver.Request, settings string) driver.Request {
	req.Resource.Settings = json.RawMessage(settings)
	return req
}

// driver is one of another process, for a request's kind.
func (w *world) driver(req driver.Request) driver.Driver {
	if req.Resource.Kind == aurora.ClusterKind {
		return aurora.NewCluster(w.base)
	}
	return aurora.New(w.base)
}

// engine carries requests out, each time by a driver of another process.
func (w *world) engine() workbench.Engine {
	return workbench.Engine{Driver: w.driver, Pause: 5 * time.Second}
}

// run begins and observes until it is over.
func (w *world) run(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	return w.engine().Run(t, req)
}

func (w *world) watch(t testing.TB, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	return w.engine().Await(t, req, h)
}

// done runs and wants it done.
func (w *world) done(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	return w.engine().Done(t, req)
}

// role is what Describe says of a site.
func (w *world) role(t testing.TB, name string, site model.SiteID) model.Description {
	t.Helper()
	desc, err := w.d.Describe(t.Context(), w.request(name, model.ActionPromote, site, "").Target)
	must(t, err)
	if desc.Role == model.RoleStandby && (desc.LagTime == nil || desc.LagTime.Std() != time.Second) {
		t.Errorf("the lag at %s is %v, want 1s: %v", site, desc.LagTime, desc.Facts)
	}
	return desc
}

// changes are the calls so far that changed something, by action.
func (w *world) changes(action string) int {
	n := 0
	for _, c := range w.Calls() {
		if c.Action == action && c.Status == 200 {
			n++
		}
	}
	return n
}

// named are the successful calls of an action about a database of ours.
func (w *world) named(action, name string) int {
	n := 0
	for _, c := range w.Calls() {
		if c.Action != action || c.Status != 200 {
			continue
		}
		for _, v := range c.Params {
			if v == name || strings.HasPrefix(v, name+"-") {
				n++
				break
			}
		}
	}
	return n
}

// detach takes the west out of the global database behind the driver's back.
func (w *world) detach(t testing.TB, name string) {
	t.Helper()
	arn := w.arn("west", name)
	_, err := w.rds("west").RemoveFromGlobalCluster(t.Context(), &rds.RemoveFromGlobalClusterInput{GlobalClusterIdentifier: &name, DbClusterIdentifier: &arn})
	must(t, err)
	time.Sleep(10 * time.Minute)
}

// inventory is all that there is, in words.
func (w *world) inventory(t testing.TB) string {
	t.Helper()
	var out []string
	for site := range regions {
		clusters, err := w.rds(site).DescribeDBClusters(t.Context(), &rds.DescribeDBClustersInput{})
		must(t, err)
		for _, c := range clusters.DBClusters {
			out = append(out, fmt.Sprint(site, " cluster ", *c.DBClusterIdentifier, " protected ", *c.DeletionProtection))
		}
		instances, err := w.rds(site).DescribeDBInstances(t.Context(), &rds.DescribeDBInstancesInput{})
		must(t, err)
		for _, i := range instances.DBInstances {
			out = append(out, fmt.Sprint(site, " instance ", *i.DBInstanceIdentifier))
		}
		snapshots, err := w.rds(site).DescribeDBClusterSnapshots(t.Context(), &rds.DescribeDBClusterSnapshotsInput{})
		must(t, err)
		for _, s := range snapshots.DBClusterSnapshots {
			out = append(out, fmt.Sprint(site, " snapshot ", *s.DBClusterSnapshotIdentifier))
		}
	}
	globals, err := w.rds("west").DescribeGlobalClusters(t.Context(), &rds.DescribeGlobalClustersInput{})
	must(t, err)
	for _, g := range globals.GlobalClusters {
		for _, m := range g.GlobalClusterMembers {
			out = append(out, fmt.Sprint("member of ", *g.GlobalClusterIdentifier, " ", *m.DBClusterArn, " writer ", *m.IsWriter))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// fact is a piece of evidence.
func fact(seen driver.Observation, name string) string {
	for _, f := range seen.Evidence {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

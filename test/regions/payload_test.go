package regions

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	rdssdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/statepayload"
	"github.com/lifeboat-dr/lifeboat/model"
)

// payloads is the example of StatePayload documents.
const payloads = "../../examples/aws-dr-orchestrator"

// export makes what the example's documents refer to, in both regions: each one's exports name what is there.
func (l *lab) export() {
	l.t.Helper()
	for _, site := range sites {
		serve, _ := l.groups(site)
		for name, value := range map[string]string{
			"shop-orders-global-identifier": "shop-orders", "shop-orders-cluster-identifier": clusterARN(site, "shop-orders"), "shop-orders-cluster-region": regions[site],
			"shop-orders-cluster-name": "shop-orders-" + string(site), "shop-orders-source-cluster-identifier": clusterARN(other(site), "shop-orders"),
			"shop-orders-instance-identifier": "shop-orders-" + string(site) + "-1", "shop-orders-port": "5432", "shop-orders-instance-class": "db.r6g.large",
			"shop-orders-subnet-group-name": "shop", "shop-orders-vpc-security-group-ids": serve, "shop-orders-engine": "aurora-postgresql", "shop-orders-engine-version": "15.4",
			"shop-orders-KmsKeyId": "alias/shop", "shop-orders-source-region": regions[other(site)], "shop-orders-RDSMonitoringRole": "arn:aws:iam::" + account + ":role/rds-monitoring-role",
			"shop-billing-identifier": "shop-billing", "shop-billing-global-arn": instanceARN(other(site), "shop-billing"), "shop-billing-source-identifier": "shop-billing",
			"shop-billing-SourceRegion": regions[other(site)], "shop-billing-MultiAZ": "false", "shop-billing-DBInstanceClass": "db.t3.medium", "shop-billing-DBSubnetGroup": "shop",
			"shop-billing-DBSecurityGroup": serve, "shop-billing-KmsKeyId": "alias/shop", "shop-billing-RDSMonitoringRole": "arn:aws:iam::" + account + ":role/rds-monitoring-role",
			"shop-sessions-global-replication-group-id": "ldgnf-shop-sessions", "shop-sessions-target-region": regions[site], "shop-sessions-target-replication-group-id": "shop-sessions-" + string(site),
		} {
			l.Export(account, regions[site], name, value)
		}
		for n := range 120 { // more than one page, and nobody's
			l.Export(account, regions[site], "another-stack-"+strconv.Itoa(n), "x")
		}
		l.Parameter(account, regions[site], "/shop/billing/port", "5432", false)
	}
}

// documents lays the example beside the lab's configuration, whose security groups it gets.
func (l *lab) documents() {
	l.t.Helper()
	files, err := filepath.Glob(payloads + "/*.json")
	must(l.t, err)
	if len(files) != 3 {
		l.t.Fatalf("the example has %d documents, want 3", len(files))
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		must(l.t, err)
		must(l.t, os.WriteFile(filepath.Join(filepath.Dir(l.path), filepath.Base(file)), content, 0o644))
	}
	text, err := os.ReadFile(payloads + "/lifeboat.yaml")
	must(l.t, err)
	_, shut := l.groups(dublin)
	if !strings.Contains(string(text), "sg-0d000000000000001") {
		l.t.Fatal("the example names another security group")
	}
	l.configure(strings.ReplaceAll(string(text), "sg-0d000000000000001", shut))
}

// custom is a request for a plan of the user's own.
func custom(name string) api.StartRequest {
	return api.StartRequest{PlanRequest: api.PlanRequest{Operation: model.OpCustom, Custom: name}, By: "ann"}
}

// TestPayloadSwitchover runs a document with both regions well, there and back.
func TestPayloadSwitchover(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		l.furnish()
		l.makeGlobal("shop-orders", 2, 1)
		l.makeCache("shop-sessions")
		time.Sleep(time.Hour)
		l.export()
		l.documents()
		for _, site := range []model.SiteID{frankfurt, dublin} {
			l.run(custom("switch-to-" + string(site)))
			if got := l.writers(databases["orders"]); !slices.Equal(got, []model.SiteID{site}) {
				t.Errorf("orders takes writes at %v, want %s", got, site)
			}
			if got := l.cachePrimary(site, "ldgnf-shop-sessions"); !slices.Equal(got, []model.SiteID{site}) {
				t.Errorf("the datastore's primary is at %v, want %s", got, site)
			}
		}
	})
}

// makeReplica begins a replica of an instance of Dublin in Frankfurt, under the same name.
func (l *lab) makeReplica(name string) {
	l.t.Helper()
	serve, _ := l.groups(frankfurt)
	_, err := l.rds(frankfurt).CreateDBInstanceReadReplica(within(l.t, time.Hour), &rdssdk.CreateDBInstanceReadReplicaInput{
		DBInstanceIdentifier: &name, SourceDBInstanceIdentifier: aws.String(instanceARN(dublin, name)), SourceRegion: aws.String(regions[dublin]), KmsKeyId: aws.String("alias/shop"),
		DBSubnetGroupName: aws.String("shop"), VpcSecurityGroupIds: []string{serve}, DeletionProtection: aws.Bool(true),
	})
	must(l.t, err)
}

// payloadShop makes the databases of the example, with what its documents refer to.
func (l *lab) payloadShop() {
	l.t.Helper()
	l.furnish()
	l.makeInstance("shop-billing")
	l.makeGlobal("shop-orders", 2, 1)
	l.makeCache("shop-sessions")
	time.Sleep(time.Hour)
	l.makeReplica("shop-billing")
	time.Sleep(time.Hour)
	l.export()
	l.documents()
}

// TestPayloadLostRegions runs the failover with Dublin lost in other ways than silence.
func TestPayloadLostRegions(t *testing.T) {
	for name, fault := range map[string]awstest.Fault{
		"refuses": {How: awstest.Refuse}, "fails": {How: awstest.Error500}, "only looks": {How: awstest.Error500, Changes: true}, "is slow": {How: awstest.Slow, Delay: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, awstest.Options{}, func(l *lab) {
				l.payloadShop()
				fault.Region = regions[dublin]
				home := l.Inject(fault)
				req := custom("to-frankfurt")
				req.AcceptUnfenced = "Dublin is lost"
				began := time.Now()
				l.run(req)
				if took := time.Since(began); took > time.Hour || home.Times() == 0 {
					t.Errorf("it took %s, and Dublin failed %d times", took, home.Times())
				}
				for name, arn := range databases {
					if err := l.Write(arn(frankfurt), "after"); err != nil {
						t.Errorf("%s in Frankfurt: %v", name, err)
					}
				}
				if got := l.cachePrimary(frankfurt, "ldgnf-shop-sessions"); !slices.Equal(got, []model.SiteID{frankfurt}) {
					t.Errorf("the datastore's primary is at %v", got)
				}
			})
		})
	}
}

// TestPayloadRefused asks for what cannot be run: everything that is wrong is said, and nothing is begun.
func TestPayloadRefused(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		l.furnish()
		l.documents() // and no exports
		s := l.open(nil)
		ask := func(name, file, content string, site, peer model.SiteID) api.StartRequest {
			req := custom(name)
			if file != "" {
				req.Payload = &api.PayloadAsk{File: file, Content: []byte(content), Site: site, Peer: peer}
			}
			return req
		}
		good := `{"StatePayload": [{"resources": [{"resourceType": "PromoteRDSReadReplica", "resourceName": "x", "parameters": {"RDSInstanceIdentifier": "none"}}]}]}`
		for name, c := range map[string]struct {
			req  api.StartRequest
			kind failure.Kind
			says []string
		}{
			"exports that are not there": {ask("to-frankfurt", "", "", "", ""), failure.Invalid, []string{`exports "shop-orders-global-identifier"`, `exports "shop-sessions-target-region"`, "resources[0].parameters.GlobalReplicationGroupId (line 32)"}},
			"a type that is not there":   {ask("x", "x.json", strings.Replace(good, "PromoteRDSReadReplica", "PromoteRDS", 1), frankfurt, dublin), failure.Invalid, []string{"there is no type"}},
			"no JSON":                    {ask("x", "x.json", "StatePayload:", frankfurt, dublin), failure.Invalid, []string{"no JSON"}},
			"an instance not there":      {ask("x", "x.json", good, frankfurt, dublin), failure.Invalid, []string{"there is no instance none"}},
			"a name that is taken":       {ask("to-frankfurt", "to-frankfurt.json", good, frankfurt, dublin), failure.Exists, []string{"a plan of this name"}},
			"a site that is not there":   {ask("x", "x.json", good, "paris", dublin), failure.Invalid, []string{`no site "paris"`}},
			"a peer that is not there":   {ask("x", "x.json", good, frankfurt, "paris"), failure.Invalid, []string{`no site "paris"`}},
			"one site twice":             {ask("x", "x.json", good, frankfurt, frankfurt), failure.Invalid, []string{"both in"}},
		} {
			_, err := s.Start(within(l.t, time.Hour), c.req)
			if err == nil || failure.KindOf(err) != c.kind {
				t.Errorf("%s: %v, want one of kind %s", name, err, c.kind)
				continue
			}
			for _, text := range c.says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%s: %v does not say %q", name, err, text)
				}
			}
		}
		must(t, os.Remove(filepath.Join(filepath.Dir(l.path), "failover.json")))
		if _, err := s.Plan(within(l.t, time.Hour), custom("to-frankfurt").PlanRequest); failure.KindOf(err) != failure.NotFound || failure.HintOf(err) == "" {
			t.Errorf("a document that is not there: %v", err)
		}
		if runs, err := s.Runs(within(l.t, time.Hour), api.RunsRequest{}); err != nil || len(runs) > 0 {
			t.Errorf("runs: %v, %v", runs, err)
		}
		must(t, s.Close())
	})
}

// TestPayloadFailover runs the example: Dublin is lost, all three databases are brought up in Frankfurt, and when Dublin is back
// they follow there again, and come home.
func TestPayloadFailover(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		l.payloadShop()
		for name, arn := range databases {
			must(t, l.Write(arn(dublin), name+"-1"))
		}
		time.Sleep(10 * time.Minute)
		orders := l.cluster(dublin, "shop-orders-dublin")

		home := l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Hang})
		l.Lag(instanceARN(frankfurt, "shop-billing"), 24*time.Hour)
		must(t, l.Write(instanceARN(dublin, "shop-billing"), "never replicated"))
		req := custom("to-frankfurt")
		req.AcceptUnfenced = "Dublin does not answer"
		began := time.Now()
		r := l.run(req)
		if took := time.Since(began); took > time.Hour {
			t.Errorf("the failover took %s", took)
		}
		var waived []model.StepID
		for _, s := range r.Waived {
			waived = append(waived, s.ID)
		}
		if diff := cmp.Diff([]model.StepID{"shop-orders/fence@dublin", "shop-billing/fence@dublin", "ldgnf-shop-sessions/fence@dublin"}, waived); diff != "" {
			t.Errorf("waived (-want +got):\n%s", diff)
		}
		promoted, cache := step(t, &r.Run, "shop-billing/promote@frankfurt"), step(t, &r.Run, "ldgnf-shop-sessions/fence@dublin")
		if cache.Started.Before(*promoted.Ended) {
			t.Errorf("layer 2 began at %s, before layer 1 was over at %s", cache.Started, promoted.Ended)
		}
		if promoted.Outputs["endpoint"].Text == "" {
			t.Errorf("the promotion says no endpoint: %v", promoted.Outputs)
		}
		for name, want := range map[string]string{"billing": "billing-1", "orders": "orders-1"} {
			must(t, l.Write(databases[name](frankfurt), name+"-2"))
			if got := data(t, l, databases[name](frankfurt)); !slices.Equal(got, []string{want, name + "-2"}) {
				t.Errorf("%s in Frankfurt holds %v", name, got)
			}
		}
		if got := l.cachePrimary(frankfurt, "ldgnf-shop-sessions"); !slices.Equal(got, []model.SiteID{frankfurt}) {
			t.Errorf("the datastore's primary is at %v", got)
		}

		home.Remove()
		time.Sleep(time.Hour)
		r = l.run(custom("follow-again-in-dublin"))
		if st := step(t, &r.Run, "approve"); len(st.Approvals) != 1 || st.Approvals[0].By != "bob" {
			t.Errorf("approvals: %v", st.Approvals)
		}
		if now := l.cluster(dublin, "shop-orders-dublin"); aws.ToString(now.DbClusterResourceId) != aws.ToString(orders.DbClusterResourceId) {
			t.Error("the cluster in Dublin follows, and was made again all the same")
		}
		old := l.instance(dublin, "shop-billing")
		if old == nil || aws.ToString(old.ReadReplicaSourceDBInstanceIdentifier) != instanceARN(frankfurt, "shop-billing") || !aws.ToBool(old.DeletionProtection) {
			t.Errorf("billing in Dublin: %+v", old)
		}
		kept := false
		for _, s := range l.snapshots(dublin) {
			kept = kept || tagsOf(s.TagList)["lifeboat:proved-ok"] == "true" && slices.Contains(l.within(s), "never replicated")
		}
		if !kept {
			t.Error("no proved snapshot holds what the old instance alone had")
		}

		l.run(custom("switch-to-dublin"))
		if got := l.writers(databases["orders"]); !slices.Equal(got, []model.SiteID{dublin}) {
			t.Errorf("orders takes writes at %v", got)
		}
		if got := l.cachePrimary(dublin, "ldgnf-shop-sessions"); !slices.Equal(got, []model.SiteID{dublin}) {
			t.Errorf("the datastore's primary is at %v", got)
		}
		if got := data(t, l, databases["orders"](dublin)); !slices.Equal(got, []string{"orders-1", "orders-2"}) {
			t.Errorf("orders in Dublin holds %v", got)
		}
	})
}

// TestPayloadRebuild brings a global database back that the framework itself has broken: the cluster in Frankfurt was detached.
func TestPayloadRebuild(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		l.furnish()
		l.makeGlobal("shop-orders", 2, 1)
		time.Sleep(time.Hour)
		l.export()
		l.documents()
		l.only("failback.json", "CreateAuroraSecondaryDBCluster")
		_, err := l.rds(frankfurt).RemoveFromGlobalCluster(within(t, time.Hour), &rdssdk.RemoveFromGlobalClusterInput{GlobalClusterIdentifier: aws.String("shop-orders"), DbClusterIdentifier: aws.String(clusterARN(frankfurt, "shop-orders"))})
		must(t, err)
		time.Sleep(time.Hour)
		must(t, l.Write(clusterARN(frankfurt, "shop-orders"), "from Frankfurt"))
		must(t, l.Write(clusterARN(dublin, "shop-orders"), "from Dublin"))
		old := l.cluster(dublin, "shop-orders-dublin")

		l.run(custom("follow-again-in-dublin"))
		now := l.cluster(dublin, "shop-orders-dublin")
		if aws.ToString(now.DbClusterResourceId) == aws.ToString(old.DbClusterResourceId) {
			t.Error("the old cluster is still there")
		}
		if got := l.writers(databases["orders"]); !slices.Equal(got, []model.SiteID{frankfurt}) {
			t.Errorf("orders takes writes at %v", got)
		}
		if got := data(t, l, clusterARN(dublin, "shop-orders")); !slices.Equal(got, []string{"from Frankfurt"}) {
			t.Errorf("the cluster in Dublin holds %v", got)
		}
		kept, err := l.rds(dublin).DescribeDBClusterSnapshots(within(t, time.Hour), &rdssdk.DescribeDBClusterSnapshotsInput{SnapshotType: aws.String("manual")})
		must(t, err)
		proved := slices.ContainsFunc(kept.DBClusterSnapshots, func(s types.DBClusterSnapshot) bool {
			return tagsOf(s.TagList)["lifeboat:proved-ok"] == "true" && slices.Contains(l.withinCluster(s), "from Dublin")
		})
		if !proved {
			t.Error("no proved snapshot holds what the old cluster alone had")
		}
	})
}

// within and withinCluster are what a snapshot of Dublin holds, as a restore shows.
func (l *lab) within(s types.DBSnapshot) []string {
	l.t.Helper()
	name := "look-into-" + aws.ToString(s.DBInstanceIdentifier)
	_, err := l.rds(dublin).RestoreDBInstanceFromDBSnapshot(within(l.t, time.Hour), &rdssdk.RestoreDBInstanceFromDBSnapshotInput{DBInstanceIdentifier: &name, DBSnapshotIdentifier: s.DBSnapshotIdentifier, DBSubnetGroupName: aws.String("shop-apart")})
	must(l.t, err)
	time.Sleep(time.Hour)
	return data(l.t, l, instanceARN(dublin, name))
}

func (l *lab) withinCluster(s types.DBClusterSnapshot) []string {
	l.t.Helper()
	name := "look-into-" + aws.ToString(s.DBClusterIdentifier)
	_, err := l.rds(dublin).RestoreDBClusterFromSnapshot(within(l.t, time.Hour), &rdssdk.RestoreDBClusterFromSnapshotInput{DBClusterIdentifier: &name, SnapshotIdentifier: s.DBClusterSnapshotIdentifier, Engine: s.Engine, DBSubnetGroupName: aws.String("shop-apart")})
	must(l.t, err)
	time.Sleep(time.Hour)
	return data(l.t, l, awsbase.ARN("aws", "rds", regions[dublin], account, "cluster:"+name))
}

// only leaves one type of actions in a document of the lab's.
func (l *lab) only(file, typ string) {
	l.t.Helper()
	path := filepath.Join(filepath.Dir(l.path), file)
	content, err := os.ReadFile(path)
	must(l.t, err)
	var doc struct {
		StatePayload []struct {
			Layer     int              `json:"layer"`
			Resources []map[string]any `json:"resources"`
		}
	}
	must(l.t, json.Unmarshal(content, &doc))
	for i := range doc.StatePayload {
		doc.StatePayload[i].Resources = slices.DeleteFunc(doc.StatePayload[i].Resources, func(r map[string]any) bool { return r["resourceType"] != typ })
	}
	content, err = json.Marshal(doc)
	must(l.t, err)
	must(l.t, os.WriteFile(path, content, 0o644))
}

func (l *lab) cluster(site model.SiteID, name string) *types.DBCluster {
	l.t.Helper()
	out, err := l.rds(site).DescribeDBClusters(within(l.t, time.Hour), &rdssdk.DescribeDBClustersInput{DBClusterIdentifier: &name})
	must(l.t, err)
	return &out.DBClusters[0]
}

// TestPayloadTable holds the table of docs/aws-dr-orchestrator.md to the tests that there are.
func TestPayloadTable(t *testing.T) {
	have := map[string]bool{}
	must(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, m := range testFunction.FindAllSubmatch(content, -1) {
			have[string(m[1])] = true
		}
		return err
	}))
	doc, err := os.ReadFile("../../docs/aws-dr-orchestrator.md")
	must(t, err)
	rows := 0
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 4 || strings.HasPrefix(line, "| what it was") {
			continue
		}
		rows++
		named := testName.FindAllString(cells[3], -1)
		if len(named) == 0 {
			t.Errorf("no test is named: %s", line)
		}
		for _, name := range named {
			if !have[name] {
				t.Errorf("there is no test %s", name)
			}
		}
	}
	for _, typ := range statepayload.Types() {
		if !strings.Contains(string(doc), "`"+typ+"`") {
			t.Errorf("the table lacks %s", typ)
		}
	}
	if rows < 20 {
		t.Errorf("the table has %d rows", rows)
	}
}

var (
	testFunction = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`)
	testName     = regexp.MustCompile(`\bTest[A-Za-z0-9]+`)
)

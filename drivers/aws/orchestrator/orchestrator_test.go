package orchestrator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/orchestrator"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/statepayload"
	"github.com/lifeboat-dr/lifeboat/model"
)

const account = "111111111111"

// world is a fake AWS with a database of each sort, serving in the east.
type world struct {
	*awstest.World
	key     awstest.Credentials
	im      *orchestrator.Importer
	regions map[model.SiteID]string
}

// bubble runs a test whose time is its own, in two regions.
func bubble(t *testing.T, east, west string, test func(t *testing.T, w *world)) {
	key := awstest.New(awstest.Options{}).Account(account)
	t.Setenv("ORCHESTRATOR_KEY", key.AccessKey)
	t.Setenv("ORCHESTRATOR_SECRET", key.SecretKey)
	synctest.Test(t, func(t *testing.T) {
		fake := awstest.New(awstest.Options{})
		base := awsbase.New(awsbase.Options{HTTP: fake.Client()})
		w := &world{World: fake, key: fake.Account(account), im: orchestrator.New(base), regions: map[model.SiteID]string{"east": east, "west": west}}
		test(t, w)
		base.Wait()
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) plain(site model.SiteID) aws.Config {
	return aws.Config{Region: w.regions[site], HTTPClient: w.Client(), Credentials: credentials.NewStaticCredentialsProvider(w.key.AccessKey, w.key.SecretKey, "")}
}

// databases makes a global database, a replica and a global datastore.
func (w *world) databases(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, site := range []model.SiteID{"east", "west"} {
		in := &rds.CreateDBClusterInput{DBClusterIdentifier: aws.String("orders-" + string(site)), Engine: aws.String("aurora-mysql")}
		if site == "east" {
			in.MasterUsername, in.MasterUserPassword = aws.String("me"), aws.String("hunter2hunter2")
		} else {
			in.GlobalClusterIdentifier = aws.String("orders")
		}
		_, err := rds.NewFromConfig(w.plain(site)).CreateDBCluster(ctx, in)
		must(t, err)
		time.Sleep(time.Hour)
		if site == "east" {
			_, err := rds.NewFromConfig(w.plain(site)).CreateGlobalCluster(ctx, &rds.CreateGlobalClusterInput{GlobalClusterIdentifier: aws.String("orders"), SourceDBClusterIdentifier: aws.String(w.arn("east", "cluster:orders-east"))})
			must(t, err)
		}
	}
	_, err := rds.NewFromConfig(w.plain("east")).CreateDBInstance(ctx, &rds.CreateDBInstanceInput{DBInstanceIdentifier: aws.String("billing-east"), DBInstanceClass: aws.String("db.t3.medium"), Engine: aws.String("mysql"),
		AllocatedStorage: aws.Int32(20), MasterUsername: aws.String("me"), MasterUserPassword: aws.String("hunter2hunter2"), BackupRetentionPeriod: aws.Int32(1)})
	must(t, err)
	time.Sleep(time.Hour)
	_, err = rds.NewFromConfig(w.plain("west")).CreateDBInstanceReadReplica(ctx, &rds.CreateDBInstanceReadReplicaInput{DBInstanceIdentifier: aws.String("billing-west"), SourceDBInstanceIdentifier: aws.String(w.arn("east", "db:billing-east")),
		SourceRegion: aws.String(w.regions["east"])})
	must(t, err)
	first, second := "sessions-east", "sessions-west"
	_, err = elasticache.NewFromConfig(w.plain("east")).CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{ReplicationGroupId: &first, ReplicationGroupDescription: &first, CacheNodeType: aws.String("cache.r6g.large"), Engine: aws.String("redis")})
	must(t, err)
	time.Sleep(time.Hour)
	_, err = elasticache.NewFromConfig(w.plain("east")).CreateGlobalReplicationGroup(ctx, &elasticache.CreateGlobalReplicationGroupInput{GlobalReplicationGroupIdSuffix: aws.String("sessions"), PrimaryReplicationGroupId: &first})
	must(t, err)
	time.Sleep(time.Hour)
	_, err = elasticache.NewFromConfig(w.plain("west")).CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{ReplicationGroupId: &second, ReplicationGroupDescription: &second, GlobalReplicationGroupId: aws.String("ldgnf-sessions")})
	must(t, err)
	time.Sleep(time.Hour)
}

func (w *world) arn(site model.SiteID, resource string) string {
	return awsbase.ARN(awsbase.PartitionOf(w.regions[site]), "rds", w.regions[site], account, resource)
}

func (w *world) sites() (out []model.Site) {
	for _, id := range []model.SiteID{"east", "west"} {
		raw := fmt.Sprintf(`{"account": %q, "region": %q, "access_key": "env:ORCHESTRATOR_KEY", "secret_key": "env:ORCHESTRATOR_SECRET", "attempt": "2s", "deadline": "5s"}`, account, w.regions[id])
		out = append(out, model.Site{ID: id, AWS: json.RawMessage(raw)})
	}
	return out
}

// one is a document of one action.
func one(typ string, parameters map[string]any) string {
	b, err := json.Marshal(map[string]any{"StatePayload": []any{map[string]any{"layer": 1, "resources": []any{map[string]any{"resourceType": typ, "resourceName": "x", "parameters": parameters}}}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// resolve reads and resolves a document; a plan that names a site overrides where it runs: in the west.
func (w *world) resolve(ctx context.Context, content string, plan model.PayloadPlan) ([]model.PayloadWork, []model.PayloadRemark, error) {
	doc := statepayload.Read("x.json", []byte(content))
	if statepayload.Blocked(doc.Remarks) {
		return nil, doc.Remarks, nil
	}
	if plan.Site == "" {
		plan.Site, plan.Peer = "west", "east"
	}
	return w.im.Resolve(ctx, "shop", doc, plan, w.sites())
}

func codes(remarks []model.PayloadRemark) (out []string) {
	for _, r := range remarks {
		if r.Severity == model.Block {
			out = append(out, r.Code)
		}
	}
	return out
}

var isolated = &model.PayloadNetwork{SubnetGroup: "apart", SecurityGroups: []string{"sg-9"}}

// settings is a resource as text, without where the sites are.
func settings(t *testing.T, w model.PayloadWork) string {
	t.Helper()
	out := fmt.Sprintf("%s %s %s %s", w.Resource.ID, w.Resource.Kind, w.Mode, w.Resource.Settings)
	for _, site := range []model.SiteID{"east", "west"} {
		var s map[string]any
		must(t, json.Unmarshal(w.Resource.Sites[site], &s))
		if s["aws"] == nil {
			t.Errorf("%s does not say where %s is in AWS", w.Resource.ID, site)
		}
		delete(s, "aws")
		b, err := json.Marshal(s)
		must(t, err)
		out += "\n" + string(site) + " " + string(b)
	}
	return out
}

// TestTypes resolves each type with references into the resource that its driver works on.
func TestTypes(t *testing.T) {
	bubble(t, "us-east-1", "us-west-2", func(t *testing.T, w *world) {
		w.databases(t)
		for n := range 150 {
			w.Export(account, "us-west-2", fmt.Sprintf("another-%d", n), "x")
		}
		w.Export(account, "us-west-2", "orders-cluster", w.arn("west", "cluster:orders-west"))
		w.Export(account, "us-east-1", "MultiAZ", "false")
		w.Parameter(account, "us-west-2", "/orders/global", "another", false)
		w.Parameter(account, "us-west-2", "/orders/global", "orders", false)
		lists := map[string]any{"RDSInstanceIdentifier": "billing-east", "SourceRDSInstanceIdentifier": "billing-west", "SourceRegion": "us-west-2", "MultiAZ": "!Import MultiAZ", "DBInstanceClass": "db.t3.medium",
			"DBSubnetGroup": "app", "DBSecurityGroup": "sg-1, sg-2", "KmsKeyId": "alias/k", "Port": "3306", "DeletionProtection": "true", "BackupRetentionPeriod": "7"}
		back := model.PayloadPlan{Site: "east", Peer: "west", Isolated: isolated, Fence: []string{"sg-8"}}
		for _, tt := range []struct {
			typ        string
			parameters map[string]any
			plan       model.PayloadPlan
			want       string
		}{
			{"PlannedFailoverAurora", map[string]any{"GlobalClusterIdentifier": "resolve:ssm:/orders/global:2", "DBClusterIdentifier": "!Import orders-cluster"}, model.PayloadPlan{},
				`orders aws.aurora.global planned {"global":"orders"}
east {"cluster":"orders-east"}
west {"cluster":"orders-west"}`},
			{"UnPlannedFailoverAuroraMySQL", map[string]any{"GlobalClusterIdentifier": "orders", "DBClusterIdentifier": "!Import orders-cluster", "ClusterRegion": "us-west-2"}, model.PayloadPlan{},
				`orders aws.aurora.global unplanned {"global":"orders"}
east {"cluster":"orders-east"}
west {"cluster":"orders-west"}`},
			{"PromoteRDSReadReplica", map[string]any{"RDSInstanceIdentifier": "billing-west"}, model.PayloadPlan{Site: "west", Peer: "east", Fence: []string{"sg-9"}},
				`billing-west aws.rds.instance unplanned {"recovery":"replica"}
east {"fence":{"security_groups":["sg-9"]},"instance":"billing-east"}
west {"instance":"billing-west"}`},
			{"FailoverElastiCacheCluster", map[string]any{"GlobalReplicationGroupId": "ldgnf-sessions", "TargetRegion": "us-west-2", "TargetReplicationGroupId": "sessions-west"}, model.PayloadPlan{},
				`ldgnf-sessions aws.elasticache.global unplanned {"datastore":"ldgnf-sessions"}
east {"group":"sessions-east"}
west {"group":"sessions-west"}`},
			{"CreateRDSReadReplica", lists, back,
				`billing-east aws.rds.instance  {"recovery":"replica"}
east {"backup_retention":7,"class":"db.t3.medium","deletion_protection":true,"drill":{"security_groups":["sg-9"],"subnet_group":"apart"},"fence":{"security_groups":["sg-8"]},"instance":"billing-east","kms_key":"alias/k","port":3306,"security_groups":["sg-1","sg-2"],"subnet_group":"app"}
west {"instance":"billing-west"}`},
			{"CreateAuroraSecondaryDBCluster", map[string]any{"GlobalClusterIdentifier": "orders", "DBClusterIdentifier": w.arn("east", "cluster:orders-east"), "SourceDBClusterIdentifier": w.arn("west", "cluster:orders-west"),
				"SourceRegion": "us-west-2", "ClusterRegion": "us-east-1", "DBSubnetGroupName": "app", "DBClusterName": "orders-east", "DBInstanceClass": "db.r5.large", "VpcSecurityGroupIds": "sg-1", "DeletionProtection": "false"}, back,
				`orders aws.aurora.global  {"global":"orders"}
east {"cluster":"orders-east","deletion_protection":false,"drill":{"security_groups":["sg-9"],"subnet_group":"apart"},"instances":{"class":"db.r5.large"},"security_groups":["sg-1"],"subnet_group":"app"}
west {"cluster":"orders-west"}`},
		} {
			work, remarks, err := w.resolve(t.Context(), one(tt.typ, tt.parameters), tt.plan)
			if err != nil || len(work) != 1 {
				t.Errorf("%s: %d works, %v, %v", tt.typ, len(work), remarks, err)
				continue
			}
			if diff := cmp.Diff(tt.want, settings(t, work[0])); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.typ, diff)
			}
		}
	})
}

// TestFaults are what only the region can tell: each is a mistake at its place, and there is no work.
func TestFaults(t *testing.T) {
	bubble(t, "us-east-1", "us-west-2", func(t *testing.T, w *world) {
		w.databases(t)
		w.Export(account, "us-west-2", "orders-global", "orders")
		w.Export(account, "us-west-2", "yes-or-no", "perhaps")
		w.Export(account, "us-west-2", "empty", "")
		w.Parameter(account, "us-west-2", "/secret", "hunter2", true)
		cluster := w.arn("west", "cluster:orders-west")
		aurora := func(global, cluster string) string {
			return one("PlannedFailoverAurora", map[string]any{"GlobalClusterIdentifier": global, "DBClusterIdentifier": cluster})
		}
		promote := func(id string) string {
			return one("PromoteRDSReadReplica", map[string]any{"RDSInstanceIdentifier": id})
		}
		cache := func(id, region, group string) string {
			return one("FailoverElastiCacheCluster", map[string]any{"GlobalReplicationGroupId": id, "TargetRegion": region, "TargetReplicationGroupId": group})
		}
		create := func(more map[string]any) string {
			p := map[string]any{"RDSInstanceIdentifier": "billing-west", "SourceRDSInstanceIdentifier": "billing-east", "SourceRegion": "us-east-1"}
			for k, v := range more {
				p[k] = v
			}
			return one("CreateRDSReadReplica", p)
		}
		back := model.PayloadPlan{Site: "west", Peer: "east", Isolated: isolated, Fence: []string{"sg-8"}}
		for name, tt := range map[string]struct {
			doc  string
			plan model.PayloadPlan
			want []string
			say  string
		}{
			"an export that is not there":   {aurora("!Import orders-globl", cluster), model.PayloadPlan{}, []string{"payload-export"}, `did you mean "orders-global"?`},
			"a parameter that is not there": {aurora("resolve:ssm:/none", cluster), model.PayloadPlan{}, []string{"payload-ssm"}, "aws ssm get-parameter"},
			"a version that is not there":   {aurora("resolve:ssm:/secret:9", cluster), model.PayloadPlan{}, []string{"payload-ssm"}, "aws ssm get-parameter"},
			"a secret":                      {aurora("resolve:ssm:/secret", cluster), model.PayloadPlan{}, []string{"payload-secret"}, "type String"},
			"an empty export":               {aurora("!Import empty", cluster), model.PayloadPlan{}, []string{"payload-empty"}, "give it a value"},
			"no global database":            {aurora("none", cluster), model.PayloadPlan{}, []string{"payload-absent"}, "describe-global-clusters"},
			"no member":                     {aurora("orders", "nobody"), model.PayloadPlan{}, []string{"payload-absent"}, "detached"},
			"a cluster of another region":   {aurora("orders", w.arn("east", "cluster:orders-east")), model.PayloadPlan{}, []string{"payload-region"}, "right site"},
			"another account":               {aurora("orders", strings.Replace(cluster, account, "222222222222", 1)), model.PayloadPlan{}, []string{"payload-account"}, ""},
			"another partition":             {aurora("orders", strings.Replace(cluster, "arn:aws:", "arn:aws-cn:", 1)), model.PayloadPlan{}, []string{"payload-arn"}, "arn:aws"},
			"an ARN of something else":      {aurora("orders", w.arn("west", "db:orders-west")), model.PayloadPlan{}, []string{"payload-arn"}, "ARN of a cluster"},
			"a region that it does not run in": {one("UnPlannedFailoverAurora", map[string]any{"GlobalClusterIdentifier": "orders", "DBClusterIdentifier": cluster, "ClusterRegion": "us-east-1"}),
				model.PayloadPlan{}, []string{"payload-region"}, "--site"},
			"no instance":               {promote("nobody"), model.PayloadPlan{}, []string{"payload-absent"}, "describe-db-instances"},
			"promoted already":          {promote("billing-east"), model.PayloadPlan{Site: "east", Peer: "west"}, []string{"payload-promoted"}, "take it out"},
			"no datastore":              {cache("ldgnf-none", "us-west-2", "sessions-west"), model.PayloadPlan{}, []string{"payload-absent"}, "describe-global-replication-groups"},
			"no member of a datastore":  {cache("ldgnf-sessions", "us-west-2", "others"), model.PayloadPlan{}, []string{"payload-absent"}, "--show-member-info"},
			"another target":            {cache("ldgnf-sessions", "us-east-1", "sessions-east"), model.PayloadPlan{}, []string{"payload-region"}, "--site"},
			"the source is elsewhere":   {create(map[string]any{"SourceRegion": "eu-west-1"}), back, []string{"payload-region"}, "--from"},
			"nothing isolated":          {create(nil), model.PayloadPlan{Site: "west", Peer: "east", Fence: []string{"sg-8"}}, []string{"payload-isolated"}, "isolated"},
			"nothing fences":            {create(nil), model.PayloadPlan{Site: "west", Peer: "east", Isolated: isolated}, []string{"payload-unfenced"}, "fence"},
			"a boolean that says none":  {create(map[string]any{"MultiAZ": "!Import yes-or-no"}), back, []string{"payload-boolean"}, `"true" or "false"`},
			"a number that says none":   {create(map[string]any{"Port": "!Import yes-or-no"}), back, []string{"payload-number"}, "write a number"},
			"a cluster of another name": {one("CreateAuroraSecondaryDBCluster", map[string]any{"GlobalClusterIdentifier": "orders", "DBClusterIdentifier": cluster, "SourceDBClusterIdentifier": w.arn("east", "cluster:orders-east"), "SourceRegion": "us-east-1", "ClusterRegion": "us-west-2", "DBSubnetGroupName": "app", "DBClusterName": "new"}), back, []string{"payload-name"}, "name the old cluster"},
		} {
			before := w.Count("")
			work, remarks, err := w.resolve(t.Context(), tt.doc, tt.plan)
			if err != nil || len(work) > 0 {
				t.Errorf("%s: %d works, %v", name, len(work), err)
				continue
			}
			if diff := cmp.Diff(tt.want, codes(remarks)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
				continue
			}
			for _, r := range remarks {
				if r.Severity == model.Block && (r.Line < 1 || r.Path == "" || !strings.Contains(r.Fix, tt.say)) {
					t.Errorf("%s: %+v", name, r)
				}
			}
			for _, c := range w.Calls()[before:] {
				if c.Region != w.regions["west"] && tt.plan.Site != "east" {
					t.Errorf("%s: %s was asked in %s", name, c.Action, c.Region)
				}
			}
		}
	})
}

// TestSameTwice finds two references to one database.
func TestSameTwice(t *testing.T) {
	bubble(t, "us-east-1", "us-west-2", func(t *testing.T, w *world) {
		w.databases(t)
		w.Export(account, "us-west-2", "one", "billing-west")
		w.Export(account, "us-west-2", "two", "Billing-West")
		doc := `{"StatePayload": [{"layer": 1, "resources": [
  {"resourceType": "PromoteRDSReadReplica", "resourceName": "x", "parameters": {"RDSInstanceIdentifier": "!Import one"}},
  {"resourceType": "PromoteRDSReadReplica", "resourceName": "y", "parameters": {"RDSInstanceIdentifier": "!Import two"}}]}]}`
		work, remarks, err := w.resolve(t.Context(), doc, model.PayloadPlan{})
		must(t, err)
		if diff := cmp.Diff([]string{"payload-again"}, codes(remarks)); diff != "" || work != nil {
			t.Errorf("%d works (-want +got):\n%s", len(work), diff)
		}
	})
}

// TestChina runs where the framework cannot: in another partition.
func TestChina(t *testing.T) {
	bubble(t, "cn-north-1", "cn-northwest-1", func(t *testing.T, w *world) {
		w.databases(t)
		work, remarks, err := w.resolve(t.Context(), one("PlannedFailoverAurora", map[string]any{"GlobalClusterIdentifier": "orders", "DBClusterIdentifier": w.arn("west", "cluster:orders-west")}), model.PayloadPlan{})
		if err != nil || len(work) != 1 {
			t.Fatalf("%d works, %v, %v", len(work), remarks, err)
		}
		if len(remarks) != 1 || remarks[0].Code != "payload-partition" {
			t.Errorf("remarks: %+v", remarks)
		}
	})
}

// TestHomeIsLost resolves while the other region does not answer, and waits for its own no longer than it must.
func TestHomeIsLost(t *testing.T) {
	bubble(t, "us-east-1", "us-west-2", func(t *testing.T, w *world) {
		w.databases(t)
		doc := one("PromoteRDSReadReplica", map[string]any{"RDSInstanceIdentifier": "billing-west"})
		home := w.Inject(awstest.Fault{Region: "us-east-1", How: awstest.Hang})
		began := time.Now()
		if work, remarks, err := w.resolve(t.Context(), doc, model.PayloadPlan{}); err != nil || len(work) != 1 {
			t.Errorf("%d works, %v, %v", len(work), remarks, err)
		}
		if took := time.Since(began); took > time.Second || home.Times() > 0 {
			t.Errorf("it took %s, and home was asked %d times", took, home.Times())
		}
		here := w.Inject(awstest.Fault{Region: "us-west-2", How: awstest.Hang})
		_, _, err := w.resolve(t.Context(), doc, model.PayloadPlan{})
		if failure.KindOf(err) != failure.Unavailable || here.Times() == 0 {
			t.Errorf("with the region here lost: %v (asked %d times)", err, here.Times())
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestSites says what is missing of the sites.
func TestSites(t *testing.T) {
	bubble(t, "us-east-1", "us-east-1", func(t *testing.T, w *world) {
		doc := statepayload.Read("x.json", []byte(one("PromoteRDSReadReplica", map[string]any{"RDSInstanceIdentifier": "x"})))
		for name, sites := range map[string][]model.Site{"not in AWS": {{ID: "west"}, {ID: "east"}}, "unknown": nil, "one region": w.sites()} {
			_, _, err := w.im.Resolve(t.Context(), "shop", doc, model.PayloadPlan{Site: "west", Peer: "east"}, sites)
			if failure.KindOf(err) != failure.Invalid || failure.HintOf(err) == "" {
				t.Errorf("%s: %v (hint: %s)", name, err, failure.HintOf(err))
			}
		}
	})
}

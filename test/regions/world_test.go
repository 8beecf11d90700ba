package regions

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cachesdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	rdssdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
	dnssdk "github.com/aws/aws-sdk-go-v2/service/route53"
	dnstypes "github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/model"
)

// example is the configuration that users are shown.
const example = "../../examples/aws-databases/lifeboat.yaml"

// exampleText is the example, with the security groups that the world has in place of those that it names.
func (l *lab) exampleText() string {
	l.t.Helper()
	text, err := os.ReadFile(example)
	must(l.t, err)
	var swaps []string
	for site, letter := range map[model.SiteID]string{dublin: "d", frankfurt: "f"} {
		serve, shut := l.groups(site)
		for n, group := range []string{serve, shut, shut} {
			named := fmt.Sprintf("sg-0%s%015d", letter, n+1)
			if !strings.Contains(string(text), named) {
				l.t.Fatalf("the example does not name %s", named)
			}
			swaps = append(swaps, named, group)
		}
	}
	return strings.NewReplacer(swaps...).Replace(string(text))
}

// groups are a security group that is served in, and one that lets nobody in.
func (l *lab) groups(site model.SiteID) (serve, shut string) {
	_, _, groups := l.Network(account, regions[site])
	return groups[1], groups[0]
}

func (l *lab) rds(site model.SiteID) *rdssdk.Client { return rdssdk.NewFromConfig(l.plain[site]) }

func (l *lab) cache(site model.SiteID) *cachesdk.Client {
	return cachesdk.NewFromConfig(l.plain[site])
}

// furnish makes keys and the networks of databases.
func (l *lab) furnish() {
	l.t.Helper()
	for site, region := range regions {
		l.Key(account, region, "shop")
		_, subnets, _ := l.Network(account, region)
		for _, name := range []string{"shop", "shop-apart"} {
			_, err := l.rds(site).CreateDBSubnetGroup(within(l.t, time.Hour), &rdssdk.CreateDBSubnetGroupInput{DBSubnetGroupName: &name, DBSubnetGroupDescription: &name, SubnetIds: subnets})
			must(l.t, err)
		}
	}
}

// shop makes all that the example names, serving in Dublin.
func (l *lab) shop() {
	l.t.Helper()
	l.furnish()
	l.makeInstance("shop-billing")
	l.makeGlobal("shop-orders", 2, 1)
	l.makeCache("shop-sessions")
	l.makeName("shop.example", "www.shop.example", "entrance.dublin.shop.example")
	time.Sleep(time.Hour)
	l.configure(l.exampleText())
}

// makeInstance begins an encrypted instance in Dublin.
func (l *lab) makeInstance(name string) {
	l.t.Helper()
	serve, _ := l.groups(dublin)
	_, err := l.rds(dublin).CreateDBInstance(within(l.t, time.Hour), &rdssdk.CreateDBInstanceInput{
		DBInstanceIdentifier: &name, DBInstanceClass: aws.String("db.t3.medium"), Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20), DBSubnetGroupName: aws.String("shop"),
		MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2"), StorageEncrypted: aws.Bool(true), KmsKeyId: aws.String("alias/shop"),
		DeletionProtection: aws.Bool(true), VpcSecurityGroupIds: []string{serve},
	})
	must(l.t, err)
}

// makeGlobal makes a global database that is written to in Dublin, with so many instances in each region.
func (l *lab) makeGlobal(name string, home, away int) {
	l.t.Helper()
	ctx, first := within(l.t, time.Hour), name+"-dublin"
	_, err := l.rds(dublin).CreateDBCluster(ctx, &rdssdk.CreateDBClusterInput{DBClusterIdentifier: &first, Engine: aws.String("aurora-postgresql"), MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2"),
		DBSubnetGroupName: aws.String("shop"), StorageEncrypted: aws.Bool(true), KmsKeyId: aws.String("alias/shop"), DeletionProtection: aws.Bool(true)})
	must(l.t, err)
	l.members(dublin, first, home)
	time.Sleep(10 * time.Minute)
	_, err = l.rds(dublin).CreateGlobalCluster(ctx, &rdssdk.CreateGlobalClusterInput{GlobalClusterIdentifier: &name, SourceDBClusterIdentifier: aws.String(clusterARN(dublin, name)), DeletionProtection: aws.Bool(true)})
	must(l.t, err)
	second := name + "-frankfurt"
	_, err = l.rds(frankfurt).CreateDBCluster(ctx, &rdssdk.CreateDBClusterInput{DBClusterIdentifier: &second, Engine: aws.String("aurora-postgresql"), GlobalClusterIdentifier: &name,
		DBSubnetGroupName: aws.String("shop"), KmsKeyId: aws.String("alias/shop"), DeletionProtection: aws.Bool(true)})
	must(l.t, err)
	l.members(frankfurt, second, away)
}

func (l *lab) members(site model.SiteID, cluster string, n int) {
	l.t.Helper()
	for i := range n {
		_, err := l.rds(site).CreateDBInstance(within(l.t, time.Hour), &rdssdk.CreateDBInstanceInput{DBInstanceIdentifier: aws.String(fmt.Sprintf("%s-%c", cluster, 'a'+i)),
			DBClusterIdentifier: &cluster, Engine: aws.String("aurora-postgresql"), DBInstanceClass: aws.String("db.r6g.large")})
		must(l.t, err)
	}
}

// makeCache makes a global datastore whose primary is in Dublin.
func (l *lab) makeCache(name string) {
	l.t.Helper()
	ctx, first, second := within(l.t, 2*time.Hour), name+"-dublin", name+"-frankfurt"
	_, err := l.cache(dublin).CreateReplicationGroup(ctx, &cachesdk.CreateReplicationGroupInput{ReplicationGroupId: &first, ReplicationGroupDescription: &first, CacheNodeType: aws.String("cache.r6g.large"), Engine: aws.String("redis")})
	must(l.t, err)
	time.Sleep(10 * time.Minute)
	_, err = l.cache(dublin).CreateGlobalReplicationGroup(ctx, &cachesdk.CreateGlobalReplicationGroupInput{GlobalReplicationGroupIdSuffix: &name, PrimaryReplicationGroupId: &first})
	must(l.t, err)
	time.Sleep(10 * time.Minute)
	_, err = l.cache(frankfurt).CreateReplicationGroup(ctx, &cachesdk.CreateReplicationGroupInput{ReplicationGroupId: &second, ReplicationGroupDescription: &second, GlobalReplicationGroupId: aws.String("ldgnf-" + name)})
	must(l.t, err)
}

// makeName makes a zone with a record.
func (l *lab) makeName(zone, name, value string) {
	l.t.Helper()
	id := l.Zone(account, zone)
	l.zones[zone] = id
	_, err := dnssdk.NewFromConfig(l.plain[frankfurt]).ChangeResourceRecordSets(within(l.t, time.Hour), &dnssdk.ChangeResourceRecordSetsInput{HostedZoneId: &id, ChangeBatch: &dnstypes.ChangeBatch{Changes: []dnstypes.Change{
		{Action: dnstypes.ChangeActionCreate, ResourceRecordSet: &dnstypes.ResourceRecordSet{Name: &name, Type: dnstypes.RRTypeCname, TTL: aws.Int64(30), ResourceRecords: []dnstypes.ResourceRecord{{Value: &value}}}}}}})
	must(l.t, err)
}

func clusterARN(site model.SiteID, global string) string {
	return awsbase.ARN("aws", "rds", regions[site], account, "cluster:"+global+"-"+string(site))
}

func instanceARN(site model.SiteID, name string) string {
	return awsbase.ARN("aws", "rds", regions[site], account, "db:"+name)
}

// writers are the sites at which a database takes writes, by its ARNs.
func (l *lab) writers(arn func(model.SiteID) string) (takes []model.SiteID) {
	for _, site := range sites {
		if l.Write(arn(site), "probe") == nil {
			takes = append(takes, site)
		}
	}
	return takes
}

// open reports whether clients reach an instance: it takes writes, and is in a group that it serves in.
func (l *lab) reachable(site model.SiteID, name string) bool {
	l.t.Helper()
	serve, _ := l.groups(site)
	i := l.instance(site, name)
	if i == nil {
		return false
	}
	return slices.ContainsFunc(i.VpcSecurityGroups, func(g types.VpcSecurityGroupMembership) bool { return aws.ToString(g.VpcSecurityGroupId) == serve })
}

func (l *lab) instance(site model.SiteID, name string) *types.DBInstance {
	l.t.Helper()
	for _, i := range l.instances(site) {
		if aws.ToString(i.DBInstanceIdentifier) == name {
			return &i
		}
	}
	return nil
}

func (l *lab) instances(site model.SiteID) []types.DBInstance {
	l.t.Helper()
	out, err := l.rds(site).DescribeDBInstances(within(l.t, time.Hour), &rdssdk.DescribeDBInstancesInput{MaxRecords: aws.Int32(100)})
	must(l.t, err)
	return out.DBInstances
}

// snapshots are the manual ones of instances at a site.
func (l *lab) snapshots(site model.SiteID) []types.DBSnapshot {
	l.t.Helper()
	out, err := l.rds(site).DescribeDBSnapshots(within(l.t, time.Hour), &rdssdk.DescribeDBSnapshotsInput{SnapshotType: aws.String("manual"), MaxRecords: aws.Int32(100)})
	must(l.t, err)
	return out.DBSnapshots
}

func tagsOf(tags []types.Tag) map[string]string {
	return awsbase.TagMap(tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
}

// inventory is all that there is in both regions, one line a thing, with its state and its tags.
func (l *lab) inventory() []string {
	l.t.Helper()
	ctx := within(l.t, time.Hour)
	var all []string
	add := func(site model.SiteID, what string, facts ...any) {
		all = append(all, fmt.Sprint(site, " ", what, " ", facts))
	}
	for _, site := range sites {
		for _, i := range l.instances(site) {
			add(site, "instance", *i.DBInstanceIdentifier, *i.DBInstanceStatus, aws.ToBool(i.DeletionProtection), tagsOf(i.TagList))
		}
		for _, s := range l.snapshots(site) {
			add(site, "snapshot", *s.DBSnapshotIdentifier, *s.Status, tagsOf(s.TagList))
		}
		clusters, err := l.rds(site).DescribeDBClusters(ctx, &rdssdk.DescribeDBClustersInput{})
		must(l.t, err)
		for _, c := range clusters.DBClusters {
			add(site, "cluster", *c.DBClusterIdentifier, *c.Status, aws.ToBool(c.DeletionProtection), tagsOf(c.TagList))
		}
		kept, err := l.rds(site).DescribeDBClusterSnapshots(ctx, &rdssdk.DescribeDBClusterSnapshotsInput{SnapshotType: aws.String("manual")})
		must(l.t, err)
		for _, s := range kept.DBClusterSnapshots {
			add(site, "cluster snapshot", *s.DBClusterSnapshotIdentifier, *s.Status, tagsOf(s.TagList))
		}
		globals, err := l.rds(site).DescribeGlobalClusters(ctx, &rdssdk.DescribeGlobalClustersInput{})
		must(l.t, err)
		for _, g := range globals.GlobalClusters {
			for _, m := range g.GlobalClusterMembers {
				add(site, "global", *g.GlobalClusterIdentifier, *g.Status, *m.DBClusterArn, aws.ToBool(m.IsWriter))
			}
		}
		groups, err := l.cache(site).DescribeReplicationGroups(ctx, &cachesdk.DescribeReplicationGroupsInput{})
		must(l.t, err)
		for _, g := range groups.ReplicationGroups {
			add(site, "replication group", *g.ReplicationGroupId, *g.Status)
		}
		stores, err := l.cache(site).DescribeGlobalReplicationGroups(ctx, &cachesdk.DescribeGlobalReplicationGroupsInput{ShowMemberInfo: aws.Bool(true)})
		must(l.t, err)
		for _, g := range stores.GlobalReplicationGroups {
			for _, m := range g.Members {
				add(site, "datastore", *g.GlobalReplicationGroupId, *g.Status, *m.ReplicationGroupId, *m.Role)
			}
		}
	}
	slices.Sort(all)
	return all
}

// cachePrimary is the site whose group of the datastore takes writes, as the region there says.
func (l *lab) cachePrimary(seen model.SiteID, datastore string) (primaries []model.SiteID) {
	l.t.Helper()
	out, err := l.cache(seen).DescribeGlobalReplicationGroups(within(l.t, time.Hour), &cachesdk.DescribeGlobalReplicationGroupsInput{GlobalReplicationGroupId: &datastore, ShowMemberInfo: aws.Bool(true)})
	must(l.t, err)
	for _, m := range out.GlobalReplicationGroups[0].Members {
		for site, region := range regions {
			if aws.ToString(m.ReplicationGroupRegion) == region && strings.EqualFold(aws.ToString(m.Role), "primary") {
				primaries = append(primaries, site)
			}
		}
	}
	return primaries
}

// answers are what the name servers answer.
func (l *lab) answers(zone, name string) (values []string) {
	for _, r := range l.Served(account, l.zones[zone], name, "CNAME") {
		values = append(values, r.Values...)
	}
	return values
}

// sends is the site that the name servers send clients to.
func (l *lab) sends() model.SiteID {
	l.t.Helper()
	got := l.answers("shop.example", "www.shop.example")
	for _, site := range sites {
		if slices.Equal(got, []string{"entrance." + string(site) + ".shop.example"}) {
			return site
		}
	}
	l.t.Fatalf("the name servers answer %v", got)
	return ""
}

// data is what a database holds, by its ARN, without what the tests probed with.
func data(t testing.TB, l *lab, arn string) []string {
	t.Helper()
	all, err := l.Data(arn)
	must(t, err)
	return slices.DeleteFunc(all, func(v string) bool { return v == "probe" })
}

// serves holds the example to serving at a site, and nowhere else.
func (l *lab) serves(site model.SiteID, when string) {
	l.t.Helper()
	only := []model.SiteID{site}
	var billing []model.SiteID
	for _, s := range l.writers(databases["billing"]) {
		if l.reachable(s, "shop-billing") && !(l.stale && s != site) {
			billing = append(billing, s)
		}
	}
	for what, got := range map[string][]model.SiteID{"billing takes writes": billing, "orders takes writes": l.writers(databases["orders"]), "the datastore's primary is": l.cachePrimary(site, "ldgnf-shop-sessions")} {
		if !slices.Equal(got, only) {
			l.t.Errorf("%s: %s at %v, want %v", when, what, got, only)
		}
	}
	if got := l.sends(); got != site {
		l.t.Errorf("%s: the name servers send clients to %s, want %s", when, got, site)
	}
}

package regions

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cachesdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	rdssdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/shop"
	"github.com/lifeboat-dr/lifeboat/examples"
	"github.com/lifeboat-dr/lifeboat/model"
)

// exampleText is the example, with the security groups that the world has in place of those that it names.
func (l *lab) exampleText() string {
	l.t.Helper()
	text, err := l.made.Configure(examples.AWSDatabases)
	must(l.t, err)
	return text
}

// groups are a security group that is served in, and one that lets nobody in.
func (l *lab) groups(site model.SiteID) (serve, shut string) { return l.made.Groups(site) }

func (l *lab) rds(site model.SiteID) *rdssdk.Client { return l.made.RDS(site) }

func (l *lab) cache(site model.SiteID) *cachesdk.Client { return l.made.Cache(site) }

// furnish makes keys and the networks of databases.
func (l *lab) furnish() {
	l.t.Helper()
	must(l.t, l.made.MakeNetworks(within(l.t, time.Hour)))
}

// shop makes all that the example names, serving in Dublin.
func (l *lab) shop() {
	l.t.Helper()
	must(l.t, l.made.Make(within(l.t, 4*time.Hour)))
	l.configure(l.exampleText())
}

// makeInstance begins an encrypted instance in Dublin.
func (l *lab) makeInstance(name string) {
	l.t.Helper()
	must(l.t, l.made.MakeInstance(within(l.t, time.Hour), name))
}

// makeGlobal makes a global database that is written to in Dublin, with so many instances in each region.
func (l *lab) makeGlobal(name string, home, away int) {
	l.t.Helper()
	must(l.t, l.made.MakeGlobal(within(l.t, time.Hour), name, home, away))
}

// makeCache makes a global datastore whose primary is in Dublin.
func (l *lab) makeCache(name string) {
	l.t.Helper()
	must(l.t, l.made.MakeCache(within(l.t, time.Hour), name))
}

// makeName makes a zone with a record.
func (l *lab) makeName(zone, name, value string) {
	l.t.Helper()
	must(l.t, l.made.MakeName(within(l.t, time.Hour), zone, name, value))
}

func clusterARN(site model.SiteID, global string) string {
	return shop.ARN(site, "cluster:"+global+"-"+string(site))
}

func instanceARN(site model.SiteID, name string) string {
	return shop.ARN(site, "db:"+name)
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

// reachable reports whether clients reach an instance.
func (l *lab) reachable(site model.SiteID, name string) bool {
	l.t.Helper()
	yes, err := l.made.Reaches(within(l.t, time.Hour), site, name)
	must(l.t, err)
	return yes
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
	all, err := l.made.Inventory(within(l.t, time.Hour))
	must(l.t, err)
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
	if got := l.made.Leads(); got != site {
		l.t.Errorf("%s: the name servers send clients to %s, want %s", when, got, site)
	}
}

package aurora

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/metric"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// place is the resource at one site.
type place struct {
	id      model.SiteID
	subject string
	s       Settings
	at      ClusterSite // of a global database without what is for clusters alone
	session *awsbase.Session
	rds     *rds.Client
	arn     string // of the cluster
}

// place opens a site of a global database.
func (d *Driver) place(ctx context.Context, t driver.Target, site model.SiteID) (*place, error) {
	p, err := awsbase.PlaceOf[Settings, Site](ctx, d.base, t, site)
	if err != nil {
		return nil, err
	}
	return placeOf(t, site, p.Settings, ClusterSite{Site: p.At}, p.Session), nil
}

// place opens a site of a single cluster.
func (d *Cluster) place(ctx context.Context, t driver.Target, site model.SiteID) (*place, error) {
	p, err := awsbase.PlaceOf[ClusterSettings, ClusterSite](ctx, d.base, t, site)
	if err != nil {
		return nil, err
	}
	return placeOf(t, site, Settings{Copies: p.Settings.Copies}, p.At, p.Session), nil
}

func placeOf(t driver.Target, site model.SiteID, s Settings, at ClusterSite, session *awsbase.Session) *place {
	return &place{id: site, subject: string(t.Resource.ID) + " at " + string(site), s: s, at: at, session: session,
		rds: rds.NewFromConfig(session.Config("rds")), arn: session.ARN("rds", "cluster:"+strings.ToLower(at.Cluster))}
}

// view is what a region says of the resource.
type view struct {
	arn       string               // of the cluster, whether it exists or not
	cluster   *types.DBCluster     // nil: none
	instances []types.DBInstance   // of the cluster
	global    *types.GlobalCluster // nil: the region knows none of this name
}

// region is everything that a listing found.
type region struct {
	clusters  map[string]types.DBCluster
	instances map[string][]types.DBInstance // by cluster
	globals   map[string]types.GlobalCluster
}

// filterMax is how many names one question asks for.
const filterMax = 100

// listClusters looks at clusters and their instances: two calls for however many wait.
func listClusters(ctx context.Context, s *awsbase.Session, ids []string) (map[string]region, error) {
	client := rds.NewFromConfig(s.Config("rds"))
	r := region{clusters: map[string]types.DBCluster{}, instances: map[string][]types.DBInstance{}, globals: map[string]types.GlobalCluster{}}
	for some := range slices.Chunk(ids, filterMax) {
		only := []types.Filter{{Name: aws.String("db-cluster-id"), Values: some}}
		clusters, err := awsbase.All(ctx, rds.NewDescribeDBClustersPaginator(client, &rds.DescribeDBClustersInput{Filters: only}), clustersIn)
		if err != nil {
			return nil, err
		}
		for _, c := range clusters {
			r.clusters[aws.ToString(c.DBClusterIdentifier)] = c
		}
		instances, err := awsbase.All(ctx, rds.NewDescribeDBInstancesPaginator(client, &rds.DescribeDBInstancesInput{Filters: only}), instancesIn)
		if err != nil {
			return nil, err
		}
		for _, i := range instances {
			id := aws.ToString(i.DBClusterIdentifier)
			r.instances[id] = append(r.instances[id], i)
		}
	}
	out := map[string]region{}
	for _, id := range ids {
		out[id] = r
	}
	return out, nil
}

// listGlobals looks at all global databases of a region too.
func listGlobals(ctx context.Context, s *awsbase.Session, ids []string) (map[string]region, error) {
	out, err := listClusters(ctx, s, ids)
	if err != nil || len(out) == 0 {
		return out, err
	}
	client := rds.NewFromConfig(s.Config("rds"))
	globals, err := awsbase.All(ctx, rds.NewDescribeGlobalClustersPaginator(client, &rds.DescribeGlobalClustersInput{}), globalsIn)
	if err != nil {
		return nil, err
	}
	for _, g := range globals {
		out[ids[0]].globals[aws.ToString(g.GlobalClusterIdentifier)] = g // one map for all
	}
	return out, nil
}

// What is in RDS's answers.
func clustersIn(out *rds.DescribeDBClustersOutput) []types.DBCluster    { return out.DBClusters }
func instancesIn(out *rds.DescribeDBInstancesOutput) []types.DBInstance { return out.DBInstances }
func globalsIn(out *rds.DescribeGlobalClustersOutput) []types.GlobalCluster {
	return out.GlobalClusters
}

// look asks the site's region about the resource. Listings lag behind what was just made, so what they miss is asked for by name.
func (p *place) look(ctx context.Context) (*view, error) {
	id := strings.ToLower(p.at.Cluster)
	if p.s.Global == "" {
		return p.lookAt(ctx, id)
	}
	r, _, err := awsbase.PollerOf(p.session, string(Kind), listGlobals).Get(ctx, id)
	if err != nil {
		return nil, failure.Wrap(err, "look at", p.subject)
	}
	v, err := p.viewOf(ctx, id, r)
	if err != nil {
		return nil, err
	}
	v.arn = p.arn
	if g, ok := r.globals[strings.ToLower(p.s.Global)]; ok {
		v.global = &g
	} else if v.global, err = p.global(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// lookAt asks about any cluster of the region by its name, and nothing of global databases.
func (p *place) lookAt(ctx context.Context, id string) (*view, error) {
	r, _, err := awsbase.PollerOf(p.session, string(ClusterKind), listClusters).Get(ctx, id)
	if err != nil {
		return nil, failure.Wrap(err, "look at", p.subject)
	}
	return p.viewOf(ctx, id, r)
}

func (p *place) viewOf(ctx context.Context, id string, r region) (*view, error) {
	v := &view{arn: p.session.ARN("rds", "cluster:"+id), instances: r.instances[id]}
	if c, ok := r.clusters[id]; ok {
		v.cluster = &c
		return v, nil
	}
	var err error
	v.cluster, err = p.cluster(ctx, id)
	return v, err
}

// cluster asks for one cluster by name; nil: there is none.
func (p *place) cluster(ctx context.Context, id string) (*types.DBCluster, error) {
	out, err := p.rds.DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: &id})
	one, err := awsbase.One(out, err, clustersIn)
	return one, failure.Wrap(err, "look at", p.subject)
}

// global asks for the global database by name; nil: the region knows none.
func (p *place) global(ctx context.Context) (*types.GlobalCluster, error) {
	out, err := p.rds.DescribeGlobalClusters(ctx, &rds.DescribeGlobalClustersInput{GlobalClusterIdentifier: &p.s.Global})
	one, err := awsbase.One(out, err, globalsIn)
	return one, failure.Wrap(err, "look at", p.subject)
}

// instance asks for an instance by name; nil: there is none.
func (p *place) instance(ctx context.Context, id string) (*types.DBInstance, error) {
	out, err := p.rds.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &id})
	one, err := awsbase.One(out, err, instancesIn)
	return one, failure.Wrap(err, "look at", p.subject)
}

// member is what the global database says of a cluster; nil: it is none of its members.
func (v *view) member(arn string) *types.GlobalClusterMember {
	if v.global == nil {
		return nil
	}
	i := slices.IndexFunc(v.global.GlobalClusterMembers, func(m types.GlobalClusterMember) bool { return aws.ToString(m.DBClusterArn) == arn })
	if i < 0 {
		return nil
	}
	return &v.global.GlobalClusterMembers[i]
}

// writer reports whether the global database says that a cluster is its writer.
func (v *view) writer(arn string) bool {
	m := v.member(arn)
	return m != nil && aws.ToBool(m.IsWriter)
}

// alone reports whether the cluster is there, in no global database, and follows nothing: it takes writes.
func (v *view) alone() bool {
	return v.cluster != nil && v.member(v.arn) == nil && aws.ToString(v.cluster.ReplicationSourceIdentifier) == "" && aws.ToString(v.cluster.GlobalClusterIdentifier) == ""
}

// moving is a change of roles that is under way; nil: none.
func (v *view) moving() *types.FailoverState {
	if v.global == nil || v.global.FailoverState == nil || v.global.FailoverState.Status == "" {
		return nil
	}
	return v.global.FailoverState
}

// up counts the instances that serve.
func (v *view) up() int {
	n := 0
	for _, i := range v.instances {
		if dbstate.Of(aws.ToString(i.DBInstanceStatus)).Serves() {
			n++
		}
	}
	return n
}

func (v *view) status() string {
	if v.cluster == nil {
		return "absent"
	}
	return aws.ToString(v.cluster.Status)
}

// means is what the cluster's status means.
func (v *view) means() dbstate.Meaning { return dbstate.Of(v.status()) }

// stopped is the answer where the cluster has to run: AWS starts it by itself after seven days.
func (v *view) stopped(op string, p *place) *failure.Error {
	return failure.New(failure.Unavailable, op, p.subject, "the cluster %s is %s", aws.ToString(v.cluster.DBClusterIdentifier), v.status()).
		WithHint("aws rds start-db-cluster --db-cluster-identifier %s; then retry", aws.ToString(v.cluster.DBClusterIdentifier))
}

const available = "available"

// class is that of the cluster's instances.
func (v *view) class() string {
	for _, i := range v.instances {
		if c := aws.ToString(i.DBInstanceClass); c != "" {
			return c
		}
	}
	return ""
}

// ends are a cluster's outputs.
func ends(c *types.DBCluster) map[string]model.Value {
	port := strconv.Itoa(int(aws.ToInt32(c.Port)))
	return map[string]model.Value{
		"endpoint": driver.Endpoint(net.JoinHostPort(aws.ToString(c.Endpoint), port)),
		"reader":   driver.Endpoint(net.JoinHostPort(aws.ToString(c.ReaderEndpoint), port)),
	}
}

// Describe asks the site's own region, which knows the whole global database.
func (d *Driver) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	desc := model.Description{Resource: t.Resource.ID, Site: t.Site}
	p, err := d.place(ctx, t, t.Site)
	if err != nil {
		return desc, err
	}
	v, err := p.look(ctx)
	desc.At = time.Now()
	if err != nil {
		return awsbase.Undescribed(ctx, desc, err)
	}
	if v.cluster == nil {
		desc.Role, desc.Summary = model.RoleAbsent, fmt.Sprintf("there is no cluster %s in %s", p.at.Cluster, p.session.Region())
		return desc, nil
	}
	m := v.member(p.arn)
	desc.Facts = []model.Fact{{Name: "status", Value: v.status()}, {Name: "instances", Value: fmt.Sprintf("%d of %d available", v.up(), len(v.instances))},
		{Name: "engine", Value: aws.ToString(v.cluster.Engine) + " " + aws.ToString(v.cluster.EngineVersion)}}
	fine := v.means().Serves() && v.up() > 0 && v.moving() == nil
	switch {
	case v.means() == dbstate.Stopped:
		desc.Role, desc.Summary = model.RoleStopped, "the cluster is "+v.status()
	case v.status() == "creating" || v.means() == dbstate.Leaving || m == nil && !v.alone():
		desc.Role, desc.Summary = model.RoleUnknown, "the cluster is "+v.status()+", and is not a member of "+p.s.Global
	case m == nil:
		desc.Role, desc.Healthy = model.RolePrimary, v.means().Serves() && v.up() > 0
		desc.Summary = fmt.Sprintf("takes writes alone: it is not a member of the global database %s, and nothing follows it", p.s.Global)
	case aws.ToBool(m.IsWriter):
		desc.Role, desc.Healthy = model.RolePrimary, fine
		desc.Summary = fmt.Sprintf("is the writer of %s, %d members", p.s.Global, len(v.global.GlobalClusterMembers))
	default:
		desc.Role, desc.Healthy = model.RoleStandby, fine && following(m)
		desc.Summary = fmt.Sprintf("follows in %s, %s", p.s.Global, sync(m))
		desc.Facts = append(desc.Facts, model.Fact{Name: "synchronization", Value: sync(m)})
		metric.Tell(ctx, p.session, &desc, p.lags()...)
	}
	if f := v.moving(); f != nil {
		desc.Summary += "; the global database is " + string(f.Status)
	}
	if desc.Role == model.RolePrimary || desc.Role == model.RoleStandby {
		desc.Outputs = ends(v.cluster)
	}
	return desc, nil
}

// lags are where CloudWatch keeps how far the cluster is behind. The first is of transactions, as a recovery point is; versions of
// Aurora MySQL before 3.04 and 2.12 have the second one alone (Aurora User Guide, "Performing switchovers for Amazon Aurora global
// databases").
func (p *place) lags() []metric.Series {
	var out []metric.Series
	for _, name := range []string{"AuroraGlobalDBRPOLag", "AuroraGlobalDBReplicationLag"} {
		out = append(out, metric.Series{Namespace: "AWS/RDS", Name: name, Unit: time.Millisecond, Dimensions: map[string]string{"DBClusterIdentifier": strings.ToLower(p.at.Cluster)}})
	}
	return out
}

// sync is a member's synchronization status. AWS says nothing of the writer's.
func sync(m *types.GlobalClusterMember) string {
	if m.SynchronizationStatus == "" {
		return "synchronization unknown"
	}
	return string(m.SynchronizationStatus)
}

// following reports whether a member is synchronized. Emulators and old versions leave the word out.
func following(m *types.GlobalClusterMember) bool {
	return m.SynchronizationStatus == types.GlobalClusterMemberSynchronizationStatusConnected
}

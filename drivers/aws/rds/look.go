package rds

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/metric"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

// instance is one as RDS shows it.
type instance struct {
	types.DBInstance
	tags map[string]string
}

// filterMax is how many names one question asks for.
const filterMax = 100

// listInstances is the listing of the poller that all who wait share.
func listInstances(ctx context.Context, s *awsbase.Session, ids []string) (map[string]types.DBInstance, error) {
	api := sdk.NewFromConfig(s.Config("rds"))
	out := map[string]types.DBInstance{}
	for chunk := range slices.Chunk(ids, filterMax) {
		some, err := awsbase.All(ctx, sdk.NewDescribeDBInstancesPaginator(api, &sdk.DescribeDBInstancesInput{
			Filters: []types.Filter{{Name: aws.String("db-instance-id"), Values: chunk}}, MaxRecords: aws.Int32(100)}), instancesIn)
		if err != nil {
			return nil, err
		}
		for _, i := range some {
			out[aws.ToString(i.DBInstanceIdentifier)] = i
		}
	}
	return out, nil
}

func instancesIn(out *sdk.DescribeDBInstancesOutput) []types.DBInstance { return out.DBInstances }

// instance looks for an instance by its name; nil when there is none. What the shared listing does not have is asked for by
// name, as listings lag behind.
func (p *place) instance(ctx context.Context, name string) (*instance, error) {
	name = strings.ToLower(name)
	i, found, err := awsbase.PollerOf(p.s, "rds.instance", listInstances).Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if found {
		return &instance{i, tagMap(i.TagList)}, nil
	}
	return p.instanceByName(ctx, name)
}

// instanceByName asks for one alone.
func (p *place) instanceByName(ctx context.Context, name string) (*instance, error) {
	answer, err := p.api.DescribeDBInstances(ctx, &sdk.DescribeDBInstancesInput{DBInstanceIdentifier: &name})
	i, err := awsbase.One(answer, err, instancesIn)
	if err != nil || i == nil {
		return nil, err
	}
	return &instance{*i, tagMap(i.TagList)}, nil
}

func (i *instance) name() string   { return aws.ToString(i.DBInstanceIdentifier) }
func (i *instance) arn() string    { return aws.ToString(i.DBInstanceArn) }
func (i *instance) status() string { return aws.ToString(i.DBInstanceStatus) }

// replica reports whether it follows another instance.
func (i *instance) replica() bool { return aws.ToString(i.ReadReplicaSourceDBInstanceIdentifier) != "" }

// means is what its state means.
func (i *instance) means() dbstate.Meaning { return dbstate.Of(i.status()) }

// serves reports whether clients reach it; ready, whether AWS takes changes of it besides.
func (i *instance) serves() bool { return i.Endpoint != nil && i.means().Serves() }
func (i *instance) ready() bool  { return i.means() == dbstate.Ready }
func (i *instance) broken() bool { return i.means().Broken() }

// groups are the ids of the security groups that it is in, or that it is being put into.
func (i *instance) groups() []string {
	var out []string
	for _, g := range i.VpcSecurityGroups {
		out = append(out, aws.ToString(g.VpcSecurityGroupId))
	}
	slices.Sort(out)
	return out
}

// settled reports whether no change of its security groups is under way.
func (i *instance) settled() bool {
	return !slices.ContainsFunc(i.VpcSecurityGroups, func(g types.VpcSecurityGroupMembership) bool {
		status := aws.ToString(g.Status)
		return status != "" && status != "active"
	})
}

// within reports whether it is in groups of the list only.
func (i *instance) within(groups []string) bool {
	have := i.groups()
	return len(have) > 0 && !slices.ContainsFunc(have, func(g string) bool { return !slices.Contains(groups, g) })
}

// fenced reports whether it is shut in by the fence's groups.
func (i *instance) fenced(at Site) bool { return at.Fence != nil && i.within(at.Fence.SecurityGroups) }

// endpoint is where clients find it.
func (i *instance) endpoint() model.Value {
	if i.Endpoint == nil {
		return model.Value{}
	}
	return driver.Endpoint(net.JoinHostPort(aws.ToString(i.Endpoint.Address), strconv.Itoa(int(aws.ToInt32(i.Endpoint.Port)))))
}

// Describe says what the instance is at a site.
func (d *Driver) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	p, err := d.place(ctx, t, t.Site)
	if err != nil {
		return model.Description{}, err
	}
	out := model.Description{Resource: t.Resource.ID, Site: t.Site, At: time.Now(), Role: model.RoleUnknown}
	i, err := p.instanceByName(ctx, p.set.Instance)
	if err == nil && i == nil {
		return p.describeAbsent(ctx, t, out)
	}
	if err != nil {
		return awsbase.Undescribed(ctx, out, err)
	}
	out.Outputs = map[string]model.Value{}
	if i.Endpoint != nil {
		out.Outputs["endpoint"] = i.endpoint()
	}
	status := i.status()
	out.Facts = []model.Fact{driver.Fact("status", "%s", status), driver.Fact("instance", "%s", i.name()), driver.Fact("engine", "%s %s", aws.ToString(i.Engine), aws.ToString(i.EngineVersion)),
		driver.Fact("class", "%s", aws.ToString(i.DBInstanceClass)), driver.Fact("multi_az", "%t", aws.ToBool(i.MultiAZ))}
	switch {
	case i.fenced(p.set) && i.settled():
		out.Role = model.RoleFenced
	case i.means() == dbstate.Stopped:
		out.Role = model.RoleStopped
	case i.replica():
		out.Role, out.Healthy = model.RoleStandby, i.serves()
	case i.broken() || status == "creating" || i.means() == dbstate.Leaving:
	default:
		out.Role, out.Healthy = model.RolePrimary, i.serves()
	}
	out.Summary = fmt.Sprintf("instance %s is %s in %s", i.name(), status, p.s.Region())
	if out.Role == model.RoleStandby {
		p.describeReplica(ctx, i, &out)
	}
	if out.Role == model.RoleFenced {
		out.Summary = fmt.Sprintf("instance %s is fenced in %s: it is in %s", i.name(), p.s.Region(), strings.Join(i.groups(), ", "))
	}
	return out, nil
}

// describeReplica says what a replica follows, and how well.
func (p *place) describeReplica(ctx context.Context, i *instance, out *model.Description) {
	out.Summary = fmt.Sprintf("replica %s is %s in %s", i.name(), i.status(), p.s.Region())
	out.Facts = append(out.Facts, driver.Fact("follows", "%s", i.master()))
	metric.Tell(ctx, p.s, out, p.lagOf())
	if why := i.stalled(); why != "" {
		out.Healthy = false
		out.Summary += ", and receives nothing: " + why
	}
}

// describeAbsent says what could be brought up where no instance is.
func (p *place) describeAbsent(ctx context.Context, t driver.Target, out model.Description) (model.Description, error) {
	ready, err := (&snapshots.Keeper{Target: t}).Ready(ctx, p.kept())
	if err != nil {
		return awsbase.Undescribed(ctx, out, err)
	}
	what := "instance"
	if p.own.replicated() {
		what = "replica"
	}
	snapshots.DescribeAbsent(&out, what, p.s.Region(), ready)
	out.Healthy = out.Healthy && !p.own.replicated()
	return out, nil
}

package aurora

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Describe says what the cluster is at a site, or what could be brought up there.
func (d *Cluster) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	desc := model.Description{Resource: t.Resource.ID, Site: t.Site}
	p, err := d.place(ctx, t, t.Site)
	if err != nil {
		return desc, err
	}
	v, err := p.look(ctx)
	var ready []*snapshots.Snapshot
	if err == nil && v.cluster == nil {
		ready, err = (&snapshots.Keeper{Target: t}).Ready(ctx, p.kept())
	}
	desc.At = time.Now()
	switch {
	case err != nil:
		return awsbase.Undescribed(ctx, desc, err)
	case v.cluster == nil:
		snapshots.DescribeAbsent(&desc, "cluster", p.session.Region(), ready)
		return desc, nil
	}
	c, status := v.cluster, v.status()
	desc.Facts = []model.Fact{driver.Fact("status", "%s", status), driver.Fact("cluster", "%s", p.at.Cluster), driver.Fact("instances", "%d of %d available", v.up(), len(v.instances)),
		driver.Fact("engine", "%s %s", aws.ToString(c.Engine), aws.ToString(c.EngineVersion))}
	desc.Summary = fmt.Sprintf("cluster %s is %s in %s, %d of %d instances available", p.at.Cluster, status, p.session.Region(), v.up(), len(v.instances))
	switch {
	case p.fenced(c) && !changing(c):
		desc.Role = model.RoleFenced
		desc.Summary = fmt.Sprintf("cluster %s is fenced in %s: it is in %s", p.at.Cluster, p.session.Region(), strings.Join(groups(c), ", "))
	case v.means() == dbstate.Stopped:
		desc.Role = model.RoleStopped
	case aws.ToString(c.GlobalClusterIdentifier) != "":
		desc.Role = model.RoleUnknown
		desc.Summary += "; it is in the global database " + aws.ToString(c.GlobalClusterIdentifier) + ", which this kind is not for"
	case !v.alone():
		desc.Role, desc.Healthy = model.RoleStandby, v.up() > 0
	case status == "creating" || v.means() == dbstate.Leaving || v.means().Broken():
		desc.Role = model.RoleUnknown
	default:
		desc.Role, desc.Healthy = model.RolePrimary, v.up() > 0
		desc.Outputs = ends(c)
	}
	return desc, nil
}

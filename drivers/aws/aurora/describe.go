package aurora

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
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
		return undescribed(ctx, desc, err)
	case v.cluster == nil:
		absent(p, &desc, ready)
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
	case status == "stopped" || status == "stopping":
		desc.Role = model.RoleStopped
	case aws.ToString(c.GlobalClusterIdentifier) != "":
		desc.Role = model.RoleUnknown
		desc.Summary += "; it is in the global database " + aws.ToString(c.GlobalClusterIdentifier) + ", which this kind is not for"
	case !v.alone():
		desc.Role, desc.Healthy = model.RoleStandby, v.up() > 0
	case status == "creating" || status == "deleting" || status == "failed":
		desc.Role = model.RoleUnknown
	default:
		desc.Role, desc.Healthy = model.RolePrimary, v.up() > 0
		desc.Outputs = ends(c)
	}
	return desc, nil
}

// absent describes a site without a cluster: the newest snapshot could be brought up.
func absent(p *place, desc *model.Description, ready []*snapshots.Snapshot) {
	desc.Role = model.RoleAbsent
	if len(ready) == 0 {
		desc.Summary = fmt.Sprintf("no cluster and no snapshot in %s", p.session.Region())
		return
	}
	age := desc.At.Sub(ready[0].At).Round(time.Second)
	behind := model.Duration(age)
	desc.Healthy, desc.LagTime = true, &behind
	desc.Summary = fmt.Sprintf("no cluster; the newest of %d snapshots in %s is %s old", len(ready), p.session.Region(), age)
	desc.Facts = []model.Fact{driver.Fact("newest snapshot", "%s", ready[0].ID), driver.Fact("age", "%s", age), driver.Fact("snapshots", "%d", len(ready))}
}

// undescribed is the description of what could not be looked at.
func undescribed(ctx context.Context, desc model.Description, err error) (model.Description, error) {
	switch k := failure.KindOf(err); {
	case ctx.Err() != nil && k == failure.Canceled:
		return desc, err
	case k == failure.Unavailable || k == failure.Throttled:
		desc.Role, desc.Summary = model.RoleUnreachable, err.Error()
		return desc, nil
	}
	return desc, err
}

package elasticache

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/metric"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Describe asks the site's own region which role its member has, and CloudWatch there how far a secondary is behind.
func (d *Global) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	desc := model.Description{Resource: t.Resource.ID, Site: t.Site, At: time.Now()}
	m, err := d.member(ctx, t, t.Site)
	if err != nil {
		return desc, err
	}
	v, err := m.look(ctx)
	if err != nil {
		return dark(ctx, desc, err)
	}
	desc.At = time.Now()
	desc.Facts = v.evidence(m.group + " in " + m.session.Region())[1:]
	o, ok := v.find(m)
	if !ok {
		desc.Role, desc.Summary = model.RoleAbsent, fmt.Sprintf("%s is no member of %s", m.group, m.id)
		return desc, nil
	}
	desc.Role = model.RoleStandby
	if isPrimary(o) {
		desc.Role = model.RolePrimary
	}
	g, err := m.own(ctx)
	if err != nil {
		return dark(ctx, desc, err)
	}
	desc.Outputs = endpoints(g)
	desc.Healthy = isAssociated(o) && serving(aws.ToString(g.Status))
	if desc.Role == model.RoleStandby {
		metric.Tell(ctx, m.session, &desc, lagOf(&g)...)
	}
	desc.Summary = fmt.Sprintf("%s is %s, %s, in %s, which is %s", m.group, aws.ToString(g.Status), aws.ToString(o.Status), m.id, aws.ToString(v.Status))
	return desc, nil
}

// lagOf are the series that a secondary's lag may be in: AWS's documents do not say under which dimension it is published. The metrics that
// AWS's CDK has ready made (aws-elasticache, canned metrics) have it by CacheClusterId.
func lagOf(g *types.ReplicationGroup) []metric.Series {
	series := func(dimension, value string) metric.Series {
		return metric.Series{Namespace: "AWS/ElastiCache", Name: "GlobalDatastoreReplicationLag", Unit: time.Second, Dimensions: map[string]string{dimension: value}}
	}
	out := []metric.Series{series("ReplicationGroupId", aws.ToString(g.ReplicationGroupId))}
	for _, cluster := range g.MemberClusters {
		out = append(out, series("CacheClusterId", cluster))
	}
	return out
}

// dark is a description of what could not be asked, or is not there.
func dark(ctx context.Context, desc model.Description, err error) (model.Description, error) {
	if failure.KindOf(err) == failure.NotFound {
		desc.At, desc.Role, desc.Summary = time.Now(), model.RoleAbsent, err.Error()
		return desc, nil
	}
	return awsbase.Undescribed(ctx, desc, err)
}

// Check says what stands in the way. A fence is asked of the site that takes the role.
func (d *Global) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	own, err := d.member(ctx, req.Target, req.Site)
	if err != nil {
		return nil, err
	}
	to := own
	if req.Action == model.ActionFence && req.Peer != "" {
		if to, err = d.member(ctx, req.Target, req.Peer); err != nil {
			return nil, err
		}
	}
	var found []model.Finding
	add := func(severity model.Severity, code, what, why, fix string) {
		found = append(found, model.Finding{Severity: severity, Code: code, Resource: req.Resource.ID, Site: req.Site, Step: req.Step, What: what, Why: why, Fix: fix})
	}
	block := func(err error, why string) {
		add(model.Block, "cache-member", err.Error(), why, failure.HintOf(err))
	}
	v, err := to.look(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, failure.Wrap(context.Cause(ctx), "check", string(req.Resource.ID))
	case err != nil && failure.KindOf(err) == failure.Unavailable:
		add(model.Block, "cache-unreachable", err.Error(), "the region's control plane is needed", failure.HintOf(err))
		return found, nil
	case err != nil:
		block(err, "there is nothing to fail over")
		return found, nil
	}
	for _, m := range []*member{to, own} {
		if _, err := v.must(m); err != nil {
			block(err, "a group that is no member takes no role, and may take writes by itself")
			return found, nil
		}
	}
	o, _ := v.find(to)
	switch {
	case req.Action == model.ActionReverse:
	case isPrimary(o):
		add(model.Note, "cache-already", to.group+" is the primary already", "", "")
	case !isAssociated(o):
		severity := model.Block
		if req.Preview && req.Operation == model.OpFailback {
			severity = model.Warn // the failback first waits until it follows
		}
		add(severity, "cache-not-associated", fmt.Sprintf("%s is %s", to.group, aws.ToString(o.Status)), "it does not follow the primary",
			"aws elasticache describe-global-replication-groups --show-member-info --region "+to.session.Region())
	case !v.settled():
		add(model.Warn, "cache-busy", fmt.Sprintf("%s is %s", to.id, aws.ToString(v.Status)), "AWS refuses a failover until that is over", "")
	}
	return found, nil
}

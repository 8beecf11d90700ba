package aurora

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// The tags of a cluster that is fenced: the run that did it, the groups that it was in, and an id of this fence that its instances
// carry once they were rebooted for it; and of one that was let out, the step that did it.
const (
	tagFenceRun    = "lifeboat:fence-run"
	tagFenceBefore = "lifeboat:fence-before"
	tagFence       = "lifeboat:fence"
	tagPromoted    = "lifeboat:promoted-by"
)

// needsFence is the error of a site without a fence.
func (p *place) needsFence() error {
	if p.at.Fence != nil {
		return nil
	}
	return failure.New(failure.Invalid, "fence", p.subject, "nothing says how the cluster is fenced").
		WithHint("set sites.%s.fence: {security_groups: [a group that lets nobody in]}", p.id)
}

// groups are the ids of a cluster's security groups.
func groups(c *types.DBCluster) []string {
	var out []string
	for _, g := range c.VpcSecurityGroups {
		out = append(out, aws.ToString(g.VpcSecurityGroupId))
	}
	slices.Sort(out)
	return out
}

// changing reports whether a change of a cluster's security groups is under way.
func changing(c *types.DBCluster) bool {
	return slices.ContainsFunc(c.VpcSecurityGroups, func(g types.VpcSecurityGroupMembership) bool {
		status := aws.ToString(g.Status)
		return status != "" && status != "active"
	})
}

// fenced reports whether a cluster is in the fence's groups only.
func (p *place) fenced(c *types.DBCluster) bool {
	in := groups(c)
	return p.at.Fence != nil && len(in) > 0 && !slices.ContainsFunc(in, func(g string) bool { return !slices.Contains(p.at.Fence.SecurityGroups, g) })
}

// tag adds tags to a thing of RDS.
func (p *place) tag(ctx context.Context, arn *string, more map[string]string) error {
	return p.store().Tag(ctx, aws.ToString(arn), awsbase.Origin{}.Tags(more))
}

// setGroups puts the cluster into other security groups.
func (p *place) setGroups(ctx context.Context, c *types.DBCluster, to []string) error {
	_, err := p.rds.ModifyDBCluster(ctx, &rds.ModifyDBClusterInput{DBClusterIdentifier: c.DBClusterIdentifier, VpcSecurityGroupIds: slices.Clone(to), ApplyImmediately: aws.Bool(true)})
	return err
}

// fence shuts everybody out of the cluster: it is put into groups that let nobody in, and its instances are rebooted, since
// sessions that are open outlive a change of groups.
func (w *work) fence(ctx context.Context) (driver.Observation, error) {
	p := w.here
	if err := p.needsFence(); err != nil {
		return driver.Observation{}, err
	}
	v, err := p.look(ctx)
	if err != nil && ctx.Err() == nil && failure.KindOf(err) == failure.Unavailable {
		return driver.Observation{}, unproven(err, p.subject, "%s does not answer", p.session.Name())
	}
	if err != nil {
		return driver.Observation{}, err
	}
	c := v.cluster
	switch {
	case c == nil:
		return driver.Succeeded(driver.Fact("fence", "there is no cluster %s in %s", p.at.Cluster, p.session.Region())), nil
	case v.means() == dbstate.Leaving:
		return driver.Waiting("cluster %s is being deleted", p.at.Cluster), nil
	case aws.ToString(c.ReplicationSourceIdentifier) != "":
		return driver.Succeeded(driver.Fact("fence", "cluster %s is a replica of %s and takes no writes", p.at.Cluster, aws.ToString(c.ReplicationSourceIdentifier))), nil
	case v.status() == "stopped" && !p.fenced(c):
		return driver.Observation{}, unproven(nil, p.subject, "cluster %s is stopped, and AWS starts it again by itself within seven days, open to its clients", p.at.Cluster)
	case v.means().Broken() && !p.fenced(c):
		return driver.Observation{}, unproven(nil, p.subject, "cluster %s is %s: AWS takes no change of it in that state", p.at.Cluster, v.status())
	case !p.fenced(c) && !changing(c):
		return w.shutIn(ctx, c)
	case changing(c):
		return driver.Waiting("cluster %s is put into %s", p.at.Cluster, strings.Join(groups(c), ", ")), nil
	}
	return w.endSessions(ctx, v)
}

// shutIn puts the cluster into the fence's groups.
func (w *work) shutIn(ctx context.Context, c *types.DBCluster) (driver.Observation, error) {
	p := w.here
	if status := aws.ToString(c.Status); dbstate.Of(status) != dbstate.Ready {
		return driver.Waiting("cluster %s is %s: it can be fenced once it is available", p.at.Cluster, status), nil
	}
	before, ok := awsbase.OneTag(groups(c))
	if !ok {
		if before = ""; len(p.at.SecurityGroups) == 0 {
			return driver.FailedWith(failure.New(failure.Invalid, "fence", p.subject, "cluster %s is in %d security groups, more than a tag can note", p.at.Cluster, len(groups(c))).
				WithHint("set sites.%s.security_groups: those that it is put back into", p.id)), nil
		}
	}
	err := p.tag(ctx, c.DBClusterArn, map[string]string{tagFenceRun: string(w.req.Run), tagFenceBefore: before, tagFence: w.req.Token})
	if err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("cluster %s is put into %s", p.at.Cluster, strings.Join(p.at.Fence.SecurityGroups, ", ")), p.setGroups(ctx, c, p.at.Fence.SecurityGroups)
}

// endSessions reboots the instances of a cluster that is in the fence's groups, and is done once all of them were.
func (w *work) endSessions(ctx context.Context, v *view) (driver.Observation, error) {
	p, c := w.here, v.cluster
	id := tagMap(c.TagList)[tagFence]
	if id == "" { // somebody else put it there
		id = w.req.Token
		if err := p.tag(ctx, c.DBClusterArn, map[string]string{tagFenceRun: string(w.req.Run), tagFence: id}); err != nil {
			return driver.Observation{}, err
		}
	}
	var waits []string
	for _, i := range v.instances {
		name, status := aws.ToString(i.DBInstanceIdentifier), aws.ToString(i.DBInstanceStatus)
		done := tagMap(i.TagList)[tagFence] == id
		switch means := dbstate.Of(status); {
		case done && status != "rebooting" && status != "modifying":
		case status == "stopped" || means.Broken():
			// no session outlives that
		case done || means != dbstate.Ready:
			waits = append(waits, name+" is "+status)
		default:
			if _, err := p.rds.RebootDBInstance(ctx, &rds.RebootDBInstanceInput{DBInstanceIdentifier: &name}); err != nil {
				return driver.Observation{}, err
			}
			if err := p.tag(ctx, i.DBInstanceArn, map[string]string{tagFence: id}); err != nil {
				return driver.Observation{}, err
			}
			waits = append(waits, name+" is rebooted")
		}
	}
	if len(waits) > 0 {
		return driver.Waiting("open sessions end: %s", strings.Join(waits, ", ")), nil
	}
	return driver.Succeeded(driver.Fact("fence", "cluster %s is only in %s, and its %d instances were rebooted since", p.at.Cluster, strings.Join(groups(c), ", "), len(v.instances)),
		driver.Fact("status", "%s", v.status())), nil
}

// unfence lets the cluster serve again in the groups that it was in.
func (w *work) unfence(ctx context.Context, c *types.DBCluster) (driver.Observation, error) {
	p := w.here
	if status := aws.ToString(c.Status); dbstate.Of(status) != dbstate.Ready || changing(c) {
		return driver.Waiting("cluster %s is %s: it is let out once it is available", p.at.Cluster, status), nil
	}
	to := p.at.SecurityGroups
	if before := strings.Fields(tagMap(c.TagList)[tagFenceBefore]); len(before) > 0 {
		to = before
	}
	if len(to) == 0 {
		return driver.FailedWith(failure.New(failure.Invalid, "promote", p.subject, "nothing says which security groups it serves in").WithHint("set sites.%s.security_groups", p.id)), nil
	}
	if err := p.tag(ctx, c.DBClusterArn, map[string]string{tagPromoted: w.req.Token, tagFence: ""}); err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("cluster %s is put back into %s", p.at.Cluster, strings.Join(to, ", ")), p.setGroups(ctx, c, to)
}

package elasticache

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// promote has a group serve at the site: an empty one, or the one that stands by.
func (w *groupWork) promote(ctx context.Context, h groupHandle) (driver.Observation, error) {
	c, pending, err := w.cleared(ctx, h)
	switch {
	case err != nil:
		return driver.Observation{}, err
	case pending != "":
		return driver.Waiting("%s: what it holds is from before %s served", pending, w.req.Peer), nil
	case c == nil:
		return w.create(ctx, h.Name, w.serving())
	}
	if seen, wait := coming(c); wait {
		return seen, nil
	}
	if pending, err = w.grow(ctx, c); err != nil || pending != "" {
		return driver.Waiting("%s", pending), err
	}
	if c.tags[tagServes] == "" || c.tags[awsbase.TagToken] != w.req.Token {
		if err := w.marks(ctx, c); err != nil {
			return driver.Observation{}, err
		}
	}
	seen := serves(c)
	if h.Unknown != "" {
		seen.Evidence = append(seen.Evidence, driver.Fact("may be stale", "%s", h.Unknown))
	}
	return seen, nil
}

// marks writes down on the group that it serves, since now, and for which step.
func (w *groupWork) marks(ctx context.Context, c *cache) error {
	return store{w.here.api}.Tag(ctx, aws.ToString(c.ARN), awsbase.OriginOf(w.req).Tags(map[string]string{tagServes: stamp()}))
}

// coming is the observation of a group that does not serve yet, or never will.
func coming(c *cache) (seen driver.Observation, wait bool) {
	switch {
	case c.status() == createFailed:
		return driver.FailedWith(failure.New(failure.Unavailable, "create", c.name(), "AWS says that its creation failed").
			WithHint("aws elasticache describe-events --source-type replication-group --source-identifier %s says why; the next attempt creates it anew", c.name())), true
	case !c.up():
		return driver.Waiting("group %s is %s", c.name(), c.status()), true
	}
	return driver.Observation{}, false
}

// serves is the observation of a group that is up.
func serves(c *cache) driver.Observation {
	return driver.Observation{State: driver.Done, Outputs: endpoints(c.ReplicationGroup), Evidence: []model.Fact{
		driver.Fact("group", "%s is %s", c.name(), c.status()), driver.Fact("nodes", "%s", c.size()), driver.Fact("engine", "%s", aws.ToString(c.Engine)),
		driver.Fact("made", "%s", aws.ToTime(c.ReplicationGroupCreateTime).UTC().Format(time.RFC3339)),
	}}
}

// grow brings a group that stood by to the size that it serves with, a step at a time. Pending says what was begun.
func (w *groupWork) grow(ctx context.Context, c *cache) (pending string, err error) {
	set, name := w.here.set, c.name()
	switch {
	case c.status() != available: // it takes no changes while a snapshot is made, and serves
		return "group " + name + " is " + c.status(), nil
	case c.nodeType() != set.NodeType:
		_, err = w.here.api.ModifyReplicationGroup(ctx, &sdk.ModifyReplicationGroupInput{ReplicationGroupId: &name, CacheNodeType: &set.NodeType, ApplyImmediately: aws.Bool(true)})
		return "group " + name + " is brought from " + c.nodeType() + " to " + set.NodeType, err
	case c.replicas() < set.Replicas:
		_, err = w.here.api.IncreaseReplicaCount(ctx, &sdk.IncreaseReplicaCountInput{ReplicationGroupId: &name, NewReplicaCount: aws.Int32(int32(set.Replicas)), ApplyImmediately: aws.Bool(true)})
		return "group " + name + " gets " + count(set.Replicas, "replica") + " for each shard", err
	case set.automatic(set.Replicas) && c.AutomaticFailover == types.AutomaticFailoverStatusDisabled, set.MultiAZ && c.MultiAZ == types.MultiAZStatusDisabled:
		_, err = w.here.api.ModifyReplicationGroup(ctx, &sdk.ModifyReplicationGroupInput{ReplicationGroupId: &name, AutomaticFailoverEnabled: aws.Bool(true),
			MultiAZEnabled: aws.Bool(set.MultiAZ), ApplyImmediately: aws.Bool(true)})
		return "group " + name + " gets automatic failover", err
	}
	return "", nil
}

// reverse makes the site ready for the next cold start: what served here before is gone, and what stands by is there.
func (w *groupWork) reverse(ctx context.Context, h groupHandle) (driver.Observation, error) {
	c, pending, err := w.cleared(ctx, h)
	switch {
	case err != nil:
		return driver.Observation{}, err
	case pending != "":
		return driver.Waiting("%s", pending), nil
	case c == nil && w.here.at.Standby != nil:
		s := w.serving()
		s.nodeType, s.replicas = w.here.at.Standby.NodeType, w.here.at.Standby.Replicas
		return w.create(ctx, h.Name, s)
	case c == nil:
		return driver.Succeeded(driver.Fact("group", "there is none in %s: it is started cold when it is to serve", w.here.s.Region())), nil
	}
	if seen, wait := coming(c); wait {
		return seen, nil
	}
	seen := serves(c)
	seen.Outputs = nil
	return seen, nil
}

func noDrill(w *groupWork) *failure.Error {
	return failure.New(failure.Invalid, "", w.subject(), "nothing says in which network drills create it").
		WithHint("set sites.%s.drill: {subnet_group, security_groups}", w.req.Site)
}

// small is the size and the network of groups that are only looked at.
func (w *groupWork) small() size {
	at := w.here.at.Drill
	s := size{nodeType: w.here.set.NodeType, subnetGroup: at.SubnetGroup, securityGroups: at.SecurityGroups}
	if at.NodeType != "" {
		s.nodeType = at.NodeType
	}
	return s
}

// drill starts a group apart.
func (w *groupWork) drill(ctx context.Context, h groupHandle) (driver.Observation, error) {
	if w.here.at.Drill == nil {
		return driver.Observation{}, noDrill(w)
	}
	return w.bringUp(ctx, h.Name, w.small())
}

// release deletes what a drill or a proof made, by the token of its step.
func (w *groupWork) release(ctx context.Context) (driver.Observation, error) {
	for _, what := range []string{"drill", "prove"} {
		pending, err := w.removed(ctx, w.apart(what, w.req.Released.Token), w.req.Released.Token)
		if err != nil || pending != "" {
			return driver.Waiting("%s", pending), err
		}
	}
	return driver.Succeeded(driver.Fact("released", "nothing is left of it in %s", w.here.s.Region())), nil
}

// removed deletes a group that a step made to be looked at, and says what is waited for; nothing once it is gone.
func (w *groupWork) removed(ctx context.Context, name, token string) (pending string, err error) {
	c, err := w.here.cache(ctx, name)
	switch {
	case err != nil || c == nil || c.tags[awsbase.TagToken] != token:
		return "", err
	case c.status() == deleting:
		return fmt.Sprintf("group %s is being deleted", name), nil
	case c.status() != available && c.status() != createFailed:
		return fmt.Sprintf("group %s is %s: it is deleted once it is available", name, c.status()), nil
	}
	return w.remove(ctx, name)
}

package elasticache

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The tags that say when we made a group, and since when it serves. They are compared with each other only: AWS's clock is another.
const (
	tagMade   = "lifeboat:made"
	tagServes = "lifeboat:serves-since"
)

// A group's states (ElastiCache API Reference, ReplicationGroup). While snapshotting it serves.
const (
	createFailed = "create-failed"
	deleting     = "deleting"
	snapshotting = "snapshotting"
)

// serving reports whether a group or a shard serves in a state.
func serving(status string) bool { return status == available || status == snapshotting }

// place is a site of a resource with a client for it.
type place struct {
	id  model.SiteID
	set GroupSettings
	at  GroupSite
	s   *awsbase.Session
	api *sdk.Client
}

func (d *Group) place(ctx context.Context, t driver.Target, id model.SiteID) (*place, error) {
	p, err := awsbase.PlaceOf[GroupSettings, GroupSite](ctx, d.base, t, id)
	if err != nil {
		return nil, err
	}
	p.At.Group = strings.ToLower(p.At.Group)
	p.Settings.Shards = max(p.Settings.Shards, 1)
	return &place{id: id, set: p.Settings, at: p.At, s: p.Session, api: clientOf(p.Session)}, nil
}

// cache is a replication group as ElastiCache shows it.
type cache struct {
	types.ReplicationGroup
	tags map[string]string
}

// cache looks for a group by its name, with its tags; nil when there is none. What the shared listing does not have is asked for
// by name, as listings lag behind.
func (p *place) cache(ctx context.Context, name string) (*cache, error) {
	g, found, err := awsbase.PollerOf(p.s, "elasticache-groups", groups).Get(ctx, name)
	one := &g
	if err == nil && !found {
		one, err = p.named(ctx, name)
	}
	if err != nil || one == nil {
		return nil, err
	}
	answer, err := p.api.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceName: one.ARN})
	if awsbase.Gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &cache{*one, awsbase.TagMap(answer.TagList, func(t types.Tag) (*string, *string) { return t.Key, t.Value })}, nil
}

// named asks for one group alone; nil when there is none.
func (p *place) named(ctx context.Context, name string) (*types.ReplicationGroup, error) {
	answer, err := p.api.DescribeReplicationGroups(ctx, &sdk.DescribeReplicationGroupsInput{ReplicationGroupId: &name})
	return awsbase.One(answer, err, groupsIn)
}

func (c *cache) name() string     { return aws.ToString(c.ReplicationGroupId) }
func (c *cache) status() string   { return aws.ToString(c.Status) }
func (c *cache) nodeType() string { return aws.ToString(c.CacheNodeType) }

// up reports whether clients are served: the group is available, and so is each of its shards.
func (c *cache) up() bool {
	if !serving(c.status()) {
		return false
	}
	for _, n := range c.NodeGroups {
		if !serving(aws.ToString(n.Status)) {
			return false
		}
	}
	return endpoints(c.ReplicationGroup) != nil
}

// replicas is how many replicas the shard with the fewest nodes has.
func (c *cache) replicas() int {
	least := -1
	for _, n := range c.NodeGroups {
		if r := len(n.NodeGroupMembers) - 1; least < 0 || r < least {
			least = r
		}
	}
	return max(least, 0)
}

// full reports whether it has the size that it serves with.
func (c *cache) full(set GroupSettings) bool {
	return c.nodeType() == set.NodeType && c.replicas() >= set.Replicas
}

// since is when it began to serve by a promotion; the zero time where none has made it.
func (c *cache) since() time.Time { return c.when(tagServes) }

func (c *cache) when(tag string) time.Time {
	at, err := time.Parse(time.RFC3339, c.tags[tag])
	if err != nil {
		return time.Time{}
	}
	return at
}

// emptied is the latest instant at which it is known to have held nothing old: we made it, or promoted it.
func (c *cache) emptied() time.Time {
	if made := c.when(tagMade); made.After(c.since()) {
		return made
	}
	return c.since()
}

// made is when AWS created the group, which tells it from a later one of its name.
func (c *cache) made() *time.Time {
	at := aws.ToTime(c.ReplicationGroupCreateTime)
	return &at
}

// stale reports whether it holds what it held before peer's group began to serve.
func (c *cache) stale(peer *cache) bool {
	return peer != nil && peer.since().After(c.emptied())
}

// Describe asks the site's own region.
func (d *Group) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	desc := model.Description{Resource: t.Resource.ID, Site: t.Site, At: time.Now()}
	p, err := d.place(ctx, t, t.Site)
	if err != nil {
		return desc, err
	}
	c, err := p.cache(ctx, p.at.Group)
	desc.At = time.Now()
	if err != nil {
		return dark(ctx, desc, failure.Wrap(err, "look at", p.at.Group))
	}
	if c == nil {
		desc.Role, desc.Healthy = model.RoleAbsent, true
		desc.Summary = fmt.Sprintf("no group %s in %s: it is started cold when it is to serve", p.at.Group, p.s.Region())
		return desc, nil
	}
	desc.Outputs = endpoints(c.ReplicationGroup)
	desc.Role, desc.Healthy = model.RolePrimary, c.up()
	desc.Facts = []model.Fact{driver.Fact("status", "%s", c.status()), driver.Fact("nodes", "%s", c.size())}
	desc.Summary = fmt.Sprintf("group %s is %s in %s: %s", c.name(), c.status(), p.s.Region(), c.size())
	if p.at.Standby != nil && c.since().IsZero() && !c.full(p.set) {
		desc.Role = model.RoleStandby
		desc.Summary += "; it stands by, and is brought to " + p.set.NodeType + " when it is to serve"
	}
	return desc, nil
}

// size is how large a group is, for people.
func (c *cache) size() string {
	return fmt.Sprintf("%s of %s with %s", count(max(len(c.NodeGroups), 1), "shard"), c.nodeType(), count(c.replicas(), "replica"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

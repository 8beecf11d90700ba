package elasticache

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// AWS's words for roles and states. Members are "associated" once they follow, and a datastore without secondaries is
// "primary-only" (ElastiCache API Reference, GlobalReplicationGroup and GlobalReplicationGroupMember).
const (
	rolePrimary = "primary"
	associated  = "associated"
	available   = "available"
	primaryOnly = "primary-only"
)

// member is a datastore's group at one site, with the session of its region.
type member struct {
	site    model.SiteID
	id      string // of the datastore
	group   string
	session *awsbase.Session
}

func clientOf(s *awsbase.Session) *sdk.Client { return sdk.NewFromConfig(s.Config("elasticache")) }

// member is the group at a site of the target.
func (d *Global) member(ctx context.Context, t driver.Target, site model.SiteID) (*member, error) {
	p, err := awsbase.PlaceOf[Settings, Site](ctx, d.base, t, site)
	if err != nil {
		return nil, err
	}
	return &member{site: site, id: strings.ToLower(p.Settings.Datastore), group: strings.ToLower(p.At.Group), session: p.Session}, nil
}

// datastores lists those that have a member in the region, with all members.
func datastores(ctx context.Context, s *awsbase.Session, _ []string) (map[string]types.GlobalReplicationGroup, error) {
	all, err := awsbase.All(ctx, sdk.NewDescribeGlobalReplicationGroupsPaginator(clientOf(s), &sdk.DescribeGlobalReplicationGroupsInput{ShowMemberInfo: aws.Bool(true)}),
		func(out *sdk.DescribeGlobalReplicationGroupsOutput) []types.GlobalReplicationGroup {
			return out.GlobalReplicationGroups
		})
	found := map[string]types.GlobalReplicationGroup{}
	for _, g := range all {
		found[strings.ToLower(aws.ToString(g.GlobalReplicationGroupId))] = g
	}
	return found, err
}

// groups lists the region's replication groups.
func groups(ctx context.Context, s *awsbase.Session, _ []string) (map[string]types.ReplicationGroup, error) {
	all, err := awsbase.All(ctx, sdk.NewDescribeReplicationGroupsPaginator(clientOf(s), &sdk.DescribeReplicationGroupsInput{}), groupsIn)
	found := map[string]types.ReplicationGroup{}
	for _, g := range all {
		found[strings.ToLower(aws.ToString(g.ReplicationGroupId))] = g
	}
	return found, err
}

func groupsIn(out *sdk.DescribeReplicationGroupsOutput) []types.ReplicationGroup {
	return out.ReplicationGroups
}

// view is the datastore as the region of the member sees it.
type view struct{ types.GlobalReplicationGroup }

func (m *member) look(ctx context.Context) (*view, error) {
	g, ok, err := awsbase.PollerOf(m.session, "elasticache-global", datastores).Get(ctx, m.id)
	if err != nil {
		return nil, failure.Wrap(err, "look at", m.id)
	}
	if !ok {
		return nil, failure.New(failure.NotFound, "look at", m.id, "there is no such global datastore with a member in %s", m.session.Name()).
			WithHint("aws elasticache describe-global-replication-groups --region %s", m.session.Region())
	}
	return &view{g}, nil
}

// own is the member's replication group itself.
func (m *member) own(ctx context.Context) (types.ReplicationGroup, error) {
	g, ok, err := awsbase.PollerOf(m.session, "elasticache-groups", groups).Get(ctx, m.group)
	if err != nil {
		return g, failure.Wrap(err, "look at", m.group)
	}
	if !ok {
		return g, failure.New(failure.NotFound, "look at", m.group, "there is no such replication group in %s", m.session.Name()).
			WithHint("aws elasticache describe-replication-groups --region %s", m.session.Region())
	}
	return g, nil
}

// find finds a member of the datastore.
func (v *view) find(m *member) (types.GlobalReplicationGroupMember, bool) {
	at := slices.IndexFunc(v.Members, func(o types.GlobalReplicationGroupMember) bool {
		return aws.ToString(o.ReplicationGroupRegion) == m.session.Region() && strings.EqualFold(aws.ToString(o.ReplicationGroupId), m.group)
	})
	if at < 0 {
		return types.GlobalReplicationGroupMember{}, false
	}
	return v.Members[at], true
}

// must is find for a member without which nothing can be done.
func (v *view) must(m *member) (types.GlobalReplicationGroupMember, error) {
	o, ok := v.find(m)
	if !ok {
		return o, failure.New(failure.NotFound, "look at", m.group, "it is no member of %s, whose members are %s", m.id, v.show()).
			WithHint("add it: aws elasticache create-replication-group --region %s --replication-group-id %s --global-replication-group-id %s "+
				"--replication-group-description …", m.session.Region(), m.group, m.id)
	}
	return o, nil
}

func isPrimary(o types.GlobalReplicationGroupMember) bool {
	return strings.EqualFold(aws.ToString(o.Role), rolePrimary)
}

func isAssociated(o types.GlobalReplicationGroupMember) bool {
	return strings.EqualFold(aws.ToString(o.Status), associated)
}

// settled reports whether nothing is happening to the datastore.
func (v *view) settled() bool {
	return aws.ToString(v.Status) == available || aws.ToString(v.Status) == primaryOnly
}

// show is the members for people.
func (v *view) show() string {
	var all []string
	for _, o := range v.Members {
		all = append(all, fmt.Sprintf("%s in %s (%s, %s)", aws.ToString(o.ReplicationGroupId), aws.ToString(o.ReplicationGroupRegion),
			strings.ToLower(aws.ToString(o.Role)), strings.ToLower(aws.ToString(o.Status))))
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// endpoints are where a group takes writes and where it is read. In cluster mode clients are told both by one address.
// Nil: it has none yet.
func endpoints(g types.ReplicationGroup) map[string]model.Value {
	text := func(e *types.Endpoint) model.Value {
		return driver.Endpoint(net.JoinHostPort(aws.ToString(e.Address), strconv.Itoa(int(aws.ToInt32(e.Port)))))
	}
	if e := g.ConfigurationEndpoint; e != nil {
		return map[string]model.Value{"endpoint": text(e), "reader": text(e)}
	}
	for _, n := range g.NodeGroups {
		if n.PrimaryEndpoint != nil {
			reader := n.ReaderEndpoint
			if reader == nil {
				reader = n.PrimaryEndpoint
			}
			return map[string]model.Value{"endpoint": text(n.PrimaryEndpoint), "reader": text(reader)}
		}
	}
	return nil
}

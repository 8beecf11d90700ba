package elasticache

import (
	"context"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Permissions lists the calls that a request's work makes. Who takes the role asks for it.
func (d *Global) Permissions(req driver.Request) ([]driver.Permission, error) {
	book := preflight.NewBook(req.App)
	site := req.Site
	if req.Action == model.ActionFence && req.Peer != "" {
		site = req.Peer
	}
	set, at, err := driver.SettingsOf[Settings, Site](req.Target, site)
	if err != nil {
		return nil, err
	}
	p := book.Page(site, at.AWS)
	switch req.Action {
	case "":
		p.Common()
		p.Look("to see which member is the primary", []string{p.Global("elasticache", "globalreplicationgroup:*")}, "elasticache:DescribeGlobalReplicationGroups")
		p.Look("to see the members", []string{p.ARN("elasticache", "replicationgroup:*")}, "elasticache:DescribeReplicationGroups")
		p.Look("to see how far a member is behind", preflight.Any, "cloudwatch:GetMetricData")
	case model.ActionFence, model.ActionPromote:
		on := []string{p.Global("elasticache", "globalreplicationgroup:"+strings.ToLower(set.Datastore)), p.ARN("elasticache", "replicationgroup:"+strings.ToLower(at.Group))}
		p.Change("to give the primary's role to a member", on, "elasticache:FailoverGlobalReplicationGroup")
	}
	return book.Permissions(), nil
}

// Examine asks who works at the site and what that is allowed.
func (d *Global) Examine(ctx context.Context, x driver.Examination) (driver.Examined, error) {
	return preflight.Examine(ctx, d.base, x, d, nil)
}

// Permissions lists the calls that a request's work makes.
func (d *Group) Permissions(req driver.Request) ([]driver.Permission, error) {
	set, at, err := driver.SettingsOf[GroupSettings, GroupSite](req.Target, req.Site)
	if err != nil {
		return nil, err
	}
	book := preflight.NewBook(req.App)
	g := groupPage{book.Page(req.Site, at.AWS), set, at}
	own, apart := g.group(at.Group), func(what string) []string { return g.group(awsbase.NamesFor(what+"-"+at.Group, groupName)) }
	points := []string{g.ARN("elasticache", "snapshot:"+awsbase.NamesFor(at.Group, snapshotName))}
	switch req.Action {
	case "":
		g.looks()
	case model.ActionPromote:
		g.Change("to delete a group that holds what is old", own, "elasticache:DeleteReplicationGroup")
		g.creates(own)
		g.Change("to write down since when it serves", own, "elasticache:AddTagsToResource")
		g.Change("to bring it to its size", own, "elasticache:ModifyReplicationGroup", "elasticache:IncreaseReplicaCount")
	case model.ActionReverse:
		if set.Stale != staleKeep {
			g.Change("to delete the group that served here before", own, "elasticache:DeleteReplicationGroup")
		}
		if at.Standby != nil {
			g.creates(own)
		}
	case model.ActionDrill:
		g.creates(apart("drill"))
	case model.ActionRelease:
		g.ChangeOurs("to remove what was made to be looked at", append(apart("drill"), apart("prove")...), "elasticache:DeleteReplicationGroup")
	case model.ActionCapture:
		g.Change("to make a snapshot", append(own, points...), "elasticache:CreateSnapshot")
		g.Tags("elasticache:CreateSnapshot", points)
		g.Encrypts("elasticache:CreateSnapshot", at.KMSKey)
	case model.ActionExpire:
		g.ChangeOurs("to delete what need not be kept", points, "elasticache:DeleteSnapshot")
	case model.ActionRestore:
		g.creates(g.group("*"), points...)
	case model.ActionProve:
		g.creates(apart("prove"), points...)
		g.ChangeOurs("to write down what came of it", points, "elasticache:AddTagsToResource")
		g.ChangeOurs("to remove what was restored", apart("prove"), "elasticache:DeleteReplicationGroup")
	}
	return book.Permissions(), nil
}

// groupPage is a site's part of the permissions.
type groupPage struct {
	*preflight.Page
	set GroupSettings
	at  GroupSite
}

func (g groupPage) group(name string) []string {
	return []string{g.ARN("elasticache", "replicationgroup:"+strings.ToLower(name))}
}

func (g groupPage) looks() {
	g.Common()
	all := []string{g.ARN("elasticache", "replicationgroup:*")}
	g.Look("to see what is there", all, "elasticache:DescribeReplicationGroups")
	points := []string{g.ARN("elasticache", "snapshot:*")}
	g.Look("to see which snapshots there are", points, "elasticache:DescribeSnapshots")
	g.Look("to see whose they are", append(all, points...), "elasticache:ListTagsForResource")
	g.Look("to see how many nodes there are", []string{g.ARN("elasticache", "cluster:*")}, "elasticache:DescribeCacheClusters")
	g.Look("to see how many there may be", preflight.Any, "servicequotas:GetServiceQuota")
	if g.at.SubnetGroup != "" || g.at.Drill != nil {
		g.Look("to see whether the subnet groups exist", []string{g.ARN("elasticache", "subnetgroup:*")}, "elasticache:DescribeCacheSubnetGroups")
	}
	if g.at.ParameterGroup != "" {
		g.Look("to see whether the parameter group exists", []string{g.ARN("elasticache", "parametergroup:*")}, "elasticache:DescribeCacheParameterGroups")
	}
	if len(g.at.SecurityGroups) > 0 || g.at.Drill != nil {
		g.Look("to see whether the security groups exist", preflight.Any, "ec2:DescribeSecurityGroups")
	}
	if g.set.AtRestEncryption && g.at.KMSKey != "" {
		g.Look("to see whether the key can be used", []string{g.KeyARN(g.at.KMSKey)}, "kms:DescribeKey")
	}
}

// creates are the calls that create a group, which may be of a snapshot.
func (g groupPage) creates(group []string, of ...string) {
	on := append([]string{g.ARN("elasticache", "subnetgroup:*"), g.ARN("elasticache", "parametergroup:*")}, slices.Concat(group, of)...)
	if len(g.set.UserGroups) > 0 {
		on = append(on, g.ARN("elasticache", "usergroup:*"))
	}
	g.Change("to create the group", on, "elasticache:CreateReplicationGroup")
	g.Tags("elasticache:CreateReplicationGroup", group)
	if g.set.AtRestEncryption {
		g.Encrypts("elasticache:CreateReplicationGroup", g.at.KMSKey)
	}
}

// nodes are how many a group of the full size has.
func (s GroupSettings) nodes() int { return s.Shards * (s.Replicas + 1) }

// Examine looks for what work will miss at a site. Subnet and parameter groups are the checks'.
func (d *Group) Examine(ctx context.Context, x driver.Examination) (driver.Examined, error) {
	return preflight.Examine(ctx, d.base, x, d, func(ctx context.Context, s *preflight.Site, work []driver.Request) error {
		for _, req := range work {
			p, err := d.place(ctx, req.Target, x.Site)
			if err != nil {
				return err
			}
			if req.Site == x.Site {
				p.examine(ctx, s, req)
			}
		}
		return nil
	})
}

// examine looks for what one step needs.
func (p *place) examine(ctx context.Context, s *preflight.Site, req driver.Request) {
	id := req.Resource.ID
	switch {
	case req.Action == model.ActionDrill && p.at.Drill != nil:
		s.Security(ctx, id, p.at.Drill.SecurityGroups)
		s.Nodes(p.set.nodes())
	case req.Action == model.ActionPromote:
		s.Security(ctx, id, p.at.SecurityGroups)
		s.Ask(ctx, func(ctx context.Context) error {
			n, err := preflight.Once(ctx, s, "group "+p.at.Group, p.members)
			if err == nil {
				s.Nodes(p.set.nodes() - n)
			}
			return err
		})
	default:
		return
	}
	if p.set.AtRestEncryption {
		s.Key(ctx, id, p.at.KMSKey, "the group is encrypted with it")
	}
}

// members are how many nodes the group has; none when there is no group.
func (p *place) members(ctx context.Context) (int, error) {
	g, err := p.named(ctx, p.at.Group)
	if err != nil || g == nil {
		return 0, err
	}
	return len(g.MemberClusters), nil
}

var (
	_ driver.Permitter = (*Global)(nil)
	_ driver.Examiner  = (*Global)(nil)
	_ driver.Permitter = (*Group)(nil)
	_ driver.Examiner  = (*Group)(nil)
)

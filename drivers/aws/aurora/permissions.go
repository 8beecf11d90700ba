package aurora

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/model"
)

// page is a site's part of the permissions.
type page struct {
	*preflight.Page
	set Settings
	at  Site
}

// Permissions lists the calls that a request's work makes.
func (d *Driver) Permissions(req driver.Request) ([]driver.Permission, error) {
	book := preflight.NewBook(req.App)
	turn := func(id model.SiteID) (page, error) {
		set, at, err := driver.SettingsOf[Settings, Site](req.Target, id)
		return page{book.Page(id, at.AWS), set, at}, err
	}
	here, err := turn(req.Site)
	if err != nil {
		return nil, err
	}
	there := here
	if req.Peer != "" {
		if there, err = turn(req.Peer); err != nil {
			return nil, err
		}
	}
	switch req.Action {
	case "":
		here.looks()
	case model.ActionFence: // the peer takes the role
		there.moves()
	case model.ActionPromote:
		here.moves()
		here.Change("to take the cluster out of the global database where AWS cannot move the role", here.both(), "rds:RemoveFromGlobalCluster")
	case model.ActionDrill:
		here.Change("to make the drill's snapshot", append(here.cluster(), here.snapshots("drill")...), "rds:CreateDBClusterSnapshot")
		here.Within("rds:CreateDBClusterSnapshot", "to tag it", here.snapshots("drill"), "rds:AddTagsToResource")
		here.bringsUp("drill", here.snapshots("drill"))
	case model.ActionRelease:
		here.takesDown("drill")
		here.ChangeOurs("to remove the drill's snapshot", here.snapshots("drill"), "rds:DeleteDBClusterSnapshot")
	case model.ActionReverse:
		if req.Prepare || req.Operation == model.OpFailback {
			here.rebuilds(there)
		}
	}
	return book.Permissions(), nil
}

func (p page) clusters(pattern string) []string {
	return []string{p.ARN("rds", "cluster:"+strings.ToLower(pattern))}
}
func (p page) cluster() []string { return p.clusters(p.at.Cluster) }
func (p page) apart(what string) string {
	return awsbase.NamesFor(p.at.Cluster+"-"+what, nameLimit)
}
func (p page) snapshots(what string) []string {
	return []string{p.ARN("rds", "cluster-snapshot:"+p.apart(what))}
}
func (p page) instances(pattern string) []string { return []string{p.ARN("rds", "db:"+pattern)} }

// global is the global database's ARN, which is in no region; both is that with the site's cluster.
func (p page) global() []string {
	return []string{p.Global("rds", "global-cluster:"+strings.ToLower(p.set.Global))}
}
func (p page) both() []string { return append(p.global(), p.cluster()...) }

func (p page) looks() {
	p.Common()
	region := []string{p.ARN("rds", "*")}
	p.Look("to see what is there", append(region, p.Global("rds", "global-cluster:*")), "rds:DescribeGlobalClusters")
	p.Look("to see what is there", region, "rds:DescribeDBClusters", "rds:DescribeDBInstances", "rds:DescribeDBClusterSnapshots")
	p.Look("to see how far a follower is behind", preflight.Any, "cloudwatch:GetMetricData")
	p.Look("to see what AWS offers and how much of it may be used", preflight.Any, "rds:DescribeAccountAttributes", "rds:DescribeOrderableDBInstanceOptions")
	if p.at.SubnetGroup != "" || p.at.Drill != nil {
		p.Look("to see whether the subnet groups exist", region, "rds:DescribeDBSubnetGroups")
	}
	if p.at.ParameterGroup != "" {
		p.Look("to see whether the parameter group exists", region, "rds:DescribeDBParameterGroups")
	}
	if p.at.ClusterParameterGroup != "" {
		p.Look("to see whether the cluster parameter group exists", region, "rds:DescribeDBClusterParameterGroups")
	}
	if len(p.at.SecurityGroups) > 0 || p.at.Drill != nil && len(p.at.Drill.SecurityGroups) > 0 {
		p.Look("to see whether the security groups exist, and in which network", preflight.Any, "ec2:DescribeSecurityGroups")
	}
	if p.at.KMSKey != "" {
		p.Look("to see whether the key can be used", p.key(), "kms:DescribeKey")
	}
}

// key is the ARN of the site's key.
func (p page) key() []string { return []string{p.KeyARN(p.at.KMSKey)} }

// moves are the calls that bring the writer's role here.
func (p page) moves() {
	p.Change("to move the writer's role", p.both(), "rds:SwitchoverGlobalCluster")
	if p.set.lossy() {
		p.Change("to move the writer's role without its old region", p.both(), "rds:FailoverGlobalCluster")
	}
}

// bringsUp are the calls that restore a copy apart, and takesDown those that remove it.
func (p page) bringsUp(what string, snapshots []string) {
	cluster, one := p.clusters(p.apart(what)), p.instances(p.apart(what+"-one"))
	p.Change("to restore a copy apart", append(append(append([]string{}, cluster...), snapshots...), p.ARN("rds", "subgrp:*"), p.ARN("rds", "cluster-pg:*")), "rds:RestoreDBClusterFromSnapshot")
	p.Within("rds:RestoreDBClusterFromSnapshot", "to tag it", cluster, "rds:AddTagsToResource")
	p.Change("to bring the copy up", append(append([]string{p.ARN("rds", "pg:*"), p.ARN("rds", "subgrp:*")}, cluster...), one...), "rds:CreateDBInstance")
	p.Within("rds:CreateDBInstance", "to tag it", one, "rds:AddTagsToResource")
}

func (p page) takesDown(what string) {
	p.ChangeOurs("to remove a copy that was only looked at", p.instances(p.apart(what+"-one")), "rds:DeleteDBInstance")
	p.ChangeOurs("to remove a copy that was only looked at", p.clusters(p.apart(what)), "rds:DeleteDBCluster")
}

// rebuilds are the calls that delete the old cluster, once its last state is proved, and make it again as one that follows.
func (p page) rebuilds(there page) {
	final, last := p.snapshots("final"), p.snapshots("last")
	p.Change("to keep the old cluster's last state", append(p.cluster(), final...), "rds:CreateDBClusterSnapshot")
	p.Within("rds:CreateDBClusterSnapshot", "to tag it", final, "rds:AddTagsToResource")
	p.bringsUp("proof", final)
	p.takesDown("proof")
	p.ChangeOurs("to write down what the proof came to", final, "rds:AddTagsToResource")
	own := p.instances(strings.ToLower(p.at.Cluster) + "-*")
	p.Change("to take the old cluster out of the old global database", p.both(), "rds:RemoveFromGlobalCluster")
	p.Change("to take the old cluster's deletion protection off", p.cluster(), "rds:ModifyDBCluster")
	p.Change("to delete the old cluster, once its last state is proved", []string{p.ARN("rds", "db:*")}, "rds:DeleteDBInstance")
	p.Change("to delete the old cluster, once its last state is proved", append(p.cluster(), last...), "rds:DeleteDBCluster")
	for _, at := range []page{p, there} {
		at.Change("to remove the old global database when it is empty", at.global(), "rds:ModifyGlobalCluster", "rds:DeleteGlobalCluster")
	}
	there.Change("to make the global database again", there.both(), "rds:CreateGlobalCluster")
	p.Change("to make the cluster again", append(p.both(), p.ARN("rds", "subgrp:*"), p.ARN("rds", "cluster-pg:*")), "rds:CreateDBCluster")
	p.Within("rds:CreateDBCluster", "to tag it", p.cluster(), "rds:AddTagsToResource")
	p.Change("to make its instances again", append(append(p.cluster(), own...), p.ARN("rds", "pg:*"), p.ARN("rds", "subgrp:*")), "rds:CreateDBInstance")
	p.Within("rds:CreateDBInstance", "to tag them", own, "rds:AddTagsToResource")
	if p.at.KMSKey != "" {
		p.Within("rds:CreateDBCluster", "to encrypt its storage", p.key(), "kms:CreateGrant", "kms:DescribeKey")
	}
}

// Examine looks for what work will miss at a site.
func (d *Driver) Examine(ctx context.Context, x driver.Examination) ([]model.Finding, error) {
	return preflight.Examine(ctx, d.base, x, d, func(ctx context.Context, s *preflight.Site, req driver.Request) error {
		if req.Site != x.Site {
			return nil
		}
		p, err := d.place(ctx, req.Target, x.Site)
		if err != nil {
			return err
		}
		drills := req.Action == model.ActionDrill
		rebuilds := req.Action == model.ActionReverse && (req.Prepare || req.Operation == model.OpFailback)
		if !drills && !rebuilds {
			return nil
		}
		id := req.Resource.ID
		s.Makes("ManualClusterSnapshots", 1)
		s.Makes("DBClusters", 1)
		s.Makes("DBInstances", 1)
		if p.at.Drill != nil {
			s.Network(ctx, id, p.at.Drill.SubnetGroup, p.at.Drill.SecurityGroups)
		}
		s.Group(ctx, id, preflight.ParameterGroup, p.at.ParameterGroup)
		s.Group(ctx, id, preflight.ClusterParameterGroup, p.at.ClusterParameterGroup)
		if rebuilds {
			s.Network(ctx, id, p.at.SubnetGroup, p.at.SecurityGroups)
			s.Key(ctx, id, p.at.KMSKey, "the cluster that is made again is encrypted with it")
		}
		s.Ask(ctx, func(ctx context.Context) error {
			v, err := p.look(ctx)
			if err != nil || v.cluster == nil {
				return err
			}
			for _, class := range classes(p.at.Site, drills) {
				s.Offered(ctx, id, aws.ToString(v.cluster.Engine), aws.ToString(v.cluster.EngineVersion), class)
			}
			return nil
		})
		return nil
	})
}

// classes are those that settings name for what is made at a site.
func classes(at Site, drills bool) []string {
	out := []string{at.Instances.Class}
	if at.Drill != nil && at.Drill.Class != "" {
		out = append(out, at.Drill.Class)
	}
	if drills {
		out = out[len(out)-1:]
	}
	return out
}

var (
	_ driver.Permitter = (*Driver)(nil)
	_ driver.Examiner  = (*Driver)(nil)
)

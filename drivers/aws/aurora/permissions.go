package aurora

import (
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight"
	"github.com/lifeboat-dr/lifeboat/model"
)

// page is a site's part of the permissions.
type page struct {
	*preflight.Page
	set Settings
	at  ClusterSite
}

// pages are those of a request.
type pages struct {
	book   *preflight.Book
	here   page
	peer   page // here when the request names none
	others []page
}

// pagesOf opens them for a kind's settings.
func pagesOf(req driver.Request, settings func(driver.Target, model.SiteID) (Settings, ClusterSite, error)) (*pages, error) {
	p := &pages{book: preflight.NewBook(req.App)}
	all := map[model.SiteID]page{}
	for _, id := range req.Resource.SiteIDs() {
		set, at, err := settings(req.Target, id)
		if err != nil {
			return nil, err
		}
		all[id] = page{p.book.Page(id, at.AWS), set, at}
		if id != req.Site {
			p.others = append(p.others, all[id])
		}
	}
	p.here, p.peer = all[req.Site], all[req.Site]
	if peer, ok := all[req.Peer]; ok {
		p.peer = peer
	}
	return p, nil
}

func (d *Driver) settings(t driver.Target, site model.SiteID) (Settings, ClusterSite, error) {
	s, at, err := driver.SettingsOf[Settings, Site](t, site)
	return s, ClusterSite{Site: at}, err
}

func (d *Cluster) settings(t driver.Target, site model.SiteID) (Settings, ClusterSite, error) {
	s, at, err := driver.SettingsOf[ClusterSettings, ClusterSite](t, site)
	return Settings{Copies: s.Copies}, at, err
}

// Permissions lists the calls that a request's work makes.
func (d *Driver) Permissions(req driver.Request) ([]driver.Permission, error) {
	p, err := pagesOf(req, d.settings)
	if err != nil {
		return nil, err
	}
	here := p.here
	switch req.Action {
	case "":
		here.looks()
		here.Look("to see what is there", []string{here.ARN("rds", "*"), here.Global("rds", "global-cluster:*")}, "rds:DescribeGlobalClusters")
		here.Look("to see how far a follower is behind", preflight.Any, "cloudwatch:GetMetricData")
	case model.ActionFence: // the peer takes the role
		p.peer.moves(here)
	case model.ActionPromote:
		here.moves(p.others...)
		here.Change("to take the cluster out of the global database where AWS cannot move the role", here.both(), "rds:RemoveFromGlobalCluster")
	case model.ActionDrill:
		here.captures()
		here.raises("drill")
	case model.ActionRelease:
		p.points(req.Action)
		here.expires()
	case model.ActionReverse:
		if req.Prepare || req.Operation == model.OpFailback {
			here.rebuilds(p.peer)
		}
	default:
		p.points(req.Action)
	}
	return p.book.Permissions(), nil
}

// Permissions lists the calls that a request's work makes.
func (d *Cluster) Permissions(req driver.Request) ([]driver.Permission, error) {
	p, err := pagesOf(req, d.settings)
	if err != nil {
		return nil, err
	}
	here, peer := p.here, p.peer
	switch req.Action {
	case "":
		here.looks()
	case model.ActionPromote:
		here.launches(here.cluster(), here.own())
		here.regroups()
	case model.ActionDrill:
		here.raises("drill")
	case model.ActionFence:
		here.fences()
	case model.ActionQuiesce:
		here.fences()
		here.captures()
		peer.copies(here)
	case model.ActionReverse:
		peer.captures()
		here.copies(peer)
		if (&work{req: req}).makesWay() {
			here.fences()
			here.captures()
			here.tries("proof")
			here.removes()
		}
	default:
		p.points(req.Action)
	}
	return p.book.Permissions(), nil
}

// points are the calls of what both kinds do with snapshots.
func (p *pages) points(action model.Action) {
	here := p.here
	switch action {
	case model.ActionCapture:
		here.captures()
	case model.ActionCopy:
		for _, to := range p.others {
			to.copies(here)
		}
	case model.ActionExpire:
		here.expires()
		for _, at := range p.others {
			at.expires()
		}
	case model.ActionProve:
		here.tries("prove")
	case model.ActionRestore:
		clusters, instances := here.clusters("*"), here.instances("*")
		here.launches(clusters, instances)
		here.Change("to restore to a time", append(clusters, here.groups()...), "rds:RestoreDBClusterToPointInTime")
		here.Tags("rds:RestoreDBClusterToPointInTime", clusters)
	case model.ActionRelease:
		here.takesDown("drill")
		here.takesDown("prove")
	}
}

func (p page) clusters(pattern string) []string {
	return []string{p.ARN("rds", "cluster:"+strings.ToLower(pattern))}
}
func (p page) cluster() []string { return p.clusters(p.at.Cluster) }
func (p page) apart(what string) string {
	return awsbase.NamesFor(p.at.Cluster+"-"+what, nameLimit)
}
func (p page) instances(pattern string) []string {
	return []string{p.ARN("rds", "db:"+strings.ToLower(pattern))}
}

// own are the cluster's instances, as Lifeboat calls those that it makes.
func (p page) own() []string { return p.instances(p.at.Cluster + "-*") }

// snapshots are those that Lifeboat makes and copies.
func (p page) snapshots() []string { return []string{p.ARN("rds", "cluster-snapshot:*-lb-*")} }

// groups are those of networks and settings that clusters are restored with.
func (p page) groups() []string {
	return []string{p.ARN("rds", "subgrp:*"), p.ARN("rds", "cluster-pg:*")}
}

// global is the global database's ARN, which is in no region; both is that with the site's cluster.
func (p page) global() []string {
	return []string{p.Global("rds", "global-cluster:"+strings.ToLower(p.set.Global))}
}
func (p page) both() []string { return append(p.global(), p.cluster()...) }

func (p page) looks() {
	p.Common()
	region := []string{p.ARN("rds", "*")}
	p.Look("to see what is there", region, "rds:DescribeDBClusters", "rds:DescribeDBInstances", "rds:DescribeDBClusterSnapshots")
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
	if len(p.at.SecurityGroups) > 0 || p.at.Drill != nil && len(p.at.Drill.SecurityGroups) > 0 || p.at.Fence != nil {
		p.Look("to see whether the security groups exist, and in which network", preflight.Any, "ec2:DescribeSecurityGroups")
	}
	if p.at.KMSKey != "" {
		p.Look("to see whether the key can be used", p.key(), "kms:DescribeKey")
	}
}

// key is the ARN of the site's key.
func (p page) key() []string { return []string{p.KeyARN(p.at.KMSKey)} }

// moves are the calls that bring the writer's role here from a site where it may be.
func (p page) moves(from ...page) {
	for _, f := range from {
		f.Change("to move the writer's role", p.both(), "rds:SwitchoverGlobalCluster")
	}
	if p.set.lossy() {
		p.Change("to move the writer's role without its old region", p.both(), "rds:FailoverGlobalCluster")
	}
}

func (p page) captures() {
	p.Change("to make snapshots", append(p.cluster(), p.snapshots()...), "rds:CreateDBClusterSnapshot")
	p.Tags("rds:CreateDBClusterSnapshot", p.snapshots())
}

// copies are the calls that bring snapshots of another site here; AWS asks the other region with this site's permissions.
func (p page) copies(from page) {
	p.Change("to copy snapshots", append(p.snapshots(), from.snapshots()...), "rds:CopyDBClusterSnapshot")
	p.Tags("rds:CopyDBClusterSnapshot", p.snapshots())
	p.ChangeOurs("to make a copy again that has failed", p.snapshots(), "rds:DeleteDBClusterSnapshot")
	p.Encrypts("rds:CopyDBClusterSnapshot", p.at.KMSKey)
}

func (p page) expires() {
	p.ChangeOurs("to delete snapshots that need not be kept", p.snapshots(), "rds:DeleteDBClusterSnapshot")
}

// launches are the calls that restore a cluster with its instances.
func (p page) launches(clusters, instances []string) {
	p.Change("to restore a snapshot", slices.Concat(clusters, p.snapshots(), p.groups()), "rds:RestoreDBClusterFromSnapshot")
	p.Tags("rds:RestoreDBClusterFromSnapshot", clusters)
	p.Encrypts("rds:RestoreDBClusterFromSnapshot", p.at.KMSKey)
	p.Change("to bring it up", slices.Concat(clusters, instances, []string{p.ARN("rds", "pg:*"), p.ARN("rds", "subgrp:*")}), "rds:CreateDBInstance")
	p.Tags("rds:CreateDBInstance", instances)
}

// raises are the calls that restore a copy apart, and takesDown those that remove it.
func (p page) raises(what string) {
	p.launches(p.clusters(p.apart(what)), p.instances(p.apart(what+"-one")))
}

func (p page) takesDown(what string) {
	p.ChangeOurs("to remove a copy that was only looked at", p.instances(p.apart(what+"-one")), "rds:DeleteDBInstance")
	p.ChangeOurs("to remove a copy that was only looked at", p.clusters(p.apart(what)), "rds:DeleteDBCluster")
}

// tries are the calls of a proof.
func (p page) tries(what string) {
	p.raises(what)
	p.takesDown(what)
	p.ChangeOurs("to write down what the proof came to", p.snapshots(), "rds:AddTagsToResource")
}

// regroups are the calls that move a cluster between security groups.
func (p page) regroups() {
	p.Change("to shut clients out of the cluster, and to let them in again", p.cluster(), "rds:ModifyDBCluster", "rds:AddTagsToResource")
}

func (p page) fences() {
	p.regroups()
	p.Change("to end the sessions that are open", p.instances("*"), "rds:RebootDBInstance", "rds:AddTagsToResource")
}

// removes are the calls that delete the old cluster.
func (p page) removes() {
	p.Change("to take the old cluster's deletion protection off", p.cluster(), "rds:ModifyDBCluster")
	p.Change("to delete the old cluster, once its last state is proved", p.instances("*"), "rds:DeleteDBInstance")
	p.Change("to delete the old cluster, once its last state is proved", append(p.cluster(), p.snapshots()...), "rds:DeleteDBCluster")
}

// rebuilds are the calls that delete the old cluster, once its last state is proved, and make it again as one that follows.
func (p page) rebuilds(there page) {
	p.captures()
	p.tries("proof")
	p.removes()
	p.Change("to take the old cluster out of the old global database", p.both(), "rds:RemoveFromGlobalCluster")
	for _, at := range []page{p, there} {
		at.Change("to remove the old global database when it is empty", at.global(), "rds:ModifyGlobalCluster", "rds:DeleteGlobalCluster")
	}
	there.Change("to make the global database again", there.both(), "rds:CreateGlobalCluster")
	p.Change("to make the cluster again", append(p.both(), p.groups()...), "rds:CreateDBCluster")
	p.Tags("rds:CreateDBCluster", p.cluster())
	p.Change("to make its instances again", append(append(p.cluster(), p.own()...), p.ARN("rds", "pg:*"), p.ARN("rds", "subgrp:*")), "rds:CreateDBInstance")
	p.Tags("rds:CreateDBInstance", p.own())
	p.Encrypts("rds:CreateDBCluster", p.at.KMSKey)
}

var (
	_ driver.Permitter = (*Driver)(nil)
	_ driver.Permitter = (*Cluster)(nil)
)

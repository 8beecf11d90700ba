package awstest

import (
	"cmp"
	"encoding/xml"
	"slices"
	"strings"
	"time"
)

// learnGlobal keeps a global database. All regions of its members tell of it; the first one is believed.
func learnGlobal(r *region, g *globalCluster) {
	if _, ok := r.acct.globals.get(g.GlobalClusterIdentifier); ok {
		return
	}
	g.home, g.resync, g.FailoverState = r.name, map[*dbCluster]bool{}, nil
	r.acct.globals.put(r.w.opts.Now(), g.GlobalClusterIdentifier, g)
}

// connect finds the members. One that was not seen is made up after another.
func (g *globalCluster) connect(w *World, a *account) {
	for _, m := range g.Members {
		_, _, in, _, resource := splitARN(m.DBClusterArn)
		if resource == "" || slices.ContainsFunc(g.members, func(cl *dbCluster) bool { return cl.DBClusterArn == m.DBClusterArn }) {
			continue
		}
		r := w.region(a.id, in)
		cl, ok := r.rds.clusters.get(strings.TrimPrefix(resource, "cluster:"))
		if !ok {
			if cl = g.unseen(a, r, m.DBClusterArn); cl == nil {
				continue
			}
		}
		cl.global = g
		g.members = append(g.members, cl)
		switch {
		case m.IsWriter:
			g.writer = cl
		case m.SynchronizationStatus == "pending-resync":
			g.resync[cl] = true
			r.w.later(r.w.opts.Now().Add(resyncTakes), func(time.Time) { delete(g.resync, cl) })
		}
		if cl.writer == nil {
			cl.writer = cl.heir("")
		}
	}
	g.Members, g.Status = nil, "available"
}

// unseen makes up a member in a region that told nothing, after one that is known: with one instance.
func (g *globalCluster) unseen(a *account, r *region, arn string) *dbCluster {
	for _, m := range g.Members {
		_, _, in, _, resource := splitARN(m.DBClusterArn)
		known := a.regions[in]
		if known == nil || known == r {
			continue
		}
		like, ok := known.rds.clusters.get(strings.TrimPrefix(resource, "cluster:"))
		if !ok {
			continue
		}
		_, _, _, _, named := splitARN(arn)
		made := *like
		made.r, made.DBClusterArn, made.DBClusterIdentifier = r, arn, strings.TrimPrefix(named, "cluster:")
		made.members, made.writer, made.global, made.Status = nil, nil, nil, "available"
		for _, i := range like.members {
			instance := *i
			instance.r, instance.cluster, instance.DBInstanceIdentifier, instance.DBClusterIdentifier = r, &made, made.DBClusterIdentifier+"-1", made.DBClusterIdentifier
			instance.DBInstanceArn = r.arn("rds", "db:"+instance.DBInstanceIdentifier)
			made.members = []*dbInstance{&instance}
			r.rds.instances.put(r.w.opts.Now(), instance.DBInstanceIdentifier, &instance)
		}
		r.rds.clusters.put(r.w.opts.Now(), made.DBClusterIdentifier, &made)
		return &made
	}
	return nil
}

// learnGlobalCache keeps a global datastore.
func learnGlobalCache(r *region, g *globalCache) {
	if known, ok := r.acct.caches.get(g.GlobalReplicationGroupId); ok && len(known.Members) >= len(g.Members) {
		return
	}
	g.states = map[*cacheGroup]string{}
	r.acct.caches.put(r.w.opts.Now(), g.GlobalReplicationGroupId, g)
}

// connect finds the members. One that was not seen is made up after the datastore.
func (g *globalCache) connect(w *World, a *account) {
	for _, m := range g.Members {
		r := w.region(a.id, m.ReplicationGroupRegion)
		group, ok := r.cache.groups.get(m.ReplicationGroupId)
		if !ok {
			group = &cacheGroup{
				ReplicationGroupId: m.ReplicationGroupId, Status: "available", AutomaticFailover: m.AutomaticFailover, CacheNodeType: g.CacheNodeType, Engine: g.Engine, r: r, shards: 1,
				replicas: 1, port: 6379, ARN: r.arn("elasticache", "replicationgroup:"+m.ReplicationGroupId), ClusterEnabled: g.ClusterEnabled,
			}
			group.open()
			r.cache.groups.put(r.w.opts.Now(), m.ReplicationGroupId, group)
		}
		group.global, group.version = g, g.EngineVersion
		g.members, g.states[group] = append(g.members, group), m.Status
		if strings.EqualFold(m.Role, "primary") {
			g.primary = group
		}
	}
	g.Members = nil
	if g.primary != nil {
		g.rest()
	}
}

// connectCaches makes replication groups and their snapshots the world's.
func (r *region) connectCaches() {
	now := r.w.opts.Now()
	for _, name := range sortedKeys(r.cache.groups.live) {
		g := r.cache.groups.live[name].v
		if g.r != nil {
			continue
		}
		g.r, g.shards, g.port, g.GlobalReplicationGroupInfo = r, max(1, len(g.NodeGroups)), 6379, nil
		g.replicas = max(0, len(g.MemberClusters)/g.shards-1)
		g.subnets = "default"
		for _, n := range g.NodeGroups {
			if n.PrimaryEndpoint != nil {
				g.port = n.PrimaryEndpoint.Port
			}
		}
		if g.ConfigurationEndpoint != nil {
			g.port = g.ConfigurationEndpoint.Port
		}
		r.trust(g.KmsKeyId)
		g.Engine = cmp.Or(g.Engine, "redis")
		r.offerCache(g.Engine, "", g.CacheNodeType)
		if g.Status != "available" && g.Status != "create-failed" {
			g.run("(learnt)", []Phase{{g.Status, settling}}, now, nil)
		}
	}
	for _, name := range sortedKeys(r.cache.snapshots.live) {
		s := r.cache.snapshots.live[name].v
		if s.r != nil {
			continue
		}
		s.r = r
		if s.SnapshotStatus != "available" && s.SnapshotStatus != "failed" {
			s.SnapshotStatus = "available" // it was being made
		}
		r.trust(s.KmsKeyId)
		r.offerCache(s.Engine, s.EngineVersion, s.CacheNodeType)
	}
}

func (r *region) offerCache(engine, version, class string) {
	w := r.w
	if version != "" && !slices.Contains(w.cacheVersions[engine], version) {
		w.cacheVersions[engine] = slices.Insert(slices.Clone(w.cacheVersions[engine]), 0, version) // the last one is the default
	}
	if class != "" && !slices.Contains(w.cacheClasses, class) {
		w.cacheClasses = append(w.cacheClasses, class)
	}
}

// learnNodes takes from a group's nodes what the group itself does not tell.
func learnNodes(r *region, a Answer) error {
	type node struct {
		ReplicationGroupId, EngineVersion, CacheSubnetGroupName string
		CacheParameterGroup                                     struct{ CacheParameterGroupName string }
		SecurityGroups                                          []struct{ SecurityGroupId string } `xml:"SecurityGroups>member"`
	}
	nodes, err := listed[node](a.Body, []string{"CacheClusters", "CacheCluster"})
	for _, n := range nodes {
		for _, sg := range n.SecurityGroups {
			r.allow(securityGroup{r.acct.id, sg.SecurityGroupId, sg.SecurityGroupId, "", r.net.vpc})
		}
		if g, ok := r.cache.groups.get(n.ReplicationGroupId); ok {
			g.version, g.subnets, g.parameter = n.EngineVersion, n.CacheSubnetGroupName, n.CacheParameterGroup.CacheParameterGroupName
			r.offerCache(g.Engine, g.version, "")
		}
	}
	return err
}

// learnTags keeps the tags of what ElastiCache shows without them.
func learnTags(r *region, a Answer) error {
	if a.Service != "elasticache" {
		return nil // RDS shows them with the thing
	}
	tags, err := listed[tag](a.Body, []string{"TagList", "Tag"})
	if err != nil {
		return err
	}
	c := &call{w: r.w, r: r, region: r.name, account: r.acct.id, p: params{"ResourceName": {a.Params["ResourceName"]}}}
	kept, err := c.cacheTags()
	if err != nil {
		return nil // it is gone meanwhile
	}
	*kept = nil
	for _, t := range tags {
		*kept = append(*kept, *t)
	}
	return nil
}

// learnClusterGroup keeps a cluster parameter group, whose fields have names of their own.
func learnClusterGroup(r *region, g *struct{ DBClusterParameterGroupName, DBParameterGroupFamily, Description, DBClusterParameterGroupArn string }) {
	r.rds.clusterGroups.put(r.w.opts.Now(), g.DBClusterParameterGroupName, &parameterGroup{g.DBClusterParameterGroupName, g.DBParameterGroupFamily, g.Description, g.DBClusterParameterGroupArn, nil})
}

// learnZone keeps a hosted zone.
func learnZone(r *region, z *struct {
	Id, Name, CallerReference string
	Config                    struct{ PrivateZone bool }
}) {
	id := strings.TrimPrefix(z.Id, "/hostedzone/")
	if r.acct.zones[id] == nil {
		r.acct.zones[id] = &zone{id: id, name: dotted(z.Name), reference: z.CallerReference, private: z.Config.PrivateZone}
	}
}

// learnRecords keeps a zone's records, which name servers serve.
func learnRecords(r *region, a Answer) error {
	id := strings.TrimPrefix(a.Params["Id"], "/hostedzone/")
	z := r.acct.zones[id]
	if z == nil {
		z = &zone{id: id}
		r.acct.zones[id] = z
	}
	var said struct {
		Records []Record `xml:"ResourceRecordSets>ResourceRecordSet"`
	}
	err := xml.Unmarshal(a.Body, &said)
	for _, rec := range said.Records {
		if !slices.ContainsFunc(z.records, rec.same) {
			z.records = append(z.records, rec)
		}
		if rec.Type == "SOA" && z.name == "" {
			z.name = rec.Name
		}
	}
	z.served = slices.Clone(z.records)
	return err
}

package awstest

import (
	"slices"
	"strings"
	"time"
)

type nodeSnapshot struct {
	CacheClusterId, NodeGroupId, CacheNodeId, CacheSize string
	SnapshotCreateTime                                  string `xml:",omitempty"`
}

// cacheSnapshot is a snapshot of a replication group.
type cacheSnapshot struct {
	SnapshotName            string
	ReplicationGroupId      string
	SnapshotStatus          string
	SnapshotSource          string
	CacheNodeType           string
	Engine                  string
	EngineVersion           string
	Port                    int
	CacheParameterGroupName string
	CacheSubnetGroupName    string
	VpcId                   string
	NumNodeGroups           int
	AutomaticFailover       string
	NodeSnapshots           []nodeSnapshot `xml:"NodeSnapshots>NodeSnapshot"`
	KmsKeyId                string         `xml:",omitempty"`
	ARN                     string

	r    *region
	tags []tag
	data dataset
	gone bool
}

func (c *call) freeCacheSnapshot(name string) error {
	if _, ok := c.r.cache.snapshots.get(name); ok {
		return refuse("SnapshotAlreadyExistsFault", "Snapshot with specified name %s already exists.", name)
	}
	return nil
}

// cacheSnapshot begins one.
func (c *call) cacheSnapshot(g *cacheGroup, name string, tags []tag) (*cacheSnapshot, error) {
	if err := c.freeCacheSnapshot(name); err != nil {
		return nil, err
	}
	if strings.HasPrefix(g.CacheNodeType, "cache.t3.micro") {
		return nil, refuse("SnapshotFeatureNotSupportedFault", "The node type %s can't be backed up", g.CacheNodeType)
	}
	s := &cacheSnapshot{
		SnapshotName: name, ReplicationGroupId: g.ReplicationGroupId, SnapshotSource: "manual", CacheNodeType: g.CacheNodeType, Engine: g.Engine, EngineVersion: g.version, Port: g.port,
		CacheParameterGroupName: g.parameter, CacheSubnetGroupName: g.subnets, VpcId: g.r.net.vpc, NumNodeGroups: g.shards, AutomaticFailover: g.AutomaticFailover, KmsKeyId: c.p.str("KmsKeyId"),
		r: c.r, tags: tags, data: g.data.until(c.now),
	}
	for i := range g.shards {
		s.NodeSnapshots = append(s.NodeSnapshots, nodeSnapshot{g.node(i, 0), "0001", "0001", "12 MB", ""})
	}
	s.keep(c, "CreateSnapshot", cacheSnapPhases)
	return s, nil
}

func (s *cacheSnapshot) keep(c *call, action string, phases []Phase) {
	s.ARN = c.r.arn("elasticache", "snapshot:"+s.SnapshotName)
	c.r.cache.snapshots.put(c.now, s.SnapshotName, s)
	transition{
		r: c.r, action: action, name: s.SnapshotName, phases: phases,
		set: func(status string, _ time.Time) { s.SnapshotStatus = status },
		done: func(at time.Time) {
			s.SnapshotStatus = "available"
			for i := range s.NodeSnapshots {
				s.NodeSnapshots[i].SnapshotCreateTime = iso(at)
			}
		},
		failed: func(time.Time) { s.SnapshotStatus = "failed" },
		alive:  func() bool { return !s.gone },
	}.begin(c.now)
}

func (s *cacheSnapshot) result() any { return struct{ Snapshot *cacheSnapshot }{s.shown()} }

// shown is how the snapshot looks: it is restoring while a group is created of it (ElastiCache API Reference, Snapshot).
func (s *cacheSnapshot) shown() *cacheSnapshot {
	v := *s
	for _, g := range s.r.cache.groups.live {
		if g.v.from == s && g.v.Status == "creating" && v.SnapshotStatus == "available" {
			v.SnapshotStatus = "restoring"
		}
	}
	return &v
}

func createCacheSnapshot(c *call) (any, error) {
	g, err := c.r.cacheGroup(c.p.str("ReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	if err := g.usable(); err != nil {
		return nil, err
	}
	s, err := c.cacheSnapshot(g, c.p.str("SnapshotName"), c.p.tags("Tags"))
	if err != nil {
		return nil, err
	}
	g.run("(snapshot)", []Phase{{"snapshotting", 3 * time.Minute}}, c.now, nil)
	return s.result(), nil
}

func (r *region) cacheSnapshotOf(name string) (*cacheSnapshot, error) {
	s, ok := r.cache.snapshots.get(name)
	if !ok {
		return nil, gone("SnapshotNotFoundFault", "Snapshot %s not found.", name)
	}
	return s, nil
}

func copyCacheSnapshot(c *call) (any, error) {
	source, err := c.r.cacheSnapshotOf(c.p.str("SourceSnapshotName"))
	if err != nil {
		return nil, err
	}
	if source.SnapshotStatus != "available" {
		return nil, refuse("InvalidSnapshotState", "Snapshot %s is %s", source.SnapshotName, source.SnapshotStatus)
	}
	name := c.p.str("TargetSnapshotName")
	if err := c.freeCacheSnapshot(name); err != nil {
		return nil, err
	}
	s := *source
	s.SnapshotName, s.SnapshotSource, s.tags, s.NodeSnapshots = name, "manual", c.p.tags("Tags"), slices.Clone(source.NodeSnapshots)
	kept := &s
	kept.keep(c, c.action, []Phase{{"copying", time.Minute}})
	return kept.result(), nil
}

func describeCacheSnapshots(c *call) (any, error) {
	var out struct {
		Marker    string           `xml:",omitempty"`
		Snapshots []*cacheSnapshot `xml:"Snapshots>Snapshot"`
	}
	group, name, source := c.p.str("ReplicationGroupId"), c.p.str("SnapshotName"), c.p.str("SnapshotSource")
	if name != "" {
		s, err := c.r.cacheSnapshotOf(name)
		if err != nil {
			return nil, err
		}
		out.Snapshots = []*cacheSnapshot{s.shown()}
		return out, nil
	}
	found := slices.DeleteFunc(c.r.cache.snapshots.all(c.now, c.w.opts.Lag), func(s *cacheSnapshot) bool {
		return group != "" && !strings.EqualFold(group, s.ReplicationGroupId) || source == "system" && s.SnapshotSource == "manual" || source == "user" && s.SnapshotSource != "manual"
	})
	page, marker, err := paged(c, found, func(s *cacheSnapshot) string { return s.SnapshotName })
	for _, s := range page {
		out.Snapshots = append(out.Snapshots, s.shown())
	}
	out.Marker = marker
	return out, err
}

func deleteCacheSnapshot(c *call) (any, error) {
	s, err := c.r.cacheSnapshotOf(c.p.str("SnapshotName"))
	if err != nil {
		return nil, err
	}
	if status := s.shown().SnapshotStatus; status != "available" && status != "failed" {
		return nil, refuse("InvalidSnapshotState", "Snapshot %s is %s", s.SnapshotName, status)
	}
	s.gone = true
	c.r.cache.snapshots.remove(c.now, s.SnapshotName)
	s.SnapshotStatus = "deleting"
	return s.result(), nil
}

func describeCacheSubnetGroups(c *call) (any, error) {
	name := c.p.str("CacheSubnetGroupName")
	found, marker, err := named(c, &c.r.cache.subnetGroups, name, refuse("CacheSubnetGroupNotFoundFault", "Cache Subnet Group %s does not exist.", name), func(g *cacheSubnetGroup) string { return g.CacheSubnetGroupName })
	return struct {
		Marker string              `xml:",omitempty"`
		Groups []*cacheSubnetGroup `xml:"CacheSubnetGroups>CacheSubnetGroup"`
	}{marker, found}, err
}

func createCacheSubnetGroup(c *call) (any, error) {
	name := strings.ToLower(c.p.str("CacheSubnetGroupName"))
	if _, ok := c.r.cache.subnetGroups.get(name); ok {
		return nil, refuse("CacheSubnetGroupAlreadyExists", "Cache subnet group %s already exists.", name)
	}
	var chosen []subnet
	for _, id := range c.p.list("SubnetIds") {
		at := slices.IndexFunc(c.r.net.subnets, func(s subnet) bool { return s.SubnetId == id })
		if at < 0 {
			return nil, refuse("InvalidSubnet", "Invalid subnet id: %s", id)
		}
		chosen = append(chosen, c.r.net.subnets[at])
	}
	g := c.r.cacheSubnets(name, c.p.str("CacheSubnetGroupDescription"), chosen)
	c.r.cache.subnetGroups.put(c.now, name, g)
	return struct{ CacheSubnetGroup *cacheSubnetGroup }{g}, nil
}

func describeCacheParameterGroups(c *call) (any, error) {
	name := c.p.str("CacheParameterGroupName")
	found, marker, err := named(c, &c.r.cache.parameterGroups, name, gone("CacheParameterGroupNotFound", "CacheParameterGroup %s not found.", name), func(g *cacheParameterGroup) string { return g.CacheParameterGroupName })
	return struct {
		Marker string                 `xml:",omitempty"`
		Groups []*cacheParameterGroup `xml:"CacheParameterGroups>CacheParameterGroup"`
	}{marker, found}, err
}

// cacheTags finds the tags of a group or a snapshot by its ARN.
func (c *call) cacheTags() (*[]tag, error) {
	_, _, in, acct, resource := splitARN(c.p.str("ResourceName"))
	kind, name, _ := strings.Cut(resource, ":")
	if in == c.r.name && acct == c.account {
		switch kind {
		case "replicationgroup":
			if g, ok := c.r.cache.groups.get(name); ok {
				return &g.tags, nil
			}
			return nil, gone("ReplicationGroupNotFoundFault", "ReplicationGroup %s not found.", name)
		case "snapshot":
			if s, ok := c.r.cache.snapshots.get(name); ok {
				return &s.tags, nil
			}
			return nil, gone("SnapshotNotFoundFault", "Snapshot %s not found.", name)
		}
	}
	return nil, refuse("InvalidARN", "The ARN %s is not valid", c.p.str("ResourceName"))
}

func listCacheTags(c *call) (any, error) {
	tags, err := c.cacheTags()
	if err != nil {
		return nil, err
	}
	return struct {
		TagList []tag `xml:"TagList>Tag"`
	}{*tags}, nil
}

func addCacheTags(c *call) (any, error) {
	tags, err := c.cacheTags()
	if err != nil {
		return nil, err
	}
	for _, t := range c.p.tags("Tags") {
		*tags = append(slices.DeleteFunc(slices.Clone(*tags), func(o tag) bool { return o.Key == t.Key }), t)
	}
	return struct {
		TagList []tag `xml:"TagList>Tag"`
	}{*tags}, nil
}

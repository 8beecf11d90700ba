package awstest

// cacheMember is a node of a replication group, as DescribeCacheClusters shows it: with what the group itself does not tell.
type cacheMember struct {
	CacheClusterId       string
	CacheClusterStatus   string
	CacheNodeType        string
	Engine               string
	EngineVersion        string
	CacheSubnetGroupName string
	CacheParameterGroup  struct{ CacheParameterGroupName string }
	ReplicationGroupId   string
	ARN                  string
}

func describeCacheNodes(c *call) (any, error) {
	var all []cacheMember
	for _, g := range c.r.cache.groups.all(c.now, c.w.opts.Lag) {
		for _, id := range g.MemberClusters {
			m := cacheMember{
				CacheClusterId: id, CacheClusterStatus: g.Status, CacheNodeType: g.CacheNodeType, Engine: g.Engine, EngineVersion: g.version, CacheSubnetGroupName: g.subnets,
				ReplicationGroupId: g.ReplicationGroupId, ARN: c.r.arn("elasticache", "cluster:"+id),
			}
			m.CacheParameterGroup.CacheParameterGroupName = g.parameter
			if name := c.p.str("CacheClusterId"); name == "" || name == id {
				all = append(all, m)
			}
		}
	}
	if name := c.p.str("CacheClusterId"); name != "" && len(all) == 0 {
		return nil, gone("CacheClusterNotFound", "CacheCluster %s not found.", name)
	}
	page, marker, err := paged(c, all, func(m cacheMember) string { return m.CacheClusterId })
	return struct {
		Marker string        `xml:",omitempty"`
		Nodes  []cacheMember `xml:"CacheClusters>CacheCluster"`
	}{marker, page}, err
}

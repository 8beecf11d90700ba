package awstest

import "time"

var cacheGrow = []Phase{{"modifying", 6 * time.Minute}}

// growCache adds replicas to each shard of a group.
func growCache(c *call) (any, error) {
	g, err := c.r.cacheGroup(c.p.str("ReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	if err := g.usable(); err != nil {
		return nil, err
	}
	switch n, ok := c.p.num("NewReplicaCount"); {
	case !c.p.flag("ApplyImmediately", false):
		return nil, refuse("InvalidParameterValue", "ApplyImmediately must be true.")
	case !ok || n <= g.replicas || n > 5:
		return nil, refuse("InvalidParameterValue", "The new replica count %d must be from %d to 5.", n, g.replicas+1)
	case c.nodes()+g.shards*(n-g.replicas) > c.r.nodesMost():
		return nil, tooManyNodes()
	default:
		for shard := range g.shards {
			for k := g.replicas + 1; k <= n; k++ {
				g.MemberClusters = append(g.MemberClusters, g.node(shard, k))
			}
		}
		g.run(c.action, cacheGrow, c.now, func(time.Time) {
			g.replicas = n
			g.furnish()
		})
	}
	return g.result(), nil
}

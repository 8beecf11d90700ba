package awstest

// cacheNodes is the name that [World.Quota] knows ElastiCache's quota of nodes in a region by; quotaOfNodes is its code with
// Service Quotas, and nodesAtFirst what it is until somebody asks for more (AWS General Reference, "Amazon ElastiCache endpoints
// and quotas").
const (
	cacheNodes   = "CacheNodes"
	quotaOfNodes = "L-DFE45DF3"
	nodesAtFirst = 300
)

func quotaActions() map[string]action {
	return map[string]action{"GetServiceQuota": {"ServiceCode! QuotaCode! ContextId", getServiceQuota}}
}

// nodesMost is how many nodes of ElastiCache the region takes, and nodes how many it has.
func (r *region) nodesMost() int {
	if n, ok := r.rds.quotas[cacheNodes]; ok {
		return n
	}
	return nodesAtFirst
}

func (c *call) nodes() (n int) {
	for _, g := range c.r.cache.groups.all(c.now, 0) {
		n += len(g.MemberClusters)
	}
	return n
}

func tooManyNodes() error {
	return refuse("NodeQuotaForCustomerExceeded", "The request cannot be processed because it would exceed the allowed number of cache nodes per customer.")
}

func getServiceQuota(c *call) (any, error) {
	if c.p.str("ServiceCode") != "elasticache" || c.p.str("QuotaCode") != quotaOfNodes {
		return nil, refuse("NoSuchResourceException", "The request failed because the specified service or quota does not exist.")
	}
	type quota struct {
		ServiceCode, QuotaCode, QuotaName, QuotaArn string
		Value                                       float64
		Adjustable                                  bool
	}
	return struct{ Quota quota }{quota{"elasticache", quotaOfNodes, "Nodes per Region", c.r.arn("servicequotas", "elasticache/"+quotaOfNodes), float64(c.r.nodesMost()), true}}, nil
}

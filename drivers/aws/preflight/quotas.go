package preflight

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
)

// Quotas of RDS, by their names in DescribeAccountAttributes. An account has them once for a region, whatever kind draws on them: the
// instances of Aurora's clusters count as those of RDS do (Amazon RDS User Guide, "Quotas and constraints for Amazon RDS").
const (
	Instances        = "DBInstances"
	Clusters         = "DBClusters"
	Snapshots        = "ManualSnapshots"
	ClusterSnapshots = "ManualClusterSnapshots"
)

// counted are what quotas of RDS count, for people, and their codes with Service Quotas (AWS General Reference, "Amazon RDS endpoints
// and quotas").
var counted = map[string]struct{ what, code string }{
	Instances:        {"DB instances", "L-7B6409FD"},
	Clusters:         {"DB clusters", "L-952B80B8"},
	Snapshots:        {"manual DB snapshots", "L-272F1212"},
	ClusterSnapshots: {"manual DB cluster snapshots", "L-9B510759"},
}

// nodesPerRegion is the code of ElastiCache's quota of nodes, with Service Quotas (AWS General Reference, "Amazon ElastiCache
// endpoints and quotas").
const nodesPerRegion = "L-DFE45DF3"

// Makes says that the work makes n things that a quota of RDS counts.
func (s *Site) Makes(quota string, n int) { s.need[quota] += n }

// Nodes says that the work makes n nodes of ElastiCache.
func (s *Site) Nodes(n int) { s.nodes += n }

// usage is what there is under a quota.
type usage struct{ used, most int }

// draw notes that the work draws on a quota.
func (s *Site) draw(service, code, what string, need int, u usage) {
	s.draws = append(s.draws, driver.Draw{Quota: code + " of " + s.s.Name(), What: what + " in " + s.s.Region(), Site: s.id, Need: need, Used: u.used, Most: u.most,
		Raise: "aws service-quotas request-service-quota-increase --service-code " + service + " --quota-code " + code + " --region " + s.s.Region() + " --desired-value"})
}

// room looks at RDS's quotas that the work draws on.
func (s *Site) room(ctx context.Context) {
	if len(s.need) == 0 {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		all, err := Once(ctx, s, "quotas of RDS", s.quotasOfRDS)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(s.need)) {
			if u, ok := all[name]; ok {
				s.draw("rds", counted[name].code, counted[name].what, s.need[name], u)
			}
		}
		return nil
	})
}

func (s *Site) quotasOfRDS(ctx context.Context) (map[string]usage, error) {
	out, err := rds.NewFromConfig(s.s.Config("rds")).DescribeAccountAttributes(ctx, &rds.DescribeAccountAttributesInput{})
	if err != nil {
		return nil, err
	}
	all := map[string]usage{}
	for _, q := range out.AccountQuotas {
		all[aws.ToString(q.AccountQuotaName)] = usage{int(aws.ToInt64(q.Used)), int(aws.ToInt64(q.Max))}
	}
	return all, nil
}

// roomForNodes looks at ElastiCache's quota of nodes, when the work draws on it.
func (s *Site) roomForNodes(ctx context.Context) {
	if s.nodes <= 0 {
		return
	}
	s.Ask(ctx, func(ctx context.Context) error {
		u, err := Once(ctx, s, "quota of ElastiCache's nodes", s.quotaOfNodes)
		if err == nil {
			s.draw("elasticache", nodesPerRegion, "nodes of ElastiCache", s.nodes, u)
		}
		return err
	})
}

// quotaOfNodes asks for the quota, and counts all nodes that are there.
func (s *Site) quotaOfNodes(ctx context.Context) (u usage, err error) {
	var quota struct{ Quota struct{ Value float64 } }
	if err := s.s.JSON(ctx, "servicequotas", "ServiceQuotasV20190624", "GetServiceQuota", struct{ ServiceCode, QuotaCode string }{"elasticache", nodesPerRegion}, &quota); err != nil {
		return u, err
	}
	u.most = int(quota.Quota.Value)
	pages := elasticache.NewDescribeCacheClustersPaginator(elasticache.NewFromConfig(s.s.Config("elasticache")), &elasticache.DescribeCacheClustersInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return u, err
		}
		for _, c := range page.CacheClusters {
			u.used += int(max(1, aws.ToInt32(c.NumCacheNodes)))
		}
	}
	return u, nil
}

package awslook

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/route53"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// list is one listing, whole.
type list struct {
	what string
	do   func(ctx context.Context) error
}

// all asks for all pages. The answers are kept on their way; who wants something of a page at once sees it.
func all[O, P any](what string, p awsbase.Pager[O, P], see ...func(*P)) list {
	return list{what, func(ctx context.Context) error {
		for p.HasMorePages() {
			page, err := p.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, f := range see {
				f(page)
			}
		}
		return nil
	}}
}

// lists are all listings of a place.
func (p *place) lists(s *awsbase.Session) (out []list) {
	if len(p.groups) > 0 {
		out = append(out, list{"security groups", func(ctx context.Context) error { return p.security(ctx, s) }})
	}
	for _, key := range p.keys {
		out = append(out, list{"the key " + key, func(ctx context.Context) error {
			err := describeKey(ctx, s, key)
			if err != nil {
				p.assumed = append(p.assumed, key)
			}
			return err
		}})
	}
	if slices.Contains(p.services, "rds") {
		out = append(out, p.databases(rds.NewFromConfig(s.Config("rds")))...)
	}
	if slices.Contains(p.services, "elasticache") {
		out = append(out, p.caches(elasticache.NewFromConfig(s.Config("elasticache")))...)
	}
	if slices.Contains(p.services, "route53") {
		client := route53.NewFromConfig(s.Config("route53"))
		for _, z := range p.zones {
			out = append(out, list{"the zone " + z.Zone, func(ctx context.Context) error { return z.look(ctx, client) }})
		}
	}
	return out
}

// unseal asks for the keys of snapshots.
func (p *place) unseal(ctx context.Context, s *awsbase.Session) error {
	for _, key := range slices.Sorted(maps.Keys(p.sealed)) {
		if err := describeKey(ctx, s, key); err != nil {
			return err
		}
	}
	return nil
}

// describeKey asks for a key of KMS, whose client is not linked for this one call. One that is not there is not there in the
// rehearsal either.
func describeKey(ctx context.Context, s *awsbase.Session, key string) error {
	var answer struct{}
	err := s.JSON(ctx, "kms", "TrentService", "DescribeKey", struct{ KeyId string }{key}, &answer)
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return nil
	}
	return err
}

// seal notes a key that something is encrypted with: what is restored from it needs the key, whatever the settings name.
func (p *place) seal(key *string) {
	if id := aws.ToString(key); id != "" && !slices.Contains(p.keys, id) {
		p.sealed[id] = true
	}
}

// security asks for the security groups that the settings name: those that are there.
func (p *place) security(ctx context.Context, s *awsbase.Session) error {
	params := url.Values{"Filter.1.Name": {"group-id"}}
	for i, id := range p.groups {
		params.Set("Filter.1.Value."+strconv.Itoa(i+1), id)
	}
	err := s.Query(ctx, "ec2", "2016-11-15", "DescribeSecurityGroups", params, nil)
	if err != nil {
		p.assumed = append(p.assumed, p.groups...)
	}
	return err
}

func (p *place) databases(c *rds.Client) []list {
	return []list{
		all("instances", rds.NewDescribeDBInstancesPaginator(c, &rds.DescribeDBInstancesInput{})),
		all("clusters", rds.NewDescribeDBClustersPaginator(c, &rds.DescribeDBClustersInput{})),
		all("global databases", rds.NewDescribeGlobalClustersPaginator(c, &rds.DescribeGlobalClustersInput{})),
		all("snapshots", rds.NewDescribeDBSnapshotsPaginator(c, &rds.DescribeDBSnapshotsInput{}), func(page *rds.DescribeDBSnapshotsOutput) {
			for _, s := range page.DBSnapshots {
				p.seal(s.KmsKeyId)
			}
		}),
		all("snapshots of clusters", rds.NewDescribeDBClusterSnapshotsPaginator(c, &rds.DescribeDBClusterSnapshotsInput{}), func(page *rds.DescribeDBClusterSnapshotsOutput) {
			for _, s := range page.DBClusterSnapshots {
				p.seal(s.KmsKeyId)
			}
		}),
		all("subnet groups", rds.NewDescribeDBSubnetGroupsPaginator(c, &rds.DescribeDBSubnetGroupsInput{})),
		all("parameter groups", rds.NewDescribeDBParameterGroupsPaginator(c, &rds.DescribeDBParameterGroupsInput{})),
		all("parameter groups of clusters", rds.NewDescribeDBClusterParameterGroupsPaginator(c, &rds.DescribeDBClusterParameterGroupsInput{})),
		all("option groups", rds.NewDescribeOptionGroupsPaginator(c, &rds.DescribeOptionGroupsInput{})),
		{"quotas", func(ctx context.Context) error {
			_, err := c.DescribeAccountAttributes(ctx, &rds.DescribeAccountAttributesInput{})
			return err
		}},
	}
}

func (p *place) caches(c *elasticache.Client) []list {
	return []list{
		all("replication groups", elasticache.NewDescribeReplicationGroupsPaginator(c, &elasticache.DescribeReplicationGroupsInput{})),
		all("nodes of caches", elasticache.NewDescribeCacheClustersPaginator(c, &elasticache.DescribeCacheClustersInput{})),
		all("global datastores", elasticache.NewDescribeGlobalReplicationGroupsPaginator(c, &elasticache.DescribeGlobalReplicationGroupsInput{ShowMemberInfo: aws.Bool(true)})),
		all("subnet groups of caches", elasticache.NewDescribeCacheSubnetGroupsPaginator(c, &elasticache.DescribeCacheSubnetGroupsInput{})),
		all("parameter groups of caches", elasticache.NewDescribeCacheParameterGroupsPaginator(c, &elasticache.DescribeCacheParameterGroupsInput{})),
		{"snapshots of caches", func(ctx context.Context) error { return p.cacheSnapshots(ctx, c) }},
	}
}

// cacheSnapshots asks also for the tags of those of groups that the app names: ElastiCache does not show them in the listing.
func (p *place) cacheSnapshots(ctx context.Context, c *elasticache.Client) error {
	pages := elasticache.NewDescribeSnapshotsPaginator(c, &elasticache.DescribeSnapshotsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, s := range page.Snapshots {
			p.seal(s.KmsKeyId)
			ours := slices.ContainsFunc(p.texts, func(text string) bool { return strings.EqualFold(text, aws.ToString(s.ReplicationGroupId)) })
			if !ours || aws.ToString(s.SnapshotSource) != "manual" {
				continue
			}
			if _, err := c.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: s.ARN}); err != nil {
				return err
			}
		}
	}
	return nil
}

// zone is a hosted zone of Route 53, by its id or its name, with the names that matter.
type zone struct {
	Zone  string
	Names []string
}

// look asks for a zone, and for the records of its names.
func (z zone) look(ctx context.Context, c *route53.Client) error {
	if !strings.Contains(z.Zone, ".") { // an id
		if _, err := c.GetHostedZone(ctx, &route53.GetHostedZoneInput{Id: &z.Zone}); err != nil {
			return err
		}
		return z.records(ctx, c, z.Zone)
	}
	out, err := c.ListHostedZonesByName(ctx, &route53.ListHostedZonesByNameInput{DNSName: &z.Zone})
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(strings.ToLower(z.Zone), ".") + "."
	for _, found := range out.HostedZones {
		if aws.ToString(found.Name) != name {
			continue
		}
		if err := z.records(ctx, c, aws.ToString(found.Id)); err != nil {
			return err
		}
	}
	return nil
}

// records asks for the records of each name: they come in the order of names, from the one that is asked for.
func (z zone) records(ctx context.Context, c *route53.Client, id string) error {
	for _, name := range z.Names {
		in := &route53.ListResourceRecordSetsInput{HostedZoneId: &id, StartRecordName: &name}
		for {
			out, err := c.ListResourceRecordSets(ctx, in)
			if err != nil {
				return err
			}
			if !out.IsTruncated || aws.ToString(out.NextRecordName) != aws.ToString(out.ResourceRecordSets[0].Name) {
				break // what follows is of other names
			}
			in.StartRecordName, in.StartRecordType, in.StartRecordIdentifier = out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier
		}
	}
	return nil
}

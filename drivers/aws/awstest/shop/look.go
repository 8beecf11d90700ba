package shop

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/model"
)

// Leads is the site that the name servers send clients to; "" for none.
func (s *Shop) Leads() model.SiteID {
	got := s.Answers(Zone, Name)
	for site := range Regions() {
		if slices.Equal(got, []string{Entrance(site)}) {
			return site
		}
	}
	return ""
}

// Reaches reports whether clients reach an instance: it is there, and in a group that is served in.
func (s *Shop) Reaches(ctx context.Context, site model.SiteID, instance string) (bool, error) {
	serve, _ := s.Groups(site)
	out, err := s.RDS(site).DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{MaxRecords: aws.Int32(100)})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(out.DBInstances, func(i rdstypes.DBInstance) bool {
		return aws.ToString(i.DBInstanceIdentifier) == instance &&
			slices.ContainsFunc(i.VpcSecurityGroups, func(g rdstypes.VpcSecurityGroupMembership) bool { return aws.ToString(g.VpcSecurityGroupId) == serve })
	}), nil
}

// Inventory is all that there is at both sites, one line a thing, with its state and its tags.
func (s *Shop) Inventory(ctx context.Context) ([]string, error) {
	var all []string
	for site := range Regions() {
		add := func(what string, facts ...any) { all = append(all, fmt.Sprint(site, " ", what, " ", facts)) }
		for _, list := range []func(context.Context, model.SiteID, func(string, ...any)) error{s.databases, s.snapshots, s.caches} {
			if err := list(ctx, site, add); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(all)
	return all, nil
}

func (s *Shop) databases(ctx context.Context, site model.SiteID, add func(string, ...any)) error {
	instances, err := s.RDS(site).DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{MaxRecords: aws.Int32(100)})
	if err != nil {
		return err
	}
	for _, i := range instances.DBInstances {
		add("instance", *i.DBInstanceIdentifier, *i.DBInstanceStatus, aws.ToBool(i.DeletionProtection), tags(i.TagList))
	}
	clusters, err := s.RDS(site).DescribeDBClusters(ctx, &rds.DescribeDBClustersInput{})
	if err != nil {
		return err
	}
	for _, c := range clusters.DBClusters {
		add("cluster", *c.DBClusterIdentifier, *c.Status, aws.ToBool(c.DeletionProtection), tags(c.TagList))
	}
	globals, err := s.RDS(site).DescribeGlobalClusters(ctx, &rds.DescribeGlobalClustersInput{})
	if err != nil {
		return err
	}
	for _, g := range globals.GlobalClusters {
		for _, m := range g.GlobalClusterMembers {
			add("global", *g.GlobalClusterIdentifier, *g.Status, *m.DBClusterArn, aws.ToBool(m.IsWriter))
		}
	}
	return nil
}

// snapshots are the manual ones.
func (s *Shop) snapshots(ctx context.Context, site model.SiteID, add func(string, ...any)) error {
	kept, err := s.RDS(site).DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{SnapshotType: aws.String("manual"), MaxRecords: aws.Int32(100)})
	if err != nil {
		return err
	}
	for _, p := range kept.DBSnapshots {
		add("snapshot", *p.DBSnapshotIdentifier, *p.Status, tags(p.TagList))
	}
	clusters, err := s.RDS(site).DescribeDBClusterSnapshots(ctx, &rds.DescribeDBClusterSnapshotsInput{SnapshotType: aws.String("manual")})
	if err != nil {
		return err
	}
	for _, p := range clusters.DBClusterSnapshots {
		add("cluster snapshot", *p.DBClusterSnapshotIdentifier, *p.Status, tags(p.TagList))
	}
	return nil
}

func (s *Shop) caches(ctx context.Context, site model.SiteID, add func(string, ...any)) error {
	groups, err := s.Cache(site).DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{})
	if err != nil {
		return err
	}
	for _, g := range groups.ReplicationGroups {
		add("replication group", *g.ReplicationGroupId, *g.Status)
	}
	stores, err := s.Cache(site).DescribeGlobalReplicationGroups(ctx, &elasticache.DescribeGlobalReplicationGroupsInput{ShowMemberInfo: aws.Bool(true)})
	if err != nil {
		return err
	}
	for _, g := range stores.GlobalReplicationGroups {
		for _, m := range g.Members {
			add("datastore", *g.GlobalReplicationGroupId, *g.Status, *m.ReplicationGroupId, *m.Role)
		}
	}
	return nil
}

func tags(list []rdstypes.Tag) map[string]string {
	all := map[string]string{}
	for _, t := range list {
		all[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return all
}

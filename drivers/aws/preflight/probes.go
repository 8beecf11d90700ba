package preflight

import (
	"context"
	"net/url"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
)

// ghost is a name that nothing has: drivers make none that begins so, and a person would not.
const ghost = "lifeboat-doctor-asks-after-nothing"

// The versions of the services' Query protocols (the SDK's models).
const (
	rdsVersion   = "2014-10-31"
	cacheVersion = "2015-02-02"
	ec2Version   = "2016-11-15"
)

// probe makes a call that has no effect.
type probe func(ctx context.Context, s *awsbase.Session, service, action string) error

// versions are those of the services that speak the Query protocol.
var versions = map[string]string{"rds": rdsVersion, "elasticache": cacheVersion, "ec2": ec2Version}

// query is a probe by the Query protocol: names and values, in turn.
func query(params ...string) probe {
	return func(ctx context.Context, s *awsbase.Session, service, action string) error {
		form := url.Values{}
		for i := 0; i+1 < len(params); i += 2 {
			form.Set(params[i], params[i+1])
		}
		return s.Query(ctx, service, versions[service], action, form, nil)
	}
}

// thing is a probe whose parameter is the ARN of something that is not there.
func thing(parameter, resource string, more ...string) probe {
	return func(ctx context.Context, s *awsbase.Session, service, action string) error {
		return query(append([]string{parameter, s.ARN(service, resource+ghost)}, more...)...)(ctx, s, service, action)
	}
}

// probes are the calls that tell a permission without an effect. Those that change something name a ghost where the thing is
// named that they would change or begin from, so that AWS can do nothing. CreateDBCluster and CreateDBInstance begin from nothing
// when they begin from nothing that exists, and are not among them.
var probes = map[string]probe{
	"rds:DescribeDBInstances":                query(),
	"rds:DescribeDBSnapshots":                query(),
	"rds:DescribeDBClusters":                 query(),
	"rds:DescribeDBClusterSnapshots":         query(),
	"rds:DescribeGlobalClusters":             query(),
	"rds:DescribeDBSubnetGroups":             query(),
	"rds:DescribeDBParameterGroups":          query(),
	"rds:DescribeDBClusterParameterGroups":   query(),
	"rds:DescribeOptionGroups":               query(),
	"rds:DescribeAccountAttributes":          query(),
	"rds:DescribeOrderableDBInstanceOptions": query("Engine", "mysql", "MaxRecords", "20"),

	"rds:AddTagsToResource":                       thing("ResourceName", "db:", "Tags.Tag.1.Key", awsbase.TagToken, "Tags.Tag.1.Value", ghost),
	"rds:CreateDBSnapshot":                        query("DBInstanceIdentifier", ghost, "DBSnapshotIdentifier", ghost),
	"rds:CopyDBSnapshot":                          query("SourceDBSnapshotIdentifier", ghost, "TargetDBSnapshotIdentifier", ghost+"-copy"),
	"rds:DeleteDBSnapshot":                        query("DBSnapshotIdentifier", ghost),
	"rds:ModifyDBInstance":                        query("DBInstanceIdentifier", ghost),
	"rds:RebootDBInstance":                        query("DBInstanceIdentifier", ghost),
	"rds:DeleteDBInstance":                        query("DBInstanceIdentifier", ghost, "SkipFinalSnapshot", "true"),
	"rds:RestoreDBInstanceFromDBSnapshot":         query("DBInstanceIdentifier", ghost, "DBSnapshotIdentifier", ghost),
	"rds:RestoreDBInstanceToPointInTime":          query("SourceDBInstanceIdentifier", ghost, "TargetDBInstanceIdentifier", ghost+"-copy", "UseLatestRestorableTime", "true"),
	"rds:PromoteReadReplica":                      query("DBInstanceIdentifier", ghost),
	"rds:CreateDBInstanceReadReplica":             query("DBInstanceIdentifier", ghost+"-copy", "SourceDBInstanceIdentifier", ghost),
	"rds:CreateDBClusterSnapshot":                 query("DBClusterIdentifier", ghost, "DBClusterSnapshotIdentifier", ghost),
	"rds:CopyDBClusterSnapshot":                   query("SourceDBClusterSnapshotIdentifier", ghost, "TargetDBClusterSnapshotIdentifier", ghost+"-copy"),
	"rds:DeleteDBClusterSnapshot":                 query("DBClusterSnapshotIdentifier", ghost),
	"rds:ModifyDBCluster":                         query("DBClusterIdentifier", ghost),
	"rds:DeleteDBCluster":                         query("DBClusterIdentifier", ghost, "SkipFinalSnapshot", "true"),
	"rds:RestoreDBClusterFromSnapshot":            query("DBClusterIdentifier", ghost, "SnapshotIdentifier", ghost, "Engine", "aurora-mysql"),
	"rds:RestoreDBClusterToPointInTime":           query("DBClusterIdentifier", ghost+"-copy", "SourceDBClusterIdentifier", ghost, "UseLatestRestorableTime", "true"),
	"rds:FailoverGlobalCluster":                   thing("TargetDbClusterIdentifier", "cluster:", "GlobalClusterIdentifier", ghost, "AllowDataLoss", "true"),
	"rds:SwitchoverGlobalCluster":                 thing("TargetDbClusterIdentifier", "cluster:", "GlobalClusterIdentifier", ghost),
	"rds:RemoveFromGlobalCluster":                 thing("DbClusterIdentifier", "cluster:", "GlobalClusterIdentifier", ghost),
	"rds:ModifyGlobalCluster":                     query("GlobalClusterIdentifier", ghost),
	"rds:DeleteGlobalCluster":                     query("GlobalClusterIdentifier", ghost),
	"rds:CreateGlobalCluster":                     thing("SourceDBClusterIdentifier", "cluster:", "GlobalClusterIdentifier", ghost),
	"ec2:DescribeSecurityGroups":                  query(),
	"elasticache:DescribeReplicationGroups":       query(),
	"elasticache:DescribeGlobalReplicationGroups": query(),
	"elasticache:DescribeSnapshots":               query(),
	"elasticache:DescribeCacheClusters":           query(),
	"elasticache:DescribeCacheSubnetGroups":       query(),
	"elasticache:DescribeCacheParameterGroups":    query(),
	"elasticache:ListTagsForResource":             thing("ResourceName", "replicationgroup:"),
	"elasticache:AddTagsToResource":               thing("ResourceName", "replicationgroup:", "Tags.Tag.1.Key", awsbase.TagToken, "Tags.Tag.1.Value", ghost),
	"elasticache:FailoverGlobalReplicationGroup":  query("GlobalReplicationGroupId", ghost, "PrimaryRegion", "us-east-1", "PrimaryReplicationGroupId", ghost),
	"elasticache:CreateSnapshot":                  query("ReplicationGroupId", ghost, "SnapshotName", ghost),
	"elasticache:CopySnapshot":                    query("SourceSnapshotName", ghost, "TargetSnapshotName", ghost+"-copy"),
	"elasticache:DeleteSnapshot":                  query("SnapshotName", ghost),
	"elasticache:DeleteReplicationGroup":          query("ReplicationGroupId", ghost),
	"elasticache:ModifyReplicationGroup":          query("ReplicationGroupId", ghost),
	"elasticache:CreateReplicationGroup":          query("ReplicationGroupId", "lb-doctor-nothing", "ReplicationGroupDescription", ghost, "SnapshotName", ghost, "CacheNodeType", "cache.t3.micro", "Engine", "redis"),
}

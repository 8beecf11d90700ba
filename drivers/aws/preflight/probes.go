package preflight

import (
	"context"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/metric"
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
// named that they would change or begin from, so that AWS can do nothing. Calls that can begin from nothing, such as
// CreateDBInstance and CreateReplicationGroup, are not among them.
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
	"route53:ListHostedZonesByName":               records,
	"route53:ListResourceRecordSets":              records,
	"route53:ChangeResourceRecordSets":            records,
	"route53:GetChange":                           records,
	"elasticache:IncreaseReplicaCount":            query("ReplicationGroupId", ghost, "NewReplicaCount", "1", "ApplyImmediately", "true"),
	"kms:DescribeKey":                             keys,
	"servicequotas:GetServiceQuota":               quotas,
	"cloudwatch:GetMetricData":                    metrics,
	"elasticache:ModifyReplicationGroup":          query("ReplicationGroupId", ghost),
}

// aside are calls that only look and whose probe asks about a ghost all the same.
var aside = map[string]bool{"route53:ListResourceRecordSets": true, "route53:GetChange": true, "elasticache:ListTagsForResource": true, "kms:DescribeKey": true}

// keys is the probe of KMS.
func keys(ctx context.Context, s *awsbase.Session, _, _ string) error {
	var out struct{}
	return s.JSON(ctx, "kms", "TrentService", "DescribeKey", struct{ KeyId string }{"alias/" + ghost}, &out)
}

// quotas is the probe of Service Quotas.
func quotas(ctx context.Context, s *awsbase.Session, _, _ string) error {
	var out struct{}
	return s.JSON(ctx, "servicequotas", "ServiceQuotasV20190624", "GetServiceQuota", struct{ ServiceCode, QuotaCode string }{"elasticache", nodesPerRegion}, &out)
}

// metrics is the probe of CloudWatch, whose protocol is another one.
func metrics(ctx context.Context, s *awsbase.Session, _, _ string) error {
	_, err := metric.ReadLag(ctx, s, metric.Series{Namespace: "AWS/RDS", Name: "ReplicaLag", Dimensions: map[string]string{"DBInstanceIdentifier": ghost}})
	return err
}

// nowhere is the id of no hosted zone, and of no change.
const nowhere = "Z0LIFEBOATDOCTORNOTHING"

// records are the probes of Route 53, which has a protocol of its own.
func records(ctx context.Context, s *awsbase.Session, _, action string) (err error) {
	api := route53.NewFromConfig(s.Config("route53"))
	switch zone := aws.String(nowhere); action {
	case "ListHostedZonesByName":
		_, err = api.ListHostedZonesByName(ctx, &route53.ListHostedZonesByNameInput{MaxItems: aws.Int32(1)})
	case "ListResourceRecordSets":
		_, err = api.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{HostedZoneId: zone, MaxItems: aws.Int32(1)})
	case "GetChange":
		_, err = api.GetChange(ctx, &route53.GetChangeInput{Id: zone})
	case "ChangeResourceRecordSets":
		record := &types.ResourceRecordSet{Name: aws.String(ghost + ".invalid"), Type: types.RRTypeTxt}
		_, err = api.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{HostedZoneId: zone,
			ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{Action: types.ChangeActionDelete, ResourceRecordSet: record}}}})
	}
	return err
}

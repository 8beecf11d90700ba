package awstest_test

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
)

func (s *scene) createDB(region, name string) string {
	out, err := s.rds(region).CreateDBInstance(s.ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &name, DBInstanceClass: aws.String("db.r6g.large"), Engine: aws.String("mysql"), AllocatedStorage: aws.Int32(20), BackupRetentionPeriod: aws.Int32(1),
		MasterUsername: aws.String("admin"), MasterUserPassword: aws.String("hunter2hunter2"), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("shop")}},
	})
	if err != nil {
		return code(err)
	}
	return *out.DBInstance.DBInstanceStatus
}

func (s *scene) db(region, name string) (*types.DBInstance, error) {
	out, err := s.rds(region).DescribeDBInstances(s.ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: &name})
	if err != nil {
		return nil, err
	}
	return &out.DBInstances[0], nil
}

func (s *scene) dbStatus(region, name string) string {
	db, err := s.db(region, name)
	if err != nil {
		return code(err)
	}
	return *db.DBInstanceStatus
}

func (s *scene) snap(region, db, name string) string {
	out, err := s.rds(region).CreateDBSnapshot(s.ctx, &rds.CreateDBSnapshotInput{DBInstanceIdentifier: &db, DBSnapshotIdentifier: &name})
	if err != nil {
		return code(err)
	}
	s.seen[name] = *out.DBSnapshot.DBSnapshotArn
	return *out.DBSnapshot.Status
}

func (s *scene) snapshot(region, name string) (*types.DBSnapshot, error) {
	out, err := s.rds(region).DescribeDBSnapshots(s.ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: &name})
	if err != nil {
		return nil, err
	}
	return &out.DBSnapshots[0], nil
}

// instanceProbes are about one instance and its snapshots in one region.
func instanceProbes() []probe {
	return []probe{
		{id: "rds-create", do: func(s *scene) string { return s.createDB(east, "orders") }, want: "creating", moto: "available", ministack: "available", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "rds-creating", do: func(s *scene) string { return s.dbStatus(east, "orders") }, want: "creating", moto: "available", ministack: "available", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "rds-create-twice", do: func(s *scene) string { return s.createDB(east, "orders") }, want: "DBInstanceAlreadyExists"},
		{id: "rds-unknown", do: func(s *scene) string { return s.dbStatus(east, "nothing") }, want: "DBInstanceNotFound"},
		{id: "rds-elsewhere", do: func(s *scene) string { return s.dbStatus(west, "orders") }, want: "DBInstanceNotFound"},
		{id: "rds-snapshot-early", do: func(s *scene) string { return s.snap(east, "orders", "early") }, want: "InvalidDBInstanceState", moto: "available", ministack: "available", why: "the fake: what is being created cannot be backed up"},
		{id: "rds-available", do: func(s *scene) string { s.pass(time.Hour); return s.dbStatus(east, "orders") }, want: "available"},
		{id: "rds-endpoint", do: func(s *scene) string {
			db, err := s.db(east, "orders")
			return word(err == nil && db.Endpoint != nil && aws.ToInt32(db.Endpoint.Port) == 3306, err)
		}, want: "true"},
		{id: "rds-tags", do: func(s *scene) string {
			db, err := s.db(east, "orders")
			return word(err == nil && len(db.TagList) == 1 && *db.TagList[0].Value == "shop", err)
		}, want: "true"},
		{id: "rds-filter", do: func(s *scene) string {
			out, err := s.rds(east).DescribeDBInstances(s.ctx, &rds.DescribeDBInstancesInput{Filters: []types.Filter{{Name: aws.String("db-instance-id"), Values: []string{"orders", "nothing"}}}})
			if err != nil {
				return code(err)
			}
			return word(len(out.DBInstances), nil)
		}, want: "1"},
		{id: "rds-max-records", do: func(s *scene) string {
			_, err := s.rds(east).DescribeDBInstances(s.ctx, &rds.DescribeDBInstancesInput{MaxRecords: aws.Int32(5)})
			return code(err)
		}, want: "InvalidParameterValue", moto: "ok", ministack: "ok", why: "the fake: from 20 to 100, as documented"},
		{id: "rds-bad-name", do: func(s *scene) string { return s.createDB(east, "two--hyphens") }, want: "InvalidParameterValue", ministack: "available", why: "the fake and moto: no two hyphens in a row"},
		{id: "rds-snapshot", do: func(s *scene) string { return s.snap(east, "orders", "first") }, want: "creating", moto: "available", ministack: "available", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "rds-backing-up", do: func(s *scene) string { return s.dbStatus(east, "orders") }, want: "backing-up", moto: "available", ministack: "available", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "rds-snapshot-twice", do: func(s *scene) string { s.pass(time.Hour); return s.snap(east, "orders", "first") }, want: "DBSnapshotAlreadyExists"},
		{id: "rds-snapshot-available", do: func(s *scene) string {
			v, err := s.snapshot(east, "first")
			return word(err == nil && *v.Status == "available" && aws.ToInt32(v.PercentProgress) == 100, err)
		}, want: "true", moto: "false", why: "the fake and ministack: a snapshot that is available says 100 %"},
		{id: "rds-snapshot-unknown", do: func(s *scene) string { _, err := s.snapshot(east, "nothing"); return code(err) }, want: "DBSnapshotNotFound"},
		{id: "rds-snapshots-of", do: func(s *scene) string {
			out, err := s.rds(east).DescribeDBSnapshots(s.ctx, &rds.DescribeDBSnapshotsInput{DBInstanceIdentifier: aws.String("orders"), SnapshotType: aws.String("manual")})
			if err != nil {
				return code(err)
			}
			return *out.DBSnapshots[len(out.DBSnapshots)-1].DBSnapshotIdentifier
		}, want: "first"},
		{id: "rds-protect", do: func(s *scene) string {
			out, err := s.rds(east).ModifyDBInstance(s.ctx, &rds.ModifyDBInstanceInput{DBInstanceIdentifier: aws.String("orders"), DeletionProtection: aws.Bool(true), ApplyImmediately: aws.Bool(true)})
			return word(err == nil && aws.ToBool(out.DBInstance.DeletionProtection), err)
		}, want: "true"},
		{id: "rds-delete-protected", do: func(s *scene) string {
			_, err := s.rds(east).DeleteDBInstance(s.ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("orders"), SkipFinalSnapshot: aws.Bool(true)})
			return code(err)
		}, want: "InvalidParameterCombination"},
		{id: "rds-orderable", do: func(s *scene) string {
			out, err := s.rds(east).DescribeOrderableDBInstanceOptions(s.ctx, &rds.DescribeOrderableDBInstanceOptionsInput{Engine: aws.String("mysql"), DBInstanceClass: aws.String("db.r6g.large")})
			return word(err == nil && len(out.OrderableDBInstanceOptions) > 0, err)
		}, want: "true", moto: "false", ministack: "false", why: "the fake: AWS offers that class; the emulators have no such list for it"},
		{id: "rds-engine-versions", do: func(s *scene) string {
			out, err := s.rds(east).DescribeDBEngineVersions(s.ctx, &rds.DescribeDBEngineVersionsInput{Engine: aws.String("mysql")})
			return word(err == nil && len(out.DBEngineVersions) > 0, err)
		}, want: "true", moto: "-"},
		{id: "rds-quotas", do: func(s *scene) string {
			out, err := s.rds(east).DescribeAccountAttributes(s.ctx, &rds.DescribeAccountAttributesInput{})
			return word(err == nil && len(out.AccountQuotas) > 0, err)
		}, want: "true", moto: "-", ministack: "-"},
		{id: "rds-subnet-group-unknown", do: func(s *scene) string {
			_, err := s.rds(east).DescribeDBSubnetGroups(s.ctx, &rds.DescribeDBSubnetGroupsInput{DBSubnetGroupName: aws.String("nothing")})
			return code(err)
		}, want: "DBSubnetGroupNotFoundFault"},
	}
}

// moveProbes are about bringing an instance to another region and back.
func moveProbes() []probe {
	copyTo := func(s *scene, source, target string) string {
		out, err := s.rds(west).CopyDBSnapshot(s.ctx, &rds.CopyDBSnapshotInput{SourceDBSnapshotIdentifier: &source, TargetDBSnapshotIdentifier: &target, SourceRegion: aws.String(east)})
		if err != nil {
			return code(err)
		}
		return *out.DBSnapshot.Status
	}
	restore := func(s *scene, from, name string) string {
		out, err := s.rds(west).RestoreDBInstanceFromDBSnapshot(s.ctx, &rds.RestoreDBInstanceFromDBSnapshotInput{DBInstanceIdentifier: &name, DBSnapshotIdentifier: &from})
		if err != nil {
			return code(err)
		}
		return *out.DBInstance.DBInstanceStatus
	}
	promote := func(s *scene) string {
		_, err := s.rds(west).PromoteReadReplica(s.ctx, &rds.PromoteReadReplicaInput{DBInstanceIdentifier: aws.String("orders-replica"), BackupRetentionPeriod: aws.Int32(1)})
		return code(err)
	}
	return []probe{
		{id: "rds-copy-by-name", do: func(s *scene) string { return copyTo(s, "first", "first-copy") }, want: "DBSnapshotNotFound", ministack: "-"},
		{id: "rds-copy", do: func(s *scene) string { return copyTo(s, s.seen["first"], "first-copy") }, want: "pending", moto: "available", ministack: "-", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "rds-copy-twice", do: func(s *scene) string { return copyTo(s, s.seen["first"], "first-copy") }, want: "DBSnapshotAlreadyExists", ministack: "-"},
		{id: "rds-restore-early", do: func(s *scene) string { return restore(s, "first-copy", "too-early") }, want: "InvalidDBSnapshotState", moto: "available", ministack: "-", why: "the fake: a copy that is under way cannot be restored"},
		{id: "rds-copy-origin", do: func(s *scene) string {
			s.pass(time.Hour)
			v, err := s.snapshot(west, "first-copy")
			if err != nil {
				return code(err)
			}
			return *v.Status + " " + aws.ToString(v.SourceRegion) + " " + word(aws.ToString(v.SourceDBSnapshotIdentifier) == s.seen["first"], nil)
		}, want: "available us-east-1 true", moto: "available  false", ministack: "-", why: "the fake: a copy says where it comes from"},
		{id: "rds-copy-bad-key", do: func(s *scene) string {
			_, err := s.rds(west).CopyDBSnapshot(s.ctx, &rds.CopyDBSnapshotInput{SourceDBSnapshotIdentifier: aws.String(s.seen["first"]), TargetDBSnapshotIdentifier: aws.String("keyed"), KmsKeyId: aws.String("alias/nothing"), SourceRegion: aws.String(east)})
			return code(err)
		}, want: "KMSKeyNotAccessibleFault", moto: "HTTP 500", ministack: "-", why: "the fake: moto fails by itself"},
		{id: "rds-restore-unknown", do: func(s *scene) string { return restore(s, "nothing", "x") }, want: "DBSnapshotNotFound"},
		{id: "rds-restore", do: func(s *scene) string { return restore(s, "first-copy", "orders-restored") }, want: "creating", moto: "available", ministack: "-", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "rds-restored", do: func(s *scene) string {
			s.pass(time.Hour)
			db, err := s.db(west, "orders-restored")
			if err != nil {
				return code(err)
			}
			return *db.DBInstanceStatus + " " + *db.Engine + " " + *db.MasterUsername
		}, want: "available mysql admin", ministack: "-"},
		{id: "rds-to-time-unsaid", do: func(s *scene) string {
			_, err := s.rds(east).RestoreDBInstanceToPointInTime(s.ctx, &rds.RestoreDBInstanceToPointInTimeInput{SourceDBInstanceIdentifier: aws.String("orders"), TargetDBInstanceIdentifier: aws.String("then")})
			return code(err)
		}, want: "InvalidParameterCombination", moto: "ok", ministack: "-", why: "the fake: one of RestoreTime and UseLatestRestorableTime is needed"},
		{id: "rds-to-latest", do: func(s *scene) string {
			out, err := s.rds(east).RestoreDBInstanceToPointInTime(s.ctx, &rds.RestoreDBInstanceToPointInTimeInput{SourceDBInstanceIdentifier: aws.String("orders"), TargetDBInstanceIdentifier: aws.String("latest"), UseLatestRestorableTime: aws.Bool(true)})
			if err != nil {
				return code(err)
			}
			return *out.DBInstance.DBInstanceStatus
		}, want: "creating", moto: "available", ministack: "-", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "rds-replica", do: func(s *scene) string {
			source, err := s.db(east, "orders")
			if err != nil {
				return code(err)
			}
			s.seen["orders"] = *source.DBInstanceArn
			out, err := s.rds(west).CreateDBInstanceReadReplica(s.ctx, &rds.CreateDBInstanceReadReplicaInput{DBInstanceIdentifier: aws.String("orders-replica"), SourceDBInstanceIdentifier: source.DBInstanceArn, SourceRegion: aws.String(east)})
			if err != nil {
				return code(err)
			}
			return *out.DBInstance.DBInstanceStatus
		}, want: "creating", moto: "available", ministack: "-", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "rds-replica-source", do: func(s *scene) string {
			s.pass(time.Hour)
			db, err := s.db(west, "orders-replica")
			return word(err == nil && aws.ToString(db.ReadReplicaSourceDBInstanceIdentifier) == s.seen["orders"], err)
		}, want: "true", ministack: "-"},
		{id: "rds-replicas-of", do: func(s *scene) string {
			db, err := s.db(east, "orders")
			return word(err == nil && len(db.ReadReplicaDBInstanceIdentifiers) == 1 && strings.HasPrefix(db.ReadReplicaDBInstanceIdentifiers[0], "arn:aws:rds:us-west-2:"), err)
		}, want: "true", ministack: "-"},
		{id: "rds-promote", do: promote, want: "ok", ministack: "-"},
		{id: "rds-promoting", do: func(s *scene) string { s.pass(10 * time.Second); return s.dbStatus(west, "orders-replica") }, want: "modifying", moto: "available", ministack: "-", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "rds-promoted", do: func(s *scene) string {
			s.pass(time.Hour)
			db, err := s.db(west, "orders-replica")
			if err != nil {
				return code(err)
			}
			return *db.DBInstanceStatus + " " + word(db.ReadReplicaSourceDBInstanceIdentifier == nil, nil)
		}, want: "available true", moto: "available false", ministack: "-", why: "the fake: what was promoted is a replica no more"},
		{id: "rds-promoted-source", do: func(s *scene) string {
			db, err := s.db(east, "orders")
			return word(err == nil && len(db.ReadReplicaDBInstanceIdentifiers) == 0, err)
		}, want: "true", moto: "false", ministack: "-", why: "the fake: what was promoted is a replica no more"},
		{id: "rds-promote-twice", do: promote, want: "InvalidDBInstanceState", moto: "ok", ministack: "-", why: "the fake: what is no replica cannot be promoted"},
		{id: "rds-delete-unsaid", do: func(s *scene) string {
			_, err := s.rds(west).DeleteDBInstance(s.ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("orders-restored")})
			return code(err)
		}, want: "InvalidParameterCombination", moto: "ok", ministack: "-", why: "the fake: a final snapshot is named, or waived"},
		{id: "rds-delete", do: func(s *scene) string {
			out, err := s.rds(west).DeleteDBInstance(s.ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("orders-replica"), FinalDBSnapshotIdentifier: aws.String("final")})
			if err != nil {
				return code(err)
			}
			return *out.DBInstance.DBInstanceStatus
		}, want: "deleting", moto: "-", ministack: "-"},
		{id: "rds-deleted", do: func(s *scene) string { s.pass(time.Hour); return s.dbStatus(west, "orders-replica") }, want: "DBInstanceNotFound", moto: "-", ministack: "-"},
		{id: "rds-final-snapshot", do: func(s *scene) string {
			v, err := s.snapshot(west, "final")
			if err != nil {
				return code(err)
			}
			return *v.Status
		}, want: "available", moto: "-", ministack: "-"},
		{id: "rds-delete-snapshot", do: func(s *scene) string {
			_, err := s.rds(west).DeleteDBSnapshot(s.ctx, &rds.DeleteDBSnapshotInput{DBSnapshotIdentifier: aws.String("final")})
			if err != nil {
				return code(err)
			}
			_, err = s.snapshot(west, "final")
			return code(err)
		}, want: "DBSnapshotNotFound", moto: "-", ministack: "-"},
	}
}

// auroraProbes are about a global database.
func auroraProbes() []probe {
	cluster := func(s *scene, region, name string) string {
		in := &rds.CreateDBClusterInput{DBClusterIdentifier: &name, Engine: aws.String("aurora-mysql"), EngineVersion: aws.String("8.0.mysql_aurora.3.04.3"), GlobalClusterIdentifier: aws.String("world")}
		if region == east {
			in.MasterUsername, in.MasterUserPassword = aws.String("admin"), aws.String("hunter2hunter2")
		}
		out, err := s.rds(region).CreateDBCluster(s.ctx, in)
		if err != nil {
			return code(err)
		}
		s.seen[name] = *out.DBCluster.DBClusterArn
		_, err = s.rds(region).CreateDBInstance(s.ctx, &rds.CreateDBInstanceInput{DBInstanceIdentifier: aws.String(name + "-1"), DBClusterIdentifier: &name, DBInstanceClass: aws.String("db.r6g.large"), Engine: aws.String("aurora-mysql")})
		if err != nil {
			return code(err)
		}
		return *out.DBCluster.Status
	}
	global := func(s *scene) (*types.GlobalCluster, error) {
		out, err := s.rds(west).DescribeGlobalClusters(s.ctx, &rds.DescribeGlobalClustersInput{GlobalClusterIdentifier: aws.String("world")})
		if err != nil {
			return nil, err
		}
		return &out.GlobalClusters[0], nil
	}
	writer := func(s *scene) string {
		g, err := global(s)
		if err != nil {
			return code(err)
		}
		for _, m := range g.GlobalClusterMembers {
			if aws.ToBool(m.IsWriter) {
				return strings.Split(*m.DBClusterArn, ":")[3]
			}
		}
		return "nobody"
	}
	failover := func(s *scene, to string) string {
		_, err := s.rds(west).FailoverGlobalCluster(s.ctx, &rds.FailoverGlobalClusterInput{GlobalClusterIdentifier: aws.String("world"), TargetDbClusterIdentifier: aws.String(s.seen[to]), AllowDataLoss: aws.Bool(true)})
		if err != nil {
			return code(err)
		}
		s.pass(time.Hour)
		for range 3 { // ministack goes on when somebody looks
			writer(s)
		}
		return writer(s)
	}
	switchover := func(s *scene, from, to string) string {
		out, err := s.rds(from).SwitchoverGlobalCluster(s.ctx, &rds.SwitchoverGlobalClusterInput{GlobalClusterIdentifier: aws.String("world"), TargetDbClusterIdentifier: aws.String(s.seen[to])})
		if err != nil {
			return code(err)
		}
		if out.GlobalCluster.FailoverState == nil || aws.ToBool(out.GlobalCluster.FailoverState.IsDataLossAllowed) {
			return "no state"
		}
		return string(out.GlobalCluster.FailoverState.Status)
	}
	return []probe{
		{id: "aurora-global", do: func(s *scene) string {
			_, err := s.rds(east).CreateGlobalCluster(s.ctx, &rds.CreateGlobalClusterInput{GlobalClusterIdentifier: aws.String("world"), Engine: aws.String("aurora-mysql"), EngineVersion: aws.String("8.0.mysql_aurora.3.04.3")})
			return code(err)
		}, want: "ok"},
		{id: "aurora-primary", do: func(s *scene) string { return cluster(s, east, "one") }, want: "creating", ministack: "available", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "aurora-secondary", do: func(s *scene) string { s.pass(time.Hour); return cluster(s, west, "two") }, want: "creating", ministack: "available", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "aurora-members", do: func(s *scene) string {
			s.pass(time.Hour)
			g, err := global(s)
			if err != nil {
				return code(err)
			}
			return word(len(g.GlobalClusterMembers), nil) + " " + writer(s)
		}, want: "2 us-east-1"},
		{id: "aurora-synchronized", do: func(s *scene) string {
			g, err := global(s)
			if err != nil {
				return code(err)
			}
			for _, m := range g.GlobalClusterMembers {
				if !aws.ToBool(m.IsWriter) {
					return "sync " + string(m.SynchronizationStatus)
				}
			}
			return "no secondary"
		}, want: "sync connected", moto: "sync ", why: "the fake and ministack: moto leaves it out"},
		{id: "aurora-both-ways", do: func(s *scene) string {
			_, err := s.rds(west).FailoverGlobalCluster(s.ctx, &rds.FailoverGlobalClusterInput{GlobalClusterIdentifier: aws.String("world"), TargetDbClusterIdentifier: aws.String(s.seen["two"]), AllowDataLoss: aws.Bool(true), Switchover: aws.Bool(true)})
			return code(err)
		}, want: "InvalidParameterCombination", moto: "-"},
		{id: "aurora-failover", do: func(s *scene) string { return failover(s, "two") }, want: "us-west-2", moto: "-"},
		{id: "aurora-failover-twice", do: func(s *scene) string { return failover(s, "two") }, want: "InvalidDBClusterStateFault", moto: "-", ministack: "InvalidGlobalClusterStateFault", why: "not verified: both refuse"},
		{id: "aurora-failback", do: func(s *scene) string { return failover(s, "one") }, want: "us-east-1", moto: "-"},
		{id: "aurora-switchover", do: func(s *scene) string { return switchover(s, east, "two") }, want: "pending", moto: "-", ministack: "-"},
		{id: "aurora-switching-over", do: func(s *scene) string {
			s.pass(20 * time.Second)
			g, err := global(s)
			if err != nil || g.FailoverState == nil {
				return word("no state, writer in "+writer(s), err)
			}
			return string(g.FailoverState.Status) + ", writer in " + writer(s)
		}, want: "switching-over, writer in us-east-1", moto: "-", ministack: "-"},
		{id: "aurora-switched", do: func(s *scene) string {
			s.pass(time.Hour)
			g, err := global(s)
			if err != nil {
				return code(err)
			}
			return word(g.FailoverState == nil, nil) + " " + writer(s)
		}, want: "true us-west-2", moto: "-", ministack: "-"},
		{id: "aurora-switched-back", do: func(s *scene) string {
			if r := switchover(s, west, "one"); r != "pending" {
				return r
			}
			s.pass(time.Hour)
			return writer(s)
		}, want: "us-east-1", moto: "-", ministack: "-"},
		{id: "aurora-failover-unknown", do: func(s *scene) string {
			_, err := s.rds(east).FailoverGlobalCluster(s.ctx, &rds.FailoverGlobalClusterInput{GlobalClusterIdentifier: aws.String("nothing"), TargetDbClusterIdentifier: aws.String(s.seen["one"]), AllowDataLoss: aws.Bool(true)})
			return code(err)
		}, want: "GlobalClusterNotFoundFault", moto: "-"},
		{id: "aurora-snapshot", do: func(s *scene) string {
			out, err := s.rds(east).CreateDBClusterSnapshot(s.ctx, &rds.CreateDBClusterSnapshotInput{DBClusterIdentifier: aws.String("one"), DBClusterSnapshotIdentifier: aws.String("one-snap")})
			if err != nil {
				return code(err)
			}
			s.seen["one-snap"] = *out.DBClusterSnapshot.DBClusterSnapshotArn
			return *out.DBClusterSnapshot.Status
		}, want: "creating", moto: "available", ministack: "available", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "aurora-copy", do: func(s *scene) string {
			s.pass(time.Hour)
			out, err := s.rds(west).CopyDBClusterSnapshot(s.ctx, &rds.CopyDBClusterSnapshotInput{SourceDBClusterSnapshotIdentifier: aws.String(s.seen["one-snap"]), TargetDBClusterSnapshotIdentifier: aws.String("one-copy"), SourceRegion: aws.String(east)})
			if err != nil {
				return code(err)
			}
			return *out.DBClusterSnapshot.Status
		}, want: "copying", moto: "available", ministack: "-", why: "the fake: AWS takes its time, the emulators change everything at once"},
		{id: "aurora-restore", do: func(s *scene) string {
			s.pass(time.Hour)
			out, err := s.rds(west).RestoreDBClusterFromSnapshot(s.ctx, &rds.RestoreDBClusterFromSnapshotInput{DBClusterIdentifier: aws.String("back"), SnapshotIdentifier: aws.String("one-copy"), Engine: aws.String("aurora-mysql")})
			if err != nil {
				return code(err)
			}
			return *out.DBCluster.Status
		}, want: "creating", moto: "HTTP 500", ministack: "-", why: "the fake: moto fails on snapshots of members of global databases"},
		{id: "aurora-delete-full-global", do: func(s *scene) string {
			_, err := s.rds(east).DeleteGlobalCluster(s.ctx, &rds.DeleteGlobalClusterInput{GlobalClusterIdentifier: aws.String("world")})
			return code(err)
		}, want: "InvalidGlobalClusterStateFault"},
		{id: "aurora-remove", do: func(s *scene) string {
			_, err := s.rds(west).RemoveFromGlobalCluster(s.ctx, &rds.RemoveFromGlobalClusterInput{GlobalClusterIdentifier: aws.String("world"), DbClusterIdentifier: aws.String(s.seen["two"])})
			if err != nil {
				return code(err)
			}
			s.pass(time.Hour)
			out, err := s.rds(east).DescribeGlobalClusters(s.ctx, &rds.DescribeGlobalClustersInput{GlobalClusterIdentifier: aws.String("world")})
			if err != nil {
				return code(err)
			}
			return word(len(out.GlobalClusters[0].GlobalClusterMembers), nil)
		}, want: "1", moto: "2", why: "the fake and ministack: moto says ok and removes nothing"},
		{id: "aurora-delete-with-instances", do: func(s *scene) string {
			_, err := s.rds(west).DeleteDBCluster(s.ctx, &rds.DeleteDBClusterInput{DBClusterIdentifier: aws.String("two"), SkipFinalSnapshot: aws.Bool(true)})
			return code(err)
		}, want: "InvalidDBClusterStateFault"},
		{id: "aurora-unknown", do: func(s *scene) string {
			_, err := s.rds(west).DescribeDBClusters(s.ctx, &rds.DescribeDBClustersInput{DBClusterIdentifier: aws.String("nothing")})
			return code(err)
		}, want: "DBClusterNotFoundFault"},
	}
}

package awstest

import (
	"slices"
	"strings"
	"time"
)

func restoreActions() map[string]action {
	return map[string]action{
		"RestoreDBInstanceFromDBSnapshot":    {"DBInstanceIdentifier! DBSnapshotIdentifier! Engine" + instanceTakes, restoreSnapshot},
		"RestoreDBInstanceToPointInTime":     {"SourceDBInstanceIdentifier TargetDBInstanceIdentifier! RestoreTime UseLatestRestorableTime SourceDbiResourceId Engine" + instanceTakes, restoreTime},
		"CreateDBInstanceReadReplica":        {"DBInstanceIdentifier! SourceDBInstanceIdentifier! KmsKeyId PreSignedUrl" + instanceTakes, createReplica},
		"PromoteReadReplica":                 {"DBInstanceIdentifier! BackupRetentionPeriod PreferredBackupWindow", promoteReplica},
		"DescribeDBInstanceAutomatedBackups": {"DbiResourceId DBInstanceIdentifier Filters MaxRecords Marker", describeBackups},
	}
}

// revive makes an instance out of what a snapshot or a backup says, as the call wants it, and lets it come up.
func (c *call) revive(name string, i *dbInstance, data dataset) (any, error) {
	if err := c.adopt(i); err != nil {
		return nil, err
	}
	if err := c.enter(name, i); err != nil {
		return nil, err
	}
	i.data = data
	i.grow(c, restorePhases)
	return i.result(c), nil
}

func restoreSnapshot(c *call) (any, error) {
	s, err := c.sharedSnapshot(c.p.str("DBSnapshotIdentifier"))
	if err != nil {
		return nil, err
	}
	if s.Status != "available" {
		return nil, refuse("InvalidDBSnapshotState", "The snapshot %s is in the %s state, and cannot be restored.", s.DBSnapshotIdentifier, s.Status)
	}
	if s.Encrypted {
		if _, err := c.r.usableKey(s.KmsKeyId); err != nil {
			return nil, err
		}
	}
	i := &dbInstance{
		Engine: s.Engine, EngineVersion: s.EngineVersion, MasterUsername: s.MasterUsername, DBInstanceClass: s.class, AllocatedStorage: s.AllocatedStorage, StorageType: s.StorageType,
		Iops: s.Iops, StorageEncrypted: s.Encrypted, KmsKeyId: s.KmsKeyId, DBName: s.dbName, port: s.Port, BackupRetentionPeriod: 1,
		IAMDatabaseAuthenticationEnabled: s.IAMDatabaseAuthenticationEnabled,
	}
	if e := c.p.str("Engine"); e != "" && e != i.Engine {
		return nil, refuse("InvalidParameterCombination", "The snapshot is of engine %s, not %s", i.Engine, e)
	}
	return c.revive(c.p.str("DBInstanceIdentifier"), i, s.data)
}

// sharedSnapshot finds what is to be restored: of this region, this account's or shared with it.
func (c *call) sharedSnapshot(name string) (*dbSnapshot, error) {
	_, _, in, acct, resource := splitARN(name)
	if resource == "" || acct == c.account {
		return c.r.snapshotOf(name)
	}
	if in == c.r.name {
		if s, ok := c.w.region(acct, in).rds.snapshots.get(strings.TrimPrefix(resource, "snapshot:")); ok && slices.Contains(s.restores, c.account) {
			return s, nil
		}
	}
	return nil, gone("DBSnapshotNotFound", "DBSnapshot not found: %s", name)
}

func restoreTime(c *call) (any, error) {
	source, from, until, err := c.backupOf()
	if err != nil {
		return nil, err
	}
	at := until
	switch {
	case c.p.has("RestoreTime") == c.p.flag("UseLatestRestorableTime", false):
		return nil, refuse("InvalidParameterCombination", "Either RestoreTime or UseLatestRestorableTime has to be given.")
	case c.p.has("RestoreTime"):
		if at, err = c.p.when("RestoreTime"); err != nil {
			return nil, err
		}
		if at.After(until) || at.Before(from) {
			return nil, refuse("InvalidParameterValue", "The specified instance %s cannot be restored to a time later than %s or earlier than %s", source.DBInstanceIdentifier, iso(until), iso(from))
		}
	}
	i := &dbInstance{
		Engine: source.Engine, EngineVersion: source.EngineVersion, MasterUsername: source.MasterUsername, DBInstanceClass: source.DBInstanceClass, AllocatedStorage: source.AllocatedStorage,
		StorageType: source.StorageType, Iops: source.Iops, StorageEncrypted: source.StorageEncrypted, KmsKeyId: source.KmsKeyId, DBName: source.DBName, port: source.port, BackupRetentionPeriod: 1,
		MultiAZ: source.MultiAZ, CopyTagsToSnapshot: source.CopyTagsToSnapshot, IAMDatabaseAuthenticationEnabled: source.IAMDatabaseAuthenticationEnabled,
	}
	return c.revive(c.p.str("TargetDBInstanceIdentifier"), i, source.data.until(at))
}

// backupOf finds what can be restored to a time, and between which times.
func (c *call) backupOf() (source *dbInstance, from, until time.Time, err error) {
	if id := c.p.str("SourceDbiResourceId"); id != "" {
		if b, ok := c.r.rds.backups.get(id); ok {
			return &b.of, b.from, b.until, nil
		}
		for _, i := range c.r.rds.instances.all(c.now, 0) {
			if i.DbiResourceId == id {
				source = i
			}
		}
	} else if source, err = c.r.instance(c.p.str("SourceDBInstanceIdentifier")); err != nil {
		return nil, from, until, err
	}
	if source == nil {
		return nil, from, until, gone("DBInstanceAutomatedBackupNotFound", "No automated backup for DbiResourceId %s", c.p.str("SourceDbiResourceId"))
	}
	if source.BackupRetentionPeriod == 0 || source.Endpoint == nil {
		return nil, from, until, refuse("PointInTimeRestoreNotEnabled", "Point In Time Restore is not enabled for %s", source.DBInstanceIdentifier)
	}
	from = source.created
	if kept := c.now.AddDate(0, 0, -source.BackupRetentionPeriod); kept.After(from) {
		from = kept
	}
	return source, from, source.restorable(c.now), nil
}

func describeBackups(c *call) (any, error) {
	type window struct{ EarliestTime, LatestTime string }
	type backup struct {
		DBInstanceArn, DbiResourceId, Region, DBInstanceIdentifier string
		RestoreWindow                                              window
		Status, Engine, EngineVersion                              string
		Encrypted                                                  bool
		KmsKeyId                                                   string `xml:",omitempty"`
		BackupRetentionPeriod                                      int
	}
	var out struct {
		Backups []backup `xml:"DBInstanceAutomatedBackups>DBInstanceAutomatedBackup"`
	}
	add := func(i *dbInstance, status string, from, until time.Time) {
		id, resource := c.p.str("DBInstanceIdentifier"), c.p.str("DbiResourceId")
		if id != "" && !strings.EqualFold(id, i.DBInstanceIdentifier) || resource != "" && resource != i.DbiResourceId {
			return
		}
		out.Backups = append(out.Backups, backup{i.DBInstanceArn, i.DbiResourceId, i.r.name, i.DBInstanceIdentifier, window{iso(from), iso(until)}, status, i.Engine, i.EngineVersion, i.StorageEncrypted, i.KmsKeyId, i.BackupRetentionPeriod})
	}
	for _, i := range c.r.rds.instances.all(c.now, 0) {
		if i.BackupRetentionPeriod > 0 && i.Endpoint != nil && i.cluster == nil {
			add(i, "active", i.created, i.restorable(c.now))
		}
	}
	for _, b := range c.r.rds.backups.all(c.now, 0) {
		add(&b.of, b.Status, b.from, b.until)
	}
	return out, nil
}

// createReplica makes a replica in this region of an instance here or in another one.
func createReplica(c *call) (any, error) {
	p := c.p
	source, err := c.replicated(p.str("SourceDBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	abroad := source.r != c.r
	i := &dbInstance{
		Engine: source.Engine, EngineVersion: source.EngineVersion, MasterUsername: source.MasterUsername, DBInstanceClass: source.DBInstanceClass, AllocatedStorage: source.AllocatedStorage,
		StorageType: source.StorageType, Iops: source.Iops, StorageEncrypted: source.StorageEncrypted, KmsKeyId: source.KmsKeyId, DBName: source.DBName, port: source.port,
		CopyTagsToSnapshot: source.CopyTagsToSnapshot, IAMDatabaseAuthenticationEnabled: source.IAMDatabaseAuthenticationEnabled,
	}
	if !abroad && p.has("DBSubnetGroupName") {
		return nil, refuse("DBSubnetGroupNotAllowedFault", "DBSubnetGroupName can't be given for a replica in the source's region.")
	}
	if p.has("DBParameterGroupName") && !slices.ContainsFunc([]string{"mysql", "oracle", "db2"}, func(e string) bool { return strings.HasPrefix(source.Engine, e) }) {
		return nil, refuse("InvalidParameterCombination", "DBParameterGroupName can't be given for a replica of engine %s.", source.Engine)
	}
	if i.StorageEncrypted, i.KmsKeyId, err = c.copyKey(source.StorageEncrypted, source.KmsKeyId, source.r, abroad); err != nil {
		return nil, err
	}
	if i.StorageEncrypted && !source.StorageEncrypted {
		return nil, refuse("InvalidParameterCombination", "You can't create an encrypted replica of an unencrypted DB instance.")
	}
	if err := c.adopt(i); err != nil {
		return nil, err
	}
	if err := c.enter(p.str("DBInstanceIdentifier"), i); err != nil {
		return nil, err
	}
	i.source = source
	i.ReadReplicaSourceDBInstanceIdentifier = source.DBInstanceIdentifier
	if abroad {
		i.ReadReplicaSourceDBInstanceIdentifier = source.DBInstanceArn
	}
	source.ReadReplicaDBInstanceIdentifiers = append(slices.Clone(source.ReadReplicaDBInstanceIdentifiers), source.nameOf(i))
	i.grow(c, replicaPhases)
	return i.result(c), nil
}

// replicated finds the source of a replica, and refuses what cannot be one.
func (c *call) replicated(name string) (*dbInstance, error) {
	r := c.r
	if _, _, in, acct, resource := splitARN(name); resource != "" {
		if acct != c.account {
			return nil, gone("DBInstanceNotFound", "DBInstance %s not found.", name)
		}
		r = c.w.region(acct, in)
		name = strings.TrimPrefix(resource, "db:")
		if c.w.down(acct, in) {
			return nil, refuse("InvalidParameterValue", "The source region %s could not be reached", in)
		}
	}
	source, err := r.instance(name)
	if err != nil {
		return nil, err
	}
	if err := source.usable(); err != nil {
		return nil, err
	}
	if source.BackupRetentionPeriod == 0 {
		return nil, refuse("InvalidDBInstanceState", "Automated backups are not enabled for this database instance. To enable automated backups, use ModifyDBInstance to set the backup retention period to a non-zero value.")
	}
	if source.MasterUserSecret != nil && !strings.HasPrefix(source.Engine, "sqlserver") {
		return nil, refuse("InvalidDBInstanceState", "You can't create a read replica of a DB instance whose master user password is managed in Secrets Manager.")
	}
	if len(source.ReadReplicaDBInstanceIdentifiers) >= 15 {
		return nil, refuse("InstanceQuotaExceeded", "An instance can have at most 15 replicas")
	}
	return source, nil
}

// promoteReplica makes a replica an instance of its own: it keeps what had reached it.
func promoteReplica(c *call) (any, error) {
	i, err := c.r.instance(c.p.str("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	if i.source == nil || i.promoting {
		return nil, refuse("InvalidDBInstanceState", "DB Instance is not a read replica: %s", i.DBInstanceIdentifier)
	}
	if err := i.usable(); err != nil {
		return nil, err
	}
	retention := c.p.numOr("BackupRetentionPeriod", 1)
	source := i.source
	c.w.receive(&i.data, &source.data, i.DBInstanceArn, c.now)
	i.promoting = true
	i.run(c.action, promotePhases, c.now, func(at time.Time) {
		i.promoting = false
		i.independent()
		i.BackupRetentionPeriod = retention
		if retention > 0 {
			i.run("(backup after promotion)", backupPhases, at, func(at time.Time) { i.backUp(at) }, "available")
		}
	}, "failed")
	return i.result(c), nil
}

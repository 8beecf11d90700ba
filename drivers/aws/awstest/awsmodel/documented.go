package awsmodel

import "regexp"

// documented is a rule that AWS's documents have and its models have not.
type documented struct {
	min, max int
	form     *regexp.Regexp
	source   string
}

// The forms of names. RDS and ElastiCache take letters, digits and single hyphens, beginning with a letter; a snapshot that is copied may be
// named by its ARN.
var (
	rdsName  = regexp.MustCompile(`^[A-Za-z](-?[A-Za-z0-9])*$`)
	snapshot = regexp.MustCompile(`^([A-Za-z](-?[A-Za-z0-9])*|(rds|awsbackup):.+|arn:aws[a-z-]*:rds:.+)$`)
	tagText  = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

const (
	rdsReference   = "RDS API Reference, the parameter's constraints"
	cacheReference = "ElastiCache API Reference, the parameter's constraints"
)

// rules are those of requests, by structure and member.
var rules = map[string]documented{
	"CreateDBInstanceMessage.DBInstanceIdentifier":                     {1, 63, rdsName, rdsReference},
	"CreateDBInstanceReadReplicaMessage.DBInstanceIdentifier":          {1, 63, rdsName, rdsReference},
	"RestoreDBInstanceFromDBSnapshotMessage.DBInstanceIdentifier":      {1, 63, rdsName, rdsReference},
	"RestoreDBInstanceToPointInTimeMessage.TargetDBInstanceIdentifier": {1, 63, rdsName, rdsReference},
	"ModifyDBInstanceMessage.NewDBInstanceIdentifier":                  {1, 63, rdsName, rdsReference},
	"CreateDBSnapshotMessage.DBSnapshotIdentifier":                     {1, 255, rdsName, rdsReference},
	"CopyDBSnapshotMessage.TargetDBSnapshotIdentifier":                 {1, 255, rdsName, rdsReference},
	"CopyDBSnapshotMessage.SourceDBSnapshotIdentifier":                 {1, 2048, snapshot, rdsReference},
	"DeleteDBInstanceMessage.FinalDBSnapshotIdentifier":                {1, 255, rdsName, rdsReference},
	"CreateDBClusterMessage.DBClusterIdentifier":                       {1, 63, rdsName, rdsReference},
	"RestoreDBClusterFromSnapshotMessage.DBClusterIdentifier":          {1, 63, rdsName, rdsReference},
	"RestoreDBClusterToPointInTimeMessage.DBClusterIdentifier":         {1, 63, rdsName, rdsReference},
	"CreateDBClusterSnapshotMessage.DBClusterSnapshotIdentifier":       {1, 63, rdsName, rdsReference},
	"CopyDBClusterSnapshotMessage.TargetDBClusterSnapshotIdentifier":   {1, 63, rdsName, rdsReference},
	"DeleteDBClusterMessage.FinalDBSnapshotIdentifier":                 {1, 255, rdsName, rdsReference},
	"CreateDBSubnetGroupMessage.DBSubnetGroupName":                     {1, 255, regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._ -]*$`), rdsReference},
	"Tag.Key":   {1, 128, tagText, "RDS API Reference, Tag; ElastiCache User Guide, \"Tagging\""},
	"Tag.Value": {0, 256, tagText, "RDS API Reference, Tag, whose pattern takes an empty value; ElastiCache User Guide, \"Tagging\""},
	"CreateReplicationGroupMessage.ReplicationGroupId":                   {1, 40, rdsName, cacheReference},
	"CreateSnapshotMessage.SnapshotName":                                 {1, 255, rdsName, cacheReference},
	"CreateGlobalReplicationGroupMessage.GlobalReplicationGroupIdSuffix": {1, 40, regexp.MustCompile(`^[A-Za-z0-9-]+$`), cacheReference},
}

// tagsMax is how many tags a thing has at most (RDS User Guide, "Tagging Amazon RDS resources"; ElastiCache User Guide, "Tagging").
const tagsMax = 50

// common are error codes that any operation may answer with (each service's API Reference, "Common Errors"; AWS Signature Version 4,
// "Troubleshooting"; IAM, "Troubleshoot access denied"). What the fake cannot do itself it says by NotImplemented.
var common = map[string]bool{
	"AccessDenied": true, "AccessDeniedException": true, "AuthFailure": true, "ExpiredToken": true, "ExpiredTokenException": true, "IncompleteSignature": true, "InternalFailure": true,
	"InvalidAction": true, "InvalidClientTokenId": true, "InvalidParameterCombination": true, "InvalidParameterValue": true, "InvalidSignatureException": true, "MalformedQueryString": true,
	"MissingAuthenticationToken": true, "MissingParameter": true, "NotImplemented": true, "OptInRequired": true, "RequestExpired": true, "RequestLimitExceeded": true, "SerializationException": true,
	"ServiceUnavailable": true, "SignatureDoesNotMatch": true, "Throttling": true, "ThrottlingException": true, "TooManyRequestsException": true, "UnauthorizedOperation": true,
	"UnrecognizedClientException": true, "ValidationError": true, "ValidationException": true,
}

// states are what a status can be, where the models have texts.
var states = map[string][]string{
	// RDS User Guide, "Viewing Amazon RDS DB instance status"; Aurora User Guide, "Viewing DB instance status in an Aurora cluster".
	"DBInstance.DBInstanceStatus": {"available", "backing-up", "backtracking", "configuring-enhanced-monitoring", "configuring-iam-database-auth", "configuring-log-exports", "converting-to-vpc",
		"creating", "delete-precheck", "deleting", "failed", "inaccessible-encryption-credentials", "inaccessible-encryption-credentials-recoverable", "incompatible-create",
		"incompatible-network", "incompatible-option-group", "incompatible-parameters", "incompatible-restore", "insufficient-capacity", "maintenance", "modifying", "moving-to-vpc",
		"rebooting", "renaming", "resetting-master-credentials", "restore-error", "starting", "stopped", "stopping", "storage-config-upgrade", "storage-full", "storage-initialization",
		"storage-optimization", "upgrade-failed", "upgrading"},
	// Aurora User Guide, "Viewing DB cluster status"; failed, incompatible-parameters and incompatible-restore: the SDK's waiter DBClusterAvailable.
	"DBCluster.Status": {"available", "backing-up", "backtracking", "cloning-failed", "creating", "deleting", "failed", "failing-over", "incompatible-parameters", "incompatible-restore", "inaccessible-encryption-credentials",
		"inaccessible-encryption-credentials-recoverable", "maintenance", "migrating", "migration-failed", "modifying", "preparing-data-migration", "promoting", "rebooting", "renaming",
		"resetting-master-credentials", "starting", "stopped", "stopping", "storage-optimization", "update-iam-db-auth", "upgrading"},
	// RDS API Reference, DBSnapshot, and the SDK's waiters DBSnapshotAvailable and DBSnapshotDeleted; copies: RDS User Guide, "Copying a DB snapshot".
	"DBSnapshot.Status":        {"available", "copying", "creating", "deleted", "deleting", "failed", "pending"},
	"DBClusterSnapshot.Status": {"available", "copying", "creating", "deleted", "deleting", "failed", "pending"},
	// Aurora User Guide, "Managing an Aurora global database", and the SDK's type FailoverStatus for FailoverState.
	"GlobalCluster.Status": {"available", "creating", "deleting", "failing-over", "modifying", "switching-over", "upgrading"},
	// ElastiCache API Reference: ReplicationGroup, CacheCluster, Snapshot, GlobalReplicationGroup, GlobalReplicationGroupMember, NodeGroup.
	// The SDK's model, FailoverState, whose text has one more than its type.
	"FailoverState.Status":                {"cancelling", "failing-over", "pending", "switching-over"},
	"ReplicationGroup.Status":             {"available", "create-failed", "creating", "deleting", "modifying", "snapshotting"},
	"NodeGroup.Status":                    {"available", "creating", "deleting", "modifying"},
	"CacheCluster.CacheClusterStatus":     {"available", "creating", "deleted", "deleting", "incompatible-network", "modifying", "rebooting cluster nodes", "restore-failed", "snapshotting"},
	"Snapshot.SnapshotStatus":             {"available", "copying", "creating", "deleting", "failed", "restoring"},
	"GlobalReplicationGroup.Status":       {"available", "creating", "deleting", "modifying", "primary-only"},
	"GlobalReplicationGroupMember.Status": {"associated", "associating", "disassociated", "disassociating"},
	"GlobalReplicationGroupMember.Role":   {"PRIMARY", "SECONDARY"},
	// The model knows active alone; the fake shows how a change comes about, which drivers wait for.
	"VpcSecurityGroupMembership.Status":             {"active", "adding", "removing"},
	"DBInstanceStatusInfo.Status":                   {"error", "replicating", "replication stop point reached", "replication stop point set", "stopped", "terminated"},
	"DBParameterGroupStatus.ParameterApplyStatus":   {"applying", "failed-to-apply", "in-sync", "pending-database-upgrade", "pending-reboot"},
	"DBClusterMember.DBClusterParameterGroupStatus": {"applying", "in-sync", "pending-reboot"},
	"MasterUserSecret.SecretStatus":                 {"active", "creating", "impaired", "rotating"},
	"DBInstanceAutomatedBackup.Status":              {"active", "creating", "retained"},
	"Subnet.SubnetStatus":                           {"Active"},
	"DBSubnetGroup.SubnetGroupStatus":               {"Complete"},
}

// Tomorrow is a state that no document has. Watchers let it pass, for tests of how drivers take what they do not know.
const Tomorrow = "of-tomorrow"

// States are the states that AWS documents for a structure's member ("DBInstance.DBInstanceStatus"), nil when it documents none. The
// caller does not change them.
func States(of string) []string { return states[of] }

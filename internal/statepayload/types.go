package statepayload

// The framework's types. What it does with each, and what it asks for, is read in its own code
// (aws-samples/aws-cross-region-dr-databases, MIT-0).
const (
	PlannedFailoverAurora          = "PlannedFailoverAurora"
	UnPlannedFailoverAurora        = "UnPlannedFailoverAurora"
	PromoteRDSReadReplica          = "PromoteRDSReadReplica"
	FailoverElastiCacheCluster     = "FailoverElastiCacheCluster"
	CreateRDSReadReplica           = "CreateRDSReadReplica"
	CreateAuroraSecondaryDBCluster = "CreateAuroraSecondaryDBCluster"
)

// older are the names of the framework's first version.
var older = map[string]string{
	"PlannedFailoverAuroraMySQL":   PlannedFailoverAurora,
	"UnPlannedFailoverAuroraMySQL": UnPlannedFailoverAurora,
	"PromoteRDSMySQLReadReplica":   PromoteRDSReadReplica,
	"CreateRDSMySQLReadReplica":    CreateRDSReadReplica,
}

// use is what Lifeboat does with a parameter.
type use int

const (
	needed use = iota // it cannot do without
	used              // when it is there
	copied            // the serving database's own is taken
	unset             // nothing: what is made does not get it
	unread            // nothing, as in the framework
)

// shape is what a parameter's value must look like.
type shape int

const (
	anything shape = iota
	truth          // true or false
	several        // one or more, with commas between them
	count          // a number
	named          // the name of a database, or its ARN
)

// parameter is one of a type.
type parameter struct {
	name  string
	use   use
	shape shape
	// wanted: the framework fails without it.
	wanted bool
}

// kind is one of the framework's types.
type kind struct {
	name       string
	back       bool // it belongs to the framework's FAILBACK machine
	original   string
	lifeboat   string
	parameters []parameter
}

func (k *kind) parameter(name string) (parameter, bool) {
	for _, p := range k.parameters {
		if p.name == name {
			return p, true
		}
	}
	return parameter{}, false
}

// kinds are all of them.
var kinds = []kind{
	{
		name:     PlannedFailoverAurora,
		original: "FailoverGlobalCluster, then waits until the cluster is \"available\", which it is before and after, whatever became of the roles",
		lifeboat: "aws.aurora.global, planned: SwitchoverGlobalCluster, over when the roles have changed, the old writer follows, and both are connected",
		parameters: []parameter{
			{"GlobalClusterIdentifier", needed, anything, true}, {"DBClusterIdentifier", needed, named, true},
		},
	},
	{
		name:     UnPlannedFailoverAurora,
		original: "RemoveFromGlobalCluster: the cluster is detached, the global database broken, and the old writer goes on taking writes",
		lifeboat: "aws.aurora.global, unplanned: FailoverGlobalCluster with allowed data loss, which keeps the global database and takes the writer's role from the old cluster; it is detached only where AWS cannot do that, and a person says so",
		parameters: []parameter{
			{"GlobalClusterIdentifier", needed, anything, true}, {"DBClusterIdentifier", needed, named, true}, {"ClusterRegion", needed, anything, true},
		},
	},
	{
		name:     PromoteRDSReadReplica,
		original: "PromoteReadReplica, then waits until the instance is \"available\"; run again it fails, and the machine waits for ever",
		lifeboat: "aws.rds.instance, unplanned: the source is fenced (or a person accepts in writing that it is not), the replica promoted, over when it follows nothing and takes writes",
		parameters: []parameter{
			{"RDSInstanceIdentifier", needed, named, true}, {"TargetClusterIdentifier", unread, anything, false},
		},
	},
	{
		name:     FailoverElastiCacheCluster,
		original: "FailoverGlobalReplicationGroup, then asks at once whether the datastore is \"available\", which it still is before anything has begun",
		lifeboat: "aws.elasticache.global, unplanned: FailoverGlobalReplicationGroup, over when the members' roles have changed",
		parameters: []parameter{
			{"GlobalReplicationGroupId", needed, anything, true}, {"TargetRegion", needed, anything, true}, {"TargetReplicationGroupId", needed, anything, true},
		},
	},
	{
		name: CreateRDSReadReplica, back: true,
		original: "deletes the old instance with a final snapshot that nobody has tried, and creates a replica of the serving one under its name",
		lifeboat: "aws.rds.instance: after an approval, the old instance's last state is kept as a snapshot, which is restored apart to prove it; only then is the instance deleted and made again as a replica, over when it follows",
		parameters: []parameter{
			{"RDSInstanceIdentifier", needed, named, true}, {"SourceRDSInstanceIdentifier", needed, named, true}, {"SourceRegion", needed, anything, true},
			{"MultiAZ", used, truth, true}, {"DBInstanceClass", used, anything, true}, {"DBSubnetGroup", used, anything, true}, {"DBSecurityGroup", used, several, true},
			{"KmsKeyId", used, anything, true}, {"Port", used, count, true}, {"DeletionProtection", used, truth, false}, {"BackupRetentionPeriod", used, count, false},
			{"StorageEncrypted", copied, truth, false}, {"MonitoringInterval", unset, count, true}, {"MonitoringRoleArn", unset, anything, true},
			{"EnableIAMDatabaseAuthentication", unset, truth, true}, {"CopyTagsToSnapshot", unset, truth, true}, {"AutoMinorVersionUpgrade", unset, truth, true},
			{"TargetClusterIdentifier", unread, anything, false},
		},
	},
	{
		name: CreateAuroraSecondaryDBCluster, back: true,
		original: "deletes the old cluster's one instance and then the old cluster WITHOUT a snapshot, deletes the global database, and makes all three again",
		lifeboat: "aws.aurora.global: a cluster that follows is left as it is; one that was detached is kept as a snapshot, which is restored apart to prove it, and only then, after an approval, deleted and made again with all its instances",
		parameters: []parameter{
			{"GlobalClusterIdentifier", needed, anything, true}, {"DBClusterIdentifier", needed, named, true}, {"SourceDBClusterIdentifier", needed, named, true},
			{"SourceRegion", needed, anything, true}, {"ClusterRegion", needed, anything, true}, {"DBSubnetGroupName", needed, anything, true},
			{"DBClusterName", used, anything, true}, {"DBInstanceClass", used, anything, true}, {"VpcSecurityGroupIds", used, several, true}, {"KmsKeyId", used, anything, true},
			{"DeletionProtection", used, truth, true}, {"Port", copied, count, true}, {"Engine", copied, anything, true}, {"EngineVersion", copied, anything, true},
			{"BackupRetentionPeriod", copied, count, true}, {"StorageEncrypted", copied, truth, true}, {"EnableIAMDatabaseAuthentication", copied, truth, true},
			{"CopyTagsToSnapshot", copied, truth, true}, {"DBInstanceIdentifier", unset, anything, true}, {"MonitoringInterval", unset, count, true},
			{"MonitoringRoleArn", unset, anything, true}, {"AutoMinorVersionUpgrade", unset, truth, true},
		},
	},
}

// kindOf finds a type by its name or an older one.
func kindOf(name string) *kind {
	if now, ok := older[name]; ok {
		name = now
	}
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// Types are the names of the framework's types, those of its first version too.
func Types() []string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.name)
	}
	for name := range older {
		out = append(out, name)
	}
	return out
}

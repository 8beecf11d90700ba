package awstest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// rdsState is what RDS keeps of an account in a region.
type rdsState struct {
	instances        table[*dbInstance]
	snapshots        table[*dbSnapshot]
	clusters         table[*dbCluster]
	clusterSnapshots table[*clusterSnapshot]
	backups          table[*automatedBackup]
	subnetGroups     table[*dbSubnetGroup]
	parameterGroups  table[*parameterGroup]
	clusterGroups    table[*parameterGroup]
	optionGroups     table[*optionGroup]
	quotas           map[string]int
}

type endpoint struct {
	Address      string
	Port         int
	HostedZoneId string `xml:",omitempty"`
}

type groupMember struct{ VpcSecurityGroupId, Status string }

type parameterMember struct{ DBParameterGroupName, ParameterApplyStatus string }

type optionMember struct{ OptionGroupName, Status string }

type statusInfo struct {
	StatusType string
	Normal     bool
	Status     string
	Message    string `xml:",omitempty"`
}

// dbInstance is an instance as the API shows it. What is not exported is not shown.
type dbInstance struct {
	DBInstanceIdentifier                  string
	DBInstanceClass                       string
	Engine                                string
	DBInstanceStatus                      string
	MasterUsername                        string    `xml:",omitempty"`
	DBName                                string    `xml:",omitempty"`
	Endpoint                              *endpoint `xml:",omitempty"`
	AllocatedStorage                      int
	InstanceCreateTime                    string `xml:",omitempty"`
	PreferredBackupWindow                 string `xml:",omitempty"`
	BackupRetentionPeriod                 int
	VpcSecurityGroups                     []groupMember     `xml:"VpcSecurityGroups>VpcSecurityGroupMembership"`
	DBParameterGroups                     []parameterMember `xml:"DBParameterGroups>DBParameterGroup"`
	AvailabilityZone                      string            `xml:",omitempty"`
	DBSubnetGroup                         *dbSubnetGroup    `xml:",omitempty"`
	PreferredMaintenanceWindow            string            `xml:",omitempty"`
	LatestRestorableTime                  string            `xml:",omitempty"`
	MultiAZ                               bool
	EngineVersion                         string
	AutoMinorVersionUpgrade               bool
	ReadReplicaSourceDBInstanceIdentifier string         `xml:",omitempty"`
	ReadReplicaDBInstanceIdentifiers      []string       `xml:"ReadReplicaDBInstanceIdentifiers>ReadReplicaDBInstanceIdentifier"`
	LicenseModel                          string         `xml:",omitempty"`
	OptionGroupMemberships                []optionMember `xml:"OptionGroupMemberships>OptionGroupMembership"`
	PubliclyAccessible                    bool
	StatusInfos                           []statusInfo `xml:"StatusInfos>DBInstanceStatusInfo,omitempty"`
	StorageType                           string       `xml:",omitempty"`
	Iops                                  int          `xml:",omitempty"`
	DbInstancePort                        int
	DBClusterIdentifier                   string `xml:",omitempty"`
	StorageEncrypted                      bool
	KmsKeyId                              string `xml:",omitempty"`
	DbiResourceId                         string
	CACertificateIdentifier               string
	CertificateDetails                    *certificate `xml:",omitempty"`
	CopyTagsToSnapshot                    bool
	MonitoringInterval                    int
	MonitoringRoleArn                     string `xml:",omitempty"`
	PromotionTier                         int    `xml:",omitempty"`
	DBInstanceArn                         string
	IAMDatabaseAuthenticationEnabled      bool
	DeletionProtection                    bool
	TagList                               []tag         `xml:"TagList>Tag"`
	MasterUserSecret                      *masterSecret `xml:",omitempty"`

	r         *region
	port      int
	created   time.Time
	up        time.Time   // when it first could be reached
	source    *dbInstance // it is a replica of
	promoting bool
	cluster   *dbCluster
	data      dataset
	gone      bool
}

type masterSecret struct{ SecretArn, SecretStatus, KmsKeyId string }

// The phases of transitions. Their lengths are of the order that is seen with small databases.
var (
	createPhases  = []Phase{{"creating", 5 * time.Minute}, {"backing-up", 2 * time.Minute}}
	modifyPhases  = []Phase{{"modifying", time.Minute}}
	deletePhases  = []Phase{{"deleting", 3 * time.Minute}}
	rebootPhases  = []Phase{{"rebooting", time.Minute}}
	restorePhases = []Phase{{"creating", 8 * time.Minute}, {"backing-up", 2 * time.Minute}}
	replicaPhases = []Phase{{"creating", 10 * time.Minute}}
	// promotePhases begin with a moment in which nothing is to be seen of it yet, as with AWS: who looks too early
	// sees an available instance.
	promotePhases = []Phase{{"available", 5 * time.Second}, {"modifying", 30 * time.Second}, {"rebooting", time.Minute}}
	backupPhases  = []Phase{{"backing-up", 2 * time.Minute}}
)

const instanceTakes = " DBInstanceClass Port AvailabilityZone DBSubnetGroupName MultiAZ PubliclyAccessible AutoMinorVersionUpgrade LicenseModel Iops OptionGroupName Tags StorageType" +
	" VpcSecurityGroupIds CopyTagsToSnapshot EnableIAMDatabaseAuthentication DBParameterGroupName DeletionProtection BackupRetentionPeriod PreferredBackupWindow AllocatedStorage DBName" +
	" MonitoringInterval MonitoringRoleArn CACertificateIdentifier ManageMasterUserPassword MasterUserSecretKmsKeyId"

func instanceActions() map[string]action {
	return map[string]action{
		"CreateDBInstance":    {"DBInstanceIdentifier! DBInstanceClass! Engine! EngineVersion MasterUsername MasterUserPassword StorageEncrypted KmsKeyId DBClusterIdentifier PromotionTier PreferredMaintenanceWindow" + instanceTakes, createInstance},
		"DescribeDBInstances": {"DBInstanceIdentifier Filters MaxRecords Marker", describeInstances},
		"ModifyDBInstance": {"DBInstanceIdentifier! ApplyImmediately DBInstanceClass AllocatedStorage DBSubnetGroupName VpcSecurityGroupIds MasterUserPassword DBParameterGroupName BackupRetentionPeriod" +
			" PreferredBackupWindow MultiAZ EngineVersion AllowMajorVersionUpgrade OptionGroupName NewDBInstanceIdentifier CopyTagsToSnapshot DeletionProtection ManageMasterUserPassword RotateMasterUserPassword" +
			" MasterUserSecretKmsKeyId PubliclyAccessible EnableIAMDatabaseAuthentication MonitoringInterval MonitoringRoleArn", modifyInstance},
		"DeleteDBInstance": {"DBInstanceIdentifier! SkipFinalSnapshot FinalDBSnapshotIdentifier DeleteAutomatedBackups", deleteInstance},
		"RebootDBInstance": {"DBInstanceIdentifier! ForceFailover", rebootInstance},
	}
}

var identifier = regexp.MustCompile(`^[A-Za-z](-?[A-Za-z0-9])*$`)

// validName refuses identifiers that RDS refuses.
func validName(parameter, name string) error {
	if !identifier.MatchString(name) || len(name) > 63 && parameter != "DBSnapshotIdentifier" || len(name) > 255 {
		return refuse("InvalidParameterValue", "The parameter %s is not a valid identifier. Identifiers must begin with a letter; must contain only ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens.", parameter)
	}
	return nil
}

// instance finds one by name or ARN.
func (r *region) instance(name string) (*dbInstance, error) {
	if _, _, in, acct, resource := splitARN(name); resource != "" {
		if in != r.name || acct != r.acct.id {
			return nil, gone("DBInstanceNotFound", "DBInstance %s not found.", name)
		}
		name = strings.TrimPrefix(resource, "db:")
	}
	i, ok := r.rds.instances.get(name)
	if !ok {
		return nil, gone("DBInstanceNotFound", "DBInstance %s not found.", name)
	}
	return i, nil
}

func describeInstances(c *call) (any, error) {
	var out struct {
		Marker      string        `xml:",omitempty"`
		DBInstances []*dbInstance `xml:"DBInstances>DBInstance"`
	}
	if name := c.p.str("DBInstanceIdentifier"); name != "" {
		i, err := c.r.instance(name)
		if err != nil {
			return nil, err
		}
		out.DBInstances = []*dbInstance{i.shown(c.now)}
		return out, nil
	}
	found := c.r.rds.instances.all(c.now, c.w.opts.Lag)
	for name, values := range c.p.filters("Filters") {
		var of func(i *dbInstance) []string
		switch name {
		case "db-instance-id":
			of = func(i *dbInstance) []string { return []string{i.DBInstanceIdentifier, i.DBInstanceArn} }
		case "db-cluster-id":
			of = func(i *dbInstance) []string { return []string{i.DBClusterIdentifier} }
		case "engine":
			of = func(i *dbInstance) []string { return []string{i.Engine} }
		case "dbi-resource-id":
			of = func(i *dbInstance) []string { return []string{i.DbiResourceId} }
		default:
			return nil, refuse("InvalidParameterValue", "Unrecognized filter name: %s", name)
		}
		found = slices.DeleteFunc(found, func(i *dbInstance) bool {
			return !slices.ContainsFunc(of(i), func(v string) bool { return slices.Contains(values, v) })
		})
	}
	page, marker, err := paged(c, found, func(i *dbInstance) string { return i.DBInstanceIdentifier })
	if err != nil {
		return nil, err
	}
	for _, i := range page {
		out.DBInstances = append(out.DBInstances, i.shown(c.now))
	}
	out.Marker = marker
	return out, nil
}

// paged is the page that MaxRecords and Marker ask for.
func paged[T any](c *call, items []T, name func(T) string) (page []T, marker string, err error) {
	limit := 100
	if n, ok := c.p.num("MaxRecords"); ok {
		if n < 20 || n > 100 {
			return nil, "", refuse("InvalidParameterValue", "Invalid value %d for MaxRecords. Must be between 20 and 100", n)
		}
		limit = n
	}
	if m := c.p.str("Marker"); m != "" {
		at := slices.IndexFunc(items, func(i T) bool { return name(i) == m })
		if at < 0 {
			return nil, "", refuse("InvalidParameterValue", "The parameter Marker is invalid")
		}
		items = items[at:]
	}
	if len(items) > limit {
		return items[:limit], name(items[limit]), nil
	}
	return items, "", nil
}

// shown is how the instance looks now.
func (i *dbInstance) shown(now time.Time) *dbInstance {
	s := *i
	if i.BackupRetentionPeriod > 0 && i.Endpoint != nil && i.source == nil && i.cluster == nil {
		s.LatestRestorableTime = iso(i.restorable(now))
	}
	if i.source != nil {
		info := statusInfo{"read replication", true, "replicating", ""}
		switch {
		case i.source.gone:
			info = statusInfo{"read replication", false, "terminated", "the source was deleted"}
		case i.r.w.lagAt(i.DBInstanceArn, now) < 0:
			info = statusInfo{"read replication", false, "error", "replication is broken"}
		}
		s.StatusInfos = []statusInfo{info}
	}
	return &s
}

// restorable is the latest time that the instance can be restored to: within the last five minutes (RDS User Guide, "Restoring
// to a specified time").
func (i *dbInstance) restorable(now time.Time) time.Time {
	return now.Add(-5 * time.Minute).Truncate(5 * time.Minute)
}

// adopt takes over what calls that make instances have in common. Refusals leave nothing behind.
func (c *call) adopt(i *dbInstance) error {
	p := c.p
	i.r = c.r
	i.DBInstanceClass = p.strOr("DBInstanceClass", i.DBInstanceClass)
	i.AllocatedStorage = p.numOr("AllocatedStorage", i.AllocatedStorage)
	i.port = p.numOr("Port", i.port)
	i.MultiAZ = p.flag("MultiAZ", i.MultiAZ)
	i.PubliclyAccessible = p.flag("PubliclyAccessible", false)
	i.AutoMinorVersionUpgrade = p.flag("AutoMinorVersionUpgrade", true)
	i.StorageType = p.strOr("StorageType", i.StorageType)
	i.Iops = p.numOr("Iops", i.Iops)
	i.CopyTagsToSnapshot = p.flag("CopyTagsToSnapshot", i.CopyTagsToSnapshot)
	i.DeletionProtection = p.flag("DeletionProtection", false)
	i.IAMDatabaseAuthenticationEnabled = p.flag("EnableIAMDatabaseAuthentication", i.IAMDatabaseAuthenticationEnabled)
	i.BackupRetentionPeriod = p.numOr("BackupRetentionPeriod", i.BackupRetentionPeriod)
	i.PreferredBackupWindow = p.strOr("PreferredBackupWindow", "03:00-03:30")
	i.PreferredMaintenanceWindow = p.strOr("PreferredMaintenanceWindow", "sun:05:00-sun:05:30")
	i.DBName = p.strOr("DBName", i.DBName)
	i.MonitoringInterval = p.numOr("MonitoringInterval", 0)
	i.MonitoringRoleArn = p.str("MonitoringRoleArn")
	i.CACertificateIdentifier = p.strOr("CACertificateIdentifier", "rds-ca-rsa2048-g1")
	i.CertificateDetails = &certificate{i.CACertificateIdentifier, iso(c.now.Add(certificateYears))}
	i.TagList = p.tags("Tags")
	i.LicenseModel = license(i.Engine)
	if i.BackupRetentionPeriod < 0 || i.BackupRetentionPeriod > 35 {
		return refuse("InvalidParameterValue", "Invalid backup retention period: %d. Must be between 0 and 35", i.BackupRetentionPeriod)
	}
	if p.flag("ManageMasterUserPassword", false) {
		i.secret(c)
	}
	return c.placed(i)
}

// certificate is the one that an instance shows to clients.
type certificate struct{ CAIdentifier, ValidTill string }

// certificateYears is for how long RDS makes them, as far as the authority itself lasts (RDS User Guide, "Using SSL/TLS").
const certificateYears = 365 * 24 * time.Hour

// Certificate lets an instance's certificate end at an instant, by the instance's ARN.
func (w *World) Certificate(arn string, till time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	_, _, in, acct, resource := splitARN(arn)
	i, ok := w.region(acct, in).rds.instances.get(strings.TrimPrefix(resource, "db:"))
	if !ok {
		return gone("DBInstanceNotFound", "DBInstance %s not found.", arn)
	}
	i.CertificateDetails = &certificate{i.CACertificateIdentifier, iso(till)}
	return nil
}

// secret gives the instance a managed master password.
func (i *dbInstance) secret(c *call) {
	i.MasterUserSecret = &masterSecret{c.r.arn("secretsmanager", fmt.Sprintf("secret:rds!db-%08x-AbCdEf", c.w.next())), "active", c.p.strOr("MasterUserSecretKmsKeyId", c.r.key("aws/secretsmanager"))}
}

// placed finds the groups that the instance is to be in, and refuses what the region has not.
func (c *call) placed(i *dbInstance) error {
	r, p := c.r, c.p
	if err := r.offers(i.Engine, i.EngineVersion, i.DBInstanceClass); err != nil {
		return err
	}
	sg, ok := r.rds.subnetGroups.get(p.strOr("DBSubnetGroupName", "default"))
	if !ok {
		return gone("DBSubnetGroupNotFoundFault", "DBSubnetGroup '%s' does not exist.", p.str("DBSubnetGroupName"))
	}
	i.DBSubnetGroup = sg
	i.AvailabilityZone = p.strOr("AvailabilityZone", sg.Subnets[0].SubnetAvailabilityZone.Name)
	if err := r.guard(i, p); err != nil {
		return err
	}
	family := familyOf(i.Engine, i.EngineVersion)
	name := p.strOr("DBParameterGroupName", "default."+family)
	pg, ok := r.rds.parameterGroups.get(name)
	if !ok {
		return gone("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
	}
	if pg.DBParameterGroupFamily != family {
		return refuse("InvalidParameterCombination", "The Parameter Group %s with DBParameterGroupFamily %s can't be used for this instance. Use a Parameter Group with DBParameterGroupFamily %s", name, pg.DBParameterGroupFamily, family)
	}
	i.DBParameterGroups = []parameterMember{{pg.DBParameterGroupName, "in-sync"}}
	option := p.strOr("OptionGroupName", "default:"+i.Engine+"-"+strings.ReplaceAll(major(i.Engine, i.EngineVersion), ".", "-"))
	if _, ok := r.rds.optionGroups.get(option); !ok {
		return gone("OptionGroupNotFoundFault", "Specified OptionGroupName: %s not found.", option)
	}
	i.OptionGroupMemberships = []optionMember{{option, "in-sync"}}
	return nil
}

// guard sets the security groups.
func (r *region) guard(i *dbInstance, p params) error {
	ids := p.list("VpcSecurityGroupIds")
	if ids == nil {
		ids = []string{r.net.groups[0].GroupId}
	}
	i.VpcSecurityGroups = nil
	for _, id := range ids {
		if !slices.ContainsFunc(r.net.groups, func(g securityGroup) bool { return g.GroupId == id }) {
			return refuse("InvalidParameterValue", "Invalid security group , groupId= %s, groupName=.", id)
		}
		i.VpcSecurityGroups = append(i.VpcSecurityGroups, groupMember{id, "active"})
	}
	return nil
}

// enter puts a new instance among the others.
func (c *call) enter(name string, i *dbInstance) error {
	if err := validName("DBInstanceIdentifier", name); err != nil {
		return err
	}
	if _, ok := c.r.rds.instances.get(name); ok {
		return refuse("DBInstanceAlreadyExists", "DB instance already exists")
	}
	if err := c.r.quota("DBInstances", len(c.r.rds.instances.live), "InstanceQuotaExceeded"); err != nil {
		return err
	}
	i.DBInstanceIdentifier = strings.ToLower(name)
	i.DBInstanceArn = c.r.arn("rds", "db:"+i.DBInstanceIdentifier)
	i.DbiResourceId = fmt.Sprintf("db-%026X", c.w.next())
	i.created = c.now
	c.r.rds.instances.put(c.now, name, i)
	return nil
}

// grow lets a new instance come up.
func (i *dbInstance) grow(c *call, phases []Phase) {
	if i.BackupRetentionPeriod == 0 && phases[len(phases)-1].Status == "backing-up" {
		phases = phases[:len(phases)-1]
	}
	i.run(c.action, phases, c.now, func(at time.Time) {
		if i.BackupRetentionPeriod > 0 && i.cluster == nil && i.source == nil {
			i.backUp(at)
		}
	}, "failed")
}

// run lets a transition of the instance begin that ends in "available". Its end counts even if it is failed.
func (i *dbInstance) run(action string, phases []Phase, now time.Time, end func(at time.Time), failed string) {
	transition{
		r: i.r, action: action, name: i.DBInstanceIdentifier, phases: phases,
		set: func(status string, at time.Time) {
			i.DBInstanceStatus = status
			if status != "creating" {
				i.reachable(at)
			}
		},
		done: func(at time.Time) {
			i.reachable(at)
			i.DBInstanceStatus = "available"
			if end != nil {
				end(at)
			}
		},
		failed: func(time.Time) { i.DBInstanceStatus = failed },
		alive:  func() bool { return !i.gone && (i.DBInstanceStatus != "deleting" || action == "DeleteDBInstance") },
	}.begin(now)
}

// reachable gives the instance its endpoint, which it has once it was created.
func (i *dbInstance) reachable(at time.Time) {
	if i.Endpoint != nil || i.DBInstanceStatus == "deleting" {
		return
	}
	i.Endpoint = &endpoint{i.DBInstanceIdentifier + "." + i.r.unique() + "." + i.r.name + ".rds." + suffix(i.r.name), i.port, "Z1R8UBAEXAMPLE"}
	i.InstanceCreateTime, i.up = iso(at), at
}

// unique is the part of endpoints that stands for the account and the region.
func (r *region) unique() string { return "c" + r.acct.id[:4] + hash([]byte(r.acct.id + r.name))[:7] }

func createInstance(c *call) (any, error) {
	p := c.p
	i := &dbInstance{
		Engine: p.str("Engine"), EngineVersion: p.str("EngineVersion"), MasterUsername: p.str("MasterUsername"), StorageType: "gp3", BackupRetentionPeriod: 1,
		StorageEncrypted: p.flag("StorageEncrypted", false) || p.has("KmsKeyId"), PromotionTier: p.numOr("PromotionTier", 0),
	}
	if id := p.str("DBClusterIdentifier"); id != "" {
		return c.createMember(id, i)
	}
	if strings.HasPrefix(i.Engine, "aurora") {
		return nil, refuse("InvalidParameterCombination", "Set the DB cluster identifier of a DB instance of engine %s", i.Engine)
	}
	var err error
	if i.EngineVersion, err = c.r.version(i.Engine, i.EngineVersion); err != nil {
		return nil, err
	}
	i.port = defaultPort(i.Engine)
	if i.StorageEncrypted {
		if i.KmsKeyId, err = c.r.usableKey(p.strOr("KmsKeyId", "alias/aws/rds")); err != nil {
			return nil, err
		}
	}
	if !p.has("AllocatedStorage") || i.MasterUsername == "" || !p.has("MasterUserPassword") && !p.flag("ManageMasterUserPassword", false) {
		return nil, refuse("InvalidParameterValue", "AllocatedStorage, MasterUsername and MasterUserPassword must be provided for %s", i.Engine)
	}
	if err := c.adopt(i); err != nil {
		return nil, err
	}
	if err := c.enter(p.str("DBInstanceIdentifier"), i); err != nil {
		return nil, err
	}
	i.grow(c, createPhases)
	return i.result(c), nil
}

// result is the answer of calls that change an instance.
func (i *dbInstance) result(c *call) any {
	return struct{ DBInstance *dbInstance }{i.shown(c.now)}
}

// usable refuses an instance that is not available, in RDS's words.
func (i *dbInstance) usable() error {
	if !slices.Contains([]string{"available", "storage-optimization", "storage-initialization"}, i.DBInstanceStatus) { // in the latter two it is fully operational
		return refuse("InvalidDBInstanceState", "Database instance is not in available state.")
	}
	return nil
}

func modifyInstance(c *call) (any, error) {
	p := c.p
	i, err := c.r.instance(p.str("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	// Deletion protection can be changed in every state in which the instance is not going away; the rest needs it available.
	if !slices.Equal(p.names(), []string{"Action", "ApplyImmediately", "DBInstanceIdentifier", "DeletionProtection", "Version"}) || i.DBInstanceStatus == "deleting" {
		if err := i.usable(); err != nil {
			return nil, err
		}
	}
	if p.has("NewDBInstanceIdentifier") {
		return nil, &apiError{501, "NotImplemented", "awstest does not rename instances"}
	}
	if (p.flag("ManageMasterUserPassword", false) || p.flag("RotateMasterUserPassword", false)) && p.has("MasterUserPassword") {
		return nil, refuse("InvalidParameterCombination", "You can't specify MasterUserPassword with ManageMasterUserPassword or RotateMasterUserPassword")
	}
	changed := *i
	if p.list("VpcSecurityGroupIds") != nil {
		if err := c.r.guard(&changed, p); err != nil {
			return nil, err
		}
	}
	if name := p.str("DBParameterGroupName"); name != "" {
		pg, ok := c.r.rds.parameterGroups.get(name)
		if !ok {
			return nil, gone("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name)
		}
		changed.DBParameterGroups = []parameterMember{{pg.DBParameterGroupName, "pending-reboot"}}
	}
	if v := p.str("EngineVersion"); v != "" {
		if changed.EngineVersion, err = c.r.version(i.Engine, v); err != nil {
			return nil, err
		}
	}
	changed.DBInstanceClass = p.strOr("DBInstanceClass", i.DBInstanceClass)
	changed.AllocatedStorage = p.numOr("AllocatedStorage", i.AllocatedStorage)
	changed.BackupRetentionPeriod = p.numOr("BackupRetentionPeriod", i.BackupRetentionPeriod)
	changed.PreferredBackupWindow = p.strOr("PreferredBackupWindow", i.PreferredBackupWindow)
	changed.MultiAZ = p.flag("MultiAZ", i.MultiAZ)
	changed.CopyTagsToSnapshot = p.flag("CopyTagsToSnapshot", i.CopyTagsToSnapshot)
	changed.DeletionProtection = p.flag("DeletionProtection", i.DeletionProtection)
	changed.PubliclyAccessible = p.flag("PubliclyAccessible", i.PubliclyAccessible)
	changed.IAMDatabaseAuthenticationEnabled = p.flag("EnableIAMDatabaseAuthentication", i.IAMDatabaseAuthenticationEnabled)
	if changed.BackupRetentionPeriod == 0 && len(i.ReadReplicaDBInstanceIdentifiers) > 0 {
		return nil, refuse("InvalidParameterCombination", "Backups can't be disabled while the instance has read replicas")
	}
	if p.flag("ManageMasterUserPassword", false) {
		changed.secret(c)
	}
	immediate := changed.DBInstanceClass == i.DBInstanceClass && changed.MultiAZ == i.MultiAZ && changed.EngineVersion == i.EngineVersion && changed.AllocatedStorage == i.AllocatedStorage
	if !immediate && !p.flag("ApplyImmediately", false) {
		return nil, &apiError{501, "NotImplemented", "awstest does not wait for maintenance windows: say ApplyImmediately"}
	}
	*i = changed
	if !immediate || p.has("MasterUserPassword") || p.flag("RotateMasterUserPassword", false) || p.list("VpcSecurityGroupIds") != nil {
		i.run(c.action, modifyPhases, c.now, nil, "available")
	}
	return i.result(c), nil
}

func rebootInstance(c *call) (any, error) {
	i, err := c.r.instance(c.p.str("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	if err := i.usable(); err != nil {
		return nil, err
	}
	i.run(c.action, rebootPhases, c.now, func(time.Time) {
		for n := range i.DBParameterGroups {
			i.DBParameterGroups[n].ParameterApplyStatus = "in-sync"
		}
	}, "failed")
	return i.result(c), nil
}

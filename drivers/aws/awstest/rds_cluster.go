package awstest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type clusterMember struct {
	DBInstanceIdentifier          string
	IsClusterWriter               bool
	DBClusterParameterGroupStatus string
	PromotionTier                 int
}

// dbCluster is an Aurora cluster.
type dbCluster struct {
	AllocatedStorage                 int
	AvailabilityZones                []string `xml:"AvailabilityZones>AvailabilityZone"`
	BackupRetentionPeriod            int
	DatabaseName                     string `xml:",omitempty"`
	DBClusterIdentifier              string
	DBClusterParameterGroup          string
	DBSubnetGroup                    string
	Status                           string
	EarliestRestorableTime           string `xml:",omitempty"`
	LatestRestorableTime             string `xml:",omitempty"`
	Endpoint                         string `xml:",omitempty"`
	ReaderEndpoint                   string `xml:",omitempty"`
	MultiAZ                          bool
	Engine                           string
	EngineVersion                    string
	EngineMode                       string
	Port                             int
	MasterUsername                   string          `xml:",omitempty"`
	ReplicationSourceIdentifier      string          `xml:",omitempty"`
	DBClusterMembers                 []clusterMember `xml:"DBClusterMembers>DBClusterMember"`
	VpcSecurityGroups                []groupMember   `xml:"VpcSecurityGroups>VpcSecurityGroupMembership"`
	StorageEncrypted                 bool
	KmsKeyId                         string `xml:",omitempty"`
	DbClusterResourceId              string
	DBClusterArn                     string
	IAMDatabaseAuthenticationEnabled bool
	ClusterCreateTime                string
	DeletionProtection               bool
	CopyTagsToSnapshot               bool
	TagList                          []tag         `xml:"TagList>Tag"`
	MasterUserSecret                 *masterSecret `xml:",omitempty"`
	GlobalClusterIdentifier          string        `xml:",omitempty"`

	r       *region
	created time.Time
	writer  *dbInstance
	members []*dbInstance
	global  *globalCluster
	data    dataset
	gone    bool
}

var (
	clusterPhases  = []Phase{{"creating", 2 * time.Minute}}
	clusterRestore = []Phase{{"creating", 6 * time.Minute}}
	memberPhases   = []Phase{{"creating", 5 * time.Minute}}
	failoverPhases = []Phase{{"failing-over", 30 * time.Second}}
)

const clusterTakes = " EngineVersion Port DatabaseName DBSubnetGroupName VpcSecurityGroupIds Tags KmsKeyId DBClusterParameterGroupName DeletionProtection CopyTagsToSnapshot BackupRetentionPeriod PreferredBackupWindow" +
	" EnableIAMDatabaseAuthentication AvailabilityZones EngineMode"

func clusterActions() map[string]action {
	return map[string]action{
		"CreateDBCluster":                  {"DBClusterIdentifier! Engine! MasterUsername MasterUserPassword ManageMasterUserPassword MasterUserSecretKmsKeyId StorageEncrypted GlobalClusterIdentifier PreSignedUrl PreferredMaintenanceWindow" + clusterTakes, createCluster},
		"DescribeDBClusters":               {"DBClusterIdentifier Filters MaxRecords Marker IncludeShared", describeClusters},
		"ModifyDBCluster":                  {"DBClusterIdentifier! ApplyImmediately DeletionProtection BackupRetentionPeriod CopyTagsToSnapshot MasterUserPassword VpcSecurityGroupIds DBClusterParameterGroupName PreferredBackupWindow", modifyCluster},
		"DeleteDBCluster":                  {"DBClusterIdentifier! SkipFinalSnapshot FinalDBSnapshotIdentifier DeleteAutomatedBackups", deleteCluster},
		"FailoverDBCluster":                {"DBClusterIdentifier! TargetDBInstanceIdentifier", failoverCluster},
		"DescribeDBClusterParameterGroups": {"DBClusterParameterGroupName Filters MaxRecords Marker", describeClusterGroups},
		"CreateDBClusterParameterGroup":    {"DBClusterParameterGroupName! DBParameterGroupFamily! Description! Tags", createClusterGroup},
	}
}

// cluster finds one by name or ARN.
func (r *region) cluster(name string) (*dbCluster, error) {
	if _, _, in, acct, resource := splitARN(name); resource != "" {
		if in != r.name || acct != r.acct.id {
			return nil, gone("DBClusterNotFoundFault", "DBCluster %s not found.", name)
		}
		name = strings.TrimPrefix(resource, "cluster:")
	}
	cl, ok := r.rds.clusters.get(name)
	if !ok {
		return nil, gone("DBClusterNotFoundFault", "DBCluster %s not found.", name)
	}
	return cl, nil
}

// shown is how it looks now.
func (cl *dbCluster) shown(now time.Time) *dbCluster {
	v := *cl
	v.DBClusterMembers = nil
	for _, m := range cl.members {
		v.DBClusterMembers = append(v.DBClusterMembers, clusterMember{m.DBInstanceIdentifier, m == cl.writer && !cl.secondary(), "in-sync", m.PromotionTier})
	}
	v.MultiAZ = len(cl.members) > 1
	if cl.global != nil {
		v.GlobalClusterIdentifier = cl.global.GlobalClusterIdentifier
	}
	if cl.secondary() {
		v.ReplicationSourceIdentifier = cl.global.writer.DBClusterArn
	}
	if cl.Status != "creating" {
		v.EarliestRestorableTime, v.LatestRestorableTime = iso(cl.created), iso(now)
	}
	return &v
}

// secondary reports whether it only follows another cluster of its global database.
func (cl *dbCluster) secondary() bool { return cl.global != nil && cl.global.writer != cl }

func (cl *dbCluster) result(c *call) any {
	return struct{ DBCluster *dbCluster }{cl.shown(c.now)}
}

// run lets a transition of the cluster begin that ends in "available".
func (cl *dbCluster) run(action string, phases []Phase, now time.Time, end func(at time.Time)) {
	transition{
		r: cl.r, action: action, name: cl.DBClusterIdentifier, phases: phases,
		set: func(status string, _ time.Time) { cl.Status = status },
		done: func(at time.Time) {
			cl.Status = "available"
			if end != nil {
				end(at)
			}
		},
		failed: func(time.Time) { cl.Status = "failed" },
		alive:  func() bool { return !cl.gone && (cl.Status != "deleting" || action == "DeleteDBCluster") },
	}.begin(now)
}

// adoptCluster takes over what calls that make clusters have in common.
func (c *call) adoptCluster(cl *dbCluster) error {
	p, r := c.p, c.r
	cl.r = r
	var err error
	if !strings.HasPrefix(cl.Engine, "aurora") {
		return refuse("InvalidParameterValue", "awstest has clusters of aurora-mysql and aurora-postgresql; %q is neither", cl.Engine)
	}
	if cl.EngineVersion, err = r.version(cl.Engine, p.strOr("EngineVersion", cl.EngineVersion)); err != nil {
		return err
	}
	if r.withheld(cl.Engine, cl.EngineVersion, "") {
		return refuse("InvalidParameterCombination", "Cannot find version %s for %s", cl.EngineVersion, cl.Engine)
	}
	sg, ok := r.rds.subnetGroups.get(p.strOr("DBSubnetGroupName", "default"))
	if !ok {
		return gone("DBSubnetGroupNotFoundFault", "DB subnet group '%s' does not exist.", p.str("DBSubnetGroupName"))
	}
	cl.DBSubnetGroup = sg.DBSubnetGroupName
	for _, s := range sg.Subnets {
		cl.AvailabilityZones = append(cl.AvailabilityZones, s.SubnetAvailabilityZone.Name)
	}
	name := p.strOr("DBClusterParameterGroupName", "default."+familyOf(cl.Engine, cl.EngineVersion))
	if _, ok := r.rds.clusterGroups.get(name); !ok {
		return gone("DBClusterParameterGroupNotFound", "DBClusterParameterGroup not found: %s", name)
	}
	cl.DBClusterParameterGroup = name
	var probe dbInstance
	if err := r.guard(&probe, p); err != nil {
		return err
	}
	cl.VpcSecurityGroups = probe.VpcSecurityGroups
	cl.Port = p.numOr("Port", cl.Port)
	if cl.Port == 0 {
		cl.Port = defaultPort(cl.Engine)
	}
	cl.AllocatedStorage, cl.EngineMode = 1, "provisioned"
	cl.BackupRetentionPeriod = p.numOr("BackupRetentionPeriod", 1)
	cl.DatabaseName = p.strOr("DatabaseName", cl.DatabaseName)
	cl.DeletionProtection = p.flag("DeletionProtection", false)
	cl.CopyTagsToSnapshot = p.flag("CopyTagsToSnapshot", cl.CopyTagsToSnapshot)
	cl.IAMDatabaseAuthenticationEnabled = p.flag("EnableIAMDatabaseAuthentication", cl.IAMDatabaseAuthenticationEnabled)
	cl.TagList = p.tags("Tags")
	if cl.StorageEncrypted || p.has("KmsKeyId") {
		cl.StorageEncrypted = true
		if cl.KmsKeyId, err = r.usableKey(p.strOr("KmsKeyId", "alias/aws/rds")); err != nil {
			return err
		}
	}
	return nil
}

// enterCluster puts a new cluster among the others.
func (c *call) enterCluster(name string, cl *dbCluster) error {
	if err := validName("DBClusterIdentifier", name); err != nil {
		return err
	}
	if _, ok := c.r.rds.clusters.get(name); ok {
		return refuse("DBClusterAlreadyExistsFault", "DB Cluster already exists")
	}
	if err := c.r.quota("DBClusters", len(c.r.rds.clusters.live), "DBClusterQuotaExceededFault"); err != nil {
		return err
	}
	cl.DBClusterIdentifier = strings.ToLower(name)
	cl.DBClusterArn = c.r.arn("rds", "cluster:"+cl.DBClusterIdentifier)
	cl.DbClusterResourceId = fmt.Sprintf("cluster-%026X", c.w.next())
	cl.Endpoint = cl.DBClusterIdentifier + ".cluster-" + c.r.unique() + "." + c.r.name + ".rds." + suffix(c.r.name)
	cl.ReaderEndpoint = strings.Replace(cl.Endpoint, ".cluster-", ".cluster-ro-", 1)
	cl.created, cl.ClusterCreateTime = c.now, iso(c.now)
	c.r.rds.clusters.put(c.now, name, cl)
	return nil
}

func createCluster(c *call) (any, error) {
	p := c.p
	cl := &dbCluster{Engine: p.str("Engine"), StorageEncrypted: p.flag("StorageEncrypted", false), MasterUsername: p.str("MasterUsername")}
	var g *globalCluster
	if id := p.str("GlobalClusterIdentifier"); id != "" {
		var err error
		if g, err = c.joining(id, cl); err != nil {
			return nil, err
		}
	}
	if g == nil || g.writer == nil {
		if cl.MasterUsername == "" || !p.has("MasterUserPassword") && !p.flag("ManageMasterUserPassword", false) {
			return nil, refuse("InvalidParameterValue", "The parameter MasterUsername must be provided and must not be blank.")
		}
	}
	if err := c.adoptCluster(cl); err != nil {
		return nil, err
	}
	if err := c.enterCluster(p.str("DBClusterIdentifier"), cl); err != nil {
		return nil, err
	}
	if p.flag("ManageMasterUserPassword", false) {
		cl.MasterUserSecret = &masterSecret{c.r.arn("secretsmanager", fmt.Sprintf("secret:rds!cluster-%08x-AbCdEf", c.w.next())), "active", c.r.key("aws/secretsmanager")}
	}
	if g != nil {
		g.join(cl)
	}
	cl.run(c.action, clusterPhases, c.now, nil)
	return cl.result(c), nil
}

func describeClusters(c *call) (any, error) {
	var out struct {
		Marker     string       `xml:",omitempty"`
		DBClusters []*dbCluster `xml:"DBClusters>DBCluster"`
	}
	if name := c.p.str("DBClusterIdentifier"); name != "" {
		cl, err := c.r.cluster(name)
		if err != nil {
			return nil, err
		}
		out.DBClusters = []*dbCluster{cl.shown(c.now)}
		return out, nil
	}
	found := c.r.rds.clusters.all(c.now, c.w.opts.Lag)
	for name, values := range c.p.filters("Filters") {
		if name != "db-cluster-id" && name != "engine" {
			return nil, refuse("InvalidParameterValue", "Unrecognized filter name: %s", name)
		}
		found = slices.DeleteFunc(found, func(cl *dbCluster) bool {
			return !slices.Contains(values, cl.Engine) && name == "engine" || name == "db-cluster-id" && !slices.Contains(values, cl.DBClusterIdentifier) && !slices.Contains(values, cl.DBClusterArn)
		})
	}
	page, marker, err := paged(c, found, func(cl *dbCluster) string { return cl.DBClusterIdentifier })
	for _, cl := range page {
		out.DBClusters = append(out.DBClusters, cl.shown(c.now))
	}
	out.Marker = marker
	return out, err
}

func (cl *dbCluster) usable() error {
	if cl.Status != "available" {
		return refuse("InvalidDBClusterStateFault", "DbCluster %s is in %s state", cl.DBClusterIdentifier, cl.Status)
	}
	return nil
}

func modifyCluster(c *call) (any, error) {
	cl, err := c.r.cluster(c.p.str("DBClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	if err := cl.usable(); err != nil {
		return nil, err
	}
	if c.p.list("VpcSecurityGroupIds") != nil {
		var probe dbInstance
		if err := c.r.guard(&probe, c.p); err != nil {
			return nil, err
		}
		cl.VpcSecurityGroups = probe.VpcSecurityGroups
	}
	if name := c.p.str("DBClusterParameterGroupName"); name != "" {
		if _, ok := c.r.rds.clusterGroups.get(name); !ok {
			return nil, gone("DBClusterParameterGroupNotFound", "DBClusterParameterGroup not found: %s", name)
		}
		cl.DBClusterParameterGroup = name
	}
	cl.DeletionProtection = c.p.flag("DeletionProtection", cl.DeletionProtection)
	cl.CopyTagsToSnapshot = c.p.flag("CopyTagsToSnapshot", cl.CopyTagsToSnapshot)
	cl.BackupRetentionPeriod = c.p.numOr("BackupRetentionPeriod", cl.BackupRetentionPeriod)
	switch {
	case c.p.list("VpcSecurityGroupIds") != nil:
		cl.run(c.action, []Phase{{"modifying", 30 * time.Second}}, c.now, nil)
	case c.p.has("MasterUserPassword"):
		cl.run(c.action, []Phase{{"resetting-master-credentials", 30 * time.Second}}, c.now, nil)
	}
	return cl.result(c), nil
}

func deleteCluster(c *call) (any, error) {
	p := c.p
	cl, err := c.r.cluster(p.str("DBClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	skip, final := p.flag("SkipFinalSnapshot", false), p.str("FinalDBSnapshotIdentifier")
	switch {
	case cl.Status == "deleting":
		return nil, refuse("InvalidDBClusterStateFault", "Cluster is already being deleted.")
	case cl.DeletionProtection:
		return nil, refuse("InvalidParameterCombination", "Cannot delete protected Cluster, please disable deletion protection and try again.")
	case slices.ContainsFunc(cl.members, func(m *dbInstance) bool { return m.DBInstanceStatus != "deleting" }):
		return nil, refuse("InvalidDBClusterStateFault", "Cluster cannot be deleted, it still contains DB instances in non-deleting state.")
	case cl.global != nil:
		return nil, refuse("InvalidDBClusterStateFault", "This cluster is a part of a global cluster, please remove it from globalcluster first")
	case skip == (final != ""):
		return nil, refuse("InvalidParameterCombination", "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified, and can not be given with it.")
	}
	var s *clusterSnapshot
	if !skip {
		if s, err = c.clusterSnapshot(cl, final, nil); err != nil {
			return nil, err
		}
	}
	cl.run(c.action, deletePhases, c.now, func(at time.Time) {
		if s != nil {
			s.finish(at)
		}
		cl.gone = true
		c.r.rds.clusters.remove(at, cl.DBClusterIdentifier)
	})
	return cl.result(c), nil
}

// createMember makes an instance of a cluster. The first one of a cluster that may write is its writer.
func (c *call) createMember(id string, i *dbInstance) (any, error) {
	cl, err := c.r.cluster(id)
	if err != nil {
		return nil, err
	}
	if cl.Status == "deleting" || cl.Status == "failed" {
		return nil, cl.usable()
	}
	if i.Engine != cl.Engine {
		return nil, refuse("InvalidParameterCombination", "The engine name requested for your DB instance (%s) doesn't match the engine name of your DB cluster (%s).", i.Engine, cl.Engine)
	}
	for _, name := range []string{"MasterUsername", "AllocatedStorage", "BackupRetentionPeriod", "StorageEncrypted", "KmsKeyId", "DeletionProtection", "VpcSecurityGroupIds"} {
		if c.p.has(name) || len(c.p.list(name)) > 0 {
			return nil, refuse("InvalidParameterCombination", "The requested DB Instance will be a member of a DB Cluster. Set %s for the DB Cluster.", name)
		}
	}
	i.EngineVersion, i.StorageEncrypted, i.KmsKeyId, i.port = cl.EngineVersion, cl.StorageEncrypted, cl.KmsKeyId, cl.Port
	i.StorageType, i.AllocatedStorage, i.BackupRetentionPeriod = "aurora", 1, cl.BackupRetentionPeriod
	if !c.p.has("DBSubnetGroupName") {
		c.p["DBSubnetGroupName"] = []string{cl.DBSubnetGroup}
	}
	if err := c.adopt(i); err != nil {
		return nil, err
	}
	if err := c.enter(c.p.str("DBInstanceIdentifier"), i); err != nil {
		return nil, err
	}
	i.cluster, i.DBClusterIdentifier = cl, cl.DBClusterIdentifier
	i.MasterUsername, i.VpcSecurityGroups = cl.MasterUsername, cl.VpcSecurityGroups
	cl.members = append(cl.members, i)
	if cl.writer == nil {
		cl.writer = i
	}
	i.grow(c, memberPhases)
	return i.result(c), nil
}

// deleteMember deletes an instance of a cluster; when it was the writer, another one takes over.
func (c *call) deleteMember(i *dbInstance) (any, error) {
	cl := i.cluster
	i.DBInstanceStatus = "deleting"
	i.run(c.action, deletePhases, c.now, func(at time.Time) {
		cl.members = slices.DeleteFunc(cl.members, func(m *dbInstance) bool { return m == i })
		if cl.writer == i {
			cl.writer = cl.heir("")
		}
		i.gone = true
		i.r.rds.instances.remove(at, i.DBInstanceIdentifier)
	}, "failed")
	return i.result(c), nil
}

// heir is who becomes the writer: the one asked for, or the available one of the best tier.
func (cl *dbCluster) heir(name string) *dbInstance {
	var best *dbInstance
	for _, m := range cl.members {
		if m == cl.writer || m.DBInstanceStatus != "available" || name != "" && !strings.EqualFold(name, m.DBInstanceIdentifier) {
			continue
		}
		if best == nil || m.PromotionTier < best.PromotionTier {
			best = m
		}
	}
	return best
}

func failoverCluster(c *call) (any, error) {
	cl, err := c.r.cluster(c.p.str("DBClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	if err := cl.usable(); err != nil {
		return nil, err
	}
	to := cl.heir(c.p.str("TargetDBInstanceIdentifier"))
	if to == nil || cl.secondary() {
		return nil, refuse("InvalidDBClusterStateFault", "DB Cluster %s has no reader instance that could take over", cl.DBClusterIdentifier)
	}
	cl.run(c.action, failoverPhases, c.now, func(time.Time) { cl.writer = to })
	return cl.result(c), nil
}

// writable says why an application cannot write to the cluster; nil: it can.
func (cl *dbCluster) writable() error {
	switch {
	case cl.writer == nil || cl.writer.DBInstanceStatus != "available":
		return fmt.Errorf("%s has no writer that is up", cl.DBClusterArn)
	case cl.Status == "failing-over" || cl.Status == "promoting" || cl.Status == "deleting" || cl.Status == "creating":
		return fmt.Errorf("%s is %s: no connection", cl.DBClusterArn, cl.Status)
	case cl.secondary():
		return fmt.Errorf("%s is a secondary cluster: read only", cl.DBClusterArn)
	case cl.global != nil && cl.global.FailoverState != nil && cl.global.FailoverState.Status != "pending":
		return fmt.Errorf("%s: its global database is %s", cl.DBClusterArn, cl.global.FailoverState.Status)
	}
	return nil
}

// replicate brings a secondary cluster what has reached it.
func (w *World) replicate(cl *dbCluster) {
	if cl.secondary() && !cl.global.resync[cl] {
		w.receive(&cl.data, &cl.global.writer.data, cl.DBClusterArn, w.opts.Now())
	}
}

func describeClusterGroups(c *call) (any, error) {
	type group struct{ DBClusterParameterGroupName, DBParameterGroupFamily, Description, DBClusterParameterGroupArn string }
	name := c.p.str("DBClusterParameterGroupName")
	found, marker, err := named(c, &c.r.rds.clusterGroups, name, gone("DBParameterGroupNotFound", "DBClusterParameterGroup not found: %s", name), func(g *parameterGroup) string { return g.DBParameterGroupName })
	var out struct {
		Marker string  `xml:",omitempty"`
		Groups []group `xml:"DBClusterParameterGroups>DBClusterParameterGroup"`
	}
	for _, g := range found {
		out.Groups = append(out.Groups, group{g.DBParameterGroupName, g.DBParameterGroupFamily, g.Description, g.DBParameterGroupArn})
	}
	out.Marker = marker
	return out, err
}

func createClusterGroup(c *call) (any, error) {
	name, family := strings.ToLower(c.p.str("DBClusterParameterGroupName")), c.p.str("DBParameterGroupFamily")
	if _, ok := c.r.rds.clusterGroups.get(name); ok {
		return nil, refuse("DBParameterGroupAlreadyExists", "Parameter group %s already exists", name)
	}
	if _, ok := c.r.rds.clusterGroups.get("default." + family); !ok {
		return nil, refuse("InvalidParameterValue", "ParameterGroupFamily %s is not a valid parameter group family", family)
	}
	g := c.r.parameterGroup("cluster-pg:", name, family, c.p.str("Description"))
	c.r.rds.clusterGroups.put(c.now, name, g)
	type group struct{ DBClusterParameterGroupName, DBParameterGroupFamily, Description, DBClusterParameterGroupArn string }
	return struct{ DBClusterParameterGroup group }{group{name, family, g.Description, g.DBParameterGroupArn}}, nil
}

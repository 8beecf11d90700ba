package awstest

import (
	"slices"
	"strings"
	"time"
)

// clusterSnapshot is a snapshot of a cluster.
type clusterSnapshot struct {
	AvailabilityZones                []string `xml:"AvailabilityZones>AvailabilityZone"`
	DBClusterSnapshotIdentifier      string
	DBClusterIdentifier              string
	SnapshotCreateTime               string `xml:",omitempty"`
	Engine                           string
	EngineMode                       string
	AllocatedStorage                 int
	Status                           string
	Port                             int
	VpcId                            string `xml:",omitempty"`
	ClusterCreateTime                string
	MasterUsername                   string
	EngineVersion                    string
	LicenseModel                     string
	SnapshotType                     string
	PercentProgress                  int
	StorageEncrypted                 bool
	KmsKeyId                         string `xml:",omitempty"`
	DBClusterSnapshotArn             string
	SourceDBClusterSnapshotArn       string `xml:",omitempty"`
	IAMDatabaseAuthenticationEnabled bool
	DbClusterResourceId              string
	TagList                          []tag `xml:"TagList>Tag"`

	r        *region
	database string
	began    time.Time
	lasts    time.Duration
	abroad   bool
	data     dataset
	gone     bool
}

var (
	clusterSnapshotPhases = []Phase{{"creating", 2 * time.Minute}}
	clusterCopyPhases     = []Phase{{"copying", 10 * time.Minute}}
)

// clusterCopiesAtOnce is how many copies to a region can be under way (Aurora User Guide, "DB cluster snapshot copying", limitations).
const (
	clusterCopiesAtOnce = 5
)

func clusterSnapshotActions() map[string]action {
	return map[string]action{
		"CreateDBClusterSnapshot":       {"DBClusterSnapshotIdentifier! DBClusterIdentifier! Tags", createClusterSnapshot},
		"CopyDBClusterSnapshot":         {"SourceDBClusterSnapshotIdentifier! TargetDBClusterSnapshotIdentifier! KmsKeyId PreSignedUrl CopyTags Tags", copyClusterSnapshot},
		"DescribeDBClusterSnapshots":    {"DBClusterIdentifier DBClusterSnapshotIdentifier SnapshotType Filters MaxRecords Marker IncludeShared IncludePublic", describeClusterSnapshots},
		"DeleteDBClusterSnapshot":       {"DBClusterSnapshotIdentifier!", deleteClusterSnapshot},
		"RestoreDBClusterFromSnapshot":  {"DBClusterIdentifier! SnapshotIdentifier! Engine!" + clusterTakes, restoreCluster},
		"RestoreDBClusterToPointInTime": {"DBClusterIdentifier! SourceDBClusterIdentifier! RestoreToTime UseLatestRestorableTime RestoreType" + clusterTakes, restoreClusterTime},
	}
}

func (r *region) clusterSnapshotOf(name string) (*clusterSnapshot, error) {
	if _, _, in, acct, resource := splitARN(name); resource != "" && in == r.name && acct == r.acct.id {
		name = strings.TrimPrefix(resource, "cluster-snapshot:")
	}
	s, ok := r.rds.clusterSnapshots.get(name)
	if !ok {
		return nil, gone("DBClusterSnapshotNotFoundFault", "DBClusterSnapshot not found: %s", name)
	}
	return s, nil
}

func createClusterSnapshot(c *call) (any, error) {
	cl, err := c.r.cluster(c.p.str("DBClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	if err := cl.usable(); err != nil {
		return nil, err
	}
	s, err := c.clusterSnapshot(cl, c.p.str("DBClusterSnapshotIdentifier"), c.p.tags("Tags"))
	if err != nil {
		return nil, err
	}
	return s.result(c), nil
}

// clusterSnapshot begins a manual snapshot.
func (c *call) clusterSnapshot(cl *dbCluster, name string, tags []tag) (*clusterSnapshot, error) {
	if err := c.freeClusterSnapshot(name); err != nil {
		return nil, err
	}
	if tags == nil && cl.CopyTagsToSnapshot {
		tags = slices.Clone(cl.TagList)
	}
	s := cl.snapshot(name)
	s.TagList = tags
	c.w.replicate(cl)
	s.data = cl.data.until(c.now)
	s.keep(c.now)
	s.run("CreateDBClusterSnapshot", clusterSnapshotPhases, c.now)
	return s, nil
}

// freeClusterSnapshot refuses names that are wrong or taken.
func (c *call) freeClusterSnapshot(name string) error {
	if err := validName("DBClusterSnapshotIdentifier", name); err != nil {
		return err
	}
	if _, ok := c.r.rds.clusterSnapshots.get(name); ok {
		return refuse("DBClusterSnapshotAlreadyExistsFault", "Cannot create the cluster snapshot because one with the identifier %s already exists.", name)
	}
	return c.r.quota("ManualClusterSnapshots", len(c.r.rds.clusterSnapshots.live), "SnapshotQuotaExceeded")
}

func (cl *dbCluster) snapshot(name string) *clusterSnapshot {
	return &clusterSnapshot{
		AvailabilityZones: cl.AvailabilityZones, DBClusterSnapshotIdentifier: strings.ToLower(name), DBClusterIdentifier: cl.DBClusterIdentifier, Engine: cl.Engine, EngineMode: cl.EngineMode,
		AllocatedStorage: cl.AllocatedStorage, Port: cl.Port, VpcId: cl.r.net.vpc, ClusterCreateTime: cl.ClusterCreateTime, MasterUsername: cl.MasterUsername, EngineVersion: cl.EngineVersion,
		LicenseModel: license(cl.Engine), SnapshotType: "manual", StorageEncrypted: cl.StorageEncrypted, KmsKeyId: cl.KmsKeyId,
		IAMDatabaseAuthenticationEnabled: cl.IAMDatabaseAuthenticationEnabled, DbClusterResourceId: cl.DbClusterResourceId, r: cl.r, database: cl.DatabaseName,
	}
}

func (s *clusterSnapshot) keep(now time.Time) {
	s.DBClusterSnapshotArn = s.r.arn("rds", "cluster-snapshot:"+s.DBClusterSnapshotIdentifier)
	s.began = now
	s.r.rds.clusterSnapshots.put(now, s.DBClusterSnapshotIdentifier, s)
}

func (s *clusterSnapshot) run(action string, phases []Phase, now time.Time) {
	lasts := phases
	if script, ok := s.r.w.peek(s.r, action, s.DBClusterSnapshotIdentifier); ok {
		lasts = script.phased(phases)
	}
	for _, p := range lasts {
		s.lasts += p.For
	}
	transition{
		r: s.r, action: action, name: s.DBClusterSnapshotIdentifier, phases: phases,
		set:    func(status string, _ time.Time) { s.Status = status },
		done:   s.finish,
		failed: func(time.Time) { s.Status = "failed" },
		alive:  func() bool { return !s.gone && s.Status != "available" },
	}.begin(now)
}

func (s *clusterSnapshot) finish(at time.Time) {
	s.Status, s.PercentProgress, s.SnapshotCreateTime = "available", 100, iso(at)
}

func (s *clusterSnapshot) shown(now time.Time) *clusterSnapshot {
	v := *s
	if v.Status != "available" && v.Status != "failed" && s.lasts > 0 {
		v.PercentProgress = min(99, int(100*now.Sub(s.began)/s.lasts))
	}
	return &v
}

func (s *clusterSnapshot) result(c *call) any {
	return struct{ DBClusterSnapshot *clusterSnapshot }{s.shown(c.now)}
}

func copyClusterSnapshot(c *call) (any, error) {
	p := c.p
	name, from := p.str("SourceDBClusterSnapshotIdentifier"), c.r
	if partition, _, in, acct, resource := splitARN(name); resource != "" {
		if partition != partitionOf(c.r.name) {
			return nil, refuse("InvalidParameterValue", "Invalid snapshot ARN: %s", name)
		}
		if c.w.down(acct, in) {
			return nil, refuse("InvalidParameterValue", "The source region %s could not be reached", in)
		}
		from = c.w.region(acct, in)
	}
	source, err := from.clusterSnapshotOf(name)
	if err != nil {
		return nil, err
	}
	if source.Status != "available" {
		return nil, refuse("InvalidDBClusterSnapshotStateFault", "The source snapshot is in the %s state, and cannot be copied.", source.Status)
	}
	s := *source
	s.r, s.abroad, s.lasts, s.Status, s.PercentProgress, s.SnapshotCreateTime, s.SnapshotType = c.r, from != c.r, 0, "", 0, "", "manual"
	s.DBClusterSnapshotIdentifier, s.SourceDBClusterSnapshotArn = strings.ToLower(p.str("TargetDBClusterSnapshotIdentifier")), source.DBClusterSnapshotArn
	s.TagList = p.tags("Tags")
	if s.TagList == nil && p.flag("CopyTags", false) {
		s.TagList = slices.Clone(source.TagList)
	}
	if err := c.freeClusterSnapshot(s.DBClusterSnapshotIdentifier); err != nil {
		return nil, err
	}
	if s.StorageEncrypted, s.KmsKeyId, err = c.copyKey(source.StorageEncrypted, source.KmsKeyId, from, s.abroad); err != nil {
		return nil, err
	}
	if s.abroad && c.r.clusterCopying() >= clusterCopiesAtOnce {
		return nil, refuse("SnapshotQuotaExceeded", "You can't have more than %d snapshot copies in progress to a destination region.", clusterCopiesAtOnce)
	}
	kept := &s
	kept.keep(c.now)
	kept.run(c.action, clusterCopyPhases, c.now)
	return kept.result(c), nil
}

func describeClusterSnapshots(c *call) (any, error) {
	var out struct {
		Marker    string             `xml:",omitempty"`
		Snapshots []*clusterSnapshot `xml:"DBClusterSnapshots>DBClusterSnapshot"`
	}
	if name := c.p.str("DBClusterSnapshotIdentifier"); name != "" {
		s, err := c.r.clusterSnapshotOf(name)
		if err != nil {
			return nil, err
		}
		out.Snapshots = []*clusterSnapshot{s.shown(c.now)}
		return out, nil
	}
	id, kind, filters := c.p.str("DBClusterIdentifier"), c.p.str("SnapshotType"), c.p.filters("Filters")
	for name := range filters {
		if !slices.Contains([]string{"db-cluster-id", "db-cluster-snapshot-id", "snapshot-type", "engine"}, name) {
			return nil, refuse("InvalidParameterValue", "Unrecognized filter name: %s", name)
		}
	}
	found := slices.DeleteFunc(c.r.rds.clusterSnapshots.all(c.now, c.w.opts.Lag), func(s *clusterSnapshot) bool {
		for name, value := range map[string]string{"db-cluster-id": s.DBClusterIdentifier, "db-cluster-snapshot-id": s.DBClusterSnapshotIdentifier, "snapshot-type": s.SnapshotType, "engine": s.Engine} {
			if values, ok := filters[name]; ok && !slices.Contains(values, value) {
				return true
			}
		}
		return id != "" && !strings.EqualFold(id, s.DBClusterIdentifier) || kind != "" && kind != s.SnapshotType
	})
	page, marker, err := paged(c, found, func(s *clusterSnapshot) string { return s.DBClusterSnapshotIdentifier })
	for _, s := range page {
		out.Snapshots = append(out.Snapshots, s.shown(c.now))
	}
	out.Marker = marker
	return out, err
}

func deleteClusterSnapshot(c *call) (any, error) {
	s, err := c.r.clusterSnapshotOf(c.p.str("DBClusterSnapshotIdentifier"))
	if err != nil {
		return nil, err
	}
	if s.SnapshotType == "automated" || s.Status == "creating" {
		return nil, refuse("InvalidDBClusterSnapshotStateFault", "The snapshot %s is %s and %s, and cannot be deleted.", s.DBClusterSnapshotIdentifier, s.SnapshotType, s.Status)
	}
	s.gone = true
	c.r.rds.clusterSnapshots.remove(c.now, s.DBClusterSnapshotIdentifier)
	s.Status = "deleted"
	return s.result(c), nil
}

// reviveCluster makes a cluster, without instances, out of what a snapshot or a backup says.
func (c *call) reviveCluster(cl *dbCluster) (any, error) {
	if err := c.adoptCluster(cl); err != nil {
		return nil, err
	}
	if err := c.enterCluster(c.p.str("DBClusterIdentifier"), cl); err != nil {
		return nil, err
	}
	cl.run(c.action, clusterRestore, c.now, nil)
	return cl.result(c), nil
}

func restoreCluster(c *call) (any, error) {
	s, err := c.r.clusterSnapshotOf(c.p.str("SnapshotIdentifier"))
	if err != nil {
		return nil, err
	}
	if s.Status != "available" {
		return nil, refuse("InvalidDBClusterSnapshotStateFault", "The snapshot is in the %s state, and cannot be restored.", s.Status)
	}
	if s.Engine != c.p.str("Engine") {
		return nil, refuse("InvalidParameterCombination", "The snapshot is of engine %s", s.Engine)
	}
	if s.StorageEncrypted && !c.p.has("KmsKeyId") {
		c.p["KmsKeyId"] = []string{s.KmsKeyId}
	}
	return c.reviveCluster(&dbCluster{
		Engine: s.Engine, EngineVersion: s.EngineVersion, MasterUsername: s.MasterUsername, StorageEncrypted: s.StorageEncrypted, DatabaseName: s.database, Port: s.Port,
		IAMDatabaseAuthenticationEnabled: s.IAMDatabaseAuthenticationEnabled, data: s.data,
	})
}

func restoreClusterTime(c *call) (any, error) {
	source, err := c.r.cluster(c.p.str("SourceDBClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	at := c.now
	switch {
	case c.p.has("RestoreToTime") == c.p.flag("UseLatestRestorableTime", false):
		return nil, refuse("InvalidParameterCombination", "Either RestoreToTime or UseLatestRestorableTime has to be given.")
	case c.p.has("RestoreToTime"):
		if at, err = c.p.when("RestoreToTime"); err != nil {
			return nil, err
		}
		if at.After(c.now) || at.Before(source.created) {
			return nil, refuse("InvalidRestoreFault", "The cluster %s cannot be restored to %s", source.DBClusterIdentifier, iso(at))
		}
	}
	c.w.replicate(source)
	if source.StorageEncrypted && !c.p.has("KmsKeyId") {
		c.p["KmsKeyId"] = []string{source.KmsKeyId}
	}
	return c.reviveCluster(&dbCluster{
		Engine: source.Engine, EngineVersion: source.EngineVersion, MasterUsername: source.MasterUsername, StorageEncrypted: source.StorageEncrypted, DatabaseName: source.DatabaseName,
		Port: source.Port, CopyTagsToSnapshot: source.CopyTagsToSnapshot, data: source.data.until(at),
	})
}

package awstest

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// dbSnapshot is a snapshot of an instance.
type dbSnapshot struct {
	DBSnapshotIdentifier             string
	DBInstanceIdentifier             string
	SnapshotCreateTime               string `xml:",omitempty"`
	OriginalSnapshotCreateTime       string `xml:",omitempty"`
	Engine                           string
	AllocatedStorage                 int
	Status                           string
	Port                             int
	AvailabilityZone                 string `xml:",omitempty"`
	VpcId                            string `xml:",omitempty"`
	InstanceCreateTime               string `xml:",omitempty"`
	MasterUsername                   string
	EngineVersion                    string
	LicenseModel                     string
	SnapshotType                     string
	OptionGroupName                  string
	PercentProgress                  int
	SourceRegion                     string `xml:",omitempty"`
	SourceDBSnapshotIdentifier       string `xml:",omitempty"`
	StorageType                      string
	Iops                             int `xml:",omitempty"`
	Encrypted                        bool
	KmsKeyId                         string `xml:",omitempty"`
	DBSnapshotArn                    string
	IAMDatabaseAuthenticationEnabled bool
	DbiResourceId                    string
	TagList                          []tag `xml:"TagList>Tag"`

	r        *region
	class    string
	dbName   string
	began    time.Time
	lasts    time.Duration
	data     dataset
	restores []string // accounts it is shared with
	gone     bool
}

// automatedBackup is what stays of an instance that was deleted with its backups kept.
type automatedBackup struct {
	of          dbInstance
	Status      string
	from, until time.Time
}

var (
	snapshotPhases = []Phase{{"creating", 3 * time.Minute}}
	// copyPhases are those of a copy to another region, which moves the data.
	copyPhases = []Phase{{"pending", 20 * time.Second}, {"copying", 10 * time.Minute}}
	localCopy  = []Phase{{"pending", 10 * time.Second}, {"copying", 2 * time.Minute}}
)

// copiesAtOnce is how many copies to a region can be under way (RDS User Guide, "Limitations" of copying snapshots).
const copiesAtOnce = 20

func snapshotActions() map[string]action {
	return map[string]action{
		"CreateDBSnapshot":          {"DBSnapshotIdentifier! DBInstanceIdentifier! Tags", createSnapshot},
		"CopyDBSnapshot":            {"SourceDBSnapshotIdentifier! TargetDBSnapshotIdentifier! KmsKeyId Tags CopyTags PreSignedUrl OptionGroupName CopyOptionGroup", copySnapshot},
		"DescribeDBSnapshots":       {"DBInstanceIdentifier DBSnapshotIdentifier SnapshotType Filters MaxRecords Marker IncludeShared IncludePublic DbiResourceId", describeSnapshots},
		"DeleteDBSnapshot":          {"DBSnapshotIdentifier!", deleteSnapshot},
		"ModifyDBSnapshotAttribute": {"DBSnapshotIdentifier! AttributeName! ValuesToAdd ValuesToRemove", shareSnapshot},
	}
}

// snapshotOf finds a snapshot by name or ARN, in this region.
func (r *region) snapshotOf(name string) (*dbSnapshot, error) {
	if _, _, in, acct, resource := splitARN(name); resource != "" {
		if in != r.name || acct != r.acct.id {
			return nil, gone("DBSnapshotNotFound", "DBSnapshot not found: %s", name)
		}
		name = strings.TrimPrefix(resource, "snapshot:")
	}
	s, ok := r.rds.snapshots.get(name)
	if !ok {
		return nil, gone("DBSnapshotNotFound", "DBSnapshot not found: %s", name)
	}
	return s, nil
}

func createSnapshot(c *call) (any, error) {
	i, err := c.r.instance(c.p.str("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	if i.cluster != nil {
		return nil, refuse("InvalidDBInstanceState", "Snapshots of members of a DB cluster are made of the cluster.")
	}
	if i.DBInstanceStatus != "available" && i.DBInstanceStatus != "storage-optimization" { // API Reference, CreateDBSnapshot
		return nil, refuse("InvalidDBInstanceState", "Cannot create a snapshot because the database instance %s is not currently in the available state.", i.DBInstanceIdentifier)
	}
	s, err := c.snapshot(i, c.p.str("DBSnapshotIdentifier"), c.p.tags("Tags"))
	if err != nil {
		return nil, err
	}
	// The instance says that it is backed up meanwhile.
	i.run("(snapshot)", []Phase{{"backing-up", s.lasts}}, c.now, nil, "available")
	return s.result(c), nil
}

// snapshot begins a manual one of an instance.
func (c *call) snapshot(i *dbInstance, name string, tags []tag) (*dbSnapshot, error) {
	if err := validName("DBSnapshotIdentifier", name); err != nil {
		return nil, err
	}
	if _, ok := c.r.rds.snapshots.get(name); ok {
		return nil, refuse("DBSnapshotAlreadyExists", "Cannot create the snapshot because a snapshot with the identifier %s already exists.", name)
	}
	if err := c.r.quota("ManualSnapshots", c.r.manual(), "SnapshotQuotaExceeded"); err != nil {
		return nil, err
	}
	if tags == nil && i.CopyTagsToSnapshot {
		tags = slices.Clone(i.TagList)
	}
	s := i.snapshot(name, "manual")
	s.TagList = tags
	s.keep(c.now)
	s.run("CreateDBSnapshot", snapshotPhases, c.now, func(at time.Time) {
		if i.source != nil && !i.source.gone {
			c.w.receive(&i.data, &i.source.data, i.DBInstanceArn, c.now)
		}
		s.data = i.data.until(s.began)
	})
	return s, nil
}

// manual counts what the quota counts.
func (r *region) manual() int {
	n := 0
	for _, s := range r.rds.snapshots.live {
		if s.v.SnapshotType == "manual" {
			n++
		}
	}
	return n
}

// snapshot describes one of the instance.
func (i *dbInstance) snapshot(name, kind string) *dbSnapshot {
	return &dbSnapshot{
		DBSnapshotIdentifier: strings.ToLower(name), DBInstanceIdentifier: i.DBInstanceIdentifier, Engine: i.Engine, AllocatedStorage: i.AllocatedStorage, Port: i.port,
		AvailabilityZone: i.AvailabilityZone, VpcId: i.DBSubnetGroup.VpcId, InstanceCreateTime: i.InstanceCreateTime, MasterUsername: i.MasterUsername, EngineVersion: i.EngineVersion,
		LicenseModel: i.LicenseModel, SnapshotType: kind, OptionGroupName: i.OptionGroupMemberships[0].OptionGroupName, StorageType: i.StorageType, Iops: i.Iops,
		Encrypted: i.StorageEncrypted, KmsKeyId: i.KmsKeyId, IAMDatabaseAuthenticationEnabled: i.IAMDatabaseAuthenticationEnabled, DbiResourceId: i.DbiResourceId,
		r: i.r, class: i.DBInstanceClass, dbName: i.DBName,
	}
}

// keep puts a snapshot among the others.
func (s *dbSnapshot) keep(now time.Time) {
	s.DBSnapshotArn = s.r.arn("rds", "snapshot:"+s.DBSnapshotIdentifier)
	s.began = now
	s.r.rds.snapshots.put(now, s.DBSnapshotIdentifier, s)
}

// run lets a snapshot or a copy come about.
func (s *dbSnapshot) run(action string, phases []Phase, now time.Time, end func(at time.Time)) {
	lasts := phases
	if script, ok := s.r.w.peek(s.r, action, s.DBSnapshotIdentifier); ok {
		lasts = script.phased(phases)
	}
	for _, p := range lasts {
		s.lasts += p.For
	}
	transition{
		r: s.r, action: action, name: s.DBSnapshotIdentifier, phases: phases,
		set: func(status string, at time.Time) { s.Status = status },
		done: func(at time.Time) {
			end(at)
			s.finish(at)
		},
		failed: func(time.Time) { s.Status = "failed" },
		alive:  func() bool { return !s.gone && s.Status != "available" },
	}.begin(now)
}

// finish makes it usable.
func (s *dbSnapshot) finish(at time.Time) {
	s.Status, s.PercentProgress = "available", 100
	s.SnapshotCreateTime = iso(at)
	if s.OriginalSnapshotCreateTime == "" {
		s.OriginalSnapshotCreateTime = iso(s.began)
	}
}

// shown is how it looks now: progress goes by time.
func (s *dbSnapshot) shown(now time.Time) *dbSnapshot {
	v := *s
	if v.Status != "available" && v.Status != "failed" && s.lasts > 0 {
		v.PercentProgress = min(99, int(100*now.Sub(s.began)/s.lasts))
	}
	return &v
}

func (s *dbSnapshot) result(c *call) any {
	return struct{ DBSnapshot *dbSnapshot }{s.shown(c.now)}
}

// backUp makes the automated snapshot that follows the creation of an instance with backups.
func (i *dbInstance) backUp(at time.Time) {
	s := i.snapshot("rds:"+i.DBInstanceIdentifier+"-"+at.UTC().Format("2006-01-02-15-04"), "automated")
	s.keep(at)
	s.data = i.data.until(at)
	s.finish(at)
}

// copySnapshot copies one, in a region or from another.
func copySnapshot(c *call) (any, error) {
	p := c.p
	source, err := c.sourceSnapshot(p.str("SourceDBSnapshotIdentifier"))
	if err != nil {
		return nil, err
	}
	abroad := source.r.name != c.r.name
	switch {
	case source.Status != "available":
		return nil, refuse("InvalidDBSnapshotState", "The source snapshot %s is in the %s state, and cannot be copied.", source.DBSnapshotIdentifier, source.Status)
	case abroad && source.SnapshotType == "automated" && !strings.HasPrefix(p.str("SourceDBSnapshotIdentifier"), "arn:"):
		return nil, refuse("InvalidParameterValue", "Source snapshots in other regions are named by their ARN")
	}
	s := *source
	s.restores, s.lasts, s.Status, s.SnapshotCreateTime, s.PercentProgress = nil, 0, "", "", 0
	s.DBSnapshotIdentifier, s.r, s.SnapshotType = strings.ToLower(p.str("TargetDBSnapshotIdentifier")), c.r, "manual"
	s.SourceDBSnapshotIdentifier = source.DBSnapshotArn
	s.TagList = p.tags("Tags")
	if s.TagList == nil && p.flag("CopyTags", false) {
		s.TagList = slices.Clone(source.TagList)
	}
	if err := validName("DBSnapshotIdentifier", s.DBSnapshotIdentifier); err != nil {
		return nil, err
	}
	if _, ok := c.r.rds.snapshots.get(s.DBSnapshotIdentifier); ok {
		return nil, refuse("DBSnapshotAlreadyExists", "Cannot create the snapshot because a snapshot with the identifier %s already exists.", s.DBSnapshotIdentifier)
	}
	if s.Encrypted, s.KmsKeyId, err = c.copyKey(source.Encrypted, source.KmsKeyId, source.r, abroad); err != nil {
		return nil, err
	}
	if err := c.r.quota("ManualSnapshots", c.r.manual(), "SnapshotQuotaExceeded"); err != nil {
		return nil, err
	}
	phases := localCopy
	if abroad {
		s.SourceRegion, phases = source.r.name, copyPhases
		s.VpcId, s.AvailabilityZone, s.OptionGroupName = "", "", "default:"+s.Engine+"-"+strings.ReplaceAll(major(s.Engine, s.EngineVersion), ".", "-")
		if n := c.r.copying(); n >= copiesAtOnce {
			return nil, refuse("SnapshotQuotaExceeded", "You can't have more than %d snapshot copies in progress to a destination region.", copiesAtOnce)
		}
	}
	kept := &s
	kept.keep(c.now)
	kept.run(c.action, phases, c.now, func(time.Time) {})
	return kept.result(c), nil
}

// copying counts copies of instances' snapshots from other regions that are under way.
func (r *region) copying() int {
	n := 0
	for _, s := range r.rds.snapshots.live {
		if s.v.SourceRegion != "" && (s.v.Status == "copying" || s.v.Status == "pending") {
			n++
		}
	}
	return n
}

// clusterCopying counts those of clusters' snapshots.
func (r *region) clusterCopying() int {
	n := 0
	for _, s := range r.rds.clusterSnapshots.live {
		if s.v.abroad && s.v.Status == "copying" {
			n++
		}
	}
	return n
}

// sourceSnapshot finds what is to be copied: here by name, by ARN in another region, or in another account that shares it.
func (c *call) sourceSnapshot(name string) (*dbSnapshot, error) {
	partition, service, in, acct, resource := splitARN(name)
	if resource == "" {
		return c.r.snapshotOf(name)
	}
	id, ok := strings.CutPrefix(resource, "snapshot:")
	if service != "rds" || !ok || partition != partitionOf(c.r.name) {
		return nil, refuse("InvalidParameterValue", "Invalid snapshot ARN: %s", name)
	}
	if c.w.down(acct, in) {
		return nil, refuse("InvalidParameterValue", "The source region %s could not be reached", in)
	}
	s, ok := c.w.region(acct, in).rds.snapshots.get(id)
	if !ok || acct != c.account && !slices.Contains(s.restores, c.account) {
		return nil, gone("DBSnapshotNotFound", "Source snapshot not found: %s", name)
	}
	return s, nil
}

// copyKey decides how a copy is encrypted. An encrypted snapshot that changes regions needs a key of the target's region, and a
// request that is signed for the source's (RDS API Reference, CopyDBSnapshot).
func (c *call) copyKey(encrypted bool, key string, from *region, abroad bool) (bool, string, error) {
	given := c.p.str("KmsKeyId")
	if encrypted && abroad {
		if given == "" {
			return false, "", refuse("InvalidParameterCombination", "An encrypted snapshot can't be copied to another region without KmsKeyId, a key of that region.")
		}
		if err := c.presigned(from); err != nil {
			return false, "", err
		}
	}
	if given == "" {
		return encrypted, key, nil
	}
	arn, err := c.r.usableKey(given)
	return true, arn, err
}

// presigned checks the request that the source's region would be asked.
func (c *call) presigned(from *region) error {
	u, err := url.Parse(c.p.str("PreSignedUrl"))
	if err != nil || c.p.str("PreSignedUrl") == "" {
		return refuse("InvalidParameterCombination", "PreSignedUrl is needed to copy what is encrypted from another region.")
	}
	q := u.Query()
	parts := strings.Split(q.Get("X-Amz-Credential"), "/")
	if q.Get("Action") != c.action || len(parts) != 5 || parts[2] != from.name || q.Get("X-Amz-Signature") == "" {
		return refuse("InvalidParameterValue", "PreSignedUrl is not one of %s in %s", c.action, from.name)
	}
	return nil
}

// usableKey finds a KMS key of the region that is enabled.
func (r *region) usableKey(name string) (string, error) {
	arn, ok := r.keys[name]
	if !ok || r.disabled[arn] {
		return "", refuse("KMSKeyNotAccessibleFault", "The specified KMS key [%s] does not exist, is not enabled or you do not have permissions to access it.", name)
	}
	return arn, nil
}

func describeSnapshots(c *call) (any, error) {
	p := c.p
	var out struct {
		Marker      string        `xml:",omitempty"`
		DBSnapshots []*dbSnapshot `xml:"DBSnapshots>DBSnapshot"`
	}
	if name := p.str("DBSnapshotIdentifier"); name != "" {
		s, err := c.r.snapshotOf(name)
		if err != nil {
			return nil, err
		}
		out.DBSnapshots = []*dbSnapshot{s.shown(c.now)}
		return out, nil
	}
	filters := p.filters("Filters")
	for name := range filters {
		if !slices.Contains([]string{"db-instance-id", "db-snapshot-id", "dbi-resource-id", "snapshot-type", "engine"}, name) {
			return nil, refuse("InvalidParameterValue", "Unrecognized filter name: %s", name)
		}
	}
	found := slices.DeleteFunc(c.r.rds.snapshots.all(c.now, c.w.opts.Lag), func(s *dbSnapshot) bool {
		for name, value := range map[string]string{"db-instance-id": s.DBInstanceIdentifier, "db-snapshot-id": s.DBSnapshotIdentifier, "dbi-resource-id": s.DbiResourceId, "snapshot-type": s.SnapshotType, "engine": s.Engine} {
			if values, ok := filters[name]; ok && !slices.Contains(values, value) {
				return true
			}
		}
		id, kind, resource := p.str("DBInstanceIdentifier"), p.str("SnapshotType"), p.str("DbiResourceId")
		return id != "" && !strings.EqualFold(id, s.DBInstanceIdentifier) || kind != "" && kind != s.SnapshotType || resource != "" && resource != s.DbiResourceId
	})
	page, marker, err := paged(c, found, func(s *dbSnapshot) string { return s.DBSnapshotIdentifier })
	for _, s := range page {
		out.DBSnapshots = append(out.DBSnapshots, s.shown(c.now))
	}
	out.Marker = marker
	return out, err
}

func deleteSnapshot(c *call) (any, error) {
	s, err := c.r.snapshotOf(c.p.str("DBSnapshotIdentifier"))
	if err != nil {
		return nil, err
	}
	if s.SnapshotType == "automated" {
		return nil, refuse("InvalidDBSnapshotState", "The snapshot %s is an automated snapshot and cannot be deleted.", s.DBSnapshotIdentifier)
	}
	if s.Status != "available" && s.Status != "failed" && s.Status != "copying" && s.Status != "pending" {
		return nil, refuse("InvalidDBSnapshotState", "Cannot delete the snapshot because it is in the %s state.", s.Status)
	}
	s.gone = true
	c.r.rds.snapshots.remove(c.now, s.DBSnapshotIdentifier)
	s.Status = "deleted"
	return s.result(c), nil
}

func shareSnapshot(c *call) (any, error) {
	s, err := c.r.snapshotOf(c.p.str("DBSnapshotIdentifier"))
	if err != nil {
		return nil, err
	}
	if c.p.str("AttributeName") != "restore" {
		return nil, refuse("InvalidParameterValue", "AttributeName must be restore")
	}
	s.restores = append(s.restores, c.p.list("ValuesToAdd")...)
	s.restores = slices.DeleteFunc(s.restores, func(a string) bool { return slices.Contains(c.p.list("ValuesToRemove"), a) })
	type attribute struct {
		AttributeName   string
		AttributeValues []string `xml:"AttributeValues>AttributeValue"`
	}
	type result struct {
		DBSnapshotIdentifier string
		Attributes           []attribute `xml:"DBSnapshotAttributes>DBSnapshotAttribute"`
	}
	return struct{ DBSnapshotAttributesResult result }{result{s.DBSnapshotIdentifier, []attribute{{"restore", s.restores}}}}, nil
}

// peek is the script that a transition will go by.
func (w *World) peek(r *region, action, name string) (Script, bool) {
	for i := len(w.played) - 1; i >= 0; i-- {
		s := w.played[i].script
		if !w.played[i].over && fits(s.Account, r.acct.id) && fits(s.Region, r.name) && fits(s.Action, action) && fits(s.Name, name) {
			return s, true
		}
	}
	return Script{}, false
}

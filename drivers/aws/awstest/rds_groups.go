package awstest

import (
	"slices"
	"strings"
)

type zoneName struct{ Name string }

type groupSubnet struct {
	SubnetIdentifier       string
	SubnetAvailabilityZone zoneName
	SubnetStatus           string `xml:",omitempty"` // RDS alone has it
}

type dbSubnetGroup struct {
	DBSubnetGroupName        string
	DBSubnetGroupDescription string
	VpcId                    string
	SubnetGroupStatus        string
	Subnets                  []groupSubnet `xml:"Subnets>Subnet"`
	DBSubnetGroupArn         string

	tags []tag
}

type parameterGroup struct {
	DBParameterGroupName   string
	DBParameterGroupFamily string
	Description            string
	DBParameterGroupArn    string

	tags []tag
}

type optionGroup struct {
	OptionGroupName        string
	OptionGroupDescription string
	EngineName             string
	MajorEngineVersion     string
	OptionGroupArn         string

	tags []tag
}

// engines are what is offered: versions oldest first, the last one being the default.
var engines = map[string][]string{
	"mysql": {"8.0.35", "8.0.40", "8.4.3"}, "mariadb": {"10.11.9", "11.4.4"}, "postgres": {"15.10", "16.6", "17.2"},
	"aurora-mysql": {"8.0.mysql_aurora.3.04.3", "8.0.mysql_aurora.3.08.0"}, "aurora-postgresql": {"15.10", "16.6"},
}

var classes = []string{"db.t3.micro", "db.t3.small", "db.t3.medium", "db.t4g.medium", "db.r5.large", "db.r6g.large", "db.r6g.xlarge", "db.m5.large", "db.m6g.large"}

func defaultPort(engine string) int {
	if strings.Contains(engine, "postgres") {
		return 5432
	}
	return 3306
}

func license(engine string) string {
	if strings.Contains(engine, "postgres") {
		return "postgresql-license"
	}
	return "general-public-license"
}

// major is the part of a version that families and option groups go by.
func major(engine, version string) string {
	parts := strings.SplitN(version, ".", 3)
	if strings.Contains(engine, "postgres") || len(parts) < 2 {
		return parts[0]
	}
	return parts[0] + "." + parts[1]
}

func familyOf(engine, version string) string { return engine + major(engine, version) }

// version finds what a version given in short or not at all means.
func (r *region) version(engine, version string) (string, error) {
	known, ok := r.w.engines[engine]
	if !ok {
		return "", refuse("InvalidParameterValue", "Invalid DB engine: %s", engine)
	}
	if version == "" {
		return known[len(known)-1], nil
	}
	for i := len(known) - 1; i >= 0; i-- {
		if known[i] == version || strings.HasPrefix(known[i], version+".") {
			return known[i], nil
		}
	}
	return "", refuse("InvalidParameterCombination", "Cannot find version %s for %s", version, engine)
}

// offers refuses classes and versions that the region does not have; World.Withhold takes some away.
func (r *region) offers(engine, version, class string) error {
	if slices.Contains(r.w.classes, class) && slices.Contains(r.w.engines[engine], version) && !r.withheld(engine, version, class) {
		return nil
	}
	return refuse("InvalidParameterCombination", "RDS does not support creating a DB instance with the following combination: DBInstanceClass=%s, Engine=%s, EngineVersion=%s. For supported combinations of instance class and database engine version, see the documentation.", class, engine, version)
}

func (r *region) withheld(engine, version, class string) bool {
	return slices.ContainsFunc(r.w.held, func(h [5]string) bool {
		return fits(h[0], r.acct.id) && fits(h[1], r.name) && fits(h[2], engine) && fits(h[3], version) && fits(h[4], class)
	})
}

// Withhold takes engine versions and classes away from regions: patterns as in path.Match, "" for all.
func (w *World) Withhold(acct, in, engine, version, class string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, [5]string{acct, in, engine, version, class})
}

// quotas are AWS's defaults (RDS User Guide, "Quotas"), by the names of DescribeAccountAttributes.
var quotas = map[string]int{"DBInstances": 40, "ManualSnapshots": 100, "DBClusters": 40, "DBSubnetGroups": 50, "DBParameterGroups": 50, "ManualClusterSnapshots": 100, "ReadReplicasPerMaster": 15}

// Quota sets a quota of RDS in a region.
func (w *World) Quota(acct, in, name string, limit int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.region(acct, in).rds.quotas[name] = limit
}

func (r *region) limitOf(name string) int {
	if n, ok := r.rds.quotas[name]; ok {
		return n
	}
	return quotas[name]
}

func (r *region) quota(name string, used int, code string) error {
	if used >= r.limitOf(name) {
		return refuse(code, "Cannot create more than %d: the quota %s is used up.", r.limitOf(name), name)
	}
	return nil
}

// furnish makes the default groups.
func (s *rdsState) furnish(r *region) {
	s.quotas = map[string]int{}
	s.subnetGroups.put(r.w.opts.Now(), "default", r.subnetGroup("default", "default", r.net.subnets))
	for engine, versions := range r.w.engines {
		for _, v := range versions {
			s.stock(r, engine, v)
		}
	}
}

// stock makes the default groups of an engine's version, where they are missing.
func (s *rdsState) stock(r *region, engine, version string) {
	now, family := r.w.opts.Now(), familyOf(engine, version)
	name := "default." + family
	if _, ok := s.parameterGroups.get(name); !ok {
		s.parameterGroups.put(now, name, r.parameterGroup("pg:", name, family, "Default parameter group for "+family))
	}
	if _, ok := s.clusterGroups.get(name); !ok && strings.HasPrefix(engine, "aurora") {
		s.clusterGroups.put(now, name, r.parameterGroup("cluster-pg:", name, family, "Default cluster parameter group for "+family))
	}
	option := "default:" + engine + "-" + strings.ReplaceAll(major(engine, version), ".", "-")
	if _, ok := s.optionGroups.get(option); !ok {
		s.optionGroups.put(now, option, &optionGroup{option, "Default option group for " + engine, engine, major(engine, version), r.arn("rds", "og:"+option), nil})
	}
}

func (r *region) subnetGroup(name, description string, subnets []subnet) *dbSubnetGroup {
	g := &dbSubnetGroup{DBSubnetGroupName: name, DBSubnetGroupDescription: description, VpcId: r.net.vpc, SubnetGroupStatus: "Complete", DBSubnetGroupArn: r.arn("rds", "subgrp:"+name)}
	for _, s := range subnets {
		g.Subnets = append(g.Subnets, groupSubnet{s.SubnetId, zoneName{s.AvailabilityZone}, "Active"})
	}
	return g
}

func (r *region) parameterGroup(prefix, name, family, description string) *parameterGroup {
	return &parameterGroup{name, family, description, r.arn("rds", prefix+name), nil}
}

func groupActions() map[string]action {
	return map[string]action{
		"CreateDBSubnetGroup":                {"DBSubnetGroupName! DBSubnetGroupDescription! SubnetIds! Tags", createSubnetGroup},
		"DescribeDBSubnetGroups":             {"DBSubnetGroupName Filters MaxRecords Marker", describeSubnetGroups},
		"DeleteDBSubnetGroup":                {"DBSubnetGroupName!", deleteSubnetGroup},
		"CreateDBParameterGroup":             {"DBParameterGroupName! DBParameterGroupFamily! Description! Tags", createParameterGroup},
		"DescribeDBParameterGroups":          {"DBParameterGroupName Filters MaxRecords Marker", describeParameterGroups},
		"CreateOptionGroup":                  {"OptionGroupName! EngineName! MajorEngineVersion! OptionGroupDescription! Tags", createOptionGroup},
		"DescribeOptionGroups":               {"OptionGroupName Filters MaxRecords Marker EngineName MajorEngineVersion", describeOptionGroups},
		"DescribeDBEngineVersions":           {"Engine EngineVersion DBParameterGroupFamily DefaultOnly MaxRecords Marker", describeEngineVersions},
		"DescribeOrderableDBInstanceOptions": {"Engine! EngineVersion DBInstanceClass LicenseModel Vpc MaxRecords Marker", describeOrderable},
		"DescribeAccountAttributes":          {"", describeAccount},
		"ListTagsForResource":                {"ResourceName! Filters", listTags},
		"AddTagsToResource":                  {"ResourceName! Tags!", addTags},
		"RemoveTagsFromResource":             {"ResourceName! TagKeys!", removeTags},
	}
}

func createSubnetGroup(c *call) (any, error) {
	name := strings.ToLower(c.p.str("DBSubnetGroupName"))
	if _, ok := c.r.rds.subnetGroups.get(name); ok {
		return nil, refuse("DBSubnetGroupAlreadyExists", "The DB subnet group '%s' already exists.", name)
	}
	var chosen []subnet
	zones := map[string]bool{}
	for _, id := range c.p.list("SubnetIds") {
		at := slices.IndexFunc(c.r.net.subnets, func(s subnet) bool { return s.SubnetId == id })
		if at < 0 {
			return nil, refuse("InvalidSubnet", "The subnet ID '%s' does not exist", id)
		}
		chosen = append(chosen, c.r.net.subnets[at])
		zones[c.r.net.subnets[at].AvailabilityZone] = true
	}
	if len(zones) < 2 {
		return nil, refuse("DBSubnetGroupDoesNotCoverEnoughAZs", "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: %d. Add subnets to cover at least 2 AZs.", len(zones))
	}
	g := c.r.subnetGroup(name, c.p.str("DBSubnetGroupDescription"), chosen)
	g.tags = c.p.tags("Tags")
	c.r.rds.subnetGroups.put(c.now, name, g)
	return struct{ DBSubnetGroup *dbSubnetGroup }{g}, nil
}

// named is one thing by name, or the page that the call asks for.
func named[T any](c *call, t *table[T], name string, missing error, id func(T) string) ([]T, string, error) {
	if name != "" {
		v, ok := t.get(name)
		if !ok {
			return nil, "", missing
		}
		return []T{v}, "", nil
	}
	return paged(c, t.all(c.now, c.w.opts.Lag), id)
}

func describeSubnetGroups(c *call) (any, error) {
	name := c.p.str("DBSubnetGroupName")
	found, marker, err := named(c, &c.r.rds.subnetGroups, name, gone("DBSubnetGroupNotFoundFault", "DBSubnetGroup '%s' does not exist.", name), func(g *dbSubnetGroup) string { return g.DBSubnetGroupName })
	return struct {
		Marker string           `xml:",omitempty"`
		Groups []*dbSubnetGroup `xml:"DBSubnetGroups>DBSubnetGroup"`
	}{marker, found}, err
}

func deleteSubnetGroup(c *call) (any, error) {
	name := c.p.str("DBSubnetGroupName")
	if _, ok := c.r.rds.subnetGroups.get(name); !ok {
		return nil, gone("DBSubnetGroupNotFoundFault", "DBSubnetGroup '%s' does not exist.", name)
	}
	for _, i := range c.r.rds.instances.live {
		if strings.EqualFold(i.v.DBSubnetGroup.DBSubnetGroupName, name) {
			return nil, refuse("InvalidDBSubnetGroupStateFault", "Cannot delete the subnet group '%s' because at least one database instance: %s is still using it.", name, i.v.DBInstanceIdentifier)
		}
	}
	c.r.rds.subnetGroups.remove(c.now, name)
	return nil, nil
}

func createParameterGroup(c *call) (any, error) {
	name := strings.ToLower(c.p.str("DBParameterGroupName"))
	if _, ok := c.r.rds.parameterGroups.get(name); ok {
		return nil, refuse("DBParameterGroupAlreadyExists", "Parameter group %s already exists", name)
	}
	family := c.p.str("DBParameterGroupFamily")
	if _, ok := c.r.rds.parameterGroups.get("default." + family); !ok {
		return nil, refuse("InvalidParameterValue", "ParameterGroupFamily %s is not a valid parameter group family", family)
	}
	g := c.r.parameterGroup("pg:", name, family, c.p.str("Description"))
	g.tags = c.p.tags("Tags")
	c.r.rds.parameterGroups.put(c.now, name, g)
	return struct{ DBParameterGroup *parameterGroup }{g}, nil
}

func describeParameterGroups(c *call) (any, error) {
	name := c.p.str("DBParameterGroupName")
	found, marker, err := named(c, &c.r.rds.parameterGroups, name, gone("DBParameterGroupNotFound", "DBParameterGroup not found: %s", name), func(g *parameterGroup) string { return g.DBParameterGroupName })
	return struct {
		Marker string            `xml:",omitempty"`
		Groups []*parameterGroup `xml:"DBParameterGroups>DBParameterGroup"`
	}{marker, found}, err
}

func createOptionGroup(c *call) (any, error) {
	name := strings.ToLower(c.p.str("OptionGroupName"))
	if _, ok := c.r.rds.optionGroups.get(name); ok {
		return nil, refuse("OptionGroupAlreadyExistsFault", "An option group named '%s' already exists.", name)
	}
	g := &optionGroup{name, c.p.str("OptionGroupDescription"), c.p.str("EngineName"), c.p.str("MajorEngineVersion"), c.r.arn("rds", "og:"+name), c.p.tags("Tags")}
	c.r.rds.optionGroups.put(c.now, name, g)
	return struct{ OptionGroup *optionGroup }{g}, nil
}

func describeOptionGroups(c *call) (any, error) {
	name, engine := c.p.str("OptionGroupName"), c.p.str("EngineName")
	found, marker, err := named(c, &c.r.rds.optionGroups, name, gone("OptionGroupNotFoundFault", "Specified OptionGroupName: %s not found.", name), func(g *optionGroup) string { return g.OptionGroupName })
	found = slices.DeleteFunc(found, func(g *optionGroup) bool { return engine != "" && g.EngineName != engine })
	return struct {
		Groups []*optionGroup `xml:"OptionGroupsList>OptionGroup"`
		Marker string         `xml:",omitempty"`
	}{found, marker}, err
}

func describeEngineVersions(c *call) (any, error) {
	type offered struct {
		Engine, MajorEngineVersion, EngineVersion, DBParameterGroupFamily, Status string
		SupportsReadReplica, SupportsGlobalDatabases                              bool
	}
	var out struct {
		Versions []offered `xml:"DBEngineVersions>DBEngineVersion"`
	}
	engine, version, family := c.p.str("Engine"), c.p.str("EngineVersion"), c.p.str("DBParameterGroupFamily")
	for _, e := range sortedKeys(c.w.engines) {
		for _, v := range c.w.engines[e] {
			f := familyOf(e, v)
			if engine != "" && e != engine || version != "" && v != version && !strings.HasPrefix(v, version+".") || family != "" && f != family || c.r.withheld(e, v, "") {
				continue
			}
			aurora := strings.HasPrefix(e, "aurora")
			out.Versions = append(out.Versions, offered{e, major(e, v), v, f, "available", !aurora, aurora})
		}
	}
	return out, nil
}

func describeOrderable(c *call) (any, error) {
	type option struct {
		Engine, EngineVersion, DBInstanceClass, LicenseModel, StorageType  string
		AvailabilityZones                                                  []zoneName `xml:"AvailabilityZones>AvailabilityZone"`
		MultiAZCapable, ReadReplicaCapable, Vpc, SupportsStorageEncryption bool
		SupportsGlobalDatabases                                            bool
	}
	var found []option
	engine, version, class := c.p.str("Engine"), c.p.str("EngineVersion"), c.p.str("DBInstanceClass")
	var zones []zoneName
	for _, s := range c.r.net.subnets {
		zones = append(zones, zoneName{s.AvailabilityZone})
	}
	for _, v := range c.w.engines[engine] {
		for _, cl := range c.w.classes {
			if (version == "" || v == version) && (class == "" || cl == class) && !c.r.withheld(engine, v, cl) {
				aurora := strings.HasPrefix(engine, "aurora")
				found = append(found, option{engine, v, cl, license(engine), "gp3", zones, true, !aurora, true, true, aurora})
			}
		}
	}
	page, marker, err := paged(c, found, func(o option) string { return o.EngineVersion + "/" + o.DBInstanceClass })
	return struct {
		Options []option `xml:"OrderableDBInstanceOptions>OrderableDBInstanceOption"`
		Marker  string   `xml:",omitempty"`
	}{page, marker}, err
}

func describeAccount(c *call) (any, error) {
	type quota struct {
		AccountQuotaName string
		Used, Max        int
	}
	var out struct {
		Quotas []quota `xml:"AccountQuotas>AccountQuota"`
	}
	s := &c.r.rds
	used := map[string]int{
		"DBInstances": len(s.instances.live), "ManualSnapshots": c.r.manual(), "DBClusters": len(s.clusters.live), "DBSubnetGroups": len(s.subnetGroups.live),
		"DBParameterGroups": len(s.parameterGroups.live), "ManualClusterSnapshots": len(s.clusterSnapshots.live),
	}
	for _, name := range sortedKeys(quotas) {
		out.Quotas = append(out.Quotas, quota{name, used[name], c.r.limitOf(name)})
	}
	return out, nil
}

// tagged finds the tags of anything in RDS by its ARN.
func (c *call) tagged() (*[]tag, error) {
	_, _, in, acct, resource := splitARN(c.p.str("ResourceName"))
	kind, name, _ := strings.Cut(resource, ":")
	s := &c.r.rds
	if in == c.r.name && acct == c.account {
		switch kind {
		case "db":
			if v, ok := s.instances.get(name); ok {
				return &v.TagList, nil
			}
			return nil, gone("DBInstanceNotFound", "DBInstance %s not found.", name)
		case "snapshot":
			if v, ok := s.snapshots.get(name); ok {
				return &v.TagList, nil
			}
			return nil, gone("DBSnapshotNotFound", "DBSnapshot not found: %s", name)
		case "cluster":
			if v, ok := s.clusters.get(name); ok {
				return &v.TagList, nil
			}
			return nil, gone("DBClusterNotFoundFault", "DBCluster %s not found.", name)
		case "cluster-snapshot":
			if v, ok := s.clusterSnapshots.get(name); ok {
				return &v.TagList, nil
			}
			return nil, gone("DBClusterSnapshotNotFoundFault", "DBClusterSnapshot not found: %s", name)
		case "subgrp":
			if v, ok := s.subnetGroups.get(name); ok {
				return &v.tags, nil
			}
		case "pg":
			if v, ok := s.parameterGroups.get(name); ok {
				return &v.tags, nil
			}
		case "og":
			if v, ok := s.optionGroups.get(name); ok {
				return &v.tags, nil
			}
		}
	}
	return nil, refuse("InvalidParameterValue", "Invalid resource name: %s", c.p.str("ResourceName"))
}

func listTags(c *call) (any, error) {
	tags, err := c.tagged()
	if err != nil {
		return nil, err
	}
	return struct {
		TagList []tag `xml:"TagList>Tag"`
	}{*tags}, nil
}

func addTags(c *call) (any, error) {
	tags, err := c.tagged()
	if err != nil {
		return nil, err
	}
	for _, t := range c.p.tags("Tags") {
		*tags = append(slices.DeleteFunc(slices.Clone(*tags), func(o tag) bool { return o.Key == t.Key }), t)
	}
	return nil, nil
}

func removeTags(c *call) (any, error) {
	tags, err := c.tagged()
	if err != nil {
		return nil, err
	}
	keys := c.p.list("TagKeys")
	*tags = slices.DeleteFunc(slices.Clone(*tags), func(o tag) bool { return slices.Contains(keys, o.Key) })
	return nil, nil
}

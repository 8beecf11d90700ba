package awstest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// cacheState is what ElastiCache keeps of an account in a region.
type cacheState struct {
	groups          table[*cacheGroup]
	snapshots       table[*cacheSnapshot]
	subnetGroups    table[*cacheSubnetGroup]
	parameterGroups table[*cacheParameterGroup]
}

type cacheSubnetGroup struct {
	CacheSubnetGroupName        string
	CacheSubnetGroupDescription string
	VpcId                       string
	Subnets                     []groupSubnet `xml:"Subnets>Subnet"`
	ARN                         string
}

type cacheParameterGroup struct {
	CacheParameterGroupName, CacheParameterGroupFamily, Description string
	IsGlobal                                                        bool
	ARN                                                             string
}

type cacheNode struct {
	CacheClusterId            string
	CacheNodeId               string
	ReadEndpoint              *endpoint `xml:",omitempty"`
	PreferredAvailabilityZone string
	CurrentRole               string `xml:",omitempty"`
}

type nodeGroup struct {
	NodeGroupId      string
	Status           string
	PrimaryEndpoint  *endpoint   `xml:",omitempty"`
	ReaderEndpoint   *endpoint   `xml:",omitempty"`
	NodeGroupMembers []cacheNode `xml:"NodeGroupMembers>NodeGroupMember"`
}

type globalInfo struct{ GlobalReplicationGroupId, GlobalReplicationGroupMemberRole string }

// cacheGroup is a replication group.
type cacheGroup struct {
	ReplicationGroupId         string
	Description                string
	GlobalReplicationGroupInfo *globalInfo `xml:",omitempty"`
	Status                     string
	MemberClusters             []string    `xml:"MemberClusters>ClusterId"`
	NodeGroups                 []nodeGroup `xml:"NodeGroups>NodeGroup"`
	AutomaticFailover          string
	MultiAZ                    string
	ConfigurationEndpoint      *endpoint `xml:",omitempty"`
	SnapshotRetentionLimit     int
	SnapshotWindow             string
	ClusterEnabled             bool
	CacheNodeType              string
	AuthTokenEnabled           bool
	TransitEncryptionEnabled   bool
	AtRestEncryptionEnabled    bool
	KmsKeyId                   string `xml:",omitempty"`
	ARN                        string
	ReplicationGroupCreateTime string
	AutoMinorVersionUpgrade    bool
	Engine                     string
	UserGroupIds               []string `xml:"UserGroupIds>member"`

	r                  *region
	version            string
	port               int
	shards, replicas   int
	subnets, parameter string
	domain             string
	tags               []tag
	global             *globalCache
	data               dataset
	from               *cacheSnapshot // that it is created of
	gone               bool
}

var (
	cacheVersions   = map[string][]string{"redis": {"5.0.6", "6.2", "7.0", "7.1"}, "valkey": {"7.2", "8.0", "8.1"}}
	cacheClasses    = []string{"cache.t3.micro", "cache.t4g.small", "cache.m5.large", "cache.m6g.large", "cache.r5.large", "cache.r6g.large"}
	cachePhases     = []Phase{{"creating", 8 * time.Minute}}
	cacheChange     = []Phase{{"modifying", 2 * time.Minute}}
	cacheDelete     = []Phase{{"deleting", 4 * time.Minute}}
	cacheSnapPhases = []Phase{{"creating", 3 * time.Minute}}
)

const cacheTakes = "ReplicationGroupId! ReplicationGroupDescription! GlobalReplicationGroupId AutomaticFailoverEnabled MultiAZEnabled NumCacheClusters NumNodeGroups ReplicasPerNodeGroup CacheNodeType Engine" +
	" EngineVersion CacheParameterGroupName CacheSubnetGroupName SecurityGroupIds Tags SnapshotName Port AutoMinorVersionUpgrade SnapshotRetentionLimit SnapshotWindow AuthToken TransitEncryptionEnabled" +
	" AtRestEncryptionEnabled KmsKeyId PreferredMaintenanceWindow UserGroupIds"

func cacheActions() map[string]action {
	return map[string]action{
		"CreateReplicationGroup":       {cacheTakes, createCache},
		"DescribeCacheClusters":        {"CacheClusterId MaxRecords Marker ShowCacheNodeInfo ShowCacheClustersNotInReplicationGroups", describeCacheNodes},
		"DescribeReplicationGroups":    {"ReplicationGroupId MaxRecords Marker", describeCaches},
		"ModifyReplicationGroup":       {"ReplicationGroupId! ApplyImmediately ReplicationGroupDescription AutomaticFailoverEnabled MultiAZEnabled SecurityGroupIds CacheParameterGroupName CacheNodeType SnapshotRetentionLimit SnapshotWindow AuthToken AuthTokenUpdateStrategy", modifyCache},
		"IncreaseReplicaCount":         {"ReplicationGroupId! ApplyImmediately! NewReplicaCount", growCache},
		"DeleteReplicationGroup":       {"ReplicationGroupId! RetainPrimaryCluster FinalSnapshotIdentifier", deleteCache},
		"CreateSnapshot":               {"SnapshotName! ReplicationGroupId! KmsKeyId Tags", createCacheSnapshot},
		"CopySnapshot":                 {"SourceSnapshotName! TargetSnapshotName! KmsKeyId Tags", copyCacheSnapshot},
		"DescribeSnapshots":            {"ReplicationGroupId SnapshotName SnapshotSource MaxRecords Marker ShowNodeGroupConfig", describeCacheSnapshots},
		"DeleteSnapshot":               {"SnapshotName!", deleteCacheSnapshot},
		"DescribeCacheSubnetGroups":    {"CacheSubnetGroupName MaxRecords Marker", describeCacheSubnetGroups},
		"CreateCacheSubnetGroup":       {"CacheSubnetGroupName! CacheSubnetGroupDescription! SubnetIds! Tags", createCacheSubnetGroup},
		"DescribeCacheParameterGroups": {"CacheParameterGroupName MaxRecords Marker", describeCacheParameterGroups},
		"ListTagsForResource":          {"ResourceName!", listCacheTags},
		"AddTagsToResource":            {"ResourceName! Tags!", addCacheTags},
	}
}

// furnish makes the default groups.
func (s *cacheState) furnish(r *region) {
	now := r.w.opts.Now()
	s.subnetGroups.put(now, "default", r.cacheSubnets("default", "Default", r.net.subnets))
	for _, family := range []string{"redis5.0", "redis6.x", "redis7", "valkey7", "valkey8"} {
		for _, name := range []string{"default." + family, "default." + family + ".cluster.on"} {
			s.parameterGroups.put(now, name, &cacheParameterGroup{name, family, "Default parameter group for " + family, false, r.arn("elasticache", "parametergroup:"+name)})
		}
	}
}

func (r *region) cacheSubnets(name, description string, subnets []subnet) *cacheSubnetGroup {
	g := &cacheSubnetGroup{CacheSubnetGroupName: name, CacheSubnetGroupDescription: description, VpcId: r.net.vpc, ARN: r.arn("elasticache", "subnetgroup:"+name)}
	for _, s := range subnets {
		g.Subnets = append(g.Subnets, groupSubnet{s.SubnetId, zoneName{s.AvailabilityZone}, ""})
	}
	return g
}

func (r *region) cacheGroup(id string) (*cacheGroup, error) {
	g, ok := r.cache.groups.get(id)
	if !ok {
		return nil, gone("ReplicationGroupNotFoundFault", "ReplicationGroup %s not found.", id)
	}
	return g, nil
}

// defaultCacheVersion is the one that a group gets which names none.
func defaultCacheVersion(engine string) string {
	known := cacheVersions[engine]
	if len(known) == 0 {
		return ""
	}
	return known[len(known)-1]
}

func cacheFamily(engine, version string) string {
	switch {
	case engine == "valkey":
		return "valkey" + version[:1]
	case strings.HasPrefix(version, "5"):
		return "redis5.0"
	case strings.HasPrefix(version, "6"):
		return "redis6.x"
	}
	return "redis7"
}

func createCache(c *call) (any, error) {
	p, r := c.p, c.r
	g := &cacheGroup{
		ReplicationGroupId: strings.ToLower(p.str("ReplicationGroupId")), Description: p.str("ReplicationGroupDescription"), Engine: p.strOr("Engine", "redis"), CacheNodeType: p.str("CacheNodeType"),
		TransitEncryptionEnabled: p.flag("TransitEncryptionEnabled", false), AtRestEncryptionEnabled: p.flag("AtRestEncryptionEnabled", false), AuthTokenEnabled: p.has("AuthToken"),
		SnapshotRetentionLimit: p.numOr("SnapshotRetentionLimit", 0), SnapshotWindow: p.strOr("SnapshotWindow", "05:00-06:00"), AutoMinorVersionUpgrade: p.flag("AutoMinorVersionUpgrade", true),
		r: r, version: p.strOr("EngineVersion", defaultCacheVersion(p.strOr("Engine", "redis"))), UserGroupIds: p.list("UserGroupIds"), port: p.numOr("Port", 6379), shards: p.numOr("NumNodeGroups", 1), tags: p.tags("Tags"), subnets: p.strOr("CacheSubnetGroupName", "default"),
	}
	g.replicas = p.numOr("ReplicasPerNodeGroup", p.numOr("NumCacheClusters", 1)-1)
	g.AutomaticFailover, g.MultiAZ = enabled(p.flag("AutomaticFailoverEnabled", false)), enabled(p.flag("MultiAZEnabled", false))
	var err error
	if g.global, err = c.joiningCache(g); err != nil {
		return nil, err
	}
	if name := p.str("SnapshotName"); name != "" {
		s, ok := r.cache.snapshots.get(name)
		if !ok || s.SnapshotStatus != "available" {
			return nil, refuse("InvalidParameterValue", "Snapshot %s does not exist or is not available", name)
		}
		g.from = s
		g.data, g.CacheNodeType, g.shards = s.data, p.strOr("CacheNodeType", s.CacheNodeType), max(g.shards, s.NumNodeGroups)
	}
	if err := c.checkCache(g); err != nil {
		return nil, err
	}
	g.ARN = r.arn("elasticache", "replicationgroup:"+g.ReplicationGroupId)
	g.ReplicationGroupCreateTime = iso(c.now)
	r.cache.groups.put(c.now, g.ReplicationGroupId, g)
	g.ClusterEnabled = g.shards > 1 || strings.HasSuffix(g.parameter, ".cluster.on")
	for s := range g.shards {
		for n := range g.replicas + 1 {
			g.MemberClusters = append(g.MemberClusters, g.node(s, n))
		}
	}
	if g.global != nil {
		g.global.join(c, g)
	}
	g.run(c.action, cachePhases, c.now, func(time.Time) { g.open() })
	return g.result(), nil
}

// checkCache refuses what ElastiCache refuses.
func (c *call) checkCache(g *cacheGroup) error {
	p, r := c.p, c.r
	if !identifier.MatchString(g.ReplicationGroupId) || len(g.ReplicationGroupId) > 40 {
		return refuse("InvalidParameterValue", "The parameter ReplicationGroupIdentifier is not a valid identifier. It must be at most 40 letters, digits and single hyphens, and begin with a letter.")
	}
	if _, ok := r.cache.groups.get(g.ReplicationGroupId); ok {
		return refuse("ReplicationGroupAlreadyExists", "Replication group %s already exists.", g.ReplicationGroupId)
	}
	if c.nodes()+g.shards*(g.replicas+1) > r.nodesMost() {
		return tooManyNodes()
	}
	if !slices.Contains(r.w.cacheVersions[g.Engine], g.version) {
		return refuse("InvalidParameterCombination", "Cannot find version %s for %s", g.version, g.Engine)
	}
	if !slices.Contains(r.w.cacheClasses, g.CacheNodeType) || r.withheld(g.Engine, g.version, g.CacheNodeType) {
		return refuse("InvalidParameterValue", "Invalid Cache Node Type: %s.", g.CacheNodeType)
	}
	if _, ok := r.cache.subnetGroups.get(g.subnets); !ok {
		return refuse("CacheSubnetGroupNotFoundFault", "Cache Subnet Group %s does not exist.", g.subnets)
	}
	name := "default." + cacheFamily(g.Engine, g.version)
	if g.shards > 1 {
		name += ".cluster.on"
	}
	g.parameter = p.strOr("CacheParameterGroupName", name)
	if _, ok := r.cache.parameterGroups.get(g.parameter); !ok && !strings.HasPrefix(g.parameter, "global-datastore-") {
		return gone("CacheParameterGroupNotFound", "CacheParameterGroup %s not found.", g.parameter)
	}
	for _, id := range p.list("SecurityGroupIds") {
		if !slices.ContainsFunc(r.net.groups, func(s securityGroup) bool { return s.GroupId == id }) {
			return refuse("InvalidParameterValue", "Some security group Ids are invalid: [%s]", id)
		}
	}
	if g.AutomaticFailover == "enabled" && g.replicas < 1 && g.shards == 1 {
		return refuse("InvalidParameterCombination", "Automatic failover is enabled; at least one replica is needed.")
	}
	if g.shards > 1 && g.AutomaticFailover != "enabled" {
		return refuse("InvalidParameterCombination", "Automatic failover must be enabled in cluster mode.")
	}
	if len(g.UserGroupIds) > 0 && (!g.TransitEncryptionEnabled || g.AuthTokenEnabled) {
		return refuse("InvalidParameterCombination", "User groups need TransitEncryptionEnabled, and no AuthToken.")
	}
	if g.AuthTokenEnabled && !g.TransitEncryptionEnabled {
		return refuse("InvalidParameterCombination", "AuthToken needs TransitEncryptionEnabled.")
	}
	if key := p.str("KmsKeyId"); key != "" {
		arn, err := r.usableKey(key)
		if err != nil {
			return refuse("InvalidKMSKeyFault", "The KMS key %s is not usable here", key)
		}
		g.KmsKeyId = arn
	}
	return nil
}

func enabled(on bool) string {
	if on {
		return "enabled"
	}
	return "disabled"
}

func (g *cacheGroup) node(shard, n int) string {
	if g.shards > 1 {
		return fmt.Sprintf("%s-%04d-%03d", g.ReplicationGroupId, shard+1, n+1)
	}
	return fmt.Sprintf("%s-%03d", g.ReplicationGroupId, n+1)
}

// open gives the group its endpoints and node groups.
func (g *cacheGroup) open() {
	g.domain = strings.TrimPrefix(g.r.unique(), "c") + "." + g.r.name + ".cache." + suffix(g.r.name)
	g.furnish()
}

// furnish makes its node groups.
func (g *cacheGroup) furnish() {
	domain := g.domain
	g.NodeGroups = nil
	for s := range g.shards {
		ng := nodeGroup{NodeGroupId: fmt.Sprintf("%04d", s+1), Status: "available"}
		if !g.ClusterEnabled {
			ng.PrimaryEndpoint = &endpoint{Address: "master." + g.ReplicationGroupId + "." + domain, Port: g.port}
			ng.ReaderEndpoint = &endpoint{Address: "replica." + g.ReplicationGroupId + "." + domain, Port: g.port}
		}
		for n := range g.replicas + 1 {
			node := cacheNode{CacheClusterId: g.node(s, n), CacheNodeId: "0001", PreferredAvailabilityZone: g.r.net.subnets[n%3].AvailabilityZone}
			if !g.ClusterEnabled {
				node.ReadEndpoint = &endpoint{Address: node.CacheClusterId + "." + domain, Port: g.port}
				node.CurrentRole = map[bool]string{true: "primary", false: "replica"}[n == 0]
			}
			ng.NodeGroupMembers = append(ng.NodeGroupMembers, node)
		}
		g.NodeGroups = append(g.NodeGroups, ng)
	}
	if g.ClusterEnabled {
		g.ConfigurationEndpoint = &endpoint{Address: "clustercfg." + g.ReplicationGroupId + "." + domain, Port: g.port}
	}
}

// run lets a transition of the group begin that ends in "available".
func (g *cacheGroup) run(action string, phases []Phase, now time.Time, end func(at time.Time)) {
	transition{
		r: g.r, action: action, name: g.ReplicationGroupId, phases: phases,
		set: func(status string, _ time.Time) { g.Status = status },
		done: func(at time.Time) {
			g.Status = "available"
			if end != nil {
				end(at)
			}
		},
		failed: func(time.Time) { g.Status = "create-failed" },
		alive:  func() bool { return !g.gone && (g.Status != "deleting" || action == "DeleteReplicationGroup") },
	}.begin(now)
}

func (g *cacheGroup) shown() *cacheGroup {
	v := *g
	if g.global != nil {
		v.GlobalReplicationGroupInfo = &globalInfo{g.global.GlobalReplicationGroupId, strings.ToUpper(g.global.role(g))}
	}
	return &v
}

func (g *cacheGroup) result() any { return struct{ ReplicationGroup *cacheGroup }{g.shown()} }

func (g *cacheGroup) usable() error {
	if g.Status != "available" {
		return refuse("InvalidReplicationGroupState", "Replication group %s is in the %s state.", g.ReplicationGroupId, g.Status)
	}
	return nil
}

func describeCaches(c *call) (any, error) {
	id := c.p.str("ReplicationGroupId")
	found, marker, err := named(c, &c.r.cache.groups, id, gone("ReplicationGroupNotFoundFault", "ReplicationGroup %s not found.", id), func(g *cacheGroup) string { return g.ReplicationGroupId })
	var out struct {
		Marker string        `xml:",omitempty"`
		Groups []*cacheGroup `xml:"ReplicationGroups>ReplicationGroup"`
	}
	for _, g := range found {
		out.Groups = append(out.Groups, g.shown())
	}
	out.Marker = marker
	return out, err
}

func modifyCache(c *call) (any, error) {
	p := c.p
	g, err := c.r.cacheGroup(p.str("ReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	if err := g.usable(); err != nil {
		return nil, err
	}
	if g.global != nil && (p.has("CacheNodeType") || p.has("AutomaticFailoverEnabled")) {
		return nil, refuse("InvalidReplicationGroupState", "Replication group %s is part of a global cluster: modify that", g.ReplicationGroupId)
	}
	g.Description = p.strOr("ReplicationGroupDescription", g.Description)
	g.CacheNodeType = p.strOr("CacheNodeType", g.CacheNodeType)
	g.SnapshotRetentionLimit = p.numOr("SnapshotRetentionLimit", g.SnapshotRetentionLimit)
	g.SnapshotWindow = p.strOr("SnapshotWindow", g.SnapshotWindow)
	if p.flag("AutomaticFailoverEnabled", false) && g.replicas < 1 && g.shards == 1 {
		return nil, refuse("InvalidParameterCombination", "Automatic failover needs at least one replica.")
	}
	if p.has("AutomaticFailoverEnabled") {
		g.AutomaticFailover = enabled(p.flag("AutomaticFailoverEnabled", false))
	}
	if p.has("MultiAZEnabled") {
		g.MultiAZ = enabled(p.flag("MultiAZEnabled", false))
	}
	g.run(c.action, cacheChange, c.now, nil)
	return g.result(), nil
}

func deleteCache(c *call) (any, error) {
	g, err := c.r.cacheGroup(c.p.str("ReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	if g.global != nil {
		return nil, refuse("InvalidReplicationGroupState", "Cluster %s is part of a global cluster and cannot be deleted.", g.ReplicationGroupId)
	}
	if err := g.usable(); err != nil && g.Status != "create-failed" {
		return nil, err
	}
	if c.p.flag("RetainPrimaryCluster", false) {
		return nil, &apiError{501, "NotImplemented", "awstest does not keep single clusters"}
	}
	if final := c.p.str("FinalSnapshotIdentifier"); final != "" {
		if _, err := c.cacheSnapshot(g, final, nil); err != nil {
			return nil, err
		}
	}
	g.run(c.action, cacheDelete, c.now, func(at time.Time) {
		g.gone = true
		c.r.cache.groups.remove(at, g.ReplicationGroupId)
	})
	return g.result(), nil
}

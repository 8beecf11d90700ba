package awstest

import (
	"slices"
	"strings"
	"time"
)

type globalCacheMember struct{ ReplicationGroupId, ReplicationGroupRegion, Role, AutomaticFailover, Status string }

// globalCache is a global datastore. The regions of its members see it.
type globalCache struct {
	GlobalReplicationGroupId          string
	GlobalReplicationGroupDescription string
	Status                            string
	CacheNodeType                     string
	Engine                            string
	EngineVersion                     string
	Members                           []globalCacheMember `xml:"Members>GlobalReplicationGroupMember"`
	ClusterEnabled                    bool
	AuthTokenEnabled                  bool
	TransitEncryptionEnabled          bool
	AtRestEncryptionEnabled           bool
	ARN                               string

	primary *cacheGroup
	members []*cacheGroup
	states  map[*cacheGroup]string
	moving  bool // a failover is under way, be it seen yet or not
	gone    bool
}

var (
	globalCreate = []Phase{{"creating", 3 * time.Minute}}
	// globalSwitch begins with a moment in which nothing is to be seen of it yet.
	globalSwitch = []Phase{{"available", 5 * time.Second}, {"modifying", time.Minute}}
	globalLeave  = []Phase{{"modifying", 2 * time.Minute}}
	globalDelete = []Phase{{"deleting", 2 * time.Minute}}
)

func globalCacheActions() map[string]action {
	return map[string]action{
		"CreateGlobalReplicationGroup":       {"GlobalReplicationGroupIdSuffix! GlobalReplicationGroupDescription PrimaryReplicationGroupId! Tags", createGlobalCache},
		"DescribeGlobalReplicationGroups":    {"GlobalReplicationGroupId MaxRecords Marker ShowMemberInfo", describeGlobalCaches},
		"FailoverGlobalReplicationGroup":     {"GlobalReplicationGroupId! PrimaryRegion! PrimaryReplicationGroupId!", failoverCache},
		"DisassociateGlobalReplicationGroup": {"GlobalReplicationGroupId! ReplicationGroupId! ReplicationGroupRegion!", disassociateCache},
		"DeleteGlobalReplicationGroup":       {"GlobalReplicationGroupId! RetainPrimaryReplicationGroup!", deleteGlobalCache},
	}
}

func (c *call) globalCache(id string) (*globalCache, error) {
	g, ok := c.r.acct.caches.get(id)
	if !ok || !slices.ContainsFunc(g.members, func(m *cacheGroup) bool { return m.r == c.r }) {
		return nil, gone("GlobalReplicationGroupNotFoundFault", "Global Replication Group with id %s not found", id)
	}
	return g, nil
}

func (g *globalCache) role(m *cacheGroup) string {
	if m == g.primary {
		return "PRIMARY"
	}
	return "SECONDARY"
}

func (g *globalCache) shown(members bool) *globalCache {
	v := *g
	v.Members = nil
	for _, m := range g.members {
		if members {
			v.Members = append(v.Members, globalCacheMember{m.ReplicationGroupId, m.r.name, g.role(m), m.AutomaticFailover, g.states[m]})
		}
	}
	return &v
}

func (g *globalCache) result() any {
	return struct{ GlobalReplicationGroup *globalCache }{g.shown(true)}
}

// run lets a transition of the global datastore begin; its last state is given.
func (g *globalCache) run(c *call, phases []Phase, end func(at time.Time)) {
	transition{
		r: c.r, action: c.action, name: g.GlobalReplicationGroupId, phases: phases,
		set:    func(status string, _ time.Time) { g.Status = status },
		done:   end,
		failed: func(time.Time) { g.Status, g.moving = "available", false },
		alive:  func() bool { return !g.gone },
	}.begin(c.now)
}

// rest is the state in which a global datastore is when nothing happens to it.
func (g *globalCache) rest() {
	g.Status = "available"
	if len(g.members) == 1 {
		g.Status = "primary-only"
	}
}

func createGlobalCache(c *call) (any, error) {
	p := c.p
	id := "ldgnf-" + strings.ToLower(p.str("GlobalReplicationGroupIdSuffix"))
	if _, ok := c.r.acct.caches.get(id); ok {
		return nil, refuse("GlobalReplicationGroupAlreadyExistsFault", "Global Replication Group with id %s already exists", id)
	}
	m, err := c.r.cacheGroup(p.str("PrimaryReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	if err := m.usable(); err != nil {
		return nil, err
	}
	if m.global != nil || !slices.Contains([]string{"cache.m5.large", "cache.m6g.large", "cache.r5.large", "cache.r6g.large"}, m.CacheNodeType) {
		return nil, refuse("InvalidParameterValue", "Replication group %s can't be the primary of a global datastore: it is one of another, or its node type %s does not support it", m.ReplicationGroupId, m.CacheNodeType)
	}
	g := &globalCache{
		GlobalReplicationGroupId: id, GlobalReplicationGroupDescription: p.str("GlobalReplicationGroupDescription"), CacheNodeType: m.CacheNodeType, Engine: m.Engine, EngineVersion: m.version,
		ClusterEnabled: m.ClusterEnabled, AuthTokenEnabled: m.AuthTokenEnabled, TransitEncryptionEnabled: m.TransitEncryptionEnabled, AtRestEncryptionEnabled: m.AtRestEncryptionEnabled,
		ARN: strings.Join([]string{"arn", partitionOf(c.region), "elasticache", "", c.account, "globalreplicationgroup:" + id}, ":"), primary: m, members: []*cacheGroup{m}, states: map[*cacheGroup]string{m: "associating"},
	}
	m.global = g
	c.r.acct.caches.put(c.now, id, g)
	g.run(c, globalCreate, func(time.Time) {
		g.states[m] = "associated"
		g.rest()
	})
	return g.result(), nil
}

// joiningCache finds the global datastore that a new group is to be a member of, if any.
func (c *call) joiningCache(m *cacheGroup) (*globalCache, error) {
	id := c.p.str("GlobalReplicationGroupId")
	if id == "" {
		return nil, nil
	}
	g, ok := c.r.acct.caches.get(id)
	switch {
	case !ok:
		return nil, gone("GlobalReplicationGroupNotFoundFault", "Global Replication Group with id %s not found", id)
	case g.Status != "available" && g.Status != "primary-only":
		return nil, refuse("InvalidGlobalReplicationGroupState", "Global Replication Group %s is %s", id, g.Status)
	case slices.ContainsFunc(g.members, func(o *cacheGroup) bool { return o.r == c.r }):
		return nil, refuse("InvalidParameterValue", "Global Replication Group %s has a member in %s already", id, c.region)
	case c.p.has("CacheNodeType") || c.p.has("EngineVersion") || c.p.has("NumNodeGroups"):
		return nil, refuse("InvalidParameterCombination", "CacheNodeType, EngineVersion and NumNodeGroups are those of the global datastore")
	}
	m.CacheNodeType, m.version, m.shards, m.Engine = g.CacheNodeType, g.EngineVersion, g.primary.shards, g.Engine
	m.AtRestEncryptionEnabled, m.TransitEncryptionEnabled = g.AtRestEncryptionEnabled, g.TransitEncryptionEnabled
	return g, nil
}

// join makes a new group a member.
func (g *globalCache) join(c *call, m *cacheGroup) {
	g.members = append(g.members, m)
	g.states[m] = "associating"
	g.run(c, []Phase{{"modifying", 10 * time.Minute}}, func(time.Time) {
		g.states[m] = "associated"
		g.rest()
	})
}

func describeGlobalCaches(c *call) (any, error) {
	var out struct {
		Marker string         `xml:",omitempty"`
		Groups []*globalCache `xml:"GlobalReplicationGroups>GlobalReplicationGroup"`
	}
	show := c.p.flag("ShowMemberInfo", false)
	if id := c.p.str("GlobalReplicationGroupId"); id != "" {
		g, err := c.globalCache(id)
		if err != nil {
			return nil, err
		}
		out.Groups = []*globalCache{g.shown(show)}
		return out, nil
	}
	found := slices.DeleteFunc(c.r.acct.caches.all(c.now, c.w.opts.Lag), func(g *globalCache) bool {
		return !slices.ContainsFunc(g.members, func(m *cacheGroup) bool { return m.r == c.r })
	})
	page, marker, err := paged(c, found, func(g *globalCache) string { return g.GlobalReplicationGroupId })
	for _, g := range page {
		out.Groups = append(out.Groups, g.shown(show))
	}
	out.Marker = marker
	return out, err
}

// memberOf finds a member by region and name.
func (g *globalCache) memberOf(region, id string) (*cacheGroup, error) {
	for _, m := range g.members {
		if m.r.name == region && strings.EqualFold(m.ReplicationGroupId, id) {
			return m, nil
		}
	}
	return nil, refuse("InvalidParameterValue", "Replication group %s in %s is no member of %s", id, region, g.GlobalReplicationGroupId)
}

func failoverCache(c *call) (any, error) {
	g, err := c.globalCache(c.p.str("GlobalReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	to, err := g.memberOf(c.p.str("PrimaryRegion"), c.p.str("PrimaryReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	switch {
	case g.Status != "available" || g.moving:
		return nil, refuse("InvalidGlobalReplicationGroupState", "Global Replication Group %s is in the %s state", g.GlobalReplicationGroupId, g.Status)
	case to == g.primary:
		return nil, refuse("InvalidParameterValue", "%s is already the primary of %s", to.ReplicationGroupId, g.GlobalReplicationGroupId)
	case to.Status != "available":
		return nil, to.usable()
	}
	from := g.primary
	c.w.receive(&to.data, &from.data, to.ARN, c.now)
	g.moving = true
	g.run(c, globalSwitch, func(at time.Time) {
		g.primary, g.moving = to, false
		for _, m := range g.members {
			if m != to {
				m.data = to.data.until(at)
			}
		}
		g.rest()
	})
	return g.result(), nil
}

func disassociateCache(c *call) (any, error) {
	g, err := c.globalCache(c.p.str("GlobalReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	m, err := g.memberOf(c.p.str("ReplicationGroupRegion"), c.p.str("ReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	if m == g.primary {
		return nil, refuse("InvalidParameterValue", "The primary %s can't be disassociated", m.ReplicationGroupId)
	}
	if g.Status != "available" {
		return nil, refuse("InvalidGlobalReplicationGroupState", "Global Replication Group %s is in the %s state", g.GlobalReplicationGroupId, g.Status)
	}
	c.w.receive(&m.data, &g.primary.data, m.ARN, c.now)
	g.states[m] = "disassociating"
	g.run(c, globalLeave, func(time.Time) {
		g.members = slices.DeleteFunc(g.members, func(o *cacheGroup) bool { return o == m })
		delete(g.states, m)
		m.global = nil
		g.rest()
	})
	return g.result(), nil
}

func deleteGlobalCache(c *call) (any, error) {
	g, err := c.globalCache(c.p.str("GlobalReplicationGroupId"))
	if err != nil {
		return nil, err
	}
	if len(g.members) > 1 {
		return nil, refuse("InvalidGlobalReplicationGroupState", "Global Replication Group %s has secondaries: disassociate them first", g.GlobalReplicationGroupId)
	}
	if !c.p.flag("RetainPrimaryReplicationGroup", false) {
		return nil, &apiError{501, "NotImplemented", "awstest keeps the primary of a global datastore: say RetainPrimaryReplicationGroup"}
	}
	g.run(c, globalDelete, func(at time.Time) {
		g.gone, g.primary.global = true, nil
		c.r.acct.caches.remove(at, g.GlobalReplicationGroupId)
	})
	return g.result(), nil
}

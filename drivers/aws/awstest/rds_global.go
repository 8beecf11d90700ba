package awstest

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type failoverState struct {
	Status                           string
	FromDbClusterArn, ToDbClusterArn string
	IsDataLossAllowed                bool
}

type globalMember struct {
	DBClusterArn          string
	Readers               []string `xml:"Readers>member"`
	IsWriter              bool
	SynchronizationStatus string `xml:",omitempty"`
}

// globalCluster is an Aurora global database. All regions of its members see it.
type globalCluster struct {
	GlobalClusterIdentifier string
	GlobalClusterResourceId string
	GlobalClusterArn        string
	Status                  string
	Engine                  string
	EngineVersion           string
	DatabaseName            string `xml:",omitempty"`
	StorageEncrypted        bool
	DeletionProtection      bool
	Members                 []globalMember `xml:"GlobalClusterMembers>GlobalClusterMember"`
	FailoverState           *failoverState `xml:",omitempty"`

	home    string // the region it was made in
	writer  *dbCluster
	members []*dbCluster
	resync  map[*dbCluster]bool // members that are rebuilt from the writer
}

var (
	switchoverPhases     = []Phase{{"pending", 5 * time.Second}, {"switching-over", 90 * time.Second}}
	globalFailoverPhases = []Phase{{"pending", 5 * time.Second}, {"failing-over", 2 * time.Minute}}
	detachPhases         = []Phase{{"promoting", time.Minute}}
	// resyncTakes is how long an old primary takes to be a secondary again after a failover, once its region is back.
	resyncTakes = 15 * time.Minute
	cancelTakes = 30 * time.Second
)

func globalActions() map[string]action {
	return map[string]action{
		"CreateGlobalCluster":     {"GlobalClusterIdentifier! SourceDBClusterIdentifier Engine EngineVersion DeletionProtection DatabaseName StorageEncrypted Tags", createGlobal},
		"DescribeGlobalClusters":  {"GlobalClusterIdentifier Filters MaxRecords Marker", describeGlobals},
		"ModifyGlobalCluster":     {"GlobalClusterIdentifier! DeletionProtection", modifyGlobal},
		"DeleteGlobalCluster":     {"GlobalClusterIdentifier!", deleteGlobal},
		"RemoveFromGlobalCluster": {"GlobalClusterIdentifier! DbClusterIdentifier!", removeFromGlobal},
		"SwitchoverGlobalCluster": {"GlobalClusterIdentifier! TargetDbClusterIdentifier!", switchover},
		"FailoverGlobalCluster":   {"GlobalClusterIdentifier! TargetDbClusterIdentifier! AllowDataLoss Switchover", failoverGlobal},
	}
}

func (c *call) global(id string) (*globalCluster, error) {
	g, ok := c.r.acct.globals.get(id)
	if !ok || !g.seen(c.region) {
		return nil, gone("GlobalClusterNotFoundFault", "Global cluster %s not found.", id)
	}
	return g, nil
}

// seen reports whether a region knows of the global cluster.
func (g *globalCluster) seen(region string) bool {
	return region == g.home || slices.ContainsFunc(g.members, func(cl *dbCluster) bool { return cl.r.name == region })
}

func (g *globalCluster) shown() *globalCluster {
	v := *g
	v.Members = nil
	for _, cl := range g.members {
		m := globalMember{DBClusterArn: cl.DBClusterArn, IsWriter: cl == g.writer}
		if !m.IsWriter {
			m.SynchronizationStatus = "connected"
			if g.resync[cl] {
				m.SynchronizationStatus = "pending-resync"
			}
		} else {
			for _, other := range g.members {
				if other != cl {
					m.Readers = append(m.Readers, other.DBClusterArn)
				}
			}
		}
		v.Members = append(v.Members, m)
	}
	return &v
}

func (g *globalCluster) result() any { return struct{ GlobalCluster *globalCluster }{g.shown()} }

func createGlobal(c *call) (any, error) {
	p := c.p
	id := p.str("GlobalClusterIdentifier")
	if err := validName("GlobalClusterIdentifier", id); err != nil {
		return nil, err
	}
	if _, ok := c.r.acct.globals.get(id); ok {
		return nil, refuse("GlobalClusterAlreadyExistsFault", "Global cluster %s already exists", id)
	}
	g := &globalCluster{
		GlobalClusterIdentifier: strings.ToLower(id), Status: "available", Engine: p.str("Engine"), StorageEncrypted: p.flag("StorageEncrypted", false), DatabaseName: p.str("DatabaseName"),
		DeletionProtection: p.flag("DeletionProtection", false), home: c.region, resync: map[*dbCluster]bool{},
	}
	if source := p.str("SourceDBClusterIdentifier"); source != "" {
		if p.has("Engine") || p.has("StorageEncrypted") || p.has("DatabaseName") {
			return nil, refuse("InvalidParameterCombination", "When creating global cluster from existing db cluster, value for engineName should not be specified since it will be inherited from source cluster")
		}
		cl, err := c.r.cluster(source)
		if err != nil {
			return nil, err
		}
		if err := cl.usable(); err != nil {
			return nil, err
		}
		if cl.global != nil {
			return nil, refuse("InvalidDBClusterStateFault", "The cluster %s is already a member of a global cluster", cl.DBClusterIdentifier)
		}
		g.Engine, g.EngineVersion, g.StorageEncrypted, g.DatabaseName = cl.Engine, cl.EngineVersion, cl.StorageEncrypted, cl.DatabaseName
		g.join(cl)
	} else {
		var err error
		if g.EngineVersion, err = c.r.version(g.Engine, p.str("EngineVersion")); err != nil {
			return nil, err
		}
	}
	g.GlobalClusterArn = strings.Join([]string{"arn", partitionOf(c.region), "rds", "", c.account, "global-cluster:" + g.GlobalClusterIdentifier}, ":")
	g.GlobalClusterResourceId = fmt.Sprintf("cluster-%016x", c.w.next())
	c.r.acct.globals.put(c.now, id, g)
	return g.result(), nil
}

// joining checks that a new cluster can be a member.
func (c *call) joining(id string, cl *dbCluster) (*globalCluster, error) {
	g, ok := c.r.acct.globals.get(id)
	if !ok {
		return nil, gone("GlobalClusterNotFoundFault", "Global cluster %s not found.", id)
	}
	switch {
	case cl.Engine != g.Engine:
		return nil, refuse("InvalidParameterValue", "The engine %s does not match the global cluster's engine %s", cl.Engine, g.Engine)
	case g.FailoverState != nil:
		return nil, refuse("InvalidGlobalClusterStateFault", "The global cluster %s is changing", id)
	case slices.ContainsFunc(g.members, func(m *dbCluster) bool { return m.r.name == c.region }):
		return nil, refuse("InvalidParameterCombination", "The global cluster %s has a member in %s already", id, c.region)
	case g.writer != nil && (c.p.has("MasterUsername") || c.p.has("MasterUserPassword") || c.p.has("DatabaseName")):
		return nil, refuse("InvalidParameterCombination", "Cannot specify user name for cross region replication cluster")
	case g.writer != nil && g.StorageEncrypted && !c.p.has("KmsKeyId"):
		return nil, refuse("InvalidParameterCombination", "Source cluster %s is encrypted; pass a kmsKeyId from the current region", g.writer.DBClusterArn)
	}
	if v := c.p.str("EngineVersion"); v != "" && v != g.EngineVersion {
		return nil, refuse("InvalidParameterCombination", "The engine version %s does not match the global cluster's %s", v, g.EngineVersion)
	}
	c.p["EngineVersion"] = []string{g.EngineVersion}
	cl.StorageEncrypted = cl.StorageEncrypted || g.StorageEncrypted
	if g.writer != nil {
		cl.MasterUsername, cl.DatabaseName = g.writer.MasterUsername, g.writer.DatabaseName
	}
	return g, nil
}

// join makes a cluster a member, the first one the writer.
func (g *globalCluster) join(cl *dbCluster) {
	cl.global = g
	g.members = append(g.members, cl)
	if g.writer == nil {
		g.writer = cl
	}
}

// leave makes it none.
func (g *globalCluster) leave(cl *dbCluster) {
	g.members = slices.DeleteFunc(g.members, func(m *dbCluster) bool { return m == cl })
	delete(g.resync, cl)
	cl.global = nil
	if g.writer == cl {
		g.writer = nil
	}
}

func describeGlobals(c *call) (any, error) {
	var out struct {
		Marker         string           `xml:",omitempty"`
		GlobalClusters []*globalCluster `xml:"GlobalClusters>GlobalClusterMember"`
	}
	if id := c.p.str("GlobalClusterIdentifier"); id != "" {
		g, err := c.global(id)
		if err != nil {
			return nil, err
		}
		out.GlobalClusters = []*globalCluster{g.shown()}
		return out, nil
	}
	found := slices.DeleteFunc(c.r.acct.globals.all(c.now, c.w.opts.Lag), func(g *globalCluster) bool { return !g.seen(c.region) })
	page, marker, err := paged(c, found, func(g *globalCluster) string { return g.GlobalClusterIdentifier })
	for _, g := range page {
		out.GlobalClusters = append(out.GlobalClusters, g.shown())
	}
	out.Marker = marker
	return out, err
}

func modifyGlobal(c *call) (any, error) {
	g, err := c.global(c.p.str("GlobalClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	g.DeletionProtection = c.p.flag("DeletionProtection", g.DeletionProtection)
	return g.result(), nil
}

func deleteGlobal(c *call) (any, error) {
	g, err := c.global(c.p.str("GlobalClusterIdentifier"))
	switch {
	case err != nil:
		return nil, err
	case g.DeletionProtection:
		return nil, refuse("InvalidParameterCombination", "Cannot delete protected Global Cluster, please disable deletion protection and try again.")
	case len(g.members) > 0:
		return nil, refuse("InvalidGlobalClusterStateFault", "Global Cluster %s is not empty", g.GlobalClusterArn)
	}
	c.r.acct.globals.remove(c.now, g.GlobalClusterIdentifier)
	v := g.shown()
	v.Status = "deleting"
	return struct{ GlobalCluster *globalCluster }{v}, nil
}

// member finds a member by ARN, or by name in the caller's region.
func (c *call) member(g *globalCluster, name string) (*dbCluster, error) {
	for _, cl := range g.members {
		if cl.DBClusterArn == name || cl.r == c.r && strings.EqualFold(cl.DBClusterIdentifier, name) {
			return cl, nil
		}
	}
	return nil, gone("DBClusterNotFoundFault", "DBCluster %s not found in global cluster %s.", name, g.GlobalClusterIdentifier)
}

func removeFromGlobal(c *call) (any, error) {
	g, err := c.global(c.p.str("GlobalClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	cl, err := c.member(g, c.p.str("DbClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	switch {
	case g.FailoverState != nil:
		return nil, refuse("InvalidGlobalClusterStateFault", "The global cluster %s is %s", g.GlobalClusterIdentifier, g.FailoverState.Status)
	case cl == g.writer && len(g.members) > 1:
		return nil, refuse("InvalidGlobalClusterStateFault", "The writer cluster %s can't be removed while the global cluster has other members", cl.DBClusterArn)
	case cl.Status != "available" && !c.w.down(cl.r.acct.id, cl.r.name):
		return nil, cl.usable()
	}
	if cl == g.writer {
		g.leave(cl)
		return g.result(), nil
	}
	c.w.replicate(cl)
	cl.run(c.action, detachPhases, c.now, func(time.Time) {
		g.leave(cl)
		cl.crown()
	})
	return g.result(), nil
}

// crown makes sure that a cluster which may write has a writer.
func (cl *dbCluster) crown() {
	if cl.writer == nil {
		cl.writer = cl.heir("")
	}
}

func switchover(c *call) (any, error) { return c.changeover(false) }

func failoverGlobal(c *call) (any, error) {
	loss, planned := c.p.flag("AllowDataLoss", false), c.p.flag("Switchover", false)
	if loss && c.p.has("Switchover") || planned && c.p.has("AllowDataLoss") {
		return nil, refuse("InvalidParameterCombination", "Switchover and AllowDataLoss can't be specified together")
	}
	return c.changeover(loss)
}

// changeover makes another member the writer: in order, or as it is with the loss of what had not reached it.
func (c *call) changeover(loss bool) (any, error) {
	g, err := c.global(c.p.str("GlobalClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	if !loss && g.writer != nil && g.writer.r != c.r { // the documents ask for it there; what AWS says elsewhere is not known
		return nil, refuse("InvalidGlobalClusterStateFault", "A switchover is asked for in %s, where the primary cluster %s is", g.writer.r.name, g.writer.DBClusterArn)
	}
	to, err := c.member(g, c.p.str("TargetDbClusterIdentifier"))
	if err != nil {
		return nil, err
	}
	from := g.writer
	down := c.w.down(from.r.acct.id, from.r.name)
	switch {
	case g.FailoverState != nil:
		return nil, refuse("InvalidGlobalClusterStateFault", "The global cluster %s is %s", g.GlobalClusterIdentifier, g.FailoverState.Status)
	case to == from:
		return nil, refuse("InvalidDBClusterStateFault", "The DB cluster %s is already the writer of the global cluster", to.DBClusterArn)
	case g.resync[to]:
		return nil, refuse("InvalidDBClusterStateFault", "The DB cluster %s is not synchronized", to.DBClusterArn)
	case len(to.members) == 0:
		return nil, refuse("InvalidDBClusterStateFault", "The DB cluster %s has no instances", to.DBClusterArn)
	case !loss && (down || from.Status != "available"):
		return nil, refuse("InvalidGlobalClusterStateFault", "The global cluster's primary DB cluster isn't healthy: a switchover isn't possible")
	}
	if err := to.usable(); err != nil {
		return nil, err
	}
	g.begin(c, from, to, loss)
	return g.result(), nil
}

// begin lets the change of roles run.
func (g *globalCluster) begin(c *call, from, to *dbCluster, loss bool) {
	w, phases := c.w, switchoverPhases
	if loss {
		phases = globalFailoverPhases
		w.replicate(to)
	}
	g.FailoverState = &failoverState{FromDbClusterArn: from.DBClusterArn, ToDbClusterArn: to.DBClusterArn, IsDataLossAllowed: loss}
	transition{
		r: c.r, action: c.action, name: g.GlobalClusterIdentifier, phases: phases,
		set: func(status string, at time.Time) {
			g.FailoverState.Status = status
			if status != "pending" {
				g.Status, to.Status = status, "promoting"
				if !loss {
					from.Status = "modifying"
					to.data.follow(&from.data, at)
				}
			}
		},
		done: func(at time.Time) {
			g.Status, g.FailoverState, g.writer = "available", nil, to
			to.Status = "available"
			to.crown()
			if loss {
				g.rebuild(w, from, to, at)
			} else {
				from.Status = "available"
			}
		},
		// AWS gives up: everything is as it was, and looks available.
		failed: func(at time.Time) {
			g.FailoverState.Status = "cancelling"
			w.later(at.Add(cancelTakes), func(time.Time) {
				g.Status, g.FailoverState = "available", nil
				to.Status, from.Status = "available", "available"
			})
		},
	}.begin(c.now)
}

// rebuild makes the old primary a secondary after a failover: once its region is back, AWS keeps its storage as a snapshot and
// synchronizes it anew (Aurora User Guide, "Performing managed failovers for Aurora global databases").
func (g *globalCluster) rebuild(w *World, old, writer *dbCluster, at time.Time) {
	g.resync[old] = true
	var look func(at time.Time)
	look = func(at time.Time) {
		if old.gone || old.global != g || !g.resync[old] {
			return
		}
		if w.down(old.r.acct.id, old.r.name) {
			w.later(at.Add(time.Minute), look)
			return
		}
		s := old.snapshot("rds:unplanned-global-failover-" + old.DBClusterIdentifier + "-" + at.UTC().Format("2006-01-02-15-04-05"))
		s.SnapshotType = "manual"
		s.keep(at)
		s.data = old.data.until(at)
		s.finish(at)
		takes := []Phase{{"pending-resync", resyncTakes}}
		if script, ok := w.peek(old.r, "(resynchronization)", old.DBClusterIdentifier); ok {
			takes = script.phased(takes)
		}
		for _, p := range takes {
			at = at.Add(p.For)
		}
		w.later(at, func(at time.Time) {
			if old.global == g && g.writer != old {
				delete(g.resync, old)
				old.data = g.writer.data.until(at)
				old.Status = "available"
			}
		})
	}
	look(at)
}

package awstest

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// learner reads one action's answers into a region.
type learner func(r *region, a Answer) error

// learners are the answers that a world can be made from, by service and action.
func learners() map[string]learner {
	return map[string]learner{
		"rds DescribeDBInstances": learn(func(r *region, v *dbInstance) { r.rds.instances.put(r.w.opts.Now(), v.DBInstanceIdentifier, v) }, "DBInstances>DBInstance"),
		"rds DescribeDBSnapshots": learn(func(r *region, v *dbSnapshot) { r.rds.snapshots.put(r.w.opts.Now(), v.DBSnapshotIdentifier, v) }, "DBSnapshots>DBSnapshot"),
		"rds DescribeDBClusters":  learn(func(r *region, v *dbCluster) { r.rds.clusters.put(r.w.opts.Now(), v.DBClusterIdentifier, v) }, "DBClusters>DBCluster"),
		"rds DescribeDBClusterSnapshots": learn(func(r *region, v *clusterSnapshot) {
			r.rds.clusterSnapshots.put(r.w.opts.Now(), v.DBClusterSnapshotIdentifier, v)
		}, "DBClusterSnapshots>DBClusterSnapshot"),
		"rds DescribeGlobalClusters": learn(learnGlobal, "GlobalClusters>GlobalClusterMember"),
		"rds DescribeDBSubnetGroups": learn(func(r *region, v *dbSubnetGroup) { r.rds.subnetGroups.put(r.w.opts.Now(), v.DBSubnetGroupName, v) }, "DBSubnetGroups>DBSubnetGroup"),
		"rds DescribeDBParameterGroups": learn(func(r *region, v *parameterGroup) {
			r.rds.parameterGroups.put(r.w.opts.Now(), v.DBParameterGroupName, v)
		}, "DBParameterGroups>DBParameterGroup"),
		"rds DescribeDBClusterParameterGroups": learn(learnClusterGroup, "DBClusterParameterGroups>DBClusterParameterGroup"),
		"rds DescribeOptionGroups":             learn(func(r *region, v *optionGroup) { r.rds.optionGroups.put(r.w.opts.Now(), v.OptionGroupName, v) }, "OptionGroupsList>OptionGroup"),
		"rds DescribeAccountAttributes":        learn(func(r *region, v *accountQuota) { r.rds.quotas[v.AccountQuotaName] = v.Max }, "AccountQuotas>AccountQuota"),

		"elasticache DescribeReplicationGroups":       learn(func(r *region, v *cacheGroup) { r.cache.groups.put(r.w.opts.Now(), v.ReplicationGroupId, v) }, "ReplicationGroups>ReplicationGroup"),
		"elasticache DescribeGlobalReplicationGroups": learn(learnGlobalCache, "GlobalReplicationGroups>GlobalReplicationGroup"),
		"elasticache DescribeSnapshots":               learn(func(r *region, v *cacheSnapshot) { r.cache.snapshots.put(r.w.opts.Now(), v.SnapshotName, v) }, "Snapshots>Snapshot"),
		"elasticache DescribeCacheSubnetGroups": learn(func(r *region, v *cacheSubnetGroup) {
			r.cache.subnetGroups.put(r.w.opts.Now(), v.CacheSubnetGroupName, v)
		}, "CacheSubnetGroups>CacheSubnetGroup"),
		"elasticache DescribeCacheParameterGroups": learn(func(r *region, v *cacheParameterGroup) {
			r.cache.parameterGroups.put(r.w.opts.Now(), v.CacheParameterGroupName, v)
		}, "CacheParameterGroups>CacheParameterGroup"),

		"ec2 DescribeSecurityGroups": learn(func(r *region, v *securityGroup) { r.allow(*v) }, "securityGroupInfo>item"),
		"kms DescribeKey":            learnKey,

		"route53 ListHostedZonesByName":  learn(learnZone, "HostedZones>HostedZone"),
		"route53 GetHostedZone":          learn(learnZone, "HostedZone"),
		"route53 ListResourceRecordSets": learnRecords,
	}
}

type accountQuota struct {
	AccountQuotaName string
	Max              int
}

// learn reads the list at a path of an answer.
func learn[T any](keep func(r *region, v *T), path string) learner {
	return func(r *region, a Answer) error {
		items, err := listed[T](a.Body, strings.Split(path, ">"))
		for _, v := range items {
			keep(r, v)
		}
		return err
	}
}

// listed finds the elements at a path, wherever it begins.
func listed[T any](body []byte, path []string) (out []*T, err error) {
	dec := xml.NewDecoder(strings.NewReader(string(body)))
	var at []string
	for {
		token, err := dec.Token()
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return out, err
		}
		switch token := token.(type) {
		case xml.StartElement:
			at = append(at, token.Name.Local)
			if len(at) < len(path)+1 || len(at) > len(path)+2 || !slices.Equal(at[len(at)-len(path):], path) {
				continue
			}
			v := new(T)
			if err := dec.DecodeElement(v, &token); err != nil {
				return out, err
			}
			at = at[:len(at)-1]
			out = append(out, v)
		case xml.EndElement:
			at = at[:len(at)-1]
		}
	}
}

// Learn puts into the world what AWS's answers say there is: all of them at once, since what one names may be in another. What
// goes on at AWS (an instance that is being backed up) ends in the world by itself; what is named and was not seen (the members of
// a global database in a region that did not answer) is made up after what is known of it. Answers to actions that teach nothing
// are passed over. It comes first, before anything else is in the world, except accounts.
func (w *World) Learn(answers []Answer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	known := learners()
	for _, a := range answers {
		teach := known[a.Service+" "+a.Action]
		if teach == nil {
			continue
		}
		if err := teach(w.region(a.Account, a.Region), a); err != nil {
			return fmt.Errorf("read the answer of %s to %s in %s: %w", a.Service, a.Action, a.Region, err)
		}
	}
	for _, id := range sortedKeys(w.accounts) {
		w.accounts[id].connect(w)
	}
	for _, a := range answers {
		if a.Service == "elasticache" && a.Action == "DescribeCacheClusters" {
			if err := learnNodes(w.region(a.Account, a.Region), a); err != nil {
				return fmt.Errorf("read the answer to %s in %s: %w", a.Action, a.Region, err)
			}
		}
		if a.Action == "ListTagsForResource" {
			if err := learnTags(w.region(a.Account, a.Region), a); err != nil {
				return fmt.Errorf("read the answer to %s in %s: %w", a.Action, a.Region, err)
			}
		}
	}
	return nil
}

// network is the network that databases are put into, as far as the subnet groups tell: nobody tells of assumed groups.
func (r *region) network() string {
	for _, name := range sortedKeys(r.rds.subnetGroups.live) {
		if g := r.rds.subnetGroups.live[name].v; name != "default" {
			return g.VpcId
		}
	}
	return r.net.vpc
}

// Assume takes for there what nobody could be asked about: security groups (sg-…) by their ids, KMS keys by id, ARN or alias. It
// comes after Learn.
func (w *World) Assume(acct, in string, names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.region(acct, in)
	for _, name := range names {
		if strings.HasPrefix(name, "sg-") {
			r.allow(securityGroup{r.acct.id, name, name, "", r.network()})
			continue
		}
		r.trust(name)
	}
}

// learnKey keeps a key, under the name that was asked for too.
func learnKey(r *region, a Answer) error {
	var said struct {
		KeyMetadata struct {
			Arn     string
			Enabled bool
		}
	}
	if err := json.Unmarshal(a.Body, &said); err != nil {
		return err
	}
	key := said.KeyMetadata
	r.trust(key.Arn)
	if name := a.Params["KeyId"]; name != "" {
		r.keys[name] = key.Arn
	}
	if !key.Enabled {
		r.disabled[key.Arn] = true
	}
	return nil
}

// allow adds a security group.
func (r *region) allow(g securityGroup) {
	if !slices.ContainsFunc(r.net.groups, func(o securityGroup) bool { return o.GroupId == g.GroupId }) {
		r.net.groups = append(r.net.groups, g)
	}
}

// trust adds a key, by all the names that it may be called by.
func (r *region) trust(name string) {
	if name == "" || r.keys[name] != "" {
		return
	}
	arn, id := name, name
	if _, _, _, _, resource := splitARN(name); resource != "" {
		id = strings.TrimPrefix(resource, "key/")
	} else if !strings.HasPrefix(name, "alias/") {
		arn = r.arn("kms", "key/"+name)
	} else {
		arn = r.arn("kms", name)
	}
	r.keys[name], r.keys[arn], r.keys[id] = arn, arn, arn
}

// settling is how long what goes on at AWS is taken to go on.
const settling = 3 * time.Minute

// when reads a time of AWS's, the zero time for none.
func when(text string) time.Time {
	t, _ := time.Parse(time.RFC3339, text)
	return t
}

// connect makes one account's things, as they were read, know of each other.
func (a *account) connect(w *World) {
	for _, name := range sortedKeys(a.regions) {
		a.regions[name].connectInstances()
	}
	for _, name := range sortedKeys(a.regions) {
		a.regions[name].connectSnapshots()
		a.regions[name].connectCaches()
	}
	for _, id := range sortedKeys(a.globals.live) {
		a.globals.live[id].v.connect(w, a)
	}
	for _, id := range sortedKeys(a.caches.live) {
		a.caches.live[id].v.connect(w, a)
	}
}

// connectInstances makes clusters and instances the world's.
func (r *region) connectInstances() {
	now := r.w.opts.Now()
	for _, name := range sortedKeys(r.rds.clusters.live) {
		cl := r.rds.clusters.live[name].v
		if cl.r != nil {
			continue
		}
		cl.r, cl.created = r, when(cl.ClusterCreateTime)
		r.offer(cl.Engine, cl.EngineVersion, "")
		r.trust(cl.KmsKeyId)
		for _, g := range cl.VpcSecurityGroups {
			r.allow(securityGroup{r.acct.id, g.VpcSecurityGroupId, g.VpcSecurityGroupId, "", r.net.vpc})
		}
		if !slices.Contains(resting, cl.Status) {
			cl.run("(learnt)", []Phase{{cl.Status, settling}}, now, nil)
		}
	}
	for _, name := range sortedKeys(r.rds.instances.live) {
		if i := r.rds.instances.live[name].v; i.r == nil {
			i.connect(r, now)
		}
	}
	for _, name := range sortedKeys(r.rds.instances.live) {
		i := r.rds.instances.live[name].v
		if source := i.ReadReplicaSourceDBInstanceIdentifier; source != "" && i.source == nil {
			i.source = r.sourceOf(i, source)
		}
	}
}

// resting are the states of instances and clusters that last.
var resting = []string{"available", "stopped", "failed", "storage-full", "inaccessible-encryption-credentials", "incompatible-network", "incompatible-option-group",
	"incompatible-parameters", "incompatible-restore", "restore-error", "insufficient-capacity"}

func (i *dbInstance) connect(r *region, now time.Time) {
	i.r, i.created, i.port = r, when(i.InstanceCreateTime), i.DbInstancePort
	if i.Endpoint != nil {
		i.port = cmp.Or(i.Endpoint.Port, i.port)
	}
	if i.port == 0 {
		i.port = defaultPort(i.Engine)
	}
	r.offer(i.Engine, i.EngineVersion, i.DBInstanceClass)
	r.trust(i.KmsKeyId)
	if i.DBSubnetGroup == nil {
		i.DBSubnetGroup, _ = r.rds.subnetGroups.get("default")
	}
	for _, g := range i.VpcSecurityGroups {
		r.allow(securityGroup{r.acct.id, g.VpcSecurityGroupId, g.VpcSecurityGroupId, "", i.DBSubnetGroup.VpcId})
	}
	if len(i.OptionGroupMemberships) == 0 {
		i.OptionGroupMemberships = []optionMember{{"default:" + i.Engine + "-" + strings.ReplaceAll(major(i.Engine, i.EngineVersion), ".", "-"), "in-sync"}}
	}
	if cl, ok := r.rds.clusters.get(i.DBClusterIdentifier); ok {
		i.cluster = cl
		cl.members = append(cl.members, i)
		if slices.ContainsFunc(cl.DBClusterMembers, func(m clusterMember) bool {
			return m.IsClusterWriter && m.DBInstanceIdentifier == i.DBInstanceIdentifier
		}) {
			cl.writer = i
		}
	}
	if !slices.Contains(resting, i.DBInstanceStatus) {
		i.run("(learnt)", []Phase{{i.DBInstanceStatus, settling}}, now, nil, "failed")
	}
}

// sourceOf finds what an instance is a replica of, by name or by ARN; one that was not seen is made up after the replica.
func (r *region) sourceOf(i *dbInstance, source string) *dbInstance {
	at, name := r, source
	if _, _, in, _, resource := splitARN(source); resource != "" {
		at, name = r.w.region(r.acct.id, in), strings.TrimPrefix(resource, "db:")
	}
	if found, ok := at.rds.instances.get(name); ok {
		return found
	}
	made := *i
	made.r, made.source, made.ReadReplicaSourceDBInstanceIdentifier = at, nil, ""
	made.DBInstanceIdentifier, made.DBInstanceArn = name, at.arn("rds", "db:"+name)
	made.ReadReplicaDBInstanceIdentifiers, made.DBInstanceStatus = []string{i.DBInstanceArn}, "available"
	at.rds.instances.put(at.w.opts.Now(), name, &made)
	return &made
}

// connectSnapshots makes snapshots the world's.
func (r *region) connectSnapshots() {
	now := r.w.opts.Now()
	for _, name := range sortedKeys(r.rds.snapshots.live) {
		s := r.rds.snapshots.live[name].v
		if s.r != nil {
			continue
		}
		s.r, s.began = r, when(s.SnapshotCreateTime)
		s.class = r.acct.classOf(s.DBInstanceIdentifier)
		r.offer(s.Engine, s.EngineVersion, s.class)
		r.trust(s.KmsKeyId)
		if s.Status != "available" && s.Status != "failed" {
			s.began = now
			s.run("(learnt)", []Phase{{s.Status, settling}}, now, func(time.Time) {})
		}
	}
	for _, name := range sortedKeys(r.rds.clusterSnapshots.live) {
		s := r.rds.clusterSnapshots.live[name].v
		if s.r != nil {
			continue
		}
		s.r, s.began = r, when(s.SnapshotCreateTime)
		_, _, in, _, _ := splitARN(s.SourceDBClusterSnapshotArn)
		s.abroad = in != "" && in != r.name
		r.offer(s.Engine, s.EngineVersion, "")
		r.trust(s.KmsKeyId)
		if s.Status != "available" && s.Status != "failed" {
			s.began = now
			s.run("(learnt)", []Phase{{s.Status, settling}}, now)
		}
	}
}

// classOf is the class of the instance that a snapshot is of, wherever that is: AWS restores to it when no other is said. The
// first one that is offered stands for one that was not seen.
func (a *account) classOf(instance string) string {
	for _, name := range sortedKeys(a.regions) {
		if i, ok := a.regions[name].rds.instances.get(instance); ok {
			return i.DBInstanceClass
		}
	}
	return classes[len(classes)-1]
}

// offer lets the world have an engine's version, with its default groups, and a class that were seen at AWS.
func (r *region) offer(engine, version, class string) {
	w := r.w
	if class != "" && !slices.Contains(w.classes, class) {
		w.classes = append(w.classes, class)
	}
	if engine == "" || version == "" {
		return
	}
	if !slices.Contains(w.engines[engine], version) {
		w.engines[engine] = append([]string{version}, w.engines[engine]...)
	}
	for _, a := range w.accounts {
		for _, other := range a.regions {
			other.rds.stock(other, engine, version)
		}
	}
}

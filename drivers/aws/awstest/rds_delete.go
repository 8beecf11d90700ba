package awstest

import (
	"slices"
	"strings"
	"time"
)

func deleteInstance(c *call) (any, error) {
	p := c.p
	i, err := c.r.instance(p.str("DBInstanceIdentifier"))
	if err != nil {
		return nil, err
	}
	skip, final := p.flag("SkipFinalSnapshot", false), p.str("FinalDBSnapshotIdentifier")
	switch {
	case i.DBInstanceStatus == "deleting":
		return nil, refuse("InvalidDBInstanceState", "Instance %s is already being deleted.", i.DBInstanceIdentifier)
	case i.DeletionProtection:
		return nil, refuse("InvalidParameterCombination", "Cannot delete protected DB Instance, please disable deletion protection and try again.")
	case i.cluster != nil && final != "":
		return nil, refuse("InvalidParameterCombination", "FinalDBSnapshotIdentifier can not be specified when deleting a cluster instance")
	case i.cluster != nil:
		return c.deleteMember(i)
	case skip && final != "":
		return nil, refuse("InvalidParameterCombination", "FinalDBSnapshotIdentifier can not be specified when deleting with SkipFinalSnapshot")
	case !skip && final == "":
		return nil, refuse("InvalidParameterCombination", "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.")
	case !skip && i.source != nil:
		return nil, refuse("InvalidParameterCombination", "FinalDBSnapshotIdentifier can not be specified when deleting a replica instance")
	case !skip && i.DBInstanceStatus != "available":
		return nil, refuse("InvalidDBInstanceState", "Cannot create a snapshot because the database instance %s is not currently in the available state.", i.DBInstanceIdentifier)
	}
	var snapshot *dbSnapshot
	if !skip {
		if snapshot, err = c.snapshot(i, final, nil); err != nil {
			return nil, err
		}
	}
	keep := !p.flag("DeleteAutomatedBackups", true)
	i.DBInstanceStatus = "deleting"
	i.run(c.action, deletePhases, c.now, func(at time.Time) {
		if snapshot != nil && snapshot.Status != "available" {
			snapshot.finish(at)
		}
		i.vanish(at, keep)
	}, "failed")
	return i.result(c), nil
}

// vanish is the end of a deletion. Replicas in the same region and elsewhere go on alone, but AWS promotes only those of its own
// region; others stay replicas whose replication is terminated (RDS User Guide, "Deleting a DB instance that has read replicas").
func (i *dbInstance) vanish(at time.Time, keepBackups bool) {
	r := i.r
	for _, other := range r.w.replicasOf(i) {
		r.w.receive(&other.data, &i.data, other.DBInstanceArn, at)
		if other.r == r {
			other.independent()
		}
	}
	if i.source != nil {
		i.source.dropReplica(i)
	}
	if keepBackups && i.BackupRetentionPeriod > 0 {
		r.rds.backups.put(at, i.DbiResourceId, &automatedBackup{of: *i, Status: "retained", from: i.created, until: at})
	} else {
		for _, s := range r.rds.snapshots.all(at, 0) {
			if s.SnapshotType == "automated" && s.DbiResourceId == i.DbiResourceId {
				r.rds.snapshots.remove(at, s.DBSnapshotIdentifier)
			}
		}
	}
	i.gone = true
	r.rds.instances.remove(at, i.DBInstanceIdentifier)
}

// replicasOf are the replicas of an instance, in every region.
func (w *World) replicasOf(i *dbInstance) []*dbInstance {
	var out []*dbInstance
	for _, r := range i.r.acct.regions {
		for _, o := range r.rds.instances.live {
			if o.v.source == i {
				out = append(out, o.v)
			}
		}
	}
	slices.SortFunc(out, func(a, b *dbInstance) int { return strings.Compare(a.DBInstanceArn, b.DBInstanceArn) })
	return out
}

// independent makes a replica an instance of its own.
func (i *dbInstance) independent() {
	if i.source != nil {
		i.source.dropReplica(i)
	}
	i.source, i.ReadReplicaSourceDBInstanceIdentifier = nil, ""
}

// dropReplica forgets a replica.
func (i *dbInstance) dropReplica(o *dbInstance) {
	i.ReadReplicaDBInstanceIdentifiers = slices.DeleteFunc(slices.Clone(i.ReadReplicaDBInstanceIdentifiers), func(name string) bool { return name == i.nameOf(o) })
}

// nameOf is what the instance calls a replica: by name in its own region, by ARN elsewhere.
func (i *dbInstance) nameOf(o *dbInstance) string {
	if o.r == i.r {
		return o.DBInstanceIdentifier
	}
	return o.DBInstanceArn
}

package aurora

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// The tags of restored clusters that say what they came from and since when.
const (
	tagPoint = "lifeboat:point"
	tagBegan = "lifeboat:began"
)

// launch is a cluster that is brought up from a snapshot, or from AWS's own backups of the site's cluster.
type launch struct {
	cluster   string
	instances []string
	from      string    // a snapshot, or Latest
	until     time.Time // when not zero: the instant to restore to, instead of from
	apart     bool      // in the drill's place, and not to stay
	class     string    // of the instances
	origin    awsbase.Origin
}

// source says what it is restored from.
func (l launch) source() string {
	switch {
	case !l.until.IsZero():
		return "the state of " + stamp(l.until)
	case l.from == snapshots.Latest:
		return "the latest state"
	}
	return "snapshot " + l.from
}

// apartOf is a cluster with one instance in the drill's place, named by a key: the names are the same whenever they are asked for.
func (p *place) apartOf(what, key, snapshot string, origin awsbase.Origin) launch {
	return launch{cluster: awsbase.NameFor(p.at.Cluster+"-"+what, key, nameLimit), instances: []string{awsbase.NameFor(p.at.Cluster+"-"+what+"-one", key, nameLimit)},
		from: snapshot, apart: true, origin: origin}
}

// instancesOf are the names of a cluster's instances.
func instancesOf(cluster string, number int) []string {
	var out []string
	for n := range number {
		out = append(out, fmt.Sprintf("%s-%d", cluster, n+1))
	}
	return out
}

// raised is a cluster that is up.
type raised struct {
	*types.DBCluster
	up     int      // instances that are available
	broken []string // instances that never will be, and why
}

// ours reports whether the step of an origin made a thing with these tags, at this attempt or an earlier one.
func ours(mine awsbase.Origin, tags map[string]string) bool {
	o, _ := awsbase.ReadOrigin(tags)
	if o.Token == mine.Token && mine.Token != "" {
		return true
	}
	o.Token = mine.Token
	return o == mine
}

// settled drops the errors of a deed that somebody has done already, or that has to wait for its turn.
func settled(err error, kinds ...failure.Kind) error {
	if err != nil && slices.Contains(kinds, failure.KindOf(err)) {
		return nil
	}
	return err
}

// bringUp takes the next step towards a cluster that is up, and gives it once it is. Every step is taken once, however often and by
// however many it is tried. The error is Corrupt when what is restored is no good, and Exists when the name is somebody else's.
func (p *place) bringUp(ctx context.Context, l launch) (ready *raised, phase string, err error) {
	v, err := p.lookAt(ctx, l.cluster)
	switch {
	case err != nil:
		return nil, "", err
	case v.cluster == nil:
		phase, err = p.restore(ctx, l)
		return nil, phase, err
	case !ours(l.origin, tagMap(v.cluster.TagList)):
		return nil, "", taken(p, l.cluster)
	}
	switch status := v.status(); {
	case v.means().Broken():
		kind := failure.Unavailable
		if v.means() == dbstate.Spoiled {
			kind = failure.Corrupt
		}
		return nil, "", failure.New(kind, "restore", p.subject, "the cluster %s, from %s, is %s", l.cluster, l.source(), status).
			WithHint("aws rds describe-events --source-type db-cluster --source-identifier %s says why", l.cluster)
	case v.means() == dbstate.Stopped:
		return nil, "", v.stopped("restore", p)
	case !v.means().Serves() && status != "creating":
		return nil, fmt.Sprintf("cluster %s is %s", l.cluster, status), nil
	}
	if missing := v.lacks(l.instances); len(missing) > 0 {
		for _, id := range missing {
			if err := p.addInstance(ctx, v.cluster, id, l.class, l.origin); err != nil {
				return nil, "", err
			}
		}
		return nil, fmt.Sprintf("cluster %s is %s; instances are made: %s", l.cluster, v.status(), strings.Join(missing, ", ")), nil
	}
	return p.judge(l, v)
}

// judge says whether a cluster with all its instances is up.
func (p *place) judge(l launch, v *view) (ready *raised, phase string, err error) {
	ready = &raised{DBCluster: v.cluster}
	kind := failure.Unavailable
	var coming []string
	for _, i := range v.instances {
		id, status := aws.ToString(i.DBInstanceIdentifier), aws.ToString(i.DBInstanceStatus)
		switch means := dbstate.Of(status); {
		case !slices.Contains(l.instances, id):
		case means.Serves():
			ready.up++
		case means.Broken():
			if means == dbstate.Spoiled {
				kind = failure.Corrupt
			}
			ready.broken = append(ready.broken, id+" is "+status)
		default:
			coming = append(coming, id+" is "+status)
		}
	}
	switch {
	case len(ready.broken) == len(l.instances):
		return nil, "", failure.New(kind, "restore", p.subject, "no instance of cluster %s comes up: %s", l.cluster, strings.Join(ready.broken, ", ")).
			WithHint("aws rds describe-events --source-type db-instance --source-identifier %s says why", l.instances[0])
	case len(coming) > 0 || ready.up == 0 || !v.means().Serves():
		return nil, strings.Join(append([]string{fmt.Sprintf("cluster %s is %s, %d of %d instances available", l.cluster, v.status(), ready.up, len(l.instances))}, coming...), ", "), nil
	}
	return ready, "", nil
}

func taken(p *place, cluster string) error {
	return failure.New(failure.Exists, "", p.subject, "a cluster %s is there already, and this step did not make it", cluster).
		WithHint("if it holds the right data: lifeboat run force; else delete or rename it")
}

// lacks are the names that are not among the cluster's instances.
func (v *view) lacks(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(v.instances, func(i types.DBInstance) bool { return aws.ToString(i.DBInstanceIdentifier) == name })
	})
}

// addInstance makes an instance of a cluster. One that listings do not show yet is found by its name.
func (p *place) addInstance(ctx context.Context, c *types.DBCluster, id, class string, origin awsbase.Origin) error {
	_, err := p.rds.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &id, DBClusterIdentifier: c.DBClusterIdentifier, Engine: c.Engine, DBInstanceClass: &class, PubliclyAccessible: aws.Bool(false),
		DBParameterGroupName: awsbase.Optional(p.at.ParameterGroup), Tags: tagList(origin.Tags(nil)),
	})
	if err != nil && failure.KindOf(err) == failure.Exists {
		i, lookErr := p.instance(ctx, id)
		if lookErr != nil {
			return lookErr
		}
		if i != nil && aws.ToString(i.DBClusterIdentifier) != aws.ToString(c.DBClusterIdentifier) {
			return failure.New(failure.Exists, "", p.subject, "an instance %s is there already, and not of cluster %s", id, aws.ToString(c.DBClusterIdentifier)).WithHint("delete or rename it")
		}
	}
	return settled(failure.Wrap(err, "make instance "+id, p.subject), failure.Exists, failure.Conflict)
}

// restore asks AWS for the cluster once what it is restored from is there.
func (p *place) restore(ctx context.Context, l launch) (phase string, err error) {
	tags := map[string]string{tagPoint: l.from, tagBegan: stamp(time.Now())}
	if !l.until.IsZero() {
		tags[tagPoint] = stamp(l.until)
	}
	in := &rds.RestoreDBClusterFromSnapshotInput{
		DBClusterIdentifier: &l.cluster, SnapshotIdentifier: &l.from, DBSubnetGroupName: awsbase.Optional(p.at.SubnetGroup), VpcSecurityGroupIds: p.at.SecurityGroups,
		DBClusterParameterGroupName: awsbase.Optional(p.at.ClusterParameterGroup), DeletionProtection: aws.Bool(p.at.protected() && !l.apart), CopyTagsToSnapshot: aws.Bool(false),
	}
	if p.at.Port > 0 {
		in.Port = aws.Int32(int32(p.at.Port))
	}
	if p.at.BackupRetention > 0 && !l.apart {
		in.BackupRetentionPeriod = aws.Int32(int32(p.at.BackupRetention))
	}
	if l.apart {
		in.DBSubnetGroupName, in.VpcSecurityGroupIds = &p.at.Drill.SubnetGroup, p.at.Drill.SecurityGroups
	}
	begun := fmt.Sprintf("the restore of %s into cluster %s is begun", l.source(), l.cluster)
	if l.from == snapshots.Latest || !l.until.IsZero() {
		in.Tags = tagList(l.origin.Tags(tags))
		return begun, settled(failure.Wrap(p.restoreTime(ctx, l, in), "restore", p.subject), failure.Exists)
	}
	s, err := p.store().describe(ctx, l.from)
	switch {
	case err != nil:
		return "", failure.Wrap(err, "look at", p.subject)
	case s == nil:
		return "", failure.New(failure.NotFound, "restore", p.subject, "snapshot %s is gone", l.from)
	case aws.ToString(s.Status) == "failed":
		return "", failure.New(failure.Corrupt, "restore", p.subject, "snapshot %s has failed", l.from)
	case aws.ToString(s.Status) != available:
		return fmt.Sprintf("snapshot %s is %s, %d %%", l.from, aws.ToString(s.Status), aws.ToInt32(s.PercentProgress)), nil
	}
	tags[snapshots.TagAt] = stamp(p.store().of(*s).At)
	in.Engine, in.EngineVersion, in.Tags = s.Engine, s.EngineVersion, tagList(l.origin.Tags(tags))
	_, err = p.rds.RestoreDBClusterFromSnapshot(ctx, in)
	return begun, settled(failure.Wrap(err, "restore", p.subject), failure.Exists)
}

// restoreTime restores from AWS's own backups of the site's cluster what in says of a restore from a snapshot.
func (p *place) restoreTime(ctx context.Context, l launch, in *rds.RestoreDBClusterFromSnapshotInput) error {
	back := &rds.RestoreDBClusterToPointInTimeInput{
		DBClusterIdentifier: in.DBClusterIdentifier, SourceDBClusterIdentifier: &p.at.Cluster, DBSubnetGroupName: in.DBSubnetGroupName, VpcSecurityGroupIds: in.VpcSecurityGroupIds,
		DBClusterParameterGroupName: in.DBClusterParameterGroupName, DeletionProtection: in.DeletionProtection, CopyTagsToSnapshot: in.CopyTagsToSnapshot, Tags: in.Tags,
		Port: in.Port, BackupRetentionPeriod: in.BackupRetentionPeriod,
	}
	if l.until.IsZero() {
		back.UseLatestRestorableTime = aws.Bool(true)
	} else {
		back.RestoreToTime = &l.until
	}
	_, err := p.rds.RestoreDBClusterToPointInTime(ctx, back)
	return err
}

// takeDown takes the next step towards nothing left of a launch; phase is empty once that is so. What Lifeboat did not make is not
// touched.
func (p *place) takeDown(ctx context.Context, l launch) (phase string, err error) {
	v, err := p.lookAt(ctx, l.cluster)
	if err != nil {
		return "", err
	}
	if v.cluster != nil {
		if _, made := awsbase.ReadOrigin(tagMap(v.cluster.TagList)); !made {
			return "", failure.New(failure.Exists, "release", p.subject, "the cluster %s is not Lifeboat's", l.cluster)
		}
		return p.remove(ctx, v, &rds.DeleteDBClusterInput{SkipFinalSnapshot: aws.Bool(true), DeleteAutomatedBackups: aws.Bool(true)})
	}
	for _, id := range l.instances { // of a cluster that went first
		i, err := p.instance(ctx, id)
		if err != nil {
			return "", err
		}
		if i != nil && aws.ToString(i.DBClusterIdentifier) == l.cluster {
			return fmt.Sprintf("instance %s is %s", id, aws.ToString(i.DBInstanceStatus)), nil
		}
	}
	return "", nil
}

// remove takes the next step towards a cluster that is gone, with its instances: out says how it is deleted in the end.
func (p *place) remove(ctx context.Context, v *view, out *rds.DeleteDBClusterInput) (phase string, err error) {
	id := v.cluster.DBClusterIdentifier
	switch {
	case v.means() == dbstate.Leaving:
		return "cluster " + *id + " is being deleted", nil
	case aws.ToBool(v.cluster.DeletionProtection):
		_, err := p.rds.ModifyDBCluster(ctx, &rds.ModifyDBClusterInput{DBClusterIdentifier: id, DeletionProtection: aws.Bool(false), ApplyImmediately: aws.Bool(true)})
		return "the deletion protection of cluster " + *id + " is taken off", settled(failure.Wrap(err, "delete", p.subject), failure.NotFound, failure.Conflict)
	}
	waits := false
	for _, i := range v.instances {
		if dbstate.Of(aws.ToString(i.DBInstanceStatus)) == dbstate.Leaving {
			continue
		}
		waits = true
		if err := p.deleteInstance(ctx, i); err != nil {
			return "", err
		}
	}
	if waits {
		return fmt.Sprintf("the %d instances of cluster %s are deleted", len(v.instances), *id), nil
	}
	out.DBClusterIdentifier = id
	_, err = p.rds.DeleteDBCluster(ctx, out)
	return "the deletion of cluster " + *id + " is begun", settled(failure.Wrap(err, "delete", p.subject), failure.NotFound, failure.Conflict)
}

// deleteInstance deletes an instance of a cluster; the storage is the cluster's and stays.
func (p *place) deleteInstance(ctx context.Context, i types.DBInstance) error {
	id := aws.ToString(i.DBInstanceIdentifier)
	if aws.ToBool(i.DeletionProtection) {
		return failure.New(failure.Denied, "delete", p.subject, "the instance %s is protected from deletion", id).
			WithHint("aws rds modify-db-instance --no-deletion-protection --db-instance-identifier %s; then retry", id)
	}
	_, err := p.rds.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &id, SkipFinalSnapshot: aws.Bool(true)})
	return settled(failure.Wrap(err, "delete the instance "+id, p.subject), failure.NotFound, failure.Conflict)
}

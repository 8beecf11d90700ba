package rds

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The tags of restored instances that say what they came from, since when, and in which run an instance that was there already
// was made to serve.
const (
	tagPoint    = "lifeboat:point"
	tagBegan    = "lifeboat:began"
	tagPromoted = "lifeboat:promoted-by" // a run
)

// chosen is the snapshot that the instance called name is restored from: the one that it says itself when it is there already,
// else the newest at the site.
func (w *work) chosen(ctx context.Context, name string) (string, error) {
	i, err := w.here.instanceByName(ctx, name)
	if err != nil {
		return "", err
	}
	if i != nil {
		return i.tags[tagPoint], nil
	}
	if w.req.Action == model.ActionPromote && w.set.replicated() && w.req.Mode != model.Planned && !w.req.Force {
		return "", noReplica(w)
	}
	return w.keeper().Named(ctx, "")
}

// launch is an instance that is to be brought up from a snapshot or a time.
type launch struct {
	name  string
	from  string    // a snapshot; Latest and empty with time
	to    time.Time // when not zero: the time to restore to
	set   Site      // what it gets
	drill bool      // it is apart, and does not stay
}

// bringUp restores an instance, once, and waits until it serves.
func (w *work) bringUp(ctx context.Context, l launch) (driver.Observation, error) {
	i, err := w.here.instance(ctx, l.name)
	if err != nil {
		return driver.Observation{}, err
	}
	if i == nil {
		if err := w.launch(ctx, l); err != nil {
			return driver.Observation{}, err
		}
		return driver.Waiting("the restore of %s into %s is begun", source(l), l.name), nil
	}
	if !w.ours(i) {
		return driver.FailedWith(taken(w, i)), nil
	}
	if w.stillborn(i) {
		return w.discard(ctx, w.here, i)
	}
	return w.comeUp(i), nil
}

// stillborn reports whether an earlier attempt of this step made an instance that never came up: it holds nothing that what it was
// made from does not.
func (w *work) stillborn(i *instance) bool {
	return i.means() == dbstate.Spoiled && w.ours(i) && i.tags[awsbase.TagToken] != w.req.Token && i.tags[tagPromoted] == ""
}

// discard deletes what is stillborn, so that it can be made again.
func (w *work) discard(ctx context.Context, at *place, i *instance) (driver.Observation, error) {
	if err := at.unprotect(ctx, i); err != nil {
		return driver.Observation{}, err
	}
	name := i.name()
	_, err := at.api.DeleteDBInstance(ctx, &sdk.DeleteDBInstanceInput{DBInstanceIdentifier: &name, SkipFinalSnapshot: aws.Bool(true)})
	return driver.Waiting("instance %s, which never came up, is deleted and made again", name), err
}

// unprotect lifts the deletion protection.
func (p *place) unprotect(ctx context.Context, i *instance) error {
	if !aws.ToBool(i.DeletionProtection) {
		return nil
	}
	name := i.name()
	_, err := p.api.ModifyDBInstance(ctx, &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: &name, DeletionProtection: aws.Bool(false), ApplyImmediately: aws.Bool(true)})
	return err
}

// ours reports whether this step made the instance, at this attempt or an earlier one.
func (w *work) ours(i *instance) bool {
	o, _ := awsbase.ReadOrigin(i.tags)
	mine := awsbase.OriginOf(w.req)
	return o.Token == mine.Token || o == awsbase.Origin{App: mine.App, Resource: mine.Resource, Run: mine.Run, Step: mine.Step, Token: o.Token}
}

func taken(w *work, i *instance) *failure.Error {
	return failure.New(failure.Exists, "", w.subject(), "an instance %s is there already, and this step did not make it", i.name()).
		WithHint("if it holds the right data: lifeboat run force; else delete or rename it")
}

// comeUp judges an instance that is being restored.
func (w *work) comeUp(i *instance) driver.Observation {
	switch {
	case i.broken():
		return driver.FailedWith(failure.New(failure.Unavailable, string(w.req.Action), i.name(), "AWS says that it is %s", i.status()).
			WithHint("aws rds describe-events --source-type db-instance --source-identifier %s says why; lifeboat run retry deletes it if it never came up, and begins again", i.name()))
	case i.means() == dbstate.Stopped:
		return driver.FailedWith(stopped(string(w.req.Action), i))
	case !i.serves():
		return driver.Waiting("instance %s is %s", i.name(), i.status())
	case i.MasterUserSecret != nil && aws.ToString(i.MasterUserSecret.SecretStatus) == "creating":
		return driver.Waiting("the secret of instance %s is being made", i.name())
	}
	seen := driver.Succeeded(driver.Fact("instance", "%s is %s", i.name(), i.status()), driver.Fact("endpoint", "%s", i.endpoint().Text), driver.Fact("class", "%s", aws.ToString(i.DBInstanceClass)),
		driver.Fact("security groups", "%s", strings.Join(i.groups(), ", ")))
	if from := i.tags[tagPoint]; from != "" {
		seen.Evidence = append(seen.Evidence, driver.Source(source(launch{from: from})))
	}
	seen.Outputs = map[string]model.Value{"endpoint": i.endpoint()}
	if w.here.set.ManagePassword && w.req.Action != model.ActionDrill && i.MasterUserSecret != nil {
		seen.Outputs[outSecret] = driver.Text(aws.ToString(i.MasterUserSecret.SecretArn))
	}
	return seen
}

// stopped is the answer where an instance has to run: AWS starts it by itself after seven days.
func stopped(op string, i *instance) *failure.Error {
	return failure.New(failure.Conflict, op, i.name(), "it is %s", i.status()).WithHint("aws rds start-db-instance --db-instance-identifier %s; then retry", i.name())
}

func source(l launch) string {
	switch {
	case !l.to.IsZero():
		return "the state of " + l.to.UTC().Format(time.RFC3339)
	case l.from == snapshots.Latest:
		return "the latest state"
	}
	return "snapshot " + l.from
}

// launch asks AWS for the instance.
func (w *work) launch(ctx context.Context, l launch) error {
	set := l.set
	point := l.from
	if !l.to.IsZero() {
		point = l.to.UTC().Format(time.RFC3339)
	}
	in := &sdk.RestoreDBInstanceFromDBSnapshotInput{
		DBInstanceIdentifier: &l.name, DBSnapshotIdentifier: &l.from, DBInstanceClass: some(set.Class), DBSubnetGroupName: some(set.SubnetGroup),
		VpcSecurityGroupIds: set.SecurityGroups, DBParameterGroupName: some(set.ParameterGroup), OptionGroupName: some(set.OptionGroup),
		MultiAZ: &set.MultiAZ, DeletionProtection: &set.DeletionProtection, PubliclyAccessible: aws.Bool(false), CopyTagsToSnapshot: aws.Bool(false),
		Tags: tagList(awsbase.OriginOf(w.req).Tags(map[string]string{tagPoint: point, tagBegan: time.Now().UTC().Format(time.RFC3339)})),
	}
	if set.Port > 0 {
		in.Port = aws.Int32(int32(set.Port))
	}
	if set.BackupRetention != nil {
		in.BackupRetentionPeriod = aws.Int32(int32(*set.BackupRetention))
	}
	if set.ManagePassword && !l.drill {
		in.ManageMasterUserPassword = aws.Bool(true)
	}
	if l.to.IsZero() && l.from != snapshots.Latest {
		_, err := w.here.api.RestoreDBInstanceFromDBSnapshot(ctx, in)
		return err
	}
	back := &sdk.RestoreDBInstanceToPointInTimeInput{
		SourceDBInstanceIdentifier: &w.here.set.Instance, TargetDBInstanceIdentifier: &l.name, DBInstanceClass: in.DBInstanceClass, DBSubnetGroupName: in.DBSubnetGroupName,
		VpcSecurityGroupIds: in.VpcSecurityGroupIds, DBParameterGroupName: in.DBParameterGroupName, OptionGroupName: in.OptionGroupName, MultiAZ: in.MultiAZ,
		DeletionProtection: in.DeletionProtection, PubliclyAccessible: in.PubliclyAccessible, CopyTagsToSnapshot: in.CopyTagsToSnapshot, Tags: in.Tags, Port: in.Port,
		BackupRetentionPeriod: in.BackupRetentionPeriod, ManageMasterUserPassword: in.ManageMasterUserPassword,
	}
	if l.from == snapshots.Latest {
		back.UseLatestRestorableTime = aws.Bool(true)
	} else {
		back.RestoreTime = &l.to
	}
	_, err := w.here.api.RestoreDBInstanceToPointInTime(ctx, back)
	return err
}

// some is a text that AWS is told only when there is one.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// promote makes the replica serve that is here, or brings the newest copy up. An instance that this run has fenced here is let
// serve again: that undoes a quiesce.
func (w *work) promote(ctx context.Context, h handle) (driver.Observation, error) {
	i, err := w.here.instance(ctx, h.Name)
	if err != nil {
		return driver.Observation{}, err
	}
	switch {
	case i == nil && h.Point == "":
		return driver.FailedWith(failure.New(failure.NotFound, "promote", h.Name, "the instance that was there is gone").WithHint("lifeboat run retry chooses a snapshot")), nil
	case i == nil:
		return w.bringUp(ctx, launch{name: h.Name, from: h.Point, set: w.here.set})
	case i.replica():
		return w.promoteReplica(ctx, i)
	case i.fenced(w.here.set) && (w.fencedIt(i) || w.req.Force):
		return w.unfence(ctx, i)
	case w.stillborn(i):
		return w.discard(ctx, w.here, i)
	case !i.fenced(w.here.set) && (w.ours(i) || i.tags[tagPromoted] == string(w.req.Run) || w.req.Force):
		if !i.settled() {
			return driver.Waiting("instance %s is put back into its security groups", i.name()), nil
		}
		return w.finish(ctx, i)
	}
	return driver.FailedWith(taken(w, i)), nil
}

// drillSite is what the site says of an instance, as far as that holds for one that is apart.
func (w *work) drillSite() (Site, error) {
	set := w.here.set
	if set.Drill == nil {
		return set, failure.New(failure.Invalid, "", w.subject(), "nothing says where a copy can be restored apart").
			WithHint("set sites.%s.drill: {subnet_group: ..., security_groups: [...]}", w.req.Site)
	}
	set.SubnetGroup, set.SecurityGroups = set.Drill.SubnetGroup, set.Drill.SecurityGroups
	if set.Drill.Class != "" {
		set.Class = set.Drill.Class
	}
	set.MultiAZ, set.DeletionProtection, set.BackupRetention = false, false, aws.Int(0)
	return set, nil
}

// drillPoint is the snapshot that a drill restores: one of its own where a replica is, which shows the state that a promotion
// would go on with; else the newest at the site.
func (w *work) drillPoint(ctx context.Context, name string) (string, error) {
	if w.set.replicated() {
		i, err := w.here.instanceByName(ctx, w.here.set.Instance)
		if err != nil || i != nil && i.replica() {
			return name, err
		}
	}
	return w.chosen(ctx, name)
}

// drill brings the newest state that is here up apart.
func (w *work) drill(ctx context.Context, h handle) (driver.Observation, error) {
	set, err := w.drillSite()
	if err != nil {
		return driver.Observation{}, err
	}
	if h.Point == h.Name {
		seen, err := w.capture(ctx, w.here, h.Point, map[string]string{snapshots.TagOld: "true"})
		if err != nil || seen.State != driver.Done {
			return seen, err
		}
	}
	return w.bringUp(ctx, launch{name: h.Name, from: h.Point, set: set, drill: true})
}

// decideRestore finds what the asked state is restored from.
func (w *work) decideRestore(ctx context.Context) (handle, error) {
	h := handle{Action: w.req.Action}
	asked, err := w.keeper().AskedRestore(ctx, w.req.Restore, snapshots.Names{Own: w.here.set.Instance, Limit: nameLimit}, func(ctx context.Context) (*snapshots.Backups, error) {
		i, err := w.here.instanceByName(ctx, w.here.set.Instance)
		if err != nil || i == nil || i.LatestRestorableTime == nil || i.replica() {
			return nil, err
		}
		return &snapshots.Backups{Of: i.name(), Last: i.LatestRestorableTime}, nil
	})
	h.Name, h.Point = asked.Name, asked.Point
	if !asked.Until.IsZero() {
		h.Until = &asked.Until
	}
	return h, err
}

// restore brings a state up under a name of its own, with what the site says.
func (w *work) restore(ctx context.Context, h handle) (driver.Observation, error) {
	l := launch{name: h.Name, from: h.Point, set: w.here.set}
	if h.Until != nil {
		l.to = *h.Until
	}
	return w.bringUp(ctx, l)
}

package rds

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/metric"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The ways in which an instance comes back at another site.
const (
	bySnapshot = "snapshot"
	byReplica  = "replica"
)

func (s Settings) replicated() bool { return s.Recovery == byReplica }

// The tags of a replica that is made to serve: when it was asked for, how far it was behind then, and an instant that it had reached.
const (
	tagAsked = "lifeboat:promotion-asked"
	tagLag   = "lifeboat:promotion-lag"
	tagHolds = "lifeboat:promotion-holds"
)

// askAgain is how long after a promotion was asked for, with nothing to be seen of it, it is asked for again: AWS shows a replica
// that is being promoted as available for a moment.
const askAgain = 2 * time.Minute

// lagWithin bounds the question how far a replica is behind, where the answer is evidence only.
const lagWithin = 5 * time.Second

// master is the instance that a replica follows, as AWS names it: by its ARN where that is in another region.
func (i *instance) master() string { return aws.ToString(i.ReadReplicaSourceDBInstanceIdentifier) }

// follows reports whether it is a replica of the instance at a place.
func (i *instance) follows(p *place) bool {
	return i != nil && i.replica() && i.master() == p.s.ARN("rds", "db:"+strings.ToLower(p.set.Instance))
}

// asReplica names an instance as the replica that it is, or was before its promotion.
func (i *instance) asReplica() string { return "replica " + i.arn() }

// stalled says what keeps a replica from receiving anything; nothing when it receives.
func (i *instance) stalled() string {
	for _, s := range i.StatusInfos {
		if aws.ToString(s.StatusType) == "read replication" && !aws.ToBool(s.Normal) {
			return strings.TrimSpace(aws.ToString(s.Status) + " " + aws.ToString(s.Message))
		}
	}
	return ""
}

// cannotLead says why AWS makes no replica of an instance, and how to mend it; nothing when it does (RDS User Guide, "Working with DB instance read
// replicas", and "Password management with Amazon RDS and AWS Secrets Manager", limitations).
func (i *instance) cannotLead() (why, fix string) {
	modify := "aws rds modify-db-instance --apply-immediately --db-instance-identifier " + i.name()
	switch {
	case aws.ToInt32(i.BackupRetentionPeriod) == 0:
		return "its automated backups are off: AWS makes no replica of it", modify + " --backup-retention-period 7"
	case i.MasterUserSecret != nil && !strings.HasPrefix(aws.ToString(i.Engine), "sqlserver"):
		return "its master password is in Secrets Manager: AWS makes no replica of it", modify + " --no-manage-master-user-password --master-user-password …; or recovery: snapshot"
	}
	return "", ""
}

func (p *place) lagOf() metric.Series {
	return metric.Series{Namespace: "AWS/RDS", Name: "ReplicaLag", Unit: time.Second, Dimensions: map[string]string{"DBInstanceIdentifier": strings.ToLower(p.set.Instance)}}
}

// holds says whether the replica at a place holds all that its source had accepted by an instant: two minutes in a row say so. A
// lag of zero is not asked for, since that of a source without transactions can be minutes (RDS User Guide, "Monitoring
// replication lag" of PostgreSQL).
func (p *place) holds(ctx context.Context, since time.Time) (bool, string, error) {
	lags, err := metric.ReadLag(ctx, p.s, p.lagOf())
	if err != nil {
		return false, "", err
	}
	n := 0
	for n < len(lags) && !lags[n].Broken && !lags[n].Holds().Before(since) {
		n++
	}
	switch {
	case n >= 2:
		return true, fmt.Sprintf("%s behind at %s", lags[0].Behind, lags[0].At.UTC().Format(time.RFC3339)), nil
	case len(lags) == 0:
		return false, "CloudWatch has no lag of it", nil
	case lags[0].Broken:
		return false, "nothing reaches it, says CloudWatch of " + lags[0].At.UTC().Format(time.RFC3339), nil
	}
	return false, fmt.Sprintf("it was %s behind at %s", lags[0].Behind, lags[0].At.UTC().Format(time.RFC3339)), nil
}

// parameterised are the engines whose replicas in other regions are given a parameter group when they are made; others get it
// later (RDS API Reference, CreateDBInstanceReadReplica).
var parameterised = []string{"mysql", "oracle", "db2"}

// replica asks AWS for a replica at a place of the instance at another one.
func (w *work) replica(ctx context.Context, at, of *place, source *instance) error {
	set := at.set
	in := &sdk.CreateDBInstanceReadReplicaInput{
		DBInstanceIdentifier: &set.Instance, SourceDBInstanceIdentifier: aws.String(source.arn()), SourceRegion: aws.String(of.s.Region()), DBInstanceClass: some(set.Class),
		DBSubnetGroupName: some(set.SubnetGroup), VpcSecurityGroupIds: set.SecurityGroups, OptionGroupName: some(set.OptionGroup), MultiAZ: &set.MultiAZ,
		DeletionProtection: &set.DeletionProtection, PubliclyAccessible: aws.Bool(false), CopyTagsToSnapshot: aws.Bool(false),
		Tags: tagList(awsbase.OriginOf(w.req).Tags(map[string]string{tagBegan: time.Now().UTC().Format(time.RFC3339)})),
	}
	if slices.ContainsFunc(parameterised, func(e string) bool { return strings.HasPrefix(aws.ToString(source.Engine), e) }) {
		in.DBParameterGroupName = some(set.ParameterGroup)
	}
	if aws.ToBool(source.StorageEncrypted) {
		if set.KMSKey == "" {
			return failure.New(failure.Invalid, "", source.name(), "it is encrypted, and site %s names no key for its replica", at.id).WithHint("set sites.%s.kms_key to a key of %s", at.id, at.s.Region())
		}
		in.KmsKeyId = &set.KMSKey
	}
	if set.Port > 0 {
		in.Port = aws.Int32(int32(set.Port))
	}
	_, err := at.api.CreateDBInstanceReadReplica(ctx, in)
	return err
}

// replicate is a step towards a replica at a place that holds what the instance at another one had when the replica was begun.
func (w *work) replicate(ctx context.Context, at, of *place, source *instance) (driver.Observation, error) {
	i, err := at.instance(ctx, at.set.Instance)
	switch {
	case err != nil:
		return driver.Observation{}, err
	case i == nil:
		if err := w.replica(ctx, at, of, source); err != nil {
			return driver.Observation{}, err
		}
		return driver.Waiting("a replica of %s is begun in %s", source.name(), at.s.Region()), nil
	case !i.follows(of):
		return driver.FailedWith(taken(w, i)), nil
	case w.stillborn(i):
		return w.discard(ctx, at, i)
	case i.broken():
		return driver.FailedWith(failure.New(failure.Unavailable, string(w.req.Action), i.name(), "AWS says that the replica is %s", i.status()).
			WithHint("aws rds describe-events --source-type db-instance --source-identifier %s says why; delete it, and begin again", i.name())), nil
	case !i.serves():
		return driver.Waiting("replica %s is %s", i.name(), i.status()), nil
	}
	if phase, err := at.fit(ctx, i); err != nil || phase != "" {
		return driver.Waiting("%s", phase), err
	}
	since, err := time.Parse(time.RFC3339, i.tags[tagBegan])
	if err != nil && i.InstanceCreateTime != nil {
		since = *i.InstanceCreateTime
	}
	ok, lag, err := at.holds(ctx, since)
	if err != nil {
		return driver.Observation{}, err
	}
	if stalled := i.stalled(); stalled != "" || !ok {
		return driver.Waiting("replica %s: %s %s", i.name(), lag, stalled), nil
	}
	return driver.Succeeded(driver.Fact("replica", "%s in %s follows %s", i.name(), at.s.Region(), i.master()), driver.Fact("lag", "%s", lag)), nil
}

// fit gives a replica what it could not be made with. It says what is waited for; nothing once all is as it should be.
func (p *place) fit(ctx context.Context, i *instance) (string, error) {
	if p.set.ParameterGroup == "" {
		return "", nil
	}
	name := i.name()
	at := slices.IndexFunc(i.DBParameterGroups, func(g types.DBParameterGroupStatus) bool {
		return aws.ToString(g.DBParameterGroupName) == p.set.ParameterGroup
	})
	switch {
	case at >= 0 && aws.ToString(i.DBParameterGroups[at].ParameterApplyStatus) != "pending-reboot":
		return "", nil
	case !i.ready():
		return fmt.Sprintf("replica %s is %s: it gets its parameter group once it is available", name, i.status()), nil
	case at >= 0:
		_, err := p.api.RebootDBInstance(ctx, &sdk.RebootDBInstanceInput{DBInstanceIdentifier: &name})
		return "replica " + name + " is rebooted into its parameter group", err
	}
	_, err := p.api.ModifyDBInstance(ctx, &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: &name, DBParameterGroupName: &p.set.ParameterGroup, ApplyImmediately: aws.Bool(true)})
	return "replica " + name + " gets its parameter group", err
}

// replicas makes the replicas that other sites miss. An instance of another life that has their name stays: a failback clears it.
func (w *work) replicas(ctx context.Context, others []*place) (driver.Observation, error) {
	source, err := w.here.instance(ctx, w.here.set.Instance)
	if err != nil {
		return driver.Observation{}, err
	}
	if source == nil || source.replica() || source.fenced(w.here.set) {
		return driver.Succeeded(driver.Fact("replica", "no instance serves at %s", w.req.Site)), nil
	}
	all := driver.Succeeded()
	for _, at := range others {
		i, err := at.instance(ctx, at.set.Instance)
		if err != nil {
			return driver.Observation{}, err
		}
		if i != nil && !i.follows(w.here) {
			all.Evidence = append(all.Evidence, driver.Fact("replica at "+string(at.id), "none: an instance %s is there that follows nothing of ours; a failback clears it", i.name()))
			continue
		}
		if why, fix := source.cannotLead(); i == nil && why != "" {
			return driver.FailedWith(failure.New(failure.Conflict, "", source.name(), "%s", why).WithHint("%s", fix)), nil
		}
		seen, err := w.replicate(ctx, at, w.here, source)
		if err != nil || seen.State != driver.Done {
			return seen, err
		}
		all.Evidence = append(all.Evidence, seen.Evidence...)
	}
	return all, nil
}

// handOver waits until the peer's replica holds all that the fenced instance here had accepted. Where no replica follows, the last
// state goes by a snapshot.
func (w *work) handOver(ctx context.Context) (driver.Observation, error) {
	peer, err := w.d.place(ctx, w.req.Target, w.req.Peer)
	if err != nil {
		return driver.Observation{}, err
	}
	r, err := peer.instance(ctx, peer.set.Instance)
	if err != nil {
		return driver.Observation{}, err
	}
	i, err := w.here.instance(ctx, w.here.set.Instance)
	if err != nil {
		return driver.Observation{}, err
	}
	if i == nil || !r.follows(w.here) {
		return w.carryLast(ctx)
	}
	since, err := time.Parse(time.RFC3339, i.tags[tagFencedAt])
	if err != nil {
		now, err := w.here.clock(ctx)
		if err != nil {
			return driver.Observation{}, err
		}
		return driver.Waiting("replica %s is to hold all until %s", r.name(), now.Format(time.RFC3339)), w.here.tag(ctx, i.arn(), map[string]string{tagFencedAt: now.Format(time.RFC3339)})
	}
	ok, lag, err := peer.holds(ctx, since)
	if err != nil {
		return driver.Observation{}, err
	}
	if !ok {
		return driver.Waiting("replica %s is to hold all until %s: %s %s", r.name(), since.Format(time.RFC3339), lag, r.stalled()), nil
	}
	return driver.Succeeded(driver.Fact("replica", "%s in %s holds all until %s", r.name(), peer.s.Region(), since.Format(time.RFC3339)), driver.Fact("lag", "%s", lag), driver.LastState(r.asReplica())), nil
}

// clock is an instant that AWS's clock, by which lags are measured, has just not reached when it is asked. Ours may be behind it, and
// what was accepted last would then be later than that.
func (p *place) clock(ctx context.Context) (time.Time, error) {
	answer, err := p.api.DescribeDBInstances(ctx, &sdk.DescribeDBInstancesInput{DBInstanceIdentifier: &p.set.Instance})
	if err != nil {
		return time.Time{}, err
	}
	date, ok := awsmiddleware.GetServerTime(answer.ResultMetadata)
	if !ok { // the answer says nothing of it
		date = time.Now()
	}
	return date.UTC().Truncate(time.Second).Add(time.Second), nil
}

// promoteReplica makes the replica here an instance of its own. It is asked for once; done is judged by the role, elsewhere.
func (w *work) promoteReplica(ctx context.Context, i *instance) (driver.Observation, error) {
	asked, _ := time.Parse(time.RFC3339, i.tags[tagAsked]) // not yet: the zero time
	switch {
	case !w.set.replicated():
		return driver.FailedWith(taken(w, i)), nil
	case i.broken():
		return driver.FailedWith(failure.New(failure.Unavailable, "promote", i.name(), "AWS says that the replica is %s", i.status()).
			WithHint("aws rds describe-events --source-type db-instance --source-identifier %s says why; lifeboat points %s shows snapshots to restore", i.name(), w.req.App)), nil
	case i.tags[tagPromoted] == string(w.req.Run) && time.Since(asked) < askAgain:
		return driver.Waiting("replica %s is %s; its promotion was asked for at %s", i.name(), i.status(), asked.Format(time.RFC3339)), nil
	case !i.ready():
		return driver.Waiting("replica %s is %s: it can be promoted once it is available", i.name(), i.status()), nil
	}
	if err := w.ofOurs(ctx, i); err != nil {
		return driver.FailedWith(err), nil
	}
	lag, holds := w.lagNow(ctx)
	err := w.here.tag(ctx, i.arn(), map[string]string{tagPromoted: string(w.req.Run), tagAsked: time.Now().UTC().Format(time.RFC3339), tagLag: lag, tagHolds: holds})
	if err != nil {
		return driver.Observation{}, err
	}
	name := i.name()
	in := &sdk.PromoteReadReplicaInput{DBInstanceIdentifier: &name}
	if w.here.set.BackupRetention != nil {
		in.BackupRetentionPeriod = aws.Int32(int32(*w.here.set.BackupRetention))
	}
	if _, err := w.here.api.PromoteReadReplica(ctx, in); err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("the promotion of replica %s is begun", name), nil
}

// ofOurs refuses a replica of something else than the resource at another site.
func (w *work) ofOurs(ctx context.Context, i *instance) error {
	others, err := w.others(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(others, i.follows) {
		return nil
	}
	return failure.New(failure.Exists, "", w.subject(), "instance %s is a replica of %s, which is not this resource at another site", i.name(), i.master()).
		WithHint("delete or rename it; or name its source under the other site")
}

// lagNow is how far the replica here is behind, in words for the evidence, and an instant that it has reached where one is known.
// A promotion does not wait for them.
func (w *work) lagNow(ctx context.Context) (lag, holds string) {
	ctx, cancel := context.WithTimeout(ctx, lagWithin)
	defer cancel()
	lags, err := metric.ReadLag(ctx, w.here.s, w.here.lagOf())
	switch {
	case err != nil || len(lags) == 0:
		return "not known", ""
	case lags[0].Broken:
		return "nothing reached it at " + lags[0].At.UTC().Format(time.RFC3339), ""
	}
	return fmt.Sprintf("%s at %s", lags[0].Behind, lags[0].At.UTC().Format(time.RFC3339)), lags[0].Holds().UTC().Format(time.RFC3339)
}

// finish gives an instance that was promoted from a replica what a replica cannot have, and says how far that was behind.
func (w *work) finish(ctx context.Context, i *instance) (driver.Observation, error) {
	seen := w.comeUp(i)
	if seen.State != driver.Done {
		return seen, nil
	}
	if i.tags[tagAsked] == "" {
		s, err := w.here.store().Get(ctx, i.tags[tagPoint])
		if err == nil && s != nil {
			seen.Evidence = append(seen.Evidence, driver.AsOf(s.At))
		}
		return seen, err
	}
	set, name := w.here.set, i.name()
	in := &sdk.ModifyDBInstanceInput{DBInstanceIdentifier: &name, ApplyImmediately: aws.Bool(true)}
	var what []string
	if set.ManagePassword && i.MasterUserSecret == nil {
		in.ManageMasterUserPassword = aws.Bool(true)
		what = append(what, "a new master password in Secrets Manager")
	}
	if set.DeletionProtection && !aws.ToBool(i.DeletionProtection) {
		in.DeletionProtection = aws.Bool(true)
		what = append(what, "deletion protection")
	}
	if n := set.BackupRetention; n != nil && int(aws.ToInt32(i.BackupRetentionPeriod)) != *n {
		in.BackupRetentionPeriod = aws.Int32(int32(*n))
		what = append(what, fmt.Sprintf("backups of %d days", *n))
	}
	if len(what) > 0 {
		if !i.ready() {
			return driver.Waiting("instance %s is %s: then it gets %s", name, i.status(), strings.Join(what, ", ")), nil
		}
		_, err := w.here.api.ModifyDBInstance(ctx, in)
		return driver.Waiting("instance %s gets %s", name, strings.Join(what, ", ")), err
	}
	if at, err := time.Parse(time.RFC3339, i.tags[tagHolds]); err == nil {
		seen.Evidence = append(seen.Evidence, driver.AsOf(at))
	}
	seen.Evidence = append(seen.Evidence, driver.Source(i.asReplica()), driver.Fact("promoted", "from a replica, asked for at %s", i.tags[tagAsked]), driver.Fact("lag", "%s", i.tags[tagLag]))
	return seen, nil
}

// noReplica is a finding's and a begin's answer where a replica should be.
func noReplica(w *work) *failure.Error {
	return failure.New(failure.NotFound, "", w.subject(), "there is no replica %s in %s", w.here.set.Instance, w.here.s.Region()).
		WithHint("lifeboat protect %s makes it; lifeboat run force restores the newest snapshot instead", w.req.App)
}

// checkReplica says what stands in the way of going on with the replica at this site, which a promotion needs.
func (w *work) checkReplica(ctx context.Context, i *instance) ([]model.Finding, error) {
	if err := w.ofOurs(ctx, i); err != nil {
		return w.judged("rds-replica-other", err)
	}
	if why := i.stalled(); why != "" {
		return []model.Finding{w.finding(model.Warn, "rds-replica-stalled", fmt.Sprintf("replica %s receives nothing: %s", i.name(), why), "what its source has written since is not there", "aws rds describe-db-instances --db-instance-identifier "+i.name())}, nil
	}
	return nil, nil
}

// checkLead finds what keeps the instance here from having replicas, and a replica at the peer from holding its last state.
func (w *work) checkLead(ctx context.Context) ([]model.Finding, error) {
	i, err := w.here.instanceByName(ctx, w.here.set.Instance)
	if err != nil || i == nil {
		return nil, err
	}
	var found []model.Finding
	if why, fix := i.cannotLead(); why != "" && !i.replica() {
		found = append(found, w.finding(model.Warn, "rds-no-replica-possible", "instance "+i.name()+": "+why, "the last state goes by a snapshot, which takes longer", fix))
	}
	if w.req.Peer == "" {
		return found, nil
	}
	peer, err := w.d.place(ctx, w.req.Target, w.req.Peer)
	if err != nil {
		return nil, err
	}
	r, err := peer.instanceByName(ctx, peer.set.Instance)
	switch {
	case err != nil:
		return found, err
	case w.req.Preview && w.req.Operation == model.OpFailback: // an earlier step makes it
	case !r.follows(w.here):
		found = append(found, w.finding(model.Warn, "rds-no-replica", "no replica in "+peer.s.Region()+" follows instance "+i.name(), "the last state goes by a snapshot, which takes longer", "lifeboat protect "+string(w.req.App)+" makes a replica"))
	case r.stalled() != "":
		found = append(found, w.finding(model.Block, "rds-replica-stalled", fmt.Sprintf("replica %s receives nothing: %s", r.name(), r.stalled()), "a planned move waits until it holds all", "delete it and make it again: lifeboat protect "+string(w.req.App)))
	}
	return found, nil
}

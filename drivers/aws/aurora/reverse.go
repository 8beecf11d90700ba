package aurora

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// pair is the cluster that is to follow, and the one that serves.
type pair struct {
	here, there *place
	hv, tv      *view
	req         driver.Request
	key         string // of what a rebuild makes: the same for all attempts of the run
	origin      awsbase.Origin
	class       string // of instances that are made
}

func (d *Driver) pair(ctx context.Context, req driver.Request) (*pair, error) {
	here, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return nil, err
	}
	if req.Peer == "" || req.Peer == req.Site {
		return nil, failure.New(failure.Invalid, "reverse", here.subject, "it is not said which site serves")
	}
	there, err := d.place(ctx, req.Target, req.Peer)
	if err != nil {
		return nil, err
	}
	w := &pair{here: here, there: there, req: req, origin: awsbase.OriginOf(req)}
	if w.tv, err = there.look(ctx); err != nil {
		return nil, failure.Wrap(err, "reverse", here.subject)
	}
	if w.hv, err = here.look(ctx); err != nil {
		return nil, failure.Wrap(err, "reverse", here.subject)
	}
	w.key = runKey(req, there.arn)
	for _, c := range []string{here.at.Instances.Class, w.hv.class(), w.tv.class()} {
		if w.class == "" {
			w.class = c
		}
	}
	return w, nil
}

// refuses says why the cluster here must be left alone: it serves, or the one there does not.
func (w *pair) refuses() error {
	f := w.tv.moving()
	switch {
	case f != nil:
		return nil // it is waited for
	case w.tv.writer(w.here.arn) && w.tv.member(w.there.arn) != nil:
		return failure.New(failure.Conflict, "reverse", w.here.subject, "the cluster here is the writer of %s, and serves", w.here.s.Global).
			WithHint("`lifeboat status` shows which site serves; only the other one can be made to follow")
	case w.tv.cluster == nil:
		return failure.New(failure.Conflict, "reverse", w.here.subject, "there is no cluster %s at %s that it could follow", w.there.at.Cluster, w.there.id)
	case !w.tv.writer(w.there.arn) && !w.tv.alone():
		return failure.New(failure.Conflict, "reverse", w.here.subject, "the cluster at %s is %s, and takes no writes", w.there.id, w.tv.status())
	}
	return nil
}

// rebuilds reports whether the cluster here cannot follow as it is.
func (w *pair) rebuilds() bool {
	if w.hv.cluster == nil || w.tv.member(w.there.arn) != nil && w.tv.member(w.here.arn) != nil {
		return false
	}
	made, _ := awsbase.ReadOrigin(tagMap(w.hv.cluster.TagList))
	return made.Run != w.origin.Run || made.Step != w.origin.Step // what this step has made is no old cluster
}

// Reverse begins nothing itself: what is to do next is seen from the state, and done when it is observed.
func (d *Driver) Reverse(ctx context.Context, req driver.Request) (driver.Handle, error) {
	w, err := d.pair(ctx, req)
	if err != nil {
		return driver.Handle{}, err
	}
	if err := w.refuses(); err != nil {
		return driver.Handle{}, err
	}
	if err := w.mayRebuild(); err != nil {
		return driver.Handle{}, err
	}
	return driver.NewHandle(handleVersion, handle{Action: req.Action})
}

// mayRebuild says what a rebuild lacks, before anything is deleted for it.
func (w *pair) mayRebuild() error {
	if !w.rebuilds() || w.tv.moving() != nil {
		return nil
	}
	if w.req.Operation != model.OpFailback {
		return failure.New(failure.Denied, "reverse", w.here.subject, "the old cluster has left the global database: it can only be deleted and made again").
			WithHint("`lifeboat failback` does it, after an approval")
	}
	if err := w.here.needsDrill("prove the old cluster's last snapshot"); err != nil {
		return err
	}
	if w.here.at.SubnetGroup == "" {
		return failure.New(failure.Invalid, "reverse", w.here.subject, "the site says no subnet group for the cluster that is made again").WithHint("set subnet_group at site %s", w.here.id)
	}
	for _, g := range []*types.GlobalCluster{w.hv.global, w.tv.global} {
		if g == nil {
			continue
		}
		for _, m := range g.GlobalClusterMembers {
			if arn := aws.ToString(m.DBClusterArn); arn != w.here.arn && arn != w.there.arn && w.tv.member(w.there.arn) == nil {
				return failure.New(failure.Conflict, "reverse", w.here.subject, "the old global database %s has another member, %s", w.here.s.Global, arn).
					WithHint("remove it from the global database first, or delete it: it follows the old cluster")
			}
		}
	}
	return nil
}

// observeReverse takes the next step towards a cluster here that follows the one there.
func (d *Driver) observeReverse(ctx context.Context, req driver.Request) (driver.Observation, error) {
	w, err := d.pair(ctx, req)
	if err != nil {
		return driver.Observation{}, err
	}
	if err := w.refuses(); err != nil {
		return driver.FailedWith(err), nil
	}
	if f := w.tv.moving(); f != nil {
		return driver.Waiting("the global database is %s", string(f.Status)), nil
	}
	if err := w.mayRebuild(); err != nil {
		return driver.FailedWith(err), nil
	}
	steps := []func(context.Context) (string, error){w.join}
	if w.rebuilds() {
		steps = []func(context.Context) (string, error){w.proved, w.clear}
	}
	for _, step := range steps {
		phase, err := step(ctx)
		switch {
		case err != nil && (failure.KindOf(err) == failure.Corrupt || failure.KindOf(err) == failure.NotFound || failure.KindOf(err) == failure.Exists):
			return driver.FailedWith(err), nil
		case err != nil:
			return driver.Observation{}, err
		case phase != "":
			return driver.Waiting("%s", phase), nil
		}
	}
	if w.rebuilds() {
		return driver.Waiting("the old cluster is gone; the global database is made again"), nil
	}
	m := w.tv.member(w.here.arn)
	evidence := []model.Fact{{Name: "follows", Value: w.there.arn}, {Name: "synchronization", Value: sync(m)}, {Name: "instances", Value: fmt.Sprintf("%d available", w.hv.up())}}
	return (&work{req: req, here: w.here}).withLast(ctx, driver.Succeeded(evidence...))
}

// final is the name of the old cluster's proved snapshot, last that of what AWS keeps at the deletion itself.
func (w *pair) final() string { return awsbase.NameFor(w.here.at.Cluster+"-final", w.key, nameLimit) }
func (w *pair) last() string  { return awsbase.NameFor(w.here.at.Cluster+"-last", w.key, nameLimit) }

// proved takes the next step towards a snapshot of the old cluster that was restored once. Nothing of the old cluster is changed
// before that, and nothing of the restored copy is left after it.
func (w *pair) proved(ctx context.Context) (string, error) {
	p := w.here
	s, err := p.kept().Store.Get(ctx, w.final())
	switch {
	case err != nil:
		return "", err
	case s == nil && w.hv.means() == dbstate.Leaving:
		return "", failure.New(failure.NotFound, "reverse", p.subject, "somebody deletes the old cluster, and there is no proved snapshot %s of it", w.final())
	case s == nil:
		return "a snapshot of the old cluster is made: " + w.final(), p.makeSnapshot(ctx, w.final(), w.origin.Tags(map[string]string{snapshots.TagOld: "true"}))
	}
	seen, err := (&work{req: w.req, here: p}).tryOld(ctx, s, w.key)
	if err == nil && seen.State == driver.Failed {
		return "", seen.Err
	}
	return seen.Phase, err
}

// clear takes the next step towards an old cluster that is gone. Its snapshot is proved: see proved. What was written to it since
// then is kept too, by the snapshot that AWS makes at the deletion.
func (w *pair) clear(ctx context.Context) (string, error) {
	p, v := w.here, w.hv
	if v.means() != dbstate.Leaving && v.global != nil && v.member(p.arn) != nil {
		_, err := p.rds.RemoveFromGlobalCluster(ctx, &rds.RemoveFromGlobalClusterInput{GlobalClusterIdentifier: &p.s.Global, DbClusterIdentifier: &p.arn})
		return "the old cluster leaves the old global database", settled(failure.Wrap(err, "reverse", p.subject), failure.NotFound, failure.Conflict)
	}
	last := w.last()
	return p.remove(ctx, v, &rds.DeleteDBClusterInput{FinalDBSnapshotIdentifier: &last})
}

// join takes the next step towards a cluster here that is a member, connected, with all its instances.
func (w *pair) join(ctx context.Context) (string, error) {
	if w.tv.member(w.there.arn) == nil {
		return w.found(ctx)
	}
	p, v := w.here, w.hv
	if v.cluster == nil {
		return w.create(ctx)
	}
	for n := 1; len(v.instances) < p.at.number() && n <= 2*p.at.number(); n++ {
		id := fmt.Sprintf("%s-%d", p.at.Cluster, n)
		if i, err := p.instance(ctx, id); err != nil || i != nil {
			if err != nil {
				return "", err
			}
			continue
		}
		_, err := p.rds.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
			DBInstanceIdentifier: &id, DBClusterIdentifier: &p.at.Cluster, Engine: v.cluster.Engine, DBInstanceClass: &w.class, PubliclyAccessible: aws.Bool(false),
			DBParameterGroupName: awsbase.Optional(p.at.ParameterGroup), Tags: tagList(w.origin.Tags(nil)),
		})
		return "the instance " + id + " is created", settled(failure.Wrap(err, "reverse", p.subject), failure.Exists, failure.Conflict)
	}
	m := w.tv.member(p.arn)
	if m == nil {
		return "the cluster is " + v.status() + ", and not a member of " + p.s.Global + " yet", nil
	}
	if !following(m) || !v.means().Serves() || v.up() < min(p.at.number(), len(v.instances)) {
		return fmt.Sprintf("the cluster is %s, %s, %d of %d instances available", v.status(), sync(m), v.up(), len(v.instances)), nil
	}
	return "", nil
}

// found takes the next step towards a global database whose writer is the cluster there.
func (w *pair) found(ctx context.Context) (string, error) {
	for _, at := range []struct {
		p *place
		v *view
	}{{w.there, w.tv}, {w.here, w.hv}} {
		g := at.v.global
		if g == nil {
			continue
		}
		if len(g.GlobalClusterMembers) > 0 {
			return "the old global database still has members", nil
		}
		if aws.ToBool(g.DeletionProtection) {
			_, err := at.p.rds.ModifyGlobalCluster(ctx, &rds.ModifyGlobalClusterInput{GlobalClusterIdentifier: &at.p.s.Global, DeletionProtection: aws.Bool(false)})
			return "the empty global database's deletion protection is taken off", settled(failure.Wrap(err, "reverse", at.p.subject), failure.NotFound, failure.Conflict)
		}
		_, err := at.p.rds.DeleteGlobalCluster(ctx, &rds.DeleteGlobalClusterInput{GlobalClusterIdentifier: &at.p.s.Global})
		return "the empty global database is deleted", settled(failure.Wrap(err, "reverse", at.p.subject), failure.NotFound, failure.Conflict)
	}
	_, err := w.there.rds.CreateGlobalCluster(ctx, &rds.CreateGlobalClusterInput{
		GlobalClusterIdentifier: &w.there.s.Global, SourceDBClusterIdentifier: &w.there.arn, DeletionProtection: aws.Bool(w.there.at.protected())})
	return "the global database is made again, from the cluster that serves", settled(failure.Wrap(err, "reverse", w.there.subject), failure.Exists, failure.Conflict)
}

// create makes the cluster here as a member.
func (w *pair) create(ctx context.Context) (string, error) {
	p, from := w.here, w.tv.cluster
	switch {
	case p.at.SubnetGroup == "":
		return "", failure.New(failure.Invalid, "reverse", p.subject, "the site says no subnet group for the cluster that is made again").WithHint("set subnet_group at site %s", p.id)
	case w.class == "":
		return "", failure.New(failure.Invalid, "reverse", p.subject, "nothing says which class its instances have").WithHint("set instances.class at site %s", p.id)
	}
	in := &rds.CreateDBClusterInput{
		DBClusterIdentifier: &p.at.Cluster, Engine: from.Engine, EngineVersion: from.EngineVersion, GlobalClusterIdentifier: &p.s.Global,
		DBSubnetGroupName: &p.at.SubnetGroup, VpcSecurityGroupIds: p.at.SecurityGroups, DBClusterParameterGroupName: awsbase.Optional(p.at.ClusterParameterGroup),
		Port: from.Port, DeletionProtection: aws.Bool(p.at.protected()), CopyTagsToSnapshot: from.CopyTagsToSnapshot,
		EnableIAMDatabaseAuthentication: from.IAMDatabaseAuthenticationEnabled, Tags: tagList(w.origin.Tags(nil)),
	}
	if aws.ToBool(from.StorageEncrypted) {
		in.StorageEncrypted = aws.Bool(true)
		in.KmsKeyId = aws.String(p.at.key())
	}
	if n := aws.ToInt32(from.BackupRetentionPeriod); n > 0 {
		in.BackupRetentionPeriod = &n
	}
	_, err := p.rds.CreateDBCluster(ctx, in)
	return "the cluster is made again as a member of " + p.s.Global, settled(failure.Wrap(err, "reverse", p.subject), failure.Exists, failure.Conflict)
}

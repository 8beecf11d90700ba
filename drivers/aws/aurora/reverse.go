package aurora

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The tags that say what a real restore of a snapshot showed.
const (
	tagProvedAt = "lifeboat:proved-at"
	tagProvedBy = "lifeboat:proved-by"
	tagProvedOK = "lifeboat:proved-ok"
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
	sum := sha256.Sum256([]byte(string(req.Run) + "/" + string(req.App) + "/" + string(req.Resource.ID) + "/" + there.arn))
	w.key = strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
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
		return failed(err), nil
	}
	if f := w.tv.moving(); f != nil {
		return pending("the global database is " + string(f.Status)), nil
	}
	if err := w.mayRebuild(); err != nil {
		return failed(err), nil
	}
	steps := []func(context.Context) (string, error){w.join}
	if w.rebuilds() {
		steps = []func(context.Context) (string, error){d.proved(w), w.clear}
	}
	for _, step := range steps {
		phase, err := step(ctx)
		switch {
		case err != nil && (failure.KindOf(err) == failure.Corrupt || failure.KindOf(err) == failure.NotFound || failure.KindOf(err) == failure.Exists):
			return failed(err), nil
		case err != nil:
			return driver.Observation{}, err
		case phase != "":
			return pending(phase), nil
		}
	}
	if w.rebuilds() {
		return pending("the old cluster is gone; the global database is made again"), nil
	}
	m := w.tv.member(w.here.arn)
	evidence := []model.Fact{{Name: "follows", Value: w.there.arn}, {Name: "synchronization", Value: sync(m)}, {Name: "instances", Value: fmt.Sprintf("%d available", w.hv.up())}}
	if s, err := w.here.snapshot(ctx, w.final()); err == nil && s != nil {
		evidence = append(evidence, model.Fact{Name: "old cluster", Value: "kept as the snapshot " + w.final() + ", proved " + tagMap(s.TagList)[tagProvedAt]})
	}
	return done(evidence...), nil
}

// final is the name of the old cluster's proved snapshot, last that of what AWS keeps at the deletion itself.
func (w *pair) final() string { return awsbase.NameFor(w.here.at.Cluster+"-final", w.key, nameLimit) }
func (w *pair) last() string  { return awsbase.NameFor(w.here.at.Cluster+"-last", w.key, nameLimit) }

// proved takes the next step towards a snapshot of the old cluster that was restored once. Nothing of the old cluster is changed
// before that, and nothing of the restored copy is left after it.
func (d *Driver) proved(w *pair) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		p, tags := w.here, tagsOf(w.origin, nil)
		s, err := p.snapshot(ctx, w.final())
		if err != nil {
			return "", err
		}
		if s == nil {
			if w.hv.status() == "deleting" {
				return "", failure.New(failure.NotFound, "reverse", p.subject, "somebody deletes the old cluster, and there is no proved snapshot %s of it", w.final())
			}
			return "a snapshot of the old cluster is made: " + w.final(), p.makeSnapshot(ctx, w.final(), tags)
		}
		a := p.apartOf("proof", w.key, w.final(), tags)
		if verdict := tagMap(s.TagList)[tagProvedOK]; verdict != "" {
			phase, err := p.takeDown(ctx, a)
			switch {
			case err != nil:
				return "", err
			case phase != "":
				return "the old cluster's snapshot was restored (good: " + verdict + "); " + phase, nil
			case verdict != "true":
				return "", failure.New(failure.Corrupt, "reverse", p.subject, "the old cluster's snapshot %s could not be brought up; the old cluster is left as it is", w.final()).
					WithHint("look at the drill's subnet group, key and class; delete the snapshot, and retry for another proof")
			}
			return "", nil
		}
		class, err := p.drillClass(w.hv)
		if err != nil {
			if class = w.class; class == "" {
				return "", err
			}
		}
		c, phase, err := p.bringUp(ctx, a, class)
		switch {
		case err != nil && failure.KindOf(err) == failure.Corrupt:
			return "the old cluster's snapshot is not good: " + err.Error(), d.judged(ctx, w, s, "false")
		case err != nil:
			return "", err
		case c == nil:
			return "the old cluster's snapshot is proved by a restore: " + phase, nil
		}
		return "the old cluster's snapshot was restored and came up", d.judged(ctx, w, s, "true")
	}
}

// judged writes what a restore showed to the snapshot itself.
func (d *Driver) judged(ctx context.Context, w *pair, s *types.DBClusterSnapshot, ok string) error {
	_, err := w.here.rds.AddTagsToResource(ctx, &rds.AddTagsToResourceInput{ResourceName: s.DBClusterSnapshotArn, Tags: awsbase.TagsAs([]awsbase.Tag{
		{Key: tagProvedAt, Value: stamp(d.now())}, {Key: tagProvedBy, Value: string(w.req.Run)}, {Key: tagProvedOK, Value: ok},
	}, func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })})
	return failure.Wrap(err, "reverse", w.here.subject)
}

// clear takes the next step towards an old cluster that is gone. Its snapshot is proved: see proved. What was written to it since
// then is kept too, by the snapshot that AWS makes at the deletion.
func (w *pair) clear(ctx context.Context) (string, error) {
	p, v := w.here, w.hv
	switch {
	case v.status() == "deleting":
		return "the old cluster is being deleted", nil
	case v.global != nil && v.member(p.arn) != nil:
		_, err := p.rds.RemoveFromGlobalCluster(ctx, &rds.RemoveFromGlobalClusterInput{GlobalClusterIdentifier: &p.s.Global, DbClusterIdentifier: &p.arn})
		return "the old cluster leaves the old global database", settled(failure.Wrap(err, "reverse", p.subject), failure.NotFound, failure.Conflict)
	case aws.ToBool(v.cluster.DeletionProtection):
		_, err := p.rds.ModifyDBCluster(ctx, &rds.ModifyDBClusterInput{DBClusterIdentifier: &p.at.Cluster, DeletionProtection: aws.Bool(false), ApplyImmediately: aws.Bool(true)})
		return "the old cluster's deletion protection is taken off", settled(failure.Wrap(err, "reverse", p.subject), failure.NotFound, failure.Conflict)
	case len(v.instances) > 0:
		for _, i := range v.instances {
			if aws.ToString(i.DBInstanceStatus) == "deleting" {
				continue
			}
			id := aws.ToString(i.DBInstanceIdentifier)
			if aws.ToBool(i.DeletionProtection) {
				return "", failure.New(failure.Exists, "reverse", p.subject, "the old cluster's instance %s is protected from deletion", id).
					WithHint("aws rds modify-db-instance --no-deletion-protection --db-instance-identifier %s; then retry", id)
			}
			if err := p.deleteInstance(ctx, id); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("the old cluster's %d instances are deleted", len(v.instances)), nil
	}
	last := w.last()
	_, err := p.rds.DeleteDBCluster(ctx, &rds.DeleteDBClusterInput{DBClusterIdentifier: &p.at.Cluster, FinalDBSnapshotIdentifier: &last})
	return "the old cluster is deleted, with a last snapshot " + last, settled(failure.Wrap(err, "reverse", p.subject), failure.NotFound, failure.Conflict)
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
			DBParameterGroupName: optional(p.at.ParameterGroup), Tags: tagsOf(w.origin, nil),
		})
		return "the instance " + id + " is created", settled(failure.Wrap(err, "reverse", p.subject), failure.Exists, failure.Conflict)
	}
	m := w.tv.member(p.arn)
	if m == nil {
		return "the cluster is " + v.status() + ", and not a member of " + p.s.Global + " yet", nil
	}
	if !following(m) || v.status() != available || v.up() < min(p.at.number(), len(v.instances)) {
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
	return "the global database is made again, from the cluster that serves", settled(failure.Wrap(err, "reverse", w.there.subject), failure.Conflict)
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
		DBSubnetGroupName: &p.at.SubnetGroup, VpcSecurityGroupIds: p.at.SecurityGroups, DBClusterParameterGroupName: optional(p.at.ClusterParameterGroup),
		Port: from.Port, DeletionProtection: aws.Bool(p.at.protected()), CopyTagsToSnapshot: from.CopyTagsToSnapshot,
		EnableIAMDatabaseAuthentication: from.IAMDatabaseAuthenticationEnabled, Tags: tagsOf(w.origin, nil),
	}
	if aws.ToBool(from.StorageEncrypted) {
		in.StorageEncrypted = aws.Bool(true)
		in.KmsKeyId = aws.String("alias/aws/rds")
		if p.at.KMSKey != "" {
			in.KmsKeyId = &p.at.KMSKey
		}
	}
	if n := aws.ToInt32(from.BackupRetentionPeriod); n > 0 {
		in.BackupRetentionPeriod = &n
	}
	_, err := p.rds.CreateDBCluster(ctx, in)
	return "the cluster is made again as a member of " + p.s.Global, settled(failure.Wrap(err, "reverse", p.subject), failure.Exists, failure.Conflict)
}

// Observe looks how far the work is, and takes the next step of a rebuild, a drill or a release.
func (d *Driver) Observe(ctx context.Context, req driver.Request, dh driver.Handle) (driver.Observation, error) {
	h, err := driver.ReadHandle[handle](handleVersion, dh)
	if err != nil {
		return driver.Observation{}, err
	}
	var seen driver.Observation
	switch h.Action {
	case model.ActionFence, model.ActionPromote:
		seen, err = d.observeRole(ctx, req, h)
	case model.ActionReverse:
		seen, err = d.observeReverse(ctx, req)
	case model.ActionDrill:
		seen, err = d.observeDrill(ctx, req)
	case model.ActionRelease:
		seen, err = d.observeRelease(ctx, req)
	default:
		err = failure.New(failure.Corrupt, "observe", string(req.Resource.ID), "a handle of %q", h.Action)
	}
	if seen.State == driver.Pending {
		seen.Again = d.again
	}
	return seen, failure.Wrap(err, "observe", string(req.Resource.ID))
}

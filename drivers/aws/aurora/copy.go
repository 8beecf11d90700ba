package aurora

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// apart is a cluster with one instance that is restored from a snapshot into the isolated subnet group.
type apart struct {
	cluster, instance, snapshot string
	tags                        []types.Tag
}

// apartOf names what is restored apart under a key. The names are the same whenever they are asked for.
func (p *place) apartOf(what, key, snapshot string, tags []types.Tag) apart {
	return apart{cluster: awsbase.NameFor(p.at.Cluster+"-"+what, key, nameLimit), instance: awsbase.NameFor(p.at.Cluster+"-"+what+"-one", key, nameLimit), snapshot: snapshot, tags: tags}
}

func tagsOf(origin awsbase.Origin, more map[string]string) []types.Tag {
	return awsbase.TagsAs(origin.Tags(more), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

func tagMap(tags []types.Tag) map[string]string {
	return awsbase.TagMap(tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
}

// settled drops the errors of a deed that somebody has done already, or that has to wait for its turn.
func settled(err error, kinds ...failure.Kind) error {
	if err != nil && slices.Contains(kinds, failure.KindOf(err)) {
		return nil
	}
	return err
}

// bringUp takes the next step towards a copy that is up; ready is the copy's cluster once it is. Every step is taken once, however
// often and by however many it is tried.
func (p *place) bringUp(ctx context.Context, a apart, class string) (ready *types.DBCluster, phase string, err error) {
	s, err := p.snapshot(ctx, a.snapshot)
	switch {
	case err != nil:
		return nil, "", err
	case s == nil:
		return nil, "", failure.New(failure.NotFound, "restore", p.subject, "the snapshot %s is gone", a.snapshot)
	case aws.ToString(s.Status) == "failed":
		return nil, "", failure.New(failure.Corrupt, "restore", p.subject, "the snapshot %s has failed", a.snapshot)
	case aws.ToString(s.Status) != available:
		return nil, fmt.Sprintf("the snapshot %s is %s, %d%%", a.snapshot, aws.ToString(s.Status), aws.ToInt32(s.PercentProgress)), nil
	}
	c, err := p.cluster(ctx, a.cluster)
	switch {
	case err != nil:
		return nil, "", err
	case c == nil:
		in := &rds.RestoreDBClusterFromSnapshotInput{
			DBClusterIdentifier: &a.cluster, SnapshotIdentifier: &a.snapshot, Engine: s.Engine, EngineVersion: s.EngineVersion,
			DBSubnetGroupName: &p.at.Drill.SubnetGroup, VpcSecurityGroupIds: p.at.Drill.SecurityGroups, DeletionProtection: aws.Bool(false), Tags: a.tags,
			DBClusterParameterGroupName: optional(p.at.ClusterParameterGroup),
		}
		_, err := p.rds.RestoreDBClusterFromSnapshot(ctx, in)
		return nil, "the copy is restored from " + a.snapshot, settled(failure.Wrap(err, "restore", p.subject), failure.Exists)
	}
	if o, ours := awsbase.ReadOrigin(tagMap(c.TagList)); !ours || o.Token != tagMap(a.tags)[awsbase.TagToken] && o.Resource != tagMap(a.tags)[awsbase.TagResource] {
		return nil, "", failure.New(failure.Exists, "restore", p.subject, "a cluster %s exists that Lifeboat did not make for this", a.cluster)
	}
	switch status := aws.ToString(c.Status); status {
	case available, "creating":
	case "failed", "inaccessible-encryption-credentials", "incompatible-restore":
		return nil, "", failure.New(failure.Corrupt, "restore", p.subject, "the copy %s is %s", a.cluster, status)
	default:
		return nil, fmt.Sprintf("the copy %s is %s", a.cluster, status), nil
	}
	i, err := p.instance(ctx, a.instance)
	switch {
	case err != nil:
		return nil, "", err
	case i == nil:
		_, err := p.rds.CreateDBInstance(ctx, &rds.CreateDBInstanceInput{
			DBInstanceIdentifier: &a.instance, DBClusterIdentifier: &a.cluster, Engine: c.Engine, DBInstanceClass: aws.String(class), PubliclyAccessible: aws.Bool(false),
			DBParameterGroupName: optional(p.at.ParameterGroup), Tags: a.tags,
		})
		return nil, "the copy's instance is created", settled(failure.Wrap(err, "restore", p.subject), failure.Exists)
	}
	switch status := aws.ToString(i.DBInstanceStatus); {
	case status == "failed" || status == "incompatible-restore" || status == "incompatible-parameters":
		return nil, "", failure.New(failure.Corrupt, "restore", p.subject, "the copy's instance %s is %s", a.instance, status)
	case status != available || aws.ToString(c.Status) != available:
		return nil, fmt.Sprintf("the copy %s is %s, its instance %s", a.cluster, aws.ToString(c.Status), status), nil
	}
	return c, "", nil
}

// takeDown takes the next step towards a copy that is gone; phase is empty once it is. Nothing that Lifeboat did not make is
// touched.
func (p *place) takeDown(ctx context.Context, a apart) (phase string, err error) {
	i, err := p.instance(ctx, a.instance)
	if err != nil {
		return "", err
	}
	if i != nil {
		if _, ours := awsbase.ReadOrigin(tagMap(i.TagList)); !ours {
			return "", failure.New(failure.Exists, "release", p.subject, "the instance %s is not Lifeboat's", a.instance)
		}
		if aws.ToString(i.DBInstanceStatus) != "deleting" {
			if err := p.deleteInstance(ctx, a.instance); err != nil {
				return "", err
			}
		}
	}
	c, err := p.cluster(ctx, a.cluster)
	if err != nil {
		return "", err
	}
	if c == nil {
		if i != nil {
			return "the copy's instance is deleted", nil
		}
		return "", nil
	}
	if _, ours := awsbase.ReadOrigin(tagMap(c.TagList)); !ours {
		return "", failure.New(failure.Exists, "release", p.subject, "the cluster %s is not Lifeboat's", a.cluster)
	}
	if aws.ToString(c.Status) != "deleting" && i == nil {
		_, err := p.rds.DeleteDBCluster(ctx, &rds.DeleteDBClusterInput{DBClusterIdentifier: &a.cluster, SkipFinalSnapshot: aws.Bool(true)})
		if err := settled(failure.Wrap(err, "release", p.subject), failure.NotFound, failure.Conflict); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("the copy %s is %s", a.cluster, aws.ToString(c.Status)), nil
}

// deleteInstance deletes an instance of a cluster; the storage is the cluster's and stays.
func (p *place) deleteInstance(ctx context.Context, id string) error {
	_, err := p.rds.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: &id, SkipFinalSnapshot: aws.Bool(true)})
	return settled(failure.Wrap(err, "delete the instance "+id, p.subject), failure.NotFound, failure.Conflict)
}

// deleteSnapshot takes the next step towards a snapshot that is gone.
func (p *place) deleteSnapshot(ctx context.Context, id string) (phase string, err error) {
	s, err := p.snapshot(ctx, id)
	if err != nil || s == nil {
		return "", err
	}
	if _, ours := awsbase.ReadOrigin(tagMap(s.TagList)); !ours {
		return "", failure.New(failure.Exists, "release", p.subject, "the snapshot %s is not Lifeboat's", id)
	}
	if aws.ToString(s.Status) == "creating" {
		return "the snapshot " + id + " is still being made, and cannot be deleted before", nil
	}
	_, err = p.rds.DeleteDBClusterSnapshot(ctx, &rds.DeleteDBClusterSnapshotInput{DBClusterSnapshotIdentifier: &id})
	return "the snapshot " + id + " is deleted", settled(failure.Wrap(err, "release", p.subject), failure.NotFound, failure.Conflict)
}

// makeSnapshot begins a snapshot of the cluster under a name that only this work has.
func (p *place) makeSnapshot(ctx context.Context, id string, tags []types.Tag) error {
	if s, err := p.snapshot(ctx, id); err != nil || s != nil {
		return err
	}
	_, err := p.rds.CreateDBClusterSnapshot(ctx, &rds.CreateDBClusterSnapshotInput{DBClusterSnapshotIdentifier: &id, DBClusterIdentifier: &p.at.Cluster, Tags: tags})
	if err != nil && failure.KindOf(err) == failure.Indeterminate {
		if s, lookErr := p.snapshot(ctx, id); lookErr == nil && s != nil {
			return nil
		}
	}
	return settled(failure.Wrap(err, "make a snapshot", p.subject), failure.Exists)
}

// optional leaves an empty text out of a call.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// drillOf names what a drill makes.
func (p *place) drillOf(req driver.Request, token string) apart {
	origin := awsbase.OriginOf(req)
	origin.Token = token
	return p.apartOf("drill", token, awsbase.NameFor(p.at.Cluster+"-drill", token, nameLimit), tagsOf(origin, nil))
}

// needsDrill is the error of a site without an isolated place.
func (p *place) needsDrill(op string) error {
	if p.at.Drill != nil {
		return nil
	}
	return failure.New(failure.Invalid, op, p.subject, "the site says no isolated place for copies").
		WithHint("add drill: {subnet_group: NAME} to the resource at site %s", p.id)
}

// drillClass is the class of a copy's instance.
func (p *place) drillClass(v *view) (string, error) {
	for _, c := range []string{p.at.Drill.Class, p.at.Instances.Class, v.class()} {
		if c != "" {
			return c, nil
		}
	}
	return "", failure.New(failure.Invalid, "restore", p.subject, "nothing says which class the copy's instance has").WithHint("set drill.class, or instances.class, at site %s", p.id)
}

// Drill makes a snapshot of the site's own member: that the copy which follows can be brought up is what it shows.
func (d *Driver) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if err := p.needsDrill("drill"); err != nil {
		return driver.Handle{}, err
	}
	a := p.drillOf(req, req.Token)
	if err := p.makeSnapshot(ctx, a.snapshot, a.tags); err != nil {
		return driver.Handle{}, failure.Wrap(err, "drill", p.subject)
	}
	return driver.NewHandle(handleVersion, handle{Action: req.Action})
}

func (d *Driver) observeDrill(ctx context.Context, req driver.Request) (driver.Observation, error) {
	p, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	if err := p.needsDrill("drill"); err != nil {
		return driver.Observation{}, err
	}
	v, err := p.look(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	class, err := p.drillClass(v)
	if err != nil {
		return driver.Observation{}, err
	}
	a := p.drillOf(req, req.Token)
	c, phase, err := p.bringUp(ctx, a, class)
	switch {
	case err != nil && failure.KindOf(err) == failure.Corrupt, err != nil && failure.KindOf(err) == failure.NotFound:
		return failed(err), nil
	case err != nil:
		return driver.Observation{}, err
	case c == nil:
		return pending(phase), nil
	}
	seen := done(model.Fact{Name: "restored from", Value: a.snapshot}, model.Fact{Name: "isolated in", Value: p.at.Drill.SubnetGroup})
	seen.Outputs = ends(c)
	return seen, nil
}

// Release removes what a drill made, by the names that its token gives.
func (d *Driver) Release(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if req.Released == nil || req.Released.Token == "" {
		return driver.Handle{}, failure.New(failure.Invalid, "release", p.subject, "it is not said what is released")
	}
	if _, err := p.takeDown(ctx, p.drillOf(req, req.Released.Token)); err != nil {
		return driver.Handle{}, err
	}
	return driver.NewHandle(handleVersion, handle{Action: req.Action})
}

func (d *Driver) observeRelease(ctx context.Context, req driver.Request) (driver.Observation, error) {
	p, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	if req.Released == nil || req.Released.Token == "" {
		return driver.Observation{}, failure.New(failure.Invalid, "release", p.subject, "it is not said what is released")
	}
	a := p.drillOf(req, req.Released.Token)
	phase, err := p.takeDown(ctx, a)
	if err == nil && phase == "" {
		phase, err = p.deleteSnapshot(ctx, a.snapshot)
	}
	switch {
	case err != nil:
		return driver.Observation{}, err
	case phase != "":
		return pending(phase), nil
	}
	return done(model.Fact{Name: "released", Value: a.cluster + ", " + a.instance + ", the snapshot " + a.snapshot}), nil
}

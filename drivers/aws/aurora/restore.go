package aurora

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// makeSnapshot begins a snapshot of the cluster under a name that only this work has.
func (p *place) makeSnapshot(ctx context.Context, id string, tags []awsbase.Tag) error {
	_, err := p.rds.CreateDBClusterSnapshot(ctx, &rds.CreateDBClusterSnapshotInput{DBClusterSnapshotIdentifier: &id, DBClusterIdentifier: &p.at.Cluster, Tags: tagList(tags)})
	if err != nil && failure.KindOf(err) == failure.Indeterminate {
		if s, lookErr := p.store().describe(ctx, id); lookErr == nil && s != nil {
			return nil
		}
	}
	return settled(failure.Wrap(err, "make a snapshot", p.subject), failure.Exists)
}

// chosen is the snapshot that the cluster called name is restored from: the one that it says itself when it is there already, else
// the newest at the site.
func (w *work) chosen(ctx context.Context, name string) (string, error) {
	c, err := w.here.cluster(ctx, name)
	if err != nil {
		return "", err
	}
	if c != nil {
		return tagMap(c.TagList)[tagPoint], nil
	}
	return w.keeper().Named(ctx, "")
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

// apart is what the step restores into the drill's place.
func (w *work) apart(what, snapshot string) launch {
	return w.here.apartOf(what, w.req.Token, snapshot, w.origin())
}

// raise takes the next step towards a launch that is up, and says so.
func (w *work) raise(ctx context.Context, l launch) (driver.Observation, error) {
	ready, phase, err := w.here.bringUp(ctx, l)
	if err != nil || ready == nil {
		return driver.Waiting("%s", phase), err
	}
	seen := driver.Succeeded(driver.Fact("cluster", "%s is %s, %d of %d instances available", l.cluster, aws.ToString(ready.Status), ready.up, len(l.instances)),
		driver.Fact("endpoint", "%s", ends(ready.DBCluster)["endpoint"].Text), driver.Source(launch{from: tagMap(ready.TagList)[tagPoint]}.source()))
	if at, err := time.Parse(time.RFC3339, tagMap(ready.TagList)[snapshots.TagAt]); err == nil {
		seen.Evidence = append(seen.Evidence, driver.AsOf(at))
	}
	if len(ready.broken) > 0 {
		seen.Evidence = append(seen.Evidence, driver.Fact("instances that do not come up", "%s", strings.Join(ready.broken, ", ")))
	}
	if l.apart {
		seen.Evidence = append(seen.Evidence, driver.Fact("isolated in", "%s", w.here.at.Drill.SubnetGroup))
	}
	seen.Outputs = ends(ready.DBCluster)
	return seen, nil
}

// decideRestore finds what the asked state is restored from. There are no backups of a cluster that only follows.
func (w *work) decideRestore(ctx context.Context) (handle, error) {
	h := handle{Action: w.req.Action}
	names := snapshots.Names{Own: w.here.at.Cluster, Limit: nameLimit - len("-16")} // which its instances' names need
	asked, err := w.keeper().AskedRestore(ctx, w.req.Restore, names, func(ctx context.Context) (*snapshots.Backups, error) {
		v, err := w.here.look(ctx)
		if err != nil || v.cluster == nil || v.cluster.LatestRestorableTime == nil || !v.alone() && !v.writer(v.arn) {
			return nil, err
		}
		return &snapshots.Backups{Of: w.here.at.Cluster, First: v.cluster.EarliestRestorableTime, Last: v.cluster.LatestRestorableTime}, nil
	})
	h.Name, h.Point, h.Until = asked.Name, asked.Point, asked.Until
	return h, err
}

// restore brings a state up under a name of its own, with what the site says.
func (w *work) restore(ctx context.Context, h handle) (driver.Observation, error) {
	class := w.here.at.Instances.Class
	if class == "" {
		v, err := w.here.look(ctx)
		if err != nil {
			return driver.Observation{}, err
		}
		if class = v.class(); class == "" {
			return driver.Observation{}, failure.New(failure.Invalid, "", "", "nothing says which class its instances have").WithHint("set instances.class at site %s", w.here.id)
		}
	}
	return w.raise(ctx, launch{cluster: h.Name, instances: instancesOf(h.Name, w.here.at.number()), from: h.Point, until: h.Until, class: class, origin: w.origin()})
}

// decideProve checks what is asked for.
func (w *work) decideProve(ctx context.Context) (string, error) {
	if err := w.here.needsDrill("prove"); err != nil {
		return "", err
	}
	return w.keeper().AskedProof(ctx, w.req.Prove)
}

// prove restores a snapshot apart, writes down what came of it, and removes the cluster.
func (w *work) prove(ctx context.Context, h handle) (driver.Observation, error) {
	s, err := w.here.kept().Store.Get(ctx, h.Point)
	if err != nil {
		return driver.Observation{}, err
	}
	if s == nil {
		return driver.FailedWith(failure.New(failure.NotFound, "prove", h.Point, "the snapshot is gone").WithHint("prove another one")), nil
	}
	return w.try(ctx, s, w.apart("prove", s.ID), w.req.Token)
}

// try takes the next step of a proof of s by a launch, whose key is token.
func (w *work) try(ctx context.Context, s *snapshots.Snapshot, l launch, token string) (driver.Observation, error) {
	return snapshots.Prove(ctx, w.req, token, w.here.kept(), s, snapshots.Trial{
		Up: func(ctx context.Context) (seen driver.Observation, began time.Time, bad string, err error) {
			v, err := w.here.look(ctx)
			if err != nil {
				return seen, began, "", err
			}
			if l.class, err = w.here.drillClass(v); err != nil {
				return seen, began, "", err
			}
			seen, err = w.raise(ctx, l)
			if err != nil && failure.KindOf(err) == failure.Corrupt {
				seen, bad, err = driver.FailedWith(err), failure.From(err).Message, nil
			}
			if err != nil || seen.State == driver.Pending {
				return seen, began, "", err
			}
			c, err := w.here.cluster(ctx, l.cluster)
			if c != nil {
				began, _ = time.Parse(time.RFC3339, tagMap(c.TagList)[tagBegan]) // unreadable: not known
			}
			return seen, began, bad, err
		},
		Remove: func(ctx context.Context) (string, error) { return w.here.takeDown(ctx, l) },
	})
}

// release deletes what a drill or a proof made, by the names that its token gives.
func (w *work) release(ctx context.Context) (driver.Observation, error) {
	p, token := w.here, w.req.Released.Token
	for _, what := range []string{"drill", "prove"} {
		l := p.apartOf(what, token, "", w.origin())
		if phase, err := p.takeDown(ctx, l); err != nil || phase != "" {
			return driver.Waiting("%s", phase), err
		}
	}
	if phase, err := p.deleteSnapshot(ctx, p.drillSnapshot(token)); err != nil || phase != "" {
		return driver.Waiting("%s", phase), err
	}
	return driver.Succeeded(driver.Fact("released", "nothing is left of it in %s", p.session.Region())), nil
}

// drillSnapshot is the name of the snapshot that a drill makes of a member of a global database.
func (p *place) drillSnapshot(token string) string {
	return awsbase.NameFor(p.at.Cluster+"-drill", token, nameLimit)
}

// deleteSnapshot takes the next step towards a snapshot that is gone.
func (p *place) deleteSnapshot(ctx context.Context, id string) (phase string, err error) {
	s, err := p.kept().Store.Get(ctx, id)
	if err != nil || s == nil {
		return "", err
	}
	if _, made := awsbase.ReadOrigin(s.Tags); !made {
		return "", failure.New(failure.Exists, "release", p.subject, "the snapshot %s is not Lifeboat's", id)
	}
	if s.Status == "creating" {
		return "the snapshot " + id + " is still being made, and cannot be deleted before", nil
	}
	return "the snapshot " + id + " is deleted", settled(failure.Wrap(p.kept().Store.Delete(ctx, id), "release", p.subject), failure.NotFound, failure.Conflict)
}

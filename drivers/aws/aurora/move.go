package aurora

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// whole is the site's cluster, brought up under its own name.
func (w *work) whole(h handle) launch {
	return launch{cluster: h.Name, instances: instancesOf(h.Name, w.here.at.number()), from: h.Point, class: w.here.at.Instances.Class, origin: w.origin()}
}

// promote brings the newest copy up. A cluster that this run has fenced here is let serve again: that undoes a quiesce.
func (w *work) promote(ctx context.Context, h handle) (driver.Observation, error) {
	p := w.here
	v, err := p.look(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	c := v.cluster
	if c == nil {
		if h.Point == "" {
			return driver.FailedWith(failure.New(failure.NotFound, "promote", p.subject, "the cluster that was there is gone").WithHint("lifeboat run retry chooses a snapshot")), nil
		}
		return w.raise(ctx, w.whole(h))
	}
	tags := tagMap(c.TagList)
	switch {
	case ours(w.origin(), tags) && !p.fenced(c):
		return w.raise(ctx, w.whole(h))
	case p.fenced(c) && (w.fencedIt(tags) || w.req.Force):
		return w.unfence(ctx, c)
	case tags[tagPromoted] == w.req.Token || w.req.Force && v.alone():
		return w.serves(v)
	}
	return driver.Observation{}, taken(p, h.Name)
}

// fencedIt reports whether this run fenced a cluster with these tags. What is only previewed is no run.
func (w *work) fencedIt(tags map[string]string) bool {
	return w.req.Run != "" && tags[tagFenceRun] == string(w.req.Run)
}

// serves judges a cluster that was there already.
func (w *work) serves(v *view) (driver.Observation, error) {
	if v.means() == dbstate.Stopped {
		return driver.Observation{}, v.stopped("promote", w.here)
	}
	if !v.means().Serves() || changing(v.cluster) || v.up() == 0 {
		return driver.Waiting("cluster %s is %s, %d of %d instances available, in %v", w.here.at.Cluster, v.status(), v.up(), len(v.instances), groups(v.cluster)), nil
	}
	seen := driver.Succeeded(driver.Fact("cluster", "%s is available, %d of %d instances", w.here.at.Cluster, v.up(), len(v.instances)),
		driver.Source("the cluster itself, which was there"))
	seen.Outputs = ends(v.cluster)
	return seen, nil
}

// quiesce fences the cluster, makes a snapshot of what it holds then, and copies it to the peer: nothing is lost by the move.
func (w *work) quiesce(ctx context.Context) (driver.Observation, error) {
	fenced, err := w.fence(ctx)
	if err != nil || fenced.State != driver.Done {
		return fenced, err
	}
	peer, err := w.open(ctx, w.req.Target, w.req.Peer)
	if err != nil {
		return driver.Observation{}, err
	}
	moved, err := w.carry(ctx, w.here, peer, "last")
	moved.Evidence = append(fenced.Evidence, moved.Evidence...)
	if err != nil || moved.State != driver.Done {
		return moved, err
	}
	v, err := w.here.look(ctx)
	if err == nil && v.alone() && w.here.fenced(v.cluster) { // that of one which follows another is not the last state of anything
		moved.Evidence = append(moved.Evidence, driver.LastState(launch{from: w.name("last")}.source()))
	}
	return moved, err
}

// carry makes a snapshot at one site and waits until it can be restored at another one.
func (w *work) carry(ctx context.Context, from, to *place, what string) (driver.Observation, error) {
	name := w.name(what)
	seen, err := w.capture(ctx, from, name, w.req.Token, nil)
	if err != nil || seen.State != driver.Done {
		return seen, err
	}
	copied, err := w.keeper().Carry(ctx, from.kept(), to.kept(), name)
	copied.Evidence = append(seen.Evidence, copied.Evidence...)
	return copied, err
}

// reverse protects what serves at the peer by copies here. In a failback the old clusters make way, that at home ahead of the move
// and the other one after it: each is fenced, its last state is kept in a snapshot, that is proved by a restore, and only then the
// cluster is deleted. After a planned failover the one at home stays, fenced, until then.
func (w *work) reverse(ctx context.Context) (driver.Observation, error) {
	seen, err := w.protect(ctx)
	if err == nil && seen.State == driver.Done && w.makesWay() {
		return w.withLast(ctx, seen)
	}
	return seen, err
}

// withLast adds the snapshots that keep what made way to the evidence of a reverse.
func (w *work) withLast(ctx context.Context, seen driver.Observation) (driver.Observation, error) {
	last, err := w.keeper().Last(ctx, w.req)
	for _, s := range last {
		seen.Evidence = append(seen.Evidence, s.Kept())
	}
	return seen, err
}

// protect takes the next step of a reverse.
func (w *work) protect(ctx context.Context) (driver.Observation, error) {
	peer, err := w.open(ctx, w.req.Target, w.req.Peer)
	if err != nil {
		return driver.Observation{}, err
	}
	serving, err := peer.look(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	if !serving.alone() || serving.up() == 0 || peer.fenced(serving.cluster) {
		return driver.FailedWith(failure.New(failure.Conflict, "reverse", w.here.subject, "no cluster serves at %s, so what is at %s may be the only one", peer.id, w.req.Site).
			WithHint("lifeboat status %s", w.req.App)), nil
	}
	var last driver.Observation
	if w.makesWay() {
		if last, err = w.clear(ctx); err != nil || last.State != driver.Done {
			return last, err
		}
	}
	seen, err := w.carry(ctx, peer, w.here, "follow")
	seen.Evidence = append(last.Evidence, seen.Evidence...)
	return seen, err
}

// makesWay reports whether a reverse deletes the old cluster here.
func (w *work) makesWay() bool { return w.req.Prepare || w.req.Operation == model.OpFailback }

// clear takes the next step towards no cluster here, its last state proved before.
func (w *work) clear(ctx context.Context) (driver.Observation, error) {
	p := w.here
	v, err := p.look(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	if v.cluster == nil {
		return driver.Succeeded(driver.Fact("old cluster", "there is none in %s", p.session.Region())), nil
	}
	if v.means() != dbstate.Leaving { // nothing but what follows deletes it, or somebody who is not asked
		seen, err := w.keepLast(ctx, awsbase.NameFor(p.at.Cluster+"-final", runKey(w.req, p.arn), nameLimit))
		if err != nil || seen.State != driver.Done {
			return seen, err
		}
	}
	phase, err := p.remove(ctx, v, &rds.DeleteDBClusterInput{SkipFinalSnapshot: aws.Bool(true), DeleteAutomatedBackups: aws.Bool(false)})
	return driver.Waiting("%s; its last state is proved", phase), err
}

// keepLast fences the old cluster, makes a snapshot of its last state, and proves that. What it makes is the same for all attempts
// of the run.
func (w *work) keepLast(ctx context.Context, name string) (driver.Observation, error) {
	seen, err := w.fence(ctx)
	if err != nil || seen.State != driver.Done {
		return seen, err
	}
	p, key := w.here, runKey(w.req, w.here.arn)
	if seen, err = w.capture(ctx, p, name, key, map[string]string{snapshots.TagOld: "true"}); err != nil || seen.State != driver.Done {
		return seen, err
	}
	s, err := p.kept().Store.Get(ctx, name)
	if err != nil {
		return driver.Observation{}, err
	}
	if s == nil {
		return driver.Waiting("snapshot %s is not to be seen", name), nil
	}
	return w.tryOld(ctx, s, key)
}

// tryOld takes the next step of the proof of an old cluster's last snapshot.
func (w *work) tryOld(ctx context.Context, s *snapshots.Snapshot, key string) (driver.Observation, error) {
	seen, err := w.try(ctx, s, w.here.apartOf("proof", key, s.ID, w.origin()), key)
	if err == nil && seen.State == driver.Failed {
		seen.Err = failure.New(seen.Err.Kind, "reverse", w.here.subject, "the old cluster's snapshot %s could not be brought up; the old cluster is left as it is: %s", s.ID, seen.Err.Message).
			WithHint("look at the drill's subnet group, key and class; delete the snapshot, and retry for another proof")
	}
	return seen, err
}

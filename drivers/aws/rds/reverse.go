package rds

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// reverse protects what serves at the peer by a replica or copies here. In a failback the old instances make way, that at home ahead of the
// move and the other one after it: each is fenced, its last state is kept in a snapshot, that is proved by a restore, and only
// then the instance is deleted. After a planned failover the one at home stays, fenced, until then.
func (w *work) reverse(ctx context.Context) (driver.Observation, error) {
	seen, err := w.protect(ctx)
	if err != nil || seen.State != driver.Done || !w.makesWay() {
		return seen, err
	}
	last, err := w.keeper().Last(ctx, w.req)
	if err != nil {
		return driver.Observation{}, err
	}
	for _, s := range last {
		token := s.Tags[awsbase.TagToken] // of an attempt that may have ended before it removed what it had restored
		gone, phase, err := w.removed(ctx, w.nameBy("prove", token), token)
		if err != nil || !gone {
			return driver.Waiting("%s", phase), err
		}
		seen.Evidence = append(seen.Evidence, s.Kept())
	}
	return seen, nil
}

// protect takes the next step of a reverse.
func (w *work) protect(ctx context.Context) (driver.Observation, error) {
	peer, err := w.d.place(ctx, w.req.Target, w.req.Peer)
	if err != nil {
		return driver.Observation{}, err
	}
	serving, err := peer.instance(ctx, peer.set.Instance)
	if err != nil {
		return driver.Observation{}, err
	}
	if serving == nil || serving.replica() || serving.fenced(peer.set) || serving.broken() {
		return driver.FailedWith(failure.New(failure.Conflict, "reverse", w.subject(), "no instance serves at %s, so what is at %s may be the only one", peer.id, w.req.Site).
			WithHint("lifeboat status %s", w.req.App)), nil
	}
	i, err := w.here.instance(ctx, w.here.set.Instance)
	if err != nil {
		return driver.Observation{}, err
	}
	if i.follows(peer) {
		return w.replicate(ctx, w.here, peer, serving)
	}
	var last driver.Observation
	if w.makesWay() {
		if last, err = w.clear(ctx); err != nil || last.State != driver.Done {
			return last, err
		}
	}
	if why, _ := serving.cannotLead(); w.set.replicated() && why != "" {
		last.Evidence = append(last.Evidence, driver.Fact("replica", "none, but a copy: instance %s at %s: %s", serving.name(), peer.id, why))
	} else if w.set.replicated() && (i == nil || last.State == driver.Done) {
		return w.replicate(ctx, w.here, peer, serving)
	}
	seen, err := w.carry(ctx, peer, w.req.Site, "follow")
	seen.Outputs, seen.Evidence = nil, append(last.Evidence, seen.Evidence...)
	return seen, err
}

// makesWay reports whether a reverse deletes the old instance here.
func (w *work) makesWay() bool { return w.req.Prepare || w.req.Operation == model.OpFailback }

// clear removes the old instance here, its last state proved before.
func (w *work) clear(ctx context.Context) (driver.Observation, error) {
	i, err := w.here.instance(ctx, w.here.set.Instance)
	if err != nil {
		return driver.Observation{}, err
	}
	if i == nil {
		return driver.Succeeded(driver.Fact("old instance", "there is none in %s", w.here.s.Region())), nil
	}
	if i.means() == dbstate.Leaving {
		return driver.Waiting("instance %s is being deleted", i.name()), nil
	}
	if !i.replica() { // a replica holds nothing that its source does not
		seen, err := w.keepLast(ctx)
		if err != nil || seen.State != driver.Done {
			return seen, err
		}
	}
	name := i.name()
	if !i.ready() && !i.broken() {
		return driver.Waiting("instance %s is %s: it is deleted once it is available", name, i.status()), nil
	}
	if err := w.here.unprotect(ctx, i); err != nil {
		return driver.Observation{}, err
	}
	_, err = w.here.api.DeleteDBInstance(ctx, &sdk.DeleteDBInstanceInput{DBInstanceIdentifier: &name, SkipFinalSnapshot: aws.Bool(true), DeleteAutomatedBackups: aws.Bool(false)})
	if err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("the last state of %s is proved; its deletion is begun", name), nil
}

// keepLast fences the old instance, makes a snapshot of its last state, and proves that.
func (w *work) keepLast(ctx context.Context) (driver.Observation, error) {
	seen, err := w.fence(ctx)
	if err != nil || seen.State != driver.Done {
		return seen, err
	}
	name := w.name("final")
	if seen, err = w.capture(ctx, w.here, name, map[string]string{snapshots.TagOld: "true"}); err != nil || seen.State != driver.Done {
		return seen, err
	}
	s, err := w.here.store().named(ctx, name)
	if err != nil {
		return driver.Observation{}, err
	}
	if s == nil {
		return driver.Waiting("snapshot %s is not to be seen", name), nil
	}
	return w.proveIn(ctx, s, w.name("prove"))
}

package rds

import (
	"context"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// capture makes a snapshot of the site's instance, with more tags than those of its origin, and waits until it is available.
func (w *work) capture(ctx context.Context, at *place, name string, more map[string]string) (driver.Observation, error) {
	mine := func(tags map[string]string) bool { return tags[awsbase.TagToken] == w.req.Token }
	return snapshots.Capture(ctx, at.kept(), name, mine, func(ctx context.Context) (driver.Observation, error) {
		return w.makeSnapshot(ctx, at, name, more)
	})
}

// makeSnapshot begins one once the instance can be backed up.
func (w *work) makeSnapshot(ctx context.Context, at *place, name string, more map[string]string) (driver.Observation, error) {
	i, err := at.instance(ctx, at.set.Instance)
	switch {
	case err != nil:
		return driver.Observation{}, err
	case i == nil:
		return driver.FailedWith(failure.New(failure.NotFound, "capture", at.set.Instance, "there is no such instance in %s", at.s.Region()).WithHint("lifeboat status shows where the app serves")), nil
	case i.broken():
		return driver.FailedWith(failure.New(failure.Unavailable, "capture", i.name(), "it is %s in %s: AWS makes no snapshot of it", i.status(), at.s.Region()).
			WithHint("aws rds describe-events --source-type db-instance --source-identifier %s says why", i.name())), nil
	case i.means() == dbstate.Stopped:
		return driver.FailedWith(stopped("capture", i)), nil
	case !i.ready():
		return driver.Waiting("instance %s is %s: a snapshot is made once it is available", i.name(), i.status()), nil
	}
	source := i.name()
	_, err = at.api.CreateDBSnapshot(ctx, &sdk.CreateDBSnapshotInput{DBInstanceIdentifier: &source, DBSnapshotIdentifier: &name,
		Tags: tagList(awsbase.OriginOf(w.req).Tags(more))})
	if err != nil {
		return driver.Observation{}, err
	}
	return driver.Waiting("snapshot %s is begun", name), nil
}

// newest is the instant of the newest snapshot at the site: later ones are not this step's to copy.
func (w *work) newest(ctx context.Context) (*time.Time, error) {
	list, err := w.keeper().Ready(ctx, w.here.kept())
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0].At, nil
}

// copies brings to each other site what its retention keeps, and is done when all of it is available there, and the replicas that
// the settings ask for as well.
func (w *work) copies(ctx context.Context, h handle) (driver.Observation, error) {
	others, err := w.others(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	seen, err := w.keeper(others...).Copy(ctx, h.Until)
	if err != nil || seen.State != driver.Done || !w.set.replicated() {
		return seen, err
	}
	made, err := w.replicas(ctx, others)
	made.Evidence = append(seen.Evidence, made.Evidence...)
	return made, err
}

// expire deletes what the retention of the sites does not keep.
func (w *work) expire(ctx context.Context) (driver.Observation, error) {
	others, err := w.others(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	return w.keeper(others...).Expire(ctx)
}

// carry makes a snapshot at one site and waits until it can be restored at another one.
func (w *work) carry(ctx context.Context, from *place, to model.SiteID, what string) (driver.Observation, error) {
	name := w.name(what)
	seen, err := w.capture(ctx, from, name, nil)
	if err != nil || seen.State != driver.Done || to == "" || to == from.id {
		return seen, err
	}
	target, err := w.d.place(ctx, w.req.Target, to)
	if err != nil {
		return driver.Observation{}, err
	}
	copied, err := w.keeper().Carry(ctx, from.kept(), target.kept(), name)
	if copied.State == driver.Done {
		copied.Evidence = append(seen.Evidence, copied.Evidence...)
	}
	return copied, err
}

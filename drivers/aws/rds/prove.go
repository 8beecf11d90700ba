package rds

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/dbstate"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// removed deletes an instance that a step made to be looked at, and reports whether it is gone.
func (w *work) removed(ctx context.Context, name, token string) (bool, string, error) {
	i, err := w.here.instance(ctx, name)
	if err != nil || i == nil {
		return err == nil, "", err
	}
	switch {
	case i.tags[awsbase.TagToken] != token:
		return true, "", nil // somebody else's
	case i.means() == dbstate.Leaving:
		return false, "instance " + name + " is being deleted", nil
	}
	_, err = w.here.api.DeleteDBInstance(ctx, &sdk.DeleteDBInstanceInput{DBInstanceIdentifier: &name, SkipFinalSnapshot: aws.Bool(true), DeleteAutomatedBackups: aws.Bool(true)})
	if awsbase.Gone(err) {
		return true, "", nil
	}
	return false, "the deletion of instance " + name + " is begun", err
}

// release deletes what a drill or a proof made, by the token of its step.
func (w *work) release(ctx context.Context) (driver.Observation, error) {
	token := w.req.Released.Token
	for _, what := range []string{"drill", "prove"} {
		name := w.nameBy(what, token)
		gone, phase, err := w.removed(ctx, name, token)
		if err != nil {
			return driver.Observation{}, err
		}
		if !gone {
			return driver.Waiting("%s", phase), nil
		}
		s, err := w.here.store().named(ctx, name) // of the replica
		if err != nil {
			return driver.Observation{}, err
		}
		if s != nil && s.Tags[awsbase.TagToken] == token {
			return driver.Waiting("snapshot %s is deleted", name), w.here.store().Delete(ctx, name)
		}
	}
	return driver.Succeeded(driver.Fact("released", "nothing is left of it in %s", w.here.s.Region())), nil
}

// decideProve checks what is asked for.
func (w *work) decideProve(ctx context.Context) (string, error) {
	if _, err := w.drillSite(); err != nil {
		return "", err
	}
	return w.keeper().AskedProof(ctx, w.req.Prove)
}

// prove restores a snapshot apart, writes down what came of it, and removes the instance.
func (w *work) prove(ctx context.Context, h handle) (driver.Observation, error) {
	s, err := w.here.store().named(ctx, h.Point)
	if err != nil {
		return driver.Observation{}, err
	}
	if s == nil {
		return driver.FailedWith(failure.New(failure.NotFound, "prove", h.Point, "the snapshot is gone").WithHint("prove another one")), nil
	}
	return w.proveIn(ctx, s, h.Name)
}

// proveIn is one step of a proof of s under a name that the step's token decides.
func (w *work) proveIn(ctx context.Context, s *snapshots.Snapshot, name string) (driver.Observation, error) {
	return snapshots.Prove(ctx, w.req, w.req.Token, w.here.kept(), s, snapshots.Trial{
		Up: func(ctx context.Context) (driver.Observation, time.Time, string, error) { return w.tried(ctx, s, name) },
		Remove: func(ctx context.Context) (string, error) {
			_, phase, err := w.removed(ctx, name, w.req.Token)
			return phase, err
		},
	})
}

// tried is one step towards an instance of a snapshot that is up, or cannot be brought up.
func (w *work) tried(ctx context.Context, s *snapshots.Snapshot, name string) (seen driver.Observation, began time.Time, bad string, err error) {
	set, err := w.drillSite()
	if err != nil {
		return seen, began, "", err
	}
	seen, err = w.bringUp(ctx, launch{name: name, from: s.ID, set: set, drill: true})
	if err != nil || seen.State == driver.Pending {
		return seen, began, "", err
	}
	i, err := w.here.instance(ctx, name)
	if err != nil {
		return seen, began, "", err
	}
	if i == nil {
		return driver.Waiting("instance %s is not to be seen", name), began, "", nil
	}
	if seen.State == driver.Failed && i.means() == dbstate.Spoiled {
		bad = "its restore ended as " + i.status()
	}
	began, _ = time.Parse(time.RFC3339, i.tags[tagBegan]) // unreadable: not known
	return seen, began, bad, nil
}

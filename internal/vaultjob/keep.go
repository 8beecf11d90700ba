package vaultjob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Keeping says what is kept of a resource in a vault, and how.
type Keeping struct {
	Vault model.Vault
	Keep  *model.Retention // nil: all
	// List gives what is to be copied to replicas. Oldest first.
	List func(context.Context, *vault.Vault) ([]*snapshot.Snapshot, error)
	// Dropped gives what a policy does not keep in one vault.
	Dropped func(context.Context, *vault.Vault, retention.Policy) ([]object.ID, error)
	// Stamp is the beginning of the paths of files that say when a vault was last looked at whole.
	Stamp string
}

// Copy brings what List gives to every replica. One that fails does not keep the others from being brought in step. It
// leaves the value "copied".
func (j *Job) Copy(ctx context.Context, k Keeping) error {
	v, done, err := j.Open(ctx, k.Vault)
	if err != nil {
		return err
	}
	defer done()
	points, err := k.List(ctx, v)
	if err != nil {
		return err
	}
	copied, stored := 0, int64(0)
	var failed []error
	for _, r := range k.Vault.Replicas {
		err := j.with(ctx, r, func(dst *vault.Vault) error {
			report, err := v.CopyTo(ctx, dst, points, vault.CopyOptions{Progress: func(vault.CopyProgress) { j.Phase("copying to %s", NameOf(r)) }})
			copied += len(report.Copied)
			stored += report.Stored
			return err
		})
		if err != nil {
			failed = append(failed, failure.Wrap(err, "copy to", NameOf(r)))
		}
	}
	j.Set("copied", fmt.Sprintf("%d points, %s stored", copied, units.Bytes(stored)))
	return errors.Join(failed...)
}

// with opens one vault by itself.
func (j *Job) with(ctx context.Context, m model.Vault, f func(*vault.Vault) error) error {
	v, done, err := j.Open(ctx, m)
	if err != nil {
		return err
	}
	defer done()
	return f(v)
}

// expirePatience is how long an expiry waits for those who work on the vault, and then keeps newcomers out, so that a vault
// where somebody is always at work is expired too. It is done again with the next point.
var expirePatience = vault.Waiting{For: 30 * time.Second, Drain: 5 * time.Minute}

// Expire removes what the policy does not keep, here and in the replicas, and once a day the data that only they needed.
// It leaves the values "removed" and "freed". Without a policy it removes nothing.
func (j *Job) Expire(ctx context.Context, k Keeping) error {
	if k.Keep == nil {
		return nil
	}
	policy, err := retention.Parse(*k.Keep)
	if err != nil {
		return err
	}
	removed := 0
	var failed []error
	all := append([]model.Vault{k.Vault}, k.Vault.Replicas...)
	all[0].Replicas = nil // what is expired is what each vault itself has
	for _, at := range all {
		err := j.with(ctx, at, func(v *vault.Vault) error {
			n, err := j.expireIn(ctx, v, k, policy)
			removed += n
			return err
		})
		if err != nil {
			failed = append(failed, failure.Wrap(err, "expire in", NameOf(at)))
		}
	}
	j.Set("removed", fmt.Sprintf("%d points", removed))
	return errors.Join(failed...)
}

// expireIn removes from one vault, and once a day gives back the space.
func (j *Job) expireIn(ctx context.Context, v *vault.Vault, k Keeping, policy retention.Policy) (int, error) {
	j.Phase("deciding what need not be kept")
	ids, err := k.Dropped(ctx, v, policy)
	if err != nil {
		return 0, err
	}
	n := 0
	if len(ids) > 0 {
		gone, err := v.Forget(ctx, ids, vault.ForgetOptions{Wait: expirePatience})
		if err != nil {
			return 0, err
		}
		for _, g := range gone {
			if g.Err == nil { // what is on hold or retained stays, and is looked at again
				n++
			}
		}
	}
	return n, k.daily("pruned", v, func() error {
		j.Phase("giving back what nothing needs")
		report, err := v.Prune(ctx, vault.PruneOptions{Wait: expirePatience})
		if err == nil {
			j.Set("freed", units.Bytes(report.Removed.Bytes))
		}
		return err
	})
}

// Unkept are those of a group that the policy does not keep. The newest always stays.
func Unkept(policy retention.Policy, group []*snapshot.Snapshot) []object.ID {
	var ids []object.ID
	for i, d := range policy.Apply(group, time.Now(), retention.Restic) {
		if !d.Keep && i > 0 { // the first is the newest
			ids = append(ids, d.Snapshot.ID)
		}
	}
	return ids
}

// Renew keeps what is needed from deletion for longer, on a vault with Object Lock, once a day.
func (j *Job) Renew(ctx context.Context, v *vault.Vault, k Keeping) error {
	if k.Vault.Retain == 0 {
		return nil
	}
	return k.daily("renewed", v, func() error {
		var ending []object.ID // what the policy drops is left to end, else it could never be removed
		if k.Keep != nil {
			policy, err := retention.Parse(*k.Keep)
			if err != nil {
				return err
			}
			if ending, err = k.Dropped(ctx, v, policy); err != nil {
				return err
			}
		}
		j.Phase("renewing what is kept from deletion")
		_, err := v.Retain(ctx, vault.RetainOptions{For: k.Vault.Retain.Std(), Except: ending})
		return failure.Wrap(err, "the point is made, but what it needs was not renewed in", v.Location())
	})
}

// daily does work on a vault that looks at all of it, at most once a day for each resource on this host: a schedule may
// come every minute.
func (k Keeping) daily(what string, v *vault.Vault, do func() error) error {
	done := k.Stamp + "." + what + "-" + v.Config().ID.Short()
	if info, err := os.Stat(done); err == nil && time.Since(info.ModTime()) < 24*time.Hour && time.Since(info.ModTime()) >= 0 {
		return nil
	}
	if err := do(); err != nil {
		return err
	}
	if err := Replace(done, nil); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", done)
	}
	return nil
}

package job

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// copy brings the resource's points to every replica. One that fails does not keep the others from being brought in step.
func (w *worker) copy(ctx context.Context) error {
	v, done, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	points, err := Points(ctx, v, w.req.App, w.req.Resource, true)
	if err != nil {
		return err
	}
	copied, stored := 0, int64(0)
	var failed []error
	for _, r := range w.req.Vault.Replicas {
		err := w.withReplica(ctx, r, func(dst *vault.Vault) error {
			report, err := v.CopyTo(ctx, dst, points, vault.CopyOptions{Progress: func(p vault.CopyProgress) {
				w.phase("copying to %s", r.Name)
			}})
			copied += len(report.Copied)
			stored += report.Stored
			return err
		})
		if err != nil {
			failed = append(failed, failure.Wrap(err, "copy to", name(r)))
		}
	}
	w.values["copied"] = fmt.Sprintf("%d points, %s stored", copied, units.Bytes(stored))
	return errors.Join(failed...)
}

// withReplica opens a replica by itself.
func (w *worker) withReplica(ctx context.Context, r model.Vault, f func(*vault.Vault) error) error {
	dst, closer, err := location.Open(ctx, r, location.Options{Log: w.log, Vault: vault.Options{Log: w.log, RetryLock: lockPatience}})
	if err != nil {
		return err
	}
	return errors.Join(f(dst), closer.Close())
}

func name(r model.Vault) string {
	if r.Name != "" {
		return r.Name
	}
	return location.Redact(r.URL)
}

// expirePatience is how long an expiry waits for those who work on the vault, and then keeps newcomers out, so that a vault
// where somebody is always at work is expired too. It is done again with the next point.
var expirePatience = vault.Waiting{For: 30 * time.Second, Drain: 5 * time.Minute}

// expire removes the points that the policy does not keep, here and in the replicas, and the data that only they needed.
func (w *worker) expire(ctx context.Context) error {
	if w.req.Keep == nil {
		return nil
	}
	policy, err := retention.Parse(*w.req.Keep)
	if err != nil {
		return err
	}
	removed := 0
	var failed []error
	all := append([]model.Vault{w.req.Vault}, w.req.Vault.Replicas...)
	all[0].Replicas = nil // what is expired is what each vault itself has
	for _, at := range all {
		err := w.withReplica(ctx, at, func(v *vault.Vault) error {
			n, err := w.expireIn(ctx, v, policy)
			removed += n
			return err
		})
		if err != nil {
			failed = append(failed, failure.Wrap(err, "expire in", name(at)))
		}
	}
	w.values["removed"] = fmt.Sprintf("%d points", removed)
	return errors.Join(failed...)
}

// expireIn removes points of one vault, and once a day gives back the space.
func (w *worker) expireIn(ctx context.Context, v *vault.Vault, policy retention.Policy) (int, error) {
	ids, err := w.dropped(ctx, v, policy)
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
	return n, w.daily("pruned", v, func() error {
		w.phase("giving back what nothing needs")
		report, err := v.Prune(ctx, vault.PruneOptions{Wait: expirePatience})
		if err == nil {
			w.values["freed"] = units.Bytes(report.Removed.Bytes)
		}
		return err
	})
}

// dropped are the points that a policy does not keep. The newest one always stays; what old copies had is judged by the same
// policy, by itself.
func (w *worker) dropped(ctx context.Context, v *vault.Vault, policy retention.Policy) ([]object.ID, error) {
	w.phase("deciding what need not be kept")
	all, err := Points(ctx, v, w.req.App, w.req.Resource, true)
	if err != nil {
		return nil, err
	}
	var points, left []*snapshot.Snapshot
	for _, s := range all {
		if slices.Contains(s.Tags, tagLeft) {
			left = append(left, s)
		} else {
			points = append(points, s)
		}
	}
	var ids []object.ID
	for _, group := range [][]*snapshot.Snapshot{points, left} {
		for i, d := range policy.Apply(group, time.Now(), retention.Restic) {
			if !d.Keep && i > 0 { // the first is the newest
				ids = append(ids, d.Snapshot.ID)
			}
		}
	}
	return ids, nil
}

// renew keeps what is needed from deletion for longer, on a vault with Object Lock.
func (w *worker) renew(ctx context.Context, v *vault.Vault) error {
	if w.req.Vault.Retain == 0 {
		return nil
	}
	return w.daily("renewed", v, func() error {
		var ending []object.ID // what the policy drops is left to end, else it could never be removed
		if w.req.Keep != nil {
			policy, err := retention.Parse(*w.req.Keep)
			if err != nil {
				return err
			}
			if ending, err = w.dropped(ctx, v, policy); err != nil {
				return err
			}
		}
		w.phase("renewing what is kept from deletion")
		_, err := v.Retain(ctx, vault.RetainOptions{For: w.req.Vault.Retain.Std(), Except: ending})
		return err
	})
}

// daily does work on a vault that looks at all of it, at most once a day for each resource on this host: a schedule may
// come every minute.
func (w *worker) daily(what string, v *vault.Vault, do func() error) error {
	done := filepath.Join(filepath.Dir(w.record()), filepath.Base(w.req.Folder)+"."+what+"-"+v.Config().ID.Short())
	if info, err := os.Stat(done); err == nil && time.Since(info.ModTime()) < 24*time.Hour && time.Since(info.ModTime()) >= 0 {
		return nil
	}
	if err := do(); err != nil {
		return err
	}
	if err := replace(done, nil); err != nil {
		return failure.WrapAs(failure.Denied, err, "write", done)
	}
	return nil
}

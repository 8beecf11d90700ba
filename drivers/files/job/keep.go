package job

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
)

// copy brings the resource's points to every replica.
func (w *worker) copy(ctx context.Context) error { return w.Copy(ctx, w.keeping()) }

// expire removes the points that the policy does not keep, here and in the replicas.
func (w *worker) expire(ctx context.Context) error { return w.Expire(ctx, w.keeping()) }

func (w *worker) keeping() vaultjob.Keeping {
	all := func(ctx context.Context, v *vault.Vault) ([]*snapshot.Snapshot, error) {
		return Points(ctx, v, w.req.Whose, true)
	}
	return vaultjob.Keeping{
		Vault: w.req.Vault, Keep: w.req.Keep, List: all,
		Stamp: filepath.Join(filepath.Dir(w.record()), filepath.Base(w.req.Folder)),
		// What old copies had is judged by the same policy, by itself.
		Dropped: func(ctx context.Context, v *vault.Vault, policy retention.Policy) ([]object.ID, error) {
			snapshots, err := all(ctx, v)
			if err != nil {
				return nil, err
			}
			var points, left []*snapshot.Snapshot
			for _, s := range snapshots {
				if slices.Contains(s.Tags, tagLeft) {
					left = append(left, s)
				} else {
					points = append(points, s)
				}
			}
			return append(vaultjob.Unkept(policy, points), vaultjob.Unkept(policy, left)...), nil
		},
	}
}

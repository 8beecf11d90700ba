package job

import (
	"context"
	"slices"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
)

// tagLeft is on what an old copy had when it was written over: it is kept like a point, and no recovery uses it.
const tagLeft = "lifeboat:left-behind"

// Points lists the points of a resource, oldest first; with left also what old copies had.
func Points(ctx context.Context, v *vault.Vault, of vaultjob.Whose, left bool) ([]*snapshot.Snapshot, error) {
	all, err := v.Snapshots(ctx, of.Filter())
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s *snapshot.Snapshot) bool { return !left && slices.Contains(s.Tags, tagLeft) }), nil
}

func (w *worker) tags(more ...string) []string { return w.req.Tags(w.req.Site, more...) }

// openNewest opens the vault, or a replica of it, and finds the newest point there; the caller calls done.
func (w *worker) openNewest(ctx context.Context) (v *vault.Vault, point *snapshot.Snapshot, done func(), err error) {
	if v, done, err = w.OpenAny(ctx, w.req.Vault); err != nil {
		return nil, nil, nil, err
	}
	if point, err = w.newest(ctx, v); err != nil {
		done()
		return nil, nil, nil, err
	}
	return v, point, done, nil
}

// newest gives the newest point. NotFound: there is none.
func (w *worker) newest(ctx context.Context, v *vault.Vault) (*snapshot.Snapshot, error) {
	all, err := Points(ctx, v, w.req.Whose, false)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, vaultjob.NoPoint(v, w.req.Whose)
	}
	return all[len(all)-1], nil
}

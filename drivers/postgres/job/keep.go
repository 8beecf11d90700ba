package job

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
)

// copy brings base points, their proofs and the newest log of every site to the vault's replicas.
func (w *worker) copy(ctx context.Context) error { return w.Copy(ctx, w.keeping()) }

// expire removes the base points that the policy does not keep, what was said of them, and log that newer log replaced.
// What of the log the kept points do not need is the receivers' to drop.
func (w *worker) expire(ctx context.Context) error { return w.Expire(ctx, w.keeping()) }

func (w *worker) keeping() vaultjob.Keeping {
	return vaultjob.Keeping{
		Vault: w.req.Vault, Keep: w.req.Keep, Stamp: filepath.Join(w.req.Work, string(w.req.Resource)),
		List: w.list, Dropped: w.dropped,
	}
}

// list gives what a replica must have to restore everything that can be restored from the vault.
func (w *worker) list(ctx context.Context, v *vault.Vault) ([]*snapshot.Snapshot, error) {
	var out []*snapshot.Snapshot
	for _, what := range []pgpoint.What{pgpoint.IsBase, pgpoint.IsProof} {
		found, err := v.Snapshots(ctx, pgpoint.Filter(w.req.Whose, what))
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	logs, err := pgpoint.Logs(ctx, v, w.req.Whose)
	for _, l := range logs {
		out = append(out, l.Snapshot)
	}
	return out, err
}

// dropped are base points that the policy does not keep, proofs that nobody needs, log snapshots of which there is a newer
// one, and imported log that no kept point needs. The newest base point stays, and so does the newest that was proved good.
func (w *worker) dropped(ctx context.Context, v *vault.Vault, policy retention.Policy) ([]object.ID, error) {
	bases, err := v.Snapshots(ctx, pgpoint.Filter(w.req.Whose, pgpoint.IsBase))
	if err != nil {
		return nil, err
	}
	proofs, err := pgpoint.Proofs(ctx, v, w.req.Whose)
	if err != nil {
		return nil, failure.Wrap(err, "see which points are proved", v.Location())
	}
	out := vaultjob.Unkept(policy, bases)
	for _, s := range slices.Backward(bases) {
		if p, ok := proofs[*s.Tree]; ok && p.OK {
			out = slices.DeleteFunc(out, func(id object.ID) bool { return id == s.ID })
			break
		}
	}
	stale, err := pgpoint.StaleProofs(ctx, v, w.req.Whose)
	if err != nil {
		return nil, err
	}
	logs, err := v.Snapshots(ctx, pgpoint.Filter(w.req.Whose, pgpoint.IsLog))
	if err != nil {
		return nil, err
	}
	newest, err := pgpoint.Logs(ctx, v, w.req.Whose)
	if err != nil {
		return nil, err
	}
	for _, s := range logs {
		kept := slices.ContainsFunc(newest, func(l pgpoint.LogPoint) bool { return l.Snapshot.ID == s.ID })
		if !kept {
			stale = append(stale, s.ID)
		}
	}
	all, err := pgpoint.Bases(ctx, v, w.req.Whose)
	if err != nil {
		return nil, err
	}
	kept := slices.DeleteFunc(all, func(b pgpoint.BasePoint) bool { return slices.Contains(out, b.Snapshot.ID) })
	for _, s := range pgpoint.Unneeded(newest, kept) {
		stale = append(stale, s.ID)
	}
	return append(out, stale...), nil
}

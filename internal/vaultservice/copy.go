package vaultservice

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Copy copies points to another vault.
func (s *Service) Copy(ctx context.Context, req api.VaultCopyRequest, watch api.VaultWatch) (*api.VaultCopyReply, error) {
	if watch == nil {
		watch = func(api.VaultEvent) {}
	}
	if !req.DryRun {
		if err := writable(req.To, "copy"); err != nil {
			return nil, err
		}
	}
	start := s.opts.Now()
	var reply *api.VaultCopyReply
	err := s.with(ctx, req.VaultAccess, func(src *vault.Vault) error {
		return s.with(ctx, req.To, func(dst *vault.Vault) error {
			if src.Config().ID == dst.Config().ID {
				return failure.New(failure.Invalid, "copy", src.Location(), "the source and the destination are the same vault").
					WithHint("name another vault")
			}
			list, err := points(ctx, src, req.VaultPointFilter, req.Points)
			if err != nil {
				return err
			}
			if list == nil {
				list = []*snapshot.Snapshot{} // nil would be all
			}
			report, err := src.CopyTo(ctx, dst, list, vault.CopyOptions{
				DryRun: req.DryRun, Verify: req.Verify, NoLock: req.NoLock, Whole: req.Whole,
				Progress: func(p vault.CopyProgress) {
					watch(api.VaultEvent{Phase: "copying", Unit: "points", Files: int64(p.Snapshots), TotalFiles: int64(p.SnapshotsTotal),
						Bytes: p.Bytes, TotalBytes: p.BytesTotal})
				},
			})
			reply = copied(report)
			reply.From, reply.To, reply.DryRun = src.Location(), dst.Location(), req.DryRun
			return err
		})
	})
	if reply != nil {
		reply.Took = model.Duration(s.opts.Now().Sub(start))
	}
	return reply, err
}

func copied(r *vault.CopyReport) *api.VaultCopyReply {
	reply := &api.VaultCopyReply{Copied: []api.VaultCopied{}, Skipped: []api.VaultCopied{}}
	for _, c := range r.Copied {
		reply.Copied = append(reply.Copied, copiedOf(c))
	}
	for _, c := range r.Skipped {
		reply.Skipped = append(reply.Skipped, copiedOf(c))
	}
	for _, f := range r.Failed {
		reply.Failed = append(reply.Failed, api.VaultCopyFailed{Point: f.Snapshot.String(), Error: failure.From(f.Err)})
	}
	reply.Blobs = r.Blobs[0] + r.Blobs[1]
	reply.Bytes, reply.Stored, reply.Verified, reply.CutAlike = r.Bytes, r.Stored, r.Verified, r.Polynomials
	reply.Fallbacks = fallbacksOf(r.Fallbacks)
	return reply
}

func copiedOf(c vault.SnapshotCopy) api.VaultCopied {
	out := api.VaultCopied{From: c.From.String(), Time: c.Time}
	if !c.To.IsZero() {
		out.To = c.To.String()
	}
	return out
}

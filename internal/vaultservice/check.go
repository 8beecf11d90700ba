package vaultservice

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Check verifies the vault.
func (s *Service) Check(ctx context.Context, req api.VaultCheckRequest, watch api.VaultWatch) (*api.VaultCheckReply, error) {
	var reply *api.VaultCheckReply
	start := s.opts.Now()
	subset, err := vault.ParseSubset(req.Subset)
	if err != nil {
		return nil, err
	}
	progress := func(p vault.CheckProgress) {
		if watch == nil {
			return
		}
		if p.Packs < p.TotalPacks {
			watch(api.VaultEvent{Phase: "verifying packs", Unit: "packs", Files: int64(p.Packs), TotalFiles: int64(p.TotalPacks), Bytes: p.Bytes, TotalBytes: p.TotalBytes})
			return
		}
		watch(api.VaultEvent{Phase: "reading folders", Unit: "folders", Files: int64(p.Trees), TotalFiles: int64(p.TotalTrees)})
	}
	err = s.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		r, err := v.Check(ctx, vault.CheckOptions{ReadData: req.ReadData || req.Subset != "", Subset: subset, NoLock: req.NoLock, Progress: progress})
		if err != nil {
			if !req.NoLock && failure.KindOf(err) == failure.Denied {
				err = failure.WrapAs(failure.Denied, err, "", "").WithHint("where nothing can be written, check with --no-lock while nobody prunes the vault")
			}
			return err
		}
		reply = checkReply(v, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	reply.Took = model.Duration(s.opts.Now().Sub(start))
	return reply, nil
}

func checkReply(v *vault.Vault, r *vault.Report) *api.VaultCheckReply {
	reply := &api.VaultCheckReply{
		Location: v.Location(), OK: len(r.Problems) == 0, Problems: []api.VaultProblem{}, Hints: append([]string{}, r.Hints...),
		Points: r.Snapshots, Trees: r.Trees, Files: r.Files, Packs: r.Packs, Blobs: r.Blobs, BytesRead: r.BytesRead,
	}
	for _, p := range r.Problems {
		reply.Problems = append(reply.Problems, problemOf(p))
	}
	return reply
}

func problemOf(p vault.Problem) api.VaultProblem {
	out := api.VaultProblem{Subject: p.Subject, Error: failure.From(p.Err), More: p.More}
	for _, at := range p.Affects {
		out.Affects = append(out.Affects, api.VaultPlace{Point: at.Snapshot.String(), Path: at.Path})
	}
	return out
}

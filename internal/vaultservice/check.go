package vaultservice

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Check verifies the vault.
func (s *Service) Check(ctx context.Context, req api.VaultCheckRequest, _ api.VaultWatch) (*api.VaultCheckReply, error) {
	reply := &api.VaultCheckReply{Problems: []api.VaultProblem{}, Hints: []string{}}
	start := s.opts.Now()
	err := s.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		r, err := v.Check(ctx, vault.CheckOptions{ReadData: req.ReadData, NoLock: req.NoLock})
		if err != nil {
			return err
		}
		reply.Location = v.Location()
		reply.Points, reply.Trees, reply.Files, reply.Packs, reply.Blobs = r.Snapshots, r.Trees, r.Files, r.Packs, r.Blobs
		reply.BytesRead = r.BytesRead
		reply.Hints = append(reply.Hints, r.Hints...)
		for _, p := range r.Problems {
			reply.Problems = append(reply.Problems, problemOf(p))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	reply.OK = len(reply.Problems) == 0
	reply.Took = model.Duration(s.opts.Now().Sub(start))
	return reply, nil
}

func problemOf(p vault.Problem) api.VaultProblem {
	out := api.VaultProblem{Subject: p.Subject, Error: failure.From(p.Err), More: p.More}
	for _, at := range p.Affects {
		out.Affects = append(out.Affects, api.VaultPlace{Point: at.Snapshot.String(), Path: at.Path})
	}
	return out
}

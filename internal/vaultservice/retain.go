package vaultservice

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
)

// Retain renews the retention of what kept points need.
func (s *Service) Retain(ctx context.Context, req api.VaultRetainRequest, watch api.VaultWatch) (*api.VaultRetainReply, error) {
	if err := writable(req.VaultAccess, "retain"); err != nil {
		return nil, err
	}
	if req.For == 0 {
		req.For = req.Vault.Retain
	}
	if req.For <= 0 {
		return nil, failure.New(failure.Invalid, "retain", req.Vault.Name, "nothing says for how long").
			WithHint("write --for 720h, or retain: 720h to the vault in lifeboat.yaml")
	}
	reply := &api.VaultRetainReply{DryRun: req.DryRun, For: req.For}
	err := s.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		o := vault.RetainOptions{For: req.For.Std(), Threshold: req.Threshold.Std(), DryRun: req.DryRun}
		if len(req.Except) > 0 {
			list, err := points(ctx, v, api.VaultPointFilter{}, req.Except)
			if err != nil {
				return err
			}
			for _, sn := range list {
				o.Except = append(o.Except, sn.ID)
			}
		}
		if watch != nil {
			o.Progress = func(done, of int) {
				watch(api.VaultEvent{Phase: "renewing", Unit: "objects", Files: int64(done), TotalFiles: int64(of)})
			}
		}
		r, err := v.Retain(ctx, o)
		if r != nil {
			reply.Needed, reply.Bytes, reply.Renewed, reply.Replaced = r.Needed, r.Bytes, r.Renewed, r.Replaced
			reply.Unneeded, reply.Next = api.VaultAmount(r.Unneeded), orNil(r.Next)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

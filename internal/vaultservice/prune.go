package vaultservice

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Prune gives back the space of what no point needs.
func (s *Service) Prune(ctx context.Context, req api.VaultPruneRequest, planned func(*api.VaultPrunePlan) error,
	watch api.VaultWatch) (*api.VaultPruneReply, error) {
	if !req.DryRun {
		if err := writable(req.VaultAccess, "prune"); err != nil {
			return nil, err
		}
	}
	o := vault.PruneOptions{
		MaxUnused: req.MaxUnused, MaxRepack: req.MaxRepack, RepackCacheableOnly: req.RepackCacheableOnly, RepackSmall: req.RepackSmall,
		RepackUncompressed: req.RepackUncompressed, Grace: req.Grace.Std(),
		Wait: vault.Waiting{For: max(req.Wait.Std(), req.RetryLock.Std()), Drain: req.Drain.Std()},
	}
	for _, text := range req.Forget {
		id, err := object.ParseID(text)
		if err != nil {
			return nil, err
		}
		o.Forget = append(o.Forget, id)
	}
	if watch != nil {
		o.Progress = func(p vault.PruneProgress) { watch(pruning(p)) }
	}
	if planned != nil {
		o.Planned = func(p *vault.PrunePlan) error { return planned(planOf(p)) }
	}
	start := s.opts.Now()
	var reply *api.VaultPruneReply
	err := s.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		if req.DryRun {
			p, err := v.PlanPrune(ctx, o)
			if err == nil {
				reply = &api.VaultPruneReply{DryRun: true, Plan: planOf(p)}
			}
			return err
		}
		r, err := v.Prune(ctx, o)
		if r != nil && r.Plan != nil {
			reply = pruned(r)
		}
		return err
	})
	if reply != nil {
		reply.Took = model.Duration(s.opts.Now().Sub(start))
	}
	return reply, err
}

// pruning is how far a prune is.
func pruning(p vault.PruneProgress) api.VaultEvent {
	switch p.Stage {
	case vault.StageTrees:
		return api.VaultEvent{Phase: "reading folders", Unit: "folders", Files: p.Done, TotalFiles: p.Of}
	case vault.StageRepack:
		return api.VaultEvent{Phase: "copying what is needed", Bytes: p.Done, TotalBytes: p.Of}
	case vault.StageIndex:
		return api.VaultEvent{Phase: "switching the index", Unit: "files", Files: p.Done, TotalFiles: p.Of}
	}
	return api.VaultEvent{Phase: "removing packs", Unit: "packs", Files: p.Done, TotalFiles: p.Of}
}

func pruned(r *vault.PruneReport) *api.VaultPruneReply {
	return &api.VaultPruneReply{
		Plan: planOf(r.Plan), Written: api.VaultAmount(r.Written), Hidden: api.VaultAmount(r.Hidden), Removed: api.VaultAmount(r.Removed),
		Relisted: r.Relisted, Waiting: api.VaultAmount(r.Waiting), Next: orNil(r.Next), Retained: api.VaultAmount(r.Retained), Free: orNil(r.Free),
	}
}

func planOf(p *vault.PrunePlan) *api.VaultPrunePlan {
	out := &api.VaultPrunePlan{
		Used: api.VaultAmount(p.Used), Duplicate: api.VaultAmount(p.Duplicate), Unused: api.VaultAmount(p.Unused),
		Unlisted: api.VaultAmount(p.Unlisted), Total: api.VaultAmount(p.Total), Keep: api.VaultAmount(p.Keep),
		Remove: api.VaultAmount(p.Remove), Repack: api.VaultAmount(p.Repack), Dropped: api.VaultAmount(p.Dropped), Missing: p.Missing,
		Frees: p.Frees(), Due: api.VaultAmount(p.Due), Waiting: api.VaultAmount(p.Waiting), Next: orNil(p.Next),
		Retained: api.VaultAmount(p.Retained), Free: orNil(p.Free),
	}
	for i, f := range p.Packs {
		if i == maxFates {
			break
		}
		out.Packs = append(out.Packs, api.VaultPackFate{ID: f.ID.String(), Bytes: f.Bytes, Fate: string(f.What), Why: f.Why, NotBefore: orNil(f.NotBefore)})
	}
	return out
}

// maxFates is how many packs a plan names.
const maxFates = 1000

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

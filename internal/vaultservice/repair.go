package vaultservice

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Repair repairs.
func (s *Service) Repair(ctx context.Context, req api.VaultRepairRequest, watch api.VaultWatch) (*api.VaultRepairReply, error) {
	if !req.DryRun {
		if err := writable(req.VaultAccess, "repair"); err != nil {
			return nil, err
		}
	}
	o := vault.RepairOptions{DryRun: req.DryRun, ReadData: req.ReadData}
	if req.Aside != "" && !req.DryRun {
		if err := os.MkdirAll(req.Aside, 0o700); err != nil {
			return nil, failure.WrapAs(failure.Denied, err, "keep damaged packs in", req.Aside)
		}
		o.Aside = func(id object.ID, file []byte) error {
			err := os.WriteFile(filepath.Join(req.Aside, id.String()), file, 0o600)
			if err != nil {
				err = failure.WrapAs(failure.Denied, err, "keep a damaged pack", id.Short())
			}
			return err
		}
	}
	start := s.opts.Now()
	reply := &api.VaultRepairReply{What: req.What, DryRun: req.DryRun}
	err := s.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		if watch != nil {
			watch(api.VaultEvent{Phase: "repairing " + string(req.What)})
		}
		err := repair(ctx, v, req, o, reply)
		reply.Fallbacks = fallbacksOf(v.Fallbacks())
		return err
	})
	if err != nil {
		return nil, err
	}
	reply.Took = model.Duration(s.opts.Now().Sub(start))
	return reply, nil
}

func repair(ctx context.Context, v *vault.Vault, req api.VaultRepairRequest, o vault.RepairOptions, reply *api.VaultRepairReply) error {
	switch req.What {
	case api.RepairAll:
		r, err := v.Repair(ctx, o)
		if err != nil {
			return err
		}
		reply.Index, reply.Packs, reply.Refill = indexRepair(r.Index), packsRepair(r.Packs), refill(r.Refill)
		if r.Check != nil {
			reply.Check = checkReply(v, r.Check)
		}
		return nil
	case api.RepairIndex:
		r, err := v.RepairIndex(ctx, o)
		reply.Index = indexRepair(r)
		return err
	case api.RepairPacks:
		var ids []object.ID
		for _, prefix := range req.Packs {
			id, err := packID(ctx, v, prefix)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		r, err := v.RepairPacks(ctx, ids, o)
		reply.Packs = packsRepair(r)
		return err
	case api.RepairSnapshots:
		return repairPoints(ctx, v, req, reply)
	case api.RepairHidden:
		found, err := v.Uncover(ctx, req.DryRun)
		reply.Hidden = map[string]int{}
		for _, h := range found {
			reply.Hidden[h.Type.String()]++
		}
		return err
	}
	return failure.New(failure.Invalid, "repair", string(req.What), "there is no such repair").WithHint("write all, index, packs, snapshots or hidden")
}

// packID resolves a pack's id; one that is written out may be of a pack that is gone.
func packID(ctx context.Context, v *vault.Vault, text string) (object.ID, error) {
	if id, err := object.ParseID(text); err == nil {
		return id, nil
	}
	return v.Resolve(ctx, blob.Pack, text)
}

func repairPoints(ctx context.Context, v *vault.Vault, req api.VaultRepairRequest, reply *api.VaultRepairReply) error {
	o := vault.SnapshotsRepairOptions{DryRun: req.DryRun, Forget: req.Forget}
	list, err := repairable(ctx, v, req, &o)
	if err != nil {
		return err
	}
	reply.Points = []api.VaultPointRepair{}
	if list != nil && len(list)+len(o.Unreadable) == 0 {
		return nil
	}
	done, err := v.RepairSnapshots(ctx, list, o)
	for _, r := range done {
		p := api.VaultPointRepair{Point: r.Snapshot.String(), Nothing: r.Nothing, Forgot: r.Forgot}
		if !r.New.IsZero() {
			p.New = r.New.String()
		}
		for _, l := range r.Losses {
			p.Losses = append(p.Losses, api.VaultLoss(l))
		}
		reply.Points = append(reply.Points, p)
	}
	return err
}

// repairable gives the points that are meant; nil is all that can be read. Those that are named and cannot be read come
// into o.
func repairable(ctx context.Context, v *vault.Vault, req api.VaultRepairRequest, o *vault.SnapshotsRepairOptions) ([]*snapshot.Snapshot, error) {
	switch {
	case len(req.Points) == 0 && req.VaultPointFilter.Empty():
		return nil, nil
	case len(req.Points) == 0:
		return points(ctx, v, req.VaultPointFilter, nil)
	}
	list := []*snapshot.Snapshot{}
	for _, name := range req.Points {
		sn, err := findPoint(ctx, v, name, req.VaultPointFilter)
		switch {
		case err == nil:
			list = append(list, sn)
		case failure.KindOf(err) == failure.Corrupt && name != "latest":
			id, err := v.Resolve(ctx, blob.Snapshot, name)
			if err != nil {
				return nil, err
			}
			o.Unreadable = append(o.Unreadable, id)
		default:
			return nil, err
		}
	}
	return list, nil
}

func indexRepair(r *vault.IndexRepair) *api.VaultIndexRepair {
	if r == nil {
		return nil
	}
	out := &api.VaultIndexRepair{Rewritten: r.Rewritten, Written: r.Written, Gone: texts(r.Gone)}
	for id, err := range r.Damaged {
		out.Damaged = append(out.Damaged, trouble(id, err))
	}
	slices.SortFunc(out.Damaged, func(a, b api.VaultObjectTrouble) int { return cmp.Compare(a.ID, b.ID) })
	for _, list := range []struct {
		from []vault.PackFinding
		into *[]api.VaultPackFinding
	}{{r.Unlisted, &out.Unlisted}, {r.Changed, &out.Changed}} {
		for _, f := range list.from {
			*list.into = append(*list.into, api.VaultPackFinding{VaultObjectTrouble: trouble(f.Pack, f.Err), Blobs: f.Blobs})
		}
	}
	return out
}

func trouble(id object.ID, err error) api.VaultObjectTrouble {
	return api.VaultObjectTrouble{ID: id.String(), Error: failure.From(err)}
}

func texts(ids []object.ID) (list []string) {
	for _, id := range ids {
		list = append(list, id.String())
	}
	return list
}

func blobTexts(handles []object.Handle) (list []string) {
	for _, h := range handles {
		list = append(list, h.Type.String()+" "+h.ID.String())
	}
	return list
}

func packsRepair(r *vault.PacksRepair) *api.VaultPacksRepair {
	if r == nil {
		return nil
	}
	out := &api.VaultPacksRepair{Packs: []api.VaultPackRepair{}, Lost: r.Lost(), Indexes: r.Indexes}
	for _, p := range r.Packs {
		out.Packs = append(out.Packs, api.VaultPackRepair{
			ID: p.Pack.String(), Gone: p.Gone, Elsewhere: p.Elsewhere, Salvaged: p.Salvaged, Fetched: p.Fetched, Lost: blobTexts(p.Lost),
		})
	}
	return out
}

func refill(r *vault.Refilled) *api.VaultRefill {
	if r == nil {
		return nil
	}
	out := &api.VaultRefill{Blobs: r.Blobs[0] + r.Blobs[1], Bytes: r.Bytes, Lost: blobTexts(r.Lost), Unreadable: texts(r.Unreadable)}
	for _, c := range r.Snapshots {
		out.Points = append(out.Points, copiedOf(c))
	}
	return out
}

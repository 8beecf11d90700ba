package vaultservice

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Restore brings a point back.
func (s *Service) Restore(ctx context.Context, req api.VaultRestoreRequest, watch api.VaultWatch) (*api.VaultRestoreReply, error) {
	if watch == nil {
		watch = func(api.VaultEvent) {}
	}
	if req.Target == "" {
		return nil, failure.New(failure.Invalid, "restore", "", "no target is named").WithHint("write --target FOLDER")
	}
	overwrite, err := restorer.ParseOverwrite(req.Overwrite)
	if err != nil {
		return nil, err
	}
	choose, err := selection(req)
	if err != nil {
		return nil, err
	}
	reply := &api.VaultRestoreReply{Target: req.Target, DryRun: req.DryRun, Entries: map[string]int64{}}
	o := restorer.Options{
		Target: req.Target, Select: choose, Overwrite: overwrite, Delete: req.Delete, Sparse: req.Sparse, Verify: req.Verify,
		OwnerByName: req.OwnerByName, DryRun: req.DryRun, Log: s.opts.Log,
		Progress: func(p restorer.Progress) { watch(restoring(p)) },
		Item: func(i restorer.Item) {
			if i.Action == restorer.Deleted && len(reply.Deleted) < maxProblems {
				reply.Deleted = append(reply.Deleted, i.Path)
			}
			watch(api.VaultEvent{Item: &api.VaultItem{Path: i.Path, Action: string(i.Action), Size: i.Size}})
		},
		OnError: func(path string, err error) error {
			watch(api.VaultEvent{Problem: failure.From(failure.Wrap(err, "restore", path))})
			return nil
		},
	}
	err = s.locked(ctx, req.VaultAccess, func(ctx context.Context, v *vault.Vault) error {
		sn, root, _, err := findRoot(ctx, v, req.Point, req.VaultPointFilter)
		if err != nil {
			return err
		}
		reply.Point = sn.ID.String()
		result, err := restorer.Run(ctx, v, root, o)
		restored(reply, result)
		reply.Fallbacks = fallbacksOf(v.Fallbacks())
		return err
	})
	if reply.Point == "" {
		return nil, err
	}
	return reply, err
}

// selection is what is to be restored, by its path in the tree; nil is everything.
func selection(req api.VaultRestoreRequest) (func(path string, dir bool) (selected, below bool), error) {
	include, err := filter.Rules{Patterns: req.Include, Fold: req.IncludeFold, Files: req.IncludeFiles, FoldFiles: req.IncludeFoldFiles}.Compile()
	if err != nil {
		return nil, err
	}
	exclude, err := filter.Rules{Patterns: req.Exclude, Fold: req.ExcludeFold, Files: req.ExcludeFiles, FoldFiles: req.ExcludeFoldFiles}.Compile()
	if err != nil {
		return nil, err
	}
	switch {
	case !include.Empty() && !exclude.Empty():
		return nil, failure.New(failure.Invalid, "restore", "", "includes and excludes exclude each other").
			WithHint(`write a "!" before a pattern to take back what earlier ones matched`)
	case !include.Empty():
		return func(path string, _ bool) (bool, bool) { return include.Below(path) }, nil
	case !exclude.Empty():
		return func(path string, _ bool) (bool, bool) {
			stays := !exclude.Match(path)
			return stays, stays
		}, nil
	}
	return nil, nil
}

// phases are the restorer's, for people.
var phases = map[restorer.Phase]string{
	restorer.Scanning: "reading the point", restorer.Comparing: "comparing with the target", restorer.Restoring: "restoring",
	restorer.Finishing: "finishing", restorer.Verifying: "reading back", restorer.Syncing: "waiting for the disk",
	restorer.Finished: "finished",
}

func restoring(p restorer.Progress) api.VaultEvent {
	e := api.VaultEvent{Phase: phases[p.Phase], Files: p.Entries, Bytes: p.Bytes, Unit: "entries"}
	switch p.Phase {
	case restorer.Scanning:
	case restorer.Verifying:
		e.Files, e.Bytes, e.TotalBytes = 0, p.Verified, p.VerifyTotal
	default:
		e.TotalFiles, e.TotalBytes = p.EntriesTotal, p.BytesTotal
	}
	return e
}

func restored(reply *api.VaultRestoreReply, r *restorer.Result) {
	if r == nil {
		return
	}
	for action, n := range r.Entries {
		reply.Entries[string(action)] = int64(n)
	}
	reply.Files, reply.Bytes, reply.Fetched, reply.Written, reply.Reused = int64(r.Files), r.Bytes, r.Fetched, r.Written, r.Reused
	reply.Failed, reply.DeleteHeld, reply.Verified = r.Failed, r.DeleteHeld, r.Verified
	reply.Problems, reply.Differences = troubles(r.Problems), troubles(r.Differences)
	for _, x := range r.Reduced {
		cause := ""
		if x.Err != nil {
			cause = x.Err.Error()
		}
		reply.Reduced = append(reply.Reduced, api.VaultReduced{What: x.What, Count: x.Count, Example: x.Example, Cause: cause})
	}
	reply.Took = model.Duration(r.Elapsed)
}

func troubles(all []restorer.Problem) (list []api.VaultTrouble) {
	for _, p := range all[:min(len(all), maxProblems)] {
		list = append(list, api.VaultTrouble{Path: p.Path, Error: failure.From(p.Err)})
	}
	return list
}

func fallbacksOf(all []vault.Fallback) (list []api.VaultFallback) {
	for _, f := range all {
		if f.Blobs+f.Snapshots+f.Failed > 0 {
			list = append(list, api.VaultFallback{Replica: f.Replica, Blobs: f.Blobs, Bytes: f.Bytes, Snapshots: f.Snapshots, Failed: f.Failed})
		}
	}
	return list
}

package vaultservice

import (
	"context"
	"errors"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Diff compares two points.
func (s *Service) Diff(ctx context.Context, req api.VaultDiffRequest) (*api.VaultDiff, error) {
	v, done, err := s.openRead(ctx, req.VaultAccess)
	if err != nil {
		return nil, err
	}
	before, a, _, err := findRoot(ctx, v, req.Before, req.VaultPointFilter)
	if err != nil {
		return nil, errors.Join(err, done())
	}
	after, b, _, err := findRoot(ctx, v, req.After, req.VaultPointFilter)
	if err != nil {
		return nil, errors.Join(err, done())
	}
	var report *api.VaultDiffReport
	return &api.VaultDiff{
		Before: pointOf(before), After: pointOf(after), Report: func() *api.VaultDiffReport { return report },
		Changes: func(yield func(*api.VaultChange, error) bool) {
			r, err := v.Diff(ctx, a, b, vault.DiffOptions{Metadata: req.Metadata}, func(c vault.Change) error {
				if !yield(&api.VaultChange{Path: c.Path, Modifier: c.Marker, Before: sizeOf(c.Before), After: sizeOf(c.After)}, nil) {
					return errStop
				}
				return nil
			})
			if err == nil {
				report = &api.VaultDiffReport{ChangedFiles: r.ChangedFiles, Added: api.VaultDiffCount(r.Added), Removed: api.VaultDiffCount(r.Removed)}
			}
			closeErr := done()
			if err == nil {
				err = closeErr
			}
			if err != nil && !errors.Is(err, errStop) {
				yield(nil, err)
			}
		},
	}, nil
}

func sizeOf(n *tree.Node) uint64 {
	if n == nil {
		return 0
	}
	return n.Size
}

// Stats counts what points hold.
func (s *Service) Stats(ctx context.Context, req api.VaultStatsRequest) (reply *api.VaultStatsReply, err error) {
	mode := first(req.Mode, string(vault.RestoreSize))
	err = s.reading(ctx, req.VaultAccess, func(v *vault.Vault) error {
		list, err := points(ctx, v, req.VaultPointFilter, req.Points)
		if err != nil {
			return err
		}
		c, err := v.Sizes(ctx, list, vault.SizeMode(mode))
		if err != nil {
			return err
		}
		reply = &api.VaultStatsReply{Mode: mode, Points: c.Snapshots, Files: c.Files, Blobs: c.Blobs, Bytes: c.Bytes}
		if vault.SizeMode(mode) == vault.RawData {
			reply.Uncompressed, reply.Ratio, reply.Progress, reply.Saving = c.Plain, c.Ratio(), c.Progress(), c.Saving()
		}
		return nil
	})
	return reply, err
}

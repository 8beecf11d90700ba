package vaultservice

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/mount"
)

// Mount shows a vault as a file system.
func (s *Service) Mount(ctx context.Context, req api.VaultMountRequest, ready func()) error {
	return s.reading(ctx, req.VaultAccess, func(v *vault.Vault) error {
		return mount.Run(ctx, v, req.Folder, mount.Options{
			Filter: filterOf(req.VaultPointFilter), Paths: req.Templates, TimeFormat: req.TimeFormat, OwnerRoot: req.OwnerRoot,
			AllowOther: req.AllowOther, NoDefaultPermissions: req.NoDefaultPermissions, NoLock: req.NoLock, Ready: ready,
			Log: s.opts.Log, Now: s.opts.Now,
		})
	})
}

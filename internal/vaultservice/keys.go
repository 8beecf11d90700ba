package vaultservice

import (
	"context"
	"slices"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Init makes a vault.
func (s *Service) Init(ctx context.Context, req api.VaultInitRequest) (*api.VaultInfo, error) {
	m, o, err := s.reach(req.VaultAccess)
	if err != nil {
		return nil, err
	}
	if req.CutLike != nil {
		err := s.with(ctx, *req.CutLike, func(v *vault.Vault) error {
			o.Vault.Polynomial = v.Config().Polynomial
			return nil
		})
		if err != nil {
			return nil, failure.Wrap(err, "read how the other vault cuts", "")
		}
	}
	v, closer, err := location.Init(ctx, m, o)
	if err != nil {
		if failure.KindOf(err) == failure.Exists && failure.HintOf(err) == "" {
			err = failure.WrapAs(failure.Exists, err, "", "").WithHint("use it as it is, or name another place")
		}
		return nil, err
	}
	defer closer.Close()
	c := v.Config()
	return &api.VaultInfo{ID: c.ID.String(), Location: v.Location(), Version: c.Version}, nil
}

// Keys lists the keys.
func (s *Service) Keys(ctx context.Context, req api.VaultAccess) (list []api.VaultKey, err error) {
	err = s.with(ctx, req, func(v *vault.Vault) error {
		keys, err := v.Keys(ctx)
		for _, k := range keys {
			list = append(list, keyOf(k))
		}
		return err
	})
	return list, err
}

func keyOf(k vault.Key) api.VaultKey {
	return api.VaultKey{ID: k.ID.String(), Current: k.Current, Created: k.Created, Username: k.Username, Hostname: k.Hostname}
}

// newKey runs change under the new password, and tells of the key that it made.
func (s *Service) newKey(ctx context.Context, req api.VaultKeyRequest, change func(*vault.Vault, string) (object.ID, error)) (*api.VaultKey, error) {
	if req.NewPassword == nil {
		return nil, failure.New(failure.Invalid, "make a key", "", "no new password is given")
	}
	var made *api.VaultKey
	named := *s
	if req.Username != "" || req.Hostname != "" {
		named.opts.Engine.Identity = identity(req.Username, req.Hostname)
	}
	named.opts.Engine.NoPassword = *req.NewPassword == ""
	err := named.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		id, err := change(v, string(*req.NewPassword))
		if err != nil {
			return err
		}
		keys, err := v.Keys(ctx)
		if i := slices.IndexFunc(keys, func(k vault.Key) bool { return k.ID == id }); i >= 0 {
			k := keyOf(keys[i])
			made = &k
			return nil // another key that cannot be read is no matter of this one
		}
		return err
	})
	return made, err
}

// AddKey lets another password open the vault.
func (s *Service) AddKey(ctx context.Context, req api.VaultKeyRequest) (*api.VaultKey, error) {
	return s.newKey(ctx, req, func(v *vault.Vault, password string) (object.ID, error) { return v.AddKey(ctx, password) })
}

// ChangePassword puts another password in place of the one that opened the vault.
func (s *Service) ChangePassword(ctx context.Context, req api.VaultKeyRequest) (*api.VaultKey, error) {
	return s.newKey(ctx, req, func(v *vault.Vault, password string) (object.ID, error) { return v.ChangePassword(ctx, password) })
}

// RemoveKey takes a key away.
func (s *Service) RemoveKey(ctx context.Context, req api.VaultKeyRequest) (gone *api.VaultKey, err error) {
	err = s.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		id, err := v.Resolve(ctx, blob.Key, req.Key)
		if err != nil {
			if failure.HintOf(err) == "" {
				err = failure.WrapAs(failure.KindOf(err), err, "remove the key", "").WithHint("list them: lifeboat vault key list")
			}
			return err
		}
		gone = &api.VaultKey{ID: id.String()}
		if keys, _ := v.Keys(ctx); len(keys) > 0 { // one that cannot be read can be removed all the same
			if i := slices.IndexFunc(keys, func(k vault.Key) bool { return k.ID == id }); i >= 0 {
				*gone = keyOf(keys[i])
			}
		}
		return v.RemoveKey(ctx, id)
	})
	if err != nil {
		return nil, err
	}
	return gone, nil
}

// Unlock removes locks.
func (s *Service) Unlock(ctx context.Context, req api.VaultUnlockRequest) (*api.VaultUnlockReply, error) {
	reply := &api.VaultUnlockReply{Removed: []api.VaultLock{}, Left: []api.VaultLock{}}
	err := s.with(ctx, req.VaultAccess, func(v *vault.Vault) error {
		locks, err := v.Locks(ctx)
		if err != nil && !req.All {
			return err
		}
		for _, l := range locks {
			k := api.VaultLock{
				ID: l.ID.String(), Time: l.Time, Exclusive: l.Exclusive, Hostname: l.Hostname, Username: l.Username, PID: l.PID,
				Stale: l.Stale(s.opts.Now()),
			}
			if k.Stale || req.All {
				reply.Removed = append(reply.Removed, k)
			} else {
				reply.Left = append(reply.Left, k)
			}
		}
		switch {
		case req.DryRun:
			return nil
		case req.All:
			_, err = v.RemoveAllLocks(ctx)
			return err
		}
		_, err = v.RemoveStaleLocks(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

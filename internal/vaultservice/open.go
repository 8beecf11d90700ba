package vaultservice

import (
	"context"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// open opens the vault that a names. The caller calls done.
func (s *Service) open(ctx context.Context, a api.VaultAccess) (v *vault.Vault, done func() error, err error) {
	password, err := s.password(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	store, err := openStore(ctx, a.Vault)
	if err != nil {
		return nil, nil, err
	}
	v, err = vault.Open(ctx, store, password, s.engine(a))
	if err != nil {
		_ = store.Close() // the error to tell is the first one
		return nil, nil, err
	}
	return v, store.Close, nil
}

// engine is how a's vault is used.
func (s *Service) engine(a api.VaultAccess) vault.Options {
	return vault.Options{
		Log: s.opts.Log, KDF: s.opts.KDF, RetryLock: a.RetryLock.Std(), KeyHint: a.KeyHint, PackSize: int(a.PackSize),
		NoPassword: a.Password != nil && *a.Password == "",
	}
}

// password reads the vault's password now.
func (s *Service) password(ctx context.Context, a api.VaultAccess) (string, error) {
	if a.Password != nil {
		return string(*a.Password), nil
	}
	if a.Vault.Password == "" {
		return "", failure.New(failure.Invalid, "open the vault", a.Vault.Name, "no password is given").
			WithHint("name one with --password-file, --password-command or RESTIC_PASSWORD")
	}
	ref, err := secret.Parse(a.Vault.Password)
	if err != nil {
		return "", failure.Wrap(err, "read the password of the vault", a.Vault.Name)
	}
	value, err := ref.Resolve(ctx)
	return value.Reveal(), err
}

func openStore(_ context.Context, m model.Vault) (blob.Store, error) {
	path := m.URL
	for _, scheme := range []string{"local:", "file:"} {
		path = strings.TrimPrefix(path, scheme)
	}
	return file.Open(path)
}

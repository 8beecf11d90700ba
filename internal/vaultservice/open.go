package vaultservice

import (
	"context"
	"io"
	"os"
	"os/user"
	"slices"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

// open opens the vault that a names. The caller calls done.
func (s *Service) open(ctx context.Context, a api.VaultAccess) (v *vault.Vault, done func() error, err error) {
	return s.openWith(ctx, a, location.Open)
}

// openRead is open for reading alone: when the vault is gone, a replica stands for it.
func (s *Service) openRead(ctx context.Context, a api.VaultAccess) (v *vault.Vault, done func() error, err error) {
	v, done, err = s.openWith(ctx, a, location.OpenAny)
	if err == nil && len(a.Vault.Replicas) > 0 && v.Location() != location.Redact(a.Vault.URL) {
		s.opts.Log.WarnContext(ctx, "the vault itself cannot be opened: a replica stands for it", "vault", location.Redact(a.Vault.URL), "replica", v.Location())
	}
	return v, done, err
}

func (s *Service) openWith(ctx context.Context, a api.VaultAccess,
	open func(context.Context, model.Vault, location.Options) (*vault.Vault, io.Closer, error)) (*vault.Vault, func() error, error) {
	m, o, err := s.reach(a)
	if err != nil {
		return nil, nil, err
	}
	v, closer, err := open(ctx, m, o)
	if err != nil {
		return nil, nil, err
	}
	return v, closer.Close, nil
}

// reach is how a's vault is opened.
func (s *Service) reach(a api.VaultAccess) (model.Vault, location.Options, error) {
	compression, err := vault.ParseCompression(a.Compression)
	if err != nil {
		return model.Vault{}, location.Options{}, err
	}
	engine := s.opts.Engine
	engine.Log, engine.RetryLock, engine.KeyHint, engine.PackSize = s.opts.Log, a.RetryLock.Std(), a.KeyHint, int(a.PackSize)
	engine.Compression = compression
	engine.NoPassword = engine.NoPassword || a.Password != nil && *a.Password == ""
	o := location.Options{Log: s.opts.Log, Vault: engine}
	m := a.Vault
	typed := map[string]string{} // by where the vault is
	take := func(v *model.Vault, password *api.Passphrase) {
		if password != nil {
			v.Password, typed[location.Redact(v.URL)] = "", string(*password)
		}
	}
	take(&m, a.Password)
	if a.Replica != nil {
		replica := a.Replica.Vault
		take(&replica, a.Replica.Password)
		m.Replicas = append(slices.Clone(m.Replicas), replica)
	}
	o.AskPassword = func(_ context.Context, where string) (string, error) {
		password, ok := typed[where]
		if !ok {
			return "", failure.New(failure.Invalid, "open the vault", where, "no password is given").
				WithHint("name one in lifeboat.yaml: password: env:NAME or file:/path")
		}
		return password, nil
	}
	return m, o, nil
}

// writable refuses to work without locks.
func writable(a api.VaultAccess, what string) error {
	if a.NoLock {
		return failure.New(failure.Invalid, what, a.Vault.Name, "what is written needs a lock").WithHint("leave --no-lock out")
	}
	return nil
}

// identity is who a key is said to be for: this process but for what is given.
func identity(username, hostname string) vault.Identity {
	id := vault.Identity{PID: os.Getpid(), Username: username, Hostname: hostname}
	if id.Hostname == "" {
		id.Hostname, _ = os.Hostname() // a key without a host is still a key
	}
	if u, err := user.Current(); err == nil && id.Username == "" {
		id.Username = u.Username
	}
	return id
}

package location

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/rest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Options are what opening a vault takes besides its configuration. The zero Options are right outside of tests.
type Options struct {
	Log   *slog.Logger // nil: silent
	Vault vault.Options
	// AskPassword is called for a vault that names no password; nil: that is an error. The location is for people.
	AskPassword func(ctx context.Context, location string) (string, error)
	// Memory is what memory:NAME stands for; nil: memory: is refused, for nothing would be kept.
	Memory map[string]*memory.Space
	// Around lays something directly around each store (faults, in tests); nil: nothing.
	Around func(blob.Store) blob.Store
}

// OpenStore opens the store of a vault, without looking whether there is anything, with everything laid around it. Its
// replicas are left alone. The caller closes it. Errors are those of Parse, of reading secrets and certificates.
func OpenStore(ctx context.Context, v model.Vault, o Options) (blob.Store, error) {
	l, err := Parse(v.URL)
	if err != nil {
		return nil, err
	}
	store, err := bare(ctx, l, v, o)
	if err != nil {
		return nil, err
	}
	if o.Around != nil {
		store = o.Around(store)
	}
	return store, nil
}

// bare opens the store itself.
func bare(ctx context.Context, l Location, v model.Vault, o Options) (blob.Store, error) {
	switch l.Scheme {
	case Local:
		return file.Open(l.Path)
	case Rest:
		return openRest(ctx, l, v, o)
	case Memory:
		space, ok := o.Memory[l.Path]
		if !ok {
			return nil, failure.New(failure.Unsupported, "open", l.String(), "nothing would be kept").WithHint("%s", supported)
		}
		return space.Open(), nil
	}
	return nil, failure.New(failure.Unsupported, "open", l.String(), "there is no store for it").WithHint("%s", supported)
}

func openRest(ctx context.Context, l Location, v model.Vault, o Options) (blob.Store, error) {
	name, password, err := restUser(ctx, l, v)
	if err != nil {
		return nil, err
	}
	secure, err := tlsConfig(v)
	if err != nil {
		return nil, err
	}
	return rest.Open(rest.Options{URL: l.Endpoint, User: name, Password: password, TLS: secure, Connections: v.Connections, Log: o.Log})
}

// Open opens a vault that is there, with its replicas attached. The caller closes the Closer after the last use.
// Besides the errors of OpenStore: NotFound when there is none, Denied when the password opens no key.
func Open(ctx context.Context, v model.Vault, o Options) (*vault.Vault, io.Closer, error) {
	return with(ctx, v, o, vault.Open)
}

// Init makes the place and a new vault in it, and opens that. Replicas are left alone. Exists: there is one.
func Init(ctx context.Context, v model.Vault, o Options) (*vault.Vault, io.Closer, error) {
	v.Replicas = nil
	return with(ctx, v, o, vault.Init)
}

// with opens the store and the password, and calls open, which is vault.Open or vault.Init.
func with(ctx context.Context, v model.Vault, o Options,
	open func(context.Context, blob.Store, string, vault.Options) (*vault.Vault, error)) (*vault.Vault, io.Closer, error) {
	store, err := OpenStore(ctx, v, o)
	if err != nil {
		return nil, nil, err
	}
	password, err := Password(ctx, v, o)
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	if o.Vault.Log == nil {
		o.Vault.Log = o.Log
	}
	opened, err := open(ctx, store, password, o.Vault)
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return opened, store, nil
}

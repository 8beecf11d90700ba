package location

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/rest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/retry"
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
	// Patience is for how long a call that fails for the moment is tried again, on stores behind a network; 0: a quarter of
	// an hour. A vault with replicas is tried for at most a minute, and a store that was not reached yet for twenty seconds.
	Patience time.Duration
	// Around lays something directly around each store (faults, in tests); nil: nothing.
	Around func(blob.Store) blob.Store
}

// OpenStore opens the store of a vault, without looking whether there is anything, with everything laid around it. Its
// replicas are left alone. The caller closes it. Errors are those of Parse, of reading secrets and certificates, and for
// S3 of finding credentials.
func OpenStore(ctx context.Context, v model.Vault, o Options) (blob.Store, error) {
	l, err := Parse(v.URL)
	if err != nil {
		return nil, err
	}
	store, err := bare(ctx, l, v, o)
	if err != nil {
		return nil, err
	}
	return around(store, l, v, o), nil
}

// bare opens the store itself.
func bare(ctx context.Context, l Location, v model.Vault, o Options) (store blob.Store, err error) {
	if v.Retain != 0 && l.Scheme != S3 {
		return nil, failure.New(failure.Unsupported, "open", l.String(), "objects are kept from deletion only in a bucket with Object Lock").
			WithHint("leave retain: out, or use s3:; an append-only vault server keeps history too")
	}
	switch l.Scheme {
	case Local:
		store, err = file.Open(l.Path)
	case Rest:
		store, err = openRest(ctx, l, v, o)
	case S3:
		store, err = openS3(ctx, l, v, o)
	case Memory:
		space, ok := o.Memory[l.Path]
		if !ok {
			return nil, failure.New(failure.Unsupported, "open", l.String(), "nothing would be kept").WithHint("%s", supported)
		}
		store = space.Open()
	}
	if err == nil && o.Around != nil {
		store = o.Around(store)
	}
	return store, err
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

// firstContact is for how long a store that has not been reached yet is tried: a mistyped host should not take as long to
// be told as a network that is down for a while may take to come back.
const firstContact = 20 * time.Second

// reach finds out whether the store can be reached, which shows in whether it can tell if there is a vault.
func reach(ctx context.Context, store blob.Store, o Options) error {
	budget := firstContact
	if o.Patience > 0 {
		budget = min(budget, o.Patience)
	}
	_, err := retry.Wrap(store, retry.Options{Budget: budget}).Stat(ctx, blob.Handle{Type: blob.Config})
	if errors.Is(err, failure.NotFound) {
		return nil
	}
	return err
}

// Open opens a vault that is there, with its replicas attached; each is opened when it is first needed. The caller closes
// the Closer after the last use. Besides the errors of OpenStore: NotFound when there is no vault, Denied when the
// password opens no key.
func Open(ctx context.Context, v model.Vault, o Options) (*vault.Vault, io.Closer, error) {
	opened, store, err := with(ctx, v, o, vault.Open)
	if err != nil {
		return nil, nil, err
	}
	all := &closers{}
	all.add(store)
	attach(opened, v.Replicas, v, o, all)
	return opened, all, nil
}

// OpenAny is Open for reading only: when the vault cannot be reached, is gone or gives nothing that opens it, the first of
// its replicas that can be opened stands for it, with the others attached. The failures that were passed over are
// logged. The vault that was opened says where it is.
func OpenAny(ctx context.Context, v model.Vault, o Options) (*vault.Vault, io.Closer, error) {
	var failures []error
	for i, one := range append([]model.Vault{v}, v.Replicas...) {
		if i > 0 {
			one = inherit(one, v)
			one.Replicas = slices.Delete(slices.Clone(v.Replicas), i-1, i)
		}
		opened, closer, err := Open(ctx, one, o)
		if err == nil {
			return opened, closer, nil
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
		if o.Log != nil && len(v.Replicas) > 0 {
			o.Log.WarnContext(ctx, "a copy of the vault cannot be opened", "location", Redact(one.URL), "error", err)
		}
		o.Vault.KeyHint = "" // it was the first one's
	}
	if len(failures) == 1 {
		return nil, nil, failures[0]
	}
	return nil, nil, failure.WrapAs(failure.KindOf(failures[0]), errors.Join(failures...), "open the vault or one of its replicas", Redact(v.URL))
}

// Init makes the place and a new vault in it, and opens that. Replicas are left alone. Exists: there is one.
func Init(ctx context.Context, v model.Vault, o Options) (*vault.Vault, io.Closer, error) {
	return with(ctx, v, o, vault.Init)
}

// with opens the store and the password, and calls open, which is vault.Open or vault.Init.
func with(ctx context.Context, v model.Vault, o Options,
	open func(context.Context, blob.Store, string, vault.Options) (*vault.Vault, error)) (*vault.Vault, io.Closer, error) {
	l, err := Parse(v.URL)
	if err != nil {
		return nil, nil, err
	}
	password, err := Password(ctx, v, o)
	if err != nil {
		return nil, nil, err
	}
	store, err := bare(ctx, l, v, o)
	if err != nil {
		return nil, nil, err
	}
	if l.far() {
		err = failure.Wrap(reach(ctx, store, o), "reach the vault", l.String())
	}
	store = around(store, l, v, o)
	if o.Vault.Log == nil {
		o.Vault.Log = o.Log
	}
	var opened *vault.Vault
	if err == nil {
		opened, err = open(ctx, store, password, o.Vault)
	}
	if err != nil {
		store.Close() // the error to tell is the first one
		return nil, nil, err
	}
	return opened, store, nil
}

// attach gives a vault its replicas.
func attach(opened *vault.Vault, replicas []model.Vault, of model.Vault, o Options, all *closers) {
	o.Vault.KeyHint = ""
	var attached []vault.Replica
	for _, r := range replicas {
		r = inherit(r, of)
		attached = append(attached, vault.Replica{Name: Redact(r.URL), Open: func(ctx context.Context) (*vault.Vault, error) {
			replica, store, err := with(ctx, r, o, vault.Open)
			if err != nil {
				return nil, err
			}
			all.add(store)
			return replica, nil
		}})
	}
	opened.Attach(attached...)
}

// inherit gives a replica that names no password that of the vault it is a replica of.
func inherit(replica, of model.Vault) model.Vault {
	if replica.Password == "" {
		replica.Password = of.Password
	}
	return replica
}

// closers are what is open, perhaps opened while somebody else closes.
type closers struct {
	mu     sync.Mutex
	closed bool
	all    []io.Closer
}

// add keeps c until Close, or closes it when that was called.
func (c *closers) add(one io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		one.Close()
		return
	}
	c.all = append(c.all, one)
}

// Close closes everything.
func (c *closers) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var failures []error
	for _, one := range c.all {
		failures = append(failures, one.Close())
	}
	c.all = nil
	return errors.Join(failures...)
}

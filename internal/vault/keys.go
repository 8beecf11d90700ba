package vault

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Key is one password's way into the vault. All keys open the same master key: a password that leaked together with its
// key file is only undone by copying into a new vault.
type Key struct {
	ID       object.ID
	Created  time.Time
	Username string
	Hostname string
	Current  bool // the one that this Vault was opened with
}

// Keys lists the keys, oldest first. When some cannot be read, the others are returned together with the error.
func (v *Vault) Keys(ctx context.Context) ([]Key, error) {
	ids, err := v.list(ctx, blob.Key)
	if err != nil {
		return nil, err
	}
	v.mu.RLock()
	current := v.keyID
	v.mu.RUnlock()
	var keys []Key
	var bad []error
	for id := range ids {
		f, err := loadKeyFile(ctx, v.store, id)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		keys = append(keys, Key{id, f.Created, f.Username, f.Hostname, id == current})
	}
	slices.SortFunc(keys, func(a, b Key) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return a.ID.Compare(b.ID)
	})
	return keys, failure.Wrap(errors.Join(bad...), "list keys", v.Location())
}

// AddKey lets another password open the vault, and gives the key's id.
func (v *Vault) AddKey(ctx context.Context, password string) (object.ID, error) {
	return addKey(ctx, v.store, v.key, password, v.opts)
}

// RemoveKey takes a key away. The one that the vault was opened with is refused with Conflict.
func (v *Vault) RemoveKey(ctx context.Context, id object.ID) error {
	v.mu.RLock()
	current := v.keyID
	v.mu.RUnlock()
	if id == current {
		return failure.New(failure.Conflict, "remove a key", id.Short(), "it is the key that opened the vault").
			WithHint("open the vault with another password first")
	}
	h := blob.Handle{Type: blob.Key, Name: id.String()}
	if _, err := v.store.Stat(ctx, h); err != nil {
		return err
	}
	return v.store.Remove(ctx, h)
}

// ChangePassword replaces the key that opened the vault by one for the new password. The new one is shown to work before
// the old one goes; when it cannot go, both work and the error says so.
func (v *Vault) ChangePassword(ctx context.Context, password string) (object.ID, error) {
	id, err := v.AddKey(ctx, password)
	if err != nil {
		return object.ID{}, err
	}
	f, err := loadKeyFile(ctx, v.store, id)
	if err != nil {
		return object.ID{}, err
	}
	if _, err := f.Open(password); err != nil {
		return object.ID{}, err
	}
	v.mu.Lock()
	old := v.keyID
	v.keyID = id
	v.mu.Unlock()
	err = v.store.Remove(ctx, blob.Handle{Type: blob.Key, Name: old.String()})
	return id, failure.Wrap(err, "change the password: the old one still works", v.Location())
}

func addKey(ctx context.Context, store blob.Store, master *crypto.Key, password string, o Options) (object.ID, error) {
	if password == "" && !o.NoPassword {
		return object.ID{}, failure.New(failure.Invalid, "add a key", "", "the password is empty")
	}
	f := crypto.KeyFile{Created: o.Now(), Username: o.Identity.Username, Hostname: o.Identity.Hostname}
	if err := f.SealKeyFile(master, password, o.KDF); err != nil {
		return object.ID{}, err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return object.ID{}, failure.WrapAs(failure.Internal, err, "add a key", "")
	}
	id := object.Hash(text)
	return id, blob.SaveSame(ctx, store, blob.Handle{Type: blob.Key, Name: id.String()}, bytes.NewReader(text))
}

func loadKeyFile(ctx context.Context, store blob.Store, id object.ID) (*crypto.KeyFile, error) {
	h := blob.Handle{Type: blob.Key, Name: id.String()}
	text, err := blob.ReadAll(ctx, store, h)
	if err != nil {
		return nil, err
	}
	if got := object.Hash(text); got != id {
		return nil, failure.New(failure.Corrupt, "read", h.String(), "its bytes have another SHA-256: %s", got.Short())
	}
	f, err := crypto.ParseKeyFile(text)
	return f, failure.Wrap(err, "read", h.String())
}

// searchKey tries every key until the password opens one and fits agrees with what is in it. Key files that are damaged
// are passed over, and named when none fits. Those whose id begins with hint come first. Denied: no key fits.
func searchKey(ctx context.Context, store blob.Store, password, hint string, fits func(*crypto.Key) error) (*crypto.Key, object.ID, error) {
	var ids []object.ID
	err := store.List(ctx, blob.Key, func(info blob.Info) error {
		id, err := object.ParseID(info.Name)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, object.ID{}, err
	}
	slices.SortFunc(ids, func(a, b object.ID) int {
		if ah, bh := strings.HasPrefix(a.String(), hint), strings.HasPrefix(b.String(), hint); ah != bh {
			if ah {
				return -1
			}
			return 1
		}
		return a.Compare(b)
	})
	var bad []error
	for _, id := range ids {
		f, err := loadKeyFile(ctx, store, id)
		if err == nil {
			var key *crypto.Key
			if key, err = f.Open(password); err == nil {
				if err = fits(key); err == nil {
					return key, id, nil
				}
			}
		}
		switch failure.KindOf(err) {
		case failure.Denied: // another password's
		case failure.Corrupt, failure.Unsupported, failure.NotFound:
			bad = append(bad, failure.Wrap(err, "try the key", id.Short()))
		default:
			return nil, object.ID{}, err
		}
	}
	if len(bad) > 0 {
		return nil, object.ID{}, errors.Join(bad...)
	}
	return nil, object.ID{}, failure.New(failure.Denied, "", "", "the password opens none of %d keys", len(ids)).
		WithHint("check the password; another vault may be meant")
}

// firstKey gives the key of a vault to be: a new one, or that which an interrupted Init left.
func firstKey(ctx context.Context, store blob.Store, password string, o Options) (key *crypto.Key, id object.ID, made bool, err error) {
	left := false
	if err := store.List(ctx, blob.Key, func(blob.Info) error { left = true; return nil }); err != nil {
		return nil, object.ID{}, false, err
	}
	if left {
		key, id, err := searchKey(ctx, store, password, o.KeyHint, func(*crypto.Key) error { return nil })
		if err != nil {
			return nil, object.ID{}, false, failure.New(failure.Conflict, "create a vault", store.Facts().Location,
				"there are keys but no config, and the password opens none of them").
				WithHint("a config may have been lost, then restore it; an interrupted init is repeated with its own password")
		}
		return key, id, false, nil
	}
	if key, err = crypto.NewKey(rand.Reader); err != nil {
		return nil, object.ID{}, false, err
	}
	id, err = addKey(ctx, store, key, password, o)
	return key, id, true, err
}

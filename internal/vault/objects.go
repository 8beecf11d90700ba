package vault

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// Resolve gives the one file of type t whose id begins with prefix. NotFound: there is none; Invalid: several begin so,
// or prefix is empty.
func (v *Vault) Resolve(ctx context.Context, t blob.Type, prefix string) (object.ID, error) {
	if prefix == "" {
		return object.ID{}, failure.New(failure.Invalid, "find in "+t.String(), "", "the id is empty")
	}
	ids, err := v.list(ctx, t)
	if err != nil {
		return object.ID{}, err
	}
	var found []object.ID
	for id := range ids {
		if strings.HasPrefix(id.String(), strings.ToLower(prefix)) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return object.ID{}, failure.New(failure.NotFound, "find in "+t.String(), prefix, "no id begins so")
	case 1:
		return found[0], nil
	}
	return object.ID{}, failure.New(failure.Invalid, "find in "+t.String(), prefix, "%d ids begin so", len(found)).
		WithHint("give more digits of the id")
}

// LoadFile gives one of the vault's files as its format means it: an index, snapshot or lock decrypted and decompressed,
// the config and a key as JSON, a pack as it lies in the store. Corrupt: its bytes are not what its name says. The id of
// the config is ignored.
func (v *Vault) LoadFile(ctx context.Context, t blob.Type, id object.ID) ([]byte, error) {
	switch t {
	case blob.Index, blob.Snapshot, blob.Lock:
		return v.loadFile(ctx, t, id)
	case blob.Config:
		sealed, err := blob.ReadAll(ctx, v.store, blob.Handle{Type: t})
		if err != nil {
			return nil, err
		}
		plain, err := v.key.Open(sealed)
		if err != nil {
			return nil, failure.Wrap(err, "read", t.String())
		}
		return v.unpackFile(plain)
	}
	h := blob.Handle{Type: t, Name: id.String()}
	bytes, err := blob.ReadAll(ctx, v.store, h)
	if err == nil && object.Hash(bytes) != id {
		err = failure.New(failure.Corrupt, "read", h.String(), "its bytes have another SHA-256: %s", object.Hash(bytes).Short()).
			WithHint("run: lifeboat vault check")
	}
	return bytes, err
}

// PackedIn gives the ids of the packs that have a copy of h, as the index lists them.
func (v *Vault) PackedIn(ctx context.Context, h object.Handle) ([]object.ID, error) {
	if err := v.needIndex(ctx); err != nil {
		return nil, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	var packs []object.ID
	for at := range v.index.Lookup(h) {
		if !slices.Contains(packs, at.Pack) {
			packs = append(packs, at.Pack)
		}
	}
	return packs, nil
}

// PackContent lists the blobs of a pack, from its own header.
func (v *Vault) PackContent(ctx context.Context, id object.ID) ([]pack.Entry, error) {
	h := blob.Handle{Type: blob.Pack, Name: id.String()}
	info, err := v.store.Stat(ctx, h)
	if err != nil {
		return nil, err
	}
	entries, err := pack.ReadHeader(packAt{ctx, v.store, h}, info.Size, v.key)
	return entries, failure.Wrap(err, "read the header of", h.String())
}

// RemoveAllLocks removes every lock, also those of programs that are at work, and gives their ids. One that goes away
// meanwhile counts as removed.
func (v *Vault) RemoveAllLocks(ctx context.Context) ([]object.ID, error) {
	ids, err := v.list(ctx, blob.Lock)
	if err != nil {
		return nil, err
	}
	var gone []object.ID
	var bad []error
	for id := range ids {
		if err := v.store.Remove(ctx, blob.Handle{Type: blob.Lock, Name: id.String()}); err != nil {
			bad = append(bad, err)
			continue
		}
		gone = append(gone, id)
	}
	slices.SortFunc(gone, object.ID.Compare)
	return gone, errors.Join(bad...)
}

package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// LoadIndex reads the index files that are not read yet, and everything anew when one that was read is gone: a prune has
// moved blobs. It is called by itself before the first blob is looked up. An index file that is damaged is an error, and
// what was known before stays; unless every pack is listed by the others too, as after a repair where it may not go.
func (v *Vault) LoadIndex(ctx context.Context) error { return v.readIndex(ctx, false) }

// readIndex is LoadIndex; leniently, it passes over index files that cannot be read, and ends with an index in any case,
// though it be an empty one.
func (v *Vault) readIndex(ctx context.Context, lenient bool) error {
	if v.imagined {
		return nil
	}
	ids, err := v.list(ctx, blob.Index)
	if err != nil && !lenient {
		return err
	}
	listed := err
	v.mu.RLock()
	fresh := v.index == nil
	for id := range v.loaded {
		if _, there := ids[id]; !there && listed == nil {
			fresh = true
		}
	}
	if !fresh {
		maps.DeleteFunc(ids, func(id object.ID, _ int64) bool { _, known := v.loaded[id]; return known })
	}
	v.mu.RUnlock()

	var mu sync.Mutex
	var bad error
	parts := make(map[object.ID][]index.Pack, len(ids))
	err = v.each(ctx, ids, func(ctx context.Context, id object.ID, _ int64) error {
		packs, err := v.loadIndexFile(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			parts[id] = packs
		case ctx.Err() == nil && (lenient || failure.KindOf(err) == failure.Corrupt):
			v.opts.Log.WarnContext(ctx, "an index file is passed over", "vault", v.Location(), "index", id, "error", err)
			bad = err
		default:
			return err
		}
		return nil
	})
	if err == nil && bad != nil && !lenient {
		err = v.allListed(ctx, parts, fresh, bad)
	}
	if err != nil {
		return failure.Wrap(err, "load the index", v.Location())
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if fresh {
		v.index, v.loaded = &index.Index{}, map[object.ID]listing{}
	}
	for id, packs := range parts {
		v.adopt(id, packs)
	}
	return listed
}

// allListed is bad unless every pack that is stored, and whose own list can be read, is listed in parts or, unless fresh,
// in the index. A mark of a prune counts too: what it is on was moved elsewhere.
func (v *Vault) allListed(ctx context.Context, parts map[object.ID][]index.Pack, fresh bool, bad error) error {
	stored, err := v.list(ctx, blob.Pack)
	if err != nil {
		return err
	}
	for _, packs := range parts {
		for _, p := range packs {
			delete(stored, p.ID)
		}
	}
	if !fresh {
		v.mu.RLock()
		for _, id := range v.index.Packs() {
			delete(stored, id)
		}
		for _, l := range v.loaded {
			for _, id := range l.empty {
				delete(stored, id)
			}
		}
		v.mu.RUnlock()
	}
	return v.each(ctx, stored, func(ctx context.Context, id object.ID, size int64) error {
		_, err := pack.ReadHeader(packAt{ctx, v.store, packHandle(id)}, size, v.key)
		switch {
		case err == nil:
			return bad
		case damage(err):
			return nil // no index could say what is in it
		}
		return err
	})
}

// adopt adds an index file to the index. The caller holds mu.
func (v *Vault) adopt(id object.ID, packs []index.Pack) {
	l := listing{packs: make([]uint32, 0, len(packs)), blobs: make([]uint32, 0, len(packs))}
	for _, p := range packs {
		if len(p.Entries) == 0 {
			l.empty = append(l.empty, p.ID)
			continue
		}
		v.index.Add(p.ID, p.Entries)
		n, _ := v.index.PackNumber(p.ID)
		l.packs, l.blobs = append(l.packs, n), append(l.blobs, uint32(len(p.Entries)))
	}
	v.loaded[id] = l
}

// listing is what one index file lists: packs by their places in the index's Packs, with how many blobs of each, and those
// without blobs, which count for nothing but a prune's marks.
type listing struct {
	packs []uint32
	blobs []uint32
	empty []object.ID
}

func (v *Vault) loadIndexFile(ctx context.Context, id object.ID) ([]index.Pack, error) {
	plain, err := v.loadFile(ctx, blob.Index, id)
	if err != nil {
		return nil, err
	}
	packs, err := index.Parse(plain)
	return packs, failure.Wrap(err, "load", "index/"+id.Short())
}

// needIndex loads the index unless that was done. With replicas it need not be whole.
func (v *Vault) needIndex(ctx context.Context) error {
	v.mu.RLock()
	there := v.index != nil
	v.mu.RUnlock()
	if there && !v.gapsAgain() {
		return nil
	}
	return v.mend(ctx, v.LoadIndex(ctx))
}

// has reports whether the index lists h. The index is loaded.
func (v *Vault) has(h object.Handle) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.index.Has(h)
}

// BlobSize gives the length of a blob's content in bytes, from the index. NotFound: no index lists it.
func (v *Vault) BlobSize(ctx context.Context, h object.Handle) (uint32, error) {
	n, err := v.blobSize(ctx, h)
	if err != nil {
		return v.sizeFallBack(ctx, h, err)
	}
	return n, nil
}

// blobSize is BlobSize without replicas.
func (v *Vault) blobSize(ctx context.Context, h object.Handle) (uint32, error) {
	if err := v.needIndex(ctx); err != nil {
		return 0, err
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	if n, ok := v.index.Size(h); ok {
		return n, nil
	}
	return 0, missing(h)
}

func missing(h object.Handle) error {
	return failure.New(failure.NotFound, "load", h.String(), "no index lists the blob").
		WithHint("run: lifeboat vault check")
}

// LoadBlob gives the content of a blob, whose hash it has verified. When a copy is damaged or gone the others are tried,
// then the replicas. NotFound: no index lists it; else the kind of the last copy's failure. The slice is the caller's.
func (v *Vault) LoadBlob(ctx context.Context, h object.Handle) ([]byte, error) {
	data, err := v.loadBlob(ctx, h)
	if err != nil {
		return v.blobFallBack(ctx, h, err)
	}
	return data, nil
}

// loadBlob is LoadBlob without replicas.
func (v *Vault) loadBlob(ctx context.Context, h object.Handle) ([]byte, error) {
	if err := v.needIndex(ctx); err != nil {
		return nil, err
	}
	v.mu.RLock()
	copies := slices.Collect(v.index.Lookup(h))
	v.mu.RUnlock()
	if len(copies) == 0 {
		return nil, missing(h)
	}
	var failed []error
	for _, l := range copies {
		sealed := make([]byte, l.Length)
		err := v.readPack(about(ctx, h), l.Pack, sealed, int64(l.Offset))
		if err == nil {
			var plain []byte
			if plain, err = v.openBlob(sealed, l.Entry, nil); err == nil {
				return plain, nil
			}
		}
		failed = append(failed, failure.Wrap(err, "load "+h.String()+" from pack", l.Pack.Short()))
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 1 {
		return nil, failed[0]
	}
	return nil, failure.WrapAs(failure.KindOf(failed[len(failed)-1]), errors.Join(failed...), "load", h.String())
}

// readPack fills p from a pack. With replicas, a store that could not be reached a moment ago is not asked again.
func (v *Vault) readPack(ctx context.Context, id object.ID, p []byte, off int64) error {
	if err := v.ready(); err != nil {
		return err
	}
	err := blob.ReadFull(ctx, v.store, packHandle(id), p, off)
	v.unreached(ctx, err)
	return err
}

// about tells a cache around the store when a call is about directories: a pack holds blobs of one type.
func about(ctx context.Context, h object.Handle) context.Context {
	if h.Type == object.Tree {
		return blob.Metadata(ctx)
	}
	return ctx
}

func packHandle(id object.ID) blob.Handle { return blob.Handle{Type: blob.Pack, Name: id.String()} }

// openBlob decrypts in place, decompresses and verifies a blob as it lies in a pack. The content is in room when that is
// large enough, in sealed when the blob is not compressed, else in memory of its own.
func (v *Vault) openBlob(sealed []byte, e pack.Entry, room []byte) ([]byte, error) {
	plain, err := v.key.Open(sealed)
	if err != nil {
		return nil, err
	}
	if e.PlainLength != 0 {
		// Each byte of zstd gives at most 128 KiB; so a length that lies takes no memory.
		if uint64(e.PlainLength) > uint64(len(plain))<<17 {
			return nil, failure.New(failure.Corrupt, "decompress", e.Handle.String(), "%d bytes cannot give %d", len(plain), e.PlainLength)
		}
		if cap(room) < int(e.PlainLength) {
			room = make([]byte, 0, e.PlainLength)
		}
		plain, err = v.blobs.DecodeAll(plain, room[:0:e.PlainLength])
		if err != nil {
			return nil, failure.WrapAs(failure.Corrupt, err, "decompress", e.Handle.String())
		}
		if len(plain) != int(e.PlainLength) {
			return nil, failure.New(failure.Corrupt, "decompress", e.Handle.String(), "%d bytes instead of %d", len(plain), e.PlainLength)
		}
	}
	if got := object.Hash(plain); got != e.ID {
		return nil, failure.New(failure.Corrupt, "verify", e.Handle.String(), "the content has another SHA-256: %s", got.Short())
	}
	return plain, nil
}

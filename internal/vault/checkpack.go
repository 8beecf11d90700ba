package vault

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// checkPack verifies one pack against what the index lists of it. The error is about the pack as a whole; the map names
// blobs that are known not to be readable.
func (c *checker) checkPack(ctx context.Context, id object.ID, size int64, listed []pack.Entry) (map[index.Location]error, error) {
	slices.SortFunc(listed, func(a, b pack.Entry) int { return cmp.Compare(a.Offset, b.Offset) })
	if !c.options.ReadData {
		return c.checkHeader(packAt{ctx, c.v.store, packHandle(id)}, id, size, listed)
	}
	file, err := blob.ReadAll(ctx, c.v.store, packHandle(id))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.report.BytesRead += int64(len(file))
	c.mu.Unlock()
	wrong, err := c.checkHeader(bytes.NewReader(file), id, int64(len(file)), listed)
	if got := object.Hash(file); got != id && err == nil {
		err = failure.New(failure.Corrupt, "verify", packHandle(id).String(), "its bytes have another SHA-256: %s", got.Short())
	}
	for _, e := range listed {
		l := index.Location{Entry: e, Pack: id}
		if wrong[l] != nil {
			continue
		}
		berr := failure.New(failure.Corrupt, "verify", e.Handle.String(), "it lies beyond the pack's end")
		if end := int64(e.Offset) + int64(e.Length); end <= int64(len(file)) {
			if _, openErr := c.v.openBlob(bytes.Clone(file[e.Offset:end]), e, nil); openErr == nil {
				continue
			} else {
				berr = failure.WrapAs(failure.Corrupt, openErr, "verify", e.Handle.String())
			}
		}
		if wrong == nil {
			wrong = map[index.Location]error{}
		}
		wrong[l] = berr
	}
	return wrong, err
}

// checkHeader compares the pack's own list of blobs with the index's. Blobs that only the pack lists are harmless.
func (c *checker) checkHeader(r io.ReaderAt, id object.ID, size int64, listed []pack.Entry) (map[index.Location]error, error) {
	entries, err := pack.ReadHeader(r, size, c.v.key)
	if err != nil {
		return nil, failure.Wrap(err, "check", packHandle(id).String())
	}
	has := make(map[pack.Entry]bool, len(entries))
	for _, e := range entries {
		has[e] = true
	}
	var wrong map[index.Location]error
	for _, e := range listed {
		if has[e] {
			continue
		}
		if wrong == nil {
			wrong = map[index.Location]error{}
		}
		wrong[index.Location{Entry: e, Pack: id}] = failure.New(failure.Corrupt, "compare with the index", e.Handle.String(),
			"the pack's header lists no such blob at %d with length %d", e.Offset, e.Length)
	}
	return wrong, nil
}

// packAt reads an object at offsets.
type packAt struct {
	ctx   context.Context
	store blob.Store
	h     blob.Handle
}

func (p packAt) ReadAt(b []byte, off int64) (int, error) {
	if err := blob.ReadFull(p.ctx, p.store, p.h, b, off); err != nil {
		return 0, err
	}
	return len(b), nil
}

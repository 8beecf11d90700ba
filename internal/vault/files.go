package vault

import (
	"bytes"
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// maxFile bounds what an index, snapshot or lock unpacks to. restic writes one index of a million blobs in 170 MB.
const maxFile = 4 << 30

// versionMark stands before the zstd frame of a file of format version 2. A file of version 1 begins with its JSON.
const versionMark = 2

// saveFile seals a file that is no pack and stores it under the hash of its bytes.
func (v *Vault) saveFile(ctx context.Context, t blob.Type, plain []byte) (object.ID, error) {
	if v.config.Version >= 2 {
		plain = v.metadata.EncodeAll(plain, []byte{versionMark})
	}
	sealed := v.key.Seal(nil, plain)
	id := object.Hash(sealed)
	return id, blob.SaveSame(ctx, v.store, blob.Handle{Type: t, Name: id.String()}, bytes.NewReader(sealed))
}

// loadFile reads a file that is no pack. It is Corrupt when its bytes are not what its name says.
func (v *Vault) loadFile(ctx context.Context, t blob.Type, id object.ID) ([]byte, error) {
	h := blob.Handle{Type: t, Name: id.String()}
	sealed, err := blob.ReadAll(ctx, v.store, h)
	if err != nil {
		return nil, err
	}
	if got := object.Hash(sealed); got != id {
		return nil, failure.New(failure.Corrupt, "read", h.String(), "its bytes have another SHA-256: %s", got.Short()).
			WithHint("run: lifeboat vault check")
	}
	plain, err := v.key.Open(sealed)
	if err != nil {
		return nil, failure.Wrap(err, "read", h.String())
	}
	plain, err = v.unpackFile(plain)
	return plain, failure.Wrap(err, "read", h.String())
}

// unpackFile undoes the compression of a decrypted file, if there is one.
func (v *Vault) unpackFile(plain []byte) ([]byte, error) {
	switch {
	case len(plain) == 0:
		return nil, failure.New(failure.Corrupt, "decompress", "", "the file is empty")
	case plain[0] == '{' || plain[0] == '[':
		return plain, nil
	case plain[0] != versionMark:
		return nil, failure.New(failure.Unsupported, "decompress", "", "the file has the unknown version %d", plain[0])
	}
	out, err := v.files.DecodeAll(plain[1:], nil)
	if err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "decompress", "")
	}
	return out, nil
}

// list gives the ids and sizes of all files of a type.
func (v *Vault) list(ctx context.Context, t blob.Type) (map[object.ID]int64, error) {
	all := map[object.ID]int64{}
	err := v.store.List(ctx, t, func(info blob.Info) error {
		id, err := object.ParseID(info.Name)
		if err == nil {
			all[id] = info.Size
		}
		return err
	})
	return all, err
}

// each calls do for every id, several at once, until one fails.
func (v *Vault) each(ctx context.Context, ids map[object.ID]int64, do func(context.Context, object.ID, int64) error) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(v.parallel())
	for id, size := range ids {
		if within.Err() != nil {
			break
		}
		group.Go(func() error { return do(within, id, size) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

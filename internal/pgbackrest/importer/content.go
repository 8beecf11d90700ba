package importer

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// blocks are buffers of pgpoint.Block bytes.
var blocks = sync.Pool{New: func() any { b := make([]byte, pgpoint.Block); return &b }}

// sourceError is an error of what is read, in contrast to one of the vault.
type sourceError struct{ error }

// Unwrap gives it as it was.
func (s sourceError) Unwrap() error { return s.error }

// damaged reports whether an error is one of the thing that is read, and not of reaching it or of the vault.
func damaged(err error) bool {
	var s sourceError
	if !errors.As(err, &s) {
		return false
	}
	switch failure.KindOf(err) {
	case failure.Corrupt, failure.NotFound, failure.Unsupported, failure.Invalid:
		return true
	}
	return false
}

// until gives what src gives as long as ctx lasts. It is used within one call.
func until(ctx context.Context, src io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, failure.WrapAs(failure.Canceled, err, "read", "the repository")
		}
		return src.Read(p)
	})
}

type readerFunc func([]byte) (int, error)

// Read calls f.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// store puts what src gives into the vault, in blocks of so many bytes, at most pgpoint.Block. Seen, if not nil, is given
// each block; it may not keep it.
func store(ctx context.Context, s *vault.Session, src io.Reader, block int, seen func([]byte)) (vault.Content, error) {
	pooled := blocks.Get().(*[]byte)
	defer blocks.Put(pooled)
	buffer := (*pooled)[:block]
	c := vault.Content{Blobs: []object.ID{}}
	for {
		n, err := io.ReadFull(src, buffer)
		last := err == io.EOF || err == io.ErrUnexpectedEOF // ReadFull's own: what src ends with has a kind
		if err != nil && !last {
			return c, sourceError{err}
		}
		if n > 0 {
			data := buffer[:n]
			if seen != nil {
				seen(data)
			}
			id, err := s.SaveBlob(ctx, object.Data, data)
			if err != nil {
				return c, err
			}
			c.Blobs, c.Size = append(c.Blobs, id), c.Size+uint64(n)
		}
		if last {
			return c, nil
		}
	}
}

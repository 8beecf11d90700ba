package cache

import (
	"context"
	"io"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// reader reads a copy, block by block, and from the store when a block is damaged.
type reader struct {
	ctx   context.Context // of the Load that it is a part of
	s     *Store
	f     *folder
	h     blob.Handle
	entry *entry
	at    int64 // of the next byte
	end   int64
	buf   []byte // of the present block
	ready []byte // what is left of it
	inner io.ReadCloser
}

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, failure.Wrap(err, "load", r.h.String())
	}
	if r.inner != nil {
		return r.inner.Read(p)
	}
	if r.at >= r.end {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.ready) == 0 {
		if err := r.next(); err != nil || r.inner != nil {
			if err != nil {
				return 0, err
			}
			return r.inner.Read(p)
		}
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	r.at += int64(n)
	return n, nil
}

// next gets the block in which at lies.
func (r *reader) next() error {
	i := r.at / block
	if r.buf == nil {
		r.buf = make([]byte, block)
	}
	got, ok := r.entry.read(i, r.buf)
	if !ok {
		r.s.opts.Log.WarnContext(r.ctx, "a copy in the cache is damaged: dropped", "folder", r.f.root, "object", r.h)
		r.f.drop(r.h)
		inner, err := r.s.inner.Load(r.ctx, r.h, r.at, r.end-r.at)
		r.inner = inner
		return err
	}
	r.ready = got[r.at-i*block : min(int64(len(got)), r.end-i*block)]
	return nil
}

// Close closes what is open.
func (r *reader) Close() error {
	err := r.entry.file.Close()
	if r.inner != nil {
		return r.inner.Close()
	}
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "close the copy of", r.h.String())
	}
	return nil
}

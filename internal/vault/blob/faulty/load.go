package faulty

import (
	"context"
	"io"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Load fails, and its reader breaks, ends early, flips a bit, or gives little at a time.
func (s *Store) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	f, err := s.next(ctx, Load, h.Type, h.String())
	if err != nil {
		return nil, err
	}
	inner, err := s.inner.Load(ctx, h, offset, length)
	if err != nil {
		return nil, err
	}
	r := &reader{ReadCloser: inner, fate: f, short: s.opts.Short, ends: -1, flips: -1}
	if length == blob.ToEnd {
		length = 1 << 10 // somewhere near the start, which also short objects have
	}
	if fault, ok := f.happens(Break); ok {
		r.ends, r.end = f.random.Int64N(length), f.err(fault, failure.Unavailable)
	}
	if _, ok := f.happens(Truncate); ok {
		r.ends, r.end = f.random.Int64N(length), io.EOF
	}
	if _, ok := f.happens(Flip); ok {
		r.flips = f.random.Int64N(length)
	}
	return r, nil
}

type reader struct {
	io.ReadCloser
	fate  *fate
	short bool
	at    int64 // bytes given so far
	ends  int64 // where end comes; -1: nowhere
	end   error
	flips int64 // which byte is another one; -1: none
}

// Read reads until something goes wrong.
func (r *reader) Read(p []byte) (int, error) {
	if r.ends >= 0 {
		if r.at >= r.ends {
			return 0, r.end
		}
		p = p[:min(int64(len(p)), r.ends-r.at)]
	}
	if r.short && len(p) > 1 {
		p = p[:1+r.fate.random.IntN(len(p))]
	}
	n, err := r.ReadCloser.Read(p)
	if i := r.flips - r.at; r.flips >= 0 && i >= 0 && i < int64(n) {
		p[i] ^= 1 << r.fate.random.IntN(8)
	}
	r.at += int64(n)
	return n, err
}

package retry

import (
	"context"
	"errors"
	"io"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Load tries again, and so does its reader, from the byte on at which it broke.
func (s *Store) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	r := &reader{ctx: ctx, s: s, h: h, offset: offset, left: length, p: s.patience("load", h.String())}
	if err := s.do(ctx, "load", h.String(), r.open); err != nil {
		return nil, err
	}
	return r, nil
}

// reader is what a Load gives. Like every reader it is for one goroutine.
type reader struct {
	ctx    context.Context // of Load, which its reader is a part of
	s      *Store
	h      blob.Handle
	offset int64 // of the next byte
	left   int64 // bytes to come, or blob.ToEnd
	inner  io.ReadCloser
	p      *patience
	broken error // why there is no inner
	end    error // what every further Read gives
}

// open loads the rest.
func (r *reader) open() error {
	f, err := r.s.inner.Load(r.ctx, r.h, r.offset, r.left)
	if err == nil {
		r.inner = f
	}
	return err
}

// Read reads on, over breaks.
func (r *reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for r.end == nil {
		if r.inner == nil {
			r.reopen()
			continue
		}
		if r.left != blob.ToEnd && int64(len(b)) > r.left {
			b = b[:r.left]
		}
		n, err := r.inner.Read(b)
		if n > 0 {
			r.p.moved()
			r.offset += int64(n)
			if r.left != blob.ToEnd {
				r.left -= int64(n)
			}
		}
		switch {
		case r.left == 0: // all has come, whatever else the store says
			r.end = io.EOF
		case err == nil:
			return n, nil
		case errors.Is(err, io.EOF) && r.left == blob.ToEnd:
			r.end = io.EOF
		default:
			r.broke(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, r.end
}

// broke gives up the reader within.
func (r *reader) broke(err error) {
	r.inner.Close() // what it says now adds nothing
	r.inner = nil
	if errors.Is(err, io.EOF) {
		// A store knows when an object is too short, and says Corrupt. An end without that is a connection that broke.
		err = failure.New(failure.Unavailable, "load", r.h.String(), "the answer ends %d bytes early", r.left)
	}
	r.broken = err
}

// reopen waits, and opens the rest.
func (r *reader) reopen() {
	if r.end = r.p.wait(r.ctx, r.broken); r.end == nil {
		r.broken = r.open()
	}
}

// Close gives up what is open.
func (r *reader) Close() error {
	r.end = failure.New(failure.Invalid, "load", r.h.String(), "read after close")
	if r.inner == nil {
		return nil
	}
	f := r.inner
	r.inner = nil
	return f.Close()
}

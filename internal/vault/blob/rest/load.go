package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Load asks for a range. A server that knows none is read from the start.
func (s *Store) Load(ctx context.Context, h blob.Handle, offset, length int64) (io.ReadCloser, error) {
	if err := blob.CheckRange(h, offset, length); err != nil {
		return nil, err
	}
	r := request{method: http.MethodGet, url: s.at(h), op: "load", subject: h.String(), wanted: []int{http.StatusRequestedRangeNotSatisfiable}}
	switch {
	case length != blob.ToEnd:
		r.span = fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	case offset > 0:
		r.span = fmt.Sprintf("bytes=%d-", offset)
	}
	resp, err := s.do(ctx, r)
	if err != nil {
		return nil, err
	}
	reader, err := s.ranged(ctx, h, resp, offset, length)
	if err != nil {
		resp.Close()
		return nil, err
	}
	return reader, nil
}

// ranged judges what came for a range.
func (s *Store) ranged(ctx context.Context, h blob.Handle, resp *response, offset, length int64) (io.ReadCloser, error) {
	first, size := contentRange(resp.Header.Get("Content-Range"))
	switch resp.StatusCode {
	case http.StatusRequestedRangeNotSatisfiable:
		if size < 0 {
			info, err := s.Stat(ctx, h)
			if err != nil {
				return nil, err
			}
			size = info.Size
		}
		if offset != size || length != blob.ToEnd {
			return nil, blob.Short("load", h)
		}
		return io.NopCloser(strings.NewReader("")), resp.drain()
	case http.StatusPartialContent:
		if first != offset {
			return nil, failure.New(failure.Unavailable, "load", h.String(), "the server gives another range than was asked for")
		}
	case http.StatusOK:
		if all := resp.ContentLength; all >= 0 && all < offset {
			return nil, blob.Short("load", h)
		}
		if n, err := io.CopyN(io.Discard, resp, offset); errors.Is(err, io.EOF) && n < offset {
			return nil, blob.Short("load", h)
		} else if err != nil {
			return nil, err
		}
		if resp.ContentLength >= 0 {
			resp.ContentLength -= offset
		}
	}
	if length == blob.ToEnd {
		length = resp.ContentLength // -1 when the server does not say
		if resp.StatusCode == http.StatusPartialContent && size >= 0 && length >= 0 && offset+length != size {
			return nil, failure.New(failure.Unavailable, "load", h.String(), "the server gives less than was asked for")
		}
	}
	if resp.ContentLength >= 0 && length > resp.ContentLength {
		return nil, blob.Short("load", h)
	}
	return &reader{resp: resp, h: h, left: length}, nil
}

// reader gives exactly what was asked for.
type reader struct {
	resp *response
	h    blob.Handle
	left int64 // bytes; -1: until the body ends
}

// Read reads on.
func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if r.left > 0 && int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.resp.Read(p)
	if r.left > 0 {
		r.left -= int64(n)
		if err == io.EOF && r.left > 0 {
			err = blob.Short("load", r.h)
		}
	}
	return n, err
}

// Close ends the request. What is left of a body that was not read to its end is lost with its connection.
func (r *reader) Close() error { return r.resp.Close() }

// contentRange reads "bytes first-last/size" and "bytes */size"; what is not said is -1.
func contentRange(header string) (first, size int64) {
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	span, total, _ := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	start, _, _ := strings.Cut(span, "-")
	return number(start), number(total)
}

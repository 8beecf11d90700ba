package vault

import (
	"context"
	"io"
	"slices"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/chunk"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// SaveSparse stores the size bytes of src as SaveStream would, but reads only what lies in data: the rest is holes, which
// are zeros. Data is sorted, without overlap, and ends within size. A source that ends early is Invalid.
func (s *Session) SaveSparse(ctx context.Context, src io.ReaderAt, size int64, data []Range) (Content, error) {
	for i, r := range data {
		if r.Start < 0 || r.End < r.Start || r.End > size || i > 0 && r.Start < data[i-1].End {
			return Content{}, failure.New(failure.Invalid, "save a sparse file", "", "the ranges of data are not sorted and apart")
		}
	}
	in := &sparseReader{src: src, size: size, data: data}
	c := &cutting{s: s, r: contextReader{ctx, in}}
	q := s.newQueue(ctx)
	err := func() error {
		var zero *object.ID
		for pos := int64(0); ; {
			// Zeros are cut as soon as may be: where a chunk begins in a hole that is long enough there is nothing to find out.
			if n := in.zeros(pos) / chunk.MinSize; n > 0 {
				if zero == nil {
					id, err := s.SaveBlob(q.ctx, object.Data, make([]byte, chunk.MinSize))
					if err != nil {
						return err
					}
					zero = &id
				}
				for range n {
					q.known(*zero, chunk.MinSize)
				}
				pos += n * chunk.MinSize
				in.pos = pos
				c.rest, c.err = c.rest[:0], nil
			}
			data, err := c.next()
			if err != nil {
				return err
			}
			pos += int64(len(data))
			if err := q.save(data); err != nil {
				return err
			}
		}
	}()
	if err == io.EOF {
		err = nil
	}
	return q.wait(err)
}

// sparseReader gives a file with holes from its start to its end.
type sparseReader struct {
	src  io.ReaderAt
	size int64
	data []Range
	pos  int64
}

// at gives the range of data that pos lies in, or the next one; behind the last one it is empty.
func (r *sparseReader) at(pos int64) Range {
	i, _ := slices.BinarySearchFunc(r.data, pos, func(d Range, pos int64) int {
		if d.End <= pos {
			return -1
		}
		return 1
	})
	if i == len(r.data) {
		return Range{r.size, r.size}
	}
	return r.data[i]
}

// zeros is how many bytes at pos need not be read.
func (r *sparseReader) zeros(pos int64) int64 { return max(0, r.at(pos).Start-pos) }

// Read reads like io.Reader.
func (r *sparseReader) Read(p []byte) (int, error) {
	if r.pos >= r.size {
		return 0, io.EOF
	}
	if n := r.zeros(r.pos); n > 0 {
		p = p[:min(int64(len(p)), n)]
		clear(p)
		r.pos += int64(len(p))
		return len(p), nil
	}
	p = p[:min(int64(len(p)), r.at(r.pos).End-r.pos)]
	n, err := r.src.ReadAt(p, r.pos)
	r.pos += int64(n)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = failure.New(failure.Invalid, "save a sparse file", "", "the source ends at byte %d, before its %d bytes", r.pos, r.size)
	}
	return n, err
}

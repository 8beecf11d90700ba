package vault

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/chunk"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Content is what a file is made of: Node.Content and Node.Size of a tree.
type Content struct {
	Blobs []object.ID // in order
	Size  uint64      // bytes
}

// DefaultBlock is the size of fixed blocks: small enough for page files, large enough for a terabyte.
const DefaultBlock = 256 << 10

// SaveStream stores what r gives until its end, cut where restic with this vault's polynomial cuts, so that each
// deduplicates against the other. An error of r is passed on.
func (s *Session) SaveStream(ctx context.Context, r io.Reader) (Content, error) {
	c := &cutting{s: s, r: contextReader{ctx, r}}
	data, err := c.next()
	if c.err == io.EOF && len(c.rest) == 0 { // one chunk or none: the many small files take no detour
		defer s.memory.putBack(data)
		if err != nil {
			return Content{}, nil
		}
		id, err := s.SaveBlob(ctx, object.Data, data)
		return Content{[]object.ID{id}, uint64(len(data))}, err
	}
	q := s.newQueue(ctx)
	for ; err == nil; data, err = c.next() {
		if err := q.save(data); err != nil {
			return q.wait(err)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return q.wait(err)
}

// A stream is read in pieces of nextRead, for what is read beyond a chunk's end must be moved; the first one is what a
// chunk has at least.
const (
	firstRead = chunk.MinSize + nextRead
	nextRead  = 128 << 10
)

// cutting reads a stream and cuts it.
type cutting struct {
	s    *Session
	r    io.Reader
	rest []byte // what was read beyond the last chunk
	err  error  // why r gives no more
}

// next gives a chunk, whose memory is the session's and the caller's from now on, or io.EOF.
func (c *cutting) next() ([]byte, error) {
	buf := append(c.s.memory.take(firstRead), c.rest...)
	c.rest = c.rest[:0]
	for searched := 0; c.err == nil; {
		want := max(firstRead, len(buf)+nextRead)
		if cap(buf) < want {
			longer := append(c.s.memory.take(want), buf...)
			c.s.memory.putBack(buf)
			buf = longer
		}
		var n int
		n, c.err = readFull(c.r, buf[len(buf):want])
		buf = buf[:len(buf)+n]
		if end := c.s.cutter.Find(buf, searched); end > 0 {
			c.rest = append(c.rest, buf[end:]...)
			return buf[:end], nil
		}
		searched = len(buf)
	}
	if c.err == io.EOF && len(buf) > 0 {
		return buf, nil
	}
	c.s.memory.putBack(buf)
	return nil, c.err
}

// readFull fills p unless r ends or fails before. Unlike io.ReadFull it does not take an unexpected end for an end.
func readFull(r io.Reader, p []byte) (int, error) {
	n := 0
	for idle := 0; n < len(p); {
		k, err := r.Read(p[n:])
		n += k
		if err != nil {
			return n, err
		}
		if idle++; k > 0 {
			idle = 0
		} else if idle == 100 {
			return n, io.ErrNoProgress
		}
	}
	return n, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Range is some bytes of a source: from Start up to, but without, End.
type Range struct{ Start, End int64 }

// FixedOptions say how a source is cut into fixed blocks, and what of it need not be read.
type FixedOptions struct {
	Block int // bytes; 0: DefaultBlock
	// Parent is the content of the same source at an earlier time, cut into blocks of the same size. A block that lies
	// wholly in Unchanged is taken from it without being read, provided that the vault still lists it with the right
	// size. The last block may be shorter and counts as unchanged only where the parent's ended at the same byte.
	Parent    Content
	Unchanged []Range // sorted, without overlap
}

// SaveFixed stores size bytes of src in blocks of one size. A source that ends early is Invalid.
func (s *Session) SaveFixed(ctx context.Context, src io.ReaderAt, size int64, o FixedOptions) (Content, error) {
	if o.Block == 0 {
		o.Block = DefaultBlock
	}
	if o.Block < 0 || o.Block > maxBlob || size < 0 {
		return Content{}, failure.New(failure.Invalid, "save blocks", "", "%d bytes in blocks of %d", size, o.Block)
	}
	for i, r := range o.Unchanged {
		if r.Start < 0 || r.End < r.Start || i > 0 && r.Start < o.Unchanged[i-1].End {
			return Content{}, failure.New(failure.Invalid, "save blocks", "", "the unchanged ranges are not sorted and apart")
		}
	}
	o.Parent.Blobs = o.Parent.Blobs[:s.uniform(o.Parent.Blobs, o.Block)]
	q := s.newQueue(ctx)
	err := func() error {
		next := 0 // of o.Unchanged
		for off := int64(0); off < size; off += int64(o.Block) {
			n := min(int64(o.Block), size-off)
			for next < len(o.Unchanged) && o.Unchanged[next].End < off+n {
				next++
			}
			if next < len(o.Unchanged) && o.Unchanged[next].Start <= off {
				if id, ok := s.unchanged(o, off, n); ok {
					q.known(id, int(n))
					continue
				}
			}
			buf := s.memory.take(int(n))
			if got, err := src.ReadAt(buf[:n], off); int64(got) < n {
				if err == nil || errors.Is(err, io.EOF) {
					err = failure.New(failure.Invalid, "save blocks", "", "the source ends at byte %d, before its %d bytes", off+int64(got), size)
				}
				return err
			}
			if err := q.save(buf[:n]); err != nil {
				return err
			}
		}
		return nil
	}()
	return q.wait(err)
}

// uniform counts the blobs, from the first on, that are stored and of one size; the one that ends them may be shorter, as
// a file's last block is. Only of these is it known where in the parent they lie.
func (s *Session) uniform(blobs []object.ID, block int) int {
	s.v.mu.RLock()
	defer s.v.mu.RUnlock()
	for i, id := range blobs {
		size, ok := s.v.index.Size(object.Handle{Type: object.Data, ID: id})
		switch {
		case !ok || int64(size) > int64(block):
			return i
		case int64(size) < int64(block):
			return i + 1
		}
	}
	return len(blobs)
}

// unchanged gives the parent's block at off, if it is n bytes long and stored.
func (s *Session) unchanged(o FixedOptions, off, n int64) (object.ID, bool) {
	i := off / int64(o.Block)
	if i >= int64(len(o.Parent.Blobs)) {
		return object.ID{}, false
	}
	id := o.Parent.Blobs[i]
	s.v.mu.RLock()
	defer s.v.mu.RUnlock()
	size, ok := s.v.index.Size(object.Handle{Type: object.Data, ID: id})
	return id, ok && int64(size) == n
}

// queue saves the blobs of one file, several at once, and keeps their order.
type queue struct {
	s     *Session
	group *errgroup.Group
	ctx   context.Context // ends with the first failure
	ids   []*object.ID
	size  uint64
}

func (s *Session) newQueue(ctx context.Context) *queue {
	q := &queue{s: s}
	q.group, q.ctx = errgroup.WithContext(ctx)
	return q
}

// save stores data, which is the queue's from now on and came from the session's memory, when a slot is free.
func (q *queue) save(data []byte) error {
	select {
	case q.s.slots <- struct{}{}:
	case <-q.ctx.Done():
		return q.ctx.Err()
	}
	id := new(object.ID)
	q.ids = append(q.ids, id)
	q.size += uint64(len(data))
	q.group.Go(func() error {
		var err error
		*id, err = q.s.SaveBlob(q.ctx, object.Data, data)
		q.s.memory.putBack(data)
		<-q.s.slots
		return err
	})
	return nil
}

// known appends a blob that is stored.
func (q *queue) known(id object.ID, size int) {
	q.ids = append(q.ids, &id)
	q.size += uint64(size)
	q.s.Known(1, int64(size))
}

// wait ends the queue. The failure of a worker explains that of the source, which was stopped by it.
func (q *queue) wait(source error) (Content, error) {
	if err := q.group.Wait(); err != nil {
		return Content{}, err
	}
	if source != nil {
		return Content{}, failure.Wrap(source, "read the source", "")
	}
	c := Content{Blobs: make([]object.ID, len(q.ids)), Size: q.size}
	for i, id := range q.ids {
		c.Blobs[i] = *id
	}
	return c, nil
}

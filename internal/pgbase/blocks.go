package pgbase

import (
	"context"
	"hash/crc32"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// file is one that is being stored, block by block.
type file struct {
	node tree.Node
	path string      // as PostgreSQL names it: base/5/1259, pg_tblspc/16500/PG_15_202209061/5/16501
	ids  []object.ID // of the blocks, each set by the worker that stores it
	crc  uint32      // CRC-32C of the content, where it passes in order
	rel  *relation   // nil: it has no pages
	src  *source     // nil: the blocks come with their content
	// old are the whole blocks that the file had in the point before. One whose pages are all from before since is the same.
	old   []object.ID
	since pgwal.LSN
}

// source is an open file whose blocks the workers read.
type source struct {
	io.ReaderAt
	left  atomic.Int64 // blocks that are not read
	close func()
}

// block is one piece of a file: its whole memory is data, which is to be filled from the file's source if it has one.
type block struct {
	f    *file
	n    int
	at   int64 // in the file
	data []byte
}

// blocks stores files' blocks, several at once. Memory is bounded by that of the buffers.
type blocks struct {
	session *vault.Session
	size    int64  // bytes of a block; the last one of a file is shorter
	pages   *pages // nil: checksums are not verified
	jobs    chan block
	free    chan []byte
	group   *errgroup.Group
	ctx     context.Context // of the workers; ends with the first failure
	mu      sync.Mutex
	open    map[*source]struct{}
	files   atomic.Int64
	bytes   atomic.Int64 // read
	same    atomic.Int64 // of them, not hashed
	unread  atomic.Int64 // not read, for they were not touched since the point before
}

// startBlocks starts the workers. The caller calls finish or abandon.
func startBlocks(ctx context.Context, s *vault.Session, size int, p *pages, workers int) *blocks {
	b := &blocks{session: s, size: int64(size), pages: p, jobs: make(chan block, workers), free: make(chan []byte, 2*workers+1), open: map[*source]struct{}{}}
	for range cap(b.free) {
		b.free <- nil // allocated when it is first needed
	}
	b.group, b.ctx = errgroup.WithContext(ctx)
	for range workers {
		b.group.Go(b.work)
	}
	return b
}

// finish waits until all is stored.
func (b *blocks) finish() error {
	close(b.jobs)
	err := b.group.Wait()
	for s := range b.open { // after a failure
		s.close()
	}
	return err
}

// abandon ends the workers because of err, and gives the reason: that of a worker which failed first, or err.
func (b *blocks) abandon(err error) error {
	b.group.Go(func() error { return err })
	return b.finish()
}

// buffer gives memory for one block.
func (b *blocks) buffer() ([]byte, error) {
	select {
	case data := <-b.free:
		if data == nil {
			data = make([]byte, b.size)
		}
		return data, nil
	case <-b.ctx.Done():
		return nil, context.Cause(b.ctx)
	}
}

// next gives the block number n of a file, with memory for its data.
func (b *blocks) next(f *file, n int) (block, error) {
	data, err := b.buffer()
	if err != nil {
		return block{}, err
	}
	at := int64(n) * b.size
	return block{f, n, at, data[:min(int64(f.node.Size)-at, b.size)]}, nil
}

// put hands a block to the workers, with the memory of its data.
func (b *blocks) put(x block) error {
	select {
	case b.jobs <- x:
		return nil
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	}
}

// work stores blocks until there are no more.
func (b *blocks) work() error {
	for x := range b.jobs {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		if err := b.one(x); err != nil {
			return err
		}
		b.bytes.Add(int64(len(x.data)))
		b.free <- x.data[:b.size]
	}
	return nil
}

func (b *blocks) one(x block) error {
	if x.f.src != nil {
		if err := x.f.src.fill(x); err != nil {
			return err
		}
	}
	sound := true
	if b.pages != nil && x.f.rel != nil {
		var err error
		if sound, err = b.pages.check(b.ctx, x); err != nil {
			return err
		}
	}
	if s := x.f.src; s != nil && s.left.Add(-1) == 0 {
		b.mu.Lock()
		delete(b.open, s)
		b.mu.Unlock()
		s.close()
	}
	if x.n < len(x.f.old) && sound && older(x.data, x.f.since) {
		x.f.ids[x.n] = x.f.old[x.n]
		b.same.Add(int64(len(x.data)))
		b.session.Known(1, int64(len(x.data)))
		return nil
	}
	id, err := b.session.SaveBlob(b.ctx, object.Data, x.data)
	x.f.ids[x.n] = id
	return err
}

// castagnoli is the polynomial of the manifest's checksums.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// from makes the workers read the file from r, which is closed when they have.
func (b *blocks) from(f *file, r io.ReaderAt, close func()) {
	f.src = &source{ReaderAt: r, close: close}
	f.src.left.Store(int64(len(f.ids)))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[f.src] = struct{}{}
}

// begin takes a file in whose size is known.
func (b *blocks) begin(f *file) {
	f.ids = make([]object.ID, (int64(f.node.Size)+b.size-1)/b.size)
	b.files.Add(1)
}

// stream stores a file whose content comes in order, and computes its CRC.
func (b *blocks) stream(f *file, r io.Reader) error {
	b.begin(f)
	for n := range f.ids {
		x, err := b.next(f, n)
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(r, x.data); err != nil {
			return err
		}
		f.crc = crc32.Update(f.crc, castagnoli, x.data)
		if err := b.put(x); err != nil {
			return err
		}
	}
	return nil
}

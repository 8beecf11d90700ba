package vault

import (
	"bufio"
	"context"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// checkBuffers are what verifying one pack needs. A pack is read as a stream: no more of it is in memory than a blob.
type checkBuffers struct {
	spanBuffers
	entries []pack.Entry
	tail    []byte
	reader  *bufio.Reader
}

// checkPack verifies one pack against what the index lists of it. The error is about the pack as a whole; the map names
// blobs that are known not to be readable.
func (c *checker) checkPack(ctx context.Context, id object.ID, size int64, b *checkBuffers) (map[index.Location]error, error) {
	if !c.index.Lists(id) {
		c.hint("pack %s is listed by no index: it was left by a writer that did not finish, or waits for a prune to remove it", id.Short())
		return nil, nil
	}
	b.entries = c.contents.Of(id, b.entries[:0])
	at := packAt{ctx, c.v.store, packHandle(id)}
	if !c.read[id] {
		return c.checkHeader(at, id, size, b.entries)
	}
	s := &packStream{b: b, at: at, size: size, sum: sha256.New()}
	s.open()
	defer s.close()
	unreadable := map[index.Location]error{}
	for _, e := range b.entries {
		if err := c.checkBlob(s, e); err != nil {
			if !damage(err) {
				return nil, err
			}
			unreadable[index.Location{Entry: e, Pack: id}] = failure.WrapAs(failure.Corrupt, err, "verify", e.Handle.String())
		}
	}
	s.finish()
	wrong, err := c.checkHeader(s, id, size, b.entries)
	if err == nil {
		err = s.err
	}
	if err != nil && !damage(err) {
		return nil, err
	}
	for l, e := range unreadable {
		if wrong == nil {
			wrong = unreadable
		}
		if wrong[l] == nil {
			wrong[l] = e
		}
	}
	if got := object.ID(s.sum.Sum(nil)); err == nil && got != id {
		err = failure.New(failure.Corrupt, "verify", packHandle(id).String(), "its bytes have another SHA-256: %s", got.Short())
	}
	return wrong, err
}

// checkBlob reads and verifies one blob, in the stream's turn if that is still to come.
func (c *checker) checkBlob(s *packStream, e pack.Entry) error {
	if end := int64(e.Offset) + int64(e.Length); end > s.size {
		return failure.New(failure.Corrupt, "read", "", "it lies beyond the pack's end")
	}
	s.b.sealed = withRoom(s.b.sealed, int(e.Length))
	sealed := s.b.sealed[:e.Length]
	if !s.next(sealed, int64(e.Offset)) {
		if _, err := s.at.ReadAt(sealed, int64(e.Offset)); err != nil {
			return err
		}
	}
	if e.PlainLength <= 2*maxSpan {
		s.b.plain = withRoom(s.b.plain, int(e.PlainLength))
	}
	_, err := c.v.openBlob(sealed, e, s.b.plain)
	s.b.trim()
	return err
}

// keptTail is how much of what follows the blobs is kept, so that the header need not be read again; a longer one is.
const keptTail = 1 << 20

// packStream reads a pack once, from its start to its end, and sums what it reads.
type packStream struct {
	b    *checkBuffers
	at   packAt
	size int64
	sum  hash.Hash

	from io.ReadCloser
	pos  int64
	tail int64 // where b.tail begins
	err  error // why the stream ended early
}

func (s *packStream) open() {
	s.tail = s.size
	if s.size == 0 {
		return
	}
	if s.from, s.err = s.at.store.Load(s.at.ctx, s.at.h, 0, s.size); s.err != nil {
		return
	}
	if s.b.reader == nil {
		s.b.reader = bufio.NewReaderSize(nil, 64<<10)
	}
	s.b.reader.Reset(s.from)
}

func (s *packStream) close() {
	if s.from == nil {
		return
	}
	s.b.reader.Reset(nil)
	if err := s.from.Close(); err != nil && s.err == nil {
		s.err = err
	}
}

// next fills p from off on, unless the stream is beyond that or has ended.
func (s *packStream) next(p []byte, off int64) bool {
	if s.err != nil || off < s.pos {
		return false
	}
	s.skip(off)
	return s.read(p)
}

func (s *packStream) read(p []byte) bool {
	if s.err == nil {
		var n int
		n, s.err = io.ReadFull(s.b.reader, p)
		s.pos += int64(n)
		s.sum.Write(p[:n])
	}
	return s.err == nil
}

// skip reads on to off.
func (s *packStream) skip(off int64) {
	if s.err == nil && off > s.pos {
		var n int64
		n, s.err = io.CopyN(s.sum, s.b.reader, off-s.pos)
		s.pos += n
	}
}

// finish reads what is left, which is the header, and keeps it.
func (s *packStream) finish() {
	s.skip(max(s.pos, s.size-keptTail))
	if n := int(s.size - s.pos); cap(s.b.tail) < n {
		s.b.tail = make([]byte, n)
	}
	start := s.pos
	s.b.tail = s.b.tail[:s.size-s.pos]
	if s.read(s.b.tail) {
		s.tail = start
	}
}

// ReadAt gives what was kept, and reads the rest.
func (s *packStream) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.tail && off+int64(len(p)) <= s.size {
		return copy(p, s.b.tail[off-s.tail:]), nil
	}
	return s.at.ReadAt(p, off)
}

// checkHeader compares the pack's own list of blobs with the index's, which is sorted by offset. Blobs that only the pack
// lists are harmless.
func (c *checker) checkHeader(r io.ReaderAt, id object.ID, size int64, listed []pack.Entry) (map[index.Location]error, error) {
	entries, err := pack.ReadHeader(r, size, c.v.key)
	if err != nil {
		return nil, failure.Wrap(err, "check", packHandle(id).String())
	}
	var wrong map[index.Location]error
	for _, e := range listed {
		for len(entries) > 0 && entries[0].Offset < e.Offset {
			entries = entries[1:]
		}
		if len(entries) > 0 && entries[0] == e {
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

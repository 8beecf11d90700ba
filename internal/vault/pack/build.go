package pack

import (
	"crypto/sha256"
	"encoding/binary"
	"io"

	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// pieceSize is how much memory a pack takes at a time.
const pieceSize = 1 << 20

// Memory lends packs what they are built in, and takes it back. Packs that are open, full or on their way share it, so
// that each takes only what is in it. It may be used by several goroutines at once.
type Memory struct{ free chan []byte }

// NewMemory gives a Memory that keeps up to n bytes for the next pack; what is needed beyond is the garbage collector's.
func NewMemory(n int) *Memory { return &Memory{make(chan []byte, max(1, n/pieceSize))} }

func (m *Memory) take() []byte {
	select {
	case p := <-m.free:
		return p
	default:
		return make([]byte, 0, pieceSize)
	}
}

func (m *Memory) giveBack(pieces [][]byte) {
	for _, p := range pieces {
		select {
		case m.free <- p[:0]:
		default:
			return
		}
	}
}

// content is bytes in pieces, all full but the last.
type content struct {
	memory *Memory
	pieces [][]byte
	size   int
}

func (c *content) write(b []byte) {
	c.size += len(b)
	for len(b) > 0 {
		last := len(c.pieces) - 1
		if last < 0 || len(c.pieces[last]) == pieceSize {
			c.pieces = append(c.pieces, c.memory.take())
			last++
		}
		p := c.pieces[last]
		n := min(len(b), pieceSize-len(p))
		c.pieces[last] = append(p, b[:n]...)
		b = b[n:]
	}
}

// Builder collects sealed blobs. It belongs to one goroutine at a time.
type Builder struct {
	content content
	entries []Entry
	header  int // what the header takes so far
}

// NewBuilder starts a pack. Its memory comes from m.
func NewBuilder(m *Memory) *Builder {
	return &Builder{content: content{memory: m}, header: crypto.Overhead + lengthSize}
}

// Add appends a sealed blob; plainLength is 0 for one that is not compressed. The bytes are copied. The caller sees to
// it that there is Room.
func (b *Builder) Add(h object.Handle, sealed []byte, plainLength uint32) {
	e := Entry{h, uint32(b.content.size), uint32(len(sealed)), plainLength}
	b.entries = append(b.entries, e)
	b.header += entrySize(e)
	b.content.write(sealed)
}

// Size is how many bytes of blobs there are.
func (b *Builder) Size() int { return b.content.size }

// Count is how many blobs there are.
func (b *Builder) Count() int { return len(b.entries) }

// Room reports whether a blob of n sealed bytes still fits: into 32-bit offsets, and its entry into a header that
// restic reads.
func (b *Builder) Room(n int) bool {
	header := b.header + packedEntrySize
	return header <= maxHeader && int64(b.content.size)+int64(n)+int64(header) <= MaxSize
}

// Finish seals the header behind the blobs and gives the whole file. The builder is spent.
func (b *Builder) Finish(key *crypto.Key) *File {
	plain := make([]byte, 0, b.header)
	for _, e := range b.entries {
		plain = appendEntry(plain, e)
	}
	header := key.Seal(nil, plain)
	b.content.write(binary.LittleEndian.AppendUint32(header, uint32(len(header))))
	f := &File{Entries: b.entries, content: b.content}
	sum := sha256.New()
	for _, p := range f.content.pieces {
		sum.Write(p)
	}
	sum.Sum(f.ID[:0])
	return f
}

// File is a finished pack. It may be read by several goroutines at once, until it is released.
type File struct {
	ID      object.ID
	Entries []Entry

	content content
}

// Size is the length of the file, in bytes.
func (f *File) Size() int64 { return int64(f.content.size) }

// ReadAt reads like io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, corrupt("the offset %d is negative", off)
	}
	n := 0
	for n < len(p) && off < f.Size() {
		piece := f.content.pieces[off/pieceSize]
		k := copy(p[n:], piece[off%pieceSize:])
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Release gives the memory back. The file must not be read from then on.
func (f *File) Release() {
	f.content.memory.giveBack(f.content.pieces)
	f.content.pieces, f.content.size = nil, 0
}

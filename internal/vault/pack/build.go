package pack

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// pieceSize is how much memory a pack takes at a time, and how much is written to a file at once.
const pieceSize = 1 << 20

// Space is where packs are built. It lends them memory or temporary files, and takes these back. It may be used by
// several goroutines at once.
type Space struct {
	dir    string
	pieces chan []byte
	files  chan *os.File
}

// NewSpace gives a Space. Packs are built in temporary files in dir, which have no names and go with the process; they
// are encrypted like what they become. With an empty dir, or where no file can be made, packs are built in memory. Up to
// n bytes of memory are kept for the next pack; what is needed beyond is the garbage collector's.
func NewSpace(n int, dir string) *Space {
	return &Space{dir, make(chan []byte, max(1, n/pieceSize)), make(chan *os.File, 16)}
}

// Close gives the files up. Nothing is being built any more.
func (s *Space) Close() {
	for {
		select {
		case f := <-s.files:
			f.Close() // it has no name, and nobody needs what is in it
		default:
			return
		}
	}
}

func (s *Space) piece() []byte {
	select {
	case p := <-s.pieces:
		return p
	default:
		return make([]byte, 0, pieceSize)
	}
}

// file gives an empty file, or nil: then memory has to do.
func (s *Space) file() *os.File {
	select {
	case f := <-s.files:
		return f
	default:
	}
	if s.dir == "" {
		return nil
	}
	f, err := os.CreateTemp(s.dir, "lifeboat-pack-")
	if err != nil {
		return nil
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil
	}
	return f
}

func (s *Space) giveBack(c *content) {
	for _, p := range c.pieces {
		select {
		case s.pieces <- p[:0]:
		default:
		}
	}
	if c.file == nil {
		return
	}
	select {
	case s.files <- c.file:
	default:
		c.file.Close()
	}
}

// content is the bytes of a pack: the first of them in a file, when there is one, the others in pieces of memory, all
// full but the last.
type content struct {
	space  *Space
	file   *os.File
	inFile int
	pieces [][]byte
	size   int
	err    error // of the file
}

func (c *content) write(b []byte) {
	c.size += len(b)
	for len(b) > 0 {
		last := len(c.pieces) - 1
		if last >= 0 && len(c.pieces[last]) == pieceSize {
			c.spill()
			last = len(c.pieces) - 1
		}
		if last < 0 || len(c.pieces[last]) == pieceSize {
			c.pieces = append(c.pieces, c.space.piece())
			last++
		}
		p := c.pieces[last]
		n := min(len(b), pieceSize-len(p))
		c.pieces[last] = append(p, b[:n]...)
		b = b[n:]
	}
}

// spill writes a full piece to the file, if there is one.
func (c *content) spill() {
	if c.file == nil && c.inFile == 0 && len(c.pieces) == 1 {
		c.file = c.space.file()
	}
	if c.file == nil || c.err != nil {
		return
	}
	n, err := c.file.WriteAt(c.pieces[0], int64(c.inFile))
	if err != nil {
		c.err = failure.WrapAs(failure.Unavailable, err, "collect a pack in", c.space.dir).
			WithHint("make room there, or name another folder with TMPDIR")
		return
	}
	c.inFile += n
	c.pieces[0] = c.pieces[0][:0]
}

// readAt fills p from off on; there is as much.
func (c *content) readAt(p []byte, off int64) error {
	if n := min(int64(len(p)), int64(c.inFile)-off); n > 0 {
		if _, err := c.file.ReadAt(p[:n], off); err != nil {
			return failure.WrapAs(failure.Unavailable, err, "read what was collected in", c.space.dir)
		}
		p, off = p[n:], off+n
	}
	off -= int64(c.inFile)
	for len(p) > 0 {
		n := copy(p, c.pieces[off/pieceSize][off%pieceSize:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// Builder collects sealed blobs. It belongs to one goroutine at a time.
type Builder struct {
	content content
	entries []Entry
	header  int // what the header takes so far
}

// NewBuilder starts a pack in s.
func NewBuilder(s *Space) *Builder {
	return &Builder{content: content{space: s}, header: crypto.Overhead + lengthSize}
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

// Finish seals the header behind the blobs and gives the whole file. The builder is spent. Unavailable: the temporary
// file could not be written or read.
func (b *Builder) Finish(key *crypto.Key) (*File, error) {
	plain := make([]byte, 0, b.header)
	for _, e := range b.entries {
		plain = appendEntry(plain, e)
	}
	header := key.Seal(nil, plain)
	b.content.write(binary.LittleEndian.AppendUint32(header, uint32(len(header))))
	f := &File{Entries: b.entries, content: b.content}
	if err := f.content.err; err != nil {
		f.Release()
		return nil, err
	}
	sum, piece := sha256.New(), b.content.space.piece()
	defer func() { b.content.space.giveBack(&content{pieces: [][]byte{piece}}) }()
	for off := int64(0); off < f.Size(); off += pieceSize {
		part := piece[:min(pieceSize, f.Size()-off)]
		if err := f.content.readAt(part, off); err != nil {
			f.Release()
			return nil, err
		}
		sum.Write(part)
	}
	sum.Sum(f.ID[:0])
	return f, nil
}

// Discard gives the space of a pack back that is not to be finished.
func (b *Builder) Discard() { (&File{content: b.content}).Release() }

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
	n := int(max(0, min(int64(len(p)), f.Size()-off)))
	if err := f.content.readAt(p[:n], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Release gives the space back. The file must not be read from then on.
func (f *File) Release() {
	f.content.space.giveBack(&f.content)
	f.content = content{space: f.content.space}
}

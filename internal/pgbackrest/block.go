package pgbackrest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"io"
	"math"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// A block-incremental file (pgBackRest 2.46 and later) lies in pieces that several backups hold. Blocks of one size are
// put together to super blocks, each compressed and encrypted by itself; a map says for each block in which super block
// of which backup it lies, and at which place there. The map follows the file's newest super blocks. It is a list of
// references to backups, each with a list of super blocks, each with a list of blocks, all in numbers of base 128 whose
// lowest bits are flags (src/command/backup/blockMap.c).
const (
	blockExt = ".pgbi"

	flagLast         = 1 // of the references, or of the super blocks of one
	flagBundle       = 2 // of a reference that comes for the first time: a bundle's number follows
	flagContinue     = 2 // of one that came before: its last super block goes on
	flagOffset       = 4 // of a reference: an offset follows
	flagContinueLast = 4 // of one that goes on: nothing follows its super block
	flagSuperChange  = 2 // of a super block: its size before compression follows
	flagSuperPart    = 4 // of a super block: how many blocks of it follow
	flagSuperRest    = 1 // of a size: what is beyond whole blocks follows
	flagPartOffset   = 1 // of a count: how many blocks are passed over follows
	shiftReference   = 3
	shiftSuper       = 3
	shiftSuperSize   = 1
	shiftCount       = 1
	superMax         = 1 << 30 // bytes of a super block
	blocksMax        = 1 << 32
)

// block says where one block of a file lies.
type block struct {
	reference uint64 // counts the manifest's references
	bundle    int64
	offset    int64 // of its super block
	stored    int64 // bytes of that, as it lies there
	super     int64 // bytes of that, before compression
	index     int64 // in that
}

// place is what is known of a reference while a map is read.
type place struct {
	bundle, offset, stored, super, next int64
}

// errMap is a map that cannot be.
func errMap(what string) error {
	return failure.New(failure.Corrupt, "understand", "the block map", "%s", what)
}

// mapReader reads a map. The first error ends it.
type mapReader struct {
	src                            *bufio.Reader
	blockSize, checksumSize, count int64
	places                         map[uint64]*place // by reference
	last                           int64             // stored bytes of the super block before
	all                            []block
	err                            error
}

func (m *mapReader) fail(what string) {
	if m.err == nil {
		m.err = errMap(what)
	}
}

func (m *mapReader) number() uint64 {
	if m.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(m.src)
	if err != nil {
		m.fail("it ends early, or holds no number")
		return 0
	}
	return n
}

// size is a number that counts bytes or blocks.
func (m *mapReader) size() int64 {
	n := m.number()
	if n > math.MaxInt64/4 {
		m.fail("a number in it is beyond all bounds")
		return 0
	}
	return int64(n)
}

// readMap reads a map of count blocks.
func readMap(src io.Reader, blockSize, checksumSize, count int64) ([]block, error) {
	m := &mapReader{src: bufio.NewReader(src), blockSize: blockSize, checksumSize: checksumSize, count: count, places: map[uint64]*place{}}
	if m.number()&1 != 0 {
		return nil, failure.New(failure.Unsupported, "understand", "the block map", "it is of a newer version")
	}
	for last := false; !last && m.err == nil; {
		last = m.reference()
	}
	if int64(len(m.all)) != count {
		m.fail("it has fewer blocks than the file")
	}
	return m.all, m.err
}

// reference reads a reference and its super blocks, and gives whether it was the last one.
func (m *mapReader) reference() (last bool) {
	flags := m.number()
	id := flags >> shiftReference
	p, again := m.places[id]
	switch {
	case !again:
		p = &place{super: m.blockSize}
		m.places[id] = p
		if flags&flagBundle != 0 {
			p.bundle = m.size()
		}
		if flags&flagOffset != 0 {
			p.offset = m.size()
		}
	case flags&flagContinue != 0:
		m.blocks(id, p, flagSuperPart)
		if flags&flagContinueLast != 0 {
			return flags&flagLast != 0
		}
		p.offset += p.stored
	default:
		p.offset += p.stored
		if flags&flagOffset != 0 {
			p.offset += m.size()
		}
	}
	for m.err == nil {
		super := m.number()
		m.superBlock(p, super)
		m.blocks(id, p, super)
		if super&flagLast != 0 {
			break
		}
		p.offset += p.stored
	}
	return flags&flagLast != 0
}

// superBlock reads the sizes of a super block that begins at the place's offset.
func (m *mapReader) superBlock(p *place, flags uint64) {
	p.stored = int64(flags >> shiftSuper)
	if m.last != 0 { // it is the difference from the one before, with the sign in the lowest bit
		p.stored = p.stored>>1 ^ -(p.stored & 1) + m.last
	}
	if flags&flagSuperChange != 0 {
		size := m.number()
		p.super = 0
		if whole := size >> shiftSuperSize; whole <= superMax/uint64(m.blockSize) {
			p.super = int64(whole) * m.blockSize
		} else {
			m.fail("a super block is beyond all bounds")
		}
		if size&flagSuperRest != 0 {
			p.super += m.size()
		}
	}
	p.next = 0
}

// blocks reads which blocks of a super block the file has next.
func (m *mapReader) blocks(id uint64, p *place, flags uint64) {
	m.last = p.stored
	if p.stored < 1 || p.stored > 2*superMax || p.super < 1 || p.super > superMax || p.offset > math.MaxInt64/4 {
		m.fail("the sizes of a super block cannot be")
	}
	most := (p.super + m.blockSize - 1) / m.blockSize
	total := most
	if flags&flagSuperPart != 0 {
		part := m.number()
		total = int64(min(part>>shiftCount, math.MaxInt32)) + 1
		if part&flagPartOffset != 0 {
			p.next += m.size()
		}
	}
	if total > m.count-int64(len(m.all)) || p.next+total > most {
		m.fail("it has more blocks than the file")
	}
	for n := int64(0); n < total && m.err == nil; n++ {
		if _, err := m.src.Discard(int(m.checksumSize)); err != nil {
			m.fail("it ends early")
			return
		}
		m.all = append(m.all, block{reference: id, bundle: p.bundle, offset: p.offset, stored: p.stored, super: p.super, index: p.next})
		p.next++
	}
}

// openBlocks gives the content of a block-incremental file.
func (r *Repo) openBlocks(ctx context.Context, m *Manifest, f *File, label string) (io.ReadCloser, error) {
	p := r.filePath(label, f, blockExt)
	src, err := r.open(ctx, source{path: p, offset: f.offset + f.stored - f.mapSize, length: f.mapSize, pass: m.pass, compression: None, raw: true})
	if err != nil {
		return nil, r.inFile(err, f, p)
	}
	blocks, err := readMap(src, f.blockSize, f.blockChecksum, (f.Size+f.blockSize-1)/f.blockSize)
	if closeErr := src.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, r.inFile(damaged(err), f, p)
	}
	b := &blockReader{ctx: ctx, repo: r, m: m, f: f, blocks: blocks, supers: map[uint64]*super{}}
	return &verified{Reader: b, close: func() error { return nil }, sum: sha1.New(), want: f.SHA1, size: f.Size,
		fail: func(err error) error { return r.inFile(err, f, p) }}, nil
}

// blockReader puts a file together. It is one call of OpenFile, and lives no longer than that one's context.
type blockReader struct {
	ctx    context.Context
	repo   *Repo
	m      *Manifest
	f      *File
	blocks []block
	supers map[uint64]*super // the last one of each reference, for it may go on after others
	left   []byte
}

// super is a super block's content.
type super struct {
	offset int64
	data   []byte
}

// Read reads on.
func (b *blockReader) Read(p []byte) (int, error) {
	for len(b.left) == 0 {
		if len(b.blocks) == 0 {
			return 0, io.EOF
		}
		next := b.blocks[0]
		data, err := b.super(next)
		if err != nil {
			return 0, err
		}
		from := next.index * b.f.blockSize
		if from >= int64(len(data)) {
			return 0, errMap("a block lies beyond its super block")
		}
		b.left, b.blocks = data[from:min(from+b.f.blockSize, int64(len(data)))], b.blocks[1:]
	}
	n := copy(p, b.left)
	b.left = b.left[n:]
	return n, nil
}

// super gives the super block that x lies in.
func (b *blockReader) super(x block) ([]byte, error) {
	if s := b.supers[x.reference]; s != nil && s.offset == x.offset {
		return s.data, nil
	}
	if x.reference >= uint64(len(b.m.references)) || !labels.MatchString(b.m.references[x.reference]) {
		return nil, errMap("it names a backup that the manifest does not")
	}
	f := *b.f
	f.bundle = x.bundle
	p := b.repo.filePath(b.m.references[x.reference], &f, blockExt)
	src, err := b.repo.open(b.ctx, source{path: p, offset: x.offset, length: x.stored, pass: b.m.pass, compression: b.m.Compression, raw: true})
	if err != nil {
		return nil, failure.Wrap(err, "read blocks from", b.repo.subject(p))
	}
	defer src.Close()
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(src, x.super+1)); err != nil {
		return nil, failure.Wrap(damaged(err), "read blocks from", b.repo.subject(p))
	}
	if int64(data.Len()) != x.super {
		return nil, failure.New(failure.Corrupt, "read blocks from", b.repo.subject(p), "a super block has %d bytes instead of %d", data.Len(), x.super)
	}
	b.supers[x.reference] = &super{x.offset, data.Bytes()}
	return data.Bytes(), nil
}

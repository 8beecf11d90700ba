// Package pack builds and reads pack files: sealed blobs one after the other, a sealed header that lists them, and the
// header's length.
//
// It works in memory and knows no store; compression and hashing of blobs are the caller's. Start with [Builder] to
// write and [ReadHeader] to read.
package pack

import (
	"encoding/binary"
	"io"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

const (
	lengthSize      = 4
	plainEntrySize  = 1 + 4 + 32
	packedEntrySize = plainEntrySize + 4
	maxHeader       = 16 << 20 // restic reads no longer one
	minFile         = plainEntrySize + crypto.Overhead + lengthSize

	// MaxSize is how long a pack can be: offsets have 32 bits.
	MaxSize = 1<<32 - 1
	// eagerRead is how much of a pack's end is read at first, in the hope that the header is within.
	eagerRead = 16 << 10
)

// Entry is one blob in a pack. Length is that of the sealed bytes; PlainLength that of the blob before compression, and
// 0 when it is stored uncompressed.
type Entry struct {
	object.Handle
	Offset      uint32
	Length      uint32
	PlainLength uint32
}

// Size is the length of the blob's content, in bytes.
func (e Entry) Size() uint32 {
	if e.PlainLength != 0 || e.Length < crypto.Overhead {
		return e.PlainLength
	}
	return e.Length - crypto.Overhead
}

func appendEntry(to []byte, e Entry) []byte {
	kind := byte(e.Type)
	if e.PlainLength != 0 {
		kind += 2
	}
	to = binary.LittleEndian.AppendUint32(append(to, kind), e.Length)
	if e.PlainLength != 0 {
		to = binary.LittleEndian.AppendUint32(to, e.PlainLength)
	}
	return append(to, e.ID[:]...)
}

// HeaderSize is what the header of a pack with these blobs takes at the end of the file, its length included.
func HeaderSize(entries []Entry) int {
	n := crypto.Overhead + lengthSize
	for _, e := range entries {
		n += entrySize(e)
	}
	return n
}

func entrySize(e Entry) int {
	if e.PlainLength != 0 {
		return packedEntrySize
	}
	return plainEntrySize
}

// ParseHeader decodes the plaintext of a header. What no writer of the format writes is Corrupt.
func ParseHeader(plain []byte) ([]Entry, error) {
	entries := make([]Entry, 0, len(plain)/plainEntrySize)
	offset := uint64(0)
	for len(plain) > 0 {
		kind, size := plain[0], plainEntrySize
		if kind > 3 {
			return nil, corrupt("its header has a blob of the unknown type %d", kind)
		}
		if kind >= 2 {
			size = packedEntrySize
		}
		if len(plain) < size {
			return nil, corrupt("its header ends within an entry")
		}
		e := Entry{Offset: uint32(offset), Length: binary.LittleEndian.Uint32(plain[1:])}
		e.Type = object.Type(kind & 1)
		if kind >= 2 {
			if e.PlainLength = binary.LittleEndian.Uint32(plain[5:]); e.PlainLength == 0 {
				return nil, corrupt("its header has a compressed blob without a length")
			}
		}
		copy(e.ID[:], plain[size-32:])
		if e.Length < crypto.Overhead {
			return nil, corrupt("its header has a blob of %d bytes", e.Length)
		}
		if offset += uint64(e.Length); offset > MaxSize {
			return nil, corrupt("its header lists more than a pack can hold")
		}
		entries = append(entries, e)
		plain = plain[size:]
	}
	return entries, nil
}

// ReadHeader reads the list of blobs from the end of a pack of size bytes, with as few reads as it takes: one for most.
// A pack whose blobs and header do not add up to size is Corrupt; errors of r are passed on.
func ReadHeader(r io.ReaderAt, size int64, key *crypto.Key) ([]Entry, error) {
	if size < minFile || size > MaxSize {
		return nil, corrupt("%d bytes are no pack", size)
	}
	tail := make([]byte, min(size, eagerRead))
	if err := readAt(r, tail, size-int64(len(tail))); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(tail[len(tail)-lengthSize:]))
	if length < crypto.Overhead+plainEntrySize || length > size-lengthSize || length > maxHeader {
		return nil, corrupt("it says that its header has %d bytes", length)
	}
	if whole := length + lengthSize; whole > int64(len(tail)) {
		tail = make([]byte, whole)
		if err := readAt(r, tail, size-whole); err != nil {
			return nil, err
		}
	}
	plain, err := key.Open(tail[int64(len(tail))-lengthSize-length : len(tail)-lengthSize])
	if err != nil {
		return nil, failure.Wrap(err, "read a pack's header", "")
	}
	entries, err := ParseHeader(plain)
	if err != nil {
		return nil, err
	}
	last := entries[len(entries)-1]
	if sum := int64(last.Offset) + int64(last.Length) + length + lengthSize; sum != size {
		return nil, corrupt("it has %d bytes, its header speaks of %d", size, sum)
	}
	return entries, nil
}

func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return corrupt("it ends before its header does")
	}
	return err
}

func corrupt(format string, args ...any) error {
	return failure.New(failure.Corrupt, "read a pack", "", format, args...)
}

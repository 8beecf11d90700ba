package index

import (
	"encoding/json"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// MaxBlobs is how many blobs one index file lists before the next is begun, as with restic.
const MaxBlobs = 50_000

// Pack is one pack in an index file.
type Pack struct {
	ID      object.ID
	Entries []pack.Entry
}

// liberal is a blob, with what must be there and may not be.
type liberal struct {
	ID          *object.ID   `json:"id"`
	Type        *object.Type `json:"type"`
	Offset      uint32       `json:"offset"`
	Length      uint32       `json:"length"`
	PlainLength uint32       `json:"uncompressed_length"`
}

// Parse reads an index file, decrypted and decompressed. Unknown fields are passed over (they steer nothing that is
// read here); what cannot be a blob is Corrupt.
func Parse(data []byte) ([]Pack, error) {
	if packs, ok := parse(data); ok {
		return packs, nil
	}
	return parseAny(data)
}

// parseAny reads an index file by package encoding/json.
func parseAny(data []byte) ([]Pack, error) {
	var f struct {
		Packs []struct {
			ID    *object.ID `json:"id"`
			Blobs []liberal  `json:"blobs"`
		} `json:"packs"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read an index", "")
	}
	packs := make([]Pack, 0, len(f.Packs))
	for _, p := range f.Packs {
		if p.ID == nil {
			return nil, corrupt("a pack has no id")
		}
		entries := make([]pack.Entry, 0, len(p.Blobs))
		for _, b := range p.Blobs {
			if b.ID == nil || b.Type == nil {
				return nil, corrupt("a blob of pack %s has no id or no type", p.ID.Short())
			}
			if b.Length < crypto.Overhead || uint64(b.Offset)+uint64(b.Length) > pack.MaxSize {
				return nil, corrupt("blob %s of pack %s cannot lie at %d with length %d", b.ID.Short(), p.ID.Short(), b.Offset, b.Length)
			}
			entries = append(entries, pack.Entry{Handle: object.Handle{Type: *b.Type, ID: *b.ID}, Offset: b.Offset, Length: b.Length, PlainLength: b.PlainLength})
		}
		packs = append(packs, Pack{*p.ID, entries})
	}
	return packs, nil
}

// Encode writes an index file, to be compressed and encrypted. A blob of a type that there is not is Invalid.
func Encode(packs []Pack) ([]byte, error) {
	blobs := 0
	for _, p := range packs {
		for _, e := range p.Entries {
			if e.Type > object.Tree {
				return nil, failure.New(failure.Invalid, "write an index", "", "blob %s has the unknown type %d", e.ID.Short(), uint8(e.Type))
			}
		}
		blobs += len(p.Entries)
	}
	text := append(make([]byte, 0, 100*len(packs)+160*blobs+16), `{"packs":[`...)
	for i, p := range packs {
		if i > 0 {
			text = append(text, ',')
		}
		text = appendPack(text, p)
	}
	return append(text, "]}"...), nil
}

func corrupt(format string, args ...any) error {
	return failure.New(failure.Corrupt, "read an index", "", format, args...)
}

package index

import (
	"bytes"
	"strconv"

	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// parse reads an index file as writers put it, or gives false: then package encoding/json finds out what it is.
func parse(data []byte) ([]Pack, bool) {
	p := object.Parser{Data: bytes.TrimRight(data, "\n")}
	if !p.Token(`{"packs":[`) {
		return nil, false
	}
	packs := []Pack{}
	if p.Token("]}") {
		return packs, p.End()
	}
	for {
		one, ok := parsePack(&p)
		if !ok {
			return nil, false
		}
		packs = append(packs, one)
		if p.Token("]}") {
			return packs, p.End()
		}
		if !p.Token(",") {
			return nil, false
		}
	}
}

func parsePack(p *object.Parser) (one Pack, ok bool) {
	if !p.Token(`{"id":`) {
		return one, false
	}
	if one.ID, ok = p.ID(); !ok || !p.Token(`,"blobs":[`) {
		return one, false
	}
	// Counting first keeps millions of entries from being copied while they come in.
	end := bytes.IndexByte(p.Data[p.Pos:], ']')
	if end < 0 {
		return one, false
	}
	one.Entries = make([]pack.Entry, 0, bytes.Count(p.Data[p.Pos:p.Pos+end], []byte("{")))
	if p.Token("]}") {
		return one, true
	}
	for {
		e, ok := parseEntry(p)
		if !ok {
			return one, false
		}
		one.Entries = append(one.Entries, e)
		if p.Token("]}") {
			return one, true
		}
		if !p.Token(",") {
			return one, false
		}
	}
}

func parseEntry(p *object.Parser) (e pack.Entry, ok bool) {
	if !p.Token(`{"id":`) {
		return e, false
	}
	if e.ID, ok = p.ID(); !ok {
		return e, false
	}
	switch {
	case p.Token(`,"type":"data"`):
	case p.Token(`,"type":"tree"`):
		e.Type = object.Tree
	default:
		return e, false
	}
	if e.Offset, ok = number(p, `,"offset":`); !ok {
		return e, false
	}
	if e.Length, ok = number(p, `,"length":`); !ok || e.Length < crypto.Overhead || uint64(e.Offset)+uint64(e.Length) > pack.MaxSize {
		return e, false
	}
	if p.Token("}") {
		return e, true
	}
	e.PlainLength, ok = number(p, `,"uncompressed_length":`)
	return e, ok && p.Token("}")
}

// number reads a member of 32 bits.
func number(p *object.Parser, name string) (uint32, bool) {
	if !p.Token(name) {
		return 0, false
	}
	v, ok := p.Number(32)
	return uint32(v), ok
}

// appendPack appends what an index file says of a pack.
func appendPack(dst []byte, p Pack) []byte {
	dst = append(p.ID.AppendJSON(append(dst, `{"id":`...)), `,"blobs":[`...)
	for i, e := range p.Entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.ID.AppendJSON(append(dst, `{"id":`...))
		dst = append(append(append(dst, `,"type":"`...), e.Type.String()...), `","offset":`...)
		dst = strconv.AppendUint(dst, uint64(e.Offset), 10)
		dst = strconv.AppendUint(append(dst, `,"length":`...), uint64(e.Length), 10)
		if e.PlainLength != 0 {
			dst = strconv.AppendUint(append(dst, `,"uncompressed_length":`...), uint64(e.PlainLength), 10)
		}
		dst = append(dst, '}')
	}
	return append(dst, "]}"...)
}

package object

import (
	"bytes"
	"encoding/hex"
	"strconv"
)

// Parser reads JSON as all writers of vaults put it: without white space, nulls and needless escapes. Trees and indexes
// are most of what a vault's metadata are, and package encoding/json takes several times as long for them. Each method
// gives false for what it does not understand, right or wrong; who uses it then leaves the whole text to that package.
type Parser struct {
	Data []byte
	Pos  int
}

// Token passes over s, if it comes next.
func (p *Parser) Token(s string) bool {
	if len(p.Data)-p.Pos < len(s) || string(p.Data[p.Pos:p.Pos+len(s)]) != s {
		return false
	}
	p.Pos += len(s)
	return true
}

// End reports whether nothing comes any more.
func (p *Parser) End() bool { return p.Pos == len(p.Data) }

// Plain reads a string of printable ASCII without escapes. The bytes are those of Data.
func (p *Parser) Plain() ([]byte, bool) {
	if !p.Token(`"`) {
		return nil, false
	}
	end := bytes.IndexByte(p.Data[p.Pos:], '"')
	if end < 0 {
		return nil, false
	}
	s := p.Data[p.Pos : p.Pos+end]
	for _, c := range s {
		if c < ' ' || c > '~' || c == '\\' {
			return nil, false
		}
	}
	p.Pos += end + 1
	return s, true
}

// Number reads a whole number without a sign, of so many bits.
func (p *Parser) Number(bits int) (uint64, bool) {
	start := p.Pos
	for p.Pos < len(p.Data) && '0' <= p.Data[p.Pos] && p.Data[p.Pos] <= '9' {
		p.Pos++
	}
	digits := p.Data[start:p.Pos]
	if len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(digits), 10, bits)
	return v, err == nil
}

// ID reads an id.
func (p *Parser) ID() (ID, bool) {
	var id ID
	s, ok := p.Plain()
	if !ok || len(s) != hex.EncodedLen(len(id)) {
		return id, false
	}
	for _, c := range s {
		if 'A' <= c && c <= 'F' {
			return id, false
		}
	}
	_, err := hex.Decode(id[:], s)
	return id, err == nil
}

// AppendJSON appends the id as a JSON string.
func (id ID) AppendJSON(dst []byte) []byte {
	return append(hex.AppendEncode(append(dst, '"'), id[:]), '"')
}

// Package object names what a vault stores: the ids of files and blobs, and the two types of blob.
//
// It holds no bytes and no keys. Everything here follows restic's repository format (doc/design.rst in restic's
// repository). Start with [Hash] and [ParseID].
package object

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// ID is the SHA-256 of what it names: of a file's bytes as they are stored, or of a blob's bytes before compression and
// encryption.
type ID [sha256.Size]byte

// Hash gives the id of data.
func Hash(data []byte) ID { return sha256.Sum256(data) }

// ParseID reads an id written as 64 lower-case hexadecimal digits. Anything else is Invalid.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != hex.EncodedLen(len(id)) || strings.ToLower(text) != text {
		return ID{}, failure.New(failure.Invalid, "read an id", "", "%q is not 64 lower-case hexadecimal digits", clip(text))
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return ID{}, failure.New(failure.Invalid, "read an id", "", "%q is not 64 lower-case hexadecimal digits", clip(text))
	}
	return id, nil
}

func clip(text string) string {
	if len(text) > 80 {
		return text[:80] + "…"
	}
	return text
}

// String gives the 64 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short gives the first eight digits, for people.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero reports whether there is no id.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// MarshalText writes the hexadecimal digits.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Type says what a blob holds.
type Type uint8

// The two types. Their values are those of pack headers.
const (
	Data Type = 0 // a piece of a file's content
	Tree Type = 1 // the JSON of one directory
)

// String gives the name that indexes use.
func (t Type) String() string {
	switch t {
	case Data:
		return "data"
	case Tree:
		return "tree"
	}
	return "invalid"
}

// MarshalText writes the name; an unknown type is Invalid.
func (t Type) MarshalText() ([]byte, error) {
	if t > Tree {
		return nil, failure.New(failure.Invalid, "write a blob type", "", "there is no type %d", uint8(t))
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads "data" or "tree".
func (t *Type) UnmarshalText(text []byte) error {
	switch string(text) {
	case "data":
		*t = Data
	case "tree":
		*t = Tree
	default:
		return failure.New(failure.Corrupt, "read a blob type", "", "unknown type %q", clip(string(text)))
	}
	return nil
}

// Handle names one blob. The same bytes may be stored both as data and as a tree; these are two blobs.
type Handle struct {
	Type Type
	ID   ID
}

// String is for people.
func (h Handle) String() string { return h.Type.String() + " " + h.ID.Short() }

// Unknown returns the members of a JSON object that are not in known, or nil. It is what keeps fields of newer writers
// when something is read and written again. Package encoding/json matches names without regard to case, so does this.
// Data must be valid JSON; what is no object has no members.
func Unknown(data []byte, known map[string]bool) map[string]json.RawMessage {
	var extra map[string]json.RawMessage
	s := scanner{data: data}
	if !s.enter() {
		return nil
	}
	for {
		name, value, ok := s.member()
		if !ok {
			return extra
		}
		if known[strings.ToLower(name)] {
			continue
		}
		if extra == nil {
			extra = map[string]json.RawMessage{}
		}
		extra[name] = bytes.Clone(value)
	}
}

// Append adds members to a JSON object that has at least one, in the order of their names.
func Append(object []byte, names []string, extra map[string]json.RawMessage) ([]byte, error) {
	if len(names) == 0 {
		return object, nil
	}
	out := bytes.TrimSuffix(object, []byte("}"))
	for _, name := range names {
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value := extra[name]
		if len(value) == 0 || !json.Valid(value) {
			return nil, failure.New(failure.Invalid, "write a field", name, "its value is not JSON")
		}
		out = append(append(append(append(out, ','), quoted...), ':'), value...)
	}
	return append(out, '}'), nil
}

// scanner walks the members of a valid JSON object without decoding their values.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) space() {
	for s.pos < len(s.data) && strings.IndexByte(" \t\r\n,:", s.data[s.pos]) >= 0 {
		s.pos++
	}
}

func (s *scanner) enter() bool {
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] != '{' {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) member() (name string, value []byte, ok bool) {
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] != '"' {
		return "", nil, false
	}
	start := s.pos
	s.text()
	if json.Unmarshal(s.data[start:s.pos], &name) != nil {
		return "", nil, false
	}
	s.space()
	start = s.pos
	s.value()
	return name, s.data[start:s.pos], s.pos > start
}

// text moves behind the string that begins here.
func (s *scanner) text() {
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch s.data[s.pos] {
		case '\\':
			s.pos++
		case '"':
			s.pos++
			return
		}
	}
	s.pos = min(s.pos, len(s.data))
}

// value moves behind the value that begins here.
func (s *scanner) value() {
	depth := 0
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.text()
			if depth == 0 {
				return
			}
			continue
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth == 0 {
				return // the end of the object that holds a number or a word
			}
			if depth--; depth == 0 {
				s.pos++
				return
			}
		case depth == 0 && strings.IndexByte(" \t\r\n,", c) >= 0:
			return
		}
		s.pos++
	}
}

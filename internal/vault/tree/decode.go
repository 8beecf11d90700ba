package tree

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"strconv"

	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// parser reads trees as all writers put them, without white space and nulls. Trees are most of what a vault's metadata
// are, so this is worth its lines: it takes a tenth of what package encoding/json takes. What it does not understand,
// right or wrong, it leaves to that.
type parser struct {
	data []byte
	pos  int
	// last are strings that the last nodes had, so that equal ones share memory.
	lastUser, lastGroup string
}

// parse reads a tree, or gives false.
func parse(data []byte) (*Tree, bool) {
	p := parser{data: bytes.TrimRight(data, "\n")}
	if !p.token(`{"nodes":[`) {
		return nil, false
	}
	t := &Tree{Nodes: make([]Node, 0, len(data)/512+1)}
	if p.token("]") {
		return t, p.token("}") && p.pos == len(p.data)
	}
	for {
		t.Nodes = append(t.Nodes, Node{})
		if !p.node(&t.Nodes[len(t.Nodes)-1]) {
			return nil, false
		}
		if p.token("]") {
			return t, p.token("}") && p.pos == len(p.data)
		}
		if !p.token(",") {
			return nil, false
		}
	}
}

func (p *parser) token(s string) bool {
	if len(p.data)-p.pos < len(s) || string(p.data[p.pos:p.pos+len(s)]) != s {
		return false
	}
	p.pos += len(s)
	return true
}

// node reads one node, whatever the order of its members.
func (p *parser) node(n *Node) bool {
	if !p.token("{") {
		return false
	}
	for {
		key, ok := p.plain()
		if !ok || !p.token(":") || !p.member(n, key) {
			return false
		}
		if p.token("}") {
			return n.Name != "" && n.Type != ""
		}
		if !p.token(",") {
			return false
		}
	}
}

// member reads the value of one member.
func (p *parser) member(n *Node, key []byte) (ok bool) {
	switch string(key) {
	case "name":
		n.Name, ok = p.name()
	case "type":
		n.Type, ok = p.nodeType()
	case "mode":
		var mode uint64
		mode, ok = p.number(32)
		n.Mode = fs.FileMode(mode)
	case "mtime", "atime", "ctime":
		ok = p.time(n, key[0])
	case "uid", "gid":
		var id uint64
		if id, ok = p.number(32); key[0] == 'u' {
			n.UID = uint32(id)
		} else {
			n.GID = uint32(id)
		}
	case "user":
		n.User, ok = p.text(p.lastUser)
		p.lastUser = n.User
	case "group":
		n.Group, ok = p.text(p.lastGroup)
		p.lastGroup = n.Group
	case "inode":
		n.Inode, ok = p.number(64)
	case "device_id":
		n.DeviceID, ok = p.number(64)
	case "size":
		n.Size, ok = p.number(64)
	case "links":
		n.Links, ok = p.number(64)
	case "device":
		n.Device, ok = p.number(64)
	case "linktarget":
		n.LinkTarget, ok = p.text("")
	case "extended_attributes":
		ok = p.value(&n.Xattrs)
	case "content":
		n.Content, ok = p.ids()
	case "subtree":
		var id object.ID
		if id, ok = p.id(); ok {
			n.Subtree = &id
		}
	}
	return ok
}

// plain reads a string that has no escapes.
func (p *parser) plain() ([]byte, bool) {
	if !p.token(`"`) {
		return nil, false
	}
	end := bytes.IndexByte(p.data[p.pos:], '"')
	if end < 0 {
		return nil, false
	}
	s := p.data[p.pos : p.pos+end]
	for _, c := range s {
		if c < ' ' || c > '~' || c == '\\' {
			return nil, false
		}
	}
	p.pos += end + 1
	return s, true
}

// text reads any string; one that is same shares its memory.
func (p *parser) text(same string) (string, bool) {
	start := p.pos
	if s, ok := p.plain(); ok {
		if string(s) == same {
			return same, true
		}
		return string(s), true
	}
	p.pos = start
	var s string
	return s, p.value(&s)
}

// name reads a name, which the format quotes twice.
func (p *parser) name() (string, bool) {
	start := p.pos
	if s, ok := p.plain(); ok {
		return string(s), true
	}
	p.pos = start
	var s string
	if !p.value(&s) {
		return "", false
	}
	s, err := strconv.Unquote(`"` + s + `"`)
	return s, err == nil
}

// nodeType reads the type; the known ones take no memory.
func (p *parser) nodeType() (Type, bool) {
	s, ok := p.plain()
	switch string(s) {
	case string(File):
		return File, ok
	case string(Dir):
		return Dir, ok
	case string(Symlink):
		return Symlink, ok
	}
	return Type(s), ok
}

func (p *parser) number(bits int) (uint64, bool) {
	start := p.pos
	for p.pos < len(p.data) && '0' <= p.data[p.pos] && p.data[p.pos] <= '9' {
		p.pos++
	}
	digits := p.data[start:p.pos]
	if len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(digits), 10, bits)
	return v, err == nil
}

// time reads one of the three times. The access time is most often the modification time.
func (p *parser) time(n *Node, which byte) bool {
	s, ok := p.plain()
	if !ok {
		return false
	}
	switch which {
	case 'm':
		return n.ModTime.UnmarshalText(s) == nil
	case 'c':
		return n.ChangeTime.UnmarshalText(s) == nil
	}
	return n.AccessTime.UnmarshalText(s) == nil
}

func (p *parser) id() (object.ID, bool) {
	var id object.ID
	s, ok := p.plain()
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

// ids reads a file's content: a list, or null for what has none.
func (p *parser) ids() ([]object.ID, bool) {
	if p.token("null") {
		return nil, true
	}
	if !p.token("[") {
		return nil, false
	}
	if p.token("]") {
		return []object.ID{}, true
	}
	end := bytes.IndexByte(p.data[p.pos:], ']')
	if end < 0 {
		return nil, false
	}
	ids := make([]object.ID, 0, end/67+1)
	for {
		id, ok := p.id()
		if !ok {
			return nil, false
		}
		ids = append(ids, id)
		if p.token("]") {
			return ids, true
		}
		if !p.token(",") {
			return nil, false
		}
	}
}

// value reads anything by package encoding/json.
func (p *parser) value(into any) bool {
	end := p.end()
	if end < 0 || json.Unmarshal(p.data[p.pos:end], into) != nil {
		return false
	}
	p.pos = end
	return true
}

// end gives where the value that begins here ends, or -1.
func (p *parser) end() int {
	depth := 0
	for i := p.pos; i < len(p.data); i++ {
		switch p.data[i] {
		case '"':
			for i++; i < len(p.data) && p.data[i] != '"'; i++ {
				if p.data[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
			continue
		case ']', '}':
			depth--
		default:
			continue
		}
		if depth <= 0 {
			return min(i+1, len(p.data))
		}
	}
	return -1
}

package tree

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"strconv"

	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// parser reads trees as all writers put them, without white space and nulls. Trees are most of what a vault's metadata
// are, so this is worth its lines: it takes a tenth of what package encoding/json takes. What it does not understand,
// right or wrong, it leaves to that.
type parser struct {
	object.Parser

	// last are strings that the last nodes had, so that equal ones share memory.
	lastUser, lastGroup string
}

// parse reads a tree, or gives false.
func parse(data []byte) (*Tree, bool) {
	p := parser{Parser: object.Parser{Data: bytes.TrimRight(data, "\n")}}
	if !p.Token(`{"nodes":[`) {
		return nil, false
	}
	t := &Tree{Nodes: make([]Node, 0, bytes.Count(data, []byte(`{"name":`)))} // mostly just as many
	if p.Token("]") {
		return t, p.Token("}") && p.End()
	}
	for {
		t.Nodes = append(t.Nodes, Node{})
		if !p.node(&t.Nodes[len(t.Nodes)-1]) {
			return nil, false
		}
		if p.Token("]") {
			return t, p.Token("}") && p.End()
		}
		if !p.Token(",") {
			return nil, false
		}
	}
}

// node reads one node, whatever the order of its members.
func (p *parser) node(n *Node) bool {
	if !p.Token("{") {
		return false
	}
	for {
		key, ok := p.Plain()
		if !ok || !p.Token(":") || !p.member(n, key) {
			return false
		}
		if p.Token("}") {
			return n.Name != "" && n.Type != ""
		}
		if !p.Token(",") {
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
		mode, ok = p.Number(32)
		n.Mode = fs.FileMode(mode)
	case "mtime", "atime", "ctime":
		ok = p.time(n, key[0])
	case "uid", "gid":
		var id uint64
		if id, ok = p.Number(32); key[0] == 'u' {
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
		n.Inode, ok = p.Number(64)
	case "device_id":
		n.DeviceID, ok = p.Number(64)
	case "size":
		n.Size, ok = p.Number(64)
	case "links":
		n.Links, ok = p.Number(64)
	case "device":
		n.Device, ok = p.Number(64)
	case "linktarget":
		n.LinkTarget, ok = p.text("")
	case "extended_attributes":
		ok = p.value(&n.Xattrs)
	case "content":
		n.Content, ok = p.ids()
	case "subtree":
		var id object.ID
		if id, ok = p.ID(); ok {
			n.Subtree = &id
		}
	}
	return ok
}

// text reads any string; one that is same shares its memory.
func (p *parser) text(same string) (string, bool) {
	start := p.Pos
	if s, ok := p.Plain(); ok {
		if string(s) == same {
			return same, true
		}
		return string(s), true
	}
	p.Pos = start
	var s string
	return s, p.value(&s)
}

// name reads a name, which the format quotes twice.
func (p *parser) name() (string, bool) {
	start := p.Pos
	if s, ok := p.Plain(); ok {
		return string(s), true
	}
	p.Pos = start
	var s string
	if !p.value(&s) {
		return "", false
	}
	s, err := strconv.Unquote(`"` + s + `"`)
	return s, err == nil
}

// nodeType reads the type; the known ones take no memory.
func (p *parser) nodeType() (Type, bool) {
	s, ok := p.Plain()
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

// time reads one of the three times. The access time is most often the modification time.
func (p *parser) time(n *Node, which byte) bool {
	s, ok := p.Plain()
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

// ids reads a file's content: a list, or null for what has none.
func (p *parser) ids() ([]object.ID, bool) {
	if p.Token("null") {
		return nil, true
	}
	if !p.Token("[") {
		return nil, false
	}
	if p.Token("]") {
		return []object.ID{}, true
	}
	end := bytes.IndexByte(p.Data[p.Pos:], ']')
	if end < 0 {
		return nil, false
	}
	ids := make([]object.ID, 0, end/67+1)
	for {
		id, ok := p.ID()
		if !ok {
			return nil, false
		}
		ids = append(ids, id)
		if p.Token("]") {
			return ids, true
		}
		if !p.Token(",") {
			return nil, false
		}
	}
}

// value reads anything by package encoding/json.
func (p *parser) value(into any) bool {
	end := p.end()
	if end < 0 || json.Unmarshal(p.Data[p.Pos:end], into) != nil {
		return false
	}
	p.Pos = end
	return true
}

// end gives where the value that begins here ends, or -1.
func (p *parser) end() int {
	depth := 0
	for i := p.Pos; i < len(p.Data); i++ {
		switch p.Data[i] {
		case '"':
			for i++; i < len(p.Data) && p.Data[i] != '"'; i++ {
				if p.Data[i] == '\\' {
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
			return min(i+1, len(p.Data))
		}
	}
	return -1
}

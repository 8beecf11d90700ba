package config

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// nodeKind is what a value of the file is.
type nodeKind uint8

const (
	null nodeKind = iota
	boolean
	number
	text
	list
	mapping
	broken // has been reported as a problem, and is no reason for more
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "true or false", "a number", "text", "a list", "a mapping", "unreadable"}[k]
}

// node is one value of the file, with its place. Aliases are resolved: they share the node of their anchor, so that
// the graph of nodes is no larger than the file. It has no cycles. A node is immutable once parsed.
type node struct {
	kind   nodeKind
	at     pos     // where the value begins
	head   pos     // the key or list item that it belongs to; where something that is missing is reported
	text   string  // of scalars: the text, or the JSON form of numbers and booleans
	items  []*node // of lists
	fields []field // of mappings, in the order of the file, each key once
	size   int     // about how many bytes it takes when all aliases are written out
	depth  int
}

// field is one entry of a mapping.
type field struct {
	key   string
	at    pos // of the key
	value *node
}

// get finds a field's value, or nil. It can be asked of a nil node.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].key == key {
			return n.fields[i].value
		}
	}
	return nil
}

// find goes down a path of keys and list positions as far as it leads, and tells whether it led to the end.
func (n *node) find(path []string) (*node, bool) {
	for _, name := range path {
		next := n.get(name)
		if i, err := strconv.Atoi(name); next == nil && err == nil && n.kind == list && i >= 0 && i < len(n.items) {
			next = n.items[i]
		}
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

// place is where a field's value begins; of a field that is missing, where it should have been.
func (n *node) place(key string) pos {
	if n == nil {
		return pos{}
	}
	if v := n.get(key); v != nil {
		return v.at
	}
	return n.head
}

// json writes the node as JSON, in the order of the file.
func (n *node) json() json.RawMessage {
	var b bytes.Buffer
	n.writeJSON(&b)
	return b.Bytes()
}

func (n *node) writeJSON(b *bytes.Buffer) {
	switch n.kind {
	case null, broken:
		b.WriteString("null")
	case boolean, number:
		b.WriteString(n.text)
	case text:
		writeString(b, n.text)
	case list:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.writeJSON(b)
		}
		b.WriteByte(']')
	case mapping:
		b.WriteByte('{')
		for i, f := range n.fields {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, f.key)
			b.WriteByte(':')
			f.value.writeJSON(b)
		}
		b.WriteByte('}')
	}
}

func writeString(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("config: a string cannot be encoded: " + err.Error()) // json has no such string
	}
	b.Truncate(b.Len() - 1) // Encode ends with a line break
}

// walkText calls f for every text below n, including n itself, but not for keys.
func (n *node) walkText(f func(*node)) {
	if n == nil {
		return
	}
	if n.kind == text {
		f(n)
	}
	for _, item := range n.items {
		item.walkText(f)
	}
	for _, fd := range n.fields {
		fd.value.walkText(f)
	}
}

package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// node is a JSON value that keeps the order of its members and the digits of its numbers. Reports are hashed and
// verified as nodes and not as Go values, so that a later build, whose types know more, verifies an old report.
type node struct {
	kind byte // 'o'bject, 'a'rray, 's'tring, or 'l'iteral: a number, true, false, null
	text string
	keys []string
	kids []*node
}

// maxDepth bounds nesting; a report has about ten levels and a driver's settings a few more.
const maxDepth = 100

// parse reads one JSON value. A name that occurs twice in one object is an error: readers differ on which one counts.
func parse(b []byte) (*node, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	n, err := parseValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something follows the JSON document at byte %d", dec.InputOffset())
	}
	return n, nil
}

func parseValue(dec *json.Decoder, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels at byte %d", maxDepth, dec.InputOffset())
	}
	token, err := dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		n := &node{kind: 'o'}
		if t == '[' {
			n.kind = 'a'
		}
		for dec.More() {
			if n.kind == 'o' {
				key, err := dec.Token()
				if err != nil {
					return nil, err
				}
				if slices.Contains(n.keys, key.(string)) {
					return nil, fmt.Errorf("the name %q occurs twice in one object, at byte %d", key, dec.InputOffset())
				}
				n.keys = append(n.keys, key.(string))
			}
			kid, err := parseValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			n.kids = append(n.kids, kid)
		}
		_, err := dec.Token() // the closing bracket
		return n, err
	case string:
		return &node{kind: 's', text: t}, nil
	case json.Number:
		return &node{kind: 'l', text: t.String()}, nil
	case bool:
		return &node{kind: 'l', text: fmt.Sprint(t)}, nil
	}
	return &node{kind: 'l', text: "null"}, nil
}

// get finds a member of an object, or nil.
func (n *node) get(key string) *node {
	if n != nil && n.kind == 'o' {
		if i := slices.Index(n.keys, key); i >= 0 {
			return n.kids[i]
		}
	}
	return nil
}

// str is the text of a string member, "" when there is none.
func (n *node) str(key string) string {
	if m := n.get(key); m != nil && m.kind == 's' {
		return m.text
	}
	return ""
}

// without is a copy of an object less one member.
func (n *node) without(key string) *node {
	c := &node{kind: n.kind}
	for i, k := range n.keys {
		if k != key {
			c.keys, c.kids = append(c.keys, k), append(c.kids, n.kids[i])
		}
	}
	return c
}

// canonical writes n on one line with members sorted by name (by UTF-8 bytes), no blanks, strings escaped only where
// JSON demands it and numbers with the digits they have. But for numbers and for the order of names beyond the Basic
// Multilingual Plane this is RFC 8785.
func (n *node) canonical() []byte {
	var b bytes.Buffer
	n.write(&b, true, -1)
	return b.Bytes()
}

// indented writes n in its own order, two blanks a level, with a final line feed: the one layout of a report.
func (n *node) indented() []byte {
	var b bytes.Buffer
	n.write(&b, false, 0)
	b.WriteByte('\n')
	return b.Bytes()
}

func (n *node) write(b *bytes.Buffer, sorted bool, level int) {
	switch n.kind {
	case 's':
		writeString(b, n.text)
		return
	case 'l':
		b.WriteString(n.text)
		return
	}
	open, shut := byte('['), byte(']')
	if n.kind == 'o' {
		open, shut = '{', '}'
	}
	order := make([]int, len(n.kids))
	for i := range order {
		order[i] = i
	}
	if sorted && n.kind == 'o' {
		slices.SortFunc(order, func(x, y int) int { return strings.Compare(n.keys[x], n.keys[y]) })
	}
	feed := func(level int) {
		if level >= 0 {
			b.WriteByte('\n')
			b.WriteString(strings.Repeat("  ", level))
		}
	}
	inner := level
	if level >= 0 {
		inner++
	}
	b.WriteByte(open)
	for at, i := range order {
		if at > 0 {
			b.WriteByte(',')
		}
		feed(inner)
		if n.kind == 'o' {
			writeString(b, n.keys[i])
			b.WriteByte(':')
			if level >= 0 {
				b.WriteByte(' ')
			}
		}
		n.kids[i].write(b, sorted, inner)
	}
	if len(order) > 0 {
		feed(level)
	}
	b.WriteByte(shut)
}

// writeString escapes as RFC 8785 does: the quote, the backslash and the control characters.
func writeString(b *bytes.Buffer, s string) {
	const plain, short = "\"\\\b\t\n\f\r", `"\btnfr`
	b.WriteByte('"')
	for _, c := range s {
		if i := strings.IndexRune(plain, c); i >= 0 {
			b.WriteByte('\\')
			b.WriteByte(short[i])
		} else if c < 0x20 {
			fmt.Fprintf(b, `\u%04x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
}

// nodeOf gives the node of plain data.
func nodeOf(v any) (*node, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, failure.WrapAs(failure.Internal, err, "write", "report")
	}
	n, err := parse(b)
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "write", "report")
	}
	return n, nil
}

func renderJSON(r *api.Report) ([]byte, error) {
	n, err := nodeOf(r)
	if err != nil {
		return nil, err
	}
	return n.indented(), nil
}

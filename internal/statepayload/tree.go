package statepayload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// form is what a value of JSON is.
type form string

const (
	object  form = "an object"
	array   form = "an array"
	text    form = "a string"
	number  form = "a number"
	boolean form = "true or false"
	null    form = "null"
)

// node is a value with its place.
type node struct {
	form         form
	line, column int
	text         string // of strings as they mean, of numbers and booleans as they are written
	fields       []field
	items        []*node
}

// field is a member of an object. Line and column are its key's.
type field struct {
	key          string
	line, column int
	value        *node
}

func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for _, f := range n.fields {
		if f.key == key {
			return f.value
		}
	}
	return nil
}

// mistake is a reason why a text is no JSON that we take.
type mistake struct {
	line, column int
	code, what   string
}

func (m *mistake) Error() string { return m.what }

// maxDepth bounds how deeply values lie in each other. A document needs six.
const maxDepth = 32

// treeReader reads JSON into nodes.
type treeReader struct {
	content []byte
	dec     *json.Decoder
	twice   []field // keys that stand twice in one object

	at, line, start int // how far places were counted: an offset, its line and where that begins
}

// readTree reads one JSON value and nothing after it. Keys that stand twice are given too.
func readTree(content []byte) (*node, []field, error) {
	r := &treeReader{content: content, dec: json.NewDecoder(bytes.NewReader(content)), line: 1}
	r.dec.UseNumber()
	if bytes.HasPrefix(content, []byte("\xef\xbb\xbf")) {
		return nil, nil, &mistake{1, 1, "payload-json", "the file begins with a byte order mark: save it as UTF-8 without one"}
	}
	if !utf8.Valid(content) {
		at := 0
		for rest := content; ; {
			c, size := utf8.DecodeRune(rest)
			if c == utf8.RuneError && size == 1 {
				break
			}
			at, rest = at+size, rest[size:]
		}
		return nil, nil, r.wrong(at, "payload-json", "the file is not UTF-8")
	}
	root, err := r.value(0)
	if err != nil {
		return nil, nil, err
	}
	at := r.next()
	if at < len(content) {
		return nil, nil, r.wrong(at, "payload-json", "something follows the document's end")
	}
	return root, r.twice, nil
}

// next is where the next token begins.
func (r *treeReader) next() int {
	at := int(r.dec.InputOffset())
	for at < len(r.content) && strings.IndexByte(" \t\r\n,:", r.content[at]) >= 0 {
		at++
	}
	return at
}

// place counts lines and columns from 1; columns are characters. Places are asked for in the order of the file.
func (r *treeReader) place(offset int) (line, column int) {
	offset = min(offset, len(r.content))
	for ; r.at < offset; r.at++ {
		if r.content[r.at] == '\n' {
			r.line, r.start = r.line+1, r.at+1
		}
	}
	return r.line, 1 + utf8.RuneCount(r.content[min(r.start, offset):offset])
}

func (r *treeReader) wrong(offset int, code, format string, args ...any) error {
	line, column := r.place(offset)
	return &mistake{line, column, code, fmt.Sprintf(format, args...)}
}

// token reads one; what is wrong with it is told with its place.
func (r *treeReader) token() (json.Token, int, error) {
	at := r.next()
	t, err := r.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return t, at, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, at, r.wrong(len(r.content), "payload-json", "the document ends before it is complete")
	case errors.As(err, &syntax):
		return nil, at, r.wrong(max(at, int(syntax.Offset)-1), "payload-json", "no JSON: %s", syntax)
	}
	return nil, at, r.wrong(at, "payload-json", "no JSON: %s", err)
}

func (r *treeReader) value(depth int) (*node, error) {
	t, at, err := r.token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, r.wrong(at, "payload-json", "values lie deeper in each other than %d", maxDepth)
	}
	n := &node{}
	n.line, n.column = r.place(at)
	switch v := t.(type) {
	case json.Delim:
		if v == '{' {
			n.form = object
			return n, r.members(n, depth)
		}
		n.form = array
		for r.dec.More() {
			item, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
		_, _, err := r.token()
		return n, err
	case string:
		n.form, n.text = text, v
	case json.Number:
		n.form, n.text = number, v.String()
	case bool:
		n.form, n.text = boolean, fmt.Sprint(v)
	default:
		n.form = null
	}
	return n, nil
}

func (r *treeReader) members(n *node, depth int) error {
	seen := map[string]bool{}
	for r.dec.More() {
		t, at, err := r.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return r.wrong(at, "payload-json", "a key is not a string")
		}
		f := field{key: key}
		f.line, f.column = r.place(at)
		if f.value, err = r.value(depth + 1); err != nil {
			return err
		}
		if seen[key] {
			r.twice = append(r.twice, f)
		}
		seen[key] = true
		n.fields = append(n.fields, f)
	}
	_, _, err := r.token()
	return err
}

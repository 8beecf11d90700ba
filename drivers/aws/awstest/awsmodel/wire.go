package awsmodel

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
)

// node is a part of a Query request, or an element of XML.
type node struct {
	name string
	text string
	kids []*node
}

func (n *node) kid(name string) *node {
	for _, k := range n.kids {
		if k.name == name {
			return k
		}
	}
	return nil
}

// queryTree takes the parameters of a Query request apart at their dots.
func queryTree(v url.Values) *node {
	root := &node{}
	for key, values := range v {
		at := root
		for _, part := range strings.Split(key, ".") {
			next := at.kid(part)
			if next == nil {
				next = &node{name: part}
				at.kids = append(at.kids, next)
			}
			at = next
		}
		at.text = values[0]
	}
	return root
}

// xmlTree reads XML; the root is the document's element.
func xmlTree(body []byte) (*node, error) {
	dec := xml.NewDecoder(bytes.NewReader(body))
	stack := []*node{{}}
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		top := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local}
			top.kids = append(top.kids, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(token)
		}
	}
	if len(stack[0].kids) != 1 {
		return nil, fmt.Errorf("%d elements at the top", len(stack[0].kids))
	}
	return stack[0].kids[0], nil
}

// dialect is how a protocol names members and numbers lists.
type dialect struct {
	s        *service
	numbered bool // lists are numbered, as in Query requests; elsewhere members repeat
	ec2      bool // requests to EC2: lists are flat, names begin with capitals
}

// key is what a structure's member is called on the wire.
func (d dialect) key(name string, m *member) string {
	sh := d.s.of(m)
	switch {
	case d.ec2 && m.QueryName != "":
		return m.QueryName
	case d.ec2 && m.LocationName != "":
		return strings.ToUpper(m.LocationName[:1]) + m.LocationName[1:]
	case d.ec2:
		return name
	case sh.Type == "list" && sh.Flattened && sh.Member.LocationName != "":
		return sh.Member.LocationName
	case m.LocationName != "":
		return m.LocationName
	}
	return name
}

// value makes a value of a node, guided by the shape that it should have. What the shape does not know stays under its own name.
func (d dialect) value(sh *shape, n *node) any {
	switch sh.Type {
	case "structure":
		return d.structure(sh, n)
	case "list":
		return d.list(sh, n)
	case "map":
		out := map[string]any{}
		for _, e := range n.kids {
			if k, v := e.kid("key"), e.kid("value"); k != nil && v != nil {
				out[k.text] = d.value(d.s.of(sh.Value), v)
			}
		}
		return out
	}
	return word(n.text)
}

func (d dialect) structure(sh *shape, n *node) any {
	out := map[string]any{}
	named := map[string]string{}
	for name, m := range sh.Members {
		named[d.key(name, m)] = name
	}
	for _, k := range n.kids {
		name, known := named[k.name]
		if !known {
			out[k.name] = word(k.text)
			continue
		}
		of := d.s.of(sh.Members[name])
		if of.Type == "list" && of.Flattened && !d.numbered {
			list, _ := out[name].([]any)
			out[name] = append(list, d.value(d.s.of(of.Member), k))
			continue
		}
		out[name] = d.value(of, k)
	}
	return out
}

func (d dialect) list(sh *shape, n *node) any {
	called := "member"
	if sh.Member.LocationName != "" {
		called = sh.Member.LocationName
	}
	out := []any{}
	kids := n.kids
	if d.numbered {
		if !d.ec2 && !sh.Flattened {
			inner := n.kid(called)
			if inner == nil && len(n.kids) > 0 {
				return word("members called " + n.kids[0].name + ", not " + called)
			}
			if inner == nil {
				return out
			}
			kids = inner.kids
		}
		slices.SortFunc(kids, func(a, b *node) int { return index(a) - index(b) })
		called = ""
	}
	for n, k := range kids {
		if called != "" && k.name != called || d.numbered && index(k) != n+1 {
			return word("a member called " + k.name)
		}
		out = append(out, d.value(d.s.of(sh.Member), k))
	}
	return out
}

func index(n *node) int {
	i, err := strconv.Atoi(n.name)
	if err != nil {
		return math.MaxInt32
	}
	return i
}

// jsonValue reads a JSON document.
func jsonValue(body []byte) (any, error) {
	if len(body) == 0 {
		return map[string]any{}, nil
	}
	var v any
	err := json.Unmarshal(body, &v)
	return v, err
}

// cborValue reads a CBOR document (smithy.io, "Smithy RPC v2 CBOR protocol").
func cborValue(body []byte) (any, error) {
	if len(body) == 0 {
		return map[string]any{}, nil
	}
	v, err := cbor.Decode(body)
	if err != nil {
		return nil, err
	}
	return plain(v), nil
}

func plain(v cbor.Value) any {
	switch v := v.(type) {
	case cbor.Map:
		out := map[string]any{}
		for k, inner := range v {
			out[k] = plain(inner)
		}
		return out
	case cbor.List:
		out := []any{}
		for _, inner := range v {
			out = append(out, plain(inner))
		}
		return out
	case cbor.String:
		return string(v)
	case cbor.Bool:
		return bool(v)
	case *cbor.Tag:
		if n, ok := plain(v.Value).(float64); ok && v.ID == 1 { // RFC 8949, section 3.4.2
			return time.UnixMilli(int64(n * 1000))
		}
	case cbor.Uint:
		return float64(v)
	case cbor.NegInt:
		return -float64(v)
	case cbor.Float32:
		return float64(v)
	case cbor.Float64:
		return float64(v)
	}
	return v
}

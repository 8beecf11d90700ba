package config

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
)

type jsonText = json.RawMessage

// settings checks the settings of owner against the struct that proto points to, and gives them as JSON; nil when
// there are none.
func (c *checker) settings(owner, n *node, proto any, w *where) (jsonText, bool) {
	if proto == nil {
		if n != nil && n.kind != null && (n.kind != mapping || len(n.fields) > 0) {
			c.p.add(n.head, "remove them", "the kind %s takes no settings", quote(owner.get("kind").text))
			return nil, false
		}
		return nil, true
	}
	if n == nil {
		n = &node{kind: mapping, at: owner.head, head: owner.head}
		_, ok := c.bindSettings(n, proto, w)
		return nil, ok
	}
	return c.bindSettings(n, proto, w.sub("settings"))
}

// bindSettings decodes strictly and asks the type's own rules. The JSON keeps the form of the file, with the paths
// beside it made absolute.
func (c *checker) bindSettings(n *node, proto any, w *where) (jsonText, bool) {
	before := len(c.p.list) + c.p.dropped
	t := reflect.TypeOf(proto)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	c.b.bind(n, reflect.New(t).Elem(), w)
	if len(c.p.list)+c.p.dropped > before {
		return nil, false
	}
	raw := besideNode(c.folder, n).json()
	v := reflect.New(t)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v.Interface()); err != nil {
		c.p.add(n.at, failure.HintOf(err), "%s: %v", w, err)
		return nil, false
	}
	if validator, ok := v.Interface().(driver.Validator); ok {
		if err := validator.Validate(); err != nil {
			c.validatorProblems(err, n, w)
		}
	}
	return raw, len(c.p.list)+c.p.dropped == before
}

// validatorProblems reports what a Validator says, each error of a joined one.
func (c *checker) validatorProblems(err error, n *node, w *where) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			c.validatorProblems(e, n, w)
		}
		return
	}
	c.fieldProblem(err, n, n.head, w)
}

var (
	fieldMessage = regexp.MustCompile(`^([\w.\[\]-]+): ?`)
	pathParts    = regexp.MustCompile(`[\w-]+`)
)

// fieldProblem reports an error whose message is "field: what is wrong" at the field; at fallback when it names none
// that is there. A rule about a field that still holds a reference is left to the driver, which is asked again when
// the reference is filled in.
func (c *checker) fieldProblem(err error, n *node, fallback pos, w *where) {
	at := fallback
	if m := fieldMessage.FindStringSubmatch(err.Error()); m != nil {
		found, whole := n.find(pathParts.FindAllString(m[1], -1))
		if whole && holdsReference(found) {
			return
		}
		if found != n {
			at = found.at
		}
	}
	c.p.add(at, failure.HintOf(err), "%s: %v", w, err)
}

func holdsReference(n *node) bool {
	found := false
	n.walkText(func(t *node) { found = found || strings.Contains(t.text, "${") })
	return found
}

// besideNode gives n with every text that names a file beside lifeboat.yaml made absolute. What does not change is
// shared.
func besideNode(folder string, n *node) *node {
	changed := *n
	switch n.kind {
	case text:
		changed.text = besideText(folder, n.text)
		if changed.text == n.text {
			return n
		}
		return &changed
	case list:
		changed.items = make([]*node, len(n.items))
		same := true
		for i, item := range n.items {
			changed.items[i] = besideNode(folder, item)
			same = same && changed.items[i] == item
		}
		if same {
			return n
		}
	case mapping:
		changed.fields = make([]field, len(n.fields))
		same := true
		for i, f := range n.fields {
			changed.fields[i] = field{f.key, f.at, besideNode(folder, f.value)}
			same = same && changed.fields[i].value == f.value
		}
		if same {
			return n
		}
	}
	return &changed
}

// besideText makes a text that begins with ./ or ../, also after file: or exec:, absolute as seen from folder.
func besideText(folder, s string) string {
	for _, scheme := range []string{"file:", "exec:", ""} {
		rest, ok := strings.CutPrefix(s, scheme)
		if !ok || strings.ContainsAny(rest, "\n\r") {
			continue
		}
		path, args := rest, ""
		if i := strings.IndexByte(rest, ' '); i >= 0 && scheme != "file:" {
			path, args = rest[:i], rest[i:]
		}
		if strings.HasPrefix(path, "./") || strings.HasPrefix(path, "../") {
			abs := filepath.Join(folder, path)
			if strings.HasSuffix(path, "/") {
				abs += "/"
			}
			return scheme + abs + args
		}
		if scheme != "" {
			return s
		}
	}
	return s
}

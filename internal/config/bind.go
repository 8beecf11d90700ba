package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// binder fills Go values from nodes as encoding/json would fill them from the same JSON, but stricter (a null, an
// unknown field, a field in other letters is a problem) and with the place of each problem. The rules that a jsonschema
// tag states (required, enum, minimum, maximum, minLength, minItems) hold here as they do in an editor.
type binder struct{ p *problems }

// where names a value for people: "ports of resource "db"". It is put together only when there is a problem.
type where struct {
	what string
	in   *where
}

func (w *where) String() string {
	if w.in == nil {
		return w.what
	}
	var parts []string
	for ; w != nil && w.what != theFile; w = w.in {
		what := w.what
		if w.in != nil && strings.HasPrefix(what, `"`) && named[w.in.what] != "" {
			what = named[w.in.what] + " " + what
			w = w.in
		}
		parts = append(parts, what)
	}
	return strings.Join(parts, " of ")
}

const theFile = "the file"

// named says what the entries of the file's mappings are.
var named = map[string]string{"apps": "app", "resources": "resource", "plans": "plan", "sites": "site", "vaults": "vault"}

func (w *where) sub(what string) *where { return &where{what, w} }

var (
	nodeType    = reflect.TypeFor[*node]()
	rawType     = reflect.TypeFor[json.RawMessage]()
	secretType  = reflect.TypeFor[secret.Ref]()
	textType    = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonType    = reflect.TypeFor[json.Unmarshaler]()
	numberTexts = reflect.TypeFor[json.Number]()
)

// bind fills v, which is settable, from n.
func (b binder) bind(n *node, v reflect.Value, w *where) {
	t := v.Type()
	if t == nodeType {
		v.Set(reflect.ValueOf(n))
		return
	}
	if n.kind == broken {
		return // reported already
	}
	if n.kind == null {
		b.p.add(n.head, "remove it, or give it a value; an empty mapping is {}, an empty list []", "%s has no value", w)
		return
	}
	switch {
	case t == rawType:
		v.SetBytes(n.json())
	case t.Kind() == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		b.bind(n, v.Elem(), w)
	case reflect.PointerTo(t).Implements(jsonType):
		if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(n.json()); err != nil {
			b.p.add(n.at, failure.HintOf(err), "%s: %v", w, err)
		}
	case reflect.PointerTo(t).Implements(textType):
		b.unmarshalText(n, v, w)
	default:
		b.bindKind(n, v, w)
	}
}

func (b binder) unmarshalText(n *node, v reflect.Value, w *where) {
	isSecret := v.Type() == secretType
	if n.kind != text {
		hint := ""
		switch {
		case isSecret:
			b.p.hide(n.at)
			hint = "write env:NAME, file:/path/to/file or exec:command"
		case n.kind == number && isDuration(v.Type()):
			hint = fmt.Sprintf("write a unit: %ss, %sms, %sm", n.text, n.text, n.text)
		case n.kind == number || n.kind == boolean:
			hint = "quote it: " + strconv.Quote(n.text)
		}
		b.p.add(n.at, hint, "%s must be text, not %s", w, n.kind)
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text)); err != nil {
		if isSecret {
			b.p.hide(n.at)
		}
		b.p.add(n.at, failure.HintOf(err), "%s: %v", w, err)
	}
}

func (b binder) bindKind(n *node, v reflect.Value, w *where) {
	switch v.Kind() {
	case reflect.Struct:
		if b.is(n, mapping, w) {
			b.bindStruct(n, v, w)
		}
	case reflect.Map:
		if b.is(n, mapping, w) {
			b.bindMap(n, v, w)
		}
	case reflect.Slice:
		if b.is(n, list, w) {
			v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
			for i, item := range n.items {
				b.bind(item, v.Index(i), w.sub("item "+strconv.Itoa(i+1)))
			}
		}
	case reflect.String:
		if v.Type() == numberTexts {
			if b.is(n, number, w) {
				v.SetString(n.text)
			}
		} else if b.is(n, text, w) {
			v.SetString(n.text)
		}
	case reflect.Bool:
		if b.is(n, boolean, w) {
			v.SetBool(n.text == "true")
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if b.is(n, number, w) {
			i, err := strconv.ParseInt(n.text, 10, 64)
			if err != nil || v.OverflowInt(i) {
				b.p.add(n.at, "", "%s must be a whole number that fits, not %s", w, quote(n.text))
				return
			}
			v.SetInt(i)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if b.is(n, number, w) {
			u, err := strconv.ParseUint(n.text, 10, 64)
			if err != nil || v.OverflowUint(u) {
				b.p.add(n.at, "", "%s must be a whole number from 0 that fits, not %s", w, quote(n.text))
				return
			}
			v.SetUint(u)
		}
	case reflect.Float32, reflect.Float64:
		if b.is(n, number, w) {
			f, err := strconv.ParseFloat(n.text, 64)
			if err != nil || v.OverflowFloat(f) {
				b.p.add(n.at, "", "%s must be a number that fits, not %s", w, quote(n.text))
				return
			}
			v.SetFloat(f)
		}
	default: // any, and what only encoding/json knows how to fill
		if err := json.Unmarshal(n.json(), v.Addr().Interface()); err != nil {
			b.p.add(n.at, "", "%s: %v", w, err)
		}
	}
}

// is reports a value of another kind than wanted.
func (b binder) is(n *node, want nodeKind, w *where) bool {
	if n.kind == want {
		return true
	}
	hint := ""
	switch {
	case want == text && (n.kind == number || n.kind == boolean):
		hint = "quote it: " + strconv.Quote(n.text)
	case want == list && n.kind != mapping:
		hint = "write a list, even of one: [" + "…" + "]"
	case n.kind == text && (want == boolean || want == number) && strings.Contains(n.text, "${"):
		hint = "a reference can stand only where text is expected"
	case n.kind == text && want == boolean:
		hint = "write true or false"
	case n.kind == text && want == number:
		hint = "write it without quotes and units"
	}
	b.p.add(n.at, hint, "%s must be %s, not %s", w, want, n.kind)
	return false
}

func (b binder) bindMap(n *node, v reflect.Value, w *where) {
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.fields)))
	for _, f := range n.fields {
		key := reflect.New(v.Type().Key()).Elem()
		if key.Kind() != reflect.String {
			b.p.add(f.at, "", "%s cannot be read", w)
			return
		}
		key.SetString(f.key)
		elem := reflect.New(v.Type().Elem()).Elem()
		b.bind(f.value, elem, w.sub(quote(f.key)))
		v.SetMapIndex(key, elem)
	}
}

func (b binder) bindStruct(n *node, v reflect.Value, w *where) {
	shape := shapeOf(v.Type())
	if shape.node != nil {
		v.FieldByIndex(shape.node).Set(reflect.ValueOf(n))
	}
	for _, f := range n.fields {
		sf, ok := shape.fields[f.key]
		if !ok {
			if meant := nearest(f.key, shape.names); meant != "" && shape.fields[meant].typ == secretType {
				b.p.hide(f.value.at)
			}
			b.p.add(f.at, didYouMean(f.key, shape.names), "unknown field %s in %s", quote(f.key), w)
			continue
		}
		at := w.sub(f.key)
		before := len(b.p.list)
		b.bind(f.value, fieldOf(v, sf.index), at)
		if len(b.p.list) == before {
			b.rules(f.value, sf, at)
		}
	}
	for _, name := range shape.names {
		if shape.fields[name].required && n.get(name) == nil {
			b.p.add(n.head, requiredHint(name), "%s has no %s", w, quote(name))
		}
	}
}

func requiredHint(name string) string {
	if name == "version" {
		return "write version: 1 in the first line"
	}
	return fmt.Sprintf("the field %q is required", name)
}

// fieldOf is reflect.Value.FieldByIndex that makes the embedded pointers on its way.
func fieldOf(v reflect.Value, index []int) reflect.Value {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v
}

// rules holds a value to what its field's jsonschema tag states. A text with a reference in it is judged once it is
// filled in, by the driver.
func (b binder) rules(n *node, f structField, w *where) {
	if n.kind == text && strings.Contains(n.text, "${") {
		return
	}
	for _, r := range f.rules {
		limit, isNumber := new(big.Float).SetString(r.value)
		var have *big.Float
		switch r.name {
		case "minimum", "maximum":
			if n.kind == number {
				have, _ = new(big.Float).SetString(n.text)
			}
		case "minLength":
			if n.kind == text {
				have = big.NewFloat(float64(len([]rune(n.text))))
			}
		case "minItems":
			if n.kind == list {
				have = big.NewFloat(float64(len(n.items)))
			}
		}
		if have == nil || !isNumber {
			continue
		}
		c := have.Cmp(limit)
		switch {
		case r.name == "minimum" && c < 0:
			b.p.add(n.at, "", "%s must be at least %s", w, r.value)
		case r.name == "maximum" && c > 0:
			b.p.add(n.at, "", "%s must be at most %s", w, r.value)
		case (r.name == "minLength" || r.name == "minItems") && c < 0:
			b.p.add(n.at, "", "%s must not be empty", w)
		}
	}
	if len(f.enum) > 0 && (n.kind == text || n.kind == number) && !slices.Contains(f.enum, n.text) {
		b.p.add(n.at, didYouMean(n.text, f.enum), "%s cannot be %s", w, quote(n.text))
	}
}

// shape is what a struct type looks like from the file.
type shape struct {
	fields map[string]structField
	names  []string // in the order of the struct
	node   []int    // index of a field that wants the struct's own node
}

type structField struct {
	index    []int
	typ      reflect.Type
	required bool
	enum     []string
	rules    []rule
}

type rule struct{ name, value string }

var shapes sync.Map // reflect.Type to *shape

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{fields: map[string]structField{}}
	s.collect(t, nil)
	actual, _ := shapes.LoadOrStore(t, s)
	return actual.(*shape)
}

func (s *shape) collect(t reflect.Type, prefix []int) {
	var embedded []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case f.Type == nodeType && tag == "-":
			s.node = append(slices.Clone(prefix), i)
			continue
		case tag == "-", !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			embedded = append(embedded, f)
			continue
		case name == "":
			name = f.Name
		}
		if _, have := s.fields[name]; have {
			continue // the outer one hides it
		}
		sf := structField{index: append(slices.Clone(prefix), i), typ: f.Type}
		for _, part := range strings.Split(strings.ReplaceAll(f.Tag.Get("jsonschema"), `\,`, ";"), ",") {
			key, value, _ := strings.Cut(part, "=")
			switch key {
			case "required":
				sf.required = true
			case "enum":
				sf.enum = append(sf.enum, value)
			case "minimum", "maximum", "minLength", "minItems":
				sf.rules = append(sf.rules, rule{key, value})
			}
		}
		s.fields[name] = sf
		s.names = append(s.names, name)
	}
	for _, f := range embedded {
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			s.collect(inner, append(slices.Clone(prefix), f.Index...))
		}
	}
}

func isDuration(t reflect.Type) bool { return t.Name() == "Duration" }

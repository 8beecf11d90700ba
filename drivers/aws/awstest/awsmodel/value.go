package awsmodel

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The values that judges see are those of all protocols: map[string]any, []any, and leaves: string, float64, bool, time.Time (of
// CBOR), and word, which is a leaf whose type the wire does not tell.
type word string

// finder collects what does not fit.
type finder struct {
	s     *service
	asked bool // it is a request that is judged
	found []string
}

func (f *finder) say(path, format string, args ...any) {
	f.found = append(f.found, strings.TrimPrefix(path, ".")+" "+fmt.Sprintf(format, args...))
}

// value judges v at path against a shape. in is the structure.member that it is, for what the documents say besides.
func (f *finder) value(path, in string, sh *shape, v any) {
	switch sh.Type {
	case "structure":
		f.structure(path, sh, v)
	case "list":
		list, ok := v.([]any)
		if !ok {
			f.say(path, "is no list")
			return
		}
		f.size(path, sh, float64(len(list)), "members")
		for n, one := range list {
			f.value(path+"["+strconv.Itoa(n)+"]", sh.name, f.s.of(sh.Member), one)
		}
	case "map":
		m, ok := v.(map[string]any)
		if !ok {
			f.say(path, "is no map")
			return
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			f.value(path+"."+k, sh.name, f.s.of(sh.Value), m[k])
		}
	default:
		f.leaf(path, in, sh, v)
	}
}

func (f *finder) structure(path string, sh *shape, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		f.say(path, "is no %s", sh.name)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		member, known := sh.Members[k]
		if !known {
			f.say(path, "has %s, which is no member of %s", k, sh.name)
			continue
		}
		f.value(path+"."+k, sh.name+"."+k, f.s.of(member), m[k])
	}
	for _, k := range sh.Required {
		if _, there := m[k]; !there {
			f.say(path, "lacks %s, which %s needs", k, sh.name)
		}
	}
}

// size judges a length or a number against the model's bounds.
func (f *finder) size(path string, sh *shape, n float64, unit string) {
	if sh.Min != nil && n < *sh.Min {
		f.say(path, "has %v %s, fewer than %v of %s", n, unit, *sh.Min, sh.name)
	}
	if sh.Max != nil && n > *sh.Max {
		f.say(path, "has %v %s, more than %v of %s", n, unit, *sh.Max, sh.name)
	}
}

func (f *finder) leaf(path, in string, sh *shape, v any) {
	switch sh.Type {
	case "string", "character":
		text, ok := v.(string)
		if w, untyped := v.(word); untyped {
			text, ok = string(w), true
		}
		if !ok {
			f.say(path, "is no text: %v", v)
			return
		}
		f.text(path, in, sh, text)
	case "boolean":
		if _, ok := v.(bool); !ok && v != word("true") && v != word("false") {
			f.say(path, "is no boolean: %v", v)
		}
	case "integer", "long", "short":
		n, ok := number(v)
		if !ok || n != math.Trunc(n) {
			f.say(path, "is no %s: %v", sh.Type, v)
			return
		}
		f.size(path, sh, n, "as its value")
	case "float", "double":
		if _, ok := number(v); !ok {
			f.say(path, "is no number: %v", v)
		}
	case "timestamp":
		f.timestamp(path, v)
	case "blob":
	default:
		f.say(path, "has the type %q, which nobody judges", sh.Type)
	}
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case word:
		n, err := strconv.ParseFloat(string(v), 64)
		return n, err == nil
	}
	return 0, false
}

// timestamp takes what each protocol's timestamps are unless a model says otherwise, which none of the members that drivers read
// does: ISO 8601 in XML and in Query requests, seconds in JSON, tagged numbers in CBOR.
func (f *finder) timestamp(path string, v any) {
	switch v := v.(type) {
	case time.Time, float64:
	case word:
		if _, err := time.Parse(time.RFC3339, string(v)); err != nil {
			f.say(path, "is no timestamp: %v", v)
		}
	default:
		f.say(path, "is no timestamp: %v", v)
	}
}

// text judges a text by the model, and by what the documents say besides.
func (f *finder) text(path, in string, sh *shape, text string) {
	words := sh.Enum
	if said := States(in); said != nil && !f.asked {
		words = said
	}
	if len(words) > 0 && text != Tomorrow && !slices.Contains(words, text) {
		f.say(path, "is %q, none of %s: %s", text, in, strings.Join(words, ", "))
	}
	if !f.asked {
		return // servers say what they have
	}
	f.size(path, sh, float64(utf8.RuneCountInString(text)), "characters")
	if re := pattern(sh.Pattern); sh.Pattern != "" && re != nil && !re.MatchString(text) {
		f.say(path, "is %q, which is not as the pattern of %s: %s", text, sh.name, sh.Pattern)
	}
	rule, there := rules[in]
	n := utf8.RuneCountInString(text)
	switch {
	case !there:
	case n < rule.min || n > rule.max:
		f.say(path, "has %d characters, and not from %d to %d (%s)", n, rule.min, rule.max, rule.source)
	case !rule.form.MatchString(text):
		f.say(path, "is %q, which is not as documented (%s)", text, rule.source)
	}
}

package driver

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// reference is ${resource.output} in a string of a resource's settings; $${…} stands for a literal ${…}. References
// that begin with "self." are the driver's own: they are left as they are, for the driver to fill.
var reference = regexp.MustCompile(`\$?\$\{([^}]*)\}`)

// Refs lists the references in settings, each once, in order of their names, without the ${}.
func Refs(settings json.RawMessage) []string {
	var out []string
	walkStrings(settings, func(s string) (string, error) {
		for _, m := range reference.FindAllStringSubmatch(s, -1) {
			if m[0][1] != '$' && !own(m[1]) && !slices.Contains(out, m[1]) {
				out = append(out, m[1])
			}
		}
		return s, nil
	})
	slices.Sort(out)
	return out
}

// Unfilled reports whether a text still holds a reference: to what a step will say that has not run.
func Unfilled(text string) bool { return strings.Contains(text, "${") }

// FillKnown replaces the references in settings that have a value and leaves the others: a step that stops something
// needs no address of what it would be started against.
func FillKnown(settings json.RawMessage, values map[string]model.Value) (json.RawMessage, error) {
	if len(values) == 0 {
		return settings, nil
	}
	return walkStrings(settings, func(s string) (string, error) {
		return reference.ReplaceAllStringFunc(s, func(m string) string {
			if v, ok := values[m[min(2, len(m)):len(m)-1]]; ok && m[1] != '$' {
				return v.Text
			}
			return m
		}), nil
	})
}

// Fill replaces each reference in settings by its value. A reference without a value is failure.Invalid.
func Fill(settings json.RawMessage, values map[string]model.Value) (json.RawMessage, error) {
	return walkStrings(settings, func(s string) (string, error) {
		var missing string
		complete := true
		filled := reference.ReplaceAllStringFunc(s, func(m string) string {
			if m[1] == '$' {
				return m[1:]
			}
			name := m[2 : len(m)-1]
			if own(name) {
				return m
			}
			v, ok := values[name]
			if !ok {
				missing, complete = name, false
				return m
			}
			return v.Text
		})
		if !complete {
			return "", failure.New(failure.Invalid, "fill in", "${"+missing+"}", "no earlier step has left this output").
				WithHint("name it in needs, or set it with: lifeboat run skip RUN STEP --set")
		}
		return filled, nil
	})
}

func own(ref string) bool { return strings.HasPrefix(ref, "self.") }

// walkStrings rewrites every string value (not object keys) of a JSON document.
func walkStrings(raw json.RawMessage, f func(string) (string, error)) (json.RawMessage, error) {
	if len(raw) == 0 {
		return raw, nil
	}
	var doc any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "read settings", "")
	}
	var walk func(v any) (any, error)
	walk = func(v any) (any, error) {
		var err error
		switch v := v.(type) {
		case string:
			return f(v)
		case []any:
			for i := range v {
				if v[i], err = walk(v[i]); err != nil {
					return nil, err
				}
			}
		case map[string]any:
			for k := range v {
				if v[k], err = walk(v[k]); err != nil {
					return nil, err
				}
			}
		}
		return v, nil
	}
	doc, err := walk(doc)
	if err != nil {
		return nil, err
	}
	return json.Marshal(doc)
}

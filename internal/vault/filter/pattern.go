package filter

import (
	"path"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// part is one component of a pattern.
type part struct {
	text  string
	plain bool // without wildcards
	many  bool // "**": any number of components
}

// pattern is one parsed pattern.
type pattern struct {
	parts   []part // an absolute pattern's first is "/"
	negated bool
}

// parse reads a pattern, which is not empty. What path.Match refuses is Invalid.
func parse(text string) (pattern, error) {
	var p pattern
	clean := text
	if clean[0] == '!' {
		p.negated, clean = true, clean[1:]
	}
	for _, c := range split(path.Clean(clean)) {
		if _, err := path.Match(c, c); err != nil {
			return pattern{}, failure.New(failure.Invalid, "read a pattern", text, "%q is not well formed", c).
				WithHint("every [ needs its ], and a \\ something to escape")
		}
		// "/" alone ends in an empty component, and is all that there is.
		p.parts = append(p.parts, part{text: c, plain: !strings.ContainsAny(c, `\[]*?`), many: c == "**" || c == ""})
	}
	return p, nil
}

// split cuts a cleaned path into its components; an absolute one begins with "/".
func split(p string) []string {
	parts := strings.Split(p, "/")
	if parts[0] == "" {
		parts[0] = "/"
	}
	return parts
}

func (p pattern) absolute() bool { return p.parts[0].text == "/" }

// double is where the first "**" is, or -1.
func double(parts []part) int {
	for i := range parts {
		if parts[i].many {
			return i
		}
	}
	return -1
}

// match reports whether the pattern covers some consecutive components of a path: a pattern for a directory covers all
// that is in it.
func match(parts []part, path []string) bool {
	if at := double(parts); at >= 0 {
		// "**" stands for every number of components that leaves enough for the others.
		grown := make([]part, at, len(path)+len(parts))
		copy(grown, parts[:at])
		for n := 0; n <= len(path)-len(parts)+1; n++ {
			if n > 0 {
				grown = append(grown[:at+n-1], part{text: "*"})
			}
			if match(append(grown[:at+n], parts[at+1:]...), path) {
				return true
			}
		}
		return false
	}
	if len(parts) == 0 {
		return len(path) == 0
	}
	first, last := 0, len(path)-len(parts)
	switch {
	case parts[0].text == "/":
		last = min(last, 0)
	case path[0] == "/":
		first = 1
	}
	for off := last; off >= first; off-- {
		if covers(parts, path[off:]) {
			return true
		}
	}
	return false
}

// covers reports whether each part matches the component at its place. Names differ most often at the end.
func covers(parts []part, names []string) bool {
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i].plain {
			if parts[i].text != names[i] {
				return false
			}
			continue
		}
		if ok, err := path.Match(parts[i].text, names[i]); !ok || err != nil {
			return false
		}
	}
	return true
}

// below reports whether the pattern may match something below a path.
func (p pattern) below(path []string) bool {
	if !p.absolute() {
		return true
	}
	if at := double(p.parts); at >= 0 && len(path) >= at {
		path = path[:at]
	}
	return match(p.parts[:min(len(path), len(p.parts))], path)
}

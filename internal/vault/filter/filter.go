// Package filter decides by patterns which paths are meant: what a backup leaves out and what a restore brings back.
//
// The patterns are restic's (doc/040_backup.rst, "Excluding Files", in restic's repository), so that lists which people
// have go on to mean the same. A pattern that begins with "/" is held against the whole path, every other one against
// any consecutive components of it; "*", "?" and "[a-z]" match within a component, "**" any number of components; "!" in
// front takes back what earlier patterns matched. A pattern that matches a directory matches all that is in it. The
// package looks at names only: sizes, file systems and cache tags are the archiver's. Start with [Rules.Compile].
package filter

import (
	"errors"
	"slices"
	"strings"
)

// Rules are patterns as they are given on a command line or in a configuration. Those in files come after the others,
// and all of Patterns before all of Fold: a "!" takes back only what its own kind matched.
type Rules struct {
	Patterns []string // empty ones are passed over
	// Fold are patterns that do not tell capital from small letters.
	Fold []string
	// Files and FoldFiles name files with more patterns: see ReadPatterns.
	Files, FoldFiles []string
	// Env gives the environment variables in those files; nil: os.Getenv.
	Env func(string) string
}

// Set is what Rules say, ready to be asked. The zero Set, and nil, match nothing. It may be used by several goroutines
// at once.
type Set struct{ exact, fold list }

// Compile reads the files and parses all patterns. Invalid, naming each of them: patterns that are not well formed.
func (r Rules) Compile() (*Set, error) {
	files, err := ReadPatterns(r.Files, r.Env)
	if err != nil {
		return nil, err
	}
	foldFiles, err := ReadPatterns(r.FoldFiles, r.Env)
	if err != nil {
		return nil, err
	}
	fold := slices.Concat(r.Fold, foldFiles)
	for i := range fold {
		fold[i] = strings.ToLower(fold[i])
	}
	var s Set
	var errs [2]error
	s.exact, errs[0] = parseList(slices.Concat(r.Patterns, files))
	s.fold, errs[1] = parseList(fold)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	return &s, nil
}

// Empty reports whether there is no pattern at all.
func (s *Set) Empty() bool { return s == nil || len(s.exact.patterns)+len(s.fold.patterns) == 0 }

// Match reports whether path, with slashes, is meant. The empty path never is.
func (s *Set) Match(path string) bool {
	matched, _ := s.decide(path, false)
	return matched
}

// Below reports whether path is meant, and whether something below it may be: a restore of what matches need not look
// into a directory for which both are false.
func (s *Set) Below(path string) (matched, below bool) { return s.decide(path, true) }

func (s *Set) decide(path string, children bool) (matched, below bool) {
	if path == "" || s.Empty() {
		return false, false
	}
	if len(s.exact.patterns) > 0 {
		matched, below = s.exact.decide(split(path), children)
	}
	if len(s.fold.patterns) > 0 && !(matched && (below || !children)) {
		m, b := s.fold.decide(split(strings.ToLower(path)), children)
		matched, below = matched || m, below || b
	}
	return matched, below
}

// list is some patterns in order.
type list struct {
	patterns []pattern
	negated  bool // one of them is
}

func parseList(texts []string) (list, error) {
	var l list
	var bad []error
	for _, text := range texts {
		if text == "" {
			continue
		}
		p, err := parse(text)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		l.negated = l.negated || p.negated
		l.patterns = append(l.patterns, p)
	}
	return l, errors.Join(bad...)
}

// decide lets each pattern add to what is meant, or take from it.
func (l list) decide(path []string, children bool) (matched, below bool) {
	for _, p := range l.patterns {
		m := match(p.parts, path)
		if p.negated {
			matched, below = matched && !m, below && !m
			continue
		}
		matched = matched || m
		if children {
			below = below || p.below(path)
		}
		if matched && (below || !children) && !l.negated {
			break
		}
	}
	return matched, below
}

package filter_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
)

// TestMatch holds what is easy to say; restic judges the rest.
func TestMatch(t *testing.T) {
	for _, test := range []struct {
		patterns, path string
		want           bool
	}{
		{"*.go", "/srv/x/a.go", true}, {"*.go", "/srv/x/a.go/below", true}, {"*.go", "/srv/x/a.c", false},
		{"/srv", "/srv", true}, {"/srv", "/srv/x", true}, {"/srv", "/x/srv", false}, {"srv", "/x/srv/y", true},
		{"x/*.o", "/a/x/b.o", true}, {"x/*.o", "/a/x/y/b.o", false}, {"x/**/*.o", "/a/x/y/z/b.o", true}, {"x/**/b.o", "/a/x/b.o", true},
		{"/a/**/z", "/a/z", true}, {"/a/**/z", "/b/a/z", false}, {"**", "/a", true}, {"/**", "/a/b", true}, {"a//b/", "/x/a/b", true}, {"./a", "/x/a", true},
		{"A", "/a", false}, {"*.c !keep.c", "/keep.c", false}, {"*.c !keep.c", "/lose.c", true}, {"!keep.c *.c", "/keep.c", true}, {"*.c !keep.c keep.*", "/keep.c", true},
		{`\*`, "/*", true}, {`\*`, "/a", false}, {"[^a]", "/b", true}, {"[^a]", "/a", false}, {"é?", "/éé", true}, {"", "/a", false},
		{"/", "/a", true}, {"/x/..", "/a/b", true}, {"* !/", "/a", false},
	} {
		s, err := filter.Rules{Patterns: strings.Split(test.patterns, " ")}.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Match(test.path); got != test.want {
			t.Errorf("%q on %q: %v", test.patterns, test.path, got)
		}
	}
}

func TestFold(t *testing.T) {
	s, err := filter.Rules{Fold: []string{"*.JPG", "Straße"}, Patterns: []string{"b.Gif"}}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/a.jpg": true, "/A.Jpg": true, "/STRAßE": true, "/b.gif": false, "/b.Gif": true, "/c": false} {
		if got := s.Match(path); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, test := range []struct {
		pattern, path  string
		matched, below bool
	}{
		{"/a/b/c", "/a", false, true}, {"/a/b/c", "/a/b", false, true}, {"/a/b/c", "/a/b/c", true, true}, {"/a/b/c", "/a/x", false, false},
		{"/a/**/c", "/a/x/y", false, true}, {"/a/**/c", "/b", false, false}, {"c", "/a", false, true}, {"/a/*", "/a", false, true}, {"/a/*", "/b", false, false},
	} {
		s, err := filter.Rules{Patterns: []string{test.pattern}}.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if m, b := s.Below(test.path); m != test.matched || b != test.below {
			t.Errorf("%q on %q: %v, %v", test.pattern, test.path, m, b)
		}
	}
}

func TestEmpty(t *testing.T) {
	var none *filter.Set
	s, err := filter.Rules{Patterns: []string{""}}.Compile()
	if err != nil || !s.Empty() || !none.Empty() || none.Match("/a") || s.Match("/a") {
		t.Errorf("%v, %v", s, err)
	}
	if s, err = (filter.Rules{Fold: []string{"x"}}).Compile(); err != nil || s.Empty() || s.Match("") {
		t.Errorf("%v, %v", s, err)
	}
}

func TestBadPatterns(t *testing.T) {
	_, err := filter.Rules{Patterns: []string{"good", "[bad", "a/[]/b"}, Fold: []string{`x\`}}.Compile()
	if !errors.Is(err, failure.Invalid) {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"[bad", "a/[]/b", `x\`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not named in: %v", part, err)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadPatterns(t *testing.T) {
	env := func(name string) string { return map[string]string{"DIR": "/srv"}[name] }
	text := "# comment\n\n  *.go  \n$DIR/cache\n${DIR}/x\n$$HOME\n$UNSET/y\r\n\t# also\n!a#b\nlast"
	got, err := filter.ReadPatterns([]string{write(t, text)}, env)
	want := []string{"*.go", "/srv/cache", "/srv/x", "$HOME", "/y", "!a#b", "last"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for name, text := range map[string]string{"mark": "\xef\xbb\xbfé", "little": "\xff\xfe\xe9\x00", "big": "\xfe\xff\x00\xe9"} {
		if got, err := filter.ReadPatterns([]string{write(t, text)}, env); err != nil || len(got) != 1 || got[0] != "é" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := filter.ReadPatterns([]string{write(t, "\xff\xfex")}, env); !errors.Is(err, failure.Invalid) {
		t.Errorf("half a character: %v", err)
	}
	if _, err := filter.ReadPatterns([]string{filepath.Join(t.TempDir(), "none")}, env); !errors.Is(err, failure.NotFound) {
		t.Errorf("no file: %v", err)
	}
	// Those of files come after the others, so that a "!" in a file takes back.
	s, err := filter.Rules{Patterns: []string{"*.go"}, Files: []string{write(t, "!keep.go")}, FoldFiles: []string{write(t, "*.C")}}.Compile()
	if err != nil || s.Match("/keep.go") || !s.Match("/x.go") || !s.Match("/x.c") {
		t.Errorf("%v", err)
	}
}

func TestLists(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a1", "a2", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := filter.Lists{
		Glob:     []string{write(t, "# x\n"+dir+"/a*\n\n "+dir+"/b \n"+dir+"/none*\n")},
		Verbatim: []string{"-", write(t, " # no comment \n\n"+dir+"/a*\n")},
		Raw:      []string{write(t, "line\nbreak\x00#\x00"), write(t, "")},
	}
	got, unmatched, err := l.Read(strings.NewReader("from stdin\n"))
	want := []string{dir + "/a1", dir + "/a2", dir + "/b", "from stdin", " # no comment ", dir + "/a*", "line\nbreak", "#"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{dir + "/none*"}, unmatched); diff != "" {
		t.Error(diff)
	}
	for name, l := range map[string]filter.Lists{
		"cut off":        {Raw: []string{write(t, "a\x00b")}},
		"an empty path":  {Raw: []string{write(t, "a\x00\x00")}},
		"a bad pattern":  {Glob: []string{write(t, "[")}},
		"standard input": {Raw: []string{"-"}},
	} {
		if _, _, err := l.Read(nil); !errors.Is(err, failure.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMatch holds that nothing panics, and that what matches a directory matches all that is in it.
func FuzzMatch(f *testing.F) {
	for _, p := range []string{"*.go", "/a/**/b", "!x", "[a-z]", "**", "/", "!", ".", "..", "a/../b", "**/**/a", "\\", "[", "/**"} {
		f.Add(p, "/a/b/c", "x")
	}
	f.Fuzz(func(t *testing.T, pattern, path, name string) {
		if strings.Count(pattern, "**") > 4 || len(path) > 200 || len(pattern) > 200 || strings.Contains(name, "/") || name == "" {
			return
		}
		s, err := filter.Rules{Patterns: []string{pattern}}.Compile()
		if err != nil {
			return
		}
		matched, below := s.Below(path)
		if matched != s.Match(path) {
			t.Errorf("Match and Below disagree on %q: %q", pattern, path)
		}
		clean := filepath.Clean(path)
		if filepath.IsAbs(path) && clean == path && path != "/" && s.Match(path) && !s.Match(path+"/"+name) {
			t.Errorf("%q matches %q and not %q in it", pattern, path, name)
		}
		if filepath.IsAbs(path) && clean == path && path != "/" && s.Match(path+"/"+name) && !below {
			t.Errorf("%q matches %q in %q and says that nothing there may", pattern, name, path)
		}
	})
}

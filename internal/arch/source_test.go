package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The bounds of what a reader holds in mind. A file or a function beyond them is a reason to think, and to split.
const (
	maxFile     = 600
	maxFunction = 80
)

// maySkip lists the test files that may skip, with the reason. A server that is missing is none.
var maySkip = map[string]string{
	"drivers/postgres/vaultlife_test.go":    "it moves real servers there and back in many ways, which takes minutes: LIFEBOAT_LONG=1",
	"internal/journal/etcd/sharing_test.go": "it looks into /proc, which only Linux has",
	"internal/vault/archiver/mount_test.go": "it mounts file systems, which takes root's rights",
}

// root is the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no go.mod above this test")
		}
		dir = filepath.Dir(dir)
	}
}

// files lists the repository's files, as git has them or would take them; without git, all that lie in the folder.
func files(t *testing.T) []string {
	t.Helper()
	top := root(t)
	var names []string
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	cmd.Dir = top
	if out, err := cmd.Output(); err == nil {
		names = strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	} else {
		err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(top, path)
			if err != nil {
				return err
			}
			if d.IsDir() && (rel == ".git" || rel == "bin") {
				return filepath.SkipDir
			}
			if d.Type().IsRegular() {
				names = append(names, rel)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(names) < 20 {
		t.Fatalf("%d files are found: that cannot be all", len(names))
	}
	return names
}

// source is one Go file of ours.
type source struct {
	name string // relative, with slashes
	text []byte
	ast  *ast.File
	fset *token.FileSet
}

func (s source) test() bool { return strings.HasSuffix(s.name, "_test.go") }

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, name := range files(t) {
		if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), name))
		if os.IsNotExist(err) {
			continue // deleted, and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		fset := token.NewFileSet()
		parsed, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			t.Errorf("%s does not parse: %v", name, err)
			continue
		}
		all = append(all, source{filepath.ToSlash(name), text, parsed, fset})
	}
	return all
}

// TestSizes holds files and functions to what can be read at once. Tests may be long: their tables are.
func TestSizes(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() || ast.IsGenerated(s.ast) {
			continue
		}
		if n := bytes.Count(s.text, []byte("\n")); n > maxFile {
			t.Errorf("%s has %d lines, more than %d", s.name, n, maxFile)
		}
		for _, d := range s.ast.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFunction {
				t.Errorf("%s:%d: %s has %d lines, more than %d", s.name, s.line(f.Pos()), f.Name.Name, n, maxFunction)
			}
		}
	}
}

// TestPackageComments holds that each package says once, in at least two lines, what it is for.
func TestPackageComments(t *testing.T) {
	type said struct {
		files []string
		lines int
		text  string
	}
	docs := map[string]*said{}
	for _, s := range sources(t) {
		dir := filepath.ToSlash(filepath.Dir(s.name))
		if s.test() {
			continue
		}
		if docs[dir] == nil {
			docs[dir] = &said{}
		}
		if s.ast.Doc != nil {
			d := docs[dir]
			d.files = append(d.files, s.name)
			d.text = s.ast.Doc.Text()
			d.lines = strings.Count(d.text, "\n")
			want := "Package " + s.ast.Name.Name + " "
			if s.ast.Name.Name == "main" {
				want = "Command " + filepath.Base(dir) + " "
			}
			if !strings.HasPrefix(d.text, want) && !strings.HasPrefix(d.text, strings.TrimPrefix(want, "Command ")) {
				t.Errorf("%s: the package comment does not begin with %q", s.name, want)
			}
		}
	}
	texts := map[string]string{}
	for dir, d := range docs {
		switch {
		case len(d.files) == 0:
			t.Errorf("%s has no package comment", dir)
			continue
		case len(d.files) > 1:
			t.Errorf("%s has more than one package comment: %s", dir, strings.Join(d.files, ", "))
		case d.lines < 2:
			t.Errorf("%s: the package comment is shorter than two lines: what is it for, what is it not, how does one start?", dir)
		}
		if other, dup := texts[d.text]; dup {
			t.Errorf("%s and %s have the same package comment", dir, other)
		}
		texts[d.text] = dir
	}
}

// TestNoInit holds that nothing happens by being imported.
func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s:%d: an init function; register explicitly instead", s.name, s.line(f.Pos()))
			}
		}
	}
}

// TestSkips holds that tests run: a skip is earned and listed.
func TestSkips(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); !ok || !slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) {
				return true
			}
			used[s.name] = true
			if maySkip[s.name] == "" {
				t.Errorf("%s:%d: skips; fail and say what to install, or list the file with its reason in internal/arch", s.name, s.line(sel.Pos()))
			}
			return true
		})
	}
	for name := range maySkip {
		if !used[name] {
			t.Errorf("%s is listed as skipping, and does not", name)
		}
	}
}

// private are traces of the machine that something was written on. The patterns are put together here so that this file
// does not hold what it looks for.
var private = regexp.MustCompile(strings.Join([]string{
	`(^|[^\w.$}/-])/` + `(work|root|home/\w+|Users/\w+)/[\w.]`,
	`/tmp/` + `(bash_jobs|common|gomod)`,
	`GOPROXY` + `\s*=\s*["']?https?://`,
	`\b(arti` + `factory|ne` + `xus|jf` + `rog|verda` + `ccio)\b`,
	`index-url` + `\s*=?\s*https?://`,
}, "|"))

// TestNothingPrivate holds that the repository speaks of the project alone.
func TestNothingPrivate(t *testing.T) {
	for _, name := range files(t) {
		if name == "go.sum" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			continue // deleted and not yet committed, or no text
		}
		for i, line := range strings.Split(string(text), "\n") {
			if found := private.FindString(line); found != "" {
				t.Errorf("%s:%d: a path or a host of one machine: %q", name, i+1, strings.TrimSpace(found))
			}
		}
	}
	for text, want := range map[string]bool{
		"see /" + "work/main/x": true, "cd /" + "root/go": true, `"/` + `home/ann/x"`: true, "GO" + "PROXY=https://proxy.corp": true,
		"/srv/east/pgdata": false, "internal/root/x": false, "the root of /": false, "$DIR/work/x": false,
	} {
		if got := private.MatchString(text); got != want {
			t.Errorf("%q: private %v, want %v", text, got, want)
		}
	}
}

// TestMainIsShort holds that main wires and does nothing else.
func TestMainIsShort(t *testing.T) {
	lines := 0
	for _, s := range sources(t) {
		if strings.HasPrefix(s.name, "cmd/lifeboat/") && !s.test() {
			lines += bytes.Count(s.text, []byte("\n"))
		}
	}
	if lines > 250 {
		t.Errorf("cmd/lifeboat has %d lines: wiring takes fewer than 250", lines)
	}
}

// TestArchitectureIsComplete holds that docs/architecture.md, once it is there, speaks of every room.
func TestArchitectureIsComplete(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "architecture.md"))
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if !mentioned(string(text), path) {
			t.Errorf("docs/architecture.md does not mention %s", path)
		}
	}
}

// mentioned looks for a room by its path, or for DIR/{A,B} with its last part in braces.
func mentioned(text, path string) bool {
	if regexp.MustCompile(`(^|[^\w/])` + regexp.QuoteMeta(path) + `($|[^\w])`).MatchString(text) {
		return true
	}
	dir, last := filepath.Split(path)
	for _, m := range regexp.MustCompile(regexp.QuoteMeta(dir)+`\{([^}]*)\}`).FindAllStringSubmatch(text, -1) {
		if slices.Contains(strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' }), last) {
			return true
		}
	}
	return false
}

// entry is how an entry of the changelog begins: changelog/README.md.
var entry = regexp.MustCompile(`^(Enhancement|Bugfix|Change|Security): \S[^\n]*[^.\n]\n\n\S`)

// TestChangelog holds entries to the form that releases are made from.
func TestChangelog(t *testing.T) {
	n := 0
	for _, name := range files(t) {
		if filepath.Dir(filepath.Dir(name)) != "changelog" || filepath.Ext(name) != ".md" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		n++
		if !entry.Match(text) {
			t.Errorf("%s does not begin with a title such as \"Bugfix: What was wrong\" and an empty line", name)
		}
	}
	if n == 0 {
		t.Error("there is no entry")
	}
}

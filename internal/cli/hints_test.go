package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mention is a command line of ours in prose or code: everything that can be a command or a flag after the name.
var mention = regexp.MustCompile("lifeboat((?: +-{0,2}[a-z][a-z-]*)+)")

// TestHintsNameCommands holds that every command that a message, a comment or a page of the documentation names is there.
func TestHintsNameCommands(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, seen := strings.TrimSpace(string(out)), 0
	tree := newRoot(&invocation{Deps: Deps{}.withDefaults()})
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "testdata", "bin"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".md" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range mention.FindAllStringSubmatch(string(text), -1) {
			words := strings.Fields(m[1])
			if words[0] != "vault" {
				continue // the name in prose: "lifeboat keeps"
			}
			seen++
			at := tree
			for _, word := range words {
				if !at.HasSubCommands() || strings.HasPrefix(word, "-") {
					break
				}
				next := child(at, word)
				if next == nil {
					rel, _ := filepath.Rel(root, path)
					t.Errorf("%s names %q: there is no %q", rel, m[0], word)
					break
				}
				at = next
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("only %d mentions are found: the expression is wrong", seen)
	}
}

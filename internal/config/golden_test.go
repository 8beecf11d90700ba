package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestBrokenDocuments holds every message to the letter: testdata/bad has one document for each rule, named by its
// group, and what is said about it beside it. Rewrite with -update, and read the difference.
func TestBrokenDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 90 {
		t.Fatalf("the broken documents are gone: %d, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			content := readFile(t, file)
			_, err := decode([]byte(content), Name, "/conf/"+Name, testRegistry())
			var all *Error
			if !errors.As(err, &all) || failure.KindOf(err) != failure.Invalid {
				t.Fatalf("got %v, want an *Error of kind invalid", err)
			}
			checkProblems(t, all, content)
			got := err.Error() + "\n"
			if strings.Contains(got, "hunter2") || strings.Contains(got, "12345") {
				t.Errorf("the message holds the secret:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(readFile(t, golden), got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// checkProblems holds what is true of every problem: it is in the file, or about the file as a whole.
func checkProblems(t testing.TB, all *Error, content string) {
	t.Helper()
	lines := splitLines(content)
	if len(all.Problems) == 0 {
		t.Error("an error without a problem")
	}
	for _, p := range all.Problems {
		whole := strings.HasPrefix(p.Message, "the file is") || strings.HasPrefix(p.Message, "and ")
		switch {
		case p.Message == "" || strings.ContainsAny(p.Message+p.Hint, "\n\r"):
			t.Errorf("the message is not one line: %q, hint %q", p.Message, p.Hint)
		case p.Line == 0 && !whole:
			t.Errorf("no position: %q", p.Message)
		case p.Line > 0 && (p.Line > len(lines) || p.Column < 1 || p.Column > len([]rune(lines[p.Line-1]))+1):
			t.Errorf("%d:%d is outside of the file: %q", p.Line, p.Column, p.Message)
		}
	}
}

package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/all"
)

// yamlBlocks finds the YAML in a document.
var yamlBlocks = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")

// loadReal loads a document with the drivers that the binary has.
func loadReal(t *testing.T, doc string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), Name)
	if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, all.Registry(slog.New(slog.DiscardHandler))); err != nil {
		t.Errorf("%v", err)
	}
}

// TestDocumentsLoad loads every whole configuration of the documentation: those that begin with version.
func TestDocumentsLoad(t *testing.T) {
	for _, file := range []string{"configuration.md", "second-app.md", "aws-dr-orchestrator.md"} {
		t.Run(file, func(t *testing.T) {
			loaded := 0
			for _, m := range yamlBlocks.FindAllStringSubmatch(readFile(t, "../../docs/"+file), -1) {
				if strings.HasPrefix(m[1], "version: 1\n") {
					loadReal(t, m[1])
					loaded++
				}
			}
			if loaded == 0 {
				t.Error("there is no configuration in it")
			}
		})
	}
}

// switchedOff is a line of the template that is there to be switched on.
var switchedOff = regexp.MustCompile(`(?m)^( *)#(\S|  )`)

func TestTemplateLoads(t *testing.T) {
	loadReal(t, string(Template()))
	whole := switchedOff.ReplaceAllString(string(Template()), "$1$2")
	if whole == string(Template()) || !strings.Contains(whole, "\nplans:") {
		t.Error("nothing was switched on")
	}
	loadReal(t, whole)
}

package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/demo/process"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// TestMain builds the program.
func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// processes lists what runs because of a program that was started with variable in its environment and dir as its
// folder for temporary files: by what it inherited, by its command line, and by the folder it works in.
func processes(t *testing.T, variable, dir string) []string {
	t.Helper()
	table, err := process.Table()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, info := range table {
		names := slices.ContainsFunc(info.Args, func(arg string) bool { return strings.Contains(arg, dir+"/") })
		if names || strings.HasPrefix(process.Folder(info.PID), dir+"/") || process.HasEnv(info.PID, variable) {
			found = append(found, strings.Join(info.Args, " "))
		}
	}
	return found
}

// entries lists what is in a folder.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

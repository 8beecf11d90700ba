package cli

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestNothingBelowTheAPI holds the command line to the api, and keeps its start light.
func TestNothingBelowTheAPI(t *testing.T) {
	const module = "github.com/lifeboat-dr/lifeboat/"
	allowed := []string{"api", "failure", "model", "internal/cli", "internal/term", "internal/term/units", "secret"}
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"api") {
		t.Fatalf("the list is not one of dependencies: %q", deps)
	}
	for _, dep := range deps {
		if rest, ours := strings.CutPrefix(dep, module); ours && !slices.Contains(allowed, rest) {
			t.Errorf("internal/cli reaches %s", rest)
		}
		for _, heavy := range []string{"go.etcd.io/", "google.golang.org/grpc", "github.com/jackc/"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("internal/cli carries %s", dep)
			}
		}
	}
}

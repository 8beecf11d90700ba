package rest_test

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/rest"
)

// startServer starts restic's rest-server for the test, and gives what the script says of it.
func startServer(tb testing.TB, options ...string) map[string]string {
	tb.Helper()
	script, folder := filepath.Join("..", "..", "..", "..", "test", "servers", "rest-server.sh"), tb.TempDir()
	cmd := exec.Command(script, append([]string{"start", folder}, options...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s start: %v\n%s", script, err, said.String())
	}
	tb.Cleanup(func() {
		if out, err := exec.Command(script, "stop", folder).CombinedOutput(); err != nil {
			tb.Errorf("stop: %v\n%s", err, out)
		}
	})
	values := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), "=")
		values[key] = value
	}
	return values
}

// TestSuiteOnRestServer runs the suite against restic's own server.
func TestSuiteOnRestServer(t *testing.T) {
	server := startServer(t)
	blobtest.Run(t, func(tb testing.TB) blobtest.Place {
		url := server["URL"] + strings.ReplaceAll(filepath.Base(tb.Name()), "#", "-") + "/"
		return func() (blob.Store, error) { return rest.Open(rest.Options{URL: url}) }
	})
}

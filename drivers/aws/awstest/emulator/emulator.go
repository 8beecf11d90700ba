// Package emulator starts emulators of AWS for tests, by the scripts in test/servers: on loopback, on a free port, and ended with
// the test by their process id; and it runs the same steps on them and on the fake of AWS (drivers/aws/awstest), which it does not
// know itself. Start with [Start], or with [Compare].
package emulator

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Account is the one account that the emulators know.
const Account = "123456789012"

// The emulators. Both take any credentials and serve every region at one address.
const (
	Moto      = "moto"
	Ministack = "ministack"
)

// MotoIAM is for [Start]: the moto that it starts enforces signatures and IAM policies from the call after the first n on. Those are
// for making users and policies.
func MotoIAM(n int) string { return "INITIAL_NO_AUTH_ACTION_COUNT=" + strconv.Itoa(n) }

// root is the module's folder, found from this file.
func root() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..", "..", "..")
}

// startWithin is for installing an emulator, once on a machine, and for its start.
const startWithin = 10 * time.Minute

// Start starts an emulator that ends with the test, and gives its URL. What more says (NAME=VALUE) is in its environment. What keeps
// it from starting fails the test.
func Start(t testing.TB, name string, more ...string) string {
	t.Helper()
	script := filepath.Join(root(), "test", "servers", name+".sh")
	folder := t.TempDir()
	var stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, script, "start", folder)
	cmd.Env = append(os.Environ(), more...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s.sh start: %v: %s", name, err, stderr.String())
	}
	t.Cleanup(func() {
		if out, err := exec.Command(script, "stop", folder).CombinedOutput(); err != nil {
			t.Errorf("%s.sh stop: %v: %s", name, err, out)
		}
	})
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		if at, ok := strings.CutPrefix(lines.Text(), "ENDPOINT="); ok {
			return at
		}
	}
	t.Fatalf("%s.sh says no ENDPOINT: %s", name, out)
	return ""
}

// Models gives the folder of AWS's own models of its services: those of the botocore that moto is pinned with.
func Models(t testing.TB) string {
	t.Helper()
	script := filepath.Join(root(), "test", "servers", Moto+".sh")
	var stderr bytes.Buffer
	cmd := exec.Command(script, "build")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s.sh build: %v: %s", Moto, err, stderr.String())
	}
	program := strings.TrimSpace(string(out))
	found, err := filepath.Glob(filepath.Join(filepath.Dir(program), "..", "lib", "python3*", "site-packages", "botocore", "data"))
	if err != nil || len(found) != 1 {
		t.Fatalf("beside %s are the models of AWS in %d folders, not in one", program, len(found))
	}
	return found[0]
}

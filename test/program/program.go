// Package program builds the real lifeboat program and runs it for the tests that look at it from outside: test/e2e and
// test/crash.
//
// It knows nothing of what the program does; worlds to run it in are made by internal/demo/world. A test package's
// TestMain calls [Main]; then [Start] starts processes, each of which ends with its test.
package program

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience bounds every wait for something that has to happen. It is no measure of how long that may take.
const Patience = 4 * time.Minute

// built is the program under test.
var built string

// Path is the program that [Main] built.
func Path() string { return built }

// Main builds the program, runs the package's tests, and gives the exit code.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lifeboat-test-bin-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		built = filepath.Join(dir, "lifeboat")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", built, "github.com/lifeboat-dr/lifeboat/cmd/lifeboat").CombinedOutput(); err != nil {
			err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Long reports whether the long suites were asked for.
func Long() bool { return os.Getenv("LIFEBOAT_LONG") != "" }

// Folder makes one that other users may enter, as PostgreSQL's has to. It is removed at the end of the test.
func Folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lifeboat-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}

// Process is one lifeboat process, the leader of a process group. Its output goes to files, so that waiting for it never
// waits for its children.
type Process struct {
	Words string        // what follows the program's name
	Ended chan struct{} // closed when it is over

	t        *testing.T
	cmd      *exec.Cmd
	out, err string // paths
}

// Start starts lifeboat with words in a folder. It is killed at the end of the test if it still runs then.
func Start(t *testing.T, dir string, env []string, words ...string) *Process {
	t.Helper()
	logs := t.TempDir()
	p := &Process{t: t, Words: strings.Join(words, " "), cmd: exec.Command(built, words...), Ended: make(chan struct{}),
		out: filepath.Join(logs, "out"), err: filepath.Join(logs, "err")}
	out, err := os.Create(p.out)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.Create(p.err)
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env, p.cmd.Dir = out, errs, env, dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.Ended) }() // how it ended is in its ProcessState
	t.Cleanup(func() { p.Kill(); p.Wait() })
	return p
}

// PID is its process id, and that of its process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill kills the process alone, if it still runs: what it started lives on.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
}

// Signal sends the process a signal, if it still runs.
func (p *Process) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal %v to lifeboat %s: %v", sig, p.Words, err)
	}
}

// Wait waits until the process is over, and gives its exit code: -1 when it was killed, also because it did not end.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.Ended:
	case <-time.After(Patience):
		p.t.Errorf("lifeboat %s does not end; it said:\n%s", p.Words, p.Said())
		p.Kill()
		<-p.Ended
	}
	return p.cmd.ProcessState.ExitCode()
}

// KillAfter kills the process when it has run for d, and reports whether it did not end before.
func (p *Process) KillAfter(d time.Duration) bool {
	p.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.Ended:
		return false
	case <-timer.C:
		p.Kill()
		return p.Wait() == -1
	}
}

// Stop asks the process to end, and waits.
func (p *Process) Stop() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	p.Wait()
}

// Printed is what the process has written to standard output.
func (p *Process) Printed() []byte { return p.read(p.out) }

// Said is what it has written to standard error.
func (p *Process) Said() []byte { return bytes.TrimSpace(p.read(p.err)) }

func (p *Process) read(path string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		p.t.Error(err)
	}
	return b
}

// Answer reads the one JSON document that a process printed.
func Answer[T any](p *Process) T {
	p.t.Helper()
	var v T
	if err := json.Unmarshal(p.Printed(), &v); err != nil {
		p.t.Fatalf("lifeboat %s printed no document: %v\n%s\nand said:\n%s", p.Words, err, p.Printed(), p.Said())
	}
	return v
}

// Until asks until there is no error, and ends the test when Patience does.
func Until(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("wait for %s: %v", what, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

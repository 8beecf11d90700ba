package crash

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

// patience bounds every wait for something that has to happen. It is no measure of how long that may take.
const patience = 90 * time.Second

// binary is the lifeboat program that the tests kill.
var binary string

// TestMain builds the program. With etcdEnv set the test binary is an etcd, as a user would have one.
func TestMain(m *testing.M) {
	if folder := os.Getenv(etcdEnv); folder != "" {
		os.Exit(serveEtcd(folder))
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lifeboat-crash-bin-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		binary = filepath.Join(dir, "lifeboat")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", binary, "../../cmd/lifeboat").CombinedOutput(); err != nil {
			err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// long reports whether the long suite was asked for.
func long() bool { return os.Getenv("LIFEBOAT_LONG") != "" }

// folder makes one that other users may enter, as PostgreSQL's has to.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lifeboat-crash-")
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

// program is one lifeboat process. Its output goes to files, so that waiting for it never waits for its children.
type program struct {
	t        *testing.T
	words    string
	cmd      *exec.Cmd
	out, err string // paths
	ended    chan struct{}
	state    error // of Wait; set when ended is closed
}

// launch starts lifeboat with words. It is killed at the end of the test if it still runs then.
func launch(t *testing.T, dir string, env []string, words ...string) *program {
	t.Helper()
	out, err := os.CreateTemp(dir, "out-")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.CreateTemp(dir, "err-")
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	p := &program{t: t, words: strings.Join(words, " "), cmd: exec.Command(binary, words...),
		out: out.Name(), err: errs.Name(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env, p.cmd.Dir = out, errs, env, dir
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.state = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() { p.kill(); p.wait() })
	return p
}

// kill kills the process alone: what it started lives on.
func (p *program) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("kill lifeboat %s: %v", p.words, err)
	}
}

func (p *program) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signal lifeboat %s: %v", p.words, err)
	}
}

// wait waits until the process is over, and gives its exit code: -1 when it was killed.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("lifeboat %s does not end; it said:\n%s", p.words, p.said())
		p.kill()
		<-p.ended
	}
	return p.cmd.ProcessState.ExitCode()
}

// killAfter kills the process when it has run for d, and reports whether it did not end before.
func (p *program) killAfter(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ended:
		return false
	case <-timer.C:
		p.kill()
		return p.wait() == -1
	}
}

func (p *program) printed() []byte {
	b, err := os.ReadFile(p.out)
	if err != nil {
		p.t.Error(err)
	}
	return b
}

func (p *program) said() []byte {
	b, err := os.ReadFile(p.err)
	if err != nil {
		p.t.Error(err)
	}
	return bytes.TrimSpace(b)
}

// answer reads the one document that the program printed.
func answer[T any](p *program) T {
	p.t.Helper()
	var v T
	if err := json.Unmarshal(p.printed(), &v); err != nil {
		p.t.Fatalf("lifeboat %s printed no document: %v\n%s\nand said:\n%s", p.words, err, p.printed(), p.said())
	}
	return v
}

// until asks until there is no error, and ends the test when patience does.
func until(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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

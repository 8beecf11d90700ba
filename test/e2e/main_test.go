package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/demo/process"
)

// patience bounds every wait for something that has to happen. It is no measure of how long that may take.
const patience = 4 * time.Minute

// binary is the lifeboat program under test.
var binary string

// TestMain builds the program.
func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lifeboat-e2e-bin-")
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

// folder makes one that other users may enter, as PostgreSQL's has to.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lifeboat-e2e-")
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

// program is one lifeboat process, the leader of a process group, with its output in files.
type program struct {
	t        *testing.T
	words    string
	cmd      *exec.Cmd
	out, err string // paths
	ended    chan struct{}
}

// launch starts lifeboat with words in a folder.
func launch(t *testing.T, dir string, env []string, words ...string) *program {
	t.Helper()
	logs := t.TempDir()
	out, err := os.CreateTemp(logs, "out-")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.CreateTemp(logs, "err-")
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	p := &program{t: t, words: strings.Join(words, " "), cmd: exec.Command(binary, words...),
		out: out.Name(), err: errs.Name(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env, p.cmd.Dir = out, errs, env, dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }() // how it ended is in its ProcessState
	t.Cleanup(func() {
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("kill lifeboat %s: %v", p.words, err)
		}
		<-p.ended
	})
	return p
}

// wait waits until the process is over, and gives its exit code.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("lifeboat %s does not end; it said:\n%s", p.words, p.said())
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends a server.
func (p *program) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("stop %s: %v", p.words, err)
	}
	p.wait()
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *program) printed() []byte { return read(p.t, p.out) }
func (p *program) said() []byte    { return bytes.TrimSpace(read(p.t, p.err)) }

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

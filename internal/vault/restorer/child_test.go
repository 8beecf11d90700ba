//go:build linux

package restorer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
)

// childKey is the variable that makes this program run one restore instead of the tests.
const childKey = "LIFEBOAT_TEST_RESTORE"

// job is what a child is to do.
type job struct {
	Repo, Target string
	Root         object.ID
	Overwrite    restorer.Overwrite
	Delete       bool
	Verify       bool
	Tmpfs        string // mount one of this size on the target before
}

// outcome is what it says in the end.
type outcome struct {
	Error    string
	Result   *restorer.Result // without errors, which have no JSON
	Problems map[string]string
	Reduced  map[string]int
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childKey); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	if j.Tmpfs != "" {
		if err := syscall.Mount("none", j.Target, "tmpfs", 0, "size="+j.Tmpfs); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
	}
	ctx := context.Background()
	store, err := file.Open(j.Repo)
	if err != nil {
		return err
	}
	v, err := vault.Open(ctx, store, password, cheap)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	r, err := restorer.Run(ctx, v, j.Root, restorer.Options{Target: j.Target, Overwrite: j.Overwrite, Delete: j.Delete, Verify: j.Verify})
	out := outcome{Result: r, Problems: map[string]string{}, Reduced: map[string]int{}}
	if err != nil {
		out.Error = err.Error()
	}
	for _, p := range append(r.Problems, r.Differences...) {
		out.Problems[p.Path] = p.Err.Error()
	}
	for _, d := range r.Reduced {
		out.Reduced[d.What] = d.Count
	}
	r.Problems, r.Differences, r.Reduced = nil, nil, nil
	return json.NewEncoder(os.Stdout).Encode(out)
}

// start runs a restore in a process of its own. The returned function waits for what it says.
func start(t testing.TB, j job, attr *syscall.SysProcAttr) (*exec.Cmd, func() (outcome, error)) {
	t.Helper()
	text, err := json.Marshal(j)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	if attr != nil && attr.Credential != nil { // who may not come to where the tests' program lies
		self, err := os.Executable()
		must(t, err)
		program, err := os.ReadFile(self)
		must(t, err)
		copied := filepath.Join(t.TempDir(), "restore")
		must(t, os.WriteFile(copied, program, 0o755))
		cmd = exec.Command(copied)
	}
	cmd.Env = append(os.Environ(), childKey+"="+string(text))
	cmd.Dir = "/"
	cmd.SysProcAttr = attr
	var errs bytes.Buffer
	cmd.Stderr = &errs
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	ready := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(pipe, ready); err != nil {
		t.Fatalf("%v: %v\n%s", err, cmd.Wait(), errs.String())
	}
	return cmd, func() (outcome, error) {
		var out outcome
		decoded := json.NewDecoder(pipe).Decode(&out)
		if err := cmd.Wait(); err != nil {
			return out, fmt.Errorf("%w\n%s", err, errs.String())
		}
		return out, decoded
	}
}

package etcd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/test/leaks"
)

// helperEnv turns the test binary into a second lifeboat process, which opens the folder that the variable names.
const helperEnv = "LIFEBOAT_JOURNAL_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		os.Exit(helper(dir))
	}
	leaks.Main(m)
}

// helper opens the journal of dir, says "host" or "attached", and closes it when its standard input ends.
func helper(dir string) int {
	s, err := OpenFolder(context.Background(), dir, FolderOptions{Command: "helper"})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	role := "attached"
	if readHolder(dir).PID == os.Getpid() {
		role = "host"
	}
	fmt.Println(role)
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Close(); err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("closed")
	return 0
}

// process is a helper that runs.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    *bufio.Reader
	waited bool
}

func startProcess(tb testing.TB, dir string) *process {
	tb.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), helperEnv+"="+dir)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.kill)
	return p
}

// line reads what the helper says next.
func (p *process) line(tb testing.TB) string {
	tb.Helper()
	text, err := p.out.ReadString('\n')
	if err != nil {
		tb.Fatalf("the helper ended: %v", err)
	}
	return strings.TrimSpace(text)
}

// end lets the helper close its journal.
func (p *process) end(tb testing.TB) {
	tb.Helper()
	_ = p.stdin.Close()
	if got := p.line(tb); got != "closed" {
		tb.Errorf("the helper says %q, want %q", got, "closed")
	}
	p.waited = true
	if err := p.cmd.Wait(); err != nil {
		tb.Errorf("the helper: %v", err)
	}
}

func (p *process) kill() {
	if !p.waited {
		p.waited = true
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// within fails the test when fn takes longer than it may under any load.
func within(tb testing.TB, limit time.Duration, what string, fn func()) {
	tb.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		tb.Fatalf("%s took longer than %s", what, limit)
	}
}

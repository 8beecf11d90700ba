package hostexec

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
)

func TestArgv(t *testing.T) {
	cases := []struct {
		name string
		via  []string
		cmd  Command
		want []string
	}{
		{"direct", nil, Command{Argv: []string{"echo", "a b"}}, []string{"echo", "a b"}},
		{"runuser", []string{"runuser", "-u", "pg", "--"}, Command{Argv: []string{"echo", "a b"}},
			[]string{"runuser", "-u", "pg", "--", "echo", "a b"}},
		{"ssh quotes", []string{"ssh", "west"}, Command{Argv: []string{"echo", "it's", "$x"}},
			[]string{"ssh", "west", "echo", `'it'\''s'`, "'$x'"}},
		{"ssh by its path", []string{"/usr/bin/ssh", "west", "sudo"}, Command{Argv: []string{"a b"}},
			[]string{"/usr/bin/ssh", "west", "sudo", "'a b'"}},
		{"su -c", []string{"su", "pg", "-c"}, Command{Argv: []string{"echo", "a b"}},
			[]string{"su", "pg", "-c", "echo 'a b'"}},
		{"su -c behind ssh", []string{"ssh", "west", "su", "pg", "-c"}, Command{Argv: []string{"echo", "a b"}},
			[]string{"ssh", "west", "su", "pg", "-c", `'echo '\''a b'\'''`}},
		{"env and dir", []string{"nice"}, Command{Argv: []string{"pwd"}, Env: []string{"A=1"}, Dir: "/"},
			[]string{"nice", "sh", "-c", `cd "$1" && shift && exec "$@"`, "sh", "/", "env", "A=1", "pwd"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Host{Via: c.via}.Argv(c.cmd)); diff != "" {
				t.Errorf("argv (-want +got):\n%s", diff)
			}
		})
	}
}

// fakeSSH acts as sshd does: it joins the words by spaces and hands them to a shell.
func fakeSSH(t *testing.T) Host {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n[ \"$1\" = down ] && { echo 'no route' >&2; exit 255; }\nshift\nexec sh -c \"$*\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Host{Via: []string{path, "west"}}
}

func TestWordsArriveUnchanged(t *testing.T) {
	words := []string{"", "a b", "it's", `"q"`, "$HOME", "`id`", "*", "a\nb", `\`, "-n", "~", "é", ";|&<>", "#"}
	hosts := map[string]Host{
		"direct":  {},
		"env":     {Via: []string{"env"}},
		"sh -c":   {Via: []string{"sh", "-c"}},
		"ssh":     fakeSSH(t),
		"ssh env": {Via: append(fakeSSH(t).Via, "env")},
		"ssh su":  {Via: append(fakeSSH(t).Via, "sh", "-c")},
	}
	for name, h := range hosts {
		t.Run(name, func(t *testing.T) {
			res, err := h.Script(t.Context(), `for a; do printf '%s\0' "$a"; done`, words...)
			if err != nil || res.Code != 0 {
				t.Fatalf("got %v, %+v", err, res)
			}
			got := strings.Split(strings.TrimSuffix(string(res.Stdout), "\x00"), "\x00")
			if diff := cmp.Diff(words, got); diff != "" {
				t.Errorf("words (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCommand(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]Host{"direct": {}, "prefix": {Via: []string{"env"}}, "ssh": fakeSSH(t)} {
		t.Run(name, func(t *testing.T) {
			res, err := h.Exec(t.Context(), Command{
				Argv: []string{"sh", "-c", `cat; printf ' %s %s' "$COLOUR" "$PWD"; echo bad >&2; exit 3`},
				Env:  []string{"COLOUR=deep blue"}, Dir: dir, Stdin: strings.NewReader("in"),
			})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(res.Stdout), "in deep blue "+dir; got != want {
				t.Errorf("stdout: got %q, want %q", got, want)
			}
			bad := res.Err(failure.Conflict, "try", "it")
			if got, want := bad.Error(), "try it: bad (exit code 3)"; got != want || failure.KindOf(bad) != failure.Conflict {
				t.Errorf("error: got %q (%s), want %q (conflict)", got, failure.KindOf(bad), want)
			}
		})
	}
}

func TestKinds(t *testing.T) {
	ssh := fakeSSH(t).Via[0]
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		host Host
		argv []string
		want failure.Kind
	}{
		{"nothing", Host{}, nil, failure.Invalid},
		{"no such program", Host{}, []string{"lifeboat-no-such-program"}, failure.NotFound},
		{"no such path", Host{}, []string{"/nonexistent/program"}, failure.NotFound},
		{"not executable", Host{}, []string{plain}, failure.Denied},
		{"ssh down", Host{Via: []string{ssh, "down"}}, []string{"true"}, failure.Unavailable},
		{"not found behind ssh", Host{Via: []string{ssh, "west"}}, []string{"lifeboat-no-such-program"}, failure.NotFound},
		{"exit", Host{}, []string{"sh", "-c", "exit 9"}, failure.Internal},
		{"signal", Host{}, []string{"sh", "-c", "kill -9 $$"}, failure.Internal},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			res, err := c.host.Run(t.Context(), c.argv, nil)
			if err == nil {
				err = res.Err(failure.Internal, "run", "it")
			}
			if err == nil || failure.KindOf(err) != c.want {
				t.Errorf("got %v, want kind %s", err, c.want)
			}
		})
	}
}

func TestContextEndsTheWholeGroup(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := Host{}.Script(ctx, `sleep 1000 & echo $! >"$1.new"; mv "$1.new" "$1"; wait`, pidFile)
		ended <- err
	}()
	pid := waitForPid(t, pidFile)
	cancel()
	if err := <-ended; failure.KindOf(err) != failure.Canceled {
		t.Errorf("got %v, want kind canceled", err)
	}
	for alive(pid) { // a killed orphan stays for as long as init needs to reap it
		if t.Context().Err() != nil {
			t.Fatalf("process %d lives on", pid)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestDeadlineIsIndeterminate(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx := expiring{t.Context(), make(chan struct{})}
	go func() {
		for _, err := os.Stat(pidFile); err != nil && t.Context().Err() == nil; _, err = os.Stat(pidFile) {
			time.Sleep(time.Millisecond)
		}
		close(ctx.done)
	}()
	_, err := Host{}.Script(ctx, `echo $$ >"$1"; exec sleep 1000`, pidFile)
	if err == nil || failure.KindOf(err) != failure.Indeterminate {
		t.Errorf("got %v, want kind indeterminate", err)
	}
	if _, err = (Host{}).Run(ctx, []string{"true"}, nil); failure.KindOf(err) != failure.Unavailable {
		t.Errorf("never started: got %v, want kind unavailable", err)
	}
}

// expiring is a context whose deadline passes when a channel is closed.
type expiring struct {
	context.Context
	done chan struct{}
}

func (e expiring) Done() <-chan struct{} { return e.done }

func (e expiring) Err() error {
	select {
	case <-e.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestOutputIsBounded(t *testing.T) {
	res, err := Host{}.Script(t.Context(), `head -c 3000000 /dev/zero; echo end >&2`)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Stdout) != maxOutput || !res.Cut || string(res.Stderr) != "end\n" {
		t.Errorf("got %d bytes, cut %v, stderr %q", len(res.Stdout), res.Cut, res.Stderr)
	}
}

func TestGrandchildDoesNotHoldUs(t *testing.T) {
	res, err := Host{}.Script(t.Context(), `sleep 1000 & echo $!`)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(res.Text())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("the grandchild is gone: %v", err)
	}
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a b", "it's", "$(id)", "\\", "\n", "''", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			return
		}
		out, err := exec.Command("sh", "-c", "printf %s "+Quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("got %q (%v), want %q", out, err, s)
		}
	})
}

func waitForPid(t *testing.T, path string) int {
	t.Helper()
	for t.Context().Err() == nil {
		if text, err := os.ReadFile(path); err == nil {
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no pid was written")
	return 0
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

// Package hostexec runs commands on a host, directly or through a prefix such as "runuser -u postgres --" or
// "ssh db-west". It is the only way in which drivers touch files and processes of the sites they look after, so that a
// site on this machine, in a container or behind ssh is all the same to them.
//
// It is not a terminal, has no pseudo-terminal and never prompts: a command runs in a session of its own, so that
// nothing (ssh asking for a password, say) can wait for a person. It is no place for secrets either: arguments and
// environment are visible to other users of the host; hand a secret over by standard input.
//
// Start with a [Host] and [Host.Run] for one program or [Host.Script] for a few lines of sh. The answer is a [Result];
// [Result.Err] turns a bad exit into an error of package failure.
package hostexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// maxOutput bounds what is kept of each of a command's output streams, in bytes.
const maxOutput = 1 << 20

// waitDelay is how long a killed or ended command's pipes are still read: a grandchild may hold them open for ever.
const waitDelay = 500 * time.Millisecond

// sshFailed is the exit code by which ssh says that it, not the remote command, failed (ssh(1), EXIT STATUS).
const sshFailed = 255

// Host is where commands run. The zero Host is this machine, as the user we are.
type Host struct {
	// Via is put in front of every command, such as [runuser, -u, postgres, --]. When a word of it is ssh the command
	// goes through a shell on the other side, and its words are quoted for it; when its last word is -c (su, sh) the
	// command is handed over as one quoted word.
	Via []string `json:"via,omitempty"`
}

// Command is one command with what it needs. The zero values of all but Argv mean: nothing special.
type Command struct {
	Argv  []string
	Stdin io.Reader
	Env   []string // NAME=value, added to the environment; visible to others on the host, so never a secret
	Dir   string   // working directory on the host
}

// Result is how a command ended.
type Result struct {
	Stdout []byte
	Stderr []byte
	Code   int    // the exit code; -1 when a signal ended it
	Signal string // the signal's name, when one ended it
	Cut    bool   // more than 1 MiB came out of a stream and the rest was thrown away
	argv   []string
	remote bool
}

// Run runs argv and waits for its end. A nil stdin is an empty one. A command that ran to its end is no error, whatever
// its exit code says: ask [Result.Err].
//
// Errors: NotFound and Denied when the program (or the prefix's) cannot be started here, Unavailable when ssh does not
// get through, Invalid for an empty argv. When ctx ends first, the command's whole process group on this machine is
// killed and the error is Canceled, or Indeterminate when the time was up: it may have had its effect. Processes
// behind ssh are not reached by that: commands that must not go on alone are written so that they notice.
func (h Host) Run(ctx context.Context, argv []string, stdin io.Reader) (Result, error) {
	return h.Exec(ctx, Command{Argv: argv, Stdin: stdin})
}

// Script runs a POSIX sh script: args are its $1, $2 and so on, never pasted into its text.
func (h Host) Script(ctx context.Context, script string, args ...string) (Result, error) {
	return h.ScriptIn(ctx, nil, script, args...)
}

// ScriptIn is Script with standard input: the way to hand a secret or a file's content over.
func (h Host) ScriptIn(ctx context.Context, stdin io.Reader, script string, args ...string) (Result, error) {
	return h.Exec(ctx, Command{Argv: append([]string{"sh", "-c", script, "sh"}, args...), Stdin: stdin})
}

// Exec is Run with everything that a Command can say.
func (h Host) Exec(ctx context.Context, c Command) (Result, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return Result{}, failure.New(failure.Invalid, "run", "", "no command was given")
	}
	subject := filepath.Base(c.Argv[0])
	if err := ctx.Err(); err != nil {
		return Result{}, failure.WrapAs(failure.KindOf(err), context.Cause(ctx), "run", subject)
	}
	argv := h.Argv(c)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = c.Stdin
	stdout, err := newStream()
	if err != nil {
		return Result{}, startError(err, argv[0])
	}
	defer stdout.close()
	stderr, err := newStream()
	if err != nil {
		return Result{}, startError(err, argv[0])
	}
	defer stderr.close()
	cmd.Stdout, cmd.Stderr = stdout.to, stderr.to
	cmd.WaitDelay = waitDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if len(h.Via) == 0 {
		cmd.Dir = c.Dir
		if len(c.Env) > 0 {
			cmd.Env = append(os.Environ(), c.Env...)
		}
	}
	if err := cmd.Start(); err != nil {
		return Result{}, startError(err, argv[0])
	}
	stdout.begun()
	stderr.begun()
	err = cmd.Wait()
	until := time.Now().Add(waitDelay)
	stdout.end(until)
	stderr.end(until)
	res := Result{
		Stdout: stdout.kept.buf.Bytes(), Stderr: stderr.kept.buf.Bytes(), Cut: stdout.kept.cut || stderr.kept.cut,
		Code: cmd.ProcessState.ExitCode(), argv: argv, remote: h.remote(),
	}
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		res.Signal = st.Signal().String()
	}
	return res, res.judge(ctx, err, subject)
}

// judge turns how Wait ended into Exec's error.
func (r Result) judge(ctx context.Context, err error, subject string) error {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && (r.Signal != "" || err != nil):
		if errors.Is(ctx.Err(), context.Canceled) {
			return failure.WrapAs(failure.Canceled, context.Cause(ctx), "run", subject)
		}
		return failure.WrapAs(failure.Indeterminate, context.Cause(ctx), "run", subject).
			WithHint("the command was killed when its time was up; look at what it left before running it again")
	case r.remote && r.Code == sshFailed:
		return failure.New(failure.Unavailable, "run", subject, "%s", r.said("ssh did not get through")).
			WithHint("try by hand: %s true", strings.Join(r.argv[:min(2, len(r.argv))], " "))
	case err == nil, errors.As(err, &exit), errors.Is(err, exec.ErrWaitDelay):
		return nil
	}
	return failure.WrapAs(failure.Indeterminate, err, "run", subject)
}

// startError maps why a program could not be started.
func startError(err error, program string) error {
	kind, hint := failure.Unavailable, ""
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		kind, hint = failure.NotFound, "install it, or write its whole path"
	case errors.Is(err, fs.ErrPermission):
		kind, hint = failure.Denied, "may this user run it?"
	}
	return failure.WrapAs(kind, err, "run", program).WithHint("%s", hint)
}

// Argv is what really runs here for c: the prefix, and the command quoted as the prefix needs it.
func (h Host) Argv(c Command) []string {
	argv := slices.Clone(c.Argv)
	if len(h.Via) == 0 {
		return argv
	}
	if len(c.Env) > 0 {
		argv = append(append([]string{"env"}, c.Env...), argv...)
	}
	if c.Dir != "" {
		argv = append([]string{"sh", "-c", `cd "$1" && shift && exec "$@"`, "sh", c.Dir}, argv...)
	}
	switch {
	case h.Via[len(h.Via)-1] == "-c":
		one := Join(argv)
		if h.remote() {
			one = Quote(one)
		}
		argv = []string{one}
	case h.remote():
		for i := range argv {
			argv[i] = Quote(argv[i])
		}
	}
	return append(slices.Clone(h.Via), argv...)
}

// remote reports whether a shell on another host takes the words apart again.
func (h Host) remote() bool {
	return slices.ContainsFunc(h.Via, func(w string) bool { return filepath.Base(w) == "ssh" })
}

// String is the prefix, or "this machine".
func (h Host) String() string {
	if len(h.Via) == 0 {
		return "this machine"
	}
	return strings.Join(h.Via, " ")
}

// Text is the standard output without the white space around it.
func (r Result) Text() string { return strings.TrimSpace(string(r.Stdout)) }

// Err is nil when the command exited with 0, and otherwise an error with what it last said on standard error: NotFound
// and Denied for the shell's 127 and 126, else of the given kind.
func (r Result) Err(kind failure.Kind, op, subject string) error {
	switch {
	case r.Code == 0:
		return nil
	case r.Code == 127:
		kind = failure.NotFound
	case r.Code == 126:
		kind = failure.Denied
	}
	how := fmt.Sprintf("exit code %d", r.Code)
	if r.Signal != "" {
		how = "ended by signal: " + r.Signal
	}
	return failure.New(kind, op, subject, "%s", r.said(how))
}

// said is the last lines of standard error (else of standard output) in one line, with how it ended.
func (r Result) said(how string) string {
	text := strings.TrimSpace(string(r.Stderr))
	if text == "" {
		text = r.Text()
	}
	lines := strings.Split(text, "\n")
	if len(lines) > 4 {
		lines = lines[len(lines)-4:]
	}
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	text = strings.Trim(strings.Join(lines, "; "), "; ")
	if len(text) > 600 {
		text = "…" + text[len(text)-600:]
	}
	if text == "" {
		return how
	}
	return text + " (" + how + ")"
}

// Join quotes words for a POSIX shell and joins them by spaces.
func Join(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = Quote(w)
	}
	return strings.Join(quoted, " ")
}

// Quote makes one word of a POSIX shell out of text, whatever is in it.
func Quote(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./,:@%+", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

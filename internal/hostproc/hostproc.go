// Package hostproc looks after one detached program at a time in a folder on a host: it is started once for a token,
// survives the death of whoever started it, and is found again by anybody who knows the folder.
//
// It is no supervisor: nothing restarts a program that ended. It works on every host that [hostexec.Host] reaches and
// needs nothing there but a POSIX shell with flock and setsid (util-linux), or perl instead of them (macOS).
//
// # How a program is found again
//
// Two things say what runs in a folder: the file "proc" there (token, process id, and the process's start time, so that
// a recycled process id is never taken for ours), and the environment variable LIFEBOAT_FOLDER of the processes
// themselves, read in /proc/*/environ on Linux and with ps -E on macOS. The second needs no file: it holds also when
// the starter died between the start and the writing, and when the folder was taken away. It is inherited, so a
// program's children are found too; a program that clears its children's environment hides them from everything but
// the process group.
//
// An exclusive lock on the folder is held from before the intent (the token, written to "proc") until after the new
// process bears its mark, by the starter and by the process on its way, so that nobody sees a state in between.
//
// Start with a [Place] and [Place.Start]; [Place.Look], [Place.Signal] and [Place.Remove] need nothing else.
package hostproc

import (
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
)

// script is the part that runs on the host.
//
//go:embed hostproc.sh
var script string

// Exit codes of the script, from sysexits.h: EX_CANTCREAT, EX_TEMPFAIL, EX_UNAVAILABLE.
const (
	cannotCreate = 73
	locked       = 75
	missingTool  = 69
)

// Place is a folder on a host in which at most one program of ours runs.
type Place struct {
	Host   hostexec.Host
	Folder string // absolute; empty: ${XDG_STATE_HOME:-$HOME/.local/state}/lifeboat/NAME of the host's user
	Name   string // for the default folder: relative, such as "shop/web/east"
	Sub    string // a folder inside of it, if any
}

// Spec is what to start.
type Spec struct {
	Token string // idempotency key: a program is started at most once for it
	Same  string // fingerprint of what is started: a running program with the same one is left alone
	Argv  []string
	Dir   string
	Env   map[string]string // may hold secrets: it goes over standard input and is in no command line
	// Record waits for the program's end beside it and writes down its exit code. Without it the program replaces the
	// shell that starts it, and only that it ended can be known.
	Record bool
}

// State is what is known of a place.
type State struct {
	Folder   string // the whole path on the host
	Token    string // what was started last; empty: nothing ever was, or the folder is gone
	Same     string // its fingerprint
	Pid      int    // its process id; zero: the start was interrupted
	Running  []int  // processes that bear the folder's mark, the program's own first; empty: nothing runs
	Ended    bool   // it ran to its end, with exit code Code
	Code     int
	Canceled bool // somebody signalled it through this package
	Started  time.Time
	Tail     string // the end of what it wrote, of this start only
}

// Start starts spec unless its token was started here before, or anything runs here. The state says which: when its
// Token is spec's the program was started, now or earlier; when it is another one, that one's program runs and nothing
// was done.
//
// Errors: those of hostexec, Denied when the folder cannot be made, Conflict when its lock is held for long.
func (p Place) Start(ctx context.Context, spec Spec) (State, error) {
	if len(spec.Argv) == 0 || spec.Token == "" {
		return State{}, failure.New(failure.Internal, "start", p.Name, "a start needs a token and a command")
	}
	record := "0"
	if spec.Record {
		record = "1"
	}
	args := append([]string{spec.Token, spec.Same, record, spec.Dir}, spec.Argv...)
	return p.call(ctx, Exports(spec.Env), "start", args...)
}

// Look says what is known of the place and changes nothing.
func (p Place) Look(ctx context.Context) (State, error) { return p.call(ctx, "", "look") }

// Signal sends a signal (TERM, KILL) to everything that runs here and says what still runs then. With a token it does
// so only if that was started last.
func (p Place) Signal(ctx context.Context, signal, token string) (State, error) {
	return p.call(ctx, "", "signal", signal, token)
}

// Remove removes the folder with all that is in it. It refuses (Conflict) while something runs there, and for a place
// without a Sub (Invalid), which may hold what is not ours.
func (p Place) Remove(ctx context.Context) error {
	if p.Sub == "" || strings.Contains(p.Sub, "..") {
		return failure.New(failure.Invalid, "remove", p.Folder, "only a folder inside of a place is removed")
	}
	st, err := p.call(ctx, "", "remove")
	if err == nil && len(st.Running) > 0 {
		err = failure.New(failure.Conflict, "remove", st.Folder, "processes still run there: %s", Pids(st.Running))
	}
	return err
}

// Sweep removes the folders beside p (of the same parent) whose recorded programs ended more than that many days ago.
func (p Place) Sweep(ctx context.Context, days int) error {
	_, err := p.call(ctx, "", "sweep", strconv.Itoa(days))
	return err
}

func (p Place) call(ctx context.Context, stdin, op string, args ...string) (State, error) {
	folder := p.Folder
	if folder != "" {
		folder = path.Clean(folder)
	}
	all := append([]string{op, folder, p.Name, p.Sub}, args...)
	res, err := p.Host.ScriptIn(ctx, strings.NewReader(stdin), script, all...)
	if err != nil {
		return State{}, err
	}
	if err := scriptError(res, op, p); err != nil {
		return State{}, err
	}
	return parse(string(res.Stdout))
}

// scriptError maps how the script ended.
func scriptError(res hostexec.Result, op string, p Place) error {
	subject := p.Name
	if p.Folder != "" {
		subject = path.Join(p.Folder, p.Sub)
	}
	switch res.Code {
	case 0:
		return nil
	case cannotCreate:
		return failure.WrapAs(failure.Denied, res.Err(failure.Denied, "", ""), op, subject).
			WithHint("set folder to a place that the user on the host may write to")
	case locked:
		return failure.New(failure.Conflict, op, subject, "its lock is held").
			WithHint("another start is under way there; if it hangs, end it")
	case missingTool:
		return failure.WrapAs(failure.Unsupported, res.Err(failure.Unsupported, "", ""), op, subject).
			WithHint("install util-linux (flock, setsid) or perl on the host")
	}
	return res.Err(failure.Indeterminate, op, subject)
}

// Exports writes variables as lines of shell code, in order of their names: what a script reads from its standard input
// and evaluates, so that no value stands in a command line.
func Exports(env map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, hostexec.Quote(env[name]))
	}
	return b.String()
}

// parse reads what the script prints: name=value lines, an empty line, and the log's end in base64.
func parse(out string) (State, error) {
	var st State
	head, tail, found := strings.Cut(out, "\n\n")
	bad := func(what string) (State, error) {
		return st, failure.New(failure.Internal, "read state", "", "%s in %q", what, out)
	}
	if !found {
		return bad("no end")
	}
	var err error
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch name {
		case "folder":
			st.Folder = value
		case "token":
			st.Token = value
		case "same":
			st.Same = value
		case "pid":
			st.Pid, err = strconv.Atoi(value)
		case "running":
			for _, word := range strings.Fields(value) {
				var pid int
				if pid, err = strconv.Atoi(word); err != nil {
					break
				}
				st.Running = append(st.Running, pid)
			}
		case "exit":
			st.Ended = true
			st.Code, err = strconv.Atoi(value)
		case "canceled":
			st.Canceled = true
		case "started":
			var s int64
			s, err = strconv.ParseInt(value, 10, 64)
			st.Started = time.Unix(s, 0)
		}
		if err != nil {
			return bad(name)
		}
	}
	text, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(tail), ""))
	if err != nil {
		return bad("log")
	}
	st.Tail = strings.ToValidUTF8(strings.TrimSpace(string(text)), "�")
	return st, nil
}

// Pids writes process ids for people.
func Pids(pids []int) string {
	words := make([]string, len(pids))
	for i, pid := range pids {
		words[i] = strconv.Itoa(pid)
	}
	return strings.Join(words, ", ")
}

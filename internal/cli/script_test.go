package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

var update = flag.Bool("update", false, "rewrite golden files")

// bench is one script's state: a world, and how the next command is started.
type bench struct {
	world *world
	typed []byte // standard input of the next command
	tty   bool   // of all next commands
	code  int    // of the last command
	procs int
	keys  int
}

// deps are those of one process on the bench's world.
func (b *bench) deps(dir string, in io.Reader, out, errw io.Writer, getenv func(string) string) Deps {
	b.procs++
	tty := b.tty // as it is now: another process may be started otherwise meanwhile
	owner := fmt.Sprintf("ops@host:%d", b.procs)
	return Deps{
		Open: func(_ context.Context, opt OpenOptions) (api.Service, error) {
			if err := b.world.fails["Open"]; err != nil {
				return nil, err
			}
			if _, err := os.Stat(opt.Config); err != nil {
				return nil, failure.New(failure.NotFound, "read", filepath.Base(opt.Config), "there is no such file").
					WithHint("write one with `lifeboat init`")
			}
			opt.Log.Info("opened", "state", opt.State)
			return b.world.open(owner), nil
		},
		Documents: fakeDocuments{},
		Vaults:    func(OpenOptions, io.Writer) api.Vaults { return nil }, // what is wrong with a command line is said before it is asked
		Version:   "1.2.3",
		In:        in, Out: out, Err: errw,
		Getenv:     getenv,
		Getwd:      func() (string, error) { return dir, nil },
		Now:        b.world.clock,
		IsTerminal: func(stream any) bool { return tty && stream == any(in) },
		Whoami:     func() string { return "ann@ops" },
		NewKey:     func() string { b.keys++; return fmt.Sprintf("key-%d", b.keys) },
	}
}

const benchKey = "bench"

func benchOf(ts *testscript.TestScript) *bench { return ts.Value(benchKey).(*bench) }

// TestScripts runs testdata/script/*.txtar. Their own commands:
//
//	lifeboat ARGS     run a command line in this process; "! lifeboat" wants a failure
//	code N            the last command's exit code
//	tty               standard input is a terminal from here on
//	typed LINES       standard input of the next command; one argument a line
//	step ID OUTCOME.. what attempts of a step do: done, "fail TEXT"
//	approvals ID N    a step waits for people
//	finding SEVERITY STEP WHAT   plans have this finding
//	breaks METHOD KIND TEXT      a method of the service fails
//	apps ID...        the world's apps
//	round TEXT        one more round of protect: "ok", "down" or an error's text
//	shifting          every plan is another one
//	asked JSON        what the last run was started for
//	signaled N TEXT   the Nth signal that was sent, as written by %v
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Values[benchKey] = &bench{world: newWorld()}
			return os.WriteFile(filepath.Join(env.WorkDir, configName), []byte("app shop\nplan move-everything\n"), 0o644)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"lifeboat": func(ts *testscript.TestScript, neg bool, args []string) {
				b := benchOf(ts)
				in := bytes.NewReader(b.typed)
				b.typed = nil
				b.code = Main(context.Background(), args, b.deps(ts.MkAbs("."), in, ts.Stdout(), ts.Stderr(), ts.Getenv))
				if (b.code != 0) != neg {
					ts.Fatalf("exit code %d", b.code)
				}
			},
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				if got := strconv.Itoa(benchOf(ts).code); got != args[0] {
					ts.Fatalf("exit code %s, want %s", got, args[0])
				}
			},
			"tty": func(ts *testscript.TestScript, neg bool, _ []string) { benchOf(ts).tty = !neg },
			"typed": func(ts *testscript.TestScript, _ bool, args []string) {
				benchOf(ts).typed = []byte(strings.Join(args, "\n") + "\n")
			},
			"step": func(ts *testscript.TestScript, _ bool, args []string) {
				benchOf(ts).world.script[model.StepID(args[0])] = args[1:]
			},
			"approvals": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				for i := range benchOf(ts).world.steps {
					if s := &benchOf(ts).world.steps[i]; string(s.ID) == args[0] {
						s.Approvals = n
					}
				}
			},
			"finding": func(ts *testscript.TestScript, neg bool, args []string) {
				w := benchOf(ts).world
				if w.findings = nil; !neg {
					w.findings = []model.Finding{{
						Severity: model.Severity(args[0]), Code: "test", Step: model.StepID(args[1]), What: args[2], Fix: "mend it",
					}}
				}
			},
			"breaks": func(ts *testscript.TestScript, neg bool, args []string) {
				w := benchOf(ts).world
				if delete(w.fails, args[0]); !neg {
					var kind failure.Kind
					ts.Check(kind.UnmarshalText([]byte(args[1])))
					w.fails[args[0]] = failure.New(kind, "", "", "%s", args[2])
				}
			},
			"apps": func(ts *testscript.TestScript, _ bool, args []string) {
				w, list := benchOf(ts).world, ""
				w.apps = nil
				for _, a := range args {
					w.apps = append(w.apps, model.AppID(a))
					list += "app " + a + "\n"
				}
				ts.Check(os.WriteFile(ts.MkAbs(configName), []byte(list), 0o644))
			},
			"round": func(ts *testscript.TestScript, _ bool, args []string) {
				w := benchOf(ts).world
				ok := args[0] == "ok"
				r := &api.ProtectRound{At: w.now, ProbeOK: &ok, Markers: map[model.ResourceID]model.Marker{
					"db": {Seq: int64(len(w.rounds) + 1), At: w.now},
				}}
				if !ok && args[0] != "down" {
					r.Errors = []*failure.Error{failure.New(failure.Unavailable, "write marker", "db", "%s", args[0])}
				}
				w.rounds = append(w.rounds, r)
			},
			"asked": func(ts *testscript.TestScript, _ bool, args []string) {
				w := benchOf(ts).world
				w.mu.Lock()
				defer w.mu.Unlock()
				got, err := json.Marshal(w.starts[len(w.starts)-1].PlanRequest)
				ts.Check(err)
				if string(got) != args[0] {
					ts.Fatalf("asked for %s, want %s", got, args[0])
				}
			},
			"shifting": func(ts *testscript.TestScript, neg bool, _ []string) { benchOf(ts).world.shifts = !neg },
			"signaled": func(ts *testscript.TestScript, _ bool, args []string) {
				w := benchOf(ts).world
				w.mu.Lock()
				defer w.mu.Unlock()
				n, err := strconv.Atoi(args[0])
				ts.Check(err)
				if n > len(w.sent) {
					ts.Fatalf("%d signals were sent", len(w.sent))
				}
				s := w.sent[n-1]
				if got := fmt.Sprintf("%s %s %q by %s %v", s.Signal, s.Step, s.Reason, s.By, s.Set); got != args[1] {
					ts.Fatalf("signal %d is %s, want %s", n, got, args[1])
				}
			},
		},
	})
}

package rehearsal

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// script is a program in place of the binary.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestApart: what the program says is passed on; how it fails is said with what it left on standard error.
func TestApart(t *testing.T) {
	for _, c := range []struct{ name, text, verdict, err string }{
		{"well", `cat >/dev/null; echo '{"step": {"id": "a"}}{"done": {"rehearsal": {"verdict": "good"}, "plan": {}}}'`, "good", ""},
		{"refused", `echo '{"err": {"kind": "invalid", "message": "no such step"}}'; exit 0`, "", "no such step"},
		{"crashed", `echo '{"step": {"id": "a"}}'; echo "panic: deadlock" >&2; exit 2`, "", "deadlock"},
		{"after all", `echo '{"done": {"rehearsal": {"verdict": "good"}, "plan": {}}}'; echo "panic: leak" >&2; exit 2`, "", "leak"},
		{"nothing", `exit 0`, "", "rehearse"},
		{"nonsense", `echo PASS`, "", "invalid character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told []string
			out, err := Apart(script(t, c.text), slog.New(slog.DiscardHandler))(t.Context(), &Job{}, func(s api.RehearsedStep) { told = append(told, string(s.ID)) })
			switch {
			case c.err == "" && (err != nil || out.Rehearsal.Verdict != c.verdict || len(told) != 1):
				t.Errorf("%+v, %v, told of %v", out, err, told)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("%v, want %q", err, c.err)
			}
		})
	}
}

// TestApartInterrupted: the program does not outlive who waits for it.
func TestApartInterrupted(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	path := script(t, `echo $$ >"`+pidFile+`"; mktemp -p "$TMPDIR" >"`+pidFile+`-file"; echo '{"step": {"id": "a"}}'; exec sleep 600`)
	_, err := Apart(path, slog.New(slog.DiscardHandler))(ctx, &Job{}, func(api.RehearsedStep) { cancel(errors.New("interrupted")) })
	if err == nil || ctx.Err() == nil {
		t.Fatalf("interrupted: %v", err)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the program still runs: %v", err)
	}
	left, err := os.ReadFile(pidFile + "-file")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(strings.TrimSpace(string(left)))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the program has written is still there: %s: %v", left, err)
	}
}

// stuckDrivers is the variable that makes this test's binary the program of a rehearsal whose drivers wait for ever ("all") or leave
// somebody behind who does ("some").
const stuckDrivers = "LIFEBOAT_TEST_STUCK_DRIVERS"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Program {
		Main(func(*slog.Logger, *awsbase.Base) *driver.Registry {
			switch os.Getenv(stuckDrivers) {
			case "all":
				<-make(chan int)
			case "some":
				go func() { <-make(chan int) }()
			}
			return driver.NewRegistry()
		})
	}
	os.Exit(m.Run())
}

// TestDeadlock: a rehearsal in which nothing can go on is over at once, with an error that says so in a line.
func TestDeadlock(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"all", "some"} {
		t.Setenv(stuckDrivers, how)
		var log strings.Builder
		job := &Job{Config: &model.Config{}, Seen: &awslook.Seen{}, Now: time.Now()}
		_, err = Apart(self, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))(t.Context(), job, func(api.RehearsedStep) {})
		if failure.KindOf(err) != failure.Internal || !strings.Contains(err.Error(), "deadlock") || strings.Contains(err.Error(), "goroutine 1") || failure.HintOf(err) == "" {
			t.Errorf("%s: %v (hint: %s)", how, err, failure.HintOf(err))
		}
		if !strings.Contains(log.String(), "goroutine ") {
			t.Errorf("%s: the log has %q", how, log.String())
		}
	}
}

// TestBadJobs: what is no job is refused, with one line as any other end.
func TestBadJobs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "nonsense", "{}", `{"config": {}}`, `{"now": 1}`} {
		cmd := exec.CommandContext(t.Context(), self, Program, "-test.v", "--help")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		var l line
		if jsonErr := json.Unmarshal(out, &l); err == nil || jsonErr != nil || l.Err == nil || l.Err.Kind != failure.Invalid {
			t.Errorf("%q: %v, and said %s", text, err, out)
		}
	}
}

// TestNoPlayer: a program that is not there is an error of its own.
func TestNoPlayer(t *testing.T) {
	began := time.Now()
	_, err := Apart(filepath.Join(t.TempDir(), "nothing"), slog.New(slog.DiscardHandler))(t.Context(), &Job{Now: began}, func(api.RehearsedStep) {})
	if failure.KindOf(err) != failure.Internal {
		t.Errorf("%v, want internal", err)
	}
}

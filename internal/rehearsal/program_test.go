package rehearsal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
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
			out, err := Apart(script(t, c.text))(t.Context(), &Job{}, func(s api.RehearsedStep) { told = append(told, string(s.ID)) })
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
	path := script(t, `echo $$ >"`+pidFile+`"; echo '{"step": {"id": "a"}}'; exec sleep 600`)
	_, err := Apart(path)(ctx, &Job{}, func(api.RehearsedStep) { cancel(errors.New("interrupted")) })
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
}

// TestNoPlayer: a program that is not there is an error of its own.
func TestNoPlayer(t *testing.T) {
	began := time.Now()
	_, err := Apart(filepath.Join(t.TempDir(), "nothing"))(t.Context(), &Job{Now: began}, func(api.RehearsedStep) {})
	if failure.KindOf(err) != failure.Internal {
		t.Errorf("%v, want internal", err)
	}
}

package check

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/internal/probe"
	"github.com/lifeboat-dr/lifeboat/model"
)

// keepDays is for how long what ran is kept on the host, in days.
const keepDays = 30

// tryAgain is the exit code by which a command says that it may be run again later (sysexits.h, EX_TEMPFAIL).
const tryAgain = 75

// cancelGrace is between the polite signal and the other one.
const cancelGrace = 5 * time.Second

// runHandle names the record of a command. The record itself is on the host.
type runHandle struct {
	Token string `json:"token"`
}

// place is where the step's command is recorded: a folder for the run and the step, so that a later attempt sees what
// became of the one before.
func (s *ExecSettings) place(req driver.Request) hostproc.Place {
	step := strings.NewReplacer("/", "_", ".", "_").Replace(string(req.Step))
	return hostproc.Place{
		Host: hostexec.Host{Via: s.Via}, Folder: s.Folder, Name: "steps", Sub: path.Join(string(req.Run) + "-" + step),
	}
}

// Run starts the command, detached, at most once for the request's token. A command of an earlier attempt whose end is
// not known is not run a second time unless it is idempotent or a person forces it: the error is Denied. One that still
// runs is waited for in place of starting another (Conflict).
func (e *Exec) Run(ctx context.Context, req driver.Request) (driver.Handle, error) {
	s, err := e.settings(ctx, req.Target)
	if err != nil {
		return driver.Handle{}, err
	}
	env, err := s.environment(ctx, &req)
	if err != nil {
		return driver.Handle{}, err
	}
	p := s.place(req)
	before, err := p.Look(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "run", string(req.Step))
	}
	if before.Token != "" && before.Token != req.Token && len(before.Running) == 0 && !before.Ended &&
		!before.Canceled && !s.Idempotent && !req.Force {
		return driver.Handle{}, failure.New(failure.Denied, "run", string(req.Step),
			"an earlier attempt was begun and how it ended is not known").
			WithHint("look at what it did (%s/log on the host), then: lifeboat run force RUN %s, or skip", before.Folder, req.Step)
	}
	st, err := p.Start(ctx, hostproc.Spec{Token: req.Token, Argv: s.Command, Dir: s.Dir, Env: env, Record: true})
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "run", string(req.Step))
	}
	if st.Token != req.Token {
		return driver.Handle{}, failure.New(failure.Conflict, "run", string(req.Step),
			"the command of an earlier attempt still runs: process %s", hostproc.Pids(st.Running)).
			WithHint("wait for it, or end it")
	}
	if err := p.Sweep(ctx, keepDays); err != nil {
		e.log.WarnContext(ctx, "old records of steps are left", "cause", err)
	}
	return driver.NewHandle(handleVersion, runHandle{Token: req.Token})
}

// observeRun looks at the record.
func (e *Exec) observeRun(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	s, err := e.settings(ctx, req.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	want, err := readRunHandle(h)
	if err != nil {
		return driver.Observation{}, err
	}
	st, err := s.place(req).Look(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "observe", string(req.Step))
	}
	last := lastLine(st.Tail)
	failed := func(kind failure.Kind, hint, format string, args ...any) (driver.Observation, error) {
		what := fmt.Sprintf(format, args...)
		if last != "" {
			what += ": " + last
		}
		return driver.Observation{State: driver.Failed, Evidence: said(st),
			Err: failure.New(kind, "run", string(req.Step), "%s", what).WithHint("%s", hint)}, nil
	}
	switch {
	case st.Token != want.Token:
		return failed(s.unknown(), "look at what it did before running it again", "its record is gone from the host")
	case st.Ended && st.Code == s.ExpectExit && !st.Canceled:
		return driver.Observation{State: driver.Done, Phase: last, Evidence: append(
			[]model.Fact{{Name: "exit code", Value: fmt.Sprint(st.Code)}}, said(st)...)}, nil
	case st.Canceled && len(st.Running) == 0:
		return failed(failure.Canceled, "", "it was cancelled")
	case st.Ended:
		return failed(s.failedAs(st.Code), "its output is in "+st.Folder+"/log on the host", "exit code %d", st.Code)
	case len(st.Running) > 0:
		phase := fmt.Sprintf("runs for %s", max(0, e.now().Sub(st.Started)).Round(time.Second))
		if last != "" {
			phase += ": " + last
		}
		return driver.Observation{State: driver.Pending, Phase: phase, Again: again}, nil
	case st.Pid == 0:
		return failed(s.unknown(), "look at what it did before running it again", "its start was interrupted")
	}
	return failed(s.unknown(), "look at what it did before running it again", "it is gone and left no exit code")
}

// unknown is the kind of an end that is not known.
func (s *ExecSettings) unknown() failure.Kind {
	if s.Idempotent {
		return failure.Unavailable // run it again
	}
	return failure.Indeterminate
}

// failedAs is the kind of a bad exit code: only what may be repeated is worth another try by itself.
func (s *ExecSettings) failedAs(code int) failure.Kind {
	switch {
	case s.Idempotent, code == tryAgain:
		return failure.Unavailable
	case code == 127:
		return failure.NotFound
	case code == 126:
		return failure.Denied
	}
	return failure.Invalid
}

// Cancel ends the command with all that it started: politely, and after a grace by force.
func (e *Exec) Cancel(ctx context.Context, req driver.Request, h driver.Handle) error {
	if req.Action != model.ActionRun {
		return nil
	}
	s, err := e.settings(ctx, req.Target)
	if err != nil {
		return err
	}
	want, err := readRunHandle(h)
	if err != nil {
		return err
	}
	p := s.place(req)
	st, err := p.Signal(ctx, "TERM", want.Token)
	ticker := time.NewTicker(again / 4)
	defer ticker.Stop()
	grace := time.NewTimer(cancelGrace)
	defer grace.Stop()
	for err == nil && len(st.Running) > 0 && st.Token == want.Token {
		select {
		case <-ctx.Done():
			return failure.Wrap(ctx.Err(), "cancel", string(req.Step))
		case <-grace.C:
			st, err = p.Signal(ctx, "KILL", want.Token)
		case <-ticker.C:
			st, err = p.Look(ctx)
		}
	}
	return failure.Wrap(err, "cancel", string(req.Step))
}

func readRunHandle(h driver.Handle) (runHandle, error) {
	v, err := driver.ReadHandle[runHandle](handleVersion, h)
	if err == nil && v.Token == "" {
		err = failure.New(failure.Corrupt, "observe", "", "the handle names no token")
	}
	return v, err
}

// said is the end of what the command wrote, as evidence.
func said(st hostproc.State) []model.Fact {
	if st.Tail == "" {
		return nil
	}
	return []model.Fact{{Name: "output", Value: st.Tail}}
}

func lastLine(text string) string {
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	return probe.Short(text)
}

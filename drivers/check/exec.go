package check

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/internal/probe"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// ExecSettings are one command: as a check, a question with its answer; as a step, work to be done.
type ExecSettings struct {
	Command      []string              `json:"command" jsonschema:"required,minItems=1,description=The program and its arguments; no shell reads them"`
	Env          map[string]string     `json:"env,omitempty" jsonschema:"description=Environment variables\\, added to those of LIFEBOAT_ and the host's own"`
	SecretEnv    map[string]secret.Ref `json:"secret_env,omitempty" jsonschema:"description=Environment variables whose values are secrets: references such as env:TOKEN"`
	Dir          string                `json:"dir,omitempty" jsonschema:"description=The working directory on the host"`
	Via          []string              `json:"via,omitempty" jsonschema:"description=A prefix that leads to the host: [ssh\\, web-1]. This machine when left out"`
	ExpectExit   int                   `json:"expect_exit,omitempty" jsonschema:"minimum=0,maximum=255,description=The exit code that is good; 0 when left out"`
	ExpectOutput string                `json:"expect_output,omitempty" jsonschema:"description=A regular expression (RE2) that the standard output must match"`
	Timeout      model.Duration        `json:"timeout,omitempty" jsonschema:"description=Of one question; 5s when left out. A step of your own is bounded by the step's timeout instead"`
	Idempotent   bool                  `json:"idempotent,omitempty" jsonschema:"description=Steps only: the command may run twice\\, so one whose end is not known is run again by itself"`
	Folder       string                `json:"folder,omitempty" jsonschema:"description=Steps only: where what ran is recorded on the host; in the user's state folder when left out"`
}

// Validate checks what can be known without running anything.
func (s *ExecSettings) Validate() error {
	if len(s.Command) == 0 || s.Command[0] == "" {
		return fmt.Errorf("command: is missing")
	}
	if s.ExpectExit < 0 || s.ExpectExit > 255 {
		return fmt.Errorf("expect_exit: %d is not an exit code", s.ExpectExit)
	}
	for name := range s.Env {
		if !variable.MatchString(name) {
			return fmt.Errorf("env: %q is not a variable's name", name)
		}
	}
	for name := range s.SecretEnv {
		if !variable.MatchString(name) {
			return fmt.Errorf("secret_env: %q is not a variable's name", name)
		}
		if _, twice := s.Env[name]; twice {
			return fmt.Errorf("secret_env: %s is in env too", name)
		}
	}
	if s.Folder != "" && !path.IsAbs(s.Folder) && !probe.Unknown(s.Folder) {
		return fmt.Errorf("folder: %q is not an absolute path", s.Folder)
	}
	return probe.ValidatePattern("expect_output", s.ExpectOutput)
}

// variable is the name of an environment variable that a POSIX shell can set.
var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Exec is the driver of kind exec. It holds no state between calls.
type Exec struct {
	checker[ExecSettings]
	log *slog.Logger
}

// NewExec makes the exec check and step.
func NewExec(log *slog.Logger) *Exec {
	return &Exec{newChecker(KindExec, "a command: a check judged by its exit code and output, or a step of your own", askExec), log}
}

// Facts describes the driver.
func (e *Exec) Facts() driver.Facts {
	f := e.checker.Facts()
	f.Verbs[model.ActionRun] = "run"
	f.Effects = map[model.Action]string{model.ActionRun: "runs the command, whatever it does"}
	return f
}

// Describe runs nothing: what a command does is not known here.
func (e *Exec) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	s, err := e.settings(ctx, t)
	if err != nil {
		return model.Description{}, err
	}
	return model.Description{Resource: t.Resource.ID, Site: t.Site, At: e.now(), Role: model.RoleUnknown, Healthy: true,
		Summary: "the command " + hostexec.Join(s.Command)}, nil
}

// Observe asks a check's question, or looks at what became of a step.
func (e *Exec) Observe(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	if req.Action == model.ActionRun {
		return e.observeRun(ctx, req, h)
	}
	return e.checker.Observe(ctx, req, h)
}

// asking is the host's side of a check: the environment comes in by standard input, so that no secret stands in a
// command line.
const asking = `eval "$(cat)"
if [ -n "$1" ]; then cd "$1" || exit 126; fi
shift
exec "$@" </dev/null`

// askExec runs the command once and waits for its end.
func askExec(ctx context.Context, s *ExecSettings, req *driver.Request) (driver.Answer, error) {
	expect, err := regexp.Compile(s.ExpectOutput)
	if err != nil {
		return driver.Answer{}, failure.WrapAs(failure.Invalid, err, "ask", s.Command[0])
	}
	env, err := s.environment(ctx, req)
	if err != nil {
		return driver.Answer{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, probe.Timeout(s.Timeout))
	defer cancel()
	host := hostexec.Host{Via: s.Via}
	start := time.Now()
	res, err := host.ScriptIn(bounded, strings.NewReader(hostproc.Exports(env)), asking, append([]string{s.Dir}, s.Command...)...)
	took := time.Since(start)
	switch {
	case err != nil && ctx.Err() != nil:
		return driver.Answer{}, failure.Wrap(ctx.Err(), "ask", s.Command[0])
	case err != nil && bounded.Err() != nil:
		return driver.Answer{Detail: "no answer within " + took.Round(time.Millisecond).String(), Took: took}, nil
	case err != nil && failure.KindOf(err) == failure.Unavailable:
		return driver.Answer{Detail: err.Error(), Took: took}, nil
	case err != nil:
		return driver.Answer{}, err
	}
	if (res.Code == 126 || res.Code == 127) && s.ExpectExit != res.Code {
		return driver.Answer{}, res.Err(failure.NotFound, "ask", s.Command[0])
	}
	ok, detail := s.judge(res.Code, res.Signal, string(res.Stdout), string(res.Stderr), expect)
	return driver.Answer{OK: ok, Detail: detail, Took: took}, nil
}

func (s *ExecSettings) judge(code int, signal, stdout, stderr string, expect *regexp.Regexp) (bool, string) {
	saw := "exit code " + strconv.Itoa(code)
	if signal != "" {
		saw = "ended by signal: " + signal
	}
	switch {
	case probe.Short(stdout) != "":
		saw += ": " + probe.Short(stdout)
	case probe.Short(stderr) != "":
		saw += ": " + probe.Short(stderr)
	}
	switch {
	case code != s.ExpectExit:
		return false, fmt.Sprintf("%s; expected exit code %d", saw, s.ExpectExit)
	case !expect.MatchString(stdout):
		return false, fmt.Sprintf("%s; expected output that matches %q", saw, s.ExpectOutput)
	}
	return true, saw
}

// environment is what the command gets: who asks, then what the user set, then the secrets.
func (s *ExecSettings) environment(ctx context.Context, req *driver.Request) (map[string]string, error) {
	env := map[string]string{}
	if req != nil {
		for name, value := range map[string]string{
			"LIFEBOAT_APP": string(req.App), "LIFEBOAT_SITE": string(req.Site), "LIFEBOAT_PEER": string(req.Peer),
			"LIFEBOAT_OPERATION": string(req.Operation), "LIFEBOAT_MODE": string(req.Mode),
			"LIFEBOAT_RUN": string(req.Run), "LIFEBOAT_STEP": string(req.Step),
			"LIFEBOAT_ATTEMPT": strconv.Itoa(req.Attempt), "LIFEBOAT_TOKEN": req.Token,
		} {
			env[name] = value
		}
	}
	maps.Copy(env, s.Env)
	for name, ref := range s.SecretEnv {
		v, err := ref.Resolve(ctx)
		if err != nil {
			return nil, failure.Wrap(err, "read variable", name)
		}
		env[name] = v.Reveal()
	}
	return env, nil
}

// Ask runs the command once, outside of a run.
func (e *Exec) Ask(ctx context.Context, raw json.RawMessage) (driver.Answer, error) {
	return e.checker.Ask(ctx, raw)
}

var (
	_ driver.Driver   = (*Exec)(nil)
	_ driver.Verifier = (*Exec)(nil)
	_ driver.Asker    = (*Exec)(nil)
	_ driver.Runner   = (*Exec)(nil)
	_ driver.Canceler = (*Exec)(nil)
)

package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
)

// program is the lifeboat program in a demo's world.
type program struct {
	run     func(ctx context.Context, words []string, out, errs io.Writer) error
	limit   time.Duration // bounds one operation: by then it hangs
	reports string        // where it writes reports
	quiet   bool          // what is still under way is not shown
	say     func(format string, args ...any)
}

// startable is the program at path as run starts it, with its own configuration. Its process group is killed when ctx ends.
func startable(path, config, dir string, env []string) func(ctx context.Context, words []string, out, errs io.Writer) error {
	return func(ctx context.Context, words []string, out, errs io.Writer) error {
		cmd := exec.CommandContext(ctx, path, append([]string{"-c", config}, words...)...)
		cmd.Stdout, cmd.Stderr = out, errs
		cmd.Env, cmd.Dir = env, dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = 2 * time.Second
		return cmd.Run()
	}
}

// command runs a lifeboat command as a user would, and shows what it prints.
func (p *program) command(ctx context.Context, words ...string) error {
	out, err := p.lifeboat(ctx, words)
	for line := range strings.Lines(string(out)) {
		p.say("  │ %s", strings.TrimRight(line, " \n"))
	}
	return err
}

// product runs an operation and reads its report from standard output.
func (p *program) product(ctx context.Context, words []string) (*api.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	words = append(words, "--no-wait", "--report-dir", p.reports, "-o", "json")
	out, runErr := p.lifeboat(ctx, words)
	var report api.Report
	if err := json.Unmarshal(out, &report); err != nil || report.Run.ID == "" {
		return nil, errors.Join(runErr, failure.New(failure.Internal, words[0], world.App, "it printed no report"))
	}
	return &report, runErr
}

// lifeboat runs the program. What it says on standard error is shown line by line; what it prints on standard output is returned.
func (p *program) lifeboat(ctx context.Context, words []string) ([]byte, error) {
	shown := strings.Join(words, " ")
	p.say("$ lifeboat %s", shown)
	var out bytes.Buffer
	said, errs := io.Pipe()
	last := make(chan string, 1)
	go func() { last <- p.follow(said) }()
	err := p.run(ctx, words, &out, errs)
	errs.Close()
	line := <-last
	if ctx.Err() != nil {
		return nil, failure.WrapAs(failure.KindOf(ctx.Err()), context.Cause(ctx), "run", "lifeboat "+shown)
	}
	if err != nil {
		return out.Bytes(), failure.WrapAs(failure.Unavailable, err, "run", "lifeboat "+shown).WithHint("%s", line)
	}
	return out.Bytes(), nil
}

// begun is what the program says when the plan that it showed is carried out.
var begun = regexp.MustCompile(`^(run \S+ started|taking up run \S+)$`)

// underWay is what the program says of a step that goes on.
var underWay = regexp.MustCompile(`^\d\d:\d\d:\d\d +(still|waiting) `)

// follow shows what a command says, and gives the last of it. The plan that it shows first is in the report: it is
// held back, and shown only when no run begins.
func (p *program) follow(stderr io.Reader) (last string) {
	var held []string
	started := false
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), " ")
		if line == "" {
			continue
		}
		last = line
		if started = started || begun.MatchString(line); !started {
			held = append(held, line)
			continue
		}
		if p.quiet && underWay.MatchString(line) {
			continue
		}
		p.say("  │ %s", line)
	}
	if !started {
		for _, line := range held {
			p.say("  │ %s", line)
		}
	}
	return last
}

package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/bubble"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Program is the hidden program that plays a job: the binary's first argument.
const Program = "rehearsal-stage"

// line is what the program writes: one of these a line, the last one being Done or Err.
type line struct {
	Step *api.RehearsedStep `json:"step,omitempty"`
	Done *Played            `json:"done,omitempty"`
	Err  *failure.Error     `json:"err,omitempty"`
}

// Played is what became of a job. Plan is the one that was carried out.
type Played struct {
	Rehearsal *api.Rehearsal `json:"rehearsal"`
	Plan      *model.Plan    `json:"plan"`
}

// Apart plays jobs in a process of its own, which is the program at path with Program as its argument. The process gets neither
// credentials nor settings of AWS, and ends with ctx; what it has written is removed. If it fails by itself, the log has what it said.
func Apart(path string, log *slog.Logger) Play {
	return func(ctx context.Context, job *Job, tell func(api.RehearsedStep)) (*Played, error) {
		text, err := json.Marshal(job)
		if err != nil {
			return nil, failure.WrapAs(failure.Internal, err, "write down", "the rehearsal")
		}
		dir, err := os.MkdirTemp("", "lifeboat-rehearsal-")
		if err != nil {
			return nil, failure.WrapAs(failure.Unavailable, err, "make a folder for", "the rehearsal")
		}
		defer os.RemoveAll(dir) // also when the process was killed
		cmd := exec.CommandContext(ctx, path, Program)
		cmd.Stdin = bytes.NewReader(text)
		cmd.Env = append(bubble.Environ(os.Environ()), "TMPDIR="+dir)
		var said head
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return nil, failure.WrapAs(failure.Internal, err, "start", path)
		}
		done, readErr := listen(out, tell)
		err = cmd.Wait()
		switch {
		case ctx.Err() != nil:
			return nil, failure.Wrap(context.Cause(ctx), "rehearse", "")
		case readErr != nil && failure.Classified(readErr):
			return nil, readErr
		case err != nil || readErr != nil || done == nil || done.Rehearsal == nil || done.Plan == nil:
			log.DebugContext(ctx, "the program of a rehearsal failed", "err", err, "said", said.String())
			return nil, failure.WrapAs(failure.Internal, errors.Join(readErr, err, said.gist()), "rehearse", "").
				WithHint("this is a defect of Lifeboat, and nothing was changed; with -vv all that the rehearsal's program said is shown, to be reported")
		}
		return done, nil
	}
}

// Here plays jobs in this process and in its time, hours taking hours: for tests that are in a bubble of testing/synctest already.
func Here(drivers Drivers) Play {
	return func(ctx context.Context, job *Job, tell func(api.RehearsedStep)) (*Played, error) {
		return perform(func(f func(context.Context)) { f(ctx) }, job, drivers, tell)
	}
}

// listen reads what the program writes, to its end.
func listen(r io.Reader, tell func(api.RehearsedStep)) (done *Played, err error) {
	dec := json.NewDecoder(r)
	for {
		var l line
		switch e := dec.Decode(&l); {
		case e == io.EOF:
			return done, err
		case e != nil:
			_, _ = io.Copy(io.Discard, r) // let it end
			return nil, e
		}
		switch {
		case l.Step != nil:
			tell(*l.Step)
		case l.Done != nil:
			done = l.Done
		case l.Err != nil:
			err = l.Err
		}
	}
}

// head keeps the beginning of what is written to it.
type head struct{ kept []byte }

const headSize = 64 << 10

// Write keeps the beginning.
func (h *head) Write(b []byte) (int, error) {
	h.kept = append(h.kept, b[:min(len(b), headSize-len(h.kept))]...)
	return len(b), nil
}

func (h *head) String() string { return string(h.kept) }

// gist is the line that says why a program of Go died, or else the first one; nil: it said nothing.
func (h *head) gist() error {
	lines := strings.Split(strings.TrimSpace(h.String()), "\n")
	for _, l := range lines {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
			return errors.New(l)
		}
	}
	if lines[0] == "" {
		return nil
	}
	return errors.New(lines[0])
}

// Main is the program: it reads a job from standard input and writes lines to standard output. It does not return.
func Main(drivers Drivers) {
	signal.Ignore(os.Interrupt) // a terminal sends it to whoever waits for us too, who then ends us
	out := json.NewEncoder(os.Stdout)
	write := func(l line) {
		if err := out.Encode(l); err != nil {
			os.Exit(1) // nobody listens any more
		}
	}
	var job Job
	if err := json.NewDecoder(os.Stdin).Decode(&job); err != nil {
		write(line{Err: failure.From(failure.WrapAs(failure.Invalid, err, "read", "the job of a rehearsal").WithHint("it is lifeboat rehearse that starts this program"))})
		os.Exit(1)
	}
	if job.Config == nil || job.Seen == nil {
		write(line{Err: failure.New(failure.Invalid, "read", "the job of a rehearsal", "it is not whole").WithHint("it is lifeboat rehearse that starts this program")})
		os.Exit(1)
	}
	bubble.Main(func(enter func(func(context.Context))) {
		done, err := perform(enter, &job, drivers, func(s api.RehearsedStep) { write(line{Step: &s}) })
		if err != nil {
			write(line{Err: failure.From(err)})
			return
		}
		write(line{Done: done})
	})
}

// perform plays a job, each time in a bubble of its own. Where earlier runs of the app measured how long steps take, it is played
// twice: the first time finds out how long they take in the world as it usually is, and by how much it has to be slower or faster.
func perform(bubble func(func(context.Context)), job *Job, drivers Drivers, tell func(api.RehearsedStep)) (out *Played, err error) {
	log := slog.New(slog.DiscardHandler)
	job.Pace = map[model.StepID]float64{}
	for _, id := range job.Request.Stuck {
		job.Pace[id] = never
	}
	if len(job.Took) > 0 {
		bubble(func(ctx context.Context) { out, err = play(ctx, job, drivers, log, func(api.RehearsedStep) {}) })
		if err != nil {
			return nil, err
		}
		for _, s := range out.Rehearsal.Steps {
			measured, ok := job.Took[s.ID]
			if _, set := job.Pace[s.ID]; ok && !set && !s.StoodIn && s.Status == api.StepDone && s.Took > 0 && measured > 0 {
				job.Pace[s.ID] = measured.Std().Seconds() / s.Took.Std().Seconds()
			}
		}
	}
	bubble(func(ctx context.Context) { out, err = play(ctx, job, drivers, log, tell) })
	return out, err
}

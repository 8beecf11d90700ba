// Package vaultjob is what the work of drivers on a vault has in common: a job on the host where the data is, done by a
// hidden program of this binary, that reads a request, works on the vault and leaves its result beside the request.
//
// A driver seals its vault's secrets into a request ([Seal]), starts the job ([Start]), and judges how it ended
// ([Judge]). The program runs its part within [Main], which gives it a [Job] to say what it does and what came of it;
// [Copy], [Expire] and [Renew] are the same for all that lies in a vault. The job outlives the process that began it and
// speaks to nobody but the vault. How jobs are started and found again is package hostexec's; what is stored, and how it
// comes back, the driver's own.
package vaultjob

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Job is the job that this process does. Its methods may be called by several goroutines at once.
type Job struct {
	Dir string // its folder, where the request is and the result will be
	Log *slog.Logger

	mu     sync.Mutex
	values map[string]string
	said   string    // the phase as it was written last
	when   time.Time // and when
}

// Main runs the job whose folder is args[0] as the hidden program of that name. The error of do is written down for
// whoever watches, and given.
func Main(ctx context.Context, program string, args []string, do func(context.Context, *Job) error) error {
	if len(args) != 1 {
		return failure.New(failure.Invalid, program, "", "it is started by lifeboat itself, with the folder of a job")
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	j := &Job{Dir: args[0], Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), values: map[string]string{}}
	err := do(ctx, j)
	if err != nil && ctx.Err() != nil {
		err = failure.New(failure.Canceled, "", "", "the job was told to stop: %v", err)
	}
	if err != nil {
		err = failure.From(err)
		if text, encodeErr := json.Marshal(err); encodeErr == nil {
			j.Set(failureValue, string(text))
		}
	}
	if writeErr := j.writeValues(); writeErr != nil && err == nil {
		err = writeErr
	}
	return err
}

// failureValue is the name under which a job's error is left.
const failureValue = "failure"

// Request reads what the job is told. It belongs into a struct that embeds [Sealed], whose secrets the caller opens.
func (j *Job) Request(into any) error {
	text, err := os.ReadFile(filepath.Join(j.Dir, "secret"))
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "read the request of", j.Dir)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return failure.WrapAs(failure.Corrupt, err, "read the request of", j.Dir)
	}
	return nil
}

// Unknown is the error of a job whose op this build does not know.
func Unknown(program, op string) error {
	return failure.New(failure.Unsupported, program, op, "this build does not know it").
		WithHint("install the same version of lifeboat on the host")
}

// Set leaves a value for whoever observes the job: one line under a name.
func (j *Job) Set(name, value string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.values[name] = OneLine(value)
}

// Phase tells people what is done now, at most a few times a second.
func (j *Job) Phase(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if text == j.said || time.Since(j.when) < 250*time.Millisecond && j.said != "" && strings.HasPrefix(text, j.said[:min(len(j.said), 8)]) {
		return
	}
	j.said, j.when = text, time.Now()
	_ = Replace(filepath.Join(j.Dir, "phase"), []byte(OneLine(text)+"\n")) // for people; the result does not depend on it
}

// OneLine is text with every run of white space made one space.
func OneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// writeValues leaves the result, whole or not at all.
func (j *Job) writeValues() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for name, value := range j.values {
		b.WriteString(name + "=" + value + "\n")
	}
	if err := Replace(filepath.Join(j.Dir, "values"), []byte(b.String())); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write the result to", j.Dir)
	}
	return nil
}

// Replace writes a file in place of what is there, durably and readable by its owner alone.
func Replace(path string, content []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

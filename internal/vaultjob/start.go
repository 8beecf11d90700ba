package vaultjob

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
)

// Again is the pause between two looks at a job.
const Again = 100 * time.Millisecond

// keepDays is for how long records of jobs stay on the host.
const keepDays = 30

var tokenForm = regexp.MustCompile(`^[a-z2-7]{1,52}$`)

// IsToken reports whether a token may be a folder's name.
func IsToken(token string) bool { return tokenForm.MatchString(token) }

// Start starts the hidden program on a host in the folder dir, whose name is a token, unless it was started already. The
// request goes there as JSON, and only the user of the job can read it; records of old jobs beside dir are removed.
func Start(ctx context.Context, host hostexec.Host, dir, binary, program string, request any) error {
	text, err := json.Marshal(request)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write the request of", dir)
	}
	return host.StartJob(ctx, hostexec.Job{Dir: dir, Secret: text, Script: `cd "$1" || exit 1
find "$1/.." -mindepth 1 -maxdepth 1 -mtime +` + strconv.Itoa(keepDays) + ` -exec rm -rf {} + 2>/dev/null
exec ` + hostexec.Join([]string{binary, program}) + ` "$1"
`})
}

// Binary is the lifeboat that does the work on a host: the configured one; else this program, where self stands for
// [os.Executable], on this machine; else the one on the PATH there.
func Binary(configured string, via []string, self func() (string, error)) (string, error) {
	switch {
	case configured != "":
		return configured, nil
	case len(via) > 0:
		return "lifeboat", nil
	case self == nil:
		self = os.Executable
	}
	path, err := self()
	if err != nil {
		return "", failure.WrapAs(failure.Internal, err, "find", "this program")
	}
	return path, nil
}

// Judge turns a job that has not ended well into an observation; ended is true when it has.
func Judge(state hostexec.JobState, op, subject string) (obs driver.Observation, ended bool) {
	failed := func(kind failure.Kind, hint, format string, args ...any) (driver.Observation, bool) {
		err := failure.New(kind, op, subject, format, args...)
		err.Hint = hint
		return driver.Observation{State: driver.Failed, Err: err}, false
	}
	switch state.Phase {
	case hostexec.JobStarting, hostexec.JobRunning:
		phase := state.Doing
		if phase == "" {
			phase = "the job on the host is starting"
		}
		return driver.Observation{State: driver.Pending, Phase: phase, Again: Again}, false
	case hostexec.JobEnded:
		switch state.Code {
		case 0:
			return driver.Observation{}, true
		case 127:
			return failed(failure.NotFound, "install it there, or set lifeboat at the site", "there is no lifeboat on the host: %s", state.Said)
		case 143:
			return failed(failure.Canceled, "", "the job was told to stop: %s", state.Said)
		case 137:
			return failed(failure.Unavailable, "if nobody did that, see whether the host ran out of memory (dmesg)",
				"the job was killed while: %s", state.Doing)
		}
		told := &failure.Error{}
		if err := json.Unmarshal([]byte(state.Values[failureValue]), told); err != nil {
			return failed(failure.Unavailable, "", "%s (exit code %d)", state.Said, state.Code)
		}
		return driver.Observation{State: driver.Failed, Err: failure.From(failure.Wrap(told, op, subject))}, false
	case hostexec.JobDied:
		return failed(failure.Unavailable, "", "the job was ended from outside (a restart of the host?) while: %s", state.Doing)
	}
	return failed(failure.Unavailable, "", "the job's folder is gone")
}

package hostexec

import (
	"bytes"
	"context"
	_ "embed"
	"path"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Processes is sh source for scripts that deal with processes: living PID, birth PID (what tells a process from a
// later one with the same number) and detach COMMAND... among others. Put it in front of a script.
//
//go:embed job.sh
var Processes string

// Job is work on a host that goes on without us: it outlives our process and the connection it was started by, and
// all that is known about it is in its folder there, where whoever comes next finds it.
//
// Script is sh source; it finds the job's folder as $1 and runs with "set -e" only if it says so. It may write one line
// for people to the file phase, a path to the file watch (whose size is then reported), and NAME=value lines to the
// file values. Secret, when not empty, is in the file secret while the script runs, and is deleted after. Standard
// output and error go to the file log.
type Job struct {
	Dir    string // absolute; its parents are made. One folder is one job, for ever
	Script string
	Secret []byte
}

// Phase of a job's life.
type Phase string

// The phases. A job that Died was ended by something that could not say so, such as a restart of its host.
const (
	JobAbsent   Phase = "absent"
	JobStarting Phase = "starting"
	JobRunning  Phase = "running"
	JobEnded    Phase = "ended"
	JobDied     Phase = "died"
)

// JobState is what a job's folder says.
type JobState struct {
	Phase  Phase
	Doing  string // the script's own words
	Bytes  int64  // size of what it watches; -1 when it watches nothing
	Values map[string]string
	Code   int    // exit code, when ended
	Said   string // the last lines of its log, when ended
}

// StartJob starts j unless its folder shows that it was started already: however often and by however many it is
// called, the script runs once.
func (h Host) StartJob(ctx context.Context, j Job) error {
	if !path.IsAbs(j.Dir) {
		return failure.New(failure.Invalid, "start job", j.Dir, "the folder is not an absolute path")
	}
	// The secret comes first, its length before it, so that any bytes can be told from the script's.
	var in bytes.Buffer
	in.WriteString(strconv.Itoa(len(j.Secret)) + "\n")
	in.Write(j.Secret)
	in.WriteString(j.Script)
	res, err := h.ScriptIn(ctx, &in, Processes+`
dir=$1
mkdir -p "${dir%/*}" || exit 1 # as others may look into: a parent may be one that everybody shares
umask 077
mkdir -p "$dir" || exit 1
if [ -d "$dir/running" ]; then cat >/dev/null; exit 0; fi
read -r n
tmp=$dir/.start.$$
mkdir "$tmp" || exit 1
dd bs=1 count="$n" of="$tmp/secret" 2>/dev/null && cat >"$tmp/body.sh" || exit 1
printf '%s\njob_run "$1"\n' "$2" >"$tmp/run.sh"
[ -d "$dir/running" ] || mv -f "$tmp/secret" "$tmp/body.sh" "$tmp/run.sh" "$dir/" || exit 1
rm -rf "$tmp"
job_start "$dir"
`, j.Dir, Processes)
	if err != nil {
		return err
	}
	return res.Err(failure.Unavailable, "start job", path.Base(j.Dir))
}

// JobState reads how far the job in dir is. An absent job is no error.
func (h Host) JobState(ctx context.Context, dir string) (JobState, error) {
	st := JobState{Bytes: -1, Values: map[string]string{}}
	res, err := h.Script(ctx, Processes+"\njob_state \"$1\"", dir)
	if err != nil {
		return st, err
	}
	if err := res.Err(failure.Unavailable, "look at job", path.Base(dir)); err != nil {
		return st, err
	}
	for _, line := range strings.Split(res.Text(), "\n") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "state":
			st.Phase = Phase(value)
		case "phase":
			st.Doing = value
		case "bytes":
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				st.Bytes = n
			}
		case "code":
			if st.Code, err = strconv.Atoi(value); err != nil {
				return st, failure.New(failure.Corrupt, "look at job", path.Base(dir), "its exit code is %q", value)
			}
		case "said":
			st.Said = strings.TrimSpace(value)
		default:
			if name, ok := strings.CutPrefix(key, "value."); ok {
				st.Values[name] = value
			}
		}
	}
	if st.Phase == "" {
		return st, failure.New(failure.Corrupt, "look at job", path.Base(dir), "no state in %q", res.Text())
	}
	return st, nil
}

// StopJob ends the job in dir, with every process of it, and returns when they are gone. What has ended already, and
// what never was, is no error.
func (h Host) StopJob(ctx context.Context, dir string) error {
	res, err := h.Script(ctx, Processes+"\njob_stop \"$1\"", dir)
	if err != nil {
		return err
	}
	return res.Err(failure.Unavailable, "stop job", path.Base(dir))
}

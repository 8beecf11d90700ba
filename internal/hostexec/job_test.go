package hostexec

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
)

func await(t *testing.T, h Host, dir string, want Phase) JobState {
	t.Helper()
	for t.Context().Err() == nil {
		st, err := h.JobState(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if st.Phase == want {
			return st
		}
		if st.Phase == JobEnded || st.Phase == JobDied {
			t.Fatalf("got %+v, want phase %s", st, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("time is up")
	return JobState{}
}

func TestJob(t *testing.T) {
	for name, h := range map[string]Host{"direct": {}, "ssh": fakeSSH(t)} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "it's", "job")
			secret := "two\nlines, no end"
			err := h.StartJob(t.Context(), Job{Dir: dir, Secret: []byte(secret), Script: `
set -e
cp "$1/secret" "$1/seen"
echo copying >"$1/phase"
head -c 100000 /dev/zero >"$1/blob"; echo "$1/blob" >"$1/watch"
echo port=1234 >"$1/values"
echo first; echo "last words" >&2
exit 7`})
			if err != nil {
				t.Fatal(err)
			}
			got := await(t, h, dir, JobEnded)
			if got.Bytes < 100000 {
				t.Errorf("bytes: got %d, want 100000 or some more", got.Bytes)
			}
			got.Bytes = 0
			want := JobState{Phase: JobEnded, Doing: "copying", Values: map[string]string{"port": "1234"}, Code: 7, Said: "first last words"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
			if seen, _ := os.ReadFile(filepath.Join(dir, "seen")); string(seen) != secret {
				t.Errorf("secret: got %q, want %q", seen, secret)
			}
			if _, err := os.Stat(filepath.Join(dir, "secret")); err == nil {
				t.Error("the secret is still there")
			}
			info, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o700 {
				t.Errorf("the folder's mode is %v", info.Mode())
			}
		})
	}
}

func TestJobRunsOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "job")
	ran := filepath.Join(t.TempDir(), "ran")
	j := Job{Dir: dir, Script: "echo x >>" + Quote(ran)}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if err := (Host{}).StartJob(t.Context(), j); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	await(t, Host{}, dir, JobEnded)
	if err := (Host{}).StartJob(t.Context(), j); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(ran); string(got) != "x\n" {
		t.Errorf("ran %d times, want once", strings.Count(string(got), "x"))
	}
}

func TestJobStop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "job")
	if st, err := (Host{}).JobState(t.Context(), dir); err != nil || st.Phase != JobAbsent {
		t.Fatalf("got %+v, %v, want absent", st, err)
	}
	if err := (Host{}).StopJob(t.Context(), dir); err != nil {
		t.Fatalf("stop what never was: %v", err)
	}
	err := Host{}.StartJob(t.Context(), Job{Dir: dir, Secret: []byte("s"), Script: `sleep 1000 & echo $! >"$1/new"; mv "$1/new" "$1/sleeper"; wait`})
	if err != nil {
		t.Fatal(err)
	}
	sleeper := waitForPid(t, filepath.Join(dir, "sleeper"))
	for range 2 {
		if err := (Host{}).StopJob(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	for alive(sleeper) {
		time.Sleep(time.Millisecond)
	}
	if got := await(t, Host{}, dir, JobEnded); got.Code != 143 {
		t.Errorf("got %+v, want code 143", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "secret")); err == nil {
		t.Error("the secret is still there")
	}
}

func TestJobDied(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "job")
	if err := (Host{}).StartJob(t.Context(), Job{Dir: dir, Script: `sleep 1000`}); err != nil {
		t.Fatal(err)
	}
	await(t, Host{}, dir, JobRunning)
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for alive(pid) {
		time.Sleep(time.Millisecond)
	}
	await(t, Host{}, dir, JobDied)
}

func TestJobNeedsAPath(t *testing.T) {
	if err := (Host{}).StartJob(t.Context(), Job{Dir: "x"}); failure.KindOf(err) != failure.Invalid {
		t.Errorf("got %v, want kind invalid", err)
	}
}

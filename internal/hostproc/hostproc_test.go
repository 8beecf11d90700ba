package hostproc

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
)

// place is a fresh place whose programs are killed when the test is over.
func place(t *testing.T) Place {
	t.Helper()
	p := Place{Folder: filepath.Join(t.TempDir(), "run"), Name: t.Name()}
	t.Cleanup(func() {
		if st, err := p.Signal(context.Background(), "KILL", ""); err != nil || len(st.Running) > 0 {
			awaitGone(t, p)
		}
	})
	return p
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// await looks until ok holds.
func await(t *testing.T, p Place, what string, ok func(State) bool) State {
	t.Helper()
	ctx := testContext(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := p.Look(ctx)
		if err != nil {
			t.Fatalf("look: %v", err)
		}
		if ok(st) {
			return st
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never %s: %+v", what, st)
		case <-tick.C:
		}
	}
}

func awaitGone(t *testing.T, p Place) State {
	t.Helper()
	return await(t, p, "gone", func(st State) bool { return len(st.Running) == 0 })
}

func mustStart(t *testing.T, p Place, spec Spec) State {
	t.Helper()
	st, err := p.Start(testContext(t), spec)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	return st
}

func TestStartLookStop(t *testing.T) {
	p := place(t)
	st := mustStart(t, p, Spec{Token: "one", Same: "f", Argv: []string{"sleep", "1000"}})
	if st.Token != "one" || st.Same != "f" || len(st.Running) != 1 || st.Running[0] != st.Pid {
		t.Fatalf("started: %+v", st)
	}
	if comm, _ := os.ReadFile("/proc/" + strconv.Itoa(st.Pid) + "/comm"); string(comm) != "sleep\n" {
		t.Errorf("process %d is %q, want the program itself", st.Pid, comm)
	}
	if sid, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(st.Pid), 0, 0); int(sid) != st.Pid {
		t.Errorf("its session is %d, want its own, %d", sid, st.Pid)
	}
	if again := mustStart(t, p, Spec{Token: "one", Same: "f", Argv: []string{"sleep", "1000"}}); again.Pid != st.Pid {
		t.Errorf("a second start of the token made %+v", again)
	}
	if other := mustStart(t, p, Spec{Token: "two", Same: "g", Argv: []string{"sleep", "1000"}}); other.Token != "one" || other.Pid != st.Pid {
		t.Errorf("a start over a running program gave %+v", other)
	}
	if _, err := p.Signal(testContext(t), "TERM", "two"); err != nil {
		t.Fatal(err)
	}
	if st, _ := p.Look(testContext(t)); len(st.Running) != 1 || st.Canceled {
		t.Errorf("a signal for another token reached it: %+v", st)
	}
	if _, err := p.Signal(testContext(t), "TERM", "one"); err != nil {
		t.Fatal(err)
	}
	if st := awaitGone(t, p); !st.Canceled {
		t.Errorf("that it was signalled is not known: %+v", st)
	}
	// Its token is used up; another one is not.
	if st := mustStart(t, p, Spec{Token: "one", Argv: []string{"sleep", "1000"}}); len(st.Running) != 0 {
		t.Errorf("a token started two programs: %+v", st)
	}
	if st := mustStart(t, p, Spec{Token: "two", Argv: []string{"sleep", "1000"}}); len(st.Running) != 1 || st.Token != "two" || st.Canceled {
		t.Errorf("the next token starts %+v", st)
	}
}

func TestWhatTheProgramGets(t *testing.T) {
	p := place(t)
	dir := t.TempDir()
	secret := "it's $HOME \"quoted\"\nin two lines"
	st := mustStart(t, p, Spec{
		Token: "tok", Record: true, Dir: dir, Env: map[string]string{"SECRET": secret, "PATH": dir + ":/usr/bin:/bin"},
		Argv: []string{"sh", "-c", `pwd; echo "$SECRET"; echo "$LIFEBOAT_TOKEN $LIFEBOAT_FOLDER $1"; echo $PATH
			ls -l /proc/self/fd | sed -n 's/.* \([0-9]*\) -> .*/\1/p' | tr '\n' ' '; trap; cat; kill -INT $$; echo survived`, "sh", "a b"},
	})
	st = await(t, p, "ended", func(st State) bool { return st.Ended })
	if st.Code != 130 {
		t.Errorf("exit code is %d, want 130: an interrupt must reach the program", st.Code)
	}
	// What any child of ours inherits (descriptors that we inherited ourselves), with none of the script's added.
	fds, err := exec.Command("sh", "-c", `ls -l /proc/self/fd | sed -n 's/.* \([0-9]*\) -> .*/\1/p' | tr '\n' ' '`).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{dir, secret, "tok " + p.Folder + " a b", dir + ":/usr/bin:/bin",
		strings.TrimSpace(string(fds))}, "\n")
	if !strings.HasPrefix(st.Tail, want) || strings.Contains(st.Tail, "survived") {
		t.Errorf("the program saw\n%s\nwant\n%s", st.Tail, want)
	}
}

func TestTailIsOfThisStart(t *testing.T) {
	p := place(t)
	mustStart(t, p, Spec{Token: "a", Record: true, Argv: []string{"echo", "first"}})
	await(t, p, "ended", func(st State) bool { return st.Ended })
	mustStart(t, p, Spec{Token: "b", Record: true, Argv: []string{"sh", "-c", "echo second; exit 3"}})
	st := await(t, p, "ended", func(st State) bool { return st.Ended && st.Token == "b" })
	if st.Tail != "second" || st.Code != 3 {
		t.Errorf("ended with %d and said %q", st.Code, st.Tail)
	}
}

func TestProgramThatCannotStart(t *testing.T) {
	p := place(t)
	mustStart(t, p, Spec{Token: "a", Argv: []string{"/nonexistent/program"}})
	st := awaitGone(t, p)
	if !strings.Contains(st.Tail, "/nonexistent/program") {
		t.Errorf("why it did not start is not known: %+v", st)
	}
	q := place(t)
	mustStart(t, q, Spec{Token: "a", Record: true, Argv: []string{"/nonexistent/program"}})
	if st := await(t, q, "ended", func(st State) bool { return st.Ended }); st.Code != 127 {
		t.Errorf("exit code is %d, want 127", st.Code)
	}
}

func TestFoundWithoutItsFolder(t *testing.T) {
	p := place(t)
	st := mustStart(t, p, Spec{Token: "a", Argv: []string{"sleep", "1000"}})
	if err := os.RemoveAll(p.Folder); err != nil {
		t.Fatal(err)
	}
	got, err := p.Look(testContext(t))
	if err != nil || len(got.Running) != 1 || got.Running[0] != st.Pid {
		t.Fatalf("without the folder: %+v, %v", got, err)
	}
	if again := mustStart(t, p, Spec{Token: "b", Argv: []string{"sleep", "1000"}}); len(again.Running) != 1 || again.Running[0] != st.Pid {
		t.Errorf("a second one was started beside it: %+v", again)
	}
	if err := os.RemoveAll(p.Folder); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Signal(testContext(t), "KILL", ""); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
}

func TestRecycledProcessIDIsNotOurs(t *testing.T) {
	p := place(t)
	bystander := exec.Command("sleep", "1000")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
	if err := os.MkdirAll(p.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(bystander.Process.Pid)
	for _, birth := range []string{"", "birth=elsewhere/12345\n"} {
		text := "token=a\nsame=f\nstarted=1\npid=" + pid + "\n" + birth
		if err := os.WriteFile(filepath.Join(p.Folder, "proc"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		st, err := p.Signal(testContext(t), "KILL", "")
		if err != nil || len(st.Running) != 0 {
			t.Errorf("process %s, which is somebody else's, is taken for ours: %+v, %v", pid, st, err)
		}
	}
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the bystander is gone: %v", err)
	}
}

func TestChildrenAreStoppedToo(t *testing.T) {
	p := place(t)
	// One child in the program's group, one in a session of its own.
	mustStart(t, p, Spec{Token: "a", Argv: []string{"sh", "-c", "sleep 1000 & setsid -f sleep 1000; wait"}})
	await(t, p, "three", func(st State) bool { return len(st.Running) == 3 })
	if _, err := p.Signal(testContext(t), "TERM", ""); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
}

func TestEachProcessIsSignalledOnce(t *testing.T) {
	p := place(t)
	mustStart(t, p, Spec{Token: "a", Argv: []string{"perl", "-e",
		`$| = 1; $SIG{TERM} = sub { print "term\n" }; $SIG{USR1} = sub { exit }; print "ready\n"; while (1) { sleep 1000 }`}})
	await(t, p, "ready", func(st State) bool { return st.Tail == "ready" })
	for _, signal := range []string{"TERM", "USR1"} {
		if _, err := p.Signal(testContext(t), signal, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if st := awaitGone(t, p); st.Tail != "ready\nterm" {
		t.Errorf("the program said %q, want one term", st.Tail)
	}
}

func TestManyStartersStartOne(t *testing.T) {
	p := place(t)
	count := filepath.Join(t.TempDir(), "count")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := p.Start(testContext(t), Spec{Token: "a", Argv: []string{"sh", "-c", "echo started >>" + count + "; exec sleep 1000"}})
			if err != nil {
				t.Errorf("start: %v", err)
			}
		})
	}
	wg.Wait()
	await(t, p, "counted", func(State) bool { b, _ := os.ReadFile(count); return len(b) > 0 })
	if b, _ := os.ReadFile(count); string(b) != "started\n" {
		t.Errorf("eight starters of one token started %q", b)
	}
}

// TestStarterDiesAnywhere kills the starter at moments spread over its whole life: whatever it left, a second start of
// the same token leaves at most one program, and the token's program is never started twice.
func TestStarterDiesAnywhere(t *testing.T) {
	var none, one int
	for delay := time.Duration(0); delay < 40*time.Millisecond; delay += time.Millisecond {
		p := place(t)
		count := filepath.Join(t.TempDir(), "count")
		spec := Spec{Token: "a", Argv: []string{"sh", "-c", "echo started >>" + count + "; exec sleep 1000"}}
		argv := append([]string{"sh", "-c", script, "sh", "start", p.Folder, "x", "", "a", "", "0", ""}, spec.Argv...)
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(delay, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		_ = cmd.Wait()
		timer.Stop()
		st := mustStart(t, p, spec)
		switch {
		case len(st.Running) == 1:
			one++
			await(t, p, "counted", func(State) bool { b, _ := os.ReadFile(count); return len(b) > 0 })
		case len(st.Running) == 0 && st.Token == "a" && st.Pid == 0:
			none++ // the intent was durable, the program was not: said, and not tried again
		default:
			t.Errorf("killed after %s: %+v", delay, st)
		}
		if b, _ := os.ReadFile(count); strings.Count(string(b), "started") > 1 {
			t.Errorf("killed after %s: the token's program was started %d times", delay, strings.Count(string(b), "started"))
		}
		_, _ = p.Signal(testContext(t), "KILL", "")
		awaitGone(t, p)
	}
	t.Logf("found running %d, interrupted before the program %d", one, none)
	if one == 0 {
		t.Error("no start went through: the sweep tests nothing")
	}
}

func TestRemove(t *testing.T) {
	p := place(t)
	if err := p.Remove(testContext(t)); err == nil || failure.KindOf(err) != failure.Invalid {
		t.Errorf("removing a place itself: %v, want invalid", err)
	}
	p.Sub = "drill-abc"
	mustStart(t, p, Spec{Token: "a", Argv: []string{"sleep", "1000"}})
	if err := p.Remove(testContext(t)); err == nil || failure.KindOf(err) != failure.Conflict {
		t.Errorf("removing while it runs: %v, want conflict", err)
	}
	if _, err := p.Signal(testContext(t), "KILL", ""); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
	for range 2 {
		if err := p.Remove(testContext(t)); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(p.Folder, p.Sub)); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestSweep(t *testing.T) {
	p := place(t)
	for _, sub := range []string{"old", "new"} {
		p.Sub = sub
		mustStart(t, p, Spec{Token: "a", Record: true, Argv: []string{"true"}})
		await(t, p, "ended", func(st State) bool { return st.Ended })
	}
	old := time.Now().Add(-40 * 24 * time.Hour)
	if err := os.Chtimes(filepath.Join(p.Folder, "old", "exit"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := p.Sweep(testContext(t), 30); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(p.Folder)
	if err != nil || len(left) != 1 || left[0].Name() != "new" {
		t.Errorf("left %v, %v; want new alone", left, err)
	}
}

func TestFolderThatCannotBeMade(t *testing.T) {
	p := Place{Folder: "/proc/nowhere"}
	_, err := p.Start(testContext(t), Spec{Token: "a", Argv: []string{"true"}})
	if err == nil || failure.KindOf(err) != failure.Denied || failure.HintOf(err) == "" {
		t.Errorf("got %v, want denied with a hint", err)
	}
}

func TestDefaultFolder(t *testing.T) {
	state := t.TempDir()
	p := Place{Host: hostexec.Host{Via: []string{"env", "XDG_STATE_HOME=" + state}}, Name: "shop/web/east"}
	st := mustStart(t, p, Spec{Token: "a", Record: true, Argv: []string{"true"}})
	if want := state + "/lifeboat/shop/web/east"; st.Folder != want {
		t.Errorf("the folder is %s, want %s", st.Folder, want)
	}
	await(t, p, "ended", func(st State) bool { return st.Ended })
}

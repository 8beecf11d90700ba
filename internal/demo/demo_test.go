package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/process"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestMain makes the test program stand in for the lifeboat binary: its hidden commands for real, `validate`, `protect`
// and `drill` as programs that do nothing, and a demo to be interrupted and killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		ctx := context.Background()
		if run, ok := Hidden()[os.Args[1]]; ok {
			exit(run(ctx, os.Args[2:]))
		}
		if os.Args[1] == "demo" {
			exit(Run(ctx, Options{Out: os.Stdout, Err: os.Stderr, Reports: os.Args[2], JSON: len(os.Args) > 3}))
		}
		if os.Args[1] == "-c" {
			exit(standIn(os.Args[3]))
		}
		if !strings.HasPrefix(os.Args[1], "-test.") {
			exit(standIn(os.Args[1]))
		}
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// standIn is a lifeboat that validates anything, keeps no vault, protects nothing, and whose drill never ends, or tells nothing.
func standIn(command string) error {
	if i := slices.Index(os.Args, "--listen"); i > 0 { // vault serve
		listener, err := net.Listen("tcp", os.Args[i+1])
		for err == nil {
			_, err = listener.Accept()
		}
		return err
	}
	switch {
	case command == "validate", command == "vault", command == "protect" && slices.Contains(os.Args, "--once"):
		return nil
	case command == "points":
		fmt.Println(`{"points": [{"resource": "uploads", "at": "9999-01-01T00:00:00Z"}]}`)
		return nil
	case command == "drill" && os.Getenv("STAND_IN_DRILL") == "no report":
		return errors.New("the plan is blocked")
	}
	fmt.Fprintln(os.Stderr, "run 01X started")
	time.Sleep(time.Hour)
	return nil
}

// startDemo starts a demo in a process of its own, with a folder for temporary files of its own, and waits until its
// drill is under way.
func startDemo(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	demo := demoCommand(t, dir)
	out, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	demo.Stderr = demo.Stdout
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { demo.Process.Kill() })
	seen := make([]byte, 0, 1<<16)
	for !bytes.Contains(seen, []byte("│ run 01X started")) {
		buf := make([]byte, 4096)
		n, err := out.Read(buf)
		seen = append(seen, buf[:n]...)
		if err != nil {
			t.Fatalf("the demo has ended: %s", seen)
		}
	}
	go io.Copy(io.Discard, out) // ends with the demo
	return demo
}

func demoCommand(t *testing.T, dir string, more ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	reports := filepath.Join(filepath.Dir(dir), filepath.Base(dir)+"-reports")
	t.Cleanup(func() { os.RemoveAll(reports) })
	demo := exec.Command(self, append([]string{"demo", reports}, more...)...)
	demo.Env = append(os.Environ(), "TMPDIR="+dir)
	return demo
}

// tempFolder is one that PostgreSQL's user can enter.
func tempFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// left lists what is left of demos in dir: processes whose command lines or working folders lie there, and files.
func left(t *testing.T, dir string) []string {
	t.Helper()
	table, err := process.Table()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, info := range table {
		names := slices.ContainsFunc(info.Args, func(arg string) bool { return strings.Contains(arg, dir+"/") })
		if names || strings.HasPrefix(process.Folder(info.PID), dir+"/") {
			out = append(out, strings.Join(info.Args, " "))
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		out = append(out, entry.Name())
	}
	return out
}

func TestInterruptsLeaveNothing(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		dir := tempFolder(t)
		demo := startDemo(t, dir)
		if there := left(t, dir); len(there) < 10 {
			t.Fatalf("%v: the world is not up: %v", sig, there)
		}
		if err := demo.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := demo.Wait(); err == nil {
			t.Errorf("%v: an interrupted demo exits with 0", sig)
		}
		if there := left(t, dir); len(there) > 0 {
			t.Errorf("%v: left %v", sig, there)
		}
	}
}

func TestTheNextDemoCleansUpAfterAKilledOne(t *testing.T) {
	dir := tempFolder(t)
	killed := startDemo(t, dir)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed.Wait()
	if there := left(t, dir); len(there) < 10 {
		t.Fatalf("this test needs a world that outlives its demo: %v", there)
	}
	next := demoCommand(t, dir)
	next.Env = append(next.Env, "STAND_IN_DRILL=no report")
	out, err := next.CombinedOutput()
	if err == nil {
		t.Error("a demo without reports exits with 0")
	}
	if !bytes.Contains(out, []byte("cleaning up after a demo that was killed")) || !bytes.Contains(out, []byte("the plan is blocked")) {
		t.Errorf("got: %s", out)
	}
	if there := left(t, dir); len(there) > 0 {
		t.Errorf("left %v", there)
	}
}

func TestADemoThatFailsSaysSoInJSON(t *testing.T) {
	dir := tempFolder(t)
	demo := demoCommand(t, dir, "json")
	demo.Env = append(demo.Env, "STAND_IN_DRILL=no report")
	var out, stderr bytes.Buffer
	demo.Stdout, demo.Stderr = &out, &stderr
	if err := demo.Run(); err == nil {
		t.Error("exit code 0")
	}
	var r Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	if r.OK || len(r.Operations) != 1 || r.Operations[0].OK || r.Operations[0].Lost != 0 || r.Operations[0].Acknowledged == 0 {
		t.Errorf("got %s", out.Bytes())
	}
	if logs, err := filepath.Glob(filepath.Join(r.Reports, "logs", "*postgres.log")); err != nil || len(logs) != 2 {
		t.Errorf("logs of a failed demo: %v, %v", logs, err)
	}
	if !strings.Contains(stderr.String(), "the plan is blocked") {
		t.Errorf("standard error does not say why: %s", stderr.String())
	}
}

func TestJudge(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"R.html", "R.json"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	number := func(n float64) *float64 { return &n }
	good := func() *api.Report {
		ten := model.Duration(10 * time.Second)
		r := &api.Report{OK: true, Checks: []api.CheckResult{{Name: "c", Passed: true}}}
		r.Run.ID = "R"
		r.RTO, r.RPO = api.Measure{Seconds: number(3), Objective: &ten}, api.Measure{Seconds: number(0)}
		return r
	}
	for _, test := range []struct {
		name   string
		spoil  func(*api.Report)
		outage float64
		want   []string
	}{
		{"well", func(*api.Report) {}, 3.5, nil},
		{"refused for longer than the report says", func(*api.Report) {}, 5.5, []string{"clients were refused for 5.5s, the report says 3s"}},
		{"a check failed", func(r *api.Report) {
			r.OK = false
			r.Run.Status = "failed"
			r.Checks = append(r.Checks, api.CheckResult{Name: "d", Detail: "no"})
		}, 3, []string{`check "d": no`, "the report is not OK: the run failed"}},
		{"nothing checked", func(r *api.Report) { r.Checks = nil }, 3, []string{"nothing was checked"}},
		{"no RPO", func(r *api.Report) { r.RPO = api.Measure{Basis: "no marker"} }, 3, []string{"the RPO was not measured: no marker"}},
		{"no RTO", func(r *api.Report) { r.RTO = api.Measure{Basis: "no probe"} }, 3, []string{"the RTO was not measured: no probe"}},
	} {
		r := good()
		test.spoil(r)
		o := Operation{Operation: "failover", OutageSeconds: test.outage}
		o.judge(r, folder)
		if diff := cmp.Diff(test.want, o.Problems); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
		if o.RTOSeconds == nil || *o.RTOSeconds != test.outage {
			t.Errorf("%s: the RTO is not the clients': %v", test.name, o.RTOSeconds)
		}
	}
	for late, want := range map[float64]int{0: 1, 0.4: 1, 0.6: 0} {
		o := Operation{Operation: "failover", OutageSeconds: 5.5, LateSeconds: late}
		if o.judge(good(), folder); len(o.Problems) != want {
			t.Errorf("refused for half a second too long, and late by %v s: %v", late, o.Problems)
		}
	}
	o := Operation{Operation: "failover"}
	o.judge(good(), t.TempDir())
	if len(o.Problems) != 2 {
		t.Errorf("reports that were not written: got %v", o.Problems)
	}
}

func TestStopRefusesWhatIsNoWorld(t *testing.T) {
	if err := Stop(t.Context(), t.TempDir(), io.Discard); failure.KindOf(err) != failure.NotFound {
		t.Errorf("got %v", err)
	}
}

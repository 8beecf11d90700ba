package regions

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/demo"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// TestDemo tells the demo's story with the real program, and holds it to what the documentation says of it.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := program.Folder(t)
	p := program.Start(t, dir, os.Environ(), "demo", "--db", "aws", "-o", "json")
	if code := p.Wait(); code != 0 {
		t.Fatalf("exit code %d: %s\n%s", code, p.Said(), p.Printed())
	}
	r := program.Answer[demo.Result](p)
	if !r.OK || len(r.Operations) != 3 {
		t.Fatalf("the demo: %+v", r)
	}
	drill, failover, failback := r.Operations[0], r.Operations[1], r.Operations[2]
	if drill.Lost != 0 || drill.Refused != 0 {
		t.Errorf("the drill: %d writes lost, %d refused", drill.Lost, drill.Refused)
	}
	if rto := failover.OutageSeconds; rto < 300 || rto > 1800 || failover.Lost == 0 || failover.RPOSeconds == nil {
		t.Errorf("the failover: nobody served for %v s, %d writes lost, RPO %v: a snapshot is restored, and holds what was there by then", rto, failover.Lost, failover.RPOSeconds)
	}
	if failback.Lost != 0 || failback.Acknowledged <= failover.Acknowledged {
		t.Errorf("the failback: %d of %d writes lost", failback.Lost, failback.Acknowledged)
	}
	for _, o := range r.Operations {
		if out, err := os.ReadFile(o.ReportHTML); err != nil || !bytes.Contains(out, []byte("<html")) {
			t.Errorf("%s: the report: %v", o.Operation, err)
		}
	}
	if !bytes.Contains(p.Said(), []byte("$ lifeboat run approve last")) {
		t.Errorf("nobody approved the failback: %s", p.Said())
	}
}

// TestDemoKept uses the stand-in that --keep leaves, as its last words say.
func TestDemoKept(t *testing.T) {
	t.Parallel()
	dir := program.Folder(t)
	p := program.Start(t, dir, os.Environ(), "demo", "--db", "aws", "--keep")
	var try string
	program.Until(t, "the stand-in", func(context.Context) error {
		_, after, there := strings.Cut(string(p.Printed()), "In another terminal:\n")
		if try = after; !there || !strings.Contains(after, " points shop\n") {
			return errors.New("it is not up: " + string(p.Said()))
		}
		return nil
	})
	lines := strings.Split(strings.TrimSpace(try), "\n")
	script := strings.Join(lines[:3], "\n") // the folder, who one is, status
	out, err := exec.CommandContext(t.Context(), "sh", "-ec", script).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "serves at dublin, its home") {
		t.Errorf("%s\n%v: %s", script, err, out)
	}
	p.Signal(syscall.SIGINT)
	if code := p.Wait(); code != 130 {
		t.Errorf("exit code %d after an interrupt: %s", code, p.Said())
	}
}

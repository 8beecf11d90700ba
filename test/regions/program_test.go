package regions

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// TestProgram loses Dublin under the real program, which reaches a world of fast transitions over a socket: it fails over, and the long
// suite goes home again, with the approval that a person gives by another process, and by processes that are killed.
func TestProgram(t *testing.T) {
	t.Parallel()
	start, now := time.Now(), time.Now
	var w *awstest.World
	var kept *lab
	var text string
	bubble(t, awstest.Options{Unlimited: true, Now: func() time.Time { return now() }}, func(l *lab) {
		time.Sleep(time.Until(start.Add(-12 * time.Hour)))
		w, kept = l.World, l
		l.shop()
		time.Sleep(time.Until(start.Add(-time.Hour)))
		l.run(l.ask("protect", ""))
		time.Sleep(time.Until(start))
		text = l.exampleText()
	})
	now = time.Now // outside of the bubble
	w.Play(awstest.Script{Scale: 0.01})
	server, err := w.Serve()
	must(t, err)
	defer server.Close()
	kept.t = t
	dir := program.Folder(t)
	text = strings.ReplaceAll(text, `{account: "111111111111",`, `{account: "111111111111", attempt: 5s, deadline: 10s, endpoint: "`+server.URL+`",`)
	must(t, os.WriteFile(filepath.Join(dir, "lifeboat.yaml"), []byte(text), 0o600))

	home := w.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Refuse})
	p := program.Start(t, dir, os.Environ(), "failover", "shop", "--unplanned", "--yes", "--accept-unfenced", "the region is gone", "-o", "json")
	if code := p.Wait(); code != 0 {
		t.Fatalf("failover: exit code %d: %s\n%s", code, p.Said(), p.Printed())
	}
	if home.Times() == 0 {
		t.Error("nobody asked Dublin")
	}
	home.Remove()
	kept.stale = true
	kept.serves(frankfurt, "after the program's failover")
	kept.stale = false
	r := report(t, dir)
	older := time.Hour + 5*time.Minute + time.Since(start) // of the newest copy: an hour at the start, and the machine takes its time
	if r.Run.Outcome != api.Succeeded || r.RPO.Value == nil || r.RPO.Value.Std() < 55*time.Minute || r.RPO.Value.Std() > older || !slices.ContainsFunc(r.Waived, func(s api.StepView) bool { return s.ID == "billing/fence@dublin" }) {
		t.Errorf("the report: %s, RPO %v (%s), waived %+v", r.Run.Outcome, r.RPO.Value, r.RPO.Basis, r.Waived)
	}
	if !program.Long() {
		return
	}
	p = program.Start(t, dir, os.Environ(), "failback", "shop", "--yes", "--no-wait", "-o", "json")
	if code := p.Wait(); code != 3 {
		t.Fatalf("failback: exit code %d, want 3, for an approval: %s", code, p.Said())
	}
	for _, c := range w.Calls() {
		if strings.HasPrefix(c.Action, "Delete") && c.Status == http.StatusOK {
			t.Errorf("%s of %v before the approval", c.Action, c.Params)
		}
	}
	p = program.Start(t, dir, os.Environ(), "run", "approve", "last", "--by", "bob", "-o", "json")
	if code := p.Wait(); code != 0 {
		t.Fatalf("approve: exit code %d: %s", code, p.Said())
	}
	for n := 0; ; n++ { // whoever carries it out is killed again and again
		p = program.Start(t, dir, os.Environ(), "run", "resume", "last", "-o", "json")
		if p.KillAfter(45 * time.Second) {
			if n == 40 {
				t.Fatalf("not over after %d processes: %s", n, p.Said())
			}
			continue
		}
		if code := p.Wait(); code != 0 {
			t.Fatalf("resume: exit code %d: %s\n%s", code, p.Said(), p.Printed())
		}
		break
	}
	kept.serves(dublin, "after the program's failback")
}

func report(t *testing.T, dir string) api.Report {
	t.Helper()
	p := program.Start(t, dir, os.Environ(), "report", "last", "-o", "json")
	if code := p.Wait(); code != 0 {
		t.Fatalf("report: exit code %d: %s", code, p.Said())
	}
	return program.Answer[api.Report](p)
}

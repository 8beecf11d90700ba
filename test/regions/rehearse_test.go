package regions

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/all"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/rehearsal"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// rehearse rehearses in the bubble's time.
func (l *lab) rehearse(req api.RehearseRequest) *api.Rehearsal {
	l.t.Helper()
	drivers := func(log *slog.Logger, base *awsbase.Base) *driver.Registry { return all.On(log, base) }
	r := rehearsal.New(rehearsal.Options{Config: l.path, Drivers: drivers, HTTP: l.Client(), Play: rehearsal.Here(drivers)})
	out, err := r.Rehearse(within(l.t, 30*24*time.Hour), req, func(api.RehearsedStep) {})
	if err != nil {
		l.t.Fatalf("rehearse: %v (hint: %s)", err, failure.HintOf(err))
	}
	return out
}

// looked wants that nothing but looks reached AWS since it was last asked.
func (l *lab) looked() {
	l.t.Helper()
	calls := l.Calls()
	if len(calls) == 0 {
		l.t.Error("nobody looked at anything")
	}
	for _, c := range calls {
		if !slices.ContainsFunc([]string{"Describe", "List", "Get"}, func(p string) bool { return strings.HasPrefix(c.Action, p) }) {
			l.t.Errorf("the rehearsal called %s of %s", c.Action, c.Service)
		}
	}
	l.Forget()
}

// ways are how each step ended.
func ways(steps []api.StepView) map[model.StepID]api.StepStatus {
	out := map[model.StepID]api.StepStatus{}
	for _, s := range steps {
		out[s.ID] = s.Status
	}
	return out
}

// TestRehearsal rehearses the loss of a region in each way, and then loses it so: what was foretold comes to pass, and the rehearsal
// touched nothing. It goes on with the failback, which is rehearsed with the times that were measured.
func TestRehearsal(t *testing.T) {
	faults := map[string]awstest.Fault{"refusing": {How: awstest.Refuse}, "hanging": {How: awstest.Hang}}
	for _, how := range []string{"refusing", "hanging"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, awstest.Options{}, func(l *lab) {
				l.shop()
				l.run(l.ask(model.OpProtect, ""))
				before := l.inventory()
				l.Forget()
				told := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover, How: how})
				l.looked()
				if diff := cmp.Diff(before, l.inventory()); diff != "" {
					t.Errorf("the rehearsal changed something (-before +after):\n%s", diff)
				}
				if !told.OK || told.Outcome != api.Succeeded || told.Lost != dublin || len(told.Asked) != 1 || told.RPO.Value == nil {
					t.Errorf("rehearsed: %+v", told)
				}

				fault := faults[how]
				fault.Region = regions[dublin]
				home := l.Inject(fault)
				req := l.ask(model.OpFailover, model.Unplanned)
				req.AcceptUnfenced = "the region is gone"
				r := l.run(req)
				home.Remove()
				l.foretold(told, r)
				time.Sleep(time.Hour)
				l.Forget()

			})
		})
	}
}

// foretold wants that a run went as it was rehearsed, in a time within a tenth.
func (l *lab) foretold(told *api.Rehearsal, r *api.Report) {
	l.t.Helper()
	got := map[model.StepID]api.StepStatus{}
	for _, s := range told.Steps {
		got[s.ID] = s.Status
	}
	if diff := cmp.Diff(ways(r.Run.Steps), got); diff != "" {
		l.t.Errorf("how steps ended (-in truth +rehearsed):\n%s", diff)
	}
	took, foretold := r.Run.Ended.Sub(r.Run.Started), told.Took.Std()
	l.t.Logf("%s: foretold %s, took %s", r.Run.Operation, foretold, took)
	if diff := (took - foretold).Abs(); diff > took/10 {
		l.t.Errorf("%s took %s, and was foretold to take %s", r.Run.Operation, took, foretold)
	}
}

// TestRehearseProgram watches the real program rehearse what it finds at an address, in a process of its own whose time is a bubble's.
func TestRehearseProgram(t *testing.T) {
	real, now := time.Now(), time.Now
	var w *awstest.World
	var text string
	bubble(t, awstest.Options{Now: func() time.Time { return now() }}, func(l *lab) {
		time.Sleep(time.Until(real.Add(-12 * time.Hour)))
		w = l.World
		l.shop()
		time.Sleep(time.Until(real.Add(-time.Hour)))
		l.run(l.ask(model.OpProtect, ""))
		time.Sleep(time.Until(real))
		text = l.exampleText()
		now = func() time.Time { return real } // time stands still at AWS from here
	})
	server, err := w.Serve()
	must(t, err)
	defer server.Close()
	dir := program.Folder(t)
	text = strings.ReplaceAll(text, `{account: "111111111111",`, `{account: "111111111111", endpoint: "`+server.URL+`",`)
	must(t, os.WriteFile(filepath.Join(dir, "lifeboat.yaml"), []byte(text), 0o600))
	w.Forget()
	p := program.Start(t, dir, os.Environ(), "rehearse", "shop", "--with", "home=hanging")
	code := p.Wait()
	if code != 0 || p.Said() != nil && len(p.Said()) > 0 {
		t.Errorf("exit code %d, and said: %s", code, p.Said())
	}
	for _, want := range []string{"failover of shop to frankfurt gets through", "billing/promote@frankfurt", "with dublin lost (hanging)", "nothing was changed there"} {
		if !strings.Contains(string(p.Printed()), want) {
			t.Errorf("%q is not in\n%s", want, p.Printed())
		}
	}
	for _, c := range w.Calls() {
		if !slices.ContainsFunc([]string{"Describe", "List", "Get"}, func(p string) bool { return strings.HasPrefix(c.Action, p) }) {
			t.Errorf("the program called %s of %s", c.Action, c.Service)
		}
	}
	p = program.Start(t, dir, os.Environ(), "rehearse", "shop", "--with", "stuck=billing/promote@frankfurt", "-o", "json")
	if code := p.Wait(); code != 1 {
		t.Errorf("with a step that is stuck: exit code %d, and said: %s", code, p.Said())
	}
	if out := program.Answer[api.Rehearsal](p); out.OK || !strings.Contains(out.Verdict, "billing/promote@frankfurt fails") {
		t.Errorf("with a step that is stuck: %s", out.Verdict)
	}
}

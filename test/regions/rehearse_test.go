package regions

import (
	"log/slog"
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

// TestRehearsal rehearses the loss of a region, and then loses it: what was foretold comes to pass, and the rehearsal touched nothing.
func TestRehearsal(t *testing.T) {
	bubble(t, awstest.Options{}, func(l *lab) {
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		before := l.inventory()
		l.Forget()
		told := l.rehearse(api.RehearseRequest{App: "shop", Operation: model.OpFailover})
		for _, c := range l.Calls() {
			if !slices.ContainsFunc([]string{"Describe", "List", "Get"}, func(p string) bool { return strings.HasPrefix(c.Action, p) }) {
				t.Errorf("the rehearsal called %s of %s", c.Action, c.Service)
			}
		}
		if diff := cmp.Diff(before, l.inventory()); diff != "" {
			t.Errorf("the rehearsal changed something (-before +after):\n%s", diff)
		}
		for _, s := range told.Steps {
			t.Logf("%-30s %-9s %8s + %8s %s %t %v", s.ID, s.Status, s.At, s.Took, s.Basis, s.Critical, s.Err)
		}
		t.Logf("%+v", told)
		if told.Outcome != api.Succeeded || told.RTO.Value == nil {
			t.Fatalf("rehearsed: %s", told.Verdict)
		}
	})
}

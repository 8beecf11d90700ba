package regions

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// examined asks the doctor, and gives what it found but notes, with the time that it took and the questions that it told of.
func (l *lab) examined(req api.DoctorRequest) (reply *api.DoctorReply, found []string, took time.Duration, told []api.DoctorAsking) {
	l.t.Helper()
	s := l.open(nil)
	defer s.Close()
	l.Forget()
	began := time.Now()
	req.App = l.app
	reply, err := s.Doctor(within(l.t, time.Hour), req, func(a api.DoctorAsking) { told = append(told, a) })
	must(l.t, err)
	for _, f := range reply.Findings {
		if f.Severity != model.Note && f.Code != "not-drilled" { // caches have no drill
			found = append(found, fmt.Sprintf("%s %s %s: %s", f.Severity, f.Code, f.Site, f.What))
			if f.Why == "" || f.Fix == "" {
				l.t.Errorf("a finding without why or fix: %+v", f)
			}
		}
	}
	return reply, found, time.Since(began), told
}

// TestDoctor examines the example: each question is put once, in seconds; quotas that two kinds draw on are added up; and a region that
// hangs holds nothing up for longer than the calls' deadline.
func TestDoctor(t *testing.T) {
	t.Parallel()
	bubble(t, awstest.Options{}, func(l *lab) {
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		_, found, took, told := l.examined(api.DoctorRequest{})
		if len(found) > 0 {
			t.Errorf("of what is well: %q", found)
		}
		calls := l.Calls()
		if n := l.Count("SimulatePrincipalPolicy"); n == 0 || n > 20 || len(calls) > 120 || took > 10*time.Second {
			t.Errorf("%d calls, %d of IAM's simulator, in %s", len(calls), n, took)
		}
		asked, over := map[string]int{}, 0
		for _, a := range told {
			if a.Over {
				over++
				continue
			}
			asked[string(a.Site)]++
		}
		if over*2 != len(told) || asked[""] != 2 || asked["dublin"] < 5 || asked["frankfurt"] < 5 {
			t.Errorf("told of %v, %d over of %d", asked, over, len(told))
		}

		// Frankfurt has one instance, of Aurora. A drill makes one of RDS and one of Aurora.
		for room, want := range map[int]string{3: "", 2: "block quota frankfurt: 2 DB instances in eu-central-1 are needed, and 1 of 2 are in use"} {
			l.Quota(account, regions[frankfurt], "DBInstances", room)
			if _, found, _, _ := l.examined(api.DoctorRequest{Operation: model.OpDrill}); strings.Join(found, "; ") != want {
				t.Errorf("with %d instances at most: %q, want %q", room, found, want)
			}
		}

		l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Hang})
		_, found, took, _ = l.examined(api.DoctorRequest{})
		said := strings.Join(found, "\n")
		if took > 30*time.Second || !strings.Contains(said, "not-examined dublin: could not be examined") || strings.Contains(said, "not-described") {
			t.Errorf("with Dublin hanging, in %s: %q", took, found)
		}
	})
}

package regions

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// outages are the ways in which Dublin is lost.
var outages = map[string]awstest.Fault{
	"refuses":   {How: awstest.Refuse},
	"hangs":     {How: awstest.Hang},
	"500s":      {How: awstest.Error500},
	"slow":      {How: awstest.Slow, Delay: 3 * time.Second},
	"very slow": {How: awstest.Slow, Delay: time.Minute},
	"half":      {How: awstest.Error500, Changes: true}, // it describes work, and does none
	"half hung": {How: awstest.Hang, Changes: true},
}

// lookLimit is how long a plan waits for a site that does not answer.
const lookLimit = 5 * time.Second

// TestLostHome holds that an unplanned failover takes at most a tenth longer when Dublin does not answer, or answers badly, than
// when all is well there (or the time of one look at it, where a tenth is less), and that nothing waits for Dublin longer than the
// limits of its configuration: of each kind alone and of the whole example.
func TestLostHome(t *testing.T) {
	t.Parallel()
	alone := func(kind string) func(*lab) {
		return func(l *lab) {
			l.compose([]part{{id: map[string]string{instanceKind: "billing", globalKind: "orders", cacheKind: "sessions", nameKind: "www"}[kind], kind: kind}})
		}
	}
	for name, configure := range map[string]func(*lab){
		"example": func(l *lab) {}, instanceKind: alone(instanceKind), globalKind: alone(globalKind), cacheKind: alone(cacheKind), nameKind: alone(nameKind),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			well := failoverTook(t, configure, nil)
			for how, fault := range outages {
				t.Run(how, func(t *testing.T) {
					if took := failoverTook(t, configure, &fault); took > well+max(well/10, lookLimit) {
						t.Errorf("it took %s; with Dublin well it takes %s", took, well)
					}
				})
			}
		})
	}
}

// failoverTook is how long the app takes, from the question to the end, to move to Frankfurt unplanned while Dublin suffers from
// a fault.
func failoverTook(t *testing.T, configure func(*lab), fault *awstest.Fault) (took time.Duration) {
	t.Helper()
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		l.run(l.ask(model.OpProtect, ""))
		configure(l)
		watch := &stopwatch{next: l.Client()}
		l.http = watch
		if fault != nil {
			fault.Region = regions[dublin]
			defer func(i *awstest.Injected) {
				if i.Times() == 0 && strings.Contains(t.Name(), "example") {
					t.Error("nobody ever asked Dublin")
				}
			}(l.Inject(*fault))
		}
		req := l.ask(model.OpFailover, model.Unplanned)
		req.AcceptUnfenced = "the region is gone"
		start := time.Now()
		r := l.run(req)
		took = time.Since(start)
		t.Logf("%s\n%s", took.Round(time.Second), show(&r.Run))
		watch.judge(t, r)
		if strings.Contains(t.Name(), globalKind) && r.RPO.Value == nil { // also where the fence that moved the role is not proved
			t.Errorf("what was lost is not known: %s", r.RPO.Basis)
		}
	})
	return took
}

// stopwatch is the way from Lifeboat to the world, with the times that requests take.
type stopwatch struct {
	next  *awstest.Client
	mu    sync.Mutex
	worst time.Duration // to Dublin
}

func (s *stopwatch) Do(req *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := s.next.Do(req)
	if took := time.Since(start); strings.Contains(req.URL.Host, regions[dublin]) {
		s.mu.Lock()
		s.worst = max(s.worst, took)
		s.mu.Unlock()
	}
	return resp, err
}

// judge holds requests to the limit of an attempt, and attempts of steps that need Dublin alone to that of a call and another
// one for the question that comes before. A fence that moves a role waits for Frankfurt.
func (s *stopwatch) judge(t testing.TB, r *api.Report) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.worst > awsbase.DefaultAttempt {
		t.Errorf("a request to Dublin was waited for %s; an attempt may take %s", s.worst, awsbase.DefaultAttempt)
	}
	began := map[model.StepID]time.Time{}
	for _, ev := range r.Events {
		switch ev.Kind {
		case "step-intent":
			began[ev.Step] = ev.At
		case "step-failed":
			if took := ev.At.Sub(began[ev.Step]); took > 2*awsbase.DefaultDeadline && !strings.Contains(ev.Text, "the role has moved") {
				t.Errorf("an attempt of %s waited %s for Dublin: %s", ev.Step, took, ev.Text)
			}
		}
	}
}

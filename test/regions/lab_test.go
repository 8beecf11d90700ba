package regions

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/all"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/shop"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/orchestrator"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
	"github.com/lifeboat-dr/lifeboat/internal/service"
	"github.com/lifeboat-dr/lifeboat/model"
)

const (
	account   = shop.Account
	dublin    = shop.Dublin
	frankfurt = shop.Frankfurt
)

// regions by site.
var regions = shop.Regions()

var sites = []model.SiteID{dublin, frankfurt}

func other(site model.SiteID) model.SiteID {
	if site == dublin {
		return frankfurt
	}
	return dublin
}

// lab is a world, a configuration, and a journal that several services share as several processes would.
type lab struct {
	*awstest.World
	t     testing.TB
	db    *memory.DB
	past  journal.Archive
	path  string
	app   model.AppID
	made  *shop.Shop // what is in the world, as somebody else than Lifeboat sees it
	bases []*awsbase.Base
	http  aws.HTTPClient // the way to the world; nil: straight
	stale bool           // an old instance of RDS takes writes
}

// bubble runs a test whose time is its own, on a world with networks, keys and what else databases need.
func bubble(t *testing.T, o awstest.Options, test func(l *lab)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, awstest.New(o), dir)
		test(l)
		for _, b := range l.bases {
			b.Wait()
		}
	})
}

func newLab(t testing.TB, w *awstest.World, dir string) *lab {
	t.Helper()
	return &lab{World: w, t: t, db: memory.NewDB(), past: memory.NewArchive(), path: filepath.Join(dir, "lifeboat.yaml"), app: "shop", made: shop.New(w, time.Sleep)}
}

// open makes a service of its own on the shared journal and world: another process.
func (l *lab) open(failpoint func(context.Context, string) error) *service.Service {
	l.t.Helper()
	var way aws.HTTPClient = l.Client()
	if l.http != nil {
		way = l.http
	}
	base := awsbase.New(awsbase.Options{HTTP: way, Log: slog.New(slog.DiscardHandler)})
	l.bases = append(l.bases, base)
	s, err := service.Open(context.WithoutCancel(l.t.Context()), service.Options{
		Config:    l.path,
		Drivers:   all.On(slog.New(slog.DiscardHandler), base),
		Payloads:  orchestrator.New(base),
		Journal:   func(context.Context) (journal.Store, error) { return l.db.Open(), nil },
		Archive:   l.past,
		Failpoint: failpoint,
	})
	must(l.t, err)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, failure.HintOf(err))
	}
}

// within bounds a wait in the bubble's time.
func within(t testing.TB, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
	t.Cleanup(cancel)
	return ctx
}

// ask is a request for an operation on the lab's app.
func (l *lab) ask(op model.Operation, mode model.Mode) api.StartRequest {
	return api.StartRequest{PlanRequest: api.PlanRequest{App: l.app, Operation: op, Mode: mode}, By: "ann"}
}

// run carries an operation out from its start to its report, and wants it to succeed.
func (l *lab) run(req api.StartRequest) *api.Report {
	l.t.Helper()
	s := l.open(nil)
	began, err := s.Start(within(l.t, time.Hour), req)
	if err != nil {
		l.t.Fatalf("start %s: %v (hint: %s)", req.Operation, err, failure.HintOf(err))
	}
	r := l.finish(s, began.ID)
	if r.Run.Outcome != api.Succeeded {
		l.t.Fatalf("%s %s\n%s", req.Operation, r.Run.Outcome, show(&r.Run))
	}
	must(l.t, s.Close())
	return r
}

// finish watches a run to its end and gives its report. Whoever is asked for an approval gives it.
func (l *lab) finish(s *service.Service, run model.RunID) *api.Report {
	l.t.Helper()
	ctx := within(l.t, 4*24*time.Hour)
	for v, err := range s.Watch(ctx, run) {
		if err != nil {
			l.t.Fatalf("watch %s: %v", run, err)
		}
		if v.Final {
			break
		}
		for _, st := range v.Steps {
			switch st.Status {
			case api.StepAsking:
				l.t.Fatalf("%s asks: %v (hint: %s)\n%s", st.ID, st.Err, failure.HintOf(st.Err), show(v))
			case api.StepApproval:
				if len(st.Approvals) == 0 {
					_, err := s.Signal(ctx, api.SignalRequest{Run: run, Signal: api.Approve, Step: st.ID, By: "bob"})
					must(l.t, err)
				}
			}
		}
	}
	r, err := s.Report(ctx, run)
	must(l.t, err)
	if !r.Run.Final {
		l.t.Fatalf("the run did not end in four days\n%s", show(&r.Run))
	}
	return r
}

// show is where every step of a run stands.
func show(v *api.RunView) string {
	var b strings.Builder
	for _, st := range v.Steps {
		fmt.Fprintf(&b, "%-32s %-9s attempt %d", st.ID, st.Status, st.Attempt)
		if st.Started != nil && st.Ended != nil {
			fmt.Fprintf(&b, " %s", st.Ended.Sub(*st.Started).Round(time.Second))
		}
		fmt.Fprintf(&b, " %s", st.Phase)
		if st.Err != nil {
			fmt.Fprintf(&b, " (%s: %v)", st.Err.Kind, st.Err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// step finds a step of a run.
func step(t testing.TB, v *api.RunView, id model.StepID) *api.StepView {
	t.Helper()
	i := slices.IndexFunc(v.Steps, func(st api.StepView) bool { return st.ID == id })
	if i < 0 {
		t.Fatalf("there is no step %s in\n%s", id, show(v))
	}
	return &v.Steps[i]
}

// configure writes lifeboat.yaml.
func (l *lab) configure(text string) {
	l.t.Helper()
	must(l.t, os.WriteFile(l.path, []byte(text), 0o600))
}

// drilled are the resources whose copy a drill brought up.
func drilled(v *api.RunView) (ids []model.ResourceID) {
	for _, st := range v.Steps {
		if st.Action == model.ActionDrill && st.Status == api.StepDone {
			ids = append(ids, st.Resource)
		}
	}
	return ids
}

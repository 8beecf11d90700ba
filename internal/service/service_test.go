package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

const shop = `version: 1
sites: {east: {}, west: {}}
apps:
  shop:
    home: east
    recovery: [west]
    objective: {rto: 1h, rpo: 1h}
    resources:
      db:
        kind: fake.stateful
        settings: {steps: %s}
        sites: {east: {role: primary}, west: {role: standby, lag_time: 0s}}
`

// lab is a journal, a world and a configuration that several services of one test share.
type lab struct {
	t     *testing.T
	path  string
	db    *memory.DB
	world *fake.World
	past  journal.Archive // nil: in the state folder
}

func newLab(t *testing.T, steps string) *lab {
	l := &lab{t: t, path: filepath.Join(t.TempDir(), "lifeboat.yaml"), db: memory.NewDB(), world: fake.NewWorld()}
	text := fmt.Appendf(nil, shop, steps)
	if err := os.WriteFile(l.path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

// open makes a service of its own on the shared journal: another process.
func (l *lab) open(failpoint func(context.Context, string) error) *Service {
	l.t.Helper()
	s, err := Open(context.Background(), Options{
		Config: l.path, Drivers: driver.NewRegistry(fake.New(l.world), fake.New(l.world, fake.Stateful())),
		Journal:   func(context.Context) (journal.Store, error) { return l.db.Open(), nil },
		Archive:   l.past,
		Failpoint: failpoint,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (l *lab) end(s *Service, run model.RunID) *api.RunView {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 4*time.Minute)
	defer cancel()
	var last *api.RunView
	for v, err := range s.Watch(ctx, run) {
		if err != nil {
			l.t.Fatal(err)
		}
		last = v
	}
	if last == nil || !last.Final {
		l.t.Fatalf("the run did not end: %+v", last)
	}
	return last
}

// failover is an unplanned failover of the shop.
func failover(key string) api.StartRequest {
	return api.StartRequest{PlanRequest: api.PlanRequest{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned}, By: "ann", Key: key}
}

func TestARunFromPlanToSignedReport(t *testing.T) {
	l := newLab(t, "{}")
	s, ctx := l.open(nil), t.Context()
	for v, err := range s.Protect(ctx, api.ProtectRequest{App: "shop", Once: true}) {
		if err != nil || len(v.Errors) > 0 || v.Markers["db"].Seq != 1 {
			t.Fatalf("protect: %+v, %v", v, err)
		}
	}
	shown, err := s.Plan(ctx, failover("").PlanRequest)
	if err != nil {
		t.Fatal(err)
	}
	wrong := failover("k")
	wrong.Hash = "another"
	if _, err := s.Start(ctx, wrong); !errors.Is(err, failure.Conflict) {
		t.Errorf("a plan that was not shown is started: %v", err)
	}
	req := failover("k")
	req.Hash = shown.Hash
	began, err := s.Start(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if began.Status == "unattended" || began.Owner == "" && !began.Final {
		t.Errorf("just started it is %q, driven by %q", began.Status, began.Owner)
	}
	if v := l.end(s, began.ID); v.Outcome != api.Succeeded {
		t.Fatalf("outcome %s", v.Outcome)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := l.open(nil) // the archive alone tells
	r, err := again.Report(ctx, began.ID[:20])
	if err != nil {
		t.Fatal(err)
	}
	content, err := Documents{}.Render(ctx, r, "json")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := (Documents{}).VerifyReport(ctx, content); err != nil || !v.Valid {
		t.Errorf("the report does not verify: %+v, %v", v, err)
	}
	if !r.OK || r.RPO.Value == nil || *r.RPO.Value != 0 {
		t.Errorf("ok %v, RPO %+v", r.OK, r.RPO)
	}
	if v, err := again.Run(ctx, "last"); err != nil || v.ID != began.ID {
		t.Errorf("last is %v, %v", v, err)
	}
	if st, err := again.Status(ctx, "shop"); err != nil || st.Serving != "west" || len(st.Active) != 0 {
		t.Errorf("status: %+v, %v", st, err)
	}
	if _, err := again.Signal(ctx, api.SignalRequest{Run: began.ID, Signal: api.Pause, By: "ann"}); !errors.Is(err, failure.Conflict) {
		t.Errorf("a run that is over was paused: %v", err)
	}
	if _, err := again.Run(ctx, "ZZZ"); !errors.Is(err, failure.NotFound) {
		t.Errorf("no such run: %v", err)
	}
}

func TestOneMoveAtATime(t *testing.T) {
	l := newLab(t, "{promote: {hang: true}}")
	one, two, ctx := l.open(nil), l.open(nil), t.Context()
	first, err := one.Start(ctx, failover("key"))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := two.Start(ctx, failover("key")); err != nil || same.ID != first.ID {
		t.Errorf("the same key gives %v, %v", same, err)
	}
	if _, err := two.Start(ctx, failover("other")); !errors.Is(err, failure.Conflict) || failure.HintOf(err) == "" {
		t.Errorf("a second move: %v", err)
	}
	// Once the data serves at the other site, what is under way is told rather than that there is no other site.
	nowhere := api.PlanRequest{App: "shop", Operation: model.OpFailover, From: "west"}
	if _, err := two.Plan(ctx, nowhere); !errors.Is(err, failure.Conflict) || !strings.Contains(failure.HintOf(err), "lifeboat run resume "+string(first.ID)) {
		t.Errorf("a plan beside it: %v (hint: %s)", err, failure.HintOf(err))
	}
	drill := api.StartRequest{PlanRequest: api.PlanRequest{App: "shop", Operation: model.OpDrill}, By: "bob"}
	drilled, err := two.Start(ctx, drill)
	if err != nil {
		t.Fatalf("a drill beside it: %v", err)
	}
	l.end(two, drilled.ID)
	if left := l.world.Left(); len(left) != 0 {
		t.Errorf("the drill left %v", left)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Signal(ctx, api.SignalRequest{Run: first.ID, Signal: api.Abort, By: "ann"}); err != nil {
		t.Fatal(err)
	}
	if err := two.Drive(ctx, first.ID); err != nil {
		t.Fatal(err)
	}
	if v := l.end(two, first.ID); v.Outcome != api.Aborted {
		t.Errorf("outcome %s", v.Outcome)
	}
}

func TestFindingsBlockTheStart(t *testing.T) {
	l := newLab(t, `{fence: {findings: [{severity: block, what: "it cannot be reached"}], fail: [{kind: unavailable}]}}`)
	s, ctx := l.open(nil), t.Context()
	if _, err := s.Start(ctx, failover("")); !errors.Is(err, failure.Conflict) {
		t.Fatalf("blocked, and: %v", err)
	}
	if runs, err := s.Runs(ctx, api.RunsRequest{}); err != nil || len(runs) != 0 {
		t.Errorf("a refused start left %v, %v", runs, err)
	}
	req := failover("")
	req.AcceptUnfenced = "the building burnt down"
	run, err := s.Start(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if v := l.end(s, run.ID); v.Outcome != api.Succeeded {
		t.Fatalf("outcome %s", v.Outcome)
	}
	r, err := s.Report(ctx, run.ID)
	if err != nil || r.OK || len(r.Waived) != 1 || r.Waived[0].Reason != req.AcceptUnfenced {
		t.Errorf("ok %v, waived %+v, %v", r.OK, r.Waived, err)
	}
}

// TestCrashBeforeTheArchive holds that a run whose owner died between its end and the archive is archived by the next.
func TestCrashBeforeTheArchive(t *testing.T) {
	l := newLab(t, "{}")
	boom := errors.New("power cut")
	var fired atomic.Bool
	dying := l.open(func(_ context.Context, point string) error {
		if point == "archive:before" {
			fired.Store(true)
			return boom
		}
		return nil
	})
	ctx := t.Context()
	run, err := dying.Start(ctx, failover(""))
	if err != nil {
		t.Fatal(err)
	}
	l.end(dying, run.ID)
	if err := dying.Close(); err != nil {
		t.Fatal(err)
	}
	if !fired.Load() {
		t.Fatal("it never came to the archive")
	}
	heir := l.open(nil)
	if err := heir.Drive(ctx, run.ID); err != nil {
		t.Fatal(err)
	}
	heir.group.Wait()
	if a, err := heir.fetch(ctx, run.ID); err != nil || a.Report.Signature == nil {
		t.Errorf("not archived: %v", err)
	}
	if n := len(l.world.Effects()); n == 0 {
		t.Error("nothing was done")
	}
}

// TestReadingCreatesNothing holds that a command that only looks makes no journal.
func TestReadingCreatesNothing(t *testing.T) {
	l := newLab(t, "{}")
	s, err := Open(t.Context(), Options{Config: l.path, Drivers: driver.NewRegistry(fake.New(l.world), fake.New(l.world, fake.Stateful()))})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := s.Plan(ctx, failover("").PlanRequest); err != nil {
		t.Error(err)
	}
	if _, err := s.Status(ctx, ""); err != nil {
		t.Error(err)
	}
	if runs, err := s.Runs(ctx, api.RunsRequest{}); err != nil || len(runs) != 0 {
		t.Errorf("runs %v, %v", runs, err)
	}
	if _, err := s.Points(ctx, "shop"); err != nil {
		t.Error(err)
	}
	if _, err := s.Run(ctx, "last"); !errors.Is(err, failure.NotFound) {
		t.Errorf("last of none: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(l.path), ".lifeboat")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a state folder was made: %v", err)
	}
}

// TestNothingServes holds that status does not pass over data that no site serves.
func TestNothingServes(t *testing.T) {
	for role, want := range map[string]bool{"primary": false, "standby": true, "absent": true, "unreachable": false} {
		l := newLab(t, "{}")
		text := strings.Replace(fmt.Sprintf(shop, "{}"), "east: {role: primary}", "east: {role: "+role+"}", 1)
		if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := l.open(nil).Status(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if has := slices.ContainsFunc(got.Findings, func(f model.Finding) bool { return f.Code == "no-primary" && f.Site == "east" }); has != want {
			t.Errorf("%s at home: found %v, want %v: %+v", role, has, want, got.Findings)
		}
	}
}

// TestStatusKnowsWhatHoldsNoData holds that what cannot be behind is told from what is behind by nobody knows how much.
func TestStatusKnowsWhatHoldsNoData(t *testing.T) {
	l := newLab(t, "{}")
	text := fmt.Sprintf(shop, "{}") + "      name:\n        kind: fake\n        sites: {east: {role: primary}, west: {role: standby}}\n"
	if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := l.open(nil).Status(t.Context(), "shop")
	if err != nil || len(got.Resources) != 4 {
		t.Fatalf("%v, %+v", err, got)
	}
	for _, d := range got.Resources {
		if d.Stateless != (d.Resource == "name") {
			t.Errorf("%s at %s: stateless %v", d.Resource, d.Site, d.Stateless)
		}
	}
}

// TestAPlannedMoveMayLose holds that the plan of a planned move foretells a loss only of what moves without waiting for its copy.
func TestAPlannedMoveMayLose(t *testing.T) {
	for _, tt := range []struct {
		kind, lag, basis string
		want             string
	}{
		{"fake.stateful", ", lag_time: 2s", "planned: work stops and is carried over before anything moves", "0s"},
		{"fake.lossy", ", lag_time: 2s", "; but cache at west is 2s behind, and a planned move does not wait for it", "2s"},
		{"fake.lossy", "", "how far cache at west is behind cannot be told", "<nil>"},
	} {
		l := newLab(t, "{}")
		text := strings.Replace(fmt.Sprintf(shop, "{}"), "lag_time: 0s", "lag_time: 30s", 1) +
			"      cache:\n        kind: " + tt.kind + "\n        sites: {east: {role: primary}, west: {role: standby" + tt.lag + "}}\n"
		if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		lossy := fake.New(l.world, fake.Stateful(), fake.WithKind("fake.lossy"), fake.WithFacts(func(f *driver.Facts) { f.Lossy = true }))
		s, err := Open(t.Context(), Options{Config: l.path, Drivers: driver.NewRegistry(fake.New(l.world), fake.New(l.world, fake.Stateful()), lossy),
			Journal: func(context.Context) (journal.Store, error) { return l.db.Open(), nil }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		reply, err := s.Plan(t.Context(), api.PlanRequest{App: "shop", Operation: model.OpFailover, Mode: model.Planned})
		if err != nil {
			t.Fatal(err)
		}
		if got := reply.Prediction; fmt.Sprint(got.RPO) != tt.want || !strings.Contains(got.Basis, tt.basis) {
			t.Errorf("%s%s: foretold %v: %s", tt.kind, tt.lag, got.RPO, got.Basis)
		}
	}
}

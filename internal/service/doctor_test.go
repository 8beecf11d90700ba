package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// examined is the fake's stateful kind with examinations and permissions.
type examined struct {
	driver.Driver
	finds map[model.SiteID][]model.Finding
	dead  model.SiteID // this site answers nothing

	mu   sync.Mutex
	seen []string // site and actions
}

func (e *examined) Unwrap() driver.Driver { return e.Driver }

func (e *examined) Examine(ctx context.Context, x driver.Examination) (driver.Examined, error) {
	if x.Site == e.dead {
		<-ctx.Done()
		return driver.Examined{}, failure.Wrap(ctx.Err(), "examine", string(x.Site))
	}
	var actions []string
	for _, r := range x.Work {
		actions = append(actions, string(r.Action)+"@"+string(r.Site))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, string(x.Site)+": "+strings.Join(actions, " "))
	return driver.Examined{Findings: slices.Clone(e.finds[x.Site])}, nil
}

func (e *examined) Permissions(req driver.Request) ([]driver.Permission, error) {
	p := driver.Permission{Site: req.Site, Holder: "arn:aws:iam::1:role/" + string(req.Site), Account: "1", Partition: "aws", Call: "rds:Describe", On: []string{"*"}, Looks: true}
	if req.Action != "" {
		p.Call, p.Looks = "rds:"+string(req.Action), false
	}
	return []driver.Permission{p}, nil
}

// doctored opens a service whose kind fake.stateful examines.
func (l *lab) doctored(e *examined) *Service {
	l.t.Helper()
	e.Driver = fake.New(l.world, fake.Stateful())
	s, err := Open(context.Background(), Options{Config: l.path, Drivers: driver.NewRegistry(fake.New(l.world), e),
		Journal: func(context.Context) (journal.Store, error) { return l.db.Open(), nil }})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = s.Close() })
	return s
}

func finding(severity model.Severity, code string, site model.SiteID) model.Finding {
	return model.Finding{Severity: severity, Code: code, Site: site, What: code + " at " + string(site)}
}

// told are findings in words.
func told(all []api.Diagnosis) (out []string) {
	for _, f := range all {
		out = append(out, fmt.Sprintf("%s %s %v", f.Severity, f.What, f.Operations))
	}
	return out
}

func TestDoctor(t *testing.T) {
	l := newLab(t, "{}")
	e := &examined{finds: map[model.SiteID][]model.Finding{
		"west": {finding(model.Note, "identity", "west"), finding(model.Block, "quota", "west")},
		"east": {finding(model.Warn, "old", "east"), finding(model.Block, "key", "east")},
	}}
	s := l.doctored(e)
	reply, err := s.Doctor(t.Context(), api.DoctorRequest{App: "shop"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := "[drill failover planned failover unplanned failback]"
	want := []string{
		"block key at east [drill failover planned failback]", // an unplanned failover goes on without east
		"block quota at west " + all,
		"warn old at east [drill failover planned failback]",
		"note identity at west " + all,
	}
	if diff := cmp.Diff(want, told(reply.Findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	var got []string
	for _, o := range reply.Operations {
		got = append(got, fmt.Sprintf("%s %s %s>%s later %t blocks %d warns %d cannot %q", o.Operation, o.Mode, o.From, o.To, o.Later, o.Blocks, o.Warns, o.Cannot))
	}
	wantOps := []string{
		`protect  east> later false blocks 0 warns 0 cannot "none of its resources can take part"`,
		`drill planned east>west later false blocks 2 warns 1 cannot ""`,
		`failover planned east>west later false blocks 2 warns 1 cannot ""`,
		`failover unplanned east>west later false blocks 1 warns 0 cannot ""`,
		`failback planned west>east later true blocks 2 warns 1 cannot ""`,
	}
	if diff := cmp.Diff(wantOps, got); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
	if !reply.Blocked || reply.Serving != "east" {
		t.Errorf("blocked %t, serves at %s", reply.Blocked, reply.Serving)
	}
	if !slices.ContainsFunc(e.seen, func(s string) bool { return strings.HasPrefix(s, "west: ") && strings.Contains(s, "promote@west") }) {
		t.Errorf("the promotion was not examined: %v", e.seen)
	}
}

func TestDoctorOfOneSiteAndOperation(t *testing.T) {
	l := newLab(t, "{}")
	s := l.doctored(&examined{finds: map[model.SiteID][]model.Finding{"east": {finding(model.Block, "key", "east")}, "west": {finding(model.Warn, "old", "west")}}})
	reply, err := s.Doctor(t.Context(), api.DoctorRequest{App: "shop", Site: "west", Operation: model.OpDrill}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"warn old at west [drill]"}, told(reply.Findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if reply.Blocked || len(reply.Operations) != 1 || reply.Operations[0].Blocks != 0 {
		t.Errorf("blocked %t: %+v", reply.Blocked, reply.Operations)
	}
	for _, req := range []api.DoctorRequest{{App: "shop", Site: "north"}, {App: "shop", Operation: "dance"}} {
		if _, err := s.Doctor(t.Context(), req, nil); failure.KindOf(err) != failure.Invalid || failure.HintOf(err) == "" {
			t.Errorf("%+v: %v", req, err)
		}
	}
}

// TestPlanIsExamined: what blocks is in the plan and stops its start; a site that is dead is told of and holds nothing up.
func TestPlanIsExamined(t *testing.T) {
	l := newLab(t, "{}")
	synctest.Test(t, func(t *testing.T) {
		e := &examined{dead: "east", finds: map[model.SiteID][]model.Finding{"west": {finding(model.Note, "identity", "west"), finding(model.Block, "quota", "west")}}}
		s := l.doctored(e)
		ask := api.PlanRequest{App: "shop", Operation: model.OpFailover, Mode: model.Planned}
		began := time.Now()
		reply, err := s.Plan(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > lookTimeout {
			t.Errorf("the dead site held the plan for %s", took)
		}
		codes := map[string]model.Severity{}
		for _, f := range reply.Findings {
			codes[f.Code] = f.Severity
		}
		if codes["quota"] != model.Block || codes["not-examined"] != model.Warn || codes["identity"] != "" {
			t.Errorf("findings: %v", codes)
		}
		if _, err := s.Start(t.Context(), api.StartRequest{PlanRequest: ask, By: "ann"}); failure.KindOf(err) != failure.Conflict || !strings.Contains(err.Error(), "quota at west") {
			t.Errorf("a start that is blocked: %v", err)
		}
		s.Close()
	})
}

// TestProtectGoesOn: what stands in the way of copies does not keep points from being made.
func TestProtectGoesOn(t *testing.T) {
	l := newScheduledLab(t, "{}")
	s := l.doctored(&examined{finds: map[model.SiteID][]model.Finding{"west": {finding(model.Block, "quota", "west")}}})
	reply, err := s.Plan(t.Context(), api.PlanRequest{App: "shop", Operation: model.OpProtect})
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.Findings) != 1 || reply.Findings[0].Code != "quota" || reply.Findings[0].Severity != model.Warn {
		t.Errorf("findings: %+v", reply.Findings)
	}
	doctor, err := s.Doctor(t.Context(), api.DoctorRequest{App: "shop", Operation: model.OpProtect}, nil)
	if err != nil || !doctor.Blocked {
		t.Errorf("the doctor: %+v: %v", doctor, err)
	}
}

func TestPolicy(t *testing.T) {
	l := newLab(t, "{}")
	s := l.doctored(&examined{})
	for site, want := range map[model.SiteID]int{"": 2, "west": 1} {
		reply, err := s.Policy(t.Context(), api.PolicyRequest{App: "shop", Site: site})
		if err != nil {
			t.Fatal(err)
		}
		if len(reply.Grants) != want {
			t.Errorf("at %q: %d grants, want %d", site, len(reply.Grants), want)
		}
		for _, g := range reply.Grants {
			if looks := g.Look[0].Statement; len(looks) != 1 || !slices.Equal(looks[0].Action, []string{"rds:Describe"}) {
				t.Errorf("looking takes %v", looks)
			}
			if acts := g.Operate[0].Statement[0].Action; !slices.Contains(acts, "rds:promote") || !slices.Contains(acts, "rds:fence") || !slices.Contains(acts, "rds:Describe") {
				t.Errorf("operating takes %v", acts)
			}
		}
	}
	if _, err := s.Policy(t.Context(), api.PolicyRequest{App: "shop", Site: "north"}); failure.KindOf(err) != failure.Invalid {
		t.Errorf("of another site: %v", err)
	}
	plain := l.open(nil)
	if _, err := plain.Policy(t.Context(), api.PolicyRequest{App: "shop"}); failure.KindOf(err) != failure.NotFound {
		t.Errorf("of an app without AWS: %v", err)
	}
}

func TestBehindTheObjective(t *testing.T) {
	rpo, lag := model.Duration(time.Minute), model.Duration(time.Hour)
	app := model.App{ID: "shop", Objective: model.Objective{RPO: &rpo}}
	seen := []model.Description{{Resource: "db", Site: "west", Role: model.RoleStandby, LagTime: &lag}, {Resource: "db", Site: "north", Role: model.RoleStandby, LagTime: &rpo}}
	found := behind(app, seen)
	if len(found) != 1 || found[0].Site != "west" || found[0].Fix == "" {
		t.Errorf("found %+v", found)
	}
}

package service

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

const provedShop = `version: 1
sites: {east: {}, west: {}}
vaults: {main: {url: /nowhere, password: env:NOT_SET}}
apps:
  shop:
    home: east
    recovery: [west]
    protect: {prove: {every: "%s", schedule: "@daily", checks: [select true]}}
    resources:
      db:
        kind: fake.stateful
        vault: main
        settings: {steps: %s}
        sites: {east: {role: primary}, west: {role: absent}}
`

func newProvedLab(t *testing.T, every, steps string, points int) (*lab, *Service) {
	t.Helper()
	l := newLab(t, "{}")
	if err := os.WriteFile(l.path, fmt.Appendf(nil, provedShop, every, steps), 0o600); err != nil {
		t.Fatal(err)
	}
	s := l.open(nil)
	for range points {
		v, err := s.Start(t.Context(), api.StartRequest{By: "ann", PlanRequest: api.PlanRequest{App: "shop", Operation: model.OpProtect}})
		if err != nil {
			t.Fatal(err)
		}
		if v = l.end(s, v.ID); v.Outcome != api.Succeeded {
			t.Fatalf("capture: %s", v.Outcome)
		}
	}
	return l, s
}

// proves runs a prove and gives the points that it was about, in order, with the run.
func (l *lab) proves(s *Service, ask *api.ProveAsk) ([]string, *api.RunView) {
	l.t.Helper()
	v, err := s.Start(l.t.Context(), api.StartRequest{By: "ann", PlanRequest: api.PlanRequest{App: "shop", Operation: model.OpProve, Prove: ask}})
	if err != nil {
		l.t.Fatal(err)
	}
	v = l.end(s, v.ID)
	r, err := s.Report(l.t.Context(), v.ID)
	if err != nil {
		l.t.Fatal(err)
	}
	var of []string
	for _, st := range r.Plan.Steps {
		if st.Prove != nil {
			of = append(of, st.Prove.Point)
			if fmt.Sprint(st.Prove.Checks) != fmt.Sprint(append([]string{"select true"}, l.asked(ask)...)) || st.Site != "west" {
				l.t.Errorf("step %s: checks %q at %s", st.ID, st.Prove.Checks, st.Site)
			}
		}
	}
	if left := l.world.Left(); len(left) > 0 {
		l.t.Errorf("left behind: %v", left)
	}
	return of, v
}

func (l *lab) asked(ask *api.ProveAsk) []string {
	if ask == nil {
		return nil
	}
	return ask.Checks
}

// ids are those of the points, newest first.
func (l *lab) ids(s *Service) (out []string) {
	l.t.Helper()
	points, err := s.Points(l.t.Context(), "shop")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, p := range points.Points {
		out = append(out, p.ID)
	}
	return out
}

func TestWhichPointsAreProved(t *testing.T) {
	l, s := newProvedLab(t, "20%", "{}", 6)
	ids := l.ids(s)
	first, _ := l.proves(s, nil)
	second, _ := l.proves(s, &api.ProveAsk{Checks: []string{"select 1 = 1"}})
	if want := [][]string{ids[:2], ids[2:4]}; !slices.Equal(first, want[0]) || !slices.Equal(second, want[1]) {
		t.Errorf("a share twice: %v then %v, want %v", first, second, want)
	}
	if newest, _ := l.proves(s, &api.ProveAsk{Every: "newest"}); !slices.Equal(newest, ids[:1]) {
		t.Errorf("the newest: %v, want %v", newest, ids[:1])
	}
	if all, _ := l.proves(s, &api.ProveAsk{Every: "all"}); len(all) != 6 || !slices.Equal(all[:2], ids[4:]) {
		t.Errorf("all, those first that never were: %v of %v", all, ids)
	}
	if named, _ := l.proves(s, &api.ProveAsk{Points: []string{ids[3]}}); !slices.Equal(named, ids[3:4]) {
		t.Errorf("one by its name: %v, want %v", named, ids[3])
	}
	points, err := s.Points(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points.Points {
		if p.Proof == nil || !p.Proof.OK || p.ProvedAt == nil || p.ProvedBy != p.Proof.By || p.Proof.Site != "west" {
			t.Errorf("point %s: proof %+v, proved %v by %s", p.ID, p.Proof, p.ProvedAt, p.ProvedBy)
		}
	}
	for ask, kind := range map[*api.ProveAsk]failure.Kind{
		{Points: []string{"nonesuch"}}: failure.NotFound,
		{Points: []string{""}}:         failure.NotFound,
		{Every: "0%"}:                  failure.Invalid,
		{Every: "oldest"}:              failure.Invalid,
		{Bisect: true}:                 failure.Invalid,
		{Bisect: true, Checks: []string{"x"}, Every: "newest"}: failure.Invalid,
	} {
		_, err := s.Plan(t.Context(), api.PlanRequest{App: "shop", Operation: model.OpProve, Prove: ask})
		if failure.KindOf(err) != kind || failure.HintOf(err) == "" && kind == failure.NotFound {
			t.Errorf("%+v: %v, want %s", ask, err, kind)
		}
	}
}

// TestABadPointIsToldOf holds that a bad point fails the run, keeps no other one from being proved, stays known as bad, and is
// shown by status; and that what came to no verdict says nothing of a point.
func TestABadPointIsToldOf(t *testing.T) {
	for _, tt := range []struct {
		kind    string
		verdict bool
	}{{"corrupt", true}, {"denied", false}} {
		t.Run(tt.kind, func(t *testing.T) {
			l, s := newProvedLab(t, "all", fmt.Sprintf(`{prove: {fail: [{at: observe, kind: %s, message: "3 pages are damaged"}]}}`, tt.kind), 2)
			of, v := l.proves(s, nil)
			if v.Outcome != api.Failed || len(of) != 2 {
				t.Fatalf("outcome %s of %v", v.Outcome, of)
			}
			for _, st := range v.Steps {
				if st.Action == model.ActionProve && st.Status != api.StepFailed || st.Action == model.ActionRelease && st.Status != api.StepDone {
					t.Errorf("%s is %s", st.ID, st.Status)
				}
			}
			points, err := s.Points(t.Context(), "shop")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range points.Points {
				if bad := p.Proof != nil && !p.Proof.OK && p.Proof.What == "3 pages are damaged"; bad != tt.verdict || p.ProvedAt != nil {
					t.Errorf("point %s: %+v, proved %v", p.ID, p.Proof, p.ProvedAt)
				}
			}
			if got := len(l.codes(s, "proof-failed")); got != map[bool]int{true: 2}[tt.verdict] {
				t.Errorf("%d findings that proofs failed", got)
			}
		})
	}
}

// codes are the findings of a code in the status.
func (l *lab) codes(s *Service, code string) (out []model.Finding) {
	l.t.Helper()
	status, err := s.Status(l.t.Context(), "shop")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range status.Findings {
		if f.Code == code {
			out = append(out, f)
		}
	}
	return out
}

// TestProofsAreMadeWhenTheyAreDue holds that they are due by what is known of the points, to any process.
func TestProofsAreMadeWhenTheyAreDue(t *testing.T) {
	l, s := newProvedLab(t, "newest", "{}", 0)
	if none := l.once(s); len(none.Proofs) > 0 || len(none.Errors) > 0 {
		t.Fatalf("without a point: %+v %v", none.Proofs, none.Errors)
	}
	v, err := s.Start(t.Context(), api.StartRequest{By: "ann", PlanRequest: api.PlanRequest{App: "shop", Operation: model.OpProtect}})
	if err != nil {
		t.Fatal(err)
	}
	l.end(s, v.ID)
	round := l.once(l.open(nil))
	if len(round.Errors) > 0 || len(round.Proofs) != 2 || round.Proofs[1].Outcome != api.Succeeded {
		t.Fatalf("with one: %+v %v", round.Proofs, round.Errors)
	}
	if again := l.once(l.open(nil)); len(again.Proofs) > 0 || len(again.Errors) > 0 {
		t.Errorf("another process, at once: %+v %v", again.Proofs, again.Errors)
	}
	if points := l.ids(s); len(points) != 1 {
		t.Errorf("%d points", len(points))
	}
}

func TestAProofByScheduleThatFailsIsTold(t *testing.T) {
	l, s := newProvedLab(t, "newest", `{prove: {fail: [{at: observe, kind: corrupt}]}}`, 1)
	round := l.once(s)
	if len(round.Errors) != 1 || failure.HintOf(round.Errors[0]) == "" || len(round.Proofs) != 2 || round.Proofs[1].Outcome != api.Failed {
		t.Fatalf("%+v %v", round.Proofs, round.Errors)
	}
}

func TestRestoreIsOfOneResource(t *testing.T) {
	l, s := newProvedLab(t, "newest", "{}", 1)
	into := &model.RestoreSpec{To: "lsn:0/3000060", Folder: "/srv/restored"}
	req := api.PlanRequest{App: "shop", Operation: model.OpRestore, Resources: []model.ResourceID{"db"}, Restore: into}
	reply, err := s.Plan(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	st := reply.Plan.Steps[0]
	if len(reply.Plan.Steps) != 1 || st.Restore == nil || *st.Restore != *into || st.Site != "west" || st.Destructive {
		t.Errorf("the plan: %+v", reply.Plan.Steps)
	}
	v, err := s.Start(t.Context(), api.StartRequest{By: "ann", PlanRequest: req})
	if err != nil {
		t.Fatal(err)
	}
	if v = l.end(s, v.ID); v.Outcome != api.Succeeded {
		t.Errorf("outcome %s", v.Outcome)
	}
	if role := l.world.Role("shop", "db", "west"); role != "" {
		t.Errorf("a restore into a folder made it %s", role)
	}
	req.Restore, req.To = &model.RestoreSpec{InPlace: true}, "east"
	if reply, err = s.Plan(t.Context(), req); err != nil || !reply.Plan.Steps[0].Destructive || fmt.Sprint(locks(reply.Plan)) != "[move/shop]" {
		t.Errorf("in place: %v, %+v", err, reply)
	}
	for _, spec := range []model.RestoreSpec{{}, {Folder: "here"}, {Folder: "/"}, {Folder: "/a", InPlace: true}, {InPlace: true, Here: true},
		{Folder: "/a", To: "yesterday"}, {Folder: "/a", To: "lsn:12"}, {Folder: "/a", To: "xid:-1"}, {Folder: "/a", To: "name:"},
		{Folder: "/a", To: "2026-05-04 12:00:00"}} {
		req.Restore = &spec
		if _, err := s.Plan(t.Context(), req); !errors.Is(err, failure.Invalid) || failure.HintOf(err) == "" {
			t.Errorf("%+v: %v", spec, err)
		}
	}
	req.Restore, req.Resources = into, nil
	if _, err := s.Plan(t.Context(), req); !errors.Is(err, failure.Invalid) {
		t.Errorf("of no resource: %v", err)
	}
	if got, err := s.Points(t.Context(), "shop"); err != nil || len(got.Ranges) != 1 || len(got.Ranges[0].Points) != 1 {
		t.Errorf("ranges %+v, %v", got, err)
	}
}

func TestWhatIsInASpoolIsReachedToo(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 5, 4, 12, minute, 0, 0, time.UTC) }
	lag := model.Duration(time.Minute)
	fresh := func() []model.Range {
		return []model.Range{
			{Resource: "db", Site: "west", To: "0/1", ToTime: at(1), Gap: "the slot was lost"}, {Resource: "db", Site: "west", To: "0/5", ToTime: at(5)},
			{Resource: "db", Site: "north", To: "0/4", ToTime: at(4)}, {Resource: "other", Site: "west", To: "0/9", ToTime: at(9)},
		}
	}
	st := model.Stream{Resource: "db", Site: "west", At: at(8), LagTime: &lag, Position: "0/7", Unstored: 2}
	got := fresh()
	inSpool(got, st)
	want := fresh()
	want[1].VaultTo, want[1].VaultToTime, want[1].To, want[1].ToTime = "0/5", &[]time.Time{at(5)}[0], "0/7", at(7)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, change := range map[string]func(*model.Stream){
		"all is stored": func(s *model.Stream) { s.Unstored = 0 }, "a gap came": func(s *model.Stream) { s.NeedsPoint = "there is a gap" },
		"nothing is known": func(s *model.Stream) { s.Position = "" }, "of another": func(s *model.Stream) { s.Resource = "x" },
	} {
		other, got := st, fresh()
		change(&other)
		inSpool(got, other)
		if diff := cmp.Diff(fresh(), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

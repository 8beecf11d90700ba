package service

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
	"github.com/lifeboat-dr/lifeboat/model"
)

const scheduledShop = `version: 1
sites: {east: {}, west: {}}
vaults:
  main: {url: /nowhere, password: env:NOT_SET, replicas: [second]}
  second: {url: /nowhere/else, password: env:NOT_SET}
apps:
  shop:
    home: east
    recovery: [west]
    protect: {schedule: "@hourly", keep: {last: 3}}
    resources:
      db:
        kind: fake.stateful
        vault: main
        settings: {steps: %s}
        sites: {east: {role: primary}, west: {role: absent}}
      cache:
        kind: fake
        sites: {east: {role: primary}, west: {role: absent}}
`

func newScheduledLab(t *testing.T, steps string) *lab {
	l := newLab(t, "{}")
	l.past = memory.NewArchive()
	if err := os.WriteFile(l.path, fmt.Appendf(nil, scheduledShop, steps), 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

// once is one round of protection that waits for what is due.
func (l *lab) once(s *Service) *api.ProtectRound {
	l.t.Helper()
	var last *api.ProtectRound
	for round, err := range s.Protect(l.t.Context(), api.ProtectRequest{App: "shop", Once: true}) {
		if err != nil {
			l.t.Fatal(err)
		}
		last = round
	}
	return last
}

// TestPointsAreMadeWhenTheyAreDue holds that what is due is told from the points that there are: another process goes on
// where the first one ended, and makes nothing twice.
func TestPointsAreMadeWhenTheyAreDue(t *testing.T) {
	l := newScheduledLab(t, "{}")
	first := l.open(nil)
	codes := func() (out []string) {
		t.Helper()
		status, err := first.Status(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range status.Findings {
			if f.Resource == "db" && strings.Contains(f.Code, "points") {
				out = append(out, f.Code)
			}
		}
		return out
	}
	if got := fmt.Sprint(codes()); got != "[no-points]" {
		t.Errorf("before: %s", got)
	}
	round := l.once(first)
	if got := codes(); len(got) > 0 {
		t.Errorf("after: %v", got)
	}
	if len(round.Errors) > 0 || len(round.Points) != 2 || round.Points[0].Outcome != "" || round.Points[1].Outcome != api.Succeeded {
		t.Fatalf("the first round: %+v %v", round.Points, round.Errors)
	}
	if got := round.Points[0].Resources; len(got) != 1 || got[0] != "db" {
		t.Errorf("points of %v", got)
	}
	report, err := first.Report(t.Context(), round.Points[1].Run)
	if err != nil {
		t.Fatal(err)
	}
	var steps []model.StepID
	for _, st := range report.Run.Steps {
		steps = append(steps, st.ID)
	}
	if want := "[db/capture@east db/copy@east db/expire@east]"; fmt.Sprint(steps) != want || !report.OK {
		t.Errorf("steps %v, want %s, OK %t", steps, want, report.OK)
	}
	if again := l.once(l.open(nil)); len(again.Points) > 0 || len(again.Errors) > 0 {
		t.Errorf("another process, at once: %+v %v", again.Points, again.Errors)
	}
	points, err := first.Points(t.Context(), "shop")
	if err != nil || len(points.Points) != 1 {
		t.Errorf("%+v, %v", points, err)
	}
}

// TestPointsThatFailAreTold holds that a run that ends badly is told in the round, and is no run that waits for people.
func TestPointsThatFailAreTold(t *testing.T) {
	l := newScheduledLab(t, `{capture: {fail: [{attempt: 1, kind: corrupt}, {attempt: 2, kind: corrupt}, {attempt: 3, kind: corrupt}]}}`)
	s := l.open(nil)
	round := l.once(s)
	if len(round.Errors) != 1 || failure.HintOf(round.Errors[0]) == "" || len(round.Points) != 2 || round.Points[1].Outcome != api.Failed {
		t.Fatalf("%+v %v", round.Points, round.Errors)
	}
	if runs, err := s.Runs(t.Context(), api.RunsRequest{Active: true}); err != nil || len(runs) > 0 {
		t.Errorf("still active: %+v %v", runs, err)
	}
}

// TestPointsAreMadeBesideMarkers holds that rounds go on while points are made, and tell of them.
func TestPointsAreMadeBesideMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newScheduledLab(t, `{capture: {takes: 300ms}}`)
		s := l.open(nil)
		every := model.Duration(5 * time.Millisecond)
		var told []api.Outcome
		between := 0
		for round, err := range s.Protect(t.Context(), api.ProtectRequest{App: "shop", Every: &every}) {
			if err != nil || len(round.Errors) > 0 {
				t.Fatal(round, err)
			}
			for _, p := range round.Points {
				told = append(told, p.Outcome)
			}
			if len(told) == 1 {
				between++
			}
			if len(told) == 2 {
				break
			}
		}
		if fmt.Sprint(told) != fmt.Sprint([]api.Outcome{"", api.Succeeded}) || between < 3 {
			t.Errorf("told %q, %d rounds while the point was made", told, between)
		}
	})
}

// TestARunThatWasLeftBehindIsTakenUp holds that a process which makes points goes on with what one before it had begun: a run
// that nobody drives would keep all later ones from beginning.
func TestARunThatWasLeftBehindIsTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newScheduledLab(t, `{capture: {takes: 300ms}}`)
		first := l.open(nil)
		every := model.Duration(5 * time.Millisecond)
		var left model.RunID
		for round, err := range first.Protect(t.Context(), api.ProtectRequest{App: "shop", Every: &every}) {
			if err != nil {
				t.Fatal(err)
			}
			if len(round.Points) > 0 {
				left = round.Points[0].Run
				break
			}
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		round := l.once(l.open(nil))
		if len(round.Errors) > 0 || len(round.Points) != 1 || round.Points[0].Run != left || round.Points[0].Outcome != api.Succeeded {
			t.Errorf("run %s was left behind: %+v %v", left, round.Points, round.Errors)
		}
	})
}

// TestPointsAreTriedAgainSoonThenLessOften: what fails because a site was just lost must not leave the app without points
// at its new site for long.
func TestPointsAreTriedAgainSoonThenLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &keeper{}
		var got []time.Duration
		for range 6 {
			k.failed()
			got = append(got, time.Until(k.again))
		}
		want := []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
	})
}

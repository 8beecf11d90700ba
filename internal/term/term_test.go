package term

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

var rewrite = flag.Bool("update", false, "write the golden files")

func at(s float64) time.Time {
	return time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}
func atp(s float64) *time.Time            { t := at(s); return &t }
func ptr[T any](v T) *T                   { return &v }
func dur(d time.Duration) *model.Duration { return ptr(model.Duration(d)) }

var style = Style{Zone: time.UTC, Now: at(60), Width: 100}

func samplePlan() *api.PlanReply {
	return &api.PlanReply{Hash: "0011", Plan: &model.Plan{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned, From: "east", To: "west",
		Objective: model.Objective{RTO: dur(10 * time.Second), RPO: dur(0)}, Steps: []model.Step{
			{ID: "fence-db", Title: "Fence db at east", Effect: "stops the server", Action: model.ActionFence, Site: "east", Waiver: model.Unfenced, Outage: true, Timeout: model.Duration(time.Minute), Attempts: 3},
			{ID: "approve", Title: "Approve", Action: model.ActionApprove, Approvals: 2},
			{ID: "promote-db", Title: "Promote db at west", Effect: "ends recovery \x1b[31m\"now\"", Action: model.ActionPromote, Site: "west", Needs: []model.StepID{"fence-db", "approve"}, Destructive: true},
		}},
		Findings:   []model.Finding{{Severity: model.Note, Code: "no-history", What: "never drilled"}, {Severity: model.Block, Code: "standby-down", Resource: "db", Site: "west", What: "does not answer", Why: "nothing to promote", Fix: "start it"}},
		Prediction: api.Prediction{Unknown: []model.StepID{"promote-db"}, RPO: dur(0), Basis: "the standby is synchronous"}}
}

func sampleRun(seconds float64, statuses ...api.StepStatus) *api.RunView {
	v := &api.RunView{RunSummary: api.RunSummary{ID: "01JQ", App: "shop", Operation: model.OpFailover, Mode: model.Unplanned, From: "east", To: "west",
		Status: "running", By: "ana", Started: at(0), Total: len(statuses)}, At: at(seconds), Owner: "host/1", Epoch: 1,
		Objective: model.Objective{RTO: dur(10 * time.Second), RPO: dur(0)}}
	for i, s := range statuses {
		st := api.StepView{ID: model.StepID(fmt.Sprintf("step-%d", i+1)), Title: fmt.Sprintf("Do thing %d", i+1), Status: s, Outage: true}
		if i > 0 {
			st.Needs = []model.StepID{model.StepID(fmt.Sprintf("step-%d", i))}
		}
		switch s {
		case api.StepWaiting, api.StepSkipped:
		case api.StepApproval:
			st.Needed, st.Approvals = 2, []api.Approval{{By: "ben", At: at(1)}}
		default:
			st.Attempt, st.Started = 1, atp(float64(i))
		}
		if final(s) {
			st.Ended = atp(float64(i) + 0.5)
			v.Done++
		}
		if s == api.StepAsking || s == api.StepRetrying || s == api.StepFailed {
			st.Attempt, st.Err = 3, failure.New(failure.Unavailable, "promote", "db", "connection refused").WithHint("start the server")
			st.RetryAt = atp(seconds + 2)
		}
		v.Steps = append(v.Steps, st)
	}
	return v
}

func finished(v *api.RunView) *api.RunView {
	v.Final, v.Outcome, v.Status, v.Ended, v.Owner = true, api.Succeeded, "succeeded", ptr(v.At), ""
	return v
}

func TestGolden(t *testing.T) {
	mixed := sampleRun(4.2, api.StepDone, api.StepAsking, api.StepApproval, api.StepRetrying, api.StepRunning, api.StepWaived, api.StepSkipped, api.StepWaiting)
	mixed.Steps[0].Evidence = []model.Fact{{Name: "proof", Value: "server stopped"}}
	mixed.Steps[4].Phase = "replaying 12 MiB"
	mixed.Steps[5].Reason, mixed.Steps[5].By = "power is cut", "ana"
	mixed.Notes = []api.RunNote{{At: at(3), By: "ana", What: "paused the run"}}
	done := finished(sampleRun(4.2, api.StepDone)).RunSummary
	report := &api.Report{Run: *finished(sampleRun(4.2, api.StepDone)), OK: true, RTO: api.Measure{Value: dur(4200 * time.Millisecond), Objective: dur(10 * time.Second), Met: ptr(true), Basis: "clients"},
		RPO: api.Measure{Basis: "no marker"}, Checks: []api.CheckResult{{Name: "answers", Passed: true}, {Name: "orders", Detail: "3, want 4"}}}
	for name, draw := range map[string]func(io.Writer) error{
		"plan":   func(w io.Writer) error { return Plan(w, samplePlan(), style) },
		"dot":    func(w io.Writer) error { return PlanDOT(w, samplePlan().Plan) },
		"run":    func(w io.Writer) error { return Run(w, mixed, style) },
		"runs":   func(w io.Writer) error { return Runs(w, []api.RunSummary{mixed.RunSummary, done}, style) },
		"report": func(w io.Writer) error { return Report(w, report, style) },
		"status": func(w io.Writer) error {
			return Status(w, &api.StatusReply{App: "shop", Home: "east", Serving: "west", Resources: []model.Description{
				{Resource: "db", Site: "west", Role: model.RolePrimary, Healthy: true, Summary: "timeline 2"},
				{Resource: "db", Site: "east", Role: model.RoleStandby, LagBytes: ptr(int64(16384)), LagTime: dur(85 * time.Millisecond), Sync: true, Summary: "streaming"},
				{Resource: "cache", Site: "east", Role: model.RoleStandby, Healthy: true, Summary: "follows"},
				{Resource: "name", Site: "west", Role: model.RolePrimary, Healthy: true, Stateless: true, Summary: "www.example.com has an answer"},
				{Resource: "name", Site: "east", Role: model.RoleStandby, Healthy: true, Stateless: true, Summary: "www.example.com has another answer"}}, LastDrill: &done}, style)
		},
		"doctor": func(w io.Writer) error {
			return Doctor(w, &api.DoctorReply{App: "shop", Serving: "east", Blocked: true,
				Operations: []api.DoctorOperation{
					{Operation: model.OpProtect, From: "east", To: "east", Steps: 1, Warns: 1},
					{Operation: model.OpFailover, Mode: model.Unplanned, From: "east", To: "west", Steps: 2, Blocks: 1, Warns: 1},
					{Operation: model.OpFailback, Mode: model.Planned, From: "west", To: "east", Steps: 12, Later: true},
					{Operation: model.OpDrill, From: "east", Cannot: "none of its resources can be drilled"}},
				Findings: []api.Diagnosis{
					{Finding: model.Finding{Severity: model.Block, Code: "aws-key", Resource: "db", Site: "west", What: "the key is Disabled", Why: "copies are encrypted with it", Fix: "aws kms enable-key"}, Operations: []string{"failover unplanned"}},
					{Finding: model.Finding{Severity: model.Warn, Code: "aws-stale", Resource: "db", Site: "west", What: "the newest snapshot is 3h old"}, Operations: []string{"protect", "failover unplanned"}},
					{Finding: model.Finding{Severity: model.Note, Code: "aws-identity", Site: "west", What: "west works as role/lifeboat", Why: "in us-west-2 of account 1"}}},
			}, style)
		},
		"points": func(w io.Writer) error {
			id := strings.Repeat("0123456789abcdef", 4)
			return Points(w, &api.PointsReply{
				Points: []model.Point{
					{ID: "p1", Resource: "db", Site: "west", At: at(48), Live: true, Summary: "standby"},
					{ID: id, Resource: "db", Site: "west", At: at(47), Summary: "in vault main", Position: "1/0/3000100", Bytes: 3 << 30, ProvedAt: ptr(at(48)), ProvedBy: "RUN1",
						Proof: &model.Proof{OK: true, At: at(48), By: "RUN1", Took: model.Duration(42 * time.Second)}},
					{ID: id, Resource: "db", Site: "west", At: at(20), Summary: "in vault main", Proof: &model.Proof{At: at(48), By: "RUN1", What: "3 pages are damaged"}},
					{ID: id, Resource: "db", Site: "west", At: at(10), Summary: "in vault main"},
				},
				Ranges: []model.Range{
					{Resource: "db", Site: "west", From: "1/0/2000000", To: "1/0/5000000", FromTime: at(10), ToTime: at(20), Gap: "the slot was lost", Points: []string{id}, LogBytes: 48 << 20},
					{Resource: "db", Site: "west", From: "1/0/9000028", To: "2/0/B000000", FromTime: at(30), ToTime: at(48), VaultTo: "2/0/A000000", VaultToTime: ptr(at(47)), Points: []string{id, id}},
					{Resource: "old", From: "1/0/2000000", To: "1/0/5000000", FromTime: at(10), ToTime: at(20), Gap: "the receiver was stopped"},
				},
			}, style)
		},
		"error": func(w io.Writer) error {
			return Error(w, errors.Join(failure.New(failure.Denied, "start", "shop", "it is blocked").WithHint("mend it"), errors.New("other")), style)
		},
		"problems": func(w io.Writer) error {
			return Problems(w, []api.Problem{{File: "lifeboat.yaml", Line: 3, Column: 4, Source: "\tü: x", Message: "unknown field", Hint: "did you mean u?"}}, style)
		},
		"round": func(w io.Writer) error {
			return Round(w, &api.ProtectRound{At: at(1), Markers: map[model.ResourceID]model.Marker{"db": {Seq: 7, At: at(1)}}, ProbeOK: ptr(false)}, style)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := draw(&b); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "\x1b") {
				t.Error("escape codes in plain output")
			}
			path := filepath.Join("testdata", name+".txt")
			if *rewrite {
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("-want +got, go test -update rewrites:\n%s", diff)
			}
		})
	}
}

func TestDetectHonoursNoColor(t *testing.T) {
	env := map[string]string{"CLICOLOR_FORCE": "1", "COLUMNS": "70"}
	get := func(k string) string { return env[k] }
	if s := Detect(io.Discard, get); !s.Color || s.Width != 70 {
		t.Errorf("forced: %+v", s)
	}
	env["NO_COLOR"] = "1"
	if s := Detect(io.Discard, get); s.Color {
		t.Errorf("NO_COLOR: %+v", s)
	}
}

// paced yields views one second apart.
func paced(ctx context.Context, views ...*api.RunView) iter.Seq2[*api.RunView, error] {
	return func(yield func(*api.RunView, error) bool) {
		for _, v := range views {
			if !yield(v, nil) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	}
}

func TestWatchLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		second := sampleRun(1, api.StepRunning, api.StepWaiting)
		second.Steps[0].Phase = "stopping"
		last, err := Watch(t.Context(), &b, paced(t.Context(), sampleRun(0, api.StepWaiting, api.StepWaiting), second,
			sampleRun(2, api.StepDone, api.StepAsking), sampleRun(3, api.StepDone, api.StepRunning), finished(sampleRun(4, api.StepDone, api.StepDone))), WatchOptions{Style: Style{Zone: time.UTC, Color: true}})
		if err != nil || !last.Final {
			t.Fatalf("Watch: %v, %v", last, err)
		}
		if strings.Contains(b.String(), "\x1b") {
			t.Error("escape codes in plain lines")
		}
		for _, want := range []string{"started   step-1", "waiting   step-1  stopping", "done      step-1", "asking    step-2", "lifeboat run retry 01JQ step-2",
			`lifeboat run force 01JQ step-2 --reason "why"`, "hint: start the server", "succeeded in 4 s: 2 of 2 steps done", "lifeboat report 01JQ"} {
			if n := strings.Count(b.String(), want); n != 1 {
				t.Errorf("%q occurs %d times, want once, in:\n%s", want, n, &b)
			}
		}
	})
}

func TestWatchEndsWithItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var b bytes.Buffer
		forever := func(yield func(*api.RunView, error) bool) {
			yield(sampleRun(0, api.StepRunning), nil)
			<-ctx.Done()
		}
		time.AfterFunc(3*time.Second, cancel)
		if _, err := Watch(ctx, &b, forever, WatchOptions{Live: true}); !errors.Is(err, failure.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		if !strings.HasSuffix(b.String(), cursorShow) {
			t.Error("the cursor stays hidden")
		}
		if _, err := Watch(t.Context(), io.Discard, paced(t.Context(), sampleRun(0, api.StepRunning)), WatchOptions{}); !errors.Is(err, failure.Unavailable) {
			t.Errorf("a source that ends early: %v", err)
		}
	})
}

// screenOf is a terminal of cols by rows that knows the codes that the live view writes and fails on any other.
type screenOf struct {
	t          *testing.T
	cols, rows int
	lines      [][]rune
	x, y       int
	hidden     bool
	wrapped    bool
	scrolled   int
}

func (s *screenOf) Write(b []byte) (int, error) {
	text := []rune(string(b))
	for i := 0; i < len(text); i++ {
		for len(s.lines) <= s.y {
			s.lines = append(s.lines, nil)
		}
		switch c := text[i]; c {
		case '\r':
			s.x = 0
		case '\n':
			if s.y++; s.y >= s.rows {
				s.y, s.lines, s.scrolled = s.rows-1, s.lines[1:], s.scrolled+1
			}
		case '\x1b':
			j := i + 2
			for !strings.ContainsRune("ABCDHJKhlm", text[j]) {
				j++
			}
			s.code(string(text[i+2:j]), text[j])
			i = j
		default:
			if s.x >= s.cols {
				s.wrapped = true
			}
			for len(s.lines[s.y]) <= s.x {
				s.lines[s.y] = append(s.lines[s.y], ' ')
			}
			s.lines[s.y][s.x] = c
			s.x++
		}
	}
	return len(b), nil
}

func (s *screenOf) code(arg string, verb rune) {
	switch {
	case verb == 'A':
		n, _ := strconv.Atoi(arg)
		if s.y -= n; s.y < 0 {
			s.t.Errorf("the cursor went above the screen")
			s.y = 0
		}
	case verb == 'K':
		s.lines[s.y] = s.lines[s.y][:min(s.x, len(s.lines[s.y]))]
	case verb == 'J':
		s.lines = s.lines[:s.y]
	case arg == "?25":
		s.hidden = verb == 'l'
	case verb == 'm':
	default:
		s.t.Errorf("unknown code %q%c", arg, verb)
	}
}

func (s *screenOf) String() string {
	var b strings.Builder
	for _, l := range s.lines {
		b.WriteString(strings.TrimRight(string(l), " ") + "\n")
	}
	return b.String()
}

func TestWatchLive(t *testing.T) {
	many := make([]api.StepStatus, 40)
	for i := range many {
		many[i] = api.StepWaiting
		if i < 15 {
			many[i] = api.StepDone
		}
	}
	many[15] = api.StepRunning
	for _, size := range [][2]int{{100, 40}, {80, 24}, {30, 14}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scr := &screenOf{t: t, cols: size[0], rows: size[1]}
				l := newLive(scr, WatchOptions{Style: Style{Color: true, Zone: time.UTC}, Size: func() (int, int) { return size[0], size[1] }}.withDefaults())
				start := time.Now()
				if err := l.view(sampleRun(16, many...), start); err != nil {
					t.Fatal(err)
				}
				first := scr.String()
				for i := range 20 {
					if err := l.tick(start.Add(time.Duration(i) * l.every())); err != nil {
						t.Fatal(err)
					}
				}
				if scr.wrapped || scr.scrolled > 0 || !scr.hidden {
					t.Errorf("wrapped %v, scrolled %d, cursor hidden %v", scr.wrapped, scr.scrolled, scr.hidden)
				}
				if !strings.Contains(first, "running") || size[0] > 30 && !strings.Contains(first, "Do thing 16") || !strings.Contains(first, "more to come") {
					t.Errorf("the frame lacks the running step:\n%s", first)
				}
				if !strings.Contains(scr.String(), "4.8 s") && size[0] > 30 {
					t.Errorf("the clock did not go on:\n%s", scr)
				}
				if err := l.close(start); err != nil || scr.hidden {
					t.Errorf("close: %v, cursor hidden %v", err, scr.hidden)
				}
			})
		})
	}
}

func TestLiveSaysWhatAPersonMustDo(t *testing.T) {
	scr := &screenOf{t: t, cols: 100, rows: 40}
	l := newLive(scr, WatchOptions{Size: func() (int, int) { return 100, 40 }}.withDefaults())
	if err := l.view(sampleRun(12, api.StepAsking, api.StepApproval, api.StepWaiting), at(12)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lifeboat run retry 01JQ step-1", "lifeboat run skip 01JQ step-1", "lifeboat run abort 01JQ", "lifeboat run approve 01JQ step-2",
		"hint: start the server", "1 of 2 approvals (ben)", "clients wait", "over by 2.0 s", "next  Do thing 3"} {
		if !strings.Contains(scr.String(), want) {
			t.Errorf("the view lacks %q:\n%s", want, scr)
		}
	}
}

// Whatever a remote side says, nothing but text reaches the screen.
func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{"a\x1b[31mb": "a[31mb", "a\r\nb": "a  b", "\u202eevil": "evil", "\xff": "?", "ü→": "ü→"} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEveryStatusHasAWord(t *testing.T) {
	for _, s := range []api.StepStatus{api.StepWaiting, api.StepApproval, api.StepBeginning, api.StepRunning, api.StepRetrying, api.StepAsking,
		api.StepDone, api.StepWaived, api.StepSkipped, api.StepFailed, api.StepCanceled} {
		if m, ok := marks[s]; !ok || m.word == "" {
			t.Errorf("status %s has no mark", s)
		}
	}
}

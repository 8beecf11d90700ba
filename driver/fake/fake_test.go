package fake_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// request makes one of action on db at west, with the token of its step and attempt.
func request(action model.Action, attempt int, settings, west string) driver.Request {
	return driver.Request{
		Target: driver.Target{App: "shop", Site: "west", Peer: "east", Resource: model.Resource{ID: "db", App: "shop",
			Kind: fake.Kind, Settings: json.RawMessage(settings),
			Sites: map[model.SiteID]json.RawMessage{"west": json.RawMessage(west)}}},
		Action: action, Operation: model.OpFailover, Run: "run1", Step: model.StepID(action) + "-db", Attempt: attempt,
		Token: string(action) + "-" + string(rune('0'+attempt)),
	}
}

func begin(t *testing.T, d driver.Driver, req driver.Request) driver.Handle {
	t.Helper()
	h, err := driver.Begin(t.Context(), d, req)
	if err != nil {
		t.Fatalf("begin %s: %v", req.Action, err)
	}
	return h
}

func observe(t *testing.T, d driver.Driver, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	seen, err := d.Observe(t.Context(), req, h)
	if err != nil {
		t.Fatalf("observe %s: %v", req.Action, err)
	}
	return seen
}

func TestScriptedTimeAndOutputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fake.NewWorld()
		req := request(model.ActionPromote, 1, `{"steps":{"promote":{"takes":"3s","outputs":{"endpoint":"10.0.0.1:5432"}}}}`,
			`{"role":"standby","lag_time":"2s"}`)
		before, err := fake.New(w).Describe(t.Context(), req.Target)
		if err != nil || before.Role != model.RoleStandby || before.LagTime.Std() != 2*time.Second {
			t.Fatalf("before: %+v, %v", before, err)
		}
		h := begin(t, fake.New(w), req)
		time.Sleep(time.Second)
		if got := observe(t, fake.New(w), req, h); got.State != driver.Pending || got.Phase != "promote db at west: 1s of 3s" || got.Again != time.Second {
			t.Errorf("after 1s: %+v", got)
		}
		if got := w.Role("shop", "db", "west"); got != "" {
			t.Errorf("role before the end: %q", got)
		}
		time.Sleep(2 * time.Second)
		got := observe(t, fake.New(w), req, h)
		want := map[string]model.Value{"endpoint": driver.Endpoint("10.0.0.1:5432"), "url": driver.URL("http://db.west.fake.test/")}
		if diff := cmp.Diff(want, got.Outputs); got.State != driver.Done || diff != "" {
			t.Errorf("after 3s: %+v\n%s", got, diff)
		}
		if got := w.Role("shop", "db", "west"); got != model.RolePrimary {
			t.Errorf("role: %q", got)
		}
	})
}

func TestFailures(t *testing.T) {
	settings := `{"steps":{
		"promote":{"fail":[{"attempt":1,"kind":"throttled","at":"begin","message":"slow down","hint":"wait"}]},
		"fence":  {"fail":[{"attempt":1,"kind":"conflict","at":"observe"}]},
		"run":    {"fail":[{"attempt":1,"kind":"unavailable","at":"poll","times":2}],"polls":3},
		"drill":  {"fail":[{"kind":"denied","at":"check"}]},
		"reverse":{"unknown_begin":true}}}`
	w := fake.NewWorld()
	d := fake.New(w)

	promote := request(model.ActionPromote, 1, settings, `{}`)
	if _, err := d.Promote(t.Context(), promote); !errors.Is(err, failure.Throttled) || failure.HintOf(err) != "wait" {
		t.Errorf("promote, first attempt: %v", err)
	}
	begin(t, d, request(model.ActionPromote, 2, settings, `{}`))
	if got := w.EffectsOf("promote-db"); len(got) != 1 || got[0].Attempt != 2 {
		t.Errorf("effects of promote: %+v", got)
	}

	fence := request(model.ActionFence, 1, settings, `{}`)
	if got := observe(t, d, fence, begin(t, d, fence)); got.State != driver.Failed || !errors.Is(got.Err, failure.Conflict) {
		t.Errorf("fence: %+v", got)
	}
	if got := w.Role("shop", "db", "west"); got != model.RolePrimary {
		t.Errorf("a failed fence made the role %q", got)
	}

	run := request(model.ActionRun, 1, settings, `{}`)
	h := begin(t, d, run)
	for i := range 2 {
		if _, err := d.Observe(t.Context(), run, h); !errors.Is(err, failure.Unavailable) {
			t.Errorf("observation %d: %v", i, err)
		}
	}
	if got := observe(t, d, run, h); got.State != driver.Pending {
		t.Errorf("third observation: %+v", got)
	}
	if got := observe(t, d, run, h); got.State != driver.Done {
		t.Errorf("fourth observation: %+v", got)
	}

	if _, err := d.Check(t.Context(), request(model.ActionDrill, 7, settings, `{}`)); !errors.Is(err, failure.Denied) {
		t.Errorf("check: %v", err)
	}

	reverse := request(model.ActionReverse, 1, settings, `{}`)
	if _, err := d.Reverse(t.Context(), reverse); !errors.Is(err, failure.Indeterminate) {
		t.Errorf("reverse: %v", err)
	}
	reverse.Resumed = true
	begin(t, d, reverse)
	if got := w.EffectsOf("reverse-db"); len(got) != 1 {
		t.Errorf("effects of reverse: %+v", got)
	}
	calls := w.Calls()
	if last := calls[len(calls)-1]; !last.Known || !last.Resumed {
		t.Errorf("last call: %+v", last)
	}
}

func TestHook(t *testing.T) {
	w := fake.NewWorld()
	died := errors.New("the runner died")
	var seen []string
	w.Hook = func(p fake.Point) error {
		seen = append(seen, p.Phase)
		if p.Phase == fake.AfterBegin && len(seen) == 2 {
			return died
		}
		return nil
	}
	req := request(model.ActionRun, 1, "", "")
	if _, err := fake.New(w).Run(t.Context(), req); !errors.Is(err, died) {
		t.Fatalf("begin: %v", err)
	}
	if got := len(w.Effects()); got != 1 {
		t.Errorf("%d effects after the answer was lost, want 1", got)
	}
	h := begin(t, fake.New(w), req)
	observe(t, fake.New(w), req, h)
	if _, err := fake.New(w).Check(t.Context(), req); err != nil {
		t.Error(err)
	}
	if err := fake.New(w).Cancel(t.Context(), req, h); err != nil {
		t.Error(err)
	}
	want := []string{fake.BeforeBegin, fake.AfterBegin, fake.BeforeBegin, fake.AfterBegin, fake.BeforeObserve,
		fake.AfterObserve, fake.BeforeCheck, fake.AfterCheck, fake.BeforeCancel, fake.AfterCancel}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	if got := len(w.Effects()); got != 1 {
		t.Errorf("%d effects, want 1", got)
	}
}

func TestDownSite(t *testing.T) {
	w := fake.NewWorld()
	d := fake.New(w)
	w.Down("west")
	req := request(model.ActionFence, 1, "", `{"role":"primary"}`)
	if got, err := d.Describe(t.Context(), req.Target); err != nil || got.Role != model.RoleUnreachable {
		t.Errorf("describe: %+v, %v", got, err)
	}
	if _, err := d.Fence(t.Context(), req); !errors.Is(err, failure.Unavailable) {
		t.Errorf("fence: %v", err)
	}
	w.Up("west")
	if got, err := d.Describe(t.Context(), req.Target); err != nil || got.Role != model.RolePrimary || !got.Healthy {
		t.Errorf("describe: %+v, %v", got, err)
	}
	w.SetRole("shop", "db", "west", model.RoleAbsent)
	if got, err := d.Describe(t.Context(), req.Target); err != nil || got.Role != model.RoleAbsent || got.Healthy {
		t.Errorf("describe: %+v, %v", got, err)
	}
}

func TestMarkerFollowsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fake.NewWorld()
		d := fake.New(w)
		req := request(model.ActionReadMarker, 1, "", `{"lag_time":"2s"}`)
		if got := observe(t, d, req, begin(t, d, req)); got.State != driver.Failed || !errors.Is(got.Err, failure.NotFound) {
			t.Errorf("no marker: %+v", got)
		}
		for seq := range int64(5) {
			if err := d.WriteMarker(t.Context(), req.Target, model.Marker{Seq: seq + 1, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		req.Attempt, req.Token = 2, "read-marker-2"
		got := observe(t, d, req, begin(t, d, req))
		if got.State != driver.Done || got.Outputs["marker_seq"] != driver.Number("4") {
			t.Errorf("marker: %+v", got)
		}
	})
}

// TestFileLedger lets two worlds, as of two processes, act on one folder at once.
func TestFileLedger(t *testing.T) {
	folder := t.TempDir()
	settings, err := json.Marshal(fake.Settings{Ledger: folder})
	if err != nil {
		t.Fatal(err)
	}
	req := request(model.ActionPromote, 1, string(settings), `{}`)
	var wg sync.WaitGroup
	for range 4 {
		d := fake.New(fake.NewWorld())
		wg.Go(func() {
			for range 20 {
				h, err := d.Promote(context.Background(), req)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := d.Observe(context.Background(), req, h); err != nil || got.State != driver.Done {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	w, err := fake.OpenWorld(folder)
	if err != nil {
		t.Fatal(err)
	}
	if calls, effects := len(w.Calls()), w.Effects(); calls != 80 || len(effects) != 1 || effects[0].Observed != 80 {
		t.Errorf("%d calls, effects %+v; want 80 calls and one effect observed 80 times", calls, effects)
	}

	// A line that a dying process cut short is dropped, and the ledger goes on.
	path := filepath.Join(folder, "ledger.jsonl")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"effect":{"token":"half`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	begin(t, fake.New(fake.NewWorld()), request(model.ActionPromote, 2, string(settings), `{}`))
	if got := len(w.Effects()); got != 2 {
		t.Errorf("%d effects after a torn line, want 2", got)
	}

	// A line that is whole and wrong is not passed over.
	if err := os.WriteFile(path, []byte("{\"effect\":\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fake.New(fake.NewWorld()).Describe(t.Context(), req.Target); !errors.Is(err, failure.Corrupt) {
		t.Errorf("corrupt ledger: %v", err)
	}
}

func TestSettingsRefuse(t *testing.T) {
	for _, tt := range []struct{ settings, site, want string }{
		{`{"stepz":{}}`, `{}`, `read settings: json: unknown field "stepz"`},
		{`{"steps":{"promoted":{}}}`, `{}`, `read settings: steps: "promoted" is not an action of a fake resource`},
		{`{"steps":{"promote":{"outputs":{"lsn":"0/1"}}}}`, `{}`, `read settings: steps.promote.outputs: there is no output "lsn" here; known: endpoint, url`},
		{`{"outputs":{"endpoint":"nowhere"}}`, `{}`, `read settings: outputs.endpoint: "nowhere" is not of type endpoint`},
		{`{"steps":{"fence":{"fail":[{"at":"later"}]}}}`, `{}`, `read settings: steps.fence.fail[0].at: "later" is not one of check, begin, poll, observe, cancel`},
		{`{"steps":{"fence":{"fail":[{"at":"observe","times":2}]}}}`, `{}`, `read settings: steps.fence.fail[0].times: counts the calls of begin and poll only`},
		{`{"steps":{"fence":{"findings":[{"severity":"bad"}]}}}`, `{}`, `read settings: steps.fence.findings[0].severity: "bad" is not one of block, warn, note`},
		{`{}`, `{"role":"king"}`, `read settings: role: "king" is not a role`},
	} {
		_, err := fake.New(fake.NewWorld()).Describe(t.Context(), request(model.ActionRun, 1, tt.settings, tt.site).Target)
		if !errors.Is(err, failure.Invalid) {
			t.Errorf("%s %s: %v, want an invalid one", tt.settings, tt.site, err)
			continue
		}
		var inner *failure.Error
		if errors.As(errors.Unwrap(err), &inner); inner == nil || inner.Error() != tt.want {
			t.Errorf("%s %s:\n got %v\nwant %s", tt.settings, tt.site, inner, tt.want)
		}
	}
}

func TestFindings(t *testing.T) {
	settings := `{"steps":{"promote":{"findings":[
		{"severity":"block","code":"lagging","what":"it lags"},
		{"severity":"note","what":"only now","only":"run"}]}}}`
	req := request(model.ActionPromote, 1, settings, `{}`)
	d := fake.New(fake.NewWorld())
	for _, tt := range []struct {
		preview, force bool
		want           []model.Severity
	}{
		{true, false, []model.Severity{model.Block}},
		{false, false, []model.Severity{model.Block, model.Note}},
		{false, true, []model.Severity{model.Warn, model.Note}},
	} {
		req.Preview, req.Force = tt.preview, tt.force
		found, err := d.Check(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		var got []model.Severity
		for _, f := range found {
			got = append(got, f.Severity)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("preview %v, force %v: %s", tt.preview, tt.force, diff)
		}
	}
}

package driver_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// bare is a driver with nothing but the required methods, and promoter one that can promote.
type bare struct{ kind model.Kind }

func (b bare) Facts() driver.Facts { return driver.Facts{Kind: b.kind} }
func (b bare) Describe(context.Context, driver.Target) (model.Description, error) {
	return model.Description{}, nil
}
func (b bare) Check(context.Context, driver.Request) ([]model.Finding, error) { return nil, nil }
func (b bare) Observe(context.Context, driver.Request, driver.Handle) (driver.Observation, error) {
	return driver.Observation{State: driver.Done}, nil
}

type promoter struct {
	bare
	version int
}

func (p promoter) Promote(context.Context, driver.Request) (driver.Handle, error) {
	return driver.Handle{Version: p.version}, nil
}

// wrapper hides what it wraps; blind does not even say what that is.
type (
	wrapper struct{ driver.Driver }
	blind   struct{ driver.Driver }
)

func (w wrapper) Unwrap() driver.Driver { return w.Driver }

func TestAsLooksThroughWrappers(t *testing.T) {
	p := promoter{bare{"x"}, 7}
	for _, tt := range []struct {
		name string
		d    driver.Driver
		want bool
	}{
		{"itself", p, true},
		{"wrapped", wrapper{p}, true},
		{"wrapped three times", wrapper{wrapper{wrapper{p}}}, true},
		{"wrapped by one that does not tell", blind{p}, false},
		{"not able", bare{"x"}, false},
		{"wrapped and not able", wrapper{bare{"x"}}, false},
		{"a wrapper of nothing", wrapper{nil}, false},
		{"nothing", nil, false},
	} {
		got, ok := driver.As[driver.Promoter](tt.d)
		if ok != tt.want || ok != (got != nil) {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, ok, tt.want)
		}
	}
	// The outermost one that can is found: a wrapper may take a capability over.
	outer := struct {
		promoter
		wrapper
	}{promoter{bare{"y"}, 8}, wrapper{p}}
	d := overriding{outer.promoter, outer.wrapper}
	found, _ := driver.As[driver.Promoter](d)
	if h, err := found.Promote(t.Context(), driver.Request{}); err != nil || h.Version != 8 {
		t.Errorf("the wrapped driver's own promote is found: %+v, %v", h, err)
	}
}

type overriding struct {
	promoter
	inner driver.Driver
}

func (o overriding) Unwrap() driver.Driver { return o.inner }

func TestBegin(t *testing.T) {
	p := wrapper{promoter{bare{"x"}, 7}}
	h, err := driver.Begin(t.Context(), p, driver.Request{Action: model.ActionPromote})
	if err != nil || h.Version != 7 || !driver.Can(p, model.ActionPromote) {
		t.Errorf("promote: %+v, %v", h, err)
	}
	for _, action := range []model.Action{model.ActionFence, model.ActionApprove, model.ActionJoin, "", "nonsense"} {
		req := driver.Request{Action: action, Target: driver.Target{Resource: model.Resource{ID: "db"}}}
		if _, err := driver.Begin(t.Context(), p, req); !errors.Is(err, failure.Unsupported) || !strings.Contains(err.Error(), "kind x") {
			t.Errorf("%q: %v, want an unsupported one that names the kind", action, err)
		}
		if driver.Can(p, action) {
			t.Errorf("it can %q", action)
		}
	}
}

func TestRegistry(t *testing.T) {
	r := driver.NewRegistry(bare{"b"}, bare{"a"}, promoter{bare{"c"}, 1})
	if diff := cmp.Diff([]model.Kind{"a", "b", "c"}, r.Kinds()); diff != "" {
		t.Error(diff)
	}
	if d, err := r.Get("c"); err != nil || d.Facts().Kind != "c" {
		t.Errorf("get: %v, %v", d, err)
	}
	_, err := r.Get("d")
	if !errors.Is(err, failure.Invalid) || failure.HintOf(err) != "known kinds: a, b, c" {
		t.Errorf("get an unknown one: %v (hint %q)", err, failure.HintOf(err))
	}
	defer func() {
		if got, want := recover(), "driver: two drivers of kind a"; got != want {
			t.Errorf("two of a kind: %v, want %s", got, want)
		}
	}()
	driver.NewRegistry(bare{"a"}, wrapper{bare{"a"}})
}

type settings struct {
	Port int `json:"port"`
}

func (s *settings) Validate() error {
	if s.Port < 0 {
		return errors.New("port: is negative")
	}
	return nil
}

type site struct {
	Host string `json:"host"`
}

func TestDecode(t *testing.T) {
	if got, err := driver.Decode[settings](json.RawMessage(`{"port":1}`)); err != nil || got.Port != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, empty := range []string{"", "{}", "null"} {
		if got, err := driver.Decode[settings](json.RawMessage(empty)); err != nil || got.Port != 0 {
			t.Errorf("%q: %+v, %v", empty, got, err)
		}
	}
	for raw, want := range map[string]string{
		`{"prt":1}`:            `read settings: json: unknown field "prt"`,
		`{"port":-1}`:          `read settings: port: is negative`,
		`{"port":1}{"port":2}`: `read settings: more than one JSON value`,
		`{"port":1}x`:          `read settings: more than one JSON value`,
		`[]`:                   `read settings: json: cannot unmarshal array into Go value of type driver_test.settings`,
		`{`:                    `read settings: unexpected EOF`,
	} {
		_, err := driver.Decode[settings](json.RawMessage(raw))
		if !errors.Is(err, failure.Invalid) || err.Error() != want {
			t.Errorf("%s: got  %v\nwant %s", raw, err, want)
		}
	}
}

func TestSettingsOf(t *testing.T) {
	target := driver.Target{Resource: model.Resource{ID: "db", Settings: json.RawMessage(`{"port":1}`),
		Sites: map[model.SiteID]json.RawMessage{"east": json.RawMessage(`{"host":"a"}`), "west": json.RawMessage(`{"hst":"b"}`)}}}
	own, at, err := driver.SettingsOf[settings, site](target, "east")
	if err != nil || own.Port != 1 || at.Host != "a" {
		t.Errorf("east: %+v, %+v, %v", own, at, err)
	}
	if _, at, err := driver.SettingsOf[settings, site](target, "north"); err != nil || at.Host != "" {
		t.Errorf("a site without settings: %+v, %v", at, err)
	}
	_, _, err = driver.SettingsOf[settings, site](target, "west")
	if want := `db at west: read settings: json: unknown field "hst"`; !errors.Is(err, failure.Invalid) || err.Error() != want {
		t.Errorf("west: got  %v\nwant %s", err, want)
	}
	target.Resource.Settings = json.RawMessage(`{"port":"x"}`)
	if _, _, err = driver.SettingsOf[settings, site](target, "east"); !errors.Is(err, failure.Invalid) || !strings.HasPrefix(err.Error(), "db: ") {
		t.Errorf("own settings: %v", err)
	}
}

func TestValues(t *testing.T) {
	at := time.Date(2031, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
	for want, got := range map[model.Value]model.Value{
		{Type: "text", Text: "a"}:                              driver.Text("a"),
		{Type: "number", Text: "1"}:                            driver.Number("1"),
		{Type: "endpoint", Text: "a:1"}:                        driver.Endpoint("a:1"),
		{Type: "url", Text: "http://a/"}:                       driver.URL("http://a/"),
		{Type: "time", Text: "2031-02-03T03:05:06.000000007Z"}: driver.Time(at),
	} {
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestRequestsAreWrittenDown holds that what passes between an engine and a driver survives JSON.
func TestRequestsAreWrittenDown(t *testing.T) {
	req := driver.Request{
		Target: driver.Target{App: "shop", Site: "west", Peer: "east", Resource: model.Resource{ID: "db",
			Settings: json.RawMessage(`{"a":1}`), Sites: map[model.SiteID]json.RawMessage{"west": json.RawMessage(`{}`)}}},
		Action: model.ActionRelease, Operation: model.OpDrill, Mode: model.Planned, Run: "r", Step: "s", Attempt: 2,
		Token: "t", Resumed: true, Force: true, Preview: true, Inputs: map[string]model.Value{"db.endpoint": driver.Endpoint("a:1")},
		Released: &driver.Released{Step: "d", Token: "u", Handle: driver.Handle{Version: 1, Data: json.RawMessage(`{"x":1}`)},
			Outputs: map[string]model.Value{"url": driver.URL("http://a/")}},
	}
	seen := driver.Observation{State: driver.Failed, Phase: "p", Again: time.Second, Outputs: req.Inputs,
		Evidence: []model.Fact{{Name: "a", Value: "b"}}, Err: failure.New(failure.Denied, "a", "b", "c").WithHint("d")}
	text, err := json.Marshal([]any{req, seen})
	if err != nil {
		t.Fatal(err)
	}
	var gotReq driver.Request
	var gotSeen driver.Observation
	if err := json.Unmarshal(text, &[]any{&gotReq, &gotSeen}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(req, gotReq); diff != "" {
		t.Errorf("a request is read differently:\n%s", diff)
	}
	if diff := cmp.Diff(seen, gotSeen, cmp.Comparer(func(a, b *failure.Error) bool { return *a == *b })); diff != "" {
		t.Errorf("an observation is read differently:\n%s", diff)
	}
}

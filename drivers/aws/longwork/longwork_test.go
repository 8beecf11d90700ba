package longwork_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/longwork"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

type handle struct {
	Action model.Action `json:"action"`
	Name   string       `json:"name,omitempty"`
}

func (h handle) For() model.Action { return h.Action }

// script is what work says, whatever it is asked.
type script struct {
	decideErr error
	seen      driver.Observation
	err       error
}

// work is one request of a script's.
type work struct {
	script
	req   driver.Request
	steps *[]string // the actions and names that steps were taken for
}

func (w *work) Decide(context.Context) (handle, error) {
	return handle{w.req.Action, "made-" + w.req.Token}, w.decideErr
}

func (w *work) Step(_ context.Context, h handle) (driver.Observation, error) {
	*w.steps = append(*w.steps, string(w.req.Action)+" "+h.Name)
	return w.seen, w.err
}

// frame is one of a script, and what steps it took.
func frame(s script) (longwork.Frame[*work, handle], *[]string) {
	steps := &[]string{}
	return longwork.Frame[*work, handle]{Version: 3, Again: time.Minute, Open: func(_ context.Context, req driver.Request) (*work, error) {
		return &work{s, req, steps}, nil
	}}, steps
}

func request(action model.Action) driver.Request {
	r := model.Resource{ID: "db", App: "shop", Kind: "aws.test"}
	return driver.Request{Target: driver.Target{App: "shop", Resource: r, Site: "west"}, Action: action, Token: "t1"}
}

// TestBeginAndObserve: the begin takes the first step, and each look one for the same; the observer's request need not say the action.
func TestBeginAndObserve(t *testing.T) {
	f, steps := frame(script{seen: driver.Waiting("it is made")})
	h, err := f.Promote(t.Context(), request(model.ActionPromote))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(h.Data), `{"action":"promote","name":"made-t1"}`; got != want || h.Version != 3 {
		t.Errorf("the handle is %s of version %d, want %s of version 3", got, h.Version, want)
	}
	seen, err := f.Observe(t.Context(), request(""), h)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(driver.Observation{State: driver.Pending, Phase: "it is made", Again: time.Minute}, seen); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"promote made-t1", "promote made-t1"}, *steps); diff != "" {
		t.Error(diff)
	}
}

// TestWhatIsSaid is what becomes of a step's answer, at the begin and at a look.
func TestWhatIsSaid(t *testing.T) {
	broken := driver.FailedWith(failure.New(failure.Corrupt, "prove", "snap", "it is damaged"))
	for _, c := range []struct {
		name         string
		action       model.Action
		script       script
		begin        string // the error of the begin; empty: a handle
		look         string // what the look says
		again        time.Duration
		denied       failure.Kind
		errorsAtLook bool
	}{
		{name: "a pause of its own", action: model.ActionCapture, script: script{seen: driver.Observation{State: driver.Pending, Phase: "soon", Again: time.Second}}, look: "soon", again: time.Second},
		{name: "AWS is busy", action: model.ActionCapture, script: script{err: failure.New(failure.Conflict, "", "eu-west-1", "the instance\n is modifying")},
			look: "AWS is not ready for the next step: eu-west-1: the instance is modifying", again: time.Minute},
		{name: "somebody was first", action: model.ActionRestore, script: script{err: failure.New(failure.Exists, "", "eu-west-1", "it is there")},
			look: "AWS is not ready for the next step: eu-west-1: it is there", again: time.Minute},
		{name: "no permission", action: model.ActionDrill, script: script{err: failure.New(failure.Denied, "", "eu-west-1", "not authorized")},
			begin: "drill db at west: eu-west-1: not authorized", look: "drill db at west: eu-west-1: not authorized", denied: failure.Denied, errorsAtLook: true},
		{name: "it failed", action: model.ActionRestore, script: script{seen: broken}, begin: "prove snap: it is damaged", look: "prove snap: it is damaged", denied: failure.Corrupt},
		{name: "a verdict", action: model.ActionProve, script: script{seen: broken}, look: "prove snap: it is damaged"},
		{name: "it is refused", action: model.ActionExpire, script: script{decideErr: failure.New(failure.Invalid, "", "db at west", "nothing says how")},
			begin: "expire db at west: nothing says how", denied: failure.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _ := frame(c.script)
			h, err := begin(t.Context(), f, request(c.action))
			if got := text(err); got != c.begin || err != nil && failure.KindOf(err) != c.denied {
				t.Errorf("the begin says %q (%v), want %q (%v)", got, failure.KindOf(err), c.begin, c.denied)
			}
			if c.look == "" {
				return
			}
			if err != nil { // as if an earlier begin had left one
				h = driver.Handle{Version: 3, Data: json.RawMessage(`{"action":"` + string(c.action) + `"}`)}
			}
			seen, err := f.Observe(t.Context(), request(c.action), h)
			said := seen.Phase
			if seen.State == driver.Failed {
				said = text(seen.Err)
			}
			if c.errorsAtLook {
				said = text(err)
			} else if err != nil {
				t.Fatal(err)
			}
			if said != c.look || seen.Again != c.again {
				t.Errorf("the look says %q, again in %s; want %q, again in %s", said, seen.Again, c.look, c.again)
			}
		})
	}
}

// TestCancelled: who gives up is told so, and is not told to wait.
func TestCancelled(t *testing.T) {
	f, _ := frame(script{err: failure.New(failure.Conflict, "", "eu-west-1", "busy")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Capture(ctx, request(model.ActionCapture)); text(err) != "capture db at west: eu-west-1: busy" {
		t.Errorf("the begin says %q", text(err))
	}
}

// TestNoHandle: what no begin of this version left is refused before anything is asked.
func TestNoHandle(t *testing.T) {
	f, steps := frame(script{})
	for _, c := range []struct {
		handle driver.Handle
		want   failure.Kind
	}{
		{driver.Handle{Version: 3, Data: json.RawMessage(`{"name":"made"}`)}, failure.Corrupt},
		{driver.Handle{Version: 3, Data: json.RawMessage(`{"name":`)}, failure.Corrupt},
		{driver.Handle{Version: 2, Data: json.RawMessage(`{"action":"copy"}`)}, failure.Unsupported},
	} {
		if _, err := f.Observe(t.Context(), request(model.ActionCopy), c.handle); err == nil || failure.KindOf(err) != c.want {
			t.Errorf("handle %d %s: %v, want %v", c.handle.Version, c.handle.Data, err, c.want)
		}
	}
	if len(*steps) > 0 {
		t.Errorf("steps were taken: %v", *steps)
	}
}

// TestReleaseOfNothing: no release begins, and none goes on, that does not say what is released.
func TestReleaseOfNothing(t *testing.T) {
	f, steps := frame(script{seen: driver.Succeeded()})
	req := request(model.ActionRelease)
	h := driver.Handle{Version: 3, Data: json.RawMessage(`{"action":"release"}`)}
	for _, released := range []*driver.Released{nil, {Step: "drill"}} {
		req.Released = released
		_, begun := f.Release(t.Context(), req)
		_, looked := f.Observe(t.Context(), req, h)
		for _, err := range []error{begun, looked} {
			if err == nil || failure.KindOf(err) != failure.Invalid {
				t.Errorf("a release of %v says %v, want %v", released, err, failure.Invalid)
			}
		}
	}
	if len(*steps) > 0 {
		t.Errorf("steps were taken: %v", *steps)
	}
	req.Released = &driver.Released{Token: "t1"}
	if _, err := f.Release(t.Context(), req); err != nil || len(*steps) != 1 {
		t.Errorf("a release of a step: %v, steps %v", err, *steps)
	}
}

// TestAbout: an error says once what it is about, and loses nothing that it said before.
func TestAbout(t *testing.T) {
	for _, c := range []struct{ in, want error }{
		{failure.New(failure.Denied, "", "db at west", "no"), failure.New(failure.Denied, "drill", "db at west", "no")},
		{failure.New(failure.Denied, "drill", "db at west", "no"), failure.New(failure.Denied, "drill", "db at west", "no")},
		{failure.New(failure.Denied, "look at", "db at west", "no"), failure.New(failure.Denied, "drill", "db at west", "look at db at west: no")},
		{failure.New(failure.Denied, "", "eu-west-1", "no"), failure.New(failure.Denied, "drill", "db at west", "eu-west-1: no")},
	} {
		got := longwork.About(request(model.ActionDrill), c.in)
		if got.Error() != c.want.Error() || failure.KindOf(got) != failure.Denied {
			t.Errorf("%v is said as %q of %v, want %q", c.in, got, failure.KindOf(got), c.want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// all is a driver with every capability of a frame.
type all interface {
	driver.Capturer
	driver.Copier
	driver.Expirer
	driver.Prover
	driver.Restorer
	driver.Driller
	driver.Releaser
	driver.Fencer
	driver.Quiescer
	driver.Promoter
	driver.Reverser
	longwork.Observer
}

// stub is a driver whose every action is a frame's.
type stub struct{ all }

func (stub) Facts() driver.Facts { return driver.Facts{Kind: "aws.test"} }
func (stub) Describe(context.Context, driver.Target) (model.Description, error) {
	return model.Description{}, nil
}
func (stub) Check(context.Context, driver.Request) ([]model.Finding, error) { return nil, nil }

func begin(ctx context.Context, f all, req driver.Request) (driver.Handle, error) {
	return driver.Begin(ctx, stub{f}, req)
}

// TestCapabilities: each action of a driver that embeds a frame begins the work on that action.
func TestCapabilities(t *testing.T) {
	for _, action := range []model.Action{model.ActionCapture, model.ActionCopy, model.ActionExpire, model.ActionProve, model.ActionRestore, model.ActionDrill, model.ActionRelease,
		model.ActionFence, model.ActionQuiesce, model.ActionPromote, model.ActionReverse} {
		f, steps := frame(script{seen: driver.Succeeded()})
		req := request(action)
		req.Released = &driver.Released{Token: "t0"}
		if _, err := begin(t.Context(), f, req); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{string(action) + " made-t1"}, *steps); diff != "" {
			t.Errorf("%s: %s", action, diff)
		}
	}
}

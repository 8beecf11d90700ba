package drivertest

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// maxHandle is the most that a handle's data may be, in bytes.
const maxHandle = 16 << 10

func jsonNumber(n int64) string { return strconv.FormatInt(n, 10) }

// action tries one action that the driver has.
func (s *suite) action(t tee, action model.Action, try Action) {
	if action == model.ActionRelease {
		s.release(t)
		return
	}
	if try.Request != nil {
		t.sub("work", func(t tee) {
			req := fresh(try.Request(t), action)
			t.sub("refuses", func(t tee) { s.bad(t, req) })
			s.work(t, req)
		})
		if s.OneAtATime == "" {
			t.sub("begun at once", func(t tee) { s.atOnce(t, fresh(try.Request(t), action)) })
		}
		if s.Break != nil && !s.asks(action) {
			t.sub("unreachable", func(t tee) { s.unreachable(t, fresh(try.Request(t), action)) })
		}
	}
	if try.Slow != nil && s.can(Cancel) {
		t.sub("cancel", func(t tee) { s.cancel(t, fresh(try.Slow(t), action)) })
	}
	if try.No != nil {
		t.sub("no", func(t tee) { s.no(t, fresh(try.No(t), action)) })
	}
}

// bad begins and checks what must be refused, and looks that nothing landed.
func (s *suite) bad(t tee, req driver.Request) {
	req.Token = newToken() // nothing of this may be mixed up with what is begun later
	t.sub("unknown field", func(t tee) {
		for what, target := range misspelt(req.Target) {
			wrong := req
			wrong.Target = target
			_, err := call(t, "begin", func(ctx context.Context) (driver.Handle, error) { return driver.Begin(ctx, s.New(), wrong) })
			s.refuses(t, "begin with an unknown field in "+what, err, failure.Invalid)
			_, err = call(t, "check", func(ctx context.Context) ([]model.Finding, error) { return s.New().Check(ctx, wrong) })
			s.refuses(t, "check with an unknown field in "+what, err, failure.Invalid)
		}
	})
	t.sub("cancelled", func(t tee) {
		_, err := callWith(t, over(t), "begin", func(ctx context.Context) (driver.Handle, error) { return driver.Begin(ctx, s.New(), req) })
		s.refuses(t, "begin with a cancelled context", err, failure.Canceled)
		_, err = callWith(t, over(t), "check", func(ctx context.Context) ([]model.Finding, error) { return s.New().Check(ctx, req) })
		s.refuses(t, "check with a cancelled context", err, failure.Canceled)
	})
	s.effects(t, "after refused begins", req, 0)
}

// work takes one request from check to done, by several driver values, and looks at everything on the way.
func (s *suite) work(t tee, req driver.Request) {
	t.sub("check", func(t tee) { s.check(t, req) })
	var handles []driver.Handle
	t.sub("once", func(t tee) {
		d := s.New()
		handles = append(handles, s.begin(t, d, req))
		handles = append(handles, s.begin(t, d, req))
		handles = append(handles, s.begin(t, s.New(), req))
		resumed := req
		resumed.Resumed = true
		handles = append(handles, s.begin(t, s.New(), resumed))
	})
	if len(handles) == 0 {
		return
	}
	t.sub("handle", func(t tee) {
		for i := range handles {
			s.handle(t, &handles[i])
		}
	})
	var done driver.Observation
	t.sub("done", func(t tee) {
		s.together(t, req, handles[0])
		for _, h := range handles {
			if done = s.await(t, req, h); done.State != driver.Done {
				t.Fatalf("%s ended as %s: %v", req.Action, done.State, done.Err)
			}
		}
	})
	if done.State != driver.Done {
		return
	}
	t.sub("outputs", func(t tee) { s.outputs(t, req, done) })
	t.sub("stays done", func(t tee) { s.staysDone(t, req, handles, done) })
	t.sub("observe cancelled", func(t tee) {
		_, err := callWith(t, over(t), "observe", func(ctx context.Context) (driver.Observation, error) {
			return s.New().Observe(ctx, req, handles[0])
		})
		s.refuses(t, "observe with a cancelled context", err, failure.Canceled)
	})
	t.sub("foreign handles", func(t tee) { s.foreign(t, req, handles[0]) })
	t.sub("cancel when over", func(t tee) { s.cancelOver(t, req, handles[0], done) })
	t.sub("landed once", func(t tee) { s.effects(t, "in the end", req, 1) })
	if req.Action == model.ActionDrill && s.can(model.ActionRelease) {
		t.sub("release", func(t tee) { s.releaseTwice(t, req, handles[0], done.Outputs) })
	}
}

// check looks at the findings for a request that can succeed.
func (s *suite) check(t tee, req driver.Request) {
	s.unchanged(t, "check", func() {
		for _, preview := range []bool{true, false} {
			req.Preview = preview
			found, err := call(t, "check", func(ctx context.Context) ([]model.Finding, error) { return s.New().Check(ctx, req) })
			if err != nil {
				s.judge(t, "check", err)
				t.Errorf("check (preview %v): %v", preview, err)
			}
			s.hides(t, "the findings", found)
			for _, f := range found {
				if f.Severity == model.Block {
					t.Errorf("check (preview %v) blocks what can be done: %+v", preview, f)
				}
				if f.Code == "" || f.What == "" {
					t.Errorf("a finding without a code or a text: %+v", f)
				}
			}
		}
	})
	s.effects(t, "after a check", req, 0)
}

// handle looks at a handle and replaces it by what is left of it after it was written down.
func (s *suite) handle(t tee, h *driver.Handle) {
	t.Helper()
	s.hides(t, "the handle", h)
	if len(h.Data) > maxHandle {
		t.Errorf("the handle's data is %d bytes, more than %d", len(h.Data), maxHandle)
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatalf("the handle cannot be written down: %v", err)
	}
	var back driver.Handle
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatalf("the handle cannot be read back: %v", err)
	}
	*h = back
}

// together observes by one driver value in several goroutines at once.
func (s *suite) together(t tee, req driver.Request, h driver.Handle) {
	t.Helper()
	d := s.New()
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = d.Observe(t.Context(), req, h) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			s.judge(t, "observe together", err)
			t.Errorf("observe by several at once: %v", err)
		}
	}
}

func (s *suite) outputs(t tee, req driver.Request, done driver.Observation) {
	want := s.New().Facts().Outputs[req.Action]
	for name, typ := range want {
		v, ok := done.Outputs[name]
		if !ok {
			t.Errorf("%s leaves no output %q, which the facts promise", req.Action, name)
			continue
		}
		if v.Type != typ {
			t.Errorf("output %s of %s has type %q, want %q", name, req.Action, v.Type, typ)
		}
		typed(t, "output "+name, v)
	}
	for name := range done.Outputs {
		// What a run leaves is the user's to say, and what a proof leaves depends on what is asked.
		if _, ok := want[name]; !ok && req.Action != model.ActionRun && req.Action != model.ActionProve {
			t.Errorf("%s leaves an output %q, of which the facts say nothing", req.Action, name)
		}
	}
	proves := []model.Action{model.ActionFence, model.ActionPromote, model.ActionReverse, model.ActionQuiesce, model.ActionRedirect}
	if slices.Contains(proves, req.Action) && len(done.Evidence) == 0 {
		t.Errorf("%s is done without evidence", req.Action)
	}
}

// typed holds a value to its type.
func typed(t tee, what string, v model.Value) {
	t.Helper()
	var err error
	switch v.Type {
	case model.TypeNumber:
		_, err = strconv.ParseFloat(v.Text, 64)
	case model.TypeEndpoint:
		var port string
		if _, port, err = net.SplitHostPort(v.Text); err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
	case model.TypeURL:
		var u *url.URL
		if u, err = url.Parse(v.Text); err == nil && u.Scheme == "" {
			err = errors.New("no scheme")
		}
	case model.TypeTime:
		_, err = time.Parse(time.RFC3339Nano, v.Text)
	case model.TypeLSN:
		if hi, lo, ok := strings.Cut(v.Text, "/"); !ok || hi == "" || lo == "" {
			err = errors.New("not like 0/3000060")
		}
	case model.TypeText:
	default:
		err = errors.New("no such type")
	}
	if err != nil {
		t.Errorf("%s: %q is not a value of type %q: %v", what, v.Text, v.Type, err)
	}
}

// staysDone observes and begins again after the end: the answer is the same, and nothing happens.
func (s *suite) staysDone(t tee, req driver.Request, handles []driver.Handle, done driver.Observation) {
	resumed := req
	resumed.Resumed = true
	late := s.begin(t, s.New(), resumed)
	s.handle(t, &late)
	if again := s.await(t, req, late); again.State != driver.Done {
		t.Errorf("begun again after its end, %s is %s: %v", req.Action, again.State, again.Err)
	}
	s.unchanged(t, "observing what is done", func() {
		for _, h := range append(slices.Clone(handles), late) {
			again, err := s.observe(t, s.New(), req, h)
			if err != nil || again.State != driver.Done {
				t.Errorf("observed again after done, %s is %s: %s %v", req.Action, again.State, again.Phase, err)
				continue
			}
			if diff := cmp.Diff(done.Outputs, again.Outputs); diff != "" {
				t.Errorf("observed again, the outputs of %s are others (-before +after):\n%s", req.Action, diff)
			}
		}
	})
}

// foreign observes by handles that no build of this driver has written.
func (s *suite) foreign(t tee, req driver.Request, h driver.Handle) {
	for what, wrong := range map[string]driver.Handle{
		"a handle of a later version":  {Version: h.Version + 1000, Data: h.Data},
		"a handle that is not its own": {Version: h.Version, Data: json.RawMessage(`["not","mine"]`)},
	} {
		_, err := call(t, "observe", func(ctx context.Context) (driver.Observation, error) { return s.New().Observe(ctx, req, wrong) })
		s.refuses(t, what, err, failure.Unsupported, failure.Invalid, failure.Corrupt)
	}
}

// atOnce begins by two driver values at the same instant.
func (s *suite) atOnce(t tee, req driver.Request) {
	const runners = 2
	var handles [runners]driver.Handle
	var errs [runners]error
	var wg sync.WaitGroup
	for i := range runners {
		d := s.New()
		wg.Go(func() { handles[i], errs[i] = driver.Begin(t.Context(), d, req) })
	}
	wg.Wait()
	begun := 0
	for i, err := range errs {
		if err != nil { // one may have to step back, but not more
			s.refuses(t, "begin at once with another", err, failure.Conflict, failure.Indeterminate, failure.Unavailable)
			continue
		}
		begun++
		if got := s.await(t, req, handles[i]); got.State != driver.Done {
			t.Errorf("begun by two at once, %s is %s: %v", req.Action, got.State, got.Err)
		}
	}
	if begun == 0 {
		t.Errorf("two began at once, and neither could")
	}
	s.effects(t, "begun by two at once", req, 1)
	s.cleanUp(t, req)
}

// unreachable begins at a site that does not answer.
func (s *suite) unreachable(t tee, req driver.Request) {
	mend := s.Break(t, req.Site)
	defer mend()
	what := string(req.Action) + " at an unreachable site"
	if _, err := call(t, "check", func(ctx context.Context) ([]model.Finding, error) { return s.New().Check(ctx, req) }); err != nil {
		s.judge(t, "check "+what, err)
	}
	h, err := call(t, "begin", func(ctx context.Context) (driver.Handle, error) { return driver.Begin(ctx, s.New(), req) })
	if err != nil {
		s.judge(t, what, err)
		if failure.KindOf(err) == failure.Internal {
			t.Errorf("%s: the kind is internal: %v", what, err)
		}
		return
	}
	seen, err := s.observe(t, s.New(), req, h)
	if err == nil && seen.State == driver.Done && req.Action == model.ActionFence && !s.FencesBlind {
		t.Errorf("a fence of a site that cannot be reached is reported as done, by %v", seen.Evidence)
	}
}

// no asks a question whose answer is no: that is pending, not failed and never done.
func (s *suite) no(t tee, req driver.Request) {
	h := s.begin(t, s.New(), req)
	for range 3 {
		seen, err := s.observe(t, s.New(), req, h)
		if err != nil || seen.State != driver.Pending {
			t.Fatalf("a question whose answer is no is %s, want pending: %v %v", seen.State, seen.Err, err)
		}
	}
}

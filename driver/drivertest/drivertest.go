// Package drivertest is the conformance suite that every driver, every wrapper of one and the fake pass.
//
// A driver's test describes its world once and calls [Run]:
//
//	func TestConformance(t *testing.T) {
//		w := startServer(t)
//		drivertest.Run(t, drivertest.Config{
//			New:     func() driver.Driver { return New(w.options()) },
//			Must:    []model.Action{model.ActionRedirect},
//			Targets: func(t testing.TB) []driver.Target { return []driver.Target{w.target("east")} },
//			Actions: map[model.Action]drivertest.Action{
//				model.ActionRedirect: {Request: func(t testing.TB) driver.Request { return w.redirect(t, "west") }},
//			},
//			Effects: func(t testing.TB, req driver.Request) int { return w.updatesUnder(req.Token) },
//			Secret:  "the TSIG key",
//		})
//	}
//
// What a driver cannot do is not tested; what it can do and [Config] leaves out is a failure, unless Config.Untested
// says why. A driver whose world is inside of the test's own process is tried by [RunTimed]. The suite holds drivers to the promises in package driver; it does not know whether a promotion promotes:
// that is for each driver's own tests. Its own test is a set of broken drivers, each of which it catches.
package drivertest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/leaks"
)

// Capabilities that are no actions, for Config.Must.
const (
	Cancel      model.Action = "cancel"
	WriteMarker model.Action = "write-marker"
	Points      model.Action = "points"
	Streams     model.Action = "streams"
)

// Config describes one driver and the world in which it is tried. Only New is required; each hook that is left out
// takes the checks that need it away.
type Config struct {
	// New makes a driver value that shares nothing with earlier ones but the world outside: another process.
	New func() driver.Driver
	// Must lists what the driver has to be able to do. A capability that is lost by a slip of a method's signature is
	// noticed here and nowhere else.
	Must []model.Action
	// Actions says how each action is tried.
	Actions map[model.Action]Action
	// Untested says why an action that the driver has cannot be tried here.
	Untested map[model.Action]string
	// Targets are resources at reachable sites, for Describe and Points.
	Targets func(t testing.TB) []driver.Target
	// Effects counts how often the world was changed under the request's token. It is asked after the work is done.
	Effects func(t testing.TB, req driver.Request) int
	// State is the whole world in words. It is the same before and after what must not change it.
	State func(t testing.TB) string
	// Left names what the work under a drill's token made that is still there: folders, processes, records.
	Left func(t testing.TB, token string) []string
	// Break makes the site of the request unreachable and gives back what mends it.
	Break func(t testing.TB, site model.SiteID) (mend func())
	// FencesBlind says that the driver can shut out a copy that it cannot reach (by a power switch, a firewall). For
	// any other one a fence of an unreachable site must not be reported as done.
	FencesBlind bool
	// Secret is the text of a secret that the requests' settings refer to. It must not be seen in anything that the
	// driver returns.
	Secret string
	// Limit bounds each wait for work to end. Zero: four minutes.
	Limit time.Duration
	// OneAtATime says why two begins with one token at the same instant are not tried. Two runners do that when one
	// of them was frozen in the middle of its call.
	OneAtATime string
}

// Action is how one action is tried. Each call of a hook makes a new piece of work. The suite sets Token, Attempt and
// what else of a Request is empty and needed.
type Action struct {
	// Request arranges the world so that the action can succeed, once, and gives the request. For a release it is
	// left out: the suite releases what drills made.
	Request func(t testing.TB) driver.Request
	// Slow gives a request whose work stays pending until it is cancelled. It is tried with drivers that can cancel.
	Slow func(t testing.TB) driver.Request
	// No gives a request of a verification whose answer is no.
	No func(t testing.TB) driver.Request
}

// Run holds a driver to the contract. It must not run in parallel with other tests: it looks for goroutines left
// behind.
func Run(t *testing.T, c Config) {
	t.Helper()
	run(live{t}, c)
}

// RunTimed is [Run] for worlds without sockets and processes: each part of the suite runs in a bubble of testing/synctest, in
// the world that make gives there. Waiting costs nothing, and nothing depends on how fast the machine is. What make starts ends
// with the t that it is given; goroutines that are left behind end the bubble in an error.
func RunTimed(t *testing.T, make func(t *testing.T) Config) {
	t.Helper()
	var names []string
	synctest.Test(t, func(t *testing.T) {
		for _, p := range newSuite(make(t), time.Hour).parts() {
			names = append(names, p.name)
		}
	})
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, p := range newSuite(make(t), time.Hour).parts() {
					if p.name == name {
						p.try(inline{t})
					}
				}
			})
		})
	}
}

// tee is what the suite reports to: a *testing.T, or in the suite's own test a recorder.
type tee interface {
	testing.TB
	sub(name string, f func(tee))
}

type live struct{ *testing.T }

func (l live) sub(name string, f func(tee)) {
	l.Run(name, func(t *testing.T) { f(live{t}) })
}

// inline is for bubbles, in which tests have no subtests.
type inline struct{ *testing.T }

func (i inline) sub(name string, f func(tee)) {
	before := i.Failed()
	defer func() {
		if !before && i.Failed() {
			i.Logf("that was in %q", name)
		}
	}()
	f(i)
}

// The bounds of single calls. They are far above what a good driver needs: they end a test that hangs.
const (
	callLimit  = 2 * time.Minute
	defaultMax = 4 * time.Minute
	pollEvery  = 20 * time.Millisecond
)

type suite struct {
	Config
	can      func(model.Action) bool
	patience time.Duration // the longest pause between two looks, whatever the driver asks for
}

func newSuite(c Config, patience time.Duration) *suite {
	if c.Limit == 0 {
		c.Limit = defaultMax
	}
	first := c.New()
	return &suite{Config: c, can: func(a model.Action) bool { return can(first, a) }, patience: patience}
}

// part is what is tried in one go.
type part struct {
	name string
	try  func(t tee)
}

func (s *suite) parts() []part {
	list := []part{{"facts", s.facts}, {"capabilities", s.capabilities}, {"describe", s.describe}, {"points", s.points}, {"streams", s.streams}}
	for _, action := range Actions() {
		if s.can(action) {
			list = append(list, part{string(action), func(t tee) { s.action(t, action, s.Config.Actions[action]) }})
		}
	}
	return append(list, part{"marker", s.marker})
}

func run(t tee, c Config) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	s := newSuite(c, time.Second)
	for _, p := range s.parts() {
		t.sub(p.name, p.try)
	}
	t.sub("leaks", func(t tee) {
		if err := leaks.Find(s.Limit, before); err != nil {
			t.Errorf("goroutines are left behind: %v", err)
		}
	})
}

// Actions lists the actions that a driver can have.
func Actions() []model.Action {
	return []model.Action{
		model.ActionFence, model.ActionQuiesce, model.ActionPromote, model.ActionReverse, model.ActionRedirect,
		model.ActionVerify, model.ActionReadMarker, model.ActionDrill, model.ActionRelease, model.ActionCapture,
		model.ActionRestore, model.ActionProve, model.ActionRun,
	}
}

func can(d driver.Driver, a model.Action) bool {
	var ok bool
	switch a {
	case Cancel:
		_, ok = driver.As[driver.Canceler](d)
	case WriteMarker:
		_, ok = driver.As[driver.MarkerWriter](d)
	case Points:
		_, ok = driver.As[driver.Lister](d)
	case Streams:
		_, ok = driver.As[driver.Streamer](d)
	default:
		ok = driver.Can(d, a)
	}
	return ok
}

// capabilities compares what the driver can do with what it must, and with what the configuration tries.
func (s *suite) capabilities(t tee) {
	for _, a := range s.Must {
		if !s.can(a) {
			t.Errorf("the driver cannot %s, and must", a)
		}
	}
	for _, a := range Actions() {
		_, tried := s.Actions[a]
		_, excused := s.Untested[a]
		switch {
		case s.can(a) && !tried && !excused && a != model.ActionRelease:
			t.Errorf("the driver can %s, and Config.Actions does not say how to try it", a)
		case !s.can(a) && tried:
			t.Errorf("Config.Actions tries %s, and the driver cannot", a)
		case !s.can(a):
			req := driver.Request{Action: a, Token: newToken(), Attempt: 1}
			_, err := driver.Begin(t.Context(), s.New(), req)
			if err == nil || failure.KindOf(err) != failure.Unsupported {
				t.Errorf("begin %s: %v, want an unsupported one", a, err)
			}
		}
	}
	if s.can(model.ActionDrill) != s.can(model.ActionRelease) {
		t.Errorf("a driver that drills must release, and one that releases must drill: drill %v, release %v",
			s.can(model.ActionDrill), s.can(model.ActionRelease))
	}
}

// newToken makes a token like the engine's.
func newToken() string { return strings.ToLower(rand.Text()) }

// fresh completes a request with a token of its own.
func fresh(req driver.Request, action model.Action) driver.Request {
	req.Action, req.Token, req.Attempt, req.Resumed = action, newToken(), 1, false
	if req.Run == "" {
		req.Run = "conformance"
	}
	if req.Step == "" {
		req.Step = model.StepID(string(action) + "-" + string(req.Resource.ID))
	}
	return req
}

// begin begins req on d, which must succeed.
func (s *suite) begin(t tee, d driver.Driver, req driver.Request) driver.Handle {
	t.Helper()
	h, err := call(t, "begin "+string(req.Action), func(ctx context.Context) (driver.Handle, error) {
		return driver.Begin(ctx, d, req)
	})
	if err != nil {
		s.judge(t, "begin "+string(req.Action), err)
		t.Fatalf("begin %s: %v (hint: %s)", req.Action, err, failure.HintOf(err))
	}
	return h
}

// await observes, with a fresh driver each time, until the work is over.
func (s *suite) await(t tee, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	deadline := time.Now().Add(s.Limit)
	for {
		seen, err := s.observe(t, s.New(), req, h)
		switch {
		case err != nil && (!failure.Classified(err) || !failure.KindOf(err).Retryable()):
			t.Fatalf("observe %s: %v", req.Action, err)
		case err == nil && seen.State != driver.Pending:
			return seen
		case time.Now().After(deadline):
			t.Fatalf("%s is not over after %v: %s %v", req.Action, s.Limit, seen.Phase, err)
		}
		wait := pollEvery
		if seen.Again > 0 {
			wait = min(seen.Again, s.patience)
		}
		select {
		case <-time.After(wait):
		case <-t.Context().Done():
			t.Fatalf("observe %s: %v", req.Action, t.Context().Err())
		}
	}
}

// observe asks once, and looks at the form of the answer.
func (s *suite) observe(t tee, d driver.Driver, req driver.Request, h driver.Handle) (driver.Observation, error) {
	t.Helper()
	what := "observe " + string(req.Action)
	seen, err := call(t, what, func(ctx context.Context) (driver.Observation, error) { return d.Observe(ctx, req, h) })
	if err != nil {
		s.judge(t, what, err)
		return seen, err
	}
	s.hides(t, "the observation of "+string(req.Action), seen)
	switch seen.State {
	case driver.Pending:
		if seen.Phase == "" {
			t.Errorf("%s: pending, and Phase does not say what for", what)
		}
	case driver.Done:
		if seen.Err != nil {
			t.Errorf("%s: done, with an error: %v", what, seen.Err)
		}
	case driver.Failed:
		if seen.Err == nil {
			t.Fatalf("%s: failed, without an error", what)
		}
		s.judge(t, what, seen.Err)
	default:
		t.Fatalf("%s: state %q is not one of pending, done, failed", what, seen.State)
	}
	return seen, nil
}

// call runs f and ends the test when it does not come back.
func call[T any](t tee, what string, f func(context.Context) (T, error)) (T, error) {
	t.Helper()
	return callWith(t, t.Context(), what, f)
}

func callWith[T any](t tee, ctx context.Context, what string, f func(context.Context) (T, error)) (T, error) {
	t.Helper()
	type answer struct {
		v   T
		err error
	}
	back := make(chan answer, 1)
	go func() {
		v, err := f(ctx)
		back <- answer{v, err}
	}()
	timer := time.NewTimer(callLimit)
	defer timer.Stop()
	select {
	case a := <-back:
		return a.v, a.err
	case <-timer.C:
		t.Fatalf("%s has not returned after %v: long work is begun, then observed", what, callLimit)
	}
	panic("unreachable")
}

// judge holds an error to the taxonomy: a kind, a text, no secret.
func (s *suite) judge(t tee, what string, err error) {
	t.Helper()
	if !failure.Classified(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: an error without a kind: %v", what, err)
	}
	if err.Error() == "" {
		t.Errorf("%s: an error without a text", what)
	}
	if s.Secret != "" && strings.Contains(err.Error()+failure.HintOf(err), s.Secret) {
		t.Errorf("%s: the error shows the secret", what)
	}
}

// hides looks for the secret in what the driver returned.
func (s *suite) hides(t tee, what string, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Errorf("%s cannot be written as JSON: %v", what, err)
		return
	}
	if s.Secret == "" {
		return
	}
	quoted, err := json.Marshal(s.Secret)
	if err != nil {
		t.Fatalf("the secret cannot be written as JSON: %v", err)
	}
	if strings.Contains(string(text), strings.Trim(string(quoted), `"`)) {
		t.Errorf("%s shows the secret", what)
	}
}

// unchanged runs f and compares the world before and after.
func (s *suite) unchanged(t tee, what string, f func()) {
	t.Helper()
	if s.State == nil {
		f()
		return
	}
	before := s.State(t)
	f()
	if after := s.State(t); after != before {
		t.Errorf("%s changes the world\nbefore: %s\nafter:  %s", what, before, after)
	}
}

// effects compares how often the world was changed under a request's token.
func (s *suite) effects(t tee, when string, req driver.Request, want int) {
	t.Helper()
	if s.Effects == nil {
		return
	}
	if got := s.Effects(t, req); got != want && (got > want || !s.asks(req.Action)) {
		t.Errorf("%s: %s changed the world %d times under one token, want %d times", when, req.Action, got, want)
	}
}

// asks reports whether an action only looks: it may then have no effects to count.
func (s *suite) asks(a model.Action) bool {
	return a == model.ActionVerify || a == model.ActionReadMarker
}

// withField adds an unknown field to settings.
func withField(settings json.RawMessage) json.RawMessage {
	fields := map[string]json.RawMessage{}
	if len(settings) > 0 && json.Unmarshal(settings, &fields) != nil {
		return nil
	}
	fields["no_such_field"] = json.RawMessage(`"x"`)
	out, err := json.Marshal(fields)
	if err != nil {
		return nil
	}
	return out
}

// misspelt gives targets like t with an unknown field, once in the resource's settings and once at the site.
func misspelt(t driver.Target) map[string]driver.Target {
	own, at := t, t
	own.Resource.Settings = withField(t.Resource.Settings)
	at.Resource.Sites = map[model.SiteID]json.RawMessage{}
	for site, settings := range t.Resource.Sites {
		at.Resource.Sites[site] = settings
	}
	at.Resource.Sites[t.Site] = withField(t.Resource.Sites[t.Site])
	all := map[string]driver.Target{"the settings": own}
	if t.Site != "" {
		all["the site's settings"] = at
	}
	return all
}

// refuses wants an error of one of kinds.
func (s *suite) refuses(t tee, what string, err error, kinds ...failure.Kind) {
	t.Helper()
	if err == nil {
		t.Errorf("%s is accepted, want an error of kind %v", what, kinds)
		return
	}
	s.judge(t, what, err)
	if !slices.Contains(kinds, failure.KindOf(err)) {
		t.Errorf("%s: an error of kind %s, want one of %v: %v", what, failure.KindOf(err), kinds, err)
	}
}

package drivertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

const planted = "correct horse battery staple"

// recorder is a tee that remembers what failed, instead of failing.
type recorder struct {
	testing.TB // for Context, Cleanup, TempDir
	path       string
	log        *recording
}

type recording struct {
	mu     sync.Mutex
	failed []string // "path: message"
}

func (r *recorder) Helper()             {}
func (r *recorder) Name() string        { return r.path }
func (r *recorder) Log(...any)          {}
func (r *recorder) Logf(string, ...any) {}

func (r *recorder) Errorf(format string, args ...any) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.failed = append(r.log.failed, r.path+": "+fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }
func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorder) sub(name string, f func(tee)) {
	child := &recorder{TB: r.TB, path: strings.TrimPrefix(r.path+"/"+name, "/"), log: r.log}
	var wg sync.WaitGroup
	wg.Go(func() { f(child) })
	wg.Wait()
}

// config tries wrapped fakes. wrap makes the driver under test of one over the world.
func config(t testing.TB, w *fake.World, wrap func(*fake.Driver) driver.Driver) Config {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(planted+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	request := func(script fake.Script) func(testing.TB) driver.Request {
		return func(t testing.TB) driver.Request {
			steps := map[model.Action]fake.Script{}
			for _, a := range Actions() {
				steps[a] = script
			}
			delete(steps, model.ActionRelease) // released at once, however slow the drill was
			settings, err := json.Marshal(map[string]any{"steps": steps, "password": "file:" + file, "stream": true})
			if err != nil {
				t.Fatal(err)
			}
			n++
			id := model.ResourceID(fmt.Sprintf("db%d", n))
			return driver.Request{Target: driver.Target{App: "shop", Site: "west", Peer: "east",
				Resource: model.Resource{ID: id, App: "shop", Kind: fake.Kind, Settings: settings,
					Sites: map[model.SiteID]json.RawMessage{"west": json.RawMessage(`{"role":"standby","lag_bytes":1}`)}}}}
		}
	}
	quick := request(fake.Script{Takes: model.Duration(5 * time.Millisecond), Polls: 1, Again: model.Duration(time.Millisecond)})
	slow := request(fake.Script{Hang: true})
	c := Config{
		New:     func() driver.Driver { return wrap(fake.New(w)) },
		Must:    append(Actions(), Cancel, WriteMarker, Points, Streams),
		Actions: map[model.Action]Action{},
		Targets: func(t testing.TB) []driver.Target { return []driver.Target{quick(t).Target} },
		Effects: func(t testing.TB, req driver.Request) int {
			landed := 0
			for _, e := range w.Effects() {
				if strings.HasPrefix(e.Token, req.Token) {
					landed++
				}
			}
			return landed
		},
		State: func(t testing.TB) string {
			effects := w.Effects()
			for i := range effects {
				effects[i].Observed = 0 // being looked at is no change
			}
			text, err := json.Marshal(effects)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		},
		Left: func(t testing.TB, token string) []string {
			var left []string
			for _, e := range w.Left() {
				if strings.HasPrefix(e.Token, token) {
					left = append(left, "copy of "+e.Token)
				}
			}
			return left
		},
		Break: func(t testing.TB, site model.SiteID) func() {
			w.Down(site)
			return func() { w.Up(site) }
		},
		Secret: planted,
	}
	for _, a := range Actions() {
		if a != model.ActionRelease {
			c.Actions[a] = Action{Request: quick, Slow: slow}
		}
	}
	marker := quick
	c.Actions[model.ActionReadMarker] = Action{Request: func(t testing.TB) driver.Request {
		req := marker(t)
		m := model.Marker{Seq: 1, At: time.Now().Add(-time.Hour)}
		if err := fake.New(w).WriteMarker(t.Context(), req.Target, m); err != nil {
			t.Fatal(err)
		}
		return req
	}}
	c.Actions[model.ActionVerify] = Action{Request: quick, No: request(fake.Script{Polls: 1000})}
	return c
}

func TestFakeConforms(t *testing.T) {
	Run(t, config(t, fake.NewWorld(), func(d *fake.Driver) driver.Driver { return d }))
}

// thin is a wrapper as others write them: it has nothing but the required methods, and what it wraps.
type thin struct{ driver.Driver }

func (w thin) Unwrap() driver.Driver { return w.Driver }

func TestWrapperConforms(t *testing.T) {
	Run(t, config(t, fake.NewWorld(), func(d *fake.Driver) driver.Driver { return thin{d} }))
}

// broken is a fake with one fault. Every hook that is nil does what the fake does.
type broken struct {
	*fake.Driver
	facts    func(driver.Facts) driver.Facts
	describe func(context.Context, driver.Target) (model.Description, error)
	check    func(context.Context, driver.Request) ([]model.Finding, error)
	begin    func(context.Context, driver.Request) (driver.Handle, error)
	observe  func(context.Context, driver.Request, driver.Handle) (driver.Observation, error)
	cancel   func(context.Context, driver.Request, driver.Handle) error
	points   func(context.Context, driver.Target) ([]model.Point, error)
	stream   func(context.Context, driver.Target) (model.Stream, error)
}

func (b *broken) Facts() driver.Facts {
	if b.facts != nil {
		return b.facts(b.Driver.Facts())
	}
	return b.Driver.Facts()
}

func (b *broken) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	if b.describe != nil {
		return b.describe(ctx, t)
	}
	return b.Driver.Describe(ctx, t)
}

func (b *broken) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	if b.check != nil {
		return b.check(ctx, req)
	}
	return b.Driver.Check(ctx, req)
}

func (b *broken) Observe(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	if b.observe != nil {
		return b.observe(ctx, req, h)
	}
	return b.Driver.Observe(ctx, req, h)
}

func (b *broken) Cancel(ctx context.Context, req driver.Request, h driver.Handle) error {
	if b.cancel != nil {
		return b.cancel(ctx, req, h)
	}
	return b.Driver.Cancel(ctx, req, h)
}

func (b *broken) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	if b.points != nil {
		return b.points(ctx, t)
	}
	return b.Driver.Points(ctx, t)
}

func (b *broken) LookAtStream(ctx context.Context, t driver.Target) (model.Stream, error) {
	if b.stream != nil {
		return b.stream(ctx, t)
	}
	return b.Driver.LookAtStream(ctx, t)
}

func (b *broken) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if b.begin != nil {
		return b.begin(ctx, req)
	}
	return b.Driver.Promote(ctx, req)
}

func (b *broken) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if b.begin != nil {
		return b.begin(ctx, req)
	}
	return b.Driver.Fence(ctx, req)
}

func (b *broken) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if b.begin != nil {
		return b.begin(ctx, req)
	}
	return b.Driver.Drill(ctx, req)
}

func (b *broken) Release(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if b.begin != nil {
		return b.begin(ctx, req)
	}
	return b.Driver.Release(ctx, req)
}

// TestSuiteCatches is the suite's own test: each fault is caught, and by the check that is meant for it.
func TestSuiteCatches(t *testing.T) {
	for _, tt := range faults() {
		t.Run(tt.name, func(t *testing.T) {
			var failed []string
			for _, limit := range []time.Duration{200 * time.Millisecond, 5 * time.Second, time.Minute} { // a busy machine takes its time
				failed = failures(t, tt, limit)
				if slices.ContainsFunc(failed, func(f string) bool {
					return strings.HasPrefix(f, tt.caught+": ") && strings.Contains(f, tt.saying)
				}) {
					return
				}
			}
			t.Errorf("not caught by %q saying %q; what failed:\n%s", tt.caught, tt.saying, strings.Join(failed, "\n"))
		})
	}
}

// failures are what fails with a fault, where work has so long to end.
func failures(t *testing.T, tt fault, limit time.Duration) []string {
	w := fake.NewWorld()
	c := config(t, w, func(d *fake.Driver) driver.Driver {
		b := &broken{Driver: d}
		tt.fault(b, w)
		return b
	})
	if tt.only != "" { // the others conform, and take their time
		for a := range c.Actions {
			if a != tt.only {
				delete(c.Actions, a)
				if c.Untested == nil {
					c.Untested = map[model.Action]string{}
				}
				c.Untested[a] = "not in question"
			}
		}
	}
	c.Limit = limit
	log := &recording{}
	run(&recorder{TB: t, log: log}, c)
	return log.failed
}

// TestMissing shows that a lost capability and a forgotten action are caught too.
func TestMissing(t *testing.T) {
	onlyRequired := func(d *fake.Driver) driver.Driver { return struct{ driver.Driver }{d} }
	c := config(t, fake.NewWorld(), onlyRequired)
	log := &recording{}
	run(&recorder{TB: t, log: log}, c)
	if all := strings.Join(log.failed, "\n"); !strings.Contains(all, "capabilities: the driver cannot promote, and must") ||
		!strings.Contains(all, "capabilities: Config.Actions tries promote, and the driver cannot") {
		t.Errorf("a driver without capabilities is not caught:\n%s", all)
	}

	c = config(t, fake.NewWorld(), func(d *fake.Driver) driver.Driver { return d })
	delete(c.Actions, model.ActionCapture)
	log = &recording{}
	run(&recorder{TB: t, log: log}, c)
	want := "capabilities: the driver can capture, and Config.Actions does not say how to try it"
	if len(log.failed) != 1 || log.failed[0] != want {
		t.Errorf("got %q\nwant %q", log.failed, want)
	}
}

// errPlain is an error as drivers must not return them.
var errPlain = errors.New("it broke")

// invalid is what a fault answers where the fake would not.
func invalid(op string) error { return failure.New(failure.Invalid, op, "", "no") }

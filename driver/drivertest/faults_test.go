package drivertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// fault is one way to break the contract.
type fault struct {
	name   string
	only   model.Action // the action in question; empty: all are tried
	caught string       // the check that must catch it
	saying string       // part of what it must say
	fault  func(b *broken, w *fake.World)
}

func faults() []fault {
	var all []fault
	all = append(all, factFaults()...)
	all = append(all, lookFaults()...)
	all = append(all, beginFaults()...)
	all = append(all, observeFaults()...)
	all = append(all, endFaults()...)
	return all
}

func factFaults() []fault {
	change := func(f func(*driver.Facts)) func(*broken, *fake.World) {
		return func(b *broken, _ *fake.World) {
			b.facts = func(facts driver.Facts) driver.Facts {
				facts.Outputs, facts.Effects = maps.Clone(facts.Outputs), maps.Clone(facts.Effects)
				f(&facts)
				return facts
			}
		}
	}
	var calls atomic.Int64
	return []fault{
		{"facts that change", model.ActionFence, "facts", "differ", change(func(f *driver.Facts) {
			f.Summary = fmt.Sprint("call ", calls.Add(1))
		})},
		{"a kind with spaces", model.ActionFence, "facts", "kind", change(func(f *driver.Facts) { f.Kind = "My Kind" })},
		{"settings by value", model.ActionFence, "facts", "pointer to a zero struct", change(func(f *driver.Facts) { f.Settings = fake.Settings{} })},
		{"settings that take everything", model.ActionFence, "facts", "takes an unknown field", change(func(f *driver.Facts) { f.Settings = &lenient{} })},
		{"settings without names", model.ActionFence, "facts", "no name in a json tag", change(func(f *driver.Facts) { f.Site = &struct{ Name string }{} })},
		{"an output of no type", model.ActionFence, "facts", "unknown type", change(func(f *driver.Facts) {
			f.Outputs[model.ActionPromote] = map[string]model.ValueType{"endpoint": "address"}
		})},
		{"an effect unsaid", model.ActionFence, "facts", "does not say what promote changes", change(func(f *driver.Facts) {
			delete(f.Effects, model.ActionPromote)
		})},
		{"facts of what it cannot do", model.ActionFence, "facts", "which the driver cannot do", change(func(f *driver.Facts) {
			f.Timeouts = map[model.Action]time.Duration{model.ActionApprove: time.Second}
		})},
	}
}

// lenient takes every field.
type lenient struct {
	Rest map[string]json.RawMessage `json:"rest"`
}

func (l *lenient) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &l.Rest) }

func lookFaults() []fault {
	return []fault{
		{"describe fails for a lost site", model.ActionFence, "describe/unreachable", "describe db1 at west", func(b *broken, _ *fake.World) {
			b.describe = func(ctx context.Context, t driver.Target) (model.Description, error) {
				d, err := b.Driver.Describe(ctx, t)
				if err == nil && d.Role == model.RoleUnreachable {
					return d, failure.New(failure.Unavailable, "describe", "", "no answer")
				}
				return d, err
			}
		}},
		{"describe calls a lost site absent", model.ActionFence, "describe/unreachable", "want \"unreachable\"", func(b *broken, _ *fake.World) {
			b.describe = func(ctx context.Context, t driver.Target) (model.Description, error) {
				d, err := b.Driver.Describe(ctx, t)
				if d.Role == model.RoleUnreachable {
					d.Role = model.RoleAbsent
				}
				return d, err
			}
		}},
		{"describe ignores its context", model.ActionFence, "describe/cancelled", "is accepted", func(b *broken, _ *fake.World) {
			b.describe = func(ctx context.Context, t driver.Target) (model.Description, error) {
				return b.Driver.Describe(context.WithoutCancel(ctx), t)
			}
		}},
		{"describe changes the world", model.ActionFence, "describe/changes nothing", "describe changes the world", func(b *broken, _ *fake.World) {
			b.describe = func(ctx context.Context, t driver.Target) (model.Description, error) {
				touch(ctx, b, t)
				return b.Driver.Describe(ctx, t)
			}
		}},
		{"describe takes a misspelt field", model.ActionFence, "describe/strict", "the site's settings is accepted", func(b *broken, _ *fake.World) {
			b.describe = func(ctx context.Context, t driver.Target) (model.Description, error) {
				t.Resource.Sites = nil
				return b.Driver.Describe(ctx, t)
			}
		}},
		{"a secret in the description", model.ActionFence, "describe/changes nothing", "shows the secret", func(b *broken, _ *fake.World) {
			b.describe = func(ctx context.Context, t driver.Target) (model.Description, error) {
				d, err := b.Driver.Describe(ctx, t)
				d.Facts = append(d.Facts, model.Fact{Name: "dsn", Value: "password='" + planted + "'"})
				return d, err
			}
		}},
		{"points in any order", model.ActionFence, "points", "newest first", func(b *broken, _ *fake.World) {
			b.points = func(_ context.Context, t driver.Target) ([]model.Point, error) {
				p := model.Point{ID: "1", Resource: t.Resource.ID, Site: t.Site}
				q := p
				q.ID, q.At = "2", time.Now()
				return []model.Point{p, q}, nil
			}
		}},
		{"a stream of another site", model.ActionFence, "streams", "is not of", func(b *broken, _ *fake.World) {
			b.stream = func(ctx context.Context, t driver.Target) (model.Stream, error) {
				st, err := b.Driver.LookAtStream(ctx, t)
				st.Site = "elsewhere"
				return st, err
			}
		}},
		{"a stream does not give up", model.ActionFence, "streams", "cancelled context", func(b *broken, _ *fake.World) {
			b.stream = func(ctx context.Context, t driver.Target) (model.Stream, error) {
				return b.Driver.LookAtStream(context.WithoutCancel(ctx), t)
			}
		}},
		{"check changes the world", model.ActionPromote, "promote/work/check", "check changes the world", func(b *broken, _ *fake.World) {
			b.check = func(ctx context.Context, req driver.Request) ([]model.Finding, error) {
				touch(ctx, b, req.Target)
				return b.Driver.Check(ctx, req)
			}
		}},
		{"check begins the work", model.ActionPromote, "promote/work/check", "changed the world 1 times", func(b *broken, _ *fake.World) {
			b.check = func(ctx context.Context, req driver.Request) ([]model.Finding, error) {
				if _, err := b.Driver.Promote(ctx, req); err != nil {
					return nil, err
				}
				return b.Driver.Check(ctx, req)
			}
		}},
		{"check blocks what is fine", model.ActionPromote, "promote/work/check", "blocks", func(b *broken, _ *fake.World) {
			b.check = func(ctx context.Context, req driver.Request) ([]model.Finding, error) {
				found, err := b.Driver.Check(ctx, req)
				return append(found, model.Finding{Severity: model.Block, Code: "no", What: "no"}), err
			}
		}},
	}
}

var touched atomic.Int64

// touch changes the fake world under a token of its own.
func touch(ctx context.Context, b *broken, t driver.Target) {
	req := driver.Request{Target: t, Action: model.ActionRun, Token: fmt.Sprint("touch", touched.Add(1)), Attempt: 1}
	_, _ = b.Driver.Run(ctx, req) // a cancelled context is no matter here
}

func beginFaults() []fault {
	var serial atomic.Int64
	var memory sync.Map
	return []fault{
		{"every begin begins", model.ActionPromote, "promote/work/landed once", "changed the world", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				req.Token += fmt.Sprint("x", serial.Add(1))
				return b.Driver.Promote(ctx, req)
			}
		}},
		{"a resumed begin begins anew", model.ActionPromote, "promote/work/landed once", "2 times", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				if req.Resumed {
					req.Token += "x"
				}
				return b.Driver.Promote(ctx, req)
			}
		}},
		{"another process begins anew", model.ActionPromote, "promote/work/landed once", "changed the world", func(b *broken, _ *fake.World) {
			me := fmt.Sprint("x", serial.Add(1))
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				req.Token += me
				return b.Driver.Promote(ctx, req)
			}
		}},
		{"a begun token is an error", model.ActionPromote, "promote/work/once", "exists already", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				h, err := b.Driver.Promote(ctx, req)
				if _, begun := memory.LoadOrStore(req.Token, true); begun && err == nil {
					return h, failure.New(failure.Exists, "promote", "", "it exists already")
				}
				return h, err
			}
		}},
		{"two at once begin twice", model.ActionPromote, "promote/begun at once", "2 times", twoAtOnce},
		{"a huge handle", model.ActionPromote, "promote/work/handle", "more than 16384", func(b *broken, _ *fake.World) {
			b.begin = withHandle(b, func(h *driver.Handle) { h.Data = json.RawMessage(`"` + strings.Repeat("x", 20000) + `"`) })
		}},
		{"a handle that is no JSON", model.ActionPromote, "promote/work/handle", "cannot be written", func(b *broken, _ *fake.World) {
			b.begin = withHandle(b, func(h *driver.Handle) { h.Data = json.RawMessage(`token=1`) })
		}},
		{"a secret in the handle", model.ActionPromote, "promote/work/handle", "shows the secret", func(b *broken, _ *fake.World) {
			b.begin = withHandle(b, func(h *driver.Handle) { h.Data = json.RawMessage(`{"token":"` + planted + `"}`) })
		}},
		{"begin ignores its context", model.ActionPromote, "promote/work/refuses/cancelled", "is accepted", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				return b.Driver.Promote(context.WithoutCancel(ctx), req)
			}
		}},
		{"a cancelled begin lands", model.ActionPromote, "promote/work/refuses", "after refused begins", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				if _, err := b.Driver.Promote(context.WithoutCancel(ctx), req); err != nil {
					return driver.Handle{}, err
				}
				return b.Driver.Promote(ctx, req)
			}
		}},
		{"a cancelled begin is internal", model.ActionPromote, "promote/work/refuses/cancelled", "kind internal", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				if ctx.Err() != nil {
					return driver.Handle{}, errPlain
				}
				return b.Driver.Promote(ctx, req)
			}
		}},
		{"begin takes a misspelt field", model.ActionPromote, "promote/work/refuses/unknown field", "the settings is accepted", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				req.Resource.Settings = nil
				return b.Driver.Promote(ctx, req)
			}
		}},
		{"a secret in an error", model.ActionPromote, "promote/work/refuses/unknown field", "the error shows the secret", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				h, err := b.Driver.Promote(ctx, req)
				if err != nil {
					err = failure.WrapAs(failure.Invalid, fmt.Errorf("%w near %q", err, planted), "promote", "")
				}
				return h, err
			}
		}},
		{"a lost site is our own defect", model.ActionPromote, "promote/unreachable", "an error without a kind", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				h, err := b.Driver.Promote(ctx, req)
				if err != nil && errors.Is(err, failure.Unavailable) {
					return h, errPlain
				}
				return h, err
			}
		}},
	}
}

func withHandle(b *broken, change func(*driver.Handle)) func(context.Context, driver.Request) (driver.Handle, error) {
	return func(ctx context.Context, req driver.Request) (driver.Handle, error) {
		h, err := b.Driver.Promote(ctx, req)
		if err == nil {
			change(&h)
		}
		return h, err
	}
}

// meeting is where those who begin one token at once wait for each other.
var meeting struct {
	sync.Mutex
	here map[string]int
}

// twoAtOnce looks, then acts, with a gap in between in which a second one, if there is one, passes the look too.
func twoAtOnce(b *broken, w *fake.World) {
	b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
		if _, begun := w.Effect(req.Token); begun {
			return b.Driver.Promote(ctx, req)
		}
		meeting.Lock()
		if meeting.here == nil {
			meeting.here = map[string]int{}
		}
		meeting.here[req.Token]++
		meeting.Unlock()
		for limit := time.Now().Add(time.Second); time.Now().Before(limit); time.Sleep(time.Millisecond) {
			meeting.Lock()
			met := meeting.here[req.Token] > 1
			meeting.Unlock()
			if met {
				break
			}
		}
		meeting.Lock()
		defer meeting.Unlock()
		if _, begun := w.Effect(req.Token); begun && meeting.here[req.Token] > 1 {
			req.Token += "x"
		}
		return b.Driver.Promote(ctx, req)
	}
}

func observeFaults() []fault {
	done := func(b *broken, change func(driver.Request, *driver.Observation)) {
		b.observe = func(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
			seen, err := b.Driver.Observe(ctx, req, h)
			if err == nil && seen.State == driver.Done {
				seen.Outputs = maps.Clone(seen.Outputs)
				change(req, &seen)
			}
			return seen, err
		}
	}
	var looks atomic.Int64
	return []fault{
		{"the work is in memory", model.ActionPromote, "promote/work/done", "not found", func(b *broken, _ *fake.World) {
			mine := map[string]bool{}
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				mine[req.Token] = true
				return b.Driver.Promote(ctx, req)
			}
			b.observe = func(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
				if !mine[req.Token] {
					return driver.Observation{}, failure.NotFound
				}
				return b.Driver.Observe(ctx, req, h)
			}
		}},
		{"never done", model.ActionPromote, "promote/work/done", "is not over after", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) {
				o.State, o.Phase, o.Again = driver.Pending, "a while", 0
			})
		}},
		{"an output is missing", model.ActionPromote, "promote/work/outputs", "leaves no output", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) { delete(o.Outputs, "endpoint") })
		}},
		{"an output of another type", model.ActionPromote, "promote/work/outputs", "has type", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) { o.Outputs["endpoint"] = driver.Text("10.0.0.1:5432") })
		}},
		{"an endpoint without a port", model.ActionPromote, "promote/work/outputs", "is not a value of type", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) { o.Outputs["endpoint"] = driver.Endpoint("10.0.0.1") })
		}},
		{"an output that nothing declares", model.ActionPromote, "promote/work/outputs", "say nothing", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) { o.Outputs["extra"] = driver.Text("x") })
		}},
		{"done without evidence", model.ActionFence, "fence/work/outputs", "without evidence", func(b *broken, _ *fake.World) {
			b.begin = b.Driver.Fence
			done(b, func(_ driver.Request, o *driver.Observation) { o.Evidence = nil })
		}},
		{"a secret in the evidence", model.ActionPromote, "promote/work/done", "shows the secret", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) { o.Evidence[0].Value = "with " + planted })
		}},
		{"done, then pending again", model.ActionPromote, "promote/work/stays done", "is pending", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) {
				if looks.Add(1) > 5 {
					o.State, o.Phase = driver.Pending, "again"
				}
			})
		}},
		{"outputs that change", model.ActionPromote, "promote/work/stays done", "are others", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) {
				o.Outputs["endpoint"] = driver.Endpoint(fmt.Sprintf("10.0.0.1:%d", looks.Add(1)))
			})
		}},
		{"pending without a word", model.ActionPromote, "promote/work/done", "Phase", func(b *broken, _ *fake.World) {
			b.observe = func(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
				seen, err := b.Driver.Observe(ctx, req, h)
				seen.Phase = ""
				return seen, err
			}
		}},
		{"failed without an error", model.ActionPromote, "promote/work/done", "failed, without an error", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) { o.State = driver.Failed })
		}},
		{"observe ignores its context", model.ActionPromote, "promote/work/observe cancelled", "is accepted", func(b *broken, _ *fake.World) {
			b.observe = func(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
				return b.Driver.Observe(context.WithoutCancel(ctx), req, h)
			}
		}},
		{"any handle will do", model.ActionPromote, "promote/work/foreign handles", "later version is accepted", func(b *broken, _ *fake.World) {
			b.observe = func(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
				h.Version = 1
				return b.Driver.Observe(ctx, req, h)
			}
		}},
		{"errors without a kind", model.ActionPromote, "promote/work/foreign handles", "without a kind", func(b *broken, _ *fake.World) {
			b.observe = func(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
				seen, err := b.Driver.Observe(ctx, req, h)
				if err != nil {
					err = errors.New(err.Error())
				}
				return seen, err
			}
		}},
		{"a no that fails", model.ActionVerify, "verify/no", "want pending", func(b *broken, _ *fake.World) {
			b.observe = func(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
				seen, err := b.Driver.Observe(ctx, req, h)
				if seen.State == driver.Pending {
					seen = driver.Observation{State: driver.Failed, Err: failure.New(failure.Conflict, "verify", "", "no")}
				}
				return seen, err
			}
		}},
		{"a blind fence", model.ActionFence, "fence/unreachable", "reported as done", func(b *broken, _ *fake.World) {
			b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				h, err := b.Driver.Fence(ctx, req)
				if errors.Is(err, failure.Unavailable) {
					return driver.Handle{Version: 1, Data: json.RawMessage(`{"token":"blind"}`)}, nil
				}
				return h, err
			}
			b.observe = func(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
				seen, err := b.Driver.Observe(ctx, req, h)
				if errors.Is(err, failure.Unavailable) {
					return driver.Observation{State: driver.Done, Evidence: []model.Fact{{Name: "hope", Value: "yes"}}}, nil
				}
				return seen, err
			}
		}},
		{"an old marker", model.ActionReadMarker, "marker", "was written", func(b *broken, _ *fake.World) {
			done(b, func(_ driver.Request, o *driver.Observation) { o.Outputs["marker_seq"] = driver.Number("1") })
		}},
	}
}

func endFaults() []fault {
	release := func(b *broken, f func(context.Context, driver.Request) (driver.Handle, error)) {
		b.begin = func(ctx context.Context, req driver.Request) (driver.Handle, error) {
			if req.Action != model.ActionRelease {
				return b.Driver.Drill(ctx, req)
			}
			return f(ctx, req)
		}
	}
	return []fault{
		{"a release that needs the handle", model.ActionDrill, "release/by token alone", "left behind", func(b *broken, _ *fake.World) {
			release(b, func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				if req.Released != nil && len(req.Released.Handle.Data) == 0 {
					req.Released = &driver.Released{Token: "nothing"}
				}
				return b.Driver.Release(ctx, req)
			})
		}},
		{"a release that leaves things", model.ActionDrill, "drill/work/release", "left behind", func(b *broken, _ *fake.World) {
			release(b, func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				if req.Released != nil {
					req.Released = &driver.Released{Token: "nothing"}
				}
				return b.Driver.Release(ctx, req)
			})
		}},
		{"a release that works once", model.ActionDrill, "drill/work/release", "gone already", func(b *broken, w *fake.World) {
			release(b, func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				if made, ok := w.Effect(releasedToken(req)); ok && !made.Released.IsZero() {
					return driver.Handle{}, failure.New(failure.NotFound, "release", "", "it is gone already")
				}
				return b.Driver.Release(ctx, req)
			})
		}},
		{"a release that never began is an error", model.ActionDrill, "release/of what never began", "no such drill", func(b *broken, w *fake.World) {
			release(b, func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				if _, ok := w.Effect(releasedToken(req)); !ok && req.Released != nil {
					return driver.Handle{}, failure.New(failure.NotFound, "release", "", "no such drill")
				}
				return b.Driver.Release(ctx, req)
			})
		}},
		{"a release of everything", model.ActionDrill, "release/only its own", "another drill has removed", func(b *broken, w *fake.World) {
			release(b, func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				for _, left := range w.Left() {
					other := req
					other.Token += "x" + left.Token
					other.Released = &driver.Released{Token: left.Token}
					if _, err := b.Driver.Release(ctx, other); err != nil {
						return driver.Handle{}, err
					}
				}
				return b.Driver.Release(ctx, req)
			})
		}},
		{"a release of nothing in particular", model.ActionDrill, "release/refuses", "is accepted", func(b *broken, _ *fake.World) {
			release(b, func(ctx context.Context, req driver.Request) (driver.Handle, error) {
				if req.Released == nil {
					req.Released = &driver.Released{Token: "all"}
				}
				return b.Driver.Release(ctx, req)
			})
		}},
		{"cancel does nothing", model.ActionPromote, "promote/cancel", "goes on after", func(b *broken, _ *fake.World) {
			b.cancel = func(context.Context, driver.Request, driver.Handle) error { return nil }
		}},
		{"cancel works once", model.ActionPromote, "promote/cancel", "over already", func(b *broken, w *fake.World) {
			b.cancel = func(ctx context.Context, req driver.Request, h driver.Handle) error {
				if e, _ := w.Effect(req.Token); !e.Canceled.IsZero() {
					return failure.New(failure.Conflict, "cancel", "", "it is over already")
				}
				return b.Driver.Cancel(ctx, req, h)
			}
		}},
		{"cancel refuses what is over", model.ActionPromote, "promote/work/cancel when over", "cancel promote when it is over", func(b *broken, w *fake.World) {
			b.cancel = func(ctx context.Context, req driver.Request, h driver.Handle) error {
				if e, _ := w.Effect(req.Token); !e.EndsAt.IsZero() && time.Now().After(e.EndsAt) {
					return invalid("cancel")
				}
				return b.Driver.Cancel(ctx, req, h)
			}
		}},
		{"a goroutine is left", model.ActionPromote, "leaks", "goroutines are left behind", func(b *broken, _ *fake.World) {
			stop := make(chan struct{})
			b.observe = func(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
				go func() { <-stop }()
				return b.Driver.Observe(ctx, req, h)
			}
		}},
	}
}

func releasedToken(req driver.Request) string {
	if req.Released == nil {
		return ""
	}
	return req.Released.Token
}

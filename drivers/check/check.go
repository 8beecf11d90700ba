// Package check asks questions of a recovered app: kinds "http", "tcp", "sql" and "exec".
//
// Each kind is a driver of its own. As a check in a plan it is a [driver.Verifier]: begin returns at once, and each
// observation asks the question once. A yes is Done with what was seen as evidence; a no is Pending with what was seen
// and what was expected, to be asked again until the step's time is up; a question that can never be answered (a bad
// query, a wrong password) is Failed. Outside of a run the same question is asked through [driver.Asker].
//
// Kind "exec" is also a [driver.Runner]: a step of the user's own.
//
// Start with [NewHTTP], [NewTCP], [NewSQL] and [NewExec].
package check

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/probe"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The kinds of this package.
const (
	KindHTTP model.Kind = "http"
	KindTCP  model.Kind = "tcp"
	KindSQL  model.Kind = "sql"
	KindExec model.Kind = "exec"
)

// handleVersion is the version of the handles that this build writes.
const handleVersion = 1

// again is the pause between two questions.
const again = 200 * time.Millisecond

// question is settings that can be asked. The errors of Ask are those of driver.Asker.
type question interface {
	Ask(ctx context.Context) (driver.Answer, error)
}

// checker is a driver that asks questions of type Q, a pointer to whose settings is a question.
type checker[Q any] struct {
	kind    model.Kind
	summary string
	now     func() time.Time
	// ask asks a question. In a run, req says for what; outside of one it is nil.
	ask func(ctx context.Context, q *Q, req *driver.Request) (driver.Answer, error)
}

// HTTP and TCP are the drivers of kinds http and tcp.
type (
	HTTP struct{ checker[probe.HTTP] }
	TCP  struct{ checker[probe.TCP] }
)

// NewHTTP makes the http check.
func NewHTTP() *HTTP {
	return &HTTP{newChecker(KindHTTP, "an HTTP request, judged by its status and body", plain[probe.HTTP])}
}

// NewTCP makes the tcp check.
func NewTCP() *TCP {
	return &TCP{newChecker(KindTCP, "a TCP connection, judged by what the server says", plain[probe.TCP])}
}

func newChecker[Q any](kind model.Kind, summary string,
	ask func(context.Context, *Q, *driver.Request) (driver.Answer, error)) checker[Q] {
	return checker[Q]{kind: kind, summary: summary, now: time.Now, ask: ask}
}

// plain asks a question to which it does not matter in which run it is asked.
func plain[Q any](ctx context.Context, q *Q, _ *driver.Request) (driver.Answer, error) {
	return any(q).(question).Ask(ctx)
}

// Facts describes the driver.
func (c *checker[Q]) Facts() driver.Facts {
	return driver.Facts{
		Kind:     c.kind,
		Summary:  c.summary,
		Settings: new(Q),
		Verbs:    map[model.Action]string{model.ActionVerify: "check"},
		Timeouts: map[model.Action]time.Duration{model.ActionVerify: time.Minute},
	}
}

// Describe asks the question once. A check has no role.
func (c *checker[Q]) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	desc := model.Description{Resource: t.Resource.ID, Site: t.Site, At: c.now(), Role: model.RoleUnknown}
	q, err := c.settings(ctx, t)
	if err != nil {
		return desc, err
	}
	if len(driver.Refs(t.Resource.Settings)) > 0 {
		desc.Summary = "the question depends on a step that has not run"
		return desc, nil
	}
	a, err := c.ask(ctx, q, nil)
	if err != nil {
		return desc, err
	}
	desc.At, desc.Healthy, desc.Summary = c.now(), a.OK, a.Detail
	return desc, nil
}

// Check finds nothing in the way of asking, once the settings can be read.
func (c *checker[Q]) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	_, err := c.settings(ctx, req.Target)
	return nil, err
}

// settings reads a target's settings; a check has none at a site. A context that is over ends here.
func (c *checker[Q]) settings(ctx context.Context, t driver.Target) (*Q, error) {
	if err := ctx.Err(); err != nil {
		return nil, failure.Wrap(err, "check", string(t.Resource.ID))
	}
	if len(t.Resource.Settings) == 0 {
		t.Resource.Settings = json.RawMessage(`{}`)
	}
	q, _, err := driver.SettingsOf[Q, struct{}](t, t.Site)
	return &q, err
}

// Ask asks once, outside of a run.
func (c *checker[Q]) Ask(ctx context.Context, raw json.RawMessage) (driver.Answer, error) {
	q, err := c.settings(ctx, driver.Target{Resource: model.Resource{Settings: raw}})
	if err != nil {
		return driver.Answer{}, err
	}
	return c.ask(ctx, q, nil)
}

// Verify has nothing to begin: the question is asked by Observe.
func (c *checker[Q]) Verify(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if _, err := c.settings(ctx, req.Target); err != nil {
		return driver.Handle{}, err
	}
	return driver.Handle{Version: handleVersion}, nil
}

// Observe asks once.
func (c *checker[Q]) Observe(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	if h.Version != handleVersion {
		return driver.Observation{}, failure.New(failure.Unsupported, "observe", "", "a handle of version %d", h.Version).
			WithHint("finish the run with the version of lifeboat that began it")
	}
	if len(h.Data) > 0 {
		return driver.Observation{}, failure.New(failure.Corrupt, "observe", string(req.Step), "the handle is not a check's")
	}
	q, err := c.settings(ctx, req.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	a, err := c.ask(ctx, q, &req)
	switch {
	case err != nil && ctx.Err() != nil:
		return driver.Observation{}, err
	case err != nil:
		return driver.Observation{State: driver.Failed, Err: failure.From(err)}, nil
	case !a.OK:
		return driver.Observation{State: driver.Pending, Phase: a.Detail, Again: again}, nil
	}
	return driver.Observation{State: driver.Done, Phase: a.Detail, Evidence: []model.Fact{
		{Name: "answer", Value: a.Detail}, {Name: "took", Value: took(a.Took)},
	}}, nil
}

// took writes a duration for people.
func took(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000) }

var (
	_ driver.Driver   = (*HTTP)(nil)
	_ driver.Verifier = (*HTTP)(nil)
	_ driver.Asker    = (*HTTP)(nil)
	_ driver.Driver   = (*TCP)(nil)
	_ driver.Verifier = (*TCP)(nil)
	_ driver.Asker    = (*TCP)(nil)
)

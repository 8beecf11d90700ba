// Package fake is a driver whose resources are make-believe and whose every step follows a script.
//
// It is for two readers. Tests of the engine script what goes wrong, then ask the [World] what was called and what
// landed. People who rehearse put resources of kind "fake" (or "fake.stateful") into a lifeboat.yaml and watch plans
// run, fail, wait and be released without touching anything:
//
//	db:
//	  kind: fake.stateful
//	  settings:
//	    ledger: rehearsal
//	    steps:
//	      promote: {takes: 3s, outputs: {endpoint: "10.0.0.2:5432"}, fail: [{attempt: 1, kind: unavailable}]}
//	  sites: {east: {role: primary}, west: {role: standby, lag_time: 1s}}
//
// It has every capability and keeps the contract of package driver: nothing is in a [Driver]'s memory, everything is in
// a [Ledger], and a begin whose token is known does nothing twice. It proves nothing about real systems: that is what
// each driver's own tests against real servers do.
//
// Start with [NewWorld] and [New].
package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The kinds that a lifeboat.yaml may name.
const (
	Kind         model.Kind = "fake"
	KindStateful model.Kind = "fake.stateful"
)

// Driver acts on a World. It holds nothing else.
type Driver struct {
	world *World
	facts driver.Facts
}

// Option changes a driver's facts.
type Option func(*driver.Facts)

// WithKind registers the driver under another kind.
func WithKind(k model.Kind) Option { return func(f *driver.Facts) { f.Kind = k } }

// Stateful makes a driver of kind "fake.stateful": its resources must be fenced before traffic moves.
func Stateful() Option {
	return func(f *driver.Facts) {
		f.Stateful, f.Kind = true, KindStateful
		f.Summary = "a make-believe resource with data of its own, for rehearsals: it must be fenced"
	}
}

// WithFacts changes whatever else a test needs: timeouts, verbs, what is destructive.
func WithFacts(change func(*driver.Facts)) Option { return change }

// New makes a driver of kind "fake" on a world.
func New(w *World, opts ...Option) *Driver {
	facts := driver.Facts{
		Kind:     Kind,
		Summary:  "a make-believe resource whose steps follow a script, for rehearsals and tests",
		Settings: &Settings{},
		Site:     &Site{},
		Outputs:  outputs,
		Effects:  map[model.Action]string{},
		Vault:    driver.VaultOptional, // named and never opened: to rehearse a policy
	}
	for _, a := range actions {
		if a != model.ActionVerify && a != model.ActionReadMarker {
			facts.Effects[a] = "writes \"" + string(a) + "\" into the fake's ledger, and nothing else"
		}
	}
	for _, opt := range opts {
		opt(&facts)
	}
	return &Driver{world: w, facts: facts}
}

// Facts describes the driver.
func (d *Driver) Facts() driver.Facts { return d.facts }

// handle is version 1 of what a begin returns.
type handle struct {
	Token string `json:"token"`
}

const handleVersion = 1

func newHandle(token string) driver.Handle {
	data, err := json.Marshal(handle{token})
	if err != nil {
		panic("fake: " + err.Error()) // a struct of one string
	}
	return driver.Handle{Version: handleVersion, Data: data}
}

func readHandle(h driver.Handle) (handle, error) {
	if h.Version != handleVersion {
		return handle{}, failure.New(failure.Unsupported, "read handle", "", "version %d is not known", h.Version).
			WithHint("a later lifeboat began this step: finish the run with that one")
	}
	v, err := driver.Decode[handle](h.Data)
	return v, failure.Wrap(err, "read handle", "")
}

// call is what each method begins with: decoded settings, the script of the action, the ledger.
type call struct {
	own    Settings
	at     Site
	script Script
	ledger Ledger
}

func (d *Driver) open(ctx context.Context, t driver.Target, action model.Action) (call, error) {
	if err := ctx.Err(); err != nil {
		return call{}, failure.Wrap(err, string(action), string(t.Resource.ID))
	}
	own, at, err := driver.SettingsOf[Settings, Site](t, t.Site)
	if err != nil {
		return call{}, err
	}
	ledger, err := d.world.ledgerOf(own)
	if err != nil {
		return call{}, err
	}
	script, here := at.Steps[action]
	if !here {
		script = own.Steps[action]
	}
	return call{own, at, script, ledger}, nil
}

func (d *Driver) pass(phase string, req driver.Request) error {
	if d.world.Hook == nil {
		return nil
	}
	return d.world.Hook(Point{Phase: phase, Step: req.Step, Action: req.Action, Attempt: req.Attempt, Token: req.Token})
}

// Describe tells the role that the site's settings and the steps since then lead to.
func (d *Driver) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	c, err := d.open(ctx, t, "")
	if err != nil {
		return model.Description{}, err
	}
	now := d.world.now()
	out := model.Description{Resource: t.Resource.ID, Site: t.Site, At: now, Role: c.at.Role}
	err = c.ledger.Do(func(s *State) ([]Entry, error) {
		if role := s.role(place{t.App, t.Resource.ID, t.Site}, now); role != "" {
			out.Role = role
		}
		if c.at.Unreachable || s.down[t.Site] {
			out.Role = model.RoleUnreachable
		}
		return nil, nil
	})
	if err != nil {
		return model.Description{}, err
	}
	switch out.Role {
	case "":
		out.Role = model.RoleUnknown
		out.Summary = "nothing says what it is here: set role: at this site"
	case model.RoleUnreachable:
		out.Summary = "the site does not answer (the script says so)"
		return out, nil
	case model.RoleStandby:
		out.LagBytes, out.LagTime, out.Sync = c.at.LagBytes, c.at.LagTime, c.at.Sync
		out.Summary = "make-believe standby"
	default:
		out.Summary = "make-believe, " + string(out.Role)
	}
	out.Healthy = out.Role == model.RolePrimary || out.Role == model.RoleStandby
	if c.at.Healthy != nil {
		out.Healthy = *c.at.Healthy
	}
	if out.Role == model.RolePrimary {
		out.Outputs = c.values(t, model.ActionPromote)
	}
	return out, nil
}

// Check reports the findings of the script.
func (d *Driver) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	c, err := d.open(ctx, req.Target, req.Action)
	if err != nil {
		return nil, err
	}
	if err := d.pass(BeforeCheck, req); err != nil {
		return nil, err
	}
	if e := c.script.failing(AtCheck, req.Attempt, 0); e != nil {
		return nil, about(e, "check", req)
	}
	var found []model.Finding
	for _, f := range c.script.Findings {
		if f.Only == "plan" && !req.Preview || f.Only == "run" && req.Preview {
			continue
		}
		severity := f.Severity
		if severity == model.Block && req.Force {
			severity = model.Warn
		}
		code := f.Code
		if code == "" {
			code = "scripted"
		}
		found = append(found, model.Finding{Severity: severity, Code: code, Resource: req.Resource.ID, Site: req.Site,
			Step: req.Step, What: f.What, Why: f.Why, Fix: f.Fix})
	}
	return found, d.pass(AfterCheck, req)
}

// begin is every capability's: it lands the effect once and answers with its handle.
func (d *Driver) begin(ctx context.Context, req driver.Request) (driver.Handle, error) {
	c, err := d.open(ctx, req.Target, req.Action)
	if err != nil {
		return driver.Handle{}, err
	}
	if err := d.pass(BeforeBegin, req); err != nil {
		return driver.Handle{}, err
	}
	if err := d.prepare(ctx, c, req); err != nil {
		return driver.Handle{}, err
	}
	if err := c.ledger.Do(func(s *State) ([]Entry, error) { return d.land(s, c, req) }); err != nil {
		return driver.Handle{}, err
	}
	if err := d.pass(AfterBegin, req); err != nil {
		return driver.Handle{}, err
	}
	return newHandle(req.Token), nil
}

// prepare is what comes before the effect: secrets, and the time that the call takes.
func (d *Driver) prepare(ctx context.Context, c call, req driver.Request) error {
	if req.Token == "" {
		return failure.New(failure.Invalid, string(req.Action), string(req.Resource.ID), "the request has no token")
	}
	if _, err := c.own.Password.Resolve(ctx); err != nil {
		return failure.Wrap(err, string(req.Action), string(req.Resource.ID))
	}
	if c.script.BeginTakes == 0 {
		return nil
	}
	timer := time.NewTimer(c.script.BeginTakes.Std())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return failure.Wrap(ctx.Err(), string(req.Action), string(req.Resource.ID))
	}
}

// land records the call and, unless its token is known or the script refuses it, the effect.
func (d *Driver) land(s *State, c call, req driver.Request) ([]Entry, error) {
	now := d.world.now()
	log := Call{Token: req.Token, Run: req.Run, Step: req.Step, Action: req.Action, Attempt: req.Attempt,
		Resumed: req.Resumed, App: req.App, Resource: req.Resource.ID, Site: req.Site, At: now}
	answer := func(e *failure.Error, more ...Entry) ([]Entry, error) {
		log.Err = e
		entries := append([]Entry{{At: now, Call: &log}}, more...)
		if e == nil {
			return entries, nil
		}
		return entries, e
	}
	if c.at.Unreachable || s.down[req.Site] {
		return answer(unreachable(req))
	}
	if _, log.Known = s.byToken[req.Token]; log.Known {
		return answer(nil)
	}
	if e := c.script.failing(AtBegin, req.Attempt, s.begun[req.Token]); e != nil {
		return answer(about(e, string(req.Action), req))
	}
	effect := d.effect(s, c, req, now)
	entries := []Entry{{At: now, Effect: effect}}
	if r := req.Released; req.Action == model.ActionRelease && r != nil && effect.Err == nil && !effect.EndsAt.IsZero() {
		if made := s.byToken[r.Token]; made != nil && !made.over(now) {
			entries = append(entries, Entry{At: now, Canceled: r.Token})
		}
		entries = append(entries, Entry{At: now, Released: r.Token})
	}
	if c.script.UnknownBegin {
		return answer(about(&failure.Error{Kind: failure.Indeterminate, Message: "the answer was lost (the script says so)"},
			string(req.Action), req), entries...)
	}
	return answer(nil, entries...)
}

func (d *Driver) effect(s *State, c call, req driver.Request, now time.Time) *Effect {
	e := &Effect{Token: req.Token, Run: req.Run, Step: req.Step, Action: req.Action, Attempt: req.Attempt,
		App: req.App, Resource: req.Resource.ID, Site: req.Site, At: now, EndsAt: now.Add(c.script.Takes.Std()),
		Polls: c.script.Polls, Again: c.script.Again, Outputs: c.values(req.Target, req.Action)}
	if req.Prove != nil {
		e.Point = req.Prove.Point
	}
	e.Apart = req.Restore != nil && !req.Restore.InPlace
	if c.script.Hang {
		e.EndsAt = time.Time{}
	}
	if failed := c.script.failing(AtObserve, req.Attempt, 0); failed != nil {
		e.Err = about(failed, string(req.Action), req)
	}
	if req.Action == model.ActionReadMarker && e.Err == nil && len(e.Outputs) < len(outputs[req.Action]) {
		lag := model.Duration(0)
		if c.at.LagTime != nil {
			lag = *c.at.LagTime
		}
		marker, ok := s.marker(req.App, req.Resource.ID, now.Add(-lag.Std()))
		if ok {
			e.Outputs["marker_at"] = driver.Time(marker.At)
			e.Outputs["marker_seq"] = driver.Number(fmt.Sprint(marker.Seq))
		} else {
			e.Err = failure.New(failure.NotFound, "read marker of", string(req.Resource.ID), "no marker has been written").
				WithHint("lifeboat protect %s writes one", req.App)
		}
	}
	return e
}

// values are the outputs of an action: invented, unless the site, the resource or the script says otherwise.
func (c call) values(t driver.Target, action model.Action) map[string]model.Value {
	host := fmt.Sprintf("%s.%s.fake.test", t.Resource.ID, t.Site)
	if action == model.ActionDrill {
		host = fmt.Sprintf("drill.%s.%s.fake.test", t.Resource.ID, t.Site)
	}
	texts := map[string]string{"endpoint": host + ":5432", "url": "http://" + host + "/", "lsn": "0/3000060",
		"point": fmt.Sprintf("%s-at-%s", t.Resource.ID, t.Site), "result": "done"}
	maps.Copy(texts, c.own.Outputs)
	maps.Copy(texts, c.at.Outputs)
	maps.Copy(texts, c.script.Outputs)
	values := map[string]model.Value{}
	for name, typ := range outputs[action] {
		if text, ok := texts[name]; ok {
			values[name] = model.Value{Type: typ, Text: text}
		}
	}
	return values
}

func unreachable(req driver.Request) *failure.Error {
	message := "the site does not answer"
	if req.Action == model.ActionFence {
		message = "fence-unproven: the site does not answer"
	}
	return failure.New(failure.Unavailable, string(req.Action), string(req.Resource.ID)+" at "+string(req.Site), "%s", message).
		WithHint("bring %s back, then: lifeboat run retry RUN STEP", req.Site)
}

func about(e *failure.Error, op string, req driver.Request) *failure.Error {
	subject := string(req.Resource.ID)
	if req.Site != "" {
		subject += " at " + string(req.Site)
	}
	e.Op, e.Subject = op, subject
	return e
}

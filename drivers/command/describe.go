package command

import (
	"context"
	"errors"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/internal/probe"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Observe asks what became of the request's work.
func (d *Driver) Observe(ctx context.Context, req driver.Request, dh driver.Handle) (driver.Observation, error) {
	h, err := driver.ReadHandle[handle](handleVersion, dh)
	if err != nil {
		return driver.Observation{}, err
	}
	if req.Action == model.ActionRelease {
		p, err := d.released(req)
		if err != nil {
			return driver.Observation{}, err
		}
		return d.observeRelease(ctx, p, h)
	}
	drill := ""
	if req.Action == model.ActionDrill {
		drill = h.Token
	}
	p, err := d.program(req.Target, drill)
	if err != nil {
		return driver.Observation{}, err
	}
	switch req.Action {
	case model.ActionPromote, model.ActionDrill:
		return d.observeStart(ctx, p, h)
	case model.ActionQuiesce:
		return d.observeStop(ctx, p, p.place("stop-"+h.Token), h)
	case model.ActionFence:
		return d.observeFence(ctx, p, req, h)
	}
	return driver.Observation{}, failure.New(failure.Unsupported, string(req.Action), string(req.Resource.ID),
		"a resource of kind %s cannot do this", Kind)
}

// Describe looks for the program and asks its probes. A program that serves, or runs without having a probe, is
// RolePrimary; one that is there and does not serve is RolePrimary and not healthy.
func (d *Driver) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	desc := model.Description{Resource: t.Resource.ID, Site: t.Site, At: d.now()}
	p, err := d.program(t, "")
	if err != nil {
		return desc, err
	}
	running, err := p.look(ctx, &desc)
	if err == nil && p.askable() {
		var serves bool
		serves, desc.Summary, err = p.serves(ctx)
		desc.Facts = append(desc.Facts, model.Fact{Name: "probe", Value: desc.Summary})
		desc.Role, desc.Healthy = role(running, serves && p.probed() || running && !p.probed())
	} else if err == nil {
		desc.Role, desc.Healthy = role(running, running)
		desc.Summary = "its probe depends on a step that has not run"
	}
	desc.At = d.now()
	switch {
	case err != nil && ctx.Err() != nil:
		return desc, failure.Wrap(ctx.Err(), "describe", string(t.Resource.ID))
	case err != nil && errors.Is(err, failure.Unavailable):
		desc.Role, desc.Healthy, desc.Summary = model.RoleUnreachable, false, err.Error()
		return desc, nil
	case err != nil:
		return desc, failure.Wrap(err, "describe", string(t.Resource.ID))
	}
	if !p.probed() {
		desc.Summary = map[bool]string{true: "it runs", false: "it does not run"}[running]
	}
	types, err := d.OutputsOf(t.Resource, model.ActionPromote)
	if err != nil {
		return desc, err
	}
	desc.Outputs = p.values(types)
	for n, v := range desc.Outputs {
		if probe.Unknown(v.Text) {
			delete(desc.Outputs, n)
		}
	}
	return desc, nil
}

// role of a program of which processes run and which serves, or not.
func role(running, serves bool) (model.Role, bool) {
	if running || serves {
		return model.RolePrimary, serves
	}
	return model.RoleStopped, false
}

// look finds the processes of a program in the background. Of others only the probe knows.
func (p *program) look(ctx context.Context, desc *model.Description) (running bool, err error) {
	if !p.background() {
		return false, nil
	}
	st, err := p.home().Look(ctx)
	if err != nil {
		return false, err
	}
	running = len(st.Running) > 0
	if running {
		desc.Facts = append(desc.Facts, model.Fact{Name: "process", Value: hostproc.Pids(st.Running)})
	}
	if running && !st.Started.IsZero() {
		desc.Facts = append(desc.Facts, model.Fact{Name: "started", Value: st.Started.UTC().Format(time.RFC3339)})
	}
	return running, nil
}

// askable reports whether the probes hold no reference that is not known yet.
func (p *program) askable() bool {
	for _, text := range append([]string{p.ProbeHTTP, p.ProbeTCP}, p.Probe...) {
		if probe.Unknown(text) {
			return false
		}
	}
	return true
}

package command

import (
	"context"
	"errors"
	"maps"
	"net"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Check looks at the host and asks the probes.
func (d *Driver) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	if err := ctx.Err(); err != nil {
		return nil, failure.Wrap(err, "check", string(req.Resource.ID))
	}
	if _, err := d.OutputsOf(req.Resource, model.ActionPromote); err != nil {
		return nil, err
	}
	f := &findings{req: req}
	p, err := d.program(req.Target, "")
	if err != nil {
		return nil, err
	}
	switch req.Action {
	case model.ActionDrill:
		if err := d.checkDrill(req, p, f); err != nil {
			return nil, err
		}
	case model.ActionRelease:
		return nil, nil
	}
	st, err := p.home().Look(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, failure.Wrap(ctx.Err(), "check", string(req.Resource.ID))
	case errors.Is(err, failure.Unavailable):
		code, why := "host-unreachable", "nothing can be started there"
		if req.Action == model.ActionFence || req.Action == model.ActionQuiesce {
			code, why = "fence-unproven", "whether it still serves cannot be seen"
		}
		f.add(model.Block, code, err.Error(), why, failure.HintOf(err))
		return f.list, nil
	case err != nil:
		f.add(model.Block, "host", err.Error(), "commands on the host would fail in the same way", failure.HintOf(err))
		return f.list, nil
	}
	switch req.Action {
	case model.ActionPromote:
		return f.list, d.checkStart(ctx, p, st, f)
	case model.ActionFence, model.ActionQuiesce:
		if err := p.foreign(ctx); errors.Is(err, failure.Invalid) {
			f.add(model.Block, "foreign-process", err.Error(), "it would go on serving", failure.HintOf(err))
		}
		if !p.background() && len(p.Stop) == 0 {
			f.add(model.Block, "no-stop", "there is no stop command, and lifeboat did not start it itself",
				"it cannot be stopped", "stop: [systemctl, stop, NAME]")
		}
	}
	return f.list, nil
}

// checkStart judges what runs already where the program is to be started.
func (d *Driver) checkStart(ctx context.Context, p *program, st hostproc.State, f *findings) error {
	if !p.background() {
		return nil
	}
	if len(st.Running) > 0 {
		if st.Same != p.fingerprint() && !f.req.Preview {
			f.add(model.Warn, "replaces", "process "+hostproc.Pids(st.Running)+" runs there with other settings",
				"it is stopped first", "")
		}
		return nil
	}
	if !p.probed() || !p.askable() {
		return nil
	}
	serves, detail, err := p.serves(ctx)
	if err != nil {
		return err
	}
	if !serves && !p.taken(ctx) {
		return nil
	}
	severity := model.Block
	if f.req.Force {
		severity = model.Warn
	}
	f.add(severity, "foreign-process", "something that lifeboat did not start answers where the program is to serve: "+detail,
		"the program would not get its port, or its probe would say yes for another", "stop it, or force the step")
	return nil
}

// taken says whether something accepts connections at the endpoint that the program is to serve.
func (p *program) taken(ctx context.Context) bool {
	endpoint := p.Outputs["endpoint"]
	if endpoint == "" {
		return false
	}
	dialer := net.Dialer{Timeout: takenTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", endpoint)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// takenTimeout bounds the question whether an address is taken.
const takenTimeout = time.Second

// checkDrill makes sure that the copy is a copy.
func (d *Driver) checkDrill(req driver.Request, live *program, f *findings) error {
	copied, err := d.program(req.Target, "check")
	if err != nil {
		return err
	}
	if err := copied.isolated(); err != nil {
		f.add(model.Block, "drill-not-isolated", err.Error(), "a drill never disturbs what is live", failure.HintOf(err))
		return nil
	}
	if len(live.Outputs) > 0 && maps.Equal(live.Outputs, copied.Outputs) {
		f.add(model.Warn, "drill-outputs", "the copy's outputs are the live ones", "checks of the drill would ask the "+
			"live program", "set outputs under drill")
	}
	_, err = d.OutputsOf(req.Resource, model.ActionDrill)
	return err
}

// findings collects findings about one request.
type findings struct {
	req  driver.Request
	list []model.Finding
}

func (f *findings) add(severity model.Severity, code, what, why, fix string) {
	f.list = append(f.list, model.Finding{Severity: severity, Code: code, Resource: f.req.Resource.ID, Site: f.req.Site,
		Step: f.req.Step, What: what, Why: why, Fix: fix})
}

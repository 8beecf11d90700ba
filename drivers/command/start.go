package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Promote starts the program. One that runs already with the same settings is left alone; one with other settings is
// stopped first and replaced.
func (d *Driver) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := d.program(req.Target, "")
	if err != nil {
		return driver.Handle{}, err
	}
	return d.begin(ctx, p, req)
}

// Drill starts a second copy with the drill's settings, in a folder that is named by the request's token.
func (d *Driver) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := d.program(req.Target, req.Token)
	if err != nil {
		return driver.Handle{}, err
	}
	if err := p.isolated(); err != nil {
		return driver.Handle{}, err
	}
	return d.begin(ctx, p, req)
}

// begin starts p under the request's token.
func (d *Driver) begin(ctx context.Context, p *program, req driver.Request) (driver.Handle, error) {
	h := handle{Token: req.Token, At: d.now()}
	if !p.background() {
		return d.beginService(ctx, p, h)
	}
	st, err := p.start(ctx, req.Token)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "start", string(req.Resource.ID))
	}
	switch {
	case st.Token == req.Token:
	case st.Same == p.fingerprint():
		h.Token, h.Found = st.Token, "it ran already with the same settings"
	default: // Observe starts ours once the other is gone
		if _, err := p.home().Signal(ctx, "TERM", ""); err != nil {
			return driver.Handle{}, failure.Wrap(err, "start", string(req.Resource.ID))
		}
	}
	return driver.NewHandle(handleVersion, h)
}

// beginService runs the start command of a program that something else looks after, unless it serves already. The
// command runs detached, once for the token; its end is recorded.
func (d *Driver) beginService(ctx context.Context, p *program, h handle) (driver.Handle, error) {
	place := p.service(h.Token)
	st, err := place.Look(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "start", string(p.target.Resource.ID))
	}
	if st.Token != h.Token {
		serves, _, err := p.serves(ctx)
		if err != nil {
			return driver.Handle{}, failure.Wrap(err, "start", string(p.target.Resource.ID))
		}
		if serves && p.drill == "" {
			h.Found = "it served already"
			return driver.NewHandle(handleVersion, h)
		}
	}
	h.Command = true
	if err := p.run(ctx, place, h.Token, p.Start); err != nil {
		return driver.Handle{}, failure.Wrap(err, "start", string(p.target.Resource.ID))
	}
	if err := place.Sweep(ctx, keepDays); err != nil {
		d.log.WarnContext(ctx, "old records of commands are left", "cause", err)
	}
	return driver.NewHandle(handleVersion, h)
}

// service is where the start command of a program that something else looks after is recorded.
func (p *program) service(token string) hostproc.Place {
	if p.drill != "" {
		return p.home()
	}
	return p.place("start-" + token)
}

// start starts the program in the background, at most once for a token.
func (p *program) start(ctx context.Context, token string) (hostproc.State, error) {
	env, err := p.environment(ctx)
	if err != nil {
		return hostproc.State{}, err
	}
	return p.home().Start(ctx, hostproc.Spec{Token: token, Same: p.fingerprint(), Argv: p.Start, Dir: p.Dir, Env: env})
}

// run runs a command that ends, detached, at most once for a token.
func (p *program) run(ctx context.Context, place hostproc.Place, token string, argv []string) error {
	env, err := p.environment(ctx)
	if err != nil {
		return err
	}
	_, err = place.Start(ctx, hostproc.Spec{Token: token, Argv: argv, Dir: p.Dir, Env: env, Record: true})
	return err
}

// observeStart looks whether p, begun with h, serves.
func (d *Driver) observeStart(ctx context.Context, p *program, h handle) (driver.Observation, error) {
	id := string(p.target.Resource.ID)
	if !p.background() {
		if obs, err := d.observeCommand(ctx, p.service(h.Token), h, "start"); obs.State != driver.Done || err != nil {
			return obs, err
		}
		return d.observeReady(ctx, p, h, nil)
	}
	st, err := p.home().Look(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "start", id)
	}
	switch {
	case st.Token == h.Token && len(st.Running) > 0:
		return d.observeReady(ctx, p, h, []model.Fact{{Name: "process", Value: hostproc.Pids(st.Running)},
			{Name: "log", Value: st.Folder + "/log"}})
	case st.Token == h.Token && st.Pid == 0:
		return failed(failure.Unavailable, id, "", "its start was interrupted before the program began"), nil
	case st.Token == h.Token:
		return failed(failure.Unavailable, id, "its log is "+st.Folder+"/log on the host", "it ended%s", lastWords(st)), nil
	case h.Found != "":
		return failed(failure.Conflict, id, "somebody else stops or starts it", "it ran, and is gone or replaced"), nil
	case len(st.Running) > 0: // what ran there before, with other settings, or with its folder gone
		phase := "waiting for the end of what ran there before: process " + hostproc.Pids(st.Running)
		if d.now().Sub(h.At) > p.stopWithin() {
			if _, err := p.home().Signal(ctx, "KILL", ""); err != nil {
				return driver.Observation{}, failure.Wrap(err, "start", id)
			}
		}
		return driver.Observation{State: driver.Pending, Phase: phase, Again: again}, nil
	}
	if _, err := p.start(ctx, h.Token); err != nil {
		return driver.Observation{}, failure.Wrap(err, "start", id)
	}
	return driver.Observation{State: driver.Pending, Phase: "starting", Again: again}, nil
}

// observeCommand looks at a recorded command: Done when it ended well, or when none was needed.
func (d *Driver) observeCommand(ctx context.Context, place hostproc.Place, h handle, what string) (driver.Observation, error) {
	if !h.Command {
		return driver.Observation{State: driver.Done}, nil
	}
	st, err := place.Look(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, what, place.Name)
	}
	switch {
	case st.Token != h.Token:
		return failed(failure.Indeterminate, place.Name, "look whether it took effect", "the %s command's record is gone", what), nil
	case st.Ended && st.Code == 0:
		return driver.Observation{State: driver.Done}, nil
	case st.Ended:
		return failed(failure.Unavailable, place.Name, "its output is in "+st.Folder+"/log on the host",
			"the %s command ended with exit code %d%s", what, st.Code, lastWords(st)), nil
	case len(st.Running) > 0:
		return driver.Observation{State: driver.Pending, Again: again,
			Phase: fmt.Sprintf("the %s command runs for %s", what, d.now().Sub(h.At).Round(time.Second))}, nil
	}
	return failed(failure.Indeterminate, place.Name, "look whether it took effect",
		"the %s command is gone and left no exit code", what), nil
}

// observeReady asks the probes of a program that runs.
func (d *Driver) observeReady(ctx context.Context, p *program, h handle, facts []model.Fact) (driver.Observation, error) {
	id := string(p.target.Resource.ID)
	ok, detail, err := p.serves(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "probe", id)
	}
	since := d.now().Sub(h.At)
	if !p.probed() && since < settle {
		ok, detail = false, "it runs; without a probe it must do so for "+settle.String()
	}
	if !ok {
		if since > p.ready() {
			return failed(failure.Unavailable, id, "raise ready_within, or look into its log", "it is not ready after %s: %s",
				since.Round(time.Second), detail), nil
		}
		return driver.Observation{State: driver.Pending, Phase: detail, Again: again}, nil
	}
	types, err := d.OutputsOf(p.target.Resource, model.ActionPromote)
	if p.drill != "" {
		types, err = d.OutputsOf(p.target.Resource, model.ActionDrill)
	}
	if err != nil {
		return driver.Observation{}, err
	}
	if h.Found != "" {
		facts = append(facts, model.Fact{Name: "start", Value: "not needed: " + h.Found})
	}
	if detail != "" {
		facts = append(facts, model.Fact{Name: "probe", Value: detail})
	}
	return driver.Observation{State: driver.Done, Phase: detail, Outputs: p.values(types), Evidence: facts}, nil
}

// lastWords is the last line of what a program wrote, to be put behind what happened to it.
func lastWords(st hostproc.State) string {
	lines := strings.Split(st.Tail, "\n")
	if last := lines[len(lines)-1]; last != "" {
		return ": " + last
	}
	return ""
}

// failed is the observation of work that will not reach its end.
func failed(kind failure.Kind, subject, hint, format string, args ...any) driver.Observation {
	return driver.Observation{State: driver.Failed, Err: failure.New(kind, "", subject, format, args...).WithHint("%s", hint)}
}

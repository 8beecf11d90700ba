package command

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/model"
)

// isolated refuses a drill whose copy would be the live program over again.
func (p *program) isolated() error {
	problem := ""
	d := p.Settings.Drill
	switch {
	case d == nil:
		problem = "drill: is missing, and a second copy with the live settings would stand in the live one's way"
	case len(d.Start) == 0 && len(d.Env) == 0 && len(d.Outputs) == 0:
		problem = "drill: start, env and outputs are all the live ones: the copy would stand in the live one's way"
	case !p.background() && len(d.Start) == 0:
		problem = "drill.start: is missing, and the live one starts the live program"
	case !p.background() && len(d.Stop) == 0:
		problem = "drill.stop: is missing, and the live one stops the live program"
	default:
		return nil
	}
	return failure.New(failure.Invalid, "drill", string(p.target.Resource.ID), "%s", problem).
		WithHint("give the copy an endpoint of its own under sites.%s.drill.outputs", p.target.Site)
}

// Release removes the copy that the released step made: its processes and its folder. It needs nothing but the token.
func (d *Driver) Release(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := d.released(req)
	if err != nil {
		return driver.Handle{}, err
	}
	h := handle{Token: req.Token, At: d.now()}
	st, err := p.home().Look(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "release", string(req.Resource.ID))
	}
	switch {
	case p.background():
		_, err = p.home().Signal(ctx, "TERM", "")
	case st.Token != "": // its start was begun, so whatever looks after it may have it
		h.Command = true
		err = p.run(ctx, p.releasing(req.Token), req.Token, p.Stop)
	}
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "release", string(req.Resource.ID))
	}
	return driver.NewHandle(handleVersion, h)
}

// released is the copy that a release is about. What is removed does not depend on outputs of other steps: references
// that were never filled in stand in commands of a copy that was never started.
func (d *Driver) released(req driver.Request) (*program, error) {
	if req.Released == nil || req.Released.Token == "" {
		return nil, failure.New(failure.Invalid, "release", string(req.Resource.ID), "no step to release")
	}
	return d.program(req.Target, req.Released.Token)
}

// releasing is where the stop command of a release is recorded.
func (p *program) releasing(token string) hostproc.Place { return p.place("release-" + token) }

// observeRelease looks whether the copy is gone, kills what does not end in time, and removes its folder.
func (d *Driver) observeRelease(ctx context.Context, p *program, h handle) (driver.Observation, error) {
	id := string(p.target.Resource.ID)
	command, err := d.observeCommand(ctx, p.releasing(h.Token), h, "stop")
	if err != nil || command.State != driver.Done && !p.background() {
		return command, err
	}
	st, err := p.home().Look(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "release", id)
	}
	if len(st.Running) > 0 {
		signal := "TERM"
		if d.now().Sub(h.At) > p.stopWithin() {
			signal = "KILL"
		}
		if signal == "KILL" || !p.background() {
			if _, err := p.home().Signal(ctx, signal, ""); err != nil {
				return driver.Observation{}, failure.Wrap(err, "release", id)
			}
		}
		return driver.Observation{State: driver.Pending, Again: again,
			Phase: "process " + hostproc.Pids(st.Running) + " of the copy still runs"}, nil
	}
	for _, place := range []hostproc.Place{p.home(), p.releasing(h.Token)} {
		if err := place.Remove(ctx); err != nil {
			return driver.Observation{}, failure.Wrap(err, "release", id)
		}
	}
	return driver.Observation{State: driver.Done,
		Evidence: []model.Fact{{Name: "removed", Value: st.Folder}}}, nil
}

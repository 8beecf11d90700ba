package command

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Quiesce stops the program: by the stop command, else by SIGTERM, and after stop_within by SIGKILL.
func (d *Driver) Quiesce(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := d.program(req.Target, "")
	if err != nil {
		return driver.Handle{}, err
	}
	if err := p.foreign(ctx); err != nil {
		return driver.Handle{}, err
	}
	return d.beginStop(ctx, p, req)
}

// foreign refuses a background program that answers and is not ours to stop: no process bears our mark, and there is no
// command that stops it.
func (p *program) foreign(ctx context.Context) error {
	if !p.background() || len(p.Stop) > 0 || !p.probed() {
		return nil
	}
	st, err := p.home().Look(ctx)
	if err != nil || len(st.Running) > 0 {
		return err
	}
	serves, detail, err := p.serves(ctx)
	if err != nil || !serves {
		return err
	}
	return failure.New(failure.Invalid, "stop", string(p.target.Resource.ID), "a program that lifeboat did not start answers its probe: %s", detail).
		WithHint("stop it by hand, then retry; or say how it is stopped: stop: [systemctl, stop, NAME]")
}

// Fence stops the program as Quiesce does. What cannot be seen to be gone is not fenced.
func (d *Driver) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := d.program(req.Target, "")
	if err != nil {
		return driver.Handle{}, err
	}
	h, err := d.beginStop(ctx, p, req)
	if err != nil && failure.KindOf(err) == failure.Unavailable {
		err = unproven(err, req.Resource.ID)
	}
	return h, err
}

// beginStop stops p under the request's token. The stop command runs detached, once for the token.
func (d *Driver) beginStop(ctx context.Context, p *program, req driver.Request) (driver.Handle, error) {
	id := string(req.Resource.ID)
	h := handle{Token: req.Token, At: d.now()}
	var begun hostproc.State
	place := p.place("stop-" + req.Token)
	if len(p.Stop) > 0 {
		var err error
		if begun, err = place.Look(ctx); err != nil {
			return driver.Handle{}, failure.Wrap(err, "stop", id)
		}
	}
	gone, _, err := p.gone(ctx)
	switch {
	case err != nil:
		return driver.Handle{}, failure.Wrap(err, "stop", id)
	case gone && begun.Token == "":
		h.Found = "it was not running"
		return driver.NewHandle(handleVersion, h)
	case len(p.Stop) > 0:
		h.Command = true
		if err := p.run(ctx, place, req.Token, p.Stop); err != nil {
			return driver.Handle{}, failure.Wrap(err, "stop", id)
		}
		if err := place.Sweep(ctx, keepDays); err != nil {
			d.log.WarnContext(ctx, "old records of commands are left", "cause", err)
		}
	case !p.background():
		return driver.Handle{}, failure.New(failure.Invalid, "stop", id, "stop: is missing, and lifeboat did not start it itself").
			WithHint("say how it is stopped: stop: [systemctl, stop, NAME]")
	default:
		if _, err := p.home().Signal(ctx, "TERM", ""); err != nil {
			return driver.Handle{}, failure.Wrap(err, "stop", id)
		}
	}
	return driver.NewHandle(handleVersion, h)
}

// gone reports whether nothing of the program is left: no process of ours, and nothing that passes the probe.
func (p *program) gone(ctx context.Context) (gone bool, left string, err error) {
	if p.background() {
		st, err := p.home().Look(ctx)
		if err != nil {
			return false, "", err
		}
		if len(st.Running) > 0 {
			return false, "process " + hostproc.Pids(st.Running) + " runs", nil
		}
	}
	if !p.probed() {
		return true, "no process of it runs", nil
	}
	serves, detail, err := p.serves(ctx)
	if err != nil {
		return false, "", err
	}
	if serves {
		return false, "something still answers: " + detail, nil
	}
	return true, detail, nil
}

// observeStop looks whether p, whose stop was begun with h, is gone. It pushes on: what does not end in time is killed.
func (d *Driver) observeStop(ctx context.Context, p *program, place hostproc.Place, h handle) (driver.Observation, error) {
	id := string(p.target.Resource.ID)
	late := d.now().Sub(h.At) > p.stopWithin()
	obs, err := d.observeCommand(ctx, place, h, "stop")
	if err != nil {
		return driver.Observation{}, err
	}
	gone, left, err := p.gone(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "stop", id)
	}
	if gone && obs.State != driver.Pending {
		facts := []model.Fact{{Name: "gone", Value: left}}
		if h.Found != "" {
			facts = append(facts, model.Fact{Name: "stop", Value: "not needed: " + h.Found})
		}
		return driver.Observation{State: driver.Done, Phase: left, Evidence: facts}, nil
	}
	if !p.background() {
		if obs.State == driver.Failed {
			return obs, nil
		}
		return driver.Observation{State: driver.Pending, Phase: left, Again: again}, nil
	}
	signal := ""
	switch {
	case late:
		signal = "KILL"
	case obs.State == driver.Failed, h.Found != "": // the stop command did not help, or it came up meanwhile
		signal = "TERM"
	}
	if signal != "" {
		if _, err := p.home().Signal(ctx, signal, ""); err != nil {
			return driver.Observation{}, failure.Wrap(err, "stop", id)
		}
	}
	if signal == "KILL" {
		left += "; killed after " + p.stopWithin().String()
	}
	return driver.Observation{State: driver.Pending, Phase: left, Again: again}, nil
}

// looksAtKilled is how often a look asks, with a pause in between, whether what it has killed is gone.
const looksAtKilled = 50

// vanish waits until no process of ours runs, for as long as killed processes may take on a host that has much else to do.
func (p *program) vanish(ctx context.Context) error {
	for range looksAtKilled {
		st, err := p.home().Look(ctx)
		if err != nil || len(st.Running) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(again):
		}
	}
	return nil
}

// observeFence is observeStop that calls what it cannot prove by name.
func (d *Driver) observeFence(ctx context.Context, p *program, req driver.Request, h handle) (driver.Observation, error) {
	place, overdue := p.place("stop-"+h.Token), d.now().Sub(h.At) > 2*p.stopWithin()
	obs, err := d.observeStop(ctx, p, place, h)
	if err == nil && obs.State == driver.Pending && overdue && p.background() {
		// This look may have been the first one that killed: nobody may have looked for a while.
		if err = p.vanish(ctx); err == nil {
			obs, err = d.observeStop(ctx, p, place, h)
		}
	}
	if err != nil {
		if failure.KindOf(err) == failure.Unavailable {
			err = unproven(err, req.Resource.ID)
		}
		return obs, err
	}
	// Processes of ours that were killed are gone; what goes on answering is not ours to kill.
	if obs.State == driver.Pending && overdue {
		obs.State = driver.Failed
		obs.Err = unproven(failure.New(failure.Unavailable, "", "", "%s", obs.Phase), req.Resource.ID)
	}
	return obs, nil
}

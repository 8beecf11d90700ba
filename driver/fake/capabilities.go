package fake

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Fence lands a fence; Done makes the role fenced.
func (d *Driver) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Quiesce lands a stop; Done makes the role stopped.
func (d *Driver) Quiesce(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Promote lands a promotion; Done makes the role primary.
func (d *Driver) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Reverse lands a re-protection; Done makes the role standby.
func (d *Driver) Reverse(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Redirect lands a change of traffic.
func (d *Driver) Redirect(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Verify asks a question whose answer is in the script: polls says how often it is "not yet".
func (d *Driver) Verify(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// ReadMarker reads the newest marker that had reached the site, going by its lag.
func (d *Driver) ReadMarker(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Drill lands an isolated copy, which is [World.Left] until it is released.
func (d *Driver) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Release removes what req.Released names, going by its token.
func (d *Driver) Release(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if req.Released == nil {
		return driver.Handle{}, failure.New(failure.Invalid, "release", string(req.Resource.ID),
			"the request does not say what to release")
	}
	return d.begin(ctx, req)
}

// Capture lands a recovery point, which Points lists once it is done.
func (d *Driver) Capture(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Copy lands a copy of what was captured.
func (d *Driver) Copy(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Expire lands, and removes nothing.
func (d *Driver) Expire(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Restore lands a restore; Done makes the role stopped.
func (d *Driver) Restore(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Prove lands a proof of a point, which Points tells of once it is over. A script that makes it fail with the kind corrupt
// makes it a bad one. What it made is [World.Left] until it is released.
func (d *Driver) Prove(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// Ranges tells of one range, from the oldest point that was captured at the site until now.
func (d *Driver) Ranges(ctx context.Context, t driver.Target) ([]model.Range, error) {
	points, err := d.Points(ctx, t)
	if err != nil {
		return nil, err
	}
	r := model.Range{Resource: t.Resource.ID, Site: t.Site, ToTime: d.world.now().UTC()}
	for _, p := range slices.Backward(points) {
		if !p.Live {
			r.Points = append(r.Points, p.ID)
		}
	}
	if len(r.Points) == 0 {
		return nil, nil
	}
	r.FromTime = points[len(points)-1].At.UTC()
	r.From, r.To = r.FromTime.Format(time.RFC3339), r.ToTime.Format(time.RFC3339)
	return []model.Range{r}, nil
}

// Run lands a step of the user's own.
func (d *Driver) Run(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req)
}

// WriteMarker remembers m, unless the site of the target does not answer.
func (d *Driver) WriteMarker(ctx context.Context, t driver.Target, m model.Marker) error {
	c, err := d.open(ctx, t, "")
	if err != nil {
		return err
	}
	now := d.world.now()
	return c.ledger.Do(func(s *State) ([]Entry, error) {
		if c.at.Unreachable || s.down[t.Site] {
			return nil, unreachable(driver.Request{Target: t, Action: "write marker"})
		}
		return []Entry{{At: now, Marker: &MarkerEntry{App: t.App, Resource: t.Resource.ID, Marker: m}}}, nil
	})
}

// marker finds the newest marker from before an instant.
func (s *State) marker(app model.AppID, resource model.ResourceID, before time.Time) (model.Marker, bool) {
	for _, m := range slices.Backward(s.markers[place{app, resource, ""}]) {
		if !m.At.After(before) {
			return m, true
		}
	}
	return model.Marker{}, false
}

// Points lists what captures made at the site, newest first, and a standby as a point that moves by itself.
func (d *Driver) Points(ctx context.Context, t driver.Target) ([]model.Point, error) {
	c, err := d.open(ctx, t, "")
	if err != nil {
		return nil, err
	}
	now := d.world.now()
	var points []model.Point
	err = c.ledger.Do(func(s *State) ([]Entry, error) {
		if c.at.Unreachable || s.down[t.Site] {
			return nil, unreachable(driver.Request{Target: t, Action: "list points"})
		}
		p := place{t.App, t.Resource.ID, t.Site}
		role := s.role(p, now)
		if role == "" {
			role = c.at.Role
		}
		if role == model.RoleStandby {
			at := now
			if c.at.LagTime != nil {
				at = now.Add(-c.at.LagTime.Std())
			}
			points = append(points, model.Point{ID: "live", Resource: t.Resource.ID, Site: t.Site, At: at, Live: true,
				Summary: "make-believe standby"})
		}
		for _, e := range slices.Backward(s.at[p]) {
			if e.Action == model.ActionCapture && e.succeeded(now) {
				points = append(points, model.Point{ID: e.Token, Resource: t.Resource.ID, Site: t.Site, At: e.At,
					Summary: fmt.Sprintf("captured by step %s of run %s", e.Step, e.Run), Proof: s.proof(e.Token, now)})
			}
		}
		return nil, nil
	})
	return points, err
}

// proof is what the last proof of a point said, if it was proved; a failure that says nothing of the point is none.
func (s *State) proof(point string, now time.Time) *model.Proof {
	for _, e := range slices.Backward(s.Effects) {
		if e.Point != point || !e.over(now) || !e.Canceled.IsZero() {
			continue
		}
		p := &model.Proof{OK: e.Err == nil, At: e.EndsAt, By: e.Run, Site: e.Site, Took: model.Duration(e.EndsAt.Sub(e.At))}
		if e.Err == nil {
			return p
		}
		if e.Err.Kind == failure.Corrupt {
			p.What = e.Err.Message
			return p
		}
	}
	return nil
}

var (
	_ driver.Driver       = (*Driver)(nil)
	_ driver.Fencer       = (*Driver)(nil)
	_ driver.Quiescer     = (*Driver)(nil)
	_ driver.Promoter     = (*Driver)(nil)
	_ driver.Reverser     = (*Driver)(nil)
	_ driver.Redirector   = (*Driver)(nil)
	_ driver.Verifier     = (*Driver)(nil)
	_ driver.MarkerReader = (*Driver)(nil)
	_ driver.MarkerWriter = (*Driver)(nil)
	_ driver.Driller      = (*Driver)(nil)
	_ driver.Releaser     = (*Driver)(nil)
	_ driver.Capturer     = (*Driver)(nil)
	_ driver.Copier       = (*Driver)(nil)
	_ driver.Expirer      = (*Driver)(nil)
	_ driver.Restorer     = (*Driver)(nil)
	_ driver.Prover       = (*Driver)(nil)
	_ driver.Ranger       = (*Driver)(nil)
	_ driver.Runner       = (*Driver)(nil)
	_ driver.Canceler     = (*Driver)(nil)
	_ driver.Lister       = (*Driver)(nil)
)

package fake

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Streams reports whether the settings say so.
func (d *Driver) Streams(r model.Resource) bool {
	own, err := driver.Decode[Settings](r.Settings)
	return err == nil && own.Stream
}

// Stream says what LookAtStream says: what receives needs no keeping alive here.
func (d *Driver) Stream(ctx context.Context, req driver.StreamRequest) (model.Stream, error) {
	return d.LookAtStream(ctx, req.Target)
}

// LookAtStream tells of a stream that flows from the site that is primary to every other one, as far behind as the site's
// settings say. It needs a recovery point until one was captured.
func (d *Driver) LookAtStream(ctx context.Context, t driver.Target) (model.Stream, error) {
	seen, err := d.Describe(ctx, t)
	if err != nil {
		return model.Stream{}, err
	}
	if seen.Role == model.RoleUnreachable {
		return model.Stream{}, unreachable(driver.Request{Target: t, Action: "look at stream"})
	}
	out := model.Stream{Resource: t.Resource.ID, Site: t.Site, At: seen.At, State: model.StreamWaiting, Summary: "nothing serves"}
	if seen.Role == model.RolePrimary {
		out.State, out.Summary = model.StreamStopped, "this site serves"
		return out, nil
	}
	for site := range t.Resource.Sites {
		from := t
		from.Site = site
		other, err := d.Describe(ctx, from)
		if err != nil {
			return out, err
		}
		if other.Role != model.RolePrimary {
			continue
		}
		_, at, err := driver.SettingsOf[Settings, Site](t, t.Site)
		if err != nil {
			return out, err
		}
		bytes, lag := int64(0), model.Duration(0)
		if at.LagBytes != nil {
			bytes = *at.LagBytes
		}
		if at.LagTime != nil {
			lag = *at.LagTime
		}
		out.State, out.From, out.Summary = model.StreamFlowing, site, "make-believe, from "+string(site)
		out.LagBytes, out.LagTime, out.Sync, out.Position = &bytes, &lag, at.Sync, seen.At.Format(time.RFC3339Nano)
		points, err := d.Points(ctx, from)
		if err != nil {
			return out, failure.Wrap(err, "look at stream", string(t.Resource.ID))
		}
		if len(points) == 0 {
			out.NeedsPoint = "no recovery point was made yet"
		}
	}
	return out, nil
}

// StopStream has nothing to stop.
func (d *Driver) StopStream(ctx context.Context, t driver.Target) error {
	_, err := d.open(ctx, t, "")
	return err
}

var _ driver.Streamer = (*Driver)(nil)

package aurora

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// Drill makes a snapshot of the site's own member: that the copy which follows can be brought up is what it shows.
func (d *Driver) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if err := p.needsDrill("drill"); err != nil {
		return driver.Handle{}, err
	}
	tags := awsbase.OriginOf(req).Tags(map[string]string{snapshots.TagPassing: "drill"})
	if err := p.makeSnapshot(ctx, p.drillSnapshot(req.Token), tags); err != nil {
		return driver.Handle{}, failure.Wrap(err, "drill", p.subject)
	}
	return driver.NewHandle(handleVersion, handle{Action: req.Action})
}

// drill brings a snapshot up apart.
func (w *work) drill(ctx context.Context, h handle) (driver.Observation, error) {
	if err := w.here.needsDrill("drill"); err != nil {
		return driver.Observation{}, err
	}
	v, err := w.here.look(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	from := h.Point
	if w.here.s.Global != "" {
		from = w.here.drillSnapshot(w.req.Token)
	}
	l := w.apart("drill", from)
	if l.class, err = w.here.drillClass(v); err != nil {
		return driver.Observation{}, err
	}
	return w.raise(ctx, l)
}

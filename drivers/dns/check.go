package dns

import (
	"context"
	"fmt"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// longTTL is from when on a TTL is worth a warning: a failover that takes seconds is not felt for as long as caches
// send clients to the old place.
const longTTL = 60 * time.Second

// Check asks every server and tries the key with an update that changes nothing.
func (d *Driver) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	if unfilled(req.Target) {
		return nil, nil // an earlier step will say the values
	}
	w, err := d.work(ctx, req.Target)
	if err != nil {
		return nil, err
	}
	f := &findings{req: req}
	replies := w.c.askAll(ctx)
	if ctx.Err() != nil {
		return nil, failure.Wrap(context.Cause(ctx), "check", string(req.Resource.ID))
	}
	primary := replies[0]
	if primary.err != nil {
		f.err(primary.err, "dns-primary", "the record cannot be changed without it")
	} else {
		d.checkRecord(w, primary, f)
		if err := w.c.update(ctx, w.c.trial(primary.set, w.want)); err != nil {
			f.err(err, "dns-update", "the update would fail in the same way")
		}
	}
	for _, r := range replies[1:] {
		switch {
		case r.err != nil:
			f.add(model.Warn, "dns-secondary", r.err.Error(), "clients that ask it are not moved, or not verified to be",
				failure.HintOf(r.err))
		case primary.err == nil && !sameSet(r.set, primary.set):
			f.add(model.Warn, "dns-secondary-lags", fmt.Sprintf("%s serves %s (serial %d), the primary %s (serial %d)",
				r.server, valuesOf(r.set), r.serial, valuesOf(primary.set), primary.serial),
				"the switch waits until it has caught up", "let the primary notify it: also-notify")
		}
	}
	if w.s.TSIG == nil {
		f.add(model.Warn, "dns-unsigned", "updates are not signed", "whoever can send from an allowed address can move "+
			"the clients", "make a key with tsig-keygen and name it under tsig")
	}
	return f.list, nil
}

// checkRecord judges what the primary serves.
func (d *Driver) checkRecord(w *work, r reply, f *findings) {
	if err := inTheWay(r, &w.s); err != nil {
		f.err(err, "dns-other-type", "servers drop such an update without a word")
		return
	}
	ttl := time.Duration(r.ttl) * time.Second
	switch {
	case len(r.set) == 0:
		f.add(model.Note, "dns-absent", "the record does not exist and will be made",
			fmt.Sprintf("caches may remember its absence for %s", ttl), "")
	case sameSet(r.set, w.want):
		f.add(model.Note, "dns-already", "the record holds the site's values already", "", "")
	case !ofSomeSite(f.req.Target, &w.s, r.set):
		severity := model.Block
		if f.req.Mode == model.Unplanned || f.req.Force {
			severity = model.Warn
		}
		f.add(severity, "dns-foreign", fmt.Sprintf("the record holds %s, which are the values of no site", valuesOf(r.set)),
			"somebody else has changed it, and this would undo that", "put a site's values back, or force the step")
	}
	switch {
	case ttl > longTTL:
		f.add(model.Warn, "dns-ttl", fmt.Sprintf("the record's TTL at the server is %s", ttl),
			"clients may hold the old answer that long after the switch",
			"lower it now: the next switch writes the ttl of the settings, resolvers see it after "+ttl.String())
	case ttl > 0 && len(r.set) > 0:
		f.add(model.Note, "dns-ttl", fmt.Sprintf("clients may hold the old answer for %s after the switch", ttl), "", "")
	}
	if w.s.ttl() > longTTL {
		f.add(model.Warn, "dns-ttl-setting", fmt.Sprintf("the settings ask for a TTL of %s", w.s.ttl()),
			"the way back would take clients that long to notice", "set ttl to 30s or less")
	}
}

// ofSomeSite reports whether set holds the values of one of the resource's sites, or may do so: values that come from
// another resource's outputs are not known here.
func ofSomeSite(t driver.Target, s *Settings, set []mdns.RR) bool {
	for site, raw := range t.Resource.Sites {
		if len(driver.Refs(raw)) > 0 {
			return true
		}
		_, at, err := driver.SettingsOf[Settings, Site](t, site)
		if err != nil {
			continue
		}
		if want, err := s.records(at.Values); err == nil && sameSet(set, want) {
			return true
		}
	}
	return false
}

// unfilled reports whether the settings wait for an output of an earlier step.
func unfilled(t driver.Target) bool {
	return len(driver.Refs(t.Resource.Settings)) > 0 || len(driver.Refs(t.Resource.Sites[t.Site])) > 0
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

// err adds what makes the step fail.
func (f *findings) err(err error, code, why string) {
	f.add(model.Block, code, err.Error(), why, failure.HintOf(err))
}

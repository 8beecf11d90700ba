package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// handle is what a redirect leaves for its observation.
type handle struct {
	ChangedAt time.Time `json:"changed_at"`          // when the primary had taken the update, by our clock
	Old       []string  `json:"old"`                 // the values before
	OldTTL    uint32    `json:"old_ttl"`             // seconds
	Unchanged bool      `json:"unchanged,omitempty"` // there was nothing to change
}

// was are the values before, as valuesOf writes them.
func (h handle) was() string {
	if len(h.Old) == 0 {
		return nothing
	}
	return strings.Join(slices.Sorted(slices.Values(h.Old)), ", ")
}

// work is everything about one request.
type work struct {
	s    Settings
	want []mdns.RR
	c    *client
}

func (d *Driver) work(ctx context.Context, t driver.Target) (*work, error) {
	if err := ctx.Err(); err != nil {
		return nil, failure.Wrap(err, "", string(t.Resource.ID))
	}
	s, at, err := driver.SettingsOf[Settings, Site](t, t.Site)
	if err != nil {
		return nil, err
	}
	if len(at.Values) == 0 {
		return nil, failure.New(failure.Invalid, "", string(t.Resource.ID), "values: there are none for site %s", t.Site).
			WithHint("add sites.%s.values to the resource", t.Site)
	}
	w := &work{s: s}
	if w.want, err = s.records(at.Values); err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "", string(t.Resource.ID)+" at "+string(t.Site))
	}
	w.c, err = d.newClient(ctx, &w.s)
	return w, err
}

// Redirect replaces the record set by the site's values. The update carries the condition that the set still is what
// was read a moment before: when somebody else changed it in between, nothing happens and the error is Conflict.
//
// It needs no memory of its token: a set that holds the values already is left alone, so that a second begin after a
// lost answer finds the first one's work. When the answer to the update is lost, the primary is asked what it serves;
// only if that does not show the new values the error is Indeterminate.
func (d *Driver) Redirect(ctx context.Context, req driver.Request) (driver.Handle, error) {
	w, err := d.work(ctx, req.Target)
	if err != nil {
		return driver.Handle{}, err
	}
	before := w.c.ask(ctx, w.s.Servers[0])
	if before.err != nil {
		return driver.Handle{}, failure.Wrap(before.err, "redirect", string(req.Resource.ID))
	}
	if err := inTheWay(before, &w.s); err != nil {
		return driver.Handle{}, err
	}
	h := handle{OldTTL: before.ttl}
	for _, rr := range before.set {
		h.Old = append(h.Old, value(rr))
	}
	if sameSet(before.set, w.want) && before.ttl == w.want[0].Header().Ttl {
		h.Unchanged, h.ChangedAt = true, d.now()
		return driver.NewHandle(handleVersion, h)
	}
	err = w.c.update(ctx, w.c.replacement(before.set, w.want))
	if err != nil && failure.KindOf(err) == failure.Indeterminate && ctx.Err() == nil {
		if after := w.c.ask(ctx, w.s.Servers[0]); after.err == nil && sameSet(after.set, w.want) {
			d.log.InfoContext(ctx, "the answer to a DNS update was lost, but it has happened", "name", w.s.Name, "cause", err)
			err = nil
		}
	}
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "redirect", string(req.Resource.ID))
	}
	h.ChangedAt = d.now()
	return driver.NewHandle(handleVersion, h)
}

// inTheWay finds a CNAME where another type is wanted: servers drop an update that would stand beside it, silently.
func inTheWay(r reply, s *Settings) error {
	if len(r.other) == 0 {
		return nil
	}
	return failure.New(failure.Invalid, "redirect", mdns.Fqdn(s.Name), "a record of another type is in the way: %s",
		strings.Join(strings.Fields(r.other[0].String()), " ")).
		WithHint("remove it, or write type: %s", mdns.TypeToString[r.other[0].Header().Rrtype])
}

// Observe asks every server. It is Done when all that answer serve the new values, the primary among them. A server
// that does not answer at all is waited for, except in an unplanned move: then it may be lost with its site, sends
// nobody anywhere, and the evidence says that it was not verified.
func (d *Driver) Observe(ctx context.Context, req driver.Request, dh driver.Handle) (driver.Observation, error) {
	h, err := driver.ReadHandle[handle](handleVersion, dh)
	if err != nil {
		return driver.Observation{}, err
	}
	w, err := d.work(ctx, req.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	replies := w.c.askAll(ctx)
	if ctx.Err() != nil {
		return driver.Observation{}, failure.Wrap(context.Cause(ctx), "observe", string(req.Resource.ID))
	}
	var waiting []string
	good := 0
	for i, r := range replies {
		switch {
		case r.err != nil && (i == 0 || req.Mode != model.Unplanned || failure.KindOf(r.err) != failure.Unavailable):
			waiting = append(waiting, r.err.Error())
		case r.err != nil:
		case sameSet(r.set, w.want):
			good++
		case i == 0 && valuesOf(r.set) != h.was():
			return changedAgain(w, r), nil
		default:
			waiting = append(waiting, fmt.Sprintf("%s still serves %s (serial %d)", r.server, valuesOf(r.set), r.serial))
		}
	}
	if len(waiting) > 0 {
		return driver.Observation{
			State: driver.Pending, Again: again,
			Phase: fmt.Sprintf("%d of %d servers serve %s; %s", good, len(replies), valuesOf(w.want), strings.Join(waiting, "; ")),
		}, nil
	}
	return d.done(w, h, replies), nil
}

// changedAgain judges a primary that took our update and serves something that is neither new nor old: somebody
// changed the record after us. One that still serves the old values may have an answer cache, and is waited for.
func changedAgain(w *work, r reply) driver.Observation {
	return driver.Observation{State: driver.Failed, Err: failure.New(failure.Conflict, "redirect", mdns.Fqdn(w.s.Name),
		"%s took the update and now serves %s instead of %s", r.server, valuesOf(r.set), valuesOf(w.want)).
		WithHint("somebody else is changing the record: find out who before you retry")}
}

// done makes the evidence. There are no outputs: when the change happened is known to the begin that made it alone, and
// a begin that is repeated after a crash finds it made. Caches may have asked a lagging secondary until it was seen to serve the new values, so
// with several servers the old answer's time counts from now.
func (d *Driver) done(w *work, h handle, replies []reply) driver.Observation {
	old := time.Duration(h.OldTTL) * time.Second
	last := h.ChangedAt
	if len(replies) > 1 {
		last = d.now()
	}
	safe := last.Add(old)
	evidence := []model.Fact{{Name: "values", Value: valuesOf(w.want)}, {Name: "values before", Value: h.was()},
		{Name: "ttl before", Value: old.String()}, {Name: "ttl", Value: w.s.ttl().String()}}
	if h.Unchanged {
		evidence = append(evidence, model.Fact{Name: "update", Value: "not needed: the record held the values already"})
	} else {
		evidence = append(evidence, model.Fact{Name: "changed_at", Value: h.ChangedAt.UTC().Format(time.RFC3339Nano)},
			model.Fact{Name: "safe_at", Value: safe.UTC().Format(time.RFC3339Nano)},
			model.Fact{Name: "caches", Value: "may hold the old answer until " + safe.UTC().Format(time.RFC3339)})
	}
	for _, r := range replies {
		seen := fmt.Sprintf("serves it, serial %d", r.serial)
		if r.err != nil {
			seen = "not verified: " + r.err.Error()
		}
		evidence = append(evidence, model.Fact{Name: "server " + r.server, Value: seen})
	}
	return driver.Observation{State: driver.Done, Evidence: evidence}
}

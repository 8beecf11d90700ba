package dns

import (
	"context"
	"fmt"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Describe asks every server. The site whose values the primary serves is RolePrimary and the others are RoleStandby;
// without a record all are RoleAbsent. When the primary does not answer, the first server that does is believed, and
// the record is not healthy.
func (d *Driver) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	desc := model.Description{Resource: t.Resource.ID, Site: t.Site}
	if unfilled(t) {
		desc.At, desc.Role, desc.Summary = d.now(), model.RoleUnknown, "the values come from a step that has not run"
		return desc, nil
	}
	w, err := d.work(ctx, t)
	if err != nil {
		return desc, err
	}
	replies := w.c.askAll(ctx)
	desc.At = d.now()
	seen, ok := find(replies)
	if !ok {
		desc.Role, desc.Summary = model.RoleUnreachable, replies[0].err.Error()
		return desc, nil
	}
	desc.Healthy = true
	agree := 0
	for _, r := range replies {
		switch {
		case r.err != nil:
			desc.Facts = append(desc.Facts, model.Fact{Name: "server " + r.server, Value: r.err.Error()})
		default:
			desc.Facts = append(desc.Facts, model.Fact{Name: "server " + r.server,
				Value: fmt.Sprintf("serves %s, ttl %ds, serial %d", valuesOf(r.set), r.ttl, r.serial)})
		}
		if r.err == nil && sameSet(r.set, seen.set) {
			agree++
		}
	}
	desc.Healthy = agree == len(replies)
	name := mdns.Fqdn(w.s.Name) + " " + w.s.Type
	switch {
	case len(seen.set) == 0:
		desc.Role, desc.Healthy, desc.Summary = model.RoleAbsent, false, name+" does not exist"
	case sameSet(seen.set, w.want):
		desc.Role = model.RolePrimary
		desc.Summary = fmt.Sprintf("%s is %s, ttl %s", name, valuesOf(seen.set), time.Duration(seen.ttl)*time.Second)
	default:
		desc.Role = model.RoleStandby
		desc.Summary = fmt.Sprintf("%s is %s, here it would be %s", name, valuesOf(seen.set), valuesOf(w.want))
	}
	if agree < len(replies) {
		desc.Summary += fmt.Sprintf("; %d of %d servers say so", agree, len(replies))
	}
	return desc, nil
}

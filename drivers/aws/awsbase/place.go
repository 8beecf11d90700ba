package awsbase

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Sited are a driver's settings of one site, which say where in AWS that is.
type Sited interface{ Where() Access }

// Place is a resource at one of its sites.
type Place[R any, S Sited] struct {
	Settings R // the resource's own
	At       S // those of the site
	Session  *Session
}

// PlaceOf reads what a target's settings say of a site, and opens the session there. Nothing is asked yet. A site of which nothing is
// said is failure.Invalid.
func PlaceOf[R any, S Sited](ctx context.Context, b *Base, t driver.Target, site model.SiteID) (p Place[R, S], err error) {
	subject := string(t.Resource.ID)
	switch {
	case ctx.Err() != nil:
		return p, failure.Wrap(ctx.Err(), "", subject)
	case len(t.Resource.Sites[site]) == 0:
		return p, failure.New(failure.Invalid, "", subject, "nothing is said about it at site %s", site).WithHint("add sites.%s to the resource", site)
	}
	if p.Settings, p.At, err = driver.SettingsOf[R, S](t, site); err != nil {
		return p, err
	}
	p.Session, err = b.Session(ctx, p.At.Where())
	return p, failure.Wrap(err, "", subject+" at "+string(site))
}

// Others opens the target's other sites, in their order.
func Others[P any](ctx context.Context, t driver.Target, open func(context.Context, driver.Target, model.SiteID) (P, error)) ([]P, error) {
	var out []P
	for _, id := range t.Resource.SiteIDs() {
		if id == t.Site {
			continue
		}
		p, err := open(ctx, t, id)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Apart finds sites of a resource that are in one region, or in several accounts; why says what needs a region for each.
func Apart[S Sited](r model.Resource, why string) error {
	seen := map[string]model.SiteID{}
	var first Access
	ids := r.SiteIDs()
	for n, id := range ids {
		site, err := driver.Decode[S](r.Sites[id])
		if err != nil {
			return err
		}
		at := site.Where()
		if n == 0 {
			first = at
		}
		if other, ok := seen[at.Region]; ok {
			return fmt.Errorf("sites.%s.aws.region: %s is the region of site %s too: %s", id, at.Region, other, why)
		}
		if at.Account != first.Account {
			return fmt.Errorf("sites.%s.aws.account: is another one than that of site %s: snapshots are copied within one account", id, ids[0])
		}
		seen[at.Region] = id
	}
	return nil
}

// Things are what the sites of a resource are, for [driver.Owner]: name gives what a site calls it.
func Things[S Sited](r model.Resource, name func(S) string) (all []string) {
	for _, id := range r.SiteIDs() {
		if site, err := driver.Decode[S](r.Sites[id]); err == nil {
			at := site.Where()
			all = append(all, fmt.Sprintf("%s in %s of account %s", name(site), at.Region, at.Account))
		}
	}
	return all
}

// Undescribed is the description of what could not be looked at: a region that does not answer is a role, and anything else an error,
// which is the caller's own when it is ctx's.
func Undescribed(ctx context.Context, desc model.Description, err error) (model.Description, error) {
	desc.At = time.Now()
	kind := failure.KindOf(err)
	if ctx.Err() != nil || kind != failure.Unavailable && kind != failure.Throttled && kind != failure.Canceled {
		return desc, failure.Wrap(err, "describe", string(desc.Resource)+" at "+string(desc.Site))
	}
	desc.Role, desc.Summary = model.RoleUnreachable, OneLine(err.Error())
	return desc, nil
}

// idForm is what identifiers of RDS and ElastiCache look like (their API References, CreateDBInstance and CreateReplicationGroup).
var idForm = regexp.MustCompile(`^[A-Za-z](-?[A-Za-z0-9])*$`)

// ValidID says what is wrong with an identifier in a field of settings, which is at most limit long. One that an earlier step will
// say is right.
func ValidID(field, id string, limit int) error {
	switch {
	case id == "":
		return fmt.Errorf("%s: is missing", field)
	case !driver.Unfilled(id) && (len(id) > limit || !idForm.MatchString(id)):
		return fmt.Errorf("%s: %q is no identifier: up to %d letters, digits and single hyphens, a letter first", field, id, limit)
	}
	return nil
}

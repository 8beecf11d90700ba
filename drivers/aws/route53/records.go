package route53

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// work is everything about one request.
type work struct {
	t      driver.Target
	s      Settings
	at     Site
	client *sdk.Client
	zone   string
}

func (d *Driver) work(ctx context.Context, t driver.Target) (*work, error) {
	p, err := awsbase.PlaceOf[Settings, Site](ctx, d.base, t, t.Site)
	if err != nil {
		return nil, err
	}
	s, at := p.Settings, p.At
	for _, name := range s.Names {
		target := at.target(name)
		err := target.validate()
		if err == nil {
			err = target.fits(s.Type)
		}
		if err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "", string(t.Resource.ID)+" at "+string(t.Site))
		}
	}
	return &work{t: t, s: s, at: at, client: sdk.NewFromConfig(p.Session.Config("route53"))}, nil
}

// findZone finds the zone's id. A zone that is named by its id is asked for nothing.
func (w *work) findZone(ctx context.Context) error {
	if w.zone = zoneID(w.s.Zone); w.zone != "" {
		return nil
	}
	out, err := w.client.ListHostedZonesByName(ctx, &sdk.ListHostedZonesByNameInput{DNSName: &w.s.Zone})
	if err != nil {
		return failure.Wrap(err, "find zone", w.s.Zone)
	}
	var found []string
	for _, z := range out.HostedZones { // in the order of their names, from the one that was asked for
		if aws.ToString(z.Name) == dotted(w.s.Zone) && (z.Config != nil && z.Config.PrivateZone) == w.s.Private {
			found = append(found, strings.TrimPrefix(aws.ToString(z.Id), "/hostedzone/"))
		}
	}
	sort := map[bool]string{false: "public", true: "private"}[w.s.Private]
	switch len(found) {
	case 0:
		return failure.New(failure.NotFound, "find zone", w.s.Zone, "the account %s has no %s zone of that name", w.at.AWS.Account, sort).
			WithHint("aws route53 list-hosted-zones; a zone of another account needs a role there under aws.roles")
	case 1:
		w.zone = found[0]
		return nil
	}
	return failure.New(failure.Invalid, "find zone", w.s.Zone, "there are %d %s zones of that name: %s", len(found), sort, strings.Join(found, ", ")).
		WithHint("write the id of the right one under zone")
}

// look reads all records of the names, whatever their type.
func (w *work) look(ctx context.Context) ([]types.ResourceRecordSet, error) {
	if w.zone == "" {
		if err := w.findZone(ctx); err != nil {
			return nil, err
		}
	}
	var all []types.ResourceRecordSet
	for _, name := range w.s.Names {
		in := &sdk.ListResourceRecordSetsInput{HostedZoneId: &w.zone, StartRecordName: aws.String(dotted(name))}
		for more := true; more; {
			out, err := w.client.ListResourceRecordSets(ctx, in)
			if err != nil {
				return nil, failure.Wrap(err, "look at", plain(name))
			}
			more = out.IsTruncated
			for _, r := range out.ResourceRecordSets {
				if len(r.ResourceRecords) == 0 {
					r.ResourceRecords = nil // an alias has none, and a list without members is refused in a change
				}
				if aws.ToString(r.Name) != dotted(name) {
					more = false
					break
				}
				all = append(all, r)
			}
			in.StartRecordName, in.StartRecordType, in.StartRecordIdentifier = out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier
		}
	}
	return all, nil
}

// step is one record of a change: what is there, and what is to be there.
type step struct{ old, want *types.ResourceRecordSet }

// steps are what makes the names stand for the site: its own records, and those of the other sites that step back. Their error is
// what stands in the way.
func (w *work) steps(seen []types.ResourceRecordSet) ([]step, error) {
	var all []step
	for _, name := range w.s.Names {
		own := w.own(name)
		mine := step{want: own}
		for i := range seen {
			r := &seen[i]
			if aws.ToString(r.Name) != *own.Name {
				continue
			}
			if err := w.inTheWay(r); err != nil {
				return nil, err
			}
			switch id := aws.ToString(r.SetIdentifier); {
			case string(r.Type) != w.s.Type:
			case id == aws.ToString(own.SetIdentifier):
				mine.old = r
				if w.s.policy() != simple && own.HealthCheckId == nil {
					own.HealthCheckId = r.HealthCheckId
				}
			case w.siteOf(id) != "":
				all = append(all, step{old: r, want: w.back(*r)})
			}
		}
		all = append(all, mine)
	}
	return all, nil
}

// own is the record of the site for a name, as it is while clients belong there.
func (w *work) own(name string) *types.ResourceRecordSet {
	r := &types.ResourceRecordSet{Name: aws.String(dotted(name)), Type: types.RRType(w.s.Type)}
	if t := w.at.target(name); t.Alias != nil {
		r.AliasTarget = &types.AliasTarget{DNSName: aws.String(dotted(t.Alias.Name)), HostedZoneId: aws.String(zoneID(t.Alias.Zone)), EvaluateTargetHealth: t.Alias.Evaluate}
	} else {
		r.TTL = aws.Int64(int64(w.s.ttl() / time.Second))
		for _, v := range t.Values {
			r.ResourceRecords = append(r.ResourceRecords, types.ResourceRecord{Value: aws.String(v)})
		}
	}
	if w.s.policy() == simple {
		return r
	}
	r.SetIdentifier = aws.String(w.at.identifier(w.t.Site))
	if w.at.HealthCheck != "" {
		r.HealthCheckId = &w.at.HealthCheck
	}
	if w.s.policy() == weighted {
		r.Weight = aws.Int64(w.at.weight())
	} else {
		r.Failover = types.ResourceRecordSetFailoverPrimary
	}
	return r
}

// back is another site's record as it is while clients do not belong there.
func (w *work) back(r types.ResourceRecordSet) *types.ResourceRecordSet {
	if w.s.policy() == weighted {
		r.Weight = aws.Int64(0)
	} else {
		r.Failover = types.ResourceRecordSetFailoverSecondary
	}
	return &r
}

// siteOf is the other site whose records have a set identifier, or "".
func (w *work) siteOf(identifier string) model.SiteID {
	for site, raw := range w.t.Resource.Sites {
		at, err := driver.Decode[Site](raw)
		if err == nil && site != w.t.Site && at.identifier(site) == identifier {
			return site
		}
	}
	return ""
}

// inTheWay says why a record does not let ours be beside it or instead of it.
func (w *work) inTheWay(r *types.ResourceRecordSet) error {
	name := plain(aws.ToString(r.Name))
	switch {
	case string(r.Type) != w.s.Type && (r.Type == types.RRTypeCname || w.s.Type == "CNAME"):
		return failure.New(failure.Invalid, "redirect", name, "a record of another type is in the way: %s", show(r)).
			WithHint("remove it, or write type: %s", r.Type)
	case string(r.Type) != w.s.Type:
		return nil
	case policyOf(r) != w.s.policy():
		return failure.New(failure.Invalid, "redirect", name, "a record of another policy is in the way: %s", show(r)).
			WithHint("records of one name and type have one policy: remove it, or write policy: %s if that is one of %s", policyOf(r), strings.Join(policies, ", "))
	case w.s.policy() == failover && aws.ToString(r.SetIdentifier) != w.at.identifier(w.t.Site) && w.siteOf(aws.ToString(r.SetIdentifier)) == "" &&
		(r.Failover == types.ResourceRecordSetFailoverPrimary || len(w.t.Resource.Sites) > 1):
		return failure.New(failure.Invalid, "redirect", name, "a failover record of no site is in the way: %s", show(r)).
			WithHint("set identifier at the site that it belongs to, or remove it")
	}
	return nil
}

// policyOf is how Route 53 chooses a record, as its console names it.
func policyOf(r *types.ResourceRecordSet) string {
	switch {
	case aws.ToString(r.SetIdentifier) == "":
		return simple
	case r.Weight != nil:
		return weighted
	case r.Failover != "":
		return failover
	case r.Region != "":
		return "latency"
	case r.MultiValueAnswer != nil:
		return "multivalue answer"
	case r.CidrRoutingConfig != nil:
		return "IP-based"
	}
	return "geolocation or geoproximity"
}

// done reports whether a step has nothing to change.
func (s step) done() bool { return s.old != nil && same(s.old, s.want) }

// same compares records in everything that this driver sets.
func same(a, b *types.ResourceRecordSet) bool {
	return sameTarget(a, b) && aws.ToInt64(a.TTL) == aws.ToInt64(b.TTL) && aws.ToInt64(a.Weight) == aws.ToInt64(b.Weight) &&
		(a.Weight == nil) == (b.Weight == nil) && a.Failover == b.Failover && aws.ToString(a.HealthCheckId) == aws.ToString(b.HealthCheckId)
}

// sameTarget compares what records stand for.
func sameTarget(a, b *types.ResourceRecordSet) bool {
	if a == nil || b == nil || (a.AliasTarget == nil) != (b.AliasTarget == nil) {
		return false
	}
	if a.AliasTarget != nil {
		return aws.ToString(a.AliasTarget.HostedZoneId) == aws.ToString(b.AliasTarget.HostedZoneId) &&
			dotted(aws.ToString(a.AliasTarget.DNSName)) == dotted(aws.ToString(b.AliasTarget.DNSName)) && a.AliasTarget.EvaluateTargetHealth == b.AliasTarget.EvaluateTargetHealth
	}
	return slices.Equal(valuesOf(a), valuesOf(b))
}

// valuesOf are a record's values, sorted, without what does not matter in them.
func valuesOf(r *types.ResourceRecordSet) []string {
	var all []string
	for _, v := range r.ResourceRecords {
		text := strings.Join(strings.Fields(aws.ToString(v.Value)), " ")
		if r.Type == types.RRTypeCname || r.Type == types.RRTypeSrv {
			text = strings.TrimSuffix(strings.ToLower(text), ".")
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

// show is a record for people.
func show(r *types.ResourceRecordSet) string {
	if r == nil {
		return "nothing"
	}
	text := string(r.Type) + " " + strings.Join(valuesOf(r), ", ")
	if r.AliasTarget != nil {
		text = string(r.Type) + " alias of " + plain(aws.ToString(r.AliasTarget.DNSName))
	}
	if id := aws.ToString(r.SetIdentifier); id != "" {
		text += " (" + id
		switch {
		case r.Weight != nil:
			text += fmt.Sprintf(", weight %d", *r.Weight)
		case r.Failover != "":
			text += ", " + strings.ToLower(string(r.Failover))
		default:
			text += ", " + policyOf(r)
		}
		text += ")"
	}
	return text
}

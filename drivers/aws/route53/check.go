package route53

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Check reads the records and says what would come of the change. Whether it would be allowed shows only when it is made: Route 53
// has no trial.
func (d *Driver) Check(ctx context.Context, req driver.Request) ([]model.Finding, error) {
	w, err := d.work(ctx, req.Target)
	if err != nil {
		return nil, err
	}
	if unfilled(req.Target) {
		return nil, nil // an earlier step will say the values
	}
	f := &findings{req: req}
	seen, err := w.look(ctx)
	if ctx.Err() != nil {
		return nil, failure.Wrap(context.Cause(ctx), "check", string(req.Resource.ID))
	}
	if err != nil {
		code := "route53-zone"
		if failure.KindOf(err) == failure.Unavailable {
			code = "route53-unreachable"
		}
		f.err(err, code, "the records cannot be changed")
		return f.list, nil
	}
	steps, err := w.steps(seen)
	if err != nil {
		f.err(err, "route53-in-the-way", "Route 53 would refuse the change")
		return f.list, nil
	}
	w.checkSteps(f, steps)
	w.checkOthers(f, seen)
	if ttl := w.s.ttl(); ttl > w.s.stale() {
		f.add(model.Warn, "route53-ttl-setting", fmt.Sprintf("the settings ask for a TTL of %s, more than the %s of the RTO that stale allows", ttl, w.s.stale()),
			"the way back would take clients that long to notice", "set ttl to 30s or less")
	}
	return f.list, nil
}

// checkSteps judges the records that the change touches.
func (w *work) checkSteps(f *findings, steps []step) {
	absent := 0
	for _, s := range steps {
		if s.old == nil {
			absent++
			continue
		}
		name := plain(*s.want.Name)
		if w.s.policy() == simple && !w.ofSomeSite(s) {
			severity := model.Block
			if f.req.Mode == model.Unplanned || f.req.Force {
				severity = model.Warn
			}
			f.add(severity, "route53-foreign", fmt.Sprintf("%s is %s, which is that of no site", name, show(s.old)),
				"somebody else has changed it, and this would undo that", "put a site's values back, or force the step")
		}
		if w.s.policy() == simple && aws.ToString(s.old.HealthCheckId) != "" {
			f.add(model.Warn, "route53-health-check", fmt.Sprintf("%s has the health check %s, which the new record will not have", name, *s.old.HealthCheckId),
				"a health check watches an address of the old site", "remove it, or use policy: failover")
		}
		if ttl := time.Duration(aws.ToInt64(s.old.TTL)) * time.Second; ttl > w.s.stale() {
			f.add(model.Warn, "route53-ttl", fmt.Sprintf("%s has a TTL of %s, more than the %s of the RTO that stale allows", name, ttl, w.s.stale()),
				"clients may hold the old answer that long after the switch", "lower it now: resolvers see it after "+ttl.String())
		}
		if s.want.Failover == types.ResourceRecordSetFailoverPrimary {
			w.checkPrimary(f, s)
		}
	}
	switch {
	case allDone(steps):
		f.add(model.Note, "route53-already", "the records are those of the site already", "", "")
	case absent > 0:
		f.add(model.Note, "route53-absent", plural(absent, "record")+" will be made, where there is none", "", "")
	}
}

// checkPrimary looks for what keeps Route 53 from answering with a failover record although it is the primary.
func (w *work) checkPrimary(f *findings, s step) {
	name := plain(*s.want.Name)
	if id := aws.ToString(s.want.HealthCheckId); id != "" {
		f.add(model.Warn, "route53-health-check", fmt.Sprintf("the record of %s for this site has the health check %s", name, id),
			"until that passes, Route 53 answers with the secondary: clients stay where they were",
			"aws route53 get-health-check-status --health-check-id "+id+"; let it watch what this site will serve, or remove it from the record")
	}
	if s.want.AliasTarget != nil && s.want.AliasTarget.EvaluateTargetHealth {
		f.add(model.Warn, "route53-target-health", fmt.Sprintf("the alias of %s for this site evaluates its target's health", name),
			"until the target is healthy, Route 53 answers with the secondary", "set alias.evaluate to false to decide by Lifeboat alone")
	}
}

// checkOthers looks for weighted records that draw clients to where no site of the resource is.
func (w *work) checkOthers(f *findings, seen []types.ResourceRecordSet) {
	for i := range seen {
		r := &seen[i]
		id := aws.ToString(r.SetIdentifier)
		if string(r.Type) == w.s.Type && w.s.policy() == weighted && aws.ToInt64(r.Weight) > 0 && id != w.at.identifier(w.t.Site) && w.siteOf(id) == "" {
			f.add(model.Warn, "route53-other-weights", fmt.Sprintf("%s has a record of no site: %s", plain(aws.ToString(r.Name)), show(r)),
				"it goes on drawing clients, and is not touched", "set its weight to 0, or name its identifier at a site")
		}
	}
}

// ofSomeSite reports whether a record stands for what one of the resource's sites says, or may do so: values that come from other
// resources' outputs are not known here.
func (w *work) ofSomeSite(s step) bool {
	for site, raw := range w.t.Resource.Sites {
		at, err := driver.Decode[Site](raw)
		if err != nil || len(driver.Refs(raw)) > 0 {
			return true
		}
		other := *w
		other.at, other.t.Site = at, site
		if sameTarget(s.old, other.own(*s.want.Name)) {
			return true
		}
	}
	return false
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
	hint := failure.HintOf(err)
	if hint == "" {
		hint = "aws route53 list-hosted-zones, and aws route53 list-resource-record-sets, with the site's credentials"
	}
	f.add(model.Block, code, err.Error(), why, hint)
}

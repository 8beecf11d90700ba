package route53

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Describe reads the records. The site that all names stand for is RolePrimary and the others are RoleStandby; without any record
// all are RoleAbsent. Names that stand for different sites, and clients that are split between sites, are not healthy.
func (d *Driver) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	desc := model.Description{Resource: t.Resource.ID, Site: t.Site, At: time.Now()}
	w, err := d.work(ctx, t)
	if err != nil {
		if unfilled(t) && ctx.Err() == nil && failure.KindOf(err) != failure.Invalid {
			err = nil
		}
		return desc, err
	}
	if unfilled(t) {
		desc.Role, desc.Summary = model.RoleUnknown, "the values come from a step that has not run"
		return desc, nil
	}
	seen, err := w.look(ctx)
	desc.At = time.Now()
	switch {
	case err != nil && failure.KindOf(err) == failure.NotFound:
		desc.Role, desc.Summary = model.RoleAbsent, err.Error()
		return desc, nil
	case err != nil:
		return awsbase.Undescribed(ctx, desc, failure.Wrap(err, "ask", "Route 53's control plane"))
	}
	here, there, split := 0, 0, false
	for _, name := range w.s.Names {
		answer := w.answers(name, seen)
		if answer.exists {
			there++
		}
		if answer.here {
			here++
		}
		split = split || answer.here && answer.elsewhere
	}
	for i := range seen {
		if i < shown && string(seen[i].Type) == w.s.Type {
			desc.Facts = append(desc.Facts, model.Fact{Name: "record " + plain(aws.ToString(seen[i].Name)), Value: show(&seen[i])})
		}
	}
	w.judge(&desc, here, there, split)
	return desc, nil
}

// judge says what the site is, when so many names stand for it and so many exist.
func (w *work) judge(desc *model.Description, here, there int, split bool) {
	first, more := plain(dotted(w.s.Names[0])), len(w.s.Names)-1
	what, is, point := fmt.Sprintf("%s record of %s", w.s.Type, first), "is", "points"
	if more > 0 {
		what, is, point = fmt.Sprintf("%s records of %s and %s", w.s.Type, first, plural(more, "more name")), "are", "point"
	}
	switch all := more + 1; {
	case there == 0:
		desc.Role, desc.Summary = model.RoleAbsent, fmt.Sprintf("there %s no %s", is, what)
	case here == all && split:
		desc.Role, desc.Summary = model.RolePrimary, fmt.Sprintf("the %s %s here, and elsewhere too", what, point)
	case here == all:
		desc.Role, desc.Healthy, desc.Summary = model.RolePrimary, true, fmt.Sprintf("the %s %s here, ttl %s", what, point, w.s.ttl())
	case here == 0:
		desc.Role, desc.Healthy, desc.Summary = model.RoleStandby, there == all, fmt.Sprintf("the %s %s elsewhere", what, point)
	default:
		desc.Role, desc.Summary = model.RoleStandby, fmt.Sprintf("of the %s only %d of %d lead here", what, here, all)
	}
}

// plural counts things for people.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// answer is what clients who ask for a name get.
type answer struct{ exists, here, elsewhere bool }

func (w *work) answers(name string, seen []types.ResourceRecordSet) answer {
	var a answer
	own := w.own(name)
	total := int64(0)
	for i := range seen {
		total += aws.ToInt64(seen[i].Weight) * btoi(aws.ToString(seen[i].Name) == *own.Name && string(seen[i].Type) == w.s.Type)
	}
	for i := range seen {
		r := &seen[i]
		if aws.ToString(r.Name) != *own.Name || string(r.Type) != w.s.Type {
			continue
		}
		a.exists = true
		mine := policyOf(r) == w.s.policy() && aws.ToString(r.SetIdentifier) == aws.ToString(own.SetIdentifier) && sameTarget(r, own)
		serves := true
		switch policyOf(r) {
		case weighted: // when all have the weight 0, all are chosen alike
			serves = aws.ToInt64(r.Weight) > 0 || total == 0
		case failover:
			serves = r.Failover == types.ResourceRecordSetFailoverPrimary
		}
		a.here = a.here || mine && serves
		a.elsewhere = a.elsewhere || !mine && serves
	}
	return a
}

func btoi(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// unfilled reports whether the settings wait for an output of an earlier step.
func unfilled(t driver.Target) bool {
	return len(driver.Refs(t.Resource.Settings)) > 0 || len(driver.Refs(t.Resource.Sites[t.Site])) > 0
}

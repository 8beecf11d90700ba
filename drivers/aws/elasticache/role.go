package elasticache

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/metric"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// handle is what a begin leaves for its observation.
type handle struct {
	Asked time.Time `json:"asked"` // when a failover was asked for; zero: it was not needed
	// Behind is how far the group that gets the role was behind in the minute that SeenAt begins; zero SeenAt: nobody knows.
	Behind time.Duration `json:"behind,omitempty"`
	SeenAt time.Time     `json:"seen_at,omitzero"`
}

// besides bounds a question whose answer is worth knowing and not worth waiting for.
const besides = 4 * time.Second

// behind is what CloudWatch had seen last of the member's lag.
func (m *member) behind(ctx context.Context) (metric.Lag, bool) {
	ctx, cancel := context.WithTimeout(ctx, besides)
	defer cancel()
	g, err := m.own(ctx)
	if err != nil {
		return metric.Lag{}, false
	}
	lags, err := metric.ReadLag(ctx, m.session, lagOf(&g)...)
	i := slices.IndexFunc(lags, func(l metric.Lag) bool { return !l.Broken })
	if err != nil || i < 0 {
		return metric.Lag{}, false
	}
	return lags[i], true
}

// unproven is what a fence says that proves nothing.
func unproven(subject string, cause error, format string, args ...any) *failure.Error {
	return driver.Unproven(cause, subject, "make sure by other means that the old group takes no writes and stays so", format, args...)
}

// Fence takes the primary's role from the group at req.Site by giving it to the one at req.Peer, whose region alone is needed for it;
// that the old group takes no writes is proved by its own region alone.
func (d *Global) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	old, err := d.member(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if req.Peer == "" {
		return driver.Handle{}, failure.New(failure.Invalid, "fence", old.group, "it is not said which site takes its role")
	}
	to, err := d.member(ctx, req.Target, req.Peer)
	if err != nil {
		return driver.Handle{}, err
	}
	v, err := to.look(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return driver.Handle{}, failure.Wrap(err, "fence", old.group)
		}
		return driver.Handle{}, unproven(old.group, err, "%s cannot be asked", to.session.Name())
	}
	o, ok := v.find(old)
	if !ok {
		return driver.Handle{}, unproven(old.group, nil, "it is no member of %s any more, so it may take writes by itself", old.id)
	}
	if !isPrimary(o) && v.settled() {
		return driver.NewHandle(handleVersion, handle{})
	}
	return d.failover(ctx, v, to)
}

// Promote makes the group at req.Site the primary, unless it is.
func (d *Global) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	to, err := d.member(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	v, err := to.look(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "promote", to.group)
	}
	return d.failover(ctx, v, to)
}

// failover asks for one, in the region of the member that gets the role. AWS has no token for that; but it refuses a failover to
// what is the primary already, and one while another is under way. What is refused so is observed: it may be what an earlier
// begin asked for, whose answer was lost.
func (d *Global) failover(ctx context.Context, v *view, to *member) (driver.Handle, error) {
	o, err := v.must(to)
	if err != nil {
		return driver.Handle{}, err
	}
	if isPrimary(o) {
		return driver.NewHandle(handleVersion, handle{})
	}
	if !v.settled() {
		return driver.NewHandle(handleVersion, handle{Asked: time.Now()}) // something is under way: observed, and asked for again by a later attempt
	}
	asked := time.Now()
	_, err = clientOf(to.session).FailoverGlobalReplicationGroup(ctx, &sdk.FailoverGlobalReplicationGroupInput{
		GlobalReplicationGroupId: &to.id, PrimaryRegion: aws.String(to.session.Region()), PrimaryReplicationGroupId: &to.group,
	})
	if err == nil {
		h := handle{Asked: asked}
		if lag, ok := to.behind(ctx); ok {
			h.Behind, h.SeenAt = lag.Behind, lag.At
		}
		return driver.NewHandle(handleVersion, h)
	}
	if ctx.Err() != nil {
		return driver.Handle{}, failure.Wrap(err, "fail over to", to.group)
	}
	switch kind := failure.KindOf(err); kind {
	case failure.Conflict, failure.Indeterminate, failure.Invalid:
		now, lookErr := to.look(ctx)
		if lookErr != nil {
			break
		}
		if o, ok := now.find(to); ok && (isPrimary(o) || kind == failure.Conflict || !now.settled()) {
			return driver.NewHandle(handleVersion, handle{Asked: asked})
		}
	}
	return driver.Handle{}, failure.Wrap(err, "fail over to", to.group)
}

// Reverse waits until the group at req.Site follows: AWS makes the old primary a secondary by itself once its region is well.
func (d *Global) Reverse(ctx context.Context, req driver.Request) (driver.Handle, error) {
	m, err := d.member(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	v, err := m.look(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "reverse", m.group)
	}
	o, err := v.must(m)
	if err != nil {
		return driver.Handle{}, err
	}
	if isPrimary(o) {
		return driver.Handle{}, failure.New(failure.Conflict, "reverse", m.group, "it is the primary of %s", m.id).
			WithHint("the other site serves only after a failover")
	}
	return driver.NewHandle(handleVersion, handle{})
}

// Observe judges by the members' roles and states.
func (d *Global) Observe(ctx context.Context, req driver.Request, dh driver.Handle) (driver.Observation, error) {
	h, err := driver.ReadHandle[handle](handleVersion, dh)
	if err != nil {
		return driver.Observation{}, err
	}
	m, err := d.member(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	switch req.Action {
	case model.ActionPromote:
		return d.promoted(ctx, req, m, h)
	case model.ActionReverse:
		return d.reversed(ctx, m)
	}
	to, err := d.member(ctx, req.Target, req.Peer)
	if err != nil {
		return driver.Observation{}, err
	}
	v, err := to.look(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "observe", m.group)
	}
	seen := v.fenced(req, m, to, h)
	if seen.State != driver.Done || req.Mode != model.Unplanned {
		return seen, nil
	}
	return m.agrees(ctx, seen)
}

// agrees asks the old group's own region whether it, too, sees that the group is no primary. One that does not answer is not waited for,
// and leaves the fence unproven: nothing says that AWS reaches the old group there, to stop its writes.
func (m *member) agrees(ctx context.Context, seen driver.Observation) (driver.Observation, error) {
	short, cancel := context.WithTimeout(ctx, besides)
	defer cancel()
	v, err := m.look(short)
	if ctx.Err() != nil {
		return driver.Observation{}, failure.Wrap(ctx.Err(), "observe", m.group)
	}
	if err != nil {
		why := unproven(m.group, err, "the role has moved; nothing says that the old group's writes are stopped: %s has not said so within %s", m.session.Name(), besides)
		return driver.MovedUnproven(why, seen.Evidence...), nil
	}
	if o, ok := v.find(m); ok && isPrimary(o) {
		return driver.Waiting("the recovery region says that the old group is no primary, and its own region says that it is"), nil
	}
	seen.Evidence = append(seen.Evidence, driver.Fact("asked at home", "says the same"))
	return seen, nil
}

// fenced judges a fence: the old group is there and is no primary, and another one is.
func (v *view) fenced(req driver.Request, old, to *member, h handle) driver.Observation {
	o, ok := v.find(old)
	if !ok {
		return driver.Observation{State: driver.Failed, Err: failure.From(unproven(old.group, nil, "it is no member of %s any more, so it may take writes by itself", old.id))}
	}
	if isPrimary(o) || !v.quiet(req) {
		return v.waiting(to, h)
	}
	return driver.Observation{State: driver.Done, Evidence: h.withLag(v.evidence("no primary any more: " + old.group + " in " + old.session.Region()))}
}

// quiet reports whether the exchange of roles is over. With the old region lost, the datastore itself may not come to rest.
func (v *view) quiet(req driver.Request) bool {
	if req.Mode == model.Unplanned {
		return true
	}
	for _, o := range v.Members {
		if !isAssociated(o) {
			return false
		}
	}
	return v.settled()
}

func (v *view) evidence(proof string) []model.Fact {
	return []model.Fact{{Name: "proof", Value: proof}, {Name: "members", Value: v.show()}, {Name: "datastore", Value: aws.ToString(v.GlobalReplicationGroupId) + " is " + aws.ToString(v.Status)}}
}

// withLag adds how far the group was behind that got the role: what may have been lost, which nothing proves.
func (h handle) withLag(evidence []model.Fact) []model.Fact {
	if h.SeenAt.IsZero() {
		return evidence
	}
	return append(evidence, driver.Behind(h.Behind, h.SeenAt))
}

// waiting is pending, or failed when the failover was asked for and the datastore rests without it.
func (v *view) waiting(to *member, h handle) driver.Observation {
	if o, ok := v.find(to); ok && !isPrimary(o) && v.settled() && time.Since(h.Asked) > unseen {
		return driver.Observation{State: driver.Failed, Err: failure.New(failure.Conflict, "fail over to", to.group, "AWS has not made it the primary: %s", v.show()).
			WithHint("aws elasticache describe-events --region %s says why; then retry the step", to.session.Region())}
	}
	return driver.Observation{State: driver.Pending, Again: again, Phase: fmt.Sprintf("%s is %s: %s", to.id, aws.ToString(v.Status), v.show())}
}

// promoted judges a promotion: the group is the primary, is available itself, and says where it takes writes.
func (d *Global) promoted(ctx context.Context, req driver.Request, m *member, h handle) (driver.Observation, error) {
	v, err := m.look(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "observe", m.group)
	}
	o, ok := v.find(m)
	if !ok || !isPrimary(o) || !isAssociated(o) || !v.quiet(req) {
		return v.waiting(m, h), nil
	}
	g, err := m.own(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	outputs := endpoints(g)
	if outputs == nil || !serving(aws.ToString(g.Status)) {
		return driver.Observation{State: driver.Pending, Again: again, Phase: fmt.Sprintf("%s is the primary, and is %s", m.group, aws.ToString(g.Status))}, nil
	}
	return driver.Observation{State: driver.Done, Outputs: outputs, Evidence: h.withLag(v.evidence("primary: " + m.group + " in " + m.session.Region()))}, nil
}

// reversed judges whether the group follows.
func (d *Global) reversed(ctx context.Context, m *member) (driver.Observation, error) {
	v, err := m.look(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "observe", m.group)
	}
	o, ok := v.find(m)
	switch {
	case !ok:
		_, err := v.must(m)
		return driver.Observation{State: driver.Failed, Err: failure.From(err)}, nil
	case isPrimary(o) && v.settled():
		return driver.Observation{State: driver.Failed, Err: failure.New(failure.Conflict, "reverse", m.group, "it has become the primary of %s", m.id).
			WithHint("somebody else has failed over: find out who before you retry")}, nil
	case isPrimary(o) || !isAssociated(o) || !v.settled():
		return driver.Observation{State: driver.Pending, Again: again, Phase: fmt.Sprintf("%s is %s: %s", m.id, aws.ToString(v.Status), v.show())}, nil
	}
	return driver.Observation{State: driver.Done, Evidence: v.evidence("secondary, associated: " + m.group + " in " + m.session.Region())}, nil
}

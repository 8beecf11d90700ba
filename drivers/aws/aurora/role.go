package aurora

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/metric"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// unproven is what a fence says that proves nothing.
func unproven(cause error, subject, format string, args ...any) *failure.Error {
	return driver.Unproven(cause, subject, "stop the old cluster's clients, or its instances", format, args...)
}

// move says how the role comes to the cluster at p, and asks AWS for it unless it is there or on its way. The error is Conflict
// when the global database is busy with something else, and Unsupported or Invalid when AWS cannot move the role.
func (d *Driver) move(ctx context.Context, req driver.Request, p *place, v *view) (handle, error) {
	h := handle{Action: req.Action, Path: v.pathTo(p)}
	if done, err := arriving(p, v); done || err != nil {
		return h, err
	}
	m := v.member(p.arn)
	if req.Mode == model.Unplanned && (p.s.lossy() || req.Force) {
		h.Path = byFailover
	} else {
		h.Path = bySwitchover
	}
	if m.SynchronizationStatus != "" && !following(m) {
		return h, failure.New(failure.Conflict, "", p.subject, "the cluster is %s: it is behind, and AWS gives the role to none such", sync(m)).
			WithHint("wait until it is connected; `lifeboat status` shows it")
	}
	from := p
	if h.Path == bySwitchover {
		var err error
		if from, err = d.writing(ctx, req, p, v); err != nil {
			return h, err
		}
	}
	err := from.ask(ctx, h.Path, p.arn)
	h.Asked = time.Now()
	if err == nil {
		if h.Path == byFailover {
			h.Holds = p.holds(ctx)
		}
		return h, nil
	}
	// Somebody else may have asked at the same time, or our own call may have arrived without its answer.
	if kind := failure.KindOf(err); kind == failure.Conflict || kind == failure.Indeterminate {
		after, lookErr := p.look(ctx)
		if lookErr != nil {
			return h, errors.Join(err, lookErr)
		}
		if done, wrong := arriving(p, after); done && wrong == nil {
			h.Path = after.pathTo(p)
			return h, nil
		}
	}
	return h, failure.Wrap(err, "move the writer's role", p.subject)
}

// pathTo is how the role comes to the cluster at p that nobody has to ask for any more: by a switchover while AWS says so.
func (v *view) pathTo(p *place) string {
	if f := v.moving(); f != nil && aws.ToString(f.ToDbClusterArn) == p.arn && f.IsDataLossAllowed != nil && !*f.IsDataLossAllowed {
		return bySwitchover
	}
	return byItself
}

// holds is an instant that the follower at p had reached in the last minutes, as CloudWatch says; zero when it does not.
func (p *place) holds(ctx context.Context) time.Time {
	short, cancel := context.WithTimeout(ctx, besides)
	defer cancel()
	lags, err := metric.ReadLag(short, p.session, p.lags()...)
	if err != nil || len(lags) == 0 {
		return time.Time{}
	}
	return lags[0].Holds()
}

// writing is the resource's site whose cluster is the writer: a switchover is asked for there, as it needs that region anyway, and a
// failover where the role goes (Aurora User Guide, "Using switchover or failover in Amazon Aurora Global Database"). It is p when the writer
// is at no site.
func (d *Driver) writing(ctx context.Context, req driver.Request, p *place, v *view) (*place, error) {
	for _, id := range req.Resource.SiteIDs() {
		o, err := d.place(ctx, req.Target, id)
		if err != nil {
			return nil, err
		}
		if v.writer(o.arn) {
			return o, nil
		}
	}
	return p, nil
}

// ask asks AWS, in the region of p, for a managed move of the role to a cluster.
func (p *place) ask(ctx context.Context, path, to string) error {
	if path == byFailover {
		_, err := p.rds.FailoverGlobalCluster(ctx, &rds.FailoverGlobalClusterInput{
			GlobalClusterIdentifier: &p.s.Global, TargetDbClusterIdentifier: &to, AllowDataLoss: aws.Bool(true)})
		return err
	}
	_, err := p.rds.SwitchoverGlobalCluster(ctx, &rds.SwitchoverGlobalClusterInput{GlobalClusterIdentifier: &p.s.Global, TargetDbClusterIdentifier: &to})
	return err
}

// arriving reports whether the role is at p or on its way there. The error says why it cannot come.
func arriving(p *place, v *view) (bool, error) {
	f := v.moving()
	switch {
	case v.cluster == nil:
		return false, failure.New(failure.NotFound, "", p.subject, "there is no cluster %s in %s", p.at.Cluster, p.session.Region()).
			WithHint("nothing was kept there: look at `lifeboat status`, and at the recovery points of `lifeboat points`")
	case f != nil && aws.ToString(f.ToDbClusterArn) == p.arn:
		return true, nil
	case f != nil:
		return false, failure.New(failure.Conflict, "", p.subject, "the global database %s is %s, towards %s", p.s.Global, f.Status, aws.ToString(f.ToDbClusterArn)).
			WithHint("wait until that is over")
	case v.writer(p.arn), v.alone():
		return true, nil
	case v.member(p.arn) == nil:
		return false, failure.New(failure.Conflict, "", p.subject, "the cluster %s is %s, and no member of %s", p.at.Cluster, v.status(), p.s.Global).
			WithHint("`aws rds describe-global-clusters` shows what it belongs to; the settings may name another global database")
	}
	return false, nil
}

// Fence takes the writer's role from the cluster at req.Site by giving it to that at req.Peer, whose region alone is needed for
// it in an unplanned move; that the old cluster takes no writes is proved by its own region alone. It detaches nothing.
func (d *Driver) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	home, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if req.Peer == "" || req.Peer == req.Site {
		return driver.Handle{}, failure.New(failure.Invalid, "fence", home.subject, "it is not said which site takes its role")
	}
	p, err := d.place(ctx, req.Target, req.Peer)
	if err != nil {
		return driver.Handle{}, err
	}
	v, err := p.look(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "fence", home.subject)
	}
	if v.alone() {
		return d.fenceDetached(ctx, home)
	}
	h, err := d.move(ctx, req, p, v)
	switch {
	case err == nil:
		return driver.NewHandle(handleVersion, h)
	case hopeless(err):
		return driver.Handle{}, unproven(err, home.subject, "AWS cannot move the role to %s", req.Peer)
	}
	return driver.Handle{}, failure.Wrap(err, "fence", home.subject)
}

// hopeless reports whether AWS refused a managed move for good.
func hopeless(err error) bool {
	kind := failure.KindOf(err)
	return kind == failure.Unsupported || kind == failure.Invalid
}

// fenceDetached looks at home itself: the cluster that takes over is alone, so that nothing else says what the old one does.
func (d *Driver) fenceDetached(ctx context.Context, home *place) (driver.Handle, error) {
	v, err := home.look(ctx)
	switch {
	case err != nil && ctx.Err() != nil && failure.KindOf(err) == failure.Canceled:
		return driver.Handle{}, err
	case err != nil:
		return driver.Handle{}, unproven(err, home.subject, "the recovery cluster was detached, and the old one's region does not answer")
	case v.cluster == nil || v.status() == "stopped" || len(v.instances) == 0:
		return driver.NewHandle(handleVersion, handle{Action: model.ActionFence, Path: byAbsence})
	}
	return driver.Handle{}, unproven(nil, home.subject, "the recovery cluster was detached, and the old one is there, %s with %d instances", v.status(), len(v.instances))
}

// Promote makes the cluster at the site the writer. The fence has moved the role as a rule; without one it is asked for here,
// and where AWS cannot move it, an unplanned promotion detaches the cluster.
func (d *Driver) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	v, err := p.look(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "promote", p.subject)
	}
	h, err := d.move(ctx, req, p, v)
	if err == nil {
		return driver.NewHandle(handleVersion, h)
	}
	loss := req.Mode == model.Unplanned && (p.s.lossy() || req.Force)
	behind := req.Force && failure.KindOf(err) == failure.Conflict && v.moving() == nil
	if v.member(p.arn) == nil || !loss || !hopeless(err) && !behind {
		return driver.Handle{}, failure.Wrap(err, "promote", p.subject)
	}
	why := err.Error()
	_, err = p.rds.RemoveFromGlobalCluster(ctx, &rds.RemoveFromGlobalClusterInput{GlobalClusterIdentifier: &p.s.Global, DbClusterIdentifier: &p.arn})
	if err != nil {
		after, lookErr := p.look(ctx)
		if lookErr != nil || after.cluster == nil || after.member(p.arn) != nil && after.status() != "promoting" {
			return driver.Handle{}, failure.Wrap(err, "detach", p.subject)
		}
	}
	return driver.NewHandle(handleVersion, handle{Action: req.Action, Path: byDetaching, Asked: time.Now(), Why: why})
}

// observeRole looks whether the role has moved from one site to another, and for a fence whether home agrees.
func (d *Driver) observeRole(ctx context.Context, req driver.Request, h handle) (driver.Observation, error) {
	from, to := req.Peer, req.Site
	if req.Action == model.ActionFence {
		from, to = req.Site, req.Peer
	}
	if h.Path == byAbsence {
		home, err := d.place(ctx, req.Target, from)
		if err != nil {
			return driver.Observation{}, err
		}
		if _, err := d.fenceDetached(ctx, home); err != nil {
			return driver.Observation{}, err
		}
		return driver.Succeeded(model.Fact{Name: "old cluster", Value: "nothing of it runs"}), nil
	}
	p, err := d.place(ctx, req.Target, to)
	if err != nil {
		return driver.Observation{}, err
	}
	v, err := p.look(ctx)
	if err != nil {
		return driver.Observation{}, err
	}
	if seen, over := d.arrived(p, v, h); !over {
		return seen, nil
	}
	evidence := []model.Fact{{Name: "moved by", Value: h.Path}}
	if !h.Holds.IsZero() {
		evidence = append(evidence, driver.AsOf(h.Holds))
	}
	if v.alone() {
		if req.Action == model.ActionFence {
			return driver.FailedWith(unproven(nil, p.subject, "the cluster left the global database while its role was moved")), nil
		}
		evidence = append(evidence, model.Fact{Name: "global database", Value: "the cluster is alone: nothing follows it, and the old one is not fenced by it; a failback builds it again"})
		if h.Why != "" {
			evidence = append(evidence, model.Fact{Name: "why not moved by AWS", Value: h.Why})
		}
	} else {
		evidence = append(evidence, model.Fact{Name: "writer", Value: p.arn}, model.Fact{Name: "seen from", Value: p.session.Name()}, driver.Source("follower "+p.arn))
		if h.Path == bySwitchover {
			evidence = append(evidence, driver.LastState("follower "+p.arn))
		}
	}
	if req.Action == model.ActionFence {
		return d.agrees(ctx, req, v, h, evidence)
	}
	if !v.means().Serves() || v.up() == 0 {
		return driver.Waiting("it is the writer; the cluster is %s, %d of %d instances available", v.status(), v.up(), len(v.instances)), nil
	}
	if m := v.member(p.arn); m != nil && m.SynchronizationStatus != "" && !following(m) {
		return driver.Waiting("it is the writer, and %s", sync(m)), nil
	}
	seen := driver.Succeeded(append(evidence, model.Fact{Name: "instances", Value: fmt.Sprintf("%d available", v.up())})...)
	seen.Outputs = ends(v.cluster)
	return seen, nil
}

// arrived reports whether the role is at p; otherwise it gives what to say meanwhile.
func (d *Driver) arrived(p *place, v *view, h handle) (driver.Observation, bool) {
	switch f := v.moving(); {
	case v.cluster == nil:
		return driver.FailedWith(failure.New(failure.NotFound, "promote", p.subject, "the cluster %s is gone", p.at.Cluster)), false
	case f != nil:
		return driver.Waiting("the global database is %s, towards %s", f.Status, aws.ToString(f.ToDbClusterArn)), false
	case v.writer(p.arn), v.alone():
		if n := v.writers(); n > 1 {
			return driver.Waiting("the global database names %d writers", n), false
		}
		return driver.Observation{}, true
	case h.Asked.IsZero() || time.Since(h.Asked) < settle, h.Path == byDetaching:
		return driver.Waiting("the cluster is %s and not the writer yet", v.status()), false
	}
	return driver.FailedWith(failure.New(failure.Unavailable, "move the writer's role", p.subject, "AWS gave the %s up: the roles are as before", h.Path).
		WithHint("the events of the global database say why: aws rds describe-events --source-type db-cluster; then retry")), false
}

// writers counts those that the global database names.
func (v *view) writers() int {
	n := 0
	if v.global != nil {
		for _, m := range v.global.GlobalClusterMembers {
			if aws.ToBool(m.IsWriter) {
				n++
			}
		}
	}
	return n
}

// agrees asks home whether it, too, sees that its cluster is no writer. A region that does not answer is not waited for. After a
// switchover that proves nothing more: the old cluster took no writes before the role moved. After a failover it is the proof, since
// AWS stops the old cluster's writes as far as it can reach it, and promises no more (Aurora User Guide, "Using switchover or failover in
// Amazon Aurora Global Database").
func (d *Driver) agrees(ctx context.Context, req driver.Request, v *view, h handle, evidence []model.Fact) (driver.Observation, error) {
	home, err := d.place(ctx, req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	switch m := v.member(home.arn); {
	case m == nil:
		if _, err := d.fenceDetached(ctx, home); err != nil {
			return driver.FailedWith(err), nil
		}
		evidence = append(evidence, model.Fact{Name: "old cluster", Value: "nothing of it runs, and it is no member"})
		return driver.Succeeded(evidence...), nil
	case aws.ToBool(m.IsWriter):
		return driver.Waiting("the old cluster is still named a writer"), nil
	default:
		evidence = append(evidence, model.Fact{Name: "old cluster", Value: "is no writer, " + sync(m)})
	}
	short, cancel := context.WithTimeout(ctx, besides)
	defer cancel()
	at, err := home.global(short)
	switch {
	case ctx.Err() != nil:
		return driver.Observation{}, failure.Wrap(ctx.Err(), "observe", home.subject)
	case err != nil && h.Path != bySwitchover:
		why := unproven(err, home.subject, "the role has moved; AWS stops the old cluster's writes only as far as it reaches it, and %s has not said within %s that they are", home.session.Name(), besides)
		return driver.MovedUnproven(why, evidence...), nil
	case err != nil:
		evidence = append(evidence, driver.Fact("asked at home", "no answer within %s", besides))
	case (&view{global: at}).writer(home.arn):
		return driver.Waiting("the recovery region says that the old cluster is no writer, and its own region says that it is"), nil
	default:
		evidence = append(evidence, model.Fact{Name: "asked at home", Value: "says the same"})
	}
	return driver.Succeeded(evidence...), nil
}

// stamp writes an instant as tags and evidence have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

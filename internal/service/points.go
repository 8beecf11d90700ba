package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/schedule"
	"github.com/lifeboat-dr/lifeboat/model"
)

// pointsRetry is how long, at most, nothing is tried again after a run that makes points could not start or did not
// succeed; pointsRetryFirst is how long after the first of several. A site that was lost has a capture fail just before the
// app serves elsewhere, where it has no points yet.
const (
	pointsRetry      = 30 * time.Second
	pointsRetryFirst = 2 * time.Second
)

// keeper makes the recovery points of one app by their schedules, with one run at a time. It belongs to one goroutine.
// What is due it works out from the points that there are, so it may begin at any time and miss nothing.
type keeper struct {
	s       *Service
	app     model.App
	due     []scheduled
	streams *streams
	running *api.PointRound // the run under way
	looked  bool            // for one that an earlier process left behind
	again   time.Time       // nothing is tried before
	pause   time.Duration   // how long nothing was tried after the last failure; 0: after a success
}

// failed puts the next try off, each time longer.
func (k *keeper) failed() {
	k.pause = min(max(2*k.pause, pointsRetryFirst), pointsRetry)
	k.again = time.Now().Add(k.pause)
}

// scheduled is a resource with a schedule.
type scheduled struct {
	id       model.ResourceID
	schedule schedule.Schedule
	known    bool      // whether last is
	last     time.Time // when its newest point is from; zero: there is none
}

func (s *Service) keeper(app model.App) (*keeper, error) {
	flows, err := s.streams(app)
	if err != nil {
		return nil, err
	}
	k := &keeper{s: s, app: app, streams: flows}
	for _, r := range app.Resources {
		if r.Points == nil || r.Points.Schedule == "" {
			continue
		}
		when, err := schedule.Parse(r.Points.Schedule)
		if err != nil {
			return nil, failure.Wrap(err, "protect", string(r.ID))
		}
		k.due = append(k.due, scheduled{id: r.ID, schedule: when})
	}
	return k, nil
}

// round keeps the streams alive, ends what is over and begins what is due, without waiting for it.
func (k *keeper) round(ctx context.Context) ([]api.PointRound, error) {
	wanted := k.streams.keep(ctx) // first: a point that nothing is received after is of little use
	var out []api.PointRound
	if !k.looked {
		left, err := k.s.takeUp(ctx, k.app.ID, model.OpProtect)
		if err != nil {
			return nil, err
		}
		k.looked, k.running = true, left
	}
	if k.running != nil {
		view, err := k.s.Run(ctx, k.running.Run)
		if err != nil || !view.Final {
			return nil, err
		}
		ended := *k.running
		ended.Outcome, k.running = view.Outcome, nil
		out = append(out, ended)
		for i := range k.due {
			k.due[i].known = false
		}
		if ended.Outcome != api.Succeeded {
			k.failed()
			return out, failure.New(failure.Unavailable, "make recovery points of", string(k.app.ID), "run %s %s", ended.Run, ended.Outcome).
				WithHint("lifeboat report %s", ended.Run)
		}
		k.pause = 0
	}
	now := time.Now()
	if now.Before(k.again) {
		return out, nil
	}
	var due []model.ResourceID
	var why []string
	for _, r := range k.app.Resources {
		if reason := wanted[r.ID]; reason != "" {
			due = append(due, r.ID)
			why = append(why, string(r.ID)+": "+reason)
			k.s.log.Warn("a recovery point is made at once", "resource", r.ID, "why", reason)
		}
	}
	for i := range k.due {
		r := &k.due[i]
		if err := k.look(ctx, r); err != nil {
			k.failed()
			return out, err
		}
		if r.schedule.Due(r.last, now) && wanted[r.id] == "" {
			due = append(due, r.id)
		}
	}
	if len(due) == 0 {
		return out, nil
	}
	view, err := k.s.Start(ctx, api.StartRequest{By: bySchedule,
		PlanRequest: api.PlanRequest{App: k.app.ID, Operation: model.OpProtect, Resources: due}})
	if err != nil {
		k.failed()
		return out, failure.Wrap(err, "make recovery points of", string(k.app.ID))
	}
	k.running = &api.PointRound{Resources: due, Run: view.ID, Why: strings.Join(why, "; ")}
	return append(out, *k.running), nil
}

// bySchedule is who begins what is due.
const bySchedule = "schedule"

// takeUp goes on with the run of an operation that a schedule began and that is not over: the process that drove it may be
// gone, and no other one could begin beside it. It gives nil when there is none.
func (s *Service) takeUp(ctx context.Context, app model.AppID, op model.Operation) (*api.PointRound, error) {
	active, err := s.Runs(ctx, api.RunsRequest{App: app, Active: true})
	if err != nil {
		return nil, err
	}
	for _, r := range active {
		if r.Operation == op && r.By == bySchedule {
			s.log.Warn("a run that was not over is taken up", "run", r.ID)
			return &api.PointRound{Run: r.ID}, s.Drive(ctx, r.ID)
		}
	}
	return nil, nil
}

// any reports whether there is anything to do.
func (k *keeper) any() bool { return len(k.due) > 0 || len(k.streams.all) > 0 }

// look finds when the newest point of r is from, unless that is known.
func (k *keeper) look(ctx context.Context, r *scheduled) error {
	if r.known {
		return nil
	}
	resource, _ := k.app.Resource(r.id)
	d, err := k.s.opts.Drivers.Get(resource.Kind)
	if err != nil {
		return err
	}
	lister, ok := driver.As[driver.Lister](d)
	if !ok {
		return failure.New(failure.Unsupported, "protect", string(r.id), "kind %s lists no recovery points, so what is due cannot be told", resource.Kind)
	}
	r.last = time.Time{}
	for _, site := range append([]model.SiteID{k.app.Home}, k.app.Recovery...) {
		call, cancel := context.WithTimeout(ctx, pointsTimeout)
		points, err := lister.Points(call, driver.Target{App: k.app.ID, Resource: resource, Site: site})
		cancel()
		if err != nil {
			return failure.Wrap(err, "list the recovery points of", string(r.id))
		}
		for _, p := range points {
			if !p.Live && p.At.After(r.last) {
				r.last = p.At
			}
		}
	}
	r.known = true
	return nil
}

// overdue finds resources whose newest point is older than two turns of their schedule: nobody makes any.
func (s *Service) overdue(ctx context.Context, app model.App) (found []model.Finding) {
	k, err := s.keeper(app)
	if err != nil {
		return []model.Finding{{Severity: model.Warn, Code: "points-unknown", What: err.Error()}}
	}
	errs := make([]error, len(k.due))
	each(len(k.due), func(i int) { errs[i] = k.look(ctx, &k.due[i]) })
	for i := range k.due {
		r := &k.due[i]
		switch {
		case errs[i] != nil:
			err := errs[i]
			found = append(found, model.Finding{Severity: model.Warn, Code: "points-unknown", Resource: r.id,
				What: err.Error(), Why: "whether it can be recovered is not known", Fix: failure.HintOf(err)})
		case r.last.IsZero():
			found = append(found, model.Finding{Severity: model.Warn, Code: "no-points", Resource: r.id,
				What: string(r.id) + " has no recovery point", Why: "it cannot be recovered", Fix: "lifeboat protect " + string(app.ID)})
		case r.schedule.Next(r.schedule.Next(r.last)).Before(time.Now()):
			found = append(found, model.Finding{Severity: model.Warn, Code: "points-overdue", Resource: r.id,
				What: fmt.Sprintf("the newest recovery point of %s is of %s, and its schedule is %s", r.id, r.last.UTC().Format(time.RFC3339), r.schedule),
				Why:  "what was written since would be lost", Fix: "see that this runs: lifeboat protect " + string(app.ID)})
		}
	}
	return found
}

// keeping is a keeper at work beside the rounds: planning a run takes its time, and markers that came late would measure an
// RPO too small.
type keeping struct {
	cancel context.CancelFunc
	ctx    context.Context
	made   chan pointsMade
	done   chan struct{}
}

type pointsMade struct {
	points []api.PointRound
	err    error
}

// background calls a round once a second, if there is anything to do. The caller stops it.
func background(ctx context.Context, any bool, each func(context.Context) ([]api.PointRound, error)) *keeping {
	ctx, cancel := context.WithCancel(ctx)
	b := &keeping{cancel: cancel, ctx: ctx, made: make(chan pointsMade), done: make(chan struct{})}
	go func() {
		defer close(b.done)
		if !any {
			return
		}
		for ctx.Err() == nil {
			points, err := each(ctx)
			if len(points) > 0 || err != nil {
				select {
				case b.made <- pointsMade{points, err}:
				case <-ctx.Done():
				}
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}()
	return b
}

// into adds what was made since the round before.
func (b *keeping) into(round *api.ProtectRound, to *[]api.PointRound) {
	select {
	case m := <-b.made:
		add(b.ctx, round, to, m.points, m.err)
	default:
	}
}

func (b *keeping) stop() {
	b.cancel()
	<-b.done
}

// wait waits for the run under way, if any, and gives how it ended.
func (k *keeper) wait(ctx context.Context) ([]api.PointRound, error) {
	if k.running == nil {
		return nil, nil
	}
	if err := k.s.await(ctx, k.running.Run); err != nil {
		return nil, err
	}
	k.again = time.Now().Add(pointsRetry) // nothing new is begun by this look
	return k.round(ctx)
}

// await waits until a run is over.
func (s *Service) await(ctx context.Context, run model.RunID) error {
	for view, err := range s.Watch(ctx, run) {
		if err != nil {
			return err
		}
		if view.Final {
			break
		}
	}
	return nil
}

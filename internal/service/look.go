package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// How long one question to a site may take, and how many are asked at once.
const (
	lookTimeout = 5 * time.Second
	lookAtOnce  = 16
	// pointsTimeout is for one look into a vault, which may have to be opened: that takes a second of work by design.
	pointsTimeout = 20 * time.Second
)

// look describes all of an app's resources at all its sites, side by side.
func (s *Service) look(ctx context.Context, app model.App, serving model.SiteID) []model.Description {
	sites := append([]model.SiteID{app.Home}, app.Recovery...)
	out := make([]model.Description, len(app.Resources)*len(sites))
	each(len(out), func(i int) {
		r, site := app.Resources[i/len(sites)], sites[i%len(sites)]
		out[i] = s.describe(ctx, app, r, site, serving)
	})
	return out
}

// each calls f for 0..n-1, some at once, and waits for all.
func each(n int, f func(i int)) {
	var group sync.WaitGroup
	places := make(chan struct{}, lookAtOnce)
	for i := range n {
		places <- struct{}{}
		group.Go(func() { defer func() { <-places }(); f(i) })
	}
	group.Wait()
}

func (s *Service) describe(ctx context.Context, app model.App, r model.Resource, site, peer model.SiteID) model.Description {
	stateless := false
	failed := func(err error) model.Description {
		return model.Description{Resource: r.ID, Site: site, At: time.Now().UTC(), Role: model.RoleUnknown, Stateless: stateless, Summary: err.Error()}
	}
	d, err := s.opts.Drivers.Get(r.Kind)
	if err != nil {
		return failed(err)
	}
	stateless = !d.Facts().Stateful
	if peer == site || peer == "" {
		peer = app.Home
		if site == app.Home && len(app.Recovery) > 0 {
			peer = app.Recovery[0]
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	seen, err := d.Describe(ctx, driver.Target{App: app.ID, Resource: r, Site: site, Peer: peer})
	if err != nil {
		return failed(err)
	}
	seen.Resource, seen.Site, seen.Stateless = r.ID, site, stateless
	return seen
}

// twoPrimaries is the code of a finding: more than one copy of a resource takes writes.
const twoPrimaries = "two-primaries"

// serving works out where an app serves: where what holds its data is primary; else where its traffic goes; else where
// the last move left it; else home. Two answers at once are a finding that blocks.
func (s *Service) serving(ctx context.Context, app model.App, seen []model.Description) (model.SiteID, []model.Finding, error) {
	var data, rest []model.SiteID
	var findings []model.Finding
	for _, r := range app.Resources {
		d, err := s.opts.Drivers.Get(r.Kind)
		if err != nil {
			return "", nil, err
		}
		primaries := primariesOf(r.ID, seen)
		if !d.Facts().Stateful {
			rest = append(rest, primaries...)
			continue
		}
		data = append(data, primaries...)
		if len(primaries) > 1 {
			findings = append(findings, model.Finding{Severity: model.Block, Code: twoPrimaries, Resource: r.ID,
				What: fmt.Sprintf("%s is primary at %v", r.ID, primaries), Why: "both may take writes that the other never sees",
				Fix: "decide which one is right, stop the other, then: lifeboat failback " + string(app.ID)})
		}
	}
	last, err := s.lastMove(ctx, app)
	if err != nil {
		return "", nil, err
	}
	for _, sites := range [][]model.SiteID{data, rest} {
		switch distinct := unique(sites); {
		case len(distinct) == 1:
			return distinct[0], findings, nil
		case len(distinct) > 1 && slices.Contains(distinct, last):
			return last, findings, nil
		case len(distinct) > 1:
			return distinct[0], findings, nil
		}
	}
	return last, findings, nil
}

func primariesOf(r model.ResourceID, seen []model.Description) (sites []model.SiteID) {
	for _, d := range seen {
		if d.Resource == r && d.Role == model.RolePrimary {
			sites = append(sites, d.Site)
		}
	}
	return sites
}

func unique(sites []model.SiteID) (out []model.SiteID) {
	for _, s := range sites {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// lastMove is where the last successful move left the app, or home.
func (s *Service) lastMove(ctx context.Context, app model.App) (model.SiteID, error) {
	past, err := s.past(ctx)
	if err != nil {
		return "", err
	}
	for _, p := range past {
		moved := p.Operation == model.OpFailover || p.Operation == model.OpFailback
		if p.App == app.ID && moved && p.Outcome == api.Succeeded {
			return p.To, nil
		}
	}
	return app.Home, nil
}

// Status describes an app.
func (s *Service) Status(ctx context.Context, id model.AppID) (*api.StatusReply, error) {
	app, err := s.app(id)
	if err != nil {
		return nil, err
	}
	seen := s.look(ctx, app, "")
	serving, findings, err := s.serving(ctx, app, seen)
	if err != nil {
		return nil, err
	}
	return s.statusOf(ctx, app, seen, serving, findings)
}

// statusOf describes an app that was looked at: with what stands in the way of a recovery, and what is under way.
func (s *Service) statusOf(ctx context.Context, app model.App, seen []model.Description, serving model.SiteID, findings []model.Finding) (*api.StatusReply, error) {
	reply := &api.StatusReply{App: app.ID, Serving: serving, Home: app.Home, Objective: app.Objective, Resources: seen, Findings: findings}
	for _, d := range seen {
		switch {
		case d.Role == model.RoleUnknown:
			reply.Findings = append(reply.Findings, model.Finding{Severity: model.Warn, Code: "not-described", Resource: d.Resource, Site: d.Site, What: d.Summary,
				Why: "its role and how far it is behind are not known", Fix: "lifeboat doctor " + string(app.ID) + " --site " + string(d.Site)})
		case len(primariesOf(d.Resource, seen)) > 1: // the finding above says what to do
		case s.holdsData(app, d.Resource) && !d.Healthy && d.Site != serving && d.Role != model.RoleFenced && d.Role != model.RoleStopped:
			reply.Findings = append(reply.Findings, model.Finding{Severity: model.Warn, Code: "not-recoverable", Resource: d.Resource, Site: d.Site,
				What: d.Summary, Why: "a failover to this site could not use it", Fix: "lifeboat doctor " + string(app.ID) + " --site " + string(d.Site) + " says what is missing"})
		}
	}
	found := make([][]model.Finding, 3)
	each(len(found), func(i int) { // a site that is dead holds up each of them, but all at once
		switch i {
		case 0:
			found[i] = s.overdue(ctx, app)
		case 1:
			reply.Streams, found[i] = s.lookAtStreams(ctx, app)
		case 2:
			found[i] = s.unproved(ctx, app)
		}
	})
	reply.Findings = append(reply.Findings, slices.Concat(found...)...)
	runs, err := s.Runs(ctx, api.RunsRequest{App: app.ID})
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if r.Outcome == "" {
			reply.Active = append(reply.Active, r)
		}
		if r.Operation == model.OpDrill && r.Outcome != "" && reply.LastDrill == nil {
			reply.LastDrill = &r
		}
	}
	if len(reply.Active) == 0 {
		reply.Findings = append(reply.Findings, s.unserved(app, serving, seen)...)
	}
	return reply, nil
}

// unserved says which resources that hold data are primary nowhere although no run is at them.
func (s *Service) unserved(app model.App, serving model.SiteID, seen []model.Description) (findings []model.Finding) {
	for _, d := range seen {
		known := d.Role != model.RoleUnknown && d.Role != model.RoleUnreachable // else the table says why, and it may be primary
		if d.Site == serving && known && s.holdsData(app, d.Resource) && len(primariesOf(d.Resource, seen)) == 0 {
			findings = append(findings, model.Finding{Severity: model.Warn, Code: "no-primary", Resource: d.Resource, Site: d.Site,
				What: fmt.Sprintf("%s is primary at no site; at %s, where it should be, it is %s", d.Resource, d.Site, d.Role),
				Why:  "nothing serves it", Fix: fmt.Sprintf("bring it back at %s, or: lifeboat plan failover %s --unplanned", d.Site, app.ID)})
		}
	}
	return findings
}

// holdsData says whether a resource has a state of its own.
func (s *Service) holdsData(app model.App, id model.ResourceID) bool {
	r, ok := app.Resource(id)
	if !ok {
		return false
	}
	d, err := s.opts.Drivers.Get(r.Kind)
	return err == nil && d.Facts().Stateful
}

// Points lists the recovery points of an app, and what lies between them. When no place can be asked that is the error.
func (s *Service) Points(ctx context.Context, id model.AppID) (*api.PointsReply, error) {
	app, err := s.app(id)
	if err != nil {
		return nil, err
	}
	reply := &api.PointsReply{Points: []model.Point{}, Ranges: []model.Range{}}
	missed := func(r model.Resource, err error) {
		if err != nil {
			reply.Missed = append(reply.Missed, failure.From(failure.Wrap(err, "list the recovery points of", string(r.ID))))
		}
	}
	for _, r := range app.Resources {
		points, err := s.pointsOf(ctx, app, r)
		reply.Points = append(reply.Points, points...)
		missed(r, err)
		if err != nil && len(points) == 0 {
			continue // what it says of ranges is the same
		}
		ranges, err := s.rangesOf(ctx, app, r)
		reply.Ranges = append(reply.Ranges, ranges...)
		missed(r, err)
	}
	if len(reply.Points) == 0 && len(reply.Missed) > 0 {
		return nil, reply.Missed[0] // "none" would not be true
	}
	streams, _ := s.lookAtStreams(ctx, app) // what cannot be looked at is told by status
	for _, st := range streams {
		inSpool(reply.Ranges, st)
	}
	if err := s.prove(ctx, app, reply.Points); err != nil {
		return nil, err
	}
	slices.SortStableFunc(reply.Points, func(a, b model.Point) int { return b.At.Compare(a.At) })
	return reply, nil
}

// pointsOf lists the recovery points of one resource at all its sites, newest first, each once. The error is of the first
// place that could not be asked: beside it stands what the others said.
func (s *Service) pointsOf(ctx context.Context, app model.App, r model.Resource) (points []model.Point, missed error) {
	d, err := s.opts.Drivers.Get(r.Kind)
	if err != nil {
		return nil, err
	}
	lister, ok := driver.As[driver.Lister](d)
	if !ok {
		return nil, nil
	}
	for _, site := range append([]model.SiteID{app.Home}, app.Recovery...) {
		call, cancel := context.WithTimeout(ctx, pointsTimeout)
		found, err := lister.Points(call, driver.Target{App: app.ID, Resource: r, Site: site})
		cancel()
		if err != nil {
			s.log.Warn("recovery points not listed", "resource", r.ID, "site", site, "err", err)
			missed = cmp.Or(missed, err)
			continue
		}
		points = append(points, found...)
	}
	slices.SortStableFunc(points, func(a, b model.Point) int { return b.At.Compare(a.At) })
	return points, missed
}

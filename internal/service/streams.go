package service

import (
	"context"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Bounds of streams.
const (
	streamsEvery  = 3 * time.Second
	streamTimeout = 20 * time.Second // to look, start and stop at one site
)

// streamed is a resource whose record of changes flows to its sites.
type streamed struct {
	resource model.Resource
	streamer driver.Streamer
}

// streamedBy finds the resources of an app with such a record.
func (s *Service) streamedBy(app model.App) ([]streamed, error) {
	var out []streamed
	for _, r := range app.Resources {
		d, err := s.opts.Drivers.Get(r.Kind)
		if err != nil {
			return nil, err
		}
		if streamer, ok := driver.As[driver.Streamer](d); ok && streamer.Streams(r) {
			out = append(out, streamed{r, streamer})
		}
	}
	return out, nil
}

// eachStream calls f for every resource that streams and each of its sites, at once, and gives what it said in order.
func (s *Service) eachStream(ctx context.Context, app model.App, all []streamed,
	f func(context.Context, streamed, driver.Target) (model.Stream, error)) ([]model.Stream, []error) {
	sites := append([]model.SiteID{app.Home}, app.Recovery...)
	found, errs := make([]model.Stream, len(all)*len(sites)), make([]error, len(all)*len(sites))
	each(len(found), func(i int) {
		r, site := all[i/len(sites)], sites[i%len(sites)]
		call, cancel := context.WithTimeout(ctx, streamTimeout)
		defer cancel()
		var err error
		if found[i], err = f(call, r, driver.Target{App: app.ID, Resource: r.resource, Site: site}); err != nil {
			errs[i] = failure.Wrap(err, "receive the changes of", string(r.resource.ID)+" at "+string(site))
		}
	})
	var streams []model.Stream
	var failed []error
	for i := range found {
		switch {
		case errs[i] != nil:
			failed = append(failed, errs[i])
		case found[i].State != "":
			streams = append(streams, found[i])
		}
	}
	return streams, failed
}

// lookAtStreams says how an app's streams do. What cannot be looked at is a finding.
func (s *Service) lookAtStreams(ctx context.Context, app model.App) ([]model.Stream, []model.Finding) {
	all, err := s.streamedBy(app)
	if err != nil || len(all) == 0 {
		return nil, nil // the kinds were checked with the configuration
	}
	streams, failed := s.eachStream(ctx, app, all, func(ctx context.Context, r streamed, t driver.Target) (model.Stream, error) {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		return r.streamer.LookAtStream(ctx, t)
	})
	var findings []model.Finding
	for _, st := range streams {
		findings = append(findings, st.Findings...)
		if st.NeedsPoint != "" {
			findings = append(findings, model.Finding{Severity: model.Warn, Code: "needs-point", Resource: st.Resource, Site: st.Site, What: st.NeedsPoint,
				Why: "what is received since cannot be restored", Fix: "lifeboat protect " + string(app.ID) + " makes one by itself; at once: lifeboat protect " + string(app.ID) + " --now"})
		}
	}
	for _, err := range failed {
		findings = append(findings, model.Finding{Severity: model.Warn, Code: "stream-unknown", What: err.Error(),
			Why: "whether changes are received is not known", Fix: failure.HintOf(err)})
	}
	return streams, findings
}

// stopStreams ends what receives an app's changes at all its sites.
func (s *Service) stopStreams(ctx context.Context, app model.App) (*api.ProtectRound, error) {
	all, err := s.streamedBy(app)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, failure.New(failure.Invalid, "stop receiving", string(app.ID), "none of its resources has a record of changes that is received").
			WithHint("a kind that has, and a vault for it: docs/drivers")
	}
	round := &api.ProtectRound{At: time.Now().UTC()}
	found, failed := s.eachStream(ctx, app, all, func(ctx context.Context, r streamed, t driver.Target) (model.Stream, error) {
		if err := r.streamer.StopStream(ctx, t); err != nil {
			return model.Stream{}, err
		}
		return r.streamer.LookAtStream(ctx, t)
	})
	round.Streams = found
	for _, err := range failed {
		add(ctx, round, &round.Points, nil, err)
	}
	return round, nil
}

// streams keeps an app's streams alive. It belongs to one goroutine, but for what it saw last.
type streams struct {
	s     *Service
	app   model.App
	all   []streamed
	again time.Time // nothing is done before

	mu     sync.Mutex
	last   []model.Stream
	failed []error
}

func (s *Service) streams(app model.App) (*streams, error) {
	all, err := s.streamedBy(app)
	return &streams{s: s, app: app, all: all}, err
}

// into adds how the streams did last to a round.
func (k *streams) into(ctx context.Context, round *api.ProtectRound) {
	k.mu.Lock()
	defer k.mu.Unlock()
	round.Streams = k.last
	for _, err := range k.failed {
		add(ctx, round, &round.Points, nil, err)
	}
}

// keep makes every stream flow; one that a move has stopped goes on when that run is over. It gives the resources that need
// a recovery point at once, and why.
func (k *streams) keep(ctx context.Context) map[model.ResourceID]string {
	if len(k.all) == 0 || time.Now().Before(k.again) {
		return nil
	}
	k.again = time.Now().Add(streamsEvery)
	found, failed := k.s.eachStream(ctx, k.app, k.all, func(ctx context.Context, r streamed, t driver.Target) (model.Stream, error) {
		st, err := r.streamer.Stream(ctx, driver.StreamRequest{Target: t})
		if err == nil && st.Held != "" && k.s.over(ctx, st.Held) {
			return r.streamer.Stream(ctx, driver.StreamRequest{Target: t, Over: st.Held})
		}
		return st, err
	})
	if ctx.Err() != nil {
		return nil
	}
	k.mu.Lock()
	k.last, k.failed = found, failed
	k.mu.Unlock()
	wanted := map[model.ResourceID]string{}
	for _, st := range found {
		if st.NeedsPoint != "" {
			wanted[st.Resource] = st.NeedsPoint
		}
	}
	return wanted
}

// over reports whether a run is known here, and has ended.
func (s *Service) over(ctx context.Context, run model.RunID) bool {
	view, err := s.Run(ctx, run)
	return err == nil && view.Final
}

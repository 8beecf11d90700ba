package service

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/engine"
	"github.com/lifeboat-dr/lifeboat/model"
)

// probeEvery is how often a run's probe asks when the app sets no interval.
const probeEvery = 100 * time.Millisecond

// probeRun asks the app's probe beside a run, as a client would, and reports each change: the measured RTO. It is the
// engine's companion: it ends when this process no longer drives the run.
func (s *Service) probeRun(ctx context.Context, view engine.View, emit func(engine.Event)) {
	moves := view.Plan.Operation == model.OpFailover || view.Plan.Operation == model.OpFailback
	app, ok := s.cfg.App(view.Plan.App)
	if !ok || view.Plan.Probe == nil || !moves {
		return
	}
	every := app.Protect.Probe.Std()
	if every <= 0 {
		every = probeEvery
	}
	seen := s.lastGood(ctx, app.ID)
	known, up := false, false
	if view.Probed != nil {
		known, up = true, view.Probed.Up
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ok, detail, err := s.askProbe(ctx, *view.Plan.Probe)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.Warn("the probe cannot ask", "app", app.ID, "err", err)
			return
		}
		switch {
		case ok && (!known || !up):
			known, up = true, true
			emit(engine.Event{Kind: engine.ProbeChanged, Up: true})
		case !ok && (!known || up):
			known, up = true, false
			emit(engine.Event{Kind: engine.ProbeChanged, Seen: seen, Phase: detail})
		}
		if ok {
			now := time.Now().UTC()
			seen = &now
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// probeStale is how old the last probe may be for what it saw to still be news. After it nobody knows what clients got.
const probeStale = time.Minute

// lastGood is when the protection loop last saw a good answer; nil when nobody looked, or not lately: an answer of last
// week does not say that an outage began then.
func (s *Service) lastGood(ctx context.Context, app model.AppID) *time.Time {
	_, store, err := s.open(ctx)
	if err != nil {
		return nil
	}
	known, _, err := read[probed](ctx, store, probeKey(app))
	if err != nil {
		s.log.Warn("what the last probe saw is not known", "app", app, "err", err)
		return nil
	}
	if time.Since(known.Asked) > probeStale {
		return nil
	}
	return known.LastGood
}

package service

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Keys of what is measured, beside the engine's runs.
const measures = "/lb/v1/measure/"

func probeKey(app model.AppID) string { return measures + "probe/" + string(app) }

// Bounds of protection.
const (
	markerTimeout = 10 * time.Second
	protectEvery  = 5 * time.Second
)

// probed is what the last probe outside of a run saw.
type probed struct {
	Asked    time.Time  `json:"asked"`
	Up       bool       `json:"up"`
	LastGood *time.Time `json:"last_good,omitempty"`
}

// Protect writes markers, probes the app and makes the points that are due, once or until ctx ends.
func (s *Service) Protect(ctx context.Context, req api.ProtectRequest) iter.Seq2[*api.ProtectRound, error] {
	return func(yield func(*api.ProtectRound, error) bool) {
		app, err := s.app(req.App)
		if err != nil {
			yield(nil, err)
			return
		}
		if req.Stop {
			yield(s.stopStreams(ctx, app))
			return
		}
		_, store, err := s.open(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		points, err := s.keeper(app)
		if err != nil {
			yield(nil, err)
			return
		}
		proofs, err := s.prover(app)
		if err != nil {
			yield(nil, err)
			return
		}
		every := time.Duration(app.Protect.Marker)
		if req.Every != nil {
			every = req.Every.Std()
		}
		if every <= 0 {
			every = protectEvery
		}
		told := func(*api.ProtectRound) {}
		if req.Metrics != "" {
			m, stop, err := s.serveMetrics(ctx, app, req.Metrics)
			if err != nil {
				yield(nil, err)
				return
			}
			defer stop()
			told = m.round
		}
		var beside, proving *keeping
		if !req.Once {
			beside, proving = background(ctx, points.any(), points.round), background(ctx, len(proofs.due) > 0, proofs.round)
			defer beside.stop()
			defer proving.stop()
		}
		for {
			began := time.Now()
			round := s.round(ctx, store, app)
			if req.Once {
				s.keep(ctx, round, &round.Points, points.round, points.wait)
				s.keep(ctx, round, &round.Proofs, proofs.round, proofs.wait)
			} else {
				beside.into(round, &round.Points)
				proving.into(round, &round.Proofs)
			}
			points.streams.into(ctx, round)
			told(round)
			if ctx.Err() != nil || !yield(round, nil) || req.Once {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(began.Add(every))):
			}
		}
	}
}

// round writes a marker into each resource that takes one, and asks the probe.
func (s *Service) round(ctx context.Context, store journal.Store, app model.App) *api.ProtectRound {
	round := &api.ProtectRound{At: time.Now().UTC(), Markers: map[model.ResourceID]model.Marker{}}
	failed := func(err error, op string, what string) {
		if ctx.Err() == nil {
			round.Errors = append(round.Errors, failure.From(failure.Wrap(err, op, what)))
		}
	}
	for _, r := range app.Resources {
		d, err := s.opts.Drivers.Get(r.Kind)
		if err != nil {
			failed(err, "protect", string(r.ID))
			continue
		}
		if w, ok := driver.As[driver.MarkerWriter](d); ok {
			m, err := s.mark(ctx, store, w, app, r)
			if err != nil {
				failed(err, "write marker into", string(r.ID))
				continue
			}
			round.Markers[r.ID] = m
		}
	}
	if app.Probe != nil {
		up, err := s.probe(ctx, store, app)
		if err != nil {
			failed(err, "probe", string(app.ID))
		} else {
			round.ProbeOK = &up
		}
	}
	return round
}

// keep does what is due and waits for it.
func (s *Service) keep(ctx context.Context, round *api.ProtectRound, to *[]api.PointRound, steps ...func(context.Context) ([]api.PointRound, error)) {
	for _, step := range steps {
		made, err := step(ctx)
		add(ctx, round, to, made, err)
	}
}

// add notes in a round what became of points or proofs.
func add(ctx context.Context, round *api.ProtectRound, to *[]api.PointRound, made []api.PointRound, err error) {
	*to = append(*to, made...)
	if err != nil && ctx.Err() == nil {
		round.Errors = append(round.Errors, failure.From(err))
	}
}

// probe asks the app's probe once and records what it saw.
func (s *Service) probe(ctx context.Context, store journal.Store, app model.App) (bool, error) {
	known, mod, err := read[probed](ctx, store, probeKey(app.ID))
	if err != nil {
		return false, err
	}
	asked := time.Now().UTC()
	up, _, err := s.askProbe(ctx, *app.Probe)
	if err != nil {
		return false, err
	}
	known.Asked, known.Up = asked, up
	if up {
		now := time.Now().UTC()
		known.LastGood = &now
	}
	return up, write(ctx, store, probeKey(app.ID), known, mod)
}

// askProbe asks a probe's question once.
func (s *Service) askProbe(ctx context.Context, c model.Check) (up bool, detail string, err error) {
	d, err := s.opts.Drivers.Get(c.Kind)
	if err != nil {
		return false, "", err
	}
	asker, ok := driver.As[driver.Asker](d)
	if !ok {
		return false, "", failure.New(failure.Invalid, "probe", string(c.Kind), "this kind cannot be a probe").WithHint("use http, tcp, sql or exec")
	}
	a, err := asker.Ask(ctx, c.Settings)
	return a.OK, a.Detail, err
}

// read reads one record; an absent one is the zero T at revision zero.
func read[T any](ctx context.Context, store journal.Store, key string) (T, int64, error) {
	var v T
	kv, ok, _, err := store.Get(ctx, key)
	if err != nil || !ok {
		return v, 0, err
	}
	if err := json.Unmarshal(kv.Value, &v); err != nil {
		return v, 0, failure.WrapAs(failure.Corrupt, err, "read", key)
	}
	return v, kv.Mod, nil
}

// write replaces a record if it still is at revision mod; one that somebody else has replaced is left alone.
func write(ctx context.Context, store journal.Store, key string, v any, mod int64) error {
	b, err := json.Marshal(v)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write", key)
	}
	_, _, err = store.Commit(ctx, journal.Txn{If: []journal.Cond{{Key: key, Mod: mod}}, Then: []journal.Op{{Key: key, Value: b}}})
	return err
}

package service

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Reach says which apps a plan leads to: the one that it is of, and those that plans of the user's own name on the way. The
// StatePayload documents among those plans are resolved by Options.Payloads. It asks no driver, and changes nothing.
func (s *Service) Reach(ctx context.Context, req api.PlanRequest) ([]model.App, error) {
	in := plan.Input{Config: s.cfg, Custom: req.Custom}
	r := reach{seen: map[string]bool{}}
	if req.Custom == "" {
		app, err := s.app(req.App)
		if err != nil {
			return nil, err
		}
		r.app(s.cfg, app)
		return r.apps, nil
	}
	if _, err := s.payloads(ctx, req, &in); err != nil {
		return nil, err
	}
	if _, ok := in.Config.Plan(req.Custom); !ok {
		_, _, err := plan.Compile(in) // says which plans there are
		return nil, err
	}
	r.step(in.Config, model.CustomStep{Plan: req.Custom})
	return r.apps, nil
}

// reach goes through apps and plans, each once.
type reach struct {
	apps []model.App
	seen map[string]bool
}

func (r *reach) app(cfg *model.Config, app model.App) {
	if r.seen["app "+string(app.ID)] {
		return
	}
	r.seen["app "+string(app.ID)] = true
	r.apps = append(r.apps, app)
	for _, res := range app.Resources {
		for _, h := range res.Hooks {
			r.step(cfg, h.Step)
		}
	}
}

func (r *reach) step(cfg *model.Config, s model.CustomStep) {
	if app, ok := cfg.App(s.App); ok {
		r.app(cfg, app)
	}
	p, ok := cfg.Plan(s.Plan)
	if !ok || r.seen["plan "+p.Name] {
		return
	}
	r.seen["plan "+p.Name] = true
	for _, inner := range p.Steps {
		r.step(cfg, inner)
	}
}

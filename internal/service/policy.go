package service

import (
	"context"
	"slices"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/iampolicy"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Policy says which permissions an app's operations need, or a plan of the user's own.
func (s *Service) Policy(ctx context.Context, req api.PolicyRequest) (*api.PolicyReply, error) {
	of, needs, err := string(req.App), []driver.Permission(nil), error(nil)
	if req.Custom != "" {
		of = req.Custom
		needs, err = s.planNeeds(ctx, req)
	} else {
		needs, err = s.appNeeds(req)
	}
	if err != nil {
		return nil, failure.Wrap(err, "policy of", of)
	}
	if req.Site != "" {
		needs = slices.DeleteFunc(needs, func(p driver.Permission) bool { return p.Site != req.Site })
	}
	if len(needs) == 0 {
		return nil, failure.New(failure.NotFound, "policy of", of, "nothing of it asks AWS for anything").WithHint("kinds whose names begin with aws. do")
	}
	return &api.PolicyReply{App: req.App, Custom: req.Custom, Grants: iampolicy.Grants(needs)}, nil
}

func (s *Service) appNeeds(req api.PolicyRequest) ([]driver.Permission, error) {
	app, err := s.app(req.App)
	if err != nil {
		return nil, err
	}
	if err := atSite(app, "policy", req.Site); err != nil {
		return nil, err
	}
	return iampolicy.Needs(app, s.opts.Drivers)
}

// planNeeds are the permissions of a plan of the user's own: of resolving its documents, of looking at what it touches, of its steps.
func (s *Service) planNeeds(ctx context.Context, req api.PolicyRequest) (needs []driver.Permission, err error) {
	ask := api.PlanRequest{Operation: model.OpCustom, Custom: req.Custom, Payload: req.Payload}
	in := plan.Input{Config: s.cfg}
	err = s.eachPayload(ask, &in, func(p model.CustomPlan, doc *model.Payload) error {
		more, err := s.opts.Payloads.Permissions(model.AppID(p.Name), doc, *p.Payload, in.Config.Sites)
		needs = append(needs, more...)
		return err
	})
	if err != nil || req.Import {
		return needs, err
	}
	reply, err := s.Plan(ctx, ask)
	if err != nil {
		return nil, err
	}
	return append(needs, s.needed(reply.Plan)...), nil
}

package service

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/internal/statepayload"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Payloads says what the actions of a StatePayload document are. It asks the region at plan.Site alone, and changes nothing. When
// a remark blocks there is no work.
type Payloads interface {
	Resolve(ctx context.Context, app model.AppID, doc *model.Payload, plan model.PayloadPlan, sites []model.Site) ([]model.PayloadWork, []model.PayloadRemark, error)
	// Permissions lists the calls that Resolve makes. It asks nobody.
	Permissions(app model.AppID, doc *model.Payload, plan model.PayloadPlan, sites []model.Site) ([]driver.Permission, error)
}

// payloads resolves the StatePayload documents that the plan req.Custom leads to, into in. What people should know of them is
// found; what keeps one from being run is the error.
func (s *Service) payloads(ctx context.Context, req api.PlanRequest, in *plan.Input) ([]model.Finding, error) {
	var found []model.Finding
	in.Payloads = map[string][]model.PayloadWork{}
	err := s.eachPayload(req, in, func(p model.CustomPlan, doc *model.Payload) error {
		work, remarks, err := s.opts.Payloads.Resolve(ctx, model.AppID(p.Name), doc, *p.Payload, in.Config.Sites)
		if err == nil {
			err = unfit(p.Name, remarks)
		}
		in.Payloads[p.Name] = work
		for _, r := range append(doc.Remarks, remarks...) {
			if r.Severity == model.Warn {
				found = append(found, r.Finding())
			}
		}
		return err
	})
	return found, err
}

// eachPayload reads the documents that the plan req.Custom leads to, of which one may come with the request: then it is in in.Config.
func (s *Service) eachPayload(req api.PlanRequest, in *plan.Input, do func(p model.CustomPlan, doc *model.Payload) error) error {
	if req.Payload != nil {
		cfg := *s.cfg
		if _, taken := cfg.Plan(req.Custom); taken {
			return failure.New(failure.Exists, "plan", req.Custom, "lifeboat.yaml has a plan of this name").WithHint("run it by its name, or give the file another one")
		}
		at := &model.PayloadPlan{File: req.Payload.File, Site: req.Payload.Site, Peer: req.Payload.Peer}
		if err := places(&cfg, req.Custom, at); err != nil {
			return err
		}
		cfg.Plans = append(slices.Clone(cfg.Plans), model.CustomPlan{Name: req.Custom, Payload: at})
		in.Config = &cfg
	}
	for _, p := range payloadPlans(in.Config, req.Custom) {
		if s.opts.Payloads == nil {
			return failure.New(failure.Unsupported, "plan", p.Name, "this build runs no StatePayload documents")
		}
		var err error
		content := []byte(nil)
		if req.Payload != nil {
			content = req.Payload.Content
		} else if content, err = readPayload(p.Payload.File); err != nil {
			return err
		}
		doc := statepayload.Read(p.Payload.File, content)
		if err := unfit(p.Name, doc.Remarks); err != nil {
			return err
		}
		if err := do(p, doc); err != nil {
			return err
		}
	}
	return nil
}

// payloadPlans are the documents among the plans that the plan name leads to.
func payloadPlans(cfg *model.Config, name string) (out []model.CustomPlan) {
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		p, ok := cfg.Plan(name)
		if !ok || seen[name] {
			return
		}
		seen[name] = true
		if p.Payload != nil {
			out = append(out, p)
		}
		for _, step := range p.Steps {
			visit(step.Plan)
		}
	}
	visit(name)
	return out
}

// places finds the sites of a document that no plan of lifeboat.yaml names.
func places(cfg *model.Config, name string, at *model.PayloadPlan) error {
	var others []model.SiteID
	for _, site := range cfg.Sites {
		if site.ID != at.Site && len(site.AWS) > 0 {
			others = append(others, site.ID)
		}
	}
	if at.Peer == "" && len(others) != 1 {
		return failure.New(failure.Invalid, "plan", name, "nothing says which site it moves away from").WithHint("--from SITE; other sites in AWS: %v", others)
	}
	if at.Peer == "" {
		at.Peer = others[0]
	}
	for _, id := range []model.SiteID{at.Site, at.Peer} {
		if !slices.ContainsFunc(cfg.Sites, func(s model.Site) bool { return s.ID == id }) {
			return failure.New(failure.Invalid, "plan", name, "lifeboat.yaml has no site %q", id).WithHint("--site SITE and --from SITE name sites of lifeboat.yaml")
		}
	}
	return nil
}

// unfit is everything that keeps a document from being run.
func unfit(name string, remarks []model.PayloadRemark) error {
	var all []error
	for _, r := range remarks {
		if r.Severity == model.Block {
			all = append(all, failure.New(failure.Invalid, "plan", name, "%s", r.Finding().What).WithHint("%s", r.Fix))
		}
	}
	return errors.Join(all...)
}

// readPayload reads a document, and not more than one may have.
func readPayload(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, failure.WrapAs(failure.NotFound, err, "read the document", path).WithHint("state_payload of the plan names the file, as seen from lifeboat.yaml's folder")
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, statepayload.MaxSize+1))
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "read the document", path)
	}
	return content, nil
}

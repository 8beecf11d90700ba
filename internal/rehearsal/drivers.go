package rehearsal

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// cast gives the drivers of a rehearsal: the real ones of AWS, on the stand-in for it, and for all other kinds ones that do nothing.
func (st *stage) cast(real *driver.Registry) (*driver.Registry, error) {
	world := fake.NewWorld()
	var all []driver.Driver
	for _, kind := range real.Kinds() {
		d, err := real.Get(kind)
		if err != nil {
			return nil, err
		}
		if awslook.Known(kind) {
			all = append(all, &paced{d, st.job})
			continue
		}
		all = append(all, &standIn{real: d, fake: fake.New(world), stage: st})
	}
	return driver.NewRegistry(all...), nil
}

// paced is a real driver whose calls say how fast the world is to be for the step that makes them.
type paced struct {
	driver.Driver
	job *Job
}

func (p *paced) Unwrap() driver.Driver { return p.Driver }

func (p *paced) pace(ctx context.Context, step model.StepID) context.Context {
	if f := p.job.Pace[step]; f > 0 {
		return awstest.Paced(ctx, f)
	}
	return ctx
}

// Describe tells how far a standby was behind at AWS: the stand-in knows nothing of that.
func (p *paced) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	out, err := p.Driver.Describe(ctx, t)
	if out.Role != model.RoleStandby {
		return out, err
	}
	out.LagTime = nil
	if behind, ok := p.job.Behind[at(t.Resource, t.Site)]; ok {
		out.LagTime = &behind
	}
	out.Facts = slices.DeleteFunc(out.Facts, func(f model.Fact) bool { return f.Name == "lag" })
	return out, err
}

// Begin begins at the step's pace.
func (p *paced) Begin(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return driver.Begin(p.pace(ctx, req.Step), p.Driver, req)
}

// Observe observes at the step's pace: it may take the next step of the work.
func (p *paced) Observe(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	return p.Driver.Observe(p.pace(ctx, req.Step), req, h)
}

// standIn stands in for a driver: what it can do and what its steps leave is the real one's, what it does is nothing, in the time
// that the real one was measured to take. The real one is asked nothing that could leave this process.
type standIn struct {
	real  driver.Driver
	fake  *fake.Driver
	stage *stage
}

// Unwrap is what says what can be done; see [standIn.Begin].
func (s *standIn) Unwrap() driver.Driver { return s.real }

// Facts are the real driver's.
func (s *standIn) Facts() driver.Facts { return s.real.Facts() }

// Describe tells of a copy that serves where its app does, and of ones that follow elsewhere; before that is known, of nothing.
func (s *standIn) Describe(ctx context.Context, t driver.Target) (model.Description, error) {
	t.Resource = s.made(t.Resource, "", "")
	out, err := s.fake.Describe(ctx, t)
	out.Summary = "stood in for"
	if st := s.stage; t.Site == st.lost && st.dark() {
		out.Role, out.Healthy = model.RoleUnreachable, false
	}
	return out, err
}

// Check finds nothing in the way.
func (s *standIn) Check(context.Context, driver.Request) ([]model.Finding, error) { return nil, nil }

// Begin begins nothing.
func (s *standIn) Begin(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if !driver.Can(s.real, req.Action) {
		return driver.Handle{}, failure.New(failure.Unsupported, string(req.Action), string(req.Resource.ID), "a resource of kind %s cannot do this", req.Resource.Kind)
	}
	req.Resource = s.made(req.Resource, req.Action, req.Step)
	return driver.Begin(ctx, s.fake, req)
}

// Observe tells when the time is over, with outputs of the types that later steps rely on.
func (s *standIn) Observe(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	own := req.Resource
	req.Resource = s.made(req.Resource, req.Action, req.Step)
	obs, err := s.fake.Observe(ctx, req, h)
	if err != nil || obs.State != driver.Done {
		return obs, err
	}
	declared, err := driver.OutputsOf(s.real, own, req.Action)
	if err != nil {
		return obs, err
	}
	obs.Outputs = map[string]model.Value{}
	for name, typ := range declared {
		obs.Outputs[name] = invented(typ, own.ID, req.Site)
	}
	obs.Evidence = []model.Fact{{Name: "rehearsal", Value: "stood in for: nothing was done"}}
	return obs, nil
}

// Cancel ends it.
func (s *standIn) Cancel(ctx context.Context, req driver.Request, h driver.Handle) error {
	req.Resource = s.made(req.Resource, req.Action, req.Step)
	return s.fake.Cancel(ctx, req, h)
}

// invented is a value of a type.
func invented(typ model.ValueType, id model.ResourceID, site model.SiteID) model.Value {
	host := string(id) + "." + string(site) + ".rehearsal.invalid"
	text := map[model.ValueType]string{model.TypeEndpoint: host + ":1", model.TypeURL: "http://" + host + "/", model.TypeNumber: "0", model.TypeLSN: "0/1",
		model.TypeTime: time.Now().UTC().Format(time.RFC3339Nano)}[typ]
	if text == "" {
		text = "rehearsal"
	}
	return model.Value{Type: typ, Text: text}
}

// made is a resource of the fake's that takes as long as the step was measured to take.
func (s *standIn) made(r model.Resource, action model.Action, step model.StepID) model.Resource {
	var settings fake.Settings
	if action != "" {
		script := fake.Script{Takes: s.stage.job.Took[step]}
		if action == model.ActionReadMarker {
			script.Outputs = map[string]string{"marker_at": time.Now().UTC().Format(time.RFC3339Nano), "marker_seq": "0"}
		}
		settings.Steps = map[model.Action]fake.Script{action: script}
	}
	sites := map[model.SiteID]json.RawMessage{}
	for id := range r.Sites {
		at := fake.Site{Role: model.RoleStandby}
		switch s.stage.serving[r.App] {
		case "":
			at.Role = model.RoleUnknown
		case id:
			at.Role = model.RolePrimary
		}
		sites[id], _ = json.Marshal(at) // plain data
	}
	r.Settings, _ = json.Marshal(settings)
	r.Sites = sites
	return r
}

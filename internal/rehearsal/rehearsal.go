// Package rehearsal answers [api.Rehearsals]: it carries out a plan where nothing real can be touched. The planner, the
// engine and the drivers of AWS are the real ones; AWS is drivers/aws/awstest, made from what AWS says there is.
//
// It has two halves. The first ([Rehearser]) reads the configuration, looks at AWS through a glass that lets nothing but looks
// pass, and writes a [Job]. The second plays the job in a process of its own ([Main], a hidden program of the binary), within a
// bubble of testing/synctest, where hours take no time; it has no credentials, and no way to reach anything but the stand-in. Why so
// is in docs/decisions.
//
// What is not in AWS is stood in for by drivers that do nothing; the rehearsal says so.
//
// Start with [New] and [Rehearser.Rehearse]; what happens in the bubble begins at play in stage.go.
package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awslook"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/orchestrator"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/config"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/service"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Drivers makes the drivers that there are, on what those of AWS reach AWS by.
type Drivers func(log *slog.Logger, base *awsbase.Base) *driver.Registry

// Options make a Rehearser. Config, Drivers and Play are required.
type Options struct {
	Config  string // path of lifeboat.yaml
	State   string // a state folder in place of the configured one
	Drivers Drivers
	Log     *slog.Logger
	// HTTP reaches AWS; nil: as the SDK does.
	HTTP awstest.HTTP
	// Archive is where earlier runs are; nil: in the state folder. For tests.
	Archive journal.Archive
	// Play plays the job; see [Apart].
	Play Play
}

// Play plays a job.
type Play func(ctx context.Context, job *Job, tell func(api.RehearsedStep)) (*Played, error)

// Rehearser implements [api.Rehearsals].
type Rehearser struct{ opts Options }

var _ api.Rehearsals = (*Rehearser)(nil)

// New makes a Rehearser. Nothing is read yet.
func New(opts Options) *Rehearser {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Rehearser{opts}
}

// sealed is an HTTP client that sends nothing: the drivers that read the configuration have it.
type sealed struct{}

// Do sends nothing.
func (sealed) Do(*http.Request) (*http.Response, error) {
	return nil, failure.New(failure.Internal, "call", "AWS", "nothing is to be asked while a rehearsal is made")
}

// Rehearse looks at AWS and plays what is asked for.
func (r *Rehearser) Rehearse(ctx context.Context, req api.RehearseRequest, tell func(api.RehearsedStep)) (*api.Rehearsal, error) {
	cfg, err := config.Load(r.opts.Config, r.opts.Drivers(r.opts.Log, awsbase.New(awsbase.Options{HTTP: sealed{}})))
	if err != nil {
		return nil, err
	}
	if r.opts.State != "" {
		if cfg.State, err = filepath.Abs(r.opts.State); err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "find state folder", r.opts.State)
		}
	}
	if err := check(cfg, &req); err != nil {
		return nil, err
	}
	job := &Job{Request: req, Now: time.Now(), Documents: documents{}}
	base := awslook.Base(r.opts.Log, r.opts.HTTP)
	defer base.Wait()
	drivers := r.opts.Drivers(r.opts.Log, base) // they can look, and nothing else
	svc, err := service.Open(ctx, service.Options{Loaded: cfg, Drivers: drivers, Log: r.opts.Log, Archive: r.opts.Archive,
		Payloads: noting{orchestrator.New(base), job.Documents}})
	if err != nil {
		return nil, err
	}
	defer svc.Close()
	real, err := r.prepare(ctx, svc, drivers, cfg, job)
	if err != nil {
		return nil, err
	}
	unseen, err := missing(job.Seen, cfg, job.Request)
	if err != nil {
		return nil, err
	}
	played, err := r.opts.Play(ctx, job, tell)
	if err != nil {
		return nil, err
	}
	out := played.Rehearsal
	out.Unseen, out.Looks, out.Runs = unseen, job.Seen.Calls, job.Runs
	if err := examine(ctx, svc, played, real); err != nil {
		return nil, err
	}
	return out, nil
}

// check finds what is wrong with the request by itself. It fills in the app, where there is only one.
func check(cfg *model.Config, req *api.RehearseRequest) error {
	if req.Custom == "" && req.App == "" && len(cfg.Apps) == 1 {
		req.App = cfg.Apps[0].ID
	}
	sites := make([]model.SiteID, len(cfg.Sites))
	for i, s := range cfg.Sites {
		sites[i] = s.ID
	}
	if app, ok := cfg.App(req.App); ok && req.Custom == "" {
		sites = append([]model.SiteID{app.Home}, app.Recovery...)
	}
	switch {
	case req.Custom == "" && !slices.Contains([]model.Operation{model.OpFailover, model.OpFailback, model.OpDrill}, req.Operation):
		return failure.New(failure.Invalid, "rehearse", string(req.Operation), "only failover, failback and drill can be rehearsed, and plans of your own")
	case req.Custom != "" && (req.Operation != model.OpCustom || req.App != "" || req.Mode != "" || req.To != ""):
		return failure.New(failure.Invalid, "rehearse", req.Custom, "a plan of your own says by itself what it does, of which app, and where")
	case req.Lost != "" && !slices.Contains(sites, req.Lost):
		return failure.New(failure.NotFound, "lose", string(req.Lost), "there is no such site").WithHint("sites: %v", sites)
	case req.Lost != "" && req.Lost == req.To:
		return failure.New(failure.Invalid, "lose", string(req.Lost), "the app is to recover there")
	case req.How != "" && !slices.Contains(api.LostHow(), req.How):
		return failure.New(failure.Invalid, "lose", string(req.Lost), "%q is no way to fail", req.How).WithHint("one of: %s", strings.Join(api.LostHow(), ", "))
	}
	return nil
}

// asked is the request to plan what is to be rehearsed.
func asked(req api.RehearseRequest) api.PlanRequest {
	return api.PlanRequest{App: req.App, Operation: req.Operation, To: req.To, Mode: req.Mode, Custom: req.Custom, Payload: req.Payload}
}

// noting notes what documents come to.
type noting struct {
	service.Payloads
	in documents
}

// Resolve notes what was resolved.
func (n noting) Resolve(ctx context.Context, app model.AppID, doc *model.Payload, plan model.PayloadPlan, sites []model.Site) ([]model.PayloadWork, []model.PayloadRemark, error) {
	work, remarks, err := n.Payloads.Resolve(ctx, app, doc, plan, sites)
	if err == nil {
		n.in[string(app)] = document{work, remarks}
	}
	return work, remarks, err
}

// prepare finds out what the plan leads to, what earlier runs measured, and what of it there is in AWS. What earlier runs measured
// is read from the archive: no journal is opened. It returns the resources, with their way to AWS.
func (r *Rehearser) prepare(ctx context.Context, svc *service.Service, drivers *driver.Registry, cfg *model.Config, job *Job) ([]model.Resource, error) {
	ask := asked(job.Request)
	apps, err := svc.Reach(ctx, ask)
	if err != nil {
		return nil, err
	}
	measured, runs, err := svc.Took(ctx, ask)
	if err != nil {
		return nil, err
	}
	job.Runs, job.Took = runs, map[model.StepID]model.Duration{}
	for id, d := range measured {
		job.Took[id] = model.Duration(d)
	}
	all := (&Job{Config: &model.Config{Apps: apps}, Documents: job.Documents}).resources()
	if !slices.ContainsFunc(all, func(r model.Resource) bool { return awslook.Known(r.Kind) }) {
		return nil, failure.New(failure.Unsupported, "rehearse", cmp.Or(string(ask.App), ask.Custom), "nothing of it is in AWS, and only AWS can be stood in for").
			WithHint("lifeboat drill APP rehearses an app on isolated copies")
	}
	if job.Seen, err = awslook.Look(ctx, r.opts.Log, r.opts.HTTP, all); err != nil {
		return nil, err
	}
	job.Behind = behind(ctx, drivers, all)
	return all, job.alone(cfg, apps)
}

// describeWithin bounds how long one resource is asked how far it is behind.
const describeWithin = 15 * time.Second

// behind asks the drivers how far what follows is behind.
func behind(ctx context.Context, drivers *driver.Registry, all []model.Resource) map[string]model.Duration {
	var mu sync.Mutex
	var group sync.WaitGroup
	out := map[string]model.Duration{}
	for _, res := range all {
		d, err := drivers.Get(res.Kind)
		if err != nil || !awslook.Known(res.Kind) || !d.Facts().Stateful {
			continue
		}
		for site := range res.Sites {
			group.Go(func() {
				bounded, cancel := context.WithTimeout(ctx, describeWithin)
				defer cancel()
				desc, err := d.Describe(bounded, driver.Target{App: res.App, Resource: res, Site: site})
				if err != nil || desc.Role != model.RoleStandby || desc.LagTime == nil {
					return // what cannot be asked has been said by the look
				}
				mu.Lock()
				defer mu.Unlock()
				out[at(res, site)] = *desc.LagTime
			})
		}
	}
	group.Wait()
	return out
}

// missing is what could not be looked at. Without the site that an app is to recover at there is nothing to rehearse; where a plan of
// the user's own needs a site, its steps say so.
func missing(seen *awslook.Seen, cfg *model.Config, req api.RehearseRequest) ([]api.Unseen, error) {
	to := req.To
	app, _ := cfg.App(req.App)
	switch {
	case to != "":
	case req.Operation == model.OpFailback:
		to = app.Home
	case len(app.Recovery) > 0:
		to = app.Recovery[0]
	}
	var out []api.Unseen
	for _, l := range seen.Left {
		if l.Whole && l.Site == to {
			return nil, failure.Wrap(l.Err, "look at", fmt.Sprintf("%s, where %s is to recover", to, req.App))
		}
		out = append(out, api.Unseen{Site: l.Site, What: l.What, Err: failure.From(l.Err)})
	}
	return out, nil
}

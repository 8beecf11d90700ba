// Package rehearsal answers [api.Rehearsals]: it carries out an app's plan where nothing real can be touched. The planner, the
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
type Play func(ctx context.Context, job *Job, tell func(api.RehearsedStep)) (*api.Rehearsal, error)

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

// Rehearse looks at AWS and plays the operation.
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
	app, err := check(cfg, &req)
	if err != nil {
		return nil, err
	}
	job := &Job{Request: req}
	if job.Took, job.Runs, err = r.took(ctx, cfg, app.ID, req.Operation); err != nil {
		return nil, err
	}
	if job.Config, err = alone(cfg, app); err != nil {
		return nil, err
	}
	job.Now = time.Now()
	if job.Seen, err = awslook.Look(ctx, r.opts.Log, r.opts.HTTP, app); err != nil {
		return nil, err
	}
	unseen, err := missing(job.Seen, app, req)
	if err != nil {
		return nil, err
	}
	job.Behind = r.behind(ctx, app)
	out, err := r.opts.Play(ctx, job, tell)
	if err != nil {
		return nil, err
	}
	out.Unseen, out.Looks, out.Runs = unseen, job.Seen.Calls, job.Runs
	return out, nil
}

// check finds the app, and what is wrong with the request. It fills in how the lost site fails.
func check(cfg *model.Config, req *api.RehearseRequest) (model.App, error) {
	app, ok := cfg.App(req.App)
	if !ok && req.App == "" && len(cfg.Apps) == 1 {
		app, ok = cfg.Apps[0], true
	}
	if !ok {
		var names []model.AppID
		for _, a := range cfg.Apps {
			names = append(names, a.ID)
		}
		return app, failure.New(failure.NotFound, "find app", string(req.App), "lifeboat.yaml has no app of this name").WithHint("apps: %v", names)
	}
	sites := append([]model.SiteID{app.Home}, app.Recovery...)
	switch {
	case !slices.Contains([]model.Operation{model.OpFailover, model.OpFailback, model.OpDrill}, req.Operation):
		return app, failure.New(failure.Invalid, "rehearse", string(req.Operation), "only failover, failback and drill can be rehearsed")
	case req.Lost != "" && !slices.Contains(sites, req.Lost):
		return app, failure.New(failure.NotFound, "lose", string(req.Lost), "%s has no such site", app.ID).WithHint("its sites: %v", sites)
	case req.Lost != "" && req.Lost == req.To:
		return app, failure.New(failure.Invalid, "lose", string(req.Lost), "the app is to recover there")
	case req.How != "" && !slices.Contains(api.LostHow(), req.How):
		return app, failure.New(failure.Invalid, "lose", string(req.Lost), "%q is no way to fail", req.How).WithHint("one of: %s", strings.Join(api.LostHow(), ", "))
	case !slices.ContainsFunc(app.Resources, func(r model.Resource) bool { return awslook.Known(r.Kind) }):
		return app, failure.New(failure.Unsupported, "rehearse", string(app.ID), "nothing of it is in AWS, and only AWS can be stood in for").
			WithHint("lifeboat drill %s rehearses it on isolated copies", app.ID)
	}
	if req.How == "" {
		req.How = api.LostHow()[0]
	}
	return app, nil
}

// took is what earlier runs measured. They are read from the archive: no driver is asked, and no journal is opened.
func (r *Rehearser) took(ctx context.Context, cfg *model.Config, app model.AppID, op model.Operation) (map[model.StepID]model.Duration, int, error) {
	svc, err := service.Open(ctx, service.Options{Loaded: cfg, Log: r.opts.Log, Archive: r.opts.Archive})
	if err != nil {
		return nil, 0, err
	}
	defer svc.Close()
	measured, runs, err := svc.Took(ctx, app, op)
	if err != nil {
		return nil, 0, err
	}
	took := map[model.StepID]model.Duration{}
	for id, d := range measured {
		took[id] = model.Duration(d)
	}
	return took, runs, nil
}

// describeWithin bounds how long one resource is asked how far it is behind.
const describeWithin = 15 * time.Second

// behind asks the drivers how far what follows is behind. They reach AWS through a glass.
func (r *Rehearser) behind(ctx context.Context, app model.App) map[string]model.Duration {
	base := awslook.Base(r.opts.Log, r.opts.HTTP)
	drivers := r.opts.Drivers(r.opts.Log, base)
	defer base.Wait()
	var mu sync.Mutex
	var group sync.WaitGroup
	out := map[string]model.Duration{}
	for _, res := range app.Resources {
		d, err := drivers.Get(res.Kind)
		if err != nil || !awslook.Known(res.Kind) || !d.Facts().Stateful {
			continue
		}
		for site := range res.Sites {
			group.Go(func() {
				bounded, cancel := context.WithTimeout(ctx, describeWithin)
				defer cancel()
				desc, err := d.Describe(bounded, driver.Target{App: app.ID, Resource: res, Site: site})
				if err != nil || desc.Role != model.RoleStandby || desc.LagTime == nil {
					return // what cannot be asked has been said by the look
				}
				mu.Lock()
				defer mu.Unlock()
				out[at(res.ID, site)] = *desc.LagTime
			})
		}
	}
	group.Wait()
	return out
}

// missing is what could not be looked at. Without the site that the app is to recover at there is nothing to rehearse.
func missing(seen *awslook.Seen, app model.App, req api.RehearseRequest) ([]api.Unseen, error) {
	to := req.To
	switch {
	case to != "":
	case req.Operation == model.OpFailback:
		to = app.Home
	default:
		to = app.Recovery[0]
	}
	var out []api.Unseen
	for _, l := range seen.Left {
		if l.Whole && l.Site == to {
			return nil, failure.Wrap(l.Err, "look at", fmt.Sprintf("%s, where %s is to recover", to, app.ID))
		}
		out = append(out, api.Unseen{Site: l.Site, What: l.What, Err: failure.From(l.Err)})
	}
	return out, nil
}

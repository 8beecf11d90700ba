package files

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/files/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Capture makes a recovery point of the live folder at req.Site.
func (d *Driver) Capture(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req, job.Capture)
}

// Copy brings the vault's replicas in step.
func (d *Driver) Copy(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req, job.Copy)
}

// Expire removes the points that the policy does not keep.
func (d *Driver) Expire(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req, job.Expire)
}

// Quiesce takes the folder's name away and captures what is there: the last point of this site.
func (d *Driver) Quiesce(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, err := newPlace(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	t, err := p.takeAway(ctx)
	if err != nil {
		return driver.Handle{}, err
	}
	if len(t.writers) > 0 {
		return driver.Handle{}, failure.New(failure.Conflict, "stop", p.subject(), "still open for writing: %s", strings.Join(t.writers, ", ")).
			WithHint("let what needs the folder stop first: needs: [%s]", req.Resource.ID)
	}
	return d.begin(ctx, req, job.Quiesce)
}

// Promote brings the newest point to req.Site and gives the folder its name.
func (d *Driver) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req, job.Promote)
}

// Reverse makes a copy at req.Site that follows: what was left behind there is captured first.
func (d *Driver) Reverse(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req, job.Follow)
}

// Drill restores the newest point into a folder of its own.
func (d *Driver) Drill(ctx context.Context, req driver.Request) (driver.Handle, error) {
	return d.begin(ctx, req, job.Drill)
}

// begin starts the job for a request, once.
func (d *Driver) begin(ctx context.Context, req driver.Request, op job.Op) (driver.Handle, error) {
	p, err := newPlace(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if !vaultjob.IsToken(req.Token) {
		return driver.Handle{}, failure.New(failure.Invalid, string(req.Action), p.subject(), "%q is no token", req.Token)
	}
	work := job.Request{
		Op: op, Whose: p.whose(), Site: req.Site, Folder: p.at.Folder, Select: p.own.selection(), Token: req.Token,
		Verify: p.own.Verify == "always" || op == job.Drill && p.own.Verify != "never",
	}
	if op == job.Drill {
		if p.at.Drill == nil {
			return driver.Handle{}, failure.New(failure.Invalid, "drill", p.subject(), "drill.folder: is not set").
				WithHint("set drill: {folder: …} at site %s", p.site)
		}
		work.Into = p.drillFolder(req.Token)
	}
	if req.Resource.Points != nil {
		work.Keep = req.Resource.Points.Keep
	}
	if work.Sealed, err = vaultjob.Seal(ctx, p.vault); err != nil {
		return driver.Handle{}, failure.Wrap(err, string(req.Action), p.subject())
	}
	program, err := vaultjob.Binary(p.at.Lifeboat, p.at.Via, d.program)
	if err != nil {
		return driver.Handle{}, err
	}
	h := handle{Job: path.Join(p.work(), "jobs", req.Token), At: d.now()}
	if err := vaultjob.Start(ctx, p.host(), h.Job, program, job.Program, work); err != nil {
		return driver.Handle{}, failure.Wrap(err, string(req.Action), p.subject())
	}
	return driver.NewHandle(handleVersion, h)
}

// Observe asks what became of the work.
func (d *Driver) Observe(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	v, err := driver.ReadHandle[handle](handleVersion, h)
	if err != nil {
		return driver.Observation{}, err
	}
	p, err := newPlace(req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	switch req.Action {
	case model.ActionFence:
		return d.observeFence(ctx, p)
	case model.ActionReadMarker:
		return d.observeMarker(ctx, req, p)
	}
	state, err := p.host().JobState(ctx, v.Job)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, string(req.Action), p.subject())
	}
	obs, ended := vaultjob.Judge(state, string(req.Action), p.subject())
	if !ended {
		return obs, nil
	}
	if req.Action == model.ActionRelease {
		return d.observeRelease(ctx, req, p)
	}
	return d.done(ctx, req, p, state)
}

// done looks at the world once more before it believes a job's word.
func (d *Driver) done(ctx context.Context, req driver.Request, p *place, state hostexec.JobState) (driver.Observation, error) {
	obs := driver.Observation{State: driver.Done, Outputs: map[string]model.Value{}}
	for _, name := range []string{"point", "at", "files", "bytes", "added", "written", "unchanged", "verified", "left_behind", "removed", "copied", "freed"} {
		if value := state.Values[name]; value != "" {
			obs.Evidence = append(obs.Evidence, model.Fact{Name: name, Value: value})
		}
	}
	if point := state.Values["point"]; point != "" {
		obs.Outputs["point"] = driver.Text(point)
	}
	switch req.Action {
	case model.ActionCapture:
		at, err := time.Parse(time.RFC3339Nano, state.Values["at"])
		if err != nil {
			return driver.Observation{}, failure.WrapAs(failure.Corrupt, err, "capture", p.subject())
		}
		obs.Outputs["at"] = driver.Time(at)
	case model.ActionPromote:
		s, err := p.look(ctx)
		if err != nil {
			return driver.Observation{}, err
		}
		if !s.Live {
			return driver.Observation{State: driver.Failed, Err: failure.New(failure.Conflict, "promote", p.subject(), "the folder was there and is gone")}, nil
		}
		obs.Outputs["path"] = driver.Text(p.at.Folder)
		obs.Outputs["marker"] = driver.Text(noMarker)
		if marker := state.Values["marker"]; marker != "" {
			obs.Outputs["marker"] = driver.Text(marker)
		}
	case model.ActionDrill:
		obs.Outputs["path"] = driver.Text(state.Values["path"])
	default:
		obs.Outputs = nil
	}
	return obs, nil
}

// Cancel stops the job; what it was writing stays beside the live folder and is used by the next one.
func (d *Driver) Cancel(ctx context.Context, req driver.Request, h driver.Handle) error {
	v, err := driver.ReadHandle[handle](handleVersion, h)
	if err != nil || v.Job == "" {
		return err
	}
	p, err := newPlace(req.Target, req.Site)
	if err != nil {
		return err
	}
	return failure.Wrap(p.host().StopJob(ctx, v.Job), "cancel", p.subject())
}

package files

import (
	"context"
	"path"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Release removes the copy that a drill made. It needs nothing but the drill's token.
func (d *Driver) Release(ctx context.Context, req driver.Request) (driver.Handle, error) {
	p, folder, err := d.released(req)
	if err != nil {
		return driver.Handle{}, err
	}
	// A drill that still writes is stopped first; one that has not begun never will.
	if err := p.host().StopJob(ctx, path.Join(p.work(), "jobs", req.Released.Token)); err != nil {
		return driver.Handle{}, failure.Wrap(err, "release", p.subject())
	}
	h := handle{Job: path.Join(p.work(), "jobs", req.Token), At: d.now()}
	err = p.host().StartJob(ctx, hostexec.Job{Dir: h.Job, Script: "echo removing >\"$1/phase\"\nrm -rf -- " + words(folder) + "\n"})
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "release", p.subject())
	}
	return driver.NewHandle(handleVersion, h)
}

// released is the copy that a release is about.
func (d *Driver) released(req driver.Request) (*place, string, error) {
	p, err := newPlace(req.Target, req.Site)
	if err != nil {
		return nil, "", err
	}
	if req.Released == nil || !vaultjob.IsToken(req.Released.Token) || !vaultjob.IsToken(req.Token) {
		return nil, "", failure.New(failure.Invalid, "release", p.subject(), "no step to release")
	}
	if p.at.Drill == nil {
		return nil, "", failure.New(failure.Invalid, "release", p.subject(), "drill.folder: is not set").
			WithHint("set drill: {folder: …} at site %s", p.site)
	}
	return p, p.drillFolder(req.Released.Token), nil
}

// observeRelease looks whether the copy is gone.
func (d *Driver) observeRelease(ctx context.Context, req driver.Request, p *place) (driver.Observation, error) {
	_, folder, err := d.released(req)
	if err != nil {
		return driver.Observation{}, err
	}
	res, err := p.host().Script(ctx, `[ -e "$1" ] && echo there; exit 0`, folder)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "release", p.subject())
	}
	if res.Text() != "" {
		return driver.Observation{State: driver.Failed, Err: failure.New(failure.Conflict, "release", p.subject(), "%s is still there", folder)}, nil
	}
	return driver.Observation{State: driver.Done, Evidence: []model.Fact{{Name: "removed", Value: folder}}}, nil
}

package postgres

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Prove restores a base point into the drill folder at req.Site, checks it there and writes into the vault what came of it;
// or, to bisect, looks for the newest state that passes the checks. Nobody but the job reaches the copy.
func (d *Driver) Prove(ctx context.Context, req driver.Request) (driver.Handle, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	wrong := func(err error) (driver.Handle, error) {
		return driver.Handle{}, failure.Wrap(err, "prove", s.subject())
	}
	if s.at.Drill == nil {
		return wrong(failure.New(failure.Invalid, "", "", "drill.folder is not set").WithHint("set drill: {folder: …} at site %s", s.site))
	}
	if req.Prove == nil {
		return wrong(failure.New(failure.Invalid, "", "", "the request does not say what"))
	}
	if err := checkToken(req.Token); err != nil {
		return wrong(err)
	}
	if err := s.hostAccess(ctx); err != nil {
		return wrong(err)
	}
	at, err := s.post()
	if err != nil {
		return wrong(err)
	}
	if err := at.ready(ctx); err != nil {
		return wrong(err)
	}
	op := job.Prove
	if req.Prove.Bisect {
		op = job.Search
	}
	r, err := s.request(ctx, req, op, at)
	if err != nil {
		return wrong(err)
	}
	dir := path.Join(s.at.Drill.Folder, req.Token)
	t := s.target(at, hostState{})
	t.Data, t.Apart, t.Log, t.Settings, t.Fresh, t.Point = path.Join(dir, "data"), true, path.Join(dir, "server.log"), nil, nil, req.Prove.Point
	r.Target = t
	r.Prove = &job.Proof{ProveSpec: *req.Prove, Run: req.Run, Database: s.own.Database, Temp: proofTemp(req.Token)}
	return d.startJob(ctx, req, s, at, dir, r)
}

// proofTemp is the folder of the socket of a copy that a proof or a drill makes.
func proofTemp(token string) string { return "/tmp/lifeboat-" + token[:min(len(token), 20)] }

// observeProof follows a proof or a search.
func (d *Driver) observeProof(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	v, err := driver.ReadHandle[jobHandle](handleVersion, h)
	if err != nil {
		return driver.Observation{}, err
	}
	subject := string(req.Resource.ID) + " at " + string(req.Site)
	state, err := v.Host.JobState(ctx, v.Job)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "prove", subject)
	}
	obs, ended := vaultjob.Judge(state, "prove", subject)
	obs.Evidence = proofEvidence(state)
	if !ended {
		return obs, nil
	}
	obs.State, obs.Outputs = driver.Done, map[string]model.Value{}
	for _, name := range []string{"point", "good", "bad"} {
		if value := state.Values[name]; value != "" {
			obs.Outputs[name] = driver.Text(value)
		}
	}
	for _, name := range []string{"good_at", "bad_at"} {
		if t, err := time.Parse(time.RFC3339Nano, state.Values[name]); err == nil {
			obs.Outputs[name] = driver.Time(t)
		}
	}
	return obs, nil
}

// proofEvidence is what was checked or probed, in order, then what came of it.
func proofEvidence(state hostexec.JobState) []model.Fact {
	var out []model.Fact
	for _, name := range slices.Sorted(maps.Keys(state.Values)) {
		for _, kind := range []string{"check", "probe"} {
			if strings.HasPrefix(name, kind+".") {
				out = append(out, model.Fact{Name: kind, Value: state.Values[name]})
			}
		}
	}
	return append(out, evidence(state, "point", "answered", "found")...)
}

// prove says whether a copy can be made at the site to look at.
func (c *checker) prove(ctx context.Context) {
	switch {
	case c.site.vault == nil:
		c.add(model.Block, "vault", c.site.site, "it names no vault", "points are kept there", "name one, as in vault: main")
		return
	case c.site.at.Drill == nil:
		c.add(model.Block, "drill-folder-missing", c.site.site, "drill.folder is not set", "the copy has no place",
			"set drill: {folder: …} at site "+string(c.site.site))
		return
	case c.host != nil:
		c.add(model.Block, "drill-impossible", c.site.site, "the host cannot be used: "+c.host.Error(), "the copy is made there",
			"set data and via at site "+string(c.site.site))
		return
	}
	c.canRun(ctx, model.Block)
}

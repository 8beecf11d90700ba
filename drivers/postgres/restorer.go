package postgres

import (
	"context"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Restore brings back the state that req.Restore names: into a folder at the site, or on the machine that runs Lifeboat, or in
// place. A copy in a folder that is left running is apart from everything, at a port of its own.
func (d *Driver) Restore(ctx context.Context, req driver.Request) (driver.Handle, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	at, t, err := s.restoreTo(req)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "restore", s.subject())
	}
	if err := at.ready(ctx); err != nil {
		return driver.Handle{}, failure.Wrap(err, "restore", s.subject())
	}
	r, err := s.request(ctx, req, job.Restore, at)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "restore", s.subject())
	}
	r.Target = t
	return d.startJob(ctx, req, s, at, at.job(req.Token), r)
}

// restoreTo says where a restore is done, and what it is told.
func (s *server) restoreTo(req driver.Request) (post, *job.Target, error) {
	spec := req.Restore
	if spec == nil {
		return post{}, nil, failure.New(failure.Invalid, "", "", "nothing says what is restored")
	}
	to, err := parseTarget(spec.To)
	if err != nil {
		return post{}, nil, err
	}
	at, err := s.post()
	if spec.Here {
		at, err = s.here()
	}
	if err != nil {
		return at, nil, err
	}
	if spec.InPlace && !at.onHost {
		return at, nil, failure.New(failure.Unsupported, "", "", "the host may not be used: no data folder is set").WithHint("set data (and via) at site %s", s.site)
	}
	t := s.target(at, hostState{})
	t.To, t.Point, t.Run = to, spec.Point, spec.Run
	if spec.InPlace {
		t.Overwrite = pgrestore.SameSystem
		if s.at.Service != nil {
			t.Start = s.at.Service.Start
		}
		return at, t, nil
	}
	t.Data, t.Apart, t.Config, t.Settings, t.Fresh = path.Clean(spec.Folder), true, "", nil, nil
	t.Log = t.Data + ".log"
	if spec.Here {
		t.Bin = "" // the site's says nothing of this machine
	}
	if !at.onHost {
		t.Spools = []string{s.spool(at)}
	}
	if spec.Run {
		t.Listen, t.Port = "127.0.0.1", portOf(req.Token)
		if s.at.Drill != nil && s.at.Drill.Host != "" && at.onHost {
			t.Listen = s.at.Drill.Host
		} else if at.onHost {
			t.Listen = s.at.Host
		}
	}
	return at, t, nil
}

// parseTarget reads RestoreSpec.To.
func parseTarget(to string) (pgrestore.Target, error) {
	what, value, _ := strings.Cut(to, ":")
	wrong := func(err error) (pgrestore.Target, error) {
		return pgrestore.Target{}, failure.WrapAs(failure.Invalid, err, "understand", to).
			WithHint("latest, immediate, a time such as 2026-05-04T12:30:00Z, lsn:0/3000060, name:before-upgrade, xid:4711, before-xid:4711")
	}
	switch what {
	case "", "latest":
		return pgrestore.Target{Kind: pgrestore.Latest}, nil
	case "immediate":
		return pgrestore.Target{Kind: pgrestore.Immediate}, nil
	case "lsn":
		at, err := pgwal.ParseLSN(value)
		if err != nil {
			return wrong(err)
		}
		return pgrestore.Target{Kind: pgrestore.LSN, LSN: at}, nil
	case "name":
		return pgrestore.Target{Kind: pgrestore.Name, Name: value}, nil
	case "xid", "before-xid":
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return wrong(err)
		}
		return pgrestore.Target{Kind: pgrestore.Kind(what), XID: n}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, to)
	if err != nil {
		return wrong(err)
	}
	return pgrestore.Target{Kind: pgrestore.Time, Time: at}, nil
}

// restored judges a restore that has ended.
func (d *Driver) restored(req driver.Request, state hostexec.JobState, _ jobHandle) (driver.Observation, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	_, t, err := s.restoreTo(req)
	if err != nil {
		return driver.Observation{}, err
	}
	facts := append([]model.Fact{{Name: "folder", Value: t.Data}}, evidence(state, restoreValues...)...)
	timeline := state.Values["timeline"]
	if timeline == "" {
		timeline = "0"
	}
	outputs := map[string]model.Value{
		"path": driver.Text(t.Data), "lsn": {Type: model.TypeLSN, Text: state.Values["reached"]}, "timeline": driver.Number(timeline)}
	if port := state.Values["port"]; port != "" {
		at := net.JoinHostPort(t.Listen, port)
		outputs["endpoint"] = driver.Endpoint(at)
		facts = append(facts, model.Fact{Name: "answers", Value: at + ", apart from everything and without durability: pg_ctl stop -D " + t.Data})
	}
	return driver.Observation{State: driver.Done, Evidence: facts, Outputs: outputs}, nil
}

// restore says what stands in the way of a restore.
func (c *checker) restore(ctx context.Context) {
	at, t, err := c.site.restoreTo(c.req)
	if err != nil {
		c.add(model.Block, "restore-impossible", c.site.site, err.Error(), "", failure.HintOf(err))
		return
	}
	if at.onHost && c.host != nil {
		c.add(model.Block, "restore-impossible", c.site.site, "the host cannot be used: "+c.host.Error(), "the copy is made there",
			"set data and via at site "+string(c.site.site)+", or restore on this machine: --here")
		return
	}
	if err := at.ready(ctx); err != nil {
		c.add(model.Block, "no-lifeboat", c.site.site, err.Error(), "it does the work there", failure.HintOf(err))
	}
	c.fromVault(ctx)
	if c.req.Restore.InPlace {
		if c.self.err == nil || c.at.Postmaster != 0 {
			c.add(model.Block, "serves", c.site.site, "a server runs on "+c.site.at.Data, "a copy that serves is not written over", "stop it first")
		}
		return
	}
	res, err := at.host.Script(ctx, `[ ! -e "$1" ] || [ -z "$(ls -A "$1")" ] || [ -e "$1/lifeboat-restore.json" ] || echo used; [ -d "$(dirname "$1")" ] || echo nowhere`, t.Data)
	switch {
	case err != nil:
		c.add(model.Block, "restore-impossible", c.site.site, err.Error(), "", failure.HintOf(err))
	case strings.Contains(res.Text(), "used"):
		c.add(model.Block, "folder-in-use", c.site.site, t.Data+" is not empty", "nothing is written over that is not ours", "name a folder that is not there yet")
	case strings.Contains(res.Text(), "nowhere"):
		c.add(model.Block, "folder-missing", c.site.site, fmt.Sprintf("%s is not there", path.Dir(t.Data)), "the copy is made in it", "make it")
	}
}

package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/model"
)

//go:embed scripts/fence.sh
var fenceScript string

// Bounds of fencing. A dead site must cost seconds, a living one gets the time to hand its last WAL to the standby.
const (
	fencePatience = 8 * time.Second  // for a shutdown in order, before it is made an immediate one
	fenceHostTime = 25 * time.Second // for all that is done on the host
)

// fenceHandle says by which way the copy was shut out, and what was seen.
type fenceHandle struct {
	Way      string       `json:"way"` // host, standby, command
	Evidence []model.Fact `json:"evidence,omitempty"`
}

// The ways to fence.
const (
	fenceByHost    = "host"    // the server was stopped and will come back as a standby
	fenceByCommand = "command" // the user's command said so
)

// Fence proves that the copy at req.Site takes no more writes. The best way is the host: the server is stopped, nothing
// answers at its address, and standby.signal makes every later start one of a standby. The next is the user's fence
// command. An answer by SQL alone proves nothing: any client can set a session back to read-write.
func (d *Driver) Fence(ctx context.Context, req driver.Request) (driver.Handle, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	h, hostErr := d.fenceByHost(ctx, req, s)
	if hostErr == nil {
		return driver.NewHandle(handleVersion, h)
	}
	if ctx.Err() != nil {
		return driver.Handle{}, failure.Wrap(hostErr, "fence", s.subject())
	}
	d.log.Warn("fence by the host is not possible", "resource", req.Resource.ID, "site", req.Site, "error", hostErr)
	if s.at.Fence == nil {
		return driver.Handle{}, unproven(s, hostErr, "no fence command is set")
	}
	h, err = d.fenceByCommand(ctx, req, s)
	if err != nil {
		return driver.Handle{}, unproven(s, hostErr, "the fence command: "+err.Error())
	}
	h.Evidence = append(h.Evidence, model.Fact{Name: "host", Value: hostErr.Error()})
	return driver.NewHandle(handleVersion, h)
}

// unproven is the error of a copy that could not be shut out.
func unproven(s *server, host error, more string) error {
	return driver.Unproven(nil, s.subject(), "make sure by other means that "+s.endpoint()+" is off and stays off", "by the host: %v; %s", host, more)
}

// fenceByHost stops the server on its host and makes it come back as a standby.
func (d *Driver) fenceByHost(ctx context.Context, req driver.Request, s *server) (fenceHandle, error) {
	h := fenceHandle{Way: fenceByHost}
	if _, err := s.look(ctx); err != nil { // quick, and bounds what a host that hangs costs
		return h, err
	}
	conf, err := d.followConf(ctx, req, req.Peer)
	if err != nil {
		d.log.Warn("the fenced copy is not pointed at the new primary", "resource", req.Resource.ID, "error", err)
	}
	ctx, cancel := context.WithTimeout(ctx, fenceHostTime)
	defer cancel()
	note := fmt.Sprintf("run=%s token=%s at=%s", req.Run, req.Token, d.now().UTC().Format(time.RFC3339))
	res, err := s.run(ctx, failure.Unavailable, "shut out", conf, fenceScript,
		"note", note, "patience", fmt.Sprint(int(fencePatience/time.Second)))
	if err != nil {
		return h, err
	}
	if s.answers(ctx) {
		if err := d.notAWriter(ctx, s); err != nil {
			return h, err
		}
	}
	if how, ok := fact(res, "stop"); ok {
		h.Evidence = append(h.Evidence, model.Fact{Name: "server", Value: how})
	}
	return h, nil
}

// followConf is the lines that make a stopped copy follow the one at peer, "" when no peer is known. The name of the
// standby is that of req.Site.
func (d *Driver) followConf(ctx context.Context, req driver.Request, peer model.SiteID) (string, error) {
	if peer == "" {
		return "", nil
	}
	p, err := newServer(req.Target, peer)
	if err != nil {
		return "", err
	}
	info, err := p.conninfo(ctx, standbyName(req.Site))
	if err != nil {
		return "", err
	}
	return confLine("primary_conninfo", info), nil
}

// notAWriter is for a server that answers at an address where none should: an error unless it says itself that it is
// in recovery, which is a standby that somebody started after the signal was written.
func (d *Driver) notAWriter(ctx context.Context, s *server) error {
	st, err := s.ask(ctx)
	switch {
	case err == nil && st.Recovery:
		return nil
	case err == nil:
		return failure.New(failure.Conflict, "shut out", s.subject(), "a primary still answers at %s", s.endpoint())
	}
	return failure.New(failure.Unavailable, "shut out", s.subject(), "something still answers at %s: %v", s.endpoint(), err)
}

// fenceByCommand runs the user's command where Lifeboat runs.
func (d *Driver) fenceByCommand(ctx context.Context, req driver.Request, s *server) (fenceHandle, error) {
	h := fenceHandle{Way: fenceByCommand}
	limit := s.at.Fence.Timeout.Std()
	if limit == 0 {
		limit = defaultFenceTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res, err := hostexec.Host{}.Exec(ctx, hostexec.Command{Argv: s.at.Fence.Command, Env: []string{
		"LIFEBOAT_RUN=" + string(req.Run), "LIFEBOAT_TOKEN=" + req.Token, "LIFEBOAT_SITE=" + string(req.Site),
		"LIFEBOAT_RESOURCE=" + string(req.Resource.ID), "LIFEBOAT_ENDPOINT=" + s.endpoint(),
	}})
	if err != nil {
		return h, err
	}
	if err := res.Err(failure.Unavailable, "run", s.at.Fence.Command[0]); err != nil {
		return h, err
	}
	if s.answers(ctx) {
		if err := d.notAWriter(ctx, s); err != nil {
			return h, err
		}
	}
	h.Evidence = []model.Fact{
		{Name: "command", Value: hostexec.Join(s.at.Fence.Command) + " exited with 0"},
		{Name: "said", Value: res.Text()},
	}
	return h, nil
}

// observeFence looks again: what is proven is proven now.
func (d *Driver) observeFence(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	v, err := driver.ReadHandle[fenceHandle](handleVersion, h)
	if err != nil {
		return driver.Observation{}, err
	}
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	evidence := append([]model.Fact{{Name: "fenced", Value: "by " + v.Way}}, v.Evidence...)
	if v.Way == fenceByHost {
		st, err := s.look(ctx)
		if err != nil {
			return driver.Observation{}, failure.Wrap(err, "fence", s.subject())
		}
		seen, err := provenByHost(s, st)
		if err != nil {
			return failed(err)
		}
		evidence = append(evidence, seen...)
	}
	if s.answers(ctx) {
		if err := d.notAWriter(ctx, s); err != nil {
			return failed(unproven(s, err, "after the fence"))
		}
		evidence = append(evidence, model.Fact{Name: "address", Value: s.endpoint() + " answers as a standby"})
	} else {
		evidence = append(evidence, model.Fact{Name: "address", Value: "nothing answers at " + s.endpoint()})
	}
	return driver.Observation{State: driver.Done, Evidence: evidence, Outputs: map[string]model.Value{}}, nil
}

// provenByHost judges what the host shows.
func provenByHost(s *server, st hostState) ([]model.Fact, error) {
	switch st.Folder {
	case folderAbsent, folderEmpty:
		what := "the data folder is not there"
		if st.Folder == folderEmpty {
			what = "the data folder is empty"
		}
		return []model.Fact{{Name: "data", Value: what + ", and no server runs. Should it come back (a disk that is " +
			"mounted again), it comes back as it was: keep it from being started, or run lifeboat failback first"}}, nil
	case folderServer:
		if !st.Standby || st.Recovery {
			return nil, unproven(s, failure.New(failure.Conflict, "", "", "standby.signal is gone from %s", s.at.Data),
				"somebody changed the data folder after the fence")
		}
		run := "no server runs"
		if st.Postmaster != 0 {
			run = "the server that runs was started as a standby"
		}
		return []model.Fact{{Name: "data", Value: "standby.signal is written: a start makes a read-only standby; " + run}}, nil
	}
	return nil, unproven(s, failure.New(failure.Conflict, "", "", "%s is %s", s.at.Data, st.Folder), "no data folder to shut out")
}

// fact finds NAME=value in a script's output.
func fact(res hostexec.Result, name string) (string, bool) {
	for _, line := range strings.Split(string(res.Stdout), "\n") {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

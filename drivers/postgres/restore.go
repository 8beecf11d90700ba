package postgres

import (
	"context"
	"maps"
	"path"
	"strconv"
	"sync"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/job"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostexec"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
)

// restoreValues are what a job that restores leaves for people.
var restoreValues = []string{"point", "base", "reached", "last_commit", "stopped", "timeline", "receiver", "old", "files", "log", "took", "warning", "warnings"}

// restoring finds the job that an earlier begin with this token started; nil: none did.
func (d *Driver) restoring(ctx context.Context, req driver.Request, s *server) (*jobHandle, error) {
	if !s.fromVault() {
		return nil, nil
	}
	if err := checkToken(req.Token); err != nil {
		return nil, failure.Wrap(err, string(req.Action), s.subject())
	}
	at, err := s.post()
	if err != nil || !at.onHost {
		return nil, err
	}
	state, err := at.host.JobState(ctx, at.job(req.Token))
	if err != nil || state.Phase == hostexec.JobAbsent {
		return nil, failure.Wrap(unavailableOrNil(err), string(req.Action), s.subject())
	}
	return &jobHandle{Host: at.host, Job: at.job(req.Token)}, nil
}

func unavailableOrNil(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(err)
}

// stopReceiving keeps the receiver at a site that is about to serve from receiving from the old primary, and tells it to end.
// From then on an old primary that waits for it acknowledges nothing any more, whatever else becomes of that one.
func (d *Driver) stopReceiving(ctx context.Context, req driver.Request, s *server) error {
	if s.vault == nil {
		return nil
	}
	at, err := s.post()
	if err != nil {
		return err
	}
	if at.onHost {
		if err := s.hostAccess(ctx); err != nil {
			if s.fromVault() {
				return failure.Wrap(err, string(req.Action), s.subject())
			}
			d.log.Warn("whether a receiver runs cannot be seen", "resource", s.id, "site", s.site, "error", err)
			return nil
		}
	}
	err = at.writeHold(ctx, hold{Run: req.Run, Token: req.Token, At: d.now().UTC()})
	if err == nil {
		_, err = at.place().Signal(ctx, "TERM", "")
	}
	if err != nil && !s.fromVault() {
		// A standby is promoted all the same: what it has it has.
		d.log.Warn("the receiver is not stopped", "resource", s.id, "site", s.site, "error", err)
		return nil
	}
	if err == nil && s.fromVault() {
		d.stopOthers(ctx, req)
	}
	return failure.Wrap(err, "stop what receives", s.subject())
}

// stopOthers does the same at the sites that take no part in a move, and waits: a commit that the old primary acknowledged may
// be in one of their spools alone, and comes from there into the vault. A site that does not answer is passed over.
func (d *Driver) stopOthers(ctx context.Context, req driver.Request) {
	others, err := newServers(req.Target, req.Site, req.Peer)
	if err != nil {
		return // their settings were read before
	}
	var all sync.WaitGroup
	for _, o := range others {
		all.Go(func() {
			at, err := o.post()
			if err == nil && at.onHost {
				err = o.hostAccess(ctx)
			}
			if err == nil {
				err = at.writeHold(ctx, hold{Run: req.Run, Token: req.Token, At: d.now().UTC()})
			}
			if err == nil {
				_, err = at.stopReceiver(ctx)
			}
			if err != nil {
				d.log.Warn("what is received at another site may not all be in the vault", "resource", o.id, "site", o.site, "error", err)
			}
		})
	}
	all.Wait()
}

// goOn lets those go on that stopOthers has stopped for this move.
func (d *Driver) goOn(ctx context.Context, req driver.Request) {
	others, err := newServers(req.Target, req.Site, req.Peer)
	if err != nil {
		return
	}
	for _, o := range others {
		at, err := o.post()
		if err != nil {
			continue
		}
		seen, err := at.lookReceiver(ctx)
		if err == nil && seen.held != nil && seen.held.Token == req.Token {
			err = at.dropHold(ctx)
		}
		if err != nil {
			d.log.Warn("a receiver at another site is still held", "resource", o.id, "site", o.site, "error", err)
		}
	}
}

// serves notes at a site that it serves now: its receiver may go on once another primary is younger.
func (d *Driver) serves(ctx context.Context, req driver.Request, s *server, timeline uint32) error {
	if s.vault == nil {
		return nil
	}
	at, err := s.post()
	if err != nil {
		return err
	}
	if err := at.writeHold(ctx, hold{Run: req.Run, Token: req.Token, At: d.now().UTC(), Timeline: timeline}); err != nil {
		d.log.Warn("that the site serves is not noted", "resource", s.id, "site", s.site, "error", err)
	}
	if s.fromVault() {
		d.goOn(ctx, req)
	}
	return nil
}

// promoteFromVault starts the job that restores the newest state into the site's data folder and leaves it serving.
func (d *Driver) promoteFromVault(ctx context.Context, req driver.Request, s *server, h promoteHandle) (driver.Handle, error) {
	st, err := s.look(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "promote", s.subject())
	}
	if st.Postmaster != 0 {
		return driver.Handle{}, failure.New(failure.Unavailable, "promote", s.subject(), "a server runs on %s (process %d) and does not answer",
			s.at.Data, st.Postmaster).WithHint("if it is an old copy: stop it, then: lifeboat run retry RUN STEP")
	}
	if st.Folder == folderOther || st.Folder == folderHidden {
		return driver.Handle{}, failure.New(failure.Conflict, "promote", s.subject(), "%s is %s", s.at.Data, st.Folder).
			WithHint("move it away, or look at data and via at site %s", s.site)
	}
	at, err := s.post()
	if err != nil {
		return driver.Handle{}, err
	}
	if err := at.ready(ctx); err != nil {
		return driver.Handle{}, failure.Wrap(err, "promote", s.subject())
	}
	r, err := s.request(ctx, req, job.Promote, at)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "promote", s.subject())
	}
	r.Target = s.target(at, st)
	r.Target.Receiver = at.runFolder()
	if st.Folder == folderServer && !d.isInLog(ctx, s, st.Control) {
		r.Target.Aside = path.Join(s.at.Work, "old."+req.Token)
	}
	if s.at.Service != nil {
		r.Target.Start = s.at.Service.Start
	}
	if _, err := d.startJob(ctx, req, s, at, at.job(req.Token), r); err != nil {
		return driver.Handle{}, err
	}
	h.Restore = &jobHandle{Host: at.host, Job: at.job(req.Token)}
	return driver.NewHandle(handleVersion, h)
}

// target is what all restores at a site have in common.
func (s *server) target(at post, st hostState) *job.Target {
	bin := s.at.Bin
	if bin == "" {
		bin = st.Bin
	}
	t := &job.Target{Data: path.Clean(s.at.Data), Spaces: s.at.Tablespaces, Spools: []string{s.spool(at)}, Bin: bin, Config: s.at.Config, User: s.own.User,
		Log: path.Join(s.at.Work, "server.log"), Settings: maps.Clone(s.at.Options)}
	if s.at.Config == "" {
		t.Fresh = map[string]string{"port": strconv.Itoa(s.at.Port), "listen_addresses": s.at.Host}
	}
	return t
}

// isInLog reports whether all that an old copy has is in the log too, as far as the vault shows: then it may be written over.
func (d *Driver) isInLog(ctx context.Context, s *server, c control) bool {
	timeline, history, err := d.lineage(ctx, s)
	if err != nil {
		d.log.Warn("what an old copy has cannot be compared with the log: it is moved aside", "resource", s.id, "site", s.site, "error", err)
		return false
	}
	dec := decide(c, timeline, history)
	return c.stoppedCleanly() && !dec.Diverged
}

// lineage is the newest timeline that the vault has log of, and how it came about.
func (d *Driver) lineage(ctx context.Context, s *server) (timeline uint32, history []fork, err error) {
	k, err := d.inVault(ctx, s)
	if err != nil {
		return 0, nil, err
	}
	var newest pgpoint.LogPoint
	var to pgwal.Timeline
	for _, l := range k.logs {
		for _, span := range l.Spans {
			if span.To.Timeline > to {
				to, newest = span.To.Timeline, l
			}
		}
	}
	switch {
	case to == 0:
		return 0, nil, failure.New(failure.NotFound, "look for log of", string(s.id), "there is none in the vault")
	case to == 1:
		return 1, nil, nil
	}
	err = d.vaults.With(ctx, *s.vault, d.open, func(v *vault.Vault) error {
		text, err := pgpoint.ReadFile(ctx, v, *newest.Snapshot.Tree, pgpoint.HistoryPath(to))
		if err == nil {
			history, err = parseHistory(string(text))
		}
		return err
	})
	return uint32(to), history, err
}

// drillFromVault starts the job that restores the newest state apart from everything.
func (d *Driver) drillFromVault(ctx context.Context, req driver.Request, s *server, h drillHandle) (driver.Handle, error) {
	at, err := s.post()
	if err != nil {
		return driver.Handle{}, err
	}
	if err := at.ready(ctx); err != nil {
		return driver.Handle{}, failure.Wrap(err, "drill", s.subject())
	}
	r, err := s.request(ctx, req, job.Drill, at)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "drill", s.subject())
	}
	t := s.target(at, hostState{})
	t.Data, t.Apart, t.Log, t.Settings, t.Fresh = path.Join(h.Job, "data"), true, path.Join(h.Job, "server.log"), nil, nil
	t.Listen, t.Port, t.Fixed, t.Temp = h.Host, s.at.Drill.Port, true, proofTemp(req.Token)
	if t.Port == 0 {
		t.Port, t.Fixed = portOf(req.Token), false
	}
	r.Target = t
	if _, err := d.startJob(ctx, req, s, at, h.Job, r); err != nil {
		return driver.Handle{}, err
	}
	h.Vault = true
	return driver.NewHandle(handleVersion, h)
}

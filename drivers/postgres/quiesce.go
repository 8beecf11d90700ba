package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

//go:embed scripts/quiesce.sh
var quiesceScript string

//go:embed scripts/configure.sh
var configureScript string

// checkpointTime is how long a quiesce waits for the checkpoint that makes the shutdown short. Clients are served
// meanwhile; the server finishes it when we do not wait any longer.
const checkpointTime = 10 * time.Second

// quiesceHandle remembers that the copy was a primary when the quiesce began.
type quiesceHandle struct {
	SystemID string `json:"system_id"`
}

// Quiesce shuts the primary at req.Site down in order. A PostgreSQL primary that is shut down in fast mode ends its
// clients, writes its last checkpoint, and does not end its WAL senders before their standbys and receivers have flushed all
// of it (walsender.c, WalSndDone): what a client was told is committed is then at req.Peer, and the old primary, whose WAL
// ends where the new one's begins, can follow it without a rewind. standby.signal is written before the shutdown, so
// that a restart in between does not make a primary; promoting req.Site again undoes it all.
func (d *Driver) Quiesce(ctx context.Context, req driver.Request) (driver.Handle, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	if err := s.hostAccess(ctx); err != nil {
		return driver.Handle{}, failure.Wrap(err, "quiesce", s.subject())
	}
	conn, err := s.connect(ctx)
	if err != nil {
		return d.quiesceStopped(ctx, req, s, err)
	}
	defer closeConn(conn)
	st, err := readStatus(ctx, conn, s.subject())
	if err != nil {
		return driver.Handle{}, err
	}
	if st.Recovery {
		return driver.Handle{}, failure.New(failure.Conflict, "quiesce", s.subject(), "it is a standby, not the primary")
	}
	if s.fromVault() && req.Peer != "" {
		if err := d.receives(ctx, req); err != nil {
			return driver.Handle{}, err
		}
	}
	short, cancel := context.WithTimeout(ctx, checkpointTime)
	if _, err := conn.Exec(short, "checkpoint"); err != nil { // only makes the shutdown shorter
		d.log.Warn("no checkpoint before the shutdown", "resource", req.Resource.ID, "error", err)
	}
	cancel()
	if _, err := s.run(ctx, failure.Conflict, "quiesce", "", quiesceScript); err != nil {
		return driver.Handle{}, err
	}
	return driver.NewHandle(handleVersion, quiesceHandle{SystemID: st.SystemID})
}

// receives sees to it that the site that takes over receives the log, before nothing more can be received.
func (d *Driver) receives(ctx context.Context, req driver.Request) error {
	t := req.Target
	t.Site, t.Peer = req.Peer, req.Site
	if p, err := newServer(t, t.Site); err != nil {
		return err
	} else if st, err := p.ask(ctx); err == nil && st.streaming() {
		return nil // a standby is attached there
	}
	st, err := d.Stream(ctx, driver.StreamRequest{Target: t, Over: req.Run})
	if err != nil {
		return err
	}
	if st.State != model.StreamFlowing && st.State != model.StreamCatching {
		return failure.New(failure.Unavailable, "quiesce", string(req.Resource.ID)+" at "+string(req.Site), "%s at %s: %s", st.State, t.Site, st.Summary).
			WithHint("a planned move needs a receiver that follows: lifeboat status %s", req.App)
	}
	return nil
}

// observeReceived is done when the receiver at p has all of the log of the primary that was shut down at s.
func (d *Driver) observeReceived(ctx context.Context, s, p *server, last lsn) (driver.Observation, error) {
	at, err := p.post()
	if err != nil {
		return driver.Observation{}, err
	}
	seen, err := at.lookReceiver(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "quiesce", s.subject())
	}
	to := lsn(seen.state.Flushed.At)
	if !seen.known || to <= last { // the last checkpoint's record begins at last
		phase := fmt.Sprintf("the receiver at %s has received up to %s of %s", p.site, to, last)
		if !seen.state.Streaming {
			phase += " and is not connected any more; if it does not get further: start the server again, or go on with an unplanned failover"
		}
		return pending(50*time.Millisecond, phase)
	}
	return driver.Observation{
		State:   driver.Done,
		Outputs: map[string]model.Value{"lsn": {Type: model.TypeLSN, Text: last.String()}},
		Evidence: []model.Fact{
			{Name: "old primary", Value: "shut down in order; its last checkpoint is at " + last.String()},
			{Name: "receiver", Value: fmt.Sprintf("that at %s has everything up to %s, which is behind it", p.site, to)},
		},
	}, nil
}

// quiesceStopped is for a primary that does not answer: when it is one that was shut down in order already (by an
// earlier begin), observing goes on from there.
func (d *Driver) quiesceStopped(ctx context.Context, req driver.Request, s *server, cause error) (driver.Handle, error) {
	st, err := s.look(ctx)
	if err != nil {
		return driver.Handle{}, failure.Wrap(err, "quiesce", s.subject())
	}
	if st.Folder == folderServer && st.Standby && (st.Postmaster != 0 || st.Control.State == "shut down") {
		return driver.NewHandle(handleVersion, quiesceHandle{SystemID: st.Control.SystemID}) // it is stopping, or has stopped, by our signal
	}
	return driver.Handle{}, failure.WrapAs(failure.Unavailable, cause, "quiesce", s.subject()).
		WithHint("a planned move needs both sites; if %s is lost: lifeboat failover %s --mode unplanned", s.site, req.App)
}

// observeQuiesce is done when the old primary is down in order and the standby has replayed its last record.
func (d *Driver) observeQuiesce(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	if _, err := driver.ReadHandle[quiesceHandle](handleVersion, h); err != nil {
		return driver.Observation{}, err
	}
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	st, err := s.look(ctx)
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "quiesce", s.subject())
	}
	switch {
	case st.Folder != folderServer:
		return failed(failure.New(failure.Conflict, "quiesce", s.subject(), "its data folder is %s", st.Folder))
	case st.Postmaster != 0:
		return pending(30*time.Millisecond, "the primary is shutting down and sends its last WAL to the standby")
	case !st.Control.stoppedCleanly():
		return failed(failure.New(failure.Conflict, "quiesce", s.subject(), "it did not stop in order: %s", st.Control.State).
			WithHint("start it again, or go on with an unplanned failover"))
	case !st.Standby:
		return failed(failure.New(failure.Conflict, "quiesce", s.subject(), "standby.signal is gone from %s", s.at.Data))
	}
	last := st.Control.Checkpoint
	if req.Peer == "" {
		return failed(failure.New(failure.Invalid, "quiesce", s.subject(), "no peer: nobody to carry everything over to"))
	}
	p, err := newServer(req.Target, req.Peer)
	if err != nil {
		return driver.Observation{}, err
	}
	peer, err := p.ask(ctx)
	if err != nil && s.fromVault() {
		return d.observeReceived(ctx, s, p, last)
	}
	if err != nil {
		return driver.Observation{}, failure.Wrap(err, "quiesce", s.subject())
	}
	if peer.SystemID != st.Control.SystemID {
		return failed(failure.New(failure.Invalid, "quiesce", s.subject(), "%s is another database (system identifier %s, not %s)",
			p.subject(), peer.SystemID, st.Control.SystemID))
	}
	// The last checkpoint's record begins at last: whoever is past that has it, and nothing comes after it.
	if peer.Recovery && peer.LSN <= last {
		if peer.Received <= last && !peer.streaming() {
			return pending(100*time.Millisecond, fmt.Sprintf("%s has received up to %s of %s and is not connected any more",
				p.subject(), peer.Received, last))
		}
		return pending(20*time.Millisecond, fmt.Sprintf("%s has replayed up to %s of %s", p.subject(), peer.LSN, last))
	}
	// Made to follow the other site: best effort here, reverse does it again.
	if conf, err := d.followConf(ctx, req, req.Peer); err == nil && conf != "" {
		if _, err := s.run(ctx, failure.Unavailable, "configure", conf, configureScript); err != nil {
			d.log.Warn("the stopped primary is not pointed at the other site yet", "resource", req.Resource.ID, "error", err)
		}
	}
	return driver.Observation{
		State:   driver.Done,
		Outputs: map[string]model.Value{"lsn": {Type: model.TypeLSN, Text: last.String()}},
		Evidence: []model.Fact{
			{Name: "old primary", Value: "shut down in order; its last checkpoint is at " + last.String()},
			{Name: "standby", Value: fmt.Sprintf("%s has replayed up to %s", p.subject(), peer.LSN)},
		},
	}, nil
}

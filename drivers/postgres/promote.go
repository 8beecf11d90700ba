package postgres

import (
	"context"
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vaultjob"
	"github.com/lifeboat-dr/lifeboat/model"
)

//go:embed scripts/start.sh
var startScript string

// promoteHandle is what the copy was when the promotion was asked for.
type promoteHandle struct {
	Timeline uint32    `json:"timeline"` // before; 0 when it was a primary already or not running
	LSN      string    `json:"lsn,omitempty"`
	Asked    bool      `json:"asked"` // pg_promote was called
	At       time.Time `json:"at"`
	// Restore is the job that brings it back from the vault; nil: it was there.
	Restore *jobHandle `json:"restore,omitempty"`
}

// Promote makes the copy at req.Site the primary. A copy that is stopped is started first, where the host may be used.
// One that is a primary already is left as it is, unless the peer is a primary on a later timeline: then this one is
// the old one, and taking writes on it would be a split brain.
func (d *Driver) Promote(ctx context.Context, req driver.Request) (driver.Handle, error) {
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	h := promoteHandle{At: d.now().UTC()}
	restored, err := d.restoring(ctx, req, s)
	if err != nil {
		return driver.Handle{}, err
	}
	if restored != nil {
		h.Restore = restored
		return driver.NewHandle(handleVersion, h)
	}
	if err := d.stopReceiving(ctx, req, s); err != nil {
		return driver.Handle{}, err
	}
	conn, err := s.connect(ctx)
	if err != nil && s.fromVault() {
		return d.promoteFromVault(ctx, req, s, h)
	}
	if err != nil {
		if err := d.startStandby(ctx, s, err); err != nil {
			return driver.Handle{}, err
		}
		return driver.NewHandle(handleVersion, h)
	}
	defer closeConn(conn)
	st, err := readStatus(ctx, conn, s.subject())
	if err != nil {
		return driver.Handle{}, err
	}
	if !st.Recovery {
		if err := d.notTheOldOne(ctx, req, st); err != nil {
			return driver.Handle{}, err
		}
		return driver.NewHandle(handleVersion, h)
	}
	h.Timeline, h.LSN = st.Timeline, st.LSN.String()
	if err := d.askPromotion(ctx, req, s, conn, st); err != nil {
		return driver.Handle{}, err
	}
	h.Asked = true
	return driver.NewHandle(handleVersion, h)
}

// startStandby starts a stopped copy; it only ever starts one that comes up as a standby.
func (d *Driver) startStandby(ctx context.Context, s *server, cause error) error {
	if err := s.hostAccess(ctx); err != nil {
		return failure.WrapAs(failure.KindOf(cause), cause, "promote", s.subject()).
			WithHint("start the server at %s, then: lifeboat run retry RUN STEP", s.endpoint())
	}
	_, err := s.run(ctx, failure.Conflict, "start", "", startScript)
	return err
}

// notTheOldOne refuses a primary whose peer is a primary on a later timeline.
func (d *Driver) notTheOldOne(ctx context.Context, req driver.Request, st status) error {
	others, err := newServers(req.Target, req.Site)
	if err != nil {
		return err
	}
	for _, a := range askAll(ctx, others) {
		if a.err == nil && !a.status.Recovery && a.status.SystemID == st.SystemID && a.status.Timeline >= st.Timeline {
			return failure.New(failure.Conflict, "promote", string(req.Resource.ID)+" at "+string(req.Site),
				"two primaries: this one is on timeline %d, %s on timeline %d", st.Timeline, a.server.subject(), a.status.Timeline).
				WithHint("fence the one that clients must not use; nothing was changed")
		}
	}
	return nil
}

// askPromotion clears what would make commits hang and asks for the promotion, without waiting for it.
func (d *Driver) askPromotion(ctx context.Context, req driver.Request, s *server, conn *pgx.Conn, st status) error {
	d.keepLog(ctx, req, s, conn, 0)
	if err := d.clearSync(ctx, conn, st.SyncNames); err != nil {
		return wrapWrite(err, "promote", s.subject())
	}
	var ok bool
	if err := conn.QueryRow(ctx, "select pg_promote(false)").Scan(&ok); err != nil {
		if sqlState(err) == codeWrongState {
			return nil // promoted in between
		}
		return wrapWrite(err, "promote", s.subject())
	}
	if !ok {
		return failure.New(failure.Unavailable, "promote", s.subject(), "the server did not take the signal")
	}
	return nil
}

// clearSync empties synchronous_standby_names when none of those named is attached: no commit would end. ALTER SYSTEM
// and reload work on a standby too, so this comes before the promotion and costs the first commits nothing.
func (d *Driver) clearSync(ctx context.Context, conn *pgx.Conn, names string) error {
	if strings.TrimSpace(names) == "" {
		return nil
	}
	rows, err := conn.Query(ctx, "select coalesce(application_name, '') from pg_stat_replication where state = 'streaming'")
	if err != nil {
		return err
	}
	attached, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range attached {
		if names == "*" || namedIn(names, name) {
			return nil
		}
	}
	return alterSystem(ctx, conn, "synchronous_standby_names", "")
}

var syncName = regexp.MustCompile(`"(?:[^"]|"")*"|[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*|\*`)

// namedIn reports whether a standby of this name is in the value of synchronous_standby_names. Names are compared
// without regard to case, as the server does.
func namedIn(names, name string) bool {
	for _, word := range syncName.FindAllString(names, -1) {
		if strings.HasPrefix(word, `"`) {
			word = strings.ReplaceAll(word[1:len(word)-1], `""`, `"`)
		}
		if word == "*" || strings.EqualFold(word, name) {
			return true
		}
	}
	return false
}

// alterSystem sets a parameter in postgresql.auto.conf and has the server read it. It waits until the session sees it.
func alterSystem(ctx context.Context, conn *pgx.Conn, name, value string) error {
	if _, err := conn.Exec(ctx, "alter system set "+name+" = "+literal(value)); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "select pg_reload_conf()"); err != nil {
		return err
	}
	for {
		var now string
		if err := conn.QueryRow(ctx, "select current_setting($1)", name).Scan(&now); err != nil {
			return err
		}
		if now == value {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// observePromote is done when the server is out of recovery, on a later timeline, and a transaction that writes WAL
// has committed.
func (d *Driver) observePromote(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	v, err := driver.ReadHandle[promoteHandle](handleVersion, h)
	if err != nil {
		return driver.Observation{}, err
	}
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	var restored []model.Fact
	if v.Restore != nil {
		state, err := v.Restore.Host.JobState(ctx, v.Restore.Job)
		if err != nil {
			return driver.Observation{}, failure.Wrap(err, "promote", s.subject())
		}
		obs, ended := vaultjob.Judge(state, "promote", s.subject())
		if !ended {
			return obs, nil
		}
		restored = evidence(state, restoreValues...)
	}
	conn, err := s.connect(ctx)
	if err != nil {
		if failure.KindOf(err) == failure.Unavailable && ctx.Err() == nil {
			return pending(50*time.Millisecond, "the server does not take connections yet: "+err.Error())
		}
		return driver.Observation{}, err
	}
	defer closeConn(conn)
	st, err := readStatus(ctx, conn, s.subject())
	if err != nil {
		return driver.Observation{}, err
	}
	if st.Recovery {
		// Not asked yet, because it was not running; or asked, and lost by a restart of the server.
		if !v.Asked || d.now().Sub(v.At) > 10*time.Second {
			if err := d.askPromotion(ctx, req, s, conn, st); err != nil {
				return driver.Observation{}, err
			}
		}
		return pending(15*time.Millisecond, fmt.Sprintf("in recovery, replayed up to %s", st.LSN))
	}
	if v.Timeline != 0 && st.Timeline <= v.Timeline && !promotedSince(ctx, conn, st, v.LSN) {
		return pending(15*time.Millisecond, fmt.Sprintf("out of recovery, still on timeline %d", st.Timeline))
	}
	if err := d.clearSync(ctx, conn, st.SyncNames); err != nil {
		return driver.Observation{}, wrapWrite(err, "promote", s.subject())
	}
	if err := writeOnce(ctx, conn, req.Token); err != nil {
		return driver.Observation{}, wrapWrite(err, "promote", s.subject())
	}
	st, err = readStatus(ctx, conn, s.subject())
	if err != nil {
		return driver.Observation{}, err
	}
	facts := []model.Fact{
		{Name: "role", Value: "primary"},
		{Name: "timeline", Value: fmt.Sprintf("%d, before: %d", st.Timeline, v.Timeline)},
		{Name: "write", Value: "a transaction was committed; the log is at " + st.LSN.String()},
	}
	if v.Timeline == 0 {
		facts[1].Value = fmt.Sprint(st.Timeline)
	}
	if v.Restore != nil && s.own.Synchronous {
		restored = append(restored, model.Fact{Name: "old primary", Value: "wherever it lives, it acknowledges nothing while it waits for the receiver, which has ended here and is not started again"})
	}
	if err := d.serves(ctx, req, s, st.Timeline); err != nil {
		return driver.Observation{}, err
	}
	st.LSN = bornAt(ctx, conn, st)
	facts = append(facts, d.keepLog(ctx, req, s, conn, st.LSN)...)
	return driver.Observation{State: driver.Done, Outputs: s.outputs(st), Evidence: append(facts, restored...)}, nil
}

// promotedSince reports whether the timeline that a primary is on began at or behind a position that it had as a standby. What a
// standby says of its timeline while it is being promoted may be the new one already.
func promotedSince(ctx context.Context, conn *pgx.Conn, st status, position string) bool {
	at, err := parseLSN(position)
	if err != nil {
		return false
	}
	history, err := readHistory(ctx, conn, st.Timeline)
	return err == nil && len(history) > 0 && history[len(history)-1].At >= at
}

// writeOnce commits a transaction that leaves a logical message in the log and nothing in any table.
func writeOnce(ctx context.Context, conn *pgx.Conn, token string) error {
	var readOnly bool
	if err := conn.QueryRow(ctx, "select current_setting('transaction_read_only') = 'on'").Scan(&readOnly); err != nil {
		return err
	}
	if readOnly {
		return failure.New(failure.Conflict, "", "", "the server is primary, but default_transaction_read_only is on").
			WithHint("alter system reset default_transaction_read_only; select pg_reload_conf()")
	}
	_, err := conn.Exec(ctx, "select pg_logical_emit_message(true, 'lifeboat', $1)", token)
	return err
}

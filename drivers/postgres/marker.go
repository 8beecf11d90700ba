package postgres

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Markers are rows of lifeboat.marker in the resource's database, one for each app and resource. at_ns is the marker's
// time in nanoseconds since 1970, since timestamptz holds microseconds only; at is the same for people. A row says on which
// timeline it was written, and keeps the last marker of an earlier timeline: so the marker that a recovered copy came
// up with is known for as long as the copy serves, however soon new ones are written into it.
const (
	createMarker = `create schema if not exists lifeboat;
create table if not exists lifeboat.marker (app text, resource text, seq bigint not null, at timestamptz not null,
	at_ns bigint not null, primary key (app, resource));
alter table lifeboat.marker add column if not exists timeline bigint, add column if not exists came_seq bigint, add column if not exists came_at_ns bigint`
	writeMarker = `insert into lifeboat.marker as m (app, resource, seq, at, at_ns, timeline) values ($1, $2, $3, $4, $5, ` + timelineNow + `)
on conflict (app, resource) do update set seq = excluded.seq, at = excluded.at, at_ns = excluded.at_ns, timeline = excluded.timeline,
	came_seq = case when m.timeline = excluded.timeline then m.came_seq else m.seq end,
	came_at_ns = case when m.timeline = excluded.timeline then m.came_at_ns else m.at_ns end`
	// The last of an earlier timeline than the copy's own; the newest where the copy has none of its own yet.
	readMarker = `select case when timeline = ` + timelineNow + ` then coalesce(came_seq, seq) else seq end,
	case when timeline = ` + timelineNow + ` then coalesce(came_at_ns, at_ns) else at_ns end
from lifeboat.marker where app = $1 and resource = $2`
	// Of a table that an earlier Lifeboat made.
	readOldMarker = `select seq, at_ns from lifeboat.marker where app = $1 and resource = $2`
	// The timeline that a primary writes to; a standby has none, and nobody writes markers there.
	timelineNow = `case when pg_is_in_recovery() then 0 else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint end`
)

// othersGrace is how long the other sites may still answer once a primary has: enough to notice a second one, too
// short for a dead site to hold every marker up.
const othersGrace = 250 * time.Millisecond

// WriteMarker writes m into the primary, wherever it is. It returns when the commit is acknowledged, with a synchronous
// standby: when that has it too.
func (d *Driver) WriteMarker(ctx context.Context, t driver.Target, m model.Marker) error {
	servers, err := newServers(t)
	if err != nil {
		return err
	}
	conn, s, err := findPrimary(ctx, servers, string(t.Resource.ID))
	if err != nil {
		return err
	}
	defer closeConn(conn)
	write := func() error {
		_, err := conn.Exec(ctx, writeMarker, string(t.App), string(t.Resource.ID), m.Seq, m.At.UTC(), m.At.UnixNano())
		return err
	}
	err = write()
	if code := sqlState(err); code == codeNoSchema || code == codeNoTable || code == codeNoColumn {
		if _, err := conn.Exec(ctx, createMarker); err != nil && !made(err) {
			return wrapWrite(err, "create the marker table in", s.subject())
		}
		err = write()
	}
	return wrapWrite(err, "write marker in", s.subject())
}

// made reports whether err is that of somebody who made the same thing at the same time.
func made(err error) bool {
	switch sqlState(err) {
	case codeDuplicateName, codeDuplicateTable, codeUnique:
		return true
	}
	return false
}

// found is a connection to a primary.
type found struct {
	server *server
	conn   *pgx.Conn
	status status
	err    error
}

// findPrimary connects to all servers at once and keeps the connection to the primary. Two of them are a Conflict.
func findPrimary(ctx context.Context, servers []*server, subject string) (*pgx.Conn, *server, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := make(chan found, len(servers))
	for _, s := range servers {
		go func() {
			conn, err := s.connect(ctx)
			f := found{server: s, conn: conn, err: err}
			if err == nil {
				f.status, f.err = readStatus(ctx, conn, s.subject())
			}
			all <- f
		}()
	}
	var primaries []found
	var last error
	grace := make(<-chan time.Time)
	stopped := false
	for range servers {
		var f found
		select {
		case f = <-all:
		case <-grace:
			cancel() // the rest give up at once
			stopped = true
			f = <-all
		}
		switch {
		case f.err != nil:
			if !stopped {
				last = f.err
			}
		case !f.status.Recovery:
			primaries = append(primaries, f)
			grace = time.After(othersGrace)
			continue
		}
		if f.conn != nil {
			closeConn(f.conn)
		}
	}
	if len(primaries) == 1 {
		return primaries[0].conn, primaries[0].server, nil
	}
	for _, p := range primaries {
		closeConn(p.conn)
	}
	if len(primaries) > 1 {
		return nil, nil, failure.New(failure.Conflict, "find the primary of", subject, "two primaries: %s and %s",
			primaries[0].server.subject(), primaries[1].server.subject()).WithHint("fence the older one: lifeboat status")
	}
	if last != nil {
		return nil, nil, failure.WrapAs(failure.Unavailable, last, "find the primary of", subject)
	}
	return nil, nil, failure.New(failure.Unavailable, "find the primary of", subject, "no server is a primary")
}

// markerHandle says where the marker is read.
type markerHandle struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// ReadMarker reads the marker in the copy at req.Site; in a drill, in the isolated copy, whose endpoint is the input
// "<resource>.endpoint".
func (d *Driver) ReadMarker(ctx context.Context, req driver.Request) (driver.Handle, error) {
	if err := ctx.Err(); err != nil {
		return driver.Handle{}, failure.Wrap(err, "read marker in", string(req.Resource.ID))
	}
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Handle{}, err
	}
	h := markerHandle{Host: s.at.Host, Port: s.at.Port}
	if req.Operation == model.OpDrill {
		name := string(req.Resource.ID) + ".endpoint"
		v, ok := req.Inputs[name]
		if !ok {
			return driver.Handle{}, failure.New(failure.Invalid, "read marker in", s.subject(),
				"a drill's copy is read by its endpoint, and there is no input %q", name)
		}
		host, port, err := net.SplitHostPort(v.Text)
		if err == nil {
			h.Host = host
			h.Port, err = strconv.Atoi(port)
		}
		if err != nil {
			return driver.Handle{}, failure.WrapAs(failure.Invalid, err, "read marker in", s.subject())
		}
	}
	return driver.NewHandle(handleVersion, h)
}

func (d *Driver) observeMarker(ctx context.Context, req driver.Request, h driver.Handle) (driver.Observation, error) {
	v, err := driver.ReadHandle[markerHandle](handleVersion, h)
	if err != nil {
		return driver.Observation{}, err
	}
	s, err := newServer(req.Target, req.Site)
	if err != nil {
		return driver.Observation{}, err
	}
	conn, err := s.connectTo(ctx, v.Host, v.Port)
	if err != nil {
		return driver.Observation{}, err
	}
	defer closeConn(conn)
	var seq, ns int64
	err = conn.QueryRow(ctx, readMarker, string(req.App), string(req.Resource.ID)).Scan(&seq, &ns)
	if sqlState(err) == codeNoColumn {
		err = conn.QueryRow(ctx, readOldMarker, string(req.App), string(req.Resource.ID)).Scan(&seq, &ns)
	}
	if code := sqlState(err); err == pgx.ErrNoRows || code == codeNoSchema || code == codeNoTable {
		return failed(failure.New(failure.NotFound, "read marker in", s.subject(), "there is none").
			WithHint("lifeboat protect %s writes them", req.App))
	}
	if err != nil {
		return driver.Observation{}, wrap(err, "read marker in", s.subject())
	}
	at := time.Unix(0, ns)
	return driver.Observation{
		State: driver.Done,
		Outputs: map[string]model.Value{
			"marker_at": driver.Time(at), "marker_seq": driver.Number(strconv.FormatInt(seq, 10)),
		},
		Evidence: []model.Fact{{Name: "marker", Value: "number " + strconv.FormatInt(seq, 10) + " of " +
			at.UTC().Format(time.RFC3339Nano) + ", read at " + net.JoinHostPort(v.Host, strconv.Itoa(v.Port))}},
	}, nil
}

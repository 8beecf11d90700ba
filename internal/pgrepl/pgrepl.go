// Package pgrepl speaks PostgreSQL's physical replication protocol, as a standby or pg_basebackup does: who the server is,
// slots, base backups, and the stream of its write-ahead log.
//
// It needs a login with the REPLICATION attribute and no access to the server's host, so it works with managed servers that
// allow replication. It stores nothing and interprets no log. The protocol is that of PostgreSQL 13 to 18
// (protocol-replication in its documentation). A [Conn] belongs to one goroutine at a time. Start with [Connect].
package pgrepl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Conn is a replication connection.
type Conn struct {
	pg      *pgconn.PgConn
	in      *bufio.Reader // what pg reads from
	server  string        // for people
	version int           // 150018 for 15.18
}

// readAtOnce is how many bytes are taken from the connection at once, when so many are there: log and files come in messages
// that are much smaller.
const readAtOnce = 1 << 20

// Connect opens a replication connection. The configuration is that of an ordinary login; its application name is what the
// server's synchronous_standby_names refers to. The caller closes it.
//
// Errors: Denied when the login or pg_hba.conf forbids it, Unavailable when the server is not reached or not ready.
func Connect(ctx context.Context, cfg *pgconn.Config) (*Conn, error) {
	own := cfg.Copy()
	own.RuntimeParams["replication"] = "true"
	// A standby that waits for the log is idle by nature.
	delete(own.RuntimeParams, "statement_timeout")
	server := fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)
	c := &Conn{server: server}
	own.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		c.in = bufio.NewReaderSize(r, readAtOnce)
		return pgproto3.NewFrontend(c.in, w)
	}
	pg, err := pgconn.ConnectConfig(ctx, own)
	if err != nil {
		return nil, wrap(err, "connect for replication to", server)
	}
	c.pg = pg
	text, err := c.Show(ctx, "server_version_num")
	if err == nil {
		c.version, err = strconv.Atoi(text)
	}
	if err != nil {
		return nil, errors.Join(failure.WrapAs(failure.Corrupt, err, "ask the version of", server), pg.Close(context.WithoutCancel(ctx)))
	}
	if c.version < 130000 {
		return nil, errors.Join(failure.New(failure.Unsupported, "connect for replication to", server,
			"PostgreSQL %d is too old: 13 is the oldest that is known", c.Major()), pg.Close(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// Close ends the connection, and what it was doing.
func (c *Conn) Close(ctx context.Context) error { return c.pg.Close(ctx) }

// Major is the server's major version.
func (c *Conn) Major() int { return c.version / 10000 }

// Standby reports whether the server is one, at the moment of the connection or later. Before version 14 a server does not
// say so by this protocol: Unsupported.
func (c *Conn) Standby() (bool, error) {
	switch c.pg.ParameterStatus("in_hot_standby") {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, failure.New(failure.Unsupported, "ask", c.server, "PostgreSQL %d does not say whether it is a standby", c.Major())
}

// System is what a server says of itself.
type System struct {
	ID       uint64 // of the cluster: the same for a primary and its standbys
	Timeline pgwal.Timeline
	At       pgwal.LSN // up to where the log is flushed there
}

// Identify asks the server who it is.
func (c *Conn) Identify(ctx context.Context) (System, error) {
	row, err := c.one(ctx, "IDENTIFY_SYSTEM", 3)
	if err != nil {
		return System{}, err
	}
	id, err1 := strconv.ParseUint(row[0], 10, 64)
	tl, err2 := strconv.ParseUint(row[1], 10, 32)
	at, err3 := pgwal.ParseLSN(row[2])
	if err := errors.Join(err1, err2, err3); err != nil {
		return System{}, failure.WrapAs(failure.Corrupt, err, "identify", c.server)
	}
	return System{id, pgwal.Timeline(tl), at}, nil
}

// Show gives a setting of the server, as SHOW prints it.
func (c *Conn) Show(ctx context.Context, name string) (string, error) {
	row, err := c.one(ctx, "SHOW "+name, 1)
	if err != nil {
		return "", err
	}
	return row[0], nil
}

// SegmentSize asks for the size of the log's segments.
func (c *Conn) SegmentSize(ctx context.Context) (pgwal.SegmentSize, error) {
	text, err := c.Show(ctx, "wal_segment_size") // "16MB", "1GB"
	if err != nil {
		return 0, err
	}
	unit := uint64(1)
	for suffix, n := range map[string]uint64{"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = rest, n
		}
	}
	n, err := strconv.ParseUint(text, 10, 32)
	size := pgwal.SegmentSize(n * unit)
	if err != nil || !size.Valid() {
		return 0, failure.New(failure.Corrupt, "ask for the segment size of", c.server, "%q is none", text)
	}
	return size, nil
}

// History gives the history file of a timeline other than the first.
func (c *Conn) History(ctx context.Context, t pgwal.Timeline) ([]byte, error) {
	row, err := c.one(ctx, fmt.Sprintf("TIMELINE_HISTORY %d", t), 2)
	if err != nil {
		return nil, err
	}
	return []byte(row[1]), nil
}

// Slot is a physical replication slot: the server keeps the log from Restart on for whoever uses it.
type Slot struct {
	Name     string
	Restart  pgwal.LSN // zero: nothing is kept yet
	Timeline pgwal.Timeline
}

// ReadSlot asks for a physical slot. NotFound: there is none of this name. Before version 15 the server cannot be asked by
// this protocol: Unsupported.
func (c *Conn) ReadSlot(ctx context.Context, name string) (Slot, error) {
	if c.Major() < 15 {
		return Slot{}, failure.New(failure.Unsupported, "read slot", name, "PostgreSQL %d cannot be asked: look at pg_replication_slots", c.Major())
	}
	row, err := c.one(ctx, "READ_REPLICATION_SLOT "+quote(name), 3)
	if err != nil {
		return Slot{}, err
	}
	if row[0] == "" {
		return Slot{}, failure.New(failure.NotFound, "read slot", name, "there is none of this name on %s", c.server)
	}
	s := Slot{Name: name}
	if row[1] != "" {
		at, err1 := pgwal.ParseLSN(row[1])
		tl, err2 := strconv.ParseUint(row[2], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return s, failure.WrapAs(failure.Corrupt, err, "read slot", name)
		}
		s.Restart, s.Timeline = at, pgwal.Timeline(tl)
	}
	return s, nil
}

// CreateSlot makes a physical slot that keeps the log from now on. Exists: there is one of this name.
func (c *Conn) CreateSlot(ctx context.Context, name string) error {
	_, err := c.rows(ctx, "CREATE_REPLICATION_SLOT "+quote(name)+" PHYSICAL RESERVE_WAL")
	return err
}

// DropSlot removes a slot that nobody uses. NotFound: there is none.
func (c *Conn) DropSlot(ctx context.Context, name string) error {
	_, err := c.rows(ctx, "DROP_REPLICATION_SLOT "+quote(name))
	return err
}

// quote makes an identifier of the protocol's own grammar.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal makes a text of it.
func literal(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }

// one runs a command that gives one row of at least n columns.
func (c *Conn) one(ctx context.Context, command string, n int) ([]string, error) {
	rows, err := c.rows(ctx, command)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) < n {
		return nil, failure.New(failure.Corrupt, "ask", c.server, "%s gives %d rows", verb(command), len(rows))
	}
	return rows[0], nil
}

// rows runs a command and gives its last result. A null is the empty text.
func (c *Conn) rows(ctx context.Context, command string) ([][]string, error) {
	results, err := c.pg.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, wrap(err, "ask", c.server+": "+verb(command))
	}
	if len(results) == 0 {
		return nil, nil
	}
	var out [][]string
	for _, r := range results[len(results)-1].Rows {
		row := make([]string, len(r))
		for i, v := range r {
			row[i] = string(v)
		}
		out = append(out, row)
	}
	return out, nil
}

func verb(command string) string {
	word, _, _ := strings.Cut(command, " ")
	return word
}

// The states of PostgreSQL that mean something to us (errcodes.txt).
var kinds = map[string]failure.Kind{
	"42710": failure.Exists,      // duplicate_object
	"42704": failure.NotFound,    // undefined_object
	"55006": failure.Conflict,    // object_in_use: the slot, by somebody else
	"58P01": failure.NotFound,    // undefined_file: the segment is not there any more
	"42501": failure.Denied,      // insufficient_privilege
	"28000": failure.Denied,      // invalid_authorization_specification, which pg_hba.conf's refusal is too
	"28P01": failure.Denied,      // invalid_password
	"53300": failure.Throttled,   // too_many_connections
	"53400": failure.Invalid,     // configuration_limit_exceeded: max_replication_slots
	"55000": failure.Conflict,    // object_not_in_prerequisite_state: wal_level, a slot that was invalidated
	"57P01": failure.Unavailable, // admin_shutdown
	"57P02": failure.Unavailable, // crash_shutdown
	"57P03": failure.Unavailable, // cannot_connect_now
	"0A000": failure.Unsupported, // feature_not_supported
	"XX001": failure.Corrupt,     // data_corrupted: a page's checksum, at the end of a base backup
}

// wrap gives an error of PostgreSQL its kind.
func wrap(err error, op, subject string) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		kind, ok := kinds[pg.Code]
		if !ok {
			kind = failure.Unavailable
		}
		message := pg.Message
		if pg.Detail != "" {
			message += " (" + pg.Detail + ")"
		}
		return failure.New(kind, op, subject, "%s", message).WithHint("%s", pg.Hint)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return failure.Wrap(err, op, subject)
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return failure.WrapAs(failure.Unavailable, err, op, subject)
	}
	return failure.WrapAs(failure.Unavailable, err, op, subject)
}

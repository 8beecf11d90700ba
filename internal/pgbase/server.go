package pgbase

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// server is an ordinary connection.
type server struct {
	pg    *pgconn.PgConn
	name  string // for people
	major int
	// statistics is where the server keeps statistics while it runs, from the data folder; "": nowhere special.
	statistics string
}

// connect opens an ordinary connection that waits as long as it takes, whatever the server's settings say.
func connect(ctx context.Context, cfg *pgconn.Config, warn func(string)) (*server, error) {
	own := cfg.Copy()
	own.RuntimeParams["statement_timeout"] = "0"
	own.OnNotice = noticing(warn)
	s := &server{name: fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)}
	var err error
	if s.pg, err = pgconn.ConnectConfig(ctx, own); err != nil {
		return nil, s.wrap(err, "connect to")
	}
	if err := s.meet(ctx); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

// noticing passes the server's warnings on.
func noticing(warn func(string)) pgconn.NoticeHandler {
	return func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Severity == "WARNING" {
			warn("the server: " + n.Message)
		}
	}
}

// meet learns the server's version, and what depends on it.
func (s *server) meet(ctx context.Context) error {
	text, err := s.show(ctx, "server_version_num")
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(text)
	if err != nil {
		return failure.WrapAs(failure.Corrupt, err, "understand the version of", s.name)
	}
	if s.major = version / 10000; s.major < 13 {
		return failure.New(failure.Unsupported, "capture", s.name, "PostgreSQL %d is too old: 13 is the oldest that is known", s.major)
	}
	if s.major >= 14 {
		_, err = s.pg.Exec(ctx, "set idle_session_timeout = 0").ReadAll()
	}
	if s.major < 15 && err == nil {
		s.statistics, err = s.show(ctx, "stats_temp_directory")
	}
	return s.wrap(err, "ask")
}

// show gives a setting.
func (s *server) show(ctx context.Context, name string) (string, error) {
	row, err := s.row(ctx, "select current_setting($1)", 1, name)
	if err != nil {
		return "", err
	}
	return row[0], nil
}

// start begins backup mode, for this session, once the server has made a checkpoint.
func (s *server) start(ctx context.Context, label string, fast bool) (pgwal.LSN, error) {
	query := "select pg_backup_start($1, $2)::text"
	if s.major < 15 {
		query = "select pg_start_backup($1, $2, false)::text"
	}
	row, err := s.row(ctx, query, 1, label, strconv.FormatBool(fast))
	if err != nil {
		return 0, err
	}
	return pgwal.ParseLSN(row[0])
}

// stop ends backup mode, without waiting until the log is archived by whatever does that on the server. It gives where
// the log was then, and the content of backup_label and tablespace_map.
func (s *server) stop(ctx context.Context) (at pgwal.LSN, label, spaces string, err error) {
	query := "select lsn::text, labelfile, spcmapfile from pg_backup_stop(false)"
	if s.major < 15 {
		query = "select lsn::text, labelfile, spcmapfile from pg_stop_backup(false, false)"
	}
	row, err := s.row(ctx, query, 3)
	if err != nil {
		return 0, "", "", err
	}
	at, err = pgwal.ParseLSN(row[0])
	return at, row[1], row[2], err
}

func (s *server) close(ctx context.Context) error { return s.pg.Close(context.WithoutCancel(ctx)) }

// row runs a query and gives its one row of n columns, as text; a null is "".
func (s *server) row(ctx context.Context, query string, n int, args ...string) ([]string, error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	res := s.pg.ExecParams(ctx, query, values, nil, nil, nil).Read()
	if res.Err != nil {
		return nil, s.wrap(res.Err, "ask")
	}
	if len(res.Rows) != 1 || len(res.Rows[0]) != n {
		return nil, failure.New(failure.Corrupt, "ask", s.name, "%d rows where one of %d columns is expected: %s", len(res.Rows), n, query)
	}
	row := make([]string, n)
	for i, v := range res.Rows[0] {
		row[i] = string(v)
	}
	return row, nil
}

// now asks for the server's time.
func (s *server) now(ctx context.Context) (time.Time, error) {
	row, err := s.row(ctx, "select (extract(epoch from clock_timestamp()) * 1000000)::bigint", 1)
	if err != nil {
		return time.Time{}, err
	}
	micros, err := strconv.ParseInt(row[0], 10, 64)
	if err != nil {
		return time.Time{}, failure.WrapAs(failure.Corrupt, err, "understand the time of", s.name)
	}
	return time.UnixMicro(micros).UTC(), nil
}

// serverClock asks a server for its time, with a connection of its own.
func serverClock(ctx context.Context, cfg *pgconn.Config, warn func(string)) (time.Time, error) {
	s, err := connect(ctx, cfg, warn)
	if err != nil {
		return time.Time{}, err
	}
	now, err := s.now(ctx)
	return now, errors.Join(err, s.close(ctx))
}

// wrap gives an error of PostgreSQL its kind, by its class (errcodes-appendix in its documentation).
func (s *server) wrap(err error, op string) error {
	if err == nil || failure.Classified(err) {
		return err
	}
	kind := failure.Unavailable
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		message := pg.Message
		if pg.Detail != "" {
			message += " (" + pg.Detail + ")"
		}
		switch {
		case pg.Code == "42501" || strings.HasPrefix(pg.Code, "28"): // insufficient_privilege, invalid_authorization
			kind = failure.Denied
		case pg.Code == "55000" || pg.Code == "55006": // not in prerequisite state: a backup that is under way, or was not begun
			kind = failure.Conflict
		case pg.Code == "3D000" || pg.Code == "42704": // no such database, no such object
			kind = failure.NotFound
		case pg.Code == "53300": // too_many_connections
			kind = failure.Throttled
		}
		return failure.New(kind, op, s.name, "%s", message).WithHint("%s", pg.Hint)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return failure.Wrap(err, op, s.name)
	}
	return failure.WrapAs(kind, err, op, s.name)
}

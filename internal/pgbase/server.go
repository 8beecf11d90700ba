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
)

// server is an ordinary connection.
type server struct {
	pg   *pgconn.PgConn
	name string // for people
}

// connect opens an ordinary connection that waits as long as it takes, whatever the server's settings say.
func connect(ctx context.Context, cfg *pgconn.Config) (*server, error) {
	own := cfg.Copy()
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		own.RuntimeParams[name] = "0"
	}
	s := &server{name: fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)}
	var err error
	if s.pg, err = pgconn.ConnectConfig(ctx, own); err != nil {
		return nil, s.wrap(err, "connect to")
	}
	return s, nil
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
func serverClock(ctx context.Context, cfg *pgconn.Config) (time.Time, error) {
	s, err := connect(ctx, cfg)
	if err != nil {
		return time.Time{}, err
	}
	now, err := s.now(ctx)
	return now, errors.Join(err, s.close(ctx))
}

// wrap gives an error of PostgreSQL its kind, by its class (errcodes-appendix in its documentation).
func (s *server) wrap(err error, op string) error {
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

package check

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/probe"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// SQLSettings are one query and what its answer must be.
type SQLSettings struct {
	Endpoint     string         `json:"endpoint,omitempty" jsonschema:"description=The server as host:port; or url"`
	URL          string         `json:"url,omitempty" jsonschema:"description=The server as a libpq URL without a password: postgres://user@host:5432/db?sslmode=require; or endpoint"`
	Database     string         `json:"database,omitempty" jsonschema:"description=The database; that of the url or the user's name when left out"`
	User         string         `json:"user,omitempty" jsonschema:"description=The user; that of the url or postgres when left out"`
	Password     secret.Ref     `json:"password,omitempty" jsonschema:"description=Where the password is read: env:\\, file: or exec:"`
	Query        string         `json:"query" jsonschema:"required,description=One statement; it runs in a read-only transaction that is rolled back"`
	Expect       *string        `json:"expect,omitempty" jsonschema:"description=The exact text of the first column of the first row\\, as psql would show it"`
	ExpectRegexp string         `json:"expect_regexp,omitempty" jsonschema:"description=A regular expression (RE2) that this text must match"`
	ExpectRows   *int           `json:"expect_rows,omitempty" jsonschema:"minimum=0,description=How many rows there must be"`
	Timeout      model.Duration `json:"timeout,omitempty" jsonschema:"description=For the whole question; 5s when left out"`
}

// Validate checks what can be known without asking.
func (s *SQLSettings) Validate() error {
	switch {
	case s.Endpoint == "" && s.URL == "":
		return fmt.Errorf("endpoint: name the server by endpoint or by url")
	case s.Endpoint != "" && s.URL != "":
		return fmt.Errorf("url: there is an endpoint too; one of them")
	case strings.TrimSpace(s.Query) == "":
		return fmt.Errorf("query: is missing")
	case s.ExpectRows != nil && *s.ExpectRows < 0:
		return fmt.Errorf("expect_rows: is negative")
	}
	if err := probe.ValidateAddress("endpoint", s.Endpoint); err != nil {
		return err
	}
	if s.URL != "" && !probe.Unknown(s.URL) {
		c, err := pgx.ParseConfig(s.URL)
		if err != nil {
			return fmt.Errorf("url: it is not a PostgreSQL URL")
		}
		if c.Password != "" && strings.Contains(s.URL, c.Password) {
			return fmt.Errorf("url: it holds a password; use the field password with a reference")
		}
	}
	return probe.ValidatePattern("expect_regexp", s.ExpectRegexp)
}

// SQL is the driver of kind sql.
type SQL struct{ checker[SQLSettings] }

// NewSQL makes the sql check.
func NewSQL() *SQL {
	return &SQL{newChecker(KindSQL, "a PostgreSQL query, judged by its first value or its rows", plain[SQLSettings])}
}

// config is how to connect, with the password in it.
func (s *SQLSettings) config(ctx context.Context) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(s.URL)
	if err != nil {
		return nil, failure.New(failure.Invalid, "ask", "sql", "url: it is not a PostgreSQL URL")
	}
	if s.Endpoint != "" {
		host, port, err := net.SplitHostPort(s.Endpoint)
		if err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "ask", s.Endpoint)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, failure.New(failure.Invalid, "ask", s.Endpoint, "the port is not a number")
		}
		c.Host, c.Port, c.Fallbacks = host, uint16(n), nil
		c.TLSConfig = nil
	}
	if s.User != "" {
		c.User = s.User
	}
	if s.Database != "" {
		c.Database = s.Database
	}
	if s.Password != "" {
		v, err := s.Password.Resolve(ctx)
		if err != nil {
			return nil, failure.Wrap(err, "read password", "sql")
		}
		c.Password = v.Reveal()
	}
	c.RuntimeParams["application_name"] = "lifeboat check"
	return c, nil
}

// Ask connects, asks and disconnects. Mistakes in the question (syntax, a missing table, a wrong password) are errors;
// a server that is away or starting up is a no.
func (s *SQLSettings) Ask(ctx context.Context) (driver.Answer, error) {
	config, err := s.config(ctx)
	if err != nil {
		return driver.Answer{}, err
	}
	timeout := probe.Timeout(s.Timeout)
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	first, rows, err := s.query(bounded, config)
	took := time.Since(start)
	switch {
	case ctx.Err() != nil:
		return driver.Answer{}, failure.Wrap(ctx.Err(), "ask", "sql")
	case err != nil:
		if hard := sqlMistake(err); hard != nil {
			return driver.Answer{}, hard
		}
		return driver.Answer{Detail: sqlWhy(err, took), Took: took}, nil
	}
	ok, detail := s.judge(first, rows)
	return driver.Answer{OK: ok, Detail: detail, Took: took}, nil
}

// query gives the text of the first value, nil for null or no rows, and how many rows there are. One statement goes in
// by the extended protocol, which takes no second one that could end the transaction.
func (s *SQLSettings) query(ctx context.Context, config *pgx.ConnConfig) (first *string, n int, err error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(bye)
	}()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, 0, err
	}
	rows, err := tx.Query(ctx, s.Query, pgx.QueryExecModeExec, pgx.QueryResultFormats{pgx.TextFormatCode})
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if n++; n == 1 {
			if values := rows.RawValues(); len(values) > 0 && values[0] != nil {
				text := string(values[0])
				first = &text
			}
		}
	}
	rows.Close()
	return first, n, rows.Err()
}

func (s *SQLSettings) judge(first *string, rows int) (bool, string) {
	value := "null"
	if first != nil {
		value = fmt.Sprintf("%q", probe.Short(*first))
	}
	saw := fmt.Sprintf("%s in %d rows", value, rows)
	if rows == 1 {
		saw = value
	}
	if rows == 0 {
		saw = "no rows"
	}
	switch {
	case s.ExpectRows != nil && rows != *s.ExpectRows:
		return false, fmt.Sprintf("%s; expected %d rows", saw, *s.ExpectRows)
	case s.Expect != nil && (first == nil || *first != *s.Expect):
		return false, fmt.Sprintf("%s; expected %q", saw, *s.Expect)
	case s.ExpectRegexp != "" && (first == nil || !regexp.MustCompile(s.ExpectRegexp).MatchString(*first)):
		return false, fmt.Sprintf("%s; expected a match of %q", saw, s.ExpectRegexp)
	case s.ExpectRows == nil && s.Expect == nil && s.ExpectRegexp == "" && rows == 0:
		return false, saw + "; expected at least one"
	}
	return true, saw
}

var (
	_ driver.Driver   = (*SQL)(nil)
	_ driver.Verifier = (*SQL)(nil)
	_ driver.Asker    = (*SQL)(nil)
)

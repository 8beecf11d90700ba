package check

import (
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/test/ports"
)

// password is that of the test's user.
const password = "correct horse battery"

// startPostgres starts a throw-away PostgreSQL, whose user check has the password, and gives its endpoint.
func startPostgres(t *testing.T) string {
	t.Helper()
	secret := pgtest.NewFolder(t).Path("password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := pgtest.NewServer(t, pgtest.ServerOptions{Host: "127.0.0.1", Initdb: []string{"-U", "check", "-A", "scram-sha-256", "--pwfile=" + secret}})
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

func TestSQL(t *testing.T) {
	endpoint := startPostgres(t)
	t.Setenv("CHECK_TEST_PASSWORD", password)
	t.Setenv("CHECK_TEST_WRONG", "wrong")
	with := func(query string, changes map[string]any) map[string]any {
		s := map[string]any{"endpoint": endpoint, "database": "postgres", "user": "check",
			"password": "env:CHECK_TEST_PASSWORD", "query": query}
		for k, v := range changes {
			if s[k] = v; v == nil {
				delete(s, k)
			}
		}
		return s
	}
	d := NewSQL()
	ask(t, d, with("select 1 = 1", map[string]any{"expect": "t"}), true, `"t"`)
	ask(t, d, with("select 42, 'x'", map[string]any{"expect": "42"}), true, `"42"`)
	ask(t, d, with("select 42", map[string]any{"expect": "43"}), false, `"42"; expected "43"`)
	ask(t, d, with("select null", map[string]any{"expect": ""}), false, `null; expected ""`)
	ask(t, d, with("select ''", map[string]any{"expect": ""}), true, `""`)
	ask(t, d, with("select '2026-01-02'::date", map[string]any{"expect_regexp": "^2026-"}), true, "2026-01-02")
	ask(t, d, with("select 'a'", map[string]any{"expect_regexp": "^b"}), false, `"a"; expected a match of "^b"`)
	ask(t, d, with("select generate_series(1, 3)", map[string]any{"expect_rows": 3}), true, `"1" in 3 rows`)
	ask(t, d, with("select 1 where false", map[string]any{"expect_rows": 0}), true, "no rows")
	ask(t, d, with("select 1 where false", nil), false, "no rows; expected at least one")
	ask(t, d, with("select pg_sleep(10)", map[string]any{"timeout": "100ms"}), false, "no answer within")
	ask(t, d, with("select 1", map[string]any{"endpoint": ports.Address(t)}), false, "connection refused")
	ask(t, d, with("select 1", map[string]any{"endpoint": nil, "user": nil, "database": nil,
		"url": "postgres://check@" + endpoint + "/postgres?sslmode=disable"}), true, `"1"`)

	mistake(t, d, with("create table t (i int)", nil), failure.Invalid, "read-only transaction")
	mistake(t, d, with("commit; create table t (i int)", nil), failure.Invalid, "multiple commands")
	mistake(t, d, with("select * from orders", nil), failure.Invalid, `relation "orders" does not exist`)
	mistake(t, d, with("selec 1", nil), failure.Invalid, "syntax error")
	mistake(t, d, with("select 1", map[string]any{"database": "nowhere"}), failure.NotFound, "nowhere")
	mistake(t, d, with("select 1", map[string]any{"password": "env:CHECK_TEST_WRONG"}), failure.Denied, "authentication failed")
	mistake(t, d, with("select 1", map[string]any{"password": "env:CHECK_TEST_NONE"}), failure.NotFound, "not set")
	mistake(t, d, with("select 1", map[string]any{"password": "hunter2"}), failure.Invalid, "must be a reference")
	mistake(t, d, with("select 1", map[string]any{"endpoint": nil}), failure.Invalid, "endpoint: name the server")
	mistake(t, d, with("select 1", map[string]any{"url": "postgres://x/"}), failure.Invalid, "url: there is an endpoint too")
	mistake(t, d, with("", nil), failure.Invalid, "query: is missing")
	mistake(t, d, with("select 1", map[string]any{"endpoint": nil, "url": "postgres://u:pw1234@h/d"}), failure.Invalid, "url: it holds a password")

	conform(t, func() driver.Driver { return NewSQL() }, with("select 1", map[string]any{"expect": "1"}),
		with("select 1", map[string]any{"expect": "2"}), nil)
}

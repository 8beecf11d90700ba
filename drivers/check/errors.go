package check

import (
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/probe"
)

// sqlMistakes are the classes of SQLSTATE (PostgreSQL documentation, appendix A) that no waiting mends.
var sqlMistakes = map[string]struct {
	kind failure.Kind
	hint string
}{
	"22": {failure.Invalid, "mend the query"},
	"25": {failure.Invalid, "a check may only read"}, // a write in a read-only transaction
	"28": {failure.Denied, "are user and password right, and does pg_hba.conf let them in from here?"},
	"3D": {failure.NotFound, "is the database's name right?"},
	"42": {failure.Invalid, "mend the query, or grant the user what it reads"},
}

// sqlMistake is the error of a question that is wrong; nil when asking again may help.
func sqlMistake(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) < 2 {
		return nil
	}
	m, ok := sqlMistakes[pg.Code[:2]]
	if !ok {
		return nil
	}
	return failure.New(m.kind, "ask", "sql", "%s (SQLSTATE %s)", pg.Message, pg.Code).WithHint("%s", m.hint)
}

// sqlWhy says in a few words why the server did not answer.
func sqlWhy(err error, took time.Duration) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Message + " (SQLSTATE " + pg.Code + ")"
	}
	why := probe.Why(err, took)
	if why == err.Error() { // pgx repeats every address; the first line says enough
		why, _, _ = strings.Cut(why, "\n")
	}
	return why
}

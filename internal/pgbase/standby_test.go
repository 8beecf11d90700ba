package pgbase_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
)

// TestAStandbyIsCaptured captures from a standby, and restores with the primary's log.
func TestAStandbyIsCaptured(t *testing.T) {
	p := pgtest.Start(t, pgtest.Options{})
	p.Exec(pgtest.East, "create table orders as select i as id from generate_series(1, 5000) i")
	p.Exec(pgtest.East, "checkpoint")
	p.WaitFor(pgtest.West, "select to_regclass('orders') is not null")
	p.Exec(pgtest.West, "checkpoint")
	server, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable", p.Hosts[pgtest.West], p.Ports[pgtest.West]))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"", p.Data(pgtest.West)} {
		v, dir := newVault(t)
		res := capture(t, v, pgbase.Options{Whose: whose, Site: "west", Fast: true, Server: server, Folder: folder})
		c := prepare(t)
		restic(t, dir, "restore", res.Snapshot.ID.String(), "--target", c.Path("restored"))
		c.Adopt(c.Path("restored"))
		c.Sh(`rm -f "$1/restored/data/standby.signal" && touch "$1/restored/data/recovery.signal" && cat >>"$1/restored/data/postgresql.auto.conf" <<END
primary_conninfo = ''
restore_command = 'cp "$2/pg_wal/%f" "%p"'
END`, c.Root, p.Data(pgtest.East))
		c.Launch("restored/data")
		c.WaitFor("not pg_is_in_recovery()")
		if got := c.Text("select count(*) from orders"); got != "5000" {
			t.Errorf("from %q: %s orders", folder, got)
		}
		c.Halt("restored/data", "fast")
	}
}

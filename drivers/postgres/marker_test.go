package postgres

import (
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestMarkerThatCameBack holds that the marker of a recovered copy is the one it came up with, also when new ones were
// written into it before anybody read it, and that a table of an earlier release is carried along.
func TestMarkerThatCameBack(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t, pgtest.Options{})
	p.Exec(pgtest.East, `create schema lifeboat`)
	p.Exec(pgtest.East, `create table lifeboat.marker (app text, resource text, seq bigint not null, at timestamptz not null,
		at_ns bigint not null, primary key (app, resource))`)
	p.Exec(pgtest.East, `insert into lifeboat.marker values ('shop', 'db', 4, now(), 0)`)
	read := func(want string) {
		t.Helper()
		if got := do(t, request(p, model.ActionReadMarker, pgtest.West, pgtest.East)).Outputs["marker_seq"].Text; got != want {
			t.Errorf("marker: got %s, want %s", got, want)
		}
	}
	caughtUp := func() {
		p.WaitFor(pgtest.East, "select count(*) = 1 from pg_stat_replication where replay_lsn >= pg_current_wal_lsn()")
	}
	caughtUp()
	read("4")
	for seq := range 3 {
		writeMarkerAt(t, p, model.Marker{Seq: int64(5 + seq), At: time.Now()})
	}
	caughtUp()
	p.Kill(pgtest.East)
	do(t, request(p, model.ActionFence, pgtest.East, pgtest.West))
	do(t, request(p, model.ActionPromote, pgtest.West, pgtest.East))
	read("7")
	writeMarkerAt(t, p, model.Marker{Seq: 8, At: time.Now()})
	read("7")
	writeMarkerAt(t, p, model.Marker{Seq: 9, At: time.Now()})
	read("7")
}

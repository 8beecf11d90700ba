package pgbase_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// relations gives the content of relations' files in a point.
func relations(t *testing.T, v *vault.Vault, res *pgbase.Result) map[string]string {
	t.Helper()
	out := map[string]string{}
	for p, n := range nodes(t, v, res.Snapshot) {
		if n.Type == tree.File && (strings.HasPrefix(p, "/data/base/") || strings.HasPrefix(p, "/data/global/") || strings.HasPrefix(p, "/tablespaces/")) &&
			!strings.HasSuffix(p, "/pg_control") {
			out[p] = fmt.Sprint(n.Size, n.Content)
		}
	}
	return out
}

// work are things that change pages, each in its own way.
var work = []struct {
	name string
	do   []string
}{
	{"nothing", nil},
	{"rows here and there", []string{"update orders set what = 'x' where id % 4000 = 1"}},
	{"hints", []string{"update orders set what = 'y' where id < 50", "checkpoint", "select count(*) from orders"}},
	{"vacuum after deletes", []string{"delete from orders where id % 7 = 0", "vacuum orders"}},
	{"freezing", []string{"vacuum freeze orders"}},
	{"a truncated end", []string{"delete from orders where id > 15000", "vacuum orders"}},
	{"a truncated end that grows again", []string{"insert into orders select i, md5(i::text) from generate_series(15001, 30000) i"}},
	{"another file number", []string{"vacuum full orders", "create index if not exists more on orders (id)"}},
	{"an emptied table", []string{"truncate orders", "insert into orders select i, md5(i::text) from generate_series(1, 20000) i"}},
	{"a sequence", []string{"create sequence if not exists numbers", "select nextval('numbers') from generate_series(1, 100)"}},
	{"indexes of all kinds", []string{"create table if not exists shapes (id int, p point, t tsvector, h text)",
		"insert into shapes select i, point(i, i), to_tsvector(md5(i::text)), md5(i::text) from generate_series(1, 3000) i",
		"create index if not exists s1 on shapes using gist (p)", "create index if not exists s2 on shapes using spgist (p)", "create index if not exists s3 on shapes using gin (t)",
		"create index if not exists s4 on shapes using hash (h)", "create index if not exists s5 on shapes using brin (id)"}},
	{"their changes", []string{"update shapes set p = point(id, 7), t = to_tsvector('x'), h = 'y' where id % 100 = 0", "vacuum shapes"}},
	{"dead index entries", []string{"set enable_seqscan = off", "delete from orders where id < 900", "select count(*) from orders where id < 1000", "select count(*) from orders where id < 1000"}},
	{"a database of the same number", []string{"drop database if exists twin with (force)", "create database twin oid 99999 template first strategy file_copy"}},
	{"another one of that number", []string{"drop database twin with (force)", "create database twin oid 99999 template other strategy file_copy"}},
}

// TestWhatIsTakenFromThePointBeforeIsWhatIsThere changes a cluster in every way that there is and compares a capture that
// goes on from the point before with one that reads and hashes everything.
func TestWhatIsTakenFromThePointBeforeIsWhatIsThere(t *testing.T) {
	c := start(t, "--data-checksums")
	c.Exec("alter system set autovacuum = off", "select pg_reload_conf()", "create table orders as select i as id, md5(i::text) as what from generate_series(1, 20000) i",
		"create index on orders (id)", "create database first", "create database other")
	for db, rows := range map[string]string{"first": "1", "other": "100000"} {
		c.ExecIn(db, "create table same as select i + "+rows+" as id from generate_series(1, 20000) i", "vacuum freeze same")
	}
	// Of files as young as this nothing is taken: their times may have steps.
	c.Exec("vacuum freeze", "checkpoint", "select pg_sleep(2.2)")
	v, _ := newVault(t)
	o := c.modes()["folder"]
	whole := o
	whole.Whose.Resource, whole.ReadAll = "whole", true
	if res := capture(t, v, o); res.Stats.Reused != 0 {
		t.Errorf("the first point takes %d bytes from one before it", res.Stats.Reused)
	}
	rounds := work
	if os.Getenv("LIFEBOAT_LONG") == "" {
		rounds = rounds[len(rounds)-6:]
	}
	for _, w := range rounds {
		c.Exec(w.do...)
		// Nothing changes between the two captures.
		c.Exec("checkpoint")
		res := capture(t, v, o)
		want := relations(t, v, capture(t, v, whole))
		got := relations(t, v, res)
		for p := range want {
			if got[p] != want[p] {
				t.Errorf("%s: %s is not what is there", w.name, p)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d relations' files, want %d", w.name, len(got), len(want))
		}
		if res.Stats.Reused == 0 {
			t.Errorf("%s: nothing was taken from the point before", w.name)
		}
		if res.Base.Whole.Equal(res.Base.Begun) {
			t.Errorf("%s: the point says that all was read for it", w.name)
		}
	}

	// A server that was down is not trusted, nor is a week-old reading, nor another way of capturing.
	c.Halt("data", "fast")
	c.Launch("data")
	again := c.modes()["folder"]
	if res := capture(t, v, again); res.Stats.Reused != 0 || !res.Base.Whole.Equal(res.Base.Begun) {
		t.Errorf("after a restart %d bytes were taken from the point before", res.Stats.Reused)
	}
	if res := capture(t, v, again); res.Stats.Reused == 0 {
		t.Error("nothing was taken from the point before, and nothing had changed")
	}
	capture(t, v, c.modes()["protocol"])
	if res := capture(t, v, again); res.Stats.Reused != 0 {
		t.Errorf("%d bytes were taken from a point that came by protocol", res.Stats.Reused)
	}
}

func TestPointsShareWhatIsTheSame(t *testing.T) {
	c := start(t, "--data-checksums")
	c.Exec("create table orders as select i as id, md5(i::text) as what from generate_series(1, 100000) i", "vacuum freeze orders", "checkpoint")
	for _, name := range []string{"protocol", "folder"} {
		v, _ := newVault(t)
		o := c.modes()[name]
		first := capture(t, v, o)
		c.Exec("update orders set what = 'x' where id = 5", "checkpoint")
		second := capture(t, v, o)
		if first.Stats.Vault.Plain < 10<<20 || second.Stats.Vault.Plain > first.Stats.Vault.Plain/5 {
			t.Errorf("%s: the first point brought %d bytes, one more after a row had changed %d", name, first.Stats.Vault.Plain, second.Stats.Vault.Plain)
		}
		if second.Snapshot.Parent == nil || *second.Snapshot.Parent != first.Snapshot.ID {
			t.Errorf("%s: the second point's parent is %v", name, second.Snapshot.Parent)
		}
		if got := second.Base.Block; got != pgpoint.BlockFor(0, nil) {
			t.Errorf("%s: blocks of %d bytes", name, got)
		}
	}
}

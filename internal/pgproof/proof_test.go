package pgproof_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgproof"
)

// check finds a check of a verdict by the beginning of its name.
func check(t *testing.T, v *pgproof.Verdict, name string) pgpoint.ProofCheck {
	t.Helper()
	for _, c := range v.Checks {
		if strings.HasPrefix(c.Name, name) {
			return c
		}
	}
	t.Fatalf("there is no check %q in %+v", name, v.Checks)
	return pgpoint.ProofCheck{}
}

func TestAGoodPointIsProved(t *testing.T) {
	w := begin(t)
	w.Exec("create schema lifeboat", "create table lifeboat.marker (app text, resource text, seq bigint, at_ns bigint)",
		"insert into lifeboat.marker values ('shop', 'db', 7, 0)", "create table orders (id int primary key, price int)",
		"insert into orders select n, n from generate_series(1, 1000) n")
	rows := map[string]int64{"postgres.public.orders": 1000, "postgres.public.gone": 1}
	point := w.capture(rows, &pgpoint.Marker{Seq: 7})
	o := w.options("copy", "select count(*) = 1000 from orders", "select bool_and(price > 0) from orders")
	o.Restore.Base = point.Snapshot.ID
	v, err := pgproof.Prove(t.Context(), o)
	if err != nil || !v.OK || v.What != "" || v.Took <= 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	for name, want := range map[string]string{
		"restored": "files", "marker": "marker 7", "rows": "public.gone is gone", "query select count": "true", "pg_amcheck": "nothing found",
		"page checksums": "all are right",
	} {
		if c := check(t, v, name); !c.OK || !strings.Contains(c.Detail, want) {
			t.Errorf("%s: %+v, want %q", name, c, want)
		}
	}
	if _, err := os.Stat(o.Restore.Data + "/postmaster.pid"); err == nil {
		t.Error("the copy runs on")
	}

	// What is asked and is not so, what cannot be asked, a marker that is not there, rows that are lost: all of it makes it bad.
	point = w.capture(map[string]int64{"postgres.public.orders": 3000}, &pgpoint.Marker{Seq: 8})
	o = w.options("another", "select false", "select count(*) from orders", "select nonsense", "select 1, 2", "select null::bool")
	o.Restore.Base = point.Snapshot.ID
	v, err = pgproof.Prove(t.Context(), o)
	if err != nil || v.OK || !strings.HasPrefix(v.What, "marker: ") {
		t.Fatalf("%+v, %v", v, err)
	}
	for name, want := range map[string]string{"marker": "has 7", "rows": "only 1000 rows", "query select false": "answers f", "query select count": "answers 1000",
		"query select nonsense": "42703", "query select 1, 2": "one column", "query select null": "NULL"} {
		if c := check(t, v, name); c.OK || !strings.Contains(c.Detail, want) {
			t.Errorf("%s: %+v, want %q", name, c, want)
		}
	}
}

// TestADamagedPointIsFoundOut damages the database itself before the point is made, in ways that a restore does not notice.
func TestADamagedPointIsFoundOut(t *testing.T) {
	w := begin(t)
	w.Exec("create table orders (id int primary key, note text)", "insert into orders select n, repeat('x', 100) from generate_series(1, 2000) n", "checkpoint")
	path := filepath.Join(w.Path("data"), w.Text("pg_relation_filepath('orders')"))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 3*8192+4000); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	point := w.capture(nil, nil)
	o := w.options("copy")
	o.Restore.Base = point.Snapshot.ID
	v, err := pgproof.Prove(t.Context(), o)
	if err != nil || v.OK {
		t.Fatalf("%+v, %v", v, err)
	}
	if c := check(t, v, "page checksums"); c.OK || !strings.Contains(c.Detail, "1 pages are damaged") || !strings.Contains(c.Detail, "verification failed") {
		t.Errorf("%+v", c)
	}
	if c := check(t, v, "pg_amcheck"); c.OK {
		t.Errorf("pg_amcheck reads over it: %+v", c)
	}
}

// TestNoVerdict holds that what keeps a proof from being made says nothing of the point.
func TestNoVerdict(t *testing.T) {
	w := begin(t)
	w.Exec("create table orders (id int)")
	point := w.capture(nil, nil)
	o := w.options("copy")
	o.Restore.Base, o.Restore.Spools = point.Snapshot.ID, nil // no log
	if v, err := pgproof.Prove(t.Context(), o); failure.KindOf(err) != failure.NotFound || v.OK || v.What != "" {
		t.Errorf("without log: %+v, %v", v, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o = w.options("canceled")
	o.Restore.Base = point.Snapshot.ID
	o.Phase = func(format string, args ...any) { cancel() } // once it is restored
	if v, err := pgproof.Prove(ctx, o); failure.KindOf(err) != failure.Canceled || v.OK {
		t.Errorf("told to stop: %+v, %v", v, err)
	}
	if _, err := os.Stat(o.Restore.Data + "/postmaster.pid"); err == nil {
		t.Error("the copy runs on")
	}
}

func TestBisect(t *testing.T) {
	w := begin(t)
	w.Exec("create table items (id int primary key, price int)")
	n := 0
	more := func(count int) {
		for range count {
			n++
			w.Exec(fmt.Sprintf("insert into items values (%d, %d)", n, n))
		}
	}
	more(10)
	w.capture(nil, nil)
	more(10)
	w.capture(nil, nil)
	more(20)
	good := n
	w.Exec("insert into items values (-1, -1)") // the transaction that is looked for
	more(20)
	w.capture(nil, nil)
	more(5)
	w.capture(nil, nil)
	more(5)
	w.caughtUp()
	check := "select coalesce(min(price), 0) >= 0 from items"

	var told []pgproof.Probe
	found, err := pgproof.Bisect(t.Context(), w.options("copy", check), 0, func(p pgproof.Probe) { told = append(told, p) })
	if err != nil {
		t.Fatal(err)
	}
	forward := 0
	for _, p := range told {
		t.Logf("%v %s %s in %s", p.OK, p.State, p.How, p.Took)
		if p.How == "replayed on" {
			forward++
		}
	}
	if !found.Adjacent || found.Bad == nil || len(told) != len(found.Probes) || forward == 0 {
		t.Fatalf("%+v, %d told, %d of them replayed on", found, len(told), forward)
	}
	// The good state has all that was committed before, and none of what came after: a restore shows it.
	f, err := pgproof.Bisect(t.Context(), w.options("within", check), time.Hour, nil)
	if err != nil || f.Adjacent || f.Bad == nil || len(f.Probes) >= len(told) {
		t.Errorf("to an hour: %+v, %v", f, err)
	}
	if got, want := w.at(found.Good.LSN), fmt.Sprintf("%d 1", good); got != want {
		t.Errorf("the last good state has %s rows and least price, want %s", got, want)
	}
	if got, want := w.at(found.Bad.LSN), fmt.Sprintf("%d -1", good+1); got != want {
		t.Errorf("the first bad state has %s rows and least price, want %s", got, want)
	}

	if f, err := pgproof.Bisect(t.Context(), w.options("copy", "select true"), 0, nil); err != nil || f.Bad != nil || f.Good.To != "latest" || len(f.Probes) != 1 {
		t.Errorf("all is good: %+v, %v", f, err)
	}
	if f, err := pgproof.Bisect(t.Context(), w.options("copy", "select false"), 0, nil); failure.KindOf(err) != failure.NotFound || f.Bad == nil {
		t.Errorf("all is bad: %+v, %v", f, err)
	}
	if f, err := pgproof.Bisect(t.Context(), w.options("copy", "select nonsense"), 0, nil); failure.KindOf(err) != failure.Invalid || failure.HintOf(err) == "" || len(f.Probes) != 0 {
		t.Errorf("what cannot be asked: %+v, %v", f, err)
	}
}

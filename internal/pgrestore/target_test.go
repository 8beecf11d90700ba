package pgrestore_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// client is somebody who writes and remembers: of each transaction, which one it was and what it wrote.
type history struct {
	mu    sync.Mutex
	wrote map[uint64]int64 // the id that a transaction wrote, twice, whether it was committed or not
	acked map[uint64]bool  // committed, says the server
	names []string         // restore points
}

// work writes until stop is closed: plain transactions, some with savepoints, some prepared first, some rolled back.
func (h *history) work(t testing.TB, conn *pgx.Conn, client int, stop <-chan struct{}) {
	ctx := context.Background()
	defer conn.Close(ctx)
	random := rand.New(rand.NewPCG(uint64(client), 1))
	run := func(sql string, args ...any) bool {
		_, err := conn.Exec(ctx, sql, args...)
		if err != nil {
			t.Errorf("client %d: %s: %v", client, sql, err)
		}
		return err == nil
	}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		id := int64(client)*1_000_000 + int64(n)
		var xid uint64
		if !run("begin") {
			return
		}
		if err := conn.QueryRow(ctx, "select pg_current_xact_id()::text::bigint").Scan(&xid); err != nil {
			t.Errorf("client %d: %v", client, err)
			return
		}
		h.mu.Lock()
		h.wrote[xid] = id
		h.mu.Unlock()
		how := random.IntN(10)
		ok := run("insert into history values ($1, 1, repeat('x', $2))", id, random.IntN(2000))
		if how == 0 {
			ok = ok && run("savepoint a")
		}
		ok = ok && run("insert into history values ($1, 2, '')", id)
		name := fmt.Sprintf("p%d", id)
		switch how {
		case 1:
			ok = ok && run("rollback")
		case 2:
			ok = ok && run("prepare transaction '"+name+"'") && run("commit prepared '"+name+"'")
		case 3:
			ok = ok && run("prepare transaction '"+name+"'") && run("rollback prepared '"+name+"'")
		default:
			ok = ok && run("commit")
		}
		if !ok {
			return
		}
		h.mu.Lock()
		h.acked[xid] = how != 1 && how != 3
		if n%97 == 96 {
			h.names = append(h.names, name)
		}
		h.mu.Unlock()
		if n%97 == 96 && !run("select pg_create_restore_point('"+name+"')") {
			return
		}
	}
}

// event is a record of the log, as pg_waldump tells it: another reader than ours.
type event struct {
	at      pgwal.LSN
	xid     uint64 // of a commit or an abort
	commit  bool
	abort   bool
	time    time.Time
	restore string
}

var (
	dumped   = regexp.MustCompile(`^rmgr: (\S+) +len \(rec/tot\): +\d+/ *\d+, tx: +(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), prev \S+, desc: (.*)$`)
	ended    = regexp.MustCompile(`^(COMMIT|ABORT|COMMIT_PREPARED|ABORT_PREPARED)(?: (\d+):?)? (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC`)
	restored = regexp.MustCompile(`^RESTORE_POINT (\S+)`)
)

// told reads the primary's own log.
func (w *world) told(from, to pgwal.LSN) []event {
	w.t.Helper()
	out := w.Sh(`TZ=UTC "$1/pg_waldump" -p "$2/data/pg_wal" -s "$3" -e "$4"`, w.Bin, w.Root, from.String(), to.String())
	var all []event
	for line := range strings.Lines(out) {
		m := dumped.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		at, err := pgwal.ParseLSN(m[3])
		if err != nil {
			w.t.Fatal(err)
		}
		e := event{at: at}
		if c := ended.FindStringSubmatch(m[4]); c != nil && m[1] == "Transaction" {
			e.commit, e.abort = strings.HasPrefix(c[1], "COMMIT"), strings.HasPrefix(c[1], "ABORT")
			text := m[2]
			if c[2] != "" {
				text = c[2]
			}
			e.xid, _ = strconv.ParseUint(text, 10, 64)
			if e.time, err = time.Parse("2006-01-02 15:04:05.999999", c[3]); err != nil {
				w.t.Fatal(err)
			}
		}
		if c := restored.FindStringSubmatch(m[4]); c != nil && m[1] == "XLOG" {
			e.restore = c[1]
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		w.t.Fatalf("pg_waldump says nothing:\n%.500s", out)
	}
	return all
}

// visible works out what must be there after a recovery to a target: the ids of all transactions that were committed before
// its end, by the words of PostgreSQL's documentation.
func visible(target pgrestore.Target, all []event, h *history) map[int64]bool {
	out := map[int64]bool{}
	for _, e := range all {
		ends := e.commit || e.abort
		before, after := false, false
		switch target.Kind {
		case pgrestore.Time:
			before = ends && (e.time.After(target.Time) || target.Exclusive && e.time.Equal(target.Time))
		case pgrestore.LSN:
			before, after = target.Exclusive && e.at >= target.LSN, !target.Exclusive && e.at >= target.LSN
		case pgrestore.Name:
			after = e.restore == target.Name
		case pgrestore.XID:
			after = ends && e.xid == target.XID
		case pgrestore.BeforeXID:
			before = ends && e.xid == target.XID
		}
		if before {
			break
		}
		if id, wrote := h.wrote[e.xid]; e.commit && wrote {
			out[id] = true
		}
		if after {
			break
		}
	}
	return out
}

// aim chooses a target among what happened.
func aim(r *rand.Rand, kind pgrestore.Kind, all []event, h *history) pgrestore.Target {
	ends := slices.DeleteFunc(slices.Clone(all), func(e event) bool { return !e.commit && !e.abort })
	e := ends[r.IntN(len(ends))]
	t := pgrestore.Target{Kind: kind, Exclusive: r.IntN(2) == 0}
	switch kind {
	case pgrestore.Time:
		t.Time = e.time.Add(time.Duration(r.IntN(3)-1) * time.Microsecond)
	case pgrestore.LSN:
		t.LSN = all[r.IntN(len(all))].at + pgwal.LSN(r.IntN(3)*8)
	case pgrestore.Name:
		t.Name, t.Exclusive = h.names[r.IntN(len(h.names))], false
	case pgrestore.XID, pgrestore.BeforeXID:
		t.XID, t.Exclusive = e.xid, false
	}
	return t
}

// TestTargets restores to random targets of each kind that refers to an instant, and compares with what was written down
// while it happened. LIFEBOAT_LONG takes a hundred of them.
func TestTargets(t *testing.T) {
	w := begin(t)
	w.Exec("create table history (id bigint, half int, filler text, primary key (id, half))", "alter system set wal_keep_size = '1GB'", "select pg_reload_conf()")
	w.receive(200 * time.Millisecond)
	h := &history{wrote: map[uint64]int64{}, acked: map[uint64]bool{}}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 4 {
		conn := w.Connect("postgres")
		clients.Go(func() { h.work(t, conn, i+1, stop) })
	}
	count := func() int { h.mu.Lock(); defer h.mu.Unlock(); return len(h.acked) }
	until := func(n int) {
		for end := time.Now().Add(pgtest.Patience); count() < n && time.Now().Before(end) && !t.Failed(); time.Sleep(5 * time.Millisecond) {
		}
	}
	targets, load := 6, 500
	if os.Getenv("LIFEBOAT_LONG") != "" {
		targets, load = 100, 5000
	}
	var bases []*pgbase.Result
	for i := range 3 {
		until(i*load + 100)
		bases = append(bases, w.capture())
	}
	until(3 * load)
	close(stop)
	clients.Wait()
	end := w.caughtUp()
	if t.Failed() {
		return
	}
	first, last := bases[0].Base, bases[len(bases)-1].Base
	everything := w.told(first.Start, end)
	// What was written before the log that is told is in the base points.
	w.before(h, everything)
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 2))
	kinds := []pgrestore.Kind{pgrestore.Time, pgrestore.LSN, pgrestore.Name, pgrestore.XID, pgrestore.BeforeXID}
	for i := range targets {
		// Half of them go to any base point, half are behind the last.
		from := first.Stop
		if i%2 == 0 {
			from = last.Stop
		}
		from = max(from, first.Stop)
		after := slices.DeleteFunc(slices.Clone(everything), func(e event) bool { return e.at < from })
		target := aim(r, kinds[i%len(kinds)], after, h)
		if target.Kind == pgrestore.Name && !slices.ContainsFunc(after, func(e event) bool { return e.restore == target.Name }) ||
			target.Kind == pgrestore.Time && target.Time.Before(first.Ended) {
			target = aim(r, pgrestore.XID, after, h)
		}
		t.Run(fmt.Sprintf("%d %s", i, target), func(t *testing.T) { w.at(t, target, everything, h) })
	}
}

// before notes the transactions that were committed before the log that is told begins.
func (w *world) before(h *history, all []event) {
	told := map[uint64]bool{}
	for _, e := range all {
		if e.commit || e.abort {
			told[e.xid] = true
		}
	}
	for xid, committed := range h.acked {
		if !told[xid] && !committed {
			delete(h.wrote, xid)
		}
	}
	h.names = slices.DeleteFunc(h.names, func(name string) bool {
		return !slices.ContainsFunc(all, func(e event) bool { return e.restore == name })
	})
	h.acked = maps.Collect(func(yield func(uint64, bool) bool) {
		for xid, committed := range h.acked {
			if !yield(xid, committed && !told[xid]) {
				return
			}
		}
	})
}

// at restores to a target, and compares what is there with what must be.
func (w *world) at(t *testing.T, target pgrestore.Target, all []event, h *history) {
	w.t = t
	want := visible(target, all, h)
	for xid, early := range h.acked {
		if early {
			want[h.wrote[xid]] = true
		}
	}
	o := w.options("copy", target)
	plan, err := pgrestore.Preview(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	res, conn, done := w.restore(o)
	defer done()
	if plan.Stop != 0 && res.Reached > plan.Stop {
		t.Errorf("the preview says %s, and it came to %s", plan.Stop, res.Reached)
	}
	got := map[int64]bool{}
	rows, err := conn.Query(t.Context(), "select id, count(*) from history group by id")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id, n int64
		if err := rows.Scan(&id, &n); err != nil {
			t.Fatal(err)
		}
		got[id] = true
		if n != 2 {
			t.Errorf("transaction %d is half there", id)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%d transactions must be there, and %d are (-want +got):\n%.2000s\n%+v", len(want), len(got), diff, res)
	}
	t.Logf("%d transactions; base point %s; %s; %s; %v", len(got), res.Base.Snapshot.ID.Short(), res.Why, res, res.Took)
}

package crash

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
)

// loadTables are what the load writes: each transaction writes one row into one of them and three into the other.
const loadTables = `create table head (id bigint primary key); create table line (id bigint, n int, primary key (id, n))`

// loaders is how many connections write at once, each one transaction after the other. Together they reach some thousand
// commits a second, since those that come together are flushed together.
const loaders = 32

// load is many writers at work, and what they remember. The id of a transaction says which round, writer and number it has.
type load struct {
	cancel  context.CancelFunc
	group   sync.WaitGroup
	began   time.Time
	done    atomic.Int64 // acknowledged so far
	writers [loaders]writer
}

// writer remembers of one connection what it was told. Only its own goroutine writes; it is read when that has ended.
type writer struct {
	first int64       // the id of its first transaction; the next one's is one more
	acked []time.Time // when each of the first transactions was acknowledged: one after the other, without a gap
	last  error       // what ended it; the transaction after the last acknowledged one is in doubt
}

func txn(round, writer int) int64 { return int64(round)<<40 | int64(writer)<<24 }

// startLoad begins to write to the primary of a site.
func startLoad(t *testing.T, w *world.World, site string, round int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, began: time.Now()}
	for i := range l.writers {
		conn, err := w.Connect(ctx, site, world.Database)
		if err != nil {
			t.Fatal(err)
		}
		me := &l.writers[i]
		me.first = txn(round, i)
		l.group.Go(func() { me.run(ctx, conn, &l.done) })
	}
	t.Cleanup(func() { l.stop() })
	return l
}

// run writes until something goes wrong.
func (w *writer) run(ctx context.Context, conn *pgx.Conn, done *atomic.Int64) {
	defer conn.Close(context.WithoutCancel(ctx))
	for w.last == nil {
		id := w.first + int64(len(w.acked))
		if w.last = commit(ctx, conn.PgConn(), id); w.last == nil {
			w.acked = append(w.acked, time.Now())
			done.Add(1)
		}
	}
}

// commit writes one transaction and returns when it is acknowledged.
func commit(ctx context.Context, conn *pgconn.PgConn, id int64) error {
	results, err := conn.Exec(ctx, fmt.Sprintf("begin; insert into head values (%d); insert into line values (%[1]d, 1), (%[1]d, 2), (%[1]d, 3); commit", id)).ReadAll()
	if err != nil {
		return err
	}
	if n := len(results); n != 4 || results[3].CommandTag.String() != "COMMIT" {
		return fmt.Errorf("commit of %d: %d results", id, n)
	}
	return nil
}

// stop ends the writers that still write, and waits for all.
func (l *load) stop() {
	l.cancel()
	l.group.Wait()
}

// acknowledged counts what was, and how much of it a second from the beginning to the last one.
func (l *load) acknowledged() (n int, rate float64, last time.Time) {
	for i := range l.writers {
		if acked := l.writers[i].acked; len(acked) > 0 {
			n += len(acked)
			if at := acked[len(acked)-1]; at.After(last) {
				last = at
			}
		}
	}
	if n > 0 {
		rate = float64(n) / last.Sub(l.began).Seconds()
	}
	return n, rate, last
}

// lossOf is what a database has not got of what was acknowledged.
type lossOf struct {
	n      int
	oldest time.Time // when the first of them was acknowledged
}

// loads are those of all rounds whose rows are still there.
type loads []*load

// compare reads every row at a site, from the tables themselves, and holds that no transaction is there in part, that
// nothing is there that nobody sent, and gives what is lost.
func (all loads) compare(t *testing.T, w *world.World, site string) (loss lossOf) {
	t.Helper()
	ctx := t.Context()
	conn, err := w.Connect(ctx, site, world.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, off := range []string{"indexscan", "indexonlyscan", "bitmapscan"} {
		if _, err := conn.Exec(ctx, "set enable_"+off+" = off"); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := conn.Query(ctx, `select coalesce(h.id, l.id), h.n, l.n from (select id, count(*) n from head group by id) h
		full join (select id, count(*) n from line group by id) l on h.id = l.id`)
	if err != nil {
		t.Fatal(err)
	}
	there := map[int64]bool{}
	for rows.Next() {
		var id int64
		var heads, lines *int64
		if err := rows.Scan(&id, &heads, &lines); err != nil {
			t.Fatal(err)
		}
		if heads == nil || lines == nil || *heads != 1 || *lines != 3 {
			t.Errorf("transaction %x is there in part: %v, %v", id, heads, lines)
		}
		there[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		for i := range l.writers {
			me := &l.writers[i]
			for n, at := range me.acked {
				if id := me.first + int64(n); there[id] {
					delete(there, id)
					continue
				}
				if loss.n++; loss.oldest.IsZero() || at.Before(loss.oldest) {
					loss.oldest = at
				}
			}
			delete(there, me.first+int64(len(me.acked))) // in doubt: its answer was on the way, or it never arrived
		}
	}
	if len(there) > 0 {
		t.Errorf("%d transactions are there that nobody sent", len(there))
	}
	return loss
}

package pglog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestLogThatNoBaseNeedsGoes: log stays as long as the oldest base point needs it, and no longer; snapshots that newer ones
// replaced go, too.
func TestLogThatNoBaseNeedsGoes(t *testing.T) {
	r := newRig(t)
	r.c.Margin = model.Duration(time.Millisecond)
	r.start()
	r.streaming()
	first := r.base(pgtest.East)
	for n := 1; r.lsn(pgtest.East) < 0x11000000; n++ { // over a directory's end
		r.order(pgtest.East, n, n)
		r.p.Exec(pgtest.East, "select pg_switch_wal()")
	}
	second := r.base(pgtest.East)
	r.order(pgtest.East, 101, 110)
	r.folded(pgtest.East)
	r.await("tidy", func(s pglog.State) bool { return s.Superseded <= 2 })
	if log := r.logs(); log.Spans[0].From.At >= first.Base.Start {
		t.Fatalf("a base point at %s needs what is gone: %+v", first.Base.Start, log.Spans)
	}
	if _, err := r.vault.Forget(t.Context(), []object.ID{first.Snapshot.ID}, vault.ForgetOptions{Wait: vault.Waiting{For: time.Minute}}); err != nil {
		t.Fatal(err)
	}
	forgotten := time.Now()
	r.await("looked at again", func(s pglog.State) bool { return s.BasesSeen.After(forgotten) })
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		r.p.Exec(pgtest.East, "insert into orders select max(id) + 2, null is null from orders where twin")
		r.p.Exec(pgtest.East, "delete from orders where id = (select max(id) from orders)")
		r.folded(pgtest.East)
		if log := r.logs(); log.Spans[0].From == (pgwal.Position{Timeline: 1, At: 0x10000000}) {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the log begins at %+v", log.Spans)
		}
	}
	log := r.logs()
	for at, want := range map[pgwal.LSN]bool{first.Base.Start: false, 0xF000000: false, 0x10000000: true, second.Base.Start: true} {
		node, err := r.vault.Find(t.Context(), *log.Snapshot.Tree, pgpoint.SegmentPath(1, at, log.Segment))
		if there := err == nil && node != nil; there != want && at < log.Segment.Start(log.Spans[0].To.At) {
			t.Errorf("the segment at %s is there: %v, want %v (%v)", at, there, want, err)
		}
	}
	if s := r.state(); s.NeedsBase {
		t.Errorf("%+v", s)
	}
	orders := r.p.Text(pgtest.East, count)
	if got, want := join(r.restore(nil, pgrestore.Target{}, count, halves)), fmt.Sprintf("%s 0", orders); got != want {
		t.Errorf("orders, and halves of them: %s, want %s", got, want)
	}
	if n := r.snapshots(); n > 30 {
		t.Errorf("%d log snapshots are there", n)
	}
}

// TestDrain folds at once what somebody waits for.
func TestDrain(t *testing.T) {
	r := newRig(t)
	r.c.FoldEvery = model.Duration(time.Hour)
	r.start()
	r.streaming()
	r.order(pgtest.East, 1, 10)
	to := r.lsn(pgtest.East)
	s := r.await("received", func(s pglog.State) bool { return s.Flushed.At >= to })
	if s.Drained(to) {
		t.Errorf("it is folded before anybody asked: %+v", s)
	}
	do(t, pglog.Drain(r.folder, to))
	r.await("drained", func(s pglog.State) bool { return s.Drained(to) })
}

// TestConfigurationIsReplaced changes what a receiver is told while it runs.
func TestConfigurationIsReplaced(t *testing.T) {
	r := newRig(t)
	r.launch()
	r.streaming()
	r.c.Slot += "_two"
	do(t, r.c.Save(r.folder))
	r.p.WaitFor(pgtest.East, "select count(*) = 1 from pg_replication_slots where active and slot_name = '"+r.c.Slot+"'")
	r.order(pgtest.East, 1, 5)
	if s := r.folded(pgtest.East); s.Pid != r.cmd.Process.Pid {
		t.Errorf("another process does it: %d, not %d", s.Pid, r.cmd.Process.Pid)
	}
}

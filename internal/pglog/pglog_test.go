package pglog_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
)

// TestReceivedFoldedRestored goes the whole way: what was committed comes back from the vault alone.
func TestReceivedFoldedRestored(t *testing.T) {
	r := newRig(t)
	r.start()
	r.streaming()
	s := r.await("in need of a base point", func(s pglog.State) bool { return s.NeedsBase && finding(s, pglog.FindNeedsBase) != nil })
	if s.From != pgtest.East || !s.Running || s.Pid != os.Getpid() || s.DiskFree == 0 || s.SpoolBytes == 0 {
		t.Errorf("%+v", s)
	}
	r.order(pgtest.East, 1, 20)
	r.base(pgtest.East)
	r.await("content with the base point", func(s pglog.State) bool { return !s.NeedsBase && len(s.Findings) == 0 })
	r.order(pgtest.East, 21, 40)
	r.p.Exec(pgtest.East, "select pg_switch_wal()")
	r.order(pgtest.East, 41, 60)
	r.folded(pgtest.East)
	r.order(pgtest.East, 61, 70)
	at := r.lsn(pgtest.East)
	r.await("received up to "+at.String(), func(s pglog.State) bool { return s.Flushed.At >= at })
	r.stop()
	s = r.state()
	if s.Running || s.Streaming || s.Folded != s.Flushed || len(s.Spans) != 1 {
		t.Errorf("after an orderly end: %+v", s)
	}
	if log := r.logs(); len(log.Spans) != 1 || log.Spans[0].To != s.Folded || len(log.Marks) == 0 {
		t.Errorf("%+v", log.Log)
	}
	if got, want := join(r.restore(nil, pgrestore.Target{}, count, halves)), "70 0"; got != want {
		t.Errorf("orders, and halves of them: %s, want %s", got, want)
	}
	// What is folded leaves the spool, but for the end.
	files, err := filepath.Glob(filepath.Join(r.c.Spool, "*", "0*"))
	do(t, err)
	if len(files) != 1 {
		t.Errorf("the spool holds %v", files)
	}
}

func TestOnlyOneReceiverRuns(t *testing.T) {
	r := newRig(t)
	r.start()
	r.streaming()
	if err := pglog.Run(t.Context(), pglog.Options{Config: r.c, Folder: r.folder}); !errors.Is(err, failure.Conflict) {
		t.Errorf("a second one: %v", err)
	}
	if _, err := pglog.ReadState(t.TempDir()); !errors.Is(err, failure.NotFound) {
		t.Errorf("no receiver: %v", err)
	}
}

package pgrestore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/test/ports"
)

// TestInPlace restores into a folder again and again: what may be overwritten, how little is written, and what is kept.
func TestInPlace(t *testing.T) {
	w := begin(t)
	w.receive(100 * time.Millisecond)
	w.Exec("create table history (id int primary key)", "insert into history select generate_series(1, 100000)")
	first := w.capture()
	w.Exec("insert into history select generate_series(100001, 150000)")
	w.folded()

	o := w.options("copy", pgrestore.Target{Kind: pgrestore.Immediate})
	o.Server = pgrestore.Server{Settings: map[string]string{"listen_addresses": w.Host, "port": strconv.Itoa(ports.Free(t, w.Host)), "archive_command": "it's/%f"}}
	o.Spools, o.Leave = nil, pgrestore.Stopped
	res, err := pgrestore.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if res.Base.Snapshot.ID != first.Snapshot.ID || res.Written < res.Bytes*9/10 || res.Timeline != 2 || res.Reused != 0 {
		t.Errorf("into an empty folder: %+v", res)
	}
	for _, name := range []string{"recovery.signal", "standby.signal", "lifeboat-restore.json", "pg_wal/lifeboat-ahead"} {
		if _, err := os.Lstat(filepath.Join(o.Data, name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	conf := read(t, filepath.Join(o.Data, "postgresql.auto.conf"))
	if !strings.Contains(conf, "archive_command = 'it''s/%f'\n") || strings.Contains(conf, "restore_command") || strings.Contains(conf, "recovery_target") {
		t.Errorf("got settings\n%s", conf)
	}

	// It is not overwritten unasked, and a running server's never.
	if _, err := pgrestore.Run(t.Context(), o); !errors.Is(err, failure.Exists) {
		t.Errorf("a folder of the same cluster: %v", err)
	}
	o.Overwrite = pgrestore.SameSystem
	o.Leave = pgrestore.Running
	if res, err = pgrestore.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if res.PID == 0 || res.Written > res.Bytes/10 || res.Reused < res.Bytes*9/10 {
		t.Errorf("in place: %+v", res)
	}
	if got := w.textAt(o, "select count(*) from history"); got != "100000" {
		t.Errorf("it has %s rows", got)
	}
	if got := w.textAt(o, "select setting from pg_settings where name = 'restore_command'"); got != "" {
		t.Errorf("the server that was left running has restore_command = %q", got)
	}
	if _, err := pgrestore.Run(t.Context(), o); !errors.Is(err, failure.Conflict) {
		t.Errorf("a running server's folder: %v", err)
	}
	if _, err := pgrestore.Preview(t.Context(), o); !errors.Is(err, failure.Conflict) {
		t.Errorf("a preview for a running server's folder: %v", err)
	}
	w.Halt("copy", "fast")
	w.overwritten(t, o, res)
	w.guarded(t, o)
}

// overwritten restores in place: what is there and not in the base point is shown, then deleted; what the site keeps, and
// the link to its log, stay.
func (w *world) overwritten(t *testing.T, o pgrestore.Options, earlier *pgrestore.Result) {
	w.Sh(`echo x >"$1/copy/base/intruder" && echo "# ours" >>"$1/copy/pg_hba.conf" && mv "$1/copy/pg_wal" "$1/log of it" && ln -s "$1/log of it" "$1/copy/pg_wal" &&
ln -s "$1/steady" "$1/copy/postgresql.auto.conf.new" && echo x >"$1/steady"`, w.Root)
	o.Keep, o.Leave, o.Target = []string{"pg_hba.conf", "not-there"}, pgrestore.Stopped, pgrestore.Target{}
	plan, err := pgrestore.Preview(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(plan.Delete, filepath.Join(o.Data, "base/intruder")) || plan.Write > plan.Bytes/4 || plan.Takes != 0 || len(plan.Commands) == 0 {
		t.Errorf("the preview says %+v", plan)
	}
	o.History = earlier.Took
	if plan, err = pgrestore.Preview(t.Context(), o); err != nil || plan.Takes <= 0 {
		t.Errorf("with a history it takes %v, %v", plan.Takes, err)
	}
	res, err := pgrestore.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read(t, filepath.Join(o.Data, "pg_hba.conf")), "# ours") || res.Deleted < 1 || res.Reached != plan.Stop {
		t.Errorf("got %+v", res)
	}
	if at, err := os.Readlink(filepath.Join(o.Data, "pg_wal")); err != nil || at != w.Path("log of it") || !strings.Contains(strings.Join(plan.Warnings, ""), at) {
		t.Errorf("the log was at %q, by a link: %v; warnings %q", at, err, plan.Warnings)
	}
	if read(t, w.Path("steady")) != "x\n" {
		t.Error("something was written through a link")
	}
	if _, err := os.Lstat(filepath.Join(o.Data, "base/intruder")); !os.IsNotExist(err) {
		t.Errorf("the intruder is there still: %v", err)
	}

}

// guarded refuses what is somebody else's.
func (w *world) guarded(t *testing.T, o pgrestore.Options) {
	if os.Getuid() == 0 { // what the server's user may not empty, it does not make root empty
		w.sudo("mkdir", w.Path("roots"))
		w.sudo("touch", w.Path("roots", "file"))
		w.sudo("ln", "-sfn", w.Path("roots"), w.Path("copy", "pg_wal"))
		if _, err := pgrestore.Run(t.Context(), o); !errors.Is(err, failure.Denied) {
			t.Errorf("a link to a folder of root's: %v", err)
		}
		read(t, w.Path("roots", "file"))
	}

	o.Leave = pgrestore.Stopped
	w.Sh(`mkdir "$1/else" && echo x >"$1/else/file"`, w.Root)
	o.Data = w.Path("else")
	if _, err := pgrestore.Run(t.Context(), o); !errors.Is(err, failure.Conflict) {
		t.Errorf("a folder of something else: %v", err)
	}
	if read(t, w.Path("else", "file")) != "x\n" {
		t.Error("it was touched")
	}
	o.Overwrite = pgrestore.Anything
	if _, err := pgrestore.Run(t.Context(), o); err != nil {
		t.Errorf("when anything may be overwritten: %v", err)
	}
}

// TestEnds ends a recovery in all ways other than a promotion.
func TestEnds(t *testing.T) {
	w := begin(t)
	w.receive(time.Hour)
	w.Exec("create table history (id int primary key)")
	w.capture()
	w.Exec("insert into history select generate_series(1, 1000)", "select pg_create_restore_point('thousand')", "insert into history values (1001)")
	w.caughtUp()

	t.Run("paused", func(t *testing.T) {
		o := w.options("copy", pgrestore.Target{Kind: pgrestore.Name, Name: "thousand"})
		o.After = pgrestore.Pause
		res, conn, done := w.restore(o)
		defer done()
		if got := pgtest.TextOf(t, conn, "select count(*)||' '||pg_is_in_recovery() from history"); got != "1000 true" || res.Timeline != 0 {
			t.Errorf("got %s, %+v", got, res)
		}
		// Whoever looks may go on from there, with nobody left who gives log.
		if _, err := conn.Exec(t.Context(), "select pg_wal_replay_resume()"); err != nil {
			t.Fatal(err)
		}
		pgtest.Wait(t, "it", func() bool { return pgtest.TextOf(t, conn, "pg_is_in_recovery()") == "false" })
		if _, err := conn.Exec(t.Context(), "insert into history values (5000)"); err != nil {
			t.Error(err)
		}
	})
	t.Run("paused at the end", func(t *testing.T) {
		o := w.options("copy", pgrestore.Target{})
		o.After = pgrestore.Pause
		res, conn, done := w.restore(o)
		defer done()
		if got := pgtest.TextOf(t, conn, "select count(*)||' '||pg_is_in_recovery() from history"); got != "1001 true" {
			t.Errorf("got %s, %+v", got, res)
		}
	})
	t.Run("shut down, to follow the primary", func(t *testing.T) {
		port := strconv.Itoa(ports.Free(t, w.Host))
		o := w.options("copy", pgrestore.Target{})
		o.After, o.Leave = pgrestore.Shutdown, pgrestore.Stopped
		o.Server = pgrestore.Server{Settings: map[string]string{"listen_addresses": w.Host, "port": port,
			"primary_conninfo": "host=" + w.Host + " port=" + strconv.Itoa(w.Port) + " user=postgres sslmode=disable"}}
		if _, err := pgrestore.Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		w.Exec("insert into history values (1002)")
		w.Sh(`"$1/pg_ctl" start -w -s -D "$2/copy" -l "$2/copy.log"`, w.Bin, w.Root)
		defer w.Halt("copy", "fast")
		pgtest.Wait(t, "it", func() bool { return w.textAt(o, "select count(*) from history") == "1002" })
	})
}

// TestRefused refuses what cannot be, and touches nothing.
func TestRefused(t *testing.T) {
	w := begin(t)
	ctx := t.Context()
	o := w.options("copy", pgrestore.Target{})
	if _, err := pgrestore.Run(ctx, o); !errors.Is(err, failure.NotFound) || !strings.Contains(failure.HintOf(err), "protect") {
		t.Errorf("without a base point: %v", err)
	}
	w.receive(time.Hour)
	w.Exec("create table history (id int primary key)")
	w.capture()
	w.Exec("insert into history values (1)", "select pg_create_restore_point('twice')", "select pg_create_restore_point('twice')")
	end := w.caughtUp()
	for _, tt := range []struct {
		name   string
		change func(o *pgrestore.Options)
		want   failure.Kind
		hint   string
	}{
		{"no such kind", func(o *pgrestore.Options) { o.Target.Kind = "soon" }, failure.Invalid, "latest, immediate"},
		{"before everything", func(o *pgrestore.Options) {
			o.Target = pgrestore.Target{Kind: pgrestore.Time, Time: time.Now().Add(-time.Hour)}
		}, failure.NotFound, "the earliest state"},
		{"after everything", func(o *pgrestore.Options) {
			o.Target = pgrestore.Target{Kind: pgrestore.Time, Time: time.Now().Add(time.Hour)}
		}, failure.NotFound, "latest"},
		{"behind the log", func(o *pgrestore.Options) { o.Target = pgrestore.Target{Kind: pgrestore.LSN, LSN: end + 1<<30} }, failure.NotFound, "latest"},
		{"before the base point", func(o *pgrestore.Options) { o.Target = pgrestore.Target{Kind: pgrestore.LSN, LSN: 1 << 20} }, failure.NotFound, "the earliest state"},
		{"no such name", func(o *pgrestore.Options) { o.Target = pgrestore.Target{Kind: pgrestore.Name, Name: "never"} }, failure.NotFound, "timeline"},
		{"a name that is there twice", func(o *pgrestore.Options) { o.Target = pgrestore.Target{Kind: pgrestore.Name, Name: "twice"} }, failure.Invalid, "position"},
		{"no such transaction", func(o *pgrestore.Options) { o.Target = pgrestore.Target{Kind: pgrestore.XID, XID: 4_000_000} }, failure.NotFound, ""},
		{"no such timeline", func(o *pgrestore.Options) { o.Timeline.Number = 7 }, failure.NotFound, "spool"},
		{"no such base point", func(o *pgrestore.Options) { o.Base[0] = 1 }, failure.NotFound, "points"},
		{"all base points are bad", func(o *pgrestore.Options) { o.Avoid = append(o.Avoid, w.bases()...) }, failure.NotFound, "name one"},
		{"no log", func(o *pgrestore.Options) { o.Spools = nil }, failure.NotFound, "spool"},
		{"no such tablespace", func(o *pgrestore.Options) { o.Spaces = map[string]string{"77": "/x"} }, failure.Invalid, "none"},
		{"a relative folder", func(o *pgrestore.Options) { o.Data = "copy" }, failure.Invalid, ""},
		{"paused and gone", func(o *pgrestore.Options) { o.After, o.Leave = pgrestore.Pause, pgrestore.Stopped }, failure.Invalid, ""},
		{"no programs", func(o *pgrestore.Options) { o.Bin = w.Path("nowhere") }, failure.Unavailable, "programs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := w.options("copy", pgrestore.Target{})
			tt.change(&o)
			_, err := pgrestore.Run(ctx, o)
			if err == nil || failure.KindOf(err) != tt.want || !strings.Contains(failure.HintOf(err), tt.hint) {
				t.Errorf("got %v (%s), hint %q", err, failure.KindOf(err), failure.HintOf(err))
			}
			if _, err := os.Stat(w.Path("copy", "PG_VERSION")); !os.IsNotExist(err) {
				t.Errorf("something is left: %v", err)
			}
		})
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := pgrestore.Run(gone, w.options("copy", pgrestore.Target{})); failure.KindOf(err) != failure.Canceled {
		t.Errorf("given up before it began: %v", err)
	}
}

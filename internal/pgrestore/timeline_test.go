package pgrestore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
)

// TestTimelines restores from before and behind a promotion, onto the branch that was taken, and onto the one that was left.
func TestTimelines(t *testing.T) {
	w := begin(t)
	w.receive(100 * time.Millisecond)
	w.Exec("create table history (id int primary key)", "insert into history values (1)")
	w.capture()
	w.Exec("insert into history values (2)")
	w.folded()

	// The primary is lost for a while, and another one is made of the vault. What the old one still does is kept by whoever
	// archives for it.
	o := w.options("second", pgrestore.Target{})
	o.Leave, o.Spools = pgrestore.Stopped, nil
	o.Server = pgrestore.Server{}
	res, err := pgrestore.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if res.Timeline != 2 {
		t.Fatalf("got %+v", res)
	}
	w.stop()
	fork := w.flushed()
	w.Exec("insert into history values (-3)", "select pg_switch_wal()", "insert into history values (-4)", "checkpoint")
	w.Halt("data", "immediate")
	old := w.Path("old", "spool")
	w.spoolOf(old, w.Path("data"))
	w.Launch("second")
	w.receive(100 * time.Millisecond)
	w.caughtUp() // before a base backup lets the server remove the segment in which it was promoted
	w.Exec("insert into history values (3)")
	before := w.Text("clock_timestamp()")
	w.Exec("insert into history values (4)")
	w.capture()
	w.Exec("insert into history values (5)", "select pg_switch_wal()", "insert into history values (6)")
	w.folded()

	first := w.bases()[0]
	now, err := time.Parse("2006-01-02 15:04:05.999999-07", before)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*pgrestore.Options)
		want   string
	}{
		{"latest", func(o *pgrestore.Options) {}, "1 2 3 4 5 6"},
		{"latest from the first base point", func(o *pgrestore.Options) { o.Base = first }, "1 2 3 4 5 6"},
		{"a time behind the promotion", func(o *pgrestore.Options) { o.Target = pgrestore.Target{Kind: pgrestore.Time, Time: now} }, "1 2 3"},
		{"the timeline of the first base point", func(o *pgrestore.Options) { o.Base, o.Timeline.Current = first, true }, "1 2"},
		{"the branch that was left", func(o *pgrestore.Options) {
			o.Timeline.Number, o.Spools = 1, []string{w.Path("old")}
		}, "-4 -3 1 2"},
		{"the branch that was taken, with the log of both", func(o *pgrestore.Options) {
			o.Base, o.Spools = first, []string{w.Path("old"), w.Path("spool")}
		}, "1 2 3 4 5 6"},
		{"a position on the branch that was left", func(o *pgrestore.Options) {
			o.Timeline.Number, o.Spools = 1, []string{w.Path("old")}
			o.Target = pgrestore.Target{Kind: pgrestore.LSN, LSN: fork, Exclusive: true}
		}, "1 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			o := w.options("copy", pgrestore.Target{})
			o.Spools = nil
			tt.change(&o)
			res, conn, done := w.restore(o)
			defer done()
			if got := pgtest.TextOf(t, conn, "select string_agg(id::text, ' ' order by id) from history"); got != tt.want {
				t.Errorf("got %s, want %s: %+v", got, tt.want, res)
			}
			if res.Timeline != 3 && (o.Timeline.Number == 0 || res.Timeline != 2 && res.Timeline != 3) {
				t.Errorf("it is on timeline %d", res.Timeline)
			}
		})
	}
}

// spoolOf makes a spool of the log that a server has. The last segments are ready for
// use and hold nothing of this server yet.
func (w *world) spoolOf(dir, data string) {
	w.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(data, "pg_wal", "0000*"))
	if err != nil {
		w.t.Fatal(err)
	}
	last := w.Sh(`"$1/pg_controldata" -D "$2" | sed -n "s/^Latest checkpoint's REDO WAL file: *//p"`, w.Bin, data)
	for _, name := range names {
		base := filepath.Base(name)
		to := base
		if base >= last[:24] {
			to += ".partial"
		}
		if base > last[:24] {
			continue
		}
		w.write(filepath.Join(dir, to), read(w.t, name))
	}
	w.write(filepath.Join(dir, "spool.json"), read(w.t, w.aboutSpool()))
}

// aboutSpool is what the receiver's spool says of itself.
func (w *world) aboutSpool() string {
	w.t.Helper()
	names, err := filepath.Glob(w.Path("spool", "*", "spool.json"))
	if err != nil || len(names) != 1 {
		w.t.Fatalf("got %v, %v", names, err)
	}
	return names[0]
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

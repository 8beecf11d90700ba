package pgrestore_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
)

// TestToldGap restores up to a gap that the receiver told of, and says so.
func TestToldGap(t *testing.T) {
	w := begin(t)
	w.receive(time.Hour)
	w.Exec("create table history (id int primary key)")
	w.capture()
	w.Exec("insert into history values (1)", "select pg_switch_wal()")
	at := w.flushed()
	w.Exec("insert into history values (2)", "select pg_switch_wal()", "insert into history values (3)")
	w.caughtUp()
	w.stopKeeping()
	about := w.aboutSpool()
	content, err := walspool.Read(filepath.Dir(about))
	if err != nil {
		t.Fatal(err)
	}
	lost := pgwal.SegmentSize(segmentSize).Start(at)
	start := lost + segmentSize
	s, err := walspool.Open(filepath.Dir(about), content.About().SystemID, segmentSize)
	if err != nil {
		t.Fatal(err)
	}
	// As the receiver would have said it, had it come there without what was before.
	kept := map[string]string{}
	for _, g := range content.Segments {
		if g.At >= lost {
			if g.At >= start {
				kept[g.Path] = read(t, g.Path)
			}
			w.remove(g.Path)
		}
	}
	if err := errors.Join(s.Begin(pgwal.Position{Timeline: 1, At: start}, "the slot was lost", time.Now()), s.Close()); err != nil {
		t.Fatal(err)
	}
	for path, text := range kept {
		w.write(path, text)
	}
	o := w.options("copy", pgrestore.Target{})
	res, conn, done := w.restore(o)
	defer done()
	said, err := json.Marshal(res.Warnings)
	if err != nil {
		t.Fatal(err)
	}
	if got := pgtest.TextOf(t, conn, "select string_agg(id::text, ' ') from history"); got != "1" || res.Reached != lost || !strings.Contains(string(said), "the slot was lost") {
		t.Errorf("got %s at %s, warnings %s", got, res.Reached, said)
	}
	o.Data, o.Target = w.Path("other"), pgrestore.Target{Kind: pgrestore.LSN, LSN: start + 0x100}
	if _, err := pgrestore.Run(t.Context(), o); failure.KindOf(orNil(err)) != failure.NotFound {
		t.Errorf("to a position behind the gap: %v", err)
	}
	if _, err := os.Stat(o.Data); !os.IsNotExist(err) {
		t.Errorf("something was made: %v", err)
	}
}

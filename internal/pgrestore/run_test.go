package pgrestore_test

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
)

func TestLatest(t *testing.T) {
	w := begin(t)
	w.receive()
	w.exec("create table history (id int primary key)")
	w.capture()
	w.exec("insert into history select generate_series(1, 50000)")
	w.caughtUp()
	res, conn, done := w.restore(w.options("copy", pgrestore.Target{}))
	defer done()
	t.Logf("%+v", res)
	if got := text(t, conn, "select count(*) from history"); got != "50000" {
		t.Errorf("got %s rows", got)
	}
}

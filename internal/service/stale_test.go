package service

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/all"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestOldProbesDoNotDateAnOutage keeps an RTO from being counted from a good answer after which nobody asked.
func TestOldProbesDoNotDateAnOutage(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	store := memory.New()
	s := &Service{log: log, cfg: &model.Config{}, opts: Options{Drivers: all.Registry(log),
		Journal: func(context.Context) (journal.Store, error) { return store, nil }}}
	long := time.Now().UTC().Add(-72 * time.Hour)
	for _, c := range []struct {
		name  string
		asked time.Time
		want  bool
	}{{"asked just now", time.Now().UTC(), true}, {"asked days ago", long, false}} {
		_, mod, err := read[probed](t.Context(), store, probeKey("shop"))
		if err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), store, probeKey("shop"), probed{Asked: c.asked, LastGood: &long}, mod); err != nil {
			t.Fatal(err)
		}
		if got := s.lastGood(t.Context(), "shop"); (got != nil) != c.want {
			t.Errorf("%s: last good answer %v, want one: %v", c.name, got, c.want)
		}
	}
}

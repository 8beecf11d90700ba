package memory_test

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/journaltest"
	"github.com/lifeboat-dr/lifeboat/internal/journal/memory"
)

func TestConformance(t *testing.T) {
	journaltest.Run(t, func(testing.TB) journaltest.Opener {
		db := memory.NewDB()
		return func(testing.TB) journal.Store { return db.Open() }
	})
}

func TestArchiveConformance(t *testing.T) {
	journaltest.RunArchive(t, func(testing.TB) func() journal.Archive {
		a := memory.NewArchive()
		return func() journal.Archive { return a }
	})
}

package etcd

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/journaltest"
)

func TestFolderConformance(t *testing.T) {
	journaltest.Run(t, func(tb testing.TB) journaltest.Opener {
		dir := tb.TempDir()
		return func(tb testing.TB) journal.Store {
			tb.Helper()
			s, err := OpenFolder(tb.Context(), dir, FolderOptions{})
			if err != nil {
				tb.Fatalf("OpenFolder: %v", err)
			}
			return s
		}
	})
}

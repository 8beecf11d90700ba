package regions

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/archive"
)

func TestMain(m *testing.M) {
	if err := warm(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// warm lets the archive make what all archives of a process share. Made in one bubble it would be of no use to the next.
func warm() error {
	dir, err := os.MkdirTemp("", "lifeboat-regions-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	a := archive.New(dir)
	if err := a.Put(context.Background(), journal.Summary{ID: "warm", At: time.Now()}, []byte("{}")); err != nil {
		return err
	}
	_, _, err = a.Get(context.Background(), "warm")
	return err
}

package file_test

import (
	"path/filepath"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
)

func TestSuite(t *testing.T) {
	blobtest.Run(t, func(tb testing.TB) blobtest.Place {
		folder := filepath.Join(tb.TempDir(), "deep", "vault")
		return func() (blob.Store, error) { return file.Open(folder) }
	})
}

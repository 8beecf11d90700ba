package memory_test

import (
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/blobtest"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
)

func TestSuite(t *testing.T) {
	blobtest.Run(t, func(testing.TB) blobtest.Place {
		space := &memory.Space{}
		return func() (blob.Store, error) { return space.Open(), nil }
	})
}

package vaultjob

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

// silent is a store that never answers.
type silent struct{ blob.Store }

func (s silent) Stat(ctx context.Context, _ blob.Handle) (blob.Info, error) {
	<-ctx.Done()
	return blob.Info{}, failure.Wrap(ctx.Err(), "stat", "")
}

// TestAVaultThatIsSilentHoldsNobodyUp: each caller waits as long as it wants to, the first one too.
func TestAVaultThatIsSilentHoldsNobodyUp(t *testing.T) {
	t.Setenv("JOB_TEST_PASSWORD", "x")
	synctest.Test(t, func(t *testing.T) {
		var c Vaults
		o := location.Options{Memory: map[string]*memory.Space{"m": {}}, Around: func(s blob.Store) blob.Store { return silent{s} }}
		m := model.Vault{URL: "memory:m", Password: "env:JOB_TEST_PASSWORD", Cache: "none"}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			began := time.Now()
			err := c.With(ctx, m, o, func(*vault.Vault) error { return errors.New("it was opened") })
			cancel()
			if took := time.Since(began); took != 3*time.Second || !errors.Is(err, failure.Indeterminate) && !errors.Is(err, failure.Unavailable) && !errors.Is(err, failure.Canceled) {
				t.Errorf("after %s: %v", took, err)
			}
		}
		time.Sleep(2 * openTimeout) // the opening gives up as well
		synctest.Wait()
		if len(c.open) != 0 {
			t.Error("what could not be opened is kept")
		}
	})
}

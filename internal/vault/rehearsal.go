package vault

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// NewRehearsal begins a session that does everything but store: what it was given counts, is compressed and encrypted,
// and is dropped. It takes no lock and may be used on a store that cannot be written to. Commit gives the zero id.
func (v *Vault) NewRehearsal(ctx context.Context) (*Session, error) {
	if v.config.Version != 2 {
		return nil, failure.New(failure.Unsupported, "write to the vault", v.Location(), "it has format version %d, which is only read", v.config.Version).
			WithHint("upgrade it with: restic migrate upgrade_repo_v2")
	}
	if err := v.LoadIndex(ctx); err != nil {
		return nil, err
	}
	return v.session(ctx, nil), nil
}

// Rehearsal reports whether the session stores nothing.
func (s *Session) Rehearsal() bool { return s.lock == nil }

// Vault is what the session writes to.
func (s *Session) Vault() *Vault { return s.v }

// Has reports whether all of these blobs are stored, so that what is written may refer to them.
func (s *Session) Has(t object.Type, ids ...object.ID) bool {
	s.v.mu.RLock()
	defer s.v.mu.RUnlock()
	for _, id := range ids {
		if !s.v.index.Has(object.Handle{Type: t, ID: id}) {
			return false
		}
	}
	return true
}

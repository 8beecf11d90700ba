package restorer

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// Run makes the tree root true in o.Target. Entries that cannot be restored are told to OnError and listed in the
// Result, and the others are restored all the same; then the error says so, with the kind of the worst. The Result is
// there with every error, as far as the run came. A run that was broken off is completed by the next one.
//
// Invalid: o cannot be; Denied: Delete would clear the whole system. A full file system ends the run at once.
func Run(ctx context.Context, v *vault.Vault, root object.ID, o Options) (*Result, error) {
	return nil, failure.New(failure.Unsupported, "restore", o.Target, "not in this build")
}

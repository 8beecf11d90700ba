package vault

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
)

// Uncover lifts what somebody laid over objects on a bucket with Object Lock, so that restic sees them again: this vault
// does in any case. It gives the objects, those of before an error too; with dry it only finds them. What restic removed
// on such a bucket was only hidden, and comes back as well. Unsupported: nothing can be hidden in this place.
func (v *Vault) Uncover(ctx context.Context, dry bool) ([]blob.Handle, error) {
	u, ok := blob.As[blob.Uncoverer](v.store)
	if !ok {
		return nil, failure.New(failure.Unsupported, "uncover", v.Location(), "nothing can be hidden in this place").
			WithHint("only on a bucket with Object Lock do hidden objects stay")
	}
	var all []blob.Handle
	_, err := u.Undelete(ctx, dry, func(h blob.Handle) { all = append(all, h) })
	return all, failure.Wrap(err, "uncover", v.Location())
}

package vault

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// BestCopies values each blob by its best copy, as value says of an index file and a pack that it lists: for tests.
func (v *Vault) BestCopies(ctx context.Context, value func(index, pack object.ID) time.Duration) (map[object.Handle]time.Duration, error) {
	if err := v.LoadIndex(ctx); err != nil {
		return nil, err
	}
	best := map[object.Handle]time.Duration{}
	for id := range v.loaded {
		packs, err := v.loadIndexFile(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, p := range packs {
			worth := value(id, p.ID)
			for _, e := range p.Entries {
				if had, there := best[e.Handle]; !there || worth > had {
					best[e.Handle] = worth
				}
			}
		}
	}
	return best, nil
}

// EachNeeded names each blob that a snapshot needs: for tests.
func (v *Vault) EachNeeded(ctx context.Context, id object.ID, each func(object.Handle)) error {
	s, err := v.Snapshot(ctx, id)
	if err != nil {
		return err
	}
	each(object.Handle{Type: object.Tree, ID: *s.Tree})
	return v.Walk(ctx, *s.Tree, func(_ string, n *tree.Node, err error) error {
		if err != nil {
			return err
		}
		if n.Subtree != nil {
			each(object.Handle{Type: object.Tree, ID: *n.Subtree})
		}
		for _, id := range n.Content {
			each(object.Handle{Type: object.Data, ID: id})
		}
		return nil
	})
}

// Behind replaces the store of an opened vault: for tests whose stores are not yet to be asked while it is opened.
func Behind(v *Vault, store blob.Store) { v.store = store }

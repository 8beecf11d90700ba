package importer

import (
	"cmp"
	"context"
	"slices"

	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// contents are files of backups that are in the vault. One takes some 100 bytes, and 32 for each block of pgpoint.Block.
type contents map[contentKey]stored

// contentKey is a file, and the backup that holds its content itself. One without a name stands for the whole backup.
type contentKey struct{ label, name string }

type stored struct {
	sum     [20]byte
	content vault.Content
}

func (c contents) set(key contentKey, f *pgbackrest.File, content vault.Content) {
	c[key] = stored{f.SHA1, content}
}

// get finds what is f's content for certain: by its checksum.
func (c contents) get(key contentKey, f *pgbackrest.File) (vault.Content, bool) {
	s, ok := c[key]
	return s.content, ok && s.sum == f.SHA1 && s.content.Size == uint64(f.Size)
}

// recall learns what a backup holds that an earlier import brought. It holds what its own manifest says, which every file
// was compared with.
func (c *copying) recall(ctx context.Context, label string) error {
	r := c.run
	all := contentKey{label: label}
	if _, done := r.contents[all]; done {
		return nil
	}
	r.contents[all] = stored{}
	for _, b := range r.repo.Backups {
		sn := r.there[tagOf(b)]
		if b.Label != label || sn == nil || r.blockOf(sn) != c.block {
			continue
		}
		m, err := r.repo.Manifest(ctx, label)
		if err != nil {
			if damaged(sourceError{err}) { // then its files are read again
				return nil
			}
			return err
		}
		own := map[string]*pgbackrest.File{}
		for i := range m.Files {
			if f := &m.Files[i]; f.Reference == "" {
				own[pointPath(f.Name)] = f
			}
		}
		return r.v.Walk(ctx, *sn.Tree, func(path string, n *tree.Node, err error) error {
			if err != nil {
				return err
			}
			if f := own[path]; f != nil && n.Type == tree.File {
				r.contents.set(contentKey{label, f.Name}, f, vault.Content{Blobs: n.Content, Size: n.Size})
			}
			return nil
		})
	}
	return nil
}

// largest is how many bytes the largest backup of a cluster has.
func (r *run) largest(system uint64) (size int64) {
	for _, b := range r.repo.Backups {
		if b.SystemID == system {
			size = max(size, b.Size)
		}
	}
	return size
}

// captured is the newest base point of a cluster that Lifeboat made itself: those that are imported are to share its
// blocks. Nil: there is none.
func (r *run) captured(system uint64) *pgpoint.Base {
	for _, b := range slices.Backward(r.bases) {
		if b.SystemID == system && b.Source == "" {
			return &b.Base
		}
	}
	return nil
}

// blockOf is what the blocks of an imported point have.
func (r *run) blockOf(sn *snapshot.Snapshot) int {
	for _, b := range r.bases {
		if b.Snapshot.ID == sn.ID {
			return cmp.Or(b.Block, pgpoint.Block)
		}
	}
	return 0
}

// appendBounded adds to the damaged things that a point names.
func appendBounded(list []string, one string) []string {
	if len(list) < pgpoint.MaxDamaged {
		list = append(list, one)
	}
	return list
}

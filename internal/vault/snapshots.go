package vault

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// Snapshots lists the snapshots that f matches, oldest first. When some cannot be read, the others are returned together
// with an error that names them: whether they match is not known.
func (v *Vault) Snapshots(ctx context.Context, f snapshot.Filter) ([]*snapshot.Snapshot, error) {
	ids, err := v.list(ctx, blob.Snapshot)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var found []*snapshot.Snapshot
	var bad []error
	err = v.each(ctx, ids, func(ctx context.Context, id object.ID, _ int64) error {
		s, err := v.Snapshot(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil && f.Matches(s):
			found = append(found, s)
		case err != nil && failure.KindOf(err) != failure.NotFound: // forgotten meanwhile
			bad = append(bad, err)
		}
		return ctx.Err()
	})
	slices.SortFunc(found, func(a, b *snapshot.Snapshot) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return a.ID.Compare(b.ID)
	})
	return found, errors.Join(append(bad, err)...)
}

// Snapshot loads one snapshot.
func (v *Vault) Snapshot(ctx context.Context, id object.ID) (*snapshot.Snapshot, error) {
	plain, err := v.loadFile(ctx, blob.Snapshot, id)
	if err != nil {
		return nil, err
	}
	s, err := snapshot.Decode(plain)
	if err != nil {
		return nil, failure.Wrap(err, "load the snapshot", id.Short())
	}
	s.ID = id
	return s, nil
}

// FindSnapshot gives the one snapshot that name means: "latest" of those that f matches, or the beginning of an id,
// whatever f says. NotFound: there is none; Invalid: several begin so.
func (v *Vault) FindSnapshot(ctx context.Context, name string, f snapshot.Filter) (*snapshot.Snapshot, error) {
	if name == "latest" {
		all, err := v.Snapshots(ctx, f)
		if err != nil {
			return nil, err // one that cannot be read may be the latest
		}
		if len(all) == 0 {
			return nil, failure.New(failure.NotFound, "find the snapshot", name, "no snapshot matches")
		}
		return all[len(all)-1], nil
	}
	ids, err := v.list(ctx, blob.Snapshot)
	if err != nil {
		return nil, err
	}
	var found []object.ID
	for id := range ids {
		if name != "" && strings.HasPrefix(id.String(), name) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return nil, failure.New(failure.NotFound, "find the snapshot", name, "no snapshot's id begins so")
	case 1:
		return v.Snapshot(ctx, found[0])
	}
	return nil, failure.New(failure.Invalid, "find the snapshot", name, "%d snapshots' ids begin so", len(found)).
		WithHint("give more digits of the id")
}

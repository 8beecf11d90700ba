package vault

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// Snapshots lists the snapshots that f matches, oldest first. When some cannot be read, not even from replicas, the others
// are returned together with an error that names them: whether they match is not known. When the store itself cannot be
// listed, a replica's snapshots are given under the ids that they have here, as far as the replica knows them.
func (v *Vault) Snapshots(ctx context.Context, f snapshot.Filter) ([]*snapshot.Snapshot, error) {
	err := v.ready()
	var all []*snapshot.Snapshot
	var bad map[object.ID]error
	if err == nil {
		all, bad, err = v.ownSnapshots(ctx)
	}
	if err != nil {
		if all, err = v.listFallBack(ctx, err); err != nil {
			return nil, err
		}
	}
	given, lost := v.snapshotFallBack(ctx, bad)
	all = slices.DeleteFunc(append(all, given...), func(s *snapshot.Snapshot) bool { return !f.Matches(s) })
	slices.SortFunc(all, older)
	return all, lost
}

// older orders snapshots by time, then by id.
func older(a, b *snapshot.Snapshot) int {
	return cmp.Or(a.Time.Compare(b.Time), a.ID.Compare(b.ID))
}

// ownSnapshots loads all snapshots of this vault, in no particular order, and says why some cannot be read. One that is
// forgotten meanwhile is left out. The error is for what kept it from looking.
func (v *Vault) ownSnapshots(ctx context.Context) ([]*snapshot.Snapshot, map[object.ID]error, error) {
	ids, err := v.list(ctx, blob.Snapshot)
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	var found []*snapshot.Snapshot
	bad := map[object.ID]error{}
	err = v.each(ctx, ids, func(ctx context.Context, id object.ID, _ int64) error {
		s, err := v.ownSnapshot(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			found = append(found, s)
		case failure.KindOf(err) != failure.NotFound:
			bad[id] = err
		}
		return ctx.Err()
	})
	return found, bad, err
}

// Snapshot loads one snapshot.
func (v *Vault) Snapshot(ctx context.Context, id object.ID) (*snapshot.Snapshot, error) {
	err := v.ready()
	if err == nil {
		var s *snapshot.Snapshot
		if s, err = v.ownSnapshot(ctx, id); err == nil {
			return s, nil
		}
	}
	given, err := v.snapshotFallBack(ctx, map[object.ID]error{id: err})
	if err != nil {
		return nil, err
	}
	return given[0], nil
}

// ownSnapshot is Snapshot without replicas.
func (v *Vault) ownSnapshot(ctx context.Context, id object.ID) (*snapshot.Snapshot, error) {
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
// whatever f says. When no id begins so, the ids are tried that snapshots had in the vault that they were copied from,
// then the replicas. NotFound: there is none; Invalid: several begin so.
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
	err := v.ready()
	var found []object.ID
	if err == nil {
		found, err = v.idsBeginning(ctx, name)
	}
	switch {
	case err == nil && len(found) == 1:
		return v.Snapshot(ctx, found[0])
	case err == nil && len(found) > 1:
		return nil, failure.New(failure.Invalid, "find the snapshot", name, "%d snapshots' ids begin so", len(found)).
			WithHint("give more digits of the id")
	case name == "":
		return nil, failure.New(failure.NotFound, "find the snapshot", name, "the name is empty")
	}
	return v.findCopy(ctx, name, err)
}

// idsBeginning lists the ids of this vault's snapshots that begin with name, which is not empty.
func (v *Vault) idsBeginning(ctx context.Context, name string) ([]object.ID, error) {
	ids, err := v.list(ctx, blob.Snapshot)
	maps.DeleteFunc(ids, func(id object.ID, _ int64) bool { return name == "" || !strings.HasPrefix(id.String(), name) })
	return slices.Collect(maps.Keys(ids)), err
}

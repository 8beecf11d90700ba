package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// original is the id under which a snapshot was first written: copies and changed tags keep it.
func original(s *snapshot.Snapshot) object.ID {
	if s.Original != nil && !s.Original.IsZero() {
		return *s.Original
	}
	return s.ID
}

// snapshotFallBack asks the replicas for the snapshots that the vault itself cannot read, for the given reasons. It gives
// those that it finds, under the ids that were asked for, and an error for the others.
func (v *Vault) snapshotFallBack(ctx context.Context, bad map[object.ID]error) ([]*snapshot.Snapshot, error) {
	if len(bad) == 0 {
		return nil, nil
	}
	var given []*snapshot.Snapshot
	left := maps.Clone(bad)
	why := bad[slices.SortedFunc(maps.Keys(bad), object.ID.Compare)[0]]
	err := v.fallBack(ctx, "load snapshots", why, func(ctx context.Context, r *replica, other *Vault) error {
		theirs, _, err := other.ownSnapshots(ctx)
		if err != nil {
			return err
		}
		var missed []error
		for _, id := range slices.SortedFunc(maps.Keys(left), object.ID.Compare) {
			s, err := standIn(theirs, id)
			if err != nil {
				missed = append(missed, err)
				continue
			}
			c, _ := r.gave(0, 0, 1)
			v.tell(ctx, "snapshot "+id.Short()+", there "+s.ID.Short(), r, c, left[id])
			given = append(given, renamed(s, id))
			delete(left, id)
		}
		return errors.Join(missed...)
	})
	if len(left) == 0 {
		return given, nil
	}
	if len(left) == 1 && len(bad) == 1 {
		return given, err // what the replicas say is about this one
	}
	var all []error
	for _, id := range slices.SortedFunc(maps.Keys(left), object.ID.Compare) {
		all = append(all, left[id])
	}
	return given, errors.Join(all...)
}

// standIn finds the copy of a snapshot among a replica's. Several copies with different content, as a rewritten one
// leaves, are Conflict: which of them is meant cannot be told.
func standIn(theirs []*snapshot.Snapshot, id object.ID) (*snapshot.Snapshot, error) {
	var found []*snapshot.Snapshot
	for _, s := range theirs {
		if s.ID == id {
			return s, nil
		}
		if original(s) == id {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return nil, failure.New(failure.NotFound, "find a copy of the snapshot", id.Short(), "there is none")
	}
	slices.SortFunc(found, older)
	var ids []string
	for _, s := range found {
		ids = append(ids, s.ID.Short())
	}
	if slices.ContainsFunc(found, func(s *snapshot.Snapshot) bool { return *s.Tree != *found[0].Tree }) {
		return nil, failure.New(failure.Conflict, "find a copy of the snapshot", id.Short(), "there are several that differ: %s", strings.Join(ids, ", ")).
			WithHint("choose one of them by its id")
	}
	return found[0], nil
}

func renamed(s *snapshot.Snapshot, id object.ID) *snapshot.Snapshot {
	c := *s
	c.ID = id
	return &c
}

// listFallBack gives all snapshots of the first replica that can list its own, after the vault itself could not for err.
// Each has the id that it was first written under, unless several share it.
func (v *Vault) listFallBack(ctx context.Context, err error) ([]*snapshot.Snapshot, error) {
	var all []*snapshot.Snapshot
	err = v.fallBack(ctx, "list the snapshots", err, func(ctx context.Context, r *replica, other *Vault) error {
		theirs, bad, rerr := other.ownSnapshots(ctx)
		if rerr != nil {
			return rerr
		}
		if len(theirs) == 0 && len(bad) > 0 {
			return errors.Join(slices.Collect(maps.Values(bad))...)
		}
		count := map[object.ID]int{}
		for _, s := range theirs {
			count[original(s)]++
		}
		for i, s := range theirs {
			if count[original(s)] == 1 {
				theirs[i] = renamed(s, original(s))
			}
		}
		all = theirs
		c, _ := r.gave(0, 0, len(theirs))
		v.tell(ctx, "the list of snapshots", r, c, err)
		for id, e := range bad {
			v.opts.Log.WarnContext(ctx, "a snapshot of the replica cannot be read", "replica", r.Name, "snapshot", id, "error", e)
		}
		return nil
	})
	return all, err
}

// findCopy is FindSnapshot for a name that no snapshot's own id begins with, or for a vault that cannot be listed: then
// err says why.
func (v *Vault) findCopy(ctx context.Context, name string, err error) (*snapshot.Snapshot, error) {
	if err == nil {
		var theirs []*snapshot.Snapshot
		if theirs, _, err = v.ownSnapshots(ctx); err == nil {
			var s *snapshot.Snapshot
			if s, _, err = copyNamed(theirs, name); err == nil || failure.KindOf(err) != failure.NotFound {
				return s, err
			}
		}
	}
	var found *snapshot.Snapshot
	err = v.fallBack(ctx, "find the snapshot "+name, err, func(ctx context.Context, r *replica, other *Vault) error {
		theirs, _, rerr := other.ownSnapshots(ctx)
		if rerr != nil {
			return rerr
		}
		s, id, rerr := copyNamed(theirs, name)
		if rerr == nil {
			found = renamed(s, id)
			c, _ := r.gave(0, 0, 1)
			v.tell(ctx, "snapshot "+name, r, c, err)
		}
		return rerr
	})
	return found, err
}

// copyNamed finds the one snapshot whose id, or whose first id, begins with name, and gives it with that id.
func copyNamed(all []*snapshot.Snapshot, name string) (*snapshot.Snapshot, object.ID, error) {
	firsts := map[object.ID]bool{}
	for _, s := range all {
		if strings.HasPrefix(s.ID.String(), name) {
			firsts[s.ID] = true
		} else if first := original(s); strings.HasPrefix(first.String(), name) {
			firsts[first] = true
		}
	}
	switch len(firsts) {
	case 0:
		return nil, object.ID{}, failure.New(failure.NotFound, "find the snapshot", name, "no snapshot's id begins so")
	case 1:
		for id := range firsts {
			s, err := standIn(all, id)
			return s, id, err
		}
	}
	return nil, object.ID{}, failure.New(failure.Invalid, "find the snapshot", name, "%d snapshots' ids begin so", len(firsts)).
		WithHint("give more digits of the id")
}

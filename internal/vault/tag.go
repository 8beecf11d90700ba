package vault

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/retention"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// TagChange says which tags snapshots get: either Set, or Add and Remove.
type TagChange struct {
	Set         bool     // replace all tags by Add
	Add, Remove []string // tags hold no commas; empty ones are passed over
}

// Tagged is what became of one snapshot.
type Tagged struct {
	Old object.ID
	// New is the snapshot with the new tags; equal to Old when there was nothing to change.
	New object.ID
	// Err says why the tags are not changed. Or, with New set, why the old snapshot is still there beside the new one:
	// Denied with NotBefore, when the store retains it.
	Err       error
	NotBefore time.Time
}

// Tag changes the tags of snapshots, under the exclusive lock. A snapshot is named by its content, so each that changes
// gets another id: the new one is written, which names the first one as its original, then the old one is removed, as
// restic does it. An interrupted Tag can be repeated. Tags of a legal hold are Denied: see Hold and EndHold.
func (v *Vault) Tag(ctx context.Context, ids []object.ID, c TagChange, w Waiting) ([]Tagged, error) {
	for _, tag := range slices.Concat(c.Add, c.Remove) {
		if strings.Contains(tag, ",") {
			return nil, failure.New(failure.Invalid, "tag", tag, "a tag cannot hold a comma")
		}
	}
	if c.Set && len(c.Remove) > 0 {
		return nil, failure.New(failure.Invalid, "tag", "", "tags are either replaced, or added and removed")
	}
	return v.retag(ctx, ids, w, func(s *snapshot.Snapshot) ([]string, error) {
		tags := c.apply(s.Tags)
		if !slices.Equal(holdTags(tags), holdTags(s.Tags)) {
			return nil, failure.New(failure.Denied, "tag", s.ID.Short(), "this would change a legal hold").
				WithHint("put on and end holds as such, not by their tags")
		}
		return tags, nil
	})
}

// Hold puts snapshots on legal hold, or changes the hold that is on them: no policy and no Forget removes them until it
// ends. See Tag for what becomes of their ids.
func (v *Vault) Hold(ctx context.Context, ids []object.ID, h retention.Hold, w Waiting) ([]Tagged, error) {
	return v.retag(ctx, ids, w, func(s *snapshot.Snapshot) ([]string, error) {
		return append(withoutHold(s.Tags), h.Tags()...), nil
	})
}

// EndHold ends the legal hold on snapshots. See Tag for what becomes of their ids.
func (v *Vault) EndHold(ctx context.Context, ids []object.ID, w Waiting) ([]Tagged, error) {
	return v.retag(ctx, ids, w, func(s *snapshot.Snapshot) ([]string, error) { return withoutHold(s.Tags), nil })
}

func withoutHold(tags []string) []string {
	return slices.DeleteFunc(slices.Clone(tags), retention.IsHoldTag)
}

func holdTags(tags []string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !retention.IsHoldTag(tag) })
}

// apply gives the tags that a snapshot with these has afterwards, in restic's order.
func (c TagChange) apply(tags []string) []string {
	tags = slices.Clone(tags)
	if c.Set {
		tags = nil
	}
	for _, tag := range c.Add {
		if tag != "" && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return slices.DeleteFunc(tags, func(tag string) bool { return slices.Contains(c.Remove, tag) })
}

// retag rewrites the snapshots for which change gives other tags.
func (v *Vault) retag(ctx context.Context, ids []object.ID, w Waiting, change func(*snapshot.Snapshot) ([]string, error)) ([]Tagged, error) {
	held, lock, err := v.moment(ctx, w)
	if err != nil {
		return nil, failure.Wrap(err, "tag", v.Location())
	}
	defer v.release(ctx, lock, "tag")
	there, _, err := v.ownSnapshots(held)
	if err != nil {
		return nil, cause(held, err)
	}
	list := make([]Tagged, 0, len(ids))
	for _, id := range ids {
		t := Tagged{Old: id}
		t.New, t.NotBefore, t.Err = v.retagOne(held, id, there, change)
		if held.Err() != nil {
			return list, cause(held, t.Err)
		}
		list = append(list, t)
	}
	return list, nil
}

func (v *Vault) retagOne(ctx context.Context, id object.ID, there []*snapshot.Snapshot, change func(*snapshot.Snapshot) ([]string, error)) (object.ID, time.Time, error) {
	none := time.Time{}
	s, err := v.ownSnapshot(ctx, id)
	if err != nil {
		return object.ID{}, none, err
	}
	tags, err := change(s)
	if err != nil {
		return object.ID{}, none, err
	}
	if slices.Equal(tags, s.Tags) {
		return id, none, nil
	}
	s.Tags = tags
	if s.Original == nil {
		s.Original = &id
	}
	text, err := s.Encode()
	if err != nil {
		return object.ID{}, none, err
	}
	renamed, found := object.ID{}, false
	for _, other := range there { // what an interrupted run has written is not written again
		if other.ID != id && other.Original != nil && *other.Original == *s.Original {
			if same, err := other.Encode(); err == nil && bytes.Equal(same, text) {
				renamed, found = other.ID, true
			}
		}
	}
	if !found {
		if renamed, err = v.saveFile(ctx, blob.Snapshot, text); err != nil {
			return object.ID{}, none, err
		}
	}
	until, err := v.removeFree(ctx, blob.Handle{Type: blob.Snapshot, Name: id.String()})
	return renamed, until, err
}

package vault

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// Lag is how far one vault is behind another.
type Lag struct {
	// Missing are the snapshots that the destination lacks, Extra those that only it has (of which the source has
	// forgotten the like, or never had it), both oldest first.
	Missing, Extra []*snapshot.Snapshot
	// Behind is how much newer the source's newest snapshot is than the newest that both have: what would be lost, in
	// time, if the source were gone. Hosts and paths are looked at apart, and the worst counts. Where the
	// destination has nothing, all of the history counts: see Newer, since the history of a single snapshot is zero.
	Behind time.Duration
	// Newer is how many of Missing are newer than all of the same host and paths that both have.
	Newer int
	// Newest is when the newest snapshot was taken that both have; zero: there is none.
	Newest time.Time
	// Unreadable are snapshots of the source that cannot be read: nothing can be said of them.
	Unreadable []object.ID
}

// Lag compares the snapshots that f matches with those of dst. It reads snapshots only: what they need is Check's.
func (v *Vault) Lag(ctx context.Context, dst *Vault, f snapshot.Filter) (*Lag, error) {
	ours, bad, err := v.ownSnapshots(ctx)
	if err != nil {
		return nil, failure.Wrap(err, "compare snapshots", v.Location())
	}
	theirs, unreadable, err := dst.ownSnapshots(ctx)
	if err != nil {
		return nil, failure.Wrap(err, "compare snapshots", dst.Location())
	}
	for id, e := range unreadable {
		dst.opts.Log.WarnContext(ctx, "a snapshot cannot be read: it counts as missing", "vault", dst.Location(), "snapshot", id, "error", e)
	}
	lag := &Lag{Unreadable: slices.SortedFunc(maps.Keys(bad), object.ID.Compare)}
	other := func(s *snapshot.Snapshot) bool { return !f.Matches(s) }
	ours, theirs = slices.DeleteFunc(ours, other), slices.DeleteFunc(theirs, other)
	slices.SortFunc(ours, older)
	slices.SortFunc(theirs, older)
	all := map[string][]*snapshot.Snapshot{} // by series, oldest first
	common := map[string]int{}               // how many of the series go up to the newest that both have
	there, here := byFirst(theirs), byFirst(ours)
	for _, s := range ours {
		key := series(s)
		all[key] = append(all[key], s)
		if there.similar(s) == nil {
			lag.Missing = append(lag.Missing, s)
			continue
		}
		common[key] = len(all[key])
		if s.Time.After(lag.Newest) {
			lag.Newest = s.Time
		}
	}
	for _, s := range theirs {
		if here.similar(s) == nil {
			lag.Extra = append(lag.Extra, s)
		}
	}
	for key, list := range all {
		n := common[key]
		lag.Newer += len(list) - n
		lag.Behind = max(lag.Behind, list[len(list)-1].Time.Sub(list[max(0, n-1)].Time))
	}
	return lag, nil
}

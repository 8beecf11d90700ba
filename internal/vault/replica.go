package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// replicaRests is for how long a vault or a replica that could not be reached is not asked again: a restore of a million
// blobs must not wait a million times for a site that is down.
const replicaRests = time.Minute

// Replica is another vault with copies of what is in this one, under whatever password and polynomial. It is read when
// something of this one is damaged or gone; nothing is written to it.
type Replica struct {
	Name string // for people: where it is
	// Open opens it, when it is first needed, and again later after it failed. Whoever made the Replica closes what was
	// opened, when the vault is used no more.
	Open func(ctx context.Context) (*Vault, error)
}

// ReplicaOf is a replica that is open already.
func ReplicaOf(v *Vault) Replica {
	return Replica{Name: v.Location(), Open: func(context.Context) (*Vault, error) { return v, nil }}
}

// Fallback counts what one replica gave because the vault itself could not.
type Fallback struct {
	Replica   string
	Blobs     int
	Bytes     int64 // of blobs, before compression
	Snapshots int
	Failed    int   // how often it was asked in vain
	LastError error // of the last time in vain; nil: there was none
}

// Attach gives the vault replicas to fall back to, in the order in which they are asked, instead of those from before. It
// is called before the vault is used.
//
// From then on what cannot be had from the vault (a blob that no index lists, or of which every copy is damaged or gone;
// a snapshot's file; the whole store, when it cannot be reached) is asked of the replicas by its id, and verified as
// ever. That holds for LoadBlob, LoadBlobs, BlobSize, OpenFile and what reads through them, for Snapshot, Snapshots and
// FindSnapshot. Check, sessions, repairs and whatever deletes go by the vault's own files alone. Each fallback is
// counted ([Vault.Fallbacks]) and logged. A replica's own replicas are not asked.
func (v *Vault) Attach(all ...Replica) {
	v.others.all = nil
	for _, r := range all {
		v.others.all = append(v.others.all, &replica{Replica: r, count: Fallback{Replica: r.Name}})
	}
}

// Replicas gives what was attached.
func (v *Vault) Replicas() []Replica {
	var all []Replica
	for _, r := range v.others.all {
		all = append(all, r.Replica)
	}
	return all
}

// Fallbacks tells what the replicas gave so far, in the order in which they are asked. Whoever reads from a vault reports
// this at the end: a count that is not zero says that the vault needs a check and a repair.
func (v *Vault) Fallbacks() []Fallback {
	var all []Fallback
	for _, r := range v.others.all {
		r.mu.Lock()
		all = append(all, r.count)
		r.mu.Unlock()
	}
	return all
}

// replicas are those of a vault, and what is known of who can be reached. The zero value has none.
type replicas struct {
	all []*replica

	mu    sync.Mutex
	rests rest // the vault itself
	gaps  rest // why the vault's index is not whole, though it is used, and when to try again
}

// rest is a time in which somebody is not asked, and why.
type rest struct {
	until time.Time
	err   error
}

func (r rest) over(now time.Time) error {
	if now.Before(r.until) {
		return r.err
	}
	return nil
}

// begin makes a rest when err says that somebody cannot be reached.
func (r *rest) begin(now time.Time, err error) {
	switch failure.KindOf(err) {
	case failure.Unavailable, failure.Denied:
		*r = rest{now.Add(replicaRests), err}
	}
}

// replica is one that is attached.
type replica struct {
	Replica
	opening sync.Mutex

	mu    sync.Mutex
	v     *Vault
	rests rest
	count Fallback
}

// vault opens the replica unless that was done.
func (r *replica) vault(ctx context.Context, now time.Time) (*Vault, error) {
	r.opening.Lock()
	defer r.opening.Unlock()
	r.mu.Lock()
	v, err := r.v, r.rests.over(now)
	r.mu.Unlock()
	if v != nil || err != nil {
		return v, err
	}
	v, err = r.Open(ctx)
	if err == nil {
		err = v.readIndex(ctx, true) // a part of it is better than none
	}
	if err != nil {
		r.failed(ctx, now, err)
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.v = v
	return v, nil
}

// failed notes that the replica was asked in vain, unless it was the caller who gave up.
func (r *replica) failed(ctx context.Context, now time.Time, err error) {
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rests.begin(now, err)
	r.count.Failed++
	r.count.LastError = err
}

// gave notes a fallback and reports whether it is one to be told of: the first, then each time that their number has
// doubled, for a lost pack is thousands of blobs.
func (r *replica) gave(blobs int, bytes int64, snapshots int) (Fallback, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Blobs += blobs
	r.count.Bytes += bytes
	r.count.Snapshots += snapshots
	n := r.count.Blobs
	return r.count, snapshots > 0 || n&(n-1) == 0
}

// ready is nil when the vault is to be asked itself, and otherwise why it could not be reached a moment ago.
func (v *Vault) ready() error {
	if len(v.others.all) == 0 {
		return nil
	}
	v.others.mu.Lock()
	defer v.others.mu.Unlock()
	return v.others.rests.over(v.opts.Now())
}

// unreached notes that the vault itself could not be reached, if that is what err says.
func (v *Vault) unreached(ctx context.Context, err error) {
	if err == nil || len(v.others.all) == 0 || ctx.Err() != nil {
		return
	}
	now := v.opts.Now()
	v.others.mu.Lock()
	defer v.others.mu.Unlock()
	if v.others.rests.over(now) == nil {
		v.others.rests.begin(now, err)
	}
}

// fallBack asks the replicas in their order, after the vault itself has failed with err, until one does not fail. With
// none left the error has err's kind and names everybody's reason.
func (v *Vault) fallBack(ctx context.Context, what string, err error, ask func(context.Context, *replica, *Vault) error) error {
	if len(v.others.all) == 0 || ctx.Err() != nil {
		return err
	}
	v.unreached(ctx, err)
	now := v.opts.Now()
	all := []error{err}
	for _, r := range v.others.all {
		other, rerr := r.vault(ctx, now)
		if rerr == nil {
			if rerr = ask(ctx, r, other); rerr == nil {
				return nil
			}
			r.failed(ctx, now, rerr)
		}
		if ctx.Err() != nil {
			return failure.Wrap(ctx.Err(), what, v.Location())
		}
		all = append(all, failure.Wrap(rerr, "ask the replica", r.Name))
	}
	hint := failure.HintOf(err)
	return failure.WrapAs(failure.KindOf(err), errors.Join(all...), what, "").WithHint("%s", hint)
}

// tell logs that a replica gave what the vault should have.
func (v *Vault) tell(ctx context.Context, what string, r *replica, c Fallback, why error) {
	v.opts.Log.WarnContext(ctx, "a replica gave what the vault could not", "vault", v.Location(), "replica", r.Name, "what", what,
		"why", why, "blobs", c.Blobs, "bytes", c.Bytes, "snapshots", c.Snapshots)
}

// blobFallBack is LoadBlob's second half: err is why the vault itself does not give h.
func (v *Vault) blobFallBack(ctx context.Context, h object.Handle, err error) ([]byte, error) {
	var data []byte
	err = v.fallBack(ctx, "load "+h.String(), err, func(ctx context.Context, r *replica, other *Vault) (rerr error) {
		if data, rerr = other.loadBlob(ctx, h); rerr == nil {
			v.blobGiven(ctx, r, h, len(data), err)
		}
		return rerr
	})
	return data, err
}

// blobsFallBack is LoadBlobs for a vault with replicas.
func (v *Vault) blobsFallBack(ctx context.Context, handles []object.Handle, each func(object.Handle, []byte, error) error) error {
	return v.packedFallBack(ctx, handles, func(h object.Handle, data []byte, _ packedBlob, err error) error {
		return each(h, data, err)
	})
}

// packedFallBack is loadPacked with replicas.
func (v *Vault) packedFallBack(ctx context.Context, handles []object.Handle, each func(object.Handle, []byte, packedBlob, error) error) error {
	var mu sync.Mutex
	why := map[object.Handle]error{}
	err := v.loadPacked(ctx, handles, func(h object.Handle, data []byte, packed packedBlob, err error) error {
		if err == nil || len(v.others.all) == 0 {
			return each(h, data, packed, err)
		}
		mu.Lock()
		defer mu.Unlock()
		why[h] = err
		return nil
	})
	if err != nil {
		return err
	}
	_, err = v.askReplicas(ctx, why, func(h object.Handle, data []byte, err error) error {
		return each(h, data, packedBlob{}, err)
	})
	return err
}

// askReplicas gives each the blobs of why, which says why the vault itself does not give them: every replica is asked for
// all that those before it did not give. What none has comes with everybody's reasons. The first error is that of a
// replica which could not be asked, so that what it has is not known.
func (v *Vault) askReplicas(ctx context.Context, why map[object.Handle]error, each func(object.Handle, []byte, error) error) (unasked, err error) {
	now := v.opts.Now()
	for _, r := range v.others.all {
		if len(why) == 0 {
			return nil, nil
		}
		other, err := r.vault(ctx, now)
		if err != nil {
			unasked = failure.Wrap(err, "ask the replica", r.Name)
			for h, before := range why {
				why[h] = errors.Join(before, unasked)
			}
			continue
		}
		var mu sync.Mutex
		var last error
		err = other.loadBlobs(ctx, slices.Collect(maps.Keys(why)), func(h object.Handle, data []byte, err error) error {
			mu.Lock()
			before := why[h]
			if err != nil {
				defer mu.Unlock()
				last = failure.Wrap(err, "ask the replica", r.Name)
				why[h] = errors.Join(before, last)
				if !damage(err) {
					unasked = last
				}
				return nil
			}
			delete(why, h)
			mu.Unlock()
			v.blobGiven(ctx, r, h, len(data), before)
			return each(h, data, nil)
		})
		if err != nil {
			return unasked, err
		}
		if last != nil {
			r.failed(ctx, now, last)
		}
	}
	for h, reasons := range why {
		if err := each(h, nil, reasons); err != nil {
			return unasked, err
		}
	}
	return unasked, failure.Wrap(ctx.Err(), "load blobs", v.Location())
}

// blobGiven counts and logs one blob that came from a replica.
func (v *Vault) blobGiven(ctx context.Context, r *replica, h object.Handle, n int, why error) {
	if c, loud := r.gave(1, int64(n), 0); loud {
		v.tell(ctx, h.String(), r, c, why)
	}
}

// sizeFallBack asks the replicas' indexes for the length of a blob's content. That alone is no fallback to be counted.
func (v *Vault) sizeFallBack(ctx context.Context, h object.Handle, err error) (uint32, error) {
	var size uint32
	err = v.fallBack(ctx, "look up "+h.String(), err, func(ctx context.Context, _ *replica, other *Vault) (rerr error) {
		size, rerr = other.blobSize(ctx, h)
		return rerr
	})
	return size, err
}

// mend lets a vault with replicas be read though its index could not be loaded, for err: what can be read of the index
// counts, and the rest is the replicas' to give. It is tried again later.
func (v *Vault) mend(ctx context.Context, err error) error {
	if len(v.others.all) == 0 || ctx.Err() != nil {
		return err
	}
	now := v.opts.Now()
	if err == nil {
		v.others.mu.Lock()
		defer v.others.mu.Unlock()
		v.others.gaps = rest{}
		return nil
	}
	if rerr := v.readIndex(ctx, true); ctx.Err() != nil {
		return rerr
	}
	v.others.mu.Lock()
	v.others.gaps = rest{now.Add(replicaRests), err}
	v.others.rests.begin(now, err)
	v.others.mu.Unlock()
	v.opts.Log.WarnContext(ctx, "the vault's index is not whole: what it does not list is read from replicas", "vault", v.Location(), "error", err)
	return nil
}

// gapsAgain reports whether it is time to load an index again that could not be loaded as a whole.
func (v *Vault) gapsAgain() bool {
	if len(v.others.all) == 0 {
		return false
	}
	v.others.mu.Lock()
	defer v.others.mu.Unlock()
	now := v.opts.Now()
	if v.others.gaps.err == nil || v.others.gaps.over(now) != nil {
		return false
	}
	v.others.gaps.until = now.Add(replicaRests) // one tries, the others go on
	return true
}

package vault

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/restic/chunker"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Refilled is what Refill brought back from replicas, or would bring back.
type Refilled struct {
	Blobs [2]int // by type
	Bytes int64  // before compression
	// Snapshots are those whose files were damaged, To being the file that replaces each.
	Snapshots []SnapshotCopy
	// Lost are the blobs that snapshots need and nobody has, and Unreadable the snapshots that nobody has.
	Lost       []object.Handle
	Unreadable []object.ID
	Fallbacks  []Fallback
}

// Refill brings back from the attached replicas what snapshots need and the vault lacks: blobs that no index lists,
// directories that cannot be read, snapshots whose files are damaged; a damaged file of a snapshot goes when what replaces
// it is durable. The content of damaged packs is RepairPacks's, which goes before. It can be killed at any moment.
func (v *Vault) Refill(ctx context.Context, o RepairOptions) (*Refilled, error) {
	return v.refill(ctx, o, nil)
}

// refill is Refill; what is brought already, by the plan that it is a part of, does not count.
func (v *Vault) refill(ctx context.Context, o RepairOptions, brought map[object.Handle]struct{}) (*Refilled, error) {
	held, lock, done, err := v.repairing(ctx, o)
	if err != nil {
		return nil, err
	}
	defer done()
	before := v.Fallbacks()
	r := &refiller{v: v, brought: brought, wanted: map[object.Handle]error{}, asked: map[object.Handle]struct{}{}}
	if err := v.LoadIndex(held); err != nil {
		return nil, failure.WrapAs(failure.KindOf(err), err, "load the index", v.Location()).WithHint("run first: lifeboat vault repair index")
	}
	if lock != nil {
		r.session = v.session(held, lock)
		defer r.session.Close(ctx) // the lock is given back by done, which says so
	}
	if err := r.run(held); err != nil {
		return nil, failure.Wrap(cause(held, err), "bring back from replicas", v.Location())
	}
	slices.SortFunc(r.report.Lost, compareHandles)
	r.report.Fallbacks = fallbacksSince(before, v.Fallbacks())
	return &r.report, nil
}

// refiller is one run of Refill.
type refiller struct {
	v       *Vault
	session *Session // nil in a dry run
	brought map[object.Handle]struct{}
	report  Refilled
	wanted  map[object.Handle]error    // data to be asked for, and why
	asked   map[object.Handle]struct{} // data that was asked for, or is wanted
	mu      sync.Mutex
}

func (r *refiller) run(ctx context.Context) error {
	own, bad, err := r.v.ownSnapshots(ctx)
	if err != nil {
		return err
	}
	given, unread := r.v.snapshotFallBack(ctx, bad)
	for _, s := range given {
		delete(bad, s.ID)
	}
	r.report.Unreadable = slices.SortedFunc(maps.Keys(bad), object.ID.Compare)
	if len(bad) > 0 && unread != nil {
		r.v.opts.Log.WarnContext(ctx, "snapshots are lost", "vault", r.v.Location(), "error", unread)
	}
	var roots []object.ID
	for _, s := range slices.Concat(own, given) {
		roots = append(roots, *s.Tree)
	}
	if err := r.walk(ctx, roots); err != nil {
		return err
	}
	if err := r.fetch(ctx); err != nil {
		return err
	}
	return r.snapshots(ctx, own, given)
}

// walk reads all directories below roots, bringing back those that cannot be read.
func (r *refiller) walk(ctx context.Context, roots []object.ID) error {
	seen := map[object.ID]struct{}{}
	open := slices.Clone(roots)
	for len(open) > 0 {
		at := max(0, len(open)-treesAtOnce)
		var handles []object.Handle
		for _, id := range open[at:] {
			if _, there := seen[id]; !there {
				seen[id] = struct{}{}
				handles = append(handles, object.Handle{Type: object.Tree, ID: id})
			}
		}
		open = open[:at]
		below, err := r.trees(ctx, handles)
		if err != nil {
			return err
		}
		open = append(open, below...)
		if len(r.wanted) >= copyBatch {
			if err := r.fetch(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// trees reads directories, notes the data that they lack, and gives those below.
func (r *refiller) trees(ctx context.Context, handles []object.Handle) (below []object.ID, err error) {
	why := map[object.Handle]error{}
	err = r.v.loadBlobs(ctx, handles, func(h object.Handle, data []byte, err error) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err == nil {
			below = r.directory(below, data)
		} else if why[h] = err; !damage(err) {
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return below, r.ask(ctx, why, func(h object.Handle, data []byte) {
		below = r.directory(below, data)
	})
}

// directory notes what a directory needs. One that says nothing needs nothing: Check reports it. The caller holds mu.
func (r *refiller) directory(below []object.ID, text []byte) []object.ID {
	t, err := tree.Decode(text)
	if err != nil {
		return below
	}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		if n.Type == tree.Dir && n.Subtree != nil {
			below = append(below, *n.Subtree)
		}
		for _, id := range n.Content {
			h := object.Handle{Type: object.Data, ID: id}
			if _, asked := r.asked[h]; !asked && !r.v.has(h) {
				r.asked[h] = struct{}{}
				r.wanted[h] = missing(h)
			}
		}
	}
	return below
}

// fetch brings back the data that is wanted.
func (r *refiller) fetch(ctx context.Context) error {
	why := r.wanted
	r.wanted = map[object.Handle]error{}
	return r.ask(ctx, why, func(object.Handle, []byte) {})
}

// ask stores what replicas give, and passes it on under mu. That a replica could not be asked ends the refill only when
// something is missing then.
func (r *refiller) ask(ctx context.Context, why map[object.Handle]error, given func(object.Handle, []byte)) error {
	if len(why) == 0 {
		return nil
	}
	lost := len(r.report.Lost)
	unasked, err := r.v.askReplicas(ctx, why, func(h object.Handle, data []byte, err error) error {
		r.mu.Lock()
		if err != nil {
			r.report.Lost = append(r.report.Lost, h)
			r.mu.Unlock()
			return nil
		}
		if _, there := r.brought[h]; !there {
			r.report.Blobs[h.Type]++
			r.report.Bytes += int64(len(data))
		}
		given(h, data)
		r.mu.Unlock()
		if r.session == nil {
			return nil
		}
		return r.session.saveAnew(ctx, h, data)
	})
	if err == nil && len(r.report.Lost) > lost {
		err = unasked // what it has is not lost
	}
	return err
}

// snapshots writes those that replicas gave instead of damaged files, which go then.
func (r *refiller) snapshots(ctx context.Context, own, given []*snapshot.Snapshot) error {
	if r.session != nil {
		if err := r.session.Flush(ctx); err != nil {
			return err
		}
	}
	here := byFirst(own)
	for _, s := range given {
		c := SnapshotCopy{From: s.ID, Time: s.Time}
		if r.session != nil {
			var err error
			if there := here.similar(s); there != nil {
				c.To = there.ID // left by a refill that was killed
			} else if c.To, err = r.session.commitCopy(s); err != nil {
				return err
			}
			if err := r.v.store.Remove(ctx, blob.Handle{Type: blob.Snapshot, Name: s.ID.String()}); err != nil {
				return err
			}
		}
		r.report.Snapshots = append(r.report.Snapshots, c)
	}
	return nil
}

// Repaired is what Repair did, or would do.
type Repaired struct {
	Index  *IndexRepair
	Packs  *PacksRepair
	Refill *Refilled
	Check  *Report // what is still wrong afterwards; in a dry run, what is wrong now
}

// Repair does all that loses nothing: RepairIndex, RepairPacks, Refill; then it checks. What is lost is lost already, and
// Check's report names it by point and path: RepairSnapshots makes points without it, when somebody asks for that.
func (v *Vault) Repair(ctx context.Context, o RepairOptions) (*Repaired, error) {
	r := &Repaired{}
	var err error
	if r.Index, err = v.RepairIndex(ctx, RepairOptions{DryRun: o.DryRun}); err != nil {
		return r, err
	}
	then := v
	if o.DryRun && r.Index.Needed() {
		if then, err = v.after(r.Index.after); err != nil {
			return r, err
		}
	}
	if r.Packs, err = then.RepairPacks(ctx, nil, o); err != nil {
		return r, err
	}
	if r.Refill, err = then.refill(ctx, o, r.Packs.brought); err != nil {
		return r, err
	}
	r.Check, err = v.Check(ctx, CheckOptions{ReadData: o.ReadData, NoLock: o.DryRun})
	return r, err
}

// RepairConfig writes the config of a repository anew, when it is damaged or gone and a key is not. The new one has an id
// of its own and the polynomial that is given; zero chooses one, and backups will cut content at other places than before
// and store it once more. Exists: the config is sound.
func RepairConfig(ctx context.Context, store blob.Store, password string, p chunker.Pol) (Config, error) {
	at := store.Facts().Location
	key, _, err := searchKey(ctx, store, password, "", func(*crypto.Key) error { return nil })
	if err != nil {
		return Config{}, failure.Wrap(err, "repair the config", at)
	}
	switch _, err := loadConfig(ctx, store, key); {
	case err == nil:
		return Config{}, failure.New(failure.Exists, "repair the config", at, "the config is sound")
	case failure.KindOf(err) == failure.NotFound:
	case failure.KindOf(err) == failure.Corrupt:
		if err := store.Remove(ctx, blob.Handle{Type: blob.Config}); err != nil {
			return Config{}, err
		}
	default:
		return Config{}, err
	}
	c, err := newConfig(p)
	if err != nil {
		return Config{}, err
	}
	return c, saveConfig(ctx, store, key, c)
}

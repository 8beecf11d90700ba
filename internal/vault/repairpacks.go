package vault

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// PackRepair is what became, or would become, of one damaged pack.
type PackRepair struct {
	Pack object.ID
	Gone bool // the pack is listed and not stored
	// Where its blobs are found: elsewhere in the vault, in what is left of the pack, in a replica. Lost are those that
	// nobody has; a backup of the same data stores them again.
	Elsewhere, Salvaged, Fetched int
	Lost                         []object.Handle
}

// PacksRepair is what RepairPacks did, or would do.
type PacksRepair struct {
	Packs     []PackRepair
	Indexes   int           // index files that are replaced
	Kept      []blob.Handle // what was replaced and may not go yet: it is retained, or the store only lets add
	Fallbacks []Fallback

	brought map[object.Handle]struct{} // of a dry run: what would be stored anew
}

// Lost counts the blobs that nobody has.
func (r *PacksRepair) Lost() int {
	n := 0
	for _, p := range r.Packs {
		n += len(p.Lost)
	}
	return n
}

// RepairPacks replaces damaged packs: blobs that can still be read there, or that replicas have, are stored anew, then
// the index lists the damaged packs no more, and they are removed. With no ids it looks for them: with ReadData by reading
// everything, otherwise by lengths and lists alone. What is lost is lost either way, but while the index lists it no backup
// stores it again. The index must be readable: see RepairIndex. It can be killed at any moment.
func (v *Vault) RepairPacks(ctx context.Context, ids []object.ID, o RepairOptions) (*PacksRepair, error) {
	held, lock, done, err := v.repairing(ctx, o)
	if err != nil {
		return nil, err
	}
	defer done()
	before := v.Fallbacks()
	report, err := v.repairPacks(held, lock, ids, o)
	if err != nil {
		return nil, failure.Wrap(err, "repair packs", v.Location())
	}
	report.Fallbacks = fallbacksSince(before, v.Fallbacks())
	return report, nil
}

// packRepairer is one run of RepairPacks.
type packRepairer struct {
	v       *Vault
	o       RepairOptions
	session *Session // nil in a dry run
	bad     map[object.ID][]pack.Entry

	mu      sync.Mutex
	brought map[object.Handle]struct{}
}

func (v *Vault) repairPacks(ctx context.Context, lock *Lock, ids []object.ID, o RepairOptions) (_ *PacksRepair, err error) {
	if err := v.LoadIndex(ctx); err != nil {
		return nil, failure.WrapAs(failure.KindOf(err), err, "load the index", "").WithHint("run first: lifeboat vault repair index")
	}
	if len(ids) == 0 {
		if ids, err = v.damagedPacks(ctx, o); err != nil {
			return nil, err
		}
	}
	report := &PacksRepair{brought: map[object.Handle]struct{}{}}
	if len(ids) == 0 {
		return report, nil
	}
	r := &packRepairer{v: v, o: o, bad: map[object.ID][]pack.Entry{}, brought: report.brought}
	for _, id := range ids {
		r.bad[id] = nil
	}
	v.mu.RLock()
	for l := range v.index.All() {
		if _, bad := r.bad[l.Pack]; bad {
			r.bad[l.Pack] = append(r.bad[l.Pack], l.Entry)
		}
	}
	v.mu.RUnlock()
	if lock != nil {
		r.session = v.session(ctx, lock)
		defer func() {
			err = cause(ctx, err)    // before the lock ends
			_ = r.session.Close(ctx) // the lock is given back by done, which says so
		}()
	}
	for _, id := range slices.SortedFunc(slices.Values(ids), object.ID.Compare) {
		p, err := r.salvage(ctx, id)
		if err != nil {
			return nil, failure.Wrap(err, "salvage", packHandle(id).String())
		}
		report.Packs = append(report.Packs, *p)
	}
	if r.session != nil {
		if err := r.session.Flush(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.unlist(ctx, report); err != nil {
		return nil, err
	}
	return report, r.remove(ctx, report)
}

// salvage stores the blobs of one pack anew, from wherever they can be had.
func (r *packRepairer) salvage(ctx context.Context, id object.ID) (*PackRepair, error) {
	p := &PackRepair{Pack: id}
	file, err := blob.ReadAll(ctx, r.v.store, packHandle(id))
	switch {
	case err == nil:
	case failure.KindOf(err) == failure.NotFound:
		p.Gone = true
	default:
		return nil, err
	}
	entries := r.bad[id]
	if own, err := pack.ReadHeader(bytes.NewReader(file), int64(len(file)), r.v.key); err == nil {
		for _, e := range own {
			if !slices.Contains(entries, e) {
				entries = append(entries, e)
			}
		}
	}
	had := map[object.Handle]bool{} // a blob may be listed twice, with one entry sound
	for _, e := range entries {
		end := int64(e.Offset) + int64(e.Length)
		switch {
		case had[e.Handle]:
		case r.elsewhere(ctx, e.Handle):
			p.Elsewhere++
			had[e.Handle] = true
		case end <= int64(len(file)):
			plain, err := r.v.openBlob(slices.Clone(file[e.Offset:end]), e, nil)
			if err != nil {
				continue
			}
			p.Salvaged++
			had[e.Handle] = true
			if err := r.save(ctx, e.Handle, plain); err != nil {
				return nil, err
			}
		}
	}
	return p, r.fetch(ctx, p, entries, had)
}

// elsewhere reports whether a pack that is not damaged gives the blob.
func (r *packRepairer) elsewhere(ctx context.Context, h object.Handle) bool {
	r.v.mu.RLock()
	copies := slices.Collect(r.v.index.Lookup(h))
	r.v.mu.RUnlock()
	for _, l := range copies {
		if _, bad := r.bad[l.Pack]; bad {
			continue
		}
		sealed := make([]byte, l.Length)
		if err := blob.ReadFull(ctx, r.v.store, packHandle(l.Pack), sealed, int64(l.Offset)); err != nil {
			continue
		}
		if _, err := r.v.openBlob(sealed, l.Entry, nil); err == nil {
			return true
		}
	}
	return false
}

// fetch asks the replicas for the blobs that are not had yet.
func (r *packRepairer) fetch(ctx context.Context, p *PackRepair, entries []pack.Entry, had map[object.Handle]bool) error {
	why := map[object.Handle]error{}
	for _, e := range entries {
		if !had[e.Handle] {
			why[e.Handle] = failure.New(failure.Corrupt, "load", e.Handle.String(), "its pack %s is damaged", p.Pack.Short())
		}
	}
	var mu sync.Mutex
	unasked, err := r.v.askReplicas(ctx, why, func(h object.Handle, data []byte, err error) error {
		if err == nil {
			err = r.save(ctx, h, data)
			mu.Lock()
			defer mu.Unlock()
			p.Fetched++
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		p.Lost = append(p.Lost, h)
		return nil
	})
	slices.SortFunc(p.Lost, compareHandles)
	if err == nil && len(p.Lost) > 0 {
		err = unasked // what it has is not lost
	}
	return err
}

func (r *packRepairer) save(ctx context.Context, h object.Handle, data []byte) error {
	if r.session == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.brought[h] = struct{}{}
		return nil
	}
	return r.session.saveAnew(ctx, h, data)
}

// unlist replaces the index files that list damaged packs.
func (r *packRepairer) unlist(ctx context.Context, report *PacksRepair) error {
	ids, err := r.v.list(ctx, blob.Index)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var old []object.ID
	var packs []index.Pack
	err = r.v.each(ctx, ids, func(ctx context.Context, id object.ID, _ int64) error {
		all, err := r.v.loadIndexFile(ctx, id)
		if err != nil {
			if damage(err) {
				return nil // LoadIndex has passed it over too
			}
			return err
		}
		kept := slices.DeleteFunc(slices.Clone(all), func(p index.Pack) bool { _, bad := r.bad[p.ID]; return bad })
		if len(kept) == len(all) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		old = append(old, id)
		packs = append(packs, kept...)
		return nil
	})
	if err != nil {
		return err
	}
	report.Indexes = len(old)
	_, report.Kept, err = r.v.replaceIndexes(ctx, packs, old, r.o.DryRun)
	return err
}

// remove removes the damaged packs, which no index lists any more.
func (r *packRepairer) remove(ctx context.Context, report *PacksRepair) error {
	if r.o.DryRun {
		return nil
	}
	marks := map[object.ID]time.Time{}
	for _, id := range slices.SortedFunc(maps.Keys(r.bad), object.ID.Compare) {
		if r.o.Aside != nil {
			file, err := blob.ReadAll(ctx, r.v.store, packHandle(id))
			if err == nil {
				err = r.o.Aside(id, file)
			}
			if err != nil && failure.KindOf(err) != failure.NotFound {
				return failure.Wrap(err, "put aside", packHandle(id).String())
			}
		}
		n := len(report.Kept)
		var err error
		if report.Kept, err = r.v.removeOrKeep(ctx, packHandle(id), report.Kept); err != nil {
			return err
		}
		if len(report.Kept) > n {
			marks[id] = r.v.opts.Now()
		}
	}
	if len(marks) == 0 {
		return nil
	}
	// So that a prune removes them as soon as they may go.
	_, _, err := r.v.replaceIndexes(ctx, encodeMarks(marks), nil, false)
	return err
}

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
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// RepairOptions say how a repair goes about it.
type RepairOptions struct {
	// DryRun finds out what would be done, and what would be lost, and changes nothing; it takes no lock.
	DryRun bool
	// ReadData reads every pack, for damage that only its bytes show; RepairIndex reads every pack's header.
	ReadData bool
	// Aside is given the bytes of each damaged pack before it is removed, several at once; an error of it keeps the pack
	// from being removed and ends the repair. Nil: nobody wants them.
	Aside func(id object.ID, file []byte) error
}

// repairing takes the exclusive lock and the index, unless it is a dry run, which has the index alone. Done gives the lock
// back.
func (v *Vault) repairing(ctx context.Context, o RepairOptions) (held context.Context, lock *Lock, done func(), err error) {
	if o.DryRun {
		return ctx, nil, func() {}, nil
	}
	held, lock, err = v.Lock(ctx, true)
	if err != nil {
		return nil, nil, nil, err
	}
	return held, lock, func() {
		if err := lock.Release(ctx); err != nil {
			v.opts.Log.WarnContext(ctx, "the repair's lock is left", "vault", v.Location(), "error", err)
		}
	}, nil
}

// PackFinding is what a repair of the index found out about a pack.
type PackFinding struct {
	Pack object.ID
	Err  error // why its list of blobs cannot be read; nil: it can
	// Blobs is how many blobs the index lists of it after the repair.
	Blobs int
}

// IndexRepair is what RepairIndex did, or would do.
type IndexRepair struct {
	Damaged   map[object.ID]error // index files that cannot be read: replaced
	Gone      []object.ID         // packs that are listed and not stored: listed no more
	Unlisted  []PackFinding       // packs that are stored and not listed
	Changed   []PackFinding       // packs that are not as long as the index says, or were read because of ReadData
	Rewritten int                 // index files that are replaced, the damaged ones among them
	Written   int                 // index files that replace them
	Kept      []blob.Handle       // what was replaced and may not go yet: it is retained, or the store only lets add

	after *index.Index // of a dry run: what the index would be
}

// Needed reports whether there is anything to do.
func (r *IndexRepair) Needed() bool { return r.Rewritten > 0 || r.Written > 0 }

// RepairIndex makes the index agree with the packs that are stored: index files that are damaged or missing are made
// again from the packs' own lists, packs that are gone are dropped, lengths are corrected. Of a pack whose own list cannot
// be read what the index lists of it stays, as far as it can lie in it: RepairPacks looks after that. Only index files
// with something wrong are replaced, the new ones written before the old ones go, so that it can be killed at any moment.
func (v *Vault) RepairIndex(ctx context.Context, o RepairOptions) (*IndexRepair, error) {
	held, _, done, err := v.repairing(ctx, o)
	if err != nil {
		return nil, err
	}
	defer done()
	report, err := v.repairIndex(held, o)
	if err != nil {
		return nil, failure.Wrap(cause(held, err), "repair the index", v.Location())
	}
	return report, nil
}

// indexRepairer is one run of RepairIndex.
type indexRepairer struct {
	v      *Vault
	o      RepairOptions
	report *IndexRepair
	stored map[object.ID]int64

	mu     sync.Mutex
	sound  map[object.ID]bool         // packs that a file lists in which nothing is wrong
	files  map[object.ID]bool         // readable index files; whether there is something wrong with one
	listed map[object.ID]bool         // packs that they list
	read   map[object.ID]bool         // packs whose own list is to be read; whether the index lists them
	found  map[object.ID][]pack.Entry // what that says
}

func (v *Vault) repairIndex(ctx context.Context, o RepairOptions) (*IndexRepair, error) {
	r := &indexRepairer{v: v, o: o, files: map[object.ID]bool{}, listed: map[object.ID]bool{}, sound: map[object.ID]bool{}, read: map[object.ID]bool{}, found: map[object.ID][]pack.Entry{},
		report: &IndexRepair{Damaged: map[object.ID]error{}}}
	// Index files are listed before packs: a pack that is added meanwhile is listed by none that was seen, which is harmless.
	ids, err := v.list(ctx, blob.Index)
	if err != nil {
		return nil, err
	}
	if r.stored, err = v.list(ctx, blob.Pack); err != nil {
		return nil, err
	}
	if err := v.each(ctx, ids, r.look); err != nil {
		return nil, err
	}
	for id := range r.stored {
		if !r.listed[id] {
			r.read[id] = false
		}
	}
	if err := r.readHeaders(ctx); err != nil {
		return nil, err
	}
	return r.report, r.apply(ctx)
}

// look judges one index file.
func (r *indexRepairer) look(ctx context.Context, id object.ID, _ int64) error {
	packs, err := r.v.loadIndexFile(ctx, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && (!damage(err) || failure.KindOf(err) == failure.NotFound):
		return err
	case err != nil:
		r.report.Damaged[id] = err
		return nil
	}
	r.files[id] = false
	defer func() {
		for _, p := range packs {
			if !r.files[id] && len(p.Entries) > 0 {
				r.sound[p.ID] = true
			}
		}
	}()
	for _, p := range packs {
		r.listed[p.ID] = true
		size, there := r.stored[p.ID]
		if len(p.Entries) == 0 {
			continue // a mark of a prune
		}
		if !there {
			r.files[id] = true
			r.report.Gone = append(r.report.Gone, p.ID)
		} else if r.o.ReadData || size != packSize(p.Entries) {
			r.files[id] = true
			r.read[p.ID] = true
		}
	}
	return nil
}

// packSize is how long a pack with these blobs is.
func packSize(entries []pack.Entry) int64 {
	n := int64(pack.HeaderSize(entries))
	for _, e := range entries {
		n += int64(e.Length)
	}
	return n
}

// readHeaders reads the packs' own lists.
func (r *indexRepairer) readHeaders(ctx context.Context) error {
	sizes := map[object.ID]int64{}
	for id := range r.read {
		sizes[id] = r.stored[id]
	}
	err := r.v.each(ctx, sizes, func(ctx context.Context, id object.ID, size int64) error {
		entries, err := pack.ReadHeader(packAt{ctx, r.v.store, packHandle(id)}, size, r.v.key)
		if err != nil && !damage(err) {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if err == nil {
			r.found[id] = entries
		}
		f := PackFinding{id, err, len(entries)}
		if r.read[id] {
			r.report.Changed = append(r.report.Changed, f)
		} else {
			r.report.Unlisted = append(r.report.Unlisted, f)
		}
		return nil
	})
	byPack := func(a, b PackFinding) int { return a.Pack.Compare(b.Pack) }
	slices.SortFunc(r.report.Changed, byPack)
	slices.SortFunc(r.report.Unlisted, byPack)
	slices.SortFunc(r.report.Gone, object.ID.Compare)
	r.report.Gone = slices.Compact(r.report.Gone)
	return err
}

// apply writes the index files that are needed, then removes those that they replace.
func (r *indexRepairer) apply(ctx context.Context) error {
	old := slices.Collect(maps.Keys(r.report.Damaged))
	var packs []index.Pack
	for id, wrong := range r.files {
		if !wrong {
			continue
		}
		kept, err := r.keep(ctx, id)
		if err != nil {
			return err
		}
		if kept != nil {
			old = append(old, id)
			packs = append(packs, kept...)
		}
	}
	packs = slices.DeleteFunc(packs, func(p index.Pack) bool { return r.sound[p.ID] })
	for id, listed := range r.read {
		if entries := r.found[id]; !listed && len(entries) > 0 {
			packs = append(packs, index.Pack{ID: id, Entries: entries})
		}
	}
	slices.SortFunc(packs, func(a, b index.Pack) int { return cmp.Or(a.ID.Compare(b.ID), len(b.Entries)-len(a.Entries)) })
	packs = slices.CompactFunc(packs, func(a, b index.Pack) bool { return a.ID == b.ID })
	r.report.Rewritten = len(old)
	var err error
	if r.o.DryRun {
		if err = r.imagine(ctx, packs, old); err != nil {
			return err
		}
	}
	r.report.Written, r.report.Kept, err = r.v.replaceIndexes(ctx, packs, old, r.o.DryRun)
	return err
}

// imagine makes the index that there would be: of the files that stay, and of packs.
func (r *indexRepairer) imagine(ctx context.Context, packs []index.Pack, old []object.ID) error {
	x := &index.Index{}
	for id := range r.files {
		if slices.Contains(old, id) {
			continue
		}
		listed, err := r.v.loadIndexFile(ctx, id)
		if err != nil {
			return err
		}
		packs = append(packs, listed...)
	}
	for _, p := range packs {
		x.Add(p.ID, p.Entries)
	}
	r.report.after = x
	return nil
}

// after gives the vault as it would be with another index, to look at.
func (v *Vault) after(x *index.Index) (*Vault, error) {
	a, err := newVault(v.store, v.opts, v.key, v.keyID, v.config)
	if err != nil {
		return nil, err
	}
	a.index, a.imagined, a.others.all = x, true, v.others.all
	return a, nil
}

// keep gives what a replaced index file is to list: nil when it lists just that already.
func (r *indexRepairer) keep(ctx context.Context, id object.ID) ([]index.Pack, error) {
	packs, err := r.v.loadIndexFile(ctx, id)
	if err != nil {
		return nil, err
	}
	kept, changed := []index.Pack{}, false
	for _, p := range packs {
		size, there := r.stored[p.ID]
		if !there || len(p.Entries) == 0 {
			changed = true
			continue
		}
		if _, read := r.read[p.ID]; read {
			entries, ok := r.found[p.ID]
			if !ok { // what can lie in it stays
				entries = slices.DeleteFunc(slices.Clone(p.Entries), func(e pack.Entry) bool { return int64(e.Offset)+int64(e.Length) > size })
				r.stays(p.ID, len(entries))
			}
			changed = changed || !sameEntries(entries, p.Entries)
			p.Entries = entries
		}
		if len(p.Entries) > 0 {
			kept = append(kept, p)
		}
	}
	if !changed {
		return nil, nil
	}
	return kept, nil
}

// stays notes how many blobs of a pack whose own list cannot be read the index goes on to list.
func (r *indexRepairer) stays(id object.ID, n int) {
	for i := range r.report.Changed {
		if r.report.Changed[i].Pack == id {
			r.report.Changed[i].Blobs = n
		}
	}
}

func sameEntries(a, b []pack.Entry) bool {
	byPlace := func(x, y pack.Entry) int { return cmp.Or(cmp.Compare(x.Offset, y.Offset), x.ID.Compare(y.ID)) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), byPlace), slices.SortedFunc(slices.Values(b), byPlace))
}

// replaceIndexes writes index files that list packs, then removes old ones. It gives how many are written, and which old
// ones may not go.
func (v *Vault) replaceIndexes(ctx context.Context, packs []index.Pack, old []object.ID, dry bool) (written int, kept []blob.Handle, err error) {
	for len(packs) > 0 {
		n, blobs := 0, 0
		for n < len(packs) && (n == 0 || blobs+len(packs[n].Entries) <= index.MaxBlobs) {
			blobs += len(packs[n].Entries)
			n++
		}
		part := packs[:n]
		packs = packs[n:]
		written++
		if dry {
			continue
		}
		text, err := index.Encode(part)
		if err != nil {
			return written, nil, failure.WrapAs(failure.Internal, err, "write an index", "")
		}
		if _, err := v.saveFile(ctx, blob.Index, text); err != nil {
			return written, nil, err
		}
	}
	if dry {
		return written, nil, nil
	}
	for _, id := range old {
		if kept, err = v.removeOrKeep(ctx, blob.Handle{Type: blob.Index, Name: id.String()}, kept); err != nil {
			return written, kept, err
		}
	}
	// Leniently: damaged index files may be among those kept, and packs that are listed no more go only now.
	return written, kept, v.readIndex(ctx, true)
}

// removeOrKeep removes a file. One that may not go is added to kept, and said to be there.
func (v *Vault) removeOrKeep(ctx context.Context, h blob.Handle, kept []blob.Handle) ([]blob.Handle, error) {
	until, err := v.removeFree(ctx, h)
	if err == nil || failure.KindOf(err) != failure.Denied {
		return kept, err
	}
	v.opts.Log.WarnContext(ctx, "a damaged file may not go, and stays", "vault", v.Location(), "file", h.String(), "until", until, "error", err)
	return append(kept, h), nil
}

// damagedPacks has Check find the packs that something is wrong with.
func (v *Vault) damagedPacks(ctx context.Context, o RepairOptions) ([]object.ID, error) {
	report, err := v.Check(ctx, CheckOptions{ReadData: o.ReadData, NoLock: true})
	if err != nil {
		return nil, err
	}
	var ids []object.ID
	for _, p := range report.Problems {
		if name, ok := strings.CutPrefix(p.Subject, blob.Pack.String()+"/"); ok {
			if id, err := object.ParseID(name); err == nil {
				ids = append(ids, id)
			}
		}
	}
	return slices.Compact(slices.SortedFunc(slices.Values(ids), object.ID.Compare)), nil
}

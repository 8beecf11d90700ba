package vault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// A pack that was taken out of the index is marked, with the time, so that a later prune knows for how long it has been
// waiting, whichever host that runs on. The marks are an index file that lists these packs without blobs, behind one
// that there is not, whose id says the time:
//
//	"lifeboat-prune-1" | seconds since the Unix epoch, 8 bytes, big endian | 8 zero bytes
//
// For every reader of the format a pack without blobs is nothing to be found; whoever writes the index anew, as restic's
// prune does, drops it, and the packs with it.
const markPrefix = "lifeboat-prune-1"

func markID(since time.Time) object.ID {
	var id object.ID
	copy(id[:], markPrefix)
	binary.BigEndian.PutUint64(id[len(markPrefix):], uint64(since.Unix()))
	return id
}

// parseMarks reads marks from the packs without blobs of one index file, in their order.
func parseMarks(empty []object.ID, each func(id object.ID, since time.Time)) {
	var since time.Time
	for _, id := range empty {
		if bytes.HasPrefix(id[:], []byte(markPrefix)) {
			since = time.Unix(int64(binary.BigEndian.Uint64(id[len(markPrefix):])), 0)
		} else if !since.IsZero() {
			each(id, since)
		}
	}
}

// encodeMarks is what parseMarks reads.
func encodeMarks(marks map[object.ID]time.Time) []index.Pack {
	ids := slices.SortedFunc(maps.Keys(marks), func(a, b object.ID) int {
		if c := marks[a].Compare(marks[b]); c != 0 {
			return c
		}
		return a.Compare(b)
	})
	var packs []index.Pack
	var since time.Time
	for _, id := range ids {
		if len(packs) == 0 || !marks[id].Equal(since) {
			since = marks[id]
			packs = append(packs, index.Pack{ID: markID(since)})
		}
		packs = append(packs, index.Pack{ID: id})
	}
	return packs
}

// marked gives since when each pack is marked; of several times the last.
func (p *pruner) marked() map[object.ID]time.Time {
	marks := map[object.ID]time.Time{}
	for _, l := range p.files {
		parseMarks(l.empty, func(id object.ID, since time.Time) {
			if since.After(marks[id]) {
				marks[id] = since
			}
		})
	}
	return marks
}

// sync takes in the index files that this process knows. Conflict: the index was read anew, because files that this prune
// goes by are gone; the numbers of packs are others then.
func (p *pruner) sync() error {
	p.v.mu.RLock()
	defer p.v.mu.RUnlock()
	if p.v.index != p.x {
		return failure.New(failure.Conflict, "prune", p.v.Location(), "somebody else pruned or repaired the vault meanwhile").
			WithHint("what was done so far is kept: start again")
	}
	p.files = maps.Clone(p.v.loaded)
	return nil
}

// Index files with less than this are small; fewEnough of them are left alone.
const (
	smallIndex = index.MaxBlobs / 8
	fewEnough  = 10
)

// toReplace chooses the index files that are to go: those that list what is to be hidden, those of marks, and small ones
// when there are many. Only files that were there when the prune decided are chosen.
func (p *pruner) toReplace() map[object.ID]bool {
	chosen := map[object.ID]bool{}
	var small []object.ID
	for id, l := range p.files {
		blobs, later := 0, false
		for _, n := range l.packs {
			if int(n) >= len(p.packs) {
				later = true
				break
			}
			blobs += int(p.packs[n].used + p.packs[n].unused)
			if p.packs[n].hide {
				chosen[id] = true
			}
		}
		switch {
		case later:
			delete(chosen, id)
		case len(l.packs) == 0 && len(l.empty) > 0:
			chosen[id] = true
		case !chosen[id] && blobs < smallIndex:
			small = append(small, id)
		}
	}
	if len(small) >= fewEnough {
		for _, id := range small {
			chosen[id] = true
		}
	}
	return chosen
}

// worthSwitching reports whether the index must be switched, for what it should not list; or may be, to mark what it
// does not list.
func (p *pruner) worthSwitching() (must, may bool) {
	for id := range p.replaced {
		must = must || len(p.files[id].packs) > 0
	}
	for id := range p.unlisted {
		_, marked := p.marks[id]
		may = may || !marked
	}
	return must, may
}

// relist writes index files with what the files to be replaced list and others do not, but for what is to be hidden.
// From then on they can go. What is listed twice meanwhile is harmless.
func (p *pruner) relist(ctx context.Context) error {
	if err := p.sync(); err != nil {
		return err
	}
	p.replaced = p.toReplace()
	for id := range p.replaced { // what is retained goes later
		until, err := p.v.retained(ctx, blob.Handle{Type: blob.Index, Name: id.String()})
		if err != nil && failure.KindOf(err) != failure.NotFound {
			return err
		}
		if !until.IsZero() {
			delete(p.replaced, id)
		}
	}
	return p.writeRelisted(ctx)
}

func (p *pruner) writeRelisted(ctx context.Context) error {
	elsewhere := map[uint32]bool{} // packs that another file lists wholly: very old writers put parts into several files
	for id, l := range p.files {
		if !p.replaced[id] {
			for i, n := range l.packs {
				if int(n) < len(p.packs) && l.blobs[i] == p.packs[n].used+p.packs[n].unused {
					elsewhere[n] = true
				}
			}
		}
	}
	wanted := map[object.ID]uint32{} // how many blobs are in each
	var files []object.ID
	p.v.mu.RLock()
	for id := range p.replaced {
		some := false
		for _, n := range p.files[id].packs {
			if !p.hides(n) && !elsewhere[n] {
				wanted[p.x.Packs()[n]] = p.packs[n].used + p.packs[n].unused
				some = true
			}
		}
		if some {
			files = append(files, id)
		}
	}
	p.v.mu.RUnlock()
	slices.SortFunc(files, object.ID.Compare)
	var part []index.Pack
	blobs := 0
	write := func() error {
		if len(part) == 0 {
			return nil
		}
		err := p.saveIndex(ctx, part)
		if err == nil {
			err = p.sync()
		}
		part, blobs = nil, 0
		return err
	}
	for i, id := range files {
		packs, err := p.v.loadIndexFile(ctx, id)
		if err != nil {
			return err
		}
		for _, pk := range packs {
			all, there := wanted[pk.ID]
			if !there || len(pk.Entries) == 0 {
				continue
			}
			if len(pk.Entries) == int(all) {
				delete(wanted, pk.ID) // not again, should another file list it too
			}
			if blobs > 0 && blobs+len(pk.Entries) > index.MaxBlobs {
				if err := write(); err != nil {
					return err
				}
			}
			part = append(part, pk)
			blobs += len(pk.Entries)
		}
		p.tell(StageIndex, int64(i+1), int64(len(files)))
	}
	return write()
}

// saveIndex makes an index file durable.
func (p *pruner) saveIndex(ctx context.Context, packs []index.Pack) error {
	if err := p.lock.Stands(); err != nil {
		return err
	}
	text, err := index.Encode(packs)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "write an index", "")
	}
	id, err := p.v.saveFile(ctx, blob.Index, text)
	if err != nil {
		return cause(ctx, err)
	}
	p.written = append(p.written, id)
	p.v.mu.Lock()
	p.v.adopt(id, packs)
	p.v.mu.Unlock()
	return nil
}

// switchIndex takes packs out of the index, in a moment in which nobody else works on the vault: so nobody has looked
// something up that is gone afterwards, and what is needed now is known for certain.
func (p *pruner) switchIndex(ctx context.Context) error {
	held, lock, err := p.v.moment(ctx, p.o.Wait)
	if err != nil {
		return err
	}
	defer p.v.release(ctx, lock, "prune")
	p.lock = lock
	if err := p.switchUnder(held); err != nil {
		return cause(held, err)
	}
	return nil
}

func (p *pruner) switchUnder(ctx context.Context) error {
	if err := p.refresh(ctx); err != nil {
		return err
	}
	if len(p.missing) > 0 {
		return failure.New(failure.Conflict, "prune", p.v.Location(), "a new snapshot needs %d blobs that no index lists", len(p.missing)).
			WithHint("run the prune again: it looks for them")
	}
	p.lastLook()
	if err := p.writeRelisted(ctx); err != nil {
		return err
	}
	gone, err := p.removeIndexes(ctx)
	if err != nil {
		return err
	}
	return p.mark(ctx, gone)
}

// lastLook leaves in the index what is to be hidden and turns out to be needed: by a snapshot that is new, or because
// the only other copy is not stored. Whatever was decided before, nothing that is needed goes.
func (p *pruner) lastLook() {
	p.v.mu.RLock()
	defer p.v.mu.RUnlock()
	for id, l := range p.files { // an index file that came since lists it too
		if !p.replaced[id] {
			for _, n := range l.packs {
				if p.hides(n) {
					p.packs[n].hide = false
				}
			}
		}
	}
	for _, t := range []object.Type{object.Data, object.Tree} {
		for n := range p.x.Len(t) {
			id, at := p.x.Copy(t, n)
			if !p.hides(at.Pack) {
				continue
			}
			first, elsewhere := n, false
			for m, other := range p.x.Copies(object.Handle{Type: t, ID: id}) {
				first = min(first, m)
				elsewhere = elsewhere || !p.hides(other.Pack) && (int(other.Pack) >= len(p.packs) || !p.packs[other.Pack].missing)
			}
			if !elsewhere && p.used[t].has(first) {
				p.packs[at.Pack].hide = false
			}
		}
	}
}

// removeIndexes removes the index files that are replaced, and gives those that are gone.
func (p *pruner) removeIndexes(ctx context.Context) (map[object.ID]bool, error) {
	gone := map[object.ID]bool{}
	for i, id := range slices.SortedFunc(maps.Keys(p.replaced), object.ID.Compare) {
		if err := p.lock.Stands(); err != nil {
			return gone, err
		}
		err := p.v.store.Remove(ctx, blob.Handle{Type: blob.Index, Name: id.String()})
		switch {
		case err == nil:
			gone[id] = true
		case failure.KindOf(err) == failure.Denied: // it stays, and what it lists with it
			if until, rerr := p.v.retained(ctx, blob.Handle{Type: blob.Index, Name: id.String()}); rerr != nil || until.IsZero() {
				return gone, errors.Join(err, rerr)
			}
			p.v.opts.Log.WarnContext(ctx, "an index file cannot be removed yet", "vault", p.v.Location(), "index", id, "error", err)
		default:
			return gone, err
		}
		p.tell(StageIndex, int64(i+1), int64(len(p.replaced)))
	}
	return gone, nil
}

// mark notes what the index lists no more, and what it never listed: nobody is at work, so nobody will list it. With what
// waits since earlier prunes this is one file; those of the earlier ones are replaced.
func (p *pruner) mark(ctx context.Context, gone map[object.ID]bool) error {
	now := p.v.opts.Now().Truncate(time.Second)
	listed := map[uint32]bool{}
	p.v.mu.RLock()
	for id, l := range p.files {
		if !gone[id] {
			for _, n := range l.packs {
				listed[n] = true
			}
		}
	}
	marks := map[object.ID]time.Time{}
	for n := range p.packs {
		s, id := &p.packs[n], p.x.Packs()[n]
		if !listed[uint32(n)] && !s.missing {
			marks[id] = now
			p.report.Hidden.add(1, int(s.used+s.unused), p.stored[id])
			p.unlisted[id] = p.stored[id]
		}
	}
	for id, size := range p.unlisted {
		if p.x.Lists(id) && marks[id].IsZero() {
			delete(p.unlisted, id) // listed meanwhile by the session that brought it
			continue
		}
		if !marks[id].IsZero() {
			continue
		}
		if since, marked := p.marks[id]; marked {
			marks[id] = since
			continue
		}
		marks[id] = now
		p.report.Hidden.add(1, 0, size)
	}
	p.v.mu.RUnlock()
	p.marks = marks
	p.count(marks)
	if len(marks) == 0 || p.grace == 0 {
		return nil
	}
	return p.saveIndex(ctx, encodeMarks(marks))
}

// count reports what waits.
func (p *pruner) count(marks map[object.ID]time.Time) {
	p.report.Waiting, p.report.Next = Amount{}, time.Time{}
	for id, since := range marks {
		if p.unlisted[id] == 0 {
			continue
		}
		p.report.Waiting.add(1, 0, p.unlisted[id])
		if due := since.Add(p.grace); p.report.Next.IsZero() || due.Before(p.report.Next) {
			p.report.Next = due
		}
	}
}

package vault

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// packState is what is known of one pack, and what becomes of it.
type packState struct {
	used, unused, doubled          uint32 // copies of blobs; doubled of unused are of blobs that have several copies
	usedBytes, unusedBytes, header uint64
	types                          uint8 // 1 data, 2 trees, 3 both
	plain                          bool  // holds something uncompressed
	missing                        bool  // not stored
	rewrite                        bool  // what is needed of it is copied
	hide                           bool  // to be taken out of the index
}

const (
	holdsData  = 1 << object.Data
	holdsTrees = 1 << object.Tree
)

func (s *packState) bytes() int64 { return int64(s.usedBytes + s.unusedBytes) }

// decide works out what becomes of each pack, by restic's rules, and fills the plan.
func (p *pruner) decide(ctx context.Context) error {
	if err := p.choose(ctx); err != nil {
		return err
	}
	if err := p.chooseFates(); err != nil {
		return err
	}
	p.marks = p.marked()
	p.planUnlisted(ctx)
	if err := p.planRetained(ctx); err != nil {
		return err
	}
	slices.SortFunc(p.plan.Packs, func(a, b PackFate) int { return cmp.Or(cmp.Compare(a.What, b.What), a.ID.Compare(b.ID)) })
	return nil
}

var (
	plainEntry  = pack.HeaderSize([]pack.Entry{{}}) - pack.HeaderSize(nil)
	packedEntry = pack.HeaderSize([]pack.Entry{{PlainLength: 1}}) - pack.HeaderSize(nil)
)

// choose counts what is used, and chooses one copy of each blob that is needed: all others are as good as unused. What is
// chosen among several was verified.
func (p *pruner) choose(ctx context.Context) error {
	p.v.mu.RLock()
	doubled, err := p.chooseOnly()
	p.v.mu.RUnlock()
	if err != nil || !doubled {
		return err
	}
	if err := p.verifyCopies(ctx); err != nil {
		return err
	}
	p.chooseCopies()
	return nil
}

// chooseOnly counts, and chooses the copies of blobs that have only one; it tells whether others are needed. The caller
// holds the vault's mu for reading.
func (p *pruner) chooseOnly() (doubled bool, err error) {
	x := p.x
	p.packs = make([]packState, len(x.Packs()))
	for n, id := range x.Packs() {
		_, there := p.stored[id]
		p.packs[n] = packState{missing: !there, header: uint64(pack.HeaderSize(nil))}
	}
	for _, t := range []object.Type{object.Data, object.Tree} {
		for n := range x.Len(t) {
			id, at := x.Copy(t, n)
			s := &p.packs[at.Pack]
			s.types |= 1 << t
			s.plain = s.plain || at.PlainLength == 0
			s.header += uint64(entrySize(at))
			first, copies, stored := p.copies(object.Handle{Type: t, ID: id})
			needed := p.used[t].has(first)
			if needed && stored == 0 {
				return false, failure.New(failure.NotFound, "prune", packHandle(x.Packs()[at.Pack]).String(), "the pack is not stored, and snapshots need what the index says is in it").
					WithHint("nothing is removed while something is missing: lifeboat vault check says which snapshots are affected, lifeboat vault repair all mends what can be mended")
			}
			switch {
			case needed && copies == 1:
				s.used++
				s.usedBytes += uint64(at.Length)
				p.chosen[t].set(n)
				p.plan.Used.add(0, 1, int64(at.Length))
				continue
			case needed:
				doubled = true
				s.doubled++
				p.plan.Duplicate.add(0, 1, int64(at.Length))
			default:
				p.plan.Unused.add(0, 1, int64(at.Length))
			}
			s.unused++
			s.unusedBytes += uint64(at.Length)
		}
	}
	return doubled, nil
}

func entrySize(at index.Place) int {
	if at.PlainLength != 0 {
		return packedEntry
	}
	return plainEntry
}

// copies gives the number of the first copy of h, how many there were when choosing began, and how many of these are
// stored.
func (p *pruner) copies(h object.Handle) (first, all, stored int) {
	for n, at := range p.x.Copies(h) {
		if int(at.Pack) >= len(p.packs) {
			continue // it came since
		}
		if all == 0 || n < first {
			first = n
		}
		all++
		if !p.packs[at.Pack].missing {
			stored++
		}
	}
	return first, all, stored
}

// worth says of each pack how good a place it is for the one copy that stays: best is one that stays anyway; then one of
// nothing but such copies, as an interrupted prune leaves it, and there the fullest.
func (p *pruner) worth() []uint64 {
	worth := make([]uint64, len(p.packs))
	for n := range p.packs {
		s := &p.packs[n]
		worth[n] = uint64(s.doubled)
		if s.used > 0 {
			worth[n] |= 1 << 33
		}
		if s.doubled == s.unused {
			worth[n] |= 1 << 32
		}
	}
	return worth
}

// chooseCopies chooses among several copies, after verifyCopies.
func (p *pruner) chooseCopies() {
	p.v.mu.RLock()
	defer p.v.mu.RUnlock()
	worth := p.worth()
	for h := range p.doubled() {
		best, at, _ := p.best(h, worth)
		s := &p.packs[at.Pack]
		p.chosen[h.Type].set(best)
		s.used++
		s.usedBytes += uint64(at.Length)
		s.unused--
		s.unusedBytes -= uint64(at.Length)
		p.plan.Used.add(0, 1, int64(at.Length))
		p.plan.Duplicate.add(0, -1, -int64(at.Length))
	}
}

// candidate is a pack that may be rewritten.
type candidate struct {
	n     int
	why   string
	must  bool // for its compression or its mixture
	small bool
}

// chooseFates decides on every pack that is listed.
func (p *pruner) chooseFates() error {
	limit := int64(p.v.opts.PackSize) / 25
	if p.o.RepackSmall {
		limit = int64(p.v.opts.PackSize) / 5 * 4
	}
	var candidates, small []candidate
	for n := range p.packs {
		s, id := &p.packs[n], p.x.Packs()[n]
		size := p.stored[id]
		switch {
		case s.missing && s.used == 0:
			s.hide = true
			p.plan.Missing++
			p.fate(n, FateForget, "it is not stored, and not needed")
			continue
		case s.missing:
			return failure.New(failure.Internal, "prune", packHandle(id).String(), "a copy was chosen that is not stored")
		case s.used > 0 && size != s.bytes()+int64(s.header):
			return failure.New(failure.Corrupt, "prune", packHandle(id).String(), "it has %d bytes, and %d by the index", size, s.bytes()+int64(s.header)).
				WithHint("nothing is removed before this is repaired: lifeboat vault repair index")
		}
		p.plan.Total.add(1, int(s.used+s.unused), size)
		if s.used > 0 && s.unused == 0 {
			p.plan.Used.Packs++
		}
		must := s.plain && (s.types == holdsTrees || p.o.RepackUncompressed)
		switch {
		case s.used == 0:
			s.hide = true
			p.plan.Remove.add(1, int(s.unused), size)
			p.fate(n, FateRemove, fmt.Sprintf("none of its %d blobs is needed", s.unused))
		case p.o.RepackCacheableOnly && s.types == holdsData:
			p.plan.Keep.add(1, int(s.used+s.unused), size)
		case s.types == holdsData|holdsTrees:
			candidates = append(candidates, candidate{n: n, why: "it mixes data and directories", must: true})
		case must:
			candidates = append(candidates, candidate{n: n, why: "it holds something uncompressed", must: true})
		case s.unused > 0:
			candidates = append(candidates, candidate{n: n, why: fmt.Sprintf("%d of its %d bytes are not needed", s.unusedBytes, s.bytes())})
		case size >= limit:
			p.plan.Keep.add(1, int(s.used), size)
		default:
			small = append(small, candidate{n: n, why: "it is small", small: true})
		}
	}
	// Few are not worth it, and a single one would be rewritten for ever, as would be those that cannot go.
	if len(small) < 10 || p.v.store.Facts().Retention {
		for _, c := range small {
			p.keep(c.n)
		}
		small = nil
	}
	p.limitRepack(append(candidates, small...), limit)
	return nil
}

func (p *pruner) keep(n int) {
	s := &p.packs[n]
	p.plan.Keep.add(1, int(s.used+s.unused), p.stored[p.x.Packs()[n]])
}

func (p *pruner) fate(n int, what Fate, why string) {
	id := p.x.Packs()[n]
	p.plan.Packs = append(p.plan.Packs, PackFate{ID: id, Bytes: p.stored[id], What: what, Why: why})
}

// limitRepack chooses what is rewritten: directories first, then small packs, then those with the largest part that
// nobody needs, until little enough is unused.
func (p *pruner) limitRepack(candidates []candidate, limit int64) {
	isData := func(c candidate) bool { return p.packs[c.n].types == holdsData }
	isSmall := func(c candidate) bool { return p.packs[c.n].bytes() < limit }
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		if isData(a) != isData(b) {
			return boolFirst(!isData(a))
		}
		if isSmall(a) != isSmall(b) {
			return boolFirst(isSmall(a))
		}
		sa, sb := &p.packs[a.n], &p.packs[b.n]
		return cmp.Compare(float64(sb.unusedBytes)*float64(sa.usedBytes), float64(sa.unusedBytes)*float64(sb.usedBytes))
	})
	unused := p.plan.Duplicate.Bytes + p.plan.Unused.Bytes
	for n := range p.packs {
		if s := &p.packs[n]; s.hide {
			unused -= int64(s.unusedBytes)
		}
	}
	tolerated := p.maxUnused(p.plan.Used.Bytes)
	for _, c := range candidates {
		s := &p.packs[c.n]
		full := p.o.MaxRepack > 0 && p.plan.Repack.Bytes+s.bytes() > p.o.MaxRepack
		enough := unused <= tolerated && !c.must && isData(c) && !isSmall(c)
		if full || enough {
			p.keep(c.n)
			continue
		}
		s.rewrite, s.hide = true, true
		unused -= int64(s.unusedBytes)
		p.plan.Repack.add(1, int(s.used+s.unused), p.stored[p.x.Packs()[c.n]])
		p.plan.Dropped.add(0, int(s.unused), int64(s.unusedBytes))
		p.fate(c.n, FateRepack, c.why)
	}
}

func boolFirst(first bool) int {
	if first {
		return -1
	}
	return 1
}

// planUnlisted sorts the packs that no index lists: by the time for which they have been waiting.
func (p *pruner) planUnlisted(ctx context.Context) {
	now := p.v.opts.Now()
	for id, size := range p.unlisted {
		p.plan.Unlisted.add(1, 0, size)
		p.plan.Total.add(1, 0, size)
		f := PackFate{ID: id, Bytes: size, What: FateWait, Why: "no index lists it"}
		since, marked := p.marks[id]
		switch due := since.Add(p.grace); {
		case !marked:
			due = now.Add(p.grace)
			fallthrough
		case due.After(now):
			f.NotBefore = due
			p.plan.Waiting.add(1, 0, size)
			if p.plan.Next.IsZero() || due.Before(p.plan.Next) {
				p.plan.Next = due
			}
		default:
			f.What = FateDue
			p.plan.Due.add(1, 0, size)
		}
		p.plan.Packs = append(p.plan.Packs, f)
	}
}

// planRetained finds what cannot go yet because the store retains it, or the index files that list it.
func (p *pruner) planRetained(ctx context.Context) error {
	if !p.v.store.Facts().Retention {
		return nil
	}
	listedUntil := map[uint32]time.Time{}
	for id, l := range p.files {
		if !slices.ContainsFunc(l.packs, func(n uint32) bool { return p.hides(n) }) {
			continue
		}
		until, err := p.v.retained(ctx, blob.Handle{Type: blob.Index, Name: id.String()})
		if err != nil && failure.KindOf(err) != failure.NotFound {
			return err
		}
		for _, n := range l.packs {
			if p.hides(n) && until.After(listedUntil[n]) {
				listedUntil[n] = until
			}
		}
	}
	for n, until := range listedUntil {
		if !until.IsZero() {
			p.packs[n].hide = false
		}
	}
	group := map[object.ID]int64{}
	at := map[object.ID]int{}
	for i, f := range p.plan.Packs {
		if f.What != FateWait && f.What != FateForget {
			group[f.ID], at[f.ID] = f.Bytes, i
		}
	}
	return p.v.each(ctx, group, func(ctx context.Context, id object.ID, size int64) error {
		until, err := p.v.retained(ctx, packHandle(id))
		if err != nil && failure.KindOf(err) != failure.NotFound {
			return err
		}
		p.v.mu.RLock()
		n, listed := p.x.PackNumber(id)
		p.v.mu.RUnlock()
		p.mu.Lock()
		defer p.mu.Unlock()
		if listed && listedUntil[n].After(until) {
			until = listedUntil[n]
		}
		if until.IsZero() {
			return nil
		}
		f := &p.plan.Packs[at[id]]
		f.NotBefore = until
		if f.What != FateRepack {
			f.What = FateKept
		}
		p.plan.Retained.add(1, 0, size)
		if p.plan.Free.IsZero() || until.Before(p.plan.Free) {
			p.plan.Free = until
		}
		return nil
	})
}

// hides reports whether pack n is to be taken out of the index; packs that came later are not.
func (p *pruner) hides(n uint32) bool { return int(n) < len(p.packs) && p.packs[n].hide }

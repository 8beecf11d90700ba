package vault

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// moved is one copy that is copied into a new pack.
type moved struct {
	index.Place
	n int // its number
	t object.Type
}

// repack copies what is needed of the packs that are rewritten, and lists it. Blobs are copied as they are sealed, after
// they were opened and their hashes verified; one that is damaged is taken from another copy.
func (p *pruner) repack(ctx context.Context) error {
	todo := p.toCopy()
	total := int64(0)
	for _, m := range todo {
		total += int64(m.Length)
	}
	before := p.s.Stats()
	var mu sync.Mutex
	done := int64(0)
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(min(p.v.parallel(), p.v.opts.Workers+1))
	for len(todo) > 0 && within.Err() == nil {
		n, end := 1, int64(todo[0].Offset)+int64(todo[0].Length)
		for ; n < len(todo) && todo[n].Pack == todo[0].Pack && int64(todo[n].Offset)-end <= smallGap; n++ {
			if next := int64(todo[n].Offset) + int64(todo[n].Length); next-int64(todo[0].Offset) > maxSpan {
				break
			} else {
				end = max(end, next)
			}
		}
		part := todo[:n]
		todo = todo[n:]
		group.Go(func() error {
			if err := p.copySpan(within, part, end); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, m := range part {
				done += int64(m.Length)
			}
			p.tell(StageRepack, done, total)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := p.s.Flush(ctx); err != nil {
		return err
	}
	after := p.s.Stats()
	p.report.Written.add(after.Packs-before.Packs, after.Blobs[0]+after.Blobs[1]-before.Blobs[0]-before.Blobs[1], after.PackedBytes-before.PackedBytes)
	return ctx.Err()
}

// toCopy lists the copies that are chosen, in packs that are rewritten, and have no verified copy in a pack that stays;
// sorted by where they lie.
func (p *pruner) toCopy() []moved {
	var list []moved
	p.v.mu.RLock()
	defer p.v.mu.RUnlock()
	for _, t := range []object.Type{object.Data, object.Tree} {
		for n := range p.x.Len(t) {
			id, at := p.x.Copy(t, n)
			if int(at.Pack) >= len(p.packs) || !p.packs[at.Pack].rewrite || !p.chosen[t].has(n) {
				continue
			}
			stays := false
			for m, other := range p.x.Copies(object.Handle{Type: t, ID: id}) {
				if int(other.Pack) < len(p.packs) && p.good[t].has(m) {
					s := &p.packs[other.Pack]
					stays = stays || !s.hide && !s.rewrite && !s.missing && s.used > 0
				}
			}
			if !stays {
				list = append(list, moved{at, n, t})
			}
		}
	}
	slices.SortFunc(list, func(a, b moved) int { return cmp.Or(cmp.Compare(a.Pack, b.Pack), cmp.Compare(a.Offset, b.Offset)) })
	return list
}

// copySpan copies blobs that lie near each other, up to end, with one request.
func (p *pruner) copySpan(ctx context.Context, part []moved, end int64) error {
	start := int64(part[0].Offset)
	span := make([]byte, end-start)
	p.v.mu.RLock()
	from := p.x.Packs()[part[0].Pack]
	ids := make([]object.ID, len(part))
	for i, m := range part {
		ids[i], _ = p.x.Copy(m.t, m.n)
	}
	p.v.mu.RUnlock()
	read := blob.ReadFull(ctx, p.v.store, packHandle(from), span, start)
	var scratch, room []byte
	for i, m := range part {
		h := object.Handle{Type: m.t, ID: ids[i]}
		var plain []byte
		err := read
		sealed := span[int64(m.Offset)-start:][:m.Length]
		if err == nil {
			scratch = append(scratch[:0], sealed...) // opening is in place
			e := pack.Entry{Handle: h, Offset: m.Offset, Length: m.Length, PlainLength: m.PlainLength}
			if plain, err = p.v.openBlob(scratch, e, room); err == nil {
				if m.PlainLength != 0 && cap(plain) > cap(room) {
					room = plain
				}
			}
		}
		if err != nil {
			if ctx.Err() != nil {
				return failure.Wrap(ctx.Err(), "copy", h.String())
			}
			if plain, err = p.v.LoadBlob(ctx, h); err != nil {
				return failure.WrapAs(failure.KindOf(err), err, "copy", h.String()).
					WithHint("nothing was taken out of the index: lifeboat vault check says what the damage affects, lifeboat vault repair all mends what can be mended")
			}
			sealed = nil
		}
		if err := p.copyBlob(ctx, h, m, sealed, plain); err != nil {
			return err
		}
	}
	return nil
}

// copyBlob puts a verified blob into a new pack. A nil sealed is sealed anew; so is what has to be compressed.
func (p *pruner) copyBlob(ctx context.Context, h object.Handle, m moved, sealed, plain []byte) error {
	plainLength := m.PlainLength
	if plainLength == 0 && (h.Type == object.Tree || p.o.RepackUncompressed) || sealed == nil {
		// As it was asked for, also where it does not shrink: the next prune must not find it uncompressed again.
		sealed = p.v.key.Seal(nil, p.v.compress(h.Type, false, nil, plain))
		plainLength = uint32(len(plain))
		if plainLength == 0 {
			sealed = p.v.key.Seal(nil, nil)
		}
	}
	return p.s.add(ctx, h, sealed, plainLength, len(plain))
}

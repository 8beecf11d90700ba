package vault

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

// An index file is believed about where a blob lies, never about that it is there: of a blob with several copies the one
// that is to stay is read and verified before another one may go. A pack may be damaged where nobody has looked yet. And
// whoever holds a vault's password and may only add to it could otherwise list, with an index file of a few bytes, a pack
// of noise as a second copy of everything, and have the next prune remove the first one.

// verifyCopies fills good and bad as far as the choice among several copies needs it. Corrupt: no copy of a blob that is
// needed is good.
func (p *pruner) verifyCopies(ctx context.Context) error {
	for {
		todo, err := p.unverified()
		if err != nil || len(todo.places) == 0 {
			return err
		}
		group, within := errgroup.WithContext(ctx)
		group.SetLimit(min(p.v.parallel(), p.v.opts.Workers+1))
		for s := range spans(todo.places, todo.packs) {
			group.Go(func() error { return p.verifySpan(within, s, todo) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
}

// copies to be verified; numbers are theirs in the index, as handles are their blobs'.
type unverified struct {
	located
	numbers []int
}

// unverified lists the copies that would be chosen now and that nobody has read, of blobs that have others.
func (p *pruner) unverified() (unverified, error) {
	p.v.mu.RLock()
	defer p.v.mu.RUnlock()
	todo := unverified{located: located{packs: p.x.Packs()}}
	worth := p.worth()
	for h := range p.doubled() {
		best, at, left := p.best(h, worth)
		if left == 0 {
			return todo, failure.New(failure.Corrupt, "prune", "blob "+h.String(), "the index lists several copies, and none is what it says").
				WithHint("nothing is removed while something is damaged: lifeboat vault check --read-data says what it affects, lifeboat vault repair all mends what can be mended")
		}
		if !p.good[h.Type].has(best) {
			todo.places = append(todo.places, wanted{at, uint32(len(todo.handles))})
			todo.handles, todo.numbers = append(todo.handles, h), append(todo.numbers, best)
		}
	}
	slices.SortFunc(todo.places, func(a, b wanted) int { return cmp.Or(cmp.Compare(a.Pack, b.Pack), cmp.Compare(a.Offset, b.Offset)) })
	return todo, nil
}

// doubled gives the blobs that are needed and have several copies. The caller holds the vault's mu.
func (p *pruner) doubled() func(yield func(object.Handle) bool) {
	return func(yield func(object.Handle) bool) {
		for _, t := range []object.Type{object.Data, object.Tree} {
			for n := range p.x.Len(t) {
				id, _ := p.x.Copy(t, n)
				h := object.Handle{Type: t, ID: id}
				first, all, stored := p.copies(h)
				if n == first && all > 1 && stored > 0 && p.used[t].has(n) && !yield(h) {
					return
				}
			}
		}
	}
}

// best chooses among the copies of h that are stored and not known to be bad, and gives how many these are.
func (p *pruner) best(h object.Handle, worth []uint64) (n int, at index.Place, left int) {
	n = -1
	for m, other := range p.x.Copies(h) {
		if int(other.Pack) >= len(p.packs) || p.packs[other.Pack].missing || p.bad[h.Type].has(m) {
			continue
		}
		left++
		if n < 0 || cmp.Or(cmp.Compare(worth[other.Pack], worth[at.Pack]), cmp.Compare(n, m)) > 0 {
			n, at = m, other
		}
	}
	return n, at, left
}

// verifySpan reads copies that lie near each other with one request, and notes which are good.
func (p *pruner) verifySpan(ctx context.Context, s span, todo unverified) error {
	var sealed []byte
	err := error(nil)
	if s.end <= p.stored[s.pack] { // else no such range is there, and nothing is worth so much memory
		sealed = make([]byte, s.end-s.start)
		err = p.v.readPack(ctx, s.pack, sealed, s.start)
	}
	if err != nil && !errors.Is(err, failure.NotFound) && !errors.Is(err, failure.Corrupt) {
		return failure.Wrap(err, "verify the copy in", packHandle(s.pack).String())
	}
	var scratch []byte
	for _, w := range s.wanted {
		h, good := todo.handles[w.handle], false
		if err == nil && sealed != nil {
			scratch = append(scratch[:0], sealed[int64(w.Offset)-s.start:][:w.Length]...) // opening is in place
			_, broken := p.v.openBlob(scratch, pack.Entry{Handle: h, Offset: w.Offset, Length: w.Length, PlainLength: w.PlainLength}, nil)
			good = broken == nil
		}
		p.mu.Lock()
		if good {
			p.good[h.Type].set(todo.numbers[w.handle])
		} else {
			p.bad[h.Type].set(todo.numbers[w.handle])
			p.v.opts.Log.Warn("a copy of a blob is not what the index says", "blob", h.String(), "pack", s.pack.String())
		}
		p.mu.Unlock()
	}
	return nil
}

package vault

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/index"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/pack"
)

const (
	// maxSpan is how much of a pack is read with one request, unless one blob is longer.
	maxSpan = 4 << 20
	// A request may run over what nobody asked for: a gap of up to smallGap, which costs less than another request, or
	// one sixteenth of what it is for.
	smallGap   = 4 << 10
	gapDivisor = 16
)

// span is some of a pack, read with one request, and what is wanted of it: handles by their places in the request.
type span struct {
	pack       object.ID
	start, end int64
	wanted     []wanted
}

// wanted is one blob: where it lies and which of the handles it is.
type wanted struct {
	index.Place
	handle uint32
}

func (w wanted) end() int64 { return int64(w.Offset) + int64(w.Length) }

// LoadBlobs loads many blobs with few requests: those that lie near each other in a pack are read at once, several such
// pieces at the same time. It calls each once for every handle (a handle that is given twice counts once), in no order
// and from several goroutines at once, with the content, whose hash it has verified: the slice is valid until each
// returns. A blob that no copy gives is passed with the error that LoadBlob would return for it. An error of each ends
// the loading and is returned. It takes 20 bytes a handle, and some 5 MiB for each request at a time.
func (v *Vault) LoadBlobs(ctx context.Context, handles []object.Handle, each func(h object.Handle, data []byte, err error) error) error {
	if len(v.others.all) > 0 {
		return v.blobsFallBack(ctx, handles, each)
	}
	return v.loadBlobs(ctx, handles, each)
}

// loadBlobs is LoadBlobs without replicas.
func (v *Vault) loadBlobs(ctx context.Context, handles []object.Handle, each func(h object.Handle, data []byte, err error) error) error {
	if err := v.needIndex(ctx); err != nil {
		return err
	}
	v.mu.RLock()
	l := locate(v.index, handles)
	v.mu.RUnlock()
	return v.loadLocated(ctx, l, v.loadBlob, each)
}

// loadLocated is LoadBlobs for handles that were looked up. Alone loads what cannot be had that way.
func (v *Vault) loadLocated(ctx context.Context, l located, alone func(context.Context, object.Handle) ([]byte, error), each func(object.Handle, []byte, error) error) error {
	return (&loading{v: v, located: l, alone: alone, each: each}).run(ctx)
}

// packedBlob is a blob as it lay in a pack, decrypted: compressed, unless plainLength is 0. It is valid during a call.
type packedBlob struct {
	data        []byte
	plainLength uint32
}

// loadPacked is loadBlobs that gives packed besides what is in the blobs, where that is at hand: for whoever stores them
// again and need not compress them.
func (v *Vault) loadPacked(ctx context.Context, handles []object.Handle, each func(object.Handle, []byte, packedBlob, error) error) error {
	if err := v.needIndex(ctx); err != nil {
		return err
	}
	v.mu.RLock()
	l := locate(v.index, handles)
	v.mu.RUnlock()
	job := &loading{v: v, located: l, alone: v.loadBlob, packed: each, each: func(h object.Handle, data []byte, err error) error {
		return each(h, data, packedBlob{}, err)
	}}
	return job.run(ctx)
}

func (job *loading) run(ctx context.Context) error {
	v, l := job.v, job.located
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(v.parallel())
	buffers := make(spares[spanBuffers], v.parallel())
	for s := range spans(l.places, l.packs) {
		if within.Err() != nil {
			break
		}
		group.Go(func() error {
			b := buffers.take()
			defer buffers.putBack(b)
			defer b.trim()
			return job.span(within, s, b)
		})
	}
	for _, i := range l.unlisted {
		if within.Err() != nil {
			break
		}
		group.Go(func() error { return job.one(within, l.handles[i]) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return failure.Wrap(ctx.Err(), "load blobs", v.Location())
}

// spanBuffers are what one request needs.
type spanBuffers struct{ sealed, plain []byte }

// trim gives up memory that an unusually long blob took.
func (b *spanBuffers) trim() {
	if cap(b.sealed) > maxSpan {
		b.sealed = nil
	}
	if cap(b.plain) > maxSpan {
		b.plain = nil
	}
}

// located are handles with the places where they lie, sorted by these. The index does not list the others.
type located struct {
	handles  []object.Handle
	places   []wanted
	unlisted []uint32
	packs    []object.ID
}

// locate looks handles up in an index, which may change afterwards.
func locate(x *index.Index, handles []object.Handle) located {
	l := located{handles: handles, places: make([]wanted, 0, len(handles)), packs: x.Packs()}
	for i, h := range handles {
		if p, ok := x.First(h); ok {
			l.places = append(l.places, wanted{p, uint32(i)})
		} else {
			l.unlisted = append(l.unlisted, uint32(i))
		}
	}
	slices.SortFunc(l.places, func(a, b wanted) int {
		if a.Pack != b.Pack {
			return cmp.Compare(a.Pack, b.Pack)
		}
		if a.Offset != b.Offset {
			return cmp.Compare(a.Offset, b.Offset)
		}
		return compareHandles(handles[a.handle], handles[b.handle])
	})
	l.places = slices.CompactFunc(l.places, func(a, b wanted) bool { return a.Place == b.Place && handles[a.handle] == handles[b.handle] })
	slices.SortFunc(l.unlisted, func(a, b uint32) int { return compareHandles(handles[a], handles[b]) })
	l.unlisted = slices.CompactFunc(l.unlisted, func(a, b uint32) bool { return handles[a] == handles[b] })
	return l
}

func compareHandles(a, b object.Handle) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), a.ID.Compare(b.ID))
}

// spans cuts sorted places into requests.
func spans(places []wanted, packs []object.ID) func(yield func(span) bool) {
	return func(yield func(span) bool) {
		for len(places) > 0 {
			first := places[0]
			s := span{pack: packs[first.Pack], start: int64(first.Offset), end: first.end()}
			n, useful := 1, int64(first.Length)
			for ; n < len(places); n++ {
				w := places[n]
				gap := max(0, int64(w.Offset)-s.end)
				if w.Pack != first.Pack || w.end()-s.start > maxSpan || gap > smallGap && s.end+gap-s.start-useful > useful/gapDivisor {
					break
				}
				s.end = max(s.end, w.end())
				useful += int64(w.Length)
			}
			s.wanted, places = places[:n], places[n:]
			if !yield(s) {
				return
			}
		}
	}
}

// loading is one run of LoadBlobs.
type loading struct {
	located
	v     *Vault
	alone func(context.Context, object.Handle) ([]byte, error)
	each  func(object.Handle, []byte, error) error
	// packed is called instead of each for what was read with its neighbours; nil: it is not.
	packed func(object.Handle, []byte, packedBlob, error) error
}

// span reads a span and gives its blobs to each. What cannot be read so is read alone, from wherever it can be had.
func (j *loading) span(ctx context.Context, s span, b *spanBuffers) error {
	b.sealed = withRoom(b.sealed, int(s.end-s.start))
	sealed := b.sealed[:s.end-s.start]
	read := j.v.readPack(about(ctx, j.handles[s.wanted[0].handle]), s.pack, sealed, s.start)
	opened := int64(-1) // the end of what was decrypted
	for _, w := range s.wanted {
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "load blobs", j.v.Location())
		}
		h := j.handles[w.handle]
		// Decryption is in place: blobs that overlap, which no writer makes, would spoil each other.
		if read != nil || int64(w.Offset) < opened {
			if err := j.one(ctx, h); err != nil {
				return err
			}
			continue
		}
		e := pack.Entry{Handle: h, Offset: w.Offset, Length: w.Length, PlainLength: w.PlainLength}
		if w.PlainLength <= 2*maxSpan {
			b.plain = withRoom(b.plain, int(w.PlainLength))
		}
		opened = max(opened, w.end())
		at := int64(w.Offset) - s.start
		plain, err := j.v.openBlob(sealed[at:at+int64(w.Length)], e, b.plain)
		switch {
		case err != nil:
			err = j.one(ctx, h)
		case j.packed != nil:
			err = j.packed(h, plain, packedBlob{sealed[at+crypto.IVSize : at+int64(w.Length)-crypto.Overhead+crypto.IVSize], w.PlainLength}, nil)
		default:
			err = j.each(h, plain, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// one gives one blob to each, with the error when there is one.
func (j *loading) one(ctx context.Context, h object.Handle) error {
	data, err := j.alone(ctx, h)
	if err != nil && ctx.Err() != nil {
		return failure.Wrap(ctx.Err(), "load blobs", j.v.Location())
	}
	return j.each(h, data, err)
}

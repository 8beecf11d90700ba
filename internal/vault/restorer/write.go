package restorer

import (
	"context"
	"slices"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// zeroSizes are the lengths of blobs of zeros that are known by their ids: the shortest that content-defined cutting
// makes, which is what long runs of zeros are cut into, and fixed blocks. They are never fetched.
var zeroSizes = []int{512 << 10, 256 << 10}

// restoreFiles brings the content of all files into the target: every blob is fetched once, and written to all the places
// that need it. A file is finished, metadata and all, as soon as its last blob is written.
func (r *run) restoreFiles(ctx context.Context) error {
	r.writer = newWriter(r)
	fetch, local := r.placeBlobs()
	err := r.parallel(ctx, len(r.files), func(ctx context.Context, i int) error { return r.finishNow(ctx, int32(i)) })
	if err == nil {
		err = r.copyLocal(ctx, local, &fetch)
	}
	if err == nil {
		err = r.fetch(ctx, fetch)
	}
	if cerr := r.writer.close(); err == nil {
		err = cerr
	}
	return err
}

// placeBlobs lists for every blob where it is to be written, and gives those that must be fetched, and those that need not.
func (r *run) placeBlobs() (fetch, local []uint32) {
	for i := range r.files {
		f := &r.files[i]
		if f.how != create && f.how != change && f.how != beside {
			continue
		}
		off, left := int64(0), int32(0)
		for n, number := range r.contentOf(f) {
			b := &r.blobs.all[number]
			if f.needed(n) {
				if b.first == none {
					fetch = append(fetch, number)
				}
				r.places = append(r.places, place{file: int32(i), next: b.first, offset: off})
				b.first = int32(len(r.places) - 1)
				left++
			}
			off += int64(b.size)
		}
		f.left.Store(left)
	}
	zeros := map[object.ID]bool{}
	for _, size := range zeroSizes {
		zeros[object.Hash(make([]byte, size))] = true
	}
	all := fetch
	fetch = fetch[:0]
	for _, number := range all {
		if b := &r.blobs.all[number]; b.source != none || zeros[b.id] {
			local = append(local, number)
		} else {
			fetch = append(fetch, number)
		}
	}
	return fetch, local
}

// finishNow finishes a file that waits for no blob.
func (r *run) finishNow(ctx context.Context, i int32) error {
	f := &r.files[i]
	switch f.how {
	case keep:
		return r.keepFile(i)
	case create, change, beside:
		if f.left.Load() == 0 {
			return r.writer.finish(ctx, i, true)
		}
	}
	return nil
}

// keepFile gives a file whose content is right its metadata.
func (r *run) keepFile(i int32) error {
	f := &r.files[i]
	dir, err := r.dirs.acquire(f.parent)
	if err != nil {
		return r.fail(i, err)
	}
	defer r.dirs.release(f.parent)
	changed, short, err := r.apply.ApplyEntry(dir, f.name, &f.meta, &f.old.id)
	f.short = r.tell.fell(r.pathOf(f), short)
	if err != nil {
		return r.fail(i, err)
	}
	action := Unchanged
	if changed != 0 {
		action = Metadata
	}
	r.tell.settled(Item{Path: r.pathOf(f), Type: tree.File, Action: action, Size: f.size})
	return nil
}

// copyLocal writes the blobs that need not be fetched: those of zeros, and those that lie in files of the target. One that
// turns out not to be there any more is added to fetch.
func (r *run) copyLocal(ctx context.Context, local []uint32, fetch *[]uint32) error {
	var mu sync.Mutex
	zero := make([]byte, zeroSizes[0])
	return r.parallel(ctx, len(local), func(ctx context.Context, i int) error {
		b := &r.blobs.all[local[i]]
		if b.source == none {
			return r.place(ctx, b, zero[:b.size])
		}
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		open, done, err := r.openOld(&r.files[b.source])
		if err == nil {
			there := readBlob(open, b, b.offset, buf)
			done()
			if there {
				r.tell.bytes(0, 0, 0, int64(b.size))
				return r.place(ctx, b, *buf)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		*fetch = append(*fetch, local[i])
		return nil
	})
}

// fetch loads blobs from the vault and writes them.
func (r *run) fetch(ctx context.Context, numbers []uint32) error {
	slices.SortFunc(numbers, func(a, b uint32) int { return r.blobs.all[a].id.Compare(r.blobs.all[b].id) })
	handles := make([]object.Handle, len(numbers))
	for i, number := range numbers {
		handles[i] = object.Handle{Type: object.Data, ID: r.blobs.all[number].id}
	}
	return r.v.LoadBlobs(ctx, handles, func(h object.Handle, data []byte, err error) error {
		at, _ := slices.BinarySearchFunc(numbers, h.ID, func(n uint32, id object.ID) int { return r.blobs.all[n].id.Compare(id) })
		b := &r.blobs.all[numbers[at]]
		if err == nil && len(data) != int(b.size) {
			err = failure.New(failure.Corrupt, "restore", "blob data "+h.ID.Short(), "it has %d bytes, its index says %d", len(data), b.size)
		}
		if err != nil {
			return r.missing(ctx, b, err)
		}
		r.tell.bytes(0, int64(len(data)), 0, 0)
		return r.place(ctx, b, data)
	})
}

// place writes a blob to all its places.
func (r *run) place(ctx context.Context, b *blobEntry, data []byte) error {
	for p := b.first; p != none; p = r.places[p].next {
		if err := r.writer.write(ctx, r.places[p].file, r.places[p].offset, data); err != nil {
			return err
		}
	}
	return nil
}

// missing notes that a blob cannot be had, with all files that need it.
func (r *run) missing(ctx context.Context, b *blobEntry, err error) error {
	for p := b.first; p != none; p = r.places[p].next {
		if err := r.writer.fail(ctx, r.places[p].file, err); err != nil {
			return err
		}
	}
	return nil
}

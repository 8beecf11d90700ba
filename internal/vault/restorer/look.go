package restorer

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// makeFolders sees to it that all wanted directories are there, whatever is in their places, so that only their owner may
// enter new ones. Their metadata comes last.
func (r *run) makeFolders(ctx context.Context) error {
	if r.folders[0].state == existing {
		if err := r.sweep(0); err != nil {
			return err
		}
	}
	for i := int32(1); i < int32(len(r.folders)); i++ {
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "make directories", "")
		}
		f := &r.folders[i]
		if !f.wanted {
			continue
		}
		switch r.folders[f.parent].state {
		case lost, kept:
			f.state = r.folders[f.parent].state
			if err := r.unreachable(i); err != nil {
				return err
			}
			continue
		case fresh:
			if r.o.DryRun {
				f.state = fresh
				continue
			}
		}
		err := r.makeFolder(i)
		if err == nil && f.state == existing {
			err = r.sweep(i)
		}
		if err != nil {
			f.state = lost
			if err := r.tell.fail(r.path(i), err); err != nil {
				return err
			}
		}
	}
	return nil
}

// unreachable tells of a folder whose parent is lost or kept.
func (r *run) unreachable(i int32) error {
	if r.folders[i].state == kept {
		r.tell.settled(Item{Path: r.path(i), Type: tree.Dir, Action: Skipped})
		return nil
	}
	return r.tell.fail(r.path(i), errNoFolder(r.path(r.folders[i].parent)))
}

func errNoFolder(path string) error {
	return failure.New(failure.NotFound, "restore", "", "the directory %s that it belongs to could not be restored", path)
}

// makeFolder sees to it that one folder is there. Its parent is.
func (r *run) makeFolder(i int32) error {
	f := &r.folders[i]
	parent, err := r.dirs.acquire(f.parent)
	if err != nil {
		return err
	}
	defer r.dirs.release(f.parent)
	if r.folders[f.parent].state == existing {
		var s fsnode.Stat
		err := parent.Stat(f.name, &s)
		switch {
		case err == nil && s.Type() == tree.Dir:
			f.state = existing
			return nil
		case err == nil && r.o.Overwrite == Never:
			f.state = kept
			r.tell.settled(Item{Path: r.path(i), Type: tree.Dir, Action: Skipped})
			return nil
		case err == nil:
			if err := r.clear(f.parent, parent, f.name, &s); err != nil {
				return err
			}
		case failure.KindOf(err) != failure.NotFound:
			return err
		}
	}
	f.state = fresh
	if r.o.DryRun {
		return nil
	}
	dir, err := parent.Mkdir(f.name)
	if err != nil {
		return err
	}
	r.dirs.add(i, dir)
	r.dirs.release(i)
	return nil
}

// look finds out for each file what is to be done, and reads the content of those that are there.
func (r *run) look(ctx context.Context) error {
	var firsts []int32 // the other names are judged with them
	for i := range r.files {
		if r.files[i].first == int32(i) {
			firsts = append(firsts, int32(i))
		}
	}
	return r.parallel(ctx, len(firsts), func(ctx context.Context, n int) error {
		i := firsts[n]
		f := &r.files[i]
		switch s := r.folders[f.parent].state; {
		case f.next != none:
			return r.judgeNames(ctx, i)
		case s == lost || s == kept:
			return r.passOver(i)
		case s == fresh:
			return r.judge(ctx, i, nil, false)
		}
		s, err := r.stat(f)
		if err != nil {
			return r.fail(i, err)
		}
		if s != nil && !r.replaces(&f.meta, s) {
			return r.leave(i)
		}
		return r.judge(ctx, i, s, s != nil && s.Links() > 1)
	})
}

// parallel calls do for each number below n, several at once, and waits.
func (r *run) parallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(n, r.o.Workers) {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return failure.Wrap(err, "restore", "")
				}
				if err := do(ctx, i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// stat tells what lies in a file's place; nil: nothing.
func (r *run) stat(f *file) (*fsnode.Stat, error) {
	return r.statAt(f.parent, f.name)
}

func (r *run) statAt(parent int32, name string) (*fsnode.Stat, error) {
	dir, err := r.dirs.acquire(parent)
	if err != nil {
		return nil, err
	}
	defer r.dirs.release(parent)
	var s fsnode.Stat
	err = dir.Stat(name, &s)
	if err != nil && failure.KindOf(err) == failure.NotFound {
		return nil, nil
	}
	return &s, err
}

// replaces reports whether Overwrite lets what s tells of be changed into what m is for.
func (r *run) replaces(m *fsnode.Meta, s *fsnode.Stat) bool {
	switch r.o.Overwrite {
	case Never:
		return false
	case IfNewer:
		return m.ModTime().After(s.ModTime())
	}
	return true
}

// leave keeps what lies in a file's place.
func (r *run) leave(i int32) error {
	f := &r.files[i]
	f.how = leave
	r.tell.settled(Item{Path: r.pathOf(f), Type: tree.File, Action: Skipped, Size: f.size})
	if f.first == i {
		r.tell.bytes(f.size, 0, 0, 0)
	}
	return nil
}

// passOver settles a file whose directory is lost or kept.
func (r *run) passOver(i int32) error {
	f := &r.files[i]
	if r.folders[f.parent].state == kept {
		return r.leave(i)
	}
	return r.fail(i, errNoFolder(r.path(f.parent)))
}

// fail notes that a file cannot be restored.
func (r *run) fail(i int32, err error) error {
	f := &r.files[i]
	if f.how = broken; f.failed.Swap(true) {
		return nil
	}
	return r.tell.fail(r.pathOf(f), err)
}

// judgeNames judges all names of a file that has several. Those that Overwrite does not keep become names of one file
// again, and the first of them carries the content. It may be changed where it is when they are all the names that one
// file in the target has: otherwise some other name would change with it. When one that is kept has the content, the
// others become names of that.
func (r *run) judgeNames(ctx context.Context, first int32) error {
	var all, names, left []int32
	var stats, leftStats []*fsnode.Stat
	for i := first; i != none; i = r.files[i].next {
		all = append(all, i)
	}
	one := true
	for _, i := range all {
		f := &r.files[i]
		f.first, f.next = i, none
		var s *fsnode.Stat
		var err error
		switch r.folders[f.parent].state {
		case lost, kept:
			err = r.passOver(i)
			one = false
			if err != nil {
				return err
			}
			continue
		case existing:
			s, err = r.stat(f)
		}
		if err == nil && s != nil && !r.replaces(&f.meta, s) {
			one, err = false, r.leave(i)
			if err != nil {
				return err
			}
			left, leftStats = append(left, i), append(leftStats, s)
			continue
		}
		if err != nil {
			if err := r.fail(i, err); err != nil {
				return err
			}
			one = false
			continue
		}
		one = one && s != nil && s.Type() == tree.File && s.Links() == uint64(len(all)) && (len(stats) == 0 || stats[0].Identity() == s.Identity())
		names, stats = append(names, i), append(stats, s)
	}
	if len(names) == 0 {
		return nil
	}
	leader, others := names[0], 1
	for n, i := range left {
		if r.isWhole(ctx, i, leftStats[n]) {
			leader, others = i, 0
			break
		}
	}
	for n := others; n < len(names); n++ {
		f := &r.files[names[n]]
		f.first, f.how = leader, link
		if s := stats[n]; s != nil {
			f.old = &old{id: s.Identity(), kind: s.Type(), size: s.Size()}
		}
	}
	if others == 0 {
		return nil
	}
	return r.judge(ctx, leader, stats[0], !one && stats[0] != nil && stats[0].Links() > 1)
}

// isWhole reports whether what Overwrite keeps in a file's place has the file's content.
func (r *run) isWhole(ctx context.Context, i int32, s *fsnode.Stat) bool {
	f := &r.files[i]
	if _, err := r.measure(f); err != nil || s.Type() != tree.File || s.Size() != f.size {
		return false
	}
	f.old = &old{id: s.Identity(), kind: tree.File, size: s.Size()}
	missing, err := r.compare(ctx, i)
	return err == nil && missing == 0
}

// judge decides what is to be done for a file in whose place lies what s tells of. Shared: that has names of which nothing
// is known.
func (r *run) judge(ctx context.Context, i int32, s *fsnode.Stat, shared bool) error {
	f := &r.files[i]
	if missing, err := r.measure(f); missing {
		return r.fail(i, err)
	} else if err != nil {
		f.failed.Store(true) // what there is of it is restored, but not under its name
		if err := r.tell.fail(r.pathOf(f), err); err != nil {
			return err
		}
	}
	f.how = create
	if s == nil {
		return nil
	}
	f.old = &old{id: s.Identity(), kind: s.Type(), size: s.Size()}
	if f.old.kind != tree.File {
		return nil
	}
	if r.o.Overwrite == IfChanged && s.Size() == f.size && s.ModTime().Equal(f.meta.ModTime()) && !shared && !f.failed.Load() {
		f.how = keep
		r.tell.bytes(f.size, 0, 0, f.size)
		return nil
	}
	missing, err := r.compare(ctx, i)
	if err != nil {
		return err
	}
	switch {
	case missing == 0 && s.Size() == f.size && !shared && !f.failed.Load():
		f.how = keep
	case !shared && f.meta.OwnedAlike(s) && r.o.Overwrite != IfNewer && !f.failed.Load():
		f.how = change
	default:
		f.how = beside
	}
	r.tell.bytes(f.size-missing, 0, 0, f.size-missing)
	if f.how != beside {
		r.remember(i)
	}
	return nil
}

// compare reads what lies in a file's place, and notes which of its blobs are not there. It gives how many bytes these are.
// What cannot be read counts as not there.
func (r *run) compare(ctx context.Context, i int32) (int64, error) {
	f := &r.files[i]
	content := r.contentOf(f)
	open, done, err := r.openOld(f)
	if err != nil {
		r.o.Log.DebugContext(ctx, "cannot read what is there: it is replaced", "path", r.pathOf(f), "error", err)
		return f.size, nil
	}
	defer done()
	needs := make([]uint64, (len(content)+63)/64)
	starts := make([]int64, len(needs)) // where each 64 blobs begin
	off := int64(0)
	for n, b := range content {
		if n%64 == 0 {
			starts[n/64] = off
		}
		off += int64(r.blobs.all[b].size)
	}
	var missing atomic.Int64
	part := func(word int) {
		last := min((word+1)*64, len(content))
		bits, bytes := r.compareSome(open, content[word*64:last], starts[word])
		needs[word] = bits
		missing.Add(bytes)
	}
	if len(needs) == 1 {
		part(0)
	} else if err := r.parallel(ctx, len(needs), func(_ context.Context, word int) error { part(word); return nil }); err != nil {
		return 0, err
	}
	f.old.needs = needs
	return missing.Load(), nil
}

// openOld opens what lies in a file's place for reading. The function that comes with it closes it.
func (r *run) openOld(f *file) (*fsnode.File, func(), error) {
	dir, err := r.dirs.acquire(f.parent)
	if err != nil {
		return nil, nil, err
	}
	open, err := dir.Open(f.name)
	if err != nil && failure.KindOf(err) == failure.Denied && !r.o.DryRun {
		open, err = dir.Change(f.name) // its owner may be without the right to read it
	}
	if err == nil {
		var s fsnode.Stat
		if err = open.Stat(&s); err == nil && s.Identity() != f.old.id {
			err = failure.New(failure.Conflict, "restore", f.name, "it is another file now")
		}
		if err != nil {
			open.Close()
		}
	}
	if err != nil {
		r.dirs.release(f.parent)
		return nil, nil, err
	}
	return open, func() { open.Close(); r.dirs.release(f.parent) }, nil
}

// buffers are for reading blobs from files.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// compareSome compares up to 64 blobs with what lies at off, and gives those that are not there as bits, and their bytes.
func (r *run) compareSome(open *fsnode.File, content []uint32, off int64) (bits uint64, missing int64) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for n, number := range content {
		b := &r.blobs.all[number]
		if !readBlob(open, b, off, buf) {
			bits |= 1 << n
			missing += int64(b.size)
		}
		off += int64(b.size)
	}
	return bits, missing
}

// readBlob reads a blob from a file into buf, and reports whether it is there.
func readBlob(open *fsnode.File, b *blobEntry, off int64, buf *[]byte) bool {
	if cap(*buf) < int(b.size) {
		*buf = make([]byte, max(int(b.size), 1<<20))
	}
	*buf = (*buf)[:b.size]
	n, err := open.ReadAt(*buf, off)
	return n == int(b.size) && (err == nil || errors.Is(err, io.EOF)) && object.Hash(*buf) == b.id
}

// remember notes where blobs lie in the target and stay, so that other files get them from there.
func (r *run) remember(i int32) {
	f := &r.files[i]
	off := int64(0)
	r.sources.Lock()
	defer r.sources.Unlock()
	for n, number := range r.contentOf(f) {
		b := &r.blobs.all[number]
		if f.compared() && !f.needed(n) && b.source == none {
			b.source, b.offset = i, off
		}
		off += int64(b.size)
	}
}

package restorer

import (
	"bytes"
	"container/list"
	"context"
	"encoding/hex"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

const (
	// maxOpenFiles is how many files are kept open that wait for more blobs.
	maxOpenFiles = 256
	// smallestHole is the shortest run of zeros that becomes a hole: the block of most file systems.
	smallestHole = 4 << 10
	// besidePrefix begins the names of files that are not complete and will be moved to their own names.
	besidePrefix = ".lifeboat-restoring-"
	// incompleteSuffix ends the names of files of which a part could not be restored.
	incompleteSuffix = ".lifeboat-incomplete"
)

// writer writes blobs to files in any order, with a bounded number of files open.
type writer struct {
	run    *run
	shards [64]sync.Mutex // each over the opening and finishing of some files

	mu       sync.Mutex
	open     map[int32]*openFile
	idle     list.List       // of *openFile that nobody writes to just now
	unclosed map[int32]error // files that did not close well
}

type openFile struct {
	i     int32
	file  *fsnode.File
	users int
	idle  *list.Element
}

func newWriter(r *run) *writer {
	return &writer{run: r, open: map[int32]*openFile{}, unclosed: map[int32]error{}}
}

// close closes what is still open, after a run that was broken off.
func (w *writer) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var first error
	for i, o := range w.open {
		if err := o.file.CloseWritten(); err != nil && first == nil {
			first = err
		}
		w.run.dirs.release(w.run.files[i].parent)
	}
	w.open = nil
	return first
}

// write writes data to the i-th file, and finishes it when that was the last that it waited for.
func (w *writer) write(ctx context.Context, i int32, off int64, data []byte) error {
	f := &w.run.files[i]
	o, err := w.acquire(ctx, i)
	if err == nil {
		var n int64
		n, err = w.put(f, o.file, off, data)
		w.release(o)
		f.written.Add(n)
		w.run.tell.bytes(int64(len(data)), 0, n, 0)
	}
	if err != nil {
		return w.fail(ctx, i, err)
	}
	return w.finish(ctx, i, f.left.Add(-1) == 0)
}

// fail notes that a part of the i-th file cannot be written, and finishes it when that was the last that it waited for.
func (w *writer) fail(ctx context.Context, i int32, err error) error {
	f := &w.run.files[i]
	if !f.failed.Swap(true) {
		if err := w.run.tell.fail(w.run.pathOf(f), err); err != nil {
			return err
		}
	}
	return w.finish(ctx, i, f.left.Add(-1) == 0)
}

// put writes data, or what of it is not zeros to a file with holes, and gives how many bytes that were.
func (w *writer) put(f *file, to *fsnode.File, off int64, data []byte) (int64, error) {
	if !w.run.o.Sparse {
		n, err := to.WriteAt(data, off)
		return int64(n), err
	}
	written := int64(0)
	for from := 0; from < len(data); {
		zeros, end := run0(data, from, off)
		if zeros {
			punched := f.how != change || off+int64(from) >= f.old.size // there is a hole already
			if !punched {
				var err error
				if punched, err = to.Punch(off+int64(from), int64(end-from)); err != nil {
					return written, err
				}
			}
			if punched {
				from = end
				continue
			}
		}
		n, err := to.WriteAt(data[from:end], off+int64(from))
		written += int64(n)
		if err != nil {
			return written, err
		}
		from = end
	}
	return written, nil
}

var zeroBlock [smallestHole]byte

// run0 gives the end of the run that begins at data[from]: of whole blocks of zeros, or of anything else. Blocks lie where
// those of the file do, in which data begins at off.
func run0(data []byte, from int, off int64) (zeros bool, end int) {
	block := func(at int) int { return min(len(data), at+smallestHole-int((off+int64(at))%smallestHole)) }
	isHole := func(at, end int) bool { return end-at == smallestHole && bytes.Equal(data[at:end], zeroBlock[:]) }
	end = block(from)
	zeros = isHole(from, end)
	for end < len(data) {
		next := block(end)
		if isHole(end, next) != zeros {
			break
		}
		end = next
	}
	return zeros, end
}

// acquire opens the i-th file for writing, and makes it when it is not there. The caller gives it back with release.
func (w *writer) acquire(ctx context.Context, i int32) (*openFile, error) {
	shard := &w.shards[i%int32(len(w.shards))]
	shard.Lock()
	defer shard.Unlock()
	w.mu.Lock()
	if o := w.open[i]; o != nil {
		o.users++
		if o.idle != nil {
			w.idle.Remove(o.idle)
			o.idle = nil
		}
		w.mu.Unlock()
		return o, nil
	}
	w.mu.Unlock()
	f := &w.run.files[i]
	dir, err := w.run.dirs.acquire(f.parent)
	if err != nil {
		return nil, err
	}
	file, err := w.openFile(ctx, i, dir)
	if err != nil {
		w.run.dirs.release(f.parent)
		return nil, err
	}
	o := &openFile{i: i, file: file, users: 1}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[i] = o
	return o, nil
}

// release gives a file back. With too many open the one that waits longest is closed.
func (w *writer) release(o *openFile) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.users--; o.users > 0 {
		return
	}
	o.idle = w.idle.PushFront(o)
	for w.idle.Len() > maxOpenFiles {
		last := w.idle.Back().Value.(*openFile)
		w.idle.Remove(last.idle)
		delete(w.open, last.i)
		if err := last.file.CloseWritten(); err != nil {
			w.run.o.Log.Warn("a file that was written to did not close", "path", w.run.pathOf(&w.run.files[last.i]), "error", err)
			w.unclosed[last.i] = err
		}
		w.run.dirs.release(w.run.files[last.i].parent)
	}
}

// openFile opens the i-th file: for the first time as its how says, later as it is.
func (w *writer) openFile(ctx context.Context, i int32, dir *fsnode.Dir) (*fsnode.File, error) {
	f := &w.run.files[i]
	if f.opened {
		return dir.Change(w.nameOf(f))
	}
	if f.how == change {
		to, err := w.openOld(f, dir)
		if err == nil {
			f.opened = true
		}
		if !fsnode.Running(err) {
			return to, err
		}
		f.how = beside // the running program keeps its file, and the name gets another one
	}
	name := w.nameOf(f)
	switch {
	case name != f.name:
		if err := dir.Remove(name, tree.File); err != nil { // of a run that was broken off
			return nil, err
		}
	case f.old != nil:
		if err := w.run.clear(f.parent, dir, f.name, nil); err != nil {
			return nil, err
		}
	}
	to, err := dir.Create(name)
	if err != nil {
		return nil, err
	}
	f.opened = true
	if err := w.prepare(ctx, f, to); err != nil {
		to.Close()
		return nil, err
	}
	return to, nil
}

// openOld opens the file that lies in f's place, of which some content stays.
func (w *writer) openOld(f *file, dir *fsnode.Dir) (*fsnode.File, error) {
	to, err := dir.Change(f.name)
	if err != nil {
		return nil, err
	}
	var s fsnode.Stat
	err = to.Stat(&s)
	if err == nil && s.Identity() != f.old.id {
		err = failure.New(failure.Conflict, "restore", f.name, "it is another file now").
			WithHint("somebody else changes the target: restore again when that has ended")
	}
	if err == nil && !f.meta.Private(&s) {
		err = to.Hide()
	}
	if err == nil && (s.Size() > f.size || w.run.o.Sparse && s.Size() < f.size) {
		err = to.Truncate(f.size)
	}
	if err != nil {
		to.Close()
		return nil, err
	}
	return to, nil
}

// prepare gives a new file its length, and, when it takes the place of an old one, what is right in that.
func (w *writer) prepare(ctx context.Context, f *file, to *fsnode.File) error {
	if w.run.o.Sparse {
		if err := to.Truncate(f.size); err != nil {
			return err
		}
	} else if f.n > 1 {
		if err := to.Allocate(f.size); err != nil {
			return err
		}
	}
	if f.how != beside || !f.compared() {
		return nil
	}
	from, done, err := w.run.openOld(f)
	if err != nil {
		return err
	}
	defer done()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	off := int64(0)
	for n, number := range w.run.contentOf(f) {
		b := &w.run.blobs.all[number]
		if !f.needed(n) {
			if err := ctx.Err(); err != nil {
				return failure.Wrap(err, "restore", f.name)
			}
			if !readBlob(from, b, off, buf) {
				return failure.New(failure.Conflict, "restore", f.name, "it has changed since it was compared").
					WithHint("somebody else changes the target: restore again when that has ended")
			}
			wrote, err := w.put(f, to, off, *buf)
			f.written.Add(wrote)
			w.run.tell.bytes(0, 0, wrote, 0)
			if err != nil {
				return err
			}
		}
		off += int64(b.size)
	}
	return nil
}

// nameOf is under which name a file is written: another one than its own when the one that lies in its place is to stay
// until this is complete, or when a part of a file, after a run that was broken off, would be taken for the whole.
func (w *writer) nameOf(f *file) string {
	if f.how == beside || w.run.o.Overwrite == IfNewer || w.run.o.Overwrite == Never {
		return besideName(f.name)
	}
	return f.name
}

// besideName is always the same for a name, so that the next run finds what a broken one left.
func besideName(name string) string {
	id := object.Hash([]byte(name))
	return besidePrefix + hex.EncodeToString(id[:8])
}

// incompleteName is where what there is of a file is put that is not whole.
func incompleteName(name string) string {
	const longest = 255 // of a name, on most file systems
	if len(name)+len(incompleteSuffix) <= longest {
		return name + incompleteSuffix
	}
	id := object.Hash([]byte(name))
	short := "-" + hex.EncodeToString(id[:8])
	return name[:longest-len(incompleteSuffix)-len(short)] + short + incompleteSuffix
}

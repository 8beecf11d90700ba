package restorer

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// finish gives the i-th file its metadata and its name, once nothing is left to be written to it. A file of which a part
// is missing is moved aside.
func (w *writer) finish(ctx context.Context, i int32, last bool) error {
	if !last {
		return nil
	}
	f := &w.run.files[i]
	if f.failed.Load() && !f.opened {
		f.how = broken // nothing was written: what lies in its place stays
		return nil
	}
	o, err := w.acquire(ctx, i)
	if err != nil {
		return w.run.fail(i, err)
	}
	unset := w.settle(f, o.file)
	w.mu.Lock()
	delete(w.open, i)
	unclosed := w.unclosed[i]
	w.mu.Unlock()
	if err := o.file.CloseWritten(); err != nil {
		unclosed = err
	}
	defer w.run.dirs.release(f.parent)
	dir, err := w.run.dirs.acquire(f.parent)
	if err != nil {
		return w.run.fail(i, err)
	}
	defer w.run.dirs.release(f.parent)
	if unclosed != nil || f.failed.Load() {
		return w.aside(i, dir, unclosed)
	}
	if name := w.nameOf(f); name != f.name {
		if err := w.rename(f, dir, name); err != nil {
			return w.run.fail(i, err)
		}
	}
	if unset != nil {
		return w.run.fail(i, unset) // its content is whole, and stays
	}
	item := Item{Path: w.run.pathOf(f), Type: tree.File, Action: Created, Size: f.size, Write: f.written.Load()}
	if f.over() {
		item.Action = Updated
	}
	w.run.tell.settled(item)
	return nil
}

// settle gives an open file its metadata.
func (w *writer) settle(f *file, to *fsnode.File) error {
	if f.failed.Load() {
		return nil // it keeps a mode that lets only its owner read it
	}
	_, short, err := w.run.apply.Apply(to, &f.meta)
	f.short = w.run.tell.fell(w.run.pathOf(f), short)
	return err
}

// rename gives a file that was written beside its name, in the place of what lies there.
func (w *writer) rename(f *file, dir *fsnode.Dir, name string) error {
	if f.old != nil && !f.over() {
		if err := w.run.clear(f.parent, dir, f.name, nil); err != nil {
			return err
		}
	}
	return dir.Rename(name, f.name)
}

// aside moves what there is of a file that is not whole away from its name, so that nobody takes it for the file.
func (w *writer) aside(i int32, dir *fsnode.Dir, cause error) error {
	f := &w.run.files[i]
	path, to := w.run.pathOf(f), incompleteName(f.name)
	err := dir.Rename(w.nameOf(f), to)
	f.how = broken
	if cause != nil && !f.failed.Swap(true) {
		if err := w.run.tell.fail(path, cause); err != nil {
			return err
		}
	}
	if err != nil {
		return w.run.tell.fail(path, failure.Wrap(err, "move aside what is incomplete", ""))
	}
	w.run.o.Log.Warn("a part of a file could not be restored: it was moved aside", "path", path, "to", to)
	return nil
}

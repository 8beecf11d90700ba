package restorer

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// verify reads back what is in the target as it should be, from the disk where the system lets go of what it holds in
// memory, and compares content and metadata. What could not be restored was told already.
func (r *run) verify(ctx context.Context) error {
	total := int64(0)
	for i := range r.files {
		if r.verifiable(int32(i)) {
			total += r.files[i].size
		}
	}
	r.tell.verifying(total)
	look := &fsnode.Applier{Xattr: r.o.Xattr, DryRun: true}
	err := r.parallel(ctx, len(r.files), func(ctx context.Context, i int) error {
		f := &r.files[i]
		if !r.verifiable(int32(i)) {
			return nil
		}
		if err := r.verifyFile(ctx, look, f); err != nil {
			if ctx.Err() != nil {
				return failure.Wrap(ctx.Err(), "verify", "")
			}
			r.tell.differs(r.pathOf(f), err)
		}
		r.tell.verified(1, f.size)
		return nil
	})
	if err != nil {
		return err
	}
	for i := range r.others {
		if o := &r.others[i]; o.done {
			if err := r.verifyOther(look, o); err != nil {
				r.tell.differs(r.path(o.parent, o.name), err)
			}
		}
	}
	for i := int32(len(r.folders) - 1); i > 0; i-- {
		if f := &r.folders[i]; f.wanted && (f.state == fresh || f.state == existing) && !f.short {
			if err := r.verifyFolder(look, i); err != nil {
				r.tell.differs(r.path(i), err)
			}
		}
	}
	return nil
}

// verifiable reports whether a file is in the target as it should be: its first name says so.
func (r *run) verifiable(i int32) bool {
	f := &r.files[i]
	switch f.how {
	case leave, broken:
		return false
	}
	return !f.failed.Load()
}

func (r *run) verifyFile(ctx context.Context, look *fsnode.Applier, f *file) error {
	dir, err := r.dirs.acquire(f.parent)
	if err != nil {
		return err
	}
	defer r.dirs.release(f.parent)
	opened := false
	open, err := dir.Open(f.name)
	if err != nil && failure.KindOf(err) == failure.Denied {
		open, err = dir.Change(f.name) // its owner may be without the right to read it
		opened = true
	}
	if err != nil {
		return err
	}
	defer open.Close()
	var s fsnode.Stat
	if err := open.Stat(&s); err != nil {
		return err
	}
	if s.Type() != tree.File || s.Size() != f.size {
		return failure.New(failure.Corrupt, "verify", f.name, "it is a %s of %d bytes, not a file of %d", s.Type(), s.Size(), f.size)
	}
	open.Forget()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	off := int64(0)
	for _, number := range r.contentOf(f) {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := &r.blobs.all[number]
		if !readBlob(open, b, off, buf) {
			return failure.New(failure.Corrupt, "verify", f.name, "the %d bytes at %d are not those of the vault", b.size, off)
		}
		off += int64(b.size)
	}
	if opened {
		if _, _, err := r.apply.Apply(open, &f.meta); err != nil {
			return err
		}
	}
	if f.short || r.files[f.first].short {
		return nil
	}
	return differing(look.Apply(open, &f.meta))
}

func (r *run) verifyOther(look *fsnode.Applier, o *other) error {
	dir, err := r.dirs.acquire(o.parent)
	if err != nil {
		return err
	}
	defer r.dirs.release(o.parent)
	var s fsnode.Stat
	if err := dir.Stat(o.name, &s); err != nil {
		return err
	}
	if !o.is(dir, &s) {
		return failure.New(failure.Corrupt, "verify", o.name, "it is not the %s of the vault", o.meta.Type())
	}
	if o.short {
		return nil
	}
	id := s.Identity()
	return differing(look.ApplyEntry(dir, o.name, &o.meta, &id))
}

func (r *run) verifyFolder(look *fsnode.Applier, i int32) error {
	dir, err := r.dirs.acquire(i)
	if err != nil {
		return err
	}
	defer r.dirs.release(i)
	if r.folders[i].unlocked { // for this
		if _, _, err := r.apply.ApplyDir(dir, &r.folders[i].meta); err != nil {
			return err
		}
	}
	return differing(look.ApplyDir(dir, &r.folders[i].meta))
}

// differing turns what would have to be changed into an error.
func differing(changed fsnode.Change, _ []fsnode.Shortfall, err error) error {
	if err == nil && changed != 0 {
		err = failure.New(failure.Corrupt, "verify", "", "not as in the vault: %s", changed)
	}
	return err
}

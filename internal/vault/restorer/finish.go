package restorer

import (
	"context"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// finish does what comes after the content: other names of files, links and devices, deletions, and at last the metadata
// of directories, which everything before would change.
func (r *run) finish(ctx context.Context) error {
	if r.o.DryRun {
		if err := r.showFiles(ctx); err != nil {
			return err
		}
	}
	if err := r.linkNames(ctx); err != nil {
		return err
	}
	for _, further := range []bool{false, true} {
		err := r.parallel(ctx, len(r.others), func(_ context.Context, i int) error {
			if o := &r.others[i]; further == (o.first != int32(i)) {
				return r.makeOther(o)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if r.o.Delete {
		if err := r.deleteOthers(ctx); err != nil {
			return err
		}
	}
	return r.finishFolders(ctx)
}

// linkNames makes the further names of files that have several.
func (r *run) linkNames(ctx context.Context) error {
	for i := range r.files {
		f := &r.files[i]
		if f.first == int32(i) || f.how != link {
			continue
		}
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "link", "")
		}
		if err := r.linkName(int32(i)); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) linkName(i int32) error {
	f := &r.files[i]
	first := &r.files[f.first]
	path := r.pathOf(f)
	item := Item{Path: path, Type: tree.File, Action: Created, Size: f.size}
	if first.how == broken || first.failed.Load() {
		return r.fail(i, failure.New(failure.NotFound, "link", path, "the file of which it is another name, %s, could not be restored", r.pathOf(first)))
	}
	if f.over() && first.over() && f.old.id == first.old.id && (first.how == keep || first.how == change) {
		if item.Action = Unchanged; first.how == change {
			item.Action = Updated
		}
		r.tell.settled(item)
		return nil
	}
	if f.over() {
		item.Action = Updated
	}
	if !r.o.DryRun {
		if err := r.linkTo(f, first); err != nil {
			return r.fail(i, err)
		}
	}
	r.tell.settled(item)
	return nil
}

// linkTo puts another name of first in f's place. What lies there is replaced at once.
func (r *run) linkTo(f, first *file) error {
	from, err := r.dirs.acquire(first.parent)
	if err != nil {
		return err
	}
	defer r.dirs.release(first.parent)
	to, err := r.dirs.acquire(f.parent)
	if err != nil {
		return err
	}
	defer r.dirs.release(f.parent)
	if f.old == nil {
		return to.Link(from, first.name, f.name)
	}
	if !f.over() {
		if err := r.clear(f.parent, to, f.name, nil); err != nil {
			return err
		}
		return to.Link(from, first.name, f.name)
	}
	beside := besideName(f.name)
	if err := to.Remove(beside, tree.File); err != nil {
		return err
	}
	if err := to.Link(from, first.name, beside); err != nil {
		return err
	}
	if err := to.Rename(beside, f.name); err != nil {
		return err
	}
	return to.Remove(beside, tree.File) // renaming does nothing when both were names of one file
}

// makeOther makes a symbolic link, a device or a fifo.
func (r *run) makeOther(o *other) error {
	path := r.path(o.parent, o.name)
	switch r.folders[o.parent].state {
	case kept:
		r.tell.settled(Item{Path: path, Type: o.meta.Type(), Action: Skipped})
		return nil
	case lost:
		return r.tell.fail(path, errNoFolder(r.path(o.parent)))
	}
	action, err := r.settleOther(o)
	if err != nil {
		return r.tell.fail(path, err)
	}
	r.tell.settled(Item{Path: path, Type: o.meta.Type(), Action: action})
	return nil
}

func (r *run) settleOther(o *other) (Action, error) {
	state := r.folders[o.parent].state
	if r.o.DryRun && state == fresh {
		return Created, nil
	}
	dir, err := r.dirs.acquire(o.parent)
	if err != nil {
		return "", err
	}
	defer r.dirs.release(o.parent)
	action := Created
	var was *fsnode.Identity
	if state == existing {
		s, err := r.statAt(o.parent, o.name)
		switch {
		case err != nil:
			return "", err
		case s == nil:
		case !r.replaces(&o.meta, s):
			return Skipped, nil
		case r.others[o.first].done && r.isFirst(o, s):
			id := s.Identity()
			was, action = &id, Unchanged
		case &r.others[o.first] == o && o.is(dir, s) && r.allNames(o, s):
			id := s.Identity()
			was, action = &id, Unchanged
		default:
			if s.Type() == o.meta.Type() {
				action = Updated
			}
			if err := r.clear(o.parent, dir, o.name, s); err != nil {
				return "", err
			}
		}
	}
	if r.o.DryRun && was == nil {
		return action, nil
	}
	if first := &r.others[o.first]; was == nil && first != o && first.done {
		from, err := r.dirs.acquire(first.parent)
		if err != nil {
			return "", err
		}
		defer r.dirs.release(first.parent)
		o.done = true
		return action, dir.Link(from, first.name, o.name)
	}
	if was == nil {
		if err := dir.Make(o.name, o.meta.Type(), o.target, o.device); err != nil {
			return "", err
		}
	}
	changed, short, err := r.apply.ApplyEntry(dir, o.name, &o.meta, was)
	o.short = r.tell.fell(r.path(o.parent, o.name), short)
	if err != nil {
		return "", err
	}
	o.done = true
	if was != nil && changed != 0 {
		action = Metadata
	}
	return action, nil
}

// allNames reports whether what lies in o's place, which s tells of, has the names that it has in the tree and no others: they
// would get the metadata too.
func (r *run) allNames(o *other, s *fsnode.Stat) bool {
	for i := o.next; i != none; i = r.others[i].next {
		name := &r.others[i]
		if state := r.folders[name.parent].state; state != existing {
			return false
		}
		is, err := r.statAt(name.parent, name.name)
		if err != nil || is == nil || is.Identity() != s.Identity() {
			return false
		}
	}
	return s.Links() == uint64(o.names)
}

// isFirst reports whether what lies in o's place, which s tells of, is another name of o's first.
func (r *run) isFirst(o *other, s *fsnode.Stat) bool {
	first := &r.others[o.first]
	is, err := r.statAt(first.parent, first.name)
	return first != o && err == nil && is != nil && is.Identity() == s.Identity()
}

// is reports whether what lies in o's place, which s tells of, is o, but for metadata.
func (o *other) is(dir *fsnode.Dir, s *fsnode.Stat) bool {
	if s.Type() != o.meta.Type() {
		return false
	}
	switch o.meta.Type() {
	case tree.Symlink:
		target, err := dir.Target(o.name)
		return err == nil && target == o.target
	case tree.Device, tree.CharDevice:
		return s.Number() == o.device
	}
	return true
}

// finishFolders gives directories their metadata, those furthest down first.
func (r *run) finishFolders(ctx context.Context) error {
	for i := int32(len(r.folders) - 1); i >= 0; i-- {
		f := &r.folders[i]
		if !f.wanted || f.state == lost || f.state == kept {
			continue
		}
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "set the metadata of directories", "")
		}
		if i == 0 && (r.o.Root == nil || r.target == nil) {
			continue
		}
		action, err := r.finishFolder(i)
		if err != nil {
			if err := r.tell.fail(r.path(i), err); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			r.tell.settled(Item{Path: r.path(i), Type: tree.Dir, Action: action})
		}
	}
	return nil
}

func (r *run) finishFolder(i int32) (Action, error) {
	f := &r.folders[i]
	if r.o.DryRun && f.state == fresh {
		return Created, nil
	}
	dir, err := r.dirs.acquire(i)
	if err != nil {
		return "", err
	}
	defer r.dirs.release(i)
	changed, short, err := r.apply.ApplyDir(dir, &f.meta)
	f.short = r.tell.fell(r.path(i), short)
	switch {
	case err != nil:
		return "", err
	case f.state == fresh:
		return Created, nil
	case changed != 0:
		return Metadata, nil
	}
	return Unchanged, nil
}

// showFiles tells, in a dry run, what would become of each file.
func (r *run) showFiles(ctx context.Context) error {
	for i := range r.files {
		f := &r.files[i]
		item := Item{Path: r.pathOf(f), Type: tree.File, Size: f.size}
		switch {
		case f.failed.Load():
			continue
		case f.how == keep:
			if err := r.keepFile(int32(i)); err != nil {
				return err
			}
			continue
		case f.how == create:
			item.Action = Created
		case f.how == change, f.how == beside:
			item.Action = Updated
		default:
			continue
		}
		if f.old != nil && !f.over() {
			if err := r.showObstacle(f); err != nil {
				if err := r.fail(int32(i), err); err != nil {
					return err
				}
				continue
			}
		}
		for n, number := range r.contentOf(f) {
			if f.needed(n) {
				item.Write += int64(r.blobs.all[number].size)
			}
		}
		r.tell.bytes(item.Write, 0, item.Write, 0)
		r.tell.settled(item)
	}
	if err := ctx.Err(); err != nil {
		return failure.Wrap(err, "compare", "")
	}
	return nil
}

// showObstacle tells that what lies in f's place would be removed.
func (r *run) showObstacle(f *file) error {
	dir, err := r.dirs.acquire(f.parent)
	if err != nil {
		return err
	}
	defer r.dirs.release(f.parent)
	return r.clear(f.parent, dir, f.name, nil)
}

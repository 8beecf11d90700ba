package restorer

import (
	"context"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// clear removes what stands in the way of an entry; s tells what it is, when that is known. A directory with something in
// it goes only with Delete. In a dry run it only tells.
func (r *run) clear(parent int32, dir *fsnode.Dir, name string, s *fsnode.Stat) error {
	if s == nil {
		s = &fsnode.Stat{}
		if err := dir.Stat(name, s); err != nil {
			if failure.KindOf(err) == failure.NotFound {
				return nil
			}
			return err
		}
	}
	path := r.path(parent, name)
	if s.Type() == tree.Dir && !r.o.Delete {
		sub, err := dir.Dir(name)
		if err != nil {
			return err
		}
		defer sub.Close()
		names, err := sub.Names()
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return failure.New(failure.Exists, "restore", path, "a directory with something in it is in the way").
				WithHint("allow deletion (--delete), or move it away")
		}
	}
	return r.remove(dir, name, s, path)
}

// remove removes what is called name in dir, which s tells of, with everything in it. It leaves other file systems alone,
// and what is guarded.
func (r *run) remove(dir *fsnode.Dir, name string, s *fsnode.Stat, path string) error {
	if s.Type() == tree.Dir {
		if err := r.removeContent(dir, name, s, path); err != nil {
			return err
		}
	} else if guarded, ok := r.guards[s.Identity()]; ok {
		return errGuarded(path, guarded)
	}
	if !r.o.DryRun {
		if err := dir.Remove(name, s.Type()); err != nil {
			return err
		}
	}
	r.tell.settled(Item{Path: path, Type: s.Type(), Action: Deleted, Size: sizeOf(s)})
	return nil
}

func sizeOf(s *fsnode.Stat) int64 {
	if s.Type() != tree.File {
		return 0
	}
	return s.Size()
}

func errGuarded(path, guarded string) error {
	return failure.New(failure.Denied, "delete", path, "%s must not be deleted", guarded).
		WithHint("restore to another directory, or exclude it")
}

// removeContent removes everything in a directory. It goes as deep as the directories do, one open file each.
func (r *run) removeContent(dir *fsnode.Dir, name string, s *fsnode.Stat, path string) error {
	if guarded, ok := r.guards[s.Identity()]; ok {
		return errGuarded(path, guarded)
	}
	var above fsnode.Stat
	if err := dir.Self(&above); err != nil {
		return err
	}
	if above.Device() != s.Device() {
		return failure.New(failure.Denied, "delete", path, "another file system is mounted there").
			WithHint("unmount it, or exclude it")
	}
	enter := dir.Dir
	if !r.o.DryRun {
		enter = func(name string) (*fsnode.Dir, error) { d, _, err := dir.Enter(name); return d, err }
	}
	sub, err := enter(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	if !sub.SameDir(s) {
		return failure.New(failure.Conflict, "delete", path, "it is another directory now").
			WithHint("somebody else changes the target: restore again when that has ended")
	}
	names, err := sub.Names()
	if err != nil {
		return err
	}
	for _, below := range names {
		var s fsnode.Stat
		if err := sub.Stat(below, &s); err != nil {
			if failure.KindOf(err) == failure.NotFound {
				continue
			}
			return err
		}
		if err := r.remove(sub, below, &s, path+"/"+below); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes from a directory what a restore that was broken off had written beside its name. Where the tree itself has
// such names nothing is removed.
func (r *run) sweep(i int32) error {
	if r.o.DryRun || !r.litterIsOurs {
		return nil
	}
	held, err := r.dirs.acquire(i)
	if err != nil {
		return err
	}
	defer r.dirs.release(i)
	dir, err := held.Again()
	if err != nil {
		if failure.KindOf(err) == failure.Denied {
			return nil // the target itself may be one that this user can only write to
		}
		return err
	}
	defer dir.Close()
	names, err := dir.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, besidePrefix) && len(name) == len(besidePrefix)+16 {
			if err := dir.Remove(name, tree.File); err != nil {
				return err
			}
		}
	}
	return nil
}

// deleteOthers removes what is in the target and not in the tree. After problems it only notes that there would be
// something: what could not be restored may be there under another name.
func (r *run) deleteOthers(ctx context.Context) error {
	for i := int32(0); i < int32(len(r.folders)); i++ {
		f := &r.folders[i]
		if !f.wanted || !f.whole || f.state != existing {
			continue
		}
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "delete", "")
		}
		if err := r.deleteIn(i); err != nil {
			if err := r.tell.fail(r.path(i), err); err != nil {
				return err
			}
		}
	}
	return nil
}

// deleteIn removes what is in one directory and not in the tree.
func (r *run) deleteIn(i int32) error {
	f := &r.folders[i]
	held, err := r.dirs.acquire(i)
	if err != nil {
		return err
	}
	defer r.dirs.release(i)
	dir, err := held.Again()
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		path := r.path(i, name)
		if _, expected := slices.BinarySearch(f.names, name); expected {
			continue
		}
		if r.o.Select != nil {
			if selected, _ := r.o.Select(path, false); !selected {
				continue
			}
		}
		if r.tell.failed() > 0 {
			r.tell.held()
			return nil
		}
		var s fsnode.Stat
		err := dir.Stat(name, &s)
		if err == nil {
			err = r.remove(dir, name, &s, path)
		}
		if err != nil && failure.KindOf(err) != failure.NotFound {
			if err := r.tell.fail(path, err); err != nil {
				return err
			}
		}
	}
	return nil
}

package archiver

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// place is where in the file system and in the tree a directory is.
type place struct {
	real   string   // absolute
	tree   string   // absolute, in the tree
	device uint64   // of the target that the directory belongs to
	own    uint64   // of the directory itself
	tags   []string // tag files in it
}

// spot is a name in an open directory. Its paths are put together when somebody asks for them, which few do.
type spot struct {
	d    *fsnode.Dir
	name string
	in   *place
}

// real is the path in the file system.
func (s spot) real() string { return join(s.in.real, s.name) }

// tree is the path in the tree.
func (s spot) tree() string { return join(s.in.tree, s.name) }

// listing is a directory that was stored.
type listing struct {
	id    object.ID
	count int // nodes
}

// laidOut stores a directory of the tree that is none of the file system's, or not as a whole: just what the layout says.
func (r *run) laidOut(ctx context.Context, l *layout, at string, prev *tree.Node) (listing, error) {
	old, err := r.parent(ctx, at, prev)
	if err != nil {
		return listing{}, err
	}
	names := l.names()
	nodes := make([]*tree.Node, len(names))
	err = r.crew.each(ctx, len(names), func(i int) (err error) {
		nodes[i], err = r.top(ctx, l.below[names[i]], path.Join(at, names[i]), old.find(names[i]))
		return err
	})
	if err != nil {
		return listing{}, err
	}
	return r.saveTree(ctx, nodes, old)
}

// top stores what the layout says is at a path of the tree, and gives its node, or nil when it is left out.
func (r *run) top(ctx context.Context, l *layout, at string, prev *tree.Node) (*tree.Node, error) {
	switch {
	case l.virtual != nil:
		return r.virtual(ctx, l.virtual, prev)
	case l.path != "":
		return r.target(ctx, l, at, prev)
	}
	var n *tree.Node
	if l.meta == "" {
		n = r.madeUp(path.Base(at), l)
	} else {
		var err error
		if n, err = r.above(l.meta, path.Base(at)); err != nil {
			if err := r.report(l.meta, err); err != nil || n == nil {
				return nil, err
			}
		}
	}
	below, err := r.laidOut(ctx, l, at, prev)
	if err != nil {
		return nil, err
	}
	n.Subtree = &below.id
	return r.directory(n, prev, at), nil
}

// madeUp is a directory that is not in the file system. It has the time of a virtual file in it, so that the same files
// make the same tree.
func (r *run) madeUp(name string, l *layout) *tree.Node {
	for l.virtual == nil {
		l = l.below[l.names()[0]]
	}
	return r.own(tree.Node{Name: name, Type: tree.Dir, Mode: fs.ModeDir | 0o755}, r.timeOf(l.virtual))
}

// timeOf gives the time of a virtual file.
func (r *run) timeOf(v *Virtual) time.Time {
	if v.ModTime.IsZero() {
		return r.o.Time
	}
	return v.ModTime
}

// above gives the node of a directory that is there only for what is below it. Who may back up that may not be allowed to
// know all of this.
func (r *run) above(dir, name string) (*tree.Node, error) {
	d, err := fsnode.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var s fsnode.Stat
	if err := d.Self(&s); err != nil {
		return nil, err
	}
	n, err := r.reader.Node(d, ".", &s)
	if n != nil {
		n.Name = name
	}
	if errors.Is(err, failure.Denied) {
		err = nil
	}
	return n, err
}

// target stores what is at a path that the caller named.
func (r *run) target(ctx context.Context, l *layout, inTree string, prev *tree.Node) (*tree.Node, error) {
	at, err := r.openTarget(ctx, l, path.Dir(inTree))
	if err != nil {
		return nil, r.report(l.path, err)
	}
	defer at.d.Close()
	n, err := r.item(ctx, at, l, prev)
	if n != nil && n != prev { // the parent's own node has this name already, and is read by those beside us
		n.Name = path.Base(inTree)
	}
	return n, err
}

// openTarget opens the directory that a target is in, which lies at dir in the tree.
func (r *run) openTarget(ctx context.Context, l *layout, dir string) (spot, error) {
	real, err := filepath.Abs(l.path)
	if err != nil {
		return spot{}, failure.WrapAs(failure.Unavailable, err, "find the working directory", "")
	}
	d, err := fsnode.OpenDir(filepath.Dir(l.path))
	if err != nil {
		return spot{}, err
	}
	var s fsnode.Stat
	if err := d.Self(&s); err != nil {
		d.Close()
		return spot{}, err
	}
	in := &place{real: filepath.Dir(real), tree: dir, device: l.device, own: s.Device()}
	if !l.named {
		in.tags = r.skip.tagged(ctx, d)
	}
	return spot{d, filepath.Base(l.path), in}, nil
}

// item stores what is at a spot, and gives its node, or nil when it is left out. With a layout some of what is in it comes
// from elsewhere.
func (r *run) item(ctx context.Context, at spot, l *layout, prev *tree.Node) (*tree.Node, error) {
	forced := l != nil && (l.named || l.path == "")
	if !forced && r.skip.byName(at) {
		r.tell(at, Item{Action: Excluded})
		return nil, nil
	}
	var s fsnode.Stat
	if err := at.d.Stat(at.name, &s); err != nil {
		if failure.KindOf(err) != failure.NotFound {
			return nil, r.report(at.real(), err)
		}
		if l != nil {
			return r.absent(ctx, at, l, prev, err)
		}
		r.tell(at, Item{Action: Vanished})
		return nil, nil
	}
	if !forced && r.skip.byStat(&s, at.in) {
		r.tell(at, Item{Dir: s.Type() == tree.Dir, Action: Excluded})
		return nil, nil
	}
	if s.Type() != tree.Dir && l != nil && len(l.below) > 0 {
		return nil, failure.New(failure.Conflict, "back up", at.real(), "it is no directory, and something is to lie in it")
	}
	switch s.Type() {
	case tree.File:
		return r.file(ctx, at, &s, prev)
	case tree.Dir:
		return r.dir(ctx, at, l, prev)
	case tree.Socket:
		return nil, nil // it is nothing without the program that listens; restic leaves it out too
	}
	n, err := r.node(at, &s)
	if n != nil && equal(n, prev) {
		return prev, err
	}
	return n, err
}

// absent makes up the directories above virtual files; a target that is gone meanwhile is reported.
func (r *run) absent(ctx context.Context, at spot, l *layout, prev *tree.Node, err error) (*tree.Node, error) {
	if l.path != "" || l.meta != "" {
		return nil, r.report(at.real(), err)
	}
	return r.top(ctx, l, at.tree(), prev)
}

// node reads a node. What could not be read of it is reported.
func (r *run) node(at spot, s *fsnode.Stat) (*tree.Node, error) {
	n, err := r.reader.Node(at.d, at.name, s)
	if err != nil {
		err = r.report(at.real(), failure.Wrap(err, "read all metadata", ""))
	}
	if n != nil && n.Type == tree.Irregular {
		n = nil
	}
	return n, err
}

// dir stores a directory.
func (r *run) dir(ctx context.Context, at spot, l *layout, prev *tree.Node) (*tree.Node, error) {
	in := &place{real: at.real(), tree: at.tree(), device: at.in.device}
	d, err := at.d.Dir(at.name)
	if err != nil {
		return nil, r.report(in.real, err)
	}
	defer d.Close()
	var s fsnode.Stat
	if err := d.Self(&s); err != nil {
		return nil, r.report(in.real, err)
	}
	in.own = s.Device()
	n, err := r.node(at, &s)
	if n == nil || err != nil {
		return nil, err
	}
	names, err := d.Names()
	if err != nil {
		return nil, r.report(in.real, err)
	}
	in.tags = r.skip.tagged(ctx, d)
	var over map[string]*layout
	if l != nil {
		if l.path != "" {
			in.device = l.device
		}
		over = l.below
		names = append(names, l.names()...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	old, err := r.parent(ctx, in.real, prev)
	if err != nil {
		return nil, err
	}
	nodes := make([]*tree.Node, len(names))
	err = r.crew.each(ctx, len(names), func(i int) (err error) {
		name, over := names[i], over[names[i]]
		if over != nil && over.virtual != nil {
			nodes[i], err = r.virtual(ctx, over.virtual, old.find(name))
		} else {
			nodes[i], err = r.item(ctx, spot{d, name, in}, over, old.find(name))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	below, err := r.saveTree(ctx, nodes, old)
	if err != nil {
		return nil, err
	}
	n.Subtree = &below.id
	return r.directory(n, prev, in.tree), nil
}

// directory counts a directory and gives its node.
func (r *run) directory(n, prev *tree.Node, at string) *tree.Node {
	n, what := against(n, prev)
	count(&r.count.dirs, what)
	if r.o.Item != nil {
		r.tellItem(Item{Path: at, Dir: true, Action: what})
	}
	return n
}

// join is path.Join for a clean directory and a name.
func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

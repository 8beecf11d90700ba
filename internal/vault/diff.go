package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// DiffOptions say what counts as a difference.
type DiffOptions struct {
	// Metadata reports also what differs in nothing but times, modes, owners and the like.
	Metadata bool
}

// Change is one path that differs between two trees.
type Change struct {
	Path string // absolute, with slashes; a directory's ends with one
	// Marker is restic's: "+" added, "-" removed, "M" the content of a file, "T" the type, "U" only metadata; "M?" when the
	// content of a file differs and none of its metadata does, which is what decay looks like; "TU" where both are asked for.
	Marker        string
	Before, After *tree.Node // nil: it is not there
}

// DiffCount counts what is only in one of two trees.
type DiffCount struct {
	Files, Dirs, Others  int
	DataBlobs, TreeBlobs int    // that nothing of the other tree needs
	Bytes                uint64 // of those blobs, before compression
}

// DiffReport sums up the differences of two trees.
type DiffReport struct {
	ChangedFiles   int // with another content
	Added, Removed DiffCount
}

// Diff compares the trees a and b and calls each for every difference, in the order of paths, what is added or removed
// with everything below it. An error of each ends it. Directories that are the same in both are not entered but for
// counting, and for that only when something else differs.
func (v *Vault) Diff(ctx context.Context, a, b object.ID, o DiffOptions, each func(Change) error) (*DiffReport, error) {
	d := &differ{v: v, options: o, each: each, before: map[object.Handle]struct{}{}, after: map[object.Handle]struct{}{}}
	if a == b {
		return &d.report, nil
	}
	d.before[object.Handle{Type: object.Tree, ID: a}] = struct{}{}
	d.after[object.Handle{Type: object.Tree, ID: b}] = struct{}{}
	if err := d.trees(ctx, "/", a, b); err != nil {
		return nil, err
	}
	return &d.report, d.count(ctx)
}

// differ is one run of a Diff.
type differ struct {
	v       *Vault
	options DiffOptions
	each    func(Change) error
	report  DiffReport

	before, after map[object.Handle]struct{} // blobs of what differs
	common        []object.ID                // directories that both have at one path
}

// trees compares two directories whose path ends with a slash.
func (d *differ) trees(ctx context.Context, path string, a, b object.ID) error {
	t, err := d.v.Tree(ctx, a)
	if err != nil {
		return failure.Wrap(err, "compare", path)
	}
	u, err := d.v.Tree(ctx, b)
	if err != nil {
		return failure.Wrap(err, "compare", path)
	}
	for n, m := range pairs(t.Nodes, u.Nodes) {
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "compare", path)
		}
		if err := d.nodes(ctx, path, n, m); err != nil {
			return err
		}
	}
	return nil
}

// pairs goes through two directories by name; nodes of one name come together, the other is nil where there is none.
func pairs(a, b []tree.Node) func(yield func(a, b *tree.Node) bool) {
	return func(yield func(a, b *tree.Node) bool) {
		byName := func(x, y tree.Node) int { return strings.Compare(x.Name, y.Name) }
		a, b := slices.SortedStableFunc(slices.Values(a), byName), slices.SortedStableFunc(slices.Values(b), byName)
		for len(a)+len(b) > 0 {
			var n, m *tree.Node
			switch {
			case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
				n, a = &a[0], a[1:]
			case len(a) == 0 || b[0].Name < a[0].Name:
				m, b = &b[0], b[1:]
			default:
				n, m, a, b = &a[0], &b[0], a[1:], b[1:]
			}
			if !yield(n, m) {
				return
			}
		}
	}
}

// nodes compares what two directories have under one name.
func (d *differ) nodes(ctx context.Context, dir string, n, m *tree.Node) error {
	switch {
	case m == nil:
		return d.only(ctx, dir, n, true)
	case n == nil:
		return d.only(ctx, dir, m, false)
	}
	if err := valid(dir, n, m); err != nil {
		return err
	}
	note(d.before, n)
	note(d.after, m)
	path := dir + m.Name
	if m.Type == tree.Dir {
		path += "/"
	}
	marker := ""
	if n.Type != m.Type {
		marker = "T"
	}
	switch {
	case n.Type == tree.File && m.Type == tree.File && !slices.Equal(n.Content, m.Content):
		d.report.ChangedFiles++
		if marker = "M"; sameMetadata(n, m) {
			marker = "M?"
		}
	case d.options.Metadata && !(sameMetadata(n, m) && sameSubtree(n, m)):
		marker += "U"
	}
	if marker != "" {
		if err := d.each(Change{path, marker, n, m}); err != nil {
			return err
		}
	}
	if n.Type != tree.Dir || m.Type != tree.Dir {
		return nil
	}
	if sameSubtree(n, m) {
		d.common = append(d.common, *n.Subtree)
		return nil
	}
	return d.trees(ctx, path, *n.Subtree, *m.Subtree)
}

// valid holds that directories can be entered.
func valid(dir string, nodes ...*tree.Node) error {
	for _, n := range nodes {
		if err := n.Valid(); err != nil {
			return failure.Wrap(err, "compare", dir)
		}
	}
	return nil
}

// only reports what just one of the two has, with all that is below it.
func (d *differ) only(ctx context.Context, dir string, n *tree.Node, removed bool) error {
	if err := valid(dir, n); err != nil {
		return err
	}
	c, count, blobs := Change{dir + n.Name, "+", nil, n}, &d.report.Added, d.after
	if removed {
		c, count, blobs = Change{dir + n.Name, "-", n, nil}, &d.report.Removed, d.before
	}
	switch n.Type {
	case tree.File:
		count.Files++
	case tree.Dir:
		count.Dirs++
		c.Path += "/"
	default:
		count.Others++
	}
	note(blobs, n)
	if err := d.each(c); err != nil {
		return err
	}
	if n.Type != tree.Dir {
		return nil
	}
	t, err := d.v.Tree(ctx, *n.Subtree)
	if err != nil {
		return failure.Wrap(err, "compare", c.Path)
	}
	for i := range t.Nodes {
		if err := d.only(ctx, c.Path, &t.Nodes[i], removed); err != nil {
			return err
		}
	}
	return failure.Wrap(ctx.Err(), "compare", c.Path)
}

// note adds the blobs that a node names.
func note(blobs map[object.Handle]struct{}, n *tree.Node) {
	switch n.Type {
	case tree.File:
		for _, id := range n.Content {
			blobs[object.Handle{Type: object.Data, ID: id}] = struct{}{}
		}
	case tree.Dir:
		blobs[object.Handle{Type: object.Tree, ID: *n.Subtree}] = struct{}{}
	}
}

// count counts the blobs that only one of the trees needs. What the directories that both have need is taken off.
func (d *differ) count(ctx context.Context) error {
	for h := range d.before {
		if _, both := d.after[h]; both {
			delete(d.before, h)
			delete(d.after, h)
		}
	}
	if len(d.before)+len(d.after) > 0 {
		err := d.v.eachTree(ctx, d.common, map[object.ID]struct{}{}, func(id object.ID, t *tree.Tree) error {
			used := map[object.Handle]struct{}{{Type: object.Tree, ID: id}: {}}
			for i := range t.Nodes {
				note(used, &t.Nodes[i])
			}
			for h := range used {
				delete(d.before, h)
				delete(d.after, h)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, side := range []struct {
		blobs map[object.Handle]struct{}
		count *DiffCount
	}{{d.before, &d.report.Removed}, {d.after, &d.report.Added}} {
		for h := range side.blobs {
			n, err := d.v.BlobSize(ctx, h)
			if err != nil {
				return err
			}
			side.count.Bytes += uint64(n)
			if h.Type == object.Tree {
				side.count.TreeBlobs++
			} else {
				side.count.DataBlobs++
			}
		}
	}
	return nil
}

// eachTree calls do, from one goroutine, for every directory that can be reached from roots and is not in seen, where it
// is noted. Directories are loaded many at once, so that it takes few requests and bounded memory.
func (v *Vault) eachTree(ctx context.Context, roots []object.ID, seen map[object.ID]struct{}, do func(object.ID, *tree.Tree) error) error {
	open := slices.Clone(roots)
	for len(open) > 0 {
		at := max(0, len(open)-treesAtOnce)
		var handles []object.Handle
		for _, id := range open[at:] {
			if _, there := seen[id]; !there {
				seen[id] = struct{}{}
				handles = append(handles, object.Handle{Type: object.Tree, ID: id})
			}
		}
		open = open[:at]
		trees, err := v.loadTrees(ctx, handles)
		if err != nil {
			return err
		}
		for _, h := range handles {
			t := trees[h.ID]
			for i := range t.Nodes {
				if n := &t.Nodes[i]; n.Type == tree.Dir {
					if err := n.Valid(); err != nil {
						return failure.Wrap(err, "read the tree", h.ID.Short())
					}
					open = append(open, *n.Subtree)
				}
			}
			if err := do(h.ID, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// sameSubtree reports whether two nodes hold the same directory, or both none.
func sameSubtree(n, m *tree.Node) bool {
	if n.Subtree == nil || m.Subtree == nil {
		return n.Subtree == m.Subtree
	}
	return *n.Subtree == *m.Subtree
}

// sameMetadata compares two nodes in everything but their content.
func sameMetadata(n, m *tree.Node) bool {
	return n.Type == m.Type && n.Mode == m.Mode && n.ModTime.Equal(m.ModTime) && n.AccessTime.Equal(m.AccessTime) &&
		n.ChangeTime.Equal(m.ChangeTime) && n.UID == m.UID && n.GID == m.GID && n.User == m.User && n.Group == m.Group &&
		n.Inode == m.Inode && n.DeviceID == m.DeviceID && n.Size == m.Size && n.Links == m.Links && n.LinkTarget == m.LinkTarget &&
		n.Device == m.Device && n.Error == m.Error &&
		maps.EqualFunc(n.Generic, m.Generic, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) &&
		maps.EqualFunc(xattrs(n), xattrs(m), bytes.Equal)
}

func xattrs(n *tree.Node) map[string][]byte {
	all := make(map[string][]byte, len(n.Xattrs))
	for _, x := range n.Xattrs {
		all[x.Name] = x.Value
	}
	return all
}

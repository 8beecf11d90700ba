package vault

import (
	"context"
	"io/fs"
	"slices"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// repairedTag marks snapshots from which something was left out, as restic's repair does.
const repairedTag = "repaired"

// SnapshotsRepairOptions say how RepairSnapshots goes about it.
type SnapshotsRepairOptions struct {
	// DryRun finds out what would be left out and changes nothing; it takes no lock.
	DryRun bool
	// Forget removes the snapshots that were replaced, and those of which nothing is left.
	Forget bool
	// Unreadable are snapshots whose files cannot be read, to be removed too with Forget. Conflict: one can be read, or a
	// replica has it.
	Unreadable []object.ID
}

// Loss is one thing that a repaired snapshot lacks.
type Loss struct {
	Path  string
	What  string // for people
	Bytes uint64 // of a file's content, by the size it is said to have
}

// SnapshotRepair is what became, or would become, of one snapshot with something wrong.
type SnapshotRepair struct {
	Snapshot object.ID
	New      object.ID // zero: in a dry run, or when nothing is left
	Nothing  bool      // the root cannot be read: nothing is left
	Losses   []Loss
	Forgot   bool // the snapshot itself was, or would be, removed
}

// RepairSnapshots makes of each snapshot that needs what is lost a new one that does without: directories that cannot be
// read are empty, files have what is left of their content and its size, nodes that are none are left out. It carries the
// tag "repaired" and the first id, as with restic. Nothing is lost that replicas have: bring that back first, with
// Refill. The old snapshots stay unless Forget is set. It goes by the index: RepairIndex and RepairPacks go before.
// Snapshots with nothing wrong are left alone, and not in the result. Nil means all of them.
func (v *Vault) RepairSnapshots(ctx context.Context, snapshots []*snapshot.Snapshot, o SnapshotsRepairOptions) ([]SnapshotRepair, error) {
	held, lock, done, err := v.repairing(ctx, RepairOptions{DryRun: o.DryRun})
	if err != nil {
		return nil, err
	}
	defer done()
	if err := v.LoadIndex(held); err != nil {
		return nil, failure.WrapAs(failure.KindOf(err), err, "load the index", "").WithHint("run first: lifeboat vault repair index")
	}
	if snapshots == nil {
		var bad map[object.ID]error
		if snapshots, bad, err = v.ownSnapshots(held); err != nil {
			return nil, err
		}
		for id, e := range bad {
			v.opts.Log.ErrorContext(ctx, "a snapshot cannot be read: its tree is not known", "vault", v.Location(), "snapshot", id, "error", e)
		}
		slices.SortFunc(snapshots, older)
	}
	r := &treeRepairer{v: v, dry: o.DryRun, made: map[object.ID]remade{}}
	if lock != nil {
		r.session = v.session(held, lock)
		defer r.session.Close(ctx) // the lock is given back by done, which says so
	}
	var all []SnapshotRepair
	for _, id := range o.Unreadable {
		one, err := r.unreadable(held, id, o)
		if err != nil {
			return all, failure.Wrap(cause(held, err), "repair the snapshot", id.Short())
		}
		all = append(all, *one)
	}
	for _, s := range snapshots {
		one, err := r.snapshot(held, s, o)
		if err != nil {
			return all, failure.Wrap(cause(held, err), "repair the snapshot", s.ID.Short())
		}
		if one != nil {
			all = append(all, *one)
		}
	}
	return all, nil
}

// remade is what a directory became.
type remade struct {
	id   object.ID
	lost bool // something is left out, here or below
}

// treeRepairer is one run of RepairSnapshots.
type treeRepairer struct {
	v       *Vault
	dry     bool
	session *Session // nil in a dry run
	made    map[object.ID]remade
	losses  []Loss // of the present snapshot; a directory that it shares with an earlier one is not named again
}

// snapshot repairs one; nil: there is nothing to repair.
func (r *treeRepairer) snapshot(ctx context.Context, s *snapshot.Snapshot, o SnapshotsRepairOptions) (*SnapshotRepair, error) {
	r.losses = nil
	result := &SnapshotRepair{Snapshot: s.ID}
	root, err := r.load(ctx, *s.Tree)
	if err != nil {
		return nil, err
	}
	if root == nil {
		result.Nothing = true
		result.Losses = []Loss{{Path: "/", What: "the root directory cannot be read: nothing is left"}}
		return result, r.forget(ctx, s, o, result)
	}
	made, err := r.tree(ctx, "", *s.Tree)
	if err != nil {
		return nil, err
	}
	if made.id == *s.Tree {
		return nil, nil
	}
	result.Losses = r.losses
	if !r.dry {
		if err := r.session.Flush(ctx); err != nil {
			return nil, err
		}
		c := *s
		first := original(s)
		c.Original, c.Tree = &first, &made.id
		c.Summary = nil // its counts are not this tree's
		if !slices.Contains(c.Tags, repairedTag) {
			c.Tags = append(slices.Clone(c.Tags), repairedTag)
		}
		text, err := c.Encode()
		if err != nil {
			return nil, err
		}
		if result.New, err = r.v.saveFile(ctx, blob.Snapshot, text); err != nil {
			return nil, err
		}
	}
	return result, r.forget(ctx, s, o, result)
}

// unreadable removes the file of a snapshot that nobody can read.
func (r *treeRepairer) unreadable(ctx context.Context, id object.ID, o SnapshotsRepairOptions) (*SnapshotRepair, error) {
	s, err := r.v.Snapshot(ctx, id)
	if err == nil {
		return nil, failure.New(failure.Conflict, "remove the file", s.ID.Short(), "the snapshot can be read, here or from a replica").
			WithHint("bring it back first: lifeboat vault repair all")
	}
	if failure.KindOf(err) != failure.Corrupt && failure.KindOf(err) != failure.Invalid {
		return nil, err
	}
	for _, f := range r.v.others.all {
		if _, err := f.vault(ctx, r.v.opts.Now()); err != nil {
			return nil, failure.Wrap(err, "ask the replica", f.Name) // what it has is not lost
		}
	}
	result := &SnapshotRepair{Snapshot: id, Nothing: true, Losses: []Loss{{Path: "/", What: "the snapshot's file cannot be read: " + err.Error()}}}
	return result, r.forget(ctx, &snapshot.Snapshot{ID: id}, o, result)
}

// forget removes a snapshot that was replaced.
func (r *treeRepairer) forget(ctx context.Context, s *snapshot.Snapshot, o SnapshotsRepairOptions, result *SnapshotRepair) error {
	if !o.Forget {
		return nil
	}
	result.Forgot = true
	if r.dry {
		return nil
	}
	return r.v.store.Remove(ctx, blob.Handle{Type: blob.Snapshot, Name: s.ID.String()})
}

// load gives a directory, or nil when it is lost. What only cannot be reached is an error.
func (r *treeRepairer) load(ctx context.Context, id object.ID) (*tree.Tree, error) {
	h := object.Handle{Type: object.Tree, ID: id}
	text, err := r.v.loadBlob(ctx, h)
	if err == nil {
		var t *tree.Tree
		if t, err = tree.Decode(text); err == nil {
			return t, nil
		}
	}
	if damage(err) {
		return nil, r.nobody(ctx, h, err)
	}
	return nil, err
}

// nobody is nil when no replica has a blob that is lost here, for err. Conflict: one has it.
func (r *treeRepairer) nobody(ctx context.Context, h object.Handle, err error) error {
	has := false
	unasked, err := r.v.askReplicas(ctx, map[object.Handle]error{h: err}, func(_ object.Handle, _ []byte, err error) error {
		has = err == nil
		return nil
	})
	switch {
	case err != nil:
		return err
	case has:
		return failure.New(failure.Conflict, "give up", h.String(), "a replica has it").WithHint("bring it back first: lifeboat vault repair all")
	}
	return unasked
}

// tree makes a directory of what is left of one.
func (r *treeRepairer) tree(ctx context.Context, path string, id object.ID) (remade, error) {
	if m, seen := r.made[id]; seen {
		if m.lost {
			r.lose(path, "something is missing here, or below", 0)
		}
		return m, nil
	}
	if err := ctx.Err(); err != nil {
		return remade{}, failure.Wrap(err, "repair", path)
	}
	t, err := r.load(ctx, id)
	if err != nil {
		return remade{}, err
	}
	if t == nil {
		r.lose(path, "the directory cannot be read: it is empty now", 0)
		t = &tree.Tree{}
		m, err := r.save(ctx, t)
		m.lost = true
		r.made[id] = m
		return m, err
	}
	before := len(r.losses)
	kept := &tree.Tree{Extra: t.Extra}
	names := map[string]bool{}
	for i := range t.Nodes {
		n := t.Nodes[i]
		ok, err := r.node(ctx, path, &n)
		if err != nil {
			return remade{}, err
		}
		if ok && names[n.Name] {
			r.lose(path+"/"+n.Name, "the name comes twice: the second is left out", n.Size)
			ok = false
		}
		if ok {
			names[n.Name] = true
			kept.Nodes = append(kept.Nodes, n)
		}
	}
	m := remade{id: id}
	if len(r.losses) > before || t.Sorted() != nil {
		if m, err = r.save(ctx, kept); err != nil {
			return remade{}, err
		}
		m.lost = len(r.losses) > before
	}
	r.made[id] = m
	return m, nil
}

// save stores a directory that was changed, and gives its id also in a dry run.
func (r *treeRepairer) save(ctx context.Context, t *tree.Tree) (remade, error) {
	if r.dry {
		text, err := t.Encode()
		return remade{id: object.Hash(text)}, err
	}
	id, err := r.session.SaveTree(ctx, t)
	return remade{id: id}, err
}

// node changes a node to what is left of it, and reports whether anything is.
func (r *treeRepairer) node(ctx context.Context, dir string, n *tree.Node) (bool, error) {
	path := dir + "/" + n.Name
	if err := n.Valid(); err != nil {
		if n.Type == tree.Dir && n.Name != "" && n.Subtree == nil {
			r.lose(path, "the directory has no list of what is in it: it is empty now", 0)
			m, err := r.save(ctx, &tree.Tree{})
			n.Subtree, n.Mode = &m.id, n.Mode|fs.ModeDir
			return n.Valid() == nil, err
		}
		r.lose(path, "it cannot be a node, and is left out", n.Size)
		return false, nil
	}
	switch n.Type {
	case tree.Dir:
		m, err := r.tree(ctx, path, *n.Subtree)
		n.Subtree = &m.id
		return true, err
	case tree.File:
		return true, r.file(ctx, path, n)
	case tree.Irregular:
		r.lose(path, "it is nothing that can be restored, and is left out", n.Size)
		return false, nil
	}
	return true, nil
}

// file leaves out of a file's content what no index lists.
func (r *treeRepairer) file(ctx context.Context, path string, n *tree.Node) error {
	var kept []object.ID
	size := uint64(0)
	for _, id := range n.Content {
		h := object.Handle{Type: object.Data, ID: id}
		if r.v.has(h) {
			kept = append(kept, id)
			size += uint64(r.v.listedSize(h))
		} else if err := r.nobody(ctx, h, missing(h)); err != nil {
			return failure.Wrap(err, "repair", path)
		}
	}
	switch {
	case len(kept) < len(n.Content):
		r.lose(path, "parts of the content are missing and left out", n.Size-min(size, n.Size))
	case size != n.Size:
		r.lose(path, "the size was wrong", 0)
	default:
		return nil
	}
	if kept == nil {
		kept = []object.ID{}
	}
	n.Content, n.Size = kept, size
	return nil
}

func (r *treeRepairer) lose(path, what string, bytes uint64) {
	if path == "" {
		path = "/"
	}
	r.losses = append(r.losses, Loss{path, what, bytes})
}

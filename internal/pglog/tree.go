package pglog

import (
	"context"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// dir is a directory of a snapshot that is to come. It is read from the vault when something in it is needed, and written
// when something in it has changed: so a log of terabytes costs as much as the few directories at its end.
type dir struct {
	id      object.ID       // as it is stored; zero: it was changed, or never stored
	entries map[string]*ent // nil: not read yet
}

// ent is a directory or a file.
type ent struct {
	node tree.Node // of a file; of a directory only its name and time
	dir  *dir
}

func newDir() *dir { return &dir{entries: map[string]*ent{}} }

// load reads the directory if it was not read yet.
func (d *dir) load(ctx context.Context, v *vault.Vault) error {
	if d.entries != nil {
		return nil
	}
	t, err := v.Tree(ctx, d.id)
	if err != nil {
		return err
	}
	entries := map[string]*ent{}
	for _, n := range t.Nodes {
		if err := n.Valid(); err != nil {
			return err
		}
		e := &ent{node: n}
		if n.Type == tree.Dir {
			e.dir = &dir{id: *n.Subtree}
		}
		entries[n.Name] = e
	}
	d.entries = entries
	return nil
}

// find gives the entry at a path, or nil.
func (d *dir) find(ctx context.Context, v *vault.Vault, path string) (*ent, error) {
	first, rest, deeper := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err := d.load(ctx, v); err != nil {
		return nil, err
	}
	e := d.entries[first]
	switch {
	case e == nil || !deeper:
		return e, nil
	case e.dir == nil:
		return nil, failure.New(failure.Corrupt, "find", path, "%s is no directory", first)
	}
	return e.dir.find(ctx, v, rest)
}

// put places a file at a path, in place of what is there; the directories on the way are made.
func (d *dir) put(ctx context.Context, v *vault.Vault, path string, file tree.Node) error {
	first, rest, deeper := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err := d.load(ctx, v); err != nil {
		return err
	}
	d.id = object.ID{}
	if !deeper {
		file.Name = first
		d.entries[first] = &ent{node: file}
		return nil
	}
	e := d.entries[first]
	if e == nil || e.dir == nil {
		e = &ent{node: tree.Node{Name: first}, dir: newDir()}
		d.entries[first] = e
	}
	if e.node.ModTime.Before(file.ModTime) {
		e.node.ModTime = file.ModTime
	}
	return e.dir.put(ctx, v, rest, file)
}

// remove takes away what is at a path, if anything is, and directories that are empty then.
func (d *dir) remove(ctx context.Context, v *vault.Vault, path string) error {
	first, rest, deeper := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err := d.load(ctx, v); err != nil {
		return err
	}
	e := d.entries[first]
	if e == nil {
		return nil
	}
	if deeper && e.dir != nil {
		if err := e.dir.remove(ctx, v, rest); err != nil {
			return err
		}
		if e.dir.id.IsZero() {
			d.id = object.ID{}
		}
		if len(e.dir.entries) > 0 {
			return nil
		}
	}
	d.id = object.ID{}
	delete(d.entries, first)
	return nil
}

// dirs lists the directories in a directory by name.
func (d *dir) dirs(ctx context.Context, v *vault.Vault) ([]*ent, error) {
	if err := d.load(ctx, v); err != nil {
		return nil, err
	}
	var out []*ent
	for _, e := range d.entries {
		if e.dir != nil {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *ent) int { return strings.Compare(a.node.Name, b.node.Name) })
	return out, nil
}

// save stores what has changed and gives the directory's id.
func (d *dir) save(ctx context.Context, s *vault.Session) (object.ID, error) {
	if !d.id.IsZero() {
		return d.id, nil
	}
	t := &tree.Tree{}
	for _, e := range d.entries {
		n := e.node
		if e.dir != nil {
			id, err := e.dir.save(ctx, s)
			if err != nil {
				return id, err
			}
			n.Type, n.Mode, n.Subtree = tree.Dir, fs.ModeDir|0o700, &id
			n.AccessTime, n.ChangeTime = n.ModTime, n.ModTime
		}
		t.Nodes = append(t.Nodes, n)
	}
	id, err := s.SaveTree(ctx, t)
	if err == nil {
		d.id = id
	}
	return id, err
}

// file is the node of a file of ours; its name is given when it is put.
func file(content vault.Content, at time.Time) tree.Node {
	at = at.UTC().Truncate(time.Microsecond)
	return tree.Node{Type: tree.File, Mode: 0o600, ModTime: at, AccessTime: at, ChangeTime: at, Size: content.Size, Content: content.Blobs, Links: 1}
}

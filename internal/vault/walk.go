package vault

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Tree loads one directory.
func (v *Vault) Tree(ctx context.Context, id object.ID) (*tree.Tree, error) {
	text, err := v.LoadBlob(ctx, object.Handle{Type: object.Tree, ID: id})
	if err != nil {
		return nil, err
	}
	t, err := tree.Decode(text)
	return t, failure.Wrap(err, "load the tree", id.Short())
}

// Walk calls each for every node below the tree root, a directory before what is in it, siblings in the tree's order.
// Path is absolute, with slashes. A directory that cannot be loaded is given a second time, with the error; a node
// whose name leads elsewhere is given with an error too (node.Valid). Returning fs.SkipDir for a directory passes over
// what is in it, every other error ends the walk and is returned. An error for the root itself is returned without a
// call.
func (v *Vault) Walk(ctx context.Context, root object.ID, each func(path string, n *tree.Node, err error) error) error {
	t, err := v.Tree(ctx, root)
	if err != nil {
		return err
	}
	return v.walk(ctx, "", t, each)
}

func (v *Vault) walk(ctx context.Context, dir string, t *tree.Tree, each func(string, *tree.Node, error) error) error {
	for i := range t.Nodes {
		n := &t.Nodes[i]
		path := dir + "/" + n.Name
		if err := ctx.Err(); err != nil {
			return failure.Wrap(err, "walk", path)
		}
		bad := n.Valid()
		err := each(path, n, bad)
		if errors.Is(err, fs.SkipDir) {
			continue
		}
		if err != nil {
			return err
		}
		if bad != nil || n.Type != tree.Dir {
			continue
		}
		below, err := v.Tree(ctx, *n.Subtree)
		if err == nil {
			err = v.walk(ctx, path, below, each)
		} else if err = each(path, n, err); errors.Is(err, fs.SkipDir) {
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Find gives the node at an absolute path below the tree root. NotFound: there is none. The root has no node.
func (v *Vault) Find(ctx context.Context, root object.ID, path string) (*tree.Node, error) {
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	if len(names) == 0 {
		return nil, failure.New(failure.Invalid, "find", path, "the root has no node")
	}
	for i, name := range names {
		t, err := v.Tree(ctx, root)
		if err != nil {
			return nil, err
		}
		n := t.Find(name)
		if n == nil {
			return nil, failure.New(failure.NotFound, "find", path, "there is no %q in /%s", name, strings.Join(names[:i], "/"))
		}
		if i == len(names)-1 {
			return n, nil
		}
		if n.Type != tree.Dir || n.Subtree == nil {
			return nil, failure.New(failure.NotFound, "find", path, "/%s is no directory", strings.Join(names[:i+1], "/"))
		}
		root = *n.Subtree
	}
	return nil, failure.New(failure.Internal, "find", path, "no name is left")
}

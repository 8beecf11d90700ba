package vaultservice

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/filter"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// finder looks into the points one by one.
type finder struct {
	v     *vault.Vault
	req   api.VaultFindRequest
	names *filter.Set
	// With kinds: which blobs are looked for, by the beginnings of their ids or, for packs, as they are.
	ids   []string
	blobs map[object.Handle]bool
}

// Find yields what matches.
func (s *Service) Find(ctx context.Context, req api.VaultFindRequest) iter.Seq2[*api.VaultMatch, error] {
	return func(yield func(*api.VaultMatch, error) bool) {
		err := s.reading(ctx, req.VaultAccess, func(v *vault.Vault) error {
			f, err := newFinder(ctx, v, req)
			if err != nil {
				return err
			}
			all, err := points(ctx, v, req.VaultPointFilter, req.Points)
			if err != nil {
				return err
			}
			for _, sn := range slices.Backward(all) {
				if err := f.look(ctx, sn, func(m *api.VaultMatch) bool { return yield(m, nil) }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(nil, err)
		}
	}
}

func newFinder(ctx context.Context, v *vault.Vault, req api.VaultFindRequest) (*finder, error) {
	f := &finder{v: v, req: req}
	if len(req.Patterns) == 0 {
		return nil, failure.New(failure.Invalid, "find", "", "there is nothing to look for").WithHint("write a pattern, such as *.conf")
	}
	var err error
	switch req.Kind {
	case "":
		rules := filter.Rules{Patterns: req.Patterns}
		if req.IgnoreCase {
			rules = filter.Rules{Fold: req.Patterns}
		}
		f.names, err = rules.Compile()
		return f, err
	case "blob", "tree":
		for _, id := range req.Patterns {
			if id == "" || strings.Trim(id, "0123456789abcdefABCDEF") != "" {
				return nil, failure.New(failure.Invalid, "find the "+req.Kind, id, "it is no id, nor the beginning of one")
			}
			f.ids = append(f.ids, strings.ToLower(id))
		}
		return f, nil
	case "pack":
		f.blobs = map[object.Handle]bool{}
		for _, prefix := range req.Patterns {
			id, err := v.Resolve(ctx, blob.Pack, prefix)
			if err != nil {
				return nil, err
			}
			entries, err := v.PackContent(ctx, id)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				f.blobs[e.Handle] = true
			}
		}
		return f, nil
	}
	return nil, failure.New(failure.Invalid, "find", "", "there is no such kind as %q", req.Kind).WithHint("write blob, tree or pack")
}

// look walks through one point. errStop: the reader has had enough.
func (f *finder) look(ctx context.Context, sn *snapshot.Snapshot, give func(*api.VaultMatch) bool) error {
	found := func(p string, n *tree.Node, h *object.Handle) error {
		m := &api.VaultMatch{Point: sn.ID.String(), Time: sn.Time, Entry: *entryOf(p, n)}
		if h != nil {
			packs, err := f.v.PackedIn(ctx, *h)
			if err != nil {
				return err
			}
			m.Blob = h.ID.String()
			if len(packs) > 0 {
				m.Pack = packs[0].String()
			}
		}
		if !give(m) {
			return errStop
		}
		return nil
	}
	if root := (object.Handle{Type: object.Tree, ID: *sn.Tree}); f.wants(root) {
		if err := found("/", &tree.Node{Name: "/", Type: tree.Dir, Mode: fs.ModeDir, Subtree: sn.Tree}, &root); err != nil {
			return err
		}
	}
	return f.v.Walk(ctx, *sn.Tree, func(p string, n *tree.Node, err error) error {
		if err != nil {
			return failure.Wrap(err, "look into point "+sn.ID.Short(), p)
		}
		if f.names != nil {
			matched, below := f.names.Below(p)
			if matched && f.inTime(n) {
				if err := found(p, n, nil); err != nil {
					return err
				}
			}
			if n.Type == tree.Dir && !below {
				return fs.SkipDir
			}
			return nil
		}
		if n.Subtree != nil {
			if h := (object.Handle{Type: object.Tree, ID: *n.Subtree}); f.wants(h) && f.inTime(n) {
				return found(p, n, &h)
			}
		}
		for _, id := range n.Content {
			if h := (object.Handle{Type: object.Data, ID: id}); f.wants(h) && f.inTime(n) {
				if err := found(p, n, &h); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// wants reports whether a blob is looked for.
func (f *finder) wants(h object.Handle) bool {
	if f.blobs != nil {
		return f.blobs[h]
	}
	if len(f.ids) == 0 || (h.Type == object.Tree) != (f.req.Kind == "tree") {
		return false
	}
	id := h.ID.String()
	return slices.ContainsFunc(f.ids, func(prefix string) bool { return strings.HasPrefix(id, prefix) })
}

func (f *finder) inTime(n *tree.Node) bool {
	return (f.req.Oldest.IsZero() || !n.ModTime.Before(f.req.Oldest)) && (f.req.Newest.IsZero() || !n.ModTime.After(f.req.Newest))
}

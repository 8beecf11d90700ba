package vaultservice

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// Points lists recovery points. Those that can be read are given also beside an error.
func (s *Service) Points(ctx context.Context, req api.VaultPointsRequest) (list []api.VaultPoint, err error) {
	if req.Latest < 0 {
		return nil, failure.New(failure.Invalid, "list points", "", "--latest %d is negative", req.Latest).WithHint("leave it out for all")
	}
	err = s.reading(ctx, req.VaultAccess, func(v *vault.Vault) error {
		found, err := points(ctx, v, req.VaultPointFilter, req.Points)
		for _, sn := range latest(found, req.Latest) {
			list = append(list, pointOf(sn))
		}
		return err
	})
	return list, err
}

// latest leaves the newest n of each host and set of paths, in their order; all when n is 0.
func latest(all []*snapshot.Snapshot, n int) []*snapshot.Snapshot {
	if n == 0 {
		return all
	}
	count := map[string]int{}
	var left []*snapshot.Snapshot
	for _, sn := range slices.Backward(all) {
		paths := slices.Sorted(slices.Values(sn.Paths))
		key := sn.Hostname + "\x00" + strings.Join(paths, "\x00")
		if count[key]++; count[key] <= n {
			left = append(left, sn)
		}
	}
	slices.Reverse(left)
	return left
}

// cleanPath makes a path in a point absolute and clean.
func cleanPath(p string) string { return path.Clean("/" + p) }

// errStop ends a walk whose reader has had enough.
var errStop = errors.New("enough")

// List yields what a point holds.
func (s *Service) List(ctx context.Context, req api.VaultListRequest) (*api.VaultListing, error) {
	v, done, err := s.openRead(ctx, req.VaultAccess)
	if err != nil {
		return nil, err
	}
	sn, root, base, err := findRoot(ctx, v, req.Point, req.VaultPointFilter)
	var within []string
	if err == nil {
		within, err = listed(ctx, v, sn, root, req.Paths)
	}
	if err != nil {
		return nil, errors.Join(err, done())
	}
	prefix := strings.TrimSuffix(base, "/")
	return &api.VaultListing{Point: pointOf(sn), Entries: func(yield func(*api.VaultEntry, error) bool) {
		err := v.Walk(ctx, root, func(p string, n *tree.Node, err error) error {
			show, enter := wanted(p, within, req.Recursive)
			switch {
			case err != nil && (show || enter):
				return failure.Wrap(err, "list", p)
			case show && !yield(entryOf(prefix+p, n), nil):
				return errStop
			case n.Type == tree.Dir && !enter:
				return fs.SkipDir
			}
			return nil
		})
		if errors.Is(err, errStop) {
			err = nil
		} else if err != nil {
			yield(nil, err)
		}
		if closeErr := done(); closeErr != nil && err == nil {
			yield(nil, closeErr)
		}
	}}, nil
}

// listed cleans the paths that are to be listed. One that is not in the point is NotFound.
func listed(ctx context.Context, v *vault.Vault, sn *snapshot.Snapshot, root object.ID, paths []string) ([]string, error) {
	var clean []string
	for _, p := range paths {
		p = cleanPath(p)
		if p != "/" {
			if _, err := v.Find(ctx, root, p); err != nil {
				return nil, inPoint(err, sn)
			}
		}
		clean = append(clean, p)
	}
	return clean, nil
}

// wanted reports whether p is to be shown, and whether something below it may be: without paths everything is; else the
// paths themselves with what is directly in them, or all that is below them.
func wanted(p string, within []string, recursive bool) (show, enter bool) {
	if len(within) == 0 {
		return true, true
	}
	for _, w := range within {
		switch {
		case p == w:
			show, enter = true, true
		case w == "/" || strings.HasPrefix(p, w+"/"):
			if recursive {
				show, enter = true, true
			} else if path.Dir(p) == w {
				show = true
			}
		case strings.HasPrefix(w, p+"/"):
			enter = true
		}
	}
	return show, enter
}

// entryOf is a node as the api has it.
func entryOf(p string, n *tree.Node) *api.VaultEntry {
	e := &api.VaultEntry{
		Path: p, Name: n.Name, Type: string(n.Type), Mode: uint32(n.Mode), Permissions: n.Mode.String(), UID: n.UID, GID: n.GID,
		User: n.User, Group: n.Group, Size: n.Size, ModTime: n.ModTime, AccessTime: n.AccessTime, ChangeTime: n.ChangeTime,
		Inode: n.Inode, Links: n.Links, LinkTarget: n.LinkTarget,
	}
	if n.Subtree != nil {
		e.Subtree = n.Subtree.String()
	}
	return e
}

// catFiles are the kinds of objects that are files of the vault.
var catFiles = map[string]blob.Type{
	"config": blob.Config, "index": blob.Index, "snapshot": blob.Snapshot, "point": blob.Snapshot, "key": blob.Key, "lock": blob.Lock, "pack": blob.Pack,
}

// Cat gives one object.
func (s *Service) Cat(ctx context.Context, req api.VaultCatRequest) (out []byte, err error) {
	err = s.with(ctx, req.VaultAccess, func(v *vault.Vault) (err error) {
		out, err = cat(ctx, v, req)
		return err
	})
	if err == nil && json.Valid(out) && req.Kind != "pack" && req.Kind != "blob" {
		var pretty []byte
		if pretty, err = indent(out); err == nil {
			out = pretty
		}
	}
	return out, err
}

func indent(text []byte) ([]byte, error) {
	out, err := json.MarshalIndent(json.RawMessage(text), "", "  ")
	return append(out, '\n'), err
}

func cat(ctx context.Context, v *vault.Vault, req api.VaultCatRequest) ([]byte, error) {
	switch req.Kind {
	case "blob":
		id, err := object.ParseID(req.ID)
		if err != nil {
			return nil, err
		}
		for _, t := range []object.Type{object.Data, object.Tree} {
			out, err := v.LoadBlob(ctx, object.Handle{Type: t, ID: id})
			if err == nil || failure.KindOf(err) != failure.NotFound {
				return out, err
			}
		}
		return nil, failure.New(failure.NotFound, "find the blob", req.ID, "no index lists it")
	case "tree":
		if id, err := object.ParseID(req.ID); err == nil {
			if out, err := v.LoadBlob(ctx, object.Handle{Type: object.Tree, ID: id}); err == nil || failure.KindOf(err) != failure.NotFound {
				return out, err
			}
		}
		_, root, _, err := findRoot(ctx, v, req.ID, api.VaultPointFilter{})
		if err != nil {
			return nil, err
		}
		return v.LoadBlob(ctx, object.Handle{Type: object.Tree, ID: root})
	case "snapshot", "point":
		sn, err := findPoint(ctx, v, req.ID, api.VaultPointFilter{})
		if err != nil {
			return nil, err
		}
		return v.LoadFile(ctx, blob.Snapshot, sn.ID)
	case "config":
		return v.LoadFile(ctx, blob.Config, object.ID{})
	}
	t, ok := catFiles[req.Kind]
	if !ok {
		return nil, failure.New(failure.Invalid, "show", req.Kind, "there is no such kind of object").
			WithHint("write one of: config, snapshot, index, key, lock, tree, blob, pack")
	}
	id, err := v.Resolve(ctx, t, req.ID)
	if err != nil {
		return nil, err
	}
	return v.LoadFile(ctx, t, id)
}

package pgrestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault/restorer"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// part is one folder of a base point and where it goes.
type part struct {
	node   *tree.Node
	into   string
	choose func(path string, dir bool) (selected, below bool)
}

// parts are the folders that a base point is made of.
func parts(ctx context.Context, o Options, c *course, p *place) ([]part, error) {
	data, err := o.Vault.Find(ctx, c.tree(), pgpoint.DataPath)
	if err != nil {
		return nil, failure.Wrap(err, "find the data folder in the base point", c.base.Snapshot.ID.Short())
	}
	all := []part{{data, p.data, dataFiles(p)}}
	for _, s := range c.base.Spaces {
		node, err := o.Vault.Find(ctx, c.tree(), pgpoint.SpacesPath+"/"+s.OID)
		if err != nil {
			return nil, failure.Wrap(err, "find the tablespace "+s.OID+" in the base point", c.base.Snapshot.ID.Short())
		}
		t, err := o.Vault.Tree(ctx, *node.Subtree)
		if err != nil {
			return nil, err
		}
		all = append(all, part{node, p.spaces[s.OID], spaceFiles(t)})
	}
	for _, part := range all {
		if part.node.Type != tree.Dir {
			return nil, failure.New(failure.Corrupt, "read the base point", c.base.Snapshot.ID.Short(), "%s is a %s", part.node.Name, part.node.Type)
		}
	}
	return all, nil
}

// dataFiles selects what of the data folder is brought back, and deleted when the base point does not have it: not what is
// ours, what is of the moment, the log, and what the site keeps.
func dataFiles(p *place) func(string, bool) (bool, bool) {
	spared := []string{unfinished, unfinished + ".new", versionFile, mapFile, recovery, standby, lostFound, "pg_wal", "postmaster.pid", "postmaster.opts"}
	spared = append(spared, p.keep...)
	return func(path string, dir bool) (bool, bool) {
		first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		if slices.Contains(spared, first) {
			return false, false
		}
		// The links to tablespaces are made by the server.
		if first == "pg_tblspc" && rest != "" && !dir && !strings.Contains(rest, "/") {
			return false, false
		}
		return true, true
	}
}

// spaceFiles selects what of a tablespace's folder is this cluster's: others, of other major versions, may share it.
func spaceFiles(t *tree.Tree) func(string, bool) (bool, bool) {
	return func(path string, _ bool) (bool, bool) {
		first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
		mine := t.Find(first) != nil
		return mine, mine
	}
}

// bring restores the files of a base point. What it may not touch is left; what stood in the way is gone.
func bring(ctx context.Context, o Options, c *course, p *place, res *Result, tell func(done, total int64)) error {
	all, err := parts(ctx, o, c, p)
	if err != nil {
		return err
	}
	var done int64
	for _, part := range all {
		before := done
		r, err := restorer.Run(ctx, o.Vault, *part.node.Subtree, restorer.Options{
			Target: part.into, Root: part.node, Select: part.choose, Overwrite: restorer.Always, Delete: true, AllowRoot: false,
			Owner: &restorer.Owner{UID: p.owner.uid, GID: p.owner.gid}, Sync: !o.Server.Isolated, Log: o.Log,
			Progress: func(p restorer.Progress) {
				done = before + p.Bytes
				tell(done, c.base.Bytes)
			},
		})
		if r != nil {
			res.Files += r.Files
			res.Bytes += r.Bytes
			res.Written += r.Written
			res.Reused += r.Reused
			res.Deleted += r.Entries[restorer.Deleted]
		}
		if err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				err = failure.From(failure.Wrap(err, "restore to", part.into)).WithHint("make room there: the base point has %s; the next restore goes on with what is there", units.Bytes(c.base.Bytes))
			}
			return err
		}
	}
	return nil
}

// compare finds out what bring would do.
func compare(ctx context.Context, o Options, c *course, p *place, plan *Plan) error {
	all, err := parts(ctx, o, c, p)
	if err != nil {
		return err
	}
	for _, part := range all {
		r, err := restorer.Run(ctx, o.Vault, *part.node.Subtree, restorer.Options{
			Target: part.into, Root: part.node, Select: part.choose, Overwrite: restorer.Always, Delete: true, DryRun: true,
			Owner: &restorer.Owner{UID: p.owner.uid, GID: p.owner.gid}, Log: o.Log,
			Item: func(i restorer.Item) {
				plan.Write += i.Write
				if i.Action == restorer.Deleted {
					plan.Deleted++
					if len(plan.Delete) < maxListed {
						plan.Delete = append(plan.Delete, filepath.Join(part.into, i.Path))
					}
				}
			},
		})
		if err != nil {
			return err
		}
		plan.Files += r.Files
		plan.Bytes += r.Bytes
	}
	return nil
}

// maxListed bounds Plan.Delete.
const maxListed = 1000

// clearLog makes the folder of the log empty. It may be a link to another disk, and stays one.
func clearLog(p *place) error {
	dir := filepath.Join(p.data, "pg_wal")
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		if err := os.RemoveAll(dir); err != nil { // a link that leads nowhere
			return failure.WrapAs(failure.Denied, err, "remove", dir)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return failure.WrapAs(failure.Denied, err, "make", dir)
		}
		if err := p.owner.give(dir); err != nil {
			return err
		}
	}
	if info, err := os.Stat(dir); err != nil {
		return failure.WrapAs(failure.Denied, err, "look at", dir)
	} else if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != p.owner.uid {
		return failure.New(failure.Denied, "empty", dir, "it leads to a folder of another user").WithHint("give it to the server's user, or remove the link")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "look into", dir)
	}
	for _, e := range entries {
		if e.Name() == lostFound {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return failure.WrapAs(failure.Denied, err, "remove", filepath.Join(dir, e.Name()))
		}
	}
	status := filepath.Join(dir, "archive_status")
	if err := os.Mkdir(status, 0o700); err != nil {
		return failure.WrapAs(failure.Denied, err, "make", status)
	}
	return p.owner.give(status)
}

// linkSpaces leaves the tablespaces' links to the server, which makes them by the map.
func linkSpaces(p *place) error {
	dir := filepath.Join(p.data, "pg_tblspc")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "look into", dir)
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return failure.WrapAs(failure.Denied, err, "remove", filepath.Join(dir, e.Name()))
			}
		}
	}
	path := filepath.Join(p.data, mapFile)
	if len(p.spaces) == 0 {
		return removeFile(path)
	}
	return replaceFile(path, mapOf(p.spaces), p.owner)
}

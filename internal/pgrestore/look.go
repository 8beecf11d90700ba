package pgrestore

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/term/units"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// place is where a restore goes, looked at and found good.
type place struct {
	data   string
	owner  owner
	spaces map[string]string // by OID
	found  found
	keep   []string // files that stay as they are
	marker marker   // of an unfinished restore
	left   int      // the server of an unfinished restore that runs there still; 0: none
}

// look looks at the folders that a restore goes to, and refuses what must not be overwritten. It changes nothing.
func look(ctx context.Context, o Options, b pgpoint.Base) (*place, error) {
	if !filepath.IsAbs(o.Data) || o.Data != filepath.Clean(o.Data) || o.Data == "/" {
		return nil, failure.New(failure.Invalid, "restore to", o.Data, "a data folder is named by its absolute path")
	}
	p := &place{data: o.Data}
	var err error
	if p.owner, err = ownerOf(o); err != nil {
		return nil, err
	}
	if p.spaces, err = spacesOf(b, o); err != nil {
		return nil, err
	}
	var m marker
	if p.found, m, err = what(ctx, o, b, p.owner); err != nil {
		return nil, err
	}
	pid, err := serverRuns(o.Data)
	if err != nil {
		return nil, err
	}
	if pid != 0 && (p.found != ours || pid != m.Server && !conducts(pid)) {
		return nil, failure.New(failure.Conflict, "restore to", o.Data, "a server runs on it (process %d)", pid).WithHint("stop it first, or restore to another folder")
	}
	p.left, p.marker = pid, m
	switch p.found {
	case nothing:
	case ours:
		p.keep = m.Keep // others of these may have come from the base point, half of them
	default:
		for _, name := range o.Keep {
			if name != filepath.Base(name) {
				return nil, failure.New(failure.Invalid, "keep", name, "only files directly in the data folder can be kept")
			}
			if there, err := isThere(filepath.Join(o.Data, name)); err != nil {
				return nil, err
			} else if there {
				p.keep = append(p.keep, name)
			}
		}
	}
	if err := allowed(o, p.found); err != nil {
		return nil, err
	}
	for oid, to := range p.spaces {
		if err := spaceAllowed(o, p, m, oid, to); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// what finds out what lies in the data folder.
func what(ctx context.Context, o Options, b pgpoint.Base, own owner) (found, marker, error) {
	var m marker
	empty, err := isEmpty(o.Data)
	if err != nil || empty {
		return nothing, m, err
	}
	version, err := isThere(filepath.Join(o.Data, versionFile))
	if err != nil {
		return other, m, err
	}
	m, err = readMarker(o.Data)
	switch {
	case err == nil && !(m.Done && version) && m.Whose == o.Whose:
		return ours, m, nil
	case err == nil && !(m.Done && version):
		return foreign, m, nil
	case err != nil && !errors.Is(err, failure.NotFound):
		return other, m, err
	case !version:
		return other, m, nil
	}
	c, err := readControl(ctx, o.Bin, o.Data, own)
	switch {
	case err != nil && ctx.Err() != nil:
		return other, m, err
	case err != nil:
		return other, m, nil
	case c.system == b.SystemID:
		return same, m, nil
	}
	return foreign, m, nil
}

func allowed(o Options, f found) error {
	refuse := func(kind failure.Kind, format string, args ...any) *failure.Error {
		return failure.New(kind, "restore to", o.Data, format, args...)
	}
	switch {
	case f == nothing || f == ours || o.Overwrite == Anything || f == same && o.Overwrite == SameSystem:
		return nil
	case o.Overwrite != OnlyEmpty && o.Overwrite != SameSystem:
		return refuse(failure.Invalid, "%q is no way to overwrite", o.Overwrite)
	case f == same:
		return refuse(failure.Exists, "the same cluster's data folder is there").
			WithHint("to change it into the state of the target, ask for it to be overwritten; only what differs is written, and a preview says what")
	case f == foreign:
		return refuse(failure.Conflict, "another cluster's data folder is there, or another resource's restore").WithHint("restore to another folder, or move it away")
	}
	return refuse(failure.Conflict, "it is not empty, and is no data folder of this cluster").WithHint("restore to another folder, or move it away")
}

// spaceAllowed judges the folder of a tablespace: it may hold what belongs to the data folder that is overwritten, or to an
// unfinished restore of it. Another cluster's link may lead there, too.
func spaceAllowed(o Options, p *place, m marker, oid, to string) error {
	empty, err := isEmpty(to)
	if err != nil || empty || o.Overwrite == Anything {
		return err
	}
	if p.found == ours && m.Spaces[oid] == to {
		return nil
	}
	if p.found == same || p.found == ours {
		if at, err := os.Readlink(filepath.Join(p.data, "pg_tblspc", oid)); err == nil && at == to {
			return nil
		}
	}
	return failure.New(failure.Conflict, "restore the tablespace "+oid+" to", to, "it is not empty, and does not belong to %s", p.data).
		WithHint("say where else it goes")
}

// need is how much room a restore takes on one file system.
type need struct {
	path        string // one that is on it
	bytes, free int64
}

// room finds out how much room the files take that are not there yet, on each file system, and how much there is. Some more
// is needed for log: of that the server keeps a few segments at a time.
func room(ctx context.Context, o Options, c *course, p *place) ([]need, error) {
	sizes := map[string]int64{p.data: int64(2*ahead) * int64(c.base.Segment)}
	err := o.Vault.Walk(ctx, c.tree(), func(path string, n *tree.Node, err error) error {
		if err != nil {
			return err
		}
		if n.Type == tree.File {
			sizes[p.folderOf(path)] += int64(n.Size)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	byDevice := map[uint64]*need{}
	for path, bytes := range sizes {
		if path == "" {
			continue
		}
		there, err := bytesIn(path)
		if err != nil {
			return nil, err
		}
		has, device, err := free(path)
		if err != nil {
			return nil, err
		}
		if byDevice[device] == nil {
			byDevice[device] = &need{path: path, free: has}
		}
		byDevice[device].bytes += bytes - there
	}
	var out []need
	for _, n := range byDevice {
		out = append(out, *n)
	}
	return out, nil
}

// folderOf is the folder here that something in a base point's tree goes to; empty: none.
func (p *place) folderOf(path string) string {
	if within(path, pgpoint.DataPath) {
		return p.data
	}
	for oid, to := range p.spaces {
		if within(path, pgpoint.SpacesPath+"/"+oid) {
			return to
		}
	}
	return ""
}

func within(path, folder string) bool {
	return path == folder || len(path) > len(folder) && path[:len(folder)] == folder && path[len(folder)] == '/'
}

// enough refuses when there is too little room.
func enough(needs []need) error {
	for _, n := range needs {
		if n.bytes > n.free {
			return failure.New(failure.Throttled, "restore to", n.path, "it takes %s more, and its file system has %s free", units.Bytes(n.bytes), units.Bytes(n.free)).
				WithHint("make room, restore to another file system, or say that it fits all the same")
		}
	}
	return nil
}

package pgbase

import (
	"context"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// What a base backup leaves out, as the server does it (backup/basebackup.c, backup-lowlevel-base-backup-data in the
// documentation).
var (
	// emptied are folders of the data folder whose content the server makes anew when it starts.
	emptied = []string{"pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans", "pg_wal"}
	// omitted are files that belong to the running server or to another backup, wherever they lie.
	omitted = []string{"postgresql.auto.conf.tmp", "current_logfiles.tmp", "backup_label", "tablespace_map", "backup_manifest", "postmaster.pid", "postmaster.opts"}
)

// Prefixes of names that are left out wherever they lie: temporary files, and the cache of the catalog.
const (
	temporaryFiles = "pgsql_tmp"
	catalogCache   = "pg_internal.init"
)

// place is a folder with what is to be read in it.
type place struct {
	disk   string   // on the disk
	above  string   // in the tree
	inside string   // as PostgreSQL names it from the data folder; "." is that
	names  []string // of files
}

// walk goes through a data folder.
type walk struct {
	*capture
	folder string // without symbolic links
	trust  *trust // nil: everything is read
	temp   string // where statistics are kept while the server runs, from the data folder
	nodes  *fsnode.Reader
	places []place
	within []string // folders of tablespaces that lie in the data folder
	paid   int64    // bytes that were asked for, of what the rate allows
	since  time.Time
}

// newWalk looks at the data folder.
func newWalk(c *capture, statistics string) (*walk, error) {
	w := &walk{capture: c, temp: statistics, nodes: fsnode.NewReader()}
	var err error
	if w.folder, err = filepath.EvalSymlinks(c.o.Folder); err == nil {
		w.folder, err = filepath.Abs(w.folder)
	}
	if err != nil {
		return nil, failure.WrapAs(failure.Invalid, err, "capture", c.o.Folder)
	}
	n, err := w.self(w.folder)
	if err != nil {
		return nil, err
	}
	c.whose(*n)
	c.root.describe(pgpoint.DataPath, *n)
	return w, nil
}

// self gives a folder's own metadata.
func (w *walk) self(dir string) (*tree.Node, error) {
	d, err := fsnode.OpenDir(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var st fsnode.Stat
	if err := d.Stat(filepath.Base(dir), &st); err != nil {
		return nil, err
	}
	return w.node(d, filepath.Base(dir), &st)
}

// node gives what is kept of a file beside its content. What of that cannot be read does not keep the file from the point.
func (w *walk) node(d *fsnode.Dir, name string, st *fsnode.Stat) (*tree.Node, error) {
	n, err := w.nodes.Node(d, name, st)
	if err != nil && n != nil {
		w.warn(err.Error())
		err = nil
	}
	return n, err
}

// list finds what is to be read, and how much it is. What appears later is not needed: replay makes it.
func (w *walk) list(ctx context.Context) (total int64, err error) {
	spaces, err := w.links()
	if err != nil {
		return 0, err
	}
	total, err = w.folderOf(ctx, place{disk: w.folder, above: pgpoint.DataPath, inside: "."})
	if err != nil {
		return 0, err
	}
	for _, s := range spaces {
		w.base.Spaces = append(w.base.Spaces, s)
		above := pgpoint.SpacesPath + "/" + s.OID
		n, err := w.self(s.Location)
		if err != nil {
			return 0, err
		}
		w.root.describe(above, *n)
		size, err := w.space(ctx, s)
		if err != nil {
			return 0, err
		}
		total += size
	}
	w.spaces()
	return total, nil
}

// links finds the tablespaces.
func (w *walk) links() ([]pgpoint.Tablespace, error) {
	links := filepath.Join(w.folder, "pg_tblspc")
	d, err := fsnode.OpenDir(links)
	if err != nil {
		return nil, w.strange(err)
	}
	defer d.Close()
	names, err := d.Names()
	if err != nil {
		return nil, err
	}
	var out []pgpoint.Tablespace
	for _, name := range names {
		if !digits(name) {
			continue
		}
		var st fsnode.Stat
		if err := d.Stat(name, &st); err != nil {
			if failure.KindOf(err) == failure.NotFound {
				continue
			}
			return nil, err
		}
		if st.Type() != tree.Symlink {
			return nil, failure.New(failure.Unsupported, "capture", filepath.Join(links, name), "it is a tablespace without a place of its own (allow_in_place_tablespaces)").
				WithHint("move what is in it to another tablespace")
		}
		location, err := d.Target(name)
		if err != nil {
			return nil, err
		}
		real, err := filepath.EvalSymlinks(location)
		if err != nil {
			return nil, failure.WrapAs(failure.NotFound, err, "capture the tablespace", location)
		}
		if rel, err := filepath.Rel(w.folder, real); err == nil && filepath.IsLocal(rel) {
			w.within = append(w.within, filepath.ToSlash(rel))
		}
		out = append(out, pgpoint.Tablespace{OID: name, Location: location})
	}
	return out, nil
}

// space lists a tablespace: of what is in its folder, only that of this version of PostgreSQL.
func (w *walk) space(ctx context.Context, s pgpoint.Tablespace) (int64, error) {
	d, err := fsnode.OpenDir(s.Location)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	names, err := d.Names()
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, name := range names {
		if !strings.HasPrefix(name, w.version()) {
			continue
		}
		n, err := w.self(filepath.Join(s.Location, name))
		if err != nil {
			return 0, err
		}
		above := pgpoint.SpacesPath + "/" + s.OID + "/" + name
		w.root.describe(above, *n)
		size, err := w.folderOf(ctx, place{disk: filepath.Join(s.Location, name), above: above, inside: "pg_tblspc/" + s.OID + "/" + name})
		if err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}

// version begins the name of the folder that a version of PostgreSQL has in a tablespace.
func (w *walk) version() string { return "PG_" + strconv.Itoa(w.base.Major) + "_" }

// folderOf lists a folder and those below it.
func (w *walk) folderOf(ctx context.Context, p place) (total int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	d, err := fsnode.OpenDir(p.disk)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound { // a database was dropped
			return 0, nil
		}
		return 0, err
	}
	defer d.Close()
	names, err := d.Names()
	if err != nil {
		return 0, err
	}
	for _, name := range w.wanted(p, names) {
		var st fsnode.Stat
		if err := d.Stat(name, &st); err != nil {
			if failure.KindOf(err) == failure.NotFound {
				continue
			}
			return 0, err
		}
		switch inside := path.Join(p.inside, name); st.Type() {
		case tree.File:
			p.names = append(p.names, name)
			total += st.Size()
		case tree.Dir:
			size, err := w.below(ctx, d, p, name, &st)
			if err != nil {
				return 0, err
			}
			total += size
		case tree.Symlink:
			if err := w.link(d, p, name, &st); err != nil {
				return 0, err
			}
		default:
			w.warn(inside + " is left out: it is a " + string(st.Type()))
		}
	}
	w.places = append(w.places, p)
	return total, nil
}

// below lists a folder in another one.
func (w *walk) below(ctx context.Context, d *fsnode.Dir, p place, name string, st *fsnode.Stat) (int64, error) {
	n, err := w.node(d, name, st)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound {
			return 0, nil
		}
		return 0, err
	}
	q := place{disk: filepath.Join(p.disk, name), above: p.above + "/" + name, inside: path.Join(p.inside, name)}
	w.root.describe(q.above, *n)
	if q.inside == "pg_wal" {
		w.logFolders(*n)
	}
	if w.empty(q.inside) {
		return 0, nil
	}
	return w.folderOf(ctx, q)
}

// empty reports whether of a folder only itself is kept.
func (w *walk) empty(inside string) bool {
	return slices.Contains(emptied, inside) || inside == "pg_tblspc" || inside == w.temp || slices.Contains(w.within, inside)
}

// logFolders makes the folders that the server has in an empty pg_wal.
func (w *walk) logFolders(like tree.Node) {
	w.root.describe(pgpoint.DataPath+"/pg_wal/archive_status", like)
	if w.base.Major >= 17 {
		w.root.describe(pgpoint.DataPath+"/pg_wal/summaries", like)
	}
}

// link keeps a symbolic link as it is, and says so: the server leaves it out. Where a folder of the log or of what is
// emptied lies elsewhere, there is a folder in the point.
func (w *walk) link(d *fsnode.Dir, p place, name string, st *fsnode.Stat) error {
	n, err := w.node(d, name, st)
	if err != nil {
		return err
	}
	inside := path.Join(p.inside, name)
	if w.empty(inside) {
		n.Type, n.LinkTarget, n.Mode = tree.Dir, "", w.root.at(p.above, tree.Node{}).node.Mode
		w.root.describe(p.above+"/"+name, *n)
		if inside == "pg_wal" {
			w.logFolders(*n)
		}
		return nil
	}
	w.warn(inside + " is a symbolic link to " + n.LinkTarget + ": what that leads to is not in the point")
	return w.root.add(p.above+"/"+name, &file{node: *n})
}

// wanted leaves out what a base backup does not have.
func (w *walk) wanted(p place, names []string) []string {
	unlogged := map[string]bool{}
	isDatabase := database(p.inside)
	if isDatabase {
		for _, name := range names {
			if r, ok := parseRelation(name); ok && r.fork == "init" {
				unlogged[r.number] = true
			}
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		if strings.HasPrefix(name, temporaryFiles) || strings.HasPrefix(name, catalogCache) || slices.Contains(omitted, name) {
			return true
		}
		if isDatabase {
			r, ok := parseRelation(name)
			return ok && r.fork != "init" && unlogged[r.number] || temporary(name)
		}
		// lost+found is a file system's own. The control file comes last.
		return p.inside == "." && name == "lost+found" || path.Join(p.inside, name) == controlPath
	})
}

// read hands all files to the workers.
func (w *walk) read(ctx context.Context) error {
	w.since = time.Now()
	for _, p := range w.places {
		if err := w.readPlace(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) readPlace(ctx context.Context, p place) error {
	d, err := fsnode.OpenDir(p.disk)
	if err != nil {
		if failure.KindOf(err) == failure.NotFound {
			return nil
		}
		return err
	}
	defer d.Close()
	b, err := w.before(ctx, d, p)
	if err != nil {
		return err
	}
	for _, name := range p.names {
		if err := w.readFile(ctx, d, p, b, name); err != nil && failure.KindOf(err) != failure.NotFound {
			return err
		}
	}
	return nil
}

// readFile hands a file to the workers. NotFound: it is gone.
func (w *walk) readFile(ctx context.Context, d *fsnode.Dir, p place, b earlier, name string) error {
	f, err := d.Open(name)
	if err != nil {
		return err
	}
	var st fsnode.Stat
	if err := f.Stat(&st); err != nil {
		f.Close()
		return err
	}
	n, err := w.node(d, name, &st)
	if err != nil {
		f.Close()
		return err
	}
	x := &file{node: *n, path: path.Join(p.inside, name)}
	x.node.Size = uint64(st.Size())
	if rel, ok := parseRelation(name); ok && holdsRelations(p.inside) {
		x.rel = &rel
	}
	if err := w.root.add(p.above+"/"+name, x); err != nil {
		f.Close()
		return err
	}
	if w.reuse(x, b, &st) {
		f.Close()
		return nil
	}
	w.blocks.begin(x)
	if len(x.ids) == 0 {
		f.Close()
		return nil
	}
	w.blocks.from(x, f, f.Close)
	return w.readBlocks(ctx, x)
}

func (w *walk) readBlocks(ctx context.Context, x *file) error {
	for n := range x.ids {
		b, err := w.blocks.next(x, n)
		if err != nil {
			return err
		}
		if err := w.pay(ctx, int64(len(b.data))); err != nil {
			return err
		}
		if err := w.blocks.put(b); err != nil {
			return err
		}
	}
	return nil
}

// pay waits until the rate allows another n bytes.
func (w *walk) pay(ctx context.Context, n int64) error {
	if w.o.MaxRate == 0 {
		return nil
	}
	due := w.since.Add(time.Duration(float64(w.paid) / float64(w.o.MaxRate) * float64(time.Second)))
	w.paid += n
	if wait := time.Until(due); wait > 0 {
		return pause(ctx, wait)
	}
	return nil
}

package importer

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// flushEvery is after how many bytes what was stored is listed durably, so that an import that is killed goes on there.
const flushEvery = 4 << 30

// The name that pgBackRest gives the control file, and where log lies in a data folder.
const (
	controlName = pgbackrest.DataName + "/global/pg_control"
	logName     = pgbackrest.DataName + "/pg_wal"
)

// importBackup makes a base point of a backup. What is wrong with the backup is in the point; the error is for what ends
// the import.
func (r *run) importBackup(ctx context.Context, b pgbackrest.Backup) (Point, error) {
	p := Point{Backup: b, Time: b.Stop, State: New}
	if sn := r.there[tagOf(b)]; sn != nil {
		p.State, p.Snapshot = There, sn.ID
		return p, nil
	}
	if err := r.possible(b); err != nil {
		p.fail(Problem{Path: b.Label, Err: err})
		return p, nil
	}
	if b.Damaged {
		p.Notes = append(p.Notes, "pgBackRest found errors when it made this backup")
	}
	if r.o.DryRun {
		return p, nil
	}
	m, err := r.repo.Manifest(ctx, b.Label)
	if err != nil && damaged(sourceError{err}) {
		p.fail(Problem{Path: b.Label + "/backup.manifest", Err: err})
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if b.Type == pgbackrest.Full {
		r.contents = nil // what follows refers to it, and to nothing before
	}
	c := &copying{run: r, point: &p, m: m, block: pgpoint.BlockFor(r.largest(b.SystemID), r.captured(b.SystemID))}
	if err := c.files(ctx); err != nil || p.Failed > 0 {
		return p, err
	}
	return p, c.commit(ctx)
}

// possible says what keeps a backup from becoming a point, as far as that is known beforehand.
func (r *run) possible(b pgbackrest.Backup) error {
	fail := func(kind failure.Kind, format string, args ...any) *failure.Error {
		return failure.New(kind, "import the backup", b.Label, format, args...)
	}
	if b.Major < minMajor {
		return fail(failure.Unsupported, "it is of PostgreSQL %d, and Lifeboat restores %d and later", b.Major, minMajor).
			WithHint("keep the repository, and pgBackRest, for as long as this backup is needed")
	}
	if !b.Online {
		return fail(failure.Unsupported, "the server was shut down for it, and such backups have no place in the log").
			WithHint("keep the repository, and pgBackRest, for as long as this backup is needed")
	}
	l := r.logOf(b.SystemID)
	if l == nil || !l.covered(b) {
		return fail(failure.NotFound, "the log from %s to %s on timeline %d is not whole, and without it the backup cannot be made consistent", b.StartLSN, b.StopLSN, b.Timeline).
			WithHint("pgBackRest could not restore it either: look at `pgbackrest verify`")
	}
	return nil
}

func (p *Point) fail(x Problem) {
	p.State = Fails
	if p.Failed++; len(p.Problems) < maxProblems {
		p.Problems = append(p.Problems, x)
	}
}

// copying is one backup on its way.
type copying struct {
	*run
	point *Point
	m     *pgbackrest.Manifest
	block int // bytes of the blocks that files are stored in

	mu      sync.Mutex // of what follows, of the point, and of the run's contents and progress
	stored  map[string]vault.Content
	control []byte
}

// files stores every file of the backup.
func (c *copying) files(ctx context.Context) error {
	c.stored = map[string]vault.Content{}
	for rest := c.m.Files; len(rest) > 0; {
		var batch int64
		n := 0
		for ; n < len(rest) && (n == 0 || batch+rest[n].Size <= flushEvery); n++ {
			batch += rest[n].Size
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(c.o.Workers)
		for i := range rest[:n] {
			f := &rest[i]
			if leftOut(f.Name) {
				continue
			}
			g.Go(func() error { return c.file(ctx, gctx, f) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if rest = rest[n:]; len(rest) > 0 {
			if err := c.session.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// leftOut are files that a base point does not have: log, which is imported as log.
func leftOut(name string) bool { return strings.HasPrefix(name, logName+"/") }

// file stores one file, unless an earlier backup has it and was imported. Reading ends with its own context, which is that
// of all files: storing goes on then, for a session whose call is broken off is over.
func (c *copying) file(ctx, reading context.Context, f *pgbackrest.File) error {
	key := contentKey{f.Reference, f.Name}
	if f.Reference == "" {
		key.label = c.m.Label
	}
	content, known, err := c.known(ctx, key, f)
	if err != nil {
		return err
	}
	if !known || f.Name == controlName {
		if content, err = c.read(ctx, reading, f); err != nil {
			if !damaged(err) || reading.Err() != nil {
				return err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.point.fail(Problem{Path: f.Name, Err: err})
			return nil
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stored[f.Name] = content
	c.contents.set(key, f, content)
	c.tell(c.m.Label, f.Size)
	return nil
}

// known finds what is stored already.
func (c *copying) known(ctx context.Context, key contentKey, f *pgbackrest.File) (vault.Content, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.contents == nil {
		c.contents = contents{}
	}
	if err := c.recall(ctx, key.label); err != nil {
		return vault.Content{}, false, err
	}
	content, ok := c.contents.get(key, f)
	return content, ok && c.session.Has(object.Data, content.Blobs...), nil
}

func (c *copying) read(ctx, reading context.Context, f *pgbackrest.File) (vault.Content, error) {
	src, err := c.repo.OpenFile(reading, c.m, f)
	if err != nil {
		return vault.Content{}, sourceError{err}
	}
	defer src.Close()
	var seen func([]byte)
	var control []byte
	if f.Name == controlName {
		seen = func(data []byte) { control = append(control, data[:min(len(data), maxControl)]...) }
	}
	content, err := store(ctx, c.session, until(reading, src), c.block, seen)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.point.Read += int64(content.Size)
	if control != nil {
		c.control = control
	}
	return content, err
}

// commit makes the point of what is stored.
func (c *copying) commit(ctx context.Context) error {
	base, err := c.base()
	if err != nil {
		c.point.fail(Problem{Path: controlName, Err: err})
		return nil
	}
	var top pgbackrest.Owner
	for _, p := range c.m.Paths {
		if p.Name == pgbackrest.DataName {
			top = p.Owner
		}
	}
	like := c.owners.node(top, base.Ended)
	root := newRoot(like)
	for _, p := range c.m.Paths {
		in := root.at(pointPath(p.Name))
		n := c.owners.node(p.Owner, base.Ended)
		n.Name, n.Type, n.Mode = in.node.Name, in.node.Type, n.Mode|fs.ModeDir
		in.node = n
	}
	for i := range c.m.Files {
		f := &c.m.Files[i]
		if leftOut(f.Name) {
			continue
		}
		n := c.owners.node(f.Owner, f.ModTime)
		content := c.stored[f.Name]
		n.Content, n.Size = content.Blobs, content.Size
		if err := root.add(pointPath(f.Name), n); err != nil {
			c.point.fail(Problem{Path: f.Name, Err: err})
			return nil
		}
		base.Files, base.Bytes = base.Files+1, base.Bytes+f.Size
	}
	about, err := base.Encode()
	if err != nil {
		return err
	}
	content, err := store(ctx, c.session, bytes.NewReader(about), pgpoint.Block, nil)
	if err != nil {
		return err
	}
	if err := root.add(pgpoint.AboutPath, plainFile(like, base.Ended, content)); err != nil {
		return err
	}
	id, err := root.save(ctx, c.session)
	if err != nil {
		return err
	}
	sn := &snapshot.Snapshot{Time: base.Ended, Tree: &id, Paths: []string{snapshotPath(c.o.Whose, pgpoint.IsBase)},
		Tags: pgpoint.Tags(c.o.Whose, pgpoint.IsBase, c.site(), tagOf(c.point.Backup))}
	if c.point.Snapshot, err = c.session.Commit(ctx, sn); err != nil {
		return err
	}
	c.point.State = Made
	return nil
}

// snapshotPath is what a snapshot is said to be of, which groups points when policies are applied.
func snapshotPath(w pgpoint.Whose, what pgpoint.What) string {
	return path.Join("/postgres", string(w.App), string(w.Resource), string(what))
}

// pointPath is where a base point has what pgBackRest calls name.
func pointPath(name string) string {
	if rest, ok := strings.CutPrefix(name, pgbackrest.SpacesName); ok {
		return pgpoint.SpacesPath + rest
	}
	return pgpoint.DataPath + strings.TrimPrefix(name, pgbackrest.DataName)
}

// base is what the point says of itself, but for what is counted.
func (c *copying) base() (pgpoint.Base, error) {
	b := c.point.Backup
	control, err := parseControl(c.control)
	if err != nil {
		return pgpoint.Base{}, err
	}
	if control.systemID != b.SystemID {
		return pgpoint.Base{}, failure.New(failure.Corrupt, "compare", controlName, "it is of the cluster %d, and the backup of %d", control.systemID, b.SystemID)
	}
	base := pgpoint.Base{SystemID: b.SystemID, Major: b.Major, Segment: control.segment, Page: control.page, Timeline: b.Timeline, Block: c.block,
		Start: b.StartLSN, Stop: b.StopLSN, Begun: b.Start, Ended: b.Stop, Checksums: control.checksums && c.m.ChecksumPages,
		Source: "pgbackrest " + b.Label}
	for _, s := range c.m.Spaces {
		base.Spaces = append(base.Spaces, pgpoint.Tablespace{OID: s.OID, Location: s.Location})
	}
	for _, f := range c.m.Files {
		name := strings.TrimPrefix(strings.TrimPrefix(f.Name, pgbackrest.DataName), "/")
		if f.Unread {
			base.DamagedPages++
			base.Damaged = appendBounded(base.Damaged, name)
		}
		for _, r := range f.BadPages {
			base.DamagedPages += r[1] - r[0] + 1
			for n := r[0]; n <= r[1] && len(base.Damaged) < pgpoint.MaxDamaged; n++ {
				base.Damaged = append(base.Damaged, fmt.Sprintf("%s block %d", name, n))
			}
		}
	}
	if base.DamagedPages > 0 {
		c.point.Notes = append(c.point.Notes, fmt.Sprintf("%d pages had wrong checksums when pgBackRest read them, the first is %s", base.DamagedPages, base.Damaged[0]))
	}
	for _, from := range slices.Sorted(maps.Keys(c.m.Links)) {
		c.point.Notes = append(c.point.Notes, fmt.Sprintf("%s was a link to %s: its content lies in the data folder now", from, c.m.Links[from]))
	}
	return base, nil
}

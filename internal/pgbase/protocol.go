package pgbase

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrepl"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// The server's bounds of MAX_RATE, in KiB a second.
const (
	minRate = 32
	maxRate = 1 << 20
)

// byProtocol takes a base backup over a replication connection.
func (c *capture) byProtocol(ctx context.Context) (err error) {
	cfg := c.o.Replication.Copy()
	cfg.OnNotice = noticing(c.warn)
	conn, err := pgrepl.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closed := conn.Close(context.WithoutCancel(ctx)); err == nil && closed != nil {
			c.o.Log.Debug("the replication connection did not end well", "error", closed)
		}
	}()
	if err := c.identify(ctx, conn); err != nil {
		return err
	}
	rate := 0
	if c.o.MaxRate > 0 && c.o.MaxRate>>10 < maxRate {
		rate = int(max(minRate, c.o.MaxRate>>10))
	}
	t := &taker{capture: c}
	stop, err := conn.BaseBackup(ctx, pgrepl.BackupOptions{Label: c.o.Label, Fast: c.o.Fast, MaxRate: rate}, t)
	if err != nil && (stop == 0 || failure.KindOf(err) != failure.Corrupt) {
		return c.stopped(err)
	}
	if err != nil { // everything came, and the server has found what we should have found too
		c.warn(err.Error())
	}
	c.base.Stop = stop
	if c.base.Ended, err = t.clock(ctx); err != nil {
		return c.stopped(err)
	}
	return c.blocks.finish()
}

// identify learns which cluster it is.
func (c *capture) identify(ctx context.Context, conn *pgrepl.Conn) error {
	system, err := conn.Identify(ctx)
	if err != nil {
		return err
	}
	if err := c.expected(system.ID); err != nil {
		return err
	}
	c.base.SystemID, c.base.Major = system.ID, conn.Major()
	if c.base.Segment, err = conn.SegmentSize(ctx); err != nil {
		return err
	}
	return c.settings(func(name string) (string, error) { return conn.Show(ctx, name) })
}

// taker takes a base backup in.
type taker struct {
	*capture
	label time.Time // by the server's clock, when it wrote the first file
	then  time.Time // by ours
}

func (t *taker) Begin(ctx context.Context, s pgrepl.Start, spaces []pgrepl.Tablespace) error {
	total := int64(0)
	for _, space := range spaces {
		total += space.Size
		if space.OID != "" {
			t.base.Spaces = append(t.base.Spaces, pgpoint.Tablespace{OID: space.OID, Location: space.Location})
		}
	}
	return t.copying(ctx, s.At, s.Timeline, total)
}

// Archive takes one folder in: the data folder, which comes last, or a tablespace.
func (t *taker) Archive(_ context.Context, name string, r io.Reader) error {
	above, inside := pgpoint.DataPath, ""
	if oid := strings.TrimSuffix(name, ".tar"); oid != "base" {
		above, inside = pgpoint.SpacesPath+"/"+oid, "pg_tblspc/"+oid
	}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = t.entry(above, inside, h, archive)
		}
		if err != nil {
			if !failure.Classified(err) {
				err = failure.WrapAs(failure.Corrupt, err, "read", name)
			}
			return err
		}
	}
}

// entry takes one entry of an archive in. Above is where it lies in the tree, inside where in the data folder.
func (t *taker) entry(above, inside string, h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	if !fs.ValidPath(name) {
		return failure.New(failure.Corrupt, "capture", h.Name, "its name leads out of its folder")
	}
	n := tree.Node{Type: tree.File, Mode: h.FileInfo().Mode(), UID: uint32(h.Uid), GID: uint32(h.Gid), User: h.Uname, Group: h.Gname,
		ModTime: h.ModTime, AccessTime: h.ModTime, ChangeTime: h.ModTime}
	switch h.Typeflag {
	case tar.TypeDir:
		t.root.describe(above+"/"+name, n)
		return nil
	case tar.TypeSymlink:
		n.Type, n.LinkTarget, n.Links = tree.Symlink, h.Linkname, 1
		return t.root.add(above+"/"+name, &file{node: n})
	case tar.TypeReg:
	default:
		return failure.New(failure.Corrupt, "capture", h.Name, "an entry of type %q", h.Typeflag)
	}
	n.Size, n.Links = uint64(h.Size), 1
	f := &file{node: n, path: path.Join(inside, name)}
	if rel, ok := parseRelation(path.Base(name)); ok && holdsRelations(path.Dir(f.path)) {
		f.rel = &rel
	}
	if err := t.root.add(above+"/"+name, f); err != nil {
		return err
	}
	switch f.path {
	case "backup_label":
		t.first(n)
	case controlPath:
		return t.control(f, content)
	}
	return t.blocks.stream(f, content)
}

// first learns from the file that the server writes at the beginning what its clock says, and whose the cluster is.
func (t *taker) first(n tree.Node) {
	t.label, t.then = n.ModTime, time.Now()
	t.base.Begun = n.ModTime
	t.whose(n)
	// These have no entry of their own in an archive.
	t.root.describe(pgpoint.DataPath, t.top())
	t.spaces()
	for _, s := range t.base.Spaces {
		t.root.describe(pgpoint.SpacesPath+"/"+s.OID, t.top())
	}
}

// control stores the control file, which must be whole and of this cluster.
func (t *taker) control(f *file, content io.Reader) error {
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(content, 1<<20)); err != nil {
		return err
	}
	if err := t.sameCluster(data.Bytes()); err != nil {
		return err
	}
	return t.blocks.stream(f, &data)
}

// Manifest stores the manifest and compares what has arrived with it.
func (t *taker) Manifest(ctx context.Context, r io.Reader) error {
	reader, end := io.Pipe()
	compared := make(chan error, 1)
	go func() {
		err := readManifest(reader, t.compare)
		reader.CloseWithError(err) // writing on would wait forever
		compared <- err
	}()
	err := t.virtual(ctx, pgpoint.ManifestPath, t.base.Begun, io.TeeReader(r, end))
	end.CloseWithError(err)
	if wrong := <-compared; wrong != nil && (err == nil || failure.Classified(wrong)) {
		err = wrong
	}
	return err
}

// compare finds a file of the manifest among those that have arrived.
func (t *taker) compare(l listed) error {
	name := pgpoint.DataPath + "/" + l.Path
	if rest, ok := strings.CutPrefix(l.Path, "pg_tblspc/"); ok {
		name = pgpoint.SpacesPath + "/" + rest
	}
	d := t.root
	for part := range strings.SplitSeq(strings.TrimPrefix(path.Dir(name), "/"), "/") {
		if d = d.folders[part]; d == nil {
			break
		}
	}
	if d == nil || d.files[path.Base(name)] == nil {
		return failure.New(failure.Corrupt, "capture", l.Path, "the server's manifest lists it, and it did not arrive")
	}
	if f := d.files[path.Base(name)]; !l.agrees(int64(f.node.Size), f.crc) {
		return failure.New(failure.Corrupt, "capture", l.Path, "what arrived is not what the server sent: its checksum differs").
			WithHint("capture again; when it comes again, look at the network between here and the server")
	}
	return nil
}

// clock asks the server for the time or, when that cannot be, works it out from the first file's: it is no more than that
// then, to the second.
func (t *taker) clock(ctx context.Context) (time.Time, error) {
	if t.o.Server != nil {
		now, err := serverClock(ctx, t.o.Server, t.warn)
		if err == nil || ctx.Err() != nil {
			return now, err
		}
		t.o.Log.Info("the server's clock is worked out from what it sent", "error", err)
	}
	return time.Now().Add(t.label.Sub(t.then) + time.Second), nil
}

var _ pgrepl.Taker = (*taker)(nil)

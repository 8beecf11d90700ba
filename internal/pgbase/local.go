package pgbase

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault/fsnode"
)

const (
	// The control file is read again until it is whole, at most so often.
	controlReads = 50
	controlPause = 10 * time.Millisecond
)

// fromFolder takes a base backup as PostgreSQL's low-level interface has it (continuous-archiving in its documentation):
// backup mode is begun and ended by one session, and in between the files are read in any order, but the control file,
// which is last. In backup mode the server writes whole pages to its log before it changes them, so that what was read
// while it was written is made anew by replay.
func (c *capture) fromFolder(ctx context.Context) error {
	s, err := connect(ctx, c.o.Server, c.warn)
	if err != nil {
		return err
	}
	// A session that ends, ends its backup mode.
	defer func() {
		if closed := s.close(ctx); closed != nil {
			c.o.Log.Debug("the connection did not end well", "error", closed)
		}
	}()
	if err := c.ask(ctx, s); err != nil {
		return err
	}
	w, err := newWalk(c, s.statistics)
	if err != nil {
		return err
	}
	if _, err := w.control(ctx); err != nil { // before the server is put to any trouble
		return err
	}
	if c.base.Begun, err = s.now(ctx); err != nil {
		return err
	}
	at, err := s.start(ctx, c.o.Label, c.o.Fast)
	if err != nil {
		return err
	}
	ctl, err := w.control(ctx)
	if err != nil {
		return err
	}
	if ctl.redo < at {
		return failure.New(failure.Invalid, "capture", c.o.Folder, "its last checkpoint is at %s, and the server made one at %s: it is not the folder of the server on %s",
			ctl.redo, at, s.name)
	}
	total, err := w.list(ctx)
	if err != nil {
		return err
	}
	if w.trust, err = c.trusted(ctx, s, ctl.timeline); err != nil {
		return err
	}
	if err := c.copying(ctx, at, ctl.timeline, total); err != nil {
		return err
	}
	if err := w.read(ctx); err != nil {
		return c.stopped(err)
	}
	if err := c.blocks.finish(); err != nil {
		return err
	}
	c.enter(Ending)
	if err := w.keepControl(ctx); err != nil {
		return err
	}
	return c.end(ctx, s)
}

// ask learns what the server is.
func (c *capture) ask(ctx context.Context, s *server) error {
	c.base.Major = s.major
	row, err := s.row(ctx, "select system_identifier::text, (pg_control_init()).bytes_per_wal_segment::text from pg_control_system()", 2)
	if err != nil {
		return err
	}
	id, err1 := strconv.ParseInt(row[0], 10, 64) // SQL has no unsigned one
	segment, err2 := strconv.ParseUint(row[1], 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return failure.WrapAs(failure.Corrupt, err, "understand the control file of", s.name)
	}
	c.base.SystemID, c.base.Segment = uint64(id), pgwal.SegmentSize(segment)
	if err := c.expected(c.base.SystemID); err != nil {
		return err
	}
	return c.settings(func(name string) (string, error) { return s.show(ctx, name) })
}

// end ends backup mode and stores what the server has to say about it.
func (c *capture) end(ctx context.Context, s *server) error {
	stop, label, spaces, err := s.stop(ctx)
	if err != nil {
		return err
	}
	c.base.Stop = stop
	if c.base.Ended, err = s.now(ctx); err != nil {
		return err
	}
	l, err := parseLabel(label)
	if err != nil {
		return err
	}
	if l.start != c.base.Start {
		return failure.New(failure.Corrupt, "capture", "backup_label", "it begins at %s, and the backup at %s", l.start, c.base.Start)
	}
	c.base.Timeline = l.timeline
	c.blocks.files.Add(1)
	c.blocks.bytes.Add(int64(len(label) + len(spaces)))
	if err := c.virtual(ctx, pgpoint.DataPath+"/backup_label", c.base.Ended, strings.NewReader(label)); err != nil || spaces == "" {
		return err
	}
	c.blocks.files.Add(1)
	return c.virtual(ctx, pgpoint.DataPath+"/tablespace_map", c.base.Ended, strings.NewReader(spaces))
}

// label is what backup_label says.
type label struct {
	start    pgwal.LSN
	timeline pgwal.Timeline
}

func parseLabel(text string) (label, error) {
	var l label
	var err1, err2 error
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "START WAL LOCATION": // 0/2000028 (file 000000010000000000000002)
			at, _, _ := strings.Cut(value, " ")
			l.start, err1 = pgwal.ParseLSN(at)
		case "START TIMELINE":
			var n uint64
			n, err2 = strconv.ParseUint(value, 10, 32)
			l.timeline = pgwal.Timeline(n)
		}
	}
	if err := errors.Join(err1, err2); err != nil || l.start == 0 || l.timeline == 0 {
		return l, failure.New(failure.Corrupt, "understand", "backup_label", "%q", text)
	}
	return l, nil
}

// control reads the control file, which must be of the server's cluster.
func (w *walk) control(ctx context.Context) (control, error) {
	_, ctl, err := w.readControl(ctx)
	if err == nil && ctl.systemID != w.base.SystemID {
		err = failure.New(failure.Invalid, "capture", w.folder, "it is of the cluster %d, and the server's is %d", ctl.systemID, w.base.SystemID)
	}
	return ctl, err
}

// readControl reads the control file, again while it is being written.
func (w *walk) readControl(ctx context.Context) (data []byte, ctl control, err error) {
	for n := range controlReads {
		if data, err = w.small(controlPath); err != nil {
			return nil, ctl, err
		}
		if ctl, err = readControl(data); err == nil {
			return data, ctl, nil
		}
		if n+1 < controlReads {
			if err := pause(ctx, controlPause); err != nil {
				return nil, ctl, err
			}
		}
	}
	return nil, ctl, err
}

// keepControl stores the control file as it is now.
func (w *walk) keepControl(ctx context.Context) error {
	d, err := fsnode.OpenDir(filepath.Join(w.folder, path.Dir(controlPath)))
	if err != nil {
		return err
	}
	defer d.Close()
	var st fsnode.Stat
	if err := d.Stat(path.Base(controlPath), &st); err != nil {
		return err
	}
	n, err := w.node(d, path.Base(controlPath), &st)
	if err != nil {
		return err
	}
	data, ctl, err := w.readControl(ctx)
	if err != nil {
		return err
	}
	if ctl.systemID != w.base.SystemID {
		return failure.New(failure.Conflict, "capture", w.folder, "the cluster was replaced by another one meanwhile")
	}
	content, err := w.session.SaveStream(ctx, bytes.NewReader(data))
	if err != nil {
		return err
	}
	n.Size = content.Size
	w.blocks.files.Add(1)
	w.blocks.bytes.Add(int64(content.Size))
	return w.root.add(pgpoint.DataPath+"/"+controlPath, &file{node: *n, ids: content.Blobs})
}

// small reads a file of the data folder whole.
func (w *walk) small(name string) ([]byte, error) {
	d, err := fsnode.OpenDir(filepath.Join(w.folder, path.Dir(name)))
	if err != nil {
		return nil, w.strange(err)
	}
	defer d.Close()
	f, err := d.Open(path.Base(name))
	if err != nil {
		return nil, w.strange(err)
	}
	defer f.Close()
	data := make([]byte, 64<<10)
	n, err := f.ReadAt(data, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return data[:n], nil
}

// strange says what it means that a file is not there which every data folder has.
func (w *walk) strange(err error) error {
	if failure.KindOf(err) == failure.NotFound {
		return failure.WrapAs(failure.Invalid, err, "capture", w.folder).WithHint("is it the server's data folder? ask the server: show data_directory")
	}
	return err
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fill reads the block's data. What a file lost since it was opened counts as zeros, as the server has it: replay
// truncates it again.
func (s *source) fill(x block) error {
	n, err := s.ReadAt(x.data, x.at)
	if err == io.EOF {
		clear(x.data[n:])
		err = nil
	}
	return err
}

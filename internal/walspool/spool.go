// Package walspool keeps PostgreSQL's write-ahead log on a local disk as it arrives, flushed before it is acknowledged.
//
// It is what makes a recovery point objective of zero: a server that waits for this standby's flush has lost nothing that
// it acknowledged, once the log is here. A spool is a folder: one file a segment, named as PostgreSQL names it, with
// .partial behind it while it is not complete, and the history files. PostgreSQL reads all of them as they are. It speaks
// to no server and no vault, and interprets no records. Start with [Open].
package walspool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

const (
	partial = ".partial"
	fresh   = ".new" // a segment that is being made: zeros
	about   = "spool.json"
	starts  = "starts.json"
	lock    = "lock"
)

// About says whose log a spool holds. It is written once.
type About struct {
	Version  int               `json:"version"`
	SystemID uint64            `json:"system_id"`
	Segment  pgwal.SegmentSize `json:"segment_size"`
}

// Position is a place in a history.
type Position = pgwal.Position

// Spool is a folder that this process writes to. It belongs to one goroutine at a time.
type Spool struct {
	dir   string
	about About
	lock  *os.File

	// Reserve is how many bytes of the disk stay free: no segment is begun when fewer would.
	Reserve int64

	file    *os.File  // the segment that is being written
	where   Position  // its start
	before  pgwal.LSN // up to where it was written before: what comes must be the same until there
	end     pgwal.LSN
	flushed pgwal.LSN
	dirty   bool
	failed  error // after a failed flush nothing here can be trusted: what the kernel forgot is not flushed again
	spare   chan error
}

// Open opens or makes the spool in dir for the log of a cluster. Conflict: another process writes to it, or it holds the
// log of another cluster.
func Open(dir string, systemID uint64, size pgwal.SegmentSize) (*Spool, error) {
	if !size.Valid() {
		return nil, failure.New(failure.Invalid, "open the spool", dir, "%d is no segment size", size)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "open the spool", dir)
	}
	l, err := os.OpenFile(filepath.Join(dir, lock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "open the spool", dir)
	}
	if err := unix.Flock(int(l.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(failure.New(failure.Conflict, "open the spool", dir, "another process writes to it"), l.Close())
	}
	s := &Spool{dir: dir, lock: l}
	if err := s.identify(systemID, size); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// identify compares the spool with the cluster, or writes down whose it is.
func (s *Spool) identify(systemID uint64, size pgwal.SegmentSize) error {
	known, err := Read(s.dir)
	switch {
	case err == nil && (known.about.SystemID != systemID || known.about.Segment != size):
		return failure.New(failure.Conflict, "open the spool", s.dir, "it holds the log of the cluster %d, and the server is of %d", known.about.SystemID, systemID).
			WithHint("use another folder; this one may be all that is left of that cluster")
	case err == nil:
		s.about = known.about
		return nil
	case !errors.Is(err, failure.NotFound):
		return err
	}
	s.about = About{Version: 1, SystemID: systemID, Segment: size}
	text, err := json.Marshal(s.about)
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "open the spool", s.dir)
	}
	return s.replace(about, text)
}

// replace writes a small file, whole and durably.
func (s *Spool) replace(name string, content []byte) error {
	path := filepath.Join(s.dir, name)
	f, err := os.OpenFile(path+fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "write", path)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+fresh, path)
	}
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write", path)
	}
	return s.flushFolder()
}

func (s *Spool) flushFolder() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "flush", s.dir)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "flush", s.dir)
	}
	return nil
}

// Close flushes what was written and gives the spool up.
func (s *Spool) Close() error {
	var err error
	if s.file != nil && s.failed == nil {
		_, err = s.Flush()
	}
	if s.spare != nil {
		<-s.spare
	}
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	return errors.Join(err, s.lock.Close())
}

// Resume is where streaming goes on: the start of the last segment that is not complete, else the end of the last one; or
// the last Start, when nothing came since. The zero Position: nothing was ever written.
func (s *Spool) Resume() (Position, error) {
	c, err := Read(s.dir)
	if err != nil {
		return Position{}, err
	}
	return c.resume(), nil
}

// Begin says, durably, that the log begins anew at p, the start of a segment, and does not continue what is here: why is
// for people. Resume gives it from then on. Invalid: it is not behind all that is here.
func (s *Spool) Begin(p Position, why string, now time.Time) error {
	c, err := Read(s.dir)
	if err != nil {
		return err
	}
	at := c.resume()
	if n := len(c.Starts); n > 0 && at == p && c.Starts[n-1].Position == p {
		return nil // nothing came since
	}
	if s.about.Segment.Offset(p.At) != 0 || !Before(at, p) {
		return failure.New(failure.Invalid, "begin anew in", s.dir, "at %s on timeline %d, when it is at %s on %d", p.At, p.Timeline, at.At, at.Timeline)
	}
	text, err := json.Marshal(append(c.Starts, Start{p, why, now}))
	if err != nil {
		return failure.WrapAs(failure.Internal, err, "begin anew in", s.dir)
	}
	return s.replace(starts, text)
}

// Append writes log that begins at p: just behind what was appended before it, or, first and on a new timeline, at the start
// of a segment. A new timeline is streamed from the start of the segment that it begins in, as pg_receivewal does: the
// server has it whole. What is appended is not durable before Flush. After an error the spool is of no use; another Open
// goes on.
func (s *Spool) Append(p Position, data []byte) error {
	if s.failed != nil {
		return s.failed
	}
	for len(data) > 0 {
		if err := s.reach(p); err != nil {
			return s.fail(err)
		}
		room := int(s.about.Segment) - int(s.about.Segment.Offset(p.At))
		n := min(room, len(data))
		if err := s.same(p, data[:n]); err != nil {
			return s.fail(err)
		}
		if _, err := s.file.WriteAt(data[:n], int64(s.about.Segment.Offset(p.At))); err != nil {
			return s.fail(failure.WrapAs(kindOf(err), err, "write to the spool", s.dir))
		}
		s.dirty = true
		p.At += pgwal.LSN(n)
		s.end = p.At
		data = data[n:]
		if n == room {
			if err := s.complete(); err != nil {
				return s.fail(err)
			}
		}
	}
	return nil
}

// same compares log that comes once more with what came before: a server sends what it flushed, and that never changes
// on one timeline, unless the server was set back to an earlier state. Zeros are what was not written yet.
func (s *Spool) same(p Position, data []byte) error {
	if p.At >= s.before {
		return nil
	}
	n := min(len(data), int(s.before-p.At))
	had := make([]byte, n)
	if _, err := s.file.ReadAt(had, int64(s.about.Segment.Offset(p.At))); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "read", s.path(s.where))
	}
	if bytes.Equal(had, data[:n]) {
		return nil
	}
	for i, b := range had {
		if b != 0 && b != data[i] {
			return &Diverged{At: Position{Timeline: p.Timeline, At: p.At + pgwal.LSN(i)}}
		}
	}
	return nil
}

// Diverged says that a server sends other log than what came before for the same positions: it was set back to an earlier
// state, such as by restoring an image of its disk, and has gone on from there on the same timeline. It is Conflict.
type Diverged struct{ At Position }

func (d *Diverged) Error() string {
	return fmt.Sprintf("the server's log differs from what was received, at %s on timeline %d", d.At.At, d.At.Timeline)
}

// Is makes it a Conflict.
func (d *Diverged) Is(target error) bool { return target == failure.Conflict }

func kindOf(err error) failure.Kind {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return failure.Throttled // it goes on when there is room
	}
	return failure.Unavailable
}

func (s *Spool) fail(err error) error {
	s.failed = err
	return err
}

// reach makes the file at p the open one.
func (s *Spool) reach(p Position) error {
	start := s.about.Segment.Start(p.At)
	if s.file != nil && s.where == (Position{Timeline: p.Timeline, At: start}) && p.At == s.end {
		return nil
	}
	follows := s.end == 0 || p.Timeline == s.where.Timeline && p.At == s.end || p.Timeline > s.where.Timeline && p.At <= s.end
	if !follows || p.At != start {
		return failure.New(failure.Internal, "write to the spool", s.dir, "log from %s on timeline %d comes when it is at %s on %d",
			p.At, p.Timeline, s.end, s.where.Timeline)
	}
	if s.file != nil {
		if _, err := s.Flush(); err != nil {
			return err
		}
		if err := s.file.Close(); err != nil {
			return failure.WrapAs(failure.Unavailable, err, "close", s.path(s.where))
		}
		s.file = nil
	}
	f, err := s.openSegment(Position{Timeline: p.Timeline, At: start})
	if err != nil {
		return err
	}
	s.file, s.where, s.end = f, Position{Timeline: p.Timeline, At: start}, p.At
	if s.before, err = written(f, start); err != nil {
		return err
	}
	s.prepare()
	return nil
}

// written finds up to where a segment holds anything but zeros.
func written(f *os.File, start pgwal.LSN) (pgwal.LSN, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, failure.WrapAs(failure.Denied, err, "read", f.Name())
	}
	buffer := make([]byte, 256<<10)
	for end := info.Size(); end > 0; {
		n := min(end, int64(len(buffer)))
		end -= n
		if _, err := f.ReadAt(buffer[:n], end); err != nil {
			return 0, failure.WrapAs(failure.Unavailable, err, "read", f.Name())
		}
		if used := len(bytes.TrimRight(buffer[:n], "\x00")); used > 0 {
			return start + pgwal.LSN(end) + pgwal.LSN(used), nil
		}
	}
	return start, nil
}

func (s *Spool) name(p Position) string { return pgwal.SegmentName(p.Timeline, p.At, s.about.Segment) }

// path is where a segment lies while it is not complete.
func (s *Spool) path(p Position) string { return filepath.Join(s.dir, s.name(p)+partial) }

// openSegment opens the file of a segment, which is made of zeros when there is none: writing over what is allocated needs
// no change of metadata, and a flush waits for the data alone.
func (s *Spool) openSegment(p Position) (*os.File, error) {
	path := s.path(p)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, failure.WrapAs(failure.Denied, err, "open", path)
	}
	if s.spare != nil {
		<-s.spare // it may be the one
		s.spare = nil
	}
	if err := s.room(); err != nil {
		return nil, err
	}
	spare := filepath.Join(s.dir, "spare"+fresh)
	if info, err := os.Stat(spare); err != nil || info.Size() != int64(s.about.Segment) {
		if err := makeZeros(spare, s.about.Segment); err != nil {
			return nil, err
		}
	}
	if err := os.Rename(spare, path); err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "open", path)
	}
	if err := s.flushFolder(); err != nil {
		return nil, err
	}
	if f, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "open", path)
	}
	return f, nil
}

// room is Throttled when another segment would not leave the reserve.
func (s *Spool) room() error {
	free, err := Free(s.dir)
	if err != nil {
		return err
	}
	if free < s.Reserve {
		return failure.New(failure.Throttled, "write to the spool", s.dir, "%d bytes of the disk are free, and %d stay so", free, s.Reserve).
			WithHint("make room on this disk: until then the server keeps its log")
	}
	return nil
}

// Free is how many bytes the disk of a folder has left.
func Free(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, failure.WrapAs(failure.Denied, err, "look at the disk of", dir)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil
}

// prepare makes the next segment while this one is written. That it fails is seen when it is needed.
func (s *Spool) prepare() {
	if s.spare != nil {
		return
	}
	done := make(chan error, 1)
	s.spare = done
	path, size := filepath.Join(s.dir, "spare"+fresh), s.about.Segment
	go func() {
		if info, err := os.Stat(path); err == nil && info.Size() == int64(size) {
			done <- nil
			return
		}
		done <- makeZeros(path, size)
	}()
}

// makeZeros writes a file of zeros to the disk, under another name until it is whole.
func makeZeros(path string, size pgwal.SegmentSize) error {
	f, err := os.OpenFile(path+fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return failure.WrapAs(failure.Denied, err, "make a segment", path)
	}
	zeros := make([]byte, 1<<20)
	for written := 0; err == nil && written < int(size); written += len(zeros) {
		_, err = f.Write(zeros)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+fresh, path)
	}
	if err != nil {
		os.Remove(path + fresh) // room may be what was missing
		return failure.WrapAs(kindOf(err), err, "make a segment", path)
	}
	return nil
}

// complete flushes a full segment and gives it its name.
func (s *Spool) complete() error {
	if _, err := s.Flush(); err != nil {
		return err
	}
	if err := s.file.Close(); err != nil {
		return failure.WrapAs(failure.Unavailable, err, "close", s.path(s.where))
	}
	s.file = nil
	if err := os.Rename(s.path(s.where), filepath.Join(s.dir, s.name(s.where))); err != nil {
		return failure.WrapAs(failure.Denied, err, "complete", s.path(s.where))
	}
	return s.flushFolder()
}

// Flush makes all that was appended durable, and gives up to where that is: what may be acknowledged to the server.
func (s *Spool) Flush() (pgwal.LSN, error) {
	if s.failed != nil {
		return s.flushed, s.failed
	}
	if s.dirty && s.file != nil {
		if err := syncData(s.file); err != nil {
			return s.flushed, s.fail(failure.WrapAs(kindOf(err), err, "flush the spool", s.dir))
		}
		s.dirty = false
	}
	s.flushed = s.end
	return s.flushed, nil
}

// SaveHistory keeps the history file of a timeline, durably.
func (s *Spool) SaveHistory(t pgwal.Timeline, content []byte) error {
	if _, err := pgwal.ParseHistory(t, content); err != nil {
		return err
	}
	return s.replace(pgwal.HistoryName(t), content)
}

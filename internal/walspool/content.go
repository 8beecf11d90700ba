package walspool

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Segment is one file of a spool.
type Segment struct {
	Position
	Path    string
	Partial bool
}

// Start is where the log begins anew: between it and what came before, log is missing.
type Start struct {
	Position
	Why  string    `json:"why"`
	Time time.Time `json:"time"`
}

// Content is what a spool holds, as of a moment.
type Content struct {
	about     About
	Segments  []Segment // by timeline, then by position
	Histories map[pgwal.Timeline]string
	Starts    []Start
}

// Before orders positions of one history.
func Before(a, b Position) bool {
	return a.Timeline < b.Timeline || a.Timeline == b.Timeline && a.At < b.At
}

// Remove removes complete segments from a spool, also from one that another process writes to: those that begin at the
// given positions. What is partial, and what is not there, is passed over.
func Remove(dir string, at []Position) error {
	c, err := Read(dir)
	if err != nil {
		return err
	}
	for _, seg := range c.Segments {
		if seg.Partial || !slices.Contains(at, seg.Position) {
			continue
		}
		if err := os.Remove(seg.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failure.WrapAs(failure.Denied, err, "remove", seg.Path)
		}
	}
	return nil
}

// About says whose log it is.
func (c *Content) About() About { return c.about }

// Read looks into a spool, also into one that another process writes to. NotFound: there is none.
func Read(dir string) (*Content, error) {
	text, err := os.ReadFile(filepath.Join(dir, about))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failure.New(failure.NotFound, "read the spool", dir, "there is none")
	}
	c := &Content{Histories: map[pgwal.Timeline]string{}}
	if err == nil {
		err = json.Unmarshal(text, &c.about)
	}
	if err == nil && (c.about.Version != 1 || !c.about.Segment.Valid()) {
		err = fmt.Errorf("version %d, segments of %d bytes", c.about.Version, c.about.Segment)
	}
	if err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read the spool", dir)
	}
	if c.Starts, err = readStarts(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "read the spool", dir)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		name, isPartial := strings.CutSuffix(e.Name(), partial)
		var t uint32
		if n, err := fmt.Sscanf(e.Name(), "%08X.history", &t); err == nil && n == 1 && e.Name() == pgwal.HistoryName(pgwal.Timeline(t)) {
			c.Histories[pgwal.Timeline(t)] = path
			continue
		}
		if t, at, err := pgwal.ParseSegmentName(name, c.about.Segment); err == nil {
			c.Segments = append(c.Segments, Segment{Position{Timeline: t, At: at}, path, isPartial})
		}
	}
	slices.SortFunc(c.Segments, func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.At, b.At))
	})
	return c, nil
}

// resume is where streaming goes on.
func (c *Content) resume() Position {
	var at Position
	if n := len(c.Segments); n > 0 {
		at = c.Segments[n-1].Position
		if !c.Segments[n-1].Partial {
			at.At += pgwal.LSN(c.about.Segment)
		}
	}
	if n := len(c.Starts); n > 0 && Before(at, c.Starts[n-1].Position) {
		at = c.Starts[n-1].Position
	}
	return at
}

func readStarts(dir string) (out []Start, err error) {
	text, err := os.ReadFile(filepath.Join(dir, starts))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		return nil, failure.WrapAs(failure.Corrupt, err, "read", filepath.Join(dir, starts))
	}
	return out, nil
}

// Written finds up to where a segment was written, zeros at its end not counted. A segment that is being completed is
// found under its other name.
func (g Segment) Written() (pgwal.LSN, error) {
	f, err := g.Open()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return written(f, g.At)
}

// Open opens a segment for reading, under the name that it was completed to if that came in between. NotFound: it is gone.
func (g Segment) Open() (*os.File, error) {
	f, err := os.Open(g.Path)
	if errors.Is(err, fs.ErrNotExist) && g.Partial {
		f, err = os.Open(strings.TrimSuffix(g.Path, partial))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failure.WrapAs(failure.NotFound, err, "open", g.Path)
	}
	if err != nil {
		return nil, failure.WrapAs(failure.Denied, err, "open", g.Path)
	}
	return f, nil
}

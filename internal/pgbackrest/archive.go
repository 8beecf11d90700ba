package pgbackrest

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Archive is the log of one cluster.
type Archive struct {
	ID       string // the folder: the server's version and a number, as "15-1"
	SystemID uint64
	Major    int
}

// Segment is a file of log that was archived.
type Segment struct {
	Timeline pgwal.Timeline
	Name     string // 24 hexadecimal digits
	Partial  bool   // the last one of a timeline that was left, up to where it was
	SHA1     [20]byte
	Stored   int64 // bytes

	path        string
	compression Compression
}

// LogFiles are what an archive holds.
type LogFiles struct {
	// Segments are sorted by name, partial ones behind whole ones. One name can be there several times, with different
	// content: two servers archived to one stanza.
	Segments  []Segment
	Histories []pgwal.Timeline
	// Unknown are files that are none of pgBackRest's, by path.
	Unknown []string
}

// parseArchives reads archive.info.
func parseArchives(i *info) ([]Archive, error) {
	clusters, err := parseClusters(i)
	if err != nil {
		return nil, err
	}
	var all []Archive
	for n, c := range clusters {
		m, err := major(c.Version)
		if err != nil {
			return nil, err
		}
		a := Archive{ID: c.Version + "-" + strconv.Itoa(n), SystemID: c.ID, Major: m}
		if !stanzas.MatchString(a.ID) {
			return nil, failure.New(failure.Corrupt, "read", "the version of PostgreSQL", "%q is none", c.Version)
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Archive) int {
		number := func(a Archive) int { n, _ := strconv.Atoi(a.ID[strings.LastIndex(a.ID, "-")+1:]); return n }
		return cmp.Compare(number(a), number(b))
	})
	return all, nil
}

var (
	segmentFolders = regexp.MustCompile(`^[0-9A-F]{16}$`)
	segmentFiles   = regexp.MustCompile(`^([0-9A-F]{24})(\.partial)?-([0-9a-f]{40})(?:\.([a-z0-9]+))?$`)
	historyFiles   = regexp.MustCompile(`^([0-9A-F]{8})\.history$`)
	// passedOver are marks of backups, which the backups themselves have too, and what is being written.
	passedOver = regexp.MustCompile(`^[0-9A-F]{24}\.[0-9A-F]{8}\.backup$|\.pgbackrest\.tmp`)
)

// Log lists what an archive holds.
func (r *Repo) Log(ctx context.Context, a Archive) (*LogFiles, error) {
	top := path.Join("archive", r.Stanza, a.ID)
	entries, err := r.store.List(ctx, top)
	if err != nil {
		return nil, err
	}
	var l LogFiles
	for _, e := range entries {
		m := historyFiles.FindStringSubmatch(e.Name)
		switch {
		case e.Folder && segmentFolders.MatchString(e.Name):
			if err := r.segments(ctx, path.Join(top, e.Name), &l); err != nil {
				return nil, err
			}
		case !e.Folder && m != nil:
			t, _ := strconv.ParseUint(m[1], 16, 32) // the pattern sees to it
			l.Histories = append(l.Histories, pgwal.Timeline(t))
		case !passedOver.MatchString(e.Name):
			l.Unknown = append(l.Unknown, path.Join(top, e.Name))
		}
	}
	slices.SortFunc(l.Segments, func(a, b Segment) int {
		partial := func(s Segment) int {
			if s.Partial {
				return 1
			}
			return 0
		}
		return cmp.Or(strings.Compare(a.Name, b.Name), partial(a)-partial(b), strings.Compare(a.path, b.path))
	})
	slices.Sort(l.Histories)
	return &l, nil
}

func (r *Repo) segments(ctx context.Context, folder string, l *LogFiles) error {
	entries, err := r.store.List(ctx, folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		m := segmentFiles.FindStringSubmatch(e.Name)
		if m == nil || e.Folder || !strings.HasPrefix(e.Name, path.Base(folder)) {
			if !passedOver.MatchString(e.Name) {
				l.Unknown = append(l.Unknown, path.Join(folder, e.Name))
			}
			continue
		}
		s := Segment{Name: m[1], Partial: m[2] != "", Stored: e.Size, path: path.Join(folder, e.Name), compression: Compression(m[4])}
		if s.compression == "" {
			s.compression = None
		}
		t, _ := strconv.ParseUint(s.Name[:8], 16, 32) // the pattern sees to both
		s.Timeline = pgwal.Timeline(t)
		_, _ = hex.Decode(s.SHA1[:], []byte(m[3]))
		l.Segments = append(l.Segments, s)
	}
	return nil
}

// OpenSegment gives the content of a segment. The reader ends with Corrupt instead of io.EOF when it is not what the
// name says. Unsupported: it is compressed in a way that this build does not know.
func (r *Repo) OpenSegment(ctx context.Context, s Segment) (io.ReadCloser, error) {
	fail := func(err error) error { return failure.Wrap(err, "read the log", r.subject(s.path)) }
	if err := s.compression.valid(); err != nil {
		return nil, fail(err)
	}
	src, err := r.open(ctx, source{path: s.path, length: -1, pass: r.archivePass, compression: s.compression})
	if err != nil {
		return nil, fail(err)
	}
	return &verified{Reader: src, close: src.Close, sum: sha1.New(), want: s.SHA1, size: -1, fail: fail}, nil
}

// History reads the history file of a timeline.
func (r *Repo) History(ctx context.Context, a Archive, t pgwal.Timeline) ([]byte, error) {
	return r.readAll(ctx, path.Join("archive", r.Stanza, a.ID, pgwal.HistoryName(t)), r.archivePass)
}

package importer

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgbackrest"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
)

// logging is the log of one cluster on its way.
type logging struct {
	*run
	system system
	log    *Log
	from   pgwal.LSN // what lies before is not wanted

	files map[string]tree.Node // of the snapshot that is being made, by path
	old   int                  // how many of them there were before
	marks []pgpoint.Mark
	held  held

	mu sync.Mutex // of files, marks, held and log while segments are read
}

// wanted is a segment's name and the files that claim to be it.
type wanted struct {
	name    string
	partial bool
	files   []pgbackrest.Segment
	archive pgbackrest.Archive
}

// importLog brings the log of one cluster.
func (r *run) importLog(ctx context.Context, s system, backups []pgbackrest.Backup) (*Log, error) {
	l := &logging{run: r, system: s, log: &Log{SystemID: s.id}, files: map[string]tree.Node{},
		held: held{segments: map[pgwal.Timeline][]pgwal.LSN{}, histories: map[pgwal.Timeline][]pgwal.Switch{}, why: map[pgwal.Position]string{}}}
	if r.o.Only != nil {
		l.from = ^pgwal.LSN(0)
		for _, b := range backups {
			if b.SystemID == s.id && b.Online {
				l.from = min(l.from, b.StartLSN)
			}
		}
	}
	before, err := l.recall(ctx)
	if err != nil {
		return l.log, err
	}
	list, err := l.list(ctx)
	if err != nil || l.held.size == 0 { // with no log at all there is nothing to say of it
		return l.log, err
	}
	if err := l.take(ctx, list); err != nil {
		return l.log, err
	}
	for _, starts := range l.held.segments {
		slices.Sort(starts)
		l.log.Segments += len(starts)
	}
	l.log.Spans, l.log.size = l.held.spans(), l.held.size
	if r.o.DryRun || len(l.files) == l.old {
		if before != nil && len(l.files) == l.old {
			l.log.Snapshot = before.ID
		}
		return l.log, nil
	}
	for _, b := range backups {
		if b.SystemID == s.id && b.Online {
			// The position was taken after that second, so all that had been committed by then lies before it.
			l.marks = append(l.marks, pgpoint.Mark{Position: pgwal.Position{Timeline: b.Timeline, At: b.StartLSN}, Time: b.Start})
		}
	}
	return l.log, l.commit(ctx)
}

// recall takes over what earlier imports brought.
func (l *logging) recall(ctx context.Context) (*snapshot.Snapshot, error) {
	logs, err := pgpoint.Logs(ctx, l.v, l.o.Whose)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(logs, func(p pgpoint.LogPoint) bool {
		return p.SystemID == l.system.id && pgpoint.SiteOf(p.Snapshot) == l.site()
	})
	if i < 0 {
		return nil, nil
	}
	before := logs[i]
	l.held.size, l.marks = before.Segment, before.Marks
	for i, s := range before.Spans {
		if i > 0 && s.Why != "" && before.Spans[i-1].To.Timeline == s.From.Timeline {
			l.held.why[before.Spans[i-1].To] = s.Why
		}
	}
	err = l.v.Walk(ctx, *before.Snapshot.Tree, func(name string, n *tree.Node, err error) error {
		if err != nil || n.Type != tree.File || !strings.HasPrefix(name, pgpoint.LogPath+"/") {
			return err
		}
		l.files[name] = *n
		base := path.Base(name)
		if t, ok := strings.CutSuffix(base, ".history"); ok {
			return l.history(t, func() ([]byte, error) { return pgpoint.ReadFile(ctx, l.v, *before.Snapshot.Tree, name) })
		}
		if t, at, err := pgwal.ParseSegmentName(base, l.held.size); err == nil {
			l.held.segments[t] = append(l.held.segments[t], at)
		}
		return nil
	})
	l.old = len(l.files)
	return before.Snapshot, err
}

// history takes a timeline's history in. One that cannot be understood joins nothing.
func (l *logging) history(hex string, read func() ([]byte, error)) error {
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil {
		return nil
	}
	text, err := read()
	if err != nil {
		return err
	}
	t := pgwal.Timeline(n)
	switches, err := pgwal.ParseHistory(t, text)
	if err != nil {
		l.problem(pgwal.HistoryName(t), err)
		return nil
	}
	l.held.histories[t] = switches
	return nil
}

func (l *logging) problem(p string, err error) {
	if l.log.Failed++; len(l.log.Problems) < maxProblems {
		l.log.Problems = append(l.log.Problems, Problem{p, err})
	}
}

// list finds what the archives have and the vault has not, and takes the histories.
func (l *logging) list(ctx context.Context) ([]*wanted, error) {
	found := map[string]*wanted{}
	for _, a := range l.system.archives {
		l.log.Archives = append(l.log.Archives, a.ID)
		have, err := l.repo.Log(ctx, a)
		if err != nil {
			return nil, err
		}
		for _, u := range have.Unknown {
			l.log.Notes = append(l.log.Notes, u+" is nothing that pgBackRest makes: it is left out")
		}
		for _, t := range have.Histories {
			if err := l.takeHistory(ctx, a, t); err != nil {
				return nil, err
			}
		}
		if l.held.size == 0 {
			if l.held.size, err = l.segmentSize(ctx, have.Segments); err != nil {
				return nil, err
			}
		}
		for _, s := range have.Segments {
			key := s.Name
			if s.Partial {
				key += pgpoint.PartialSuffix
			}
			w := found[key]
			if w == nil {
				w = &wanted{name: s.Name, partial: s.Partial, archive: a}
				found[key] = w
			}
			if !slices.ContainsFunc(w.files, func(o pgbackrest.Segment) bool { return o.SHA1 == s.SHA1 }) {
				w.files = append(w.files, s)
			}
		}
	}
	return l.missing(found), nil
}

// missing are those that the vault has not, by name. A part of a segment is not wanted where the whole one is.
func (l *logging) missing(found map[string]*wanted) []*wanted {
	var list []*wanted
	for _, w := range found {
		t, at, err := pgwal.ParseSegmentName(w.name, l.held.size)
		if err != nil {
			l.problem(w.name, err)
			continue
		}
		whole := pgpoint.SegmentPath(t, at, l.held.size)
		if at+pgwal.LSN(l.held.size) <= l.from {
			continue
		}
		if _, ok := l.files[whole]; ok {
			continue
		}
		if w.partial && (found[w.name] != nil || l.has(whole+pgpoint.PartialSuffix)) {
			continue
		}
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b *wanted) int { return cmp.Or(strings.Compare(a.name, b.name), len(a.files)-len(b.files)) })
	return list
}

func (l *logging) has(p string) bool { _, ok := l.files[p]; return ok }

func (l *logging) takeHistory(ctx context.Context, a pgbackrest.Archive, t pgwal.Timeline) error {
	p := pgpoint.HistoryPath(t)
	if l.has(p) {
		return nil
	}
	text, err := l.repo.History(ctx, a, t)
	if err != nil {
		if damaged(sourceError{err}) || failure.KindOf(err) == failure.Denied {
			l.problem(pgwal.HistoryName(t), err)
			return nil
		}
		return err
	}
	if err := l.history(fmt.Sprintf("%08X", uint32(t)), func() ([]byte, error) { return text, nil }); err != nil {
		return err
	}
	var c vault.Content
	if !l.o.DryRun {
		if c, err = store(ctx, l.session, bytes.NewReader(text), pgpoint.Block, nil); err != nil {
			return err
		}
	}
	l.files[p] = plainFile(l.like(), l.o.Now(), c)
	return nil
}

// like is the metadata of what is made here.
func (l *logging) like() tree.Node { return l.owners.node(pgbackrest.Owner{}, l.o.Now()) }

// segmentSize asks segments until one tells.
func (l *logging) segmentSize(ctx context.Context, list []pgbackrest.Segment) (pgwal.SegmentSize, error) {
	for _, s := range list {
		head := make([]byte, pgwal.PageSize)
		src, err := l.repo.OpenSegment(ctx, s)
		if err == nil {
			_, err = io.ReadFull(src, head)
			src.Close()
		}
		if err != nil && !damaged(sourceError{err}) {
			return 0, err
		}
		if err != nil {
			continue
		}
		if h, err := pgwal.ParseHeader(head); err == nil && h.SystemID == l.system.id && h.Segment.Valid() {
			return h.Segment, nil
		}
	}
	if len(list) > 0 {
		l.problem(list[0].Name, failure.New(failure.Corrupt, "read the log of the cluster", strconv.FormatUint(l.system.id, 10), "none of its %d segments can be read", len(list)))
	}
	return 0, nil
}

// take reads what is wanted, several segments at once.
func (l *logging) take(ctx context.Context, list []*wanted) error {
	for _, w := range list {
		l.progress.TotalBytes += int64(l.held.size)
		if !w.partial {
			l.log.NewSegments++
		}
	}
	every := max(1, flushEvery/int(l.held.size))
	for len(list) > 0 {
		n := min(every, len(list))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(l.o.Workers)
		for _, w := range list[:n] {
			g.Go(func() error { return l.segment(ctx, gctx, w) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if list = list[n:]; len(list) > 0 && l.session != nil {
			if err := l.session.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// segment takes the one file among those that claim a name which is what it claims. Reading ends with its own context: see
// copying.file.
func (l *logging) segment(ctx, reading context.Context, w *wanted) error {
	t, at, err := pgwal.ParseSegmentName(w.name, l.held.size)
	if err != nil {
		return err
	}
	target := pgpoint.SegmentPath(t, at, l.held.size)
	if w.partial {
		target += pgpoint.PartialSuffix
	}
	var good []vault.Content
	var last pgpoint.Mark
	var wrong error
	for _, s := range w.files {
		if l.o.DryRun {
			good = append(good, vault.Content{})
			continue
		}
		c, mark, err := l.read(ctx, reading, w, s, at)
		switch {
		case err == nil:
			good, last = append(good, c), mark
		case damaged(err):
			wrong = cmp.Or(wrong, err)
		default:
			return err
		}
	}
	if len(good) > 1 {
		wrong = failure.New(failure.Corrupt, "read the log", w.name, "%d files with different content claim to be it", len(good)).
			WithHint("two servers archived to one stanza")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell(w.archive.ID, int64(l.held.size))
	if len(good) != 1 {
		l.problem(w.name, wrong)
		l.held.why[pgwal.Position{Timeline: t, At: at}] = w.name + " is damaged in the repository: " + wrong.Error()
		if !w.partial {
			l.log.NewSegments--
		}
		return nil
	}
	l.files[target] = plainFile(l.like(), l.o.Now(), good[0])
	if !w.partial {
		l.held.segments[t] = append(l.held.segments[t], at)
	}
	if !last.Time.IsZero() {
		l.marks = append(l.marks, last)
	}
	return nil
}

// read stores one file and judges what it is.
func (l *logging) read(ctx, reading context.Context, w *wanted, s pgbackrest.Segment, at pgwal.LSN) (vault.Content, pgpoint.Mark, error) {
	src, err := l.repo.OpenSegment(reading, s)
	if err != nil {
		return vault.Content{}, pgpoint.Mark{}, sourceError{err}
	}
	defer src.Close()
	var head []byte
	scan := commits{at: at, size: l.held.size}
	c, err := store(ctx, l.session, until(reading, src), pgpoint.Block, func(data []byte) {
		scan.take(data)
		if head == nil {
			head = bytes.Clone(data[:min(len(data), pgwal.PageSize)])
		}
	})
	if err != nil {
		return c, pgpoint.Mark{}, err
	}
	wrong := func(format string, args ...any) error {
		return sourceError{failure.New(failure.Corrupt, "read the log", w.name, format, args...)}
	}
	h, err := pgwal.ParseHeader(head)
	switch {
	case err != nil:
		return c, pgpoint.Mark{}, sourceError{err}
	case h.SystemID != l.system.id:
		err = wrong("it is of the cluster %d, not %d", h.SystemID, l.system.id)
	case h.Address != at:
		err = wrong("it begins at %s, not %s", h.Address, at)
	case c.Size != uint64(l.held.size):
		err = wrong("it has %d bytes instead of %d", c.Size, l.held.size)
	}
	return c, pgpoint.Mark{Position: pgwal.Position{Timeline: s.Timeline, At: scan.last}, Time: scan.when}, err
}

// commit makes the snapshot.
func (l *logging) commit(ctx context.Context) error {
	about, err := pgpoint.Log{SystemID: l.system.id, Segment: l.held.size, Spans: l.log.Spans, Marks: rising(l.marks)}.Encode()
	if err != nil {
		return err
	}
	c, err := store(ctx, l.session, bytes.NewReader(about), pgpoint.Block, nil)
	if err != nil {
		return err
	}
	root := newRoot(l.like())
	for name, n := range l.files {
		if err := root.add(name, n); err != nil {
			return err
		}
	}
	now := l.o.Now()
	if err := root.add(pgpoint.AboutPath, plainFile(l.like(), now, c)); err != nil {
		return err
	}
	id, err := root.save(ctx, l.session)
	if err != nil {
		return err
	}
	sn := &snapshot.Snapshot{Time: now, Tree: &id, Paths: []string{snapshotPath(l.o.Whose, pgpoint.IsLog)},
		Tags: pgpoint.Tags(l.o.Whose, pgpoint.IsLog, l.site(), pgpoint.SystemTag(l.system.id))}
	l.log.Snapshot, err = l.session.Commit(ctx, sn)
	return err
}

// rising sorts marks by time and leaves out those that would go back on their timeline. Of each minute the last one stays.
func rising(marks []pgpoint.Mark) []pgpoint.Mark {
	marks = slices.Clone(marks)
	slices.SortStableFunc(marks, func(a, b pgpoint.Mark) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.At, b.At))
	})
	furthest := map[pgwal.Timeline]pgwal.LSN{}
	var out []pgpoint.Mark
	for _, m := range marks {
		if at, ok := furthest[m.Timeline]; ok && m.At <= at || m.Time.IsZero() {
			continue
		}
		furthest[m.Timeline] = m.At
		if n := len(out) - 1; n >= 0 && out[n].Timeline == m.Timeline && out[n].Time.Truncate(time.Minute).Equal(m.Time.Truncate(time.Minute)) {
			out[n] = m
		} else {
			out = append(out, m)
		}
	}
	return out
}

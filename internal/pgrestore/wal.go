package pgrestore

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/tree"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
)

// wal is all the log of one cluster that can be read here: in spools, and in the newest log snapshot of each site.
type wal struct {
	v         *vault.Vault
	whose     pgpoint.Whose
	system    uint64
	size      pgwal.SegmentSize
	spools    []string
	logs      []pgpoint.LogPoint
	pieces    map[string]*piece // by segment name, without .partial
	histories map[pgwal.Timeline][]byte
	starts    []walspool.Start // where a receiver began anew

	mu    sync.Mutex
	again *wal // listed later, after a spool was found to lack what it had: it was folded meanwhile; nil: not yet
}

// piece is one segment, wherever it lies.
type piece struct {
	name     string
	timeline pgwal.Timeline
	start    pgwal.LSN
	copies   []walCopy // the best first: whole ones, and spools before the vault
	whole    bool      // there is a copy that is not partial
}

// walCopy is one place where a segment lies: a file of a spool, or blobs of the vault.
type walCopy struct {
	file    *walspool.Segment // nil: in the vault
	blobs   []object.ID
	bytes   int64
	partial bool
	where   string // for people
}

// openWAL lists the log of the cluster that a base point is of.
func openWAL(ctx context.Context, v *vault.Vault, w pgpoint.Whose, system uint64, size pgwal.SegmentSize, spools []string) (*wal, error) {
	l := &wal{v: v, whose: w, system: system, size: size, spools: spools, pieces: map[string]*piece{}, histories: map[pgwal.Timeline][]byte{}}
	// Spools come first: what a receiver folds and removes in between is in the vault then.
	for _, dir := range spools {
		if err := l.addSpool(dir); err != nil {
			return nil, err
		}
	}
	if err := v.LoadIndex(ctx); err != nil {
		return nil, err
	}
	logs, err := pgpoint.Logs(ctx, v, w)
	if err != nil {
		return nil, err
	}
	for _, p := range logs {
		if p.SystemID != system {
			continue
		}
		if p.Segment != size {
			return nil, failure.New(failure.Corrupt, "read the log in", v.Location(), "its segments have %d bytes, and those of the cluster %d", p.Segment, size)
		}
		if err := l.addSnapshot(ctx, p); err != nil {
			return nil, failure.Wrap(err, "list the log in snapshot", p.Snapshot.ID.Short())
		}
		l.logs = append(l.logs, p)
	}
	for _, p := range l.pieces {
		slices.SortStableFunc(p.copies, func(a, b walCopy) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.bytes, a.bytes))
		})
		p.whole = !p.copies[0].partial
	}
	return l, nil
}

// relist lists the log once more, and gives the result to whoever asks; not the one that was found to be stale, too.
func (l *wal) relist(ctx context.Context, stale *wal) (*wal, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.again == nil || l.again == stale {
		again, err := openWAL(ctx, l.v, l.whose, l.system, l.size, l.spools)
		if err != nil {
			return nil, err
		}
		l.again = again
	}
	return l.again, nil
}

// rank orders copies: whole ones first, near ones first. A partial one of a spool is never shorter than what was folded of it.
func rank(c walCopy) int {
	n := 0
	if c.partial {
		n += 2
	}
	if c.file == nil {
		n++
	}
	return n
}

func (l *wal) addSnapshot(ctx context.Context, p pgpoint.LogPoint) error {
	where := "snapshot " + p.Snapshot.ID.Short()
	return l.v.Walk(ctx, *p.Snapshot.Tree, func(path string, n *tree.Node, err error) error {
		if err != nil {
			return err
		}
		if n.Type != tree.File || !strings.HasPrefix(path, pgpoint.LogPath+"/") {
			return nil
		}
		if t, ok := historyOf(n.Name); ok {
			text, err := pgpoint.ReadFile(ctx, l.v, *p.Snapshot.Tree, path)
			if err != nil {
				return failure.Wrap(err, "read", path)
			}
			return l.addHistory(t, text, where)
		}
		return l.add(n.Name, walCopy{blobs: n.Content, bytes: int64(n.Size), where: where})
	})
}

// addSpool adds what is in a receiver's folder for spools, which has one for each cluster, or in a spool itself. That there is
// none of the cluster is no error: nothing may have come yet.
func (l *wal) addSpool(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failure.WrapAs(failure.Denied, err, "read the spool", dir)
	}
	folders := []string{dir}
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, filepath.Join(dir, e.Name()))
		}
	}
	for _, folder := range folders {
		c, err := walspool.Read(folder)
		if errors.Is(err, failure.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if about := c.About(); about.SystemID == l.system && about.Segment == l.size {
			if err := l.addContent(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *wal) addContent(c *walspool.Content) error {
	l.starts = append(l.starts, c.Starts...)
	for _, s := range c.Segments {
		name := pgwal.SegmentName(s.Timeline, s.At, l.size)
		if s.Partial {
			name += pgpoint.PartialSuffix
		}
		if err := l.add(name, walCopy{file: &s, bytes: int64(l.size), where: s.Path}); err != nil {
			return err
		}
	}
	for t, path := range c.Histories {
		text, err := os.ReadFile(path)
		if err != nil {
			return failure.WrapAs(failure.Unavailable, err, "read", path)
		}
		if err := l.addHistory(t, text, path); err != nil {
			return err
		}
	}
	return nil
}

func (l *wal) add(name string, c walCopy) error {
	base, partial := strings.CutSuffix(name, pgpoint.PartialSuffix)
	t, at, err := pgwal.ParseSegmentName(base, l.size)
	if err != nil {
		return nil // something else that was put there
	}
	c.partial = partial
	p := l.pieces[base]
	if p == nil {
		p = &piece{name: base, timeline: t, start: at}
		l.pieces[base] = p
	}
	p.copies = append(p.copies, c)
	return nil
}

// historyOf reads the name of a history file.
func historyOf(name string) (pgwal.Timeline, bool) {
	text, ok := strings.CutSuffix(name, ".history")
	if !ok || len(text) != 8 {
		return 0, false
	}
	t, _, err := pgwal.ParseSegmentName(text+strings.Repeat("0", 16), pgwal.DefaultSegmentSize)
	return t, err == nil
}

func (l *wal) addHistory(t pgwal.Timeline, text []byte, where string) error {
	if _, err := pgwal.ParseHistory(t, text); err != nil {
		return failure.Wrap(err, "read the history of the timeline in", where)
	}
	l.histories[t] = text
	return nil
}

// history gives where timeline t comes from. Timeline 1 comes from nowhere; NotFound: nobody has the history of another one.
func (l *wal) history(t pgwal.Timeline) ([]pgwal.Switch, error) {
	text, ok := l.histories[t]
	if !ok {
		if t == 1 {
			return nil, nil
		}
		return nil, failure.New(failure.NotFound, "follow the timeline", pgwal.HistoryName(t), "the file is in no log that can be read here").
			WithHint("choose another timeline, or name the spool that holds it")
	}
	return pgwal.ParseHistory(t, text)
}

// route is the way that a recovery takes through the log.
type route struct {
	timeline pgwal.Timeline
	history  []pgwal.Switch
	steps    []step
	// end is up to where the log goes without a gap, by the names and lengths of what is there; exact unless the last piece is
	// partial, which is known once it is read.
	end pgwal.LSN
	// most is where it ends at the latest, written up to where its last piece was written once that was read, by whole pages.
	most, written pgwal.LSN
	// after is the first piece behind a gap; nil: there is none.
	after *piece
}

// step is one segment of a route. Cut is where it must end because its timeline was left there; 0: nowhere.
type step struct {
	*piece
	cut pgwal.LSN
}

// follows reports whether a base point lies on the way of timeline t.
func follows(b pgpoint.Base, t pgwal.Timeline, history []pgwal.Switch) bool {
	if t == b.Timeline {
		return true
	}
	i := slices.IndexFunc(history, func(s pgwal.Switch) bool { return s.Timeline == b.Timeline })
	return i >= 0 && b.Stop <= history[i].At && pgwal.On(t, history, b.Start) == b.Timeline
}

// latest is the youngest timeline that a base point can be followed to.
func (l *wal) latest(b pgpoint.Base) pgwal.Timeline {
	for _, t := range slices.Backward(slices.Sorted(maps.Keys(l.histories))) {
		if t <= b.Timeline {
			break
		}
		if history, err := l.history(t); err == nil && follows(b, t, history) {
			return t
		}
	}
	return b.Timeline
}

// way finds the route of a base point to the end of a timeline. Invalid: the base point is on another branch.
func (l *wal) way(b pgpoint.Base, t pgwal.Timeline) (*route, error) {
	history, err := l.history(t)
	if err != nil && t != b.Timeline {
		return nil, err
	}
	if !follows(b, t, history) {
		return nil, failure.New(failure.Invalid, "follow the timeline", pgwal.HistoryName(t), "the base point, at %s on timeline %d, is not on its way", b.Stop, b.Timeline).
			WithHint("choose a base point that is, or another timeline")
	}
	r := &route{timeline: t, history: history, end: l.size.Start(b.Start)}
	for {
		s, ok := l.at(t, history, r.end)
		if !ok || len(r.steps) > 0 && l.breaks(s.piece) {
			break
		}
		r.steps = append(r.steps, s)
		r.most = r.end + pgwal.LSN(l.size)
		if s.cut != 0 {
			r.most = s.cut
		}
		if !s.whole || s.cut != 0 {
			break
		}
		r.end = r.most
	}
	for _, p := range l.pieces {
		if on := pgwal.On(t, history, p.start); p.timeline == on && (p.start > r.end || p.start == r.end && l.breaks(p)) && (r.after == nil || p.start < r.after.start) {
			r.after = p
		}
	}
	return r, nil
}

// breaks reports whether a receiver said that a segment does not continue what it has of the one before, and nobody else
// received through. Such log may even be another one's, of a server that was set back.
func (l *wal) breaks(p *piece) bool {
	told := slices.ContainsFunc(l.starts, func(s walspool.Start) bool { return s.Timeline == p.timeline && l.size.Start(s.At) == p.start })
	for _, log := range l.logs {
		for i, s := range log.Spans {
			told = told || i > 0 && s.From.Timeline == p.timeline && l.size.Start(s.From.At) == p.start
			if s.From.At < p.start && s.To.At > p.start && s.From.Timeline <= p.timeline && p.timeline <= s.To.Timeline {
				return false
			}
		}
	}
	return told
}

// at is the segment that holds position start on the way of timeline t: that of the youngest timeline that begins in it or
// before. Where only an older one's is there, it counts up to where that timeline was left.
func (l *wal) at(t pgwal.Timeline, history []pgwal.Switch, start pgwal.LSN) (step, bool) {
	youngest := pgwal.On(t, history, start+pgwal.LSN(l.size)-1)
	if p := l.pieces[pgwal.SegmentName(youngest, start, l.size)]; p != nil {
		return step{piece: p}, true
	}
	for _, s := range slices.Backward(history) {
		if s.Timeline >= youngest || s.At <= start {
			continue
		}
		if p := l.pieces[pgwal.SegmentName(s.Timeline, start, l.size)]; p != nil {
			return step{piece: p, cut: s.At}, true
		}
	}
	return step{}, false
}

// read gives a segment as the server takes it, at its full size with zeros behind what was written, and how much that is.
// The copies are tried in their order, partial ones all, for the one that goes furthest. Corrupt: none of them is sound.
//
// A copy that was listed and is not there any more was moved meanwhile: completed, or folded. Then another one that is
// there may be an earlier state of it, and where it is now is looked for.
func (l *wal) read(ctx context.Context, s step) ([]byte, int, error) {
	data, n, moved, err := l.readNow(ctx, s)
	var last *wal
	for tries := 0; moved && tries < relists; tries++ {
		again, listErr := l.relist(ctx, last)
		if listErr != nil {
			return nil, 0, errors.Join(err, listErr)
		}
		last = again
		p := again.pieces[s.name]
		if p == nil {
			break
		}
		var more []byte
		var m int
		var nowErr error
		more, m, moved, nowErr = again.readNow(ctx, step{piece: p, cut: s.cut})
		if nowErr == nil && (err != nil || m > n) {
			data, n, err = more, m, nil
		}
	}
	return data, n, err
}

// relists is how often log is looked for again that moves while it is read.
const relists = 5

// readNow reads what is where it was listed. Moved reports that a copy is not there any more.
func (l *wal) readNow(ctx context.Context, s step) (data []byte, n int, moved bool, err error) {
	var failed []error
	var best []byte
	written := -1
	for _, c := range s.copies {
		if s.whole && c.partial {
			break // it is whole in other places, none of which gives it: less is not enough
		}
		data, n, err := l.load(ctx, s.piece, c)
		if err != nil {
			if ctx.Err() != nil {
				return nil, 0, false, err
			}
			moved = moved || failure.KindOf(err) == failure.NotFound
			failed = append(failed, failure.Wrap(err, "read the log from", c.where))
			continue
		}
		if n > written {
			best, written = data, n
		}
		if s.whole {
			moved = false // nobody has more
			break
		}
	}
	if best == nil {
		return nil, 0, moved, failure.WrapAs(failure.KindOf(failed[0]), errors.Join(failed...), "read the log segment", s.name).
			WithHint("name a spool that holds it, or restore to a target before %s", s.start)
	}
	if s.cut != 0 && s.cut < s.start+pgwal.LSN(written) {
		written = int(s.cut - s.start)
		clear(best[written:])
	}
	return best, written, moved, nil
}

// load reads one copy, and verifies that it is what its name says as far as its pages say so. It gives how much of it was
// written: all of one that is not partial, for what is empty at the end of such was left out by the server.
func (l *wal) load(ctx context.Context, p *piece, c walCopy) ([]byte, int, error) {
	data := make([]byte, l.size)
	n, err := l.fill(ctx, c, data)
	if err != nil {
		return nil, 0, err
	}
	if !c.partial && n != len(data) {
		return nil, 0, failure.New(failure.Corrupt, "read", p.name, "it has %d bytes instead of %d", n, len(data))
	}
	if c.partial && allZero(data[:min(n, pgwal.PageSize)]) {
		return data, 0, nil // made, and never written to
	}
	h, err := pgwal.ParseHeader(data)
	if err != nil {
		return nil, 0, err
	}
	if h.SystemID != l.system || h.Address != p.start || h.Segment != l.size || h.Timeline > p.timeline {
		return nil, 0, failure.New(failure.Corrupt, "read", p.name, "it begins as the log of the cluster %d at %s on timeline %d", h.SystemID, h.Address, h.Timeline)
	}
	sound := pgwal.CheckPages(data[:n], p.start, h.Magic)
	if c.file != nil && !c.partial { // the vault verifies what it gives; a file may be anything
		if _, err := pgwal.NewVerifier(pgwal.Position{Timeline: p.timeline, At: p.start}, l.system, l.size).Write(data); err != nil {
			return nil, 0, err
		}
	}
	if c.partial {
		clear(data[sound:])
		return data, sound, nil
	}
	// Behind a switch to the next segment the pages are empty (xlog.c, CopyXLogRecordToWAL).
	if !allZero(data[sound:]) {
		return nil, 0, failure.New(failure.Corrupt, "read", p.name, "the page at %s is not of this place", p.start+pgwal.LSN(sound))
	}
	return data, len(data), nil
}

// fill reads a copy into data and gives its length.
func (l *wal) fill(ctx context.Context, c walCopy, data []byte) (int, error) {
	if c.file != nil {
		f, err := c.file.Open()
		if err != nil {
			return 0, err
		}
		defer f.Close()
		n, err := io.ReadFull(f, data)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, failure.WrapAs(failure.Unavailable, err, "read", c.where)
		}
		return n, nil
	}
	if c.bytes > int64(len(data)) {
		return 0, failure.New(failure.Corrupt, "read", c.where, "a segment has %d bytes", c.bytes)
	}
	f, err := l.v.OpenFile(ctx, c.blobs)
	if err != nil {
		return 0, err
	}
	if f.Size() != c.bytes {
		return 0, failure.New(failure.Corrupt, "read", c.where, "a segment's content has %d bytes instead of %d", f.Size(), c.bytes)
	}
	if c.bytes == 0 {
		return 0, nil
	}
	return f.ReadAt(ctx, data[:c.bytes], 0)
}

func allZero(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}

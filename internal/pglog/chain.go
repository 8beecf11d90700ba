package pglog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
	"github.com/lifeboat-dr/lifeboat/model"
)

// chain is the log of one cluster on its way from a spool into a vault: a chain of snapshots of which each replaces the
// one before. It belongs to one goroutine.
type chain struct {
	whose  pgpoint.Whose
	site   model.SiteID
	dir    string // the spool's folder
	system uint64
	size   pgwal.SegmentSize
	log    *slog.Logger
	now    func() time.Time

	loaded bool
	newest *snapshot.Snapshot // in the vault; nil: none yet
	root   *dir
	about  pgpoint.Log
	// superseded are snapshots that newer ones replaced, oldest first.
	superseded []superseded

	tail    *tail
	hurt    []damage       // what is damaged or missing in the spool, as it was found
	told    int            // how many of these were told
	marks   []pgpoint.Mark // that came since the last fold
	drop    pgwal.LSN      // what ends at or before it is left out of the next snapshot
	dropped pgwal.LSN      // drop, as it was done
}

// superseded is a snapshot that can be removed, not before a time when the vault retains it.
type superseded struct {
	id        object.ID
	notBefore time.Time
}

// tail is the segment at the end of what is folded: it is verified and stored as it grows.
type tail struct {
	pgwal.Position
	verifier *pgwal.Verifier
	content  vault.Content
	upTo     pgwal.LSN // of content
	damaged  bool      // nothing more of it is taken
}

// damage is log that cannot be folded.
type damage struct {
	From, To pgwal.Position
	Why      string
	Time     time.Time
}

// folded is up to where the log is in the vault; zero: nothing is.
func (c *chain) folded() pgwal.Position {
	if n := len(c.about.Spans); n > 0 {
		return c.about.Spans[n-1].To
	}
	return pgwal.Position{}
}

// load reads where the chain is, at first and again when its newest snapshot is gone.
func (c *chain) load(ctx context.Context, v *vault.Vault) error {
	if c.loaded {
		if c.newest == nil {
			return nil
		}
		switch _, err := v.Resolve(ctx, blob.Snapshot, c.newest.ID.String()); {
		case err == nil:
			return nil
		case !errors.Is(err, failure.NotFound):
			return err
		}
	}
	had := c.newest
	c.reset()
	if err := v.LoadIndex(ctx); err != nil { // others write, too
		return err
	}
	all, err := v.Snapshots(ctx, c.filter())
	if err != nil {
		return err
	}
	for _, s := range all {
		if c.newest != nil {
			c.superseded = append(c.superseded, superseded{id: c.newest.ID})
		}
		c.newest = s
	}
	if had != nil && !slices.ContainsFunc(all, func(s *snapshot.Snapshot) bool { return s.ID == had.ID }) {
		c.log.ErrorContext(ctx, "the newest log snapshot was removed from the vault by somebody else", "snapshot", had.ID.Short())
	}
	if c.newest != nil {
		logs, err := pgpoint.Logs(ctx, v, c.whose)
		i := slices.IndexFunc(logs, func(l pgpoint.LogPoint) bool { return l.Snapshot.ID == c.newest.ID })
		if i < 0 {
			return errors.Join(err, failure.New(failure.Corrupt, "read the log snapshot", c.newest.ID.Short(), "it cannot be read, and what follows it would not be connected"))
		}
		c.about, c.root = logs[i].Log, &dir{id: *c.newest.Tree}
	}
	c.loaded = true
	return nil
}

// reset forgets what is known of the vault.
func (c *chain) reset() {
	c.loaded, c.newest, c.root, c.superseded, c.tail, c.dropped = false, nil, newDir(), nil, nil, 0
	c.about = pgpoint.Log{SystemID: c.system, Segment: c.size}
}

func (c *chain) filter() snapshot.Filter {
	f := pgpoint.Filter(c.whose, pgpoint.IsLog)
	f.Tags[0] = append(f.Tags[0], pgpoint.Tags(c.whose, pgpoint.IsLog, c.site, pgpoint.SystemTag(c.system))...)
	return f
}

// fold brings what is in the spool into the vault, and removes from the spool what need not be there any more. At most
// maxFold segments go at once: more says that it is worth going on. The vault is asked for only when something is to be
// brought. After an error nothing is lost: the next fold begins where the last one ended.
func (c *chain) fold(ctx context.Context, open func(context.Context) (*vault.Vault, error), e edge) (folded, more bool, err error) {
	content, err := walspool.Read(c.dir)
	if err != nil {
		return false, false, err
	}
	var todo []piece
	if c.loaded {
		if todo, _, err = c.todo(content, e); err != nil || len(todo) == 0 {
			return false, false, errors.Join(err, c.tidy(content))
		}
	}
	v, err := open(ctx)
	if err != nil {
		return false, false, err
	}
	if err := c.load(ctx, v); err != nil {
		return false, false, err
	}
	if todo, more, err = c.todo(content, e); err != nil {
		return false, false, err
	}
	if len(todo) > 0 {
		if err := c.commit(ctx, v, content, todo); err != nil {
			c.reset() // what was saved may not be durable
			return false, false, err
		}
	}
	return len(todo) > 0, more, c.tidy(content)
}

// edge is up to where the last segment of a spool may be read: what is flushed, while somebody writes to it, or all of it.
type edge struct {
	flushed pgwal.Position
	live    bool
}

// maxFold bounds how many segments go into one snapshot, so that a long backlog is safe piece by piece.
const maxFold = 64

// todo lists the segments that have something to fold.
func (c *chain) todo(content *walspool.Content, e edge) (todo []piece, more bool, err error) {
	for i, g := range content.Segments {
		p := piece{Segment: g, end: g.At + pgwal.LSN(c.size)}
		switch {
		case !g.Partial:
		case e.live && i == len(content.Segments)-1:
			if e.flushed.Timeline != g.Timeline || e.flushed.At <= g.At {
				continue
			}
			p.end = min(e.flushed.At, p.end)
		default:
			p.end, err = g.Written()
			if errors.Is(err, failure.NotFound) {
				continue
			}
			if err != nil {
				return nil, false, err
			}
			p.open = true
		}
		if p.end == g.At || !walspool.Before(c.folded(), pgwal.Position{Timeline: g.Timeline, At: p.end}) ||
			c.tail != nil && c.tail.damaged && c.tail.Position == g.Position {
			continue
		}
		if len(todo) == maxFold {
			return todo, true, nil
		}
		todo = append(todo, p)
	}
	return todo, false, nil
}

// piece is a segment of the spool with where it ends.
type piece struct {
	walspool.Segment
	end  pgwal.LSN
	open bool // that is where its last byte is that is not zero
}

// commit makes one snapshot of what is there and todo.
func (c *chain) commit(ctx context.Context, v *vault.Vault, content *walspool.Content, todo []piece) error {
	session, err := v.NewSession(ctx)
	if err != nil {
		return err
	}
	err = c.add(ctx, session, content, todo)
	if err == nil {
		err = c.seal(ctx, session)
	}
	if closeErr := session.Close(context.WithoutCancel(ctx)); closeErr != nil {
		c.log.WarnContext(ctx, "the session did not end well", "error", closeErr)
	}
	return err
}

// add puts histories and segments into the tree that is to come.
func (c *chain) add(ctx context.Context, s *vault.Session, content *walspool.Content, todo []piece) error {
	histories, err := readHistories(content)
	if err != nil {
		return err
	}
	if err := c.trim(ctx, s.Vault(), histories); err != nil {
		return err
	}
	for t, text := range histories {
		if err := c.putFile(ctx, s, pgpoint.HistoryPath(t), text.content); err != nil {
			return err
		}
	}
	for _, p := range todo {
		if err := c.addPiece(ctx, s, content, histories, p); err != nil {
			return err
		}
	}
	return nil
}

// putFile stores a small file, unless it is there as it is.
func (c *chain) putFile(ctx context.Context, s *vault.Session, path string, text []byte) error {
	id, err := s.SaveBlob(ctx, object.Data, text)
	if err != nil {
		return err
	}
	old, err := c.root.find(ctx, s.Vault(), path)
	if err != nil {
		return err
	}
	if old != nil && slices.Equal(old.node.Content, []object.ID{id}) {
		return nil
	}
	return c.root.put(ctx, s.Vault(), path, file(vault.Content{Blobs: []object.ID{id}, Size: uint64(len(text))}, c.now()))
}

// seal writes what the log says of itself, and the snapshot.
func (c *chain) seal(ctx context.Context, s *vault.Session) error {
	c.about.Marks = thin(append(c.about.Marks, c.marks...), c.about.Spans)
	text, err := c.about.Encode()
	if err != nil {
		return err
	}
	if err := c.putFile(ctx, s, pgpoint.AboutPath, text); err != nil {
		return err
	}
	root, err := c.root.save(ctx, s)
	if err != nil {
		return err
	}
	sn := &snapshot.Snapshot{Time: c.now(), Tree: &root, Paths: []string{pgpoint.LogPath},
		Tags: pgpoint.Tags(c.whose, pgpoint.IsLog, c.site, pgpoint.SystemTag(c.system))}
	if c.newest != nil {
		sn.Parent = &c.newest.ID
		if !sn.Time.After(c.newest.Time) { // the newest is found by its time, also when a clock was set back
			sn.Time = c.newest.Time.Add(time.Millisecond)
		}
	}
	if _, err := s.Commit(ctx, sn); err != nil {
		return err
	}
	if c.newest != nil {
		c.superseded = append(c.superseded, superseded{id: c.newest.ID})
	}
	c.newest, c.marks = sn, nil
	return nil
}

// tidy removes complete segments from the spool that are folded, and puts those aside that are damaged. The last one stays:
// it says where the log goes on.
func (c *chain) tidy(content *walspool.Content) error {
	var done []pgwal.Position
	for i, g := range content.Segments {
		end := pgwal.Position{Timeline: g.Timeline, At: g.At + pgwal.LSN(c.size)}
		if i == len(content.Segments)-1 || g.Partial || walspool.Before(c.folded(), end) {
			continue
		}
		if slices.ContainsFunc(c.hurt, func(d damage) bool { return d.To == end }) {
			if err := os.Rename(g.Path, g.Path+".damaged"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return failure.WrapAs(failure.Denied, err, "put aside", g.Path)
			}
			continue
		}
		done = append(done, g.Position)
	}
	if len(done) == 0 {
		return nil
	}
	return walspool.Remove(c.dir, done)
}

// thin leaves of marks those that the log still has, the older the fewer: the first of each minute in the last hour, of each
// ten minutes in the last day, of each hour before that; and the newest of each span. Marks rise.
func thin(marks []pgpoint.Mark, spans []pgpoint.Span) []pgpoint.Mark {
	if len(marks) == 0 || len(spans) == 0 {
		return nil
	}
	newest := marks[len(marks)-1]
	var out []pgpoint.Mark
	for i, m := range marks {
		apart := time.Minute
		switch age := newest.Time.Sub(m.Time); {
		case age > 24*time.Hour:
			apart = time.Hour
		case age > time.Hour:
			apart = 10 * time.Minute
		}
		n := len(out)
		rises := n == 0 || walspool.Before(out[n-1].Position, m.Position) && m.Time.After(out[n-1].Time)
		last := i+1 == len(marks) || slices.ContainsFunc(spans, func(s pgpoint.Span) bool {
			return !walspool.Before(s.To, m.Position) && walspool.Before(s.To, marks[i+1].Position)
		})
		wanted := n == 0 || last || m.Time.Truncate(apart).After(out[n-1].Time.Truncate(apart))
		if rises && wanted && !walspool.Before(m.Position, spans[0].From) {
			out = append(out, m)
		}
	}
	return out
}

// where is a position for people.
func where(p pgwal.Position) string { return fmt.Sprintf("%s on timeline %d", p.At, p.Timeline) }

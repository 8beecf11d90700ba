package pglog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
)

// history is the file of a timeline, read.
type history struct {
	content  []byte
	switches []pgwal.Switch
}

func readHistories(content *walspool.Content) (map[pgwal.Timeline]history, error) {
	out := map[pgwal.Timeline]history{}
	for t, path := range content.Histories {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, failure.WrapAs(failure.Unavailable, err, "read", path)
		}
		switches, err := pgwal.ParseHistory(t, text)
		if err != nil {
			return nil, err
		}
		out[t] = history{text, switches}
	}
	return out, nil
}

// addPiece verifies a segment, or what has come of it since the last time, stores it and lengthens the span that it
// continues, or begins another one.
func (c *chain) addPiece(ctx context.Context, s *vault.Session, content *walspool.Content, histories map[pgwal.Timeline]history, p piece) error {
	f, err := p.Open()
	if errors.Is(err, failure.NotFound) {
		return nil // the next look at the spool tells that it is missing
	}
	if err != nil {
		return err
	}
	defer f.Close()
	c.connect(ctx, content, histories, p)
	damaged := c.verify(f, p)
	if damaged == nil && p.open {
		p.end = c.lengthen(f, p)
	}
	end := p.end
	if damaged != nil {
		end = c.tail.verifier.Whole()
		if !errors.Is(damaged, failure.Corrupt) {
			return damaged
		}
		c.tail.damaged = true
		from, to := pgwal.Position{Timeline: p.Timeline, At: end}, pgwal.Position{Timeline: p.Timeline, At: p.At + pgwal.LSN(c.size)}
		c.hurtBy(ctx, damage{from, to, fmt.Sprintf("the log from %s to the end of segment %s is damaged in the spool at %s: %v",
			where(from), pgwal.SegmentName(p.Timeline, p.At, c.size), c.site, damaged), c.now()})
	}
	if end <= c.tail.upTo && c.tail.upTo > p.At || end == p.At {
		return nil
	}
	if err := c.store(ctx, s, f, p, end); err != nil {
		return err
	}
	c.about.Spans[len(c.about.Spans)-1].To = pgwal.Position{Timeline: p.Timeline, At: end}
	return nil
}

// connect finds out whether a segment continues what is folded, and makes it the tail. When it does not, a span begins:
// where the receiver said so, or because the spool lacks what should be there, which is an alarm.
func (c *chain) connect(ctx context.Context, content *walspool.Content, histories map[pgwal.Timeline]history, p piece) {
	if c.tail != nil && c.tail.Position == p.Position {
		return
	}
	before := c.tail
	c.tail = &tail{Position: p.Position, verifier: pgwal.NewVerifier(p.Position, c.system, c.size), upTo: p.At}
	to := c.folded()
	span := pgpoint.Span{From: p.Position, To: p.Position}
	switch why, declared := startOf(content, p.Position); {
	case declared && walspool.Before(to, p.Position):
		span.Why = why
	case len(c.about.Spans) == 0:
	case c.continues(to, p.Position, histories):
		if before != nil && !before.damaged && before.Timeline == p.Timeline && before.verifier.At() == p.At {
			c.tail.verifier = before.verifier
		}
		return
	case before != nil && before.damaged:
		span.Why = c.hurt[len(c.hurt)-1].Why
	default:
		span.Why = fmt.Sprintf("the log from %s to %s is missing from the spool at %s", where(to), where(p.Position), c.site)
		c.hurtBy(ctx, damage{to, p.Position, span.Why, c.now()})
	}
	if len(c.about.Spans) > 0 {
		c.log.ErrorContext(ctx, "the log has a gap: recovery points before it and after it are not connected", "from", where(to), "to", where(p.Position), "why", span.Why)
	}
	c.about.Spans = append(c.about.Spans, span)
}

// startOf finds whether the receiver began anew at a position.
func startOf(content *walspool.Content, p pgwal.Position) (why string, declared bool) {
	for _, s := range content.Starts {
		if s.Position == p {
			return s.Why, true
		}
	}
	return "", false
}

// continues reports whether the segment at p is the next after to, or the one that to lies in; or, on a later timeline, the
// one in which that left a timeline that we have up to there.
func (c *chain) continues(to, p pgwal.Position, histories map[pgwal.Timeline]history) bool {
	if p.Timeline == to.Timeline {
		return p.At == c.size.Start(to.At)
	}
	for _, s := range histories[p.Timeline].switches {
		if s.Timeline == to.Timeline {
			return s.At <= to.At && p.At <= c.size.Start(s.At)
		}
	}
	return false
}

// verify reads what has come of the tail since the last time. Corrupt: it is not what a server sent.
func (c *chain) verify(f io.ReaderAt, p piece) error {
	v := c.tail.verifier
	for v.At() < p.end {
		buffer := make([]byte, min(1<<20, p.end-v.At()))
		n, err := f.ReadAt(buffer, int64(v.At()-p.At))
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				return failure.New(failure.Corrupt, "read", p.Path, "it ends at %s", v.At())
			}
			return failure.WrapAs(failure.Unavailable, err, "read", p.Path)
		}
		if _, err := v.Write(buffer[:n]); err != nil {
			return err
		}
	}
	return nil
}

// lengthen finds the end of a segment whose last record ends with zeros, which its file does not tell from what was never
// written: the record's own length and checksum do.
func (c *chain) lengthen(f io.ReaderAt, p piece) pgwal.LSN {
	v := c.tail.verifier
	page := make([]byte, -p.end&(pgwal.PageSize-1))
	if _, err := f.ReadAt(page, int64(p.end-p.At)); err != nil {
		return p.end
	}
	further := *v
	_, _ = further.Write(page) // it fails behind the record, where none begins
	if w := further.Whole(); w <= p.end || w > p.end+pgwal.LSN(len(page)) {
		return p.end
	}
	if _, err := v.Write(page[:further.Whole()-p.end]); err != nil {
		return p.end
	}
	return further.Whole()
}

// hurtBy remembers what cannot be folded, once.
func (c *chain) hurtBy(ctx context.Context, d damage) {
	if slices.ContainsFunc(c.hurt, func(had damage) bool { return had.From == d.From && had.To == d.To }) {
		return
	}
	c.hurt = append(c.hurt, d)
	c.log.ErrorContext(ctx, "log cannot be folded", "from", where(d.From), "to", where(d.To), "spool", c.dir, "why", d.Why)
}

// store saves a segment, as long as it is whole, and puts it into the tree.
func (c *chain) store(ctx context.Context, s *vault.Session, f io.ReaderAt, p piece, end pgwal.LSN) error {
	o := vault.FixedOptions{Block: pgpoint.Block, Parent: c.tail.content}
	if len(o.Parent.Blobs) > 0 {
		block := int64(pgpoint.Block)
		same, zeros := int64(c.tail.upTo-p.At)/block*block, (int64(end-p.At)+block-1)/block*block
		o.Unchanged = []vault.Range{{Start: 0, End: same}, {Start: zeros, End: int64(c.size)}}
	}
	content, err := s.SaveFixed(ctx, upTo{f, int64(end - p.At)}, int64(c.size), o)
	if err != nil {
		return err
	}
	path := pgpoint.SegmentPath(p.Timeline, p.At, c.size)
	if end == p.At+pgwal.LSN(c.size) {
		if err := c.root.remove(ctx, s.Vault(), path+pgpoint.PartialSuffix); err != nil {
			return err
		}
	} else {
		path += pgpoint.PartialSuffix
	}
	c.tail.content, c.tail.upTo = content, end
	return c.root.put(ctx, s.Vault(), path, file(content, c.now()))
}

// upTo reads a file up to a length, and zeros behind it.
type upTo struct {
	f   io.ReaderAt
	end int64
}

func (u upTo) ReadAt(p []byte, off int64) (int, error) {
	n := int(max(0, min(int64(len(p)), u.end-off)))
	got := 0
	if n > 0 {
		var err error
		if got, err = u.f.ReadAt(p[:n], off); got < n {
			return got, err
		}
	}
	clear(p[n:])
	return len(p), nil
}

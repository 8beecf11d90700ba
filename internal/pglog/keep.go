package pglog

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
)

// group is how much log lies in one directory of a log snapshot, as pgpoint.SegmentPath puts it.
const group = 1 << 28

// look finds out from the base points what of the log is needed: whether one is connected with its newest span, and what
// none needs any more. What is younger than margin is needed in any case. When they cannot all be read nothing is dropped.
func (c *chain) look(ctx context.Context, v *vault.Vault, margin time.Duration) (needsBase bool, err error) {
	if err := c.load(ctx, v); err != nil {
		return false, err
	}
	newest, err := c.newestSpan()
	if err != nil {
		return false, err
	}
	if err := v.LoadIndex(ctx); err != nil { // others write, too
		return false, err
	}
	bases, err := pgpoint.Bases(ctx, v, c.whose)
	if err != nil {
		return false, err
	}
	bases = slices.DeleteFunc(bases, func(b pgpoint.BasePoint) bool { return b.SystemID != c.system })
	needsBase = true
	oldest := ^pgwal.LSN(0)
	for _, b := range bases {
		oldest = min(oldest, b.Start)
		needsBase = needsBase && (b.Timeline < newest.From.Timeline || b.Start < newest.From.At)
	}
	if len(bases) == 0 {
		return true, nil
	}
	if needsBase {
		if needsBase, err = c.unconnected(ctx, v, bases, newest); err != nil {
			return false, err
		}
	}
	limit := pgwal.LSN(0) // the newest position that is old enough
	for _, m := range c.about.Marks {
		if m.Time.Before(c.now().Add(-margin)) {
			limit = m.At
		}
	}
	c.drop = min(c.size.Start(oldest), limit)
	return needsBase, nil
}

// unconnected reports whether no base point reaches into a span, also over the log of other sites: after a move the one that
// served before has what comes before ours.
func (c *chain) unconnected(ctx context.Context, v *vault.Vault, bases []pgpoint.BasePoint, s pgpoint.Span) (bool, error) {
	logs, err := pgpoint.Logs(ctx, v, c.whose)
	if err != nil {
		return false, err
	}
	logs = slices.DeleteFunc(logs, func(l pgpoint.LogPoint) bool { return l.SystemID != c.system })
	return !slices.ContainsFunc(pgpoint.Reach(bases, logs), func(r pgpoint.Range) bool {
		return r.Consistent && r.To.Timeline >= s.From.Timeline && r.To.At > s.From.At
	}), nil
}

// newestSpan is the last one of the log: as it is folded, or where the spool says that it begins anew since.
func (c *chain) newestSpan() (s pgpoint.Span, err error) {
	if n := len(c.about.Spans); n > 0 {
		s = c.about.Spans[n-1]
	}
	content, err := walspool.Read(c.dir)
	if err != nil {
		return s, err
	}
	if n := len(content.Starts); n > 0 && walspool.Before(c.folded(), content.Starts[n-1].Position) {
		start := content.Starts[n-1]
		s = pgpoint.Span{From: start.Position, To: start.Position, Why: start.Why}
	}
	return s, nil
}

// trim takes out of the tree that is to come what ends at or before drop, directory by directory, and shortens the spans.
func (c *chain) trim(ctx context.Context, v *vault.Vault, histories map[pgwal.Timeline]history) error {
	if c.drop <= c.dropped {
		return nil
	}
	wide := max(group, pgwal.LSN(c.size))
	limit := c.drop / wide * wide
	top, err := c.root.find(ctx, v, pgpoint.LogPath)
	if err != nil || top == nil {
		return err
	}
	timelines, err := top.dir.dirs(ctx, v)
	if err != nil {
		return err
	}
	for _, t := range timelines {
		highs, err := t.dir.dirs(ctx, v)
		if err != nil {
			return err
		}
		for _, h := range highs {
			if err := c.trimHigh(ctx, v, t.node.Name, h, limit); err != nil {
				return err
			}
		}
	}
	c.dropped = c.drop
	var kept []pgpoint.Span
	for _, s := range c.about.Spans {
		if s.To.At <= limit {
			continue
		}
		if s.From.At < limit {
			s.From = pgwal.Position{Timeline: pgwal.On(s.To.Timeline, histories[s.To.Timeline].switches, limit), At: limit}
		}
		kept = append(kept, s)
	}
	c.about.Spans = kept
	return nil
}

// trimHigh takes the groups out of one directory that end at or before limit.
func (c *chain) trimHigh(ctx context.Context, v *vault.Vault, timeline string, high *ent, limit pgwal.LSN) error {
	h, err := strconv.ParseUint(high.node.Name, 16, 32)
	if err != nil || pgwal.LSN(h)<<32 >= limit {
		return nil // not ours, or not yet
	}
	groups, err := high.dir.dirs(ctx, v)
	if err != nil {
		return err
	}
	for _, g := range groups {
		digit, err := strconv.ParseUint(g.node.Name, 16, 4)
		if err != nil {
			continue
		}
		end := pgwal.LSN(h)<<32 + pgwal.LSN(digit)*group + max(group, pgwal.LSN(c.size))
		if end > limit {
			continue
		}
		if err := c.root.remove(ctx, v, fmt.Sprintf("%s/%s/%s/%s", pgpoint.LogPath, timeline, high.node.Name, g.node.Name)); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long the moment is looked for in which nobody else works on the vault. There is another one later.
var patience = vault.Waiting{For: 3 * time.Second}

// forget removes the snapshots that newer ones replaced, but for the one before the newest. What the vault retains, and
// everything while somebody is at work on it, goes later.
func (c *chain) forget(ctx context.Context, v *vault.Vault) error {
	var ids []object.ID
	for _, s := range c.superseded[:max(0, len(c.superseded)-1)] {
		if !s.notBefore.After(c.now()) {
			ids = append(ids, s.id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	gone, err := v.Forget(ctx, ids, vault.ForgetOptions{Wait: patience})
	for _, g := range gone {
		i := slices.IndexFunc(c.superseded, func(s superseded) bool { return s.id == g.ID })
		switch {
		case i < 0:
		case g.Err == nil:
			c.superseded = slices.Delete(c.superseded, i, i+1)
		case !g.NotBefore.IsZero():
			c.superseded[i].notBefore = g.NotBefore
		default: // on hold: it is looked at again in a day
			c.superseded[i].notBefore = c.now().Add(24 * time.Hour)
		}
	}
	return err
}

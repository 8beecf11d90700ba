package pgrestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
)

// course is what was decided: from which base point, along which log, to where.
type course struct {
	base  pgpoint.BasePoint
	why   string // this base point
	wal   *wal
	route *route
	// tail is where the last record of the route ends, last when a transaction there was committed.
	tail pgwal.LSN
	ends ending
	last time.Time
	// stop is what the server is told to stop at. It differs from the target when all log lies before that: then it is the
	// end of the log.
	stop Target
	// at is where it will stop, when that is known: the end of what is replayed.
	at       pgwal.LSN
	atTime   time.Time
	warnings []string
}

// candidate is a base point with the log that leads on from it.
type candidate struct {
	pgpoint.BasePoint
	route *route
}

// choose decides on the course. Errors: NotFound when nothing leads to the target, with what can be reached.
func choose(ctx context.Context, o Options) (*course, error) {
	if err := o.Target.Validate(); err != nil {
		return nil, err
	}
	bases, err := pgpoint.Bases(ctx, o.Vault, o.Whose)
	if err != nil && (len(bases) == 0 || !o.Base.IsZero()) {
		return nil, err
	}
	c := &course{}
	if err != nil {
		c.warnings = append(c.warnings, "some base points cannot be read: "+err.Error())
	}
	if len(bases) == 0 {
		return nil, failure.New(failure.NotFound, "find a base point of", string(o.Whose.Resource), "there is none in %s", o.Vault.Location()).
			WithHint("lifeboat protect %s --now", o.Whose.App)
	}
	bases, err = c.narrow(bases, o)
	if err != nil {
		return nil, err
	}
	all, err := c.candidates(ctx, bases, o)
	if err != nil {
		return nil, err
	}
	if err := c.pick(ctx, all, o); err != nil {
		return nil, err
	}
	return c, c.aim(ctx, o)
}

// narrow leaves the base points that may be used: the one that was named, or those of the newest cluster that are not bad.
func (c *course) narrow(bases []pgpoint.BasePoint, o Options) ([]pgpoint.BasePoint, error) {
	if !o.Base.IsZero() {
		i := slices.IndexFunc(bases, func(b pgpoint.BasePoint) bool { return b.Snapshot.ID == o.Base })
		if i < 0 {
			return nil, failure.New(failure.NotFound, "find the base point", o.Base.Short(), "it is no base point of %s", o.Whose.Resource).
				WithHint("lifeboat points %s", o.Whose.App)
		}
		c.why = "it was named"
		return bases[i : i+1], nil
	}
	system := bases[len(bases)-1].SystemID
	mine := slices.DeleteFunc(slices.Clone(bases), func(b pgpoint.BasePoint) bool { return b.SystemID != system })
	good := slices.DeleteFunc(slices.Clone(mine), func(b pgpoint.BasePoint) bool { return slices.Contains(o.Avoid, b.Snapshot.ID) })
	if len(good) == 0 {
		return nil, failure.New(failure.NotFound, "find a base point of", string(o.Whose.Resource), "all %d are known to be bad", len(mine)).
			WithHint("name one all the same: lifeboat points %s", o.Whose.App)
	}
	return good, nil
}

// candidates follows the log from each base point. Those on branches that the wanted timeline does not come from are left
// out.
func (c *course) candidates(ctx context.Context, bases []pgpoint.BasePoint, o Options) ([]candidate, error) {
	b := bases[len(bases)-1]
	var err error
	if c.wal, err = openWAL(ctx, o.Vault, o.Whose, b.SystemID, b.Segment, o.Spools); err != nil {
		return nil, err
	}
	var newest pgwal.Timeline
	for _, b := range bases {
		newest = max(newest, c.wal.latest(b.Base))
	}
	var out []candidate
	var why error
	for _, b := range bases {
		t := newest
		if o.Timeline.Current {
			t = b.Timeline
		} else if o.Timeline.Number != 0 {
			t = o.Timeline.Number
		}
		r, err := c.wal.way(b.Base, t)
		if err != nil {
			why = err
			continue
		}
		out = append(out, candidate{b, r})
	}
	if len(out) == 0 {
		return nil, why
	}
	return out, nil
}

// consistent reports whether there may be log up to where the base point is consistent.
func (a candidate) consistent() bool { return a.BasePoint.Stop <= a.route.most }

// pick takes the best base point for the target.
func (c *course) pick(ctx context.Context, all []candidate, o Options) error {
	usable := slices.DeleteFunc(slices.Clone(all), func(a candidate) bool { return !a.consistent() })
	if len(usable) == 0 {
		a := all[len(all)-1]
		return failure.New(failure.NotFound, "restore", string(o.Whose.Resource), "the base point %s needs log from %s to %s, and it is there only up to %s",
			a.Snapshot.ID.Short(), a.Start, a.BasePoint.Stop, a.route.end).
			WithHint("name the spool that holds it, or another base point: lifeboat points %s", o.Whose.App)
	}
	before := usable
	switch o.Target.Kind {
	case Time:
		before = slices.DeleteFunc(slices.Clone(usable), func(a candidate) bool { return a.Ended.After(o.Target.Time) })
	case LSN:
		before = slices.DeleteFunc(slices.Clone(usable), func(a candidate) bool { return a.BasePoint.Stop > o.Target.LSN })
	case Name, XID, BeforeXID:
		at, err := c.seek(ctx, usable, o)
		if err != nil {
			return err
		}
		before = slices.DeleteFunc(slices.Clone(usable), func(a candidate) bool { return a.BasePoint.Stop > at })
	}
	if len(before) == 0 {
		return c.tooEarly(usable, o)
	}
	best := before[len(before)-1]
	for _, a := range slices.Backward(before) { // one with damaged pages is for when there is no other
		if a.DamagedPages == 0 && a.route.end >= best.route.end {
			best = a
			break
		}
	}
	if best.DamagedPages > 0 {
		c.warnings = append(c.warnings, fmt.Sprintf("%d pages were damaged already when the base point was made: %v", best.DamagedPages, best.Damaged[:min(3, len(best.Damaged))]))
	}
	c.base, c.route = best.BasePoint, best.route
	if c.why == "" {
		c.why = "it is the newest"
		if o.Target.Kind != Latest && o.Target.Kind != Immediate {
			c.why = "it is the newest that was complete before the target"
		}
		if best.Snapshot.ID != before[len(before)-1].Snapshot.ID {
			c.why += " without damaged pages"
		}
	}
	if n := all[len(all)-1]; n.Snapshot.ID != best.Snapshot.ID && !n.consistent() {
		c.warnings = append(c.warnings, fmt.Sprintf("the newest base point, %s, is passed over: there is log only up to %s, and it needs it up to %s",
			n.Snapshot.ID.Short(), n.route.end, n.BasePoint.Stop))
	}
	return nil
}

// tooEarly is the error of a target before every base point.
func (c *course) tooEarly(usable []candidate, o Options) error {
	a := usable[0]
	return failure.New(failure.NotFound, "restore", string(o.Whose.Resource), "no base point was complete before the target (%s)", o.Target).
		WithHint("the earliest state that can be reached is that of %s, at %s (base point %s)", a.Ended.UTC().Format(time.RFC3339), a.BasePoint.Stop, a.Snapshot.ID.Short())
}

// seek finds where a named thing happened, the last time when it did several times. The log is read from the newest base
// point on, and from earlier ones only as long as it is not found behind one that is complete before it: a server that
// begins there stops at the first that it finds.
func (c *course) seek(ctx context.Context, usable []candidate, o Options) (pgwal.LSN, error) {
	newest := slices.SortedFunc(slices.Values(usable), func(a, b candidate) int { return cmp.Compare(b.Start, a.Start) })
	wanted := func(h happening) bool {
		if o.Target.Kind == Name {
			return h.name == o.Target.Name
		}
		return h.name == "" && h.xid == o.Target.xid()
	}
	var all []happening
	to := ^pgwal.LSN(0)
	for _, a := range newest {
		more, err := c.wal.find(ctx, a.route, a.Start, to, wanted)
		if err != nil {
			return 0, err
		}
		all, to = append(more, all...), a.Start
		if n := len(all); n > 0 && a.BasePoint.Stop <= all[n-1].at {
			break
		}
	}
	if len(all) == 0 {
		a := newest[len(newest)-1]
		return 0, failure.New(failure.NotFound, "find the target", o.Target.String(), "it is not in the log from %s to %s on timeline %d", a.Start, a.route.end, a.route.timeline).
			WithHint("is it on another timeline? Restore to a time or a position otherwise")
	}
	h := all[len(all)-1]
	if all[0].at != h.at {
		before := all[len(all)-2]
		return 0, failure.New(failure.Invalid, "find the target", o.Target.String(), "it is in the log %d times, the last time at %s (%s) and before at %s (%s)", len(all),
			h.at, h.time.UTC().Format(time.RFC3339), before.at, before.time.UTC().Format(time.RFC3339)).WithHint("use the position as target")
	}
	c.at, c.atTime = h.end, h.time
	if o.Target.Kind == BeforeXID {
		c.at = h.at
	}
	return h.at, nil
}

// aim works out where the server will stop, and that there is log enough for it.
func (c *course) aim(ctx context.Context, o Options) error {
	c.stop = o.Target
	var err error
	c.tail, c.last, c.ends, err = c.wal.tail(ctx, c.route)
	if err != nil && (failure.KindOf(err) != failure.Corrupt || !o.Lenient && o.Target.Kind == Latest) {
		return err
	}
	if err != nil {
		c.warnings = append(c.warnings, err.Error())
	}
	if c.tail < c.base.Stop {
		return failure.New(failure.NotFound, "restore", string(o.Whose.Resource), "the base point %s needs log up to %s, and it is there only up to %s", c.base.Snapshot.ID.Short(), c.base.Stop, c.tail).
			WithHint("name the spool that holds it, or another base point: lifeboat points %s", o.Whose.App)
	}
	if err := c.promised(o); err != nil {
		return err
	}
	switch o.Target.Kind {
	case Latest:
		c.at, c.atTime = c.tail, c.last
		return c.gap(o)
	case LSN:
		if o.Target.LSN > c.tail {
			return c.tooLate(o)
		}
		rec, found, err := c.wal.firstFrom(ctx, c.route, o.Target.LSN)
		switch {
		case err != nil:
			return err
		case !found:
			c.stop, c.at, c.atTime = Target{}, c.tail, c.last // all of the log is before it
		case o.Target.Exclusive:
			c.at = rec.at
		default:
			c.at = rec.end
		}
	case Time:
		h, found, err := c.wal.firstAfter(ctx, c.route, c.base.Stop, o.Target.Time, o.Target.Exclusive)
		if err != nil {
			return err
		}
		if found {
			c.at = h.at
			break
		}
		if !c.known(o.Target.Time) {
			return errors.Join(c.tooLate(o), c.gap(o))
		}
		c.stop, c.at, c.atTime = Target{}, c.tail, c.last // nothing was committed between the end of the log and the target
	}
	return nil
}

// known reports whether the log is known to hold all that was committed up to t.
func (c *course) known(t time.Time) bool {
	for _, l := range c.wal.logs {
		for _, m := range l.Marks {
			if !m.Time.Before(t) && m.At <= c.tail && pgwal.On(c.route.timeline, c.route.history, m.At) == m.Timeline {
				return true
			}
		}
	}
	return false
}

// tooLate is the error of a target behind the end of the log.
func (c *course) tooLate(o Options) error {
	at := "its last transaction was committed " + c.last.UTC().Format("2006-01-02 15:04:05.999999 UTC")
	if c.last.IsZero() {
		at = "it has no transaction lately"
	}
	return failure.New(failure.NotFound, "restore", string(o.Whose.Resource), "the log ends at %s on timeline %d (%s), before the target (%s)", c.tail, c.route.timeline, at, o.Target).
		WithHint("restore to latest, name a spool that holds more, or choose another timeline")
}

// promised verifies that all is there that the vault says was received.
func (c *course) promised(o Options) error {
	for _, l := range c.wal.logs {
		for _, s := range l.Spans {
			from, to := c.wal.size.Start(s.From.At), s.To.At
			if s.To.Timeline != pgwal.On(c.route.timeline, c.route.history, to-1) || from > c.base.Start || to <= c.tail {
				continue
			}
			if c.ends == endsCut && to <= c.route.written {
				continue // what was received ends within a record
			}
			err := failure.New(failure.NotFound, "restore", string(o.Whose.Resource), "the log was received up to %s, and what is there ends at %s", to, c.tail).
				WithHint("name the spool that holds it, or say that less is accepted")
			if o.Target.Kind == Latest && !o.Lenient {
				return err
			}
			c.warnings = append(c.warnings, err.Error())
		}
	}
	return nil
}

// gap judges log that is there and cannot be reached. Where a receiver said that it began anew there is nothing to be done but
// to say so; otherwise something is missing that was there.
func (c *course) gap(o Options) error {
	a := c.route.after
	if a == nil {
		return nil
	}
	text := fmt.Sprintf("log is missing from %s on; it goes on at %s, which no base point before that leads to", c.tail, a.start)
	if why, told := c.wal.begun(a); told {
		c.warnings = append(c.warnings, text+": "+why)
		return nil
	}
	if o.Lenient {
		c.warnings = append(c.warnings, text)
		return nil
	}
	return failure.New(failure.NotFound, "restore", string(o.Whose.Resource), "%s", text).
		WithHint("name the spool that holds it, restore to a target before %s, or say that less is accepted", c.tail)
}

// begun tells why the log begins anew in a segment, when a receiver said so.
func (l *wal) begun(p *piece) (why string, told bool) {
	for _, s := range l.starts {
		if s.Timeline == p.timeline && l.size.Start(s.At) == p.start {
			return s.Why, true
		}
	}
	for _, log := range l.logs {
		for _, s := range log.Spans {
			if s.From.Timeline == p.timeline && l.size.Start(s.From.At) == p.start {
				return s.Why, true
			}
		}
	}
	return "", false
}

// tree is that of the base point.
func (c *course) tree() object.ID { return *c.base.Snapshot.Tree }

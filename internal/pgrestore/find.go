package pgrestore

import (
	"context"
	"sort"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// tail reads the end of a route: where its last sound record ends, why none follows, and when the last transaction in what
// was read for that was committed (zero: there was none). Corrupt: what follows is a damaged record, and not merely one
// that never came whole.
func (l *wal) tail(ctx context.Context, r *route) (end pgwal.LSN, last time.Time, why ending, err error) {
	for i := len(r.steps) - 1; i >= 0; i-- {
		d, err := l.readFrom(ctx, r, i)
		if err != nil {
			return 0, last, why, err
		}
		if i == len(r.steps)-1 {
			r.written = d.limit
		}
		found := false
		for {
			rec, ok := d.record(ctx)
			if !ok {
				break
			}
			found = true
			if h, ok := rec.happening(); ok && h.name == "" {
				last = h.time
			}
		}
		switch {
		case d.why == endsRead:
			return 0, last, d.why, d.err
		case d.why == endsDamaged:
			return d.pos, last, d.why, failure.New(failure.Corrupt, "read the log at", d.pos.String(), "there is no sound record").
				WithHint("the log is good up to there: restore to a target before it, or say that less is accepted")
		case found:
			return d.pos, last, d.why, nil
		}
	}
	return 0, last, endsWritten, nil
}

// firstAfter finds the first transaction of a route, from position from on, that ended after t (or, exclusive, at t): a
// recovery to t stops before it. None: all that the log has ended before.
func (l *wal) firstAfter(ctx context.Context, r *route, from pgwal.LSN, t time.Time, exclusive bool) (h happening, found bool, err error) {
	first := max(0, int((l.size.Start(from)-l.size.Start(r.start(l)))/pgwal.LSN(l.size)))
	n := len(r.steps) - first
	// Times rise along the log but for moments: the segment is found by halving, and reading begins well before it.
	i := sort.Search(n, func(i int) bool {
		if err != nil {
			return true
		}
		var at happening
		at, ok, e := l.firstIn(ctx, r, first+i)
		if err = e; err != nil || !ok {
			return err != nil
		}
		return at.time.After(t)
	})
	if err != nil {
		return h, false, err
	}
	d, err := l.readFrom(ctx, r, first+max(0, i-2))
	if err != nil {
		return h, false, err
	}
	for {
		rec, ok := d.record(ctx)
		if !ok {
			return h, false, d.failed()
		}
		h, ok := rec.happening()
		if ok && h.name == "" && rec.at >= from && (h.time.After(t) || exclusive && h.time.Equal(t)) {
			return h, true, nil
		}
	}
}

// firstIn gives the first transaction that ends in a step of a route or behind it, as far as the next step.
func (l *wal) firstIn(ctx context.Context, r *route, i int) (happening, bool, error) {
	d, err := l.readFrom(ctx, r, i)
	if err != nil {
		return happening{}, false, err
	}
	for {
		rec, ok := d.record(ctx)
		if !ok {
			return happening{}, false, d.failed()
		}
		if h, ok := rec.happening(); ok && h.name == "" {
			return h, true, nil
		}
	}
}

// firstFrom finds the first record of a route that begins at a position or behind it.
func (l *wal) firstFrom(ctx context.Context, r *route, at pgwal.LSN) (record, bool, error) {
	i := int((l.size.Start(at) - r.start(l)) / pgwal.LSN(l.size))
	if i < 0 || i >= len(r.steps) {
		return record{}, false, nil
	}
	d, err := l.readFrom(ctx, r, i)
	if err != nil {
		return record{}, false, err
	}
	for {
		rec, ok := d.record(ctx)
		if !ok {
			return rec, false, d.failed()
		}
		if rec.at >= at {
			return rec, true, nil
		}
	}
}

// failed is the error of a reader that found no more records; nil: the log just ends there.
func (d *reader) failed() error {
	if d.why == endsRead {
		return d.err
	}
	return nil
}

// start is where a route begins.
func (r *route) start(l *wal) pgwal.LSN {
	if len(r.steps) == 0 {
		return r.end
	}
	return r.steps[0].start
}

// find looks for what a target names in a route, from position from on and before position to. All of it is read: a name may
// be there twice.
func (l *wal) find(ctx context.Context, r *route, from, to pgwal.LSN, wanted func(happening) bool) ([]happening, error) {
	if len(r.steps) == 0 {
		return nil, nil
	}
	d, err := l.readFrom(ctx, r, max(0, int((l.size.Start(from)-r.start(l))/pgwal.LSN(l.size))))
	if err != nil {
		return nil, err
	}
	var out []happening
	for {
		rec, ok := d.record(ctx)
		if !ok || rec.at >= to {
			return out, d.failed()
		}
		if h, ok := rec.happening(); ok && rec.at >= from && wanted(h) {
			out = append(out, h)
		}
	}
}

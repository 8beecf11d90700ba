package pgrestore

import (
	"context"
	"time"

	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Commit is the commit of a transaction in the log.
type Commit struct {
	At   pgwal.LSN // of its record: as an LSN target the transaction is in
	Time time.Time
	XID  uint32
}

// Log is the way from a base point to the end of the log.
type Log struct {
	Bases []pgpoint.BasePoint // those on the way, that the log makes consistent, oldest first
	End   pgwal.LSN           // where the last record ends

	course *course
	routes []candidate
}

// OpenLog looks for the way to the end of the log of o.Timeline, for what o.Vault and o.Spools hold. o.Base, o.Target and what is
// about folders and servers are not looked at. Errors are those of [Preview].
func OpenLog(ctx context.Context, o Options) (*Log, error) {
	o.Target, o.Base = Target{}, [32]byte{}
	bases, err := pgpoint.Bases(ctx, o.Vault, o.Whose)
	if err != nil {
		return nil, err
	}
	c := &course{}
	if bases, err = c.narrow(bases, o); err != nil {
		return nil, err
	}
	all, err := c.candidates(ctx, bases, o)
	if err != nil {
		return nil, err
	}
	if err := c.pick(ctx, all, o); err != nil {
		return nil, err
	}
	l := &Log{course: c}
	if l.End, _, _, err = c.wal.tail(ctx, c.route); err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.consistent() && a.route.end >= c.route.end { // what a gap lies behind does not lead to the end
			l.Bases, l.routes = append(l.Bases, a.BasePoint), append(l.routes, a)
		}
	}
	return l, nil
}

// Commits gives the commits from position from on and before position to, by their position: all of them if there are at most
// most, else about that many, as far apart from each other as can be.
func (l *Log) Commits(ctx context.Context, from, to pgwal.LSN, most int) (all []Commit, thinned bool, err error) {
	r := l.course.route
	for _, a := range l.routes {
		if a.Start <= from {
			r = a.route // the newest that begins before
		}
	}
	if len(r.steps) == 0 {
		return nil, false, nil
	}
	d, err := l.course.wal.readFrom(ctx, r, max(0, int((l.course.wal.size.Start(from)-r.start(l.course.wal))/pgwal.LSN(l.course.wal.size))))
	if err != nil {
		return nil, false, err
	}
	every, n := 1, 0
	for {
		rec, ok := d.record(ctx)
		if !ok || rec.at >= to {
			return all, every > 1, d.failed()
		}
		h, ok := rec.happening()
		if !ok || h.name != "" || h.aborted || h.at < from {
			continue
		}
		if n++; n%every != 0 {
			continue
		}
		all = append(all, Commit{At: h.at, Time: h.time, XID: h.xid})
		if len(all) > most {
			kept := all[:0]
			for i := 1; i < len(all); i += 2 {
				kept = append(kept, all[i])
			}
			all, every = kept, every*2
		}
	}
}

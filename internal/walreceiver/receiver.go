// Package walreceiver streams PostgreSQL's write-ahead log into a spool and acknowledges what is flushed there.
//
// Reading from the server goes on while the disk is flushed, and one flush acknowledges all that has come until then, so
// that a server with many commits under way waits no longer than one flush. It follows the server over timelines, and
// tells a gap from a pause: what the server has not got any more is an error that no retry mends. It runs one connection;
// its caller tries again. Start with [Run].
package walreceiver

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgrepl"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
)

// Options say what is received.
type Options struct {
	// Server is the login; its application name is what synchronous_standby_names refers to.
	Server *pgconn.Config
	// Slot keeps the log for us while we are away. It is made when there is none and nothing was received yet; later its
	// absence is a gap.
	Slot string
	// Dir is the spool's folder. Reserve is how many bytes of its disk stay free.
	Dir     string
	Reserve int64
	// From is where to begin when the spool is empty, such as the end of what is kept elsewhere; zero: where the server is.
	From walspool.Position
	// Status is how often the server is told where we are, when nothing else happens; 0: every 5 s. It must be shorter than
	// the server's wal_sender_timeout.
	Status time.Duration
	// Silence is for how long the server may say nothing, although it is asked with each status; 0: 30 s. Then the
	// connection is given up.
	Silence time.Duration
	// Progress is told what was flushed, after each flush, by the goroutine that flushes: it must not wait.
	Progress func(Progress)
	Log      *slog.Logger // nil: silent
}

// Progress is how far the spool is.
type Progress struct {
	walspool.Position           // flushed up to here, exclusive
	Server            pgwal.LSN // up to where the server's log went when it said so
	Sent              time.Time // when that was, by the server's clock
}

// Gap says that the server has not got the log that comes next: recovery points before it and after it are not connected.
type Gap struct {
	From walspool.Position // what comes next
	Why  error
}

func (g *Gap) Error() string {
	return "the log from " + g.From.At.String() + " on is lost to the spool: " + g.Why.Error()
}

// Unwrap gives the reason.
func (g *Gap) Unwrap() error { return g.Why }

// Run streams until ctx ends, the server ends the stream or something fails; it never returns nil. Errors: a *Gap; a
// *walspool.Diverged when the server was set back; Conflict when the spool or the slot is in use, or the server is of
// another cluster; Throttled when the disk is full; else Unavailable, and it is worth trying again.
func Run(ctx context.Context, o Options) error {
	return with(ctx, o, func(r *receiver, system pgrepl.System) error { return r.run(ctx, system) })
}

// BeginAnew makes the spool go on where the server is, behind a gap: why is for people. A slot that was invalidated is made
// anew. It gives where the next Run begins.
func BeginAnew(ctx context.Context, o Options, why string) (at walspool.Position, err error) {
	err = with(ctx, o, func(r *receiver, _ pgrepl.System) error {
		if at, err = r.here(ctx); err != nil {
			return err
		}
		return r.spool.Begin(at, why, time.Now().UTC())
	})
	return at, err
}

// with connects, opens the spool, and closes both.
func with(ctx context.Context, o Options, do func(*receiver, pgrepl.System) error) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Status == 0 {
		o.Status = 5 * time.Second
	}
	if o.Silence == 0 {
		o.Silence = 30 * time.Second
	}
	c, err := pgrepl.Connect(ctx, o.Server)
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx))
	system, err := c.Identify(ctx)
	if err != nil {
		return err
	}
	size, err := c.SegmentSize(ctx)
	if err != nil {
		return err
	}
	spool, err := walspool.Open(o.Dir, system.ID, size)
	if err != nil {
		return err
	}
	spool.Reserve = o.Reserve
	return errors.Join(do(&receiver{o: o, c: c, spool: spool, size: size}, system), spool.Close())
}

// receiver is one run.
type receiver struct {
	o     Options
	c     *pgrepl.Conn
	spool *walspool.Spool
	size  pgwal.SegmentSize
	mute  atomic.Bool // the server does not hear us any more
}

func (r *receiver) run(ctx context.Context, system pgrepl.System) error {
	at, err := r.begin(ctx, system)
	if err != nil {
		return err
	}
	for {
		if err := r.saveHistories(ctx, at.Timeline); err != nil {
			return err
		}
		s, err := r.c.StartWAL(ctx, r.o.Slot, at.At, at.Timeline)
		if err != nil {
			return gap(at, err)
		}
		r.o.Log.InfoContext(ctx, "the log is streamed", "from", at.At, "timeline", at.Timeline)
		next, err := r.stream(ctx, s, &at)
		if err != nil {
			return gap(at, err)
		}
		// As pg_receivewal does: the new timeline has the whole of the segment that it begins in.
		at = walspool.Position{Timeline: next.Next, At: r.size.Start(next.At)}
	}
}

// saveHistories keeps the history files up to timeline t. PostgreSQL looks for the newest timeline by asking for one after
// the other, so none may be missing in between; but an old one may be gone from the server.
func (r *receiver) saveHistories(ctx context.Context, t pgwal.Timeline) error {
	c, err := walspool.Read(r.o.Dir)
	if err != nil {
		return err
	}
	for n := pgwal.Timeline(2); n <= t; n++ {
		if _, there := c.Histories[n]; there {
			continue
		}
		history, err := r.c.History(ctx, n)
		if err != nil && n < t && errors.Is(err, failure.NotFound) {
			r.o.Log.WarnContext(ctx, "the server has not got the history of an old timeline", "timeline", n)
			continue
		}
		if err != nil {
			return err
		}
		if err := r.spool.SaveHistory(n, history); err != nil {
			return err
		}
	}
	return nil
}

// gap tells the end of what the server has from other failures: it may be said before the stream begins, or in it.
func gap(at walspool.Position, err error) error {
	if errors.Is(err, failure.NotFound) {
		return &Gap{at, err}
	}
	return err
}

// begin works out where to go on, and makes the slot when there is none.
func (r *receiver) begin(ctx context.Context, system pgrepl.System) (walspool.Position, error) {
	at, err := r.spool.Resume()
	if err != nil {
		return at, err
	}
	if at == (walspool.Position{}) {
		if at = r.o.From; at == (walspool.Position{}) {
			return r.here(ctx)
		}
		at.At = r.size.Start(at.At)
	}
	if err := r.slot(ctx); err != nil {
		return at, err
	}
	switch {
	case system.Timeline < at.Timeline:
		return at, failure.New(failure.Conflict, "stream the log of", r.o.Server.Host, "it is on timeline %d, and the spool holds timeline %d already", system.Timeline, at.Timeline).
			WithHint("this server is an old primary: stream from the one that replaced it")
	case system.Timeline > at.Timeline:
		return r.follow(ctx, at, system.Timeline)
	case system.At < at.At:
		if standby, err := r.c.Standby(); err == nil && standby {
			return at, failure.New(failure.Unavailable, "stream the log of", r.o.Server.Host, "this standby is at %s, and the spool at %s", system.At, at.At)
		}
		return at, &walspool.Diverged{At: walspool.Position{Timeline: at.Timeline, At: system.At}}
	}
	return at, nil
}

// here is where the server is now, as the start of a segment, or from where on its slot keeps the log. The slot is there
// before the place is asked for, so nothing from there on goes away.
func (r *receiver) here(ctx context.Context) (walspool.Position, error) {
	if err := r.slot(ctx); err != nil {
		return walspool.Position{}, err
	}
	system, err := r.c.Identify(ctx)
	if err != nil {
		return walspool.Position{}, err
	}
	at := walspool.Position{Timeline: system.Timeline, At: r.size.Start(system.At)}
	if r.o.Slot != "" && r.c.Major() >= 15 {
		s, err := r.c.ReadSlot(ctx, r.o.Slot)
		if err != nil {
			return at, err
		}
		if s.Restart != 0 && s.Timeline <= system.Timeline { // an older one: the slot was made before the server was promoted
			at = walspool.Position{Timeline: s.Timeline, At: r.size.Start(s.Restart)}
		}
	}
	return at, nil
}

// follow finds where to go on, on a server that has left our timeline since: there, or where it left when we have log
// beyond that, which is no part of its history. A *Gap when ours is none of its ancestors.
func (r *receiver) follow(ctx context.Context, at walspool.Position, t pgwal.Timeline) (walspool.Position, error) {
	content, err := r.c.History(ctx, t)
	if err != nil {
		return at, err
	}
	history, err := pgwal.ParseHistory(t, content)
	if err != nil {
		return at, err
	}
	for i, s := range history {
		if s.Timeline != at.Timeline {
			continue
		}
		if s.At > at.At {
			return at, nil
		}
		next := t
		if i+1 < len(history) {
			next = history[i+1].Timeline
		}
		r.o.Log.WarnContext(ctx, "the server left the timeline before what was received of it: that is not in its history",
			"timeline", at.Timeline, "left at", s.At, "received beyond", at.At, "goes on as", next)
		return walspool.Position{Timeline: next, At: r.size.Start(s.At)}, nil
	}
	return at, &Gap{at, failure.New(failure.NotFound, "stream the log of", r.o.Server.Host, "timeline %d is no part of the history of timeline %d, which it is on", at.Timeline, t)}
}

// slot makes the slot when there is none, or one that was invalidated: such a one keeps nothing, and from version 16 on
// never will again. Whether the server has the log all the same is seen when it is asked for it.
func (r *receiver) slot(ctx context.Context) error {
	if r.o.Slot == "" {
		return nil
	}
	if r.c.Major() >= 15 {
		s, err := r.c.ReadSlot(ctx, r.o.Slot)
		switch {
		case err == nil && s.Restart != 0:
			return nil
		case err == nil:
			r.o.Log.WarnContext(ctx, "the slot keeps nothing, and is made anew", "slot", r.o.Slot)
			if err := r.c.DropSlot(ctx, r.o.Slot); err != nil && !errors.Is(err, failure.NotFound) {
				return err
			}
		case !errors.Is(err, failure.NotFound):
			return err
		}
	}
	if err := r.c.CreateSlot(ctx, r.o.Slot); err != nil && !errors.Is(err, failure.Exists) {
		return err
	}
	return nil
}

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
	// Dir is the spool's folder.
	Dir string
	// Status is how often the server is told where we are, when nothing else happens; 0: every 5 s. It must be shorter than
	// the server's wal_sender_timeout.
	Status time.Duration
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

// Run streams until ctx ends, the server ends the stream or something fails; it never returns nil. Errors: a *Gap; Conflict
// when the spool or the slot is in use, or the server is of another cluster; Throttled when the disk is full; else
// Unavailable, and it is worth trying again.
func Run(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Status == 0 {
		o.Status = 5 * time.Second
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
	r := &receiver{o: o, c: c, spool: spool, size: size}
	return errors.Join(r.run(ctx, system), spool.Close())
}

// receiver is one run.
type receiver struct {
	o     Options
	c     *pgrepl.Conn
	spool *walspool.Spool
	size  pgwal.SegmentSize
}

func (r *receiver) run(ctx context.Context, system pgrepl.System) error {
	at, err := r.begin(ctx, system)
	if err != nil {
		return err
	}
	for {
		if at.Timeline > 1 {
			history, err := r.c.History(ctx, at.Timeline)
			if err != nil {
				return err
			}
			if err := r.spool.SaveHistory(at.Timeline, history); err != nil {
				return err
			}
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

// gap tells the end of what the server has from other failures: it may be said before the stream begins, or in it.
func gap(at walspool.Position, err error) error {
	if errors.Is(err, failure.NotFound) {
		return &Gap{at, err}
	}
	return err
}

// begin works out where to go on, and makes the slot when this is the first time.
func (r *receiver) begin(ctx context.Context, system pgrepl.System) (walspool.Position, error) {
	at, err := r.spool.Resume()
	if err != nil {
		return at, err
	}
	first := at == walspool.Position{}
	if first {
		if r.o.Slot != "" {
			if err := r.c.CreateSlot(ctx, r.o.Slot); err != nil && !errors.Is(err, failure.Exists) {
				return at, err
			}
		}
		// The slot was made before the place was asked for, so nothing from there on goes away.
		if system, err = r.c.Identify(ctx); err != nil {
			return at, err
		}
		return walspool.Position{Timeline: system.Timeline, At: r.size.Start(system.At)}, nil
	}
	if r.o.Slot != "" && r.c.Major() >= 15 {
		if _, err := r.c.ReadSlot(ctx, r.o.Slot); errors.Is(err, failure.NotFound) {
			return at, r.replaceSlot(ctx, at, err)
		} else if err != nil {
			return at, err
		}
	}
	if system.Timeline < at.Timeline {
		return at, failure.New(failure.Conflict, "stream the log of", r.o.Server.Host, "it is on timeline %d, and the spool holds timeline %d already", system.Timeline, at.Timeline).
			WithHint("this server is an old primary: stream from the one that replaced it")
	}
	return at, nil
}

// replaceSlot makes a slot anew that was there once, as on a standby that was promoted, and finds out whether the log was
// kept all the same. Nil: it was.
func (r *receiver) replaceSlot(ctx context.Context, at walspool.Position, gone error) error {
	if err := r.c.CreateSlot(ctx, r.o.Slot); err != nil && !errors.Is(err, failure.Exists) {
		return err
	}
	r.o.Log.WarnContext(ctx, "the slot was gone and is made anew", "slot", r.o.Slot, "from", at.At, "was", gone)
	return nil // whether the server has the log is seen when it is asked for it
}

// arrived is one message, in memory of its own.
type arrived struct {
	pgrepl.Message
	err error
}

// stream receives one timeline from at on, which it moves, and gives the message that ended it.
func (r *receiver) stream(ctx context.Context, s *pgrepl.Stream, at *walspool.Position) (pgrepl.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	incoming := make(chan arrived, 64)
	free := make(chan []byte, cap(incoming))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(incoming)
		for {
			m, err := s.Next(ctx)
			if len(m.Data) > 0 {
				var buffer []byte
				select {
				case buffer = <-free:
				default:
				}
				m.Data = append(buffer[:0], m.Data...)
			}
			select {
			case incoming <- arrived{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil || m.Over {
				return
			}
		}
	}()
	defer func() { cancel(); <-done }()

	tick := time.NewTicker(r.o.Status)
	defer tick.Stop()
	p := Progress{Position: *at}
	defer func() { *at = p.Position }()
	for {
		select {
		case a, open := <-incoming:
			if !open { // ctx ended before its error could be told
				return pgrepl.Message{}, failure.Wrap(ctx.Err(), "stream the log of", r.o.Server.Host)
			}
			over, err := r.take(s, &p, a, incoming, free)
			if err != nil || over != nil {
				if over == nil {
					over = &pgrepl.Message{}
				}
				return *over, err
			}
		case <-tick.C:
			if err := s.Status(p.At, p.At, false); err != nil {
				return pgrepl.Message{}, err
			}
		}
	}
}

// take writes a message and all that has come behind it, flushes once, and acknowledges.
func (r *receiver) take(s *pgrepl.Stream, p *Progress, a arrived, incoming <-chan arrived, free chan<- []byte) (over *pgrepl.Message, err error) {
	reply, wrote := false, false
	for more := true; more; {
		switch {
		case a.err != nil:
			err, more = a.err, false
		case a.Over:
			over, more = &a.Message, false
		default:
			reply = reply || a.Reply
			if a.End > p.Server {
				p.Server, p.Sent = a.End, a.Sent
			}
			if len(a.Data) > 0 {
				if a.Start != p.At {
					return nil, failure.New(failure.Corrupt, "stream the log of", r.o.Server.Host, "log from %s comes, %s is next", a.Start, p.At)
				}
				if err := r.spool.Append(p.Position, a.Data); err != nil {
					return nil, err
				}
				p.At += pgwal.LSN(len(a.Data))
				wrote = true
				select {
				case free <- a.Data:
				default:
				}
			}
			select {
			case next, open := <-incoming:
				more, a = open, next
			default:
				more = false
			}
		}
	}
	if wrote {
		if _, flushErr := r.spool.Flush(); flushErr != nil {
			return nil, errors.Join(flushErr, err)
		}
	}
	if wrote || reply || over != nil {
		if statusErr := s.Status(p.At, p.At, false); statusErr != nil && err == nil && over == nil {
			return nil, statusErr
		}
	}
	if r.o.Progress != nil {
		r.o.Progress(*p)
	}
	if over != nil && over.Next == 0 {
		return nil, failure.New(failure.Unavailable, "stream the log of", r.o.Server.Host, "the server ended the stream at %s", p.At)
	}
	return over, err
}

package walreceiver

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgrepl"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
)

// most is how much log is taken at once before it is flushed, when more and more comes.
const most = 4 << 20

// stream receives one timeline from at on, which it moves, and gives the message that ended it. One goroutine reads, writes,
// flushes and acknowledges: while the disk is flushed, what comes next waits in the connection, and is taken at once then.
func (r *receiver) stream(ctx context.Context, s *pgrepl.Stream, at *walspool.Position) (pgrepl.Message, error) {
	b := &beat{r: r, s: s, stop: make(chan struct{})}
	b.flushed.Store(uint64(at.At))
	b.done.Go(func() { b.run(ctx) })
	defer b.end()
	p := Progress{Position: *at}
	defer func() { *at = p.Position }()
	for {
		// No context: to watch one for each message takes longer than the message. The beat ends this.
		m, err := s.Next(context.Background())
		if err != nil {
			_, _, flushErr := r.take(ctx, b, &p, nil)
			return pgrepl.Message{}, errors.Join(b.why(ctx, err), flushErr)
		}
		b.heard.Store(true)
		over, more, err := r.take(ctx, b, &p, &m)
		if err != nil {
			return pgrepl.Message{}, err
		}
		if !more {
			return over, nil
		}
	}
}

// take writes what a message brings. With the last one that is there for now (nil: there is none) all is flushed and
// acknowledged. More is false with the message that ended the timeline.
func (r *receiver) take(ctx context.Context, b *beat, p *Progress, m *pgrepl.Message) (over pgrepl.Message, more bool, err error) {
	if m != nil && !m.Over {
		b.reply = b.reply || m.Reply
		if m.End >= p.Server {
			p.Server, p.Sent = m.End, m.Sent
		}
		if len(m.Data) > 0 {
			if m.Start != p.At {
				return over, false, failure.New(failure.Corrupt, "stream the log of", r.o.Server.Host, "log from %s comes, %s is next", m.Start, p.At)
			}
			if err := r.spool.Append(p.Position, m.Data); err != nil {
				return over, false, err
			}
			p.At += pgwal.LSN(len(m.Data))
			b.wrote += len(m.Data)
		}
		if b.s.Waiting() && b.wrote < most {
			return over, true, nil
		}
	}
	if b.wrote > 0 {
		if _, err := r.spool.Flush(); err != nil {
			return over, false, err
		}
		b.flushed.Store(uint64(p.At))
	}
	if b.wrote > 0 || b.reply || m != nil && m.Over {
		r.answer(ctx, b.s, p.At, false)
	}
	b.wrote, b.reply = 0, false
	if r.o.Progress != nil {
		r.o.Progress(*p)
	}
	if m == nil || !m.Over {
		return over, true, nil
	}
	if m.Next == 0 {
		return over, false, failure.New(failure.Unavailable, "stream the log of", r.o.Server.Host, "the server ended the stream at %s", p.At)
	}
	return *m, false, nil
}

// answer tells the server where we are. A server that does not hear it may be gone: what it sent before that is still on its
// way to us, and is read to its end, which tells then what there is to be told.
func (r *receiver) answer(ctx context.Context, s *pgrepl.Stream, at pgwal.LSN, ask bool) {
	if r.mute.Load() {
		return
	}
	if err := s.Status(at, at, ask); err != nil {
		r.mute.Store(true)
		r.o.Log.WarnContext(ctx, "the server does not hear us any more: what it sent is read to its end", "error", err)
	}
}

// beat keeps a stream alive beside its reader: it tells the server where we are, and ends the reading when the server says
// nothing any more, or ctx ends.
type beat struct {
	r       *receiver
	s       *pgrepl.Stream
	stop    chan struct{}
	done    sync.WaitGroup
	flushed atomic.Uint64
	heard   atomic.Bool // since the last look
	silent  atomic.Bool // for too long

	wrote int  // bytes that are not flushed; the reader's
	reply bool // the server waits for an answer; the reader's
}

func (b *beat) run(ctx context.Context) {
	tick := time.NewTicker(b.r.o.Status)
	defer tick.Stop()
	silent := time.Duration(0) // counted in ticks: a time for which we ourselves were frozen is none of the server's silence
	for {
		select {
		case <-b.stop:
			return
		case <-ctx.Done():
			b.s.Interrupt()
			return
		case <-tick.C:
		}
		if silent += b.r.o.Status; b.heard.Swap(false) {
			silent = 0
		}
		if silent > b.r.o.Silence {
			b.silent.Store(true)
			b.s.Interrupt()
			return
		}
		// It is asked to answer: so its position is known, and that it lives.
		b.r.answer(ctx, b.s, pgwal.LSN(b.flushed.Load()), true)
	}
}

func (b *beat) end() {
	close(b.stop)
	b.done.Wait()
}

// why is the reason for which reading ended.
func (b *beat) why(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return failure.Wrap(ctx.Err(), "stream the log of", b.r.o.Server.Host)
	case b.silent.Load():
		return failure.New(failure.Unavailable, "stream the log of", b.r.o.Server.Host, "the server has said nothing for %s", b.r.o.Silence)
	}
	return err
}

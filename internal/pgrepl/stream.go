package pgrepl

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// Stream is the log as it arrives. It occupies its connection until [Stream.Next] says that it has ended.
type Stream struct {
	c *Conn
	// over is set when the timeline ended just where the stream was to begin.
	over *Message
}

// Message is one thing that the server says.
type Message struct {
	// Data is log from Start on; empty in what only tells how far the server is. It is valid until the next call.
	Data  []byte
	Start pgwal.LSN
	// End is up to where the server's log goes, Sent when it said so by its own clock.
	End  pgwal.LSN
	Sent time.Time
	// Reply asks for a Status at once: the server is about to give up.
	Reply bool
	// Over says that the timeline ends here: it goes on as Next from At. Next is zero when the server ended the stream by
	// itself, such as in a shutdown.
	Over bool
	Next pgwal.Timeline
	At   pgwal.LSN
}

// StartWAL begins to stream the log of a timeline from at on, which is best the start of a segment; with a slot, whose log
// the server keeps until [Stream.Status] says that it is flushed. NotFound: the server has not got that part any more.
// Conflict: somebody else uses the slot, or it was invalidated.
func (c *Conn) StartWAL(ctx context.Context, slot string, at pgwal.LSN, t pgwal.Timeline) (*Stream, error) {
	command := "START_REPLICATION "
	if slot != "" {
		command += "SLOT " + quote(slot) + " "
	}
	command += fmt.Sprintf("PHYSICAL %s TIMELINE %d", at, t)
	c.pg.Frontend().Send(&pgproto3.Query{String: command})
	if err := c.pg.Frontend().Flush(); err != nil {
		return nil, wrap(err, "stream the log of", c.server)
	}
	over := Message{Over: true}
	for {
		m, err := c.pg.ReceiveMessage(ctx)
		if err != nil {
			return nil, wrap(err, "stream the log of", c.server)
		}
		switch m := m.(type) {
		case *pgproto3.CopyBothResponse:
			return &Stream{c: c}, nil
		case *pgproto3.ErrorResponse:
			return nil, c.refused(ctx, m, "stream the log of")
		case *pgproto3.DataRow:
			if err := c.goesOn(m, &over); err != nil {
				return nil, err
			}
		case *pgproto3.ReadyForQuery:
			return &Stream{c, &over}, nil
		}
	}
}

// goesOn reads which timeline follows, and from where.
func (c *Conn) goesOn(row *pgproto3.DataRow, m *Message) error {
	if len(row.Values) < 2 {
		return nil
	}
	t, err1 := strconv.ParseUint(string(row.Values[0]), 10, 32)
	at, err2 := pgwal.ParseLSN(string(row.Values[1]))
	if err1 != nil || err2 != nil {
		return failure.New(failure.Corrupt, "stream the log of", c.server, "no timeline: %q, %q", row.Values[0], row.Values[1])
	}
	m.Next, m.At = pgwal.Timeline(t), at
	return nil
}

// refused reads an error to its end, so that the connection can be used again.
func (c *Conn) refused(ctx context.Context, m *pgproto3.ErrorResponse, op string) error {
	err := wrap(pgError(m), op, c.server)
	for {
		next, receiveErr := c.pg.ReceiveMessage(ctx)
		if receiveErr != nil {
			return err
		}
		if _, ready := next.(*pgproto3.ReadyForQuery); ready {
			return err
		}
	}
}

// Next waits for the server's next message. Errors: Unavailable when the connection breaks, ctx's when that ends first;
// the connection is of no use then.
func (s *Stream) Next(ctx context.Context) (Message, error) {
	if s.over != nil {
		return *s.over, nil
	}
	for {
		m, err := s.c.pg.ReceiveMessage(ctx)
		if err != nil {
			return Message{}, wrap(err, "stream the log of", s.c.server)
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			out, known, err := parseCopy(m.Data)
			if err != nil || known {
				return out, err
			}
		case *pgproto3.CopyDone:
			return s.end(ctx)
		case *pgproto3.ErrorResponse:
			return Message{}, s.c.refused(ctx, m, "stream the log of")
		}
	}
}

// Waiting reports whether a part of the next message, at least, has been read from the connection already.
func (s *Stream) Waiting() bool {
	return s.c.pg.Frontend().ReadBufferLen() > 0 || s.c.in.Buffered() > 0
}

// Interrupt makes Next fail, now and from now on: the connection is of no use then. It may be called while another goroutine
// waits in Next.
func (s *Stream) Interrupt() {
	_ = s.c.pg.Conn().SetReadDeadline(time.Unix(1, 0)) // of a connection that is closed already Next tells
}

// epoch is what PostgreSQL counts its microseconds from.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func clock(micros uint64) time.Time {
	return epoch.Add(time.Duration(int64(micros)) * time.Microsecond)
}

// parseCopy reads one message of the stream: XLogData or a keepalive. What it does not know is passed over.
func parseCopy(data []byte) (m Message, known bool, err error) {
	o := binary.BigEndian
	short := failure.New(failure.Corrupt, "stream the log", "", "a message of %d bytes is cut off", len(data))
	if len(data) == 0 {
		return m, false, short
	}
	switch data[0] {
	case 'w':
		if len(data) < 25 {
			return m, false, short
		}
		return Message{Start: pgwal.LSN(o.Uint64(data[1:])), End: pgwal.LSN(o.Uint64(data[9:])), Sent: clock(o.Uint64(data[17:])), Data: data[25:]}, true, nil
	case 'k':
		if len(data) < 18 {
			return m, false, short
		}
		return Message{End: pgwal.LSN(o.Uint64(data[1:])), Sent: clock(o.Uint64(data[9:])), Reply: data[17] != 0}, true, nil
	}
	return m, false, nil
}

// Status tells the server up to where the log is written and flushed here, both exclusive. What is flushed counts for
// commits that wait for this standby, and need not be kept for its slot. Ask makes the server answer at once. Status may
// be called while another goroutine waits in Next.
func (s *Stream) Status(written, flushed pgwal.LSN, ask bool) error {
	o := binary.BigEndian
	var frame [5 + 34]byte // written by itself: what pgconn keeps for writing belongs to the goroutine that reads
	frame[0] = 'd'         // CopyData
	o.PutUint32(frame[1:], 4+34)
	b := frame[5:]
	b[0] = 'r'
	o.PutUint64(b[1:], uint64(written))
	o.PutUint64(b[9:], uint64(flushed))
	o.PutUint64(b[17:], 0) // nothing is applied: a commit with remote_apply waits for a standby that applies
	o.PutUint64(b[25:], uint64(time.Since(epoch)/time.Microsecond))
	if ask {
		b[33] = 1
	}
	_, err := s.c.pg.Conn().Write(frame[:])
	return wrap(err, "answer", s.c.server)
}

// end reads how the stream ended: with the next timeline, or with nothing. The connection can be used for commands again.
func (s *Stream) end(ctx context.Context) (Message, error) {
	s.c.pg.Frontend().Send(&pgproto3.CopyDone{})
	if err := s.c.pg.Frontend().Flush(); err != nil {
		return Message{}, wrap(err, "stream the log of", s.c.server)
	}
	out := Message{Over: true}
	for {
		m, err := s.c.pg.ReceiveMessage(ctx)
		if err != nil {
			return Message{}, wrap(err, "stream the log of", s.c.server)
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			if err := s.c.goesOn(m, &out); err != nil {
				return Message{}, err
			}
		case *pgproto3.ErrorResponse:
			return Message{}, s.c.refused(ctx, m, "stream the log of")
		case *pgproto3.ReadyForQuery:
			return out, nil
		}
	}
}

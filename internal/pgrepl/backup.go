package pgrepl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// BackupOptions say how a base backup is taken.
type BackupOptions struct {
	Label string
	// Fast checkpoints at once instead of waiting for the next one.
	Fast bool
	// MaxRate bounds the server's sending, in KiB a second, from 32 to 1,048,576; 0: no bound.
	MaxRate int
	// Incremental is the manifest of an earlier backup: only what has changed since is sent, as INCREMENTAL.* files. From
	// PostgreSQL 17 on, with summarize_wal.
	Incremental io.Reader
}

// Start is where a base backup begins in the log: what is restored from it is replayed from there.
type Start struct {
	At       pgwal.LSN
	Timeline pgwal.Timeline
}

// Tablespace is one folder of a cluster. The main one, the data folder, has no OID and no location.
type Tablespace struct {
	OID      string
	Location string
	Size     int64 // bytes, estimated by the server
}

// Taker is given a base backup while it arrives. What it does not read to its end is passed over.
type Taker interface {
	// Begin comes first: where it starts, and of which folders it is made.
	Begin(ctx context.Context, s Start, spaces []Tablespace) error
	// Archive is given each folder as a tar stream, one after the other: base.tar or OID.tar.
	Archive(ctx context.Context, name string, tar io.Reader) error
	// Manifest is given the manifest, as JSON, last.
	Manifest(ctx context.Context, json io.Reader) error
}

// BaseBackup takes a base backup of the whole cluster and gives the position in the log up to which it must be replayed
// to be consistent. The log itself is not in it. An error of the taker ends it, and closes the connection. Corrupt together
// with a position: everything was handed to the taker, and the server found pages with wrong checksums on the way.
func (c *Conn) BaseBackup(ctx context.Context, o BackupOptions, taker Taker) (pgwal.LSN, error) {
	if o.Incremental != nil {
		if err := c.uploadManifest(ctx, o.Incremental); err != nil {
			return 0, err
		}
	}
	c.pg.Frontend().Send(&pgproto3.Query{String: c.backupCommand(o)})
	if err := c.pg.Frontend().Flush(); err != nil {
		return 0, wrap(err, "back up", c.server)
	}
	b := &backup{c: c, taker: taker}
	end, err := b.run(ctx)
	if err != nil && !b.ended {
		// The server would go on sending.
		return 0, errors.Join(err, c.pg.Close(context.WithoutCancel(ctx)))
	}
	return end, err
}

// backupCommand is BASE_BACKUP in the grammar of the server's version.
func (c *Conn) backupCommand(o BackupOptions) string {
	var opts []string
	if c.Major() < 15 {
		opts = append(opts, "LABEL "+literal(o.Label), "PROGRESS")
		if o.Fast {
			opts = append(opts, "FAST")
		}
		opts = append(opts, "NOWAIT")
		if o.MaxRate > 0 {
			opts = append(opts, fmt.Sprintf("MAX_RATE %d", o.MaxRate))
		}
		opts = append(opts, "TABLESPACE_MAP", "MANIFEST 'yes'")
		return "BASE_BACKUP " + strings.Join(opts, " ")
	}
	checkpoint := "spread"
	if o.Fast {
		checkpoint = "fast"
	}
	opts = append(opts, "LABEL "+literal(o.Label), "PROGRESS", "CHECKPOINT "+literal(checkpoint), "WAIT 0", "TABLESPACE_MAP", "MANIFEST 'yes'")
	if o.MaxRate > 0 {
		opts = append(opts, fmt.Sprintf("MAX_RATE %d", o.MaxRate))
	}
	if o.Incremental != nil {
		opts = append(opts, "INCREMENTAL")
	}
	return "BASE_BACKUP (" + strings.Join(opts, ", ") + ")"
}

// uploadManifest hands the server the manifest that an incremental backup starts from.
func (c *Conn) uploadManifest(ctx context.Context, manifest io.Reader) error {
	if c.Major() < 17 {
		return failure.New(failure.Unsupported, "back up", c.server, "PostgreSQL %d has no incremental backups", c.Major())
	}
	_, err := c.pg.CopyFrom(ctx, manifest, "UPLOAD_MANIFEST")
	return wrap(err, "hand over the manifest to", c.server)
}

// backup is a base backup while it arrives. The taker reads in this goroutine: a tar stream asks for messages when it
// needs more.
type backup struct {
	c     *Conn
	taker Taker

	start  Start
	spaces []Tablespace
	header [][]string // rows of the result that is being read
	sets   int        // results that are complete
	end    pgwal.LSN
	ended  bool // ReadyForQuery came

	rest []byte // of the message that is being read
	next *part  // an archive or the manifest that has begun
	over bool   // the copy has ended
}

// part is one stream within the backup.
type part struct {
	name     string
	manifest bool
}

func (b *backup) run(ctx context.Context) (pgwal.LSN, error) {
	old := b.c.Major() < 15
	copies := 0
	for !b.ended {
		m, err := b.c.pg.ReceiveMessage(ctx)
		if err != nil {
			return 0, wrap(err, "back up", b.c.server)
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			row := make([]string, len(m.Values))
			for i, v := range m.Values {
				row[i] = string(v)
			}
			b.header = append(b.header, row)
		case *pgproto3.CommandComplete:
			if err := b.result(ctx); err != nil {
				return 0, err
			}
		case *pgproto3.CopyOutResponse:
			b.over = false
			if old {
				err = b.takeOld(ctx, copies)
			} else {
				err = b.takeNew(ctx)
			}
			if err != nil {
				return 0, err
			}
			copies++
		case *pgproto3.ErrorResponse:
			b.ended = true
			return b.end, b.c.refused(ctx, m, "back up")
		case *pgproto3.ReadyForQuery:
			b.ended = true
		}
	}
	if b.end == 0 {
		return 0, failure.New(failure.Corrupt, "back up", b.c.server, "the server did not say where the backup ends")
	}
	return b.end, nil
}

// result takes in a result that is complete: the start, the folders, and after the copies the end.
func (b *backup) result(ctx context.Context) error {
	rows := b.header
	b.header = nil
	if len(rows) == 0 {
		return nil
	}
	b.sets++
	corrupt := func(err error) error {
		return failure.WrapAs(failure.Corrupt, err, "back up", b.c.server)
	}
	switch b.sets {
	case 1, 3:
		at, err1 := pgwal.ParseLSN(rows[0][0])
		t, err2 := strconv.ParseUint(rows[0][1], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return corrupt(err)
		}
		if b.sets == 3 {
			b.end = at
			return nil
		}
		b.spaces = nil
		b.next = nil
		b.start = Start{at, pgwal.Timeline(t)}
	case 2:
		for _, row := range rows {
			size := int64(0)
			if row[2] != "" {
				kib, err := strconv.ParseInt(row[2], 10, 64)
				if err != nil {
					return corrupt(err)
				}
				size = kib << 10
			}
			b.spaces = append(b.spaces, Tablespace{OID: row[0], Location: row[1], Size: size})
		}
		return b.taker.Begin(ctx, b.start, b.spaces)
	}
	return nil
}

// takeNew takes all archives and the manifest, which come in one copy since version 15.
func (b *backup) takeNew(ctx context.Context) error {
	if err := b.fill(ctx); err != nil { // the first message names the first archive
		return endOf(err)
	}
	for b.next != nil {
		p := *b.next
		b.next = nil
		if err := b.take(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// takeOld takes one archive, or after the last one the manifest: each is a copy of its own before version 15.
func (b *backup) takeOld(ctx context.Context, n int) error {
	p := part{manifest: true}
	if n < len(b.spaces) {
		p = part{name: "base.tar"}
		if oid := b.spaces[n].OID; oid != "" {
			p.name = oid + ".tar"
		}
	}
	return b.take(ctx, p)
}

// take hands one stream to the taker, then passes over what it has not read.
func (b *backup) take(ctx context.Context, p part) error {
	r := partReader{ctx, b}
	var err error
	if p.manifest {
		err = b.taker.Manifest(ctx, r)
	} else {
		err = b.taker.Archive(ctx, p.name, r)
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return err
}

// partReader reads the stream that is under way.
type partReader struct {
	ctx context.Context
	b   *backup
}

func (r partReader) Read(p []byte) (int, error) {
	for len(r.b.rest) == 0 {
		if r.b.next != nil || r.b.over {
			return 0, io.EOF
		}
		if err := r.b.fill(r.ctx); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.b.rest)
	r.b.rest = r.b.rest[n:]
	return n, nil
}

// fill receives until there is data, the next stream begins, or the copy is over: io.EOF.
func (b *backup) fill(ctx context.Context) error {
	for {
		m, err := b.c.pg.ReceiveMessage(ctx)
		if err != nil {
			return wrap(err, "back up", b.c.server)
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if done, err := b.data(m.Data); done || err != nil {
				return err
			}
		case *pgproto3.CopyDone:
			b.over = true
			return io.EOF
		case *pgproto3.ErrorResponse:
			b.ended = true
			return b.c.refused(ctx, m, "back up")
		}
	}
}

// data takes in one message. Since version 15 its first byte says what it is.
func (b *backup) data(data []byte) (done bool, err error) {
	if b.c.Major() < 15 {
		b.rest = data
		return len(data) > 0, nil
	}
	if len(data) == 0 {
		return false, failure.New(failure.Corrupt, "back up", b.c.server, "an empty message")
	}
	switch data[0] {
	case 'd':
		b.rest = data[1:]
		return len(b.rest) > 0, nil
	case 'n':
		name, _, ok := strings.Cut(string(data[1:]), "\x00")
		if !ok {
			return false, failure.New(failure.Corrupt, "back up", b.c.server, "an archive without a name")
		}
		b.next = &part{name: name}
		return true, nil
	case 'm':
		b.next = &part{manifest: true}
		return true, nil
	case 'p':
		if len(data) >= 9 {
			_ = binary.BigEndian.Uint64(data[1:]) // how much the server has read: what arrives here is counted by the taker
		}
	}
	return false, nil
}

func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func pgError(m *pgproto3.ErrorResponse) error { return pgconn.ErrorResponseToPgError(m) }

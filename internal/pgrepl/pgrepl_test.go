package pgrepl_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgrepl"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

func config(t *testing.T, p *pgtest.Pair) *pgconn.Config {
	t.Helper()
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable application_name=pgrepl_test",
		p.Hosts[pgtest.East], p.Ports[pgtest.East]))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func connect(t *testing.T, p *pgtest.Pair) *pgrepl.Conn {
	t.Helper()
	c, err := pgrepl.Connect(t.Context(), config(t, p))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.WithoutCancel(t.Context())) })
	return c
}

// unpacker writes a base backup into a folder, as somebody would by hand.
type unpacker struct {
	folder string
	start  pgrepl.Start
	spaces []pgrepl.Tablespace
	names  []string
	pages  int // of relations, with a good checksum
	bad    int
}

func (u *unpacker) Begin(_ context.Context, s pgrepl.Start, spaces []pgrepl.Tablespace) error {
	u.start, u.spaces = s, spaces
	return nil
}

func (u *unpacker) Archive(_ context.Context, name string, r io.Reader) error {
	u.names = append(u.names, name)
	folder := u.folder
	if name != "base.tar" {
		folder = filepath.Join(u.folder, "pg_tblspc", strings.TrimSuffix(name, ".tar"))
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(folder, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o700)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		default:
			var content []byte
			if content, err = io.ReadAll(tr); err == nil {
				u.check(h.Name, content)
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			return err
		}
	}
}

// check looks at the pages of the main forks of relations.
func (u *unpacker) check(name string, content []byte) {
	base := filepath.Base(name)
	if !strings.HasPrefix(name, "base/") && !strings.HasPrefix(name, "global/") && !strings.HasPrefix(name, "PG_") || strings.Trim(base, "0123456789") != "" {
		return
	}
	for i := 0; i+pgwal.PageSize <= len(content); i += pgwal.PageSize {
		if pgwal.PageSound((*[pgwal.PageSize]byte)(content[i:]), uint32(i/pgwal.PageSize)) {
			u.pages++
		} else {
			u.bad++
		}
	}
}

func (u *unpacker) Manifest(_ context.Context, r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(u.folder, "backup_manifest"), content, 0o600)
}

// TestBaseBackup takes one of a cluster with a tablespace and page checksums, and has PostgreSQL's own program judge it.
func TestBaseBackup(t *testing.T) {
	p := pgtest.Start(t, pgtest.Options{})
	p.Stop(pgtest.West)
	p.Stop(pgtest.East)
	p.Run(filepath.Join(p.Bin, "pg_checksums"), "--enable", "--no-sync", "-D", p.Data(pgtest.East))
	p.Run("mkdir", filepath.Join(p.Dir(pgtest.East), "space"))
	p.Launch(pgtest.East)
	p.Exec(pgtest.East, fmt.Sprintf("create tablespace s location '%s'", filepath.Join(p.Dir(pgtest.East), "space")))
	p.Exec(pgtest.East, "create table t tablespace s as select g, repeat('x', 500) from generate_series(1, 5000) g")
	p.Exec(pgtest.East, "create table u as select g from generate_series(1, 5000) g")

	c := connect(t, p)
	u := &unpacker{folder: t.TempDir()}
	end, err := c.BaseBackup(t.Context(), pgrepl.BackupOptions{Label: "it's a test", Fast: true}, u)
	if err != nil {
		t.Fatal(err)
	}
	if u.start.At == 0 || end <= u.start.At || u.start.Timeline != 1 || len(u.spaces) != 2 || fmt.Sprint(u.names) != fmt.Sprintf("[%s.tar base.tar]", u.spaces[0].OID) {
		t.Errorf("start %+v, end %s, folders %+v, archives %v", u.start, end, u.spaces, u.names)
	}
	if u.bad > 0 || u.pages < 1000 {
		t.Errorf("%d pages with a wrong checksum, %d with a right one", u.bad, u.pages)
	}
	label, err := os.ReadFile(filepath.Join(u.folder, "backup_label"))
	if err != nil || !strings.Contains(string(label), "it's a test") || !strings.Contains(string(label), u.start.At.String()) {
		t.Errorf("backup_label: %s %v", label, err)
	}
	verify := exec.Command(filepath.Join(p.Bin, "pg_verifybackup"), "--no-parse-wal", u.folder)
	if out, err := verify.CombinedOutput(); err != nil {
		t.Errorf("pg_verifybackup: %v\n%s", err, out)
	}
	if _, err := c.Identify(t.Context()); err != nil {
		t.Errorf("the connection is of no use after a backup: %v", err)
	}
}

// lazy reads nothing of what it is given.
type lazy struct{ fail string }

func (l lazy) Begin(context.Context, pgrepl.Start, []pgrepl.Tablespace) error { return l.err("begin") }
func (l lazy) Archive(_ context.Context, _ string, r io.Reader) error {
	_, err := io.CopyN(io.Discard, r, 100_000)
	return errors.Join(err, l.err("archive"))
}
func (l lazy) Manifest(context.Context, io.Reader) error { return l.err("manifest") }

func (l lazy) err(at string) error {
	if l.fail == at {
		return errors.New(at)
	}
	return nil
}

func TestTakersThatStop(t *testing.T) {
	p := pgtest.Start(t, pgtest.Options{})
	c := connect(t, p)
	if _, err := c.BaseBackup(t.Context(), pgrepl.BackupOptions{Label: "lazy", Fast: true}, lazy{}); err != nil {
		t.Errorf("a taker that reads little: %v", err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, at := range []string{"begin", "archive", "manifest"} {
		c := connect(t, p)
		if _, err := c.BaseBackup(t.Context(), pgrepl.BackupOptions{Label: at, Fast: true}, lazy{at}); err == nil || !strings.Contains(err.Error(), at) {
			t.Errorf("a taker that fails in %s: %v", at, err)
		}
		if _, err := c.Identify(t.Context()); err == nil {
			t.Errorf("the connection goes on after a taker that fails in %s", at)
		}
	}
	p.WaitFor(pgtest.East, "select count(*) = 0 from pg_stat_replication where state = 'backup'")
}

// TestStream follows the log over a switch of timelines, and compares what came with the server's own segments.
func TestStream(t *testing.T) {
	p := pgtest.Start(t, pgtest.Options{})
	c, slots := connect(t, p), connect(t, p)
	if err := slots.CreateSlot(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if err := slots.CreateSlot(t.Context(), "s"); !errors.Is(err, failure.Exists) {
		t.Errorf("the slot is made twice: %v", err)
	}
	size, err := c.SegmentSize(t.Context())
	if err != nil || size != pgwal.DefaultSegmentSize {
		t.Fatal(size, err)
	}
	system, err := c.Identify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	begin := size.Start(system.At)
	s, err := c.StartWAL(t.Context(), "s", begin, system.Timeline)
	if err != nil {
		t.Fatal(err)
	}
	p.Exec(pgtest.East, "create table t as select g, repeat('x', 100) from generate_series(1, 100000) g")
	want := lsn(t, p.Text(pgtest.East, "pg_current_wal_flush_lsn()"))
	var got bytes.Buffer
	for at := begin; at < want; {
		m, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Data) > 0 && m.Start != at {
			t.Fatalf("log from %s comes when it is at %s", m.Start, at)
		}
		got.Write(m.Data)
		at += pgwal.LSN(len(m.Data))
		if len(m.Data) > 0 && (m.End < at || time.Since(m.Sent) > time.Hour) {
			t.Errorf("the server's log ends at %s, sent %s", m.End, m.Sent)
		}
		if err := s.Status(at, at, false); err != nil {
			t.Fatal(err)
		}
	}
	data := got.Bytes()[:want-begin]
	for at := begin; at < want; at += pgwal.LSN(size) {
		name := pgwal.SegmentName(system.Timeline, at, size)
		theirs, err := os.ReadFile(filepath.Join(p.Data(pgtest.East), "pg_wal", name))
		if err != nil {
			t.Fatal(err)
		}
		ours := data[at-begin : min(at+pgwal.LSN(size), want)-begin]
		if !bytes.Equal(ours, theirs[:len(ours)]) {
			t.Errorf("%s is not what the server has", name)
		}
		h, err := pgwal.ParseHeader(ours)
		if err != nil || h.SystemID != system.ID || h.Address != at || h.Segment != size || h.Timeline != system.Timeline {
			t.Errorf("%s begins with %+v, %v", name, h, err)
		}
		if n := pgwal.CheckPages(ours, at, h.Magic); n != len(ours) {
			t.Errorf("%s: pages are sound up to %d of %d", name, n, len(ours))
		}
	}
	if _, err := slots.StartWAL(t.Context(), "s", begin, system.Timeline); !errors.Is(err, failure.Conflict) {
		t.Errorf("somebody else's slot is used: %v", err)
	}
	slot, err := slots.ReadSlot(t.Context(), "s")
	if err != nil || slot.Restart < begin {
		t.Errorf("slot %+v, %v", slot, err)
	}
	if _, err := slots.ReadSlot(t.Context(), "none"); !errors.Is(err, failure.NotFound) {
		t.Errorf("a slot that is not there: %v", err)
	}
	if _, err := slots.StartWAL(t.Context(), "", begin, 9); err == nil {
		t.Error("a timeline that is not there is streamed")
	}
	// The server stops: it sends what it has and ends the stream.
	stopped := make(chan struct{})
	go func() { p.Stop(pgtest.East); close(stopped) }()
	for {
		m, err := s.Next(t.Context())
		if err != nil {
			if failure.KindOf(err) != failure.Unavailable {
				t.Errorf("the end of the server: %v", err)
			}
			break
		}
		if m.Over {
			if m.Next != 0 {
				t.Errorf("it goes on as timeline %d", m.Next)
			}
			break
		}
		if m.End > 0 {
			if err := s.Status(m.End, m.End, false); err != nil {
				break
			}
		}
	}
	<-stopped
}

// TestTimelineEnds streams a timeline that another one has replaced.
func TestTimelineEnds(t *testing.T) {
	for name, more := range map[string]string{"within a segment": "create table t as select g from generate_series(1, 1000) g",
		"between two": "select pg_switch_wal()"} {
		t.Run(name, func(t *testing.T) { timelineEnds(t, more) })
	}
}

func timelineEnds(t *testing.T, more string) {
	p := pgtest.Start(t, pgtest.Options{})
	p.Exec(pgtest.East, more)
	p.WaitFor(pgtest.East, "select coalesce(bool_and(replay_lsn = pg_current_wal_flush_lsn()), false) from pg_stat_replication")
	p.Kill(pgtest.East)
	p.Exec(pgtest.West, "select pg_promote()")
	cfg := config(t, p)
	cfg.Host, cfg.Port = p.Hosts[pgtest.West], uint16(p.Ports[pgtest.West])
	c, err := pgrepl.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(t.Context()))
	system, err := c.Identify(t.Context())
	if err != nil || system.Timeline != 2 {
		t.Fatal(system, err)
	}
	text, err := c.History(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	history, err := pgwal.ParseHistory(2, text)
	if err != nil || len(history) != 1 {
		t.Fatalf("%q: %v", text, err)
	}
	s, err := c.StartWAL(t.Context(), "", pgwal.DefaultSegmentSize.Start(history[0].At), 1)
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Over {
			if m.Next != 2 || m.At != history[0].At {
				t.Errorf("it goes on as %d from %s, want 2 from %s", m.Next, m.At, history[0].At)
			}
			break
		}
	}
	if _, err := c.Identify(t.Context()); err != nil {
		t.Errorf("the connection is of no use after the end of a timeline: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	p := pgtest.Start(t, pgtest.Options{})
	cfg := config(t, p)
	cfg.User = "nobody_of_this_name"
	if _, err := pgrepl.Connect(t.Context(), cfg); !errors.Is(err, failure.Denied) {
		t.Errorf("an unknown login: %v", err)
	}
	cfg = config(t, p)
	cfg.Port = 1
	if _, err := pgrepl.Connect(t.Context(), cfg); !errors.Is(err, failure.Unavailable) {
		t.Errorf("nobody listens: %v", err)
	}
	c := connect(t, p)
	if _, err := c.BaseBackup(t.Context(), pgrepl.BackupOptions{MaxRate: 1}, lazy{}); failure.KindOf(err) == failure.Corrupt || err == nil {
		t.Errorf("a rate that cannot be: %v", err)
	}
	if err := c.DropSlot(t.Context(), "none"); !errors.Is(err, failure.NotFound) {
		t.Errorf("a slot that is not there is dropped: %v", err)
	}
}

func lsn(t *testing.T, text string) pgwal.LSN {
	t.Helper()
	v, err := pgwal.ParseLSN(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

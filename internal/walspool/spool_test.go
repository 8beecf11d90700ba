package walspool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
)

const size = 1 << 20

// stream is log that is told from any other by its place.
func stream(from, to pgwal.LSN) []byte {
	out := make([]byte, 0, to-from)
	for at := from; at < to; at++ {
		out = append(out, byte(uint64(at)*2654435761>>13)|1)
	}
	return out
}

func open(t *testing.T, dir string) *walspool.Spool {
	t.Helper()
	s, err := walspool.Open(dir, 42, size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	do(t, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "0") {
			out = append(out, e.Name())
		}
	}
	return out
}

// TestTwoTimelines appends in odd pieces over segments and a switch of timelines, and reads all of it back.
func TestTwoTimelines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir)
	if p, err := s.Resume(); err != nil || p != (walspool.Position{}) {
		t.Fatal(p, err)
	}
	at, end := pgwal.LSN(3*size), pgwal.LSN(5*size+12345)
	for n := 1; at < end; n = n*7%100_003 + 1 {
		to := min(at+pgwal.LSN(n), end)
		do(t, s.Append(walspool.Position{Timeline: 1, At: at}, stream(at, to)))
		at = to
	}
	if flushed, err := s.Flush(); err != nil || flushed != end {
		t.Fatal(flushed, err)
	}
	do(t, s.SaveHistory(2, []byte("1\t0/500800\tno reason\n")))
	do(t, s.Append(walspool.Position{Timeline: 2, At: 5 * size}, stream(5*size, 6*size+1)))
	do(t, s.Close())

	want := []string{"000000010000000000000003", "000000010000000000000004", "000000010000000000000005.partial",
		"00000002.history", "000000020000000000000005", "000000020000000000000006.partial"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	c, err := walspool.Read(dir)
	do(t, err)
	for _, seg := range c.Segments {
		content, err := os.ReadFile(seg.Path)
		do(t, err)
		valid := seg.At + size
		switch {
		case seg.Partial && seg.Timeline == 1:
			valid = end
		case seg.Partial:
			valid = 6*size + 1
		}
		n := valid - seg.At
		if len(content) != size || !bytes.Equal(content[:n], stream(seg.At, valid)) || !bytes.Equal(content[n:], make([]byte, size-n)) {
			t.Errorf("%s does not hold what was appended, and zeros behind it", seg.Path)
		}
	}
	if c.About().SystemID != 42 || len(c.Histories) != 1 {
		t.Errorf("%+v", c)
	}
	s = open(t, dir)
	if p, err := s.Resume(); err != nil || p != (walspool.Position{Timeline: 2, At: 6 * size}) {
		t.Errorf("goes on at %+v, %v", p, err)
	}
	do(t, s.Append(walspool.Position{Timeline: 2, At: 6 * size}, stream(6*size, 7*size)))
	if p, err := s.Resume(); err != nil || p != (walspool.Position{Timeline: 2, At: 7 * size}) {
		t.Errorf("goes on at %+v, %v", p, err)
	}
	do(t, walspool.Remove(dir, []walspool.Position{{Timeline: 1, At: 3 * size}, {Timeline: 1, At: 5 * size}, {Timeline: 2, At: 9 * size}}))
	do(t, s.Close())
	want = []string{"000000010000000000000004", "000000010000000000000005.partial", "00000002.history", "000000020000000000000005", "000000020000000000000006"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestBeginAnew leaves a gap: it is written down, and the log goes on behind it.
func TestBeginAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir)
	do(t, s.Append(walspool.Position{Timeline: 1, At: size}, stream(size, 2*size+10)))
	for _, p := range []walspool.Position{{Timeline: 1, At: size}, {Timeline: 1, At: 2 * size}, {Timeline: 1, At: 7*size + 1}} {
		if err := s.Begin(p, "why not", time.Time{}); !errors.Is(err, failure.Invalid) {
			t.Errorf("at %+v: %v", p, err)
		}
	}
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	do(t, s.Begin(walspool.Position{Timeline: 1, At: 7 * size}, "the slot was lost", now))
	do(t, s.Close())
	s = open(t, dir)
	p, err := s.Resume()
	do(t, err)
	if want := (walspool.Position{Timeline: 1, At: 7 * size}); p != want {
		t.Errorf("goes on at %+v, want %+v", p, want)
	}
	do(t, s.Append(p, stream(p.At, p.At+10)))
	do(t, s.Close())
	c, err := walspool.Read(dir)
	do(t, err)
	want := []walspool.Start{{Position: walspool.Position{Timeline: 1, At: 7 * size}, Why: "the slot was lost", Time: now}}
	if diff := cmp.Diff(want, c.Starts); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if end, err := c.Segments[2].Written(); err != nil || end != 7*size+10 {
		t.Errorf("written up to %s, %v", end, err)
	}
}

// TestAServerThatWasSetBack sends other log for what was received: that is told, and what was received stays.
func TestAServerThatWasSetBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir)
	at := walspool.Position{Timeline: 1, At: size}
	do(t, s.Append(at, stream(size, size+1000)))
	do(t, s.Close())
	s = open(t, dir)
	do(t, s.Append(at, stream(size, size+600)))
	other := stream(size+600, size+2000)
	other[100]++
	err := s.Append(walspool.Position{Timeline: 1, At: size + 600}, other)
	var diverged *walspool.Diverged
	if !errors.As(err, &diverged) || diverged.At.At != size+700 || !errors.Is(err, failure.Conflict) {
		t.Errorf("got %v", err)
	}
	_ = s.Close()
	check(t, dir, size+1000)
}

// TestTheReserveStays begins no segment when the disk would have less than the reserve.
func TestTheReserveStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir)
	free, err := walspool.Free(dir)
	do(t, err)
	s.Reserve = 2 * free
	if err := s.Append(walspool.Position{Timeline: 1, At: size}, []byte{1}); !errors.Is(err, failure.Throttled) || failure.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	_ = s.Close()
}

func TestWhatCannotBe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	if _, err := walspool.Read(dir); !errors.Is(err, failure.NotFound) {
		t.Errorf("none: %v", err)
	}
	s := open(t, dir)
	if _, err := walspool.Open(dir, 42, size); !errors.Is(err, failure.Conflict) {
		t.Errorf("opened twice: %v", err)
	}
	do(t, s.Append(walspool.Position{Timeline: 1, At: size}, stream(size, size+10)))
	if err := s.Append(walspool.Position{Timeline: 1, At: size + 11}, []byte("x")); !errors.Is(err, failure.Internal) {
		t.Errorf("a hole: %v", err)
	}
	if _, err := s.Flush(); err == nil {
		t.Error("a spool that has failed flushes")
	}
	_ = s.Close()
	for _, p := range []walspool.Position{{Timeline: 1, At: size + 5}, {Timeline: 1, At: size - 1}} {
		s := open(t, dir)
		if err := s.Append(p, []byte("x")); err == nil {
			t.Errorf("begins within a segment: %+v", p)
		}
		_ = s.Close()
	}
	for _, other := range []struct {
		id   uint64
		size pgwal.SegmentSize
	}{{43, size}, {42, 2 * size}} {
		if _, err := walspool.Open(dir, other.id, other.size); !errors.Is(err, failure.Conflict) || failure.HintOf(err) == "" {
			t.Errorf("another cluster's: %v", err)
		}
	}
	if _, err := walspool.Open(dir, 42, 12345); !errors.Is(err, failure.Invalid) {
		t.Errorf("a size that cannot be: %v", err)
	}
	do(t, os.WriteFile(filepath.Join(dir, "spool.json"), []byte("{"), 0o600))
	if _, err := walspool.Open(dir, 42, size); !errors.Is(err, failure.Corrupt) {
		t.Errorf("a damaged spool: %v", err)
	}
}

// TestDiskFull fills a small file system: what was acknowledged stays, and it goes on when there is room.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("without root's rights there is no small file system: run as root to test a full disk")
		return
	}
	dir := t.TempDir()
	do(t, exec.Command("mount", "-t", "tmpfs", "-o", "size=6m", "none", dir).Run())
	defer func() { do(t, exec.Command("umount", dir).Run()) }()
	ballast := filepath.Join(dir, "ballast")
	do(t, os.WriteFile(ballast, make([]byte, size), 0o600))
	spool := filepath.Join(dir, "spool")
	s := open(t, spool)
	at, acknowledged := pgwal.LSN(size), pgwal.LSN(0)
	for {
		err := s.Append(walspool.Position{Timeline: 1, At: at}, stream(at, at+100_000))
		if err == nil {
			at += 100_000
			acknowledged, err = s.Flush()
		}
		if err != nil {
			if !errors.Is(err, failure.Throttled) {
				t.Errorf("a full disk is %v", err)
			}
			break
		}
	}
	_ = s.Close()
	if acknowledged < 3*size {
		t.Fatalf("only %s was acknowledged", acknowledged)
	}
	do(t, os.Remove(ballast))
	s = open(t, spool)
	p, err := s.Resume()
	do(t, err)
	check(t, spool, max(p.At, acknowledged)) // it may hold more than it could acknowledge
	do(t, s.Append(p, stream(p.At, p.At+size)))
	do(t, s.Close())
	check(t, spool, acknowledged)
}

// check reads the spool and compares it with the stream up to end.
func check(t *testing.T, dir string, end pgwal.LSN) {
	t.Helper()
	c, err := walspool.Read(dir)
	do(t, err)
	at := pgwal.LSN(size)
	for _, seg := range c.Segments {
		if seg.At != at {
			t.Fatalf("a segment at %s, want %s", seg.At, at)
		}
		content, err := os.ReadFile(seg.Path)
		do(t, err)
		n := min(size, int(end)-int(at))
		if n > 0 && !bytes.Equal(content[:n], stream(at, at+pgwal.LSN(n))) {
			t.Fatalf("%s is not what was acknowledged", seg.Path)
		}
		at += size
	}
	if at < end {
		t.Errorf("the spool ends at %s, %s was acknowledged", at, end)
	}
}

// TestMain makes this test the writer that is killed, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "append" {
		s, err := walspool.Open(os.Args[2], 42, size)
		if err != nil {
			panic(err)
		}
		p, err := s.Resume()
		if err != nil {
			panic(err)
		}
		if p.Timeline == 0 {
			p = walspool.Position{Timeline: 1, At: size}
		}
		for {
			if err := s.Append(p, stream(p.At, p.At+30_000)); err != nil {
				panic(err)
			}
			p.At += 30_000
			flushed, err := s.Flush()
			if err != nil {
				panic(err)
			}
			fmt.Println(flushed)
		}
	}
	os.Exit(m.Run())
}

// TestKilled kills a writer again and again: whatever it acknowledged is there, and the next one goes on.
func TestKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	acknowledged := pgwal.LSN(0)
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "append", dir)
		out, err := cmd.StdoutPipe()
		do(t, err)
		do(t, cmd.Start())
		lines := make([]byte, 0, 1<<16)
		buffer := make([]byte, 512)
		for lines = lines[:0]; bytes.Count(lines, []byte("\n")) < 20+13*round; {
			n, err := out.Read(buffer)
			do(t, err)
			lines = append(lines, buffer[:n]...)
		}
		do(t, cmd.Process.Kill())
		rest, err := io.ReadAll(out)
		do(t, err)
		_ = cmd.Wait() // killed
		lines = append(lines, rest...)
		whole := strings.Fields(string(lines[:bytes.LastIndexByte(lines, '\n')]))
		last, err := pgwal.ParseLSN(whole[len(whole)-1])
		do(t, err)
		if last > acknowledged {
			acknowledged = last
		}
		check(t, dir, acknowledged)
	}
	if acknowledged < 10*size {
		t.Errorf("only %s was acknowledged", acknowledged)
	}
}

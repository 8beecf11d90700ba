package etcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

func TestExistsAndSize(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if Exists(dir) {
		t.Error("a journal exists before it was opened")
	}
	s := openFolder(t, dir, FolderOptions{})
	if _, _, err := s.Commit(t.Context(), put("k", "v")); err != nil {
		t.Fatal(err)
	}
	if !Exists(dir) {
		t.Error("no journal exists after it was opened")
	}
	if got := folderSize(t, dir); got > 10e6 {
		t.Errorf("a fresh journal takes %d bytes on disk, want 10 MB at most", got)
	}
	for name, want := range map[string]os.FileMode{dataName: 0o700, lockName: 0o600, socketName: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
}

// TestOddPaths shares journals in folders whose names are long or strange.
func TestOddPaths(t *testing.T) {
	for _, name := range []string{"a b%20?#ü", strings.Repeat("long/", 30)} {
		dir := filepath.Join(t.TempDir(), name)
		host := openFolder(t, dir, FolderOptions{})
		other := openFolder(t, dir, FolderOptions{})
		if _, _, err := other.Commit(t.Context(), put("k", "v")); err != nil {
			t.Errorf("Commit: %v", err)
		}
		if _, ok, _, err := host.Get(t.Context(), "k"); !ok || err != nil {
			t.Errorf("Get: ok %v, error %v", ok, err)
		}
		socket := readHolder(dir).Socket
		if len(socket) > maxSocketPath {
			t.Errorf("the socket's path has %d bytes", len(socket))
		}
		if err := errors.Join(other.Close(), host.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if filepath.Dir(socket) != dir {
			_ = os.Remove(filepath.Dir(socket))
		}
	}
}

func TestNoSpace(t *testing.T) {
	_, err := OpenFolder(t.Context(), t.TempDir(), FolderOptions{MinFree: 1 << 62})
	if !errors.Is(err, failure.Unavailable) || !strings.Contains(failure.HintOf(err), "free some disk space") {
		t.Errorf("got %v (hint %q), want unavailable and what to do", err, failure.HintOf(err))
	}
}

// TestDamagedLog damages the write-ahead log: opening says so instead of ending the process, and frees the folder.
func TestDamagedLog(t *testing.T) {
	dir := t.TempDir()
	s := openFolder(t, dir, FolderOptions{})
	for i := range 50 {
		if _, _, err := s.Commit(t.Context(), put(fmt.Sprint(i), strings.Repeat("x", 1000))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, dataName, "member", "wal", "*.wal"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no log: %v", err)
	}
	file, err := os.OpenFile(logs[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte(strings.Repeat("y", 100)), 20_000); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err := OpenFolder(t.Context(), dir, FolderOptions{})
		if !errors.Is(err, failure.Corrupt) || failure.HintOf(err) == "" {
			t.Errorf("got %v (hint %q), want corrupt and what to do", err, failure.HintOf(err))
		}
	}
	if l, err := tryLock(dir); l == nil || err != nil {
		t.Errorf("the folder is still locked: %v", err)
	} else {
		l.release()
	}
}

// TestCompaction writes more revisions than are retained: the oldest position is lost, a recent one is not.
func TestCompaction(t *testing.T) {
	s := openFolder(t, t.TempDir(), FolderOptions{Retain: 50})
	var rev int64
	for deadline := time.Now().Add(4 * time.Minute); ; {
		for range 100 {
			var err error
			if rev, _, err = s.Commit(t.Context(), put("k", fmt.Sprint(rev))); err != nil {
				t.Fatal(err)
			}
		}
		if lost(t, s, 0) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is ever compacted")
		}
	}
	if lost(t, s, rev-1) {
		t.Error("the newest position is lost")
	}
}

// lost reports whether a watch from a position on is closed without a change.
func lost(t *testing.T, s journal.Store, after int64) bool {
	t.Helper()
	group, ok := <-s.Watch(t.Context(), "k", after)
	return !ok && group == nil
}

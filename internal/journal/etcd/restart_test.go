package etcd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lifeboat-dr/lifeboat/internal/journal"
)

// TestRestartsAfterAnyNumberOfEntries kills a host after it has written 0 to some hundred entries, and opens its folder
// again, many times over: the member stands for election at once, and must not do so before it has taken note of its
// own log.
func TestRestartsAfterAnyNumberOfEntries(t *testing.T) {
	if dir := os.Getenv("LIFEBOAT_RESTART_DIR"); dir != "" {
		writeAndDie(t, dir)
	}
	dir := t.TempDir()
	for round := range 40 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRestartsAfterAnyNumberOfEntries$")
		cmd.Env = append(os.Environ(), "LIFEBOAT_RESTART_DIR="+dir, fmt.Sprintf("LIFEBOAT_RESTART_WRITES=%d", 5+round%20))
		if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.Exited() {
			t.Fatalf("round %d: the host ended by itself (%v):\n%s", round, err, out)
		}
	}
	store, err := OpenFolder(t.Context(), dir, FolderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	kvs, _, err := store.List(t.Context(), "k/", journal.ListOptions{})
	if want := 2 * (20*5 + 190); err != nil || len(kvs) != want {
		t.Errorf("%d records (error %v), want %d: what was acknowledged is there", len(kvs), err, want)
	}
}

// writeAndDie is the host: it writes records and kills itself.
func writeAndDie(t *testing.T, dir string) {
	var writes int
	if _, err := fmt.Sscan(os.Getenv("LIFEBOAT_RESTART_WRITES"), &writes); err != nil {
		t.Fatal(err)
	}
	store, err := OpenFolder(t.Context(), filepath.Clean(dir), FolderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, rev, err := store.List(t.Context(), "k/", journal.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range writes {
		op := journal.Op{Key: fmt.Sprintf("k/%d-%d", rev, n), Value: []byte("v")}
		if _, ok, err := store.Commit(t.Context(), journal.Txn{Then: []journal.Op{op}}); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Kill(); err != nil {
		t.Fatal(err)
	}
	select {}
}

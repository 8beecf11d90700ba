package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/journaltest"
)

// openFolder opens the journal in a folder, which is patient unless the options say how long it waits.
func openFolder(tb testing.TB, dir string, opt FolderOptions) journal.Store {
	tb.Helper()
	opt.CallTimeout = cmp.Or(opt.CallTimeout, time.Minute)
	opt.OpenTimeout = cmp.Or(opt.OpenTimeout, time.Minute)
	s, err := OpenFolder(context.Background(), dir, opt)
	if err != nil {
		tb.Fatalf("OpenFolder: %v (hint: %s)", err, failure.HintOf(err))
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func put(key, value string) journal.Txn {
	return journal.Txn{Then: []journal.Op{{Key: key, Value: []byte(value)}}}
}

// TestHostKilled kills the host while others write through it: one of the others goes on with everything that was
// acknowledged, the writes whose answer was lost happened once or not at all, and a watch misses nothing.
func TestHostKilled(t *testing.T) {
	dir := t.TempDir()
	first := startProcess(t, dir)
	if got := first.line(t); got != "host" {
		t.Fatalf("the first process is %q, want host", got)
	}
	const writers = 4
	recorder := journaltest.NewRecorder(func(key string) bool { return strings.HasPrefix(key, "register/") })
	watched := openFolder(t, dir, FolderOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	changes := watched.Watch(ctx, "", 0)

	var clients sync.WaitGroup
	halfway := make(chan struct{}, writers)
	acknowledged := make([][]string, writers)
	for w := range writers {
		s := recorder.Wrap(openFolder(t, dir, FolderOptions{}))
		clients.Go(func() {
			for i := range 400 {
				if i == 150 {
					halfway <- struct{}{}
				}
				mine := fmt.Sprintf("own/%d/%04d", w, i)
				register := fmt.Sprintf("register/%d", i%2)
				kv, _, _, err := s.Get(ctx, register)
				if err != nil {
					if !errors.Is(err, failure.Unavailable) {
						t.Errorf("Get: %v", err)
					}
					continue
				}
				_, ok, err := s.Commit(ctx, journal.Txn{
					If: []journal.Cond{{Key: register, Mod: kv.Mod}},
					Then: []journal.Op{
						{Key: register, Value: []byte(mine)},
						{Key: mine, Value: []byte("x")},
					},
				})
				switch {
				case ok:
					acknowledged[w] = append(acknowledged[w], mine)
				case err != nil && !errors.Is(err, failure.Unavailable) && !errors.Is(err, failure.Indeterminate):
					t.Errorf("Commit: %v", err)
				}
			}
		})
	}
	for range writers {
		<-halfway
	}
	first.kill()
	clients.Wait()
	recorder.Check(t)

	got, ok := readHolder(dir), false
	if ok = got.PID == os.Getpid(); !ok {
		t.Errorf("the host is %v, want this process", got)
	}
	kvs, rev, err := watched.List(ctx, "own/", journal.ListOptions{})
	if err != nil {
		t.Fatalf("List after the host was killed: %v", err)
	}
	present := map[string]bool{}
	for _, kv := range kvs {
		present[kv.Key] = true
	}
	total := 0
	for _, keys := range acknowledged {
		total += len(keys)
		for _, key := range keys {
			if !present[key] {
				t.Errorf("%s was acknowledged and is lost", key)
			}
		}
	}
	if total == 0 {
		t.Error("nothing was acknowledged")
	}
	last := int64(0)
	for last < rev {
		select {
		case group, open := <-changes:
			if !open {
				t.Fatal("the watch was closed")
			}
			if group[0].Mod != last+1 && last != 0 {
				t.Fatalf("the watch sent revision %d after %d", group[0].Mod, last)
			}
			last = group[0].Mod
		case <-ctx.Done():
			t.Fatalf("the watch stays at revision %d of %d", last, rev)
		}
	}
	t.Logf("%d of %d writes acknowledged, %d operations", total, writers*400, recorder.Len())
}

// TestHostFrozen stops the host: the others say who it is within bounded time, and go on when it does.
func TestHostFrozen(t *testing.T) {
	dir := t.TempDir()
	host := startProcess(t, dir)
	if got := host.line(t); got != "host" {
		t.Fatalf("the first process is %q, want host", got)
	}
	const patience = 500 * time.Millisecond
	s := openFolder(t, dir, FolderOptions{CallTimeout: patience})
	reached := func(what string, call func() error) { // calls of an impatient store, on a machine that has much else to do
		t.Helper()
		within(t, 4*time.Minute, what, func() {
			for call() != nil {
			}
		})
	}
	reached("the first commit", func() error { _, _, err := s.Commit(t.Context(), put("k", "1")); return err })
	if err := host.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("pid %d (helper)", host.cmd.Process.Pid)
	wantNamed := func(what string, err error, kinds ...failure.Kind) {
		t.Helper()
		if err == nil {
			t.Fatalf("%s: no error while the host is stopped", what)
		}
		for _, kind := range kinds {
			if errors.Is(err, kind) {
				if hint := failure.HintOf(err); !strings.Contains(hint, name) {
					t.Errorf("%s: the hint is %q, want it to name %s", what, hint, name)
				}
				return
			}
		}
		t.Errorf("%s: got %v, want one of the kinds %v", what, err, kinds)
	}
	within(t, 4*time.Minute, "calls to a frozen host", func() {
		_, _, err := s.Commit(t.Context(), put("k", "2"))
		wantNamed("the first Commit", err, failure.Indeterminate, failure.Unavailable)
		_, _, err = s.Commit(t.Context(), put("never", "3"))
		wantNamed("the next Commit", err, failure.Unavailable)
		_, _, _, err = s.Get(t.Context(), "k")
		wantNamed("Get", err, failure.Unavailable)
		_, err = s.Grant(t.Context(), time.Minute)
		wantNamed("Grant", err, failure.Unavailable)
		_, err = OpenFolder(t.Context(), dir, FolderOptions{OpenTimeout: patience})
		wantNamed("OpenFolder", err, failure.Unavailable)
		if runtime.GOOS == "linux" && !strings.Contains(failure.HintOf(err), "kill -CONT") {
			t.Errorf("the hint of OpenFolder is %q, want it to say how the host goes on", failure.HintOf(err))
		}
	})
	if err := host.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	reached("going on", func() error {
		kv, ok, _, err := s.Get(t.Context(), "k")
		if err == nil && (!ok || string(kv.Value) != "1" && string(kv.Value) != "2") {
			t.Errorf("got %q, want what was written before", kv.Value)
		}
		return err
	})
	reached("looking for what was refused", func() error {
		_, ok, _, err := s.Get(t.Context(), "never")
		if ok {
			t.Error("a commit that was refused as unavailable was written")
		}
		return err
	})
	host.end(t)
	if _, _, err := s.Commit(t.Context(), put("k", "4")); err != nil && !errors.Is(err, failure.Indeterminate) {
		t.Errorf("Commit after the host ended: %v", err)
	}
}

// TestOpenRace starts five processes at once on an empty folder.
func TestOpenRace(t *testing.T) {
	dir := t.TempDir()
	var all []*process
	for range 5 {
		all = append(all, startProcess(t, dir))
	}
	roles := map[string]int{}
	for _, p := range all {
		roles[p.line(t)]++
	}
	if roles["host"] != 1 || roles["attached"] != 4 {
		t.Errorf("got %v, want one host and four attached", roles)
	}
	for _, p := range all { // whoever hosts ends, and another takes over, until none is left
		p.end(t)
	}
	s := openFolder(t, dir, FolderOptions{})
	if _, _, err := s.Commit(t.Context(), put("k", "1")); err != nil {
		t.Errorf("Commit after all have ended: %v", err)
	}
}

// TestHostCloses closes the host under those who use it: a write that is answered is there, and none goes wrong.
func TestHostCloses(t *testing.T) {
	dir := t.TempDir()
	host := openFolder(t, dir, FolderOptions{})
	s := openFolder(t, dir, FolderOptions{})
	changes := s.Watch(t.Context(), "", 0)
	session, err := s.Grant(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	var indeterminate, written int
	for i := range 300 {
		if i == 100 {
			go func() {
				defer close(closed)
				if err := host.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
		}
		_, ok, err := s.Commit(t.Context(), put(fmt.Sprintf("k/%03d", i), ""))
		switch {
		case ok:
			written++
		case errors.Is(err, failure.Indeterminate):
			indeterminate++
		default:
			t.Errorf("Commit %d: ok %v, error %v", i, ok, err)
		}
	}
	<-closed
	if indeterminate > 1 {
		t.Errorf("%d commits were left without an answer by a host that closed in order", indeterminate)
	}
	kvs, _, err := s.List(t.Context(), "k/", journal.ListOptions{})
	if err != nil || len(kvs) < written {
		t.Errorf("%d records, error %v; want %d", len(kvs), err, written)
	}
	for seen := 0; seen < len(kvs); {
		group, open := <-changes
		if !open {
			t.Fatal("the watch was closed")
		}
		seen += len(group)
	}
	if err := s.KeepAlive(t.Context(), session); err != nil {
		t.Errorf("the session did not outlive its host: %v", err)
	}
}

// TestNoNetwork looks at the host's own descriptors.
func TestNoNetwork(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc to look at")
	}
	host := startProcess(t, filepath.Join(t.TempDir(), "state"))
	if got := host.line(t); got != "host" {
		t.Fatalf("the process is %q, want host", got)
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", host.cmd.Process.Pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("no descriptors: %v", err)
	}
	sockets := map[string]bool{}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "socket:[") {
			sockets[strings.Trim(target, "socket:[]")] = true
		}
	}
	if len(sockets) == 0 {
		t.Error("the host has no socket at all: this test sees nothing")
	}
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", host.cmd.Process.Pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if fields := strings.Fields(line); len(fields) > 9 && sockets[fields[9]] {
				t.Errorf("the host has a %s socket: %s", table, line)
			}
		}
	}
}

package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/demo/process"
	"github.com/lifeboat-dr/lifeboat/internal/demo/programs"
)

// TestMain makes the test program stand in for the lifeboat binary, whose hidden commands the services are, and for a
// demo that makes a world and is killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if run, ok := programs.All()[os.Args[1]]; ok {
			if err := run(context.Background(), os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
		if i := slices.Index(os.Args, "--listen"); i > 0 { // lifeboat vault serve
			listener, err := net.Listen("tcp", os.Args[i+1])
			fmt.Fprintln(os.Stderr, "listening", err)
			for err == nil {
				_, err = listener.Accept()
			}
			os.Exit(1)
		}
		if os.Args[1] == "vault" || os.Args[1] == "-c" { // lifeboat vault init, protect: a world does not look into what they make
			os.Exit(0)
		}
		if os.Args[1] == "make-a-world-and-wait" {
			_, err := Create(context.Background(), Options{Binary: os.Args[0]})
			fmt.Println("up", err)
			io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// tempFolder gives each test a folder for temporary files of its own that PostgreSQL's user can enter, so that tests
// see no other demo's world and leave none to it.
func tempFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "world-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	return dir
}

func create(t *testing.T) *World {
	t.Helper()
	tempFolder(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w, err := Create(t.Context(), Options{Binary: self, Say: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { down(t, w) })
	return w
}

func down(t *testing.T, w *World) {
	t.Helper()
	if t.Failed() {
		for _, site := range []string{East, West} {
			log, _ := os.ReadFile(w.path(site, "postgres.log"))
			t.Logf("PostgreSQL in %s:\n%s", site, log)
		}
	}
	if err := w.Down(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	if n, err := w.Processes(); n != 0 || err != nil {
		t.Errorf("%d processes are left, %v", n, err)
	}
	if exists(w.dir) {
		t.Errorf("the folder %s is left", w.dir)
	}
}

// order places an order at a site's shop, by address, and gives the status and body of the answer.
func order(t *testing.T, w *World, site, id string) (int, string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://%s:%d/orders", Addresses[site], w.state.Ports.Shop)
	resp, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func TestWorld(t *testing.T) {
	w := create(t)
	if status, body := order(t, w, East, "first"); status != http.StatusCreated {
		t.Fatalf("order: %d %s", status, body)
	}
	if status, body := order(t, w, East, "first"); status != http.StatusCreated || body != `{"id":"first","attempts":2}` {
		t.Errorf("the same order again: %d %s", status, body)
	}
	if status, _ := order(t, w, East, "no such id!"); status != http.StatusBadRequest {
		t.Errorf("a bad order: %d", status)
	}
	conn, err := w.Connect(t.Context(), West, Database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var ids []string
	// Synchronous means flushed in west, not yet visible there: visible follows at once.
	err = until(t.Context(), "the order to be visible in west", func(ctx context.Context) error {
		rows, err := conn.Query(ctx, "select id from orders order by id")
		if err != nil {
			return err
		}
		defer rows.Close()
		ids = nil
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		if len(ids) != 1 {
			return fmt.Errorf("got %v", ids)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"fsync": "on", "data_checksums": "on", "wal_log_hints": "on", "cluster_name": West} {
		var got string
		if err := conn.QueryRow(t.Context(), "select setting from pg_settings where name = $1", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
	}
	info, err := os.Stat(w.path("secrets", adminPassword))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the password's file: %v, %v", info.Mode(), err)
	}
}

// TestNoAcknowledgementWithoutTheStandby holds the shop to its promise: an order that has reached east's disk only is
// not acknowledged, also when it is sent again and is found there.
func TestNoAcknowledgementWithoutTheStandby(t *testing.T) {
	w := create(t)
	if err := w.Cluster(West).Stop(t.Context(), "immediate"); err != nil {
		t.Fatal(err)
	}
	conn, err := w.Connect(t.Context(), East, Database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for attempt := range 2 {
		if status, body := order(t, w, East, "alone"); status != http.StatusServiceUnavailable {
			t.Fatalf("attempt %d without a standby: %d %s", attempt, status, body)
		}
	}
	// The backend whose client gave up has made its commit visible in east by now; east has it, west has not.
	err = until(t.Context(), "the order to be in east", func(ctx context.Context) error {
		var id string
		return conn.QueryRow(ctx, "select id from orders").Scan(&id)
	})
	if err != nil {
		t.Fatal(err)
	}
	if status, body := order(t, w, East, "alone"); status != http.StatusServiceUnavailable {
		t.Fatalf("an order that only east has is acknowledged when it is sent again: %d %s", status, body)
	}
	if err := w.Cluster(West).Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = until(t.Context(), "the shop to acknowledge", func(context.Context) error {
		if status, body := order(t, w, East, "alone"); status != http.StatusCreated {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestACancelledWaitIsNoAcknowledgement: PostgreSQL answers success, with a warning, when somebody cancels the wait for
// the standby.
func TestACancelledWaitIsNoAcknowledgement(t *testing.T) {
	w := create(t)
	if err := w.Cluster(West).Stop(t.Context(), "immediate"); err != nil {
		t.Fatal(err)
	}
	conn, err := w.Connect(t.Context(), East, Database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	canceled := make(chan error, 1)
	go func() {
		canceled <- until(t.Context(), "the commit to wait for the standby", func(ctx context.Context) error {
			var yes bool
			return conn.QueryRow(ctx, `select pg_cancel_backend(pid) from pg_stat_activity
				where application_name = 'shop' and wait_event = 'SyncRep'`).Scan(&yes)
		})
	}()
	status, body := order(t, w, East, "doubtful")
	if err := <-canceled; err != nil {
		t.Fatal(err)
	}
	if status != http.StatusServiceUnavailable {
		t.Errorf("got %d %s, want 503", status, body)
	}
}

func TestDestroy(t *testing.T) {
	w := create(t)
	if status, body := order(t, w, East, "before"); status != http.StatusCreated {
		t.Fatalf("order: %d %s", status, body)
	}
	lost, killed, err := w.Destroy(t.Context(), East)
	if err != nil {
		t.Fatal(err)
	}
	if killed < 6 { // the shop, the postmaster, and at least four of its processes
		t.Errorf("killed %d processes", killed)
	}
	if exists(w.path(East)) || !exists(filepath.Join(lost, "pgdata")) {
		t.Error("the site's folder has not been taken away")
	}
	if status, body := order(t, w, East, "after"); status != 0 {
		t.Errorf("a destroyed site answers: %d %s", status, body)
	}
	conn, err := w.Connect(t.Context(), West, Database)
	if err != nil {
		t.Fatalf("the other site was hit too: %v", err)
	}
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), "select count(*) from orders where id = 'before'").Scan(&n); err != nil || n != 1 {
		t.Errorf("the acknowledged order in west: %d, %v", n, err)
	}
	begun := w.path(East, "work") // by a program that was not told yet that the machine is gone
	if err := os.MkdirAll(begun, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := w.Rack(t.Context(), East); err != nil || exists(begun) {
		t.Errorf("a new machine: %v, and what was begun on none is there: %v", err, exists(begun))
	}
	if err := w.Rack(t.Context(), West); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a new machine in the place of one with a database: %v", err)
	}
}

func TestCanceledCreationLeavesNothing(t *testing.T) {
	dir := tempFolder(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"name server", "primary", "standby", "synchronous", "the shop in east"} {
		ctx, cancel := context.WithCancel(t.Context())
		id := ""
		_, err := Create(ctx, Options{Binary: self, Say: func(format string, args ...any) {
			if strings.Contains(fmt.Sprintf(format, args...), at) {
				cancel()
			}
		}})
		if err == nil {
			t.Fatalf("%s: created in spite of the cancellation", at)
		}
		if !strings.Contains(err.Error(), "cancel") {
			t.Errorf("%s: got %v", at, err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 0 {
			t.Errorf("%s: left %v, %v", at, entries, err)
		}
		if left := below(t, dir); len(left) != 0 {
			t.Errorf("%s: processes left: %v %s", at, left, id)
		}
		cancel()
	}
}

// below lists the processes with a command line or a working folder below dir, other than the test itself.
func below(t *testing.T, dir string) []string {
	t.Helper()
	table, err := process.Table()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, info := range table {
		names := slices.ContainsFunc(info.Args, func(arg string) bool { return strings.Contains(arg, dir) })
		if info.PID != os.Getpid() && (names || strings.HasPrefix(process.Folder(info.PID), dir)) {
			out = append(out, strings.Join(info.Args, " "))
		}
	}
	return out
}

func TestLeftoversOfAKilledDemo(t *testing.T) {
	dir := tempFolder(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	demo := exec.Command(self, "make-a-world-and-wait")
	in, err := demo.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	defer demo.Wait()
	defer demo.Process.Kill()
	up := make([]byte, 64)
	if n, err := out.Read(up); err != nil || string(up[:n]) != "up <nil>\n" {
		t.Fatalf("got %q, %v", up[:n], err)
	}
	said := 0
	say := func(format string, args ...any) { said++; t.Logf(format, args...) }
	if err := CleanLeftovers(t.Context(), "", say); err != nil || said != 0 {
		t.Fatalf("a demo that runs: %v, said %d things", err, said)
	}
	if left := below(t, dir); len(left) < 5 {
		t.Fatalf("a demo that runs was taken away; left: %v", left)
	}
	if err := demo.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	demo.Wait()
	if left := below(t, dir); len(left) < 5 {
		t.Fatalf("this test needs a world that outlives its owner, there is only %v", left)
	}
	if err := CleanLeftovers(t.Context(), "", say); err != nil || said != 1 {
		t.Errorf("a killed demo: %v, said %d things", err, said)
	}
	if left := below(t, dir); len(left) != 0 {
		t.Errorf("processes left: %v", left)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("folders left: %v, %v", entries, err)
	}
}

func TestFoldersThatAreNotOurs(t *testing.T) {
	dir := tempFolder(t)
	nothing := func(string, ...any) { t.Error("something was cleaned") }
	full := filepath.Join(dir, "full")
	fake := filepath.Join(dir, folderPrefix+"fake")
	for _, folder := range []string{full, fake} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{
		filepath.Join(full, "precious"): "data",
		filepath.Join(fake, stateFile):  `{"lifeboat_demo_world": 1, "id": "x", "dir": "/somewhere/else"}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := CleanLeftovers(t.Context(), full, nothing); err != nil {
		t.Error(err)
	}
	if _, err := Create(t.Context(), Options{Dir: full}); failure.KindOf(err) != failure.Exists {
		t.Errorf("a folder with something in it: %v", err)
	}
	if _, err := Open(fake); failure.KindOf(err) != failure.Denied {
		t.Errorf("a state file that names another folder: %v", err)
	}
	if _, err := Open(full); failure.KindOf(err) != failure.NotFound {
		t.Errorf("a folder that is no world: %v", err)
	}
	if !exists(filepath.Join(full, "precious")) || !exists(fake) {
		t.Error("a folder that is not ours was removed")
	}
}

func TestKeptWorldStaysUntilItIsStopped(t *testing.T) {
	w := create(t)
	if err := w.Keep(); err != nil {
		t.Fatal(err)
	}
	w.state.Owner.Start = "another process" // as if this one had ended
	if err := w.save(); err != nil {
		t.Fatal(err)
	}
	if err := CleanLeftovers(t.Context(), "", func(string, ...any) { t.Error("a kept world was cleaned") }); err != nil {
		t.Error(err)
	}
	if err := CleanLeftovers(t.Context(), w.Dir(), t.Logf); failure.KindOf(err) != failure.Conflict {
		t.Errorf("a new demo in the folder of a kept one: %v", err)
	}
	again, err := Open(w.Dir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	down(t, again)
	if n, err := again.Processes(); n != 0 || err != nil || ctx.Err() != nil {
		t.Errorf("%d processes left, %v", n, err)
	}
}

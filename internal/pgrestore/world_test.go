package pgrestore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore/ask"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/file"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestMain makes this test the program that PostgreSQL asks for log, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == ask.Program {
		os.Exit(ask.Main(os.Args[2:], os.Stderr))
	}
	if len(os.Args) > 1 && os.Args[1] == restoreProgram {
		restoreMain(os.Args[2])
	}
	if err := os.Setenv("PGRESTORE_TEST_PASSWORD", password); err != nil { // of the vault, which a receiver opens by itself
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(template)
	os.Exit(code)
}

// template is a folder with a new cluster, once one was needed.
var template string

const password = "correct horse"

var whose = pgpoint.Whose{App: "shop", Resource: "db"}

// segmentSize is small, so that there are many.
const segmentSize = 1 << 20

// world is a server, a receiver with its spool, and a vault.
type world struct {
	t        testing.TB
	bin      string
	root     string
	host     string
	port     int
	program  string // this test, where the server's user may run it
	vaultDir string
	v        *vault.Vault
	stop     func() // the receiver
}

// begin makes a world without a receiver.
func begin(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, bin: pgtest.Bin(t), host: "127.0.0.5"}
	var err error
	if w.root, err = os.MkdirTemp("", "pgrestore"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.clean)
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatalf("root needs an unprivileged user for PostgreSQL: %v (apt-get install postgresql makes it)", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(w.root, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	w.program = w.copySelf()
	w.fresh()
	w.sh(`cat >>"$2/data/postgresql.conf" <<END
unix_socket_directories = ''
max_wal_size = 64MB
track_commit_timestamp = on
max_prepared_transactions = 5
synchronous_commit = on
wal_sender_timeout = 5s
END
echo 'host all,replication all 127.0.0.0/8 trust' >>"$2/data/pg_hba.conf"`, w.bin, w.root)
	w.launch("data")
	w.vaultDir = filepath.Join(w.root, "vault")
	if w.v, err = vault.Init(t.Context(), w.store(), password, vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}, RetryLock: time.Minute}); err != nil {
		t.Fatal(err)
	}
	return w
}

// fresh copies a new cluster, which takes less than to make one.
func (w *world) fresh() {
	w.t.Helper()
	if template == "" {
		dir, err := os.MkdirTemp("", "pgrestore-new")
		if err != nil {
			w.t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			w.t.Fatal(err)
		}
		template = dir
		w.sh(`"$1/initdb" -D "$2/data" -U postgres -A trust --no-sync -E UTF8 --locale C --wal-segsize=1 -k >/dev/null`, w.bin, template)
	}
	w.sh(`cp -a "$1/data" "$2/data"`, template, w.root)
}

func (w *world) store() *file.Store {
	w.t.Helper()
	s, err := file.Open(w.vaultDir)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// copySelf puts this program where the server's user may run it: go test makes it in a folder of its own user's.
func (w *world) copySelf() string {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	to := w.dir("lifeboat")
	if err := os.Link(self, to); err == nil {
		return to
	}
	text, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(to, text, 0o755)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return to
}

func (w *world) dir(names ...string) string {
	return filepath.Join(append([]string{w.root}, names...)...)
}

func (w *world) launch(folder string) {
	w.t.Helper()
	l, err := net.Listen("tcp", w.host+":0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	w.sh(`"$1/pg_ctl" start -w -s -D "$2" -l "$2.log" -o "-c port=$3 -c listen_addresses=$4"`, w.bin, w.dir(folder), strconv.Itoa(w.port), w.host)
}

func (w *world) halt(folder, mode string) {
	w.t.Helper()
	w.sh(`"$1/pg_ctl" stop -w -s -m "$3" -D "$2"`, w.bin, w.dir(folder), mode)
}

// clean ends what still runs in the world's folders, and removes them.
func (w *world) clean() {
	if w.stop != nil {
		w.stop()
	}
	names, _ := filepath.Glob(w.root + "/*/postmaster.pid")
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		pid, _ := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
		at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if pid <= 1 || err != nil || !strings.HasPrefix(at, w.root) {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGQUIT)
		for {
			var status syscall.WaitStatus
			if done, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil); done == pid || err == nil && done < 0 {
				break
			}
			if syscall.Kill(pid, 0) != nil {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	if w.t.Failed() {
		logs, _ := filepath.Glob(w.root + "/*.log")
		for _, name := range logs {
			if text, err := os.ReadFile(name); err == nil {
				lines := strings.Split(strings.TrimSpace(string(text)), "\n")
				w.t.Logf("%s:\n%s", name, strings.Join(lines[max(0, len(lines)-30):], "\n"))
			}
		}
	}
	if os.Getenv("LIFEBOAT_KEEP") != "" {
		return
	}
	if err := os.RemoveAll(w.root); err != nil {
		w.t.Errorf("clean up: %v", err)
	}
}

// sh runs a script as the servers' user.
func (w *world) sh(script string, args ...string) string {
	w.t.Helper()
	out, err := w.try(script, args...)
	if err != nil {
		w.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

func (w *world) try(script string, args ...string) (string, error) {
	argv := append([]string{"sh", "-c", "cd / && " + script, "sh"}, args...)
	if os.Getuid() == 0 {
		argv = append([]string{"runuser", "-u", "postgres", "--"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	f, err := os.CreateTemp("", "pgrestore-sh") // a server that is started keeps a pipe open
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	text, readErr := os.ReadFile(f.Name())
	return string(text), errors.Join(err, readErr)
}

func (w *world) login() *pgconn.Config {
	w.t.Helper()
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable", w.host, w.port))
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

func (w *world) connect() *pgx.Conn {
	w.t.Helper()
	conn, err := pgx.Connect(context.Background(), fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable", w.host, w.port))
	if err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func (w *world) exec(statements ...string) {
	w.t.Helper()
	conn := w.connect()
	defer conn.Close(context.Background())
	for _, s := range statements {
		if _, err := conn.Exec(context.Background(), s); err != nil {
			w.t.Fatalf("%s: %v", s, err)
		}
	}
}

// text asks the primary for one value.
func (w *world) text(query string) string {
	w.t.Helper()
	conn := w.connect()
	defer conn.Close(context.Background())
	return text(w.t, conn, query)
}

func text(t testing.TB, conn *pgx.Conn, query string) string {
	t.Helper()
	var out string
	if err := conn.QueryRow(context.Background(), "select coalesce(("+query+")::text, '')").Scan(&out); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}

// receive runs the receiver, which folds into the vault now and then; rarely is the time between.
func (w *world) receive(rarely time.Duration) {
	w.t.Helper()
	at := model.Vault{URL: w.vaultDir, Password: "env:PGRESTORE_TEST_PASSWORD", Cache: "none"}
	c := pglog.Config{Whose: whose, Site: "west", Name: "lifeboat_shop_db_west", Slot: "restore", Spool: w.dir("spool"), Vault: at,
		FoldEvery: model.Duration(rarely), FoldBytes: 1 << 30, Status: model.Duration(100 * time.Millisecond), Reserve: 1 << 20,
		Servers: []pglog.Server{{Site: "east", Conn: fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable connect_timeout=2", w.host, w.port)}}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var log bytes.Buffer
	go func() {
		done <- pglog.Run(ctx, pglog.Options{Config: c, Folder: w.dir("receiver"), Log: slog.New(slog.NewTextHandler(&log, nil)), LookAround: 200 * time.Millisecond})
	}()
	w.stop = func() {
		w.t.Helper()
		w.stop = nil
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the receiver ended with %v", err)
		}
		if w.t.Failed() {
			w.t.Logf("the receiver's log:\n%s", log.String())
		}
	}
}

// caughtUp waits until the spool has all that the primary has flushed by now.
func (w *world) caughtUp() pgwal.LSN {
	w.t.Helper()
	want := w.flushed()
	w.await("received up to "+want.String(), func(s pglog.State) bool { return s.Flushed.At >= want })
	return want
}

// folded waits until the vault has it, too.
func (w *world) folded() pgwal.LSN {
	w.t.Helper()
	want := w.flushed()
	if err := pglog.Drain(w.dir("receiver"), want); err != nil {
		w.t.Fatal(err)
	}
	w.await("folded up to "+want.String(), func(s pglog.State) bool { return s.Drained(want) })
	return want
}

func (w *world) flushed() pgwal.LSN {
	w.t.Helper()
	at, err := pgwal.ParseLSN(w.text("pg_current_wal_flush_lsn()"))
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

func (w *world) await(what string, is func(pglog.State) bool) {
	w.t.Helper()
	var s pglog.State
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s, err = pglog.ReadState(w.dir("receiver")); err == nil && is(s) {
			return
		}
	}
	w.t.Fatalf("the receiver never has %s: %+v, %v", what, s, err)
}

// capture makes a base point.
func (w *world) capture() *pgbase.Result {
	w.t.Helper()
	res, err := pgbase.Capture(w.t.Context(), w.v, pgbase.Options{Whose: whose, Site: "east", Fast: true, Server: w.login()})
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// options restore into a folder of the world, as an isolated copy that is left running.
func (w *world) options(folder string, target pgrestore.Target) pgrestore.Options {
	o := pgrestore.Options{Vault: w.v, Whose: whose, Target: target, Spools: []string{w.dir("spool")}, Data: w.dir(folder), Bin: w.bin, Program: w.program,
		Server: pgrestore.Server{Isolated: true}, Leave: pgrestore.Running, ServerLog: w.dir(folder + ".log"), Patience: time.Minute}
	return o
}

// restore restores and connects to the copy; both are gone with the test, or before by the function that is given.
func (w *world) restore(o pgrestore.Options) (*pgrestore.Result, *pgx.Conn, func()) {
	w.t.Helper()
	res, err := pgrestore.Run(w.t.Context(), o)
	if err != nil {
		w.t.Fatalf("restore %s: %v (%+v)", o.Target, err, res)
	}
	conn, err := pgx.Connect(w.t.Context(), fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable", res.Host, res.Port))
	if err != nil {
		w.t.Fatal(err)
	}
	return res, conn, func() {
		w.t.Helper()
		_ = conn.Close(context.Background())
		if err := res.Stop(context.Background()); err != nil {
			w.t.Error(err)
		}
		if err := os.RemoveAll(o.Data); err != nil {
			w.t.Error(err)
		}
	}
}

// textAt asks a copy that listens as its settings say.
func (w *world) textAt(o pgrestore.Options, query string) string {
	w.t.Helper()
	conn, err := pgx.Connect(context.Background(), fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=disable", w.host, o.Server.Settings["port"]))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	return text(w.t, conn, query)
}

func (w *world) portText() string { return strconv.Itoa(w.port) }

// freePort finds a port that nobody listens on.
func (w *world) freePort() string {
	w.t.Helper()
	l, err := net.Listen("tcp", w.host+":0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// bases are the base points in the vault.
func (w *world) bases() (ids []object.ID) {
	w.t.Helper()
	all, err := pgpoint.Bases(w.t.Context(), w.v, whose)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range all {
		ids = append(ids, b.Snapshot.ID)
	}
	return ids
}

// wait waits for something that has to come true.
func wait(t testing.TB, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came true")
		}
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

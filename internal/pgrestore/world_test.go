package pgrestore_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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

// TestMain makes this test the programs that it starts, too: what PostgreSQL asks for log with, and a restore that is killed.
func TestMain(m *testing.M) {
	if err := os.Setenv("PGRESTORE_TEST_PASSWORD", password); err != nil { // of the vault, which a receiver opens by itself
		panic(err)
	}
	pgtest.Main(m, pgtest.Programs{ask.Program: ask.Main, restoreProgram: pgtest.Ends(restoreMain)})
}

const password = "correct horse"

var whose = pgpoint.Whose{App: "shop", Resource: "db"}

// segmentSize is small, so that there are many.
const segmentSize = 1 << 20

// world is a server, a receiver with its spool, and a vault.
type world struct {
	*pgtest.Server
	t        testing.TB
	vaultDir string
	v        *vault.Vault
	stop     func() // the receiver
}

// begin makes a world without a receiver, for a test that runs beside others.
func begin(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, Server: pgtest.NewServer(t, pgtest.ServerOptions{Host: "127.0.0.5", Initdb: []string{"--wal-segsize=1", "-k"}, Settings: []string{
		"max_wal_size = 64MB", "track_commit_timestamp = on", "max_prepared_transactions = 5", "synchronous_commit = on", "wal_sender_timeout = 5s"}})}
	t.Cleanup(func() {
		if w.stop != nil {
			w.stop()
		}
	})
	w.vaultDir = w.Path("vault")
	var err error
	if w.v, err = vault.Init(t.Context(), w.store(), password, vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}, RetryLock: pgtest.Patience}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) store() *file.Store {
	w.t.Helper()
	s, err := file.Open(w.vaultDir)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// receive runs the receiver, which folds into the vault now and then; rarely is the time between.
func (w *world) receive(rarely time.Duration) {
	w.t.Helper()
	at := model.Vault{URL: w.vaultDir, Password: "env:PGRESTORE_TEST_PASSWORD", Cache: "none"}
	c := pglog.Config{Whose: whose, Site: "west", Name: "lifeboat_shop_db_west", Slot: "restore", Spool: w.Path("spool"), Vault: at,
		FoldEvery: model.Duration(rarely), FoldBytes: 1 << 30, Status: model.Duration(100 * time.Millisecond), Reserve: 1 << 20,
		Servers: []pglog.Server{{Site: "east", Conn: fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable connect_timeout=2", w.Host, w.Port)}}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var log bytes.Buffer
	go func() {
		done <- pglog.Run(ctx, pglog.Options{Config: c, Folder: w.Path("receiver"), Log: slog.New(slog.NewTextHandler(&log, nil)), LookAround: 200 * time.Millisecond})
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
	if err := pglog.Drain(w.Path("receiver"), want); err != nil {
		w.t.Fatal(err)
	}
	w.await("folded up to "+want.String(), func(s pglog.State) bool { return s.Drained(want) })
	return want
}

func (w *world) flushed() pgwal.LSN {
	w.t.Helper()
	at, err := pgwal.ParseLSN(w.Text("pg_current_wal_flush_lsn()"))
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

func (w *world) await(what string, is func(pglog.State) bool) {
	w.t.Helper()
	var s pglog.State
	var err error
	for end := time.Now().Add(pgtest.Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s, err = pglog.ReadState(w.Path("receiver")); err == nil && is(s) {
			return
		}
	}
	w.t.Fatalf("the receiver never has %s: %+v, %v", what, s, err)
}

// capture makes a base point.
func (w *world) capture() *pgbase.Result {
	w.t.Helper()
	res, err := pgbase.Capture(w.t.Context(), w.v, pgbase.Options{Whose: whose, Site: "east", Fast: true, Server: w.Login()})
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// options restore into a folder of the world, as an isolated copy that is left running.
func (w *world) options(folder string, target pgrestore.Target) pgrestore.Options {
	o := pgrestore.Options{Vault: w.v, Whose: whose, Target: target, Spools: []string{w.Path("spool")}, Data: w.Path(folder), Bin: w.Bin, Program: w.Program(),
		Server: pgrestore.Server{Isolated: true}, Leave: pgrestore.Running, ServerLog: w.Path(folder + ".log"), Patience: pgtest.Patience}
	return o
}

// restore restores and connects to the copy; both are gone with the test, or before by the function that is given.
func (w *world) restore(o pgrestore.Options) (*pgrestore.Result, *pgx.Conn, func()) {
	w.t.Helper()
	res, err := pgrestore.Run(w.t.Context(), o)
	if err != nil {
		w.t.Fatalf("restore %s: %v (%+v)", o.Target, err, res)
	}
	conn, err := pgtest.Dial(w.t.Context(), res.Host, res.Port)
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
	conn, err := pgx.Connect(context.Background(), fmt.Sprintf("host=%s port=%s user=postgres dbname=postgres sslmode=disable", w.Host, o.Server.Settings["port"]))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	return pgtest.TextOf(w.t, conn, query)
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

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

package pgproof_test

import (
	"context"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgproof"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore/ask"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob/memory"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/walreceiver"
)

// TestMain makes this test the program that PostgreSQL asks for log, too.
func TestMain(m *testing.M) {
	pgtest.Main(m, pgtest.Programs{ask.Program: ask.Main})
}

var whose = pgpoint.Whose{App: "shop", Resource: "db"}

// world is a server whose log is received, and a vault.
type world struct {
	*pgtest.Server
	t       *testing.T
	v       *vault.Vault
	flushed chan pgwal.LSN
}

func begin(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, flushed: make(chan pgwal.LSN, 1), Server: pgtest.NewServer(t, pgtest.ServerOptions{Host: "127.0.0.9", Initdb: []string{"--wal-segsize=1", "-k"},
		Settings: []string{"max_wal_size = 64MB", "fsync = off", "wal_sender_timeout = 5s"}})}
	var err error
	if w.v, err = vault.Init(t.Context(), memory.New(), "secret", vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- walreceiver.Run(ctx, walreceiver.Options{Server: w.Login(), Slot: "proof", Dir: w.Path("spool"), Status: 50 * time.Millisecond,
			Progress: func(p walreceiver.Progress) {
				select {
				case <-w.flushed:
				default:
				}
				w.flushed <- p.At
			}})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// caughtUp waits until the spool has all that the server has flushed by now.
func (w *world) caughtUp() {
	w.t.Helper()
	want, err := pgwal.ParseLSN(w.Text("pg_current_wal_flush_lsn()"))
	if err != nil {
		w.t.Fatal(err)
	}
	end := time.After(pgtest.Patience)
	for {
		select {
		case at := <-w.flushed:
			if at >= want {
				return
			}
		case <-end:
			w.t.Fatalf("the receiver never came to %s", want)
		}
		w.Exec("select pg_logical_emit_message(true, 'x', 'x')") // so that something comes again
	}
}

// capture makes a base point.
func (w *world) capture(rows map[string]int64, m *pgpoint.Marker) *pgbase.Result {
	w.t.Helper()
	res, err := pgbase.Capture(w.t.Context(), w.v, pgbase.Options{Whose: whose, Site: "east", Fast: true, Server: w.Login(), Rows: rows, Marker: m})
	if err != nil {
		w.t.Fatal(err)
	}
	w.caughtUp()
	return res
}

func (w *world) options(folder string, checks ...string) pgproof.Options {
	return pgproof.Options{Checks: checks, Database: "postgres", Restore: pgrestore.Options{
		Vault: w.v, Whose: whose, Spools: []string{w.Path("spool")}, Data: w.Path(folder), Bin: w.Bin, Program: w.Program(),
		ServerLog: w.Path(folder + ".log"), Patience: pgtest.Patience}}
}

// at restores the items to a position and tells how many there are, and the least price.
func (w *world) at(l pgwal.LSN) string {
	w.t.Helper()
	ctx := w.t.Context()
	o := w.options("look").Restore
	o.Target, o.Leave, o.Overwrite, o.Server.Isolated = pgrestore.Target{Kind: pgrestore.LSN, LSN: l}, pgrestore.Running, pgrestore.SameSystem, true
	res, err := pgrestore.Run(ctx, o)
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := pgtest.Dial(ctx, res.Host, res.Port)
	if err != nil {
		w.t.Fatal(err)
	}
	var out string
	err = conn.QueryRow(ctx, "select count(*) || ' ' || min(price) from items").Scan(&out)
	_ = conn.Close(ctx)
	if err == nil {
		err = res.Stop(ctx)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

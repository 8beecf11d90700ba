package pgproof_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
	if len(os.Args) > 1 && os.Args[1] == ask.Program {
		os.Exit(ask.Main(os.Args[2:], os.Stderr))
	}
	os.Exit(m.Run())
}

var whose = pgpoint.Whose{App: "shop", Resource: "db"}

// world is a server whose log is received, and a vault.
type world struct {
	t       *testing.T
	bin     string
	root    string
	port    int
	program string
	v       *vault.Vault
	flushed chan pgwal.LSN
}

const host = "127.0.0.9"

func begin(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, bin: pgtest.Bin(t), flushed: make(chan pgwal.LSN, 1)}
	var err error
	if w.root, err = os.MkdirTemp("", "pgproof"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(w.root) })
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
	self, err := os.ReadFile("/proc/self/exe") // where the server's user may run it
	if err == nil {
		w.program = w.dir("lifeboat")
		err = os.WriteFile(w.program, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	w.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	w.sh(`"$1/initdb" -D "$2" -U postgres -A trust --no-sync -E UTF8 --locale C --wal-segsize=1 -k >/dev/null
printf "unix_socket_directories = ''\nmax_wal_size = 64MB\nfsync = off\nwal_sender_timeout = 5s\n" >>"$2/postgresql.conf"
echo 'host all,replication all 127.0.0.0/8 trust' >>"$2/pg_hba.conf"
"$1/pg_ctl" start -w -s -D "$2" -l "$2.log" -o "-c port=$3 -c listen_addresses=$4"`, w.bin, w.dir("data"), strconv.Itoa(w.port), host)
	t.Cleanup(func() { w.sh(`"$1/pg_ctl" stop -w -s -m immediate -D "$2"`, w.bin, w.dir("data")) })
	if w.v, err = vault.Init(t.Context(), memory.New(), "secret", vault.Options{KDF: crypto.Params{N: 1 << 10, R: 8, P: 1}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- walreceiver.Run(ctx, walreceiver.Options{Server: w.login(), Slot: "proof", Dir: w.dir("spool"), Status: 50 * time.Millisecond,
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

func (w *world) dir(name string) string { return filepath.Join(w.root, name) }

// sh runs a script as the server's user.
func (w *world) sh(script string, args ...string) {
	w.t.Helper()
	argv := append([]string{"sh", "-ec", "cd /\n" + script, "sh"}, args...)
	if os.Getuid() == 0 {
		argv = append([]string{"runuser", "-u", "postgres", "--"}, argv...)
	}
	out, err := os.CreateTemp("", "pgproof-sh") // a server that is started keeps a pipe open
	if err != nil {
		w.t.Fatal(err)
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		w.t.Fatalf("%s: %v\n%s", script, err, text)
	}
}

func (w *world) login() *pgconn.Config {
	w.t.Helper()
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable", host, w.port))
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

// exec runs statements, each a transaction.
func (w *world) exec(statements ...string) {
	w.t.Helper()
	w.text("", statements...)
}

// text runs statements and asks for one value; an empty query asks for none.
func (w *world) text(query string, before ...string) (out string) {
	w.t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable", host, w.port))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, s := range before {
		if _, err := conn.Exec(ctx, s); err != nil {
			w.t.Fatalf("%s: %v", s, err)
		}
	}
	if query != "" {
		if err := conn.QueryRow(ctx, "select ("+query+")::text").Scan(&out); err != nil {
			w.t.Fatalf("%s: %v", query, err)
		}
	}
	return out
}

// caughtUp waits until the spool has all that the server has flushed by now.
func (w *world) caughtUp() {
	w.t.Helper()
	want, err := pgwal.ParseLSN(w.text("pg_current_wal_flush_lsn()"))
	if err != nil {
		w.t.Fatal(err)
	}
	end := time.After(time.Minute)
	for {
		select {
		case at := <-w.flushed:
			if at >= want {
				return
			}
		case <-end:
			w.t.Fatalf("the receiver never came to %s", want)
		}
		w.exec("select pg_logical_emit_message(true, 'x', 'x')") // so that something comes again
	}
}

// capture makes a base point.
func (w *world) capture(rows map[string]int64, m *pgpoint.Marker) *pgbase.Result {
	w.t.Helper()
	res, err := pgbase.Capture(w.t.Context(), w.v, pgbase.Options{Whose: whose, Site: "east", Fast: true, Server: w.login(), Rows: rows, Marker: m})
	if err != nil {
		w.t.Fatal(err)
	}
	w.caughtUp()
	return res
}

func (w *world) options(folder string, checks ...string) pgproof.Options {
	return pgproof.Options{Checks: checks, Database: "postgres", Restore: pgrestore.Options{
		Vault: w.v, Whose: whose, Spools: []string{w.dir("spool")}, Data: w.dir(folder), Bin: w.bin, Program: w.program,
		ServerLog: w.dir(folder + ".log"), Patience: time.Minute}}
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
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslmode=disable", res.Host, res.Port))
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

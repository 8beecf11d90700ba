package pglog_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pgbase"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore/ask"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/blob"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestMain makes this test the programs that it starts, too: the receiver, and what PostgreSQL asks for log with.
func TestMain(m *testing.M) {
	if err := os.Setenv("PGLOG_TEST_PASSWORD", password); err != nil {
		panic(err)
	}
	pgtest.Main(m, pgtest.Programs{pglog.Program: pgtest.Ends(pglog.Main), ask.Program: ask.Main})
}

// patience bounds every wait for something that has to happen.
const patience = 4 * time.Minute

const (
	receiver = "lifeboat_shop_db_west"
	password = "correct horse"
)

// rig is a primary at one site, a receiver for it at the other, and a vault.
type rig struct {
	t      *testing.T
	p      *pgtest.Pair
	root   string // PostgreSQL's user may enter it
	folder string
	c      pglog.Config
	vault  *vault.Vault
	around func(blob.Store) blob.Store

	cancel context.CancelFunc
	ended  chan error
	log    logbook
	cmd    *exec.Cmd
	within string // the network namespace of launched receivers; empty: ours
}

// logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	p := pgtest.Start(t, pgtest.Options{})
	p.Stop(pgtest.West)
	root, err := os.MkdirTemp("", "pglog")
	do(t, err)
	do(t, os.Chmod(root, 0o755))
	t.Cleanup(func() { do(t, os.RemoveAll(root)) })
	r := &rig{t: t, p: p, root: root, folder: filepath.Join(root, "receiver")}
	at := model.Vault{URL: filepath.Join(root, "vault"), Password: "env:PGLOG_TEST_PASSWORD", Cache: "none"}
	v, closer, err := location.Init(t.Context(), at, location.Options{Vault: vault.Options{RetryLock: patience}})
	do(t, err)
	t.Cleanup(func() { do(t, closer.Close()) })
	r.vault = v
	r.c = pglog.Config{Whose: pgpoint.Whose{App: "shop", Resource: "db"}, Site: pgtest.West, Name: receiver, Slot: receiver,
		Spool: filepath.Join(root, "spool"), Vault: at, FoldEvery: model.Duration(100 * time.Millisecond), KeepEvery: model.Duration(time.Second),
		Status: model.Duration(200 * time.Millisecond), Reserve: 1 << 20}
	for _, site := range []model.SiteID{pgtest.East, pgtest.West} {
		r.c.Servers = append(r.c.Servers, pglog.Server{Site: site, Conn: fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable connect_timeout=2", p.Hosts[site], p.Ports[site])})
	}
	p.Exec(pgtest.East, "create table orders (id bigint primary key, twin boolean not null, note text)")
	return r
}

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a receiver in this process until stop, or the end of the test.
func (r *rig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	r.cancel, r.ended = cancel, make(chan error, 1)
	o := pglog.Options{Config: r.c, Folder: r.folder, Log: slog.New(slog.NewTextHandler(&r.log, nil)), LookAround: 300 * time.Millisecond,
		Location: location.Options{Around: r.around, Patience: time.Second}}
	go func() { r.ended <- pglog.Run(ctx, o) }()
	r.t.Cleanup(func() {
		r.stop()
		if r.t.Failed() {
			r.t.Logf("the receiver's log:\n%s", r.log.String())
		}
	})
}

func (r *rig) stop() {
	r.t.Helper()
	if r.cancel == nil {
		return
	}
	r.cancel()
	if err := <-r.ended; err != nil {
		r.t.Errorf("the receiver ended with %v", err)
	}
	r.cancel = nil
}

// launch runs a receiver as a process of its own.
func (r *rig) launch() {
	r.t.Helper()
	do(r.t, r.c.Save(r.folder))
	argv := []string{os.Args[0], pglog.Program, r.folder}
	if r.within != "" {
		argv = append([]string{"ip", "netns", "exec", r.within}, argv...)
	}
	r.cmd = exec.Command(argv[0], argv[1:]...)
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	do(r.t, r.cmd.Start())
	cmd := r.cmd
	r.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
		}
		if r.t.Failed() {
			r.t.Logf("the receiver's log:\n%s", r.log.String())
		}
	})
}

func (r *rig) state() pglog.State {
	r.t.Helper()
	s, err := pglog.ReadState(r.folder)
	do(r.t, err)
	return s
}

// await waits until the receiver's state is as it should be.
func (r *rig) await(what string, is func(pglog.State) bool) pglog.State {
	r.t.Helper()
	var s pglog.State
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var err error
		if s, err = pglog.ReadState(r.folder); err == nil && is(s) {
			return s
		}
	}
	r.t.Fatalf("it never is %s: %+v", what, s)
	return s
}

func has(code string) func(pglog.State) bool {
	return func(s pglog.State) bool { return finding(s, code) != nil }
}

func finding(s pglog.State, code string) *model.Finding {
	for _, f := range s.Findings {
		if f.Code == code {
			return &f
		}
	}
	return nil
}

// lsn asks a site how far its log is.
func (r *rig) lsn(site model.SiteID) pgwal.LSN {
	r.t.Helper()
	at, err := pgwal.ParseLSN(r.p.Text(site, "pg_current_wal_flush_lsn()"))
	do(r.t, err)
	return at
}

// folded waits until everything that a site has now is in the vault.
func (r *rig) folded(site model.SiteID) pglog.State {
	r.t.Helper()
	at := r.lsn(site)
	return r.await("folded up to "+at.String(), func(s pglog.State) bool { return s.Drained(at) })
}

func (r *rig) streaming() pglog.State {
	r.t.Helper()
	return r.await("streaming", func(s pglog.State) bool { return s.Streaming })
}

// synchronous makes every commit wait for the receiver.
func (r *rig) synchronous(site model.SiteID) {
	r.t.Helper()
	r.p.Exec(site, "alter system set synchronous_standby_names = '"+receiver+"'")
	r.p.Exec(site, "select pg_reload_conf()")
	r.p.WaitFor(site, "select count(*) = 1 from pg_stat_replication where sync_state = 'sync'")
}

// base makes a base point of what is at a site.
func (r *rig) base(site model.SiteID) *pgbase.Result {
	r.t.Helper()
	res, err := pgbase.Capture(r.t.Context(), r.vault, pgbase.Options{Whose: r.c.Whose, Site: site, Server: r.p.At(site).Login(), Fast: true, SystemID: r.state().SystemID})
	do(r.t, err)
	return res
}

// restore brings back all that there is, from the vault and the given spools, and gives the answers to questions.
func (r *rig) restore(spools []string, target pgrestore.Target, questions ...string) []string {
	r.t.Helper()
	do(r.t, r.vault.LoadIndex(r.t.Context()))
	data := filepath.Join(r.p.Dir(pgtest.West), fmt.Sprintf("restored%d", time.Now().UnixNano()))
	res, err := pgrestore.Run(r.t.Context(), pgrestore.Options{Vault: r.vault, Whose: r.c.Whose, Target: target, Spools: spools, Data: data,
		Bin: r.p.Bin, Program: r.p.Program(), Server: pgrestore.Server{Isolated: true}, Leave: pgrestore.Running})
	if err != nil {
		r.t.Fatalf("restore: %v", err)
	}
	defer func() {
		do(r.t, res.Stop(context.WithoutCancel(r.t.Context())))
		do(r.t, os.RemoveAll(data))
	}()
	conn, err := pgtest.Dial(r.t.Context(), res.Host, res.Port)
	do(r.t, err)
	defer conn.Close(context.WithoutCancel(r.t.Context()))
	var out []string
	for _, q := range questions {
		var answer string
		if err := conn.QueryRow(r.t.Context(), "select ("+q+")::text").Scan(&answer); err != nil {
			r.t.Fatalf("%s: %v", q, err)
		}
		out = append(out, answer)
	}
	return out
}

// order places orders n..m, one transaction of two rows each.
func (r *rig) order(site model.SiteID, from, to int) {
	r.t.Helper()
	conn, err := r.p.Connect(r.t.Context(), site)
	do(r.t, err)
	defer conn.Close(context.WithoutCancel(r.t.Context()))
	for n := from; n <= to; n++ {
		if _, err := conn.Exec(r.t.Context(), fmt.Sprintf("begin; insert into orders values (%d, false), (%d, true); commit", 2*n, 2*n+1)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// Questions to a restored copy.
const (
	count  = "select count(*) from orders where not twin"
	halves = "select count(*) from orders a where not exists (select from orders b where b.id = a.id # 1)"
)

// snapshots counts the log snapshots in the vault.
func (r *rig) snapshots() int {
	r.t.Helper()
	all, err := r.vault.Snapshots(r.t.Context(), pgpoint.Filter(r.c.Whose, pgpoint.IsLog))
	do(r.t, err)
	return len(all)
}

func (r *rig) logs() pgpoint.LogPoint {
	r.t.Helper()
	do(r.t, r.vault.LoadIndex(r.t.Context())) // others write, too
	logs, err := pgpoint.Logs(r.t.Context(), r.vault, r.c.Whose)
	do(r.t, err)
	if len(logs) != 1 {
		r.t.Fatalf("%d logs", len(logs))
	}
	return logs[0]
}

func join(lines []string) string { return strings.Join(lines, " ") }

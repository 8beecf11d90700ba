package walreceiver_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/walreceiver"
	"github.com/lifeboat-dr/lifeboat/internal/walspool"
)

const standby = "lifeboat_spool"

// rig is a primary, a base backup of it, and a receiver.
type rig struct {
	t      *testing.T
	p      *pgtest.Pair
	spool  string
	base   string
	cancel context.CancelFunc
	ended  chan error
	at     atomic.Uint64 // flushed
}

func newRig(t *testing.T) *rig {
	p := pgtest.Start(t, pgtest.Options{})
	p.Stop(pgtest.West)
	r := &rig{t: t, p: p, spool: filepath.Join(t.TempDir(), "spool"), base: filepath.Join(p.Dir(pgtest.West), "recovered")}
	p.Exec(pgtest.East, "create table orders (id text primary key)")
	return r
}

func (r *rig) options() walreceiver.Options {
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable application_name=%s",
		r.p.Hosts[pgtest.East], r.p.Ports[pgtest.East], standby))
	if err != nil {
		r.t.Fatal(err)
	}
	return walreceiver.Options{Server: cfg, Slot: "spool", Dir: r.spool, Status: 200 * time.Millisecond,
		Progress: func(p walreceiver.Progress) { r.at.Store(uint64(p.At)) }}
}

// receive runs the receiver until the test ends, again and again as its caller would.
func (r *rig) receive() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	r.cancel, r.ended = cancel, make(chan error, 1)
	go func() {
		for {
			err := walreceiver.Run(ctx, r.options())
			var gap *walreceiver.Gap
			if ctx.Err() != nil || errors.As(err, &gap) {
				r.ended <- err
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	r.t.Cleanup(func() { r.stop() })
}

func (r *rig) stop() error {
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	err := <-r.ended
	r.cancel = nil
	return err
}

func (r *rig) backup() {
	r.p.Run(filepath.Join(r.p.Bin, "pg_basebackup"), "-D", r.base, "-h", r.p.Hosts[pgtest.East], "-p", strconv.Itoa(r.p.Ports[pgtest.East]),
		"-U", "postgres", "-X", "none", "-c", "fast", "--no-sync")
}

func (r *rig) synchronous() {
	r.p.Exec(pgtest.East, "alter system set synchronous_standby_names = '"+standby+"'")
	r.p.Exec(pgtest.East, "select pg_reload_conf()")
	r.p.WaitFor(pgtest.East, "select count(*) = 1 from pg_stat_replication where sync_state = 'sync'")
}

// load places orders until stop, and gives those that were acknowledged.
func (r *rig) load(stop <-chan struct{}, enough func(n int) bool) []string {
	var mu sync.Mutex
	var done []string
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	go func() {
		select {
		case <-stop:
		case <-ctx.Done():
		}
		cancel()
	}()
	for client := range 8 {
		all.Go(func() {
			conn, err := r.p.Connect(ctx, pgtest.East)
			if err != nil {
				return
			}
			defer conn.Close(context.WithoutCancel(ctx))
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d", client, n)
				if _, err := conn.Exec(ctx, "insert into orders values ($1)", id); err != nil {
					return
				}
				mu.Lock()
				done = append(done, id)
				if enough != nil && enough(len(done)) {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return done
}

// recover starts what can be recovered from the base backup and the spool, and gives the orders in it.
func (r *rig) recover() []string {
	r.t.Helper()
	r.p.Run("sh", "-c", `cat >>"$1/postgresql.auto.conf" <<END
listen_addresses = '$3'
port = $4
restore_command = 'cp "$2/%f" "%p" 2>/dev/null || cp "$2/%f.partial" "%p"'
recovery_target_timeline = 'latest'
synchronous_standby_names = ''
END
touch "$1/recovery.signal"; chmod 700 "$1"`, "sh", r.base, r.spool, r.p.Hosts[pgtest.West], strconv.Itoa(r.p.Ports[pgtest.West]))
	// PostgreSQL's user has to read the spool.
	if out, err := exec.Command("chmod", "-R", "a+rX", filepath.Dir(r.spool), r.spool).CombinedOutput(); err != nil {
		r.t.Fatalf("%v %s", err, out)
	}
	for dir := filepath.Dir(r.spool); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if exec.Command("chmod", "a+X", dir).Run() != nil {
			break
		}
	}
	r.p.Run(filepath.Join(r.p.Bin, "pg_ctl"), "start", "-w", "-s", "-D", r.base, "-l", r.base+".log")
	r.p.WaitFor(pgtest.West, "select not pg_is_in_recovery()")
	conn, err := r.p.Connect(r.t.Context(), pgtest.West)
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(r.t.Context()))
	rows, err := conn.Query(r.t.Context(), "select id from orders")
	if err != nil {
		r.t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		r.t.Fatal(err)
	}
	return ids
}

// TestNothingAcknowledgedIsLost kills a primary under load: what it had acknowledged is recovered without it.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	r := newRig(t)
	r.receive()
	r.synchronous()
	r.backup()
	stop := make(chan struct{})
	var acknowledged []string
	loaded := make(chan struct{})
	enough := make(chan struct{})
	var once sync.Once
	go func() {
		defer close(loaded)
		acknowledged = r.load(stop, func(n int) bool {
			if n == 2000 {
				once.Do(func() { close(enough) })
			}
			return false
		})
	}()
	<-enough
	r.p.Kill(pgtest.East)
	close(stop)
	<-loaded
	if err := r.stop(); err == nil {
		t.Error("the receiver says that all is well")
	}
	there := map[string]bool{}
	for _, id := range r.recover() {
		there[id] = true
	}
	var lost []string
	for _, id := range acknowledged {
		if !there[id] {
			lost = append(lost, id)
		}
	}
	if len(lost) > 0 || len(acknowledged) < 2000 {
		t.Errorf("%d orders acknowledged, %d recovered, lost: %v", len(acknowledged), len(there), lost)
	}
	t.Logf("%d orders acknowledged, %d recovered", len(acknowledged), len(there))
}

// TestItGoesOn restarts the server and the receiver in turn; the log has no hole.
func TestItGoesOn(t *testing.T) {
	r := newRig(t)
	r.receive()
	r.p.WaitFor(pgtest.East, "select count(*) = 1 from pg_stat_replication where state = 'streaming' and application_name = '"+standby+"'")
	r.backup()
	var acknowledged []string
	orders := func(from string) {
		for n := range 300 {
			id := fmt.Sprintf("%s-%d", from, n)
			r.p.Exec(pgtest.East, "insert into orders values ($1)", id)
			acknowledged = append(acknowledged, id)
		}
	}
	orders("first")
	r.p.Exec(pgtest.East, "select pg_switch_wal()")
	_ = r.stop()
	orders("without the receiver")
	r.p.Stop(pgtest.East)
	r.p.Launch(pgtest.East)
	r.receive()
	orders("after both")
	r.p.Kill(pgtest.East)
	r.p.Launch(pgtest.East)
	orders("after a crash")
	r.flushed()
	r.p.Kill(pgtest.East)
	_ = r.stop()
	got := r.recover()
	slices.Sort(got)
	slices.Sort(acknowledged)
	if !slices.Equal(got, acknowledged) {
		t.Errorf("%d orders, %d recovered", len(acknowledged), len(got))
	}
}

// flushed waits until the spool has what the server has.
func (r *rig) flushed() {
	r.t.Helper()
	at, err := pgwal.ParseLSN(r.p.Text(pgtest.East, "pg_current_wal_flush_lsn()"))
	if err != nil {
		r.t.Fatal(err)
	}
	for pgwal.LSN(r.at.Load()) < at {
		select {
		case <-r.t.Context().Done():
			r.t.Fatal("it never comes")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestAGapIsTold drops the slot and lets the server remove its log.
func TestAGapIsTold(t *testing.T) {
	r := newRig(t)
	r.receive()
	r.p.WaitFor(pgtest.East, "select count(*) = 1 from pg_stat_replication where state = 'streaming' and application_name = '"+standby+"'")
	_ = r.stop()
	r.p.WaitFor(pgtest.East, "select not active from pg_replication_slots where slot_name = 'spool'") // the server has seen that we left
	r.p.Exec(pgtest.East, "select pg_drop_replication_slot('spool')")
	r.p.Exec(pgtest.East, "alter system set wal_keep_size = 0")
	r.p.Exec(pgtest.East, "select pg_reload_conf()")
	for range 3 {
		r.p.Exec(pgtest.East, "insert into orders select gen_random_uuid()::text from generate_series(1, 10)")
		r.p.Exec(pgtest.East, "select pg_switch_wal()")
		r.p.Exec(pgtest.East, "checkpoint")
	}
	err := walreceiver.Run(t.Context(), r.options())
	var gap *walreceiver.Gap
	if !errors.As(err, &gap) || gap.From.At == 0 || !strings.Contains(err.Error(), "already been removed") {
		t.Errorf("got %v", err)
	}
}

// TestTheWrongServer: a spool is of one cluster, and follows no old primary.
func TestTheWrongServer(t *testing.T) {
	r := newRig(t)
	s, err := walspool.Open(r.spool, 42, pgwal.DefaultSegmentSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := walreceiver.Run(t.Context(), r.options()); !errors.Is(err, failure.Conflict) {
		t.Errorf("another cluster's spool: %v", err)
	}
}

// TestFollowsAPromotion streams on from the standby that was promoted, over the switch.
func TestFollowsAPromotion(t *testing.T) {
	r := newRig(t)
	r.p.Launch(pgtest.West)
	r.receive()
	r.p.WaitFor(pgtest.East, "select count(*) = 2 from pg_stat_replication where state = 'streaming'")
	r.p.Exec(pgtest.East, "insert into orders values ('before')")
	r.p.WaitFor(pgtest.East, "select coalesce(bool_and(flush_lsn = pg_current_wal_flush_lsn()), false) from pg_stat_replication")
	r.p.Kill(pgtest.East)
	r.p.Exec(pgtest.West, "select pg_promote()")
	r.p.Exec(pgtest.West, "insert into orders values ('after')")
	_ = r.stop()
	o := r.options()
	o.Server.Host, o.Server.Port = r.p.Hosts[pgtest.West], uint16(r.p.Ports[pgtest.West])
	ctx, cancel := context.WithCancel(t.Context())
	want, err := pgwal.ParseLSN(r.p.Text(pgtest.West, "pg_current_wal_flush_lsn()"))
	if err != nil {
		t.Fatal(err)
	}
	o.Progress = func(p walreceiver.Progress) {
		if p.Timeline == 2 && p.At >= want {
			cancel()
		}
	}
	if err := walreceiver.Run(ctx, o); ctx.Err() == nil {
		t.Fatal(err)
	}
	c, err := walspool.Read(r.spool)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Histories) != 1 || c.Segments[len(c.Segments)-1].Timeline != 2 {
		t.Errorf("%+v", c)
	}
}

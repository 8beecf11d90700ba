package pglog_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault/object"
	"github.com/lifeboat-dr/lifeboat/model"
)

// whole restores from the vault alone and compares with how many orders were placed; the log must have no gap.
func (r *rig) whole(orders int) {
	r.t.Helper()
	if log := r.logs(); len(log.Spans) != 1 {
		r.t.Errorf("the log has gaps: %+v", log.Spans)
	}
	if got, want := join(r.restore(nil, pgrestore.Target{}, count, halves)), fmt.Sprintf("%d 0", orders); got != want {
		r.t.Errorf("orders, and halves of them: %s, want %s", got, want)
	}
}

// TestFaultReceiverKilled ends the receiver by SIGKILL while commits wait for it: they go on with the next one.
func TestFaultReceiverKilled(t *testing.T) {
	r := newRig(t)
	r.launch()
	r.streaming()
	r.base(pgtest.East)
	r.synchronous(pgtest.East)
	placed := make(chan struct{})
	go func() {
		defer close(placed)
		r.order(pgtest.East, 1, 400)
	}()
	for range 3 {
		before := r.state()
		r.await("further", func(s pglog.State) bool { return s.Flushed.At > before.Flushed.At })
		do(t, r.cmd.Process.Kill())
		_ = r.cmd.Wait() // killed
		if s := r.state(); s.Running {
			t.Error("a killed receiver is said to run")
		}
		r.launch()
		r.streaming()
	}
	<-placed
	r.folded(pgtest.East)
	r.whole(400)
}

// TestFaultReceiverFrozen stops the receiver by SIGSTOP until the server has given it up.
func TestFaultReceiverFrozen(t *testing.T) {
	r := newRig(t)
	r.p.Exec(pgtest.East, "alter system set wal_sender_timeout = '1s'")
	r.p.Exec(pgtest.East, "select pg_reload_conf()")
	r.launch()
	r.streaming()
	r.base(pgtest.East)
	do(t, r.cmd.Process.Signal(syscall.SIGSTOP))
	r.order(pgtest.East, 1, 50)
	r.p.WaitFor(pgtest.East, "select count(*) = 0 from pg_stat_replication")
	r.p.Exec(pgtest.East, "select pg_switch_wal()")
	r.order(pgtest.East, 51, 100)
	if s := r.state(); s.Lag(time.Now()) < 500*time.Millisecond {
		t.Errorf("it was frozen past the server's timeout, and the lag is said to be %s", s.Lag(time.Now()))
	}
	do(t, r.cmd.Process.Signal(syscall.SIGCONT))
	r.folded(pgtest.East)
	r.whole(100)
	do(t, r.cmd.Process.Signal(syscall.SIGTERM))
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// TestFaultDiskFull fills the spool's disk: that is said, nothing is acknowledged, and it goes on when there is room.
func TestFaultDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("without root's rights there is no small file system: run as root to test a full disk")
		return
	}
	r := newRig(t)
	do(t, os.Mkdir(r.c.Spool, 0o700))
	do(t, exec.Command("mount", "-t", "tmpfs", "-o", "size=56m", "none", r.c.Spool).Run())
	t.Cleanup(func() { do(t, exec.Command("umount", r.c.Spool).Run()) })
	r.start()
	t.Cleanup(r.stop) // before the file system goes
	r.streaming()
	r.base(pgtest.East)
	ballast := filepath.Join(r.c.Spool, "ballast")
	f, err := os.Create(ballast)
	do(t, err)
	zeros := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(zeros)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	do(t, f.Close())
	r.order(pgtest.East, 1, 10)
	for range 4 {
		r.p.Exec(pgtest.East, "insert into orders select g, false, repeat(md5(g::text), 20) from generate_series(1000000, 1030000) g")
		r.p.Exec(pgtest.East, "delete from orders where id >= 1000000")
	}
	s := r.await("full", has(pglog.FindSpoolFull))
	if f := finding(s, pglog.FindSpoolFull); f.Severity != model.Block || s.Flushed.At >= r.lsn(pgtest.East) {
		t.Errorf("%+v, flushed %s", f, s.Flushed.At)
	}
	do(t, os.Remove(ballast))
	r.order(pgtest.East, 11, 20)
	r.folded(pgtest.East)
	r.await("content", func(s pglog.State) bool { return len(s.Findings) == 0 })
	r.whole(20)
}

// TestFaultServerRestarted restarts the server, in order and by a crash.
func TestFaultServerRestarted(t *testing.T) {
	r := newRig(t)
	r.start()
	r.streaming()
	r.base(pgtest.East)
	r.order(pgtest.East, 1, 30)
	r.p.Stop(pgtest.East)
	r.await("without a server", has(pglog.FindUnreachable))
	r.p.Launch(pgtest.East)
	r.order(pgtest.East, 31, 60)
	r.p.Kill(pgtest.East)
	r.p.Launch(pgtest.East)
	r.order(pgtest.East, 61, 90)
	r.folded(pgtest.East)
	r.await("content", func(s pglog.State) bool { return len(s.Findings) == 0 })
	r.whole(90)
}

// TestFaultServerPromoted destroys the primary and promotes its standby: the receiver follows by itself, over the switch.
func TestFaultServerPromoted(t *testing.T) {
	r := newRig(t)
	r.p.Launch(pgtest.West)
	r.start()
	if s := r.streaming(); s.From != pgtest.East {
		t.Errorf("it streams from %s", s.From)
	}
	r.base(pgtest.East)
	r.order(pgtest.East, 1, 30)
	r.p.WaitFor(pgtest.East, "select coalesce(bool_and(flush_lsn = pg_current_wal_flush_lsn()), false) from pg_stat_replication where application_name = 'lifeboat_west'")
	r.folded(pgtest.East)
	r.p.Kill(pgtest.East)
	r.await("without a primary", func(s pglog.State) bool { return has(pglog.FindNoPrimary)(s) || has(pglog.FindUnreachable)(s) })
	r.p.Exec(pgtest.West, "select pg_promote()")
	r.order(pgtest.West, 31, 60)
	r.p.Exec(pgtest.West, "select pg_switch_wal()")
	r.order(pgtest.West, 61, 70)
	if s := r.folded(pgtest.West); s.From != pgtest.West || s.Folded.Timeline != 2 {
		t.Errorf("%+v", s)
	}
	// The old one comes back as it was: it is not followed.
	r.p.Launch(pgtest.East)
	r.order(pgtest.West, 71, 80)
	if s := r.folded(pgtest.West); s.From != pgtest.West || s.NeedsBase {
		t.Errorf("%+v", s)
	}
	r.p.Stop(pgtest.West) // a restore starts a server of its own there
	r.whole(80)
}

// TestFaultStandbyPromotedBeside promotes the standby while the old primary lives, and is streamed from: the later timeline
// is followed.
func TestFaultStandbyPromotedBeside(t *testing.T) {
	r := newRig(t)
	r.p.Launch(pgtest.West)
	r.start()
	r.streaming()
	r.base(pgtest.East)
	r.order(pgtest.East, 1, 20)
	r.p.WaitFor(pgtest.East, "select coalesce(bool_and(flush_lsn = pg_current_wal_flush_lsn()), false) from pg_stat_replication")
	r.p.Exec(pgtest.West, "select pg_promote()")
	// What the old primary writes from now on is on a branch that is given up.
	r.order(pgtest.East, 1000, 1005)
	r.order(pgtest.West, 21, 40)
	r.await("at the new primary", func(s pglog.State) bool { return s.Streaming && s.From == pgtest.West && s.Flushed.Timeline == 2 })
	r.folded(pgtest.West)
	r.p.Stop(pgtest.West)
	r.whole(40)
}

// TestFaultSlotInvalidated keeps the receiver away until the server has given up its slot and its log: the gap is told,
// recorded, and mended by a base point.
func TestFaultSlotInvalidated(t *testing.T) {
	r := newRig(t)
	r.start()
	r.streaming()
	r.base(pgtest.East)
	r.order(pgtest.East, 1, 10)
	r.folded(pgtest.East)
	r.stop()
	before := r.state()
	r.p.Exec(pgtest.East, "alter system set max_slot_wal_keep_size = '16MB'")
	r.p.Exec(pgtest.East, "alter system set wal_keep_size = 0")
	r.p.Exec(pgtest.East, "select pg_reload_conf()")
	for range 6 {
		r.order(pgtest.East, int(time.Now().UnixNano()/1000%1_000_000_000), 0)
		r.p.Exec(pgtest.East, "insert into orders select g, false from generate_series(5000000, 5001000) g")
		r.p.Exec(pgtest.East, "delete from orders where id >= 5000000")
		r.p.Exec(pgtest.East, "select pg_switch_wal()")
		r.p.Exec(pgtest.East, "checkpoint")
	}
	r.p.WaitFor(pgtest.East, "select wal_status = 'lost' from pg_replication_slots where slot_name = '"+receiver+"'")
	r.order(pgtest.East, 11, 20)
	r.start()
	s := r.await("behind the gap", func(s pglog.State) bool { return s.Streaming && s.NeedsBase && has(pglog.FindNeedsBase)(s) })
	if f := finding(s, pglog.FindNeedsBase); f.Severity != model.Block || !strings.Contains(f.Why, "removed") {
		t.Errorf("%+v", f)
	}
	r.folded(pgtest.East)
	log := r.logs()
	if len(log.Spans) != 2 || log.Spans[0].To != before.Folded || log.Spans[1].From.At <= before.Folded.At || !strings.Contains(log.Spans[1].Why, "removed") {
		t.Errorf("the gap is recorded as %+v; folded up to %+v before", log.Spans, before.Folded)
	}
	if _, after, told := strings.Cut(r.log.String(), `level=ERROR msg="the log has a gap`); !told || strings.Contains(after, "over: no base point") {
		t.Error("the gap was not logged as an error, or was said to be over")
	}
	r.p.WaitFor(pgtest.East, "select wal_status = 'reserved' and restart_lsn is not null from pg_replication_slots where slot_name = '"+receiver+"'")
	r.base(pgtest.East)
	r.await("mended", func(s pglog.State) bool { return !s.NeedsBase && finding(s, pglog.FindNeedsBase) == nil })
	r.order(pgtest.East, 21, 30)
	r.folded(pgtest.East)
	if got, want := join(r.restore(nil, pgrestore.Target{}, count, halves)), "30 0"; got != want {
		t.Errorf("orders, and halves of them: %s, want %s", got, want)
	}
}

// TestFaultVaultAway takes the vault away while commits wait for the receiver: they do not notice, the spool grows, that is
// said, and all of it is folded when the vault is back.
func TestFaultVaultAway(t *testing.T) {
	r := newRig(t)
	r.c.AlarmBytes = 1 << 20
	r.start()
	r.streaming()
	r.base(pgtest.East)
	r.synchronous(pgtest.East)
	r.order(pgtest.East, 1, 10)
	r.folded(pgtest.East)
	do(t, os.Rename(r.c.Vault.URL, r.c.Vault.URL+".away"))
	r.order(pgtest.East, 11, 40)
	r.p.Exec(pgtest.East, "select pg_switch_wal()")
	r.order(pgtest.East, 41, 60)
	s := r.await("an alarm", func(s pglog.State) bool { return has(pglog.FindVault)(s) && has(pglog.FindUnfolded)(s) })
	if !s.Streaming || s.Unfolded < 1<<20 || s.UnfoldedSince.IsZero() || finding(s, pglog.FindUnfolded).Severity != model.Block {
		t.Errorf("%+v", s)
	}
	// What is in the spool alone is restored from there.
	do(t, os.Rename(r.c.Vault.URL+".away", r.c.Vault.URL))
	r.folded(pgtest.East)
	r.await("content", func(s pglog.State) bool { return len(s.Findings) == 0 })
	r.whole(60)
}

// TestFaultDamagedInSpool damages a segment in the spool before it can be folded: what is lost is told exactly.
func TestFaultDamagedInSpool(t *testing.T) {
	r := newRig(t)
	r.start()
	r.streaming()
	r.base(pgtest.East)
	r.order(pgtest.East, 1, 10)
	good := r.folded(pgtest.East)
	do(t, os.Rename(r.c.Vault.URL, r.c.Vault.URL+".away"))
	r.order(pgtest.East, 11, 15)
	before := r.lsn(pgtest.East)
	r.order(pgtest.East, 16, 20)
	damaged := r.lsn(pgtest.East)
	r.order(pgtest.East, 21, 30)
	r.p.Exec(pgtest.East, "select pg_switch_wal()")
	r.order(pgtest.East, 31, 40)
	at := r.lsn(pgtest.East)
	r.await("received", func(s pglog.State) bool { return s.Flushed.At >= at })
	size := pgwal.DefaultSegmentSize
	path := filepath.Join(r.c.Spool, fmt.Sprint(good.SystemID), pgwal.SegmentName(1, damaged, size))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	do(t, err)
	b := make([]byte, 1)
	off := int64(size.Offset(damaged)) + 100
	_, err = f.ReadAt(b, off)
	do(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b, off)
	do(t, errors.Join(err, f.Close()))
	do(t, os.Rename(r.c.Vault.URL+".away", r.c.Vault.URL))
	s := r.await("damaged", func(s pglog.State) bool { return has(pglog.FindDamaged)(s) && len(s.Spans) == 2 })
	end := size.Start(damaged) + pgwal.LSN(size)
	if to := s.Spans[0].To.At; to < damaged || to > damaged+101 || s.Spans[1].From.At != end {
		t.Errorf("damaged at %s: the spans are %+v", damaged+100, s.Spans)
	}
	if f := finding(s, pglog.FindDamaged); f.Severity != model.Block || !strings.Contains(f.What, s.Spans[0].To.At.String()) || !strings.Contains(f.What, end.String()) {
		t.Errorf("%+v", f)
	}
	r.await("in need of a base point", has(pglog.FindNeedsBase))
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Errorf("the damaged segment is not put aside: %v", err)
	}
	if got, want := join(r.restore(nil, pgrestore.Target{Kind: pgrestore.LSN, LSN: before}, count, halves)), "15 0"; got != want {
		t.Errorf("before the damage: %s, want %s", got, want)
	}
}

// TestFaultDamagedInVault damages the vault's copy of a segment: a restore ends with its name, and never early in silence.
func TestFaultDamagedInVault(t *testing.T) {
	r := newRig(t)
	r.start()
	r.streaming()
	r.base(pgtest.East)
	r.order(pgtest.East, 1, 10)
	r.p.Exec(pgtest.East, "select pg_switch_wal()")
	r.order(pgtest.East, 11, 20)
	r.folded(pgtest.East)
	r.stop()
	log := r.logs()
	name := pgwal.SegmentName(1, log.Spans[0].To.At-pgwal.LSN(log.Segment), log.Segment)
	node, err := r.vault.Find(t.Context(), *log.Snapshot.Tree, pgpoint.SegmentPath(1, log.Spans[0].To.At-pgwal.LSN(log.Segment), log.Segment))
	do(t, err)
	packs, err := r.vault.PackedIn(t.Context(), object.Handle{Type: object.Data, ID: node.Content[0]})
	do(t, err)
	for _, pack := range packs {
		path := filepath.Join(r.c.Vault.URL, "data", pack.String()[:2], pack.String())
		content, err := os.ReadFile(path)
		do(t, err)
		entries, err := r.vault.PackContent(t.Context(), pack)
		do(t, err)
		for _, e := range entries {
			if e.Handle.ID == node.Content[0] {
				content[e.Offset+40] ^= 1
			}
		}
		do(t, os.Chmod(path, 0o600))
		do(t, os.WriteFile(path, content, 0o600))
	}
	_, err = pgrestore.Run(t.Context(), pgrestore.Options{Vault: r.vault, Whose: r.c.Whose, Data: filepath.Join(r.p.Dir(pgtest.West), "restored"), Bin: r.p.Bin,
		Program: r.p.Program(), Server: pgrestore.Server{Isolated: true}})
	if !errors.Is(err, failure.Corrupt) || !strings.Contains(err.Error(), name) {
		t.Errorf("a restore that needs %s: %v", name, err)
	}
}

// TestFaultClusterMadeAnew puts another cluster in the primary's place.
func TestFaultClusterMadeAnew(t *testing.T) {
	r := newRig(t)
	r.start()
	old := r.streaming().SystemID
	r.base(pgtest.East)
	r.order(pgtest.East, 1, 10)
	r.folded(pgtest.East)
	r.p.Stop(pgtest.East)
	r.p.Run("sh", "-c", `cd / && mv "$1" "$1.old" && "$2/initdb" -D "$1" -U postgres -A trust --no-sync -E UTF8 --locale C >/dev/null &&
cp "$1.old/postgresql.conf" "$1.old/pg_hba.conf" "$1/"`, "sh", r.p.Data(pgtest.East), r.p.Bin)
	r.p.Launch(pgtest.East)
	s := r.await("of the new cluster", func(s pglog.State) bool { return s.Streaming && s.SystemID != old && s.NeedsBase && len(s.Spans) == 1 })
	if f := finding(s, pglog.FindNeedsBase); f == nil || !strings.Contains(f.Why+s.Spans[0].Why, "made anew") {
		t.Errorf("%+v", s)
	}
	r.base(pgtest.East)
	r.p.Exec(pgtest.East, "create table orders (id bigint primary key, twin boolean not null, note text)")
	r.order(pgtest.East, 1, 5)
	r.folded(pgtest.East)
	r.await("content", func(s pglog.State) bool { return len(s.Findings) == 0 })
	do(t, r.vault.LoadIndex(t.Context())) // others write, too
	logs, err := pgpoint.Logs(t.Context(), r.vault, r.c.Whose)
	if err != nil || len(logs) != 2 || !slices.ContainsFunc(logs, func(l pgpoint.LogPoint) bool { return l.SystemID == old }) {
		t.Errorf("%d logs, %v: that of the old cluster must stay", len(logs), err)
	}
}

// TestFaultSpoolLost removes the spool: the log goes on where the vault ends.
func TestFaultSpoolLost(t *testing.T) {
	r := newRig(t)
	r.start()
	r.streaming()
	r.base(pgtest.East)
	r.order(pgtest.East, 1, 20)
	r.folded(pgtest.East)
	r.stop()
	do(t, os.RemoveAll(r.c.Spool))
	r.order(pgtest.East, 21, 40)
	r.start()
	r.folded(pgtest.East)
	r.stop()
	// Its state too.
	do(t, errors.Join(os.RemoveAll(r.c.Spool), os.RemoveAll(r.folder)))
	r.order(pgtest.East, 41, 60)
	r.start()
	r.folded(pgtest.East)
	r.whole(60)
}

// TestFaultLogSnapshotRemoved takes the newest log snapshot out of the vault: what is missing then is told.
func TestFaultLogSnapshotRemoved(t *testing.T) {
	r := newRig(t)
	r.c.KeepEvery = model.Duration(time.Hour)
	r.start()
	r.streaming()
	r.order(pgtest.East, 1, 5)
	r.p.Exec(pgtest.East, "select pg_switch_wal()")
	r.order(pgtest.East, 6, 10)
	r.folded(pgtest.East)
	do(t, filepath.WalkDir(filepath.Join(r.c.Vault.URL, "snapshots"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			err = os.Remove(path)
		}
		return err
	}))
	r.order(pgtest.East, 11, 15)
	r.folded(pgtest.East)
	if !strings.Contains(r.log.String(), "was removed from the vault by somebody else") {
		t.Error("nothing was said")
	}
	if log := r.logs(); len(log.Spans) != 1 || log.Spans[0].From.At != log.Segment.Start(log.Spans[0].To.At) {
		t.Errorf("what is left is %+v", log.Spans)
	}
}

// TestFaultNetworkCut runs the receiver in a network of its own and takes the link away for longer than either side waits.
func TestFaultNetworkCut(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("without root's rights there is no network to cut: run as root to test that")
		return
	}
	r := newRig(t)
	n := newNetwork(t)
	r.p.Exec(pgtest.East, "alter system set listen_addresses = '*'")
	r.p.Exec(pgtest.East, "alter system set wal_sender_timeout = '1s'")
	r.p.Run("sh", "-c", `echo "host all all 10.0.0.0/8 trust" >>"$1/pg_hba.conf"; echo "host replication all 10.0.0.0/8 trust" >>"$1/pg_hba.conf"`, "sh", r.p.Data(pgtest.East))
	r.p.Stop(pgtest.East)
	r.p.Launch(pgtest.East)
	r.c.Servers = []pglog.Server{{Site: pgtest.East, Conn: fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable connect_timeout=2", n.host, r.p.Ports[pgtest.East])}}
	r.within = n.name
	r.launch()
	r.streaming()
	r.base(pgtest.East)
	r.order(pgtest.East, 1, 20)
	r.folded(pgtest.East)
	n.cut()
	r.order(pgtest.East, 21, 40)
	r.p.WaitFor(pgtest.East, "select count(*) = 0 from pg_stat_replication")
	s := r.await("cut off", func(s pglog.State) bool { return !s.Streaming && has(pglog.FindUnreachable)(s) })
	if lag := s.Lag(time.Now()); lag < time.Second {
		t.Errorf("the lag is said to be %s", lag)
	}
	if long() {
		for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			r.p.Exec(pgtest.East, "select pg_switch_wal()")
		}
	}
	r.order(pgtest.East, 41, 60)
	n.mend()
	r.folded(pgtest.East)
	r.await("content", func(s pglog.State) bool { return len(s.Findings) == 0 })
	r.whole(60)
	r.end()
}

// network is a network namespace that is linked with the host's.
type network struct {
	t          *testing.T
	name, link string
	host       string // the host's address in it
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	id := os.Getpid() % 10_000
	n := &network{t: t, name: fmt.Sprintf("pglog%d", id), link: fmt.Sprintf("pglog%da", id), host: fmt.Sprintf("10.213.%d.%d", id/64%256, id%64*4+1)}
	other := fmt.Sprintf("10.213.%d.%d", id/64%256, id%64*4+2)
	n.ip("netns", "add", n.name)
	t.Cleanup(func() { n.ip("netns", "del", n.name) }) // the link goes with it
	n.ip("link", "add", n.link, "type", "veth", "peer", "name", "b", "netns", n.name)
	n.ip("addr", "add", n.host+"/30", "dev", n.link)
	n.ip("link", "set", "dev", n.link, "up")
	n.ip("-n", n.name, "addr", "add", other+"/30", "dev", "b")
	n.ip("-n", n.name, "link", "set", "dev", "b", "up")
	return n
}

func (n *network) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s (apt-get install iproute2)", strings.Join(args, " "), err, out)
	}
}

func (n *network) cut()  { n.t.Helper(); n.ip("link", "set", "dev", n.link, "down") }
func (n *network) mend() { n.t.Helper(); n.ip("link", "set", "dev", n.link, "up") }

// TestFaultServerSetBack restores an earlier image of the primary's disk and starts it: it goes on on the same timeline with
// other log, which is not taken for the same.
func TestFaultServerSetBack(t *testing.T) {
	r := newRig(t)
	r.p.Stop(pgtest.East)
	data := r.p.Data(pgtest.East)
	r.p.Run("cp", "-a", data, data+".image")
	r.p.Launch(pgtest.East)
	r.start()
	r.streaming()
	r.order(pgtest.East, 1, 20)
	before := r.folded(pgtest.East)
	r.p.Kill(pgtest.East)
	r.p.Run("sh", "-c", `rm -rf "$1" && mv "$1.image" "$1"`, "sh", data)
	r.p.Launch(pgtest.East)
	r.p.Exec(pgtest.East, "insert into orders select g, true from generate_series(7000, 7400) g")
	s := r.await("set back", has(pglog.FindSetBack))
	if f := finding(s, pglog.FindSetBack); f.Severity != model.Block || !strings.Contains(f.Why, "differs") {
		t.Errorf("%+v", f)
	}
	if log := r.logs(); log.Spans[0].To != before.Folded {
		t.Errorf("the log was %+v, and is %+v", before.Spans, log.Spans)
	}
}

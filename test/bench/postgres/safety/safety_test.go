package safety

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

var (
	seconds = flag.Int("seconds", 10, "measure each way for so long, each time")
	rounds  = flag.Int("rounds", 5, "do everything so often")
	clients = flag.Int("clients", 32, "so many clients commit at once")
)

// TestMain makes this benchmark the receiver that it measures, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == pglog.Program {
		stop := profiled()
		err := pglog.Main(context.Background(), os.Args[2:])
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// way is one way of keeping the log in a second place.
type way struct {
	name    string // for people
	standby string // its application name; empty: nobody is waited for
	start   func() (stop func())
	tps     []float64
	latency []float64 // ms
}

// bench is a primary with everything that may follow it.
type bench struct {
	b    *testing.B
	p    *pgtest.Pair
	root string
}

// BenchmarkCostOfSafety gives transactions a second for each way, and Lifeboat's over the better of the two others.
func BenchmarkCostOfSafety(b *testing.B) {
	w := &bench{b: b, p: pgtest.Start(b, pgtest.Options{})}
	root, err := os.MkdirTemp("", "safety")
	w.do(err)
	w.root = root
	b.Cleanup(func() { w.do(os.RemoveAll(root)) })
	w.do(os.Chmod(root, 0o755))
	w.p.Stop(pgtest.West)
	for _, setting := range []string{"max_wal_size = '8GB'", "checkpoint_timeout = '1h'", "shared_buffers = '256MB'", "wal_keep_size = '8GB'", "autovacuum = off"} {
		w.p.Exec(pgtest.East, "alter system set "+setting)
	}
	w.p.Stop(pgtest.East)
	w.p.Launch(pgtest.East)
	w.pgbench("-i", "-q", "-s", "20")
	ways := []*way{
		{name: "nobody waits", start: func() func() { return func() {} }},
		{name: "a standby", standby: "lifeboat_west", start: w.standby},
		{name: "pg_receivewal --synchronous", standby: "pg_receivewal", start: w.pgReceivewal},
		{name: "lifeboat", standby: "lifeboat_bench", start: w.lifeboat()},
	}
	b.ResetTimer()
	for range b.N {
		for round := range *rounds {
			for i := range ways {
				w.measure(ways[(i+round)%len(ways)])
			}
		}
	}
	w.report(ways)
}

func (w *bench) do(err error) {
	w.b.Helper()
	if err != nil {
		w.b.Fatal(err)
	}
}

// measure runs the load once, when the follower has everything.
func (w *bench) measure(y *way) {
	stop := y.start()
	defer stop()
	w.wait(y.standby)
	if y.standby != "" {
		w.p.WaitFor(pgtest.East, "select count(*) = 1 from pg_stat_replication where sync_state = 'sync' and flush_lsn = pg_current_wal_flush_lsn()")
	}
	w.p.Exec(pgtest.East, "checkpoint")
	out := w.pgbench("-n", "-N", "-M", "prepared", "-c", strconv.Itoa(*clients), "-j", "2", "-T", strconv.Itoa(*seconds))
	y.tps = append(y.tps, w.number(out, `tps = ([0-9.]+)`))
	y.latency = append(y.latency, w.number(out, `latency average = ([0-9.]+)`))
	w.wait("")
}

// wait makes commits wait for a follower, or for nobody.
func (w *bench) wait(standby string) {
	w.p.Exec(pgtest.East, "alter system set synchronous_standby_names = '"+standby+"'")
	w.p.Exec(pgtest.East, "select pg_reload_conf()")
	w.p.WaitFor(pgtest.East, "select current_setting('synchronous_standby_names') = '"+standby+"'")
}

func (w *bench) number(text, pattern string) float64 {
	w.b.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		w.b.Fatalf("pgbench says nothing of %s:\n%s", pattern, text)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	w.do(err)
	return v
}

func (w *bench) pgbench(args ...string) string {
	w.b.Helper()
	args = append([]string{"-h", w.p.Hosts[pgtest.East], "-p", strconv.Itoa(w.p.Ports[pgtest.East]), "-U", "postgres"}, args...)
	out, err := exec.Command(filepath.Join(w.p.Bin, "pgbench"), append(args, "postgres")...).CombinedOutput()
	if err != nil {
		w.b.Fatalf("pgbench: %v\n%s", err, out)
	}
	return string(out)
}

func (w *bench) standby() func() {
	w.p.Launch(pgtest.West)
	return func() { w.p.Stop(pgtest.West) }
}

// process starts a program that follows the log; what it gives ends it in order.
func (w *bench) process(argv ...string) func() {
	w.b.Helper()
	log, err := os.OpenFile(filepath.Join(w.root, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	w.do(err)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	w.do(cmd.Start())
	return func() {
		w.do(cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			text, _ := os.ReadFile(log.Name()) // it only explains
			w.b.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, text)
		}
		w.do(log.Close())
	}
}

func (w *bench) pgReceivewal() func() {
	dir := filepath.Join(w.root, "pg_receivewal")
	w.do(os.MkdirAll(dir, 0o700))
	return w.process(filepath.Join(w.p.Bin, "pg_receivewal"), "-D", dir, "--synchronous", "-d",
		fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable application_name=pg_receivewal", w.p.Hosts[pgtest.East], w.p.Ports[pgtest.East]))
}

// lifeboat is the receiver as it runs at a site, with a vault that it folds into.
func (w *bench) lifeboat() func() func() {
	at := model.Vault{URL: filepath.Join(w.root, "vault"), Password: "env:SAFETY_PASSWORD", Cache: "none"}
	w.do(os.Setenv("SAFETY_PASSWORD", "correct horse"))
	_, closer, err := location.Init(w.b.Context(), at, location.Options{})
	w.do(err)
	w.do(closer.Close())
	c := pglog.Config{Whose: pgpoint.Whose{App: "bench", Resource: "db"}, Site: pgtest.West, Name: "lifeboat_bench", Slot: "lifeboat_bench", Spool: filepath.Join(w.root, "spool"),
		Vault: at, Servers: []pglog.Server{{Site: pgtest.East, Conn: fmt.Sprintf("host=%s port=%d user=postgres sslmode=disable", w.p.Hosts[pgtest.East], w.p.Ports[pgtest.East])}}}
	w.do(c.Save(filepath.Join(w.root, "receiver")))
	return func() func() {
		stop := w.process(os.Args[0], pglog.Program, filepath.Join(w.root, "receiver"))
		// It is measured as it runs for months, not while it opens its vault.
		to, err := pgwal.ParseLSN(w.p.Text(pgtest.East, "pg_current_wal_flush_lsn()"))
		w.do(err)
		for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
			s, err := pglog.ReadState(filepath.Join(w.root, "receiver"))
			if err == nil && s.Drained(to) {
				return stop
			}
			if time.Now().After(end) {
				w.b.Fatalf("it never folds up to %s: %+v, %v", to, s, err)
			}
			if err == nil && s.Flushed.At >= to {
				w.do(pglog.Drain(filepath.Join(w.root, "receiver"), to))
			}
		}
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func (w *bench) report(ways []*way) {
	version := w.p.Text(pgtest.East, "current_setting('server_version')")
	text := fmt.Sprintf("PostgreSQL %s, pgbench -N, %d clients, %d rounds of %d s, medians:\n", version, *clients, *rounds, *seconds)
	best := 0.0
	for _, y := range ways {
		text += fmt.Sprintf("%-30s %6.0f transactions/s  (%.0f to %.0f), %.2f ms\n", y.name, median(y.tps), slices.Min(y.tps), slices.Max(y.tps), median(y.latency))
		if y.standby != "" && y.name != "lifeboat" {
			best = max(best, median(y.tps))
		}
	}
	ratio := median(ways[len(ways)-1].tps) / best
	fmt.Printf("\n%slifeboat over the better of the two: %.2f×\n", text, ratio)
	w.b.ReportMetric(ratio, "×better")
	w.b.ReportMetric(0, "ns/op")
}

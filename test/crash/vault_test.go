package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/internal/demo/process"
	"github.com/lifeboat-dr/lifeboat/internal/demo/world"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/program"
)

// TestVaultLosesNothing destroys the host of a database that has no standby, at random moments of a heavy load, and has it
// brought back at the other site, from the vault and from what was received there. Every transaction that was
// acknowledged has to be there, and none in part. Some of the programs that bring it back are killed on the way. The sites
// take turns: what was brought back is protected, loaded and destroyed again.
func TestVaultLosesNothing(t *testing.T) {
	t.Parallel()
	rounds, kills := 3, 1
	if program.Long() {
		rounds, kills = 50, 20
	}
	r := newVaultRig(t)
	moments := r.moments(kills)
	for round := range rounds {
		began := time.Now()
		r.protected()
		ready := time.Since(began)
		l := r.loaded(round)
		r.pass(time.Duration(r.random.Int64N(int64(2 * time.Second))))
		r.begin(destroyed)
		l.stop()
		n, rate, last := l.acknowledged()
		began = time.Now()
		var now []float64
		if rest := rounds - round; len(moments) > 0 && r.life["failover"] > 0 && r.random.IntN(rest) < len(moments) {
			now = moments[:1]
		}
		left := r.operate("failover", now)
		if len(now) > len(left) {
			moments = moments[1:]
		}
		loss := r.all.compare(t, r.w, other(r.serves))
		t.Logf("round %d: protected after %v; %s destroyed %v into the load, with %d transactions acknowledged, %.0f a second; brought back and compared in %v; %d lost",
			round, ready.Round(time.Millisecond), r.serves, last.Sub(l.began).Round(time.Millisecond), n, rate, time.Since(began).Round(time.Millisecond), loss.n)
		if loss.n > 0 {
			t.Errorf("round %d: %d acknowledged transactions are lost", round, loss.n)
		}
		r.look(other(r.serves), false)
		r.moved()
		if t.Failed() {
			break
		}
	}
	t.Logf("killed: %v", r.killed)
}

// TestVaultLosesNoMoreThanItSays lets nobody wait for the other site. Its receiver is held up, then the host is destroyed:
// lost is what came while it was, which status has told of, and no more than the RPO that the report measures. What was
// acknowledged before the marker that came back was written is there.
func TestVaultLosesNoMoreThanItSays(t *testing.T) {
	t.Parallel()
	r := newVaultRig(t)
	rounds := 1
	if program.Long() {
		rounds = 10
	}
	r.configure("synchronous: true", "synchronous: false")
	for round := range rounds {
		r.asynchronous()
		l := r.loaded(round)
		age := r.markerAge()
		receiver := r.receiver(other(r.serves))
		r.signal(receiver, syscall.SIGSTOP)
		frozen := l.done.Load()
		program.Until(t, "transactions that the other site has not got", func(ctx context.Context) error {
			if n := l.done.Load() - frozen; n < 1000 {
				return fmt.Errorf("%d are acknowledged", n)
			}
			return r.unsent(ctx)
		})
		if s := r.stream(); s.LagBytes == nil || *s.LagBytes < 1000*100 { // of log: each transaction has more
			t.Errorf("round %d: status does not tell that the receiver is behind: %s", round, s.Summary)
		}
		r.begin(destroyed)
		l.stop()
		r.signal(receiver, syscall.SIGCONT)
		p := r.operation("failover")
		r.ended("failover", p)
		report := program.Answer[api.Report](p)
		loss := r.all.compare(t, r.w, other(r.serves))
		n, rate, last := l.acknowledged()
		lost, came := last.Sub(loss.oldest), r.came(report)
		switch {
		case loss.n == 0:
			t.Errorf("round %d: nothing is lost of %d transactions: this test shows nothing", round, n)
		case report.RPO.Seconds == nil:
			t.Errorf("round %d: the RPO was not measured: %s", round, report.RPO.Basis)
		default:
			rpo := time.Duration(*report.RPO.Seconds * float64(time.Second))
			known := age()
			t.Logf("round %d: of %d transactions, %.0f a second, the %d of the last %v are lost; the marker that came back is %v older than the last one; the report says an RPO of %v; the newest marker was at most %v old",
				round, n, rate, loss.n, lost.Round(time.Millisecond), last.Sub(came).Round(time.Millisecond), rpo, known.Round(time.Millisecond))
			if lost > rpo+known+marker {
				t.Errorf("round %d: %v are lost, and the report says an RPO of %v, which is known to %v", round, lost, rpo, known)
			}
			if loss.oldest.Before(came) {
				t.Errorf("round %d: a transaction is lost that was acknowledged %v before the marker that came back", round, came.Sub(loss.oldest))
			}
		}
		r.all = nil // what is lost stays lost
		r.moved()
		if t.Failed() {
			break
		}
	}
}

// unsent waits for log that the server cannot even hand to the network: what is on its way, in the kernel, arrives although the
// server is destroyed.
func (r *vaultRig) unsent(ctx context.Context) error {
	conn, err := r.w.Connect(ctx, r.serves, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var bytes int64
	err = conn.QueryRow(ctx, "select (pg_current_wal_flush_lsn() - sent_lsn)::bigint from pg_stat_replication where state = 'streaming'").Scan(&bytes)
	if err == nil && bytes < 1<<20 {
		err = fmt.Errorf("%d bytes of log are not sent", bytes)
	}
	return err
}

// came is when the marker was written that came back with the database.
func (r *vaultRig) came(report api.Report) time.Time {
	r.t.Helper()
	i := slices.IndexFunc(report.Run.Steps, func(s api.StepView) bool { return string(s.ID) == "db/read-marker@"+other(r.serves) })
	if i < 0 {
		r.t.Fatal("no marker was read")
	}
	at, err := time.Parse(time.RFC3339Nano, report.Run.Steps[i].Outputs["marker_at"].Text)
	if err != nil {
		r.t.Fatalf("the marker that came back: %v", err)
	}
	return at
}

// marker is how often a marker is written in a world that is not too busy for that.
const marker = 250 * time.Millisecond

// markerAge watches the newest marker in what serves until that is gone, and then gives how old it was at most: the RPO is
// known that well, and a busy machine writes its markers late.
func (r *vaultRig) markerAge() func() time.Duration {
	r.t.Helper()
	ctx := r.t.Context()
	conn, err := r.w.Connect(ctx, r.serves, world.Database)
	if err != nil {
		r.t.Fatal(err)
	}
	oldest := make(chan time.Duration, 1)
	go func() {
		defer conn.Close(context.WithoutCancel(ctx))
		var most time.Duration
		for {
			var at time.Time
			if err := conn.QueryRow(ctx, "select max(at) from lifeboat.marker").Scan(&at); err != nil {
				oldest <- most
				return
			}
			most = max(most, time.Since(at))
			r.pass(marker / 10)
		}
	}()
	return func() time.Duration { return <-oldest }
}

// vaultRig is a rig whose database has no standby.
type vaultRig struct {
	*rig
	all   loads
	since time.Time // when the site that serves began to
}

func newVaultRig(t *testing.T) *vaultRig {
	t.Helper()
	r := &vaultRig{rig: newRig(t, world.FromVault)}
	conn, err := r.w.Connect(t.Context(), world.East, world.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), loadTables); err != nil {
		t.Fatal(err)
	}
	return r
}

// protected has lifeboat protect run until what serves is in the vault and waits for the other site.
func (r *vaultRig) protected() {
	r.t.Helper()
	if r.guard == nil {
		r.protect(true)
	}
	if err := r.w.Protected(r.t.Context(), r.serves); err != nil {
		r.t.Fatal(err)
	}
	r.captured()
}

// captured waits until there is a base point of what serves.
func (r *vaultRig) captured() {
	r.t.Helper()
	program.Until(r.t, "a base point", func(context.Context) error {
		p := r.lifeboat("points", world.App, "-o", "json")
		if code := p.Wait(); code != 0 {
			return fmt.Errorf("points exits with %d: %s", code, p.Said())
		}
		if !slices.ContainsFunc(program.Answer[api.PointsReply](p).Points, func(p model.Point) bool {
			return p.Resource == "db" && !p.Live && p.At.After(r.since)
		}) {
			return errors.New("there is none yet")
		}
		return nil
	})
}

// asynchronous waits until what serves is in the vault and received, and nobody waits for that.
func (r *vaultRig) asynchronous() {
	r.t.Helper()
	if r.guard == nil {
		r.protect(true)
	}
	conn, err := r.w.Connect(r.t.Context(), r.serves, "postgres")
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close(r.t.Context())
	for _, statement := range []string{"alter system reset synchronous_standby_names", "select pg_reload_conf()"} {
		if _, err := conn.Exec(r.t.Context(), statement); err != nil {
			r.t.Fatal(err)
		}
	}
	program.Until(r.t, "the log to be received", func(ctx context.Context) error {
		var state string
		err := conn.QueryRow(ctx, "select sync_state from pg_stat_replication where state = 'streaming'").Scan(&state)
		if err == nil && state != "async" {
			err = fmt.Errorf("it is received in the state %s", state)
		}
		return err
	})
	r.captured()
}

// loaded starts a load and returns when it is well under way.
func (r *vaultRig) loaded(round int) *load {
	r.t.Helper()
	l := startLoad(r.t, r.w, r.serves, round)
	r.all = append(r.all, l)
	program.Until(r.t, "the load", func(context.Context) error {
		if n := l.done.Load(); n < 10*loaders {
			return fmt.Errorf("%d are acknowledged", n)
		}
		return nil
	})
	return l
}

// pass lets some time go by: a moment cannot be awaited otherwise.
func (r *vaultRig) pass(d time.Duration) {
	select {
	case <-r.t.Context().Done():
	case <-time.After(d):
	}
}

// moved gives the destroyed site a new machine. The other one serves from now on.
func (r *vaultRig) moved() {
	r.t.Helper()
	r.protect(false)
	r.rack()
	r.serves, r.since = other(r.serves), time.Now()
}

// configure changes the world's configuration.
func (r *vaultRig) configure(was, is string) {
	r.t.Helper()
	text, err := os.ReadFile(r.w.Config())
	if err != nil {
		r.t.Fatal(err)
	}
	if strings.Count(string(text), was) != 1 {
		r.t.Fatalf("%q is not once in the configuration", was)
	}
	if err := os.WriteFile(r.w.Config(), []byte(strings.Replace(string(text), was, is, 1)), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// receiver finds the process that receives the log at a site.
func (r *vaultRig) receiver(site string) process.Info {
	r.t.Helper()
	table, err := process.Table()
	if err != nil {
		r.t.Fatal(err)
	}
	i := slices.IndexFunc(table, func(info process.Info) bool { return len(info.Args) > 2 && r.what(info) == "receiver "+site })
	if i < 0 {
		r.t.Fatalf("nobody receives in %s", site)
	}
	return table[i]
}

func (r *vaultRig) signal(info process.Info, sig syscall.Signal) {
	r.t.Helper()
	if _, err := info.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
}

// stream is what lifeboat status says of the receiver at the site that is left.
func (r *vaultRig) stream() model.Stream {
	r.t.Helper()
	p := r.lifeboat("status", world.App, "-o", "json")
	if code := p.Wait(); code < 0 {
		r.t.Fatalf("status was killed: %s", p.Said())
	}
	status := program.Answer[api.StatusReply](p)
	i := slices.IndexFunc(status.Streams, func(s model.Stream) bool { return string(s.Site) == other(r.serves) })
	if i < 0 {
		r.t.Fatalf("status says nothing of the receiver: %s", p.Printed())
	}
	return status.Streams[i]
}

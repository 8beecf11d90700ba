package pglog_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
)

// ack is one order that a client was told to be committed.
type ack struct {
	id            int
	before, after pgwal.LSN // the commit lies between these
	at            time.Time // when the client was told
}

// load places orders by many clients until the server is gone, and calls told after each one that was acknowledged.
// Every order is one transaction of two rows, with a note of so many bytes.
func (r *rig) load(ctx context.Context, clients int, positions bool, note int, told func(n int)) []ack {
	var mu sync.Mutex
	var acks []ack
	var all sync.WaitGroup
	var count atomic.Int64
	for client := range clients {
		all.Go(func() {
			conn, err := r.p.Connect(ctx, pgtest.East)
			if err != nil {
				return
			}
			defer conn.Close(context.WithoutCancel(ctx))
			lsn := func() (at pgwal.LSN, err error) {
				if !positions {
					return 0, nil
				}
				var text string
				if err = conn.QueryRow(ctx, "select pg_current_wal_insert_lsn()::text").Scan(&text); err == nil {
					at, err = pgwal.ParseLSN(text)
				}
				return at, err
			}
			for n := 1; ; n++ {
				a := ack{id: client*1_000_000 + n}
				if a.before, err = lsn(); err != nil {
					return
				}
				if _, err := conn.Exec(ctx, fmt.Sprintf("begin; insert into orders values (%d, false, repeat('x', %d)); insert into orders values (%d, true); commit", 2*a.id, note, 2*a.id+1)); err != nil {
					return
				}
				a.at = time.Now()
				if a.after, err = lsn(); err != nil {
					a.after = ^pgwal.LSN(0)
				}
				mu.Lock()
				acks = append(acks, a)
				mu.Unlock()
				told(int(count.Add(1)))
			}
		})
	}
	all.Wait()
	return acks
}

// destroy kills the primary with all its processes, and removes its data folder.
func (r *rig) destroy() {
	r.p.Kill(pgtest.East)
	do(r.t, os.RemoveAll(r.p.Data(pgtest.East)))
}

// there gives the orders of a restored copy, and fails for those that are there by half.
func (r *rig) there(spools []string) map[int]bool {
	r.t.Helper()
	ids := map[int]bool{}
	answers := r.restore(spools, pgrestore.Target{}, halves, "select coalesce(string_agg((id / 2)::text, ' '), '') from orders where not twin")
	if answers[0] != "0" {
		r.t.Errorf("%s orders are there by half", answers[0])
	}
	for rest := answers[1]; rest != ""; {
		var id int
		if n, err := fmt.Sscanf(rest, "%d", &id); err != nil || n != 1 {
			r.t.Fatalf("%q: %v", rest, err)
		}
		ids[id] = true
		i := 0
		for i < len(rest) && rest[i] != ' ' {
			i++
		}
		rest = rest[min(i+1, len(rest)):]
	}
	return ids
}

// long reports whether the long suites were asked for.
func long() bool { return os.Getenv("LIFEBOAT_LONG") != "" }

// TestNothingAcknowledgedIsLost destroys the primary under load at random moments, each time with another one: every
// order that was acknowledged is recovered at the other site, none by half.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	rounds := 3
	if long() {
		rounds = 50
	}
	for n := range rounds {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := newRig(t)
			r.launch()
			r.streaming()
			r.base(pgtest.East)
			r.synchronous(pgtest.East)
			moment := 500 + rand.IntN(5000)
			reached := make(chan struct{})
			var acks []ack
			var loaded sync.WaitGroup
			began := time.Now()
			loaded.Go(func() {
				acks = r.load(t.Context(), 32, false, 0, func(n int) {
					if n == moment {
						close(reached)
					}
				})
			})
			<-reached
			rate := float64(moment) / time.Since(began).Seconds()
			r.destroy()
			loaded.Wait()
			r.end()
			ids := r.there([]string{r.c.Spool})
			lost := 0
			for _, a := range acks {
				if !ids[a.id] {
					lost++
				}
			}
			if lost > 0 || len(acks) < moment {
				t.Errorf("%d of %d acknowledged orders are lost", lost, len(acks))
			}
			t.Logf("destroyed after %d orders at %.0f a second; acknowledged %d, recovered %d", moment, rate, len(acks), len(ids))
		})
	}
}

// end ends a receiver that runs as a process of its own, in order.
func (r *rig) end() {
	r.t.Helper()
	do(r.t, r.cmd.Process.Signal(syscall.SIGTERM))
	if err := r.cmd.Wait(); err != nil {
		r.t.Errorf("after SIGTERM: %v", err)
	}
}

// TestLossIsTheReportedLag destroys a primary that does not wait for the receiver, while that is frozen: what is lost is
// exactly what the receiver says that it has not got, by position and by time.
func TestLossIsTheReportedLag(t *testing.T) {
	r := newRig(t)
	r.launch()
	// The receiver compares the server's clock with its own by the fastest message that it got, which took no longer than this one.
	s := r.streaming()
	skew := s.Heard.Sub(s.ServerTime)
	r.base(pgtest.East)
	// What is on its way to the receiver when the server dies is not lost: it takes more than connections hold to lose some.
	r.p.Exec(pgtest.East, "alter table orders alter note set storage external")
	frozen, enough := make(chan struct{}), make(chan struct{})
	var acks []ack
	var loaded sync.WaitGroup
	loaded.Go(func() {
		acks = r.load(t.Context(), 8, true, 16000, func(n int) {
			switch n {
			case 500:
				close(frozen)
			case 4000:
				close(enough)
			}
		})
	})
	<-frozen
	do(t, r.cmd.Process.Signal(syscall.SIGSTOP))
	<-enough
	r.destroy()
	loaded.Wait()
	do(t, r.cmd.Process.Signal(syscall.SIGCONT))
	r.await("without a server", has(pglog.FindUnreachable))
	r.end()
	s = r.state()
	ids := r.there([]string{r.c.Spool})
	kept, lost := 0, 0
	for _, a := range acks {
		switch there := ids[a.id]; {
		case a.after <= s.Flushed.At && !there:
			t.Errorf("order %d, committed before %s, is lost: flushed up to %s", a.id, a.after, s.Flushed.At)
		case a.before >= s.Flushed.At && there:
			t.Errorf("order %d, committed after %s, is there: flushed up to %s", a.id, a.before, s.Flushed.At)
		case !there && a.at.Before(s.LagSince.Add(-skew)):
			t.Errorf("order %d, acknowledged at %s, is lost: nothing before %s, give or take %s, is said to be", a.id, a.at, s.LagSince, skew)
		case there:
			kept++
		default:
			lost++
		}
	}
	if kept == 0 || lost == 0 {
		t.Errorf("%d kept, %d lost: nothing is shown", kept, lost)
	}
	t.Logf("%d kept, %d lost, flushed up to %s, %s behind", kept, lost, s.Flushed.At, time.Since(s.LagSince).Round(time.Millisecond))
}

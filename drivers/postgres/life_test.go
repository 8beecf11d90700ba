package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

var tokens struct {
	sync.Mutex
	n int
}

func newToken() string {
	tokens.Lock()
	defer tokens.Unlock()
	tokens.n++
	letters := func(n int) string { return strings.Map(func(r rune) rune { return 'a' + r - '0' }, strconv.Itoa(n)) }
	return "t" + letters(os.Getpid()) + "x" + letters(tokens.n)
}

func request(p *pgtest.Pair, action model.Action, site, peer model.SiteID) driver.Request {
	return driver.Request{
		Target: driver.Target{App: "shop", Resource: p.Resource, Site: site, Peer: peer},
		Action: action, Operation: model.OpFailover, Run: "run1", Step: "step1", Attempt: 1, Token: newToken(),
	}
}

// begin begins with a driver of its own, as a process that dies right after would.
func begin(t testing.TB, req driver.Request) driver.Handle {
	t.Helper()
	h, err := driver.Begin(t.Context(), New(nil), req)
	if err != nil {
		t.Fatalf("begin %s at %s: %v (hint: %s)", req.Action, req.Site, err, failure.HintOf(err))
	}
	return h
}

// finish observes to the end, each time with a new driver.
func finish(t testing.TB, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pgtest.Patience)
	defer cancel()
	var last driver.Observation
	for {
		obs, err := New(nil).Observe(ctx, req, h)
		if err != nil {
			t.Fatalf("observe %s at %s: %v; before: %+v", req.Action, req.Site, err, last)
		}
		if obs.State != driver.Pending {
			return obs
		}
		last = obs
		time.Sleep(max(obs.Again, time.Millisecond))
	}
}

// do begins twice with one token, as after a crash, and observes to the end.
func do(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	begin(t, req)
	req.Resumed = true
	h := begin(t, req)
	obs := finish(t, req, h)
	if obs.State != driver.Done {
		t.Fatalf("%s at %s: %s: %v", req.Action, req.Site, obs.State, obs.Err)
	}
	t.Logf("%s at %s: %v", req.Action, req.Site, obs.Evidence)
	return obs
}

func role(t testing.TB, p *pgtest.Pair, site model.SiteID) model.Description {
	t.Helper()
	d, err := New(nil).Describe(t.Context(), driver.Target{App: "shop", Resource: p.Resource, Site: site})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// refusesWrites shows that a write at a site is not acknowledged: it fails, or does not end while ctx lasts.
func refusesWrites(t *testing.T, p *pgtest.Pair, site model.SiteID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	conn, err := p.Connect(ctx, site)
	if err != nil {
		return
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(ctx, "create table should_not_be()"); err == nil {
		t.Errorf("a write at %s was acknowledged", site)
	}
}

// load inserts rows from one client after another and remembers which were acknowledged.
type load struct {
	stop  context.CancelFunc
	done  sync.WaitGroup
	mu    sync.Mutex
	acked []int
}

func startLoad(t *testing.T, p *pgtest.Pair) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel}
	for client := range 3 {
		l.done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				for _, site := range []model.SiteID{pgtest.East, pgtest.West} {
					l.session(ctx, p, site, client*10_000_000+n*100_000)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	return l
}

// session inserts at one site until it fails.
func (l *load) session(ctx context.Context, p *pgtest.Pair, site model.SiteID, id int) {
	conn, err := p.Connect(ctx, site)
	if err != nil {
		return
	}
	defer conn.Close(context.Background())
	for ; ctx.Err() == nil; id++ {
		if _, err := conn.Exec(ctx, "insert into orders values ($1, $2)", id, string(site)); err != nil {
			return
		}
		l.mu.Lock()
		l.acked = append(l.acked, id)
		l.mu.Unlock()
	}
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// grow waits until n more rows were acknowledged.
func (l *load) grow(t *testing.T, n int) {
	t.Helper()
	for want, end := l.count()+n, time.Now().Add(pgtest.Patience); l.count() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the load stands still at %d rows", l.count())
		}
	}
}

// check stops the load and looks for every acknowledged row at site.
func (l *load) check(t *testing.T, p *pgtest.Pair, site model.SiteID) {
	t.Helper()
	l.stop()
	l.done.Wait()
	conn, err := p.Connect(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var missing int
	err = conn.QueryRow(t.Context(), "select count(*) from unnest($1::int[]) as a(id) where not exists (select 1 from orders o where o.id = a.id)", l.acked).Scan(&missing)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows acknowledged, %d missing at %s", len(l.acked), missing, site)
	if missing != 0 || len(l.acked) == 0 {
		t.Errorf("%d of %d acknowledged rows are missing at %s", missing, len(l.acked), site)
	}
}

func writeMarkerAt(t testing.TB, p *pgtest.Pair, m model.Marker) {
	t.Helper()
	if err := New(nil).WriteMarker(t.Context(), driver.Target{App: "shop", Resource: p.Resource}, m); err != nil {
		t.Fatal(err)
	}
}

func TestWholeLife(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t, pgtest.Options{Synchronous: true})
	east, west := pgtest.East, pgtest.West
	p.Exec(east, "create table orders (id int primary key, site text)")
	if got := role(t, p, east); got.Role != model.RolePrimary || !got.Healthy {
		t.Errorf("east: %+v", got)
	}
	if got := role(t, p, west); got.Role != model.RoleStandby || !got.Sync || !got.Healthy {
		t.Errorf("west: %+v", got)
	}
	l := startLoad(t, p)
	l.grow(t, 50)

	marker := model.Marker{Seq: 7, At: time.Now().Add(-time.Minute)}
	writeMarkerAt(t, p, marker)

	// Drill: replication is not disturbed, the copy has the data, nothing is left.
	senders := "select string_agg(pid || ' ' || sync_state, ',') from pg_stat_replication"
	before := p.Text(east, senders)
	drill := request(p, model.ActionDrill, west, east)
	drill.Operation = model.OpDrill
	start := time.Now()
	copyOf := do(t, drill)
	t.Logf("the drill's copy took %s", time.Since(start))
	if after := p.Text(east, senders); after != before {
		t.Errorf("replication: got %s after the drill, %s before", after, before)
	}
	read := request(p, model.ActionReadMarker, west, east)
	read.Operation, read.Inputs = model.OpDrill, map[string]model.Value{"db.endpoint": copyOf.Outputs["endpoint"]}
	if got := do(t, read).Outputs; got["marker_seq"].Text != "7" || got["marker_at"] != driver.Time(marker.At) {
		t.Errorf("the drill's marker: got %v, want %v", got, marker)
	}
	port, err := strconv.Atoi(copyOf.Outputs["port"].Text)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgtest.Dial(t.Context(), copyOf.Outputs["host"].Text, port)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "insert into orders values (-1, 'drill')"); err != nil {
		t.Error(err)
	}
	_ = conn.Close(t.Context())
	release := request(p, model.ActionRelease, west, "")
	release.Operation, release.Released = model.OpDrill, &driver.Released{Step: drill.Step, Token: drill.Token}
	do(t, release)
	do(t, release)
	if left, _ := os.ReadDir(filepath.Join(p.Dir(west), "drill")); len(left) != 0 {
		t.Errorf("the drill left %v", left)
	}
	if got := p.Text(west, "select count(*) from orders where id = -1"); got != "0" {
		t.Errorf("the drill's write reached the standby")
	}

	// Disaster, failover.
	l.grow(t, 50)
	marker.Seq = 8
	writeMarkerAt(t, p, marker)
	p.Kill(east)
	do(t, request(p, model.ActionFence, east, west))
	if got := role(t, p, east); got.Role != model.RoleFenced {
		t.Errorf("east after the fence: %+v", got)
	}
	start = time.Now()
	promoted := do(t, request(p, model.ActionPromote, west, east))
	t.Logf("promoted in %s", time.Since(start))
	if got := promoted.Outputs["timeline"].Text; got != "2" {
		t.Errorf("timeline: got %s, want 2", got)
	}
	read = request(p, model.ActionReadMarker, west, "")
	if got := do(t, read).Outputs["marker_seq"].Text; got != "8" {
		t.Errorf("marker: got %s, want 8", got)
	}
	l.grow(t, 50)

	// The old primary comes back: read-only.
	p.Launch(east)
	refusesWrites(t, p, east)

	// Failback: reverse, quiesce, promote under load.
	reversed := do(t, request(p, model.ActionReverse, east, west))
	t.Logf("reversed: %v", reversed.Evidence)
	if got := role(t, p, east); got.Role != model.RoleStandby || !got.Sync {
		t.Errorf("east after the reverse: %+v", got)
	}
	l.grow(t, 50)
	start = time.Now()
	do(t, request(p, model.ActionQuiesce, west, east))
	do(t, request(p, model.ActionFence, west, east))
	do(t, request(p, model.ActionPromote, east, west))
	t.Logf("switched back in %s", time.Since(start))
	l.grow(t, 50)
	if got := do(t, request(p, model.ActionReverse, west, east)); !strings.Contains(fmt.Sprint(got.Evidence), wayFollow) {
		t.Errorf("after a planned move west was not made to follow as it is: %v", got.Evidence)
	}
	l.grow(t, 50)
	l.check(t, p, east)
	p.WaitFor(west, "select pg_is_in_recovery()")
}

func TestDataFolderGone(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t, pgtest.Options{Synchronous: true})
	east, west := pgtest.East, pgtest.West
	p.Exec(east, "create table orders (id int primary key, site text)")
	l := startLoad(t, p)
	l.grow(t, 30)
	p.Kill(east)
	if err := os.Rename(p.Data(east), p.Dir(east)+"/away"); err != nil {
		t.Fatal(err)
	}
	if got := role(t, p, east); got.Role != model.RoleAbsent {
		t.Errorf("east: %+v", got)
	}
	do(t, request(p, model.ActionFence, east, west))
	do(t, request(p, model.ActionPromote, west, east))
	l.grow(t, 30)

	// The folder comes back as it was, and somebody starts it: a second primary, whose commits never end.
	if err := os.Rename(p.Dir(east)+"/away", p.Data(east)); err != nil {
		t.Fatal(err)
	}
	p.Launch(east)
	refusesWrites(t, p, east)
	if got := role(t, p, west); !strings.Contains(got.Summary, "TWO PRIMARIES") || got.Healthy {
		t.Errorf("west, with a second primary: %+v", got)
	}
	reverse := request(p, model.ActionReverse, east, west)
	if _, err := New(nil).Reverse(t.Context(), reverse); !errors.Is(err, failure.Conflict) {
		t.Errorf("reverse of a serving primary: got %v, want a conflict", err)
	}
	promote := request(p, model.ActionPromote, east, west)
	if _, err := New(nil).Promote(t.Context(), promote); !errors.Is(err, failure.Conflict) {
		t.Errorf("promote of the old primary: got %v, want a conflict", err)
	}
	do(t, request(p, model.ActionFence, east, west))
	if err := os.RemoveAll(p.Data(east)); err != nil {
		t.Fatal(err)
	}
	if got := do(t, request(p, model.ActionReverse, east, west)); !strings.Contains(fmt.Sprint(got.Evidence), wayRebuild) {
		t.Errorf("not rebuilt: %v", got.Evidence)
	}
	if got := role(t, p, east); got.Role != model.RoleStandby || !got.Sync {
		t.Errorf("east after the rebuild: %+v", got)
	}
	l.grow(t, 30)
	do(t, request(p, model.ActionQuiesce, west, east))
	do(t, request(p, model.ActionPromote, east, west))
	l.grow(t, 30)
	l.check(t, p, east)
}

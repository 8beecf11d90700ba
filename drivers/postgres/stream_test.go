package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/model"
)

// stream keeps the receiver at a site alive, as a keeper does, until it is in the state.
func stream(t testing.TB, p *pgtest.Pair, site model.SiteID, until func(model.Stream) bool) model.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pgtest.Patience)
	defer cancel()
	var last model.Stream
	for ctx.Err() == nil {
		var err error
		if last, err = New(nil).Stream(ctx, driver.StreamRequest{Target: driver.Target{App: "shop", Resource: p.Resource, Site: site}}); err != nil {
			t.Fatal(err)
		}
		if until(last) {
			return last
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("receiving at %s: time is up: %+v", site, last)
	return last
}

func flowing(st model.Stream) bool { return st.State == model.StreamFlowing && st.LagBytes != nil }

// stopped ends a site's receiver when the test does.
func stopped(t testing.TB, p *pgtest.Pair, sites ...model.SiteID) {
	t.Cleanup(func() {
		for _, site := range sites {
			if err := New(nil).StopStream(context.Background(), driver.Target{App: "shop", Resource: p.Resource, Site: site}); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestStream keeps a receiver alive: started, found running, started again after it was killed, made synchronous, held,
// and ended with its slot.
func TestStream(t *testing.T) {
	p := pgtest.Start(t, pgtest.Options{})
	withVault(t, p, map[string]any{"recovery": "vault", "synchronous": true})
	p.Kill(pgtest.West)
	stopped(t, p, pgtest.East, pgtest.West)
	first := stream(t, p, pgtest.West, func(st model.Stream) bool { return flowing(st) && st.Sync })
	if got, want := p.Text(pgtest.East, "current_setting('synchronous_standby_names')"), `FIRST 1 ("lifeboat_shop_db_west")`; got != want {
		t.Errorf("synchronous_standby_names: got %s, want %s", got, want)
	}
	if first.From != pgtest.East || first.Kept == nil {
		t.Errorf("got %+v", first)
	}
	p.Exec(pgtest.East, "create table orders (id int primary key)")
	needs := stream(t, p, pgtest.West, func(st model.Stream) bool { return st.NeedsPoint != "" })
	t.Log(needs.NeedsPoint)
	do(t, request(p, model.ActionCapture, pgtest.East, ""))
	stream(t, p, pgtest.West, func(st model.Stream) bool { return flowing(st) && st.NeedsPoint == "" })

	s, err := newServer(driver.Target{App: "shop", Resource: p.Resource}, pgtest.West)
	if err != nil {
		t.Fatal(err)
	}
	at, err := s.post()
	if err != nil {
		t.Fatal(err)
	}
	state, err := at.place().Signal(t.Context(), "KILL", "")
	if err != nil {
		t.Fatal(err)
	}
	pid := state.Pid
	stream(t, p, pgtest.West, func(st model.Stream) bool { return flowing(st) && st.Sync })
	if seen, err := at.lookReceiver(t.Context()); err != nil || seen.proc.Pid == pid || !seen.running() {
		t.Errorf("after it was killed: %v, %v", seen.proc, err)
	}
	// The site that serves receives nothing.
	if got := stream(t, p, pgtest.East, func(model.Stream) bool { return true }); got.State != model.StreamStopped || len(got.Findings) != 0 {
		t.Errorf("at the site that serves: %+v", got)
	}
	// Held by a move: it stays down until that is over.
	req := request(p, model.ActionPromote, pgtest.West, pgtest.East)
	if _, err := New(nil).holdReceiver(t.Context(), s, req); err != nil {
		t.Fatal(err)
	}
	if got := stream(t, p, pgtest.West, func(model.Stream) bool { return true }); got.State != model.StreamHeld || got.Held != req.Run {
		t.Errorf("held: %+v", got)
	}
	over, err := New(nil).Stream(t.Context(), driver.StreamRequest{Target: req.Target, Over: req.Run})
	if err != nil || over.State == model.StreamHeld {
		t.Errorf("the move is over: %+v, %v", over, err)
	}
	stream(t, p, pgtest.West, flowing)
	if err := New(nil).StopStream(t.Context(), req.Target); err != nil {
		t.Fatal(err)
	}
	if got := p.Text(pgtest.East, "select count(*) from pg_replication_slots") + p.Text(pgtest.East, "current_setting('synchronous_standby_names')"); got != "0" {
		t.Errorf("left at the primary: %s", got)
	}
}

// TestRemoteApply holds that a receiver is never made synchronous where commits would wait for it to apply.
func TestRemoteApply(t *testing.T) {
	p := pgtest.Start(t, pgtest.Options{})
	withVault(t, p, map[string]any{"recovery": "vault", "synchronous": true})
	stopped(t, p, pgtest.West)
	p.Exec(pgtest.East, "alter role postgres set synchronous_commit = remote_apply")
	got := stream(t, p, pgtest.West, flowing)
	got = stream(t, p, pgtest.West, flowing)
	if got.Sync || p.Text(pgtest.East, "current_setting('synchronous_standby_names')") != "" {
		t.Errorf("it was made synchronous: %+v", got)
	}
	found := false
	for _, f := range got.Findings {
		found = found || f.Code == "remote-apply" && f.Severity == model.Block
	}
	if !found {
		t.Errorf("findings: %+v", got.Findings)
	}
}

// TestLagTime holds that a receiver's lag in time is as of its last word only while it speaks: what a frozen one has not got
// gets older.
func TestLagTime(t *testing.T) {
	began := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	after := func(d time.Duration) time.Time { return began.Add(d) }
	state := pglog.State{Streaming: true, LagSince: began, Updated: after(time.Second), Heard: after(time.Second), Flushed: pgwal.Position{Timeline: 1, At: 100}}
	for _, tt := range []struct {
		name      string
		now       time.Duration
		primary   lsn // 0: it does not answer
		streaming bool
		want      time.Duration
	}{
		{"it speaks", 3 * time.Second, 200, true, time.Second},
		{"it has all", 3 * time.Second, 100, true, 0},
		{"frozen", time.Minute, 200, true, time.Minute},
		{"frozen, and nothing came", time.Minute, 100, true, 0},
		{"interrupted", 3 * time.Second, 200, false, 3 * time.Second},
		{"without a primary", time.Minute, 0, true, time.Second},
	} {
		l := &looked{seen: seenReceiver{state: state, known: true, now: after(tt.now)}}
		l.seen.state.Streaming, l.seen.state.LagBytes = tt.streaming, 1
		if tt.primary != 0 {
			l.primary, l.view = &server{}, view{LSN: tt.primary, Timeline: 1}
		}
		var out model.Stream
		if l.lag(&out); out.LagTime.Std() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, out.LagTime, tt.want)
		}
	}
}

func TestSyncNames(t *testing.T) {
	for _, tt := range []struct {
		quorum int
		names  []string
		want   string
	}{
		{0, []string{"a"}, `FIRST 1 ("a")`}, {3, []string{"a"}, `FIRST 1 ("a")`},
		{0, []string{"a", `b"c`}, `ANY 1 ("a", "b""c")`}, {2, []string{"a", "b", "c"}, `ANY 2 ("a", "b", "c")`},
	} {
		if got := syncNames(tt.quorum, tt.names...); got != tt.want {
			t.Errorf("%d of %v: got %s, want %s", tt.quorum, tt.names, got, tt.want)
		}
	}
	for _, tt := range []struct {
		names, name, want string
		ok                bool
	}{
		{`FIRST 1 ("a")`, "a", "", true}, {`ANY 1 ("a", "b")`, "a", `FIRST 1 ("b")`, true}, {`ANY 2 ("a", "b", "c""d")`, `c"d`, `ANY 2 ("a", "b")`, true},
		{`FIRST 1 ("a")`, "b", "", false}, {`FIRST 2 (a, b)`, "a", "", false}, {`*`, "a", "", false}, {``, "a", "", false},
	} {
		if got, ok := without(tt.names, tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("%s without %s: got %s, %v, want %s, %v", tt.names, tt.name, got, ok, tt.want, tt.ok)
		}
	}
	long := receiverName("shop", "a-database-with-a-very-long-name-that-does-not-fit", "a-site-with-one-as-well")
	if other := receiverName("shop", "a-database-with-a-very-long-name-that-does-not-fit", "a-site-with-one-as-well-too"); len(long) > 63 || long == other {
		t.Errorf("got %s and %s", long, other)
	}
	if got, want := receiverName("Shop.EU", "db", "west-2"), "lifeboat_shop_eu_db_west_2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

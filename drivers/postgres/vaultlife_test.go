package postgres

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// lonely starts a pair whose standby is gone for good: a primary at east, and nothing but a receiver at west.
func lonely(t testing.TB, settings map[string]any) *pgtest.Pair {
	t.Helper()
	p := pgtest.Start(t, pgtest.Options{})
	all := map[string]any{"recovery": "vault"}
	for k, v := range settings {
		all[k] = v
	}
	withVault(t, p, all)
	p.Kill(pgtest.West)
	if err := os.RemoveAll(p.Data(pgtest.West)); err != nil {
		t.Fatal(err)
	}
	stopped(t, p, pgtest.East, pgtest.West)
	p.Exec(pgtest.East, "create table orders (id int primary key, site text)")
	return p
}

// TestWholeLifeFromTheVault moves a database there and back without a standby, under load: its primary is destroyed with
// its data folder, it is brought back from the vault with every row that was acknowledged, and moved home.
func TestWholeLifeFromTheVault(t *testing.T) {
	east, west := pgtest.East, pgtest.West
	p := lonely(t, map[string]any{"synchronous": true})
	p.Exec(east, "alter system set max_slot_wal_keep_size = '1GB'")
	p.Exec(east, "select pg_reload_conf()")
	stream(t, p, west, func(st model.Stream) bool { return flowing(st) && st.Sync })
	l := startLoad(t, p)
	l.grow(t, 50)
	do(t, request(p, model.ActionCapture, east, ""))
	l.grow(t, 50)
	if got := role(t, p, west); got.Role != model.RoleStandby || !got.Sync || !got.Healthy {
		t.Errorf("west: %+v", got)
	}

	// Drill: the receiver goes on, the copy has the data, nothing is left.
	drill := request(p, model.ActionDrill, west, east)
	drill.Operation = model.OpDrill
	copyOf := do(t, drill)
	if got := stream(t, p, west, flowing); !got.Sync {
		t.Errorf("after the drill began: %+v", got)
	}
	conn, err := pgtest.Dial(t.Context(), copyOf.Outputs["host"].Text, number(t, copyOf.Outputs["port"]))
	if err != nil {
		t.Fatal(err)
	}
	var rows int
	if err := conn.QueryRow(t.Context(), "select count(*) from orders").Scan(&rows); err != nil || rows < 100 {
		t.Errorf("the drill's copy has %d rows, %v", rows, err)
	}
	_ = conn.Close(t.Context())
	release := request(p, model.ActionRelease, west, "")
	release.Operation, release.Released = model.OpDrill, &driver.Released{Step: drill.Step, Token: drill.Token}
	do(t, release)
	if left, _ := os.ReadDir(p.Dir(west) + "/drill"); len(left) != 0 {
		t.Errorf("the drill left %v", left)
	}
	if _, err := os.Stat(proofTemp(drill.Token)); err == nil {
		t.Errorf("the drill left %s", proofTemp(drill.Token))
	}

	// Disaster: the host with its data folder.
	writeMarkerAt(t, p, model.Marker{Seq: 8, At: time.Now()})
	l.grow(t, 50)
	p.Kill(east)
	if err := os.RemoveAll(p.Data(east)); err != nil {
		t.Fatal(err)
	}
	do(t, request(p, model.ActionFence, east, west))
	start := time.Now()
	promoted := do(t, request(p, model.ActionPromote, west, east))
	t.Logf("brought back in %s", time.Since(start))
	if got := promoted.Outputs["timeline"].Text; got != "2" {
		t.Errorf("timeline: got %s, want 2", got)
	}
	l.grow(t, 50)
	if got := do(t, request(p, model.ActionReadMarker, west, "")).Outputs["marker_seq"].Text; got != "8" {
		t.Errorf("marker: got %s, want 8", got)
	}
	// Until east is back its log is kept for it, whatever west would remove.
	discardLog(t, p, west)
	l.grow(t, 50)
	away, err := New(nil).LookAtStream(t.Context(), driver.Target{App: "shop", Resource: p.Resource, Site: east})
	if err != nil || away.Kept == nil || *away.Kept < 2*16<<20 || !strings.Contains(away.Summary, "west keeps") {
		t.Errorf("what is kept for east: %+v, %v", away, err)
	}
	// Protected again: east receives, and commits wait for it. The point of before reaches all that was written since.
	do(t, request(p, model.ActionReverse, east, west))
	again := stream(t, p, east, func(st model.Stream) bool { return flowing(st) && st.Sync && st.NeedsPoint == "" })
	if again.From != west {
		t.Errorf("received from %s", again.From)
	}
	reaches(t, p, p.Text(west, "pg_current_wal_lsn()"))
	l.grow(t, 50)

	// Home, from the point of before the disaster: quiesced, nothing is lost.
	do(t, failback(p, model.ActionQuiesce, west, east))
	do(t, failback(p, model.ActionFence, west, east))
	do(t, failback(p, model.ActionPromote, east, west))
	l.grow(t, 50)
	if got := do(t, failback(p, model.ActionReverse, west, east)); !strings.Contains(fmt.Sprint(got.Evidence), "receiver") {
		t.Errorf("west after the failback: %v", got.Evidence)
	}
	stream(t, p, west, func(st model.Stream) bool { return flowing(st) && st.Sync })
	l.grow(t, 50)
	l.check(t, p, east)
}

// discardLog makes a server remove all log that nothing keeps.
func discardLog(t *testing.T, p *pgtest.Pair, site model.SiteID) {
	t.Helper()
	for range 3 {
		p.Exec(site, "select pg_logical_emit_message(true, 'test', 'a segment is not switched while it is empty')")
		p.Exec(site, "select pg_switch_wal()")
		p.Exec(site, "checkpoint")
	}
}

// reaches waits until one range without a gap goes from the first recovery point to a position.
func reaches(t *testing.T, p *pgtest.Pair, want string) {
	t.Helper()
	to, err := parseLSN(want)
	mustJSON(t, err)
	var ranges []model.Range
	for end := time.Now().Add(pgtest.Patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		ranges, err = New(nil).Ranges(t.Context(), driver.Target{App: "shop", Resource: p.Resource, Site: pgtest.East})
		mustJSON(t, err)
		if len(ranges) == 1 && ranges[0].Gap == "" {
			at, _, _ := strings.Cut(ranges[0].To, " ")
			if got, err := parseLSN(at); err == nil && got >= to {
				return
			}
		}
	}
	t.Fatalf("%s is not reached: %+v", want, ranges)
}

func number(t *testing.T, v model.Value) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(v.Text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// failback makes a request of a failback.
func failback(p *pgtest.Pair, a model.Action, site, peer model.SiteID) driver.Request {
	req := request(p, a, site, peer)
	req.Operation, req.Mode = model.OpFailback, model.Planned
	return req
}

// long skips what takes its time, unless it is asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("LIFEBOAT_LONG") == "" {
		t.Skip("takes its time: LIFEBOAT_LONG=1")
	}
}

// says reports whether an observation's evidence holds a text.
func says(obs driver.Observation, text string) bool {
	return strings.Contains(fmt.Sprint(obs.Evidence), text)
}

// TestOldCopies fails over from the vault and back, with what was left of the old primary: it is rewound and follows; where
// pg_rewind cannot be used and its log ends where the new one begins, only what differs is written; and a copy that may have
// more than the log is moved aside.
func TestOldCopies(t *testing.T) {
	east, west := pgtest.East, pgtest.West
	for _, tt := range []struct {
		name     string
		noHints  bool
		planned  bool
		pruned   bool   // the primary has not got the old copy's log any more
		prepared string // what the preparation of the failback says
		promoted string // what the promotion says
		aside    bool
	}{
		{name: "rewound", prepared: wayRewind, promoted: "primary"},
		{name: "follows", noHints: true, planned: true, prepared: wayFollow, promoted: "primary"},
		{name: "delta", planned: true, pruned: true, prepared: "has not got its log", promoted: "found right"},
		{name: "aside", noHints: true, prepared: wayReceive, promoted: "it may hold transactions", aside: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			long(t)
			p := pgtest.Start(t, pgtest.Options{NoHints: tt.noHints})
			withVault(t, p, map[string]any{"recovery": "vault"})
			p.Kill(west)
			mustJSON(t, os.RemoveAll(p.Data(west)))
			stopped(t, p, east, west)
			p.Exec(east, "create table orders (id int primary key, site text)")
			p.Exec(east, "insert into orders values (1, 'east')")
			if !tt.pruned {
				p.Exec(east, "alter system set wal_keep_size = '256MB'")
				p.Exec(east, "select pg_reload_conf()")
			}
			stream(t, p, west, flowing)
			do(t, request(p, model.ActionCapture, east, ""))
			if tt.planned {
				do(t, failback(p, model.ActionQuiesce, east, west))
			} else {
				stream(t, p, west, func(st model.Stream) bool { return flowing(st) && *st.LagBytes == 0 })
				p.Kill(east)
			}
			do(t, request(p, model.ActionFence, east, west))
			do(t, request(p, model.ActionPromote, west, east))
			p.Exec(west, "insert into orders values (2, 'west')")
			stream(t, p, east, flowing)
			for n := 0; tt.pruned && n < 2; n++ {
				p.Exec(west, "select pg_switch_wal()")
				p.Exec(west, "checkpoint")
			}
			do(t, request(p, model.ActionCapture, west, ""))

			prepare := failback(p, model.ActionReverse, east, west)
			prepare.Prepare = true
			if got := do(t, prepare); !says(got, tt.prepared) {
				t.Errorf("prepared: %v, want %s", got.Evidence, tt.prepared)
			}
			do(t, failback(p, model.ActionQuiesce, west, east))
			do(t, failback(p, model.ActionFence, west, east))
			if got := do(t, failback(p, model.ActionPromote, east, west)); !says(got, tt.promoted) {
				t.Errorf("promoted: %v, want %s", got.Evidence, tt.promoted)
			}
			if got := p.Text(east, "select string_agg(site, ' ' order by id) from orders"); got != "east west" {
				t.Errorf("rows at east: %s", got)
			}
			if old, _ := filepath.Glob(p.Data(east) + ".lifeboat/old.*"); (len(old) == 1) != tt.aside {
				t.Errorf("moved aside: %v", old)
			}
		})
	}
}

// TestSeed builds a lost standby anew from the vault instead of the primary.
func TestSeed(t *testing.T) {
	long(t)
	east, west := pgtest.East, pgtest.West
	p := pgtest.Start(t, pgtest.Options{})
	withVault(t, p, map[string]any{"seed": "vault"})
	stopped(t, p, east, west)
	p.Exec(east, "create table orders (id int primary key, site text)")
	stream(t, p, west, flowing)
	do(t, request(p, model.ActionCapture, east, ""))
	p.Exec(east, "insert into orders values (1, 'east')")
	p.Kill(west)
	mustJSON(t, os.RemoveAll(p.Data(west)))
	if got := do(t, request(p, model.ActionReverse, west, east)); !says(got, "from the vault: reached") {
		t.Errorf("not from the vault: %v", got.Evidence)
	}
	p.Exec(east, "insert into orders values (2, 'east')")
	p.WaitFor(west, "select count(*) = 2 from orders")
}

// TestLossIsTheLag holds that without synchronous what is lost with the primary is what the receiver was behind: here it is
// frozen while the primary goes on.
func TestLossIsTheLag(t *testing.T) {
	long(t)
	east, west := pgtest.East, pgtest.West
	p := lonely(t, nil)
	stream(t, p, west, flowing)
	do(t, request(p, model.ActionCapture, east, ""))
	p.Exec(east, "insert into orders select n, 'kept' from generate_series(1, 100) n")
	stream(t, p, west, func(st model.Stream) bool { return flowing(st) && *st.LagBytes == 0 })
	writeMarkerAt(t, p, model.Marker{Seq: 1, At: time.Now()})
	stream(t, p, west, func(st model.Stream) bool { return flowing(st) && *st.LagBytes == 0 })
	s, err := newServer(driver.Target{App: "shop", Resource: p.Resource}, west)
	mustJSON(t, err)
	at, err := s.post()
	mustJSON(t, err)
	if _, err := at.place().Signal(t.Context(), "STOP", ""); err != nil {
		t.Fatal(err)
	}
	p.Exec(east, "insert into orders select n, 'lost' from generate_series(101, 200) n")
	writeMarkerAt(t, p, model.Marker{Seq: 2, At: time.Now()})
	st, err := New(nil).LookAtStream(t.Context(), driver.Target{App: "shop", Resource: p.Resource, Site: west})
	if err != nil || st.LagBytes == nil || *st.LagBytes < 1000 {
		t.Errorf("the lag is not told: %+v, %v", st, err)
	}
	p.Kill(east)
	mustJSON(t, os.RemoveAll(p.Data(east)))
	do(t, request(p, model.ActionFence, east, west))
	if got := do(t, request(p, model.ActionPromote, west, east)); !says(got, "by force") {
		t.Errorf("the frozen receiver: %v", got.Evidence)
	}
	if got := p.Text(west, "select count(*) || ' ' || string_agg(distinct site, ',') from orders"); got != "100 kept" {
		t.Errorf("rows: %s", got)
	}
	if got := do(t, request(p, model.ActionReadMarker, west, "")).Outputs["marker_seq"].Text; got != "1" {
		t.Errorf("marker: %s", got)
	}
}

// TestRestore brings a state of the past back into a folder, running apart, and refuses a folder that is in use.
func TestRestore(t *testing.T) {
	long(t)
	east, west := pgtest.East, pgtest.West
	p := lonely(t, nil)
	stream(t, p, west, flowing)
	do(t, request(p, model.ActionCapture, east, ""))
	p.Exec(east, "insert into orders values (1, 'before')")
	p.Exec(east, "select pg_create_restore_point('good')")
	p.Exec(east, "delete from orders")
	stream(t, p, west, func(st model.Stream) bool { return flowing(st) && *st.LagBytes == 0 })
	folder := p.Dir(west) + "/restored"
	req := request(p, model.ActionRestore, west, "")
	req.Operation, req.Restore = model.OpRestore, &model.RestoreSpec{To: "name:good", Folder: folder, Run: true}
	findings, err := New(nil).Check(t.Context(), req)
	for _, f := range findings {
		if f.Severity == model.Block {
			t.Errorf("blocked: %+v", f)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	got := do(t, req)
	var at string
	for _, f := range got.Evidence {
		if f.Name == "answers" {
			at, _, _ = strings.Cut(f.Value, ",")
		}
	}
	host, port, err := net.SplitHostPort(at)
	mustJSON(t, err)
	conn, err := pgtest.Dial(t.Context(), host, number(t, model.Value{Text: port}))
	mustJSON(t, err)
	var site string
	if err := conn.QueryRow(t.Context(), "select site from orders").Scan(&site); err != nil || site != "before" {
		t.Errorf("restored: %q, %v", site, err)
	}
	_ = conn.Close(t.Context())
	p.Run(p.Bin+"/pg_ctl", "stop", "-w", "-s", "-m", "fast", "-D", folder)
	findings, err = New(nil).Check(t.Context(), req)
	if err != nil || !slices.ContainsFunc(findings, func(f model.Finding) bool { return f.Code == "folder-in-use" && f.Severity == model.Block }) {
		t.Errorf("a folder in use: %v, %v", findings, err)
	}
}

// TestQuorum has two sites that receive, and commits that wait for one of them: what only the other one has comes back too.
func TestQuorum(t *testing.T) {
	long(t)
	east, west, north := pgtest.East, pgtest.West, model.SiteID("north")
	p := lonely(t, map[string]any{"synchronous": true, "quorum": 1})
	at := map[string]any{}
	mustJSON(t, json.Unmarshal(p.Resource.Sites[west], &at))
	at["host"], at["data"] = "127.0.0.4", p.Dir(north)+"/data"
	p.Resource.Sites[north] = encode(t, at)
	p.Run("mkdir", "-p", p.Dir(north))
	stopped(t, p, north)
	stream(t, p, west, flowing)
	stream(t, p, north, func(st model.Stream) bool { return flowing(st) && st.Sync })
	if got, want := p.Text(east, "current_setting('synchronous_standby_names')"), `ANY 1 ("lifeboat_shop_db_north", "lifeboat_shop_db_west")`; got != want {
		t.Errorf("synchronous_standby_names: got %s, want %s", got, want)
	}
	do(t, request(p, model.ActionCapture, east, ""))
	s, err := newServer(driver.Target{App: "shop", Resource: p.Resource}, west)
	mustJSON(t, err)
	post, err := s.post()
	mustJSON(t, err)
	if _, err := post.place().Signal(t.Context(), "STOP", ""); err != nil {
		t.Fatal(err)
	}
	p.Exec(east, "insert into orders select n, 'north has it' from generate_series(1, 100) n")
	p.Kill(east)
	mustJSON(t, os.RemoveAll(p.Data(east)))
	do(t, request(p, model.ActionFence, east, west))
	do(t, request(p, model.ActionPromote, west, east))
	if got := p.Text(west, "select count(*) from orders"); got != "100" {
		t.Errorf("rows: %s", got)
	}
	stream(t, p, north, func(st model.Stream) bool { return flowing(st) && st.From == west })
}

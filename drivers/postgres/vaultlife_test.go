package postgres

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// lonely starts a pair whose standby is gone for good: a primary at east, and nothing but a receiver at west.
func lonely(t *testing.T, settings map[string]any) *pgtest.Pair {
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
	// Protected again: east receives, and commits wait for it.
	do(t, request(p, model.ActionReverse, east, west))
	again := stream(t, p, east, func(st model.Stream) bool { return flowing(st) && st.Sync })
	if again.From != west {
		t.Errorf("received from %s", again.From)
	}
	do(t, request(p, model.ActionCapture, west, ""))
	l.grow(t, 50)

	// Home: quiesced, nothing is lost.
	failback := func(a model.Action, site, peer model.SiteID) driver.Request {
		req := request(p, a, site, peer)
		req.Operation, req.Mode = model.OpFailback, model.Planned
		return req
	}
	do(t, failback(model.ActionQuiesce, west, east))
	do(t, failback(model.ActionFence, west, east))
	do(t, failback(model.ActionPromote, east, west))
	l.grow(t, 50)
	if got := do(t, failback(model.ActionReverse, west, east)); !strings.Contains(fmt.Sprint(got.Evidence), "receiver") {
		t.Errorf("west after the failback: %v", got.Evidence)
	}
	stream(t, p, west, func(st model.Stream) bool { return flowing(st) && st.Sync })
	l.grow(t, 50)
	l.check(t, p, east)
}

func number(t *testing.T, v model.Value) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(v.Text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

var _ = errors.Is
var _ = failure.Conflict

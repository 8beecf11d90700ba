package postgres

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestLogIsKept promotes a standby whose old primary is lost with its host: its log is kept for that site where something
// bounds it or the settings say so, from before the new timeline on; the status shows how much, and giving the site up drops it.
func TestLogIsKept(t *testing.T) {
	east, west := pgtest.East, pgtest.West
	p := pgtest.Start(t, pgtest.Options{})
	withVault(t, p, nil)
	p.Kill(east)
	said := fmt.Sprint(do(t, request(p, model.ActionPromote, west, east)).Evidence)
	if !strings.Contains(said, "max_slot_wal_keep_size is not set") || !strings.Contains(said, keepByHand("lifeboat_shop_db_east")) {
		t.Errorf("without a bound: %s", said)
	}
	slots := func() string {
		return p.Text(west, "select coalesce(string_agg(slot_name || ' ' || (restart_lsn is not null), ','), '') from pg_replication_slots")
	}
	if got := slots(); got != "" {
		t.Errorf("without a bound: %s", got)
	}
	loseHost(t, p, east)
	look := func() (model.Stream, []string) {
		st, err := New(nil).LookAtStream(t.Context(), driver.Target{App: "shop", Resource: p.Resource, Site: east})
		if err != nil {
			t.Fatal(err)
		}
		var codes []string
		for _, f := range st.Findings {
			codes = append(codes, f.Code)
		}
		return st, codes
	}
	if st, codes := look(); st.State != model.StreamUnknown || st.Kept != nil || !slices.Equal(codes, []string{"receiver-unknown", "log-not-kept"}) {
		t.Errorf("not kept: %+v", st)
	}

	promote := request(p, model.ActionPromote, west, east)
	for _, tt := range []struct {
		name, bound string
		keep        bool
		says        string
		codes       []string
	}{
		{"by the settings", "-1", true, "up to all that the disk takes", []string{"receiver-unknown", "slot-without-bound"}},
		{"again", "-1", true, "up to all that the disk takes", []string{"receiver-unknown", "slot-without-bound"}},
		{"bounded", "64MB", false, "up to 64MB", []string{"receiver-unknown"}},
	} {
		p.Exec(west, "alter system set max_slot_wal_keep_size = '"+tt.bound+"'")
		p.Exec(west, "select pg_reload_conf()")
		p.WaitFor(west, "select current_setting('max_slot_wal_keep_size') = '"+tt.bound+"'")
		own := map[string]any{}
		mustJSON(t, json.Unmarshal(p.Resource.Settings, &own))
		own["keep_log"] = tt.keep
		p.Resource.Settings = encode(t, own)
		promote.Resource = p.Resource
		if said := fmt.Sprint(do(t, promote).Evidence); !strings.Contains(said, tt.says) || !strings.Contains(said, "until its receiver is back") {
			t.Errorf("%s: %s", tt.name, said)
		}
		if got := slots(); got != "lifeboat_shop_db_east true" {
			t.Errorf("%s: slots %q", tt.name, got)
		}
		if st, codes := look(); st.Kept == nil || !strings.Contains(st.Summary, "west keeps") || !slices.Equal(codes, tt.codes) {
			t.Errorf("%s: %+v", tt.name, st)
		}
	}

	// The bound is passed: that is told, and a promotion makes a slot that was lost anew.
	p.Exec(west, "alter system set max_slot_wal_keep_size = '16MB'")
	p.Exec(west, "select pg_reload_conf()")
	discardLog(t, p, west)
	discardLog(t, p, west)
	if st, codes := look(); !slices.Contains(codes, "slot-overrun") {
		t.Errorf("overrun: %+v", st)
	}
	if said := fmt.Sprint(do(t, promote).Evidence); !strings.Contains(said, "what lies between may be missing") || slots() != "lifeboat_shop_db_east true" {
		t.Errorf("made anew: %s, slots %q", said, slots())
	}

	// Given up: the host does not answer, and the slot goes all the same.
	if err := New(nil).StopStream(t.Context(), driver.Target{App: "shop", Resource: p.Resource, Site: east}); err == nil || !strings.Contains(err.Error(), "stop what receives") {
		t.Errorf("a receiver that cannot be stopped: %v", err)
	}
	if got := slots(); got != "" {
		t.Errorf("given up, and west keeps %s", got)
	}
}

// TestPromotedIsSeen observes a promotion whose begin was repeated while it went on, when a standby tells its new timeline
// already; and a standby that somebody has made a primary of its old timeline, which is no promotion.
func TestPromotedIsSeen(t *testing.T) {
	t.Parallel()
	east, west := pgtest.East, pgtest.West
	p := pgtest.Start(t, pgtest.Options{})
	p.Kill(east)
	before := p.Text(west, "pg_last_wal_replay_lsn()")
	req := request(p, model.ActionPromote, west, east)
	do(t, req)
	after := p.Text(west, "pg_current_wal_lsn()")
	for at, want := range map[string]driver.State{before: driver.Done, after: driver.Pending} {
		h, err := driver.NewHandle(handleVersion, promoteHandle{Timeline: 2, LSN: at, Asked: true, At: time.Now()})
		mustJSON(t, err)
		if obs, err := New(nil).Observe(t.Context(), req, h); err != nil || obs.State != want {
			t.Errorf("asked at %s: %+v, %v, want %s", at, obs, err, want)
		}
	}
}

// loseHost makes a site's host one that does not answer.
func loseHost(t *testing.T, p *pgtest.Pair, site model.SiteID) {
	t.Helper()
	at := map[string]any{}
	mustJSON(t, json.Unmarshal(p.Resource.Sites[site], &at))
	at["via"] = []string{"false", "ssh"}
	p.Resource.Sites[site] = encode(t, at)
}

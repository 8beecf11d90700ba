package postgres

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/model"
)

func codes(t *testing.T, req driver.Request) []string {
	t.Helper()
	findings, err := New(nil).Check(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range findings {
		if f.What == "" || f.Site == "" {
			t.Errorf("a finding without words: %+v", f)
		}
		out = append(out, string(f.Severity)+" "+f.Code)
	}
	slices.Sort(out)
	return out
}

func TestCheck(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t, pgtest.Options{NoHints: true, Settings: map[string]any{"synchronous": true}})
	ask := func(action model.Action, site, peer model.SiteID, mode model.Mode, change map[string]any) driver.Request {
		req := request(p, action, site, peer)
		req.Mode, req.Preview = mode, true
		if change != nil {
			req = with(t, req, site, change)
		}
		return req
	}
	east, west := pgtest.East, pgtest.West
	try := func(name string, req driver.Request, want ...string) {
		t.Helper()
		if want == nil {
			want = []string{}
		}
		if diff := cmp.Diff(want, codes(t, req)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	try("fence", ask(model.ActionFence, east, west, model.Unplanned, nil))
	try("fence without the host", ask(model.ActionFence, east, west, model.Unplanned, noHost), "warn fence-impossible")
	try("the same, planned", ask(model.ActionFence, east, west, model.Planned, noHost), "block fence-impossible")
	try("quiesce", ask(model.ActionQuiesce, east, west, model.Planned, nil))
	try("quiesce without the host", ask(model.ActionQuiesce, east, west, model.Planned, noHost), "block quiesce-impossible")
	try("quiesce a standby", ask(model.ActionQuiesce, west, east, model.Planned, nil), "block source-is-not-the-primary")
	try("promote", ask(model.ActionPromote, west, east, model.Planned, nil), "warn not-synchronous", "warn rewind-impossible")
	try("promote the primary", ask(model.ActionPromote, east, west, model.Planned, nil),
		"block target-is-not-a-standby", "warn rewind-impossible")
	try("drill", ask(model.ActionDrill, west, east, "", nil))
	try("drill without a folder", ask(model.ActionDrill, west, east, "", map[string]any{"drill": nil}), "block drill-folder-missing")
	try("reverse, an earlier step stops it", ask(model.ActionReverse, east, west, model.Planned, nil))
	now := ask(model.ActionReverse, east, west, model.Planned, nil)
	now.Preview = false
	try("reverse what serves", now, "block copy-is-serving")

	p.Kill(west)
	try("promote what is down", ask(model.ActionPromote, west, east, model.Unplanned, nil), "warn standby-stopped")
	try("quiesce for nobody", ask(model.ActionQuiesce, east, west, model.Planned, nil), "block standby-down")
	p.Launch(west)
	p.WaitFor(west, "select count(*) = 1 from pg_stat_wal_receiver where status = 'streaming'")
	p.Kill(east)
	p.WaitFor(west, "select count(*) = 0 from pg_stat_wal_receiver")
	try("promote, unplanned", ask(model.ActionPromote, west, east, model.Unplanned, nil), "warn rewind-impossible", "warn standby-not-streaming")
	try("quiesce a dead primary", ask(model.ActionQuiesce, east, west, model.Planned, nil), "block primary-down")
	p.Exec(west, "select pg_promote()")
	p.Launch(east)
	try("two primaries", ask(model.ActionPromote, west, east, model.Planned, nil),
		"block target-is-not-a-standby", "block two-primaries", "warn rewind-impossible")
}

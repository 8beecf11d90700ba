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

// proving is a request for a proof at west, in an operation of its own.
func proving(p *pgtest.Pair, spec model.ProveSpec) driver.Request {
	req := request(p, model.ActionProve, pgtest.West, pgtest.East)
	req.Operation, req.Mode, req.Prove = model.OpProve, "", &spec
	return req
}

// releaseProof removes what a proof made, and looks that nothing is left.
func releaseProof(t *testing.T, p *pgtest.Pair, req driver.Request) {
	t.Helper()
	release := request(p, model.ActionRelease, pgtest.West, "")
	release.Operation, release.Released = model.OpProve, &driver.Released{Step: req.Step, Token: req.Token}
	do(t, release)
	if left, _ := os.ReadDir(p.Dir(pgtest.West) + "/drill"); len(left) != 0 {
		t.Errorf("the proof left %v", left)
	}
	if _, err := os.Stat(proofTemp(req.Token)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the proof left %s: %v", proofTemp(req.Token), err)
	}
}

// TestProve proves a good point and a bad one, lets a proof be killed, and finds the transaction that made data bad.
func TestProve(t *testing.T) {
	east, west := pgtest.East, pgtest.West
	p := lonely(t, nil)
	stream(t, p, west, flowing)
	writeMarkerAt(t, p, model.Marker{Seq: 3, At: time.Now()})
	p.Exec(east, "insert into orders select n, 'east' from generate_series(1, 500) n")
	point := do(t, request(p, model.ActionCapture, east, "")).Outputs["point"].Text

	req := proving(p, model.ProveSpec{Point: point, Checks: []string{"select count(*) >= 500 from orders"}})
	good := do(t, req)
	text := fmt.Sprint(good.Evidence)
	for _, want := range []string{"marker, ok", "rows, ok: 500 rows", "pg_amcheck, ok", "select count(*) >= 500 from orders, ok"} {
		if !strings.Contains(text, want) {
			t.Errorf("evidence lacks %q: %s", want, text)
		}
	}
	if good.Outputs["point"].Text != point {
		t.Errorf("proved %q", good.Outputs["point"].Text)
	}
	releaseProof(t, p, req)
	if proof := proofOf(t, p, point); proof == nil || !proof.OK || proof.By != req.Run || proof.Site != west || proof.Took <= 0 {
		t.Errorf("the point says %+v", proof)
	}

	// A bad one, by the user's own check.
	req = proving(p, model.ProveSpec{Point: point, Checks: []string{"select count(*) = 0 from orders"}})
	if obs := finish(t, req, begin(t, req)); obs.State != driver.Failed || obs.Err.Kind != failure.Corrupt || obs.Err.Hint == "" {
		t.Errorf("a bad point: %+v", obs)
	}
	releaseProof(t, p, req)
	if proof := proofOf(t, p, point); proof == nil || proof.OK || !strings.Contains(proof.What, "answers f") {
		t.Errorf("the point says %+v", proof)
	}

	// Killed in the middle of it: the release finds everything, and nothing is said of the point.
	before := proofOf(t, p, point)
	req = proving(p, model.ProveSpec{Point: point, Checks: []string{"select pg_sleep(600) is null"}})
	d := New(nil)
	h, err := d.Prove(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(pgtest.Patience); ; time.Sleep(20 * time.Millisecond) {
		obs, err := d.Observe(t.Context(), req, h)
		if err != nil || obs.State != driver.Pending || time.Now().After(end) {
			t.Fatalf("%+v, %v", obs, err)
		}
		if strings.Contains(obs.Phase, "question") {
			break
		}
	}
	if err := d.Cancel(t.Context(), req, h); err != nil {
		t.Fatal(err)
	}
	releaseProof(t, p, req)
	if proof := proofOf(t, p, point); proof == nil || !proof.At.Equal(before.At) {
		t.Errorf("after a proof that was stopped the point says %+v", proof)
	}

	// Which transaction made it bad?
	for i := range 6 {
		p.Exec(east, fmt.Sprintf("insert into orders values (%d, 'east')", 1000+i))
	}
	p.Exec(east, "update orders set site = 'nowhere' where id = 7")
	for i := range 6 {
		p.Exec(east, fmt.Sprintf("insert into orders values (%d, 'east')", 2000+i))
	}
	stored(t, p, west)
	req = proving(p, model.ProveSpec{Bisect: true, Checks: []string{"select not exists (select from orders where site = 'nowhere')"}})
	found := do(t, req)
	if !strings.HasPrefix(found.Outputs["good"].Text, "before-xid:") || !strings.HasPrefix(found.Outputs["bad"].Text, "lsn:") || found.Outputs["bad_at"].Text == "" ||
		!strings.Contains(fmt.Sprint(found.Evidence), "made it bad") {
		t.Errorf("found %v, %v", found.Outputs, found.Evidence)
	}
	t.Log(found.Evidence)
	releaseProof(t, p, req)
}

// proofOf is what is known of a point.
func proofOf(t *testing.T, p *pgtest.Pair, point string) *model.Proof {
	t.Helper()
	points, err := New(nil).Points(t.Context(), driver.Target{App: "shop", Resource: p.Resource, Site: pgtest.East})
	if err != nil {
		t.Fatal(err)
	}
	for _, pt := range points {
		if pt.ID == point {
			return pt.Proof
		}
	}
	t.Fatalf("point %s is not listed", point)
	return nil
}

// stored waits until what the primary has flushed by now is received at a site.
func stored(t *testing.T, p *pgtest.Pair, site model.SiteID) {
	t.Helper()
	at, err := parseLSN(p.Text(pgtest.East, "pg_current_wal_flush_lsn()"))
	if err != nil {
		t.Fatal(err)
	}
	stream(t, p, site, func(st model.Stream) bool {
		word, _, _ := strings.Cut(st.Position, " ")
		got, err := parseLSN(word)
		return err == nil && got >= at
	})
}

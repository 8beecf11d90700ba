package dns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestRedirectMovesTheNameAndBack(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	for _, to := range []model.SiteID{"west", "east"} {
		req := request(t, b.settings(map[string]any{"ttl": "1s"}), sites, to)
		h, err := d.Redirect(ctx, req)
		if err != nil {
			t.Fatalf("redirect to %s: %v", to, err)
		}
		obs := observeUntil(t, d, req, h)
		if obs.State != driver.Done {
			t.Fatalf("observe: %+v", obs)
		}
		got := b.answers(t, "shop.demo.test.", mdns.TypeA)
		want, _ := (&Settings{Name: "shop.demo.test.", Type: "A"}).records(sites[to])
		if !sameSet(got, want) {
			t.Errorf("after the redirect to %s the server serves %s", to, valuesOf(got))
		}
		if ttl := got[0].Header().Ttl; ttl != 1 {
			t.Errorf("ttl is %d, want 1", ttl)
		}
		for site := range sites {
			req.Site = site
			desc, err := d.Describe(ctx, req.Target)
			if err != nil {
				t.Fatal(err)
			}
			want := model.RoleStandby
			if site == to {
				want = model.RolePrimary
			}
			if desc.Role != want || !desc.Healthy {
				t.Errorf("%s is %s (healthy %v), want %s: %s", site, desc.Role, desc.Healthy, want, desc.Summary)
			}
		}
	}
}

func TestEvidenceSaysHowLongCachesMayHoldTheOldAnswer(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	req := request(t, b.settings(map[string]any{"tsig": nil}), sites, "west")
	w, err := d.work(ctx, req.Target)
	if err != nil {
		t.Fatal(err)
	}
	obs := d.done(w, handle{ChangedAt: at, Old: []string{"192.0.2.1"}, OldTTL: 3600}, []reply{{server: "a:53", serial: 7}})
	wantEvidence := []model.Fact{
		{Name: "values", Value: "192.0.2.2, 192.0.2.3"}, {Name: "values before", Value: "192.0.2.1"},
		{Name: "ttl before", Value: "1h0m0s"}, {Name: "ttl", Value: "30s"},
		{Name: "changed_at", Value: "2026-01-02T03:04:05Z"}, {Name: "safe_at", Value: "2026-01-02T04:04:05Z"},
		{Name: "caches", Value: "may hold the old answer until 2026-01-02T04:04:05Z"},
		{Name: "server a:53", Value: "serves it, serial 7"},
	}
	if diff := cmp.Diff(wantEvidence, obs.Evidence); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
}

func TestAllRecordTypes(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		typ        string
		name       string
		east, west []string
	}{
		{"A", "a.demo.test.", []string{"192.0.2.1", "192.0.2.9"}, []string{"192.0.2.2"}},
		{"AAAA", "aaaa.demo.test", []string{"2001:db8::1"}, []string{"2001:DB8:0:0::2", "2001:db8::3"}},
		{"CNAME", "cname.demo.test.", []string{"lb.east.example"}, []string{"lb.west.example."}},
		{"SRV", "_pg._tcp.demo.test.", []string{"10 5 5432 db1.east.example."}, []string{"10 5 5432 db1.west.example", "20 0 5433 db2.west.example"}},
		{"TXT", "txt.demo.test.", []string{`say "hi" \o/ é`}, []string{long, "second"}},
	} {
		t.Run(c.typ, func(t *testing.T) {
			values := map[model.SiteID][]string{"east": c.east, "west": c.west}
			for _, to := range []model.SiteID{"east", "west", "west", "east"} { // made, changed, unchanged, changed
				req := request(t, b.settings(map[string]any{"type": c.typ, "name": c.name}), values, to)
				h, err := d.Redirect(ctx, req)
				if err != nil {
					t.Fatalf("redirect to %s: %v", to, err)
				}
				if obs := observeUntil(t, d, req, h); obs.State != driver.Done {
					t.Fatalf("observe: %+v", obs)
				}
				got := b.answers(t, mdns.Fqdn(c.name), mdns.StringToType[c.typ])
				if len(got) != len(values[to]) {
					t.Errorf("the server serves %s", valuesOf(got))
				}
			}
		})
	}
	got := b.answers(t, "txt.demo.test.", mdns.TypeTXT)
	if txt := got[0].(*mdns.TXT).Txt; len(txt) != 1 || txt[0] != `say \"hi\" \\o/ \195\169` {
		t.Errorf("the text came out as %q", txt)
	}
}

func TestRefusals(t *testing.T) {
	b := startBind(t)
	stranger := map[string]any{"name": "stranger.", "secret": "file:" + b.conf["STRANGER_FILE"]}
	for _, c := range []struct {
		name    string
		change  map[string]any
		skew    time.Duration
		kind    failure.Kind
		message string
	}{
		{"wrong secret", map[string]any{"tsig": map[string]any{"name": "lifeboat.", "secret": keyWith(t, "bm90IHRoZSBrZXk=")}},
			0, failure.Denied, "BADSIG"},
		{"unknown key", map[string]any{"tsig": map[string]any{"name": "nobody.", "secret": keyWith(t, "bm90IHRoZSBrZXk=")}},
			0, failure.Denied, "BADKEY"},
		{"wrong algorithm", map[string]any{"tsig": map[string]any{"name": "lifeboat.", "algorithm": "hmac-sha512",
			"secret": "file:" + b.conf["KEY_FILE"]}}, 0, failure.Denied, "BADKEY"},
		{"key without rights", map[string]any{"tsig": stranger}, 0, failure.Denied, "REFUSED"},
		{"unsigned", map[string]any{"tsig": nil}, 0, failure.Denied, "REFUSED"},
		{"slow clock", nil, -time.Hour, failure.Denied, "BADTIME"},
		{"fast clock", nil, time.Hour, failure.Denied, "BADTIME"},
		{"not a key", map[string]any{"tsig": map[string]any{"name": "lifeboat.", "secret": keyWith(t, "hunter2!")}},
			0, failure.Invalid, "neither a base64 text nor a key file"},
		{"no key file", map[string]any{"tsig": map[string]any{"name": "lifeboat.", "secret": "file:/nonexistent/key"}},
			0, failure.NotFound, "nonexistent"},
		{"foreign zone", map[string]any{"zone": "other.test.", "name": "shop.other.test."}, 0, failure.Denied, "REFUSED"},
		{"nobody listens", map[string]any{"servers": []string{"127.0.0.1:1"}}, 0, failure.Unavailable, "refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, ctx := newDriver(t), testContext(t)
			d.now = func() time.Time { return time.Now().Add(c.skew) }
			req := request(t, b.settings(c.change), sites, "west")
			_, err := d.Redirect(ctx, req)
			if err == nil {
				t.Fatal("it went through")
			}
			if kind := failure.KindOf(err); kind != c.kind {
				t.Errorf("kind is %s, want %s", kind, c.kind)
			}
			if !strings.Contains(err.Error(), c.message) {
				t.Errorf("%q does not say %q", err, c.message)
			}
			if failure.HintOf(err) == "" && c.kind != failure.NotFound {
				t.Errorf("%q has no hint", err)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(failure.HintOf(err), "hunter2") {
				t.Errorf("%q tells the secret", err)
			}
			if got := valuesOf(b.answers(t, "shop.demo.test.", mdns.TypeA)); got != "192.0.2.1" {
				t.Fatalf("the record is %s now", got)
			}
			found, err := d.Check(ctx, req)
			if err == nil && (len(found) == 0 || found[0].Severity != model.Block && !blocks(found)) {
				t.Errorf("check would let it go: %+v", found)
			}
		})
	}
}

func blocks(list []model.Finding) bool {
	for _, f := range list {
		if f.Severity == model.Block {
			return true
		}
	}
	return false
}

func TestZoneThatIsAboveTheRealOneIsNotAuthoritative(t *testing.T) {
	b, d, ctx := startBind(t, "--zone", "sub.demo.test."), newDriver(t), testContext(t)
	req := request(t, b.settings(map[string]any{"zone": "demo.test.", "name": "shop.sub.demo.test."}), sites, "west")
	_, err := d.Redirect(ctx, req)
	if err == nil || failure.KindOf(err) != failure.Denied || !strings.Contains(err.Error(), "NOTAUTH") {
		t.Errorf("the wrong zone gives %v", err)
	}
}

func TestSomebodyElsesChangeIsNotOverwritten(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	r := newRelay(t, b.server())
	shop, _ := mdns.NewRR("shop.demo.test. 30 IN A 192.0.2.99")
	r.beforeUpdate = func() { b.change(t, []mdns.RR{shop}, "shop.demo.test. 30 IN A 192.0.2.99") }
	req := request(t, b.settings(map[string]any{"servers": []string{r.address}}), sites, "west")
	_, err := d.Redirect(ctx, req)
	if err == nil || failure.KindOf(err) != failure.Conflict {
		t.Errorf("a change in between gives %v, want a conflict", err)
	}
	if got := valuesOf(b.answers(t, "shop.demo.test.", mdns.TypeA)); got != "192.0.2.99" {
		t.Errorf("the record is %s: somebody else's change is gone", got)
	}
}

func TestForeignValuesBlockAPlannedMove(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	shop, _ := mdns.NewRR("shop.demo.test. 30 IN A 192.0.2.99")
	b.change(t, []mdns.RR{shop}, "shop.demo.test. 30 IN A 192.0.2.99")
	req := request(t, b.settings(nil), sites, "west")
	for _, c := range []struct {
		mode  model.Mode
		force bool
		want  model.Severity
	}{{model.Planned, false, model.Block}, {model.Planned, true, model.Warn}, {model.Unplanned, false, model.Warn}} {
		req.Mode, req.Force = c.mode, c.force
		found, err := d.Check(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if got := severity(found, "dns-foreign"); got != c.want {
			t.Errorf("%s (force %v): %q, want %q", c.mode, c.force, got, c.want)
		}
	}
}

// severity of the finding with this code; empty when there is none.
func severity(list []model.Finding, code string) model.Severity {
	for _, f := range list {
		if f.Code == code {
			return f.Severity
		}
	}
	return ""
}

func TestCheck(t *testing.T) {
	b := startBind(t)
	b.change(t, nil, "old.demo.test. 3600 IN A 192.0.2.1", "alias.demo.test. 30 IN CNAME shop.demo.test.",
		"busy.demo.test. 30 IN TXT x")
	serial := b.answers(t, "demo.test.", mdns.TypeSOA)[0].(*mdns.SOA).Serial
	for _, c := range []struct {
		name   string
		change map[string]any
		to     model.SiteID
		want   map[string]model.Severity
	}{
		{"all well", nil, "west", map[string]model.Severity{"dns-ttl": model.Note}},
		{"already", nil, "east", map[string]model.Severity{"dns-already": model.Note, "dns-ttl": model.Note}},
		{"long ttl", map[string]any{"name": "old.demo.test.", "ttl": "2h"}, "west",
			map[string]model.Severity{"dns-ttl": model.Warn, "dns-ttl-setting": model.Warn}},
		{"new name", map[string]any{"name": "new.demo.test."}, "west", map[string]model.Severity{"dns-absent": model.Note}},
		{"alias in the way", map[string]any{"name": "alias.demo.test."}, "west",
			map[string]model.Severity{"dns-other-type": model.Block}},
		{"alias where others are", map[string]any{"name": "busy.demo.test.", "type": "CNAME"}, "lb",
			map[string]model.Severity{"dns-absent": model.Note, "dns-update": model.Block}},
		{"primary dead", map[string]any{"servers": []string{"127.0.0.1:1"}}, "west",
			map[string]model.Severity{"dns-primary": model.Block}},
		{"secondary dead", map[string]any{"servers": []string{b.server(), "127.0.0.1:1"}}, "west",
			map[string]model.Severity{"dns-ttl": model.Note, "dns-secondary": model.Warn}},
		{"waits for an output", map[string]any{"name": "${web.name}"}, "west", map[string]model.Severity{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			values := map[model.SiteID][]string{"east": sites["east"], "west": sites["west"], "lb": {"lb.example."}}
			found, err := newDriver(t).Check(testContext(t), request(t, b.settings(c.change), values, c.to))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]model.Severity{}
			for _, f := range found {
				got[f.Code] = f.Severity
				if f.What == "" {
					t.Errorf("%s says nothing", f.Code)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s\n%+v", diff, found)
			}
		})
	}
	if got := valuesOf(b.answers(t, "shop.demo.test.", mdns.TypeA)); got != "192.0.2.1" {
		t.Errorf("the checks changed the record to %s", got)
	}
	if now := b.answers(t, "demo.test.", mdns.TypeSOA)[0].(*mdns.SOA).Serial; now != serial {
		t.Errorf("the checks changed the zone: serial %d, before %d", now, serial)
	}
}

func TestLostAnswer(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	r := newRelay(t, b.server())
	r.loseAnswer.Store(true)
	req := request(t, b.settings(map[string]any{"servers": []string{r.address}}), sites, "west")
	h, err := d.Redirect(ctx, req)
	if err != nil {
		t.Fatalf("the update has happened, and asking shows it, but: %v", err)
	}
	if obs := observeUntil(t, d, req, h); obs.State != driver.Done {
		t.Errorf("observe: %+v", obs)
	}
	// A lost update is not known to be lost: the error says so, and a second begin makes the change.
	r.loseAnswer.Store(false)
	r.loseUpdate.Store(true)
	req.Site = "east"
	if _, err := d.Redirect(ctx, req); err == nil || failure.KindOf(err) != failure.Indeterminate {
		t.Errorf("a lost update gives %v, want indeterminate", err)
	}
	r.loseUpdate.Store(false)
	req.Resumed = true
	if h, err = d.Redirect(ctx, req); err != nil {
		t.Fatal(err)
	}
	if obs := observeUntil(t, d, req, h); obs.State != driver.Done {
		t.Errorf("observe: %+v", obs)
	}
}

func TestBeginAgainChangesNothing(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	req := request(t, b.settings(nil), sites, "west")
	if _, err := d.Redirect(ctx, req); err != nil {
		t.Fatal(err)
	}
	serial := b.answers(t, "demo.test.", mdns.TypeSOA)[0].(*mdns.SOA).Serial
	req.Resumed = true
	h, err := d.Redirect(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if obs := observeUntil(t, d, req, h); obs.State != driver.Done {
		t.Errorf("observe: %+v", obs)
	}
	if now := b.answers(t, "demo.test.", mdns.TypeSOA)[0].(*mdns.SOA).Serial; now != serial {
		t.Errorf("the zone went from serial %d to %d", serial, now)
	}
}

func TestLaggingSecondaryIsWaitedFor(t *testing.T) {
	d, ctx := newDriver(t), testContext(t)
	primary := startBind(t) // sends no notify
	secondary := startBind(t, "--secondary-of", primary.server(), "--keys", primary.folder)
	awaitSerial(t, secondary, 1)
	req := request(t, primary.settings(map[string]any{"servers": []string{primary.server(), secondary.server()}}), sites, "west")
	req.Mode = model.Unplanned
	h, err := d.Redirect(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	obs, err := d.Observe(ctx, req, h)
	if err != nil || obs.State != driver.Pending {
		t.Fatalf("with a lagging secondary: %+v, %v", obs, err)
	}
	want := "1 of 2 servers serve 192.0.2.2, 192.0.2.3; " + secondary.server() + " still serves 192.0.2.1 (serial 1)"
	if obs.Phase != want {
		t.Errorf("phase is %q, want %q", obs.Phase, want)
	}
	desc, err := d.Describe(ctx, req.Target)
	if err != nil || desc.Role != model.RolePrimary || desc.Healthy {
		t.Errorf("described as %+v, %v", desc, err)
	}
	found, err := d.Check(ctx, req)
	if err != nil || severity(found, "dns-secondary-lags") != model.Warn {
		t.Errorf("check: %+v, %v", found, err)
	}
	notify(t, secondary)
	if obs := observeUntil(t, d, req, h); obs.State != driver.Done {
		t.Errorf("observe: %+v", obs)
	}
}

func TestNotifiedSecondary(t *testing.T) {
	d, ctx := newDriver(t), testContext(t)
	port := freePort(t)
	primary := startBind(t, "--also-notify", port)
	secondary := startBind(t, "--secondary-of", primary.server(), "--keys", primary.folder, "--port", port)
	awaitSerial(t, secondary, 1)
	req := request(t, primary.settings(map[string]any{"servers": []string{primary.server(), secondary.server()}}), sites, "west")
	h, err := d.Redirect(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if obs := observeUntil(t, d, req, h); obs.State != driver.Done {
		t.Errorf("observe: %+v", obs)
	}
	if got := valuesOf(secondary.answers(t, "shop.demo.test.", mdns.TypeA)); got != "192.0.2.2, 192.0.2.3" {
		t.Errorf("the secondary serves %s", got)
	}
}

func TestDeadServers(t *testing.T) {
	d, ctx := newDriver(t), testContext(t)
	primary := startBind(t)
	secondary := startBind(t, "--secondary-of", primary.server(), "--keys", primary.folder)
	awaitSerial(t, secondary, 1)
	req := request(t, primary.settings(map[string]any{"servers": []string{primary.server(), secondary.server()}}), sites, "west")
	h, err := d.Redirect(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	secondary.stop()
	obs, err := d.Observe(ctx, req, h)
	if err != nil || obs.State != driver.Pending || !strings.Contains(obs.Phase, secondary.server()) {
		t.Errorf("a planned move does not wait for the dead secondary: %+v, %v", obs, err)
	}
	req.Mode = model.Unplanned
	obs, err = d.Observe(ctx, req, h)
	if err != nil || obs.State != driver.Done {
		t.Fatalf("an unplanned move waits for the dead secondary: %+v, %v", obs, err)
	}
	if last := obs.Evidence[len(obs.Evidence)-1]; !strings.HasPrefix(last.Value, "not verified: ") {
		t.Errorf("the evidence hides the dead secondary: %+v", obs.Evidence)
	}
	primary.stop()
	if obs, err = d.Observe(ctx, req, h); err != nil || obs.State != driver.Pending {
		t.Errorf("without the primary: %+v, %v", obs, err)
	}
	desc, err := d.Describe(ctx, req.Target)
	if err != nil || desc.Role != model.RoleUnreachable {
		t.Errorf("with every server dead it is described as %+v, %v", desc, err)
	}
}

func TestSecondaryIsBelievedWithoutThePrimary(t *testing.T) {
	d, ctx := newDriver(t), testContext(t)
	primary := startBind(t)
	secondary := startBind(t, "--secondary-of", primary.server(), "--keys", primary.folder)
	awaitSerial(t, secondary, 1)
	primary.stop()
	req := request(t, primary.settings(map[string]any{"servers": []string{primary.server(), secondary.server()}}), sites, "east")
	desc, err := d.Describe(ctx, req.Target)
	if err != nil || desc.Role != model.RolePrimary || desc.Healthy {
		t.Errorf("described as %+v, %v", desc, err)
	}
}

func TestChangedAfterUs(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	req := request(t, b.settings(nil), sites, "west")
	h, err := d.Redirect(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	shop, _ := mdns.NewRR("shop.demo.test. 30 IN A 192.0.2.99")
	b.change(t, []mdns.RR{shop}, "shop.demo.test. 30 IN A 192.0.2.99")
	obs, err := d.Observe(ctx, req, h)
	if err != nil || obs.State != driver.Failed || obs.Err == nil || obs.Err.Kind != failure.Conflict {
		t.Errorf("observed as %+v, %v", obs, err)
	}
}

func TestAbsentRecord(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	req := request(t, b.settings(map[string]any{"name": "new.demo.test."}), sites, "west")
	desc, err := d.Describe(ctx, req.Target)
	if err != nil || desc.Role != model.RoleAbsent {
		t.Errorf("described as %+v, %v", desc, err)
	}
	if _, err := d.Redirect(ctx, req); err != nil {
		t.Fatal(err)
	}
	desc, err = d.Describe(ctx, req.Target)
	if err != nil || desc.Role != model.RolePrimary {
		t.Errorf("described as %+v, %v", desc, err)
	}
}

func TestUDPOnly(t *testing.T) {
	b, d, ctx := startBind(t), newDriver(t), testContext(t)
	values := map[model.SiteID][]string{"east": sites["east"], "west": nil}
	for i := range 100 { // the answer does not fit into 512 bytes, and is asked for again by tcp
		values["west"] = append(values["west"], fmt.Sprintf("198.51.100.%d", i))
	}
	req := request(t, b.settings(map[string]any{"transport": "udp"}), values, "west")
	h, err := d.Redirect(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if obs := observeUntil(t, d, req, h); obs.State != driver.Done {
		t.Errorf("observe: %+v", obs)
	}
}

// awaitSerial waits until the server has the zone.
func awaitSerial(t *testing.T, b *bind, serial uint32) {
	t.Helper()
	ctx := testContext(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if got := b.answers(t, "demo.test.", mdns.TypeSOA); len(got) == 1 && got[0].(*mdns.SOA).Serial >= serial {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s has not got the zone", b.server())
		case <-tick.C:
		}
	}
}

// notify tells a secondary that the zone has changed.
func notify(t *testing.T, b *bind) {
	t.Helper()
	m := new(mdns.Msg)
	m.SetNotify("demo.test.")
	if _, _, err := new(mdns.Client).Exchange(m, b.server()); err != nil {
		t.Fatal(err)
	}
}

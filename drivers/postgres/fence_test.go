package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// with gives the request other settings at a site; a nil value takes one away.
func with(t *testing.T, req driver.Request, site model.SiteID, change map[string]any) driver.Request {
	t.Helper()
	at := map[string]any{}
	if err := json.Unmarshal(req.Resource.Sites[site], &at); err != nil {
		t.Fatal(err)
	}
	for k, v := range change {
		if v == nil {
			delete(at, k)
		} else {
			at[k] = v
		}
	}
	b, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	sites := map[model.SiteID]json.RawMessage{}
	for s, raw := range req.Resource.Sites {
		sites[s] = raw
	}
	sites[site] = b
	req.Resource.Sites = sites
	return req
}

var noHost = map[string]any{"data": nil, "via": nil, "bin": nil, "drill": nil}

// TestFenceUnproven: whatever cannot be proven is an error that says so, and the serving primary goes on.
func TestFenceUnproven(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t, pgtest.Options{})
	fence := func(change ...map[string]any) driver.Request {
		req := request(p, model.ActionFence, pgtest.East, pgtest.West)
		for _, c := range change {
			req = with(t, req, pgtest.East, c)
		}
		return req
	}
	ssh := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(ssh, []byte("#!/bin/sh\necho 'no route to host' >&2; exit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cases := map[string]driver.Request{
		"no access":               fence(noHost),
		"host does not answer":    fence(map[string]any{"via": []string{ssh, "east"}}),
		"not this machine":        fence(map[string]any{"host": "192.0.2.1"}),
		"command fails":           fence(noHost, map[string]any{"fence": map[string]any{"command": []string{"false"}}}),
		"command lies":            fence(noHost, map[string]any{"fence": map[string]any{"command": []string{"true"}}}),
		"wrong folder":            fence(map[string]any{"data": p.Dir(pgtest.East), "drill": nil}),
		"missing folder, serving": fence(map[string]any{"data": p.Dir(pgtest.East) + "/none"}),
		"another server":          fence(map[string]any{"port": p.Ports[pgtest.East] + 5000}),
	}
	for name, req := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := New(nil).Fence(t.Context(), req)
			if !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "fence-unproven") || failure.HintOf(err) == "" {
				t.Errorf("got %v (hint %q), want fence-unproven", err, failure.HintOf(err))
			}
			if got := role(t, p, pgtest.East); got.Role != model.RolePrimary {
				t.Fatalf("east is %+v", got)
			}
			findings, err := New(nil).Check(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(findings)
		})
	}
	p.Exec(pgtest.East, "create table still_serves()")
}

// TestFenceProven: every way that proves, each on a server that runs.
func TestFenceProven(t *testing.T) {
	t.Parallel()
	t.Run("living", func(t *testing.T) {
		p := pgtest.Start(t, pgtest.Options{})
		p.Exec(pgtest.East, "create table last_words()")
		obs := do(t, request(p, model.ActionFence, pgtest.East, pgtest.West))
		if len(obs.Evidence) < 3 {
			t.Errorf("evidence: %v", obs.Evidence)
		}
		if _, err := p.Connect(t.Context(), pgtest.East); err == nil {
			t.Error("it still answers")
		}
		p.WaitFor(pgtest.West, "select exists (select 1 from pg_class where relname = 'last_words')")
		p.Launch(pgtest.East)
		refusesWrites(t, p, pgtest.East)
		if got := role(t, p, pgtest.East); got.Role != model.RoleStandby {
			t.Errorf("started again it is %+v", got)
		}
	})
	t.Run("frozen", func(t *testing.T) {
		p := pgtest.Start(t, pgtest.Options{})
		gone := p.Freeze(pgtest.East)
		do(t, request(p, model.ActionFence, pgtest.East, pgtest.West))
		if left := p.Left(); len(left) == 0 {
			t.Error("the standby was stopped too")
		}
		gone()
		p.Launch(pgtest.East)
		refusesWrites(t, p, pgtest.East)
	})
	t.Run("command", func(t *testing.T) {
		p := pgtest.Start(t, pgtest.Options{})
		p.Kill(pgtest.East)
		out := filepath.Join(t.TempDir(), "out")
		req := with(t, request(p, model.ActionFence, pgtest.East, pgtest.West), pgtest.East, noHost)
		req = with(t, req, pgtest.East, map[string]any{"fence": map[string]any{"command": []string{"sh", "-c", `echo "$LIFEBOAT_SITE" >` + out}}})
		obs := do(t, req)
		if text, _ := os.ReadFile(out); string(text) != "east\n" {
			t.Errorf("the command saw %q", text)
		}
		if !strings.Contains(fmt.Sprint(obs.Evidence), "exited with 0") {
			t.Errorf("evidence: %v", obs.Evidence)
		}
	})
}

// TestReverseRebuildsWithoutHints: a crashed copy that pg_rewind cannot take is rebuilt, and what it alone may hold is
// kept; a second begin with the token changes nothing.
func TestReverseRebuildsWithoutHints(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t, pgtest.Options{NoHints: true})
	p.Kill(pgtest.East)
	do(t, request(p, model.ActionFence, pgtest.East, pgtest.West))
	do(t, request(p, model.ActionPromote, pgtest.West, pgtest.East))
	p.Exec(pgtest.West, "create table since()")
	req := request(p, model.ActionReverse, pgtest.East, pgtest.West)
	obs := do(t, req)
	text := fmt.Sprint(obs.Evidence)
	if !strings.Contains(text, "{way rebuild}") || !strings.Contains(text, "kept at") {
		t.Errorf("evidence: %v", text)
	}
	old := filepath.Join(p.Dir(pgtest.East), "data.lifeboat", "old."+req.Token)
	if _, err := os.Stat(filepath.Join(old, "PG_VERSION")); err != nil {
		t.Errorf("the old copy: %v", err)
	}
	p.WaitFor(pgtest.East, "select exists (select 1 from pg_class where relname = 'since')")
	for _, name := range []string{"secret", "pgpass", "conf"} {
		if _, err := os.Stat(filepath.Join(p.Dir(pgtest.East), "data.lifeboat", "jobs", req.Token, name)); err == nil {
			t.Errorf("the job left its %s", name)
		}
	}
}

// TestCancelDrill: what is cancelled is over, and can be released.
func TestCancelDrill(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t, pgtest.Options{})
	req := request(p, model.ActionDrill, pgtest.West, pgtest.East)
	h := begin(t, req)
	if err := New(nil).Cancel(t.Context(), req, h); err != nil {
		t.Fatal(err)
	}
	if obs, err := New(nil).Observe(t.Context(), req, h); err != nil || obs.State == driver.Pending {
		t.Errorf("after the cancel: %+v, %v", obs, err)
	}
	release := request(p, model.ActionRelease, pgtest.West, "")
	release.Released = &driver.Released{Token: req.Token}
	do(t, release)
	if left, _ := os.ReadDir(filepath.Join(p.Dir(pgtest.West), "drill")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// TestReleaseTouchesNothingElse: a folder that no drill made stays.
func TestReleaseTouchesNothingElse(t *testing.T) {
	t.Parallel()
	p := pgtest.Start(t, pgtest.Options{})
	mine := filepath.Join(p.Dir(pgtest.West), "drill", "mine")
	if err := os.Mkdir(mine, 0o777); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]failure.Kind{"mine": failure.Conflict, "../x": failure.Invalid, "": failure.Invalid} {
		req := request(p, model.ActionRelease, pgtest.West, "")
		req.Released = &driver.Released{Token: token}
		if _, err := New(nil).Release(context.Background(), req); !errors.Is(err, want) {
			t.Errorf("release of %q: got %v, want %s", token, err, want)
		}
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

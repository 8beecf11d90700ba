package postgres

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/job"
	"github.com/lifeboat-dr/lifeboat/drivers/postgres/pgtest"
	"github.com/lifeboat-dr/lifeboat/internal/pglog"
	"github.com/lifeboat-dr/lifeboat/internal/pgrestore/ask"
	"github.com/lifeboat-dr/lifeboat/internal/vault"
	"github.com/lifeboat-dr/lifeboat/internal/vault/crypto"
	"github.com/lifeboat-dr/lifeboat/internal/vault/location"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestMain makes this test the programs that run on hosts, too.
func TestMain(m *testing.M) {
	pgtest.Main(m, pgtest.Programs{job.Program: pgtest.Ends(job.Main), pglog.Program: pgtest.Ends(pglog.Main),
		ask.Program: ask.Main})
}

// withVault gives a pair's resource a vault, and its hosts this program. More are settings of the resource.
func withVault(t testing.TB, p *pgtest.Pair, more map[string]any) {
	t.Helper()
	t.Setenv("PGTEST_VAULT_PASSWORD", "hunter2-not-in-any-answer")
	t.Setenv("HOME", p.Root)
	v := model.Vault{Name: "main", URL: filepath.Join(p.Root, "vault"), Password: "env:PGTEST_VAULT_PASSWORD", Cache: "none"}
	_, closer, err := location.Init(t.Context(), v, location.Options{Vault: vault.Options{KDF: crypto.Params{N: 1 << 4, R: 8, P: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	p.Adopt(v.URL)
	p.Resource.Vault = &v
	own := map[string]any{}
	mustJSON(t, json.Unmarshal(p.Resource.Settings, &own))
	for name, value := range more {
		own[name] = value
	}
	p.Resource.Settings = encode(t, own)
	for site, text := range p.Resource.Sites {
		at := map[string]any{}
		mustJSON(t, json.Unmarshal(text, &at))
		at["lifeboat"] = p.Program()
		p.Resource.Sites[site] = encode(t, at)
	}
}

func mustJSON(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(v)
	mustJSON(t, err)
	return text
}

// TestCapture makes base points of a running primary, by either way, and lists them.
func TestCapture(t *testing.T) {
	p := pgtest.Start(t, pgtest.Options{})
	withVault(t, p, nil)
	p.Exec(pgtest.East, "create table orders (id int primary key)")
	p.Exec(pgtest.East, "insert into orders select generate_series(1, 1000)")
	writeMarkerAt(t, p, model.Marker{Seq: 3, At: time.Now()})
	first := do(t, request(p, model.ActionCapture, pgtest.East, ""))
	points, err := New(nil).Points(t.Context(), driver.Target{App: "shop", Resource: p.Resource, Site: pgtest.East})
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 1 || points[0].ID != first.Outputs["point"].Text || points[0].Live {
		t.Errorf("points: got %+v, want %s", points, first.Outputs["point"].Text)
	}
}

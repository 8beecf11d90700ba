package pglog

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/pgpoint"
	"github.com/lifeboat-dr/lifeboat/internal/pgrepl"
	"github.com/lifeboat-dr/lifeboat/internal/pgwal"
	"github.com/lifeboat-dr/lifeboat/model"
)

func server(site model.SiteID, id uint64, t pgwal.Timeline, standby bool) candidate {
	return candidate{server: Server{Site: site}, system: pgrepl.System{ID: id, Timeline: t, At: 100}, standby: standby}
}

func TestPick(t *testing.T) {
	down := candidate{server: Server{Site: "down"}, err: errors.New("refused")}
	for _, tt := range []struct {
		name  string
		c     Config
		known uint64
		all   []candidate
		want  string // a site, or a finding's code
	}{
		{"the primary", Config{}, 0, []candidate{server("a", 1, 1, true), server("b", 1, 1, false), down}, "b"},
		{"the later timeline", Config{}, 1, []candidate{server("a", 1, 1, false), server("b", 1, 2, false)}, "b"},
		{"whom it was told", Config{From: "a"}, 1, []candidate{server("a", 1, 1, true), server("b", 1, 1, false)}, "a"},
		{"only standbys", Config{}, 1, []candidate{server("a", 1, 1, true), server("b", 1, 1, true)}, FindNoPrimary},
		{"nobody", Config{}, 1, []candidate{down}, FindUnreachable},
		{"made anew", Config{}, 1, []candidate{server("a", 2, 1, false), down}, "a"},
		{"made anew, and the known one lives", Config{}, 1, []candidate{server("a", 2, 1, false), server("b", 1, 1, true)}, FindNoPrimary},
		{"another one than expected", Config{SystemID: 1}, 1, []candidate{server("a", 2, 1, false)}, FindCluster},
		{"the expected one", Config{SystemID: 1}, 2, []candidate{server("a", 2, 5, false), server("b", 1, 1, false)}, "b"},
	} {
		got, err := tt.c.pick(tt.all, tt.known)
		var n *none
		is := string(got.server.Site)
		if errors.As(err, &n) {
			is = n.Code
			if n.Severity != model.Block || n.What == "" || n.Fix == "" || !errors.Is(err, failure.Unavailable) {
				t.Errorf("%s: %+v", tt.name, n)
			}
		}
		if is != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, is, tt.want)
		}
	}
}

// TestMarksAreThinned: a week of marks every ten seconds.
func TestMarksAreThinned(t *testing.T) {
	noon := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	spans := []pgpoint.Span{{From: pgwal.Position{Timeline: 1, At: 5000}}}
	var marks []pgpoint.Mark
	for n := range 7 * 24 * 360 {
		marks = thin(append(marks, pgpoint.Mark{Position: pgwal.Position{Timeline: 1, At: pgwal.LSN(10 * n)}, Time: noon.Add(time.Duration(n) * 10 * time.Second)}), spans)
	}
	if len(marks) > 60+6*24+7*24 || len(marks) < 200 {
		t.Errorf("%d marks are kept of a week", len(marks))
	}
	for i, m := range marks {
		if m.At < 5000 || i > 0 && (!m.Time.After(marks[i-1].Time) || m.At <= marks[i-1].At) {
			t.Errorf("mark %d: %+v", i, m)
		}
	}
	if last := marks[len(marks)-1]; last.At != 10*(7*24*360-1) {
		t.Errorf("the newest is %+v", last)
	}
	if got := thin(nil, spans); got != nil {
		t.Errorf("%v", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Whose: pgpoint.Whose{App: "shop", Resource: "db"}, Site: "west", Name: "n", Spool: "/spool", Vault: model.Vault{URL: "/vault"},
		Servers: []Server{{Site: "east", Conn: "host=10.0.0.1 user=lifeboat"}}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"app": func(c *Config) { c.App = "" }, "site": func(c *Config) { c.Site = "" }, "servers": func(c *Config) { c.Servers = nil }, "name": func(c *Config) { c.Name = "" },
		"spool": func(c *Config) { c.Spool = "spool" }, "vault": func(c *Config) { c.Vault.URL = "" }, "conn": func(c *Config) { c.Servers = []Server{{Conn: "port=x"}} },
	} {
		c := good
		spoil(&c)
		if err := c.Validate(); !errors.Is(err, failure.Invalid) {
			t.Errorf("without a good %s: %v", name, err)
		}
		if err := c.Save(t.TempDir()); !errors.Is(err, failure.Invalid) {
			t.Errorf("saved without a good %s: %v", name, err)
		}
	}
	dir := t.TempDir()
	if _, err := load(dir); !errors.Is(err, failure.NotFound) {
		t.Errorf("none: %v", err)
	}
	if err := good.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(good, got); diff != "" {
		t.Errorf("-saved +loaded\n%s", diff)
	}
	if err := Run(t.Context(), Options{Folder: dir}); !errors.Is(err, failure.Invalid) {
		t.Errorf("an empty configuration: %v", err)
	}
}

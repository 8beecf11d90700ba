package postgres

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestBadSettings(t *testing.T) {
	cases := []struct{ own, at, want string }{
		{`{}`, `{"host":"a"}`, "user: is missing"},
		{`{"user":"u","sslmode":"maybe"}`, `{"host":"a"}`, `sslmode: "maybe" is not one of`},
		{`{"user":"u","sslmode":"verify-full"}`, `{"host":"a"}`, "sslrootcert: is missing"},
		{`{"user":"u","password":"hunter2"}`, `{"host":"a"}`, "a secret must be a reference"},
		{`{"user":"u","replication_password":"env:X"}`, `{"host":"a"}`, "replication_user: is missing"},
		{`{"user":"u","max_lag":"many"}`, `{"host":"a"}`, "is not a size"},
		{`{"user":"u","connect_timeout":"soon"}`, `{"host":"a"}`, "is not a duration"},
		{`{"user":"u","colour":"red"}`, `{"host":"a"}`, `unknown field "colour"`},
		{`{"user":"u"}`, `{}`, "host: is missing"},
		{`{"user":"u"}`, `{"host":"/run/postgresql"}`, "is not a host name"},
		{`{"user":"u"}`, `{"host":"a","port":70000}`, "port: 70000"},
		{`{"user":"u"}`, `{"host":"a","data":"pgdata"}`, `data: "pgdata" is not an absolute path`},
		{`{"user":"u"}`, `{"host":"a","data":"/"}`, "data: the root folder"},
		{`{"user":"u"}`, `{"host":"a","via":["ssh","a"]}`, "data: is missing"},
		{`{"user":"u"}`, `{"host":"a","data":"/d","work":"/d/w"}`, "work: must not be inside"},
		{`{"user":"u"}`, `{"host":"a","data":"/d","service":{"start":["x"]}}`, "service: needs both"},
		{`{"user":"u"}`, `{"host":"a","fence":{}}`, "fence.command: is missing"},
		{`{"user":"u"}`, `{"host":"a","drill":{"folder":"/x"}}`, "data: is missing"},
		{`{"user":"u"}`, `{"host":"a","data":"/d","drill":{}}`, "drill.folder: is missing"},
		{`{"user":"u"}`, `{"host":"a","data":"/d","drill":{"folder":"/d/x"}}`, "drill.folder: must not be inside"},
		{`{"user":"u"}`, `{"host":"a","data":"/d","drill":{"folder":"/x","port":-1}}`, "drill.port: -1"},
		{`{"user":"u"}`, `{"host":"a","options":{"a b":"c"}}`, "options:"},
		{`{"user":"u","recovery":"tape"}`, `{"host":"a"}`, `recovery: "tape" is neither`},
		{`{"user":"u","recovery":"vault"}`, `{"host":"a"}`, "it names no vault"},
		{`{"user":"u","seed":"vault"}`, `{"host":"a"}`, "it names no vault"},
		{`{"user":"u","seed":"disk"}`, `{"host":"a"}`, `seed: "disk" is neither`},
		{`{"user":"u","quorum":-1}`, `{"host":"a"}`, "quorum: -1"},
		{`{"user":"u","quorum":2}`, `{"host":"a"}`, "it needs synchronous: true and recovery: vault"},
		{`{"user":"u","max_rate":"fast"}`, `{"host":"a"}`, "is not a size"},
		{`{"user":"u"}`, `{"host":"a","data":"/d","spool":"spool"}`, `spool: "spool" is not an absolute path`},
		{`{"user":"u"}`, `{"host":"a","data":"/d","spool":"/d/spool"}`, "spool: must not be inside"},
		{`{"user":"u"}`, `{"host":"a","data":"/d","tablespaces":{"/a":"b"}}`, "tablespaces:"},
	}
	for _, c := range cases {
		r := model.Resource{ID: "db", Settings: json.RawMessage(c.own), Sites: map[model.SiteID]json.RawMessage{"east": json.RawMessage(c.at)}}
		_, err := New(nil).Describe(t.Context(), driver.Target{Resource: r, Site: "east"})
		if err == nil || !strings.Contains(err.Error(), c.want) || failure.KindOf(err) != failure.Invalid {
			t.Errorf("%s %s: got %v, want %q (invalid)", c.own, c.at, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the secret is in the error: %v", err)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"64MB": 64 << 20, "1 GB": 1 << 30, "12B": 12, "3kB": 3072, "0B": 0} {
		var got Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
		again, _ := got.MarshalText()
		if err := got.UnmarshalText(again); err != nil || got != want {
			t.Errorf("%q by way of %q: got %d, %v", text, again, got, err)
		}
	}
}

func TestQuoting(t *testing.T) {
	if got, want := confLine("a", `it's \x`), "a = 'it''s \\\\x'\n"; got != want {
		t.Errorf("conf: got %q, want %q", got, want)
	}
	if got, want := connWord(`p w'\`), `'p w\'\\'`; got != want {
		t.Errorf("conn: got %q, want %q", got, want)
	}
	for names, in := range map[string]bool{
		`FIRST 1 ("lifeboat_west")`: true, `ANY 1 (a, lifeboat_west)`: true, `*`: true, `LIFEBOAT_WEST`: true, `FIRST 1 (other)`: false, ``: false,
	} {
		if got := namedIn(names, "lifeboat_west"); got != in {
			t.Errorf("%s: got %v, want %v", names, got, in)
		}
	}
}

func TestDecide(t *testing.T) {
	history := []fork{{1, 0x100}, {2, 0x200}}
	shut := func(state string, at lsn, tli uint32) control {
		return control{State: state, Checkpoint: at, Timeline: tli, MinEnd: at, MinEndTLI: tli, Rewindable: true}
	}
	dull := shut("in production", 0x50, 1)
	dull.Rewindable = false
	cases := []struct {
		name     string
		c        control
		timeline uint32
		history  []fork
		want     string
		diverged bool
	}{
		{"nothing there", control{}, 3, history, wayRebuild, false},
		{"old primary, standby had all", shut("shut down", 0xf0, 1), 3, history, wayFollow, false},
		{"old primary, its last record is lost", shut("shut down", 0x100, 1), 3, history, wayRewind, true},
		{"old primary, ahead", shut("shut down", 0x180, 1), 3, history, wayRewind, true},
		{"standby at the fork", shut("shut down in recovery", 0x200, 2), 3, history, wayFollow, false},
		{"standby beyond it", shut("shut down in recovery", 0x208, 2), 3, history, wayRewind, true},
		{"standby on the same timeline", shut("shut down in recovery", 0x900, 3), 3, history, wayFollow, false},
		{"two primaries of one timeline", shut("shut down", 0x300, 3), 3, history, wayRebuild, true},
		{"crashed", shut("in production", 0x50, 1), 3, history, wayRewind, true},
		{"crashed, no hints", dull, 3, history, wayRebuild, true},
		{"unknown timeline", shut("shut down", 0x50, 9), 3, history, wayRewind, true},
		{"history not readable", shut("shut down", 0x50, 1), 3, nil, wayRewind, true},
	}
	for _, c := range cases {
		got := decide(c.c, c.timeline, c.history)
		if got.Way != c.want || got.Diverged != c.diverged || got.Why == "" {
			t.Errorf("%s: got %+v, want %s, diverged %v", c.name, got, c.want, c.diverged)
		}
	}
}

func TestHistory(t *testing.T) {
	got, err := parseHistory("1\t0/3000060\tno recovery target specified\n\n2\t16/B374D848\tx y\n")
	if err != nil || len(got) != 2 || got[1] != (fork{2, 0x16B374D848}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"1", "x 0/1 y", "1 zz y"} {
		if _, err := parseHistory(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzLSN(f *testing.F) {
	f.Add(uint64(0))
	f.Add(uint64(0x16B374D848))
	f.Fuzz(func(t *testing.T, n uint64) {
		if got, err := parseLSN(lsn(n).String()); err != nil || got != lsn(n) {
			t.Errorf("got %s, %v, want %s", got, err, lsn(n))
		}
	})
}

// TestResourceRules holds the rules that go over settings and vault.
func TestResourceRules(t *testing.T) {
	for own, want := range map[string]string{
		`{"user":"u","recovery":"vault"}`: "settings.recovery: is vault", `{"user":"u","seed":"vault"}`: "settings.seed: is vault",
		`{"user":"u","max_rate":"10MB"}`: "settings.max_rate: bounds captures", `{"user":"u"}`: "",
	} {
		r := model.Resource{ID: "db", Settings: json.RawMessage(own)}
		err := New(nil).ValidateResource(r)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", own, err, want)
		}
		r.Vault = &model.Vault{Name: "main"}
		if err := New(nil).ValidateResource(r); err != nil {
			t.Errorf("%s with a vault: %v", own, err)
		}
	}
}

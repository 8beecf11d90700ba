package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// load reads a document as if it were the file /conf/lifeboat.yaml.
func load(t testing.TB, doc string) (*model.Config, error) {
	t.Helper()
	return decode([]byte(doc), Name, "/conf/"+Name, testRegistry())
}

func mustLoad(t testing.TB, doc string) *model.Config {
	t.Helper()
	cfg, err := load(t, doc)
	if err != nil {
		t.Fatalf("load:\n%v", err)
	}
	return cfg
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLoadWhole(t *testing.T) {
	cfg := mustLoad(t, readFile(t, "testdata/good/whole.yaml"))
	d := func(d time.Duration) *model.Duration { v := model.Duration(d); return &v }
	text := func(s string) json.RawMessage { return json.RawMessage(s) }
	want := &model.Config{
		Path: "/conf/lifeboat.yaml", State: "/conf/state",
		Journal: model.JournalConfig{Endpoints: []string{"https://etcd-1:2379"}, Prefix: "/lifeboat/", CA: "/conf/ca.pem",
			Cert: "/etc/client.pem", Key: "/client-key.pem", Username: "lifeboat", Password: "env:ETCD_PASSWORD"},
		Limits: model.Limits{Steps: 64, Sites: map[model.SiteID]int{"west": 16}, Kinds: map[model.Kind]int{"database": 4}},
		Sites:  []model.Site{{ID: "east", Description: "the home data centre"}, {ID: "north"}, {ID: "west"}},
		Apps: []model.App{
			{
				ID: "batch", Home: "west", Recovery: []model.SiteID{"north", "east"},
				Resources: []model.Resource{{ID: "jobs", App: "batch", Kind: "cluster"}},
			},
			{
				ID: "shop", Home: "east", Recovery: []model.SiteID{"west"},
				Objective: model.Objective{RTO: d(10 * time.Second), RPO: d(0)},
				Protect:   model.Protection{Marker: *d(time.Second), Probe: *d(250 * time.Millisecond)},
				Probe:     &model.Check{Name: "probe", Kind: "ask", Settings: text(`{"url":"http://shop.demo.test/"}`)},
				Approvals: map[model.Operation]int{"failback": 1, "drill": 0},
				Resources: []model.Resource{
					{
						ID: "db", App: "shop", Kind: "database", Timeout: *d(time.Minute),
						Settings: text(`{"name":"shop","password":"file:/conf/secrets/db","timeout":"1m30s","mode":"sync","retries":3,` +
							`"weight":0.5,"enabled":true,"options":{"a":[1,"two",{"b":false}],"16":16},"users":[{"name":"app"}]}`),
						Sites: map[model.SiteID]json.RawMessage{
							"east": text(`{"host":"127.0.0.2","port":5432,"data":"/srv/east"}`),
							"west": text(`{"host":"127.0.0.3","port":5432,"data":"/conf/west/data"}`)},
						Checks: []model.Check{{Name: "orders are readable", Kind: "look", Within: *d(5 * time.Second),
							Settings: text(`{"url":"db://${db.endpoint}/$${literal}"}`)}},
					},
					{
						ID: "web", App: "shop", Kind: "process", Needs: []model.ResourceID{"db"},
						Settings: text(`{"start":["/conf/bin/shopd","--listen","${self.endpoint}","--database","${db.endpoint}"]}`),
						Sites: map[model.SiteID]json.RawMessage{
							"east": text(`{"outputs":{"endpoint":"127.0.0.2:8080"}}`), "west": text(`{"outputs":{"endpoint":"127.0.0.3:8080"}}`)},
						Hooks: []model.Hook{
							{After: "promote", On: []model.Operation{"failover"}, Step: model.CustomStep{Name: "warm the cache", Kind: "script",
								Settings: text(`{"command":["/conf/warm.sh","${web.endpoint}"]}`), Timeout: *d(5 * time.Second)}},
							{Before: "drill", Step: model.CustomStep{Name: "ask first", Approve: 2}},
						},
					},
					{
						ID: "name", App: "shop", Kind: "record", Needs: []model.ResourceID{"web"},
						Settings: text(`{"zone":"demo.test.","ttl":"1s"}`),
						Sites: map[model.SiteID]json.RawMessage{
							"east": text(`{"values":["127.0.0.2"]}`), "west": text(`{"values":["127.0.0.3"]}`)},
					},
				},
				Checks: []model.Check{{Name: "the shop takes orders", Kind: "ask", Within: *d(10 * time.Second),
					On: []model.Operation{"failover", "failback"}, Settings: text(`{"url":"http://${web.endpoint}/"}`)}},
			},
		},
		Plans: []model.CustomPlan{
			{Name: "move-everything", Steps: []model.CustomStep{
				{Name: "freeze", Kind: "script", Settings: text(`{"command":["/freeze.sh"]}`)},
				{Name: "sign-off", Approve: 2, Needs: []string{"freeze"}},
				{Name: "shop", App: "shop", Operation: "failover", Mode: "planned", To: "west", Needs: []string{"sign-off"}},
				{Name: "tell", Plan: "tell-people", Needs: []string{"shop"}},
			}},
			{Name: "tell-people", Steps: []model.CustomStep{{Name: "mail", Kind: "script", Settings: text(`{"command":["mail"]}`)}}},
		},
	}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSameMeaningByAnchors(t *testing.T) {
	plain := mustLoad(t, readFile(t, "testdata/good/plain.yaml"))
	anchors := mustLoad(t, readFile(t, "testdata/good/anchors.yaml"))
	if diff := cmp.Diff(plain, anchors, jsonByValue); diff != "" {
		t.Errorf("-plain +anchors\n%s", diff)
	}
}

// jsonByValue compares JSON by what it says, whatever the order of its keys.
var jsonByValue = cmp.Transformer("json", func(raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err.Error()
	}
	return v
})

func TestGoodDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("the good documents are gone: %d, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) { mustLoad(t, readFile(t, f)) })
	}
}

func TestLineEndingsAndByteOrderMark(t *testing.T) {
	doc := readFile(t, "testdata/good/whole.yaml")
	want := mustLoad(t, doc)
	for name, variant := range map[string]string{
		"crlf": strings.ReplaceAll(doc, "\n", "\r\n"),
		"bom":  "\ufeff" + doc,
		"end":  "---\n" + doc + "...\n",
	} {
		got, err := load(t, variant)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(filepath.Join(deep, Name), 0o755); err != nil { // a folder of that name is not it
		t.Fatal(err)
	}
	if got, err := Find(deep); !errors.Is(err, failure.NotFound) || failure.HintOf(err) != "write one with: lifeboat init" {
		t.Errorf("Find without a file: %q, %v (hint %q)", got, err, failure.HintOf(err))
	}
	path := filepath.Join(dir, "a", Name)
	if err := Init(path); err != nil {
		t.Fatal(err)
	}
	if got, err := Find(deep); err != nil || got != path {
		t.Errorf("Find: got %q, %v; want %q", got, err, path)
	}
}

func TestInitNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Init(path); !errors.Is(err, failure.Exists) || failure.HintOf(err) == "" {
		t.Errorf("Init over a file: %v (hint %q)", err, failure.HintOf(err))
	}
	if got := readFile(t, path); got != "mine" {
		t.Errorf("the file was changed to %q", got)
	}
	if err := Init(filepath.Join(t.TempDir(), "none", Name)); !errors.Is(err, failure.Invalid) {
		t.Errorf("Init into no folder: %v", err)
	}
}

func TestLoadOfWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(filepath.Join(dir, Name), testRegistry())
	if !errors.Is(err, failure.NotFound) || failure.HintOf(err) != "write one with: lifeboat init" {
		t.Errorf("missing file: %v (hint %q)", err, failure.HintOf(err))
	}
	if _, err := Load(dir, testRegistry()); !errors.Is(err, failure.Invalid) {
		t.Errorf("folder: %v", err)
	}
}

func TestErrorKeepsItsKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	if err := os.WriteFile(path, []byte("version: 1\nsitez: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, testRegistry())
	var all *Error
	if !errors.As(err, &all) || failure.KindOf(err) != failure.Invalid {
		t.Fatalf("got %T of kind %v", err, failure.KindOf(err))
	}
	if len(all.Problems) != 3 || all.Path != path || all.Problems[0].File != path {
		t.Errorf("got %d problems of %q: %v", len(all.Problems), all.Path, err)
	}
}

package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// FuzzLoad holds three laws: no document makes the loader panic; every problem has a place in the file; and what loads
// can be written down and loads again as the same.
func FuzzLoad(f *testing.F) {
	seeds := 0
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(content)
			seeds++
		}
	}
	if seeds < 50 {
		f.Fatalf("the corpus is gone: %d documents", seeds)
	}
	f.Add(Template())
	reg := testRegistry()
	f.Fuzz(func(t *testing.T, content []byte) {
		cfg, err := decode(content, Name, "/conf/"+Name, reg)
		if err != nil {
			var all *Error
			if !errors.As(err, &all) || !errors.Is(err, failure.Invalid) {
				t.Fatalf("got %T: %v", err, err)
			}
			checkProblems(t, all, string(content))
			return
		}
		written := write(t, cfg)
		again, err := decode(written, Name, "/conf/"+Name, reg)
		if err != nil {
			t.Fatalf("what was written does not load: %v\n%s", err, written)
		}
		if diff := cmp.Diff(cfg, again, jsonByValue); diff != "" {
			t.Fatalf("-first +again\n%s\n%s", diff, written)
		}
	})
}

type object map[string]any

// write writes a config down as a lifeboat.yaml in JSON.
func write(t testing.TB, cfg *model.Config) []byte {
	t.Helper()
	doc := object{"version": 1, "state": cfg.State}
	if j := cfg.Journal; len(j.Endpoints) > 0 {
		doc["journal"] = j
	}
	if l := cfg.Limits; l.Steps > 0 || l.Sites != nil || l.Kinds != nil {
		doc["limits"] = l
	}
	sites := object{}
	for _, s := range cfg.Sites {
		sites[string(s.ID)] = trim(object{"description": s.Description})
	}
	doc["sites"] = sites
	vaults := object{}
	for _, v := range cfg.Vaults {
		vaults[v.Name] = writeVault(v)
	}
	doc["vaults"] = vaults
	apps := object{}
	for _, a := range cfg.Apps {
		apps[string(a.ID)] = writeApp(t, a)
	}
	doc["apps"] = apps
	plans := object{}
	for _, p := range cfg.Plans {
		var steps []any
		for _, s := range p.Steps {
			steps = append(steps, writeStep(s))
		}
		plans[p.Name] = object{"steps": steps}
	}
	doc["plans"] = plans
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func writeVault(v model.Vault) object {
	var replicas []string
	for _, r := range v.Replicas {
		replicas = append(replicas, r.Name)
	}
	out := object{"url": v.URL, "password": v.Password, "replicas": replicas, "site": v.Site, "retain": v.Retain, "ca": v.CA,
		"cert": v.Cert, "key": v.Key, "user": v.User, "user_password": v.UserPassword, "connections": v.Connections,
		"upload": v.Upload >> 10, "download": v.Download >> 10, "cache": v.Cache}
	if v.S3 != nil {
		out["s3"] = v.S3
	}
	return trim(out)
}

func writeApp(t testing.TB, a model.App) object {
	app := object{"home": a.Home, "recovery": a.Recovery, "objective": a.Objective, "checks": writeChecks(a.Checks)}
	app["protect"] = trim(object{"marker": a.Protect.Marker, "probe": a.Protect.Probe})
	if a.Probe != nil {
		app["probe"] = trim(object{"name": a.Probe.Name, "kind": a.Probe.Kind, "settings": a.Probe.Settings})
	}
	if a.Approvals != nil {
		app["approvals"] = a.Approvals
	}
	resources := object{}
	for _, r := range a.Resources {
		var hooks []any
		for _, h := range r.Hooks {
			hooks = append(hooks, trim(object{"before": h.Before, "after": h.After, "on": h.On, "step": writeStep(h.Step)}))
		}
		vault := ""
		if r.Vault != nil {
			vault = r.Vault.Name
		}
		resources[string(r.ID)] = trim(object{"kind": r.Kind, "needs": r.Needs, "settings": r.Settings, "sites": r.Sites,
			"checks": writeChecks(r.Checks), "hooks": hooks, "timeout": r.Timeout, "vault": vault, "protect": r.Points})
	}
	out, err := json.Marshal(resources)
	if err != nil {
		t.Fatal(err)
	}
	app["resources"] = inOrder(t, a.Resources, out)
	return trim(app)
}

// inOrder keeps the resources in their order, which is part of a config.
func inOrder(t testing.TB, resources []model.Resource, written []byte) json.RawMessage {
	var byID map[string]json.RawMessage
	if err := json.Unmarshal(written, &byID); err != nil {
		t.Fatal(err)
	}
	out := []byte("{")
	for i, r := range resources {
		if i > 0 {
			out = append(out, ',')
		}
		id, _ := json.Marshal(r.ID)
		out = append(append(append(out, id...), ':'), byID[string(r.ID)]...)
	}
	return append(out, '}')
}

func writeChecks(checks []model.Check) []any {
	var out []any
	for _, c := range checks {
		out = append(out, trim(object{"name": c.Name, "kind": c.Kind, "settings": c.Settings, "within": c.Within, "on": c.On}))
	}
	return out
}

func writeStep(s model.CustomStep) object {
	return trim(object{"name": s.Name, "needs": s.Needs, "kind": s.Kind, "settings": s.Settings, "approve": s.Approve,
		"plan": s.Plan, "operation": s.Operation, "app": s.App, "to": s.To, "mode": s.Mode, "timeout": s.Timeout})
}

// trim leaves out what has not been set.
func trim(o object) object {
	for k, v := range o {
		b, err := json.Marshal(v)
		if err == nil {
			switch string(b) {
			case `""`, `0`, `null`, `"0s"`:
				delete(o, k)
			}
		}
	}
	return o
}

package plan_test

import (
	"context"
	"encoding/json"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

// The kinds of these tests: each can do just what its name says, so that a plan shows which rule made which step.
const (
	kindDeletes model.Kind = "deletes" // like data, and what it destroys cannot be made again
	kindData    model.Kind = "data"    // holds data: fence, quiesce, promote, reverse (which destroys), drill, release, marker
	kindNoFence model.Kind = "nofence" // holds data and cannot be fenced
	kindProgram model.Kind = "program" // quiesce, promote, drill, release
	kindName    model.Kind = "name"    // redirect
	kindMirror  model.Kind = "mirror"  // reverse only: nothing can move it
	kindAsk     model.Kind = "ask"     // verify
	kindRun     model.Kind = "run"     // run
	kindProved  model.Kind = "proved"  // its points can be proved and restored
	kindWarmed  model.Kind = "warmed"  // a program whose kind puts a step after it is up
	kindKept    model.Kind = "kept"    // keeps recovery points in a vault: capture, copy, expire, promote
)

// limited is a driver with no more than the capabilities that are embedded beside it.
type limited struct{ facts driver.Facts }

func (l limited) Facts() driver.Facts { return l.facts }
func (l limited) Describe(context.Context, driver.Target) (model.Description, error) {
	return model.Description{}, failure.Unsupported
}
func (l limited) Check(context.Context, driver.Request) ([]model.Finding, error) { return nil, nil }
func (l limited) Observe(context.Context, driver.Request, driver.Handle) (driver.Observation, error) {
	return driver.Observation{}, failure.Unsupported
}

type (
	data struct {
		limited
		driver.Fencer
		driver.Quiescer
		driver.Promoter
		driver.Reverser
		driver.Driller
		driver.Releaser
		driver.MarkerReader
	}
	nofence struct {
		limited
		driver.Promoter
	}
	program struct {
		limited
		driver.Quiescer
		driver.Promoter
		driver.Driller
		driver.Releaser
	}
	warmed struct{ program }
	name   struct {
		limited
		driver.Redirector
	}
	mirror struct {
		limited
		driver.Reverser
	}
	asker struct {
		limited
		driver.Verifier
	}
	runner struct {
		limited
		driver.Runner
	}
	proved struct {
		limited
		driver.Capturer
		driver.Prover
		driver.Restorer
		driver.Driller
		driver.Releaser
		driver.Promoter
	}
	kept struct {
		limited
		driver.Capturer
		driver.Copier
		driver.Expirer
		driver.Promoter
	}
)

// HooksOf warms what came up.
func (warmed) HooksOf(r model.Resource) ([]model.Hook, error) {
	step := model.CustomStep{Name: "warm " + string(r.ID), Kind: kindRun, Settings: raw(`{"at":"${` + string(r.ID) + `.endpoint}"}`)}
	return []model.Hook{{After: model.ActionPromote, Step: step}, {After: model.ActionDrill, Step: step}}, nil
}

// registry has one driver of each kind above.
func registry() *driver.Registry {
	f := fake.New(fake.NewWorld()) // its methods are never called
	endpoint := map[string]model.ValueType{"endpoint": model.TypeEndpoint}
	facts := func(k model.Kind, change ...func(*driver.Facts)) limited {
		l := limited{driver.Facts{Kind: k, Effects: map[model.Action]string{},
			Outputs: map[model.Action]map[string]model.ValueType{model.ActionPromote: endpoint, model.ActionDrill: endpoint}}}
		for _, c := range change {
			c(&l.facts)
		}
		return l
	}
	stateful := func(f *driver.Facts) { f.Stateful = true }
	deletes := func(f *driver.Facts) { f.Approved = []model.Action{model.ActionReverse} }
	destroys := func(f *driver.Facts) { f.Destructive = []model.Action{model.ActionReverse} }
	slow := func(f *driver.Facts) {
		f.Timeouts = map[model.Action]time.Duration{model.ActionReverse: time.Hour}
		f.Verbs = map[model.Action]string{model.ActionReverse: "re-protect"}
	}
	return driver.NewRegistry(
		data{facts(kindData, stateful, destroys, slow), f, f, f, f, f, f, f},
		data{facts(kindDeletes, stateful, destroys, deletes), f, f, f, f, f, f, f},
		nofence{facts(kindNoFence, stateful), f},
		program{facts(kindProgram), f, f, f, f},
		warmed{program{facts(kindWarmed), f, f, f, f}},
		name{facts(kindName), f},
		mirror{facts(kindMirror), f},
		asker{facts(kindAsk), f},
		runner{facts(kindRun), f},
		proved{facts(kindProved, func(f *driver.Facts) { f.Vault = driver.VaultOptional }), f, f, f, f, f, f},
		kept{facts(kindKept, func(f *driver.Facts) { f.Vault = driver.VaultOptional }), f, f, f, f},
	)
}

func raw(text string) json.RawMessage { return json.RawMessage(text) }

func resource(id model.ResourceID, kind model.Kind, needs ...model.ResourceID) model.Resource {
	return model.Resource{ID: id, App: "shop", Kind: kind, Needs: needs, Settings: raw(`{}`)}
}

func check(name, settings string, on ...model.Operation) model.Check {
	return model.Check{Name: name, Kind: kindAsk, Settings: raw(settings), On: on}
}

func run(name string, needs ...string) model.CustomStep {
	return model.CustomStep{Name: name, Kind: kindRun, Settings: raw(`{}`), Needs: needs}
}

func plain(resources ...model.Resource) *model.Config {
	return &model.Config{
		Sites: []model.Site{{ID: "east"}, {ID: "west"}, {ID: "north"}},
		Apps:  []model.App{{ID: "shop", Home: "east", Recovery: []model.SiteID{"west", "north"}, Resources: resources}},
	}
}

// shop is the configuration of most transcripts: data, a program on it, a name in front of it.
func shop() *model.Config {
	db := resource("db", kindData)
	db.Checks = []model.Check{check("rows are there", `{"at":"${db.endpoint}"}`)}
	web := resource("web", kindProgram, "db")
	web.Settings = raw(`{"database":"${db.endpoint}","listen":"${self.endpoint}"}`)
	cfg := plain(db, web, resource("name", kindName, "web"))
	app := &cfg.Apps[0]
	app.Checks = []model.Check{check("orders are taken", `{"at":"${web.endpoint}"}`)}
	probe := check("probe", `{"url":"shop"}`)
	app.Probe = &probe
	return cfg
}

// warm is an app with what its kind warms, beside a step of the user's own, before a program on it and a name.
func warm() *model.Config {
	cache := resource("cache", kindWarmed)
	cache.Hooks = []model.Hook{{After: model.ActionPromote, Step: run("tell them")}}
	return plain(cache, resource("web", kindProgram, "cache"), resource("name", kindName))
}

// uploads is an app with folders kept in a vault, by a policy, with a hook, beside what keeps no points.
func uploads() *model.Config {
	files := resource("files", kindKept)
	files.Vault = &model.Vault{Name: "main", URL: "/srv/vault", Replicas: []model.Vault{{Name: "second", URL: "/srv/second"}}}
	files.Points = &model.PointPolicy{Schedule: "@hourly", Keep: &model.Retention{Daily: 7}}
	files.Hooks = []model.Hook{{Before: model.ActionCapture, Step: run("flush")}, {After: model.ActionCapture, Step: run("go on")}}
	alone := resource("alone", kindKept)
	alone.Vault = &model.Vault{Name: "main", URL: "/srv/vault"}
	return plain(files, alone, resource("bare", kindKept), resource("web", kindProgram, "files"))
}

// points is an app with a resource whose points can be proved and restored, beside one whose cannot.
func points() *model.Config {
	db := resource("db", kindProved)
	db.Vault = &model.Vault{Name: "main", URL: "/srv/vault"}
	db.Hooks = []model.Hook{{Before: model.ActionRestore, Step: run("make room")}}
	return plain(db, resource("bare", kindProved), resource("web", kindProgram, "db"))
}

// proofs are those of two points of a resource.
func proofs(id model.ResourceID) []plan.Proving {
	return []plan.Proving{{Resource: id, Spec: model.ProveSpec{Point: "0123456789abcdef"}}, {Resource: id, Spec: model.ProveSpec{Point: "fedcba9876543210"}}}
}

// into restores a resource into a folder.
func into(id model.ResourceID, spec model.RestoreSpec) *plan.Restoring {
	return &plan.Restoring{Resource: id, Spec: spec}
}

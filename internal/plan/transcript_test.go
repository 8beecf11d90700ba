package plan_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/plan"
	"github.com/lifeboat-dr/lifeboat/model"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// transcript writes what matters of a plan, one step a paragraph.
func transcript(p *model.Plan, findings []model.Finding, err error) string {
	var out strings.Builder
	if err != nil {
		fmt.Fprintf(&out, "error %s: %v\nhint: %s\n", failure.KindOf(err), err, failure.HintOf(err))
		return out.String()
	}
	fmt.Fprintf(&out, "%s: %s %s, %s to %s\n", p.Name, p.Operation, p.Mode, p.From, p.To)
	for _, f := range findings {
		fmt.Fprintf(&out, "%s %s %s@%s: %s\n", f.Severity, f.Code, f.Resource, f.Site, f.What)
	}
	for _, s := range p.Steps {
		fmt.Fprintf(&out, "\n%s\n  %s %s at %q from %q%s\n", s.ID, s.Action, s.Resource.ID, s.Site, s.Peer, flags(s))
		for _, n := range s.Needs {
			fmt.Fprintf(&out, "  needs %s\n", n)
		}
		for _, in := range s.Inputs {
			fmt.Fprintf(&out, "  ${%s} is %s of %s\n", in.Ref, in.Output, in.Step)
		}
	}
	return out.String()
}

func flags(s model.Step) string {
	var all []string
	add := func(yes bool, word string) {
		if yes {
			all = append(all, word)
		}
	}
	add(s.Outage, "outage")
	add(s.Destructive, "destructive")
	add(s.Advisory, "advisory")
	add(s.When == model.Always, "always")
	add(s.Releases != "", "releases "+string(s.Releases))
	add(s.Waiver != "", "waiver "+string(s.Waiver))
	add(s.Approvals > 0, fmt.Sprintf("approvals %d", s.Approvals))
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

type transcribed struct {
	cfg  func() *model.Config
	in   plan.Input
	fail failure.Kind // when it has to be refused
}

func with(change func(*model.Config)) func() *model.Config {
	return func() *model.Config { c := shop(); change(c); return c }
}

func hook(after, before model.Action, step model.CustomStep, on ...model.Operation) model.Hook {
	return model.Hook{After: after, Before: before, Step: step, On: on}
}

var west = map[model.AppID]model.SiteID{"shop": "west"}

var transcripts = map[string]transcribed{
	"drill":              {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpDrill}},
	"failover-planned":   {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Planned}},
	"failover-unplanned": {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned}},
	"failover-third-site": {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned,
		Serving: west}},
	"failback": {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpFailback, Serving: west}},
	"failback-deletes": {cfg: with(func(c *model.Config) { c.Apps[0].Resources[0].Kind = kindDeletes }),
		in: plan.Input{App: "shop", Operation: model.OpFailback, Serving: west}},
	"failover-deletes": {cfg: with(func(c *model.Config) { c.Apps[0].Resources[0].Kind = kindDeletes }),
		in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Planned}},
	"failback-approved": {cfg: with(func(c *model.Config) {
		c.Apps[0].Approvals = map[model.Operation]int{model.OpFailback: 2}
	}), in: plan.Input{App: "shop", Operation: model.OpFailback, Serving: west}},
	"failover-approved": {cfg: with(func(c *model.Config) {
		c.Apps[0].Approvals = map[model.Operation]int{model.OpFailover: 1}
	}), in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned}},
	"no-fence":     {cfg: func() *model.Config { return plain(resource("old", kindNoFence), resource("name", kindName)) }, in: plan.Input{App: "shop", Operation: model.OpFailover}},
	"not-moved":    {cfg: func() *model.Config { return plain(resource("copy", kindMirror), resource("web", kindProgram)) }, in: plan.Input{App: "shop", Operation: model.OpFailover}},
	"stateless":    {cfg: func() *model.Config { return plain(resource("web", kindProgram), resource("name", kindName)) }, in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Planned}},
	"traffic-last": {cfg: func() *model.Config { return plain(resource("name", kindName), resource("db", kindData)) }, in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned}},
	"stop-order": {cfg: func() *model.Config {
		return plain(resource("disk", kindData), resource("mid", kindMirror, "disk"), resource("web", kindProgram, "mid"))
	}, in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Planned}},
	"hooks": {cfg: with(func(c *model.Config) {
		c.Plans = []model.CustomPlan{{Name: "tell", Steps: []model.CustomStep{run("mail"), run("page", "mail")}}}
		c.Apps[0].Resources[0].Hooks = []model.Hook{
			hook("", model.ActionFence, run("stop jobs")), hook(model.ActionFence, "", run("detach volume")),
			hook("", model.ActionPromote, model.CustomStep{Name: "sign-off", Approve: 2}, model.OpFailover),
			hook(model.ActionPromote, "", model.CustomStep{Name: "tell all", Plan: "tell"}),
			hook(model.ActionPromote, "", model.CustomStep{Name: "warm", Kind: kindRun, Settings: raw(`{"at":"${db.endpoint}"}`)}),
			hook(model.ActionDrill, "", run("never here")),
		}
	}), in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned}},
	"hooks-of-kind":       {cfg: warm, in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned}},
	"drill-hooks-of-kind": {cfg: warm, in: plan.Input{App: "shop", Operation: model.OpDrill}},
	"drill-hook-plan": {cfg: with(func(c *model.Config) {
		c.Plans = []model.CustomPlan{{Name: "use", Steps: []model.CustomStep{run("use the copy")}}}
		c.Apps[0].Resources[1].Hooks = []model.Hook{hook(model.ActionDrill, "", model.CustomStep{Name: "use", Plan: "use"})}
		c.Apps[0].Checks = nil
	}), in: plan.Input{App: "shop", Operation: model.OpDrill}},
	"drill-hook-failover": {cfg: with(func(c *model.Config) {
		c.Apps = append(c.Apps, model.App{ID: "mail", Home: "east", Recovery: []model.SiteID{"west"}, Resources: []model.Resource{resource("box", kindData)}})
		c.Apps[0].Resources[0].Hooks = []model.Hook{hook(model.ActionDrill, "", model.CustomStep{Name: "too", App: "mail", Operation: model.OpFailover})}
	}), in: plan.Input{App: "shop", Operation: model.OpDrill}, fail: failure.Invalid},
	"hook-operation": {cfg: with(func(c *model.Config) {
		c.Apps = append(c.Apps, model.App{ID: "mail", Home: "east", Recovery: []model.SiteID{"west"}, Resources: []model.Resource{resource("box", kindData)}})
		c.Apps[0].Resources[0].Hooks = []model.Hook{hook("", model.ActionPromote, model.CustomStep{Name: "mail too", App: "mail", Operation: model.OpFailover, Mode: model.Unplanned})}
	}), in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned}},
	"hook-circle": {cfg: with(func(c *model.Config) {
		c.Apps[0].Resources[0].Hooks = []model.Hook{hook("", model.ActionPromote, model.CustomStep{Name: "again", Plan: "loop"})}
		c.Plans = []model.CustomPlan{{Name: "loop", Steps: []model.CustomStep{{Name: "again", App: "shop", Operation: model.OpFailover}}}}
	}), in: plan.Input{App: "shop", Operation: model.OpFailover}, fail: failure.Invalid},
	"custom-round-trip": {cfg: with(func(c *model.Config) {
		c.Plans = []model.CustomPlan{{Name: "there-and-back", Steps: []model.CustomStep{
			{Name: "there", App: "shop", Operation: model.OpFailover, Mode: model.Planned}, {Name: "back", App: "shop", Operation: model.OpFailback}}}}
	}), in: plan.Input{Custom: "there-and-back"}},
	"custom-deep": {cfg: with(func(c *model.Config) {
		call := func(name, plan string, needs ...string) model.CustomStep {
			return model.CustomStep{Name: name, Plan: plan, Needs: needs}
		}
		c.Plans = []model.CustomPlan{
			{Name: "top", Steps: []model.CustomStep{call("last", "two", "sign"), {Name: "sign", Approve: 2, Needs: []string{"first"}}, run("first")}},
			{Name: "two", Steps: []model.CustomStep{call("deeper", "three"), run("beside")}},
			{Name: "three", Steps: []model.CustomStep{run("mail"), {Name: "drill", App: "shop", Operation: model.OpDrill, Needs: []string{"mail"}}}},
		}
	}), in: plan.Input{Custom: "top"}},
	"custom-circle": {cfg: with(func(c *model.Config) {
		c.Plans = []model.CustomPlan{{Name: "a", Steps: []model.CustomStep{{Name: "x", Plan: "b"}}}, {Name: "b", Steps: []model.CustomStep{{Name: "y", Plan: "a"}}}}
	}), in: plan.Input{Custom: "a"}, fail: failure.Invalid},
	"payload":        {cfg: documents, in: plan.Input{Custom: "over", Payloads: works}},
	"payload-back":   {cfg: documents, in: plan.Input{Custom: "back", Payloads: works}},
	"payload-called": {cfg: documents, in: plan.Input{Custom: "both", Payloads: works}},
	"payload-empty":  {cfg: documents, in: plan.Input{Custom: "over", Payloads: map[string][]model.PayloadWork{"over": nil}}, fail: failure.Invalid},
	"payload-in-hook": {cfg: func() *model.Config {
		c := documents()
		c.Apps[0].Resources[0].Hooks = []model.Hook{hook("", model.ActionPromote, model.CustomStep{Name: "too", Plan: "over"})}
		return c
	}, in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned}, fail: failure.Invalid},
	"reference-transitive": {cfg: with(func(c *model.Config) {
		c.Apps[0].Resources[2].Settings = raw(`{"value":"${db.endpoint}"}`)
	}), in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: model.Unplanned}},
	"reference-missing": {cfg: with(func(c *model.Config) { c.Apps[0].Resources[1].Settings = raw(`{"x":"${cache.endpoint}"}`) }),
		in: plan.Input{App: "shop", Operation: model.OpFailover}, fail: failure.Invalid},
	"reference-wrong-output": {cfg: with(func(c *model.Config) { c.Apps[0].Resources[1].Settings = raw(`{"x":"${db.port}"}`) }),
		in: plan.Input{App: "shop", Operation: model.OpFailover}, fail: failure.Invalid},
	"checks-on": {cfg: with(func(c *model.Config) {
		c.Apps[0].Checks = []model.Check{check("only in drills", `{"at":"${web.endpoint}"}`, model.OpDrill), check("only in moves", `{}`, model.OpFailover, model.OpFailback)}
	}), in: plan.Input{App: "shop", Operation: model.OpDrill}},
	"drill-outside":      {cfg: with(func(c *model.Config) { c.Apps[0].Checks = []model.Check{check("asks anybody", `{}`)} }), in: plan.Input{App: "shop", Operation: model.OpDrill}},
	"protect":            {cfg: uploads, in: plan.Input{App: "shop", Operation: model.OpProtect, Serving: west}},
	"protect-one":        {cfg: uploads, in: plan.Input{App: "shop", Operation: model.OpProtect, Resources: []model.ResourceID{"alone"}}},
	"protect-unknown":    {cfg: uploads, in: plan.Input{App: "shop", Operation: model.OpProtect, Resources: []model.ResourceID{"alnoe"}}, fail: failure.Invalid},
	"protect-to":         {cfg: uploads, in: plan.Input{App: "shop", Operation: model.OpProtect, To: "west"}, fail: failure.Invalid},
	"protect-nothing":    {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpProtect}, fail: failure.Invalid},
	"prove":              {cfg: points, in: plan.Input{App: "shop", Operation: model.OpProve, Prove: proofs("db")}},
	"prove-at-home":      {cfg: points, in: plan.Input{App: "shop", Operation: model.OpProve, To: "east", Prove: proofs("db")[:1]}},
	"prove-bisect":       {cfg: points, in: plan.Input{App: "shop", Operation: model.OpProve, Prove: []plan.Proving{{Resource: "db", Spec: model.ProveSpec{Bisect: true, Checks: []string{"select true"}}}}}},
	"prove-approved":     {cfg: with(func(c *model.Config) { *c = *points(); c.Apps[0].Approvals = map[model.Operation]int{model.OpProve: 1} }), in: plan.Input{App: "shop", Operation: model.OpProve, Prove: proofs("db")[:1]}},
	"prove-nothing":      {cfg: points, in: plan.Input{App: "shop", Operation: model.OpProve}, fail: failure.Invalid},
	"prove-no-vault":     {cfg: points, in: plan.Input{App: "shop", Operation: model.OpProve, Prove: proofs("bare")}, fail: failure.Unsupported},
	"prove-cannot":       {cfg: points, in: plan.Input{App: "shop", Operation: model.OpProve, Prove: proofs("web")}, fail: failure.Unsupported},
	"prove-mode":         {cfg: points, in: plan.Input{App: "shop", Operation: model.OpProve, Mode: model.Unplanned, Prove: proofs("db")}, fail: failure.Invalid},
	"restore":            {cfg: points, in: plan.Input{App: "shop", Operation: model.OpRestore, Restore: into("db", model.RestoreSpec{To: "lsn:0/1", Folder: "/srv/look", Here: true})}},
	"restore-place":      {cfg: points, in: plan.Input{App: "shop", Operation: model.OpRestore, To: "east", Restore: into("db", model.RestoreSpec{InPlace: true})}},
	"restore-site":       {cfg: points, in: plan.Input{App: "shop", Operation: model.OpRestore, To: "nowhere", Restore: into("db", model.RestoreSpec{Folder: "/srv/look"})}, fail: failure.Invalid},
	"restore-unknown":    {cfg: points, in: plan.Input{App: "shop", Operation: model.OpRestore, Restore: into("bd", model.RestoreSpec{Folder: "/srv/look"})}, fail: failure.NotFound},
	"failover-resources": {cfg: uploads, in: plan.Input{App: "shop", Operation: model.OpFailover, Resources: []model.ResourceID{"alone"}}, fail: failure.Invalid},
	"serves-already":     {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpFailback}, fail: failure.Invalid},
	"unknown-site":       {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpFailover, To: "south"}, fail: failure.Invalid},
	"unknown-from":       {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpFailover, Serving: map[model.AppID]model.SiteID{"shop": "south"}}, fail: failure.Invalid},
	"unknown-mode":       {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpFailover, Mode: "maybe"}, fail: failure.Invalid},
	"unknown-app":        {cfg: shop, in: plan.Input{App: "shap", Operation: model.OpFailover}, fail: failure.NotFound},
	"unknown-plan":       {cfg: shop, in: plan.Input{Custom: "nothing"}, fail: failure.NotFound},
	"nothing-to-drill": {cfg: func() *model.Config { return plain(resource("name", kindName)) },
		in: plan.Input{App: "shop", Operation: model.OpDrill}, fail: failure.Invalid},
	"failback-unplanned": {cfg: shop, in: plan.Input{App: "shop", Operation: model.OpFailback, Mode: model.Unplanned, Serving: west}, fail: failure.Invalid},
}

// documents are plans that are StatePayload documents, and one that calls both.
func documents() *model.Config {
	c := shop()
	c.Plans = []model.CustomPlan{
		{Name: "over", Payload: &model.PayloadPlan{File: "over.json", Site: "west", Peer: "east"}},
		{Name: "back", Payload: &model.PayloadPlan{File: "back.json", Site: "east", Peer: "west"}},
		{Name: "both", Steps: []model.CustomStep{run("first"), {Name: "there", Plan: "over", Needs: []string{"first"}}, {Name: "again", Plan: "back", Needs: []string{"there"}}, run("last", "again")}},
	}
	return c
}

// works are what the documents do, resolved.
var works = map[string][]model.PayloadWork{
	"over": {{Resource: resource("orders", kindData), Mode: model.Planned}, {Resource: resource("billing", kindData), Mode: model.Unplanned},
		{Layer: 2, Resource: resource("sessions", kindData), Mode: model.Unplanned}},
	"back": {{Resource: resource("orders", kindData)}, {Layer: 1, Resource: resource("billing", kindData)}},
}

// TestTranscripts holds whole plans. Look at the difference before you pass -update: a step that waits for less than it
// did is a defect until it is explained.
func TestTranscripts(t *testing.T) {
	for _, id := range slices.Sorted(maps.Keys(transcripts)) {
		t.Run(id, func(t *testing.T) {
			c := transcripts[id]
			c.in.Config, c.in.Drivers = c.cfg(), registry()
			p, findings, err := plan.Compile(c.in)
			if refused := err != nil; refused != (c.fail != 0) || refused && !errors.Is(err, c.fail) {
				t.Errorf("err %v, want kind %s", err, c.fail)
			}
			if err == nil {
				for _, broken := range laws(p) {
					t.Error(broken)
				}
			}
			got, file := transcript(p, findings, err), filepath.Join("testdata", id+".txt")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) != len(transcripts) {
		t.Errorf("%d transcripts lie in testdata, %d are tested (%v)", len(files), len(transcripts), err)
	}
}

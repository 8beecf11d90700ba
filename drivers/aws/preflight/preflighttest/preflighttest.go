// Package preflighttest holds a driver of AWS to the permissions that it says it needs: the policy that is printed for an app is enough
// for its whole life, holds nothing that no work calls, and the examination names whatever is missing of it. Start with [Run].
package preflighttest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/internal/iampolicy"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Rig is a driver and a resource of its kind whose policy is tried.
type Rig struct {
	World    *awstest.World
	User     string // the ARN of who works at the sites
	Driver   driver.Driver
	Resource model.Resource
	// Life is everything that the driver can be asked for, under the policy.
	Life func()
	// Unused are calls that the life does not come to, such as those after what the fake does not do; each with the reason.
	Unused map[string]string
}

// Needs are the permissions of all that can be asked of the resource.
func (r Rig) Needs(t testing.TB) []driver.Permission {
	t.Helper()
	needs, err := iampolicy.Needs(model.App{ID: r.Resource.App, Resources: []model.Resource{r.Resource}}, driver.NewRegistry(r.Driver))
	if err != nil {
		t.Fatal(err)
	}
	return needs
}

// Documents are the policy's, without one call; none: the whole.
func Documents(t testing.TB, needs []driver.Permission, without string) []string {
	t.Helper()
	return Texts(t, iampolicy.Grants(needs), without)
}

// Texts are the documents that let identities operate, without one call; none: the whole.
func Texts(t testing.TB, grants []api.Grant, without string) []string {
	t.Helper()
	var out []string
	for _, g := range grants {
		for _, d := range g.Operate {
			left := api.PolicyDocument{Version: d.Version, Statement: []api.PolicyStatement{}}
			for _, s := range d.Statement {
				s.Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return a == without })
				if len(s.Action) > 0 {
					left.Statement = append(left.Statement, s)
				}
			}
			text, err := json.Marshal(left)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(text))
		}
	}
	return out
}

// Work is everything that can be asked of the resource, for an examination.
func (r Rig) Work() []driver.Request {
	var out []driver.Request
	for site := range r.Resource.Sites {
		for peer := range r.Resource.Sites {
			if peer == site {
				continue
			}
			for _, a := range driver.Actions(r.Driver) {
				out = append(out, driver.Request{Target: driver.Target{App: r.Resource.App, Resource: r.Resource, Site: site, Peer: peer}, Action: a, Operation: model.OpFailback,
					Prepare: a == model.ActionReverse, Preview: true})
			}
		}
	}
	return out
}

// Examine gives what an examination of all sites finds.
func (r Rig) Examine(t testing.TB) []model.Finding {
	t.Helper()
	examiner, ok := driver.As[driver.Examiner](r.Driver)
	if !ok {
		t.Fatalf("%s examines nothing", r.Driver.Facts().Kind)
	}
	var out []model.Finding
	for site := range r.Resource.Sites {
		found, err := examiner.Examine(t.Context(), driver.Examination{App: r.Resource.App, Site: site, Work: r.Work()})
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, found.Findings...), driver.Short(found.Draws)...)
	}
	return out
}

// look asks all that only looks.
func (r Rig) look(t testing.TB) {
	t.Helper()
	r.Examine(t)
	for site := range r.Resource.Sites {
		target := driver.Target{App: r.Resource.App, Resource: r.Resource, Site: site}
		if _, err := r.Driver.Describe(t.Context(), target); err != nil {
			t.Error(err)
		}
		if lister, ok := driver.As[driver.Lister](r.Driver); ok {
			if _, err := lister.Points(t.Context(), target); err != nil {
				t.Error(err)
			}
		}
	}
}

// Missing are the findings about a call.
func Missing(found []model.Finding, call string) []model.Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f model.Finding) bool {
		return f.Code != "aws-permission" || !strings.HasPrefix(f.What+" ", call+" ")
	})
}

// Run tries the policy.
func (r Rig) Run(t testing.TB) {
	t.Helper()
	needs := r.Needs(t)
	r.govern(t, Documents(t, needs, ""))
	r.World.Forget()
	for _, f := range r.Examine(t) {
		if f.Code == "aws-permission" || f.Code == "aws-permission-unknown" || f.Code == "aws-not-examined" {
			t.Errorf("with the whole policy: %s (%s)", f.What, f.Why)
		}
	}
	r.Life()
	r.look(t)
	made := map[string]bool{}
	for _, c := range r.World.Calls() {
		if strings.HasPrefix(c.Code, "AccessDenied") || c.Code == "UnauthorizedOperation" {
			t.Errorf("%s:%s in %s was refused: the policy lacks it: %v", c.Service, c.Action, c.Region, c.Params)
		}
		made[c.Service+":"+c.Action] = true
	}
	var calls []string
	for _, p := range needs {
		if !made[p.Call] && p.Within == "" && r.Unused[p.Call] == "" && !slices.Contains(calls, p.Call) {
			t.Errorf("%s is in the policy, %s, and nothing called it", p.Call, p.Why)
		}
		if !slices.Contains(calls, p.Call) {
			calls = append(calls, p.Call)
		}
	}
	slices.Sort(calls)
	for _, call := range calls {
		r.govern(t, Documents(t, needs, call))
		found := r.Examine(t)
		if len(Missing(found, call)) == 0 {
			t.Errorf("without %s the examination does not name it: %v", call, found)
		}
		for _, f := range found {
			if f.Severity == model.Block && f.Code == "aws-permission" && len(Missing([]model.Finding{f}, call)) == 0 {
				t.Errorf("without %s the examination names %q", call, f.What)
			}
		}
	}
}

func (r Rig) govern(t testing.TB, documents []string) {
	t.Helper()
	if err := r.World.Policy(r.User, documents...); err != nil {
		t.Fatal(err)
	}
}

package iampolicy

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/fake"
	"github.com/lifeboat-dr/lifeboat/model"
)

func needs(site model.SiteID, holder, call string, on ...string) driver.Permission {
	return driver.Permission{Site: site, Holder: holder, Account: "1", Partition: "aws", Call: call, On: on}
}

func TestGrants(t *testing.T) {
	ours := map[string]map[string]string{"StringEquals": {"aws:ResourceTag/lifeboat:app": "shop"}}
	looks := needs("east", "role-a", "rds:Describe", "arn:aws:rds:e:1:*")
	looks.Looks = true
	tagged := needs("east", "role-a", "rds:Delete", "arn:aws:rds:e:1:db:*")
	tagged.If = ours
	got := Grants([]driver.Permission{
		needs("east", "role-a", "rds:Restore", "arn:aws:rds:e:1:db:x", "arn:aws:rds:e:1:pg:*"),
		needs("east", "role-a", "rds:Create", "arn:aws:rds:e:1:pg:*"),
		needs("east", "role-a", "rds:Create", "arn:aws:rds:e:1:db:x", "arn:aws:rds:e:1:db:x"),
		looks, tagged,
		needs("west", "role-a", "rds:Delete", "arn:aws:rds:w:1:db:y", "arn:aws:rds:w:1:db:*"),
		needs("west", "role-b", "sts:AssumeRole", "role-a"),
	})
	var words []string
	for _, g := range got {
		for name, documents := range map[string][]int{"operate": {len(g.Operate)}, "look": {len(g.Look)}} {
			words = append(words, fmt.Sprintf("%s %v: %s %v", g.Holder, g.Sites, name, documents))
		}
	}
	slices.Sort(words)
	if diff := cmp.Diff([]string{"role-a [east west]: look [1]", "role-a [east west]: operate [1]", "role-b [west]: look [0]", "role-b [west]: operate [1]"}, words); diff != "" {
		t.Errorf("grants (-want +got):\n%s", diff)
	}
	want := []string{
		`{"Sid":"Lifeboat1","Effect":"Allow","Action":["rds:Create","rds:Restore"],"Resource":["arn:aws:rds:e:1:db:x","arn:aws:rds:e:1:pg:*"]}`,
		`{"Sid":"Lifeboat2","Effect":"Allow","Action":["rds:Delete"],"Resource":["arn:aws:rds:e:1:db:*"],"Condition":{"StringEquals":{"aws:ResourceTag/lifeboat:app":"shop"}}}`,
		`{"Sid":"Lifeboat3","Effect":"Allow","Action":["rds:Delete"],"Resource":["arn:aws:rds:w:1:db:*"]}`,
		`{"Sid":"Lifeboat4","Effect":"Allow","Action":["rds:Describe"],"Resource":["arn:aws:rds:e:1:*"]}`,
	}
	var statements []string
	for _, s := range got[0].Operate[0].Statement {
		raw, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		statements = append(statements, string(raw))
	}
	if diff := cmp.Diff(want, statements); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
}

// TestLongPoliciesAreSplit: AWS takes no longer documents, and nothing gets lost between two.
func TestLongPoliciesAreSplit(t *testing.T) {
	var all []driver.Permission
	for n := range 200 {
		all = append(all, needs("east", "role", fmt.Sprintf("rds:Call%d", n), fmt.Sprintf("arn:aws:rds:eu-central-1:111111111111:db:orders-of-a-long-name-%d", n)))
	}
	grant := Grants(all)[0]
	var calls []string
	for _, d := range grant.Operate {
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > longest {
			t.Errorf("a document of %d characters", len(raw))
		}
		for i, s := range d.Statement {
			if s.Sid != fmt.Sprintf("Lifeboat%d", i+1) {
				t.Errorf("a statement called %s in place %d", s.Sid, i+1)
			}
			calls = append(calls, s.Action...)
		}
	}
	slices.Sort(calls)
	if len(slices.Compact(calls)) != 200 || len(grant.Operate) < 2 {
		t.Errorf("%d calls in %d documents", len(calls), len(grant.Operate))
	}
}

// permitter is a driver that says what it was asked.
type permitter struct {
	driver.Driver
	asked []string
}

func (p *permitter) Unwrap() driver.Driver { return p.Driver }

func (p *permitter) Permissions(req driver.Request) ([]driver.Permission, error) {
	p.asked = append(p.asked, fmt.Sprintf("%s %s>%s", req.Action, req.Site, req.Peer))
	return []driver.Permission{needs(req.Site, "role", "x:"+string(req.Action), "*")}, nil
}

func TestNeedsAreOfAllThatCanBeAsked(t *testing.T) {
	p := &permitter{Driver: fake.New(fake.NewWorld(), fake.Stateful())}
	r := model.Resource{ID: "db", App: "shop", Kind: p.Facts().Kind, Sites: map[model.SiteID]json.RawMessage{"east": nil, "west": nil}}
	got, err := Needs(model.App{ID: "shop", Resources: []model.Resource{r}}, driver.NewRegistry(p))
	if err != nil || len(got) != len(p.asked) {
		t.Errorf("%d permissions of %d questions: %v", len(got), len(p.asked), err)
	}
	for _, action := range driver.Actions(p) {
		for _, at := range []string{"east>west", "west>east"} {
			if !slices.Contains(p.asked, string(action)+" "+at) {
				t.Errorf("nobody asked about %s %s: %v", action, at, p.asked)
			}
		}
	}
	if !slices.Contains(p.asked, " east>") {
		t.Errorf("nobody asked what looking takes: %v", p.asked)
	}
	alone := r
	alone.Sites = map[model.SiteID]json.RawMessage{"east": nil}
	p.asked = nil
	if _, err := Needs(model.App{ID: "shop", Resources: []model.Resource{alone}}, driver.NewRegistry(p)); err != nil || len(p.asked) != 1+len(driver.Actions(p)) {
		t.Errorf("of one site: %v: %v", p.asked, err)
	}
}

package awsbase_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

type settings struct {
	Size int `json:"size"`
}

type site struct {
	AWS  awsbase.Access `json:"aws"`
	Name string         `json:"name"`
}

func (s site) Where() awsbase.Access { return s.AWS }
func (s *site) Validate() error      { return awsbase.ValidID("name", s.Name, 8) }

// target is a resource at sites in the regions of accounts, "account/region" by site.
func target(t *testing.T, places map[model.SiteID]string) driver.Target {
	t.Helper()
	r := model.Resource{ID: "db", Settings: json.RawMessage(`{"size": 3}`), Sites: map[model.SiteID]json.RawMessage{}}
	for id, place := range places {
		account, region, _ := strings.Cut(place, "/")
		r.Sites[id] = json.RawMessage(fmt.Sprintf(`{"aws": {"account": %q, "region": %q}, "name": %q}`, account, region, id))
	}
	return driver.Target{App: "shop", Resource: r, Site: "a"}
}

func TestPlaceOf(t *testing.T) {
	b := awsbase.New(awsbase.Options{})
	two := target(t, map[model.SiteID]string{"a": home + "/" + east, "b": home + "/" + west, "c": home + "/nowhere"})
	p, err := awsbase.PlaceOf[settings, site](t.Context(), b, two, "b")
	if err != nil {
		t.Fatal(err)
	}
	if p.Settings.Size != 3 || p.At.Name != "b" || p.Session.Region() != west {
		t.Errorf("the place is %+v in %s", p, p.Session.Region())
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		site model.SiteID
		kind failure.Kind
		says string
	}{
		{t.Context(), "elsewhere", failure.Invalid, "db: nothing is said about it at site elsewhere"},
		{t.Context(), "c", failure.Invalid, `db at c: region "nowhere" is not a region's code`},
		{cancelled, "a", failure.Canceled, "db: "},
	} {
		if _, err := awsbase.PlaceOf[settings, site](c.ctx, b, two, c.site); err == nil || failure.KindOf(err) != c.kind || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%s: %v (%v), want %q of %v", c.site, err, failure.KindOf(err), c.says, c.kind)
		}
	}
}

func TestOthers(t *testing.T) {
	three := target(t, map[model.SiteID]string{"a": "", "b": "", "c": ""})
	open := func(_ context.Context, _ driver.Target, id model.SiteID) (string, error) {
		return string(id) + "!", nil
	}
	got, err := awsbase.Others(t.Context(), three, open)
	if diff := cmp.Diff([]string{"b!", "c!"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	fails := func(context.Context, driver.Target, model.SiteID) (string, error) { return "", failure.Unavailable }
	if got, err := awsbase.Others(t.Context(), three, fails); err == nil || got != nil {
		t.Errorf("places that cannot be opened: %v %v", got, err)
	}
}

func TestApart(t *testing.T) {
	for want, places := range map[string]map[model.SiteID]string{
		"": {"a": home + "/" + east, "b": home + "/" + west},
		"sites.b.aws.region: us-east-1 is the region of site a too: copies need another": {"a": home + "/" + east, "b": home + "/" + east},
		"sites.b.aws.account: is another one than that of site a":                        {"a": home + "/" + east, "b": other + "/" + west},
	} {
		err := awsbase.Apart[site](target(t, places).Resource, "copies need another")
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%v: %v, want %q", places, err, want)
		}
	}
}

func TestUndescribed(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	at := model.Description{Resource: "db", Site: "west"}
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		role model.Role
		says string // of the summary, else the error
	}{
		{"it is silent", t.Context(), failure.New(failure.Unavailable, "", "us-west-2", "no\nanswer"), model.RoleUnreachable, "us-west-2: no answer"},
		{"it throttles", t.Context(), failure.New(failure.Throttled, "", "us-west-2", "slower"), model.RoleUnreachable, "us-west-2: slower"},
		{"it refuses", t.Context(), failure.New(failure.Denied, "", "us-west-2", "no"), "", "describe db at west: us-west-2: no"},
		{"nobody waits", cancelled, failure.New(failure.Unavailable, "", "us-west-2", "no answer"), "", "describe db at west: us-west-2: no answer"},
	} {
		got, err := awsbase.Undescribed(c.ctx, at, c.err)
		said := got.Summary
		if err != nil {
			said = err.Error()
		}
		if (err == nil) != (c.role != "") || got.Role != c.role || said != c.says || time.Since(got.At) > time.Hour {
			t.Errorf("%s: %+v %v, want the role %q and %q", c.name, got, err, c.role, c.says)
		}
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]string{"a": "", "Shop-1": "", "${db.name}": "", "": "name: is missing", "1a": "no identifier", "a--b": "no identifier", "a-": "no identifier", "a_b": "no identifier", "abcdefghi": "up to 8"} {
		err := awsbase.ValidID("name", id, 8)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", id, err, want)
		}
	}
}

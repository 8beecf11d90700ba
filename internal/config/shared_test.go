package config

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lifeboat-dr/lifeboat/driver"
)

// cloudDriver keeps its points by means of its own, and is reached as its site says.
type cloudDriver struct{ still }

func (cloudDriver) Promote(context.Context, driver.Request) (driver.Handle, error) {
	return driver.Handle{}, errStill
}

func (cloudDriver) Capture(context.Context, driver.Request) (driver.Handle, error) {
	return driver.Handle{}, errStill
}

type cloudSite struct {
	AWS  cloudAccess `json:"aws"`
	Name string      `json:"name"`
}

type cloudAccess struct {
	Account string `json:"account" jsonschema:"required"`
	Region  string `json:"region,omitempty"`
}

func (a cloudAccess) Validate() error {
	if len(a.Account) != 3 {
		return errors.New("account: it has 3 digits")
	}
	return nil
}

func (s cloudSite) Validate() error {
	if s.AWS == (cloudAccess{}) {
		return errors.New("aws: nothing says how the site is reached")
	}
	return nil
}

// loadCloud loads a file with one resource of that kind. Access is what site east says, own what the resource says there.
func loadCloud(access, own, protect string) (string, error) {
	doc := fmt.Sprintf(`version: 1
sites: {east: {%s}, west: {aws: {account: "222"}}}
apps: {shop: {home: east, recovery: [west], resources: {db: {kind: cloud, sites: {east: {name: a%s}, west: {name: b}}%s}}}}
`, access, own, protect)
	reg := driver.NewRegistry(&cloudDriver{still{driver.Facts{Kind: "cloud", Summary: "a cloud's", Site: &cloudSite{},
		Shared: map[string]any{"aws": (*cloudAccess)(nil)}}}})
	cfg, err := decode([]byte(doc), Name, "/conf/"+Name, reg)
	if err != nil {
		return "", err
	}
	r := cfg.Apps[0].Resources[0]
	keep := ""
	if r.Points != nil && r.Points.Keep != nil {
		keep = fmt.Sprint(" keeps ", r.Points.Keep.Daily)
	}
	return string(r.Sites["east"]) + " " + string(r.Sites["west"]) + keep, nil
}

// TestSitesSpeakForResources fills what a site says into its resources, unless they say it themselves.
func TestSitesSpeakForResources(t *testing.T) {
	for _, c := range []struct{ name, access, own, protect, want string }{
		{"by the site", `aws: {account: "111", region: r1}`, "", "",
			`{"name":"a","aws":{"account":"111","region":"r1"}} {"name":"b","aws":{"account":"222"}}`},
		{"by itself, as a whole", `aws: {account: "111", region: r1}`, `, aws: {account: "333"}`, "",
			`{"name":"a","aws":{"account":"333"}} {"name":"b","aws":{"account":"222"}}`},
		{"points of its own", `aws: {account: "111"}`, "", `, protect: {keep: {daily: 7}}`,
			`{"name":"a","aws":{"account":"111"}} {"name":"b","aws":{"account":"222"}} keeps 7`},
		{"by nobody", "", "", "", "nothing says how the site is reached"},
		{"with a mistake, told once", `aws: {account: "1111"}`, "", "", "lifeboat.yaml:2:31: aws of site \"east\": account: it has 3 digits"},
		{"with an unknown field", `aws: {acount: "111"}`, "", "", `unknown field "acount"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := loadCloud(c.access, c.own, c.protect)
			if err != nil {
				got = err.Error()
			}
			if err == nil && got != c.want || err != nil && !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Count(got, "3 digits") > 1 {
				t.Errorf("told twice: %s", got)
			}
		})
	}
	if _, err := load(t, "version: 1\nsites: {east: {aws: {}}}\napps: {}\n"); err == nil || !strings.Contains(err.Error(), "no kind of this build is in AWS") {
		t.Errorf("a build without such kinds: %v", err)
	}
}

package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/model"
)

// TestWhatIsProved holds that a resource's own policy takes the place of the app's, and that the app's is for those that can.
func TestWhatIsProved(t *testing.T) {
	cfg, err := decode([]byte(`version: 1
sites: {east: {}, west: {}}
vaults: {main: {url: /srv/vault, password: "env:P"}}
apps:
  shop:
    home: east
    recovery: [west]
    protect: {prove: {every: 20%, schedule: "@daily", checks: [select true]}}
    resources:
      db: {kind: fake, vault: main, sites: {east: {}, west: {}}}
      own: {kind: fake, vault: main, sites: {east: {}, west: {}}, protect: {prove: {every: all}}}
      files: {kind: folder, vault: main, sites: {east: {host: a}, west: {host: b}}}
`), Name, "/conf/"+Name, testRegistry())
	if err != nil {
		t.Fatal(err)
	}
	want := map[model.ResourceID]*model.ProvePolicy{
		"db": {Every: "20%", Schedule: "@daily", Checks: []string{"select true"}}, "own": {Every: "all"}, "files": nil,
	}
	got := map[model.ResourceID]*model.ProvePolicy{}
	for _, r := range cfg.Apps[0].Resources {
		got[r.ID] = nil
		if r.Points != nil {
			got[r.ID] = r.Points.Prove
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

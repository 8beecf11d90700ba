package elasticache

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/snapshots"
	"github.com/lifeboat-dr/lifeboat/model"
)

func TestGroupConformance(t *testing.T) { drivertest.RunTimed(t, groupConformance) }

// groupConformance is how the driver is tried, in a world of its own.
func groupConformance(t *testing.T) drivertest.Config {
	s := newGroupScene(t)
	action := func(a model.Action, site model.SiteID, points int) drivertest.Action {
		return drivertest.Action{Request: func(t testing.TB) driver.Request {
			req := s.group(t, nil)
			if a == model.ActionReverse {
				s.done(t, s.step(req, model.ActionPromote, "west"))
				time.Sleep(time.Minute)
			}
			req.Resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 1}}
			for range points {
				s.done(t, s.step(req, model.ActionCapture, "east"))
				time.Sleep(time.Hour)
			}
			req = at(req, a, site)
			req.Token, req.Restore = "", &model.RestoreSpec{Name: string(req.App) + "-back"}
			if a == model.ActionProve {
				found, err := s.driver().Points(t.Context(), req.Target)
				if err != nil || len(found) != points {
					t.Fatalf("points: %v %v", found, err)
				}
				req.Prove = &model.ProveSpec{Point: found[0].ID}
			}
			return req
		}}
	}
	tagged := func(t testing.TB, token string) []string {
		var out []string
		for _, site := range []model.SiteID{"east", "west"} {
			for _, g := range s.all(t, site) {
				if g.tags[awsbase.TagToken] == token && g.status() != deleting {
					out = append(out, g.name()+" in the "+string(site))
				}
			}
		}
		return out
	}
	return drivertest.Config{
		New: func() driver.Driver { return s.driver() },
		Must: []model.Action{model.ActionPromote, model.ActionReverse, model.ActionDrill, model.ActionRelease, model.ActionCapture, model.ActionExpire, model.ActionRestore,
			model.ActionProve, drivertest.Points},
		Actions: map[model.Action]drivertest.Action{model.ActionPromote: action(model.ActionPromote, "west", 0), model.ActionDrill: action(model.ActionDrill, "west", 0),
			model.ActionReverse: action(model.ActionReverse, "east", 0), model.ActionCapture: action(model.ActionCapture, "east", 0), model.ActionExpire: action(model.ActionExpire, "east", 2),
			model.ActionRestore: action(model.ActionRestore, "east", 1), model.ActionProve: action(model.ActionProve, "east", 1)},
		Targets: func(t testing.TB) []driver.Target {
			req := s.group(t, nil)
			return []driver.Target{at(req, "", "east").Target, at(req, "", "west").Target}
		},
		Effects: func(t testing.TB, req driver.Request) int {
			if req.Action == model.ActionReverse {
				if s.find(t, req, "east") == nil {
					return 1
				}
				return 0
			}
			made := len(tagged(t, req.Token))
			for _, p := range s.snapshots(t, req) {
				switch {
				case req.Action == model.ActionExpire:
					made = 2 - len(s.snapshots(t, req))
				case p.Tags[awsbase.TagToken] == req.Token, p.Tags[snapshots.TagProvedToken] == req.Token:
					made++
				}
			}
			return made
		},
		State: func(t testing.TB) string {
			var b strings.Builder
			for _, site := range []model.SiteID{"east", "west"} {
				for _, g := range s.all(t, site) {
					fmt.Fprintln(&b, site, g.name(), g.status(), g.size(), g.tags)
				}
				kept, err := store{s.client(t, site)}.List(t.Context())
				must(t, err)
				for _, p := range kept {
					fmt.Fprintln(&b, site, p.ID, p.Status, p.Tags)
				}
			}
			return b.String()
		},
		Left: tagged,
		Break: func(_ testing.TB, site model.SiteID) func() {
			return s.w.Inject(awstest.Fault{Region: regions[site], How: awstest.Refuse}).Remove
		},
		Secret: s.w.Account(account).SecretKey,
		Limit:  3 * time.Hour,
	}
}

// snapshots are the resource's in the east.
func (s *groupScene) snapshots(t testing.TB, req driver.Request) []*snapshots.Snapshot {
	t.Helper()
	kept, err := store{s.client(t, "east")}.List(t.Context())
	must(t, err)
	return slices.DeleteFunc(kept, func(p *snapshots.Snapshot) bool { return p.Tags[awsbase.TagApp] != string(req.App) })
}

// all are the groups at a site, with their tags.
func (s *scene) all(t testing.TB, site model.SiteID) []*cache {
	t.Helper()
	api := s.client(t, site)
	found, err := api.DescribeReplicationGroups(t.Context(), &sdk.DescribeReplicationGroupsInput{})
	must(t, err)
	var out []*cache
	for _, g := range found.ReplicationGroups {
		tags, err := api.ListTagsForResource(t.Context(), &sdk.ListTagsForResourceInput{ResourceName: g.ARN})
		if awsbase.Gone(err) {
			continue
		}
		must(t, err)
		out = append(out, &cache{g, awsbase.TagMap(tags.TagList, func(t types.Tag) (*string, *string) { return t.Key, t.Value })})
	}
	return out
}

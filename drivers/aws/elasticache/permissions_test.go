package elasticache

import (
	"strings"
	"testing"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// user is who works in the tests' worlds.
const user = "arn:aws:iam::" + account + ":user/admin"

func TestGlobalPolicyIsEnoughAndNeeded(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		req := s.datastore(t, model.ActionFence, "east")
		rig := preflighttest.Rig{World: s.w, User: user, Driver: s.d, Resource: req.Resource}
		rig.Life = func() {
			for _, m := range []struct{ from, to model.SiteID }{{"east", "west"}, {"west", "east"}} {
				s.done(t, at(req, model.ActionFence, m.from))
				s.done(t, at(req, model.ActionPromote, m.to))
				s.done(t, at(req, model.ActionReverse, m.from))
			}
		}
		rig.Run(t)
	})
}

func TestGroupPolicyIsEnoughAndNeeded(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		key := s.w.Key(account, regions["west"], "cache")
		req := s.group(t, func(set *GroupSettings, sites map[model.SiteID]*GroupSite) {
			set.AtRestEncryption = true
			sites["west"].Standby = &GroupStandby{NodeType: "cache.t4g.small"}
			sites["west"].KMSKey, sites["west"].ParameterGroup = key, "default.redis7"
		})
		rig := preflighttest.Rig{World: s.w, User: user, Driver: s.driver(), Resource: req.Resource}
		rig.Life = func() {
			look := func(action model.Action, site model.SiteID) driver.Request {
				step := s.step(req, action, site)
				if _, err := s.driver().Check(t.Context(), step); err != nil {
					t.Error(err)
				}
				s.done(t, step)
				return step
			}
			drill := look(model.ActionDrill, "west")
			release := s.step(req, model.ActionRelease, "west")
			release.Released = &driver.Released{Step: drill.Step, Token: drill.Token}
			s.done(t, release)
			keep := s.step(req, model.ActionCapture, "east")
			keep.Resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 1}}
			s.done(t, keep)
			time.Sleep(time.Hour)
			s.done(t, s.step(keep, model.ActionCapture, "east"))
			s.done(t, s.step(keep, model.ActionExpire, "east"))
			points, err := s.driver().Points(t.Context(), keep.Target)
			if err != nil || len(points) != 1 {
				t.Fatalf("points: %v %v", points, err)
			}
			keep.Prove, keep.Restore = &model.ProveSpec{Point: points[0].ID}, &model.RestoreSpec{Name: "beside"}
			s.done(t, s.step(keep, model.ActionProve, "east"))
			s.done(t, s.step(keep, model.ActionRestore, "east"))
			look(model.ActionReverse, "west")
			look(model.ActionPromote, "west")
			look(model.ActionReverse, "east")
			time.Sleep(time.Hour)
			look(model.ActionPromote, "east")
			look(model.ActionReverse, "west")
		}
		rig.Run(t)
	})
}

// What is left of the region's quota of nodes has to be enough for those that are not there yet.
func TestNodesNeedRoom(t *testing.T) {
	for name, c := range map[string]struct {
		action  model.Action
		standby bool
		quota   int
		lacks   bool
	}{
		"start":            {action: model.ActionPromote, quota: 2},
		"start, too few":   {action: model.ActionPromote, quota: 1, lacks: true},
		"grow":             {action: model.ActionPromote, quota: 2, standby: true},
		"grow, too few":    {action: model.ActionPromote, quota: 1, standby: true, lacks: true},
		"drill":            {action: model.ActionDrill, quota: 3, standby: true},
		"drill, too few":   {action: model.ActionDrill, quota: 2, standby: true, lacks: true},
		"nothing to start": {action: model.ActionReverse, quota: 1},
	} {
		t.Run(name, func(t *testing.T) {
			groupBubble(t, func(t *testing.T, s *groupScene) {
				req := s.group(t, func(_ *GroupSettings, sites map[model.SiteID]*GroupSite) {
					if c.standby {
						sites["west"].Standby = &GroupStandby{NodeType: "cache.t4g.small"}
					}
				})
				if c.standby {
					s.done(t, s.step(req, model.ActionReverse, "west"))
				}
				s.w.Quota(account, regions["west"], "CacheNodes", c.quota)
				step := s.step(req, c.action, "west")
				found, err := s.driver().Examine(t.Context(), driver.Examination{App: req.App, Site: "west", Work: []driver.Request{step}})
				must(t, err)
				lacks := false
				for _, f := range driver.Short(found.Draws) {
					lacks = lacks || f.Code == "quota" && f.Severity == model.Block && strings.Contains(f.Fix, "L-DFE45DF3")
				}
				if lacks != c.lacks {
					t.Errorf("the quota is said to be too small: %t, want %t; all findings: %v", lacks, c.lacks, found)
				}
				if c.action != model.ActionPromote {
					return
				}
				h, err := driver.Begin(t.Context(), s.driver(), step)
				seen := driver.Observation{State: driver.Pending}
				for err == nil && seen.State == driver.Pending {
					seen, err = s.driver().Observe(t.Context(), step, h)
					time.Sleep(lookAgain)
				}
				refused := err != nil || seen.State == driver.Failed
				if refused != c.lacks {
					t.Errorf("AWS refuses it: %t (%v), and the examination said %t", refused, err, c.lacks)
				}
			})
		})
	}
}

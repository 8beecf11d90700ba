package elasticache

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/model"
)

// groupScene is a world for replication groups, one after the other.
type groupScene struct{ *scene }

func newGroupScene(t testing.TB) *groupScene { return groupSceneOf(t, newScene(t)) }

func groupSceneOf(t testing.TB, in *scene) *groupScene {
	s := &groupScene{in}
	s.networks(t)
	return s
}

func groupBubble(t *testing.T, test func(t *testing.T, s *groupScene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, newGroupScene(t))
	})
}

// networks makes the drills' subnet groups.
func (s *groupScene) networks(t testing.TB) {
	t.Helper()
	for site, region := range regions {
		_, subnets, _ := s.w.Network(account, region)
		_, err := s.client(t, site).CreateCacheSubnetGroup(t.Context(), &sdk.CreateCacheSubnetGroupInput{CacheSubnetGroupName: aws.String("apart"), CacheSubnetGroupDescription: aws.String("x"), SubnetIds: subnets})
		must(t, err)
	}
}

// driver is another process's.
func (s *groupScene) driver() *Group { return NewGroup(s.base) }

// group makes a resource whose group serves in the east, and gives a request about it.
func (s *groupScene) group(t testing.TB, change func(*GroupSettings, map[model.SiteID]*GroupSite)) driver.Request {
	t.Helper()
	req := s.resource(t, change)
	_, err := s.client(t, "east").CreateReplicationGroup(t.Context(), &sdk.CreateReplicationGroupInput{ReplicationGroupId: aws.String(string(req.App)), ReplicationGroupDescription: aws.String("the user's"),
		CacheNodeType: aws.String("cache.r6g.large"), Engine: aws.String("redis"), ReplicasPerNodeGroup: aws.Int32(1), NumNodeGroups: aws.Int32(1), AutomaticFailoverEnabled: aws.Bool(true)})
	must(t, err)
	time.Sleep(time.Hour)
	return req
}

// resource makes a resource without any group.
func (s *groupScene) resource(t testing.TB, change func(*GroupSettings, map[model.SiteID]*GroupSite)) driver.Request {
	t.Helper()
	s.n++
	name := fmt.Sprintf("shop%d", s.n)
	set := &GroupSettings{Engine: "redis", EngineVersion: "7.1", NodeType: "cache.r6g.large", Replicas: 1, Warm: &Warm{Command: []string{"warm"}}}
	sites := map[model.SiteID]*GroupSite{}
	for site, region := range regions {
		_, _, groups := s.w.Network(account, region)
		sites[site] = &GroupSite{AWS: s.access(t, site), Group: name, SubnetGroup: "default", SecurityGroups: groups[:1], Drill: &GroupDrill{SubnetGroup: "apart", SecurityGroups: groups[1:2]}}
	}
	if change != nil {
		change(set, sites)
	}
	r := model.Resource{ID: "sessions", App: model.AppID(name), Kind: KindGroup, Settings: workbench.JSON(t, set), Sites: map[model.SiteID]json.RawMessage{}}
	for site, at := range sites {
		r.Sites[site] = workbench.JSON(t, at)
	}
	return driver.Request{Target: driver.Target{App: r.App, Resource: r}, Operation: model.OpFailover, Mode: model.Planned, Run: "r1", Attempt: 1}
}

// step is a request for an action at a site, with a token of its own.
func (s *groupScene) step(req driver.Request, action model.Action, site model.SiteID) driver.Request {
	s.n++
	req = at(req, action, site)
	req.Token = fmt.Sprintf("%s%d", strings.Repeat("t", 14), s.n)
	return req
}

// engine carries requests out, by another driver value at each look.
func (s *groupScene) engine() workbench.Engine {
	return workbench.Engine{Driver: func(driver.Request) driver.Driver { return s.driver() }, Pause: lookAgain}
}

func (s *groupScene) finish(t testing.TB, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	return s.engine().Await(t, req, h)
}

func (s *groupScene) done(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	return s.engine().Done(t, req)
}

// there lists the groups at a site.
func (s *groupScene) there(t testing.TB, site model.SiteID) []types.ReplicationGroup {
	t.Helper()
	out, err := s.client(t, site).DescribeReplicationGroups(t.Context(), &sdk.DescribeReplicationGroupsInput{})
	must(t, err)
	return out.ReplicationGroups
}

// find is the resource's group at a site; nil when there is none.
func (s *groupScene) find(t testing.TB, req driver.Request, site model.SiteID) *cache {
	t.Helper()
	p, err := s.driver().place(t.Context(), at(req, "", site).Target, site)
	must(t, err)
	c, err := p.cache(t.Context(), p.at.Group)
	must(t, err)
	return c
}

// codes are those of the findings about a request.
func (s *groupScene) codes(t testing.TB, req driver.Request) string {
	t.Helper()
	found, err := s.driver().Check(t.Context(), req)
	must(t, err)
	var out []string
	for _, f := range found {
		out = append(out, f.Code)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

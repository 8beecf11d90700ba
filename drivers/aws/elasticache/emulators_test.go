package elasticache

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// lab is the fake or an emulator, and a driver that reaches it.
type lab struct {
	t      *testing.T
	d      *Group
	access func(region string) awsbase.Access
	engine workbench.Engine
	looks  int // after so many, work is never over
	groups map[model.SiteID]string
	n      int
}

func newLab(t *testing.T, base *awsbase.Base, access func(region string) awsbase.Access, pause time.Duration, looks int) *lab {
	t.Helper()
	t.Cleanup(base.Wait)
	d := NewGroup(base)
	e := workbench.Engine{Driver: func(driver.Request) driver.Driver { return d }, Pause: pause}
	return &lab{t: t, d: d, access: access, engine: e, looks: looks, groups: map[model.SiteID]string{"east": "sg-1", "west": "sg-1"}}
}

// resource is a request about a group of a name.
func (l *lab) resource(name string, change func(*GroupSettings, *GroupSite)) driver.Request {
	set, sites := GroupSettings{Engine: "redis", EngineVersion: "7.1", NodeType: "cache.r6g.large", Replicas: 1}, map[model.SiteID]json.RawMessage{}
	for site, region := range regions {
		at := GroupSite{AWS: l.access(region), Group: name, Drill: &GroupDrill{SubnetGroup: "default", SecurityGroups: []string{l.groups[site]}}}
		if change != nil {
			change(&set, &at)
		}
		sites[site] = workbench.JSON(l.t, at)
	}
	r := model.Resource{ID: "cache", App: "shop", Kind: KindGroup, Settings: workbench.JSON(l.t, set), Sites: sites}
	return driver.Request{Target: driver.Target{App: "shop", Resource: r}, Operation: model.OpFailover, Mode: model.Planned, Run: "r1", Attempt: 1}
}

// do carries an action out, and says how it ended and which groups are at the site then.
func (l *lab) do(req driver.Request, action model.Action, site model.SiteID) string {
	l.n++
	req = at(req, action, site)
	req.Token = fmt.Sprintf("%s%d", strings.Repeat("l", 14), l.n)
	return l.run(req)
}

func (l *lab) run(req driver.Request) string {
	word := l.engine.Word(l.t.Context(), req, l.looks)
	if word == string(driver.Done) || word == string(driver.Failed) {
		word += " " + l.there(req)
	}
	return word
}

// there are the resource's groups at the site of a request, and what drills made of them.
func (l *lab) there(req driver.Request) string {
	p, err := l.d.place(l.t.Context(), req.Target, req.Site)
	if err != nil {
		return failure.KindOf(err).String()
	}
	found, err := p.api.DescribeReplicationGroups(l.t.Context(), &sdk.DescribeReplicationGroupsInput{})
	if err != nil {
		return failure.KindOf(err).String()
	}
	var all []string
	for _, g := range found.ReplicationGroups {
		c := &cache{ReplicationGroup: g}
		if name, _, _ := strings.Cut(c.name(), "-lb-"); strings.TrimPrefix(name, "drill-") == p.at.Group {
			all = append(all, name+": "+c.size())
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// points are the resource's in the east.
func (l *lab) points(req driver.Request) string {
	found, err := l.d.Points(l.t.Context(), at(req, "", "east").Target)
	if err != nil {
		return ", " + failure.KindOf(err).String()
	}
	text := ""
	for _, p := range found {
		_, of, _ := strings.Cut(p.Summary, " ")
		text += ", " + of
	}
	return text
}

func (l *lab) described(req driver.Request, site model.SiteID) string {
	desc, err := l.d.Describe(l.t.Context(), at(req, "", site).Target)
	if err != nil {
		return failure.KindOf(err).String()
	}
	_, host := desc.Outputs["endpoint"]
	return fmt.Sprintf("%s %t endpoint %t", desc.Role, desc.Healthy, host)
}

// TestEmulators moves a group on the fake, on moto and on ministack.
func TestEmulators(t *testing.T) {
	emulator.Compare(t, groupSteps(), func(t *testing.T, run func(*lab)) {
		synctest.Test(t, func(t *testing.T) {
			w := awstest.New(awstest.Options{})
			l := newLab(t, awsbase.New(awsbase.Options{HTTP: w.Client()}), func(region string) awsbase.Access { return workbench.Fake(t, w, account, region) }, lookAgain, 1000)
			for site, region := range regions {
				_, _, groups := w.Network(account, region)
				l.groups[site] = groups[0]
			}
			run(l)
		})
	}, func(t *testing.T, at emulator.Endpoint) *lab {
		return newLab(t, workbench.Base(t, at), func(region string) awsbase.Access { return workbench.Emulated(at, region) }, 20*time.Millisecond, 10)
	})
}

func groupSteps() []emulator.Step[*lab] {
	cold := func(l *lab) driver.Request { return l.resource("cold", nil) }
	small := func(l *lab) driver.Request {
		return l.resource("small", func(_ *GroupSettings, at *GroupSite) { at.Standby = &GroupStandby{NodeType: "cache.t4g.small"} })
	}
	shards := func(l *lab) driver.Request {
		return l.resource("shards", func(set *GroupSettings, _ *GroupSite) { set.Shards = 2 })
	}
	return []emulator.Step[*lab]{
		{ID: "group-absent", Do: func(l *lab) string { return l.described(cold(l), "west") }, Want: "absent true endpoint false"},
		{ID: "group-started", Do: func(l *lab) string { return l.do(cold(l), model.ActionPromote, "west") }, Want: "done cold: 1 shard of cache.r6g.large with 1 replica"},
		{ID: "group-serves", Do: func(l *lab) string { return l.described(cold(l), "west") }, Want: "primary true endpoint true"},
		{ID: "group-started-again", Do: func(l *lab) string { return l.do(cold(l), model.ActionPromote, "west") }, Want: "done cold: 1 shard of cache.r6g.large with 1 replica"},
		{ID: "group-drilled", Do: func(l *lab) string {
			req := at(cold(l), model.ActionDrill, "west")
			req.Token = "drilldrilldrilldrill"
			return l.run(req)
		}, Want: "done cold: 1 shard of cache.r6g.large with 1 replica, drill-cold: 1 shard of cache.r6g.large with 0 replicas"},
		{ID: "group-released", Do: func(l *lab) string {
			req := cold(l)
			req.Released = &driver.Released{Token: "drilldrilldrilldrill"}
			return l.do(req, model.ActionRelease, "west")
		}, Want: "done cold: 1 shard of cache.r6g.large with 1 replica", Moto: "never: group drill-cold-lb-drilldrilldrilld is being deleted", Why: "the fake and ministack: what is deleted is gone in the end"},
		{ID: "group-home", Do: func(l *lab) string {
			time.Sleep(2 * time.Second) // the tags count seconds
			return l.do(cold(l), model.ActionPromote, "east")
		}, Want: "done cold: 1 shard of cache.r6g.large with 1 replica"},
		{ID: "group-made-ready", Do: func(l *lab) string { return l.do(cold(l), model.ActionReverse, "west") }, Want: "done ", Moto: "never: group cold is being deleted", Why: "the fake and ministack: what is deleted is gone in the end"},
		{ID: "group-stands-by", Do: func(l *lab) string {
			_ = l.do(small(l), model.ActionPromote, "east")
			return l.do(small(l), model.ActionReverse, "west")
		}, Want: "done small: 1 shard of cache.t4g.small with 0 replicas"},
		{ID: "group-grown", Do: func(l *lab) string { return l.do(small(l), model.ActionPromote, "west") }, Want: "done small: 1 shard of cache.r6g.large with 1 replica", Moto: "indeterminate", Why: "the fake and ministack: moto does not know IncreaseReplicaCount, and fails by itself"},
		{ID: "group-shards", Do: func(l *lab) string {
			return l.do(shards(l), model.ActionPromote, "west")
		}, Want: "done shards: 2 shards of cache.r6g.large with 1 replica", Ministack: "invalid", Why: "the fake and moto: AWS documents from 1 to 500 shards; ministack refuses two"},
		{ID: "group-captured", Do: func(l *lab) string { return l.do(small(l), model.ActionCapture, "east") + l.points(small(l)) },
			Want: "done small: 1 shard of cache.r6g.large with 1 replica, of small, redis 7.1", Ministack: "-"},
		{ID: "group-captured-again", Do: func(l *lab) string {
			time.Sleep(2 * time.Second)
			return l.do(small(l), model.ActionCapture, "east") + l.points(small(l))
		}, Want: "done small: 1 shard of cache.r6g.large with 1 replica, of small, redis 7.1, of small, redis 7.1", Ministack: "-"},
		{ID: "group-expired", Do: func(l *lab) string {
			req := small(l)
			req.Resource.Points = &model.PointPolicy{Keep: &model.Retention{Last: 1}}
			return l.do(req, model.ActionExpire, "east") + l.points(req)
		}, Want: "done small: 1 shard of cache.r6g.large with 1 replica, of small, redis 7.1", Ministack: "-"},
		{ID: "group-restored", Do: func(l *lab) string {
			req := small(l)
			req.Restore = &model.RestoreSpec{Name: "drill-small"}
			return l.do(req, model.ActionRestore, "east")
		}, Want: "done drill-small: 1 shard of cache.r6g.large with 1 replica, small: 1 shard of cache.r6g.large with 1 replica", Ministack: "-"},
		{ID: "group-no-subnets", Do: func(l *lab) string {
			return l.do(l.resource("lost", func(_ *GroupSettings, at *GroupSite) { at.SubnetGroup = "nowhere" }), model.ActionPromote, "west")
		}, Want: "not_found", Moto: "done lost: 1 shard of cache.r6g.large with 1 replica", Ministack: "done lost: 1 shard of cache.r6g.large with 1 replica",
			Why: "the fake: the subnet group has to be there"},
	}
}

package elasticache

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestColdStartThereAndBack: a group is created where none is, and what served before is replaced before it serves again.
func TestColdStartThereAndBack(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.group(t, nil)
		home := *s.find(t, req, "east").made()
		seen := s.done(t, s.step(req, model.ActionPromote, "west"))
		if e := seen.Outputs["endpoint"].Text; !strings.HasPrefix(e, "master."+string(req.App)) || !strings.Contains(e, regions["west"]) || !strings.HasSuffix(e, ":6379") {
			t.Errorf("the endpoint is %s", e)
		}
		west := s.find(t, req, "west")
		if got := west.size(); got != "1 shard of cache.r6g.large with 1 replica" || west.AutomaticFailover != "enabled" {
			t.Errorf("made %s, automatic failover %s", got, west.AutomaticFailover)
		}
		s.done(t, s.step(req, model.ActionReverse, "east"))
		if c := s.find(t, req, "east"); c != nil {
			t.Errorf("the old group is still there: %s", c.status())
		}
		time.Sleep(time.Hour)
		s.done(t, s.step(req, model.ActionPromote, "east"))
		if made := *s.find(t, req, "east").made(); !made.After(home) {
			t.Errorf("the group at home was made at %s, before it stopped serving", made)
		}
		s.done(t, s.step(req, model.ActionReverse, "west"))
		if c := s.find(t, req, "west"); c != nil {
			t.Errorf("the group in the west is still there: %s", c.status())
		}
	})
}

// TestClocksDiffer: whether a group is stale is judged by one clock, however far AWS's is from it.
func TestClocksDiffer(t *testing.T) {
	for _, ahead := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := awstest.New(awstest.Options{Now: func() time.Time { return time.Now().Add(ahead) }})
			s := groupSceneOf(t, sceneOf(t, w))
			req := s.group(t, nil)
			s.done(t, s.step(req, model.ActionPromote, "west"))
			s.done(t, s.step(req, model.ActionReverse, "east"))
			s.done(t, s.step(req, model.ActionPromote, "east"))
			s.done(t, s.step(req, model.ActionReverse, "west"))
			if s.find(t, req, "east") == nil || s.find(t, req, "west") != nil {
				t.Errorf("AWS's clock is %s ahead: the group in the east is there: %v; in the west: %v", ahead, s.find(t, req, "east") != nil, s.find(t, req, "west") != nil)
			}
		})
	}
}

// TestStandsBy: a small group is brought to its size, keeps its endpoint, and is small and empty again after the way back.
func TestStandsBy(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.group(t, func(_ *GroupSettings, sites map[model.SiteID]*GroupSite) {
			sites["west"].Standby = &GroupStandby{NodeType: "cache.t4g.small"}
		})
		role := func() string {
			desc, err := s.driver().Describe(t.Context(), at(req, "", "west").Target)
			must(t, err)
			return string(desc.Role)
		}
		s.done(t, s.step(req, model.ActionReverse, "west"))
		small := s.find(t, req, "west")
		if got := small.size() + " " + role(); got != "1 shard of cache.t4g.small with 0 replicas standby" {
			t.Fatalf("%s stands by", got)
		}
		before := endpoints(small.ReplicationGroup)
		seen := s.done(t, s.step(req, model.ActionPromote, "west"))
		if got := s.find(t, req, "west").size() + " " + role(); got != "1 shard of cache.r6g.large with 1 replica primary" {
			t.Errorf("%s serves", got)
		}
		if seen.Outputs["endpoint"] != before["endpoint"] {
			t.Errorf("the endpoint was %s and is %s", before["endpoint"].Text, seen.Outputs["endpoint"].Text)
		}
		if c := s.find(t, req, "west"); c.AutomaticFailover != "enabled" {
			t.Errorf("automatic failover is %s", c.AutomaticFailover)
		}
		s.done(t, s.step(req, model.ActionReverse, "east"))
		s.done(t, s.step(req, model.ActionPromote, "east"))
		s.done(t, s.step(req, model.ActionReverse, "west"))
		if got := s.find(t, req, "west").size() + " " + role(); got != "1 shard of cache.t4g.small with 0 replicas standby" {
			t.Errorf("%s stands by after the way back", got)
		}
		n := s.w.Count("CreateReplicationGroup")
		s.done(t, s.step(req, model.ActionReverse, "west")) // again: it is ready
		if s.w.Count("CreateReplicationGroup") != n || s.w.Count("DeleteReplicationGroup") != 2 {
			t.Error("what was ready was made again")
		}
	})
}

// TestStaleIsReplaced: a group that was left behind by an unplanned failover never serves what it held then.
func TestStaleIsReplaced(t *testing.T) {
	for _, keep := range []string{"", staleKeep} {
		groupBubble(t, func(t *testing.T, s *groupScene) {
			req := s.group(t, func(set *GroupSettings, _ map[model.SiteID]*GroupSite) { set.Stale = keep })
			home := *s.find(t, req, "east").made()
			req.Mode = model.Unplanned
			s.done(t, s.step(req, model.ActionPromote, "west"))
			back := s.step(req, model.ActionPromote, "east") // without a reverse
			if got, want := s.codes(t, back), map[string]string{"": "cache-replaced"}[keep]; got != want {
				t.Errorf("findings %q, want %q", got, want)
			}
			s.done(t, back)
			if made := *s.find(t, req, "east").made(); made.After(home) != (keep == "") {
				t.Errorf("stale: %q: the group is of %s, the old one of %s", keep, made, home)
			}
		})
	}
}

// TestPeerIsLost: whichever way the other region is gone, the start is not held up by it, and what is not known is said.
func TestPeerIsLost(t *testing.T) {
	for _, how := range []awstest.How{awstest.Refuse, awstest.Hang, awstest.Error500} {
		groupBubble(t, func(t *testing.T, s *groupScene) {
			req := s.group(t, func(_ *GroupSettings, sites map[model.SiteID]*GroupSite) {
				sites["west"].Standby = &GroupStandby{NodeType: "cache.t4g.small", Replicas: 1}
			})
			s.done(t, s.step(req, model.ActionReverse, "west"))
			fault := s.w.Inject(awstest.Fault{Region: regions["east"], How: how})
			move := s.step(req, model.ActionPromote, "west")
			if got := s.codes(t, move); got != "cache-may-be-stale" {
				t.Errorf("findings %q", got)
			}
			began := time.Now()
			h, err := driver.Begin(t.Context(), s.driver(), move)
			must(t, err)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the begin took %s", took)
			}
			seen := s.finish(t, move, h)
			if took := time.Since(began); seen.State != driver.Done || took > 5*time.Minute {
				t.Errorf("%s after %s", seen.State, took)
			}
			if last := seen.Evidence[len(seen.Evidence)-1]; last.Name != "may be stale" {
				t.Errorf("nothing says what is not known: %v", seen.Evidence)
			}
			if fault.Times() == 0 {
				t.Error("the fault never fired")
			}
			desc, err := s.driver().Describe(t.Context(), at(req, "", "east").Target)
			if err != nil || desc.Role != model.RoleUnreachable {
				t.Errorf("the lost region is %s %v", desc.Role, err)
			}
		})
	}
}

// TestAnswersAreLost: what took effect without an answer is found, and made once.
func TestAnswersAreLost(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.group(t, nil)
		for _, action := range []model.Action{model.ActionPromote, model.ActionDrill} {
			move := s.step(req, action, "west")
			before := len(s.there(t, "west"))
			fault := s.w.Inject(awstest.Fault{Action: "CreateReplicationGroup", How: awstest.LoseAnswer, Times: 1})
			_, err := driver.Begin(t.Context(), s.driver(), move)
			if failure.KindOf(err) != failure.Indeterminate || fault.Times() != 1 {
				t.Fatalf("a lost answer: %v, %d times", err, fault.Times())
			}
			move.Resumed = true
			s.done(t, move)
			if n := len(s.there(t, "west")) - before; n != 1 {
				t.Errorf("%s made %d groups", action, n)
			}
		}
		s.w.Inject(awstest.Fault{Action: "DeleteReplicationGroup", How: awstest.LoseAnswer, Times: 1})
		reverse := s.step(req, model.ActionReverse, "east")
		_, err := driver.Begin(t.Context(), s.driver(), reverse)
		if failure.KindOf(err) != failure.Indeterminate {
			t.Fatal(err)
		}
		s.done(t, reverse)
		if s.find(t, req, "east") != nil {
			t.Error("the old group is still there")
		}
	})
}

// TestCreationFails: the step fails, and its next attempt starts anew.
func TestCreationFails(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.group(t, nil)
		script := s.w.Play(awstest.Script{Action: "CreateReplicationGroup", Region: regions["west"], End: awstest.Fail, Times: 1})
		first := s.step(req, model.ActionPromote, "west")
		h, err := driver.Begin(t.Context(), s.driver(), first)
		must(t, err)
		if seen := s.finish(t, first, h); seen.State != driver.Failed || seen.Err.Kind != failure.Unavailable || seen.Err.Hint == "" {
			t.Errorf("it ends as %s: %v", seen.State, seen.Err)
		}
		second := s.step(req, model.ActionPromote, "west")
		second.Attempt = 2
		s.done(t, second)
		if script.Times() != 1 || s.w.Count("DeleteReplicationGroup") != 1 {
			t.Errorf("%d failed, %d deleted", script.Times(), s.w.Count("DeleteReplicationGroup"))
		}
	})
}

// TestThrottled: a start goes on when AWS throttles it.
func TestThrottled(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.group(t, nil)
		fault := s.w.Inject(awstest.Fault{Service: "elasticache", Region: regions["west"], How: awstest.Throttle, Times: 2})
		s.done(t, s.step(req, model.ActionPromote, "west"))
		if fault.Times() != 2 {
			t.Errorf("throttled %d times", fault.Times())
		}
	})
}

// TestReverseSparesWhatServes: a group that may be in use is not deleted.
func TestReverseSparesWhatServes(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.group(t, nil)
		_, err := s.driver().Reverse(t.Context(), s.step(req, model.ActionReverse, "east"))
		fails(t, err, failure.Conflict, "no group serves at west")
		if got := s.codes(t, s.step(req, model.ActionReverse, "east")); got != "cache-in-use" {
			t.Errorf("findings %q", got)
		}
		s.done(t, s.step(req, model.ActionPromote, "west"))
		time.Sleep(time.Minute)
		s.done(t, s.step(req, model.ActionPromote, "east"))
		time.Sleep(time.Minute)
		_, err = s.driver().Reverse(t.Context(), s.step(req, model.ActionReverse, "east"))
		fails(t, err, failure.Conflict, "after the group at west")
		forced := s.step(req, model.ActionReverse, "east")
		s.done(t, s.step(req, model.ActionReverse, "west"))
		forced.Force = true // nothing is in the west, and a person says that the group here is not in use
		if s.done(t, forced); s.find(t, req, "east") != nil {
			t.Error("what a person forced was not done")
		}
	})
}

// TestDrillLeavesNothing: a drill's group is apart, and is gone after the release, whatever is known of it.
func TestDrillLeavesNothing(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.group(t, nil)
		drill := s.step(req, model.ActionDrill, "west")
		seen := s.done(t, drill)
		if len(s.there(t, "west")) != 1 || s.find(t, req, "west") != nil || seen.Outputs["endpoint"].Text == "" {
			t.Errorf("the drill made %d groups; outputs %v", len(s.there(t, "west")), seen.Outputs)
		}
		for _, c := range s.w.Calls() {
			if c.Action == "CreateReplicationGroup" && c.Region == regions["west"] && c.Params["CacheSubnetGroupName"] != "apart" {
				t.Errorf("it was made in subnet group %q", c.Params["CacheSubnetGroupName"])
			}
		}
		release := s.step(req, model.ActionRelease, "west")
		release.Released = &driver.Released{Step: drill.Step, Token: drill.Token}
		s.done(t, release)
		s.done(t, release)
		if n := len(s.there(t, "west")); n != 0 {
			t.Errorf("%d groups are left", n)
		}
		none := s.step(s.resource(t, func(_ *GroupSettings, sites map[model.SiteID]*GroupSite) { sites["west"].Drill = nil }), model.ActionDrill, "west")
		_, err := s.driver().Drill(t.Context(), none)
		fails(t, err, failure.Invalid, "in which network")
		if got := s.codes(t, none); got != "cache-no-drill-network" {
			t.Errorf("findings %q", got)
		}
	})
}

// TestPromoteFindings: what would stop the start is said before.
func TestPromoteFindings(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		for _, tt := range []struct {
			change func(*GroupSettings, map[model.SiteID]*GroupSite)
			site   model.SiteID
			want   string
		}{
			{nil, "west", ""},
			{func(set *GroupSettings, _ map[model.SiteID]*GroupSite) { set.Warm = nil }, "west", "cache-cold"},
			{func(_ *GroupSettings, sites map[model.SiteID]*GroupSite) { sites["west"].SubnetGroup = "nowhere" }, "west", "cache-missing-group"},
			{func(_ *GroupSettings, sites map[model.SiteID]*GroupSite) { sites["west"].ParameterGroup = "nothing" }, "west", "cache-missing-group"},
			{func(set *GroupSettings, _ map[model.SiteID]*GroupSite) { set.Engine, set.EngineVersion = "valkey", "" }, "east", "cache-other-engine"},
			{func(set *GroupSettings, _ map[model.SiteID]*GroupSite) { set.Shards = 3 }, "east", "cache-other-shards"},
		} {
			if got := s.codes(t, s.step(s.group(t, tt.change), model.ActionPromote, tt.site)); got != tt.want {
				t.Errorf("findings %q, want %q", got, tt.want)
			}
		}
		fault := s.w.Inject(awstest.Fault{Region: regions["west"], How: awstest.Refuse})
		if got := s.codes(t, s.step(s.resource(t, nil), model.ActionPromote, "west")); got != "cache-unreachable" || fault.Times() == 0 {
			t.Errorf("findings %q", got)
		}
	})
}

// TestAllThatASiteSays reaches AWS: cluster mode, encryption, the password.
func TestAllThatASiteSays(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		t.Setenv("CACHE_PASSWORD", "correct-horse-battery")
		key := s.w.Key(account, regions["west"], "cache")
		req := s.resource(t, func(set *GroupSettings, sites map[model.SiteID]*GroupSite) {
			set.Engine, set.EngineVersion, set.Shards, set.Replicas, set.MultiAZ, set.Port = "valkey", "8.0", 2, 2, true, 6380
			set.TransitEncryption, set.AtRestEncryption, set.AuthToken = true, true, "env:CACHE_PASSWORD"
			sites["west"].KMSKey = key
		})
		seen := s.done(t, s.step(req, model.ActionPromote, "west"))
		c := s.find(t, req, "west")
		if !aws.ToBool(c.AuthTokenEnabled) || !aws.ToBool(c.TransitEncryptionEnabled) || !aws.ToBool(c.AtRestEncryptionEnabled) || aws.ToString(c.KmsKeyId) != key ||
			!aws.ToBool(c.ClusterEnabled) || len(c.NodeGroups) != 2 || c.replicas() != 2 || c.MultiAZ != "enabled" || aws.ToString(c.Engine) != "valkey" {
			t.Errorf("made %+v", c.ReplicationGroup)
		}
		if e := seen.Outputs["endpoint"].Text; !strings.HasPrefix(e, "clustercfg.") || !strings.HasSuffix(e, ":6380") {
			t.Errorf("the endpoint is %s", e)
		}
		text, err := json.Marshal(seen)
		if must(t, err); strings.Contains(string(text), "correct-horse") {
			t.Errorf("the password is in %s", text)
		}
		users := s.resource(t, func(set *GroupSettings, _ map[model.SiteID]*GroupSite) {
			set.TransitEncryption, set.UserGroups = true, []string{"app"}
		})
		s.done(t, s.step(users, model.ActionPromote, "west"))
		if got := s.find(t, users, "west").UserGroupIds; !slices.Equal(got, []string{"app"}) {
			t.Errorf("user groups %q", got)
		}
	})
}

func TestWarmIsAStepOfThePlan(t *testing.T) {
	d := NewGroup(nil)
	text := `{"engine": "redis", "node_type": "cache.t4g.small", "warm": {"command": ["warm", "--all"], "env": {"DB": "${db.endpoint}"}, "via": ["ssh", "app-1"], "within": "3m"}}`
	hooks, err := d.HooksOf(model.Resource{ID: "sessions", Settings: json.RawMessage(text)})
	must(t, err)
	if len(hooks) != 2 || hooks[0].After != model.ActionPromote || hooks[1].After != model.ActionDrill || hooks[0].Step.Kind != "exec" || hooks[0].Step.Timeout.Std() != 3*time.Minute {
		t.Fatalf("%+v", hooks)
	}
	if refs := driver.Refs(hooks[0].Step.Settings); !slices.Equal(refs, []string{"db.endpoint", "sessions.endpoint", "sessions.reader"}) {
		t.Errorf("it refers to %q", refs)
	}
	if hooks, err := d.HooksOf(model.Resource{Settings: json.RawMessage(`{"engine": "redis", "node_type": "cache.t4g.small"}`)}); err != nil || len(hooks) != 0 {
		t.Errorf("without a warm-up: %v %v", hooks, err)
	}
}

func TestGroupSettings(t *testing.T) {
	for _, tt := range []struct{ text, says string }{
		{`{"engine": "redis", "node_type": "cache.t4g.small"}`, ""},
		{`{"engine": "memcached", "node_type": "cache.t4g.small"}`, "engine: "},
		{`{"engine": "redis"}`, "node_type: is missing"},
		{`{"engine": "redis", "node_type": "r6g.large"}`, "node_type: "},
		{`{"engine": "redis", "node_type": "cache.a", "replicas": 6}`, "replicas: "},
		{`{"engine": "redis", "node_type": "cache.a", "multi_az": true}`, "multi_az: "},
		{`{"engine": "redis", "node_type": "cache.a", "auth_token": "env:X"}`, "auth_token: "},
		{`{"engine": "redis", "node_type": "cache.a", "user_groups": ["x"]}`, "user_groups: "},
		{`{"engine": "redis", "node_type": "cache.a", "stale": "serve"}`, "stale: "},
		{`{"engine": "redis", "node_type": "cache.a", "warm": {}}`, "warm.command: "},
		{`{"engine": "redis", "node_type": "cache.a", "warm": {"command": ["x"], "env": {"CACHE_ENDPOINT": "x"}}}`, "warm.env: "},
		{`{"engine": "redis", "node_type": "cache.a", "warm": {"command": ["x"], "secret_env": {"A-B": "env:X"}}}`, "warm.secret_env: "},
	} {
		_, err := driver.Decode[GroupSettings](json.RawMessage(tt.text))
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.says)
		}
	}
	if err := (&GroupSite{Group: "x"}).Validate(); err == nil || !strings.HasPrefix(err.Error(), "aws: ") {
		t.Errorf("without an access: %v", err)
	}
	r := model.Resource{Settings: json.RawMessage(`{"engine": "redis", "node_type": "cache.a"}`), Sites: map[model.SiteID]json.RawMessage{
		"east": json.RawMessage(`{"aws": {"account": "111111111111", "region": "us-east-1"}, "group": "x", "kms_key": "k"}`)}}
	if err := NewGroup(nil).ValidateResource(r); err == nil || !strings.Contains(err.Error(), "sites.east.kms_key") {
		t.Errorf("a key without encryption: %v", err)
	}
}

// TestKilledAtEveryLook: whoever begins again with the same token goes on with the same, and nothing is made twice.
func TestKilledAtEveryLook(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.group(t, func(_ *GroupSettings, sites map[model.SiteID]*GroupSite) {
			sites["east"].Standby = &GroupStandby{NodeType: "cache.t4g.small"}
		})
		s.done(t, s.step(req, model.ActionPromote, "west"))
		for _, action := range []model.Action{model.ActionReverse, model.ActionPromote} {
			move := s.step(req, action, "east")
			over := false
			for range 500 {
				h, err := driver.Begin(t.Context(), s.driver(), move)
				must(t, err)
				seen, err := s.driver().Observe(t.Context(), move, h)
				must(t, err)
				if over = seen.State == driver.Done; over {
					break
				}
				time.Sleep(lookAgain)
			}
			if !over {
				t.Fatalf("%s never ends", action)
			}
		}
		if c, d := s.w.Count("CreateReplicationGroup"), s.w.Count("DeleteReplicationGroup"); c != 3 || d != 1 {
			t.Errorf("%d groups were created and %d deleted, want 3 and 1", c, d)
		}
	})
}

func TestForeignDrillGroupStays(t *testing.T) {
	groupBubble(t, func(t *testing.T, s *groupScene) {
		req := s.group(t, nil)
		drill := s.step(req, model.ActionDrill, "west")
		w, err := s.driver().work(t.Context(), drill)
		must(t, err)
		name := w.apart("drill", drill.Token)
		_, err = s.client(t, "west").CreateReplicationGroup(t.Context(), &sdk.CreateReplicationGroupInput{ReplicationGroupId: &name, ReplicationGroupDescription: aws.String("another's"),
			CacheNodeType: aws.String("cache.t4g.small"), Engine: aws.String("redis")})
		must(t, err)
		time.Sleep(time.Hour)
		var refused *failure.Error
		if _, err := s.driver().Drill(t.Context(), drill); !errors.As(err, &refused) || refused.Kind != failure.Exists {
			t.Errorf("a group that another made: %v", err)
		}
		release := s.step(req, model.ActionRelease, "west")
		release.Released = &driver.Released{Token: drill.Token}
		if s.done(t, release); len(s.there(t, "west")) != 1 {
			t.Error("the release deleted what another made")
		}
	})
}

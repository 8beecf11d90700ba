package preflight_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/rds"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/elasticache"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/preflight/preflighttest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/rds"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/secret"
)

var (
	sites   = []model.SiteID{"east", "west"}
	regions = map[model.SiteID]string{"east": "us-east-1", "west": "us-west-2"}
)

// enforced is a moto that enforces IAM policies.
type enforced struct {
	t   *testing.T
	url string
	n   int // of tokens
}

// newEnforced starts one, with an administrator, and a user called lifeboat who may do nothing.
func newEnforced(t *testing.T) *enforced {
	t.Helper()
	const free = 6 // the administrator's user, policy and key, and each time who asks
	e := &enforced{t: t, url: emulator.Start(t, emulator.Moto, emulator.MotoIAM(free))}
	t.Setenv("MOTO_ADMIN", "test")
	t.Setenv("MOTO_ADMIN_SECRET", "test")
	e.user("admin", "MOTO_ADMIN", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	e.user("lifeboat", "MOTO_LIFEBOAT", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"none:None","Resource":"*"}]}`)
	return e
}

// open makes a base of its own: what is known of keys and of who is silent begins anew.
func (e *enforced) open() *awsbase.Base {
	fast := map[string]awsbase.Rate{}
	for _, s := range awsbase.Services() {
		fast[s] = awsbase.Rate{Max: 1000, Burst: 1000}
	}
	base := awsbase.New(awsbase.Options{HTTP: &http.Client{Transport: said{}}, Every: time.Millisecond, Silence: time.Millisecond, Rates: fast})
	e.t.Cleanup(base.Wait)
	return base
}

// said tells what moto does not know, which it answers with a page of HTML, from what goes wrong.
type said struct{}

// RoundTrip asks.
func (said) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusInternalServerError && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		resp.Body.Close()
		resp.StatusCode, resp.ContentLength = http.StatusBadRequest, -1
		resp.Body = io.NopCloser(strings.NewReader("<ErrorResponse><Error><Code>UnknownOperation</Code><Message>moto does not know it</Message></Error></ErrorResponse>"))
	}
	return resp, err
}

func (e *enforced) access(site model.SiteID, key string) awsbase.Access {
	return awsbase.Access{Account: emulator.Account, Region: regions[site], AccessKey: secret.Ref("env:" + key), SecretKey: secret.Ref("env:" + key + "_SECRET"), Endpoint: e.url,
		Attempt: model.Duration(time.Minute), Deadline: model.Duration(4 * time.Minute)}
}

// admin is the administrator's session at a site.
func (e *enforced) admin(site model.SiteID) *awsbase.Session {
	e.t.Helper()
	s, err := e.open().Session(e.t.Context(), e.access(site, "MOTO_ADMIN"))
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

func (e *enforced) iam(action string, out any, params ...string) {
	e.t.Helper()
	form := url.Values{}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	if err := e.admin("east").Query(e.t.Context(), "iam", "2010-05-08", action, form, out); err != nil {
		e.t.Fatal(err)
	}
}

// user makes a user with a policy and puts its key into the environment.
func (e *enforced) user(name, env, policy string) {
	e.t.Helper()
	e.iam("CreateUser", nil, "UserName", name)
	e.allow(name, policy)
	var made struct {
		Key    string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	e.iam("CreateAccessKey", &made, "UserName", name)
	e.t.Setenv(env, made.Key)
	e.t.Setenv(env+"_SECRET", made.Secret)
}

func (e *enforced) allow(name, policy string) {
	e.t.Helper()
	e.iam("PutUserPolicy", nil, "UserName", name, "PolicyName", "policy", "PolicyDocument", policy)
}

// asMoto makes one policy of documents that moto can enforce: it knows no resources but *, and no conditions of calls.
func asMoto(t *testing.T, documents []string) string {
	t.Helper()
	all := api.PolicyDocument{Version: "2012-10-17"}
	for _, text := range documents {
		var one api.PolicyDocument
		if err := json.Unmarshal([]byte(text), &one); err != nil {
			t.Fatal(err)
		}
		for _, s := range one.Statement {
			s.Resource, s.Condition = []string{"*"}, nil
			all.Statement = append(all.Statement, s)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// resource is one at both sites, as the user lifeboat.
func (e *enforced) resource(kind model.Kind, settings map[string]any, at func(site model.SiteID) map[string]any) model.Resource {
	e.t.Helper()
	raw := func(v any) json.RawMessage {
		text, err := json.Marshal(v)
		if err != nil {
			e.t.Fatal(err)
		}
		return text
	}
	r := model.Resource{ID: "it", App: "shop", Kind: kind, Settings: raw(settings), Sites: map[model.SiteID]json.RawMessage{}, Points: &model.PointPolicy{Keep: &model.Retention{Last: 1}}}
	for _, site := range sites {
		set := at(site)
		set["aws"] = e.access(site, "MOTO_LIFEBOAT")
		r.Sites[site] = raw(set)
	}
	return r
}

// do carries an action out, and gives what it left; the work must end well.
func (e *enforced) do(d driver.Driver, req driver.Request) driver.Observation {
	e.t.Helper()
	e.n++
	req.Run, req.Step, req.Attempt, req.Operation, req.Token = "r1", model.StepID(req.Action), 1, model.OpFailover, strings.Repeat(string(rune('a'+e.n)), 26)
	var h driver.Handle
	begun, seen := false, driver.Observation{}
	for range 400 {
		var err error
		if !begun {
			h, err = driver.Begin(e.t.Context(), d, req)
			begun = err == nil
		} else {
			seen, err = d.Observe(e.t.Context(), req, h)
		}
		switch {
		case err != nil && !failure.KindOf(err).Retryable() && failure.KindOf(err) != failure.Indeterminate:
			e.t.Fatalf("%s at %s: %v", req.Action, req.Site, err)
		case seen.State == driver.Done:
			return seen
		case seen.State == driver.Failed:
			e.t.Fatalf("%s at %s: %v", req.Action, req.Site, seen.Err)
		}
	}
	e.t.Fatalf("%s at %s is never over: %s", req.Action, req.Site, seen.Phase)
	return seen
}

func at(r model.Resource, action model.Action, site, peer model.SiteID) driver.Request {
	return driver.Request{Target: driver.Target{App: r.App, Resource: r, Site: site, Peer: peer}, Action: action}
}

// TestMotoEnforcesThePolicy has operations pass under the policy that is printed, on moto with IAM enforced, and without any one call
// of it the examination names that call, which it finds out by calls as moto has no policy simulator. Not on moto: Aurora, whose
// clusters it restores in few ways; global datastores, which it has not; Route 53, whose GET requests' signatures it takes for wrong.
func TestMotoEnforcesThePolicy(t *testing.T) {
	e := newEnforced(t)
	e.instance()
	e.cache()
}

// hold tries a policy: life passes under it, and what is missing is named.
func (e *enforced) hold(open func(*awsbase.Base) driver.Driver, r model.Resource, life func(d driver.Driver)) {
	e.t.Helper()
	rig := preflighttest.Rig{Driver: open(e.open()), Resource: r}
	needs := rig.Needs(e.t)
	if found := rig.Examine(e.t); !slices.ContainsFunc(found, func(f model.Finding) bool { return f.Code == "aws-permission" && f.Severity == model.Block }) {
		e.t.Errorf("%s: without any permission nothing blocks: %v", r.Kind, found)
	}
	e.allow("lifeboat", asMoto(e.t, preflighttest.Documents(e.t, needs, "")))
	for _, f := range rig.Examine(e.t) {
		if f.Code == "aws-permission" {
			e.t.Errorf("%s: with the whole policy: %s; %s", r.Kind, f.What, f.Why)
		}
	}
	life(open(e.open()))
	var tried []string
	for _, p := range needs {
		if slices.Contains(tried, p.Call) || p.Within != "" || p.Call == "iam:SimulatePrincipalPolicy" {
			continue // moto asks for nothing in the course of a call, and has no simulator
		}
		tried = append(tried, p.Call)
		e.allow("lifeboat", asMoto(e.t, preflighttest.Documents(e.t, needs, p.Call)))
		found := rig.Examine(e.t)
		unknown := slices.ContainsFunc(found, func(f model.Finding) bool {
			return f.Code == "aws-permission-unknown" && strings.Contains(f.What, p.Call)
		})
		if len(preflighttest.Missing(found, p.Call)) == 0 && !unknown {
			e.t.Errorf("%s: without %s the examination does not name it: %v", r.Kind, p.Call, found)
		}
		if unknown && !slices.Contains([]string{"elasticache:CreateReplicationGroup"}, p.Call) {
			e.t.Errorf("%s: whether %s is allowed is not found out", r.Kind, p.Call)
		}
	}
}

// instance holds aws.rds.instance to its policy.
func (e *enforced) instance() {
	_, err := sdk.NewFromConfig(e.admin("east").Config("rds")).CreateDBInstance(e.t.Context(), &sdk.CreateDBInstanceInput{DBInstanceIdentifier: aws.String("orders"), DBInstanceClass: aws.String("db.t3.medium"),
		Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20), MasterUsername: aws.String("app"), MasterUserPassword: aws.String("hunter2hunter2"), VpcSecurityGroupIds: []string{"sg-1"}})
	if err != nil {
		e.t.Fatal(err)
	}
	r := e.resource(rds.Kind, map[string]any{}, func(model.SiteID) map[string]any {
		return map[string]any{"instance": "orders", "security_groups": []string{"sg-1"}, "fence": map[string]any{"security_groups": []string{"sg-2"}}}
	})
	e.hold(func(b *awsbase.Base) driver.Driver { return rds.New(b) }, r, func(d driver.Driver) {
		e.do(d, at(r, model.ActionCapture, "east", "west"))
		e.do(d, at(r, model.ActionCopy, "east", "west"))
		e.do(d, at(r, model.ActionCapture, "east", "west"))
		e.do(d, at(r, model.ActionExpire, "east", "west"))
		e.do(d, at(r, model.ActionPromote, "west", "east"))
		restore := at(r, model.ActionRestore, "east", "west")
		restore.Restore = &model.RestoreSpec{Name: "lookback", To: "immediate"}
		e.do(d, restore)
	})
}

// cache holds aws.elasticache.replicationgroup to its policy.
func (e *enforced) cache() {
	r := e.resource(elasticache.KindGroup, map[string]any{"engine": "redis", "node_type": "cache.r6g.large", "replicas": 1}, func(site model.SiteID) map[string]any {
		return map[string]any{"group": "sessions"}
	})
	e.hold(func(b *awsbase.Base) driver.Driver { return elasticache.NewGroup(b) }, r, func(d driver.Driver) {
		e.do(d, at(r, model.ActionPromote, "west", "east"))
	})
}

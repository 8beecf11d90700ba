package route53

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

const (
	account = "111111111111"
)

// tap stands between the driver and the fake: it counts what batches change, and lets a test act just before one.
type tap struct {
	next   aws.HTTPClient
	before func()

	mu      sync.Mutex
	changes int // batches in which something becomes different
	hosts   []string
}

func (c *tap) Do(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/rrset") {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		if before := c.before; before != nil {
			c.before = nil
			before()
		}
		resp, err := c.next.Do(req)
		if err != nil || resp.StatusCode == http.StatusOK { // a batch that was refused changes nothing; a lost answer says nothing
			c.mu.Lock()
			c.changes += different(body)
			c.mu.Unlock()
		}
		return resp, err
	}
	c.mu.Lock()
	c.hosts = append(c.hosts, req.URL.Host+" "+req.Header.Get("Authorization"))
	c.mu.Unlock()
	return c.next.Do(req)
}

// different is 1 when a batch creates something else than it deletes.
func different(body []byte) int {
	var in struct {
		Changes []struct {
			Action string
			Record struct {
				Text string `xml:",innerxml"`
			} `xml:"ResourceRecordSet"`
		} `xml:"ChangeBatch>Changes>Change"`
	}
	if xml.Unmarshal(body, &in) != nil {
		return 1
	}
	count := map[string]int{}
	for _, c := range in.Changes {
		count[c.Record.Text] += map[string]int{"DELETE": -1, "CREATE": 1}[c.Action]
	}
	for _, n := range count {
		if n != 0 {
			return 1
		}
	}
	return 0
}

// scene is a world with a zone, and a driver that reaches it.
type scene struct {
	w    *awstest.World
	tap  *tap
	d    *Driver
	zone string
	sdk  *sdk.Client
}

func newScene(t testing.TB, w *awstest.World, o awsbase.Options) *scene {
	s := &scene{w: w, tap: &tap{next: awsmodel.Watch(t, w.Client())}}
	o.HTTP = s.tap
	base := awsbase.New(o)
	s.d = New(base)
	s.zone = w.Zone(account, "example.com")
	session, err := base.Session(t.Context(), s.access(t, "us-west-2"))
	if err != nil {
		t.Fatal(err)
	}
	s.sdk = sdk.NewFromConfig(session.Config("route53"))
	return s
}

func (s *scene) access(t testing.TB, region string) awsbase.Access {
	return workbench.Fake(t, s.w, account, region)
}

type m = map[string]any

// request is one to move to a site; the sites' settings are those of east and west.
func (s *scene) request(t testing.TB, to model.SiteID, settings, east, west m) driver.Request {
	if settings["zone"] == nil {
		settings["zone"] = "example.com"
	}
	east["aws"], west["aws"] = s.access(t, "us-east-1"), s.access(t, "us-west-2")
	r := model.Resource{ID: "name", App: "shop", Kind: Kind, Settings: workbench.JSON(t, settings), Sites: map[model.SiteID]json.RawMessage{"east": workbench.JSON(t, east), "west": workbench.JSON(t, west)}}
	return driver.Request{Target: driver.Target{App: "shop", Resource: r, Site: to, Peer: map[model.SiteID]model.SiteID{"west": "east", "east": "west"}[to]},
		Action: model.ActionRedirect, Operation: model.OpFailover, Mode: model.Planned, Run: "r1", Step: "redirect-name", Attempt: 1, Token: "abcdefghijklmnopqrstuvwxyz"}
}

func plainly(t testing.TB, s *scene, to model.SiteID) driver.Request {
	return s.request(t, to, m{"names": []string{"shop.example.com", "www.example.com"}, "type": "A"}, m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}})
}

// put writes records as somebody else would.
func (s *scene) put(t testing.TB, records ...types.ResourceRecordSet) {
	t.Helper()
	batch := &types.ChangeBatch{}
	for i := range records {
		batch.Changes = append(batch.Changes, types.Change{Action: types.ChangeActionUpsert, ResourceRecordSet: &records[i]})
	}
	if _, err := s.sdk.ChangeResourceRecordSets(t.Context(), &sdk.ChangeResourceRecordSetsInput{HostedZoneId: &s.zone, ChangeBatch: batch}); err != nil {
		t.Fatal(err)
	}
	s.tap.changes = 0
}

func a(name, value string) types.ResourceRecordSet {
	return types.ResourceRecordSet{Name: &name, Type: types.RRTypeA, TTL: aws.Int64(300), ResourceRecords: []types.ResourceRecord{{Value: &value}}}
}

func named(r types.ResourceRecordSet, id string, weight int64, role types.ResourceRecordSetFailover) types.ResourceRecordSet {
	r.SetIdentifier, r.Failover = &id, role
	if role == "" {
		r.Weight = &weight
	}
	return r
}

// all is what the zone's name servers serve of names, in words.
func (s *scene) all(t testing.TB, names ...string) []string {
	t.Helper()
	var text []string
	for _, name := range names {
		for _, r := range s.w.Served(account, s.zone, name, "A") {
			line := fmt.Sprintf("%s %s", name, strings.Join(r.Values, " "))
			if r.AliasTarget != nil {
				line = fmt.Sprintf("%s alias %s", name, r.AliasTarget.DNSName)
			}
			if r.Weight != nil {
				line += fmt.Sprintf(" %s=%d", r.SetIdentifier, *r.Weight)
			}
			if r.Failover != "" {
				line += fmt.Sprintf(" %s=%s", r.SetIdentifier, r.Failover)
			}
			text = append(text, line)
		}
	}
	return text
}

// finish observes until the work is over.
func (s *scene) finish(ctx context.Context, t testing.TB, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	for range 100 {
		seen, err := s.d.Observe(ctx, req, h)
		if err != nil {
			t.Fatal(err)
		}
		if seen.State != driver.Pending {
			return seen
		}
		time.Sleep(seen.Again)
	}
	t.Fatal("it never ends")
	panic("unreachable")
}

func (s *scene) move(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	h, err := s.d.Redirect(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	seen := s.finish(t.Context(), t, req, h)
	if seen.State != driver.Done {
		t.Fatalf("%s: %v", seen.State, seen.Err)
	}
	return seen
}

// bubble runs a test whose time is its own.
func bubble(t *testing.T, test func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newScene(t, awstest.New(awstest.Options{}), awsbase.Options{})) })
}

func same2(t testing.TB, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func role(t testing.TB, s *scene, req driver.Request, site model.SiteID) string {
	t.Helper()
	target := req.Target
	target.Site = site
	got, err := s.d.Describe(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %v", got.Role, got.Healthy)
}

func TestNamesAreSwitchedTogether(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.put(t, a("shop.example.com", "192.0.2.1"), a("www.example.com", "192.0.2.1"), a("other.example.com", "192.0.2.1"))
		req := plainly(t, s, "west")
		same2(t, "east before", role(t, s, req, "east"), "primary true")
		same2(t, "west before", role(t, s, req, "west"), "standby true")
		time.Sleep(time.Minute)
		began := time.Now()
		seen := s.move(t, req)
		if took := time.Since(began); took < 30*time.Second {
			t.Errorf("done after %s, before Route 53's name servers had it", took)
		}
		same2(t, "served", s.all(t, "shop.example.com", "www.example.com", "other.example.com"),
			[]string{"shop.example.com 198.51.100.1", "www.example.com 198.51.100.1", "other.example.com 192.0.2.1"})
		same2(t, "batches", s.tap.changes, 1)
		same2(t, "east after", role(t, s, req, "east"), "standby true")
		same2(t, "west after", role(t, s, req, "west"), "primary true")
		text := fmt.Sprint(seen.Evidence)
		for _, want := range []string{"INSYNC", "5m0s, longer than the 1m0s", "before shop.example.com: A 192.0.2.1", "record www.example.com A 198.51.100.1", "may hold the old answer until"} {
			if !strings.Contains(strings.NewReplacer("{", "", "}", "").Replace(text), want) {
				t.Errorf("the evidence does not say %q: %s", want, text)
			}
		}
		s.move(t, plainly(t, s, "east"))
		same2(t, "served", s.all(t, "shop.example.com", "www.example.com"), []string{"shop.example.com 192.0.2.1", "www.example.com 192.0.2.1"})
	})
}

func TestWhatIsSoAlreadyIsDone(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.move(t, plainly(t, s, "west"))
		s.w.Forget()
		h, err := s.d.Redirect(t.Context(), plainly(t, s, "west"))
		if err != nil {
			t.Fatal(err)
		}
		if seen, err := s.d.Observe(t.Context(), plainly(t, s, "west"), h); err != nil || seen.State != driver.Done {
			t.Errorf("%v %v", seen, err)
		}
		same2(t, "changes", s.w.Count("ChangeResourceRecordSets"), 0)
	})
}

func TestALostAnswerIsFoundByLooking(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.put(t, a("shop.example.com", "192.0.2.1"), a("www.example.com", "192.0.2.1"))
		time.Sleep(time.Minute)
		fault := s.w.Inject(awstest.Fault{Action: "ChangeResourceRecordSets", How: awstest.LoseAnswer, Times: 1})
		s.move(t, plainly(t, s, "west"))
		same2(t, "answers lost", fault.Times(), 1)
		same2(t, "served", s.all(t, "shop.example.com", "www.example.com"), []string{"shop.example.com 198.51.100.1", "www.example.com 198.51.100.1"})
		same2(t, "batches that change", s.tap.changes, 1)
	})
}

// TestKilledBetweenBeginAndHandle: the next process finds the work of the one that died, and waits for it to be in sync.
func TestKilledBetweenBeginAndHandle(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.put(t, a("shop.example.com", "192.0.2.1"), a("www.example.com", "192.0.2.1"))
		time.Sleep(time.Minute)
		req := plainly(t, s, "west")
		if _, err := s.d.Redirect(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		req.Resumed = true
		began := time.Now()
		s.move(t, req)
		if took := time.Since(began); took < 29*time.Second {
			t.Errorf("done after %s, before the first one's change was in sync", took)
		}
		same2(t, "served", s.all(t, "shop.example.com"), []string{"shop.example.com 198.51.100.1"})
		same2(t, "batches that change", s.tap.changes, 1)
	})
}

func TestSomebodyElsesChangeIsNoticed(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.put(t, a("shop.example.com", "192.0.2.1"), a("www.example.com", "192.0.2.1"))
		s.tap.before = func() { s.put(t, a("www.example.com", "203.0.113.9")) }
		_, err := s.d.Redirect(t.Context(), plainly(t, s, "west"))
		if err == nil || failure.KindOf(err) != failure.Conflict {
			t.Fatalf("%v, want a conflict", err)
		}
		time.Sleep(time.Minute)
		same2(t, "served", s.all(t, "shop.example.com", "www.example.com"), []string{"shop.example.com 192.0.2.1", "www.example.com 203.0.113.9"})

		h, err := s.d.Redirect(t.Context(), plainly(t, s, "west"))
		if err != nil {
			t.Fatal(err)
		}
		s.put(t, a("shop.example.com", "203.0.113.9"))
		if seen := s.finish(t.Context(), t, plainly(t, s, "west"), h); seen.State != driver.Failed || seen.Err.Kind != failure.Conflict {
			t.Errorf("a record that was changed after us ends as %s: %v", seen.State, seen.Err)
		}
	})
}

func TestWeightsMove(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		settings := m{"names": []string{"shop.example.com"}, "type": "A", "policy": "weighted"}
		east, west := m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}, "identifier": "w", "weight": 50}
		s.put(t, named(a("shop.example.com", "192.0.2.1"), "east", 100, ""), named(a("shop.example.com", "203.0.113.1"), "foreign", 7, ""))
		req := s.request(t, "west", settings, east, west)
		same2(t, "east before", role(t, s, req, "east"), "primary false") // the foreign one draws clients too
		found, err := s.d.Check(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		same2(t, "findings", codes(found), []string{"warn route53-ttl", "note route53-absent", "warn route53-other-weights"})
		s.move(t, req)
		same2(t, "served", s.all(t, "shop.example.com"), []string{"shop.example.com 203.0.113.1 foreign=7", "shop.example.com 192.0.2.1 east=0", "shop.example.com 198.51.100.1 w=50"})
		s.move(t, s.request(t, "east", settings, east, west))
		same2(t, "served", s.all(t, "shop.example.com"), []string{"shop.example.com 203.0.113.1 foreign=7", "shop.example.com 198.51.100.1 w=0", "shop.example.com 192.0.2.1 east=100"})
	})
}

func TestFailoverRecordsSwapRoles(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		settings := m{"names": []string{"shop.example.com"}, "type": "A", "policy": "failover"}
		east, west := m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}}
		mine := named(a("shop.example.com", "198.51.100.1"), "west", 0, types.ResourceRecordSetFailoverSecondary)
		mine.HealthCheckId = aws.String("11111111-2222-3333-4444-555555555555")
		s.put(t, named(a("shop.example.com", "192.0.2.1"), "east", 0, types.ResourceRecordSetFailoverPrimary), mine)
		req := s.request(t, "west", settings, east, west)
		found, err := s.d.Check(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		same2(t, "findings", codes(found), []string{"warn route53-ttl", "warn route53-ttl", "warn route53-health-check"})
		s.move(t, req)
		same2(t, "served", s.all(t, "shop.example.com"), []string{"shop.example.com 192.0.2.1 east=SECONDARY", "shop.example.com 198.51.100.1 west=PRIMARY"})
		same2(t, "the health check", s.w.Served(account, s.zone, "shop.example.com", "A")[1].HealthCheckId, *mine.HealthCheckId)
		same2(t, "roles", []string{role(t, s, req, "east"), role(t, s, req, "west")}, []string{"standby true", "primary true"})
		s.move(t, s.request(t, "east", settings, east, west))
		same2(t, "roles", []string{role(t, s, req, "east"), role(t, s, req, "west")}, []string{"primary true", "standby true"})
	})
}

func TestAliasesAndSingleNames(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		settings := m{"names": []string{"example.com", "*.example.com"}, "type": "A"}
		east := m{"alias": m{"name": "dualstack.east-1.elb.amazonaws.com", "zone": "Z35SXDOTRQ7X7K"}}
		west := m{"alias": m{"name": "dualstack.west-1.elb.amazonaws.com", "zone": "Z1H1FL5HABSF5"}, "each": m{"*.example.com": m{"values": []string{"198.51.100.7"}}}}
		s.move(t, s.request(t, "east", settings, east, west))
		same2(t, "served", s.all(t, "example.com", "*.example.com"),
			[]string{"example.com alias dualstack.east-1.elb.amazonaws.com.", "*.example.com alias dualstack.east-1.elb.amazonaws.com."})
		req := s.request(t, "west", settings, east, west)
		seen := s.move(t, req)
		same2(t, "served", s.all(t, "example.com", "*.example.com"), []string{"example.com alias dualstack.west-1.elb.amazonaws.com.", "*.example.com 198.51.100.7"})
		if text := fmt.Sprint(seen.Evidence); !strings.Contains(text, "ttl before 1m0s") {
			t.Errorf("the TTL of an alias is its target's: %s", text)
		}
		same2(t, "west", role(t, s, req, "west"), "primary true")
	})
}

func codes(found []model.Finding) []string {
	var all []string
	for _, f := range found {
		all = append(all, string(f.Severity)+" "+f.Code)
	}
	return all
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name     string
		put      []types.ResourceRecordSet
		settings m
		mode     model.Mode
		want     []string
	}{
		{name: "good", put: []types.ResourceRecordSet{short(a("shop.example.com", "192.0.2.1"))}},
		{name: "already", put: []types.ResourceRecordSet{short(a("shop.example.com", "198.51.100.1"))}, want: []string{"note route53-already"}},
		{name: "absent", want: []string{"note route53-absent"}},
		{name: "a long ttl", put: []types.ResourceRecordSet{a("shop.example.com", "192.0.2.1")}, want: []string{"warn route53-ttl"}},
		{name: "a long ttl that is allowed", put: []types.ResourceRecordSet{a("shop.example.com", "192.0.2.1")}, settings: m{"stale": "10m"}},
		{name: "a long ttl is asked for", put: []types.ResourceRecordSet{short(a("shop.example.com", "192.0.2.1"))}, settings: m{"ttl": "1h"}, want: []string{"warn route53-ttl-setting"}},
		{name: "foreign", put: []types.ResourceRecordSet{short(a("shop.example.com", "203.0.113.9"))}, want: []string{"block route53-foreign"}},
		{name: "foreign, unplanned", put: []types.ResourceRecordSet{short(a("shop.example.com", "203.0.113.9"))}, mode: model.Unplanned, want: []string{"warn route53-foreign"}},
		{name: "another policy", put: []types.ResourceRecordSet{named(a("shop.example.com", "192.0.2.1"), "x", 1, "")}, want: []string{"block route53-in-the-way"}},
		{name: "another type", put: []types.ResourceRecordSet{{Name: aws.String("shop.example.com"), Type: types.RRTypeCname, TTL: aws.Int64(30), ResourceRecords: []types.ResourceRecord{{Value: aws.String("x.example.com")}}}},
			want: []string{"block route53-in-the-way"}},
		{name: "no zone", settings: m{"zone": "example.org", "names": []string{"shop.example.org"}}, want: []string{"block route53-zone"}},
		{name: "no zone by id", settings: m{"zone": "ZNOTHING"}, want: []string{"block route53-zone"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *scene) {
				if tt.put != nil {
					s.put(t, tt.put...)
				}
				settings := m{"names": []string{"shop.example.com"}, "type": "A"}
				for k, v := range tt.settings {
					settings[k] = v
				}
				req := s.request(t, "west", settings, m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}})
				if tt.mode != "" {
					req.Mode = tt.mode
				}
				found, err := s.d.Check(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				same2(t, "findings", codes(found), tt.want)
				for _, f := range found {
					if f.Severity == model.Block && f.Fix == "" {
						t.Errorf("%s does not say what to do", f.Code)
					}
				}
				if len(tt.want) > 0 && strings.Contains(tt.want[0], "in-the-way") {
					if _, err := s.d.Redirect(t.Context(), req); err == nil || failure.KindOf(err) != failure.Invalid {
						t.Errorf("redirect: %v, want invalid", err)
					}
				}
			})
		})
	}
}

func short(r types.ResourceRecordSet) types.ResourceRecordSet {
	r.TTL = aws.Int64(30)
	return r
}

func TestTwoZonesOfOneName(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.w.Zone(account, "example.com")
		_, err := s.d.Redirect(t.Context(), plainly(t, s, "west"))
		if err == nil || failure.KindOf(err) != failure.Invalid || !strings.Contains(err.Error(), s.zone) {
			t.Fatalf("%v, want one that names the zones", err)
		}
		req := s.request(t, "west", m{"zone": s.zone, "names": []string{"shop.example.com"}, "type": "A"}, m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}})
		s.move(t, req)
	})
}

func TestTheControlPlaneIsDown(t *testing.T) {
	for _, how := range []awstest.How{awstest.Refuse, awstest.Hang, awstest.Error500} {
		bubble(t, func(t *testing.T, s *scene) {
			s.put(t, a("shop.example.com", "192.0.2.1"), a("www.example.com", "192.0.2.1"))
			fault := s.w.Inject(awstest.Fault{Service: "route53", How: how})
			req := plainly(t, s, "west")
			began := time.Now()
			same2(t, "role", role(t, s, req, "west"), "unreachable false")
			if took := time.Since(began); took > awsbase.DefaultDeadline+time.Second {
				t.Errorf("describing took %s", took)
			}
			if _, err := s.d.Redirect(t.Context(), req); err == nil || !failure.KindOf(err).Retryable() {
				t.Errorf("redirect: %v, want one that is tried again", err)
			}
			if fault.Times() == 0 {
				t.Error("the fault never fired")
			}
			fault.Remove()
			time.Sleep(time.Minute)
			s.move(t, req)
		})
	}
}

func TestThrottlingIsWaitedOut(t *testing.T) {
	bubble(t, func(t *testing.T, s *scene) {
		s.put(t, a("shop.example.com", "192.0.2.1"), a("www.example.com", "192.0.2.1"))
		fault := s.w.Inject(awstest.Fault{Service: "route53", How: awstest.Throttle, Times: 3})
		s.move(t, plainly(t, s, "west"))
		same2(t, "throttled", fault.Times(), 3)
	})
}

// TestControlPlanes: each partition's control plane is in one region, which signs the calls, whatever region the site is in.
func TestControlPlanes(t *testing.T) {
	for region, want := range map[string][2]string{
		"eu-west-1": {"route53.amazonaws.com", "us-east-1"}, "cn-north-1": {"route53.amazonaws.com.cn", "cn-northwest-1"}, "us-gov-east-1": {"route53.us-gov.amazonaws.com", "us-gov-west-1"},
	} {
		bubble(t, func(t *testing.T, s *scene) {
			req := plainly(t, s, "west")
			_, at, err := driver.SettingsOf[Settings, Site](req.Target, "west")
			if err != nil {
				t.Fatal(err)
			}
			at.AWS.Region = region
			if req.Resource.Sites["west"], err = json.Marshal(at); err != nil {
				t.Fatal(err)
			}
			_, _ = s.d.Describe(t.Context(), req.Target)
			last := s.tap.hosts[len(s.tap.hosts)-1]
			if host, scope, _ := strings.Cut(last, " "); host != want[0] || !strings.Contains(scope, "/"+want[1]+"/route53/") {
				t.Errorf("from %s it goes to %s, want %s signed for %s", region, last, want[0], want[1])
			}
		})
	}
}

func TestSettings(t *testing.T) {
	s := newScene(t, awstest.New(awstest.Options{}), awsbase.Options{})
	one, two := m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}}
	good := m{"zone": "example.com", "names": []string{"shop.example.com"}, "type": "A"}
	for _, tt := range []struct {
		name       string
		change     m
		east, west m
		says       string
	}{
		{name: "good", east: one, west: two},
		{name: "no zone", change: m{"zone": ""}, east: one, west: two, says: "zone: is missing"},
		{name: "no names", change: m{"names": []string{}}, east: one, west: two, says: "names: name at least one"},
		{name: "another zone's name", change: m{"names": []string{"shop.example.org"}}, east: one, west: two, says: "names[0]: shop.example.org is not in the zone"},
		{name: "a name twice", change: m{"names": []string{"shop.example.com", "SHOP.example.com."}}, east: one, west: two, says: "names[1]: SHOP.example.com. is there twice"},
		{name: "a name of no form", change: m{"names": []string{"a b.example.com"}}, east: one, west: two, says: "not a domain name"},
		{name: "a type", change: m{"type": "TXT"}, east: one, west: two, says: "type: \"TXT\" is not one of"},
		{name: "a policy", change: m{"policy": "latency"}, east: one, west: two, says: "policy: \"latency\""},
		{name: "half a second", change: m{"ttl": "500ms"}, east: one, west: two, says: "ttl: 500ms is not a whole number"},
		{name: "no values", east: m{}, west: two, says: "values: name at least one"},
		{name: "values and an alias", east: m{"values": []string{"192.0.2.1"}, "alias": m{"name": "x.example.com", "zone": "Z1"}}, west: two, says: "not both"},
		{name: "a weight", east: m{"values": []string{"192.0.2.1"}, "weight": 0}, west: two, says: "weight: 0 is not from 1 to 255"},
		{name: "IPv6 in A", east: m{"values": []string{"2001:db8::1"}}, west: two, says: "sites.east.values[0]: \"2001:db8::1\" is not an IPv4 address"},
		{name: "one identifier", east: m{"values": []string{"192.0.2.1"}, "identifier": "west"}, west: two, says: "is that of site east too"},
		{name: "a single name of no name", east: m{"values": []string{"192.0.2.1"}, "each": m{"x.example.com": m{"values": []string{"192.0.2.2"}}}}, west: two, says: "sites.east.each.x.example.com: is not among"},
	} {
		settings := m{}
		for _, from := range []m{good, tt.change} {
			for k, v := range from {
				settings[k] = v
			}
		}
		req := s.request(t, "west", settings, tt.east, tt.west)
		err := s.d.ValidateResource(req.Resource)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	bad := Site{Target: Target{Values: []string{"192.0.2.1"}}}
	if err := bad.Validate(); err == nil || !strings.HasPrefix(err.Error(), "aws: ") {
		t.Errorf("without an access: %v", err)
	}
}

func TestConformance(t *testing.T) {
	drivertest.RunTimed(t, conformance)
	if !reflect.DeepEqual(New(awsbase.New(awsbase.Options{})).Facts(), New(nil).Facts()) {
		t.Error("facts depend on the base")
	}
}

// conformance is how the driver is tried, in a world of its own.
func conformance(t *testing.T) drivertest.Config {
	s := newScene(t, awstest.New(awstest.Options{}), awsbase.Options{})
	n := 0
	redirect := func(t testing.TB) driver.Request {
		n++
		name := fmt.Sprintf("n%d.example.com", n)
		s.put(t, a(name, "192.0.2.1"))
		return s.request(t, "west", m{"names": []string{name}, "type": "A"}, m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}})
	}
	return drivertest.Config{
		New:     func() driver.Driver { return s.d },
		Must:    []model.Action{model.ActionRedirect},
		Actions: map[model.Action]drivertest.Action{model.ActionRedirect: {Request: redirect}},
		Targets: func(t testing.TB) []driver.Target { return []driver.Target{redirect(t).Target} },
		Effects: func(testing.TB, driver.Request) int { return s.tap.changes },
		State: func(t testing.TB) string {
			var all []string
			for i := range n {
				all = append(all, s.all(t, fmt.Sprintf("n%d.example.com", i+1))...)
			}
			return strings.Join(all, "\n")
		},
		Break: func(testing.TB, model.SiteID) func() {
			return s.w.Inject(awstest.Fault{Service: "route53", How: awstest.Refuse}).Remove
		},
		Secret: s.w.Account(account).SecretKey,
	}
}

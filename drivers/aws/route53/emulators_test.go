package route53

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/emulator"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/workbench"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// lab is a zone on the fake or on an emulator, and a driver that reaches it.
type lab struct {
	t      *testing.T
	d      *Driver
	access awsbase.Access
	sdk    *sdk.Client
	zone   string
	engine workbench.Engine
}

func newLab(t *testing.T, base *awsbase.Base, a awsbase.Access, pause time.Duration) *lab {
	t.Helper()
	session, err := base.Session(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	d := New(base)
	e := workbench.Engine{Driver: func(driver.Request) driver.Driver { return d }, Pause: pause}
	l := &lab{t: t, d: d, access: a, sdk: sdk.NewFromConfig(session.Config("route53")), engine: e}
	made, err := l.sdk.CreateHostedZone(l.t.Context(), &sdk.CreateHostedZoneInput{Name: aws.String("example.com"), CallerReference: aws.String("lab")})
	if err != nil {
		t.Fatal(err)
	}
	l.zone = *made.HostedZone.Id
	return l
}

// request is one to move to a site.
func (l *lab) request(to model.SiteID, settings, east, west m) driver.Request {
	settings["zone"] = "example.com"
	east["aws"], west["aws"] = l.access, l.access
	r := model.Resource{ID: "name", App: "shop", Kind: Kind, Settings: workbench.JSON(l.t, settings), Sites: map[model.SiteID]json.RawMessage{"east": workbench.JSON(l.t, east), "west": workbench.JSON(l.t, west)}}
	return driver.Request{Target: driver.Target{App: "shop", Resource: r, Site: to, Peer: map[model.SiteID]model.SiteID{"west": "east", "east": "west"}[to]},
		Action: model.ActionRedirect, Operation: model.OpFailover, Mode: model.Planned, Run: "r1", Step: "redirect-name", Attempt: 1, Token: "abcdefghijklmnopqrstuvwxyz"}
}

// word is an error in a word.
func word(err error) string { return failure.KindOf(err).String() }

// move redirects to a site, and says how that ended and what stands there then.
func (l *lab) move(req driver.Request) string {
	word := l.engine.Word(l.t.Context(), req, 1000)
	if word == string(driver.Done) || word == string(driver.Failed) {
		word += " " + l.records()
	}
	return word
}

// records are those of the zone, but for the ones that every zone has.
func (l *lab) records() string {
	found, err := l.sdk.ListResourceRecordSets(l.t.Context(), &sdk.ListResourceRecordSetsInput{HostedZoneId: &l.zone})
	if err != nil {
		return word(err)
	}
	var all []string
	for _, r := range found.ResourceRecordSets {
		if r.Type == types.RRTypeSoa || r.Type == types.RRTypeNs {
			continue
		}
		text := strings.TrimSuffix(*r.Name, ".example.com.")
		for _, v := range r.ResourceRecords {
			text += " " + *v.Value
		}
		if r.AliasTarget != nil {
			text += " alias " + *r.AliasTarget.DNSName
		}
		if r.Weight != nil {
			text += fmt.Sprintf(" %s=%d", *r.SetIdentifier, *r.Weight)
		}
		if r.Failover != "" {
			text += fmt.Sprintf(" %s=%s", *r.SetIdentifier, r.Failover)
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// roles are those of both sites.
func (l *lab) roles(req driver.Request) string {
	return l.described(req, func(d model.Description) string { return string(d.Role) })
}

func (l *lab) described(req driver.Request, say func(model.Description) string) string {
	var all []string
	for _, site := range []model.SiteID{"east", "west"} {
		t := req.Target
		t.Site = site
		desc, err := l.d.Describe(l.t.Context(), t)
		if err != nil {
			return word(err)
		}
		all = append(all, say(desc))
	}
	return strings.Join(all, " ")
}

// clear removes all records but those that every zone has.
func (l *lab) clear() error {
	found, err := l.sdk.ListResourceRecordSets(l.t.Context(), &sdk.ListResourceRecordSetsInput{HostedZoneId: &l.zone})
	if err != nil {
		return err
	}
	batch := &types.ChangeBatch{}
	for i, r := range found.ResourceRecordSets {
		if r.Type != types.RRTypeSoa && r.Type != types.RRTypeNs {
			batch.Changes = append(batch.Changes, types.Change{Action: types.ChangeActionDelete, ResourceRecordSet: &found.ResourceRecordSets[i]})
		}
	}
	if len(batch.Changes) == 0 {
		return nil
	}
	_, err = l.sdk.ChangeResourceRecordSets(l.t.Context(), &sdk.ChangeResourceRecordSetsInput{HostedZoneId: &l.zone, ChangeBatch: batch})
	return err
}

// TestEmulators moves names on the fake, on moto and on ministack.
func TestEmulators(t *testing.T) {
	plain := func(l *lab, to model.SiteID) driver.Request {
		return l.request(to, m{"names": []string{"shop.example.com", "www.example.com"}, "type": "A"}, m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1", "198.51.100.2"}})
	}
	policy := func(l *lab, to model.SiteID, name, policy string) driver.Request {
		return l.request(to, m{"names": []string{name}, "type": "A", "policy": policy}, m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}})
	}
	// fresh is a step in a zone without records.
	fresh := func(do func(l *lab) string) func(l *lab) string {
		return func(l *lab) string {
			if err := l.clear(); err != nil {
				return word(err)
			}
			return do(l)
		}
	}
	steps := []emulator.Step[*lab]{
		{ID: "route53-absent", Do: func(l *lab) string { return l.roles(plain(l, "east")) }, Want: "absent absent"},
		{ID: "route53-made", Do: func(l *lab) string { return l.move(plain(l, "east")) }, Want: "done shop 192.0.2.1, www 192.0.2.1"},
		{ID: "route53-home", Do: func(l *lab) string { return l.roles(plain(l, "east")) }, Want: "primary standby"},
		{ID: "route53-said", Do: func(l *lab) string {
			one := l.request("east", m{"names": []string{"shop.example.com"}, "type": "A"}, m{"values": []string{"192.0.2.1"}}, m{"values": []string{"198.51.100.1"}})
			say := func(d model.Description) string { return d.Summary + "." }
			return l.described(plain(l, "east"), say) + " " + l.described(one, say)
		}, Want: "the A records of shop.example.com and 1 more name point here, ttl 30s. the A records of shop.example.com and 1 more name point elsewhere. " +
			"the A record of shop.example.com points here, ttl 30s. the A record of shop.example.com points elsewhere."},
		{ID: "route53-moved", Do: func(l *lab) string { return l.move(plain(l, "west")) }, Want: "done shop 198.51.100.1 198.51.100.2, www 198.51.100.1 198.51.100.2"},
		{ID: "route53-away", Do: func(l *lab) string { return l.roles(plain(l, "west")) }, Want: "standby primary"},
		{ID: "route53-again", Do: func(l *lab) string { return l.move(plain(l, "west")) }, Want: "done shop 198.51.100.1 198.51.100.2, www 198.51.100.1 198.51.100.2"},
		{ID: "route53-weights-made", Do: fresh(func(l *lab) string { return l.move(policy(l, "east", "w.example.com", "weighted")) }), Want: "done w 192.0.2.1 east=100"},
		{ID: "route53-weights-moved", Do: func(l *lab) string { return l.move(policy(l, "west", "w.example.com", "weighted")) }, Want: "done w 192.0.2.1 east=0, w 198.51.100.1 west=100"},
		{ID: "route53-weights-roles", Do: func(l *lab) string { return l.roles(policy(l, "west", "w.example.com", "weighted")) }, Want: "standby primary"},
		{ID: "route53-failover-made", Do: fresh(func(l *lab) string { return l.move(policy(l, "east", "f.example.com", "failover")) }), Want: "done f 192.0.2.1 east=PRIMARY"},
		{ID: "route53-failover-moved", Do: func(l *lab) string { return l.move(policy(l, "west", "f.example.com", "failover")) }, Want: "done f 192.0.2.1 east=SECONDARY, f 198.51.100.1 west=PRIMARY"},
		{ID: "route53-failover-roles", Do: func(l *lab) string { return l.roles(policy(l, "west", "f.example.com", "failover")) }, Want: "standby primary"},
		{ID: "route53-alias", Do: fresh(func(l *lab) string {
			lb := func(n string) m {
				return m{"alias": m{"name": "lb-" + n + ".us-west-2.elb.amazonaws.com", "zone": "Z1H1FL5HABSF5"}}
			}
			return l.move(l.request("west", m{"names": []string{"l.example.com"}, "type": "A"}, lb("east"), lb("west")))
		}), Want: "done l alias lb-west.us-west-2.elb.amazonaws.com."},
	}
	emulator.Compare(t, steps, func(t *testing.T, run func(*lab)) {
		synctest.Test(t, func(t *testing.T) {
			w := awstest.New(awstest.Options{})
			run(newLab(t, awsbase.New(awsbase.Options{HTTP: w.Client()}), workbench.Fake(t, w, account, "us-east-1"), time.Second))
		})
	}, func(t *testing.T, at emulator.Endpoint) *lab {
		return newLab(t, workbench.Base(t, at), workbench.Emulated(at, "us-east-1"), 20*time.Millisecond)
	})
}

package regions

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awsbase"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/awsmodel"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestLife takes the example through all that happens to an application: it is protected and drilled, loses its home, goes on in
// the other region, comes home, and moves once more, planned; with the instance of RDS kept by snapshots, and by a replica.
func TestLife(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"snapshot", "replica"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			bubble(t, awstest.Options{}, func(l *lab) {
				watch := awsmodel.Watch(l.t, l.Client())
				l.http = watch
				l.shop()
				if way == "replica" {
					text := strings.Replace(l.exampleText(), "copies: {keep:", "recovery: replica\n          copies: {keep:", 1)
					if text == l.exampleText() {
						l.t.Fatal("the example does not say where a replica is set")
					}
					l.configure(text)
				}
				l.life(way)
				if watch.Asked() < 100 {
					l.t.Errorf("only %d exchanges with AWS were held against its models", watch.Asked())
				}
			})
		})
	}
}

func (l *lab) life(way string) {
	t, c := l.t, newClient(l)
	l.serves(dublin, "at first")
	c.write()
	r := l.run(l.ask(model.OpProtect, ""))
	point, err := time.Parse(time.RFC3339Nano, step(t, &r.Run, "billing/capture@dublin").Outputs["at"].Text)
	must(t, err)
	c.write()

	before := l.inventory()
	r = l.run(l.ask(model.OpDrill, ""))
	if diff := cmp.Diff(before, l.inventory()); diff != "" {
		t.Errorf("the drill left something else than it found (-before +after):\n%s", diff)
	}
	if got := drilled(&r.Run); len(got) != 2 {
		t.Errorf("drilled: %v", got)
	}
	l.serves(dublin, "after the drill")
	c.write()

	lost := time.Now()
	reached := map[string]time.Time{"billing": point, "orders": lost} // what is in the other region by then
	if way == "replica" {
		reached["billing"] = lost
	}
	home := l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Hang})
	req := l.ask(model.OpFailover, model.Unplanned)
	req.AcceptUnfenced = "the region is gone"
	r = l.run(req)
	l.holds(frankfurt, c, reached)
	if got, want := r.RPO, lost.Sub(reached["billing"]); got.Value == nil || got.Value.Std() < want || got.Value.Std()-want > 3*time.Minute {
		t.Errorf("the report says that %v was lost (%s), and billing lost what was written in %s", got.Value, got.Basis, want)
	}
	home.Remove()
	l.stale = true // nobody could fence the old instance of RDS, and a person has accepted that in writing
	l.serves(frankfurt, "after the loss")
	l.stale = false
	for name := range databases {
		c.acked[name] = c.before(name, reached[name])
	}
	c.write()

	l.warnsOfTwo(model.OpFailback, model.Warn)
	l.warnsOfTwo(model.OpFailover, model.Block)
	r = l.run(l.ask(model.OpFailback, ""))
	if st := step(t, &r.Run, "approve"); len(st.Approvals) != 1 || st.Approvals[0].By != "bob" {
		t.Errorf("approved by %v", st.Approvals)
	}
	if st := step(t, &r.Run, "billing/reverse@dublin"); !slices.ContainsFunc(st.Evidence, func(f model.Fact) bool {
		return f.Name == "old state kept" && strings.Contains(f.Value, "; proved at ")
	}) {
		t.Errorf("the report does not say that the old instance's last state was proved: %v", st.Evidence)
	}
	l.serves(dublin, "after the failback")
	l.holds(dublin, c, nil)
	l.lostNothing(r)
	l.tidy()
	c.write()

	r = l.run(l.ask(model.OpFailover, model.Planned))
	l.serves(frankfurt, "after the planned failover")
	l.holds(frankfurt, c, nil)
	l.lostNothing(r)
}

// lostNothing wants a report of a planned move to know of the databases that nothing was lost, and to know nothing of the cache, whose
// replication AWS promises nothing of.
func (l *lab) lostNothing(r *api.Report) {
	l.t.Helper()
	for _, want := range []string{"not measured", "sessions: its driver says nothing", "of the others nothing was lost", "billing from ", "orders from follower "} {
		if r.RPO.Value != nil || r.RPO.Met != nil || !strings.Contains(r.RPO.Basis, want) {
			l.t.Errorf("a planned move lost %v (met: %v), and not %q: %s", r.RPO.Value, r.RPO.Met, want, r.RPO.Basis)
		}
	}
}

// tidy wants nothing to be left over of the moves so far but snapshots, each of them ours and under a name that says what for, and
// an old instance's last state proved.
func (l *lab) tidy() {
	l.t.Helper()
	proved := 0
	for _, site := range sites {
		for _, i := range l.instances(site) {
			name := aws.ToString(i.DBInstanceIdentifier)
			if name != "shop-billing" && !strings.HasPrefix(name, "shop-orders-"+string(site)+"-") {
				l.t.Errorf("instance %s is left at %s", name, site)
			}
		}
		for _, s := range l.snapshots(site) {
			tags, name := tagsOf(s.TagList), aws.ToString(s.DBSnapshotIdentifier)
			if tags[awsbase.TagApp] != "shop" || tags[awsbase.TagResource] != "billing" || tags[awsbase.TagToken] == "" {
				l.t.Errorf("snapshot %s at %s says of its origin: %v", name, site, tags)
			}
			if strings.HasPrefix(name, "final-") {
				if tags["lifeboat:proved-ok"] != "true" {
					l.t.Errorf("snapshot %s at %s is not proved: %v", name, site, tags)
				}
				proved++
			}
		}
	}
	if proved == 0 {
		l.t.Error("no old instance's last state was kept and proved")
	}
}

// client is an application that writes to both databases, and remembers what was acknowledged.
type client struct {
	l     *lab
	n     int
	acked map[string][]entry // by database
}

type entry struct {
	at    time.Time
	value string
}

func newClient(l *lab) *client { return &client{l: l, acked: map[string][]entry{}} }

// write writes one value to each database where the name servers send clients, and lets ten minutes pass.
func (c *client) write() {
	c.l.t.Helper()
	c.n++
	site := c.l.made.Leads()
	for name, arn := range databases {
		value := fmt.Sprintf("%s-%03d", name, c.n)
		if name == "billing" && !c.l.reachable(site, "shop-billing") {
			c.l.t.Errorf("clients do not reach billing at %s", site)
		}
		must(c.l.t, c.l.Write(arn(site), value))
		c.acked[name] = append(c.acked[name], entry{time.Now(), value})
	}
	time.Sleep(10 * time.Minute)
}

// before is what was acknowledged before an instant.
func (c *client) before(name string, at time.Time) (old []entry) {
	for _, e := range c.acked[name] {
		if e.at.Before(at) {
			old = append(old, e)
		}
	}
	return old
}

// until are the values of before.
func (c *client) until(name string, at time.Time) (values []string) {
	for _, e := range c.before(name, at) {
		values = append(values, e.value)
	}
	return values
}

// warnsOfTwo wants the plan of an operation to tell of the two instances that take writes, so severely.
func (l *lab) warnsOfTwo(op model.Operation, want model.Severity) {
	l.t.Helper()
	s := l.open(nil)
	reply, err := s.Plan(within(l.t, time.Hour), api.PlanRequest{App: l.app, Operation: op, To: dublin})
	must(l.t, err)
	i := slices.IndexFunc(reply.Findings, func(f model.Finding) bool { return f.Code == "two-primaries" && f.Resource == "billing" })
	if i < 0 || reply.Findings[i].Severity != want {
		l.t.Errorf("the plan of a %s says of two primaries: %+v", op, reply.Findings)
	}
	must(l.t, s.Close())
}

// holds wants both databases to hold what was acknowledged before an instant each (nil: all), and nothing else.
func (l *lab) holds(site model.SiteID, c *client, until map[string]time.Time) {
	l.t.Helper()
	for name, arn := range databases {
		at := time.Now()
		if until != nil {
			at = until[name]
		}
		if diff := cmp.Diff(c.until(name, at), data(l.t, l, arn(site))); diff != "" {
			l.t.Errorf("%s at %s (-want +got):\n%s", name, site, diff)
		}
	}
}

// databases are the example's, by the ARN of each at a site.
var databases = map[string]func(model.SiteID) string{
	"billing": func(site model.SiteID) string { return instanceARN(site, "shop-billing") },
	"orders":  func(site model.SiteID) string { return clusterARN(site, "shop-orders") },
}

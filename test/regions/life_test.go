package regions

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest"
	"github.com/lifeboat-dr/lifeboat/model"
)

// TestLife takes the example through all that happens to an application: it is protected and drilled, loses its home, goes on in
// the other region, comes home, and moves once more, planned.
func TestLife(t *testing.T) {
	t.Parallel()
	bubble(t, awstest.Options{}, func(l *lab) {
		t := l.t
		l.shop()
		c := newClient(l)
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
		home := l.Inject(awstest.Fault{Region: regions[dublin], How: awstest.Hang})
		req := l.ask(model.OpFailover, model.Unplanned)
		req.AcceptUnfenced = "the region is gone"
		r = l.run(req)
		l.holds(frankfurt, "billing", c.until("billing", point))
		l.holds(frankfurt, "orders", c.until("orders", lost))
		if got, want := r.RPO, lost.Sub(point); got.Value == nil || (got.Value.Std()-want).Abs() > time.Minute {
			t.Errorf("the report says that %v was lost (%s), and billing lost what was written in %s", got.Value, got.Basis, want)
		}
		home.Remove()
		l.stale = true // nobody could fence the old instance of RDS, and a person has accepted that in writing
		l.serves(frankfurt, "after the loss")
		l.stale = false
		c.acked = map[string][]entry{"billing": c.before("billing", point), "orders": c.before("orders", lost)}
		c.write()

		l.warnsOfTwo(model.OpFailback, model.Warn)
		l.warnsOfTwo(model.OpFailover, model.Block)
		l.run(l.ask(model.OpFailback, ""))
		l.serves(dublin, "after the failback")
		l.holds(dublin, "billing", c.until("billing", time.Now()))
		l.holds(dublin, "orders", c.until("orders", time.Now()))
		c.write()

		l.run(l.ask(model.OpFailover, model.Planned))
		l.serves(frankfurt, "after the planned failover")
		l.holds(frankfurt, "billing", c.until("billing", time.Now()))
		l.holds(frankfurt, "orders", c.until("orders", time.Now()))
	})
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
	site := c.l.sends()
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

// holds wants a database to hold these values and no others.
func (l *lab) holds(site model.SiteID, name string, want []string) {
	l.t.Helper()
	if diff := cmp.Diff(want, data(l.t, l, databases[name](site))); diff != "" {
		l.t.Errorf("%s at %s (-want +got):\n%s", name, site, diff)
	}
}

// databases are the example's, by the ARN of each at a site.
var databases = map[string]func(model.SiteID) string{
	"billing": func(site model.SiteID) string { return instanceARN(site, "shop-billing") },
	"orders":  func(site model.SiteID) string { return clusterARN(site, "shop-orders") },
}

package world

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/internal/demo/clients"
)

// TestClientsMeasureAMoveMadeByHand destroys east under load and brings the shop back in west by hand, as a wiki page
// would have it: what the clients measure, and what the comparison finds, has to be right without the product.
func TestClientsMeasureAMoveMadeByHand(t *testing.T) {
	w := create(t)
	ctx := t.Context()
	ledger := clients.NewLedger()
	fleet := clients.Start(ctx, clients.Config{URL: w.ShopURL(), Resolver: w.Resolver(), Clients: 4, Pace: 20 * time.Millisecond, Prefix: w.ID()}, ledger)
	defer fleet.Stop()
	orders := func(n int, since time.Time) {
		t.Helper()
		err := until(ctx, "orders", func(context.Context) error {
			if got := ledger.Acknowledged(since, time.Now()); got < n {
				return fmt.Errorf("%d orders", got)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	orders(50, time.Time{})
	pulse := clients.StartPulse(ctx)
	disaster := time.Now()
	if _, _, err := w.Destroy(ctx, East); err != nil {
		t.Fatal(err)
	}
	dead := time.Now()
	if err := w.Cluster(West).Promote(ctx); err != nil {
		t.Fatal(err)
	}
	if err := w.startShopAt(ctx, West); err != nil {
		t.Fatal(err)
	}
	switched := time.Now()
	pointName(t, w, West)
	orders(50, switched)
	over, late := time.Now(), pulse.Stop()

	if at, err := w.NameAt(ctx); at != West || err != nil {
		t.Errorf("the name leads to %q, %v", at, err)
	}
	outage := ledger.Outage(disaster, over)
	if outage.From.After(dead.Add(late)) || outage.To.Before(switched) {
		t.Errorf("the outage is from %v to %v, but nothing served from %v to %v", outage.From, outage.To, dead, switched)
	}
	if ledger.Refused(dead, switched) == 0 {
		t.Error("no client was refused while nothing served")
	}
	if wait := ledger.LongestWait(disaster, over); wait < switched.Sub(dead)-late {
		t.Errorf("the longest wait of an order is %v, less than the %v in which nothing served; the clients were late by %v", wait, switched.Sub(dead), late)
	}
	conn, err := w.Connect(ctx, West, Database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	compare := func() clients.Comparison {
		t.Helper()
		c, err := ledger.Compare(ctx, conn)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := compare(); !c.Clean() || c.Acknowledged < 100 {
		t.Errorf("after the move: %+v", c)
	}
	fleet.Stop()
	for _, change := range []string{
		"delete from orders where id = (select min(id) from orders)", "insert into orders (id) values ('from nowhere')",
	} {
		if _, err := conn.Exec(ctx, change); err != nil {
			t.Fatal(err)
		}
	}
	if c := compare(); len(c.Lost) != 1 || len(c.Phantom) != 1 || c.Phantom[0] != "from nowhere" {
		t.Errorf("one order deleted, one added: got lost %v, phantom %v", c.Lost, c.Phantom)
	}
}

// pointName moves the shop's name to a site by a signed update.
func pointName(t *testing.T, w *World, site string) {
	t.Helper()
	key, err := w.secret(t.Context(), tsigKey)
	if err != nil {
		t.Fatal(err)
	}
	rr, err := dns.NewRR(fmt.Sprintf("%s 1 IN A %s", Name, Addresses[site]))
	if err != nil {
		t.Fatal(err)
	}
	m := new(dns.Msg)
	m.SetUpdate(Zone)
	m.RemoveRRset([]dns.RR{rr})
	m.Insert([]dns.RR{rr})
	m.SetTsig(keyName, keyAlg, 300, time.Now().Unix())
	c := &dns.Client{TsigSecret: map[string]string{keyName: key}}
	reply, _, err := c.ExchangeContext(t.Context(), m, w.Resolver())
	if err != nil || reply.Rcode != dns.RcodeSuccess {
		t.Fatalf("update: %v, %v", reply, err)
	}
}

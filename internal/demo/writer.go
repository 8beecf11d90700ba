package demo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lifeboat-dr/lifeboat/drivers/aws/awstest/shop"
	"github.com/lifeboat-dr/lifeboat/internal/demo/clients"
	"github.com/lifeboat-dr/lifeboat/model"
)

// writePace is how often the client writes, in the story's time.
const writePace = 5 * time.Second

// writer is a client that writes each order to both databases where the name leads, and remembers what it was told is safe.
type writer struct {
	shop   *shop.Shop
	ledger *clients.Ledger

	mu    sync.Mutex
	lost  model.SiteID // clients do not reach it
	acked []order
}

type order struct {
	id string
	at time.Time
}

// databases are those that the client writes to at a site, by the names of their resources.
func databases(site model.SiteID) map[string]string {
	return map[string]string{"billing": shop.ARN(site, "db:shop-billing"), "orders": shop.ARN(site, "cluster:shop-orders-"+string(site))}
}

// lose lets the client reach a site no more; "": all again.
func (w *writer) lose(site model.SiteID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = site
}

// write writes until ctx ends.
func (w *writer) write(ctx context.Context) {
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(writePace):
		}
		id := fmt.Sprint("order ", n)
		w.ledger.Attempt(id)
		if !w.stored(ctx, id) {
			w.ledger.Refuse()
			continue
		}
		w.ledger.Acknowledge(id)
		w.mu.Lock()
		w.acked = append(w.acked, order{id, time.Now()})
		w.mu.Unlock()
	}
}

// stored reports whether both databases took an order. A fenced instance is in a security group that lets nobody in.
func (w *writer) stored(ctx context.Context, id string) bool {
	w.mu.Lock()
	lost := w.lost
	w.mu.Unlock()
	site := w.shop.Leads()
	if site == "" || site == lost {
		return false
	}
	if reached, err := w.shop.Reaches(ctx, site, "shop-billing"); err != nil || !reached {
		return false
	}
	for _, arn := range databases(site) {
		if w.shop.Write(arn, id) != nil {
			return false
		}
	}
	return true
}

// judge compares what was acknowledged with what the databases hold where the operation left the app, and gives how many orders
// each one lost. What an unplanned failover lost is acknowledged no more.
func (w *writer) judge(o *Operation, op operation, began time.Time) map[string]int {
	w.mu.Lock()
	all := slices.Clone(w.acked)
	w.mu.Unlock()
	o.Acknowledged, o.Refused = len(all), w.ledger.Refused(began, time.Now())
	o.OutageSeconds = w.ledger.Outage(began, time.Now()).Duration().Seconds()
	lost, gone := map[string]int{}, map[string]bool{}
	for name, arn := range databases(model.SiteID(op.serves)) {
		values, err := w.shop.Data(arn)
		if err != nil {
			o.problem("%s cannot be read: %v", name, err)
		}
		held := map[string]bool{}
		for _, id := range values {
			held[id] = true
		}
		for _, e := range all {
			if held[e.id] {
				continue
			}
			lost[name]++
			gone[e.id] = true
			if limit := o.RPOSeconds; op.mode == "unplanned" && (limit == nil || began.Sub(e.at).Seconds() > *limit+rpoSlack.Seconds()) {
				o.problem("%s lost an order that was acknowledged %s before, more than the RPO says", name, began.Sub(e.at))
			}
		}
	}
	if o.Lost = len(gone); o.Lost > 0 && op.mode != "unplanned" {
		o.problem("%d orders are lost, and both regions were well", o.Lost)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked = slices.DeleteFunc(w.acked, func(e order) bool { return gone[e.id] })
	return lost
}

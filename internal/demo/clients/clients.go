// Package clients are the shop's customers in the demo: they find it by name, order without pause, ask again with the
// same order when they were refused or not answered, and remember what they were told.
//
// They know nothing of sites, databases and recovery: what they see is what the business sees, and it is from their
// [Ledger] that outages and losses are told. Start with [Start].
package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// How long a client waits for one answer, for a name, and before it asks again.
const (
	requestTimeout = time.Second
	lookupTimeout  = 500 * time.Millisecond
	retryPause     = 20 * time.Millisecond
)

// Config says what the clients do.
type Config struct {
	URL      string        // where orders are posted; the host is looked up at Resolver
	Resolver string        // host:port of a name server
	Clients  int           // how many there are
	Pace     time.Duration // each places one order in this time, when it is answered that quickly
	Prefix   string        // begins every order's id; an id is never used twice
	Uploads  string        // where one more client puts files, below this URL; empty: there is none
	Upload   time.Duration // it puts one in this time
}

// Fleet is a number of clients at work.
type Fleet struct {
	cfg    Config
	ledger *Ledger
	http   *http.Client
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// Start sets the clients to work. They stop when ctx ends or at Stop.
func Start(ctx context.Context, cfg Config, ledger *Ledger) *Fleet {
	names := &resolver{server: cfg.Resolver}
	dialer := &net.Dialer{Timeout: lookupTimeout}
	transport := &http.Transport{
		MaxIdleConnsPerHost: cfg.Clients,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			ip, err := names.lookup(ctx, host)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, net.JoinHostPort(ip, port))
		},
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &Fleet{cfg: cfg, ledger: ledger, cancel: cancel, http: &http.Client{Transport: transport, Timeout: requestTimeout}}
	for n := range cfg.Clients {
		f.group.Go(func() { f.shop(ctx, n) })
	}
	if cfg.Uploads != "" {
		f.group.Go(func() { f.upload(ctx) })
	}
	return f
}

// Stop sends the clients home and waits for them. An order whose answer was still to come stays in doubt.
func (f *Fleet) Stop() {
	f.cancel()
	f.group.Wait()
	f.http.CloseIdleConnections()
}

// shop is one client's day.
func (f *Fleet) shop(ctx context.Context, client int) {
	next := time.Now().Add(f.cfg.Pace * time.Duration(client) / time.Duration(f.cfg.Clients)) // not all at once
	for n := 0; sleep(ctx, time.Until(next)); n++ {
		id := fmt.Sprintf("%s-%d-%d", f.cfg.Prefix, client, n)
		f.ledger.Attempt(id)
		for f.place(ctx, id) != nil {
			if ctx.Err() != nil {
				return
			}
			f.ledger.Refuse()
			if !sleep(ctx, retryPause) {
				return
			}
		}
		f.ledger.Acknowledge(id)
		if next = next.Add(f.cfg.Pace); time.Since(next) > 0 {
			next = time.Now() // what an outage has held up is not made up for in a burst
		}
	}
}

// sleep waits and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// place sends an order once. Only the shop's own word for this very order counts.
func (f *Fleet) place(ctx context.Context, id string) error {
	body, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		ID string `json:"id"`
	}
	if resp.StatusCode != http.StatusCreated {
		return failure.New(failure.Unavailable, "order", id, "%s", resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.ID != id {
		return failure.New(failure.Corrupt, "order", id, "the answer is for %q, %v", answer.ID, err)
	}
	return nil
}

// resolver looks names up at one server and holds each answer for its TTL, as a host's resolver does: also when the
// address has ceased to answer.
type resolver struct {
	server string
	mu     sync.Mutex
	held   map[string]held
}

type held struct {
	ip    string
	until time.Time
}

func (r *resolver) lookup(ctx context.Context, host string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.held[host]; time.Now().Before(h.until) {
		return h.ip, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	reply, err := dns.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(host), dns.TypeA), r.server)
	if err != nil {
		return "", err
	}
	for _, rr := range reply.Answer {
		if a, ok := rr.(*dns.A); ok {
			if r.held == nil {
				r.held = map[string]held{}
			}
			r.held[host] = held{ip: a.A.String(), until: time.Now().Add(time.Duration(a.Hdr.Ttl) * time.Second)}
			return a.A.String(), nil
		}
	}
	return "", failure.New(failure.NotFound, "look up", host, "%s", dns.RcodeToString[reply.Rcode])
}

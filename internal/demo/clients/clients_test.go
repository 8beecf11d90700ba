package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/internal/demo/nameserver"
)

func TestOutageIsBetweenTwoGoodAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger()
		start := time.Now()
		answer := func(id string, after time.Duration) {
			l.Attempt(id)
			time.Sleep(after)
			l.Acknowledge(id)
		}
		answer("a", time.Second)
		answer("b", time.Second)
		from := time.Now()
		l.Attempt("c")
		for range 3 {
			time.Sleep(time.Second)
			l.Refuse()
		}
		time.Sleep(time.Second)
		l.Acknowledge("c")
		to := time.Now()
		answer("d", 9*time.Second) // slow, but after the window
		got := l.Outage(from, to)
		if want := (Span{from, to}); got != want {
			t.Errorf("outage: got %v, want %v", got, want)
		}
		if got := l.LongestWait(from, to); got != 4*time.Second {
			t.Errorf("longest wait: got %v, want 4s", got)
		}
		if got := l.Refused(from, to); got != 3 {
			t.Errorf("refused: got %d, want 3", got)
		}
		if got := l.Rate(start, from.Add(1)); got < 0.9 || got > 1.1 {
			t.Errorf("rate: got %v, want about 1", got)
		}
		if got := l.Outage(start, from.Add(1)); got.Duration() != 4*time.Second {
			t.Errorf("an outage that begins in the window: got %v, want 4s", got.Duration())
		}
	})
}

func TestCompareBites(t *testing.T) {
	l := NewLedger()
	for _, id := range []string{"safe", "lost", "doubt", "unsent"} {
		l.Attempt(id)
	}
	l.Acknowledge("safe")
	l.Acknowledge("lost")
	got := l.compare(l.acknowledged(), []string{"safe", "safe", "doubt", "phantom"})
	want := Comparison{Acknowledged: 2, Stored: 4, InDoubt: 1, Lost: []string{"lost"}, Phantom: []string{"phantom"}, Repeated: []string{"safe"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Clean() {
		t.Error("all of that is clean")
	}
	if fine := l.compare([]string{"safe"}, []string{"safe", "doubt"}); !fine.Clean() {
		t.Errorf("an order in doubt is no loss: %+v", fine)
	}
}

// site is a shop that keeps what it stored, and can be told to refuse, or to store and not to answer.
type site struct {
	mu     sync.Mutex
	server *httptest.Server
	stored map[string]int
	mode   string
	more   chan struct{} // gets a token with every request
}

func newSite(t *testing.T, address, port string) *site {
	t.Helper()
	s := &site{stored: map[string]int{}, more: make(chan struct{}, 1)}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, port))
	if err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewUnstartedServer(s)
	s.server.Listener.Close()
	s.server.Listener = listener
	s.server.Start()
	t.Cleanup(s.server.Close)
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var o struct{ ID string }
	json.NewDecoder(r.Body).Decode(&o)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		select {
		case s.more <- struct{}{}:
		default:
		}
	}()
	switch s.mode {
	case "refuse":
		http.Error(w, "no", http.StatusServiceUnavailable)
		return
	case "store and hang up":
		s.stored[o.ID]++
		panic(http.ErrAbortHandler)
	case "acknowledge another":
		o.ID += "x"
	}
	s.stored[o.ID]++
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"id": %q}`, o.ID)
}

func (s *site) set(mode string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = mode
}

// wait waits until n more requests were seen.
func (s *site) wait(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-s.more:
		case <-time.After(4 * time.Minute):
			t.Fatal("the clients have stopped asking")
		}
	}
}

func startDNS(t *testing.T, address string, ttl int) *nameserver.Server {
	t.Helper()
	s, err := nameserver.Start(nameserver.Config{Listen: "127.0.0.1:0", Zone: "demo.test.",
		Records: []string{fmt.Sprintf("shop.demo.test. %d IN A %s", ttl, address)},
		Key:     nameserver.Key{Name: "k.", Algorithm: dns.HmacSHA256, Secret: "c2VjcmV0c2VjcmV0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.WithoutCancel(t.Context())) })
	return s
}

func TestClientsAskAgainWithTheSameOrder(t *testing.T) {
	shop := newSite(t, "127.0.0.1", "0")
	names := startDNS(t, "127.0.0.1", 1)
	_, port, err := net.SplitHostPort(shop.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ledger := NewLedger()
	fleet := Start(t.Context(), Config{URL: "http://shop.demo.test:" + port + "/orders", Resolver: names.Addr(), Clients: 3,
		Pace: time.Millisecond, Prefix: "t"}, ledger)
	shop.wait(t, 20)
	for _, mode := range []string{"refuse", "store and hang up", "acknowledge another", "refuse", ""} {
		shop.set(mode)
		shop.wait(t, 10)
	}
	fleet.Stop()
	shop.mu.Lock()
	defer shop.mu.Unlock()
	repeated := 0
	var ids []string
	for id, n := range shop.stored {
		if !strings.HasSuffix(id, "x") {
			ids = append(ids, id)
		}
		if n > 1 {
			repeated++
		}
	}
	if repeated == 0 {
		t.Error("no order was sent again after its answer was lost")
	}
	c := ledger.compare(ledger.acknowledged(), ids)
	if !c.Clean() || c.Acknowledged < 20 {
		t.Errorf("got %+v", c)
	}
}

func TestResolverHoldsAnAnswerForItsTTL(t *testing.T) {
	names := startDNS(t, "127.0.0.2", 3600)
	r := &resolver{server: names.Addr()}
	first, err := r.lookup(t.Context(), "shop.demo.test")
	if err != nil || first != "127.0.0.2" {
		t.Fatalf("got %s, %v", first, err)
	}
	if err := names.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := r.lookup(t.Context(), "shop.demo.test"); err != nil || again != first {
		t.Errorf("within the TTL: got %s, %v", again, err)
	}
	h := r.held["shop.demo.test"]
	if left := time.Until(h.until); left > time.Hour || left < 50*time.Minute {
		t.Errorf("held for %v, want about an hour", left)
	}
	r.held["shop.demo.test"] = held{ip: first, until: time.Now()}
	if again, err := r.lookup(t.Context(), "shop.demo.test"); err == nil {
		t.Errorf("after the TTL, with no name server: got %s", again)
	}
}

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where nothing is ever late
		p := StartPulse(t.Context())
		time.Sleep(time.Minute)
		if late := p.Stop(); late != 0 {
			t.Errorf("late by %s", late)
		}
	})
	p := StartPulse(t.Context())
	defer p.Stop()
	if late := p.Stop(); late != p.Stop() {
		t.Errorf("late by %s, and then by %s", late, p.Stop())
	}
}

package nameserver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const (
	secret = "c2VjcmV0IG9mIHRoZSB0ZXN0IHNlY3JldCBvZiB0aGU="
	other  = "YW5vdGhlciBzZWNyZXQgYW5vdGhlciBzZWNyZXQgYW4="
)

func start(t *testing.T, file string) *Server {
	t.Helper()
	s, err := Start(Config{Listen: "127.0.0.1:0", Zone: "demo.test.", File: file,
		Records: []string{"shop.demo.test. 1 IN A 127.0.0.2", "www.demo.test. 1 IN CNAME shop"},
		Key:     Key{Name: "lifeboat.", Algorithm: dns.HmacSHA256, Secret: secret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

func ask(t *testing.T, s *Server, network, name string, rtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, rtype)
	reply, _, err := (&dns.Client{Net: network, Timeout: time.Minute}).ExchangeContext(t.Context(), m, s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func texts(set []dns.RR) []string {
	out := []string{}
	for _, rr := range set {
		out = append(out, rr.String())
	}
	slices.Sort(out)
	return out
}

func rr(t *testing.T, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// signedUpdate sends an update under a key and gives the answer and what the client thinks of its signature.
func signedUpdate(t *testing.T, s *Server, keyName, keySecret string, at time.Time, change func(*dns.Msg)) (*dns.Msg, error) {
	t.Helper()
	m := new(dns.Msg)
	m.SetUpdate("demo.test.")
	change(m)
	m.SetTsig(keyName, dns.HmacSHA256, 300, at.Unix())
	c := &dns.Client{Net: "tcp", Timeout: time.Minute, TsigSecret: map[string]string{keyName: keySecret}}
	reply, _, err := c.ExchangeContext(t.Context(), m, s.Addr())
	return reply, err
}

func mustUpdate(t *testing.T, s *Server, want int, change func(*dns.Msg)) {
	t.Helper()
	reply, err := signedUpdate(t, s, "lifeboat.", secret, time.Now(), change)
	if err != nil && !(errors.Is(err, dns.ErrAuth) && want == dns.RcodeNotAuth) { // the client's way to say NOTAUTH
		t.Fatal(err)
	}
	if reply.Rcode != want {
		t.Fatalf("update: got %s, want %s", dns.RcodeToString[reply.Rcode], dns.RcodeToString[want])
	}
}

func serial(t *testing.T, s *Server) uint32 {
	t.Helper()
	return ask(t, s, "udp", "demo.test.", dns.TypeSOA).Answer[0].(*dns.SOA).Serial
}

func replaceShop(t *testing.T, address string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.RemoveRRset([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "shop.demo.test.", Rrtype: dns.TypeA}}})
		m.Insert([]dns.RR{rr(t, "shop.demo.test. 1 IN A "+address)})
	}
}

func TestAnswers(t *testing.T) {
	s := start(t, "")
	for _, network := range []string{"udp", "tcp"} {
		reply := ask(t, s, network, "SHOP.demo.test.", dns.TypeA)
		if diff := cmp.Diff([]string{"shop.demo.test.\t1\tIN\tA\t127.0.0.2"}, texts(reply.Answer)); diff != "" {
			t.Errorf("%s: %s", network, diff)
		}
		if !reply.Authoritative {
			t.Errorf("%s: the answer is not authoritative", network)
		}
	}
	alias := ask(t, s, "udp", "www.demo.test.", dns.TypeA)
	want := []string{"shop.demo.test.\t1\tIN\tA\t127.0.0.2", "www.demo.test.\t1\tIN\tCNAME\tshop.demo.test."}
	if diff := cmp.Diff(want, texts(alias.Answer)); diff != "" {
		t.Error(diff)
	}
	for _, test := range []struct {
		name  string
		rtype uint16
		rcode int
		soa   bool
	}{
		{"shop.demo.test.", dns.TypeAAAA, dns.RcodeSuccess, true},
		{"none.demo.test.", dns.TypeA, dns.RcodeNameError, true},
		{"example.org.", dns.TypeA, dns.RcodeRefused, false},
		{"demo.test.", dns.TypeAXFR, dns.RcodeRefused, false},
	} {
		reply := ask(t, s, "udp", test.name, test.rtype)
		soa := len(reply.Ns) == 1 && reply.Ns[0].Header().Rrtype == dns.TypeSOA
		if reply.Rcode != test.rcode || soa != test.soa || len(reply.Answer) != 0 {
			t.Errorf("%s: got %v", test.name, reply)
		}
	}
}

func TestUpdateIsAtomicAndMovesTheSerial(t *testing.T) {
	s := start(t, "")
	before := serial(t, s)
	mustUpdate(t, s, dns.RcodeSuccess, replaceShop(t, "127.0.0.3"))
	got := texts(ask(t, s, "udp", "shop.demo.test.", dns.TypeA).Answer)
	if diff := cmp.Diff([]string{"shop.demo.test.\t1\tIN\tA\t127.0.0.3"}, got); diff != "" {
		t.Error(diff)
	}
	if now := serial(t, s); now != before+1 {
		t.Errorf("serial: got %d, want %d", now, before+1)
	}
	mustUpdate(t, s, dns.RcodeNotZone, func(m *dns.Msg) {
		replaceShop(t, "127.0.0.9")(m)
		m.Insert([]dns.RR{rr(t, "elsewhere.test. 1 IN A 127.0.0.9")})
	})
	mustUpdate(t, s, dns.RcodeNXRrset, func(m *dns.Msg) {
		m.Used([]dns.RR{rr(t, "shop.demo.test. 0 IN A 127.0.0.2")}) // it has moved already
		replaceShop(t, "127.0.0.9")(m)
	})
	mustUpdate(t, s, dns.RcodeSuccess, func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, "shop.demo.test. 1 IN A 127.0.0.3")}) })
	if diff := cmp.Diff(got, texts(ask(t, s, "udp", "shop.demo.test.", dns.TypeA).Answer)); diff != "" {
		t.Errorf("a refused or empty update changed something: %s", diff)
	}
	if now := serial(t, s); now != before+1 {
		t.Errorf("serial after refused and empty updates: got %d, want %d", now, before+1)
	}
}

func TestUpdateRules(t *testing.T) {
	s := start(t, "")
	insert := func(text string) func(*dns.Msg) {
		return func(m *dns.Msg) { m.Insert([]dns.RR{rr(t, text)}) }
	}
	mustUpdate(t, s, dns.RcodeSuccess, insert("www.demo.test. 1 IN A 127.0.0.9"))      // an alias takes no other data
	mustUpdate(t, s, dns.RcodeSuccess, insert("shop.demo.test. 1 IN CNAME elsewhere")) // and other data no alias
	mustUpdate(t, s, dns.RcodeSuccess, func(m *dns.Msg) {
		m.RemoveRRset([]dns.RR{rr(t, "demo.test. 0 IN NS x."), rr(t, "demo.test. 0 IN SOA x. x. 1 1 1 1 1")})
		m.Remove([]dns.RR{rr(t, "demo.test. 0 IN NS ns.demo.test.")})
	})
	if now := serial(t, s); now != 1 {
		t.Errorf("serial: got %d, want 1: nothing was to be changed", now)
	}
	mustUpdate(t, s, dns.RcodeSuccess, insert("shop.demo.test. 7 IN A 127.0.0.4"))
	want := []string{"shop.demo.test.\t7\tIN\tA\t127.0.0.2", "shop.demo.test.\t7\tIN\tA\t127.0.0.4"}
	if diff := cmp.Diff(want, texts(ask(t, s, "udp", "shop.demo.test.", dns.TypeA).Answer)); diff != "" {
		t.Error(diff)
	}
	mustUpdate(t, s, dns.RcodeSuccess, func(m *dns.Msg) { m.Remove([]dns.RR{rr(t, "shop.demo.test. 0 IN A 127.0.0.2")}) })
	mustUpdate(t, s, dns.RcodeSuccess, func(m *dns.Msg) { m.RemoveName([]dns.RR{rr(t, "www.demo.test. 0 IN A 127.0.0.1")}) })
	if got := ask(t, s, "udp", "www.demo.test.", dns.TypeA).Rcode; got != dns.RcodeNameError {
		t.Errorf("a removed name answers %s", dns.RcodeToString[got])
	}
	for _, test := range []struct {
		want  int
		about func(*dns.Msg)
	}{
		{dns.RcodeYXDomain, func(m *dns.Msg) { m.NameNotUsed([]dns.RR{rr(t, "shop.demo.test. 0 IN A 1.1.1.1")}) }},
		{dns.RcodeNameError, func(m *dns.Msg) { m.NameUsed([]dns.RR{rr(t, "none.demo.test. 0 IN A 1.1.1.1")}) }},
		{dns.RcodeYXRrset, func(m *dns.Msg) { m.RRsetNotUsed([]dns.RR{rr(t, "shop.demo.test. 0 IN A 1.1.1.1")}) }},
		{dns.RcodeNXRrset, func(m *dns.Msg) { m.RRsetUsed([]dns.RR{rr(t, "shop.demo.test. 0 IN AAAA ::1")}) }},
		{dns.RcodeSuccess, func(m *dns.Msg) { m.Used([]dns.RR{rr(t, "shop.demo.test. 0 IN A 127.0.0.4")}) }},
		{dns.RcodeNotAuth, func(m *dns.Msg) { m.Question[0].Name = "other.test." }},
		{dns.RcodeFormatError, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }},
	} {
		mustUpdate(t, s, test.want, test.about)
	}
}

func TestOnlyTheKeyMayUpdate(t *testing.T) {
	s := start(t, "")
	change := replaceShop(t, "127.0.0.9")
	unsigned := new(dns.Msg)
	unsigned.SetUpdate("demo.test.")
	change(unsigned)
	reply, _, err := (&dns.Client{Net: "udp"}).ExchangeContext(t.Context(), unsigned, s.Addr())
	if err != nil || reply.Rcode != dns.RcodeRefused {
		t.Errorf("unsigned: got %v, %v; want REFUSED", reply, err)
	}
	for _, test := range []struct {
		name, key, secret string
		at                time.Time
		tsig              uint16
	}{
		{"wrong secret", "lifeboat.", other, time.Now(), dns.RcodeBadSig},
		{"unknown key", "mallory.", other, time.Now(), dns.RcodeBadKey},
		{"old signature", "lifeboat.", secret, time.Now().Add(-time.Hour), dns.RcodeBadTime},
	} {
		reply, err := signedUpdate(t, s, test.key, test.secret, test.at, change)
		if reply == nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if sig := reply.IsTsig(); reply.Rcode != dns.RcodeNotAuth || sig == nil || sig.Error != test.tsig {
			t.Errorf("%s: got %v", test.name, reply)
		}
	}
	got := texts(ask(t, s, "udp", "shop.demo.test.", dns.TypeA).Answer)
	if diff := cmp.Diff([]string{"shop.demo.test.\t1\tIN\tA\t127.0.0.2"}, got); diff != "" {
		t.Errorf("an update without the key changed the zone: %s", diff)
	}
}

func TestZoneOutlivesTheServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zone")
	first := start(t, file)
	mustUpdate(t, first, dns.RcodeSuccess, replaceShop(t, "127.0.0.3"))
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := Start(Config{Listen: first.Addr(), Zone: "demo.test.", File: file, Records: []string{"shop.demo.test. 1 IN A 127.0.0.2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close(t.Context())
	got := texts(ask(t, second, "udp", "shop.demo.test.", dns.TypeA).Answer)
	if diff := cmp.Diff([]string{"shop.demo.test.\t1\tIN\tA\t127.0.0.3"}, got); diff != "" {
		t.Error(diff)
	}
	if now := serial(t, second); now != 2 {
		t.Errorf("serial: got %d, want 2", now)
	}
}

func TestAnUpdateThatCannotBeStoredIsRefused(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "zone")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, filepath.Join(folder, "zone"))
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, s, dns.RcodeServerFailure, replaceShop(t, "127.0.0.3"))
	got := texts(ask(t, s, "udp", "shop.demo.test.", dns.TypeA).Answer)
	if diff := cmp.Diff([]string{"shop.demo.test.\t1\tIN\tA\t127.0.0.2"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBadZones(t *testing.T) {
	for name, records := range map[string][]string{
		"syntax":    {"shop.demo.test. 1 IN A not-an-address"},
		"elsewhere": {"shop.example.org. 1 IN A 127.0.0.2"},
	} {
		if s, err := Start(Config{Listen: "127.0.0.1:0", Zone: "demo.test.", Records: records}); err == nil {
			t.Errorf("%s: accepted", name)
			s.Close(t.Context())
		}
	}
}

package dns

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// script starts the BIND 9 that every test here runs against.
const script = "../../test/servers/bind9.sh"

// bind is one running server: what its script printed.
type bind struct {
	folder string
	conf   map[string]string
}

func (b *bind) server() string { return b.conf["SERVER"] }

// startBind starts a BIND 9 and stops it when the test is over.
func startBind(t *testing.T, args ...string) *bind {
	t.Helper()
	b := &bind{folder: t.TempDir(), conf: map[string]string{}}
	cmd := exec.Command(script, append([]string{"start", b.folder}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bind9.sh start: %v (is BIND 9 installed? apt-get install bind9)", err)
	}
	t.Cleanup(b.stop)
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	for lines.Scan() {
		k, v, _ := strings.Cut(lines.Text(), "=")
		b.conf[k] = v
	}
	if b.server() == "" {
		t.Fatalf("bind9.sh start printed %q", out)
	}
	return b
}

// stop ends the server; a second stop does nothing.
func (b *bind) stop() { _ = exec.Command(script, "stop", b.folder).Run() }

func freePort(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(script, "port").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// settings of a record at this server, as lifeboat.yaml would give them.
func (b *bind) settings(changes map[string]any) map[string]any {
	s := map[string]any{
		"zone": b.conf["ZONE"], "name": "shop.demo.test.", "type": "A", "ttl": "30s", "servers": []string{b.server()},
		"tsig": map[string]any{"name": "lifeboat.", "algorithm": "hmac-sha256", "secret": "file:" + b.conf["KEY_FILE"]},
	}
	for k, v := range changes {
		if v == nil {
			delete(s, k)
			continue
		}
		s[k] = v
	}
	return s
}

// request to send clients to the site; values are by site.
func request(t testing.TB, settings map[string]any, values map[model.SiteID][]string, to model.SiteID) driver.Request {
	t.Helper()
	raw := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := model.Resource{ID: "name", App: "shop", Kind: Kind, Settings: raw(settings), Sites: map[model.SiteID]json.RawMessage{}}
	for site, v := range values {
		r.Sites[site] = raw(map[string]any{"values": v})
	}
	return driver.Request{
		Target: driver.Target{App: "shop", Resource: r, Site: to},
		Action: model.ActionRedirect, Operation: model.OpFailover, Mode: model.Planned,
		Run: "r1", Step: "name.redirect", Attempt: 1, Token: "aaaa",
	}
}

// sites are two sites' values; the zone starts out with east's.
var sites = map[model.SiteID][]string{"east": {"192.0.2.1"}, "west": {"192.0.2.2", "192.0.2.3"}}

func newDriver(t *testing.T) *Driver {
	t.Helper()
	return New(slog.New(slog.NewTextHandler(testWriter{t}, nil)))
}

// testWriter sends log lines to the test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// answers are what the server itself says, asked without the driver.
func (b *bind) answers(t *testing.T, name string, typ uint16) []mdns.RR {
	t.Helper()
	m := new(mdns.Msg)
	m.SetQuestion(name, typ)
	m.RecursionDesired = false
	r, _, err := (&mdns.Client{Net: "tcp"}).Exchange(m, b.server())
	if err != nil {
		t.Fatal(err)
	}
	return r.Answer
}

// change changes the record behind the driver's back.
func (b *bind) change(t testing.TB, remove []mdns.RR, add ...string) {
	t.Helper()
	m := new(mdns.Msg)
	m.SetUpdate(b.conf["ZONE"])
	if remove != nil {
		m.RemoveRRset(remove)
	}
	for _, text := range add {
		rr, err := mdns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Insert([]mdns.RR{rr})
	}
	raw, err := os.ReadFile(b.conf["KEY_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	key, _ := keyText(string(raw))
	m.SetTsig("lifeboat.", mdns.HmacSHA256, fudge, time.Now().Unix())
	r, _, err := (&mdns.Client{Net: "tcp", TsigSecret: map[string]string{"lifeboat.": key}}).Exchange(m, b.server())
	if err != nil || r.Rcode != mdns.RcodeSuccess {
		t.Fatalf("change: %v, %v", r, err)
	}
}

// relay stands between the driver and a server, at an address of its own, and can lose answers. It forwards messages
// as they are, so that signatures stay whole.
type relay struct {
	address string
	target  string
	// beforeUpdate, when set, is called before an update is forwarded; loseAnswer closes the connection in place of an
	// update's answer; loseUpdate does so before the update is forwarded.
	beforeUpdate func()
	loseAnswer   atomic.Bool
	loseUpdate   atomic.Bool
}

// newRelay starts a relay to target. It ends with the test.
func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String(), target: target}
	p, err := net.ListenPacket("udp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.packets(p) })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.stream(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); p.Close(); wg.Wait() })
	return r
}

func (r *relay) packets(p net.PacketConn) {
	buf := make([]byte, mdns.MaxMsgSize)
	for {
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		up, err := net.Dial("udp", r.target)
		if err != nil {
			continue
		}
		_ = up.SetDeadline(time.Now().Add(time.Minute))
		if _, err := up.Write(buf[:n]); err == nil {
			if n, err := up.Read(buf); err == nil {
				_, _ = p.WriteTo(buf[:n], from)
			}
		}
		up.Close()
	}
}

func (r *relay) stream(conn net.Conn) {
	defer conn.Close()
	up, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer up.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_ = up.SetDeadline(time.Now().Add(time.Minute))
	from, to := &mdns.Conn{Conn: conn}, &mdns.Conn{Conn: up}
	buf := make([]byte, mdns.MaxMsgSize)
	n, err := from.Read(buf)
	if err != nil {
		return
	}
	update := int(buf[2]>>3)&0xf == mdns.OpcodeUpdate
	if update && r.beforeUpdate != nil {
		r.beforeUpdate()
	}
	if update && r.loseUpdate.Load() {
		return
	}
	if _, err := to.Write(buf[:n]); err != nil {
		return
	}
	if n, err = to.Read(buf); err != nil || update && r.loseAnswer.Load() {
		return
	}
	_, _ = from.Write(buf[:n])
}

// observeUntil observes until the state is no longer pending, or fails the test.
func observeUntil(t *testing.T, d *Driver, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	ctx := testContext(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		obs, err := d.Observe(ctx, req, h)
		if err != nil {
			t.Fatalf("observe: %v", err)
		}
		if obs.State != driver.Pending {
			return obs
		}
		select {
		case <-ctx.Done():
			t.Fatalf("still pending: %s", obs.Phase)
		case <-tick.C:
		}
	}
}

// keyWith writes a key file with another secret and gives its reference.
func keyWith(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

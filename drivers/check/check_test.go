package check

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/ports"
)

func raw(t testing.TB, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask asks once and compares the answer: ok, and a part of the detail. It has minutes for that, unless the settings say less.
func ask(t *testing.T, d driver.Asker, settings map[string]any, ok bool, detail string) {
	t.Helper()
	if settings["timeout"] == nil {
		settings["timeout"] = "4m"
	}
	a, err := d.Ask(t.Context(), raw(t, settings))
	if err != nil {
		t.Errorf("%v: %v", settings, err)
		return
	}
	if a.OK != ok || !strings.Contains(a.Detail, detail) {
		t.Errorf("%v: %v, %q; want %v, %q", settings, a.OK, a.Detail, ok, detail)
	}
	if a.Took <= 0 {
		t.Errorf("%v: it took %s", settings, a.Took)
	}
}

// mistake asks what cannot be asked.
func mistake(t *testing.T, d driver.Asker, settings any, kind failure.Kind, message string) {
	t.Helper()
	a, err := d.Ask(t.Context(), raw(t, settings))
	if err == nil || failure.KindOf(err) != kind || !strings.Contains(err.Error(), message) {
		t.Errorf("%v: %+v, %v; want an error of kind %s with %q", settings, a, err, kind, message)
	}
}

func TestHTTP(t *testing.T) {
	silent := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/broken", http.StatusFound)
		case "/broken":
			http.Error(w, "database is down", http.StatusServiceUnavailable)
		case "/silent":
			<-silent
		case "/echo":
			fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("Authorization"), r.Host)
		default:
			fmt.Fprint(w, "fine")
		}
	}))
	defer srv.Close()
	defer close(silent)
	t.Setenv("CHECK_TEST_TOKEN", "Bearer x")
	d := NewHTTP()
	ask(t, d, map[string]any{"url": srv.URL}, true, "status 200: fine")
	ask(t, d, map[string]any{"url": srv.URL, "expect_body": "^fi"}, true, "status 200")
	ask(t, d, map[string]any{"url": srv.URL, "expect_body": "^no"}, false, `fine; expected a body that matches "^no"`)
	ask(t, d, map[string]any{"url": srv.URL, "expect_status": []int{201, 204}}, false, "status 200: fine; expected status 201 204")
	ask(t, d, map[string]any{"url": srv.URL + "/broken"}, false, "status 503: database is down; expected a status from 200 to 399")
	ask(t, d, map[string]any{"url": srv.URL + "/broken", "expect_status": []int{503}}, true, "status 503")
	ask(t, d, map[string]any{"url": srv.URL + "/redirect"}, true, "status 302")
	ask(t, d, map[string]any{"url": srv.URL + "/silent", "timeout": "50ms"}, false, "no answer within")
	ask(t, d, map[string]any{"url": "http://" + ports.Address(t)}, false, "connection refused")
	ask(t, d, map[string]any{"url": srv.URL + "/echo", "method": "PUT", "headers": map[string]string{"Host": "shop.test"},
		"secret_headers": map[string]string{"Authorization": "env:CHECK_TEST_TOKEN"}}, true, "PUT Bearer x shop.test")
	mistake(t, d, map[string]any{"url": srv.URL, "secret_headers": map[string]string{"A": "env:CHECK_TEST_NONE"}},
		failure.NotFound, "not set")
	mistake(t, d, map[string]any{"url": srv.URL, "ca": "/nonexistent.pem"}, failure.NotFound, "nonexistent.pem")
	for settings, want := range map[string]string{
		`{}`: "url: is missing", `{"url":"ftp://x"}`: "url: ", `{"url":"http://x","expect_body":"("}`: "expect_body: ",
		`{"url":"http://x","expect_status":[42]}`: "expect_status: 42", `{"url":"http://x","resolver":"x"}`: "resolver: ",
		`{"url":"http://x","body_regexp":"x"}`: "unknown field",
	} {
		mistake(t, d, json.RawMessage(settings), failure.Invalid, want)
	}
}

func TestHTTPS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") }))
	defer srv.Close()
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	d := NewHTTP()
	ask(t, d, map[string]any{"url": srv.URL}, false, "certificate")
	ask(t, d, map[string]any{"url": srv.URL, "insecure": true}, true, "fine")
}

// nameServer answers A questions for name with whatever address holds.
func nameServer(t *testing.T, name string, address *atomic.Value) string {
	t.Helper()
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	srv := &mdns.Server{PacketConn: p, NotifyStartedFunc: func() { close(started) }, Handler: mdns.HandlerFunc(
		func(w mdns.ResponseWriter, m *mdns.Msg) {
			r := new(mdns.Msg)
			r.SetReply(m)
			switch q := m.Question[0]; {
			case q.Name == "alias.test." && q.Qtype == mdns.TypeA:
				rr, _ := mdns.NewRR("alias.test. 300 IN CNAME " + name)
				r.Answer = []mdns.RR{rr}
			case q.Name == name && q.Qtype == mdns.TypeA:
				rr, _ := mdns.NewRR(name + " 300 IN A " + address.Load().(string))
				r.Answer = []mdns.RR{rr}
			case q.Name != name && q.Name != "alias.test.":
				r.Rcode = mdns.RcodeNameError
			}
			_ = w.WriteMsg(r)
		})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = srv.Shutdown(); <-done })
	return p.LocalAddr().String()
}

func TestResolverIsAskedEachTime(t *testing.T) {
	var address atomic.Value
	address.Store("127.0.0.1")
	resolver := nameServer(t, "shop.test.", &address)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })}}
	srv.Start()
	defer srv.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	d := NewHTTP()
	ask(t, d, map[string]any{"url": "http://shop.test:" + port, "resolver": resolver}, true, "shop.test:"+port)
	ask(t, d, map[string]any{"url": "http://alias.test:" + port, "resolver": resolver}, true, "alias.test:"+port)
	ask(t, NewTCP(), map[string]any{"address": "shop.test:" + port, "resolver": resolver}, true, "connected to 127.0.0.1:"+port)
	address.Store("127.0.0.2") // nobody listens there
	ask(t, d, map[string]any{"url": "http://shop.test:" + port, "resolver": resolver}, false, "connection refused")
	ask(t, d, map[string]any{"url": "http://other.test:" + port, "resolver": resolver}, false, "NXDOMAIN")
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "220 mail ready\r\n")
			buf := make([]byte, 64)
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			if n, _ := conn.Read(buf); n > 0 {
				fmt.Fprintf(conn, "you said %s", buf[:n])
			}
			conn.Close()
		}
	}()
	defer func() { l.Close(); <-done }()
	d, address := NewTCP(), l.Addr().String()
	ask(t, d, map[string]any{"address": address}, true, "connected to "+address)
	ask(t, d, map[string]any{"address": address, "expect": "^220 "}, true, "220 mail ready")
	ask(t, d, map[string]any{"address": address, "send": "HELO\r\n", "expect": "you said HELO"}, true, "you said HELO")
	ask(t, d, map[string]any{"address": address, "send": "x", "expect": "^500"}, false, `closed the connection; expected a match of "^500"`)
	ask(t, d, map[string]any{"address": address, "expect": "never", "timeout": "50ms"}, false, "no answer within")
	ask(t, d, map[string]any{"address": ports.Address(t)}, false, "connection refused")
	mistake(t, d, map[string]any{"address": "nowhere"}, failure.Invalid, `address: "nowhere" is not host:port`)
	mistake(t, d, map[string]any{}, failure.Invalid, "address: is missing")
}

func TestExecCheck(t *testing.T) {
	d := NewExec(slog.New(slog.DiscardHandler))
	dir := t.TempDir()
	t.Setenv("CHECK_TEST_SECRET", "s3cret")
	ask(t, d, map[string]any{"command": []string{"true"}}, true, "exit code 0")
	ask(t, d, map[string]any{"command": []string{"sh", "-c", "echo no rows >&2; exit 2"}}, false, "exit code 2: no rows; expected exit code 0")
	ask(t, d, map[string]any{"command": []string{"sh", "-c", "exit 2"}, "expect_exit": 2}, true, "exit code 2")
	ask(t, d, map[string]any{"command": []string{"pwd"}, "dir": dir, "expect_output": "^" + dir}, true, dir)
	ask(t, d, map[string]any{"command": []string{"echo", "a"}, "expect_output": "b"}, false, `a; expected output that matches "b"`)
	ask(t, d, map[string]any{"command": []string{"sh", "-c", `test "$A$B" = "1s3cret"`}, "env": map[string]string{"A": "1"},
		"secret_env": map[string]string{"B": "env:CHECK_TEST_SECRET"}}, true, "exit code 0")
	ask(t, d, map[string]any{"command": []string{"sleep", "1000"}, "timeout": "50ms"}, false, "no answer within")
	ask(t, d, map[string]any{"command": []string{"sh", "-c", "kill -9 $$"}}, false, "ended by signal: killed")
	mistake(t, d, map[string]any{"command": []string{"/nonexistent/program"}}, failure.NotFound, "/nonexistent/program")
	mistake(t, d, map[string]any{}, failure.Invalid, "command: is missing")
	mistake(t, d, map[string]any{"command": []string{"x"}, "env": map[string]string{"A-B": ""}}, failure.Invalid, `env: "A-B" is not`)
}

// runRequest is a step of the user's own whose record is in folder.
func runRequest(t testing.TB, folder string, settings map[string]any) driver.Request {
	settings["folder"] = folder
	return driver.Request{Target: driver.Target{App: "shop", Site: "west", Resource: model.Resource{Kind: KindExec, Settings: raw(t, settings)}},
		Action: model.ActionRun, Run: "01RUN", Step: "shop/warm", Attempt: 1, Token: "tokena"}
}

func runToEnd(t *testing.T, d *Exec, req driver.Request) driver.Observation {
	t.Helper()
	h, err := d.Run(t.Context(), req)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return awaitRun(t, d, req, h)
}

func awaitRun(t *testing.T, d *Exec, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
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

func TestExecRun(t *testing.T) {
	d := NewExec(slog.New(slog.DiscardHandler))
	folder, count := t.TempDir(), filepath.Join(t.TempDir(), "count")
	req := runRequest(t, folder, map[string]any{"command": []string{"sh", "-c",
		`echo "$LIFEBOAT_TOKEN $LIFEBOAT_RUN $LIFEBOAT_STEP $LIFEBOAT_SITE $LIFEBOAT_APP" >>` + count + `; echo done`}})
	for range 3 { // begun again, it is the same work
		obs := runToEnd(t, d, req)
		if obs.State != driver.Done || obs.Phase != "done" {
			t.Fatalf("observed %+v", obs)
		}
	}
	if b, _ := os.ReadFile(count); string(b) != "tokena 01RUN shop/warm west shop\n" {
		t.Errorf("the command ran as %q", b)
	}
	bad := runRequest(t, t.TempDir(), map[string]any{"command": []string{"sh", "-c", "echo oh no; exit 3"}})
	obs := runToEnd(t, d, bad)
	if obs.State != driver.Failed || obs.Err.Kind != failure.Invalid || !strings.Contains(obs.Err.Error(), "exit code 3: oh no") {
		t.Errorf("a bad exit: %+v", obs)
	}
	again := runRequest(t, t.TempDir(), map[string]any{"command": []string{"sh", "-c", "exit 75"}})
	if obs := runToEnd(t, d, again); obs.State != driver.Failed || obs.Err.Kind != failure.Unavailable {
		t.Errorf("EX_TEMPFAIL: %+v", obs)
	}
}

func TestExecRunWhoseEndIsNotKnown(t *testing.T) {
	d := NewExec(slog.New(slog.DiscardHandler))
	for _, idempotent := range []bool{false, true} {
		folder := t.TempDir()
		// The command kills the shell beside it that would write its exit code down.
		settings := map[string]any{"command": []string{"sh", "-c", "kill -9 $PPID"}, "idempotent": idempotent}
		req := runRequest(t, folder, settings)
		obs := runToEnd(t, d, req)
		want := map[bool]failure.Kind{false: failure.Indeterminate, true: failure.Unavailable}[idempotent]
		if obs.State != driver.Failed || obs.Err.Kind != want {
			t.Errorf("idempotent %v: %+v, want %s", idempotent, obs, want)
		}
		settings["command"] = []string{"true"}
		req = runRequest(t, folder, settings)
		req.Token, req.Attempt = "tokenb", 2
		_, err := d.Run(t.Context(), req)
		if !idempotent && (err == nil || failure.KindOf(err) != failure.Denied) {
			t.Errorf("a second attempt goes on past an unknown end: %v", err)
		}
		req.Force = true
		if obs := runToEnd(t, d, req); obs.State != driver.Done {
			t.Errorf("idempotent %v, forced: %+v", idempotent, obs)
		}
	}
}

func TestExecCancel(t *testing.T) {
	d := NewExec(slog.New(slog.DiscardHandler))
	req := runRequest(t, t.TempDir(), map[string]any{"command": []string{"sh", "-c", "sleep 1000 & wait"}})
	h, err := d.Run(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Cancel(t.Context(), req, h); err != nil {
		t.Fatal(err)
	}
	obs, err := d.Observe(t.Context(), req, h)
	if err != nil || obs.State != driver.Failed || obs.Err.Kind != failure.Canceled {
		t.Errorf("after the cancel: %+v, %v", obs, err)
	}
	s, _ := d.settings(t.Context(), req.Target)
	if st, err := s.place(req).Look(t.Context()); err != nil || len(st.Running) > 0 {
		t.Errorf("left running: %+v, %v", st, err)
	}
}

// conform runs the conformance suite over a check: yes and no are settings whose answers are that.
func conform(t *testing.T, newDriver func() driver.Driver, yes, no any, more func(*drivertest.Config)) {
	t.Helper()
	req := func(settings any) func(testing.TB) driver.Request {
		return func(t testing.TB) driver.Request {
			return driver.Request{Target: driver.Target{App: "shop", Site: "west",
				Resource: model.Resource{ID: "check", App: "shop", Kind: newDriver().Facts().Kind, Settings: raw(t, settings)}}}
		}
	}
	c := drivertest.Config{
		New: newDriver, Must: []model.Action{model.ActionVerify},
		Actions: map[model.Action]drivertest.Action{model.ActionVerify: {Request: req(yes), No: req(no)}},
		Targets: func(t testing.TB) []driver.Target { return []driver.Target{req(yes)(t).Target, req(no)(t).Target} },
	}
	if more != nil {
		more(&c)
	}
	drivertest.Run(t, c)
}

func TestHTTPConformance(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "fine") }))
	defer srv.Close()
	conform(t, func() driver.Driver { return NewHTTP() }, map[string]any{"url": srv.URL},
		map[string]any{"url": "http://" + ports.Address(t)}, nil)
}

func TestTCPConformance(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	conform(t, func() driver.Driver { return NewTCP() }, map[string]any{"address": srv.Listener.Addr().String()},
		map[string]any{"address": ports.Address(t)}, nil)
}

func TestExecConformance(t *testing.T) {
	base := t.TempDir()
	t.Setenv("CHECK_TEST_SECRET", "correct horse battery")
	n := 0
	step := func(command string) func(testing.TB) driver.Request {
		return func(t testing.TB) driver.Request {
			n++
			folder := filepath.Join(base, fmt.Sprint(n))
			req := runRequest(t, folder, map[string]any{"command": []string{"sh", "-c", `echo "$LIFEBOAT_TOKEN" >>` + folder + `.count; ` + command},
				"secret_env": map[string]string{"S": "env:CHECK_TEST_SECRET"}})
			req.Resource.ID = "step"
			return req
		}
	}
	conform(t, func() driver.Driver { return NewExec(slog.New(slog.DiscardHandler)) },
		map[string]any{"command": []string{"true"}}, map[string]any{"command": []string{"false"}}, func(c *drivertest.Config) {
			c.Must = append(c.Must, model.ActionRun, drivertest.Cancel)
			c.Secret = "correct horse battery"
			c.Actions[model.ActionRun] = drivertest.Action{Request: step("true"), Slow: step("sleep 1000")}
			c.Effects = func(_ testing.TB, req driver.Request) int {
				var s ExecSettings
				_ = json.Unmarshal(req.Resource.Settings, &s)
				b, _ := os.ReadFile(s.Folder + ".count")
				return strings.Count(string(b), req.Token)
			}
		})
}

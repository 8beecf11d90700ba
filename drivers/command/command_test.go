package command

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/driver/drivertest"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/hostproc"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/ports"
)

// serve is a program that listens at its first argument and says its second; it ignores SIGTERM when there is a third.
const serve = `use IO::Socket::INET; $SIG{TERM} = 'IGNORE' if @ARGV > 2; $| = 1;
my $s = IO::Socket::INET->new(LocalAddr => $ARGV[0], Listen => 5, ReuseAddr => 1) or die "cannot listen at $ARGV[0]\n";
print "listening\n"; while (my $c = $s->accept) { print $c $ARGV[1]; close $c }`

func newDriver() *Driver { return New(slog.New(slog.DiscardHandler)) }

// world is one program of a test: its folder, its live and its drill address.
type world struct {
	folder, live, copied string
	settings             map[string]any
	site                 map[string]any
}

// newWorld makes a program in the background. Whatever runs in its folders is killed when the test is over.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{folder: t.TempDir(), live: ports.Address(t), copied: ports.Address(t)}
	w.settings = map[string]any{
		"start": []string{"perl", "-e", serve, "${self.endpoint}", "${self.endpoint}"}, "background": true,
		"probe_tcp": "${self.endpoint}", "stop_within": "300ms", "ready_within": "4m", "env": map[string]string{"A": "resource"},
	}
	w.site = map[string]any{"folder": w.folder, "outputs": map[string]string{"endpoint": w.live},
		"drill": map[string]any{"outputs": map[string]string{"endpoint": w.copied}}}
	t.Cleanup(func() {
		dirs, _ := filepath.Glob(filepath.Join(w.folder, "*-*"))
		for _, dir := range append(dirs, w.folder) {
			p := hostproc.Place{Folder: dir}
			for st, err := p.Signal(context.Background(), "KILL", ""); err == nil && len(st.Running) > 0; st, err = p.Look(context.Background()) {
			}
		}
	})
	return w
}

func raw(t testing.TB, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var tokens atomic.Int64

// request makes a request with a token of its own.
func (w *world) request(t testing.TB, action model.Action) driver.Request {
	t.Helper()
	return driver.Request{
		Target: driver.Target{App: "shop", Site: "east", Resource: model.Resource{ID: "web", App: "shop", Kind: Kind,
			Settings: raw(t, w.settings), Sites: map[model.SiteID]json.RawMessage{"east": raw(t, w.site)}}},
		Action: action, Operation: model.OpFailover, Mode: model.Planned, Run: "r", Step: "s", Attempt: 1,
		Token: fmt.Sprintf("token%d", tokens.Add(1)),
	}
}

func (w *world) do(t testing.TB, action model.Action) driver.Observation {
	t.Helper()
	return finish(t, w.request(t, action))
}

// finish begins and observes to the end.
func finish(t testing.TB, req driver.Request) driver.Observation {
	t.Helper()
	h, err := driver.Begin(t.Context(), newDriver(), req)
	if err != nil {
		t.Fatalf("begin %s: %v", req.Action, err)
	}
	return await(t, req, h)
}

func await(t testing.TB, req driver.Request, h driver.Handle) driver.Observation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		obs, err := newDriver().Observe(ctx, req, h)
		if err != nil {
			t.Fatalf("observe %s: %v", req.Action, err)
		}
		if obs.State != driver.Pending {
			return obs
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is still pending: %s", req.Action, obs.Phase)
		case <-tick.C:
		}
	}
}

// said is what listens at address; empty: nobody does.
func said(t testing.TB, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return ""
	}
	defer conn.Close()
	buf := make([]byte, 100)
	n, _ := conn.Read(buf)
	return string(buf[:n])
}

func (w *world) role(t testing.TB) (model.Role, bool) {
	t.Helper()
	desc, err := newDriver().Describe(t.Context(), w.request(t, model.ActionPromote).Target)
	if err != nil {
		t.Fatal(err)
	}
	return desc.Role, desc.Healthy
}

func wantDone(t testing.TB, what string, obs driver.Observation) {
	t.Helper()
	if obs.State != driver.Done {
		t.Fatalf("%s: %s, %v", what, obs.State, obs.Err)
	}
}

func TestStartAndStop(t *testing.T) {
	w := newWorld(t)
	if role, healthy := w.role(t); role != model.RoleStopped || healthy {
		t.Errorf("before the start it is %s (healthy %v)", role, healthy)
	}
	obs := w.do(t, model.ActionPromote)
	wantDone(t, "start", obs)
	want := map[string]model.Value{"endpoint": {Type: model.TypeEndpoint, Text: w.live}}
	if diff := cmp.Diff(want, obs.Outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
	if role, healthy := w.role(t); role != model.RolePrimary || !healthy {
		t.Errorf("after the start it is %s (healthy %v)", role, healthy)
	}
	if got := said(t, w.live); got != w.live {
		t.Errorf("it says %q", got)
	}
	first := obs.Evidence[0]
	obs = w.do(t, model.ActionPromote)
	wantDone(t, "start again", obs)
	if obs.Evidence[0] != first {
		t.Errorf("a second start with the same settings replaced %v by %v", first, obs.Evidence[0])
	}
	wantDone(t, "stop", w.do(t, model.ActionQuiesce))
	if got := said(t, w.live); got != "" {
		t.Errorf("after the stop it says %q", got)
	}
	wantDone(t, "stop again", w.do(t, model.ActionQuiesce))
	wantDone(t, "start after a stop", w.do(t, model.ActionPromote))
}

func TestOtherSettingsReplaceWhatRuns(t *testing.T) {
	w := newWorld(t)
	wantDone(t, "start", w.do(t, model.ActionPromote))
	w.settings["start"] = []string{"perl", "-e", serve, "${self.endpoint}", "new"}
	wantDone(t, "start", w.do(t, model.ActionPromote))
	if got := said(t, w.live); got != "new" {
		t.Errorf("it says %q, want new", got)
	}
}

// TestFenceThatNobodyWatched is looked at for the first time when its time is long over: what it kills then is seen to be gone.
func TestFenceThatNobodyWatched(t *testing.T) {
	w := newWorld(t)
	w.settings["start"] = []string{"perl", "-e", serve, "${self.endpoint}", "x", "stubborn"}
	wantDone(t, "start", w.do(t, model.ActionPromote))
	req := w.request(t, model.ActionFence)
	h, err := driver.Begin(t.Context(), newDriver(), req)
	if err != nil {
		t.Fatal(err)
	}
	late := newDriver()
	late.now = func() time.Time { return time.Now().Add(time.Hour) }
	obs, err := late.Observe(t.Context(), req, h)
	if err != nil || obs.State != driver.Done {
		t.Errorf("observed %+v, %v", obs, err)
	}
	if got := said(t, w.live); got != "" {
		t.Errorf("after the fence it says %q", got)
	}
}

func TestStubbornProgramIsKilled(t *testing.T) {
	w := newWorld(t)
	w.settings["start"] = []string{"perl", "-e", serve, "${self.endpoint}", "x", "stubborn"}
	wantDone(t, "start", w.do(t, model.ActionPromote))
	obs := w.do(t, model.ActionFence)
	wantDone(t, "fence", obs)
	if got := said(t, w.live); got != "" || len(obs.Evidence) == 0 {
		t.Errorf("after the fence it says %q; evidence %v", got, obs.Evidence)
	}
}

func TestFenceFindsAProgramWhoseFolderIsGone(t *testing.T) {
	w := newWorld(t)
	wantDone(t, "start", w.do(t, model.ActionPromote))
	if err := os.RemoveAll(w.folder); err != nil {
		t.Fatal(err)
	}
	wantDone(t, "fence", w.do(t, model.ActionFence))
	if got := said(t, w.live); got != "" {
		t.Errorf("after the fence it says %q", got)
	}
}

func TestForeignProgramIsNeitherFencedNorStartedOver(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", w.live)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	found, err := newDriver().Check(t.Context(), w.request(t, model.ActionPromote))
	if err != nil || len(found) != 1 || found[0].Code != "foreign-process" || found[0].Severity != model.Block {
		t.Errorf("check: %+v, %v", found, err)
	}
	if _, err := newDriver().Quiesce(t.Context(), w.request(t, model.ActionQuiesce)); err == nil || failure.KindOf(err) != failure.Invalid {
		t.Errorf("the stop of what is not ours: %v", err)
	}
	obs := w.do(t, model.ActionFence)
	if obs.State != driver.Failed || obs.Err.Kind != failure.Unavailable || !strings.Contains(obs.Err.Error(), "fence-unproven") {
		t.Errorf("the fence of what is not ours: %+v", obs)
	}
}

func TestUnreachableHostIsNotFenced(t *testing.T) {
	w := newWorld(t)
	ssh := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(ssh, []byte("#!/bin/sh\necho no route to host >&2\nexit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.site["via"] = []string{ssh, "web-1"}
	req := w.request(t, model.ActionFence)
	_, err := newDriver().Fence(t.Context(), req)
	if err == nil || failure.KindOf(err) != failure.Unavailable || !strings.Contains(err.Error(), "fence-unproven") {
		t.Errorf("fence: %v", err)
	}
	found, err := newDriver().Check(t.Context(), req)
	if err != nil || len(found) != 1 || found[0].Code != "fence-unproven" {
		t.Errorf("check: %+v, %v", found, err)
	}
	if role, _ := w.role(t); role != model.RoleUnreachable {
		t.Errorf("it is described as %s", role)
	}
}

func TestProgramThatDies(t *testing.T) {
	w := newWorld(t)
	w.settings["start"] = []string{"sh", "-c", "echo the disk is full >&2; exit 3"}
	obs := w.do(t, model.ActionPromote)
	if obs.State != driver.Failed || !strings.Contains(obs.Err.Error(), "the disk is full") {
		t.Errorf("observed %+v", obs)
	}
}

func TestProgramThatIsNeverReady(t *testing.T) {
	w := newWorld(t)
	w.settings["start"] = []string{"sleep", "1000"}
	w.settings["ready_within"] = "200ms"
	obs := w.do(t, model.ActionPromote)
	if obs.State != driver.Failed || !strings.Contains(obs.Err.Error(), "connection refused") {
		t.Errorf("observed %+v", obs)
	}
	if role, healthy := w.role(t); role != model.RolePrimary || healthy {
		t.Errorf("it is %s (healthy %v), want an unhealthy primary", role, healthy)
	}
}

func TestDrillIsIsolatedAndReleased(t *testing.T) {
	w := newWorld(t)
	wantDone(t, "start", w.do(t, model.ActionPromote))
	drill := w.request(t, model.ActionDrill)
	obs := finish(t, drill)
	wantDone(t, "drill", obs)
	if got := obs.Outputs["endpoint"].Text; got != w.copied {
		t.Errorf("the copy's endpoint is %q, want %q", got, w.copied)
	}
	if live, copied := said(t, w.live), said(t, w.copied); live != w.live || copied != w.copied {
		t.Errorf("live says %q, the copy %q", live, copied)
	}
	release := w.request(t, model.ActionRelease)
	release.Released = &driver.Released{Step: "s", Token: drill.Token}
	wantDone(t, "release", finish(t, release))
	if live, copied := said(t, w.live), said(t, w.copied); live != w.live || copied != "" {
		t.Errorf("after the release live says %q, the copy %q", live, copied)
	}
	if left, _ := filepath.Glob(filepath.Join(w.folder, "*-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	delete(w.site, "drill")
	found, err := newDriver().Check(t.Context(), w.request(t, model.ActionDrill))
	if err != nil || len(found) == 0 || found[0].Code != "drill-not-isolated" {
		t.Errorf("a drill without settings of its own: %+v, %v", found, err)
	}
}

// TestService drives a program that the commands' own tool looks after: here a file that says whether it runs.
func TestService(t *testing.T) {
	w := newWorld(t)
	state, count := filepath.Join(t.TempDir(), "up"), filepath.Join(t.TempDir(), "count")
	w.settings = map[string]any{
		"start": []string{"sh", "-c", `echo "$LIFEBOAT_TOKEN" >>"$1"; touch "$2"`, "sh", count, state},
		"stop":  []string{"rm", "-f", state}, "probe": []string{"test", "-e", state},
	}
	delete(w.site, "drill")
	req := w.request(t, model.ActionPromote)
	for range 3 {
		wantDone(t, "start", finish(t, req))
	}
	if b, _ := os.ReadFile(count); string(b) != req.Token+"\n" {
		t.Errorf("the start command ran with tokens %q, want once with %s", b, req.Token)
	}
	if role, healthy := w.role(t); role != model.RolePrimary || !healthy {
		t.Errorf("it is %s (healthy %v)", role, healthy)
	}
	wantDone(t, "fence", w.do(t, model.ActionFence))
	if role, _ := w.role(t); role != model.RoleStopped {
		t.Errorf("it is %s after the fence", role)
	}
	w.settings["start"] = []string{"sh", "-c", "echo no such unit >&2; exit 5"}
	obs := w.do(t, model.ActionPromote)
	if obs.State != driver.Failed || !strings.Contains(obs.Err.Error(), "exit code 5: no such unit") {
		t.Errorf("a start command that fails: %+v", obs)
	}
}

func TestSettings(t *testing.T) {
	for _, c := range []struct{ settings, want string }{
		{`{"background":true}`, "start: is missing"},
		{`{"start":["x"]}`, "probe: a program that lifeboat does not put into the background needs"},
		{`{"start":[""],"background":true}`, "start: the program's name is empty"},
		{`{"start":["x","${self.port}"],"background":true,"outputs":{"endpoint":"a:1"}}`,
			"outputs: there is none for ${self.port}; there are: endpoint"},
		{`{"start":["x"],"background":true,"outputs":{"a":"${self.b}"}}`, "outputs.a: an output cannot refer to"},
		{`{"start":["x"],"background":true,"outputs":{"A-b":"c"}}`, `outputs: "A-b" is not a name`},
		{`{"start":["x"],"background":true,"env":{"1A":"c"}}`, `env: "1A" is not a variable's name`},
		{`{"start":["x"],"background":true,"env":{"A":"c"},"secret_env":{"A":"env:B"}}`, "secret_env: A is in env too"},
		{`{"start":["x"],"background":true,"folder":"run"}`, `folder: "run" is not an absolute path`},
		{`{"start":["x"],"probe_http":"example.com"}`, `probe_http: "example.com" is not an http:// or https:// address`},
		{`{"start":["x"],"probe_tcp":"example.com"}`, `probe_tcp: "example.com" is not host:port`},
		{`{"start":["x"],"background":true,"drill":{"folder":"x"}}`, `drill.folder: "x" is not an absolute path`},
	} {
		target := driver.Target{Site: "east", Resource: model.Resource{ID: "web", Settings: json.RawMessage(c.settings)}}
		_, err := newDriver().program(target, "")
		if err == nil || failure.KindOf(err) != failure.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s gives %v, want %s", c.settings, err, c.want)
		}
	}
}

func TestSiteOverridesResourceAndDrillOverridesBoth(t *testing.T) {
	target := driver.Target{Site: "east", Resource: model.Resource{ID: "web",
		Settings: json.RawMessage(`{"start":["x","${self.e}"],"background":true,"env":{"A":"1","B":"1","C":"${self.e}"},"outputs":{"e":"r:1"},"drill":{"env":{"B":"3"}}}`),
		Sites: map[model.SiteID]json.RawMessage{"east": json.RawMessage(
			`{"env":{"A":"2"},"outputs":{"e":"s:2"},"drill":{"outputs":{"e":"d:3"}}}`)}}}
	for drill, want := range map[string][]string{"": {"s:2", "2", "1", "s:2"}, "tok": {"d:3", "2", "3", "d:3"}} {
		p, err := newDriver().program(target, drill)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, []string{p.Start[1], p.Env["A"], p.Env["B"], p.Env["C"]}); diff != "" {
			t.Errorf("drill %q (-want +got):\n%s", drill, diff)
		}
	}
}

func TestOutputsOf(t *testing.T) {
	r := func(own, east, west string) model.Resource {
		return model.Resource{ID: "web", Settings: json.RawMessage(own),
			Sites: map[model.SiteID]json.RawMessage{"east": json.RawMessage(east), "west": json.RawMessage(west)}}
	}
	got, err := driver.OutputsOf(newDriver(), r(`{"outputs":{"v":"1","u":"http://a/","m":"1"}}`,
		`{"outputs":{"e":"a:1"}}`, `{"outputs":{"e":"b:1","m":"x"}}`), model.ActionPromote)
	want := map[string]model.ValueType{"v": model.TypeNumber, "u": model.TypeURL, "e": model.TypeEndpoint, "m": model.TypeText}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("outputs (-want +got):\n%s%v", diff, err)
	}
	if _, err := newDriver().OutputsOf(r(`{}`, `{"outputs":{"e":"a:1"}}`, `{}`), model.ActionPromote); err == nil {
		t.Error("an output that one site forgets is taken")
	}
}

func TestConformance(t *testing.T) {
	worlds := map[string]*world{} // by live address
	fresh := func(t testing.TB, action model.Action) driver.Request {
		w := newWorld(t)
		w.settings["start"] = []string{"sh", "-c", `echo "$LIFEBOAT_TOKEN" >>` + w.folder + `.count; exec perl -e '` +
			strings.ReplaceAll(serve, "'", `'\''`) + `' "$A" x`}
		w.settings["env"] = map[string]string{"A": w.live}
		w.settings["probe_tcp"] = w.live
		w.settings["secret_env"] = map[string]string{"PASSWORD": "env:COMMAND_TEST_PASSWORD"}
		w.site["drill"] = map[string]any{"env": map[string]string{"A": w.copied}, "probe_tcp": w.copied}
		delete(w.site, "outputs")
		worlds[w.folder] = w
		return w.request(t, action)
	}
	t.Setenv("COMMAND_TEST_PASSWORD", "correct horse battery")
	folder := func(req driver.Request) string {
		var at Settings
		_ = json.Unmarshal(req.Resource.Sites[req.Site], &at)
		return at.Folder
	}
	running := func(t testing.TB, action model.Action) driver.Request {
		req := fresh(t, action)
		start := req
		start.Action = model.ActionPromote
		wantDone(t, "start", finish(t, start))
		return req
	}
	drivertest.Run(t, drivertest.Config{
		New: func() driver.Driver { return newDriver() },
		Must: []model.Action{model.ActionPromote, model.ActionQuiesce, model.ActionFence, model.ActionDrill,
			model.ActionRelease},
		Actions: map[model.Action]drivertest.Action{
			model.ActionPromote: {Request: func(t testing.TB) driver.Request { return fresh(t, model.ActionPromote) }},
			model.ActionQuiesce: {Request: func(t testing.TB) driver.Request { return running(t, model.ActionQuiesce) }},
			model.ActionFence:   {Request: func(t testing.TB) driver.Request { return running(t, model.ActionFence) }},
			model.ActionDrill:   {Request: func(t testing.TB) driver.Request { return fresh(t, model.ActionDrill) }},
		},
		Targets: func(t testing.TB) []driver.Target {
			return []driver.Target{fresh(t, model.ActionPromote).Target, running(t, model.ActionPromote).Target}
		},
		Effects: func(t testing.TB, req driver.Request) int {
			if req.Action == model.ActionQuiesce || req.Action == model.ActionFence {
				w := worlds[folder(req)]
				if said(t, w.live) == "" {
					return 1
				}
				return 0
			}
			b, _ := os.ReadFile(folder(req) + ".count")
			return strings.Count(string(b), req.Token)
		},
		Left: func(t testing.TB, token string) []string {
			var left []string
			for f := range worlds {
				dirs, _ := filepath.Glob(filepath.Join(f, "drill-"+token))
				left = append(left, dirs...)
				st, err := (hostproc.Place{Folder: f, Sub: "drill-" + token}).Look(t.Context())
				if err != nil || len(st.Running) > 0 {
					left = append(left, fmt.Sprintf("%v %v", st.Running, err))
				}
			}
			return left
		},
		Secret: "correct horse battery",
	})
}

package service

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
	"github.com/lifeboat-dr/lifeboat/test/ports"
)

func scrape(t *testing.T, address string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v: %s", res.Status, err, text)
	}
	return string(text)
}

func TestMetricsOfProtection(t *testing.T) {
	l, s := newProvedLab(t, "newest", `{prove: {fail: [{at: observe, kind: corrupt, message: "3 pages are damaged"}]}}`, 2)
	if _, v := l.proves(s, nil); v.Outcome != api.Failed {
		t.Fatal(v.Outcome)
	}
	address := ports.Address(t)
	_, port, _ := net.SplitHostPort(address)
	every := model.Duration(5 * time.Millisecond)
	var text string
	for round, err := range s.Protect(t.Context(), api.ProtectRequest{App: "shop", Every: &every, Metrics: ":" + port}) {
		if err != nil {
			t.Fatal(err)
		}
		if text = scrape(t, address); strings.Contains(text, "lifeboat_points{") {
			if _, err := net.Dial("tcp", "127.0.0.2:"+port); err == nil {
				t.Error("it is reached at another address than that of this machine alone")
			}
			break
		}
		_ = round
	}
	for _, want := range []string{
		`lifeboat_points{app="shop",resource="db"} 2`, `lifeboat_points_bad{app="shop",resource="db"} 1`, `lifeboat_proof_success{app="shop",resource="db"} 0`,
		`lifeboat_points_known{app="shop",resource="db"} 1`, `lifeboat_protect_round_errors{app="shop"} 0`, "lifeboat_marker_timestamp_seconds{", "lifeboat_proof_timestamp_seconds{",
		"lifeboat_point_timestamp_seconds{", "lifeboat_protect_round_timestamp_seconds{", "lifeboat_protect_rounds_total{", "process_resident_memory_bytes", "go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not told: %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		_ = conn.Close()
		t.Error("it is served on after the protection has ended")
	}
}

func TestMetricsOfStreams(t *testing.T) {
	m := &meter{app: model.App{ID: "shop"}, markers: map[model.ResourceID]time.Time{}}
	bytesBehind, kept, lag, at := int64(4096), int64(1<<20), model.Duration(1500*time.Millisecond), time.Unix(1_800_000_000, 0)
	m.round(&api.ProtectRound{At: at, Errors: []*failure.Error{failure.New(failure.Unavailable, "", "", "x")}, Streams: []model.Stream{
		{Resource: "db", Site: "west", State: model.StreamFlowing, Sync: true, LagBytes: &bytesBehind, LagTime: &lag, Unstored: 10, Spool: 20, Stored: &at, Kept: &kept,
			NeedsPoint: "there is a gap", Findings: []model.Finding{{Severity: model.Warn}, {Severity: model.Warn}}},
		{Resource: "db", Site: "north", State: model.StreamStopped},
	}})
	text := gathered(t, m)
	for _, want := range []string{
		`lifeboat_stream_receiving{app="shop",resource="db",site="west"} 1`, `lifeboat_stream_receiving{app="shop",resource="db",site="north"} 0`,
		`lifeboat_stream_synchronous{app="shop",resource="db",site="west"} 1`, `lifeboat_stream_lag_bytes{app="shop",resource="db",site="west"} 4096`,
		`lifeboat_stream_lag_seconds{app="shop",resource="db",site="west"} 1.5`, `lifeboat_stream_spool_bytes{app="shop",resource="db",site="west"} 20`,
		`lifeboat_stream_unstored_bytes{app="shop",resource="db",site="west"} 10`, `lifeboat_stream_stored_timestamp_seconds{app="shop",resource="db",site="west"} 1.8e+09`,
		`lifeboat_stream_slot_retained_bytes{app="shop",resource="db",site="west"} 1.048576e+06`, `lifeboat_stream_needs_point{app="shop",resource="db",site="west"} 1`,
		`lifeboat_stream_findings{app="shop",resource="db",severity="warn",site="west"} 2`, `lifeboat_protect_errors_total{app="shop"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not told: %s", want)
		}
	}
	if strings.Contains(text, `lag_bytes{app="shop",resource="db",site="north"}`) {
		t.Error("a lag that is not known is told")
	}
	problems, err := promlint.New(bytes.NewReader([]byte(text))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("names are not as they should be: %+v, %v", problems, err)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// gathered is what a scrape of m alone gives.
func gathered(t *testing.T, m *meter) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Body.String())
	}
	return w.Body.String()
}

func TestMetricsNeedAFreeAddress(t *testing.T) {
	l := newLab(t, "{}")
	s := l.open(nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for address, kind := range map[string]failure.Kind{taken.Addr().String(): failure.Conflict, "nonsense": failure.Invalid} {
		for _, err := range s.Protect(t.Context(), api.ProtectRequest{App: "shop", Metrics: address}) {
			var f *failure.Error
			if failure.KindOf(err) != kind || !errors.As(err, &f) || f.Hint == "" {
				t.Errorf("%s: %v, want %s with a hint", address, err, kind)
			}
			break
		}
	}
}

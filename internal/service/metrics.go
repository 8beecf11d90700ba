package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Bounds of metrics.
const (
	metricsEvery   = time.Minute // between two looks at the recovery points
	metricsTimeout = 10 * time.Second
)

// meter tells Prometheus how the protection of one app does, as of its last round. What there is it says anew at each scrape, so
// that nothing is told of what is gone.
type meter struct {
	s    *Service
	app  model.App
	look chan struct{} // the points have changed

	mu      sync.Mutex
	last    *api.ProtectRound
	markers map[model.ResourceID]time.Time
	rounds  float64
	errors  float64
	points  map[model.ResourceID][]model.Point // newest first; without those that move by themselves
	unknown map[model.ResourceID]bool          // whose points could not be listed
}

// serveMetrics listens at address and serves until stop is called. Without a host it is reached from this machine only.
func (s *Service) serveMetrics(ctx context.Context, app model.App, address string) (m *meter, stop func(), err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, failure.WrapAs(failure.Invalid, err, "serve metrics at", address).WithHint("write HOST:PORT, as in 127.0.0.1:9777")
	}
	if host == "" {
		host = "127.0.0.1"
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, nil, failure.WrapAs(failure.Conflict, err, "serve metrics at", address).WithHint("choose another address with --metrics")
	}
	m = &meter{s: s, app: app, look: make(chan struct{}, 1), markers: map[model.ResourceID]time.Time{}, points: map[model.ResourceID][]model.Point{}, unknown: map[model.ResourceID]bool{}}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: metricsTimeout, WriteTimeout: metricsTimeout, IdleTimeout: time.Minute}
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("metrics are served no more", "address", address, "err", err)
		}
	})
	group.Go(func() { m.follow(ctx) })
	s.log.Info("metrics are served", "address", l.Addr())
	return m, func() { cancel(); _ = server.Close(); group.Wait() }, nil
}

// follow looks at the recovery points now and then, and when something was made of them.
func (m *meter) follow(ctx context.Context) {
	for ctx.Err() == nil {
		for _, r := range m.app.Resources {
			if r.Vault == nil && !m.s.provable(r) {
				continue
			}
			found, err := m.s.pointsOf(ctx, m.app, r)
			var kept []model.Point
			for _, p := range found {
				if !p.Live {
					kept = append(kept, p)
				}
			}
			if ctx.Err() != nil {
				return
			}
			m.mu.Lock()
			m.unknown[r.ID] = err != nil && len(kept) == 0
			if !m.unknown[r.ID] {
				m.points[r.ID] = kept
			}
			m.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-m.look:
		case <-time.After(metricsEvery):
		}
	}
}

// round takes note of a round.
func (m *meter) round(r *api.ProtectRound) {
	m.mu.Lock()
	m.last = r
	m.rounds++
	m.errors += float64(len(r.Errors))
	for id, marker := range r.Markers {
		m.markers[id] = marker.At
	}
	m.mu.Unlock()
	if len(r.Points)+len(r.Proofs) > 0 {
		select {
		case m.look <- struct{}{}:
		default:
		}
	}
}

// What is told. docs/metrics.md says what each is for.
var (
	perApp      = []string{"app"}
	perResource = []string{"app", "resource"}
	perStream   = []string{"app", "resource", "site"}

	metricRounds   = describe("protect_rounds_total", "Rounds of protection since this process began.", perApp)
	metricErrors   = describe("protect_errors_total", "Errors in rounds of protection since this process began.", perApp)
	metricRound    = describe("protect_round_timestamp_seconds", "When the last round of protection began.", perApp)
	metricFailing  = describe("protect_round_errors", "Errors in the last round of protection.", perApp)
	metricProbe    = describe("probe_success", "Whether the app's probe passed in the last round.", perApp)
	metricMarker   = describe("marker_timestamp_seconds", "When the last marker was written that the resource acknowledged.", perResource)
	metricKnown    = describe("points_known", "Whether the recovery points could be listed.", perResource)
	metricPoints   = describe("points", "Recovery points that are kept.", perResource)
	metricNewest   = describe("point_timestamp_seconds", "Of when the newest recovery point is.", perResource)
	metricBad      = describe("points_bad", "Recovery points whose last proof says that they are bad.", perResource)
	metricProof    = describe("proof_timestamp_seconds", "When a recovery point was last proved, whatever came of it.", perResource)
	metricProved   = describe("proof_success", "Whether the last proof of a recovery point said that it is good.", perResource)
	metricRestored = describe("proof_restore_seconds", "How long the last proof took to bring a recovery point back until it answered.", perResource)

	metricReceiving = describe("stream_receiving", "Whether the record of changes is received at the site.", perStream)
	metricSync      = describe("stream_synchronous", "Whether commits wait until they are safe at the site.", perStream)
	metricLagBytes  = describe("stream_lag_bytes", "Changes that are not safe at the site yet.", perStream)
	metricLagTime   = describe("stream_lag_seconds", "How old the oldest change is that is not safe at the site yet: what would be lost.", perStream)
	metricSpool     = describe("stream_spool_bytes", "Changes that lie in the site's spool.", perStream)
	metricUnstored  = describe("stream_unstored_bytes", "Changes that are safe at the site and not in the vault yet.", perStream)
	metricStored    = describe("stream_stored_timestamp_seconds", "When changes were last brought into the vault.", perStream)
	metricKept      = describe("stream_slot_retained_bytes", "Changes that the serving copy keeps for the site.", perStream)
	metricNeeds     = describe("stream_needs_point", "Whether a gap or a beginning makes a new recovery point necessary.", perStream)
	metricFindings  = describe("stream_findings", "What is wrong with the stream.", append(perStream, "severity"))

	described = []*prometheus.Desc{metricRounds, metricErrors, metricRound, metricFailing, metricProbe, metricMarker, metricKnown, metricPoints, metricNewest, metricBad,
		metricProof, metricProved, metricRestored, metricReceiving, metricSync, metricLagBytes, metricLagTime, metricSpool, metricUnstored, metricStored,
		metricKept, metricNeeds, metricFindings}
)

func describe(name, help string, labels []string) *prometheus.Desc {
	return prometheus.NewDesc("lifeboat_"+name, help, labels, nil)
}

// Describe is prometheus.Collector's.
func (m *meter) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range described {
		ch <- d
	}
}

// Collect is prometheus.Collector's.
func (m *meter) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	app := string(m.app.ID)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{app}, labels...)...)
	}
	ch <- prometheus.MustNewConstMetric(metricRounds, prometheus.CounterValue, m.rounds, app)
	ch <- prometheus.MustNewConstMetric(metricErrors, prometheus.CounterValue, m.errors, app)
	for id, at := range m.markers {
		gauge(metricMarker, seconds(at), string(id))
	}
	for id, unknown := range m.unknown {
		gauge(metricKnown, truth(!unknown), string(id))
	}
	for id, points := range m.points {
		collectPoints(gauge, string(id), points)
	}
	if m.last == nil {
		return
	}
	gauge(metricRound, seconds(m.last.At))
	gauge(metricFailing, float64(len(m.last.Errors)))
	if m.last.ProbeOK != nil {
		gauge(metricProbe, truth(*m.last.ProbeOK))
	}
	for _, st := range m.last.Streams {
		collectStream(gauge, st)
	}
}

type gaugeFunc func(d *prometheus.Desc, v float64, labels ...string)

func collectPoints(gauge gaugeFunc, id string, points []model.Point) {
	gauge(metricPoints, float64(len(points)), id)
	if len(points) > 0 {
		gauge(metricNewest, seconds(points[0].At), id)
	}
	var proof *model.Proof
	bad := 0
	for _, p := range points {
		if p.Proof == nil {
			continue
		}
		if !p.Proof.OK {
			bad++
		}
		if proof == nil || p.Proof.At.After(proof.At) {
			proof = p.Proof
		}
	}
	gauge(metricBad, float64(bad), id)
	if proof != nil {
		gauge(metricProof, seconds(proof.At), id)
		gauge(metricProved, truth(proof.OK), id)
		gauge(metricRestored, proof.Took.Std().Seconds(), id)
	}
}

func collectStream(gauge gaugeFunc, st model.Stream) {
	labels := []string{string(st.Resource), string(st.Site)}
	gauge(metricReceiving, truth(st.State == model.StreamFlowing || st.State == model.StreamCatching), labels...)
	gauge(metricSync, truth(st.Sync), labels...)
	gauge(metricSpool, float64(st.Spool), labels...)
	gauge(metricUnstored, float64(st.Unstored), labels...)
	gauge(metricNeeds, truth(st.NeedsPoint != ""), labels...)
	if st.LagBytes != nil {
		gauge(metricLagBytes, float64(*st.LagBytes), labels...)
	}
	if st.LagTime != nil {
		gauge(metricLagTime, st.LagTime.Std().Seconds(), labels...)
	}
	if st.Stored != nil && !st.Stored.IsZero() {
		gauge(metricStored, seconds(*st.Stored), labels...)
	}
	if st.Kept != nil {
		gauge(metricKept, float64(*st.Kept), labels...)
	}
	count := map[model.Severity]int{}
	for _, f := range st.Findings {
		count[f.Severity]++
	}
	for _, severity := range []model.Severity{model.Block, model.Warn, model.Note} {
		gauge(metricFindings, float64(count[severity]), append(labels, string(severity))...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

package etcd

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/internal/journal/journaltest"
)

// startNamed starts an etcd with its default limits on a free port of the loopback, as a user would have one.
func startNamed(tb testing.TB) (endpoint string, stop func()) {
	tb.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = tb.TempDir()
	any := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, []url.URL{any}, []url.URL{any}
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:2380"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs, cfg.ElectionMs = 10, 100
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	stop = sync.OnceFunc(e.Close)
	tb.Cleanup(stop)
	<-e.Server.ReadyNotify()
	return "http://" + e.Clients[0].Addr().String(), stop
}

func TestNamedConformance(t *testing.T) {
	journaltest.Run(t, func(tb testing.TB) journaltest.Opener {
		endpoint, _ := startNamed(tb)
		return func(tb testing.TB) journal.Store {
			tb.Helper()
			s, err := Open(context.Background(), Config{Endpoints: []string{endpoint}, Prefix: "/team/lifeboat/", CallTimeout: time.Minute})
			if err != nil {
				tb.Fatalf("Open: %v", err)
			}
			return s
		}
	})
}

func TestNamedGone(t *testing.T) {
	endpoint, stop := startNamed(t)
	var s journal.Store
	within(t, 4*time.Minute, "opening", func() {
		for err := error(failure.Unavailable); err != nil; { // the machine may have much else to do
			s, err = Open(t.Context(), Config{Endpoints: []string{endpoint}, CallTimeout: time.Second})
		}
	})
	defer s.Close()
	stop()
	if _, _, err := s.Commit(t.Context(), put("k", "1")); err == nil {
		t.Error("Commit without an etcd: no error")
	}
	if _, _, _, err := s.Get(t.Context(), "k"); !errors.Is(err, failure.Unavailable) || failure.HintOf(err) == "" {
		t.Errorf("Get without an etcd: %v (hint %q), want unavailable and a hint", err, failure.HintOf(err))
	}
	_, err := Open(t.Context(), Config{Endpoints: []string{endpoint}, CallTimeout: time.Second})
	if !errors.Is(err, failure.Unavailable) || failure.HintOf(err) == "" {
		t.Errorf("Open without an etcd: %v (hint %q), want unavailable and a hint", err, failure.HintOf(err))
	}
	for name, cfg := range map[string]Config{
		"no endpoints": {},
		"no CA":        {Endpoints: []string{endpoint}, CA: "/absent.pem"},
		"no key":       {Endpoints: []string{endpoint}, Cert: "/absent.pem"},
	} {
		if _, err := Open(t.Context(), cfg); !errors.Is(err, failure.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

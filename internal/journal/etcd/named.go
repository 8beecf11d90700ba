package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/grpclog"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/journal"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// DefaultPrefix is where the journal lives in an etcd unless the configuration says otherwise.
const DefaultPrefix = "/lifeboat/"

// Config names an etcd of the user's. It is never compacted or defragmented from here: it may be shared.
type Config struct {
	Endpoints []string // of all members: "https://host:2379"
	Prefix    string   // of every key of ours, ending in "/"; empty: DefaultPrefix

	// PEM files: the authorities that sign the members' certificates (empty: the system's), and what we identify
	// ourselves with (both or neither).
	CA, Cert, Key string

	Username string // empty: no login
	Password secret.Value

	Logger      *slog.Logger  // gets the client's log at level debug; nil: nowhere
	CallTimeout time.Duration // of each call; zero: DefaultCallTimeout
}

// Open connects to an etcd of the user's. It fails with Unavailable when no member answers before ctx ends or the call
// timeout is over, with Denied when the login or its permissions do not suffice, and with Invalid for a Config that
// can't work.
func Open(ctx context.Context, cfg Config) (journal.Store, error) {
	const op = "open"
	subject := "journal at " + strings.Join(cfg.Endpoints, ", ")
	if len(cfg.Endpoints) == 0 {
		return nil, failure.New(failure.Invalid, op, "journal", "no endpoints").
			WithHint("set journal.endpoints in lifeboat.yaml")
	}
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = DefaultCallTimeout
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	quietGRPC()
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, TLS: tlsConfig,
		Username: cfg.Username, Password: cfg.Password.Reveal(),
		DialTimeout:       cfg.CallTimeout,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, PermitWithoutStream: true,
		MaxUnaryRetries: 1, // the store repeats what may be repeated; the client would also repeat some commits
		Logger:          zapFor(cfg.Logger), DialOptions: dialOptions(), Context: context.Background(),
	})
	if err != nil {
		return nil, readError(ctx, err, op, subject, unreachableHint)
	}
	who := "is an etcd member with a leader reachable at " + strings.Join(cfg.Endpoints, ", ") + "?"
	src := &named{newLink(&client{etcd: etcd, prefix: cfg.Prefix, who: who, remote: true, leader: true})}
	s := newStore(src, cfg.CallTimeout, "")
	err = s.repeat(ctx, op, subject, func(ctx context.Context, l *link) (err error) {
		s.incarnation, err = l.client.incarnation(ctx)
		return err
	})
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

const unreachableHint = "check journal.endpoints, the network and the certificates in lifeboat.yaml"

// tls makes the TLS configuration, nil when nothing asks for one.
func (cfg Config) tls() (*tls.Config, error) {
	if cfg.CA == "" && cfg.Cert == "" && cfg.Key == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CA != "" {
		pem, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "read", "journal.ca")
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, failure.New(failure.Invalid, "read", "journal.ca", "%s holds no PEM certificate", cfg.CA)
		}
	}
	if cfg.Cert != "" || cfg.Key != "" {
		pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
		if err != nil {
			return nil, failure.WrapAs(failure.Invalid, err, "read", "journal.cert and journal.key")
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// named is the source of an etcd of the user's: one link, used while it is connected.
type named struct{ only *link }

func (n *named) link(ctx context.Context) (*link, error) {
	if err := waitReady(ctx, n.only.etcd.ActiveConnection()); err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "reach", "etcd").WithHint(unreachableHint)
	}
	return n.only, nil
}

// silent does nothing: the connection's own keep-alive finds out.
func (n *named) silent(*link) {}

func (n *named) close() error {
	n.only.fail(nil)
	_ = n.only.etcd.Close() // says only that its context is canceled
	return nil
}

// waitReady waits until a connection is ready to carry calls.
func waitReady(ctx context.Context, conn *grpc.ClientConn) error {
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.Idle:
			conn.Connect()
		case connectivity.Shutdown:
			return context.Canceled
		}
		if !conn.WaitForStateChange(ctx, state) {
			return ctx.Err()
		}
	}
}

// dialOptions are those of every connection of ours. A connection is never given up for being idle: that it breaks is
// how the end of the other side is noticed.
func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithStatsHandler(sentHandler{}),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
}

// zapFor makes the logger of a client.
func zapFor(to *slog.Logger) *zap.Logger {
	if to == nil {
		return zap.NewNop()
	}
	return zap.New(&etcdLog{to: to})
}

var silenceGRPC sync.Once

// quietGRPC keeps grpc's own log, which is one for the whole process, from standard error: connections that break and
// come back are reported by the calls that they fail.
func quietGRPC() {
	silenceGRPC.Do(func() { grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) })
}
